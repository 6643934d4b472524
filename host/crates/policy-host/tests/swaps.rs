//! A thousand swaps under full load: no decision is lost, none is answered by two
//! generations, none by another generation than the one that it names.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::{PolicyHost, PolicySet};
use selfheal_domain::verdict::{Answer, Judgement, Verdict};
use selfheal_policy_host::{BundledModules, CodeCache, PolicyConfig, PolicyEngine, WasmPolicyHost};
use std::borrow::Cow;
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
    let load = || {
        let mut recorded = Vec::new();
        let mut latest = 0;
        while !done.load(Ordering::Relaxed) {
            asked.fetch_add(1, Ordering::Relaxed);
            let judgement = host.current().judge_tool_call(&context(), &call);
            check(&judgement);
            // Nobody sees an older generation after a newer one.
            assert!(judgement.generation >= latest);
            latest = judgement.generation;
            recorded.push(judgement.generation);
        }
        recorded
    };
    let recorded: Vec<u64> = std::thread::scope(|scope| {
        let runs = [scope.spawn(load), scope.spawn(load), scope.spawn(load)];
        for generation in 2..=SWAPS + 1 {
            put(generation);
        }
        done.store(true, Ordering::Relaxed);
        runs.into_iter()
            .flat_map(|run| run.join().unwrap())
            .collect()
    });
    assert_eq!(recorded.len() as u64, asked.load(Ordering::Relaxed));
    assert!(
        recorded
            .iter()
            .all(|generation| (1..=SWAPS + 1).contains(generation))
    );
    check(&host.current().judge_tool_call(&context(), &call));
    assert_eq!(host.current().generation(), SWAPS + 1);
}
