//! Holds the active generation. A change is prepared first, which may fail and
//! touches nothing, then activated, which is one pointer and cannot fail.
//!
//! Readers take one snapshot per decision: the generation in force, or the canary
//! for runs that are part of one. Old generations are handed to whoever swaps, who
//! drops them, so that no decision pays for that.

use crate::abi::kind_name;
use crate::cache::CodeCache;
use crate::config::{ModuleMode, PolicyConfig, QuarantineRules};
use crate::engine::PolicyEngine;
use crate::error::{ModuleProblem, PrepareError};
use crate::grants::Grants;
use crate::history::History;
use crate::loader::{BundledModules, LoadedModule, Loader};
use crate::set::{ActiveSet, Live, SetCore};
use crate::standing::Standing;
use arc_swap::ArcSwap;
use selfheal_domain::digest::Digest;
use selfheal_domain::ids::{RunId, RunRef};
use selfheal_domain::policy::{Environment, ModuleIdentity, PastCall, PolicyHost, PolicySet};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_policy_source::{Credentials, ModuleStore, Registries, Sources};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The policy host of this process.
pub struct WasmPolicyHost {
    engine: PolicyEngine,
    cache: CodeCache,
    bundled: BundledModules,
    store: Option<ModuleStore>,
    history: Arc<History>,
    grants: Arc<Grants>,
    in_force: ArcSwap<InForce>,
}

/// What decisions are made by; replaced as a whole.
struct InForce {
    active: Arc<ActiveSet>,
    canary: Option<Canary>,
}

/// A generation that decides for a share of the runs.
#[derive(Clone)]
pub(crate) struct Canary {
    pub(crate) set: Arc<ActiveSet>,
    /// Of 100 runs.
    pub(crate) percent: u8,
    /// Runs that began before it; they end as they began.
    pub(crate) older: Arc<HashSet<RunId>>,
}

impl Canary {
    /// Whether the run is part of it. The same for the whole life of the run.
    fn takes(&self, run: RunId) -> bool {
        if self.older.contains(&run) {
            return false;
        }
        let mut hasher = Sha256::new();
        hasher.update(self.set.generation.to_be_bytes());
        hasher.update(run.0.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, ..] = hash;
        u32::from_be_bytes([a, b, c, d]) % 100 < u32::from(self.percent)
    }
}

/// A policy set that was compiled, checked and tried; not in force yet.
pub struct PreparedSet {
    pub(crate) core: Arc<SetCore>,
}

impl PreparedSet {
    /// Over all modules, settings and limits.
    pub fn digest(&self) -> Digest {
        self.core.digest
    }

    /// Names, kinds and digests of the modules.
    pub fn modules(&self) -> Vec<ModuleIdentity> {
        self.core
            .modules
            .iter()
            .map(|loaded| loaded.identity.clone())
            .collect()
    }
}

impl WasmPolicyHost {
    /// A host without modules: generation 0, which denies everything.
    pub fn new(engine: PolicyEngine, cache: CodeCache, bundled: BundledModules) -> Self {
        let history = Arc::new(History::default());
        let grants = Arc::new(Grants::default());
        let nothing = SetCore {
            digest: Digest::of(b"selfheal policy set without modules"),
            environment: Environment::Production,
            ceiling: AutonomyLevel::Observe,
            quarantine: QuarantineRules {
                faults: 1,
                window: Duration::from_secs(60),
            },
            modules: Vec::new(),
        };
        let active = Arc::new(ActiveSet {
            generation: 0,
            core: Arc::new(nothing),
            live: Live {
                standings: Vec::new(),
                history: Arc::clone(&history),
                grants: Arc::clone(&grants),
            },
        });
        Self {
            engine,
            cache,
            bundled,
            store: None,
            history,
            grants,
            in_force: ArcSwap::from_pointee(InForce {
                active,
                canary: None,
            }),
        }
    }

