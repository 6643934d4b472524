//! Every sample is understood as what it is, and answered in its own format.

use super::*;
use selfheal_domain::verdict::Reason;
use std::path::Path;

/// Everything that the real programs were seen to send (`tests/fixtures/hooks`).
fn samples(agent: ExternalAgent) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../tests/fixtures/hooks")
        .join(agent.as_str());
    let mut found: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn verdicts() -> [Verdict; 3] {
    [
        Verdict::Allow,
        Verdict::Ask(Reason::new("a.b", "a person decides")),
        Verdict::Deny(Reason::new("a.c", "never")),
    ]
}

#[test]
fn every_captured_event_is_understood() {
    for (agent, least, asks, reports) in [
        (ExternalAgent::ClaudeCode, 60, 20, 15),
        (ExternalAgent::Codex, 6, 1, 1),
        (ExternalAgent::Gemini, 12, 3, 3),
    ] {
        let samples = samples(agent);
        assert!(samples.len() >= least, "{agent}: {}", samples.len());
        let (mut asked, mut reported) = (0, 0);
        for (name, bytes) in &samples {
            let event = read(agent, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(name.starts_with(&event.name), "{name}: {}", event.name);
            let before = ["PreToolUse", "BeforeTool-", "PermissionRequest"];
            let after = ["PostToolUse-", "PostToolUseFailure", "AfterTool"];
            match &event.said {
                Said::Asks(call) => {
                    asked += 1;
                    assert!(before.iter().any(|it| name.starts_with(it)), "{name}");
                    assert_eq!(call.directory, Path::new("/workspace/app"), "{name}");
                    assert!(!call.session.is_empty() && call.input.is_object(), "{name}");
                }
                Said::Reports(call, outcome) => {
                    reported += 1;
                    assert!(after.iter().any(|it| name.starts_with(it)), "{name}");
                    let failed = matches!(outcome, ToolOutcome::Failed(_));
                    assert_eq!(failed, name.contains("Failure"), "{name}: {outcome:?}");
                    assert!(!call.tool.is_empty());
                }
                Said::Configures(source) => assert_eq!(source, "project_settings"),
                Said::Tells => assert!(
                    !before.iter().chain(&after).any(|it| name.starts_with(it)),
                    "{name}"
                ),
            }
        }
        assert!(
            asked >= asks && reported >= reports,
            "{agent}: {asked}, {reported}"
        );
    }
}

#[test]
fn every_question_gets_an_explicit_answer_that_reads_back() {
    for agent in ExternalAgent::ALL {
        for (name, bytes) in samples(agent) {
            let event = read(agent, &bytes).unwrap();
            let Said::Asks(call) = &event.said else {
                continue;
            };
            for verdict in verdicts() {
                let answer = answer(agent, &event.name, Some(&call.input), &verdict);
                let told = told(agent, &event.name, &answer);
                let expected = match (&verdict, agent) {
                    (Verdict::Allow, _) => Told::Allow,
                    (Verdict::Ask(_), ExternalAgent::ClaudeCode) => Told::Ask,
                    // These two cannot ask, or only some of their versions can.
                    (Verdict::Ask(_) | Verdict::Deny(_), _) => Told::Deny,
                };
                assert_eq!(told, Some(expected), "{name}: {answer}");
                if expected == Told::Deny {
                    assert!(answer.to_string().contains("selfheal, rule a."), "{answer}");
                }
            }
        }
    }
}

#[test]
fn answers_are_written_as_each_agent_reads_them() {
    let deny = Verdict::Deny(Reason {
        alternative: Some("git stash".to_owned()),
        ..Reason::new("shell.rm", "removes a tree")
    });
    let text = "selfheal, rule shell.rm: removes a tree; instead: git stash";
    let pre = json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": text,
    } });
    let of = |agent, event| answer(agent, event, Some(&json!({"command": "ls"})), &deny);
    assert_eq!(of(ExternalAgent::ClaudeCode, "PreToolUse"), pre);
    assert_eq!(of(ExternalAgent::Codex, "PreToolUse"), pre);
    assert_eq!(
        of(ExternalAgent::Gemini, "BeforeTool"),
        json!({ "decision": "deny", "reason": text })
    );
    assert_eq!(
        of(ExternalAgent::ClaudeCode, "PermissionRequest"),
        json!({ "hookSpecificOutput": {
            "hookEventName": "PermissionRequest",
            "decision": { "behavior": "deny", "message": text },
        } })
    );
    assert_eq!(
        of(ExternalAgent::ClaudeCode, "ConfigChange")["decision"],
        "block"
    );
    // Codex takes an allowance only together with the input to use.
    let input = json!({"command": "ls"});
    let allowed = answer(
        ExternalAgent::Codex,
        "PreToolUse",
        Some(&input),
        &Verdict::Allow,
    );
    assert_eq!(allowed["hookSpecificOutput"]["updatedInput"], input);
}

