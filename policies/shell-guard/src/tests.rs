//! The examples, natively, and what cannot be said as an example.

use super::*;
use selfheal_policy_sdk::{Question, check_examples_guardrail, facts};

fn guard() -> ShellGuard {
    ShellGuard::configure(&Settings::default()).unwrap()
}

fn judge(command: &str) -> Verdict {
    guard().judge_tool_call(&facts::context(), &facts::bash_call(command))
}

#[test]
fn every_example_holds() {
    // All at once: one failure must not hide the next.
    let mut wrong = Vec::new();
    for example in ShellGuard::describe().examples {
        let guard = ShellGuard::configure(
            &Settings::parse(example.settings.as_deref().unwrap_or("")).unwrap(),
        )
        .unwrap();
        let Question::ToolCall(call) = &example.question else {
            continue;
        };
        let verdict = guard.judge_tool_call(&example.context, call);
        let got = ["Allow", "Ask", "Deny"][usize::from(verdict.strictness())];
        if got != format!("{:?}", example.expect).trim_start_matches("Expectation::") {
            wrong.push(format!("{}: {verdict:?}", example.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(check_examples_guardrail::<ShellGuard>().unwrap() > 100);
}

#[test]
fn every_rule_has_an_example() {
    let mut seen = std::collections::BTreeSet::new();
    for example in ShellGuard::describe().examples {
        let settings = Settings::parse(example.settings.as_deref().unwrap_or("")).unwrap();
        let guard = ShellGuard::configure(&settings).unwrap();
        let Question::ToolCall(call) = &example.question else {
            continue;
        };
        let mut seen_in = |verdict: Verdict| {
            seen.extend(verdict.reason().map(|reason| reason.rule.clone()));
        };
        seen_in(guard.judge_tool_call(&example.context, call));
        // One reason must not hide another.
        seen_in(raw::judge(&call.command_or_input(), call));
        for command in &call.commands {
            seen_in(guard.judge_command(&example.context, command));
        }
    }
    let sources = [
        include_str!("lib.rs"),
        include_str!("git.rs"),
        include_str!("listed.rs"),
        include_str!("packages.rs"),
        include_str!("programs.rs"),
        include_str!("raw.rs"),
    ];
    let mut rules: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(|text| {
            text.strip_prefix("shell.")
                .or_else(|| text.strip_prefix("git."))
                .is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        })
        .collect();
    rules.sort_unstable();
    rules.dedup();
    assert!(rules.len() > 35, "{rules:?}");
    let missing: Vec<&&str> = rules.iter().filter(|rule| !seen.contains(**rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_quick_look_at_the_input_misses_no_pattern() {
    for example in ShellGuard::describe().examples {
        let Question::ToolCall(call) = &example.question else {
            continue;
        };
        let verdict = raw::judge(&call.command_or_input(), call);
        if verdict != Verdict::Allow {
            assert!(raw::concerns(&call.input), "{}", example.name);
        }
    }
    for pattern in raw::PATTERNS.map(|(pattern, _, _)| pattern) {
        assert!(
            raw::concerns(&format!(r#"{{"command":"{pattern}"}}"#)),
            "{pattern}"
        );
    }
    for word in raw::PRIVILEGE {
        assert!(
            raw::concerns(&format!(r#"{{"command":"a\n{word} ls"}}"#)),
            "{word}"
        );
    }
    assert!(raw::concerns(r#"{"command":"s\u0075do ls"}"#));
    assert!(!raw::concerns(
        r#"{"command":"pytest -q tests/test_results.py"}"#
    ));
}

#[test]
fn every_alternative_is_itself_allowed() {
    let mut seen = 0;
    for example in ShellGuard::describe().examples {
        let Question::ToolCall(call) = &example.question else {
            continue;
        };
        let verdict = guard().judge_tool_call(&facts::context(), call);
        if let Some(alternative) = verdict
            .reason()
            .and_then(|reason| reason.alternative.as_deref())
        {
            assert_eq!(
                judge(alternative),
                Verdict::Allow,
                "{alternative}, instead of {}",
                example.name
            );
            seen += 1;
        }
    }
    assert!(seen > 30);
}

#[test]
fn a_program_is_judged_by_what_it_really_is() {
    let mut call = facts::bash_call("./zz -rf src");
    call.commands[0].resolved = Some("/usr/bin/rm".into());
    assert_eq!(
        guard()
            .judge_tool_call(&facts::context(), &call)
            .reason()
            .unwrap()
            .rule,
        "shell.rm-recursive"
    );
}

#[test]
fn a_proxy_is_what_it_is_called_as() {
    let mut call = facts::bash_call("cargo test");
    call.commands[0].resolved = Some("/home/user/.cargo/bin/rustup".into());
    assert_eq!(
        guard().judge_tool_call(&facts::context(), &call),
        Verdict::Allow
    );
    let mut call = facts::bash_call("rustup update");
    call.commands[0].resolved = Some("/home/user/.cargo/bin/rustup".into());
    assert_eq!(
        guard()
            .judge_tool_call(&facts::context(), &call)
            .strictness(),
        2
    );
}

#[test]
fn what_is_not_understood_is_not_allowed() {
    let mut call = facts::bash_call("pytest -q");
    call.parsed = false;
    assert_eq!(
        guard()
            .judge_tool_call(&facts::context(), &call)
            .reason()
            .unwrap()
            .rule,
        "shell.not-understood"
    );
    let mut call = facts::bash_call("pytest -q");
    call.commands[0].certain = false;
    assert_eq!(
        guard()
            .judge_tool_call(&facts::context(), &call)
            .strictness(),
        1
    );
}

#[test]
fn hosts_beyond_this_machine_are_denied_whatever_talks() {
    let mut call = facts::bash_call("pytest -q");
    call.network = vec!["127.0.0.1:80".into()];
    assert_eq!(
        guard().judge_tool_call(&facts::context(), &call),
        Verdict::Allow
    );
    call.network = vec!["example.org:443".into()];
    assert_eq!(
        guard()
            .judge_tool_call(&facts::context(), &call)
            .reason()
            .unwrap()
            .rule,
        "shell.network"
    );
    for host in [
        "127.0.0.1.example.org",
        "localhost.example.org",
        "127.evil.org",
        "1270.0.0.1",
    ] {
        assert!(!programs::is_loopback(host), "{host}");
    }
}

#[test]
fn a_huge_command_is_denied_not_judged() {
    assert_eq!(
        judge(&"a".repeat(70_000)).reason().unwrap().rule,
        "shell.too-long"
    );
}

#[test]
fn other_tools_are_not_its_business() {
    let call = facts::access_call("Write", "a.py", selfheal_policy_sdk::AccessMode::Write);
    assert_eq!(
        guard().judge_tool_call(&facts::context(), &call),
        Verdict::Allow
    );
}
