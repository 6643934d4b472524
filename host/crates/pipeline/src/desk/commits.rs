//! What healing committed, as the repository tells it.

use super::{Caller, DeskError, IssueDesk};
use crate::healer::chain;
use selfheal_domain::ids::{CommitId, RunNumber};

/// What a commit of an attempt did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitKind {
    /// It brought the patch to the live branch.
    Heal,
    /// It undid that.
    Rollback,
}

/// A commit on the live branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeCommit {
    /// The attempt that made it.
    pub run: RunNumber,
    /// What it did.
    pub kind: CommitKind,
    /// The commit.
    pub commit: CommitId,
    /// Its trailers in their order, as `(name, value)`; none where the repository no
    /// longer has the commit or cannot be read.
    pub trailers: Option<Vec<(String, String)>>,
}

impl IssueDesk {
    /// The commits that an issue's attempts made, oldest first.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn commits(&self, caller: &Caller, key: &str) -> Result<Vec<MadeCommit>, DeskError> {
        let issue = self.issue(caller, key)?;
        let repository = &self.healer.doors().repository;
        let made = issue.runs.iter().flat_map(|run| {
            let heal = run.heal_commit.iter().map(|it| (CommitKind::Heal, it));
            let undone = run.rollback_commit.iter();
            let both = heal.chain(undone.map(|it| (CommitKind::Rollback, it)));
            both.map(|(kind, commit)| (run.number, kind, commit))
        });
        let read = made.map(|(run, kind, commit)| {
            let trailers = repository.trailers(commit);
            if let Err(error) = &trailers {
                tracing::warn!(%commit, error = chain(error), "a commit of ours cannot be read");
            }
            MadeCommit {
                run,
                kind,
                commit: commit.clone(),
                trailers: trailers.ok(),
            }
        });
        Ok(read.collect())
    }
}
