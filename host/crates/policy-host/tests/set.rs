//! How answers of several modules become one, and how generations follow each other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::{Environment, PolicyHost, PolicySet};
use selfheal_domain::risk::{Admission, Assessment, AutonomyAction, AutonomyLevel, RiskScore};
use selfheal_domain::verdict::Verdict;
use std::sync::Arc;
use support::{autonomy, bash, config, context, guardrail, host_with, issue, patch};

const ALLOW: &str = "(i32.const 1024)";
const DENY: &str = "(i32.const 1088)";
/// The same reason, as a question.
const ASK: &str = "(i32.store8 (i32.const 1088) (i32.const 1)) (i32.const 1088)";

fn modules(lines: &[(&str, &str, &str)]) -> String {
    let module = |(name, kind, mode): &(&str, &str, &str)| {
        format!(
            "[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\nmode = \"{mode}\"\n"
        )
    };
    "environment = \"dev\"\n".to_owned() + &lines.iter().map(module).collect::<String>()
}

#[test]
fn the_strictest_answer_wins_in_any_order() {
    let host = host_with(&[
        ("allows", guardrail(ALLOW, "")),
        ("asks", guardrail(ASK, "")),
        ("denies", guardrail(DENY, "")),
    ]);
    for (names, strictness) in [
        (&["allows"][..], 0),
        (&["allows", "asks"], 1),
        (&["asks", "allows"], 1),
        (&["denies", "asks", "allows"], 2),
        (&["allows", "asks", "denies"], 2),
    ] {
        let lines: Vec<_> = names
            .iter()
            .map(|name| (*name, "guardrail", "enforce"))
            .collect();
        let set = host.activate(host.prepare(&config(&modules(&lines))).unwrap());
        let judgement = set.judge_tool_call(&context(), &bash("ls"));
        assert_eq!(judgement.verdict.strictness(), strictness, "{names:?}");
        assert_eq!(judgement.answers.len(), names.len());
        assert_eq!(judgement.generation, set.generation());
    }
}

#[test]
fn a_shadow_is_recorded_and_not_obeyed() {
    let host = host_with(&[
        ("allows", guardrail(ALLOW, "")),
        ("denies", guardrail(DENY, "")),
    ]);
    let text = modules(&[
        ("allows", "guardrail", "enforce"),
        ("denies", "guardrail", "shadow"),
    ]);
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    let judgement = set.judge_tool_call(&context(), &bash("ls"));
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(
        judgement
            .answers
            .iter()
            .map(|answer| answer.module.as_str())
            .collect::<Vec<_>>(),
        ["allows", "shadow:denies"]
    );
    // Shadows alone are silence.
    let text = modules(&[("allows", "guardrail", "shadow")]);
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    assert_eq!(
        set.judge_tool_call(&context(), &bash("ls"))
            .verdict
            .strictness(),
        2
    );
}

#[test]
fn a_generation_is_immutable_and_the_digest_names_it() {
    let host = host_with(&[
        ("allows", guardrail(ALLOW, "")),
        ("denies", guardrail(DENY, "")),
    ]);
    let first = host.activate(
        host.prepare(&config(&modules(&[("allows", "guardrail", "enforce")])))
            .unwrap(),
    );
    let before = host.current();
    let second = host.activate(
        host.prepare(&config(&modules(&[("denies", "guardrail", "enforce")])))
            .unwrap(),
    );
    assert_eq!(
        (first.generation(), before.generation(), second.generation()),
        (1, 1, 2)
    );
    assert_eq!(
        before.judge_tool_call(&context(), &bash("ls")).verdict,
        Verdict::Allow
    );
    assert_eq!(
        host.current()
            .judge_tool_call(&context(), &bash("ls"))
            .verdict
            .strictness(),
        2
    );

    let same = host
        .prepare(&config(&modules(&[("denies", "guardrail", "enforce")])))
        .unwrap();
    assert_eq!(same.digest(), second.digest());
    for change in [
        modules(&[("denies", "guardrail", "shadow")]),
        modules(&[("denies", "guardrail", "enforce")]) + "settings = { a = 1 }\n",
        modules(&[("denies", "guardrail", "enforce")]) + "limits = { deadline_ms = 7 }\n",
        modules(&[("denies", "guardrail", "enforce")]).replace("dev", "staging"),
        modules(&[("denies", "guardrail", "enforce")])
            .replace("[[module]]", "[autonomy]\nceiling = 1\n[[module]]"),
    ] {
        assert_ne!(
            host.prepare(&config(&change)).unwrap().digest(),
            second.digest(),
            "{change}"
        );
    }
}

