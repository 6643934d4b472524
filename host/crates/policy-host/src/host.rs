//! Holds the active generation. A change is prepared first, which may fail and
//! touches nothing, then activated, which is one pointer and cannot fail.

use crate::abi::kind_name;
use crate::cache::CodeCache;
use crate::config::{ModuleMode, PolicyConfig};
use crate::engine::PolicyEngine;
use crate::error::{ModuleProblem, PrepareError};
use crate::history::History;
use crate::loader::{BundledModules, Loader};
use crate::set::{ActiveSet, SetCore};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{Environment, ModuleIdentity, PolicyHost, PolicySet};
use selfheal_domain::risk::AutonomyLevel;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, PoisonError, RwLock};

/// The policy host of this process.
pub struct WasmPolicyHost {
    engine: PolicyEngine,
    cache: CodeCache,
    bundled: BundledModules,
    history: Arc<History>,
    active: RwLock<Arc<ActiveSet>>,
}

/// A policy set that was compiled, checked and tried; not in force yet.
pub struct PreparedSet {
    core: Arc<SetCore>,
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
        let nothing = SetCore {
            digest: Digest::of(b"selfheal policy set without modules"),
            environment: Environment::Production,
            ceiling: AutonomyLevel::Observe,
            modules: Vec::new(),
            history: Arc::clone(&history),
        };
        let active = RwLock::new(Arc::new(ActiveSet {
            generation: 0,
            core: Arc::new(nothing),
        }));
        Self {
            engine,
            cache,
            bundled,
            history,
            active,
        }
    }

    /// Compiles and checks all modules of `config`. What is active stays so.
    ///
    /// # Errors
    /// Names the module and what is wrong with it.
    pub fn prepare(&self, config: &PolicyConfig) -> Result<PreparedSet, PrepareError> {
        let loader = Loader {
            engine: &self.engine,
            cache: &self.cache,
            bundled: &self.bundled,
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
        let identities: Vec<&ModuleIdentity> =
            modules.iter().map(|loaded| &loaded.identity).collect();
        let digest = set_digest(config, &identities);
        Ok(PreparedSet {
            core: Arc::new(SetCore {
                digest,
                environment: config.environment,
                ceiling: config.ceiling,
                modules,
                history: Arc::clone(&self.history),
            }),
        })
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
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(ActiveSet {
            generation: generation.max(active.generation + 1),
            core: prepared.core,
        });
        *active = Arc::clone(&next);
        next
    }

    /// The active generation with what is not part of the port.
    pub fn active(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PolicyHost for WasmPolicyHost {
    fn current(&self) -> Arc<dyn PolicySet> {
        self.active()
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
