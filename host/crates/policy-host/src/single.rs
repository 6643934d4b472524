//! One module outside any set: what its author looks at, checks, tests and
//! measures. It runs under the same limits and with the same imports as in force;
//! only nothing follows from its answers.

use crate::abi::{self, Example, Order, PolicyModule, Question, Subject, kind_name};
use crate::cache::CodeCache;
use crate::capabilities::{Capabilities, Capability};
use crate::engine::PolicyEngine;
use crate::error::ModuleProblem;
use crate::limits::Limits;
use crate::loader::{LARGEST_MODULE, check_example};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{IssueFacts, ModuleKind, PatchFacts, PolicyContext, ToolCallFacts};
use selfheal_domain::risk::{Admission, Assessment, AutonomyAction, RiskFactor, RiskScore};
use selfheal_domain::verdict::{Fault, Verdict};
use selfheal_policy_source::Fetched;
use std::sync::Arc;
use wasmtime::component::Component;

/// Package of the contract.
const PACKAGE: &str = "selfheal:policy/";
/// What every module exports beside its judging interface.
const COMMON_EXPORTS: [&str; 2] = ["configure", "describe"];

/// A module's outside: known without running it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anatomy {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Size of its bytes.
    pub size: u64,
    /// Interfaces that it imports, as in `selfheal:policy/host@1.0.0`.
    pub imports: Vec<String>,
    /// Interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// Kind, by the interface that it exports.
    pub kind: Option<ModuleKind>,
    /// Version of the contract that it was built for, as in `1.0.0`.
    pub line: Option<String>,
}

impl Anatomy {
    /// Everything about the outside that would keep a host from loading it with
    /// these capabilities.
    pub fn problems(&self, granted: Capabilities) -> Vec<String> {
        let mut problems = Vec::new();
        if self.size > LARGEST_MODULE {
            let problem = ModuleProblem::TooLarge {
                bytes: self.size,
                limit: LARGEST_MODULE,
            };
            problems.push(problem.to_string());
        }
        let mut missing = Vec::new();
        let mut grants = granted;
        for import in self.imports.iter().filter(|import| !offered(import)) {
            match Capability::of_import(import) {
                Some(capability) if granted.has(capability) => {}
                Some(capability) => {
                    missing.push(import.clone());
                    grants = grants.with(capability);
                }
                None => {
                    let import = import.clone();
                    problems.push(ModuleProblem::Import { import }.to_string());
                }
            }
        }
        if !missing.is_empty() {
            problems.push(ModuleProblem::NotGranted { missing, grants }.to_string());
        }
        if self.kind.is_none() {
            problems.push(format!(
                "it exports none of `{PACKAGE}judge`, `{PACKAGE}assess`, `{PACKAGE}decide`: its kind is unknown"
            ));
        }
        for name in COMMON_EXPORTS {
            if !self.exports.iter().any(|export| export == name) {
                problems.push(format!("it does not export `{name}`"));
            }
        }
        problems
    }
}

/// What a module says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelfDescription {
    /// Name that the module gives itself; `policy.toml` may give it another.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// JSON Schema of its settings, as text.
    pub settings_schema: String,
    /// Names of its examples.
    pub examples: Vec<String>,
}

/// What came of one example that a module carries.
#[derive(Debug)]
pub struct ExampleResult {
    /// Its name.
    pub name: String,
    /// Why it does not hold, or nothing.
    pub problem: Option<ModuleProblem>,
}

/// How a module is run: as its entry in `policy.toml` would say.
#[derive(Clone, PartialEq, Debug)]
pub struct RunAs {
    /// Name in logs and messages.
    pub name: String,
    /// JSON; in force in every question that brings none of its own.
    pub settings: String,
    /// Of each decision.
    pub limits: Limits,
    /// What it is granted.
    pub capabilities: Capabilities,
}

/// A module that fits the contract, ready to be asked.
pub struct SingleModule {
    engine: PolicyEngine,
    component: Component,
    anatomy: Anatomy,
    kind: ModuleKind,
    keeps_memory: bool,
    module: Box<dyn PolicyModule>,
}

impl SingleModule {
    /// Looks at a module's outside.
    ///
    /// # Errors
    /// The bytes are no component.
    pub fn anatomy_of(
        engine: &PolicyEngine,
        cache: &CodeCache,
        bytes: &[u8],
    ) -> Result<Anatomy, ModuleProblem> {
        compile(engine, cache, bytes).map(|(anatomy, _)| anatomy)
    }

