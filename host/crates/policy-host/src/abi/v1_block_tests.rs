//! A guest that gives back what it was given: every question arrives as it would have
//! arrived in single allocations.

use super::{Block, OnePiece};
use crate::abi::v1_bindings::types as wit;
use crate::abi::{Question, Subject, keeps_memory, v1_facts as facts};
use proptest::prelude::*;
use selfheal_domain::digest::Digest;
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::policy as domain;
use selfheal_domain::risk::{Assessment, AutonomyLevel, RiskFactor, RiskScore};
use selfheal_domain::user::TrustClass;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{Component, ComponentNamedList, Lift, Linker};
use wasmtime::{Config, Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

const WORLD: &str = r"package test:echo;
world echo {
  use selfheal:policy/types@1.0.0.{context, tool-call, patch, assessment, issue};
  export tool-call: func(context: context, it: tool-call) -> tuple<context, tool-call>;
  export patch: func(context: context, it: patch) -> tuple<context, patch>;
  export assessed: func(context: context, it: patch, its: assessment) -> tuple<context, patch, assessment>;
  export issue: func(context: context, it: issue) -> tuple<context, issue>;
}";

/// Parameters lie in memory as a tuple of them does, so that their address is also
/// the address of the answer. Memory is full of ones before it is given.
const MODULE: &str = r#"(module
  (memory (export "memory") 64)
  (global $next (mut i32) (i32.const 8))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                               (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (memory.fill (local.get $start) (i32.const 255) (local.get 3))
    (local.get $start))
  (func (export "tool-call") (param i32) (result i32) (local.get 0))
  (func (export "patch") (param i32) (result i32) (local.get 0))
  (func (export "assessed") (param i32) (result i32) (local.get 0))
  (func (export "issue") (param i32) (result i32) (local.get 0)))"#;

struct Echo {
    engine: Engine,
    component: Component,
}

impl Echo {
    fn new() -> Self {
        let mut resolve = wit_parser::Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/v1");
        resolve.push_dir(wit).unwrap();
        let package = resolve.push_str("echo.wit", WORLD).unwrap();
        let world = resolve.select_world(&[package], Some("echo")).unwrap();
        let mut module = wat::parse_str(MODULE).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let bytes = ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap();
        let mut config = Config::new();
        config.wasm_component_model(true).concurrency_support(false);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, &bytes).unwrap();
        Self { engine, component }
    }

    fn answer<P, R>(&self, function: &str, block: &Block) -> R
    where
        P: ComponentNamedList + 'static,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
        for<'a> OnePiece<'a, P>: wasmtime::component::Lower,
    {
        let linker: Linker<()> = Linker::new(&self.engine);
        #[expect(clippy::disallowed_methods, reason = "the guest is this test's own")]
        let mut store = Store::new(&self.engine, ());
        let instance = linker.instantiate(&mut store, &self.component).unwrap();
        let function = instance
            .get_typed_func::<OnePiece<'_, P>, (R,)>(&mut store, function)
            .unwrap();
        let (answer,) = function
            .call(&mut store, block.standing_for::<P>())
            .unwrap();
        answer
    }
}

