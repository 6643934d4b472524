//! What a hostile module cannot do to the modules and decisions beside it, and what is
//! said where one is not loaded. What becomes of its own answers: `hostile_corpus.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::PolicySet;
use selfheal_domain::risk::{Admission, AutonomyAction, RiskScore};
use selfheal_domain::verdict::Verdict;
use selfheal_policy_host::{PrepareError, WasmPolicyHost};
use support::{bash, component_with, config, context, guardrail, host_with, issue, one, patch};

const ALLOW: &str = "(i32.const 1024)";
const DENY: &str = "(i32.const 1088)";

#[test]
fn nothing_is_remembered_from_one_decision_to_the_next() {
    // Allows the first time it is asked in an instance, denies ever after.
    let body = "(global.set $asked (i32.add (global.get $asked) (i32.const 1))) \
                (if (result i32) (i32.gt_u (global.get $asked) (i32.const 1)) (then (i32.const 1088)) (else (i32.const 1024)))";
    let host = host_with(&[(
        "counter",
        guardrail(body, "(global $asked (mut i32) (i32.const 0))"),
    )]);
    let set = host.activate(host.prepare(&config(&one("counter", "guardrail"))).unwrap());
    for _ in 0..5 {
        assert_eq!(
            set.judge_tool_call(&context(), &bash("ls")).verdict,
            Verdict::Allow
        );
    }
}

#[test]
fn many_hostile_decisions_at_once_starve_nobody() {
    let host = host_with(&[
        (
            "loops",
            guardrail("(loop $again (br $again)) unreachable", ""),
        ),
        ("healthy", guardrail(ALLOW, "")),
    ]);
    let loops = host.activate(host.prepare(&config(&one("loops", "guardrail"))).unwrap());
    let healthy = host.activate(host.prepare(&config(&one("healthy", "guardrail"))).unwrap());
    std::thread::scope(|scope| {
        // More than there are places.
        let hostile: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    loops
                        .judge_tool_call(&context(), &bash("ls"))
                        .verdict
                        .strictness()
                })
            })
            .collect();
        assert_eq!(
            healthy.judge_tool_call(&context(), &bash("ls")).verdict,
            Verdict::Allow
        );
        assert!(
            hostile
                .into_iter()
                .all(|thread| thread.join().unwrap() == 2)
        );
    });
}

#[test]
fn silence_denies() {
    let host = host_with(&[("denies", guardrail(DENY, ""))]);
    let empty = "environment = \"dev\"";
    let off = "environment = \"dev\"\n[[module]]\nname = \"denies\"\nkind = \"guardrail\"\n\
               source = \"bundled:denies\"\nmode = \"off\"\n";
    for text in [empty, off] {
        let set = host.activate(host.prepare(&config(text)).unwrap());
        let judgement = set.judge_tool_call(&context(), &bash("ls"));
        assert!(
            matches!(&judgement.verdict, Verdict::Deny(_)),
            "{judgement:?}"
        );
        assert_eq!(
            set.judge_patch(&context(), &patch("a.py", "a", "b"))
                .verdict
                .strictness(),
            2
        );
        let assessment = set.assess(&context(), &patch("a.py", "a", "b"));
        assert_eq!(
            (assessment.score, assessment.faults.len()),
            (RiskScore::MAX, 1)
        );
        let decision = set.decide(&context(), &patch("a.py", "a", "b"), &assessment);
        assert_eq!(decision.action, AutonomyAction::Stop);
        assert!(matches!(
            set.admit(&context(), &issue()),
            Admission::NeedsAdmin(_)
        ));
    }
}

#[test]
fn a_host_without_a_set_denies_everything() {
    let set = host_with(&[]).active();
    assert_eq!(set.generation(), 0);
    assert_eq!(
        set.judge_tool_call(&context(), &bash("ls"))
            .verdict
            .strictness(),
        2
    );
}

fn refused(host: &WasmPolicyHost, text: &str) -> String {
    match host.prepare(&config(text)) {
        Ok(_) => panic!("prepared, but should not have been: {text}"),
        Err(error @ PrepareError::Module { .. }) => error.to_string(),
    }
}