    /// Compiles and links a module of whatever kind it is.
    ///
    /// # Errors
    /// The bytes are no component, or it does not fit the contract.
    pub fn load(
        engine: &PolicyEngine,
        cache: &CodeCache,
        bytes: &[u8],
        run_as: RunAs,
    ) -> Result<Self, ModuleProblem> {
        let (anatomy, component) = compile(engine, cache, bytes)?;
        let keeps_memory = abi::keeps_memory(bytes);
        Self::link(engine.clone(), component, anatomy, run_as, keeps_memory)
    }

    /// The same module, compiled once, run in another way.
    ///
    /// # Errors
    /// It does not fit the contract with these capabilities.
    pub fn again(&self, run_as: RunAs) -> Result<Self, ModuleProblem> {
        Self::link(
            self.engine.clone(),
            self.component.clone(),
            self.anatomy.clone(),
            run_as,
            self.keeps_memory,
        )
    }

    fn link(
        engine: PolicyEngine,
        component: Component,
        anatomy: Anatomy,
        run_as: RunAs,
        keeps_memory: bool,
    ) -> Result<Self, ModuleProblem> {
        let kind = anatomy.kind.ok_or_else(|| {
            let message = "it exports neither judge, assess nor decide".to_owned();
            ModuleProblem::NotAModule(message)
        })?;
        let order = Order {
            name: run_as.name.into(),
            kind,
            settings: run_as.settings,
            limits: run_as.limits,
            capabilities: run_as.capabilities,
            keeps_memory,
        };
        let module = abi::link(&engine, &component, order)?;
        Ok(Self {
            engine,
            component,
            anatomy,
            kind,
            keeps_memory,
            module,
        })
    }

    /// Its outside.
    pub fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    /// Which questions it answers, by what it exports.
    pub fn kind(&self) -> ModuleKind {
        self.kind
    }

    /// What it says about itself.
    ///
    /// # Errors
    /// It faults, or calls itself another kind than what it exports.
    pub fn describe(&self) -> Result<SelfDescription, ModuleProblem> {
        let described = self.module.describe()?;
        if described.kind != self.kind {
            return Err(ModuleProblem::Kind {
                configured: kind_name(self.kind),
                described: kind_name(described.kind),
            });
        }
        Ok(SelfDescription {
            name: described.name,
            version: described.version,
            settings_schema: described.settings_schema,
            examples: described
                .examples
                .into_iter()
                .map(|example| example.name)
                .collect(),
        })
    }

    /// Lets what follows from its settings be computed once, as for a module in force.
    /// That takes a while, on a thread of its own.
    ///
    /// # Errors
    /// It refuses its settings.
    pub fn settle(
        &self,
        cache: &CodeCache,
        bytes: &[u8],
        settings: &str,
    ) -> Result<(), ModuleProblem> {
        self.try_settings(settings)?;
        let code = abi::Code {
            cache: cache.clone(),
            bytes: Arc::new(Fetched::new(bytes.to_vec(), None)),
        };
        if !self.module.resume(&code) {
            self.module.settle(code);
        }
        Ok(())
    }

    /// Whether that is done. Some modules never get there; they work all the same.
    pub fn settled(&self) -> bool {
        self.module.settled()
    }

    /// The examples that it carries.
    ///
    /// # Errors
    /// It faults while naming them.
    pub fn examples(&self) -> Result<Vec<Example>, ModuleProblem> {
        Ok(self.module.describe()?.examples)
    }

    /// Asks every example that the module carries.
    ///
    /// # Errors
    /// It faults while naming them.
    pub fn run_examples(&self) -> Result<Vec<ExampleResult>, ModuleProblem> {
        let described = self.module.describe()?;
        let results = described.examples.iter().map(|example| ExampleResult {
            name: example.name.clone(),
            problem: check_example(&*self.module, example).err(),
        });
        Ok(results.collect())
    }

    /// Offers it settings (JSON).
    ///
    /// # Errors
    /// It refuses them, in its own words, or faults.
    pub fn try_settings(&self, settings: &str) -> Result<(), ModuleProblem> {
        self.module
            .try_settings(settings)?
            .map_err(ModuleProblem::Settings)
    }

    /// May this call happen?
    ///
    /// # Errors
    /// It faults, or is no guardrail.
    pub fn judge_tool_call(
        &self,
        context: &PolicyContext,
        call: &ToolCallFacts,
    ) -> Result<Verdict, Fault> {
        self.module
            .judge(&question(context, Subject::ToolCall(call)))
    }

    /// Is this patch acceptable?
    ///
    /// # Errors
    /// It faults, or is no guardrail.
    pub fn judge_patch(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
    ) -> Result<Verdict, Fault> {
        self.module.judge(&question(context, Subject::Patch(patch)))
    }

    /// How risky is it?
    ///
    /// # Errors
    /// It faults, or is no risk module.
    pub fn assess(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
    ) -> Result<(RiskScore, Vec<RiskFactor>), Fault> {
        self.module
            .assess(&question(context, Subject::Patch(patch)))
    }

