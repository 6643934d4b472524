//! How agents that misbehave end, over pipes in memory; and recorded conversations of
//! real ones, line by line.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up should stop where it is"
)]

use selfheal_domain::agent::{Agent, AgentError, Diagnosis, DiagnosisBrief};
use selfheal_domain::event::ToolOutcome;
use selfheal_domain::ids::DecisionId;
use selfheal_domain::tools::{
    ContainedAgent, JudgedCall, SessionError, ToolError, ToolOutput, ToolRequest, ToolSession,
    Tools,
};
use selfheal_domain::verdict::Reason;
use selfheal_external_agent::{Budgets, ExternalAgent, ExternalAgentConfig, Protocol};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// What a session in memory answers to a line: lines, and whether it ends then.
type React = Box<dyn FnMut(&Value) -> Vec<String> + Send>;

struct Pipe {
    react: React,
    lines: VecDeque<String>,
    dies: bool,
    sent: Arc<Mutex<Vec<Value>>>,
}

impl ToolSession for Pipe {
    fn send(&mut self, line: &str) -> Result<(), SessionError> {
        let message: Value = serde_json::from_str(line).expect("JSON");
        self.lines.extend((self.react)(&message));
        self.sent.lock().expect("lock").push(message);
        Ok(())
    }
    fn receive(&mut self, _: Duration) -> Result<String, SessionError> {
        match self.lines.pop_front() {
            Some(line) => Ok(line),
            None if self.dies => Err(SessionError::Gone),
            None => Err(SessionError::TimedOut),
        }
    }
    fn stderr_tail(&self) -> String {
        String::new()
    }
}

/// Judges by the text `DENY`, records nothing where told so.
struct Door {
    pipe: Mutex<Option<Pipe>>,
    recordable: bool,
    open: Mutex<Vec<DecisionId>>,
    judged: Mutex<Vec<ToolRequest>>,
}

impl Tools for Door {
    fn call(&self, _: ToolRequest) -> Result<ToolOutput, ToolError> {
        Err(ToolError::Invalid("not here".to_owned()))
    }
    fn session(&self, _: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        Err(ToolError::Invalid("not here".to_owned()))
    }
    fn contain(&self, _: ContainedAgent) -> Result<Box<dyn ToolSession>, ToolError> {
        let pipe = self.pipe.lock().expect("lock").take().expect("one session");
        Ok(Box::new(pipe))
    }
    fn judge(&self, request: &ToolRequest) -> Result<JudgedCall, ToolError> {
        if !self.recordable {
            return Err(ToolError::Unavailable("the disk is full".to_owned()));
        }
        let mut judged = self.judged.lock().expect("lock");
        judged.push(request.clone());
        let text = format!("{request:?}");
        if text.contains("DENY") || text.contains("as-decline") {
            return Err(ToolError::Denied(Reason::new("test", "no")));
        }
        let id = DecisionId(Uuid::from_u128(judged.len() as u128));
        self.open.lock().expect("lock").push(id);
        Ok(JudgedCall(id))
    }
    fn finished(&self, call: JudgedCall, _: ToolOutcome) -> Result<(), ToolError> {
        self.open.lock().expect("lock").retain(|id| *id != call.0);
        Ok(())
    }
    fn workspace(&self) -> String {
        "/workspace/app".to_owned()
    }
    fn assets(&self) -> String {
        "/assets".to_owned()
    }
    fn progress(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

struct Outcome {
    result: Result<Diagnosis, AgentError>,
    sent: Vec<Value>,
    judged: Vec<ToolRequest>,
}

fn run(protocol: Protocol, recordable: bool, dies: bool, react: React) -> Outcome {
    let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
    let pipe = Pipe {
        react,
        lines: VecDeque::new(),
        dies,
        sent: Arc::clone(&sent),
    };
    let door = Door {
        pipe: Mutex::new(Some(pipe)),
        recordable,
        open: Mutex::default(),
        judged: Mutex::default(),
    };
    let agent = ExternalAgent::new(ExternalAgentConfig {
        protocol,
        command: vec!["agent".to_owned()],
        model: None,
        upstream: None,
        sockets: PathBuf::from("/nowhere"),
        visible: Vec::new(),
        environment: BTreeMap::new(),
        budgets: Budgets {
            turns: 5,
            calls: 20,
        },
    });
    let brief = DiagnosisBrief {
        run: None,
        texts: Vec::new(),
        checks: Vec::new(),
        services: Vec::new(),
        budget: Duration::from_millis(300),
        excluded: Vec::new(),
    };
    let result = agent.diagnose(&brief, &door);
    assert!(
        door.open.lock().expect("lock").is_empty(),
        "each judged call has an outcome"
    );
    let judged = door.judged.lock().expect("lock").clone();
    let sent = sent.lock().expect("lock").clone();
    Outcome {
        result,
        sent,
        judged,
    }
}

const FOUND: &str = "{\"rootCause\": \"x\", \"confidence\": 0.5}";

fn opened(supported: bool) -> String {
    json!({"type": "control_response", "response": {"subtype": "success", "request_id": "open", "response": {
        "hook_on_failure_supported": supported, "hooks_applied": true}}})
    .to_string()
}

fn hook(id: &str, command: &str) -> String {
    json!({"type": "control_request", "request_id": format!("h-{id}"), "request": {
        "subtype": "hook_callback", "callback_id": "selfheal", "input": {"hook_event_name": "PreToolUse",
        "tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": id}}})
    .to_string()
}

fn permission(id: &str, command: &str) -> String {
    json!({"type": "control_request", "request_id": format!("p-{id}"), "request": {"subtype": "can_use_tool",
        "tool_name": "Bash", "input": {"command": command}, "tool_use_id": id}})
    .to_string()
}

fn result_of(id: &str, failed: bool) -> String {
    json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id,
        "content": "output", "is_error": failed}]}})
    .to_string()
}

