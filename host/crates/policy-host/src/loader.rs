//! From `[[module]]` to a module that is ready: bytes, pin, compilation, contract,
//! kind, examples, settings. The first thing that is not right refuses it.

use crate::abi::{self, Example, ExampleQuestion, Expectation, Order, PolicyModule, kind_name};
use crate::cache::CodeCache;
use crate::config::{ModuleConfig, ModuleMode, ModuleSource};
use crate::engine::PolicyEngine;
use crate::error::ModuleProblem;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::ModuleIdentity;
use selfheal_domain::risk::{Admission, AutonomyAction};
use selfheal_domain::verdict::Verdict;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Largest module, in bytes.
pub const LARGEST_MODULE: u64 = 16 << 20;

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
    pub(crate) module: Box<dyn PolicyModule>,
}

/// What loading needs.
pub(crate) struct Loader<'a> {
    pub(crate) engine: &'a PolicyEngine,
    pub(crate) cache: &'a CodeCache,
    pub(crate) bundled: &'a BundledModules,
}

impl Loader<'_> {
    pub(crate) fn load(&self, config: &ModuleConfig) -> Result<LoadedModule, ModuleProblem> {
        let bytes = self.bytes(&config.source)?;
        let digest = Digest::of(&bytes);
        if let Some(pinned) = config.pin
            && pinned != digest
        {
            return Err(ModuleProblem::Digest {
                pinned,
                found: digest,
            });
        }
        let component = self
            .cache
            .compile(self.engine, &digest, &bytes)
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
        };
        let module = abi::link(self.engine, &component, order)?;
        let described = module.describe()?;
        if described.kind != config.kind {
            return Err(ModuleProblem::Kind {
                configured: kind_name(config.kind),
                described: kind_name(described.kind),
            });
        }
        for example in &described.examples {
            check_example(&*module, example)?;
        }
        module
            .try_settings(&settings)?
            .map_err(ModuleProblem::Settings)?;
        let identity = ModuleIdentity {
            name: config.name.clone(),
            version: described.version,
            kind: config.kind,
            digest,
        };
        Ok(LoadedModule {
            identity,
            settings_schema: described.settings_schema,
            mode: config.mode,
            module,
        })
    }

    fn bytes(&self, source: &ModuleSource) -> Result<Cow<'_, [u8]>, ModuleProblem> {
        match source {
            ModuleSource::Bundled(name) => {
                let bytes = self
                    .bundled
                    .0
                    .get(name)
                    .ok_or_else(|| ModuleProblem::NotBundled {
                        name: name.clone(),
                        bundled: self.bundled.0.keys().cloned().collect(),
                    })?;
                Ok(Cow::Borrowed(bytes))
            }
            ModuleSource::File(path) => read(path).map(Cow::Owned),
        }
    }
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
    let question = example.question();
    let (right, got) = match (&example.question, example.expect) {
        (
            ExampleQuestion::ToolCall(_) | ExampleQuestion::Patch(_),
            Expectation::Allow | Expectation::Ask | Expectation::Deny,
        ) => {
            let verdict = module.judge(&question)?;
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