#[test]
fn what_is_not_understood_says_why_and_how_to_deny_it() {
    let question = |event: &str| {
        json!({ "hook_event_name": event, "session_id": "s", "cwd": "/a",
            "tool_name": "Bash", "tool_input": {"command": "ls"} })
    };
    let without = |key: &str| {
        let mut question = question("PreToolUse");
        question.as_object_mut().unwrap().remove(key);
        question.to_string().into_bytes()
    };
    let large = format!(
        r#"{{"hook_event_name":"PreToolUse","tool_name":"Write","cwd":"/a","tool_input":{{"content":"{}"}}}}"#,
        "x".repeat(MAX_QUESTION)
    );
    for (bytes, why) in [
        (b"".to_vec(), "not JSON"),
        (b"hello".to_vec(), "not JSON"),
        (b"{".to_vec(), "not JSON"),
        (b"[]".to_vec(), "names no event"),
        (b"{}".to_vec(), "names no event"),
        (b"\xff\xfe".to_vec(), "not JSON"),
        (
            question("BeforeEverything").to_string().into_bytes(),
            "not known",
        ),
        (without("tool_name"), "names no tool"),
        (without("tool_input"), "no tool_input"),
        (without("cwd"), "no cwd"),
        (large.into_bytes(), "at most 1048576 bytes"),
        ("[".repeat(100_000).into_bytes(), "not JSON"),
    ] {
        let error = read(ExternalAgent::ClaudeCode, &bytes).unwrap_err();
        assert!(error.why.contains(why), "{why}: {error}");
        assert_eq!(error.event, "PreToolUse");
        let verdict = Verdict::Deny(Reason::new("host.hook-input", error.why));
        let denial = answer(ExternalAgent::ClaudeCode, &error.event, None, &verdict);
        assert_eq!(
            told(ExternalAgent::ClaudeCode, &error.event, &denial),
            Some(Told::Deny)
        );
    }
    // A name that another agent uses is not this one's.
    let foreign = question("PreToolUse").to_string();
    assert!(read(ExternalAgent::Gemini, foreign.as_bytes()).is_err());
    // Fields that a later version adds do not matter.
    let mut later = question("PreToolUse");
    later["brand_new"] = json!({"a": [1]});
    assert!(read(ExternalAgent::ClaudeCode, later.to_string().as_bytes()).is_ok());
}

#[test]
fn a_long_report_is_read_where_a_long_question_is_not() {
    let report = json!({ "hook_event_name": "PostToolUse", "session_id": "s", "cwd": "/a",
        "tool_name": "Read", "tool_input": {"file_path": "/a/b"}, "tool_use_id": "t",
        "tool_response": "x".repeat(2 * MAX_QUESTION) });
    let event = read(ExternalAgent::ClaudeCode, report.to_string().as_bytes()).unwrap();
    let Said::Reports(_, ToolOutcome::Succeeded(text)) = event.said else {
        panic!("{event:?}");
    };
    assert!(text.len() < 100, "{text}");
}

#[test]
fn nothing_but_an_answer_reads_as_one() {
    for answer in [
        json!({}),
        json!(null),
        json!("allow"),
        json!({ "continue": false }),
        json!({ "decision": "approve" }),
        json!({ "hookSpecificOutput": { "permissionDecision": "allow" } }),
        json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse" } }),
        json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse", "permissionDecision": "yes" } }),
        json!({ "hookSpecificOutput": { "hookEventName": "PostToolUse", "permissionDecision": "allow" } }),
    ] {
        let told = told(ExternalAgent::ClaudeCode, "PreToolUse", &answer);
        assert_eq!(told, None, "{answer}");
    }
}