/// Facts that follow from a number.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn flag(&mut self) -> bool {
        self.throw(2) == 0
    }

    fn number(&mut self) -> u32 {
        let bits = self.throw(33);
        u32::try_from(self.throw(1 << bits)).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.throw(of.len() as u64)).unwrap()]
    }

    fn text(&mut self) -> String {
        let words = ["", "a", "src/app.py", "ß✓", "\u{0}", "𝄞 music", "--force"];
        let count = self.throw(4);
        (0..count).map(|_| self.one(&words)).collect()
    }

    fn maybe(&mut self) -> Option<String> {
        self.flag().then(|| self.text())
    }

    fn list<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.throw(4)).map(|_| make(self)).collect()
    }

    fn word(&mut self) -> domain::Word {
        domain::Word {
            text: self.text(),
            certain: self.flag(),
        }
    }

    fn trust(&mut self) -> TrustClass {
        self.one(&[
            TrustClass::Machine,
            TrustClass::External,
            TrustClass::Member,
            TrustClass::Admin,
        ])
    }

    fn context(&mut self) -> domain::PolicyContext {
        use domain::{AgentPhase, Environment};
        domain::PolicyContext {
            run: self.flag().then(|| RunRef {
                issue: IssueNumber(u64::from(self.number()) << 20),
                run: RunNumber(self.number()),
                id: RunId(uuid::Uuid::from_u128(u128::from(self.number()))),
            }),
            phase: self.one(&[
                AgentPhase::Diagnosis,
                AgentPhase::Drafting,
                AgentPhase::Verification,
            ]),
            environment: self.one(&[
                Environment::Local,
                Environment::Dev,
                Environment::Staging,
                Environment::Production,
            ]),
            level: self.one(&[
                AutonomyLevel::Observe,
                AutonomyLevel::Suggest,
                AutonomyLevel::AutoLow,
                AutonomyLevel::AutoAll,
            ]),
            actor: self.text(),
            trust: self.trust(),
            service: self.maybe(),
            earned: domain::TrackRecord {
                healed: self.number(),
                failed: self.number(),
                rolled_back: self.number(),
                streak: self.number(),
            },
            counters: domain::RunCounters {
                tool_calls: u64::from(self.number()) << 31,
                denied: u64::from(self.number()),
                files_written: u64::from(self.number()),
                bytes_written: u64::from(self.number()) << 17,
                seconds: u64::from(self.number()),
                surplus: 0,
            },
        }
    }

    fn tool_call(&mut self) -> domain::ToolCallFacts {
        use domain::AccessMode;
        domain::ToolCallFacts {
            tool: self.text(),
            input: self.text(),
            commands: self.list(|dice| domain::SimpleCommand {
                program: dice.word(),
                resolved: dice.maybe(),
                arguments: dice.list(Self::word),
                certain: dice.flag(),
            }),
            parsed: self.flag(),
            paths: self.list(|dice| domain::PathAccess {
                path: dice.text(),
                relative: dice.maybe(),
                mode: dice.one(&[
                    AccessMode::Read,
                    AccessMode::Write,
                    AccessMode::Create,
                    AccessMode::Delete,
                ]),
                certain: dice.flag(),
                tracked: dice.flag(),
                protected: dice.flag(),
                link: dice.maybe(),
            }),
            network: self.list(Self::text),
            bytes: u64::from(self.number()) << 9,
        }
    }

    fn patch(&mut self) -> domain::PatchFacts {
        use domain::ChangeKind;
        domain::PatchFacts {
            digest: Digest::of(self.text().as_bytes()),
            diff: self.text(),
            files: self.list(|dice| domain::PatchFileFacts {
                path: dice.text(),
                change: dice.one(&[ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted]),
                added: dice.list(Self::text),
                removed: dice.list(Self::text),
                test: dice.flag(),
                protected: dice.flag(),
                dependents: dice.number(),
                owners: dice.list(Self::text),
                earlier_heals: dice.number(),
                earlier_rollbacks: dice.number(),
            }),
            claimed_confidence: f64::from(self.number()) / 7.0,
            reproduction_proved: self.flag(),
            rivals: self.number(),
            severity: self.text(),
        }
    }

    fn assessment(&mut self) -> Assessment {
        Assessment {
            score: RiskScore::new(u32::try_from(self.throw(101)).unwrap()).unwrap(),
            factors: self.list(|dice| RiskFactor {
                name: dice.text(),
                points: dice.number(),
                evidence: dice.text(),
            }),
            faults: Vec::new(),
            generation: 1,
            asked: None,
        }
    }

    fn issue(&mut self) -> domain::IssueFacts {
        domain::IssueFacts {
            number: u64::from(self.number()),
            severity: self.text(),
            category: self.text(),
            source: self.text(),
            trust: self.trust(),
        }
    }
}

fn block(context: &domain::PolicyContext, subject: Subject<'_>) -> Block {
    Block::of(&Question::new(context, Arc::default(), subject))
}

/// The words of the contract compare by what they say.
fn same(got: &impl Debug, expected: &impl Debug) {
    assert_eq!(format!("{got:?}"), format!("{expected:?}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_question_arrives_as_in_single_allocations(seed in any::<u64>()) {
        thread_local!(static ECHO: Echo = Echo::new());
        let dice = &mut Dice(seed);
        let about = dice.context();
        let context = facts::context(&about);
        ECHO.with(|echo| {
            let call = dice.tool_call();
            let got: (wit::Context, wit::ToolCall) = echo
                .answer::<(wit::Context, wit::ToolCall), _>("tool-call", &block(&about, Subject::ToolCall(&call)));
            same(&got, &(&context, facts::tool_call(&call)));

            let patch = dice.patch();
            let got: (wit::Context, wit::Patch) =
                echo.answer::<(wit::Context, wit::Patch), _>("patch", &block(&about, Subject::Patch(&patch)));
            same(&got, &(&context, facts::patch(&patch)));

            let assessment = dice.assessment();
            let got: (wit::Context, wit::Patch, wit::Assessment) = echo
                .answer::<(wit::Context, wit::Patch, wit::Assessment), _>(
                    "assessed",
                    &block(&about, Subject::Assessed(&patch, &assessment)),
                );
            same(&got, &(&context, facts::patch(&patch), facts::assessment(&assessment)));

            let issue = dice.issue();
            let got: (wit::Context, wit::Issue) =
                echo.answer::<(wit::Context, wit::Issue), _>("issue", &block(&about, Subject::Issue(&issue)));
            same(&got, &(&context, facts::issue(&issue)));
        });
    }
}

#[test]
fn a_module_says_it_in_a_section() {
    let says = r#"(component (core module (@custom "selfheal:keeps-memory" "1")))"#;
    assert!(keeps_memory(says.as_bytes()));
    assert!(!keeps_memory(b"(component (core module))"));
    assert!(!keeps_memory(b"no module"));
}
