//! `selfheal mcp permission`: an MCP server with one tool, `approve`, that answers
//! Claude Code's `--permission-prompt-tool` by the policies of the running host.
//!
//! Claude Code asks it only about what nothing else allowed or denied before; hooks
//! are asked about everything. Whatever goes wrong is a denial here as well.

use super::ask::{DEADLINE, Reply, decide};
use super::host::Host;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_api::hook::{self, MAX_QUESTION, Told};
use selfheal_domain::external::ExternalAgent;
use serde_json::{Value, json};
use std::io::{BufRead, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

/// Versions of the protocol in which everything used here is the same; newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// Longest line that is read, in bytes: a question and its envelope.
const MAX_LINE: usize = MAX_QUESTION + 64 * 1024;
/// The tool, as `mcp__selfheal__approve` where the server is called `selfheal`.
const TOOL: &str = "approve";

/// Answers Claude Code's permission questions by this host's policies
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  claude -p … --mcp-config mcp.json --permission-prompt-tool mcp__selfheal__approve
with mcp.json
  {\"mcpServers\": {\"selfheal\": {\"command\": \"selfheal\", \"args\": [\"mcp\", \"permission\",
    \"--credentials\", \"/home/ann/.config/selfheal/hooks/claude-code.json\"]}}}

Only what nothing else allowed is asked here; `selfheal hook install` is asked everything.")]
pub(crate) struct Permission {
    #[command(flatten)]
    host: Host,
    /// Deny after so many seconds without an answer
    #[arg(long, value_name = "SECONDS", default_value_t = DEADLINE, value_parser = clap::value_parser!(u64).range(1..=600))]
    deadline: u64,
}

impl Permission {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            let read = input.by_ref().take(most).read_until(b'\n', &mut line);
            if read.because(Exit::Unavailable)? == 0 {
                return Ok(Exit::Done);
            }
            if !line.ends_with(b"\n") && line.len() >= MAX_LINE {
                let message = format!("a line has at most {MAX_LINE} bytes");
                return Err(Failure::new(Exit::Usage, message));
            }
            if let Some(answer) = self.message(&line) {
                let mut out = std::io::stdout().lock();
                let text = format!("{answer}\n");
                out.write_all(text.as_bytes()).because(Exit::Unavailable)?;
                out.flush().because(Exit::Unavailable)?;
            }
        }
    }

    /// The answer to one JSON-RPC message; none to a notification.
    fn message(&self, line: &[u8]) -> Option<Value> {
        let refused = |id: Value, code: i32, message: &str| {
            Some(json!({ "jsonrpc": "2.0", "id": id,
                "error": { "code": code, "message": message } }))
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            return refused(Value::Null, -32700, "the message is not JSON");
        };
        let id = message.get("id").filter(|id| !id.is_null())?.clone();
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            return refused(id, -32600, "the message names no method");
        };
        let none = Value::Null;
        let parameters = message.get("params").unwrap_or(&none);
        let result = match method {
            "initialize" => json!({
                "protocolVersion": version(parameters),
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "selfheal", "version": env!("CARGO_PKG_VERSION") },
            }),
            "ping" => json!({}),
            "tools/list" => json!({ "tools": [tool()] }),
            "tools/call" if parameters.get("name").and_then(Value::as_str) == Some(TOOL) => {
                let decision = self.approve(parameters.get("arguments").unwrap_or(&none));
                json!({ "content": [{ "type": "text", "text": decision.to_string() }] })
            }
            "tools/call" => return refused(id, -32602, "the only tool is approve"),
            _ => return refused(id, -32601, "this server knows no such method"),
        };
        Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    /// What Claude Code is told about one call.
    fn approve(&self, arguments: &Value) -> Value {
        let agent = ExternalAgent::ClaudeCode;
        let input = arguments.get("input").cloned().unwrap_or_default();
        let session = std::env::var("CLAUDE_CODE_SESSION_ID");
        let event = json!({
            "hook_event_name": hook::asking_event(agent),
            "session_id": session.unwrap_or_else(|_| format!("mcp-{}", std::process::id())),
            "cwd": std::env::current_dir().unwrap_or_default(),
            "tool_name": arguments.get("tool_name"),
            "tool_input": input,
            "tool_use_id": arguments.get("tool_use_id"),
        });
        let reply = self.ask(agent, event.to_string().into_bytes());
        match reply.told {
            Told::Allow => json!({ "behavior": "allow", "updatedInput": input }),
            Told::Ask => json!({
                "behavior": "deny",
                "message": format!("{} (nobody can be asked here)", reply.reason),
            }),
            Told::Deny => json!({ "behavior": "deny", "message": reply.reason }),
        }
    }

    /// In a thread of its own, so that a host that hangs keeps no answer back.
    fn ask(&self, agent: ExternalAgent, event: Vec<u8>) -> Reply {
        let deny = |why: &str| {
            let event = hook::asking_event(agent);
            Reply::deny(agent, event, "host.unreachable", why.to_owned())
        };
        let (send, receive) = mpsc::channel();
        let host = self.host.clone();
        let work = std::thread::Builder::new().spawn(move || {
            let reply = match hook::read(agent, &event) {
                Ok(read) => decide(agent, &host, &read, &event),
                Err(error) => Reply::deny(agent, &error.event, "host.hook-input", error.why),
            };
            // Fails only when nobody waits any more.
            let _ = send.send(reply);
        });
        if work.is_err() {
            return deny("the question could not be asked");
        }
        receive
            .recv_timeout(Duration::from_secs(self.deadline))
            .unwrap_or_else(|_| {
                deny(&format!(
                    "no answer from the host within {} seconds",
                    self.deadline
                ))
            })
    }
}

