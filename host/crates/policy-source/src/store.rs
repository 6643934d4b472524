//! Modules by their digest, in a directory of the host's own:
//! `<sha256>.wasm`, beside it `<sha256>.sig` where there is a detached signature, and
//! `<sha256>.manifest` and `<sha256>.config` for what a registry said about a module.
//!
//! Whoever can write there gains nothing: bytes are compared with the digest at every
//! read, and a signature is judged by whoever loads the module.

use crate::files::{self, Contents, Links};
use crate::manifest::LARGEST_CONFIG;
use crate::{LARGEST_MODULE, LARGEST_SIGNATURE};
use selfheal_domain::digest::Digest;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const MODULE: &str = "wasm";
const SIGNATURE: &str = "sig";
const MANIFEST: &str = "manifest";
const CONFIG: &str = "config";
/// Largest manifest, in bytes; one of ours has about 700.
pub(crate) const LARGEST_MANIFEST: u64 = 64 << 10;

/// A module as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`; an embedded signature is part of them.
    pub digest: Digest,
    /// Content of the detached signature, if there is one.
    pub signature: Option<Vec<u8>>,
}

impl Fetched {
    /// With the digest of `bytes`.
    pub fn new(bytes: Vec<u8>, signature: Option<Vec<u8>>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes,
            signature,
        }
    }
}

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreProblem {
    /// The file system says no.
    #[error("{} cannot be used", path.display())]
    File {
        /// Of the file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was changed.
    #[error("{} holds other bytes than its name says; remove it", path.display())]
    Changed {
        /// Of the file.
        path: PathBuf,
    },
    /// Larger than a module, signature or manifest may be.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
}

/// Modules by their digest.
#[derive(Clone, Debug)]
pub struct ModuleStore {
    directory: PathBuf,
}

impl ModuleStore {
    /// Opens the directory, which only its owner may enter (0700); makes it, and what
    /// is above it, where missing.
    ///
    /// # Errors
    /// The file system says no.
    pub fn open(directory: &Path) -> Result<Self, StoreProblem> {
        let failed = |source| StoreProblem::File {
            path: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let metadata = fs::symlink_metadata(directory).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Keeps a module. A signature replaces an earlier one; without one, an earlier
    /// one stays. Durable when it returns.
    ///
    /// # Errors
    /// It is too large, or the file system says no.
    pub fn put(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Digest, StoreProblem> {
        if let Some(signature) = signature {
            within(signature, LARGEST_SIGNATURE)?;
        }
        let digest = Digest::of(bytes);
        self.keep(&digest, MODULE, bytes, LARGEST_MODULE)?;
        if let Some(signature) = signature {
            let path = self.path(&digest, SIGNATURE);
            files::replace(&path, signature)
                .map_err(|source| StoreProblem::File { path, source })?;
        }
        Ok(digest)
    }

    /// A module, if it is kept here.
    ///
    /// # Errors
    /// It is there, but not as it was kept.
    pub fn get(&self, digest: &Digest) -> Result<Option<Fetched>, StoreProblem> {
        let Some(bytes) = self.checked(digest, MODULE, LARGEST_MODULE)? else {
            return Ok(None);
        };
        Ok(Some(Fetched {
            bytes,
            digest: *digest,
            signature: self.read(digest, SIGNATURE, LARGEST_SIGNATURE)?,
        }))
    }

    /// The digests of all modules, in order.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Digest>, StoreProblem> {
        let failed = |source| StoreProblem::File {
            path: self.directory.clone(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let digest = name
                .to_str()
                .and_then(|name| name.strip_suffix(".wasm"))
                .and_then(|stem| stem.parse::<Digest>().ok());
            found.extend(digest);
        }
        found.sort();
        Ok(found)
    }

    /// Forgets a module and its signature; what is not there stays away.
    ///
    /// # Errors
    /// The file system says no.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreProblem> {
        for kind in [SIGNATURE, MODULE] {
            let path = self.path(digest, kind);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreProblem::File { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps a registry's manifest.
    pub(crate) fn put_manifest(&self, bytes: &[u8]) -> Result<Digest, StoreProblem> {
        let digest = Digest::of(bytes);
        self.keep(&digest, MANIFEST, bytes, LARGEST_MANIFEST)?;
        Ok(digest)
    }

    /// A registry's manifest, if it is kept here.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreProblem> {
        self.checked(digest, MANIFEST, LARGEST_MANIFEST)
    }

    /// Keeps what a manifest calls its config.
    pub(crate) fn put_config(&self, bytes: &[u8]) -> Result<Digest, StoreProblem> {
        let digest = Digest::of(bytes);
        self.keep(&digest, CONFIG, bytes, LARGEST_CONFIG)?;
        Ok(digest)
    }

    /// A config, if it is kept here.
    pub(crate) fn config(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreProblem> {
        self.checked(digest, CONFIG, LARGEST_CONFIG)
    }

    fn path(&self, digest: &Digest, kind: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{kind}"))
    }

    fn keep(
        &self,
        digest: &Digest,
        kind: &str,
        bytes: &[u8],
        limit: u64,
    ) -> Result<(), StoreProblem> {
        within(bytes, limit)?;
        // A damaged file is replaced, a good one is left alone.
        if self
            .checked(digest, kind, limit)
            .is_ok_and(|found| found.is_some())
        {
            return Ok(());
        }
        let path = self.path(digest, kind);
        files::replace(&path, bytes).map_err(|source| StoreProblem::File { path, source })
    }

    fn checked(
        &self,
        digest: &Digest,
        kind: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreProblem> {
        let found = self.read(digest, kind, limit)?;
        if found
            .as_deref()
            .is_some_and(|bytes| Digest::of(bytes) != *digest)
        {
            return Err(StoreProblem::Changed {
                path: self.path(digest, kind),
            });
        }
        Ok(found)
    }

    fn read(
        &self,
        digest: &Digest,
        kind: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreProblem> {
        let path = self.path(digest, kind);
        match files::read(&path, limit, Links::Refuse) {
            Ok(Contents::Whole(bytes)) => Ok(Some(bytes)),
            Ok(Contents::TooLarge) => Err(StoreProblem::TooLarge { limit }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreProblem::File { path, source }),
        }
    }
}

fn within(bytes: &[u8], limit: u64) -> Result<(), StoreProblem> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(StoreProblem::TooLarge { limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn modules_read_back_privately_and_damage_is_found_and_mended() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("policies/modules");
        let store = ModuleStore::open(&directory).unwrap();
        let digest = store.put(b"module", Some(b"signed")).unwrap();
        let found = store.get(&digest).unwrap().unwrap();
        assert_eq!(
            found,
            Fetched::new(b"module".to_vec(), Some(b"signed".to_vec()))
        );
        assert_eq!(store.list().unwrap(), [digest]);
        // Without a signature the earlier one stays.
        store.put(b"module", None).unwrap();
        assert!(store.get(&digest).unwrap().unwrap().signature.is_some());
        let path = directory.join(format!("{digest}.wasm"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));

        fs::write(&path, b"other").unwrap();
        assert!(matches!(
            store.get(&digest),
            Err(StoreProblem::Changed { .. })
        ));
        store.put(b"module", None).unwrap();
        assert!(store.get(&digest).unwrap().is_some());

        store.remove(&digest).unwrap();
        store.remove(&digest).unwrap();
        assert_eq!(store.get(&digest).unwrap(), None);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn links_pipes_and_oversize_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let store = ModuleStore::open(home.path()).unwrap();
        let digest = Digest::of(b"module");
        let path = home.path().join(format!("{digest}.wasm"));
        let elsewhere = home.path().join("elsewhere");
        fs::write(&elsewhere, b"module").unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(matches!(store.get(&digest), Err(StoreProblem::File { .. })));
        // Keeping it again replaces the link and leaves its target alone.
        store.put(b"module", None).unwrap();
        assert!(store.get(&digest).unwrap().is_some());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(store.get(&digest).is_err());

        let large = vec![0; usize::try_from(LARGEST_MODULE).unwrap() + 1];
        assert!(matches!(
            store.put(&large, None),
            Err(StoreProblem::TooLarge { .. })
        ));
        let signature = [0; 4097];
        assert!(matches!(
            store.put(b"x", Some(&signature)),
            Err(StoreProblem::TooLarge { .. })
        ));
        assert_eq!(store.get(&Digest::of(b"x")).unwrap(), None);
    }
}
