//! Guests written by hand, and the facts they are asked about.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test file uses its part; a test may stop at a surprise"
)]

use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{
    AgentPhase, ChangeKind, Environment, IssueFacts, PatchFacts, PatchFileFacts, PolicyContext,
    RunCounters, SimpleCommand, ToolCallFacts, Word,
};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::TrustClass;
use selfheal_policy_host::{BundledModules, CodeCache, PolicyConfig, PolicyEngine, WasmPolicyHost};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// A guardrail in core WebAssembly, made a component. `body` judges tool calls and
/// leaves the address of a verdict: 1024 holds "allow", 1088 "deny" with the rule
/// `test.rule`. `parts` are further definitions.
pub(crate) fn guardrail(body: &str, parts: &str) -> Vec<u8> {
    let judge = format!(
        r#"(func (export "selfheal:policy/judge@1.0.0#judge-tool-call") (param i32) (result i32) {body})
           (func (export "selfheal:policy/judge@1.0.0#judge-patch") (param i32) (result i32) {body})"#
    );
    component("guardrail", 0, &judge, parts)
}

/// A risk module; `body` leaves the address of an assessment.
pub(crate) fn risk(body: &str, parts: &str) -> Vec<u8> {
    let assess = format!(
        r#"(func (export "selfheal:policy/assess@1.0.0#assess") (param i32) (result i32) {body})"#
    );
    component("risk", 1, &assess, parts)
}

/// An autonomy module; `decide` leaves the address of a decision, `admit` of an admission.
pub(crate) fn autonomy(decide: &str, admit: &str, parts: &str) -> Vec<u8> {
    let functions = format!(
        r#"(func (export "selfheal:policy/decide@1.0.0#decide") (param i32) (result i32) {decide})
           (func (export "selfheal:policy/decide@1.0.0#admit") (param i32) (result i32) {admit})"#
    );
    component("autonomy", 2, &functions, parts)
}

/// `kind` is what `describe` claims: 0 guardrail, 1 risk, 2 autonomy.
pub(crate) fn component(world: &str, kind: u8, functions: &str, parts: &str) -> Vec<u8> {
    component_with(
        world,
        kind,
        functions,
        parts,
        "(i32.const 256)",
        "(i32.const 512)",
    )
}

/// Also with bodies for `describe` and `configure`.
pub(crate) fn component_with(
    world: &str,
    kind: u8,
    functions: &str,
    parts: &str,
    describe: &str,
    configure: &str,
) -> Vec<u8> {
    let module = module(kind, functions, parts, describe, configure);
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/v1");
    let (package, _) = resolve.push_dir(wit).unwrap();
    encode(&module, &resolve, package, world)
}

/// A guardrail in core WebAssembly with WASI `imports`; its component imports what of
/// them is used.
pub(crate) fn importing(imports: &str, body: &str, parts: &str) -> Vec<u8> {
    let judge = format!(
        r#"(func (export "selfheal:policy/judge@1.0.0#judge-tool-call") (param i32) (result i32) {body})
           (func (export "selfheal:policy/judge@1.0.0#judge-patch") (param i32) (result i32) {body})"#
    );
    let text = module(0, &judge, parts, "(i32.const 256)", "(i32.const 512)");
    let text = text.replacen("(module", &format!("(module {imports}"), 1);
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = wit_parser::Resolve::default();
    resolve
        .push_dir(home.join("../../../guest-sdk/wit/v1"))
        .unwrap();
    resolve.push_dir(home.join("wit")).unwrap();
    let sockets = "package wasi:sockets@0.2.12;\n\
                   interface instance-network { instance-network: func() -> u32; }";
    resolve.push_str("sockets.wit", sockets).unwrap();
    let world = "package test:guest;\nworld guest {\n\
                 include selfheal:policy/guardrail@1.0.0;\n\
                 include selfheal:granted/granted;\n\
                 import wasi:sockets/instance-network@0.2.12;\n}";
    let package = resolve.push_str("guest.wit", world).unwrap();
    encode(&text, &resolve, package, "guest")
}

