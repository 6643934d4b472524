//! One Selfheal at a time per repository, whatever process it is in.
//!
//! The lock is on the git directory itself: no file is left behind, and the kernel
//! gives it up when its holder dies. It orders our own processes (a host, another
//! host's checks, `selfheal heal`); against everybody else refs move by
//! compare-and-swap and the index has git's own lock.

use crate::fail::failed;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use selfheal_domain::ports::RepositoryError;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// How long to wait for another process. The longest work under the lock is a
/// snapshot of a large tree.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct RepositoryLock {
    _directory: File,
}

impl RepositoryLock {
    /// Waits for whoever holds it. `git_dir` is the directory that all worktrees of the
    /// repository share.
    pub(crate) fn acquire(git_dir: &Path) -> Result<Self, RepositoryError> {
        Self::acquire_within(git_dir, PATIENCE)
    }

    pub(crate) fn acquire_within(
        git_dir: &Path,
        patience: Duration,
    ) -> Result<Self, RepositoryError> {
        let doing = "locking the repository";
        let directory = File::open(git_dir).map_err(failed(doing))?;
        let mut waited = Duration::ZERO;
        loop {
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                // File systems that lock no directories: git's own locks remain.
                Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => break,
                Err(error) => return Err(failed(doing)(error)),
            }
            if waited >= patience {
                return Err(RepositoryError::Conflict(format!(
                    "another Selfheal is at work in {}; try again when it is done",
                    git_dir.display()
                )));
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(Self {
            _directory: directory,
        })
    }
}
