//! Generations that were in force, kept in the data directory: the text of
//! `policy.toml`, the digest of each module, and the modules' bytes. So a restart
//! needs neither the file nor the place where a module came from.
//!
//! A generation is written before it comes into force, as `N.pending`, and renamed to
//! `N.json` once its event is recorded. What a crash leaves as pending is judged by
//! the log at the next start.

use crate::files::{self, FileProblem};
use crate::set::SetCore;
use chrono::{DateTime, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy_control::{ChangeSource, KeptGeneration};
use selfheal_policy_source::ModuleStore;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Generations kept; older ones can no longer be gone back to.
const KEPT: usize = 32;

/// One generation, as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) generation: u64,
    /// Of the set.
    pub(crate) digest: Digest,
    pub(crate) at: DateTime<Utc>,
    pub(crate) source: ChangeSource,
    /// The text of `policy.toml`.
    pub(crate) text: String,
    pub(crate) modules: Vec<KeptModule>,
}

/// A module of a generation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct KeptModule {
    pub(crate) name: String,
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// Of everything that can change its answers.
    pub(crate) fingerprint: Digest,
    /// Mode, as in `enforce`.
    pub(crate) mode: String,
    /// Generation in which it came into force as it is.
    pub(crate) generation: u64,
    /// When that was.
    pub(crate) since: DateTime<Utc>,
}

impl Kept {
    /// Digests of the modules' bytes, by name.
    pub(crate) fn digests(&self) -> BTreeMap<String, Digest> {
        let named = |module: &KeptModule| (module.name.clone(), module.digest);
        self.modules.iter().map(named).collect()
    }

    /// For status.
    pub(crate) fn summary(&self) -> KeptGeneration {
        KeptGeneration {
            generation: self.generation,
            digest: self.digest,
            at: self.at,
            source: self.source,
        }
    }
}

/// The modules of a set that comes into force as `generation` after `before`: one
/// that stays as it is keeps its beginning.
pub(crate) fn modules_of(
    core: &SetCore,
    before: Option<&Kept>,
    generation: u64,
    at: DateTime<Utc>,
) -> Vec<KeptModule> {
    let modules = core.modules.iter().map(|loaded| {
        let mode = format!("{:?}", loaded.mode).to_lowercase();
        let stays = before.and_then(|before| {
            before.modules.iter().find(|module| {
                module.name == loaded.identity.name
                    && module.fingerprint == loaded.fingerprint
                    && module.mode == mode
            })
        });
        let (generation, since) =
            stays.map_or((generation, at), |module| (module.generation, module.since));
        KeptModule {
            name: loaded.identity.name.clone(),
            digest: loaded.identity.digest,
            fingerprint: loaded.fingerprint,
            mode,
            generation,
            since,
        }
    });
    modules.collect()
}

/// The directory of kept generations.
pub(crate) struct Generations {
    directory: PathBuf,
    modules: ModuleStore,
}

impl Generations {
    /// Opens `DATA/policies`, which is made where missing (0700).
    pub(crate) fn open(directory: &Path, modules: ModuleStore) -> Result<Self, FileProblem> {
        let directory = directory.join("generations");
        files::make_directory(&directory)?;
        Ok(Self { directory, modules })
    }

    fn path(&self, generation: u64, kind: &str) -> PathBuf {
        self.directory.join(format!("{generation:010}.{kind}"))
    }

    /// What is kept, newest first; a file that cannot be read is passed over, loudly.
    pub(crate) fn list(&self) -> Result<Vec<Kept>, FileProblem> {
        self.read_all("json")
    }

    /// What was about to come into force when the host died.
    pub(crate) fn pending(&self) -> Result<Vec<Kept>, FileProblem> {
        self.read_all("pending")
    }

    fn read_all(&self, kind: &str) -> Result<Vec<Kept>, FileProblem> {
        let mut found = Vec::new();
        for name in files::names(&self.directory)? {
            let Some(number) = name
                .strip_suffix(kind)
                .and_then(|stem| stem.strip_suffix('.'))
                .and_then(|stem| stem.parse::<u64>().ok())
            else {
                continue;
            };
            let path = self.path(number, kind);
            let read = files::read(&path).and_then(|bytes| {
                serde_json::from_slice::<Kept>(&bytes).map_err(|error| FileProblem::Content {
                    path: path.clone(),
                    message: error.to_string(),
                })
            });
            match read {
                Ok(kept) if kept.generation == number => found.push(kept),
                Ok(_) => {
                    tracing::error!(path = %path.display(), "a kept policy generation has another number than its file")
                }
                Err(error) => tracing::error!(%error, "a kept policy generation cannot be read"),
            }
        }
        found.sort_by_key(|kept| std::cmp::Reverse(kept.generation));
        Ok(found)
    }

    /// Keeps the modules' bytes and the generation, not in force yet. Durable when it
    /// returns.
    pub(crate) fn write_pending(&self, kept: &Kept, core: &SetCore) -> Result<(), FileProblem> {
        self.keep_modules(core)?;
        self.write(kept, "pending")
    }

    /// Keeps the modules' bytes alone: of a candidate, for as long as it is on trial.
    pub(crate) fn keep_modules(&self, core: &SetCore) -> Result<(), FileProblem> {
        for loaded in &core.modules {
            files::crash::point("before a module is kept");
            let bytes = &loaded.bytes;
            self.modules
                .put(&bytes.bytes, bytes.signature.as_deref())
                .map_err(|error| FileProblem::Content {
                    path: self.directory.clone(),
                    message: format!("module `{}` cannot be kept: {error}", loaded.identity.name),
                })?;
        }
        Ok(())
    }

    /// Keeps a generation that is in force, again.
    pub(crate) fn rewrite(&self, kept: &Kept) -> Result<(), FileProblem> {
        self.write(kept, "json")
    }

    fn write(&self, kept: &Kept, kind: &str) -> Result<(), FileProblem> {
        let path = self.path(kept.generation, kind);
        let json = serde_json::to_vec_pretty(kept).map_err(|error| FileProblem::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        files::replace(&path, &json, None)
    }

    /// The pending generation is in force from now on.
    pub(crate) fn finish(&self, generation: u64) -> Result<(), FileProblem> {
        files::rename(
            &self.path(generation, "pending"),
            &self.path(generation, "json"),
        )
    }

    /// The pending generation never came into force.
    pub(crate) fn discard(&self, generation: u64) {
        files::remove(&self.path(generation, "pending"));
    }

    /// Forgets what is too old to be gone back to, and the bytes that only it needed.
    /// `needed` are digests that somebody else counts on.
    pub(crate) fn thin_out(&self) {
        let Ok(all) = self.list() else { return };
        let (keep, drop) = all.split_at(all.len().min(KEPT));
        let modules = keep.iter().flat_map(|kept| &kept.modules);
        let needed: BTreeSet<Digest> = modules.map(|module| module.digest).collect();
        for kept in drop {
            files::remove(&self.path(kept.generation, "json"));
            for module in &kept.modules {
                if !needed.contains(&module.digest)
                    && let Err(error) = self.modules.remove(&module.digest)
                {
                    tracing::warn!(%error, "bytes of an old policy module could not be removed");
                }
            }
        }
    }

    pub(crate) fn modules(&self) -> &ModuleStore {
        &self.modules
    }
}