fn ended(text: &str) -> String {
    json!({"type": "result", "subtype": "success", "is_error": false, "result": text}).to_string()
}

fn started() -> String {
    json!({"type": "system", "subtype": "init", "tools": ["Bash", "Read"], "mcp_servers": [],
        "permissionMode": "default"})
    .to_string()
}

/// Claude Code that opens well, says what it has, and answers each prompt with these lines.
fn claude(lines: Vec<String>) -> React {
    let lines: Vec<String> = std::iter::once(started()).chain(lines).collect();
    claude_silently(lines)
}

/// The same without saying what it has.
fn claude_silently(lines: Vec<String>) -> React {
    Box::new(move |message| match message["type"].as_str() {
        Some("control_request") => vec![opened(true)],
        Some("user") => lines.clone(),
        _ => Vec::new(),
    })
}

fn decisions(sent: &[Value]) -> Vec<&str> {
    sent.iter()
        .filter_map(|message| {
            let response = message.pointer("/response/response")?;
            response
                .pointer("/hookSpecificOutput/permissionDecision")
                .or_else(|| response.get("behavior"))?
                .as_str()
        })
        .collect()
}

#[test]
fn claude_code_that_cannot_fail_closed_is_not_used() {
    let outcome = run(
        Protocol::ClaudeCode,
        true,
        false,
        Box::new(|message| match message["type"].as_str() {
            Some("control_request") => vec![opened(false)],
            _ => vec![ended(FOUND)],
        }),
    );
    assert!(matches!(
        outcome.result,
        Err(AgentError::Unavailable { .. })
    ));
    assert_eq!(outcome.sent.len(), 1, "it is told nothing");
}

#[test]
fn a_permission_is_for_one_judged_call_word_for_word() {
    let lines = vec![
        hook("1", "ls"),
        permission("1", "ls"),
        permission("1", "ls DENY"),
        permission("2", "ls DENY"),
        hook("3", "ls DENY"),
        result_of("3", true),
        ended(FOUND),
    ];
    let outcome = run(Protocol::ClaudeCode, true, false, claude(lines));
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(
        decisions(&outcome.sent),
        ["allow", "allow", "deny", "deny", "deny"]
    );
    assert_eq!(
        outcome.judged.len(),
        4,
        "the word-for-word one was judged once"
    );
}

#[test]
fn what_was_not_permitted_ends_the_session() {
    for lines in [
        vec![result_of("1", false), ended(FOUND)],
        vec![hook("1", "ls DENY"), result_of("1", false), ended(FOUND)],
        vec![hook("1", "ls"), result_of("2", false), ended(FOUND)],
        // A name that was used before is no permission.
        vec![
            hook("1", "ls"),
            result_of("1", false),
            hook("1", "ls DENY"),
            result_of("1", false),
            ended(FOUND),
        ],
    ] {
        let outcome = run(Protocol::ClaudeCode, true, false, claude(lines));
        let Err(AgentError::NotFound { summary, .. }) = outcome.result else {
            panic!("{:?}", outcome.result);
        };
        assert!(summary.contains("without permission"), "{summary}");
    }
}