    /// What happens to it?
    ///
    /// # Errors
    /// It faults, or is no autonomy module.
    pub fn decide(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
        assessment: &Assessment,
    ) -> Result<(AutonomyAction, String), Fault> {
        self.module
            .decide(&question(context, Subject::Assessed(patch, assessment)))
    }

    /// May the issue start without an admin?
    ///
    /// # Errors
    /// It faults, or is no autonomy module.
    pub fn admit(&self, context: &PolicyContext, issue: &IssueFacts) -> Result<Admission, Fault> {
        self.module.admit(&question(context, Subject::Issue(issue)))
    }
}

/// Asked in a run without a past.
fn question<'a>(context: &'a PolicyContext, subject: Subject<'a>) -> Question<'a> {
    Question::new(context, Arc::default(), subject)
}

fn compile(
    engine: &PolicyEngine,
    cache: &CodeCache,
    bytes: &[u8],
) -> Result<(Anatomy, Component), ModuleProblem> {
    let size = bytes.len() as u64;
    if size > LARGEST_MODULE {
        return Err(ModuleProblem::TooLarge {
            bytes: size,
            limit: LARGEST_MODULE,
        });
    }
    let digest = Digest::of(bytes);
    let component = cache.compile(engine, &digest, bytes).map_err(|error| {
        ModuleProblem::NotAModule(format!("it is no WebAssembly component: {error:#}"))
    })?;
    let types = component.component_type();
    let wasm = engine.wasm();
    let imports: Vec<String> = types
        .imports(wasm)
        .map(|(name, _)| name.to_owned())
        .collect();
    let exports: Vec<String> = types
        .exports(wasm)
        .map(|(name, _)| name.to_owned())
        .collect();
    let judging = exports.iter().find_map(|name| {
        let (interface, line) = interface_of(name)?;
        let kind = match interface {
            "judge" => ModuleKind::Guardrail,
            "assess" => ModuleKind::Risk,
            "decide" => ModuleKind::Autonomy,
            _ => return None,
        };
        Some((kind, line.to_owned()))
    });
    let (kind, line) = judging.unzip();
    let anatomy = Anatomy {
        digest,
        size,
        imports,
        exports,
        kind,
        line,
    };
    Ok((anatomy, component))
}

/// Interface and version in `selfheal:policy/judge@1.0.0`.
fn interface_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

/// Interfaces of the contract that a host offers every module.
fn offered(import: &str) -> bool {
    matches!(interface_of(import), Some(("host" | "types", _)))
}

/// A module's bytes as text or binary: `.wat` is accepted like in `policy.toml`.
///
/// # Errors
/// The file cannot be read or is too large.
pub fn read_module(path: &std::path::Path) -> Result<Vec<u8>, ModuleProblem> {
    crate::loader::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parts with a memory each, one of which hands the other a text.
    const PARTS: &str = r#"(component
      (component $to
        (core module $m
          (memory (export "mem") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
          (func (export "f") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "f") (param "s" string)
          (canon lift (core func $i "f") (memory (core memory $i "mem")) (realloc (core func $i "realloc")))))
      (component $from
        (import "f" (func $f (param "s" string)))
        (core module $libc
          (memory (export "mem") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
        (core instance $libc (instantiate $libc))
        (core func $lowered
          (canon lower (func $f) (memory (core memory $libc "mem")) (realloc (core func $libc "realloc"))))
        (core module $m (import "" "f" (func (param i32 i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $lowered)))))))
      (instance $a (instantiate $to))
      (instance $b (instantiate $from (with "f" (func $a "f")))))"#;

    #[test]
    fn a_module_of_several_parts_is_looked_at() {
        let engine = PolicyEngine::new().unwrap();
        let anatomy =
            SingleModule::anatomy_of(&engine, &CodeCache::none(), PARTS.as_bytes()).unwrap();
        assert_eq!(anatomy.kind, None);
        assert_eq!(anatomy.problems(Capabilities::NONE).len(), 3);
    }

    #[test]
    fn what_is_missing_from_a_modules_outside_is_named_at_once() {
        let engine = PolicyEngine::new().unwrap();
        let text = br#"(component (import "wasi:sockets/tcp@0.2.0" (instance)) (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
        let anatomy = SingleModule::anatomy_of(&engine, &CodeCache::none(), text).unwrap();
        let problems = anatomy.problems(Capabilities::NONE);
        assert_eq!(problems.len(), 5, "{problems:?}");
        let granted = Capabilities::named(["wasi:clocks"]).unwrap();
        assert_eq!(anatomy.problems(granted).len(), 4);
    }
}
