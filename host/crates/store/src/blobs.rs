//! Values too large for sled: files named by the digest of their content.

use crate::harden::ProjectionError;
use selfheal_domain::digest::Digest;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values above this many bytes go to files.
pub(crate) const INLINE_BYTES: usize = 64 << 10;

const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// The directory of large values. Its files are part of the projection: lost ones
/// are rebuilt with it.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    /// Written since they were last synced.
    fresh: Mutex<BTreeSet<Digest>>,
}

impl Blobs {
    pub(crate) fn open(projection: &Path) -> io::Result<Self> {
        let directory = projection.join("blobs");
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            fresh: Mutex::default(),
        })
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all files durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut fresh = self.fresh();
        for digest in fresh.iter() {
            File::open(self.path(*digest))?.sync_all()?;
        }
        fresh.clear();
        File::open(&self.directory)?.sync_all()
    }

    /// The row for a value: `format`, then the value or where it is.
    pub(crate) fn put(&self, format: u8, value: &[u8]) -> Result<Vec<u8>, ProjectionError> {
        if value.len() <= INLINE_BYTES {
            return Ok([&[format, INLINE], value].concat());
        }
        let digest = Digest::of(value);
        let path = self.path(digest);
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, value)?;
        std::fs::rename(&fresh, &path)?;
        self.fresh().insert(digest);
        Ok([&[format, IN_FILE], digest.0.as_slice()].concat())
    }

    /// The value of a row.
    pub(crate) fn get(&self, format: u8, row: &[u8]) -> Result<Vec<u8>, ProjectionError> {
        if row.first() != Some(&format) {
            return Err(ProjectionError::Row("it has another version".to_owned()));
        }
        if let Some(digest) = Self::reference(row) {
            let value = std::fs::read(self.path(digest))?;
            if Digest::of(&value) != digest {
                return Err(ProjectionError::Row(format!(
                    "the content of blobs/{digest} is not what its name says"
                )));
            }
            return Ok(value);
        }
        row.get(2..)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| ProjectionError::Row("it is too short".to_owned()))
    }

    /// The file a row points to.
    pub(crate) fn reference(row: &[u8]) -> Option<Digest> {
        let digest = row.strip_prefix(&[crate::rows::FORMAT, IN_FILE])?;
        digest.try_into().ok().map(Digest)
    }

    /// Removes a file that no row points to any more. One that stays only costs space.
    pub(crate) fn remove(&self, digest: Digest) {
        self.fresh().remove(&digest);
        if let Err(error) = std::fs::remove_file(self.path(digest)) {
            tracing::debug!(%digest, %error, "a superseded blob could not be removed");
        }
    }
}
