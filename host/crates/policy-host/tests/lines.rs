//! Lines of the contract: modules that were built once for each line are taken as
//! they are, and what was made for another line is refused by its name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::policy::PolicySet;
use selfheal_domain::risk::{Admission, AutonomyAction, AutonomyLevel, RiskFactor};
use selfheal_domain::verdict::{Evidence, Reason, Span, Verdict};
use std::path::Path;
use support::{bash, config, context, encode, host_with, issue, one, patch};

/// Built from `tests/fixtures/policies/line-1` when the line was frozen, and never
/// since.
fn prebuilt(kind: &str) -> (&str, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../tests/fixtures/policies/line-1")
        .join(format!("line-1-{kind}.wasm"));
    (kind, std::fs::read(path).unwrap())
}

#[test]
fn modules_built_for_line_1_answer_as_they_always_did() {
    let host = host_with(&["guardrail", "risk", "autonomy"].map(prebuilt));
    let module = |kind: &str| {
        format!(
            "[[module]]\nname = \"{kind}\"\nkind = \"{kind}\"\nsource = \"bundled:{kind}\"\n\
             settings = {{ word = \"nonsense\" }}\n"
        )
    };
    let text = "environment = \"dev\"\n".to_owned()
        + &["guardrail", "risk", "autonomy"].map(module).concat();
    let set = host.activate(
        host.prepare(&config(&text))
            .unwrap_or_else(|e| panic!("{e}")),
    );

    let mut context = context();
    context.run = Some(RunRef {
        issue: IssueNumber(1),
        run: RunNumber(1),
        id: RunId(uuid::Uuid::from_u128(1)),
    });
    context.service = Some("web".to_owned());
    context.earned.rolled_back = 2;
    let verdict = |command: &str| set.judge_tool_call(&context, &bash(command)).verdict;
    assert_eq!(verdict("ls forbidden"), Verdict::Allow);
    let denied = Verdict::Deny(Reason {
        rule: "line-1.word".to_owned(),
        message: "it says nonsense, 27 bytes in".to_owned(),
        evidence: Some(Evidence {
            text: "nonsense".to_owned(),
            span: Some(Span { start: 17, end: 25 }),
        }),
        alternative: Some("echo x".to_owned()),
    });
    for _ in 0..3 {
        assert_eq!(verdict("echo nonsense"), denied);
    }
    // It looks the run's history up, too.
    assert_eq!(
        verdict("ls").reason().map(|reason| reason.rule.as_str()),
        Some("line-1.again")
    );

    let good = patch("a.py", "a - b", "a + b");
    let bad = patch("a.py", "a - b", "nonsense");
    assert_eq!(set.judge_patch(&context, &good).verdict, Verdict::Allow);
    assert!(matches!(
        set.judge_patch(&context, &bad).verdict,
        Verdict::Ask(reason) if reason.evidence.as_ref().is_some_and(|part| part.span.is_some())
    ));
    let assessment = set.assess(&context, &good);
    assert_eq!(
        (assessment.score.get(), assessment.factors.as_slice()),
        (
            10,
            &[RiskFactor {
                name: "file".to_owned(),
                points: 10,
                evidence: "a.py of ".to_owned(),
            }][..]
        )
    );
    let worse = set.assess(&context, &bad);
    assert_eq!(worse.score.get(), 90);
    context.level = AutonomyLevel::AutoAll;
    let decided = set.decide(&context, &good, &assessment);
    assert_eq!(decided.action, AutonomyAction::Apply);
    assert_eq!(
        set.decide(&context, &good, &worse).action,
        AutonomyAction::Review(3)
    );
    assert_eq!(
        set.decide(&context, &bad, &worse).action,
        AutonomyAction::Stop
    );
    assert_eq!(
        set.admit(&context, &issue()),
        Admission::Admit("issue 1 cannot wait".to_owned())
    );
}

/// A guardrail that allows, made for the contract as it would be at `version`.
fn made_for(version: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let line = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/v1");
    for entry in std::fs::read_dir(line).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace(
            "selfheal:policy@1.0.0",
            &format!("selfheal:policy@{version}"),
        );
        std::fs::write(home.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let judge = format!(
        r#"(func (export "selfheal:policy/judge@{version}#judge-tool-call") (param i32) (result i32) (i32.const 1024))
           (func (export "selfheal:policy/judge@{version}#judge-patch") (param i32) (result i32) (i32.const 1024))"#
    );
    let module = support::module(0, &judge, "", "(i32.const 256)", "(i32.const 512)");
    let module = module.replace("host@1.0.0", &format!("host@{version}"));
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(home.path()).unwrap();
    encode(&module, &resolve, package, "guardrail")
}

#[test]
fn the_line_is_read_from_the_exported_interfaces() {
    let host = host_with(&[
        ("exact", made_for("1.0.0")),
        ("later", made_for("1.7.3")),
        ("next", made_for("2.0.0")),
        ("older", made_for("0.9.0")),
    ]);
    for taken in ["exact", "later"] {
        let set = host
            .prepare(&config(&one(taken, "guardrail")))
            .map(|prepared| host.activate(prepared))
            .unwrap_or_else(|error| panic!("{error}"));
        let judgement = set.judge_tool_call(&context(), &bash("ls"));
        assert_eq!(judgement.verdict, Verdict::Allow, "{taken}");
    }
    for (refused, version) in [("next", "2.0.0"), ("older", "0.9.0")] {
        let error = host.prepare(&config(&one(refused, "guardrail"))).err();
        let error = error.unwrap().to_string();
        assert!(
            error.contains(&format!("`selfheal:policy/judge@{version}`"))
                && error.contains("supports 1.x"),
            "{error}"
        );
    }
}
