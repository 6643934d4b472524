//! From `[[module]]` to a module that is ready: bytes, pin, signature, compilation,
//! contract, kind, examples, settings. The first thing that is not right refuses it.

use crate::abi::{self, Example, ExampleQuestion, Expectation, Order, PolicyModule, kind_name};
use crate::cache::CodeCache;
use crate::config::{ModuleConfig, ModuleMode};
use crate::engine::PolicyEngine;
use crate::error::ModuleProblem;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::ModuleIdentity;
use selfheal_domain::risk::{Admission, AutonomyAction};
use selfheal_domain::verdict::Verdict;
pub use selfheal_policy_source::LARGEST_MODULE;
use selfheal_policy_source::{Fetched, ModuleStore, SourceRef, Sources, Trust, TrustRules};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that the examples of one module may take together. Each has the module's
/// deadline, and thousands that just meet it would hold up a preparation for hours.
const EXAMPLES: Duration = Duration::from_secs(60);

/// Modules that are built into the host, by name.
#[derive(Clone, Debug, Default)]
pub struct BundledModules(pub BTreeMap<String, Cow<'static, [u8]>>);

impl BundledModules {
    /// As the build script of the binary generates them.
    pub fn from_static(modules: &[(&str, &'static [u8])]) -> Self {
        Self(
            modules
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), Cow::Borrowed(*bytes)))
                .collect(),
        )
    }
}

/// A module in its set.
pub(crate) struct LoadedModule {
    pub(crate) identity: ModuleIdentity,
    pub(crate) settings_schema: String,
    pub(crate) mode: ModuleMode,
    pub(crate) module: Arc<dyn PolicyModule>,
    /// Over everything that can change its answers.
    pub(crate) fingerprint: Digest,
    /// As `policy.toml` names it.
    pub(crate) source: String,
    /// Why its bytes are trusted.
    pub(crate) trust: Trust,
    /// Rules that its examples hit, and so are known before they hit in earnest.
    pub(crate) rules: Vec<String>,
    /// Kept, so that the generation survives without where they came from.
    pub(crate) bytes: Arc<Fetched>,
}

/// What was found out about a module whose examples hold.
#[derive(Serialize, Deserialize)]
struct Known {
    version: String,
    settings_schema: String,
    rules: Vec<String>,
}

/// What loading needs.
pub(crate) struct Loader<'a> {
    pub(crate) engine: &'a PolicyEngine,
    pub(crate) cache: &'a CodeCache,
    pub(crate) bundled: &'a BundledModules,
    pub(crate) sources: &'a Sources,
    pub(crate) trust: &'a TrustRules,
    /// Bytes that were kept of a generation, by the module's name; they come before
    /// whatever the source says now.
    pub(crate) kept: Option<(&'a ModuleStore, &'a BTreeMap<String, Digest>)>,
    /// Modules that are loaded already; one that is the same is not made again.
    pub(crate) loaded: &'a [Arc<LoadedModule>],
}

