//! Identifiers, each its own type, so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// Identity of an issue; people use its [`IssueNumber`].
    IssueId
);
uuid_id!(
    /// Identity of one attempt to heal an issue.
    RunId
);
uuid_id!(
    /// Identity of a comment.
    CommentId
);
uuid_id!(
    /// Identity of one recorded answer of a policy set.
    DecisionId
);

/// Running number of an issue, from 1, like a tracker's `#42`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IssueNumber(pub u64);

impl IssueNumber {
    /// In a record that opens an issue: the next free number, which the store knows when it
    /// writes the record, and nobody before.
    pub const NEXT: Self = Self(0);
}

impl fmt::Display for IssueNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a run within its issue, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunNumber(pub u32);

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which run of which issue, as branches, worktrees and trailers name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RunRef {
    /// The issue's number.
    pub issue: IssueNumber,
    /// The run's number within the issue.
    pub run: RunNumber,
    /// The run's identity.
    pub id: RunId,
}

impl RunRef {
    /// The run's branch: `selfheal/issue-<n>/run-<k>`.
    pub fn branch(&self) -> String {
        format!("selfheal/issue-{}/run-{}", self.issue, self.run)
    }

    /// The ref that holds the snapshot of the live tree:
    /// `refs/selfheal/snapshot/<issue>/<run>`.
    pub fn snapshot_ref(&self) -> String {
        format!("refs/selfheal/snapshot/{}/{}", self.issue, self.run)
    }
}

/// A git commit, as 40 (or 64) lowercase hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub String);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
