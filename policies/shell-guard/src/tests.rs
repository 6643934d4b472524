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
    let mut call = facts::bash_call("./zz -rf build");
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
