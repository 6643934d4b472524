//! Claude Code, over the control protocol that its Agent SDK speaks on its pipes.
//!
//! Its permission system lets calls through wherever nobody objects, so each of its
//! doors is closed on its own (measured on 2.1.329):
//!
//! - policy sits in a `PreToolUse` callback without matcher, so that it is asked for
//!   every call. A callback that fails, is late or answers nonsense lets the call
//!   *through* unless it is registered with `"onFailure": "block"`; a program that
//!   does not say it honours that (`hook_on_failure_supported`) is not used;
//! - what a hook lets through without a word would be decided by the program itself,
//!   which permits reading and harmless-looking commands: `ask` rules for every tool
//!   make it ask again (`can_use_tool`), and the answer is yes only for a call that
//!   was judged, word for word;
//! - settings, hooks, servers, skills and instructions of the repository or the home
//!   directory are not loaded (`--setting-sources ""`, `--restricted`,
//!   `--strict-mcp-config`, `--disable-slash-commands`): `disableAllHooks` or an
//!   allow-all in a repository's `.claude/settings.json` would switch policy off;
//! - only the tools that we can judge exist (`--tools`), and what the program reports
//!   at its start is compared with that;
//! - when our end goes away its processes are killed with the sandbox.

use crate::agent::Launch;
use crate::convert::{Ground, Wish, named, text};
use crate::failure::Failure;
use crate::gate::{Answer, Gate};
use crate::transcript::cut;
use crate::wire::Wire;
use selfheal_domain::tools::WorkspaceAccess;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Our name for the one callback.
const CALLBACK: &str = "selfheal";

/// How long the program waits for our answer, in seconds: never the reason that a
/// call goes ahead. A judgement takes milliseconds and has its own deadline.
const PATIENCE: u32 = 24 * 3600;

/// Tools of a diagnosis, and those that drafting has besides.
const READING: &[&str] = &["Bash", "Read", "Grep", "Glob"];
const WRITING: &[&str] = &["Edit", "Write"];

fn tools(access: WorkspaceAccess) -> Vec<&'static str> {
    let mut tools = READING.to_vec();
    if access == WorkspaceAccess::Keep {
        tools.extend(WRITING);
    }
    tools
}

