//! Modules begin configured and have spare instances, and nobody can tell: what a
//! module asks about the run, it asks for the question that it answers.
#![allow(clippy::unwrap_used, reason = "a test may stop at a surprise")]

mod support;

use selfheal_domain::policy::{PolicyContext, PolicySet, RunCounters};
use selfheal_domain::verdict::{Answer, ModuleAnswer};
use selfheal_policy_host::{ActiveSet, BundledModules, CodeCache, PolicyEngine, WasmPolicyHost};
use std::borrow::Cow;
use std::sync::Arc;
use support::{bash, component_with, config, context, one};

/// A guardrail of these bodies, with `judge` for calls and patches alike.
fn module(configure: &str, judge: &str, parts: &str) -> Vec<u8> {
    let functions = format!(
        r#"(func (export "selfheal:policy/judge@1.0.0#judge-tool-call") (param i32) (result i32) {judge})
           (func (export "selfheal:policy/judge@1.0.0#judge-patch") (param i32) (result i32) {judge})"#
    );
    component_with(
        "guardrail",
        0,
        &functions,
        parts,
        "(i32.const 256)",
        configure,
    )
}

/// Where compiled code is kept, modules begin configured; elsewhere they are
/// configured in each instance.
fn active(bytes: Vec<u8>, kept: bool, settles: bool) -> Arc<ActiveSet> {
    let home = tempfile::tempdir().unwrap();
    let cache = if kept {
        CodeCache::in_directory(home.path().join("code"))
    } else {
        CodeCache::none()
    };
    let bundled = BundledModules([("module".to_owned(), Cow::Owned(bytes))].into());
    let host = WasmPolicyHost::new(PolicyEngine::new().unwrap(), cache, bundled);
    let set = host.activate(host.prepare(&config(&one("module", "guardrail"))).unwrap());
    // Nobody waits for that, and nobody notices when it is done.
    while settles && !set.settled() {
        assert!(allowed(&set, 0));
    }
    set
}

fn allowed(set: &ActiveSet, tool_calls: u64) -> bool {
    let counters = RunCounters {
        tool_calls,
        ..RunCounters::default()
    };
    let context = PolicyContext {
        counters,
        ..context()
    };
    let judgement = set.judge_tool_call(&context, &bash("pytest -q"));
    let fault = |answer: &ModuleAnswer| matches!(answer.answer, Answer::Fault(_));
    assert!(!judgement.answers.iter().any(fault), "{judgement:?}");
    judgement.verdict.strictness() == 0
}

/// Asks until instances wait that were made before their question.
fn until_spares_wait(set: &ActiveSet) {
    while set.spares() == 0 {
        assert!(allowed(set, 0));
        std::thread::yield_now();
    }
}

#[test]
fn settings_are_in_force_in_instances_made_beforehand() {
    // Configuring stores a 7 far up in memory that it grew, and in a global.
    let bytes = module(
        "(drop (memory.grow (i32.const 3))) (i32.store (i32.const 400000) (i32.const 7)) (global.set $seven (i32.const 7)) (i32.const 512)",
        "(if (result i32) (i32.and (i32.eq (i32.load (i32.const 400000)) (i32.const 7)) (i32.eq (global.get $seven) (i32.const 7)))
           (then (i32.const 1024)) (else (i32.const 1088)))",
        "(global $seven (mut i32) (i32.const 0))",
    );
    for kept in [true, false] {
        let set = active(bytes.clone(), kept, kept);
        for _ in 0..3 {
            until_spares_wait(&set);
            assert!(allowed(&set, 0));
        }
    }
}

#[test]
fn an_instance_answers_one_question_whatever_made_it() {
    let bytes = module(
        "(i32.const 512)",
        "(if (result i32) (i32.load (i32.const 4096)) (then (i32.const 1088)) (else (i32.store (i32.const 4096) (i32.const 1)) (i32.const 1024)))",
        "",
    );
    for kept in [true, false] {
        let set = active(bytes.clone(), kept, kept);
        for _ in 0..20 {
            until_spares_wait(&set);
            assert!(allowed(&set, 0));
        }
    }
}

#[test]
fn what_is_asked_about_the_run_belongs_to_the_question() {
    let judge = "(if (result i32) (i64.eqz (i64.load (i32.const 5000))) (then (i32.const 1024)) (else (i32.const 1088)))";
    let ask = "(call $counters (i32.const 5000))";
    // By the counters as they are now; and by those that there were when it was
    // configured, so that it must be configured for each question.
    let now = module("(i32.const 512)", &format!("{ask} {judge}"), "");
    let then = module(&format!("{ask} (i32.const 512)"), judge, "");
    for kept in [true, false] {
        let (now, then) = (
            active(now.clone(), kept, kept),
            active(then.clone(), kept, false),
        );
        for _ in 0..20 {
            until_spares_wait(&now);
            assert!(!allowed(&now, 5));
            assert!(allowed(&then, 0));
            assert!(!allowed(&then, 5));
            assert_eq!(then.spares(), 0);
            assert!(!then.settled());
        }
    }
}