#[test]
fn a_module_that_does_not_fit_is_not_loaded() {
    let imports = b"(component (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance (export \"now\" (func (result u64))))))";
    let loops = "(loop $again (br $again)) unreachable";
    let refuses = "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 16)) \
                   (i32.store (i32.const 520) (i32.const 7)) (i32.const 512)";
    let judge = r#"(func (export "selfheal:policy/judge@1.0.0#judge-tool-call") (param i32) (result i32) (i32.const 1088))
                   (func (export "selfheal:policy/judge@1.0.0#judge-patch") (param i32) (result i32) (i32.const 1088))"#;
    // The list of examples has one that is all zeros: an empty call, to be allowed.
    let example = "(i32.store (i32.const 288) (i32.const 1)) (i32.const 256)";
    let many = "(i32.store (i32.const 288) (i32.const 0x0fffffff)) (i32.const 256)";
    let host = host_with(&[
        ("empty", b"(component)".to_vec()),
        ("core", b"\0asm\x01\0\0\0".to_vec()),
        ("text", b"#!/bin/sh".to_vec()),
        ("imports", imports.to_vec()),
        ("risk-module", support::risk("(i32.const 2048)", "")),
        (
            "liar",
            component_with(
                "guardrail",
                1,
                judge,
                "",
                "(i32.const 256)",
                "(i32.const 512)",
            ),
        ),
        (
            "loops",
            component_with("guardrail", 0, judge, "", "(i32.const 256)", loops),
        ),
        (
            "sleeps",
            component_with("guardrail", 0, judge, "", loops, "(i32.const 512)"),
        ),
        (
            "refuses",
            component_with("guardrail", 0, judge, "", "(i32.const 256)", refuses),
        ),
        (
            "breaks-its-word",
            component_with("guardrail", 0, judge, "", example, "(i32.const 512)"),
        ),
        (
            "endless-examples",
            component_with("guardrail", 0, judge, "", many, "(i32.const 512)"),
        ),
    ]);
    for (name, parts) in [
        (
            "empty",
            &[
                "`empty`",
                "no interface of `selfheal:policy`",
                "supports 1.x",
            ][..],
        ),
        ("core", &["`core`", "no WebAssembly component"]),
        ("text", &["`text`", "no WebAssembly component"]),
        (
            "imports",
            &[
                "`imports`",
                "`wasi:clocks/monotonic-clock@0.2.0`",
                "capabilities = [\"wasi:clocks\"]",
            ],
        ),
        ("risk-module", &["`risk-module`", "does not fit"]),
        (
            "liar",
            &["`liar`", "a `guardrail`, it calls itself a `risk`"],
        ),
        ("loops", &["`loops`", "ran longer than its deadline"]),
        ("sleeps", &["`sleeps`", "ran longer than its deadline"]),
        ("refuses", &["`refuses`", "refuses its settings: hostile"]),
        (
            "breaks-its-word",
            &[
                "`breaks-its-word`",
                "fails its own example",
                "expected Allow",
                "Deny",
            ],
        ),
        (
            "endless-examples",
            &["`endless-examples`", "while being checked"],
        ),
        (
            "absent",
            &[
                "`absent`",
                "no module `absent` is bundled",
                "breaks-its-word",
            ],
        ),
    ] {
        let message = refused(&host, &one(name, "guardrail"));
        for part in parts {
            assert!(
                message.contains(part),
                "{name}: {message:?} does not say {part:?}"
            );
        }
    }
    assert_eq!(
        host.active().generation(),
        0,
        "a failed preparation changes nothing"
    );
}

#[test]
fn only_the_pinned_bytes_are_loaded() {
    let bytes = guardrail(ALLOW, "");
    let digest = selfheal_domain::digest::Digest::of(&bytes);
    let host = host_with(&[("module", bytes)]);
    let pinned = |digest: &str| one("module", "guardrail") + &format!("sha256 = \"{digest}\"\n");
    assert!(host.prepare(&config(&pinned(&digest.to_string()))).is_ok());
    let message = refused(&host, &pinned(&"0".repeat(64)));
    assert!(message.contains("policy.toml pins 0000"), "{message}");
}