/// How it is started.
pub(crate) fn launch(
    command: &[String],
    model: Option<&str>,
    turns: u32,
    access: WorkspaceAccess,
    base: &str,
) -> Launch {
    let tools = tools(access);
    let settings =
        json!({"permissions": {"ask": tools, "disableBypassPermissionsMode": "disable"}});
    let mut arguments: Vec<String> = command.to_vec();
    arguments.extend(
        [
            "--print",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-prompt-tool",
            "stdio",
            "--permission-mode",
            "default",
            "--setting-sources",
            "",
            "--restricted",
            "--strict-mcp-config",
            "--disable-slash-commands",
            "--no-session-persistence",
            "--no-chrome",
            "--max-turns",
        ]
        .map(str::to_owned),
    );
    arguments.push(turns.to_string());
    arguments.extend(["--tools".to_owned(), tools.join(",")]);
    arguments.extend(["--settings".to_owned(), settings.to_string()]);
    if let Some(model) = model {
        arguments.extend(["--model".to_owned(), model.to_owned()]);
    }
    let mut environment: BTreeMap<String, String> = [
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        // Not a key: the gateway has it.
        ("ANTHROPIC_API_KEY", "held-by-the-host"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.insert("ANTHROPIC_BASE_URL".to_owned(), base.to_owned());
    Launch {
        arguments,
        environment,
    }
}

/// A conversation with it.
pub(crate) struct ClaudeCode {
    ground: Ground,
    /// It has said what it has, and that was what it was given.
    checked: bool,
}

impl ClaudeCode {
    /// Registers the callback. Nothing has been asked of the program before.
    pub(crate) fn open(
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        ground: Ground,
        rules: &str,
    ) -> Result<Self, Failure> {
        let hook =
            json!([{"hookCallbackIds": [CALLBACK], "timeout": PATIENCE, "onFailure": "block"}]);
        wire.send(&json!({
            "type": "control_request",
            "request_id": "open",
            "request": {
                "subtype": "initialize",
                "hooks": {"PreToolUse": hook},
                "appendSystemPrompt": rules,
            },
        }))?;
        let mut conversation = Self {
            ground,
            checked: false,
        };
        loop {
            let message = wire.receive()?;
            match text(&message, "type") {
                Some("control_response") => {
                    let response = message.get("response").unwrap_or(&Value::Null);
                    if text(response, "request_id") != Some("open") {
                        continue;
                    }
                    let body = response.get("response").unwrap_or(&Value::Null);
                    let holds = |name: &str| body.get(name) == Some(&Value::Bool(true));
                    if text(response, "subtype") != Some("success") {
                        let said = text(response, "error").unwrap_or("no reason");
                        return Err(Failure::Broken(format!(
                            "Claude Code refused our callbacks: {}",
                            cut(said, 300)
                        )));
                    }
                    if !holds("hook_on_failure_supported") || !holds("hooks_applied") {
                        return Err(Failure::Broken(
                            "this Claude Code cannot be made to fail closed (`onFailure` is needed, version 2.1.329 \
                             or later)"
                                .to_owned(),
                        ));
                    }
                    return Ok(conversation);
                }
                _ => {
                    conversation.hear(wire, gate, &message)?;
                }
            }
        }
    }

    /// Says something and waits for the end of the answer.
    pub(crate) fn turn(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        prompt: &str,
    ) -> Result<String, Failure> {
        wire.send(&json!({
            "type": "user",
            "message": {"role": "user", "content": prompt},
            "parent_tool_use_id": null,
            "session_id": "",
        }))?;
        loop {
            let message = wire.receive()?;
            if let Some(answer) = self.hear(wire, gate, &message)? {
                return Ok(answer);
            }
        }
    }

    fn hear(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        message: &Value,
    ) -> Result<Option<String>, Failure> {
        match text(message, "type") {
            Some("control_request") => self.asked(wire, gate, message).map(|()| None),
            Some("system") if text(message, "subtype") == Some("init") => {
                self.started(message)?;
                self.checked = true;
                Ok(None)
            }
            Some("assistant" | "result") if !self.checked => Err(Failure::Broken(
                "Claude Code did not say with which tools it started".to_owned(),
            )),
            Some("assistant") => {
                for block in blocks(message) {
                    if let Some(said) = text(block, "text") {
                        gate.transcript.push("agent", said);
                        gate.tools().progress(&cut(said.trim(), 200));
                    }
                }
                Ok(None)
            }
            Some("user") => results(gate, message).map(|()| None),
            Some("result") => ended(message).map(Some),
            _ => Ok(None),
        }
    }

    /// The program says what it has; more than we gave it is a reason to stop.
    fn started(&self, message: &Value) -> Result<(), Failure> {
        let known = tools(self.ground.access);
        let list = |name: &str| message.get(name).and_then(Value::as_array).cloned();
        let extra: Vec<String> = list("tools")
            .into_iter()
            .flatten()
            .filter_map(|tool| tool.as_str().map(str::to_owned))
            .filter(|tool| !known.contains(&tool.as_str()))
            .collect();
        let servers = list("mcp_servers").unwrap_or_default();
        let mode = text(message, "permissionMode").unwrap_or_default();
        if list("tools").is_none() || !extra.is_empty() || !servers.is_empty() || mode != "default"
        {
            return Err(Failure::Broken(format!(
                "Claude Code did not start as told: permission mode {mode:?}, {} servers, unexpected tools {extra:?}",
                servers.len()
            )));
        }
        Ok(())
    }

    fn asked(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        message: &Value,
    ) -> Result<(), Failure> {
        let request = message.get("request").unwrap_or(&Value::Null);
        let Some(id) = text(message, "request_id") else {
            return Err(Failure::Broken(
                "a control request without an id".to_owned(),
            ));
        };
        let answer = match text(request, "subtype") {
            Some("hook_callback") => self.hook(gate, request)?,
            Some("can_use_tool") => Some(self.permission(gate, request)?),
            _ => None,
        };
        let response = match answer {
            Some(answer) => json!({"subtype": "success", "request_id": id, "response": answer}),
            None => json!({"subtype": "error", "request_id": id, "error": "not supported"}),
        };
        wire.send(&json!({"type": "control_response", "response": response}))
    }

    /// Always an explicit answer: an empty one would leave the decision to the program.
    fn hook(&self, gate: &mut Gate<'_>, request: &Value) -> Result<Option<Value>, Failure> {
        let input = request.get("input").unwrap_or(&Value::Null);
        let known = text(request, "callback_id") == Some(CALLBACK)
            && text(input, "hook_event_name") == Some("PreToolUse");
        if !known {
            return Ok(None);
        }
        let answer = self.judge(
            gate,
            text(input, "tool_name"),
            input.get("tool_input"),
            text(input, "tool_use_id"),
        )?;
        let (decision, reason) = match answer {
            Answer::Allow => ("allow", "allowed by policy".to_owned()),
            Answer::Deny(why) => ("deny", why),
        };
        Ok(Some(json!({"hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": decision,
            "permissionDecisionReason": reason,
        }})))
    }

    fn permission(&self, gate: &mut Gate<'_>, request: &Value) -> Result<Value, Failure> {
        let (tool, input) = (text(request, "tool_name"), request.get("input"));
        let id = text(request, "tool_use_id");
        let judged = match (tool, input, id) {
            (Some(tool), Some(input), Some(id)) => gate.permits(id, tool, input),
            _ => false,
        };
        let answer = if judged {
            Answer::Allow
        } else {
            self.judge(gate, tool, input, id)?
        };
        Ok(match answer {
            Answer::Allow => json!({"behavior": "allow", "updatedInput": input}),
            Answer::Deny(why) => json!({"behavior": "deny", "message": why}),
        })
    }

    fn judge(
        &self,
        gate: &mut Gate<'_>,
        tool: Option<&str>,
        input: Option<&Value>,
        id: Option<&str>,
    ) -> Result<Answer, Failure> {
        let (Some(tool), Some(input), Some(id)) = (tool, input, id) else {
            return Ok(Answer::Deny("the call cannot be understood".to_owned()));
        };
        let wish = if tools(self.ground.access).contains(&tool) {
            named(&self.ground, tool, input)
        } else {
            Wish::no(format!("{tool} does not exist here"))
        };
        gate.ask(id, tool, input, wish)
    }
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message
        .pointer("/message/content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// What came of calls. A call that worked without permission ends everything.
fn results(gate: &mut Gate<'_>, message: &Value) -> Result<(), Failure> {
    for block in blocks(message) {
        if text(block, "type") != Some("tool_result") {
            continue;
        }
        let Some(id) = text(block, "tool_use_id") else {
            continue;
        };
        let failed = block.get("is_error") == Some(&Value::Bool(true));
        let said = match block.get("content") {
            Some(Value::String(said)) => said.clone(),
            Some(Value::Array(parts)) => parts
                .iter()
                .filter_map(|part| text(part, "text"))
                .collect::<Vec<_>>()
                .join("\n"),
            _ => String::new(),
        };
        if !failed && !gate.was_permitted(id) {
            return Err(Failure::Disobeyed(cut(&said, 200)));
        }
        gate.done(id, !failed, &said)?;
    }
    Ok(())
}

/// The end of a turn.
fn ended(message: &Value) -> Result<String, Failure> {
    let said = text(message, "result").unwrap_or_default();
    let subtype = text(message, "subtype").unwrap_or_default();
    let failed = message.get("is_error") == Some(&Value::Bool(true));
    match subtype {
        "success" if !failed => Ok(said.to_owned()),
        "error_max_turns" => Err(Failure::OverBudget("its turns are used up".to_owned())),
        _ => {
            let errors = message
                .get("errors")
                .map(Value::to_string)
                .unwrap_or_default();
            Err(Failure::Broken(format!(
                "Claude Code ended with {subtype}: {}",
                cut(&format!("{said}{errors}"), 400)
            )))
        }
    }
}
