//! Recording the live tree as it is, through an index of our own.
//!
//! Kept between snapshots, so that only what changed is read again. It holds the
//! paths the user's index holds: untracked files are taken out of it before each
//! use, because what is ignored may have changed. Untracked files over
//! [`LARGEST_UNTRACKED`], and all after [`MOST_UNTRACKED`] together, are left out with
//! a warning, and so is another repository that lies in the tree. Files that a sparse
//! checkout leaves out are in it as they are committed.

use crate::fail::failed;
use crate::index::{EntryState, fingerprint};
use crate::plan::write_durably;
use git2::{Index, IndexAddOption, Oid, Repository};
use selfheal_domain::ports::RepositoryError;
use serde::{Deserialize, Serialize};
use std::fs::{File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest untracked file that a snapshot holds, in bytes.
pub const LARGEST_UNTRACKED: u64 = 32 << 20;

/// How much untracked content a snapshot holds, in bytes: it is held in memory first.
pub const MOST_UNTRACKED: u64 = 512 << 20;

/// What our index was made from.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Origin {
    /// Of the user's index.
    fingerprint: String,
    /// Untracked paths in ours, in hex.
    untracked: Vec<String>,
}

/// Our index, beside the user's.
#[derive(Debug)]
pub(crate) struct ShadowIndex {
    directory: PathBuf,
}

impl ShadowIndex {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            directory: state_dir.join("shadow"),
        }
    }

    /// Writes the live tree's blobs and trees into `memory` (a handle from
    /// [`crate::objects::workshop`]) and returns the root. Paths under `off_limits`
    /// are left out.
    pub(crate) fn record(
        &self,
        memory: &Repository,
        root: &Path,
        off_limits: &[String],
    ) -> Result<Oid, RepositoryError> {
        let doing = "recording the live tree";
        std::fs::create_dir_all(&self.directory).map_err(failed(doing))?;
        let users = memory.path().join("index");
        let now = fingerprint(&users)?;
        let mut index = match self.reuse(&now) {
            Some(index) => index,
            None => self.copy(&users)?,
        };
        memory.set_index(&mut index).map_err(failed(doing))?;
        for place in off_limits {
            memory
                .add_ignore_rule(&ignore_rule(place))
                .map_err(failed(doing))?;
        }
        let tracked = Index::open(&users).map_err(failed(doing))?;
        let mut added = Vec::new();
        let mut removed = false;
        let mut weight = 0;
        let mut consider = |path: &Path, _: &[u8]| -> i32 {
            let bytes = path.as_os_str().as_bytes();
            let ours = off_limits.iter().any(|place| path.starts_with(place));
            let entry = tracked.get_path(path, 0);
            let is_tracked = entry.is_some();
            if ours && !is_tracked {
                return 1;
            }
            let meta = std::fs::symlink_metadata(root.join(path)).ok();
            // A sparse checkout does not have the file: nobody removed it.
            if meta.is_none() && entry.is_some_and(|entry| EntryState::is_left_out(&entry)) {
                return 1;
            }
            if !is_tracked {
                let nested = bytes.ends_with(b"/") || meta.as_ref().is_some_and(|m| m.is_dir());
                let length = meta.as_ref().map_or(0, std::fs::Metadata::len);
                let large = length > LARGEST_UNTRACKED || weight + length > MOST_UNTRACKED;
                if nested || large {
                    tracing::warn!(path = %path.display(), nested, large, "left out of the snapshot");
                    return 1;
                }
                weight += length;
                added.push(hex::encode(bytes));
            }
            removed |= meta.is_none_or(|meta| meta.is_dir());
            0
        };
        index
            .add_all(["*"], IndexAddOption::DEFAULT, Some(&mut consider))
            .map_err(failed(doing))?;
        let tree = index.write_tree_to(memory).map_err(failed(doing))?;
        self.keep(&mut index, now, added, removed);
        Ok(tree)
    }

    fn origin(&self) -> PathBuf {
        self.directory.join("origin.json")
    }

    fn file(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn reuse(&self, now: &str) -> Option<Index> {
        let origin: Origin = serde_json::from_slice(&std::fs::read(self.origin()).ok()?).ok()?;
        if now.is_empty() || origin.fingerprint != now || !self.file().exists() {
            return None;
        }
        let mut index = Index::open(&self.file()).ok()?;
        for path in origin.untracked {
            let path = hex::decode(path).ok()?;
            let path = Path::new(std::ffi::OsStr::from_bytes(&path));
            if index.get_path(path, 0).is_some() {
                index.remove(path, 0).ok()?;
            }
        }
        Some(index)
    }

    fn copy(&self, users: &Path) -> Result<Index, RepositoryError> {
        let doing = "copying the index";
        let _ = std::fs::remove_file(self.origin());
        let _ = std::fs::remove_file(self.file());
        if users.exists() {
            std::fs::copy(users, self.file()).map_err(failed(doing))?;
            // Entries as new as their index are looked at again; a younger copy would
            // trust them unseen.
            let modified = std::fs::metadata(users)
                .and_then(|meta| meta.modified())
                .map_err(failed(doing))?;
            File::options()
                .write(true)
                .open(self.file())
                .and_then(|file| file.set_times(FileTimes::new().set_modified(modified)))
                .map_err(failed(doing))?;
        }
        Index::open(&self.file()).map_err(failed(doing))
    }

    /// Failing to keep it only costs time at the next snapshot.
    fn keep(&self, index: &mut Index, fingerprint: String, untracked: Vec<String>, removed: bool) {
        let _ = std::fs::remove_file(self.origin());
        // A path that left our index could not come back: ignored files are not added.
        if removed || index.write().is_err() {
            return;
        }
        let origin = Origin {
            fingerprint,
            untracked,
        };
        if let Ok(bytes) = serde_json::to_vec(&origin) {
            let _ = write_durably(&self.origin(), &bytes);
        }
    }
}

fn ignore_rule(place: &str) -> String {
    let mut rule = String::from("/");
    for c in place.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '!' | '#' | ' ') {
            rule.push('\\');
        }
        rule.push(c);
    }
    rule.push('\n');
    rule
}