    /// Also looks for modules, and keeps pulled ones, in `store`.
    #[must_use]
    pub fn with_store(mut self, store: ModuleStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Where modules are kept, if anywhere.
    pub fn store(&self) -> Option<&ModuleStore> {
        self.store.as_ref()
    }

    /// Compiles and checks all modules of `config`. What is active stays so.
    ///
    /// # Errors
    /// Names the module and what is wrong with it.
    pub fn prepare(&self, config: &PolicyConfig) -> Result<PreparedSet, PrepareError> {
        self.prepare_from(config, None)
    }

    /// The same, with bytes that were kept of a generation, by the module's name.
    pub(crate) fn prepare_from(
        &self,
        config: &PolicyConfig,
        kept: Option<(&ModuleStore, &BTreeMap<String, Digest>)>,
    ) -> Result<PreparedSet, PrepareError> {
        let credentials = Credentials::from_environment().unwrap_or_else(|error| {
            tracing::warn!(%error, "registries are asked without credentials");
            Credentials::default()
        });
        let registries =
            Registries::new(config.trust.insecure_registries()).with_credentials(credentials);
        let sources = Sources::new(self.store.clone(), registries);
        let in_force = self.in_force.load_full();
        let mut loaded: Vec<Arc<LoadedModule>> = in_force.active.core.modules.clone();
        if let Some(canary) = &in_force.canary {
            loaded.extend(canary.set.core.modules.iter().cloned());
        }
        let loader = Loader {
            engine: &self.engine,
            cache: &self.cache,
            bundled: &self.bundled,
            sources: &sources,
            trust: &config.trust,
            kept,
            loaded: &loaded,
        };
        let wanted: Vec<_> = config
            .modules
            .iter()
            .filter(|module| module.mode != ModuleMode::Off)
            .collect();
        // Compiling is the slow part, and modules know nothing of each other.
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let loads: Vec<_> = wanted
                .iter()
                .map(|module| scope.spawn(|| loader.load(module)))
                .collect();
            let broken = |_| {
                Err(ModuleProblem::NotAModule(
                    "the compiler gave up on it".to_owned(),
                ))
            };
            loads
                .into_iter()
                .map(|load| load.join().unwrap_or_else(broken))
                .collect()
        });
        let mut modules = Vec::new();
        for (module, loaded) in wanted.into_iter().zip(loaded) {
            let named = |problem| PrepareError::Module {
                module: module.name.clone(),
                problem,
            };
            modules.push(loaded.map_err(named)?);
        }
        Ok(self.prepared(config, modules))
    }

    /// A set of modules that are loaded already.
    fn prepared(&self, config: &PolicyConfig, modules: Vec<Arc<LoadedModule>>) -> PreparedSet {
        let identities: Vec<&ModuleIdentity> =
            modules.iter().map(|loaded| &loaded.identity).collect();
        PreparedSet {
            core: Arc::new(SetCore {
                digest: set_digest(config, &identities),
                environment: config.environment,
                ceiling: config.ceiling,
                quarantine: config.quarantine,
                modules,
            }),
        }
    }

    /// Puts a prepared set in force as the next generation. Decisions under way
    /// end with the set that they began with.
    pub fn activate(&self, prepared: PreparedSet) -> Arc<ActiveSet> {
        let generation = self.active().generation + 1;
        self.activate_as(prepared, generation)
    }

    /// The same under a generation that the caller knows, at least the next one:
    /// numbers go on over restarts, so that an approval is never taken for one that
    /// was given under other policies.
    pub fn activate_as(&self, prepared: PreparedSet, generation: u64) -> Arc<ActiveSet> {
        let generation = generation.max(self.active().generation + 1);
        let next = self.ready(&prepared, generation);
        drop(self.put_in_force(Arc::clone(&next), None));
        next
    }

    /// A generation that only waits to be pointed to. Modules that stay as they are
    /// keep their counters.
    pub(crate) fn ready(&self, prepared: &PreparedSet, generation: u64) -> Arc<ActiveSet> {
        let active = self.active();
        let standing = |loaded: &Arc<LoadedModule>| {
            let stays = active.core.modules.iter().zip(&active.live.standings);
            let same = stays
                .into_iter()
                .find(|(before, _)| same_module(before, loaded));
            same.map_or_else(
                || Arc::new(Standing::new(&loaded.rules)),
                |(_, standing)| Arc::clone(standing),
            )
        };
        let standings = prepared.core.modules.iter().map(standing).collect();
        self.with_standings(prepared, generation, standings)
    }

    /// The same with counters of its own, for a trial: what is tried must not count
    /// for what is in force.
    pub(crate) fn apart(&self, prepared: &PreparedSet, generation: u64) -> Arc<ActiveSet> {
        let fresh = |loaded: &Arc<LoadedModule>| Arc::new(Standing::new(&loaded.rules));
        let standings = prepared.core.modules.iter().map(fresh).collect();
        self.with_standings(prepared, generation, standings)
    }

    fn with_standings(
        &self,
        prepared: &PreparedSet,
        generation: u64,
        standings: Vec<Arc<Standing>>,
    ) -> Arc<ActiveSet> {
        Arc::new(ActiveSet {
            generation,
            core: Arc::clone(&prepared.core),
            live: Live {
                standings,
                history: Arc::clone(&self.history),
                grants: Arc::clone(&self.grants),
            },
        })
    }

    /// The one pointer store. What it returns may still decide for those who hold it;
    /// whoever gets it drops it when nobody does any more.
    pub(crate) fn put_in_force(
        &self,
        active: Arc<ActiveSet>,
        canary: Option<Canary>,
    ) -> Vec<Arc<ActiveSet>> {
        let before = self.in_force.swap(Arc::new(InForce { active, canary }));
        let canary = before.canary.as_ref().map(|canary| Arc::clone(&canary.set));
        [Arc::clone(&before.active)]
            .into_iter()
            .chain(canary)
            .collect()
    }

    /// The active generation with what is not part of the port.
    pub fn active(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.in_force.load().active)
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }
}

