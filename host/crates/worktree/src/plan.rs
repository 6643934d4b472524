//! What an apply is about to do and how to undo it, on disk before the first file
//! changes. Its presence means: something may be half done. Only a finished
//! rollback removes it.

use crate::fail::failed;
use crate::index::EntryState;
use crate::merge::Version;
use selfheal_domain::ids::RunRef;
use selfheal_domain::ports::RepositoryError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// One file's part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PlannedFile {
    pub(crate) path: String,
    /// In the live tree before.
    pub(crate) before: Option<Stored>,
    /// In the live tree after.
    pub(crate) after: Option<Stored>,
    /// In the index before and after.
    pub(crate) index_before: Option<EntryState>,
    pub(crate) index_after: Option<EntryState>,
}

/// A file's exact bytes, in hex, since they need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    bytes: String,
    /// Permission bits; none lets the umask decide.
    pub(crate) mode: Option<u32>,
}

impl Stored {
    pub(crate) fn new(content: &[u8], mode: Option<u32>) -> Self {
        Self {
            bytes: hex::encode(content),
            mode,
        }
    }
}

/// The content of what is stored.
pub(crate) fn version(stored: Option<&Stored>) -> Result<Version, RepositoryError> {
    stored
        .map(|stored| hex::decode(&stored.bytes))
        .transpose()
        .map_err(failed("reading the plan of the apply"))
}

/// All of an apply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Format of this file.
    pub(crate) format: u32,
    pub(crate) run: RunRef,
    pub(crate) branch: String,
    /// What the branch pointed to.
    pub(crate) tip: String,
    /// What it is to point to.
    pub(crate) heal_commit: String,
    pub(crate) files: Vec<PlannedFile>,
    /// Directories that come to be, outermost first.
    pub(crate) made_directories: Vec<String>,
}

/// Format that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

fn place(state_dir: &Path, run: RunRef) -> PathBuf {
    state_dir
        .join("apply")
        .join(format!("issue-{}-run-{}.json", run.issue, run.run))
}

impl Plan {
    /// The plan of this very run; a plan of another run of the same number (of an
    /// earlier installation) is none of ours.
    pub(crate) fn load(state_dir: &Path, run: RunRef) -> Result<Option<Self>, RepositoryError> {
        let doing = "reading the plan of the apply";
        let bytes = match std::fs::read(place(state_dir, run)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(doing)(error)),
        };
        let plan: Self = serde_json::from_slice(&bytes).map_err(failed(doing))?;
        if plan.format != FORMAT {
            return Err(crate::fail::broken(
                doing,
                format!("format {} is not known here", plan.format),
            ));
        }
        Ok((plan.run == run).then_some(plan))
    }

    /// Durable when it returns.
    pub(crate) fn save(&self, state_dir: &Path) -> Result<(), RepositoryError> {
        let bytes = serde_json::to_vec(self).map_err(failed("writing the plan of the apply"))?;
        write_durably(&place(state_dir, self.run), &bytes)
    }

    /// Nothing is left to do or undo.
    pub(crate) fn discard(state_dir: &Path, run: RunRef) -> Result<(), RepositoryError> {
        let path = place(state_dir, run);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_directory(path.parent().unwrap_or(state_dir)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("closing the plan of the apply")(error)),
        }
    }
}

/// Writes a file whole or not at all, readable by this user only; durable when it
/// returns.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    use std::os::unix::fs::OpenOptionsExt;
    let doing = format!("writing {}", path.display());
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(failed(doing.clone()))?;
    let fresh = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed(doing.clone()))?;
    file.write_all(bytes).map_err(failed(doing.clone()))?;
    file.sync_all().map_err(failed(doing.clone()))?;
    std::fs::rename(&fresh, path).map_err(failed(doing))?;
    sync_directory(directory)?;
    // The directory itself may be new.
    directory.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> Result<(), RepositoryError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(format!("syncing {}", path.display())))
}