/// The client's version where it is known, else the newest.
fn version(parameters: &Value) -> &'static str {
    let wanted = parameters.get("protocolVersion").and_then(Value::as_str);
    let known = VERSIONS.iter().find(|version| Some(**version) == wanted);
    known.copied().unwrap_or(VERSIONS[0])
}

fn tool() -> Value {
    json!({
        "name": TOOL,
        "description": "Decides by the policies of selfheal whether a tool call may happen.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_name": { "type": "string", "description": "Name of the tool" },
                "input": {
                    "type": "object",
                    "description": "Input of the tool",
                    "additionalProperties": {},
                },
                "tool_use_id": { "type": "string", "description": "Name of the call" },
            },
            "required": ["tool_name", "input"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        permission: Permission,
    }

    fn server() -> Permission {
        let arguments = ["x", "--credentials", "/nowhere/at/all"];
        Line::try_parse_from(arguments).unwrap().permission
    }

    fn ask(message: &str) -> Value {
        server().message(message.as_bytes()).unwrap()
    }

    #[test]
    fn a_client_is_greeted_in_its_own_version() {
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#;
        assert_eq!(ask(hello)["result"]["protocolVersion"], "2025-03-26");
        let hello = hello.replace("2025-03-26", "1999-01-01");
        assert_eq!(ask(&hello)["result"]["protocolVersion"], VERSIONS[0]);
        let tools = ask(r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#);
        assert_eq!(tools["id"], "a");
        assert_eq!(tools["result"]["tools"][0]["name"], "approve");
        let note = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(server().message(note), None);
        assert_eq!(server().message(b"\n"), None);
    }

    #[test]
    fn without_a_host_everything_is_denied() {
        for arguments in [
            json!({ "tool_name": "Bash", "input": { "command": "ls" }, "tool_use_id": "t" }),
            json!({ "tool_name": "Bash" }),
            json!({ "input": {} }),
            json!(null),
        ] {
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": { "name": "approve", "arguments": arguments } });
            let answer = ask(&message.to_string());
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            let decision: Value = serde_json::from_str(text).unwrap();
            assert_eq!(decision["behavior"], "deny", "{answer}");
            assert!(!decision["message"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (message, code) in [
            ("nonsense", -32700),
            (r#"{"id":1}"#, -32600),
            (r#"{"id":1,"method":"resources/list"}"#, -32601),
            (
                r#"{"id":1,"method":"tools/call","params":{"name":"other"}}"#,
                -32602,
            ),
        ] {
            assert_eq!(ask(message)["error"]["code"], code, "{message}");
        }
    }
}
