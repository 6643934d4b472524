//! Any program that speaks the Agent Client Protocol, version 1: JSON-RPC in lines on
//! its pipes.
//!
//! The protocol leaves it to the agent which calls it asks permission for, so asking
//! alone is not enough:
//!
//! - a call that changes or runs something and ends well without having asked ends the
//!   session. Configure the agent to ask for everything;
//! - a call that only reads or searches is judged when it is announced; a refusal then
//!   ends the session, since nothing else would stop it;
//! - only the option to allow once is ever chosen;
//! - files are read through our own tools where the agent offers to; writing it does
//!   itself, after asking, in the sandbox. Terminals and servers are not offered.
//!
//! `claude-agent-acp` loads settings of the repository unless told otherwise: the
//! session says so in its `_meta`, which others ignore.

use crate::agent::Launch;
use crate::convert::{Ground, Wish, named, text};
use crate::failure::Failure;
use crate::gate::{Answer, Gate};
use crate::transcript::cut;
use crate::wire::Wire;
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, WorkspaceAccess};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most calls that are remembered at the same time.
const MOST_CALLS: usize = 1024;

/// Longest answer that is kept, in bytes, from its end.
const LONGEST_ANSWER: usize = 512 * 1024;

/// How it is started: with the base URL of the gateway in the variables that are
/// usual for it.
pub(crate) fn launch(command: &[String], base: &str) -> Launch {
    let environment: BTreeMap<String, String> = [
        ("ANTHROPIC_BASE_URL", base.to_owned()),
        ("OPENAI_BASE_URL", format!("{base}/v1")),
        // Not keys: the gateway has them.
        ("ANTHROPIC_API_KEY", "held-by-the-host".to_owned()),
        ("OPENAI_API_KEY", "held-by-the-host".to_owned()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ("DISABLE_TELEMETRY", "1".to_owned()),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned()),
        ("OPENCODE_DISABLE_MODELS_FETCH", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Launch {
        arguments: command.to_vec(),
        environment,
    }
}

/// A call as far as the agent has told.
#[derive(Clone, Debug, Default)]
struct Call {
    kind: String,
    tool: String,
    input: Value,
    content: Value,
    locations: Value,
    asked: bool,
}

/// A conversation with it.
pub(crate) struct AcpAgent {
    ground: Ground,
    session: String,
    next: u64,
    calls: BTreeMap<String, Call>,
    said: String,
}

impl AcpAgent {
    pub(crate) fn open(
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        ground: Ground,
    ) -> Result<Self, Failure> {
        let mut agent = Self {
            ground,
            session: String::new(),
            next: 0,
            calls: BTreeMap::new(),
            said: String::new(),
        };
        let started = agent.request(
            wire,
            gate,
            "initialize",
            json!({
                "protocolVersion": 1,
                "clientCapabilities": {"fs": {"readTextFile": true, "writeTextFile": false}, "terminal": false},
                "clientInfo": {"name": "selfheal", "version": env!("CARGO_PKG_VERSION")},
            }),
        )?;
        if started.get("protocolVersion") != Some(&json!(1)) {
            return Err(Failure::Broken(
                "the agent does not speak version 1 of the Agent Client Protocol".to_owned(),
            ));
        }
        let tools = match agent.ground.access {
            WorkspaceAccess::Keep => vec!["Bash", "Read", "Grep", "Glob", "Edit", "Write"],
            WorkspaceAccess::ReadOnly | WorkspaceAccess::Discard => {
                vec!["Bash", "Read", "Grep", "Glob"]
            }
        };
        let options = json!({
            "settingSources": [],
            "strictMcpConfig": true,
            "tools": tools,
            "settings": {"permissions": {"ask": tools, "disableBypassPermissionsMode": "disable"}},
        });
        let root = agent.ground.root.clone();
        let session = agent.request(
            wire,
            gate,
            "session/new",
            json!({
                "cwd": root,
                "mcpServers": [],
                "_meta": {"claudeCode": {"options": options}},
            }),
        )?;
        let Some(id) = text(&session, "sessionId") else {
            return Err(Failure::Broken("the agent started no session".to_owned()));
        };
        agent.session = id.to_owned();
        Ok(agent)
    }

    /// Says something and waits for the end of the answer.
    pub(crate) fn turn(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        prompt: &str,
    ) -> Result<String, Failure> {
        self.said.clear();
        let session = self.session.clone();
        let ended = self.request(
            wire,
            gate,
            "session/prompt",
            json!({"sessionId": session, "prompt": [{"type": "text", "text": prompt}]}),
        )?;
        gate.transcript.push("agent", &self.said);
        match text(&ended, "stopReason") {
            Some("end_turn") => Ok(std::mem::take(&mut self.said)),
            Some("max_tokens" | "max_turn_requests") => {
                Err(Failure::OverBudget("its turns are used up".to_owned()))
            }
            reason => Err(Failure::GaveUp(format!(
                "it stopped for the reason {:?}",
                reason.unwrap_or("none")
            ))),
        }
    }

    fn request(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        let id = self.next;
        self.next += 1;
        wire.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut message = wire.receive()?;
            let ours = message.get("method").is_none()
                && message.get("id").and_then(Value::as_u64) == Some(id);
            if !ours {
                self.hear(wire, gate, &message)?;
                continue;
            }
            if let Some(error) = message.get("error") {
                let said = text(error, "message").unwrap_or("no reason");
                return Err(Failure::Broken(format!(
                    "the agent refused {method}: {}",
                    cut(said, 300)
                )));
            }
            return Ok(message
                .get_mut("result")
                .map(Value::take)
                .unwrap_or_default());
        }
    }

    fn hear(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        message: &Value,
    ) -> Result<(), Failure> {
        let Some(method) = text(message, "method") else {
            return Ok(());
        };
        let params = message.get("params").unwrap_or(&Value::Null);
        let Some(id) = message.get("id") else {
            if method == "session/update" {
                self.update(gate, params.get("update").unwrap_or(&Value::Null))?;
            }
            return Ok(());
        };
        let answer = match method {
            "session/request_permission" => self.permission(gate, params)?,
            "fs/read_text_file" => self.read(gate, params)?,
            _ => Err("not supported".to_owned()),
        };
        wire.send(&match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(why) => {
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": why}})
            }
        })
    }

    /// What the agent tells of its calls and of what it thinks.
    fn update(&mut self, gate: &mut Gate<'_>, update: &Value) -> Result<(), Failure> {
        match text(update, "sessionUpdate") {
            Some("agent_message_chunk") => {
                self.said.push_str(
                    update
                        .pointer("/content/text")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                );
                if self.said.len() > 2 * LONGEST_ANSWER {
                    let mut from = self.said.len() - LONGEST_ANSWER;
                    while !self.said.is_char_boundary(from) {
                        from += 1;
                    }
                    self.said.drain(..from);
                }
                Ok(())
            }
            Some("tool_call" | "tool_call_update") => self.told(gate, update),
            _ => Ok(()),
        }
    }

    fn told(&mut self, gate: &mut Gate<'_>, update: &Value) -> Result<(), Failure> {
        let Some(id) = text(update, "toolCallId") else {
            return Ok(());
        };
        // What follows a call is no longer the answer.
        self.said.clear();
        self.note(id, update);
        let call = self.calls.get(id).cloned().unwrap_or_default();
        let status = text(update, "status").unwrap_or_default();
        let reads = matches!(call.kind.as_str(), "read" | "search" | "think");
        let begun = !call.input.is_null() && call.input != json!({});
        if reads && !call.asked && (begun || status == "completed") {
            // It will not wait, so a refusal cannot be told in time.
            let answer = match call.kind.as_str() {
                "think" => Answer::Allow,
                _ => gate.ask(id, &call.kind, &call.input, self.wish(&call))?,
            };
            if let Answer::Deny(why) = answer {
                return Err(Failure::Disobeyed(format!("{} ({why})", call.kind)));
            }
            if let Some(call) = self.calls.get_mut(id) {
                call.asked = true;
            }
        }
        match status {
            "completed" => {
                if !reads && !gate.was_permitted(id) {
                    let what = text(update, "title").unwrap_or(&call.kind);
                    return Err(Failure::Disobeyed(format!(
                        "{} (configure the agent to ask for everything)",
                        cut(what, 200)
                    )));
                }
                gate.done(id, true, &output(update))?;
                self.calls.remove(id);
            }
            "failed" => {
                gate.done(id, false, &output(update))?;
                self.calls.remove(id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds what a message says about a call to what is known of it.
    fn note(&mut self, id: &str, said: &Value) {
        if self.calls.len() >= MOST_CALLS && !self.calls.contains_key(id) {
            self.calls.pop_first();
        }
        let call = self.calls.entry(id.to_owned()).or_default();
        if let Some(kind) = text(said, "kind") {
            kind.clone_into(&mut call.kind);
        }
        if let Some(tool) = said
            .pointer("/_meta/claudeCode/toolName")
            .and_then(Value::as_str)
        {
            tool.clone_into(&mut call.tool);
        }
        for (field, name) in [
            (&mut call.input, "rawInput"),
            (&mut call.content, "content"),
            (&mut call.locations, "locations"),
        ] {
            if let Some(value) = said.get(name).filter(|value| !value.is_null()) {
                *field = value.clone();
            }
        }
    }

    fn permission(
        &mut self,
        gate: &mut Gate<'_>,
        params: &Value,
    ) -> Result<Result<Value, String>, Failure> {
        let asked = params.get("toolCall").unwrap_or(&Value::Null);
        let Some(id) = text(asked, "toolCallId") else {
            return Ok(Err("a permission for no call".to_owned()));
        };
        self.note(id, asked);
        let call = self.calls.get(id).cloned().unwrap_or_default();
        // The permission is for what is asked now, not for what was announced.
        let input = asked.get("rawInput").unwrap_or(&call.input).clone();
        let now = Call { input, ..call };
        let name = if now.tool.is_empty() {
            now.kind.clone()
        } else {
            now.tool.clone()
        };
        let answer = gate.ask(id, &name, &now.input, self.wish(&now))?;
        if let Some(call) = self.calls.get_mut(id) {
            call.asked = true;
        }
        let option = |kind: &str| {
            params
                .get("options")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .find(|option| text(option, "kind") == Some(kind))
                .and_then(|option| text(option, "optionId"))
        };
        let chosen = match &answer {
            Answer::Allow => option("allow_once"),
            Answer::Deny(_) => option("reject_once"),
        };
        let outcome = match chosen {
            Some(option) => json!({"outcome": "selected", "optionId": option}),
            None => {
                gate.done(id, false, "could not be allowed just once")?;
                json!({"outcome": "cancelled"})
            }
        };
        Ok(Ok(json!({"outcome": outcome})))
    }

    /// Reads through the broker, which judges, records and masks.
    fn read(&self, gate: &mut Gate<'_>, params: &Value) -> Result<Result<Value, String>, Failure> {
        let Some(path) = text(params, "path") else {
            return Ok(Err("no path".to_owned()));
        };
        let Wish::Calls(calls) = self.ground.read(path) else {
            return Ok(Err(format!("{path} leads outside the workspace")));
        };
        let Some(request @ ToolRequest::Read { .. }) = calls.into_iter().next() else {
            return Ok(Err("not a file".to_owned()));
        };
        match gate.tools().call(request) {
            Ok(ToolOutput::Text(content)) => {
                let number = |name: &str| {
                    params
                        .get(name)
                        .and_then(Value::as_u64)
                        .and_then(|number| usize::try_from(number).ok())
                };
                let content = match (number("line"), number("limit")) {
                    (None, None) => content,
                    (line, limit) => content
                        .split_inclusive('\n')
                        .skip(line.unwrap_or(1).saturating_sub(1))
                        .take(limit.unwrap_or(usize::MAX))
                        .collect(),
                };
                Ok(Ok(json!({"content": content})))
            }
            Ok(_) => Ok(Err("not a text".to_owned())),
            Err(error @ (ToolError::Denied(_) | ToolError::Invalid(_))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a call does. Names of tools are no standard, kinds are.
    fn wish(&self, call: &Call) -> Wish {
        if !call.tool.is_empty() {
            return named(&self.ground, &call.tool, &call.input);
        }
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| text(&call.input, name))
                .or_else(|| call.locations.pointer("/0/path").and_then(Value::as_str))
                .map(str::to_owned)
        };
        let path = || first(&["path", "file_path", "filePath", "filepath", "abs_path"]);
        let unclear = || Wish::no("the call does not say what it does");
        match call.kind.as_str() {
            "execute" => {
                let command = match call.input.get("command") {
                    Some(Value::String(command)) => Some(command.clone()),
                    Some(Value::Array(words)) => {
                        let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
                        words.and_then(|words| shlex::try_join(words).ok())
                    }
                    _ => None,
                };
                let place = ["cwd", "workdir", "working_directory"]
                    .iter()
                    .find_map(|name| text(&call.input, name));
                match command {
                    Some(command) => self.ground.shell(&command, place.unwrap_or_default(), None),
                    None => unclear(),
                }
            }
            "edit" => self.edit(call).unwrap_or_else(|| match path() {
                Some(path) => self.ground.write(&path, ""),
                None => unclear(),
            }),
            "delete" => path().map_or_else(unclear, |path| self.ground.remove(&path)),
            "read" => path().map_or_else(unclear, |path| self.ground.read(&path)),
            "search" => {
                let place = text(&call.input, "path").unwrap_or_default();
                match (text(&call.input, "pattern"), text(&call.input, "query")) {
                    (Some(pattern), _) | (None, Some(pattern)) => {
                        self.ground.grep(pattern, place, None)
                    }
                    (None, None) => unclear(),
                }
            }
            kind => Wish::no(format!("calls of the kind {kind:?} do not exist here")),
        }
    }

    /// The differences that a call shows.
    fn edit(&self, call: &Call) -> Option<Wish> {
        let empty = Map::new();
        let mut calls = Vec::new();
        for part in call.content.as_array()? {
            let part = part.as_object().unwrap_or(&empty);
            if part.get("type").and_then(Value::as_str) != Some("diff") {
                continue;
            }
            let of = |name: &str| part.get(name).and_then(Value::as_str);
            let (path, new) = (of("path")?, of("newText")?);
            match self
                .ground
                .edit(path, of("oldText").unwrap_or_default(), new, false)
            {
                Wish::Calls(more) => calls.extend(more),
                impossible @ Wish::Impossible(_) => return Some(impossible),
            }
        }
        (!calls.is_empty()).then_some(Wish::Calls(calls))
    }
}

fn output(update: &Value) -> String {
    match update.get("rawOutput") {
        Some(Value::String(said)) => said.clone(),
        Some(said) => cut(&said.to_string(), 2048),
        None => String::new(),
    }
}
