//! Modules that loop, recurse, allocate, flood, trap or lie: each is denied, and
//! the host answers the next question as if nothing had been.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::PolicySet;
use selfheal_domain::risk::{Admission, AutonomyAction, RiskScore};
use selfheal_domain::verdict::{Answer, Fault, Verdict};
use selfheal_policy_host::{PrepareError, WasmPolicyHost};
use support::{bash, component_with, config, context, guardrail, host_with, issue, one, patch};

const ALLOW: &str = "(i32.const 1024)";
const DENY: &str = "(i32.const 1088)";

/// What a guardrail with this body answers, after a healthy one proved that the
/// host still works.
fn fault_of(body: &str, parts: &str) -> Fault {
    let host = host_with(&[
        ("hostile", guardrail(body, parts)),
        ("healthy", guardrail(ALLOW, "")),
    ]);
    let hostile = host.activate(host.prepare(&config(&one("hostile", "guardrail"))).unwrap());
    let calls = [
        hostile.judge_tool_call(&context(), &bash("ls")),
        hostile.judge_patch(&context(), &patch("a.py", "a", "b")),
    ];
    let healthy = host.activate(host.prepare(&config(&one("healthy", "guardrail"))).unwrap());
    assert_eq!(
        healthy.judge_tool_call(&context(), &bash("ls")).verdict,
        Verdict::Allow
    );
    for judgement in &calls {
        assert!(
            matches!(&judgement.verdict, Verdict::Deny(reason) if reason.rule == "host.fault"),
            "{judgement:?}"
        );
    }
    match calls.map(|judgement| judgement.answers.into_iter().next().unwrap().answer) {
        [Answer::Fault(fault), Answer::Fault(_)] => fault,
        other => panic!("no fault: {other:?}"),
    }
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    assert_eq!(
        fault_of("(loop $again (br $again)) unreachable", ""),
        Fault::Deadline { milliseconds: 50 }
    );
}

#[test]
fn endless_recursion_ends_at_the_stack() {
    let parts = "(func $deep (param i64 i64 i64 i64) (result i64) \
                 (i64.add (local.get 0) (call $deep (local.get 1) (local.get 2) (local.get 3) (local.get 0))))";
    let body = "(drop (call $deep (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))) (i32.const 1024)";
    assert_eq!(
        fault_of(body, parts),
        Fault::Trap {
            message: "wasm trap: call stack exhausted".to_owned()
        }
    );
}

#[test]
fn growing_without_end_ends_at_the_memory_limit() {
    let body = "(loop $more (drop (memory.grow (i32.const 1))) (br $more)) unreachable";
    assert_eq!(fault_of(body, ""), Fault::Memory { bytes: 1 << 20 });
}

#[test]
fn a_trap_denies() {
    let fault = fault_of("unreachable", "");
    assert!(
        matches!(&fault, Fault::Trap { message } if message.contains("unreachable")),
        "{fault:?}"
    );
}

#[test]
fn an_answer_above_the_limit_denies() {
    // A message of 100,000 bytes.
    let large = "(i32.store (i32.const 1100) (i32.const 4096)) (i32.store (i32.const 1104) (i32.const 100000)) (i32.const 1088)";
    let fault = fault_of(large, "");
    assert!(
        matches!(fault, Fault::Output { bytes: 100_009 }),
        "{fault:?}"
    );
    // Far beyond, the copy itself is cut short.
    let huge = "(i32.store (i32.const 1100) (i32.const 0)) (i32.store (i32.const 1104) (i32.const 250000)) (i32.const 1088)";
    let fault = fault_of(huge, "");
    assert!(
        matches!(fault, Fault::Nonsense { .. } | Fault::Output { .. }),
        "{fault:?}"
    );
}

#[test]
fn nonsense_is_no_answer() {
    for (what, body) in [
        (
            "a verdict that does not exist",
            "(i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)",
        ),
        ("a verdict outside of memory", "(i32.const 0x7ffffff0)"),
        (
            "text that is none",
            "(i32.store8 (i32.const 64) (i32.const 255)) (i32.const 1088)",
        ),
        (
            "a text outside of memory",
            "(i32.store (i32.const 1092) (i32.const 0x7fffffff)) (i32.const 1088)",
        ),
        (
            "an empty rule",
            "(i32.store (i32.const 1096) (i32.const 0)) (i32.const 1088)",
        ),
        (
            "a rule with blanks",
            "(i32.store8 (i32.const 66) (i32.const 32)) (i32.const 1088)",
        ),
    ] {
        let fault = fault_of(body, "");
        assert!(
            matches!(fault, Fault::Nonsense { .. } | Fault::Trap { .. }),
            "{what}: {fault:?}"
        );
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_and_denied() {
    let fault = fault_of(
        "(loop $more (call $log (i32.const 1) (i32.const 16) (i32.const 7)) (br $more)) unreachable",
        "",
    );
    assert!(
        matches!(&fault, Fault::Trap { message } if message.contains("calls of the host")),
        "{fault:?}"
    );
    let fault = fault_of(
        "(call $log (i32.const 1) (i32.const 0) (i32.const 250000)) (i32.const 1024)",
        "",
    );
    assert!(matches!(fault, Fault::Nonsense { .. }), "{fault:?}");
}

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

#[test]
fn faulty_risk_and_autonomy_modules_count_as_the_worst() {
    let hundred_and_one = "(i32.store (i32.const 2048) (i32.const 101)) (i32.const 2048)";
    let nobody = "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.const 2048)";
    let host = host_with(&[
        ("risk", support::risk(hundred_and_one, "")),
        ("autonomy", support::autonomy(nobody, "unreachable", "")),
    ]);
    let text = one("risk", "risk")
        + one("autonomy", "autonomy").trim_start_matches("environment = \"dev\"\n");
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    let assessment = set.assess(&context(), &patch("a.py", "a", "b"));
    assert_eq!(assessment.score, RiskScore::MAX);
    assert!(
        matches!(assessment.faults.as_slice(), [(name, Fault::Nonsense { .. })] if name == "risk")
    );
    let decision = set.decide(&context(), &patch("a.py", "a", "b"), &assessment);
    assert_eq!(decision.action, AutonomyAction::Stop);
    assert!(
        matches!(decision.faults.as_slice(), [(name, Fault::Nonsense { .. })] if name == "autonomy")
    );
    assert!(
        matches!(set.admit(&context(), &issue()), Admission::NeedsAdmin(reason) if reason.rule == "host.fault")
    );
}
