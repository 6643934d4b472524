//! Codex, over its app server: JSON-RPC in lines on its pipes.
//!
//! Its hooks let a call through when they fail, and no setting closes that. So they
//! are switched off and policy sits where Codex waits for an answer: with
//! `approvalPolicy: "untrusted"` it asks for every command and every change of files
//! (measured on 0.169.0), and no answer is no permission. The rest of what it could do
//! without asking is switched off or ends the session when it shows:
//!
//! - a shell that stays and is typed into (`unified_exec`): one approval would cover
//!   everything typed later;
//! - servers, plugins, skills, sub-agents, web search, image tools, sleeping;
//! - another model that approves in our place (`approvals_reviewer`);
//! - rules, instructions and settings of the repository: a home of its own without
//!   trusted projects, `project_doc_max_bytes=0`;
//! - amendments to its own rules and permissions for the whole session, which are
//!   never granted: each accepted call is one call.

use crate::agent::Launch;
use crate::convert::{Ground, Wish, text};
use crate::failure::Failure;
use crate::gate::{Answer, Gate};
use crate::transcript::cut;
use crate::wire::Wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most changes of files that are remembered until they are asked for.
const MOST_CHANGES: usize = 256;

/// What it must not have.
const DISABLED: &[&str] = &[
    "apps",
    "browser_use",
    "code_mode_host",
    "computer_use",
    "enable_request_compression",
    "goals",
    "guardian_approval",
    "hooks",
    "image_generation",
    "multi_agent",
    "plugins",
    "remote_plugin",
    "shell_snapshot",
    "skill_mcp_dependency_install",
    "skill_search",
    "sleep_tool",
    "tool_suggest",
    "unified_exec",
];

/// Items that do nothing to anything.
const HARMLESS: &[&str] = &[
    "agentMessage",
    "contextCompaction",
    "enteredReviewMode",
    "exitedReviewMode",
    "functionCallOutput",
    "hookPrompt",
    "plan",
    "reasoning",
    "userMessage",
];

