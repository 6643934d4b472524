//! The bundled module `rules`, as built: rules written as text in `policy.toml` are
//! checked, put in force and swapped like any other setting.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::PolicySet;
use selfheal_domain::verdict::{Answer, Fault, Verdict};
use selfheal_policy_host::{CodeCache, PolicyEngine, WasmPolicyHost};
use std::sync::LazyLock;
use support::{bash, bundled, config, context, patch};

const NO_PUSH: &str = include_str!("../../../../policies/rules/examples/no-push.rego");
const LARGE: &str = include_str!("../../../../policies/rules/examples/large-patches-ask.rego");

/// Compiled once for all tests of this file.
fn host() -> WasmPolicyHost {
    static CODE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    WasmPolicyHost::new(
        PolicyEngine::new().unwrap(),
        CodeCache::in_directory(CODE.path().join("code")),
        bundled(&["rules"]),
    )
}

fn policy(rules: &str, data: &str) -> String {
    format!(
        "environment = \"dev\"\n[[module]]\nname = \"team-rules\"\nkind = \"guardrail\"\nsource = \"bundled:rules\"\n\
         [module.settings]\nrules = '''\n{rules}'''\n{data}\n"
    )
}

fn refused(host: &WasmPolicyHost, rules: &str) -> String {
    match host.prepare(&config(&policy(rules, ""))) {
        Ok(_) => panic!("prepared, but should not have been: {rules}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn rules_judge_real_questions() {
    let host = host();
    let set = host.activate(host.prepare(&config(&policy(NO_PUSH, ""))).unwrap());
    for _ in 0..3 {
        let judgement = set.judge_tool_call(&context(), &bash("git push origin main"));
        let Verdict::Deny(reason) = &judgement.verdict else {
            panic!("{judgement:?}");
        };
        assert_eq!(reason.rule, "team.no-push");
        assert_eq!(reason.message, "only people push");
        assert_eq!(reason.alternative.as_deref(), Some("git status --short"));
        let evidence = reason.evidence.as_ref().unwrap();
        assert_eq!(evidence.text, "git push origin main");
        let alternative = set.judge_tool_call(&context(), &bash("git status --short"));
        assert_eq!(alternative.verdict, Verdict::Allow);
    }
    let fix = patch("a.py", "a", "b");
    assert_eq!(set.judge_patch(&context(), &fix).verdict, Verdict::Allow);
}

#[test]
fn wrong_rules_are_refused_with_line_and_column_and_change_nothing() {
    let host = host();
    let before = host.activate(host.prepare(&config(&policy(NO_PUSH, ""))).unwrap());
    for (rules, parts) in [
        (
            "package rules\n\ndeny contains {\"id\": \"a\", \"message\": \"b\"} if {\n\tinput.call.tool = = 1\n}\n",
            &["`team-rules`", "line 4, column"][..],
        ),
        (
            "package rules\n\ndeny contains {\"id\": \"a\", \"message\": \"b\"} if {\n\tinput.call.comands\n}\n",
            &["line 4, column 13", "`comands`", "there are tool, input"],
        ),
        (
            "package rules\n\ndeny contains \"no\" if true\n",
            &["\"id\"", "\"message\""],
        ),
    ] {
        let message = refused(&host, rules);
        for part in parts {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    }
    assert_eq!(host.active().generation(), before.generation());
    let judgement = host.active().judge_tool_call(&context(), &bash("git push"));
    assert_eq!(judgement.verdict.strictness(), 2);
}

#[test]
fn a_swap_of_settings_changes_the_verdict() {
    let host = host();
    let fix = patch("a.py", "a", "b");
    let mut verdicts = Vec::new();
    for most in [2, 1, 2] {
        let data = format!("data = {{ most_lines = {most} }}");
        let set = host.activate(host.prepare(&config(&policy(LARGE, &data))).unwrap());
        verdicts.push(set.judge_patch(&context(), &fix).verdict.strictness());
    }
    assert_eq!(verdicts, [0, 1, 0]);
    host.activate(host.prepare(&config(&policy(NO_PUSH, ""))).unwrap());
    let set = host.active();
    assert_eq!(set.judge_patch(&context(), &fix).verdict.strictness(), 0);
}

#[test]
fn a_rule_that_never_ends_denies() {
    let rules = "package rules\n\nnumbers_up := numbers.range(1, 3000)\n\n\
                 deny contains {\"id\": \"a\", \"message\": \"b\"} if {\n\tinput.call.tool == \"Bash\"\n\t\
                 input.call.network[0] == \"slow\"\n\t\
                 count([1 | some x in numbers_up; some y in numbers_up; x == y + 5000]) > 0\n}\n";
    let host = host();
    let text = policy(rules, "").replace(
        "[module.settings]",
        "limits = { deadline_ms = 200 }\n[module.settings]",
    );
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    let mut call = bash("ls");
    assert_eq!(
        set.judge_tool_call(&context(), &call).verdict,
        Verdict::Allow
    );
    call.network.push("slow".to_owned());
    let judgement = set.judge_tool_call(&context(), &call);
    assert_eq!(judgement.verdict.reason().unwrap().rule, "host.fault");
}

#[test]
fn a_rule_that_eats_memory_denies() {
    let rules = "package rules\n\ndeny contains {\"id\": \"a\", \"message\": \"b\"} if {\n\t\
                 input.call.network[0] == \"large\"\n\t\
                 count([[x, y] | some x in numbers.range(1, 2000); some y in numbers.range(1, 2000)]) < 0\n}\n";
    let host = host();
    let text = policy(rules, "").replace(
        "[module.settings]",
        "limits = { deadline_ms = 60000, memory_bytes = 33554432 }\n[module.settings]",
    );
    let set = host.activate(host.prepare(&config(&text)).unwrap());
    let mut call = bash("ls");
    call.network.push("large".to_owned());
    let judgement = set.judge_tool_call(&context(), &call);
    assert_eq!(judgement.verdict.reason().unwrap().rule, "host.fault");
    assert!(
        matches!(
            judgement.answers.first().map(|answer| &answer.answer),
            Some(Answer::Fault(Fault::Memory { .. }))
        ),
        "{judgement:?}"
    );
    call.network.clear();
    let judgement = set.judge_tool_call(&context(), &call);
    assert_eq!(judgement.verdict, Verdict::Allow);
}

#[test]
fn deeply_nested_rules_harm_nobody() {
    let deep = |open: &str, close: &str| {
        format!(
            "package rules\n\ndeny contains {{\"id\": \"a\", \"message\": \"b\"}} if {{\n\tx := {}1{}\n}}\n",
            open.repeat(2_000),
            close.repeat(2_000)
        )
    };
    let host = host();
    for (open, close) in [("(\n", ")\n"), ("[\n", "]\n"), ("{1:\n", "}\n")] {
        refused(&host, &deep(open, close));
    }
    let set = host.activate(host.prepare(&config(&policy(NO_PUSH, ""))).unwrap());
    let judgement = set.judge_tool_call(&context(), &bash("ls"));
    assert_eq!(judgement.verdict, Verdict::Allow);
}
