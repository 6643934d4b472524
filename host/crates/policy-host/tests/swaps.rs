//! A thousand swaps under full load: no decision is lost, none is answered by two
//! generations, none by another generation than the one that it names, and each is in
//! the journal as it was made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_audit::Masker;
use selfheal_domain::event::{Event, NewRecord, ToolDecision};
use selfheal_domain::external::{ExternalAgent, ExternalOrigin};
use selfheal_domain::ids::DecisionId;
use selfheal_domain::policy::{AgentPhase, PolicyHost, PolicySet};
use selfheal_domain::ports::EventStore;
use selfheal_domain::user::Actor;
use selfheal_domain::verdict::{Answer, Judgement, Verdict};
use selfheal_policy_host::{BundledModules, CodeCache, PolicyConfig, PolicyEngine, WasmPolicyHost};
use selfheal_store::{JournalStore, Options};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{bash, config, context, guardrail};

/// Different modules; generation `g` is made of those that say `gen.(g % VARIANTS)`.
const VARIANTS: u64 = 8;
const SWAPS: u64 = 1_000;
const NAMES: [&str; 2] = ["first", "second"];

/// A guardrail that denies everything with the rule `gen.N`.
fn naming(variant: u64) -> Vec<u8> {
    let rule = format!(
        r#"(data (i32.const 3000) "gen.{variant}")
           (data (i32.const 2048) "\02\00\00\00\b8\0b\00\00\05\00\00\00\b8\0b\00\00\05\00\00\00")"#
    );
    guardrail("(i32.const 2048)", &rule)
}

fn policy(variant: u64) -> PolicyConfig {
    let module = |name: &str| {
        format!(
            "[[module]]\nname = \"{name}\"\nkind = \"guardrail\"\nsource = \"bundled:gen-{variant}\"\n"
        )
    };
    config(&format!(
        "environment = \"dev\"\n{}",
        NAMES.map(module).concat()
    ))
}

/// That both modules answered, and for the generation that the judgement names.
fn check(judgement: &Judgement) {
    let expected = format!("gen.{}", judgement.generation % VARIANTS);
    assert_eq!(judgement.answers.len(), NAMES.len());
    for (answer, name) in judgement.answers.iter().zip(NAMES) {
        assert_eq!(answer.module, name);
        match &answer.answer {
            Answer::Verdict(Verdict::Deny(reason)) => assert_eq!(reason.rule, expected),
            other => panic!("{other:?} in generation {}", judgement.generation),
        }
    }
    assert!(matches!(&judgement.verdict, Verdict::Deny(_)));
}

fn journal(directory: &Path) -> JournalStore {
    let masker = Masker::new(std::iter::empty::<String>()).unwrap();
    JournalStore::open(directory, Options::new(masker)).unwrap()
}

/// Generations by decision, as the journal has them.
fn recorded_in(store: &JournalStore) -> BTreeMap<u128, u64> {
    let mut generations = BTreeMap::new();
    let mut from = 0;
    loop {
        let records = store.records(None, from, 500).unwrap();
        let Some(last) = records.last() else {
            return generations;
        };
        from = last.seq + 1;
        for record in records {
            let Event::ToolCalled(decision) = record.event else {
                panic!("{:?}", record.event);
            };
            check(&decision.judgement);
            let generation = decision.judgement.generation;
            let again = generations.insert(decision.id.0.as_u128(), generation);
            assert_eq!(again, None);
        }
    }
}

#[test]
fn a_thousand_swaps_under_load_lose_and_mix_nothing() {
    let modules = (0..VARIANTS).map(|variant| {
        let bytes = Cow::Owned(naming(variant));
        (format!("gen-{variant}"), bytes)
    });
    let home = tempfile::tempdir().unwrap();
    let host = WasmPolicyHost::new(
        PolicyEngine::new().unwrap(),
        CodeCache::in_directory(home.path().join("code")),
        BundledModules(modules.collect()),
    );
    let configs: Vec<PolicyConfig> = (0..VARIANTS).map(policy).collect();
    let put = |generation: u64| {
        let variant = usize::try_from(generation % VARIANTS).unwrap();
        let set = host.activate(host.prepare(&configs[variant]).unwrap());
        assert_eq!(set.generation(), generation);
    };
    put(1);
    let done = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    let call = bash("pytest -q");
    let store = journal(&home.path().join("journal"));
    let load = || {
        let mut answered = Vec::new();
        let mut latest = 0;
        while !done.load(Ordering::Relaxed) {
            let number = u128::from(asked.fetch_add(1, Ordering::Relaxed));
            let judgement = host.current().judge_tool_call(&context(), &call);
            check(&judgement);
            // Nobody sees an older generation after a newer one.
            assert!(judgement.generation >= latest);
            latest = judgement.generation;
            answered.push((number, judgement.generation));
            let origin = ExternalOrigin {
                agent: ExternalAgent::ClaudeCode,
                session: "one".to_owned(),
                call: None,
                directory: "/app".to_owned(),
                answer: judgement.verdict.clone(),
            };
            let event = Event::ToolCalled(ToolDecision {
                id: DecisionId(uuid::Uuid::from_u128(number)),
                phase: AgentPhase::Drafting,
                facts: call.clone(),
                judgement,
                external: Some(Box::new(origin)),
            });
            let record = NewRecord {
                at: chrono::DateTime::UNIX_EPOCH,
                actor: Actor::Operator,
                issue: None,
                event,
            };
            store.append(record, None).unwrap();
        }
        answered
    };
    let answered: BTreeMap<u128, u64> = std::thread::scope(|scope| {
        let runs = [scope.spawn(load), scope.spawn(load), scope.spawn(load)];
        for generation in 2..=SWAPS + 1 {
            put(generation);
        }
        done.store(true, Ordering::Relaxed);
        runs.into_iter()
            .flat_map(|run| run.join().unwrap())
            .collect()
    });
    assert_eq!(answered.len() as u64, asked.load(Ordering::Relaxed));
    assert!(
        answered
            .values()
            .all(|generation| (1..=SWAPS + 1).contains(generation))
    );
    check(&host.current().judge_tool_call(&context(), &call));
    assert_eq!(host.current().generation(), SWAPS + 1);
    drop(store);
    assert_eq!(
        recorded_in(&journal(&home.path().join("journal"))),
        answered
    );
}