/// How it is started.
pub(crate) fn launch(command: &[String], model: Option<&str>, base: &str) -> Launch {
    let mut arguments = command.to_vec();
    arguments.push("app-server".to_owned());
    for feature in DISABLED {
        arguments.extend(["--disable".to_owned(), (*feature).to_owned()]);
    }
    let provider = format!(
        "model_providers.selfheal={{name=\"selfheal\",base_url=\"{base}/v1\",wire_api=\"responses\",\
         env_key=\"SELFHEAL_MODEL\",requires_openai_auth=false}}"
    );
    let settings = [
        provider.as_str(),
        "model_provider=\"selfheal\"",
        "approvals_reviewer=\"user\"",
        "project_doc_max_bytes=0",
        "web_search=\"disabled\"",
        "analytics.enabled=false",
        "check_for_update_on_startup=false",
        "history.persistence=\"none\"",
        "mcp_servers={}",
        "allow_login_shell=false",
    ];
    for setting in settings {
        arguments.extend(["-c".to_owned(), setting.to_owned()]);
    }
    if let Some(model) = model {
        // As a literal of TOML, whatever is in the name.
        arguments.extend(["-c".to_owned(), format!("model={}", json!(model))]);
    }
    let environment: BTreeMap<String, String> = [
        ("CODEX_HOME", "/tmp"),
        // Not a key: the gateway has it.
        ("SELFHEAL_MODEL", "held-by-the-host"),
        ("RUST_LOG", "error"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Launch {
        arguments,
        environment,
    }
}

/// A conversation with it.
pub(crate) struct Codex {
    ground: Ground,
    thread: String,
    next: u64,
    /// Changes of files by item, shown before they are asked for.
    changes: BTreeMap<String, Value>,
    said: String,
}

impl Codex {
    pub(crate) fn open(
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        ground: Ground,
        model: Option<&str>,
        rules: &str,
    ) -> Result<Self, Failure> {
        let mut codex = Self {
            ground,
            thread: String::new(),
            next: 0,
            changes: BTreeMap::new(),
            said: String::new(),
        };
        codex.request(
            wire,
            gate,
            "initialize",
            json!({"clientInfo": {"name": "selfheal", "title": "Selfheal", "version": env!("CARGO_PKG_VERSION")}}),
        )?;
        wire.send(&json!({"method": "initialized"}))?;
        let started = codex.request(
            wire,
            gate,
            "thread/start",
            json!({
                "cwd": codex.ground.root,
                "approvalPolicy": "untrusted",
                "approvalsReviewer": "user",
                // Anything wider makes it trust the repository, and start the servers
                // that the repository names.
                "sandbox": "read-only",
                "model": model,
                "developerInstructions": rules,
                "ephemeral": true,
            }),
        )?;
        let Some(thread) = started.pointer("/thread/id").and_then(Value::as_str) else {
            return Err(Failure::Broken("Codex started no thread".to_owned()));
        };
        // One that does not say how it asks may not ask at all.
        let policy = started.get("approvalPolicy").unwrap_or(&Value::Null);
        if policy != "untrusted" {
            return Err(Failure::Broken(format!(
                "Codex did not start as told: approval policy {policy}"
            )));
        }
        codex.thread = thread.to_owned();
        Ok(codex)
    }

    /// Says something and waits for the end of the answer.
    pub(crate) fn turn(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        prompt: &str,
    ) -> Result<String, Failure> {
        self.said.clear();
        let input = json!([{"type": "text", "text": prompt}]);
        let thread = self.thread.clone();
        let mut ended = false;
        self.send(
            wire,
            "turn/start",
            // It runs in our sandbox, which lets it make none of its own.
            json!({"threadId": thread, "input": input, "sandboxPolicy": {"type": "externalSandbox"}}),
        )?;
        while !ended {
            let message = wire.receive()?;
            if let Some(error) = message.get("error") {
                return Err(refused("turn/start", error));
            }
            ended = self.hear(wire, gate, &message)?;
        }
        Ok(std::mem::take(&mut self.said))
    }

    fn send(&mut self, wire: &mut Wire<'_>, method: &str, params: Value) -> Result<u64, Failure> {
        let id = self.next;
        self.next += 1;
        wire.send(&json!({"id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// A request of ours and its result; what comes in between is heard.
    fn request(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        let id = self.send(wire, method, params)?;
        loop {
            let mut message = wire.receive()?;
            let ours = message.get("method").is_none()
                && message.get("id").and_then(Value::as_u64) == Some(id);
            if !ours {
                self.hear(wire, gate, &message)?;
                continue;
            }
            if let Some(error) = message.get("error") {
                return Err(refused(method, error));
            }
            return Ok(message
                .get_mut("result")
                .map(Value::take)
                .unwrap_or_default());
        }
    }

    /// One message; true when the turn is over.
    fn hear(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        message: &Value,
    ) -> Result<bool, Failure> {
        let Some(method) = text(message, "method") else {
            return Ok(false);
        };
        let params = message.get("params").unwrap_or(&Value::Null);
        if let Some(id) = message.get("id") {
            let answer = match method {
                "item/commandExecution/requestApproval" => Some(self.command(gate, params)?),
                "item/fileChange/requestApproval" => Some(self.change(gate, params)?),
                // Nobody is there to be asked, and nothing else can be granted.
                _ => None,
            };
            let reply = match answer {
                Some(Answer::Allow) => json!({"id": id, "result": {"decision": "accept"}}),
                Some(Answer::Deny(_)) => json!({"id": id, "result": {"decision": "decline"}}),
                None => json!({"id": id, "error": {"code": -32601, "message": "not supported"}}),
            };
            wire.send(&reply)?;
            return Ok(false);
        }
        match method {
            "item/started" => self.started(params)?,
            "item/completed" => self.completed(gate, params)?,
            "error" if params.get("willRetry") != Some(&Value::Bool(true)) => {
                let what = params.pointer("/error/message").and_then(Value::as_str);
                gate.transcript.push("agent", what.unwrap_or("an error"));
            }
            "turn/completed" => return self.ended(params).map(|()| true),
            _ => {}
        }
        Ok(false)
    }

    fn command(&self, gate: &mut Gate<'_>, params: &Value) -> Result<Answer, Failure> {
        let plain = params.get("kind").is_none_or(|kind| kind == "command")
            && params
                .get("networkApprovalContext")
                .is_none_or(Value::is_null)
            && params
                .get("additionalPermissions")
                .is_none_or(Value::is_null);
        let (Some(id), Some(command), true) =
            (text(params, "itemId"), text(params, "command"), plain)
        else {
            return Ok(Answer::Deny("only commands can be approved".to_owned()));
        };
        let cwd = text(params, "cwd").unwrap_or_default();
        gate.ask(
            id,
            "command",
            &json!(command),
            self.ground.shell(command, cwd, None),
        )
    }

    fn change(&self, gate: &mut Gate<'_>, params: &Value) -> Result<Answer, Failure> {
        let known = text(params, "itemId").and_then(|id| Some((id, self.changes.get(id)?)));
        let (Some((id, changes)), true) =
            (known, params.get("grantRoot").is_none_or(Value::is_null))
        else {
            return Ok(Answer::Deny(
                "only changes that were shown can be approved".to_owned(),
            ));
        };
        gate.ask(id, "change", changes, self.wish(changes))
    }

    fn started(&mut self, params: &Value) -> Result<(), Failure> {
        let item = params.get("item").unwrap_or(&Value::Null);
        let kind = text(item, "type").unwrap_or_default();
        if kind == "commandExecution" && text(item, "source") == Some("unifiedExecInteraction") {
            return Err(Failure::Disobeyed(
                "it typed into a running shell".to_owned(),
            ));
        }
        if let ("fileChange", Some(id), Some(changes)) =
            (kind, text(item, "id"), item.get("changes"))
        {
            if self.changes.len() >= MOST_CHANGES {
                self.changes.pop_first();
            }
            self.changes.insert(id.to_owned(), changes.clone());
        }
        Ok(())
    }

    fn completed(&mut self, gate: &mut Gate<'_>, params: &Value) -> Result<(), Failure> {
        let item = params.get("item").unwrap_or(&Value::Null);
        let kind = text(item, "type").unwrap_or_default();
        let id = text(item, "id").unwrap_or_default();
        match kind {
            "agentMessage" => {
                let said = text(item, "text").unwrap_or_default();
                gate.transcript.push("agent", said);
                gate.tools().progress(&cut(said.trim(), 200));
                self.said = said.to_owned();
            }
            "commandExecution" | "fileChange" => {
                let status = text(item, "status").unwrap_or_default();
                self.changes.remove(id);
                // It failed to start, or we declined.
                let happened = status != "declined"
                    && (status == "completed"
                        || item.get("exitCode").is_some_and(|code| !code.is_null()));
                if happened && !gate.was_permitted(id) {
                    let what = text(item, "command").unwrap_or(kind);
                    return Err(Failure::Disobeyed(cut(what, 200)));
                }
                let succeeded = status == "completed"
                    && item
                        .get("exitCode")
                        .is_none_or(|code| code.is_null() || *code == json!(0));
                let output = text(item, "aggregatedOutput").unwrap_or_default();
                gate.done(id, succeeded, &format!("{status}\n{output}"))?;
            }
            kind if HARMLESS.contains(&kind) => {}
            kind => return Err(Failure::Disobeyed(format!("it used {kind:?}"))),
        }
        Ok(())
    }

    fn ended(&self, params: &Value) -> Result<(), Failure> {
        let turn = params.get("turn").unwrap_or(&Value::Null);
        match text(turn, "status") {
            Some("completed") => Ok(()),
            status => {
                let why = turn.pointer("/error/message").and_then(Value::as_str);
                Err(Failure::Broken(format!(
                    "Codex ended its turn as {}: {}",
                    status.unwrap_or("unknown"),
                    cut(why.unwrap_or("no reason"), 400)
                )))
            }
        }
    }

    /// What a patch does, file by file.
    fn wish(&self, changes: &Value) -> Wish {
        let mut calls = Vec::new();
        for change in changes.as_array().into_iter().flatten() {
            let (Some(path), Some(diff)) = (text(change, "path"), text(change, "diff")) else {
                return Wish::no("a change that cannot be understood");
            };
            let kind = change.get("kind").unwrap_or(&Value::Null);
            let moved = text(kind, "move_path");
            let wishes = match (text(kind, "type"), moved) {
                (Some("add"), None) => vec![self.ground.write(path, diff)],
                (Some("delete"), None) => vec![self.ground.remove(path)],
                (Some("update"), None) => vec![self.update(path, diff)],
                (Some("update"), Some(to)) => {
                    vec![self.ground.remove(path), self.update(to, diff)]
                }
                _ => return Wish::no("a change that cannot be understood"),
            };
            for wish in wishes {
                match wish {
                    Wish::Calls(more) => calls.extend(more),
                    impossible @ Wish::Impossible(_) => return impossible,
                }
            }
        }
        if calls.is_empty() {
            return Wish::no("a change of nothing");
        }
        Wish::Calls(calls)
    }

    /// What a unified diff takes away and what it puts there.
    fn update(&self, path: &str, diff: &str) -> Wish {
        let side = |sign: char| -> String {
            diff.lines()
                .filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ "))
                .filter_map(|line| line.strip_prefix([sign, ' ']))
                .map(|line| format!("{line}\n"))
                .collect()
        };
        self.ground.edit(path, &side('-'), &side('+'), false)
    }
}

fn refused(method: &str, error: &Value) -> Failure {
    let said = text(error, "message").unwrap_or("no reason");
    Failure::Broken(format!("Codex refused {method}: {}", cut(said, 300)))
}
