//! One host per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the lock file in the data directory.
pub(crate) const FILE: &str = "lock";

/// A verifier may hold the lock for an instant to see whether a host runs.
const PATIENCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another host runs on it.
    #[error(
        "another host (process {holder}) already runs on the data directory {}; stop it first, or give this one its own directory",
        directory.display()
    )]
    Held {
        /// The data directory.
        directory: PathBuf,
        /// The other's process id, as far as it is known.
        holder: String,
    },
    /// The lock file cannot be opened or written.
    #[error("the lock file {} cannot be used", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A data directory that is this process's own until the claim, or the store opened
/// with it, is dropped.
#[derive(Debug)]
pub struct Claim {
    pub(crate) directory: PathBuf,
    pub(crate) lock: DirectoryLock,
}

/// Held until dropped; the kernel drops it with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(FILE);
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut attempts = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempts < PATIENCE => {
                    attempts += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let read = file.read_to_string(&mut holder);
                    let holder = holder.trim();
                    return Err(LockError::Held {
                        directory: directory.to_owned(),
                        holder: if read.is_err() || holder.is_empty() {
                            "unknown".to_owned()
                        } else {
                            holder.to_owned()
                        },
                    });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Whether a host holds the lock right now.
pub(crate) fn is_held(directory: &Path) -> bool {
    File::open(directory.join(FILE)).is_ok_and(|file| {
        // Shared, so that two verifiers do not take each other for a host.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    })
}