impl Loader<'_> {
    pub(crate) fn load(&self, config: &ModuleConfig) -> Result<Arc<LoadedModule>, ModuleProblem> {
        let fetched = self.fetch(config)?;
        let digest = fetched.digest;
        if let Some(pinned) = config.pin
            && pinned != digest
        {
            return Err(ModuleProblem::Digest {
                pinned,
                found: digest,
            });
        }
        let trust = self
            .trust
            .admit(&config.source, config.wanted(), &fetched)?;
        let fingerprint = fingerprint(config, &digest);
        let source = config.source.to_string();
        let same = self.loaded.iter().find(|loaded| {
            loaded.identity.name == config.name
                && loaded.fingerprint == fingerprint
                && loaded.mode == config.mode
                && loaded.source == source
                && loaded.trust == trust
        });
        if let Some(same) = same {
            return Ok(Arc::clone(same));
        }
        let bytes = Arc::new(fetched);
        if let Some(like) = self
            .loaded
            .iter()
            .find(|loaded| loaded.fingerprint == fingerprint && loaded.identity.name == config.name)
        {
            // Tried before; only what it counts for, or who vouches for it, changed.
            return Ok(Arc::new(LoadedModule {
                identity: like.identity.clone(),
                settings_schema: like.settings_schema.clone(),
                mode: config.mode,
                module: Arc::clone(&like.module),
                fingerprint,
                source,
                trust,
                rules: like.rules.clone(),
                bytes,
            }));
        }
        let component = self
            .cache
            .compile(self.engine, &digest, &bytes.bytes)
            .map_err(|error| {
                ModuleProblem::NotAModule(format!("it is no WebAssembly component: {error:#}"))
            })?;
        let settings = config.settings.to_string();
        let order = Order {
            name: config.name.as_str().into(),
            kind: config.kind,
            settings: settings.clone(),
            limits: config.limits,
            capabilities: config.capabilities,
            keeps_memory: abi::keeps_memory(&bytes.bytes),
        };
        let module = abi::link(self.engine, &component, order)?;
        let known = self.tried(config, &digest, &*module)?;
        let code = abi::Code {
            cache: self.cache.clone(),
            bytes: Arc::clone(&bytes),
        };
        if !module.resume(&code) {
            module
                .try_settings(&settings)?
                .map_err(ModuleProblem::Settings)?;
            module.settle(code);
        }
        let identity = ModuleIdentity {
            name: config.name.clone(),
            version: known.version,
            kind: config.kind,
            digest,
        };
        Ok(Arc::new(LoadedModule {
            identity,
            settings_schema: known.settings_schema,
            mode: config.mode,
            module: module.into(),
            fingerprint,
            source,
            trust,
            rules: known.rules,
            bytes,
        }))
    }

    /// What the module says of itself, and that its examples hold. The same module
    /// answers the same under the same limits, so it is asked once where that can be
    /// noted.
    fn tried(
        &self,
        config: &ModuleConfig,
        digest: &Digest,
        module: &dyn PolicyModule,
    ) -> Result<Known, ModuleProblem> {
        let capabilities: Vec<_> = config.capabilities.iter().collect();
        let kind = kind_name(config.kind);
        let terms = format!(
            "tried 2 {digest} {kind} {:?} {capabilities:?}",
            config.limits
        );
        let terms = Digest::of(terms.as_bytes());
        let noted = self.cache.noted(self.engine, &terms);
        if let Some(known) = noted.and_then(|noted| serde_json::from_str(&noted).ok()) {
            return Ok(known);
        }
        let described = module.describe()?;
        if described.kind != config.kind {
            return Err(ModuleProblem::Kind {
                configured: kind,
                described: kind_name(described.kind),
            });
        }
        let mut rules = Vec::new();
        let started = Instant::now();
        for example in &described.examples {
            check_example_noting(module, example, &mut rules)?;
            if started.elapsed() > EXAMPLES {
                return Err(ModuleProblem::NotAModule(format!(
                    "its {} examples take longer than {} s together",
                    described.examples.len(),
                    EXAMPLES.as_secs()
                )));
            }
        }
        rules.sort();
        rules.dedup();
        let known = Known {
            version: described.version,
            settings_schema: described.settings_schema,
            rules,
        };
        if let Ok(text) = serde_json::to_string(&known) {
            self.cache.note(self.engine, &terms, &text);
        }
        Ok(known)
    }

    fn fetch(&self, config: &ModuleConfig) -> Result<Fetched, ModuleProblem> {
        if let Some((store, digests)) = self.kept
            && let Some(digest) = digests.get(&config.name)
            && let Some(kept) = store.get(digest)?
        {
            return Ok(kept);
        }
        match &config.source {
            SourceRef::Bundled(name) => {
                let bytes = self
                    .bundled
                    .0
                    .get(name)
                    .ok_or_else(|| ModuleProblem::NotBundled {
                        name: name.clone(),
                        bundled: self.bundled.0.keys().cloned().collect(),
                    })?;
                Ok(Fetched::new(bytes.to_vec(), None))
            }
            other => Ok(self.sources.fetch(other)?),
        }
    }
}