#[test]
fn no_record_no_permission() {
    let outcome = run(
        Protocol::ClaudeCode,
        false,
        false,
        claude(vec![hook("1", "ls"), ended(FOUND)]),
    );
    assert!(
        matches!(outcome.result, Err(AgentError::Unavailable { .. })),
        "{:?}",
        outcome.result
    );
    assert!(decisions(&outcome.sent).is_empty());
}

#[test]
fn what_it_has_is_compared_with_what_it_was_given() {
    for init in [
        json!({"tools": ["Bash", "WebFetch"], "mcp_servers": [], "permissionMode": "default"}),
        json!({"tools": ["Bash", "Write"], "mcp_servers": [], "permissionMode": "default"}),
        json!({"tools": ["Bash"], "mcp_servers": [{"name": "evil"}], "permissionMode": "default"}),
        json!({"tools": ["Bash"], "mcp_servers": [], "permissionMode": "bypassPermissions"}),
        json!({"mcp_servers": [], "permissionMode": "default"}),
    ] {
        let mut init = init;
        init["type"] = json!("system");
        init["subtype"] = json!("init");
        let lines = vec![init.to_string(), ended(FOUND)];
        let outcome = run(Protocol::ClaudeCode, true, false, claude_silently(lines));
        assert!(
            matches!(outcome.result, Err(AgentError::Unavailable { .. })),
            "{init}"
        );
    }
    // One that says nothing of it has what nobody knows.
    let outcome = run(
        Protocol::ClaudeCode,
        true,
        false,
        claude_silently(vec![ended(FOUND)]),
    );
    assert!(matches!(
        outcome.result,
        Err(AgentError::Unavailable { .. })
    ));
}

#[test]
fn garbage_death_silence_floods_and_greed_end_it() {
    let dead = run(
        Protocol::ClaudeCode,
        true,
        true,
        claude(vec![hook("1", "ls")]),
    );
    assert!(matches!(dead.result, Err(AgentError::Unavailable { .. })));
    let silent = run(Protocol::ClaudeCode, true, false, claude(vec![]));
    assert!(matches!(silent.result, Err(AgentError::NotFound { .. })));
    for line in ["not json", "[1,2]", "\u{0}\u{1}", "{\"type\": "] {
        let outcome = run(
            Protocol::ClaudeCode,
            true,
            false,
            claude(vec![line.to_owned(); 1000]),
        );
        assert!(
            matches!(outcome.result, Err(AgentError::Unavailable { .. })),
            "{line}"
        );
    }
    let long = format!("{{\"type\": \"x\", \"y\": \"{}\"}}", "y".repeat(40 << 20));
    let outcome = run(Protocol::ClaudeCode, true, false, claude(vec![long]));
    assert!(matches!(
        outcome.result,
        Err(AgentError::Unavailable { .. })
    ));
    let greedy = (0..1000)
        .map(|number| hook(&number.to_string(), "ls"))
        .collect();
    let outcome = run(Protocol::ClaudeCode, true, false, claude(greedy));
    assert!(matches!(outcome.result, Err(AgentError::NotFound { .. })));
    assert_eq!(outcome.judged.len(), 20);
}

#[test]
fn an_answer_that_cannot_be_used_is_asked_for_again_and_not_forever() {
    let outcome = run(
        Protocol::ClaudeCode,
        true,
        false,
        claude(vec![ended("I am done")]),
    );
    assert!(matches!(outcome.result, Err(AgentError::NotFound { .. })));
    let prompts = outcome
        .sent
        .iter()
        .filter(|message| message["type"] == "user")
        .count();
    assert_eq!(prompts, 3);
}

#[test]
fn an_answer_of_the_provider_that_is_none_leaves_the_work_to_others() {
    let failed = json!({"type": "result", "subtype": "success", "is_error": true, "result": "API Error: 529"});
    let outcome = run(
        Protocol::ClaudeCode,
        true,
        false,
        claude(vec![failed.to_string()]),
    );
    let Err(AgentError::Unavailable { summary, log, .. }) = outcome.result else {
        panic!("{:?}", outcome.result);
    };
    assert!(
        !summary.contains("529") && log.contains("529"),
        "{summary} {log}"
    );
}