#[test]
fn decisions_go_on_while_sets_are_swapped() {
    let host = Arc::new(host_with(&[
        ("allows", guardrail(ALLOW, "")),
        ("denies", guardrail(DENY, "")),
    ]));
    let allows = modules(&[("allows", "guardrail", "enforce")]);
    let denies = modules(&[("denies", "guardrail", "enforce")]);
    host.activate(host.prepare(&config(&allows)).unwrap());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let set = host.current();
                        let judgement = set.judge_tool_call(&context(), &bash("ls"));
                        // Odd generations allow, even ones deny; never a mix.
                        let expected = if set.generation() % 2 == 1 { 0 } else { 2 };
                        assert_eq!(
                            (judgement.verdict.strictness(), judgement.generation),
                            (expected, set.generation())
                        );
                    }
                })
            })
            .collect();
        for text in [&denies, &allows, &denies, &allows] {
            host.activate(host.prepare(&config(text)).unwrap());
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// An autonomy module that would apply and admit everything.
fn reckless() -> Vec<u8> {
    autonomy("(i32.const 2048)", "(i32.const 3072)", "")
}

#[test]
fn no_module_loosens_what_the_level_allows() {
    let host = host_with(&[("reckless", reckless())]);
    let text = modules(&[("reckless", "autonomy", "enforce")]);
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    let assessment = |score| Assessment {
        score: RiskScore::new(score).unwrap(),
        factors: Vec::new(),
        faults: Vec::new(),
        generation: 1,
        asked: None,
    };
    let mut tests = patch("tests/test_a.py", "a", "b");
    for file in &mut tests.files {
        file.test = true;
    }
    let plain = patch("a.py", "a", "b");
    for (level, score, patch, expected) in [
        (AutonomyLevel::Observe, 0, &plain, AutonomyAction::Review(1)),
        (AutonomyLevel::Suggest, 0, &plain, AutonomyAction::Review(1)),
        (AutonomyLevel::AutoLow, 24, &plain, AutonomyAction::Apply),
        (
            AutonomyLevel::AutoLow,
            25,
            &plain,
            AutonomyAction::Review(1),
        ),
        (AutonomyLevel::AutoAll, 100, &plain, AutonomyAction::Apply),
        (AutonomyLevel::AutoAll, 0, &tests, AutonomyAction::Review(1)),
    ] {
        let mut context = context();
        context.level = level;
        assert_eq!(
            set.decide(&context, patch, &assessment(score)).action,
            expected,
            "{level} {score}"
        );
    }
    let capped = text.replacen("[[module]]", "[autonomy]\nceiling = 1\n[[module]]", 1);
    let set = host.activate(host.prepare(&config(&capped)).unwrap());
    assert_eq!(
        set.decide(&context(), &plain, &assessment(0)).action,
        AutonomyAction::Review(1)
    );
}

#[test]
fn nothing_is_admitted_in_production() {
    let host = host_with(&[("reckless", reckless())]);
    let text = modules(&[("reckless", "autonomy", "enforce")]);
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    assert!(matches!(
        set.admit(&context(), &issue()),
        Admission::Admit(_)
    ));
    let mut production = context();
    production.environment = Environment::Production;
    assert!(
        matches!(set.admit(&production, &issue()), Admission::NeedsAdmin(reason) if reason.rule == "host.production")
    );
    // The stricter of the two environments counts.
    let set = host.activate(
        host.prepare(&config(&text.replace("dev", "production")))
            .unwrap(),
    );
    assert!(matches!(
        set.admit(&context(), &issue()),
        Admission::NeedsAdmin(_)
    ));
}
