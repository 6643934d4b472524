//! A patch: whole files before and after, and the diff people read.

use crate::digest::Digest;
use crate::policy::ChangeKind;
use serde::{Deserialize, Serialize};

/// One file's change. Contents are UTF-8: the agents edit text only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileChange {
    /// Path relative to the repository root, with `/`.
    pub path: String,
    /// Content before; none when the file comes to be.
    pub before: Option<String>,
    /// Content after; none when the file goes.
    pub after: Option<String>,
}

impl FileChange {
    /// Kind of change; none when nothing changes.
    pub fn kind(&self) -> Option<ChangeKind> {
        match (&self.before, &self.after) {
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(_), None) => Some(ChangeKind::Deleted),
            (Some(before), Some(after)) if before != after => Some(ChangeKind::Modified),
            _ => None,
        }
    }
}

/// A patch against the snapshot of one run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Patch {
    /// Its files, sorted by path.
    pub files: Vec<FileChange>,
    /// Unified diff of all files, `git apply`-able.
    pub diff: String,
    /// Digest of `diff`: what a review names.
    pub digest: Digest,
}

impl Patch {
    /// Takes the changes that are changes, sorts them, and makes the diff with `unified`.
    pub fn new(mut files: Vec<FileChange>, unified: impl Fn(&FileChange) -> String) -> Self {
        files.retain(|file| file.kind().is_some());
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let diff: String = files.iter().map(unified).collect();
        let digest = Digest::of(diff.as_bytes());
        Self {
            files,
            diff,
            digest,
        }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