/// Over everything that can change a module's answers; each part with its length, so
/// that no two modules read the same.
pub(crate) fn fingerprint(config: &ModuleConfig, digest: &Digest) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    add(b"selfheal policy module 1");
    add(kind_name(config.kind).as_bytes());
    add(&digest.0);
    // Keys of a JSON object are sorted, so equal settings read the same.
    add(config.settings.to_string().as_bytes());
    add(&config.limits.deadline().as_nanos().to_be_bytes());
    add(&config.limits.memory().to_be_bytes());
    add(&config.limits.output().to_be_bytes());
    add(config.capabilities.to_string().as_bytes());
    Digest(hasher.finalize().into())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModuleProblem> {
    let failed = |source| ModuleProblem::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_MODULE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let size = bytes.len() as u64;
    if size > LARGEST_MODULE {
        return Err(ModuleProblem::TooLarge {
            bytes: size,
            limit: LARGEST_MODULE,
        });
    }
    Ok(bytes)
}

/// Asks one example and compares.
pub(crate) fn check_example(
    module: &dyn PolicyModule,
    example: &Example,
) -> Result<(), ModuleProblem> {
    check_example_noting(module, example, &mut Vec::new())
}

/// The same; notes the rules that its answer names.
fn check_example_noting(
    module: &dyn PolicyModule,
    example: &Example,
    rules: &mut Vec<String>,
) -> Result<(), ModuleProblem> {
    let question = example.question();
    let (right, got) = match (&example.question, example.expect) {
        (
            ExampleQuestion::ToolCall(_) | ExampleQuestion::Patch(_),
            Expectation::Allow | Expectation::Ask | Expectation::Deny,
        ) => {
            let verdict = module.judge(&question)?;
            rules.extend(verdict.reason().map(|reason| reason.rule.clone()));
            let right = matches!(
                (&verdict, example.expect),
                (Verdict::Allow, Expectation::Allow)
                    | (Verdict::Ask(_), Expectation::Ask)
                    | (Verdict::Deny(_), Expectation::Deny)
            );
            (right, format!("{verdict:?}"))
        }
        (ExampleQuestion::Patch(_), Expectation::Score(low, high)) => {
            let (score, factors) = module.assess(&question)?;
            rules.extend(factors.iter().map(|factor| factor.name.clone()));
            (
                (low..=high).contains(&u32::from(score.get())),
                format!("{} {factors:?}", score.get()),
            )
        }
        (
            ExampleQuestion::Assessed(..),
            Expectation::Apply | Expectation::Review | Expectation::Stop,
        ) => {
            let (action, reason) = module.decide(&question)?;
            let right = matches!(
                (action, example.expect),
                (AutonomyAction::Apply, Expectation::Apply)
                    | (AutonomyAction::Review(_), Expectation::Review)
                    | (AutonomyAction::Stop, Expectation::Stop)
            );
            (right, format!("{action:?}: {reason}"))
        }
        (ExampleQuestion::Issue(_), Expectation::Admit | Expectation::NeedsAdmin) => {
            let admission = module.admit(&question)?;
            if let Admission::NeedsAdmin(reason) = &admission {
                rules.push(reason.rule.clone());
            }
            let right = matches!(
                (&admission, example.expect),
                (Admission::Admit(_), Expectation::Admit)
                    | (Admission::NeedsAdmin(_), Expectation::NeedsAdmin)
            );
            (right, format!("{admission:?}"))
        }
        _ => (
            false,
            "nothing: the example's expectation does not belong to its question".to_owned(),
        ),
    };
    if right {
        return Ok(());
    }
    Err(ModuleProblem::Example {
        example: example.name.clone(),
        expected: format!("{:?}", example.expect),
        got,
    })
}