/// The text of a core module with what every world exports.
pub(crate) fn module(
    kind: u8,
    functions: &str,
    parts: &str,
    describe: &str,
    configure: &str,
) -> String {
    format!(
        r#"(module
  (import "selfheal:policy/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "selfheal:policy/host@1.0.0" "run-counters" (func $counters (param i32)))
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 131072))
  (data (i32.const 16) "hostile")
  (data (i32.const 32) "1.0")
  (data (i32.const 48) "{{}}")
  (data (i32.const 64) "test.rule")
  ;; description: name, version, kind, settings schema, no examples
  (data (i32.const 256) "\10\00\00\00\07\00\00\00\20\00\00\00\03\00\00\00\{kind:02x}\00\00\00\30\00\00\00\02\00\00\00\00\20\00\00\00\00\00\00")
  ;; deny: test.rule, an empty message, no evidence, no alternative
  (data (i32.const 1088) "\02\00\00\00\40\00\00\00\09\00\00\00\40\00\00\00\09\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))))))
    (local.get $start))
  (func (export "describe") (result i32) {describe})
  (func (export "configure") (param i32 i32) (result i32) {configure})
  {functions}
  {parts})"#
    )
}

/// A component of a core module for a world of a package.
pub(crate) fn encode(
    module: &str,
    resolve: &wit_parser::Resolve,
    package: wit_parser::PackageId,
    world: &str,
) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

/// The modules of the default policy.
pub(crate) const STANDARD: [&str; 5] = [
    "shell-guard",
    "path-guard",
    "patch-guard",
    "risk-score",
    "autonomy",
];

/// Where `cargo xtask build-policies` leaves modules.
pub(crate) fn policies_dir() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/policies");
    std::env::var_os("SELFHEAL_POLICIES_DIR").map_or(directory, PathBuf::from)
}

/// Modules as they were built.
pub(crate) fn bundled(names: &[&str]) -> BundledModules {
    let module = |name: &&str| {
        let path = policies_dir().join(name).with_extension("wasm");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; run `cargo xtask build-policies` first",
                path.display()
            )
        });
        ((*name).to_owned(), Cow::Owned(bytes))
    };
    BundledModules(names.iter().map(module).collect())
}

/// A host that has `modules` built in.
pub(crate) fn host_with(modules: &[(&str, Vec<u8>)]) -> WasmPolicyHost {
    let bundled = modules
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), Cow::Owned(bytes.clone())))
        .collect();
    WasmPolicyHost::new(
        PolicyEngine::new().unwrap(),
        CodeCache::none(),
        BundledModules(bundled),
    )
}

/// `policy.toml` from its text.
pub(crate) fn config(text: &str) -> PolicyConfig {
    PolicyConfig::parse(text, "policy.toml", Path::new("/nowhere")).unwrap()
}

/// One enforced module of `kind` with tight limits.
pub(crate) fn one(name: &str, kind: &str) -> String {
    format!(
        "environment = \"dev\"\n[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\n\
         limits = {{ deadline_ms = 50, memory_bytes = 1048576, output_bytes = 65536 }}\n"
    )
}

pub(crate) fn context() -> PolicyContext {
    PolicyContext {
        run: None,
        phase: AgentPhase::Drafting,
        environment: Environment::Dev,
        level: AutonomyLevel::AutoAll,
        actor: "engine:builtin".to_owned(),
        trust: TrustClass::Member,
        service: None,
        earned: Default::default(),
        counters: RunCounters::default(),
    }
}

/// A `Bash` call as the host would describe it, for words that need no quoting.
pub(crate) fn bash(command: &str) -> ToolCallFacts {
    let word = |text: &str| Word {
        text: text.to_owned(),
        certain: true,
    };
    let mut words = command.split(' ');
    ToolCallFacts {
        tool: "Bash".to_owned(),
        input: format!("{{\"command\":{command:?}}}"),
        commands: vec![SimpleCommand {
            program: word(words.next().unwrap_or_default()),
            resolved: None,
            arguments: words.map(word).collect(),
            certain: true,
        }],
        parsed: true,
        paths: Vec::new(),
        network: Vec::new(),
        bytes: 0,
    }
}

/// A proved patch of one line.
pub(crate) fn patch(path: &str, removed: &str, added: &str) -> PatchFacts {
    let diff = format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{removed}\n+{added}\n");
    PatchFacts {
        digest: Digest::of(diff.as_bytes()),
        diff,
        files: vec![PatchFileFacts {
            path: path.to_owned(),
            change: ChangeKind::Modified,
            added: vec![added.to_owned()],
            removed: vec![removed.to_owned()],
            test: false,
            protected: false,
            dependents: 0,
            owners: Vec::new(),
            earlier_heals: 0,
            earlier_rollbacks: 0,
        }],
        claimed_confidence: 0.9,
        reproduction_proved: true,
        rivals: 0,
        severity: "MEDIUM".to_owned(),
    }
}

pub(crate) fn issue() -> IssueFacts {
    IssueFacts {
        number: 1,
        severity: "CRITICAL".to_owned(),
        category: "reliability".to_owned(),
        source: "web".to_owned(),
        trust: TrustClass::Member,
    }
}
