//! From a [`SourceRef`] to bytes: files, the store, registries. What came over a
//! network once is kept, so that it is there when the network is not.

use crate::LARGEST_MODULE;
use crate::LARGEST_SIGNATURE;
use crate::files::{self, Contents, Links};
use crate::manifest::{BadManifest, ModuleManifest};
use crate::registry::{Registries, RegistryProblem};
use crate::source::{OciRef, SourceRef};
use crate::store::{Fetched, ModuleStore, StoreProblem};
use selfheal_domain::digest::Digest;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// A module's bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    /// It is part of the host, which has it already.
    #[error("bundled:{0} is part of the host and is not fetched")]
    Bundled(String),
    /// The file, or its signature beside it, cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than a module or a signature may be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Of the file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The store does not have it.
    #[error("no module sha256:{0} is kept here; bring it with: selfheal policy load BUNDLE")]
    NotStored(Digest),
    /// There is no store.
    #[error("there is no data directory, so no module is kept anywhere")]
    NoStore,
    /// The store cannot be used.
    #[error("the module store cannot be used")]
    Store(#[from] StoreProblem),
    /// What a digest names in a registry is no policy module.
    #[error("{reference} is no policy module")]
    Manifest {
        /// What was asked for.
        reference: Box<OciRef>,
        /// Why not.
        source: BadManifest,
    },
    /// The registry did not give it.
    #[error("{reference} could not be pulled")]
    Registry {
        /// What was asked for.
        reference: Box<OciRef>,
        /// Why.
        source: RegistryProblem,
    },
}

/// Everything that modules come from.
#[derive(Clone, Debug)]
pub struct Sources {
    store: Option<ModuleStore>,
    registries: Registries,
}

/// A pulled module with the registry's words about it.
pub(crate) struct Pulled {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) module: Fetched,
}

impl Sources {
    /// Asks `store` first, then `registries`.
    pub fn new(store: Option<ModuleStore>, registries: Registries) -> Self {
        Self { store, registries }
    }

    /// Where modules are kept.
    pub fn store(&self) -> Option<&ModuleStore> {
        self.store.as_ref()
    }

    /// A module's bytes, its digest and, where there is one, its detached signature.
    /// Waits for a registry at most [`crate::SLOWEST_PULL`]. Nothing is trusted yet.
    ///
    /// # Errors
    /// They could not be had, or are not what the source's digest says.
    pub fn fetch(&self, source: &SourceRef) -> Result<Fetched, SourceProblem> {
        match source {
            SourceRef::Bundled(name) => Err(SourceProblem::Bundled(name.clone())),
            SourceRef::File(path) => file(path),
            SourceRef::Stored(digest) => {
                let store = self.store.as_ref().ok_or(SourceProblem::NoStore)?;
                store.get(digest)?.ok_or(SourceProblem::NotStored(*digest))
            }
            SourceRef::Oci(reference) => self.pull(reference).map(|pulled| pulled.module),
        }
    }

    /// As [`Sources::fetch`], with the manifest.
    pub(crate) fn pull(&self, reference: &OciRef) -> Result<Pulled, SourceProblem> {
        if let Some(pulled) = self.kept(reference)? {
            return Ok(pulled);
        }
        let failed = |source| SourceProblem::Registry {
            reference: Box::new(reference.clone()),
            source,
        };
        let (manifest, config, module) = self.registries.pull(reference).map_err(failed)?;
        let read = read_manifest(reference, &manifest)?;
        if let Some(store) = &self.store {
            // Another signature of the same module stays where `sha256:` finds it.
            let known = store.get(&read.module.digest).ok().flatten();
            let signature = match known {
                Some(kept) if kept.signature.is_some() => None,
                _ => read.signature.as_deref(),
            };
            store.put(&module, signature)?;
            store.put_config(&config)?;
            // Last, so that a kept manifest means a kept module.
            store.put_manifest(&manifest)?;
        }
        Ok(Pulled {
            manifest,
            config,
            module: Fetched::new(module, read.signature),
        })
    }

    /// What is kept of an earlier pull. A damaged file counts as missing: it is pulled
    /// again and replaced.
    fn kept(&self, reference: &OciRef) -> Result<Option<Pulled>, SourceProblem> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let Ok(Some(manifest)) = store.manifest(&reference.digest) else {
            return Ok(None);
        };
        let read = read_manifest(reference, &manifest)?;
        let module = store.get(&read.module.digest);
        let config = store.config(&read.config.digest);
        let (Ok(Some(module)), Ok(Some(config))) = (module, config) else {
            return Ok(None);
        };
        Ok(Some(Pulled {
            manifest,
            config,
            module: Fetched {
                signature: read.signature,
                ..module
            },
        }))
    }
}

fn read_manifest(reference: &OciRef, bytes: &[u8]) -> Result<ModuleManifest, SourceProblem> {
    ModuleManifest::read(bytes).map_err(|source| SourceProblem::Manifest {
        reference: Box::new(reference.clone()),
        source,
    })
}

/// A file, and the signature beside it: `MODULE.wasm` and `MODULE.wasm.sig`.
fn file(path: &Path) -> Result<Fetched, SourceProblem> {
    let read = |path: &Path, limit: u64| match files::read(path, limit, Links::Follow) {
        Ok(Contents::Whole(bytes)) => Ok(Some(bytes)),
        Ok(Contents::TooLarge) => Err(SourceProblem::TooLarge {
            path: path.to_owned(),
            limit,
        }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceProblem::File {
            path: path.to_owned(),
            source,
        }),
    };
    let bytes = read(path, LARGEST_MODULE)?.ok_or_else(|| SourceProblem::File {
        path: path.to_owned(),
        source: io::Error::from(io::ErrorKind::NotFound),
    })?;
    let signature = read(&signature_path(path), LARGEST_SIGNATURE)?;
    Ok(Fetched::new(bytes, signature))
}

/// Where the detached signature of a file stands.
pub fn signature_path(module: &Path) -> PathBuf {
    let mut name = OsString::from(module);
    name.push(".sig");
    PathBuf::from(name)
}