/// Codex that opens well and answers a turn with these messages.
fn codex(messages: Vec<Value>) -> React {
    codex_opened(
        json!({"thread": {"id": "t"}, "approvalPolicy": "untrusted"}),
        messages,
    )
}

/// Codex that starts its thread with this answer.
fn codex_opened(started: Value, messages: Vec<Value>) -> React {
    Box::new(move |message| {
        let id = message["id"].clone();
        match message["method"].as_str() {
            Some("initialize") => vec![json!({"id": id, "result": {}}).to_string()],
            Some("thread/start") => {
                vec![json!({"id": id, "result": started}).to_string()]
            }
            Some("turn/start") => messages.iter().map(Value::to_string).collect(),
            _ => Vec::new(),
        }
    })
}

fn turn_over() -> Value {
    json!({"method": "turn/completed", "params": {"turn": {"status": "completed"}}})
}

fn codex_says(text: &str) -> Value {
    json!({"method": "item/completed", "params": {"item": {"type": "agentMessage", "id": "m", "text": text}}})
}

#[test]
fn codex_that_does_not_say_that_it_will_ask_gets_no_work() {
    for started in [
        json!({"thread": {"id": "t"}}),
        json!({"thread": {"id": "t"}, "approvalPolicy": null}),
        json!({"thread": {"id": "t"}, "approvalPolicy": "never"}),
    ] {
        let react = codex_opened(started.clone(), vec![turn_over()]);
        let outcome = run(Protocol::Codex, true, false, react);
        let Err(AgentError::Unavailable { log, .. }) = outcome.result else {
            panic!("{started}: {:?}", outcome.result);
        };
        assert!(log.contains("approval policy"), "{log}");
    }
}

#[test]
fn codex_gets_one_call_per_answer_and_nothing_else() {
    let asked = |id: u64, method: &str, params: Value| json!({"id": id, "method": method, "params": params});
    let messages = vec![
        asked(
            70,
            "item/commandExecution/requestApproval",
            json!({"kind": "command", "itemId": "a",
            "command": "ls", "cwd": "/workspace/app"}),
        ),
        asked(
            71,
            "item/commandExecution/requestApproval",
            json!({"kind": "stdin", "itemId": "a",
            "command": "ls", "cwd": "/workspace/app"}),
        ),
        asked(
            72,
            "item/commandExecution/requestApproval",
            json!({"itemId": "b", "command": "ls",
            "networkApprovalContext": {"host": "example.org"}}),
        ),
        asked(
            73,
            "item/commandExecution/requestApproval",
            json!({"itemId": "c", "command": "ls", "cwd": "/etc"}),
        ),
        asked(
            74,
            "item/fileChange/requestApproval",
            json!({"itemId": "never-shown"}),
        ),
        asked(
            75,
            "item/permissions/requestApproval",
            json!({"itemId": "d"}),
        ),
        asked(76, "item/tool/requestUserInput", json!({})),
        codex_says(FOUND),
        turn_over(),
    ];
    let outcome = run(Protocol::Codex, true, false, codex(messages));
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let answers: Vec<&str> = outcome
        .sent
        .iter()
        .filter(|message| message.get("method").is_none())
        .map(|message| {
            message
                .pointer("/result/decision")
                .and_then(Value::as_str)
                .unwrap_or("error")
        })
        .collect();
    assert_eq!(
        answers,
        [
            "accept", "decline", "decline", "decline", "decline", "error", "error"
        ]
    );
}

#[test]
fn codex_that_does_not_ask_is_stopped() {
    let done = |item: Value| json!({"method": "item/completed", "params": {"item": item}});
    for message in [
        done(json!({"type": "commandExecution", "id": "x", "status": "completed", "exitCode": 0})),
        done(json!({"type": "commandExecution", "id": "x", "status": "failed", "exitCode": 1})),
        done(json!({"type": "fileChange", "id": "x", "status": "completed"})),
        done(json!({"type": "mcpToolCall", "id": "x", "status": "completed"})),
        done(json!({"type": "webSearch", "id": "x"})),
        done(json!({"type": "somethingNew", "id": "x"})),
        json!({"method": "item/started", "params": {"item": {"type": "commandExecution", "id": "x",
            "source": "unifiedExecInteraction"}}}),
    ] {
        let outcome = run(
            Protocol::Codex,
            true,
            false,
            codex(vec![message.clone(), codex_says(FOUND), turn_over()]),
        );
        assert!(
            matches!(outcome.result, Err(AgentError::NotFound { .. })),
            "{message}"
        );
    }
}