/// The module is exactly as it was: its counters go on.
pub(crate) fn same_module(before: &LoadedModule, after: &LoadedModule) -> bool {
    before.identity.name == after.identity.name
        && before.fingerprint == after.fingerprint
        && before.mode == after.mode
}

impl PolicyHost for WasmPolicyHost {
    fn current(&self) -> Arc<dyn PolicySet> {
        self.active()
    }

    fn observed(&self, run: Option<RunRef>, what: PastCall) {
        if let Some(run) = run {
            self.history.note(run.id, what);
        }
    }

    fn for_run(&self, run: Option<RunRef>) -> Arc<dyn PolicySet> {
        let in_force = self.in_force.load();
        match (&in_force.canary, run) {
            (Some(canary), Some(run)) if canary.takes(run.id) => {
                Arc::clone(&canary.set) as Arc<dyn PolicySet>
            }
            _ => Arc::clone(&in_force.active) as Arc<dyn PolicySet>,
        }
    }
}

/// Over everything that can change an answer; each field with its length, so that
/// no two sets read the same.
fn set_digest(config: &PolicyConfig, identities: &[&ModuleIdentity]) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    add(b"selfheal policy set 1");
    add(format!("{:?}", config.environment).as_bytes());
    add(&[u8::from(config.ceiling)]);
    for identity in identities {
        let Some(module) = config
            .modules
            .iter()
            .find(|module| module.name == identity.name)
        else {
            continue;
        };
        add(identity.name.as_bytes());
        add(kind_name(identity.kind).as_bytes());
        add(&identity.digest.0);
        add(format!("{:?}", module.mode).as_bytes());
        // Keys of a JSON object are sorted, so equal settings read the same.
        add(module.settings.to_string().as_bytes());
        add(&module.limits.deadline().as_nanos().to_be_bytes());
        add(&module.limits.memory().to_be_bytes());
        add(&module.limits.output().to_be_bytes());
        add(module.capabilities.to_string().as_bytes());
    }
    Digest(hasher.finalize().into())
}
