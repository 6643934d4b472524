//! Hooks of other agents over HTTP: always 200, always an explicit answer, whoever
//! asks and whatever goes wrong.

use super::world::{World, send};
use crate::ApiOptions;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use selfheal_domain::event::ToolOutcome;
use selfheal_domain::external::{ExternalCall, ExternalChecker, Situation};
use selfheal_domain::verdict::{Reason, Verdict};
use serde_json::{Value, json};

/// Decides by the tool's name; `Panic` does what it says.
pub(super) struct ByName;

impl ExternalChecker for ByName {
    fn check(&self, call: &ExternalCall, situation: &Situation) -> Verdict {
        if let Some(why) = &situation.stopped {
            return Verdict::Deny(Reason::new("host.stopped", why.clone()));
        }
        match call.tool.as_str() {
            "Read" | "read_file" => Verdict::Allow,
            "Edit" | "replace" => Verdict::Ask(Reason::new("a.ask", "a person decides")),
            "Panic" => panic!("as it was told"),
            _ => Verdict::Deny(Reason::new("a.deny", "never")),
        }
    }

    fn finished(&self, _: &ExternalCall, _: ToolOutcome, _: &Situation) {}
}

fn question(event: &str, tool: &str) -> Value {
    json!({ "hook_event_name": event, "session_id": "s", "cwd": "/a", "tool_name": tool,
        "tool_input": {"file_path": "/a/b"}, "tool_use_id": "t", "a_later_field": 1 })
}

fn decision(answer: &Value) -> &str {
    let specific = &answer["hookSpecificOutput"]["permissionDecision"];
    specific
        .as_str()
        .or(answer["decision"].as_str())
        .unwrap_or("none")
}

#[tokio::test]
async fn each_agent_is_answered_in_its_own_format() {
    let world = World::new();
    for (agent, event, tool, expected) in [
        ("claude-code", "PreToolUse", "Read", "allow"),
        ("claude-code", "PreToolUse", "Edit", "ask"),
        ("claude-code", "PreToolUse", "Bash", "deny"),
        ("claude-code", "PreToolUse", "Panic", "deny"),
        ("codex", "PreToolUse", "Read", "allow"),
        ("codex", "PreToolUse", "Edit", "deny"),
        ("codex", "PreToolUse", "Bash", "deny"),
        ("codex", "PreToolUse", "Panic", "deny"),
        ("gemini", "BeforeTool", "read_file", "allow"),
        ("gemini", "BeforeTool", "replace", "deny"),
        ("gemini", "BeforeTool", "run_shell_command", "deny"),
        ("gemini", "BeforeTool", "Panic", "deny"),
        // Another agent's event is none of its own.
        ("gemini", "PreToolUse", "Read", "deny"),
        ("claude-code", "BeforeTool", "Read", "deny"),
    ] {
        let path = format!("/api/v1/hook/{agent}");
        let reply = world
            .call("hook", "POST", &path, question(event, tool))
            .await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            decision(&reply.json()),
            expected,
            "{agent} {event} {tool}: {}",
            reply.text
        );
    }
    let told = world
        .call(
            "hook",
            "POST",
            "/api/v1/hook/claude-code",
            json!({"hook_event_name": "Stop"}),
        )
        .await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!({})));
    let report = question("PostToolUse", "Read");
    let told = world
        .call("hook", "POST", "/api/v1/hook/claude-code", report)
        .await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!({})));
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_denial_with_200() {
    let options = ApiOptions {
        user_per_minute: 20,
        ..ApiOptions::default()
    };
    let world = World::with(options);
    let path = "/api/v1/hook/claude-code";
    let token = world.token("hook").to_owned();
    let bodies = [
        Vec::new(),
        b"nonsense".to_vec(),
        b"{}".to_vec(),
        vec![b'['; 100_000],
        format!("{{\"a\":\"{}\"}}", "x".repeat(9 * 1024 * 1024)).into_bytes(),
    ];
    for body in bodies {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body))
            .unwrap();
        let reply = send(world.router.clone(), request).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert_eq!(decision(&reply.json()), "deny", "{}", reply.text);
    }
    // Another method, nobody, a wrong token, somebody else's token: denials too.
    for (who, method) in [
        ("hook", "PUT"),
        ("", "POST"),
        ("sfh_wrong", "POST"),
        ("admin", "POST"),
    ] {
        let reply = world
            .call(who, method, path, question("PreToolUse", "Read"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{who}: {}", reply.text);
        assert_eq!(decision(&reply.json()), "deny", "{who}: {}", reply.text);
    }
    // Over the rate.
    let mut last = Value::Null;
    for _ in 0..30 {
        let reply = world
            .call("hook", "POST", path, question("PreToolUse", "Read"))
            .await;
        assert_eq!(reply.status, StatusCode::OK);
        last = reply.json();
    }
    assert_eq!(decision(&last), "deny", "{last}");
}

#[tokio::test]
async fn a_frozen_host_denies_and_a_hook_logs_in_nowhere() {
    let world = World::new();
    let path = "/api/v1/hook/codex";
    world
        .call("admin", "POST", "/api/v1/freeze", json!({"reason": "stop"}))
        .await;
    let reply = world
        .call("hook", "POST", path, question("PreToolUse", "Read"))
        .await;
    assert!(reply.text.contains("host.stopped"), "{}", reply.text);
    let body = json!({ "username": "hook", "password": world.token("hook") });
    let reply = world.call("", "POST", "/api/v1/session", body).await;
    reply.problem(401);
}

#[tokio::test]
async fn the_operators_socket_answers_without_a_token() {
    let world = World::new();
    let request = Request::post("/api/v1/hook/claude-code")
        .body(Body::from(question("PreToolUse", "Edit").to_string()))
        .unwrap();
    let reply = send(world.control(), request).await;
    assert_eq!(decision(&reply.json()), "ask", "{}", reply.text);
}