/// ACP agent that opens well and answers a prompt with these messages.
fn acp(messages: Vec<Value>) -> React {
    Box::new(move |message| {
        let id = message["id"].clone();
        let reply =
            |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
        match message["method"].as_str() {
            Some("initialize") => vec![reply(json!({"protocolVersion": 1}))],
            Some("session/new") => vec![reply(json!({"sessionId": "s"}))],
            Some("session/prompt") => {
                let mut lines: Vec<String> = messages.iter().map(Value::to_string).collect();
                lines.push(reply(json!({"stopReason": "end_turn"})));
                lines
            }
            _ => Vec::new(),
        }
    })
}

fn update(update: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": update}})
}

#[test]
fn an_acp_agent_that_does_not_ask_is_stopped() {
    let call = |kind: &str, input: Value, status: &str| {
        update(
            json!({"sessionUpdate": "tool_call", "toolCallId": "c", "kind": kind, "rawInput": input,
            "status": status}),
        )
    };
    let says = update(
        json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": FOUND}}),
    );
    for message in [
        call("execute", json!({"command": "ls"}), "completed"),
        call("edit", json!({"path": "a"}), "completed"),
        call("fetch", json!({"url": "x"}), "completed"),
        call("other", json!({}), "completed"),
        call("read", json!({"path": "/etc/passwd"}), "pending"),
        call("search", json!({"pattern": "DENY"}), "pending"),
    ] {
        let outcome = run(
            Protocol::Acp,
            true,
            false,
            acp(vec![message.clone(), says.clone()]),
        );
        assert!(
            matches!(outcome.result, Err(AgentError::NotFound { .. })),
            "{message}"
        );
    }
    let fine = vec![
        call("read", json!({"path": "/workspace/app/a"}), "completed"),
        says,
    ];
    let outcome = run(Protocol::Acp, true, false, acp(fine));
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.judged.len(), 1);
}

/// A recorded conversation: what the program said after each line of ours.
fn recorded(wire: &str, host: &str) -> React {
    let mut entries: VecDeque<(bool, Value)> = wire
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).expect("JSON");
            let ours = entry["dir"]
                .as_str()
                .is_some_and(|dir| dir.starts_with(host));
            (ours, entry["line"].clone())
        })
        .collect();
    Box::new(move |_| {
        let mut said = Vec::new();
        if entries.front().is_some_and(|(ours, _)| *ours) {
            entries.pop_front();
        }
        while let Some((false, _)) = entries.front() {
            if let Some((_, line)) = entries.pop_front() {
                said.push(line.to_string());
            }
        }
        said
    })
}

#[test]
fn codex_as_it_was_recorded() {
    let wire = include_str!("wires/codex-0.169.0.jsonl");
    let outcome = run(Protocol::Codex, true, true, recorded(wire, "host"));
    let answers: Vec<&str> = outcome
        .sent
        .iter()
        .filter_map(|message| message.pointer("/result/decision")?.as_str())
        .collect();
    // A command, one that is refused, and a file, which nobody writes in a diagnosis:
    // in the recording it was allowed and happens.
    assert_eq!(
        answers,
        ["accept", "decline", "decline"],
        "{:?}",
        outcome.result
    );
    let Err(AgentError::NotFound { summary, .. }) = outcome.result else {
        panic!("{:?}", outcome.result);
    };
    assert!(summary.contains("without permission"), "{summary}");
}

#[test]
fn acp_agents_as_they_were_recorded() {
    for (wire, allowed) in [
        (include_str!("wires/claude-agent-acp-0.49.0.jsonl"), "allow"),
        (include_str!("wires/opencode-1.18.33.jsonl"), "once"),
    ] {
        let outcome = run(Protocol::Acp, true, true, recorded(wire, "client"));
        let answers: Vec<&str> = outcome
            .sent
            .iter()
            .filter_map(|message| message.pointer("/result/outcome/optionId")?.as_str())
            .collect();
        assert_eq!(answers, [allowed, "reject"], "{:?}", outcome.result);
    }
}
