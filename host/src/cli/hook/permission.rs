//! `selfheal mcp permission`: an MCP server with one tool, `approve`, that answers
//! Claude Code's `--permission-prompt-tool` by the policies of the running host.
//!
//! Claude Code asks it only about what nothing else allowed or denied before; hooks
//! are asked about everything. Whatever goes wrong is a denial here as well.

use super::ask::{DEADLINE, Reply, decide};
use super::host::Host;
use crate::cli::mcp::wire::{self, Offer, Person, said};
use crate::failure::{Exit, Failure};
use clap::Args;
use selfheal_api::hook::{self, MAX_QUESTION, Told};
use selfheal_domain::external::ExternalAgent;
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Duration;

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

impl Offer for Permission {
    fn longest_line(&self) -> usize {
        MAX_LINE
    }

    fn tools(&self) -> Value {
        json!([tool()])
    }

    fn call(
        &self,
        tool: &str,
        arguments: &Value,
        _person: &mut dyn Person,
    ) -> Result<Option<Value>, Failure> {
        Ok((tool == TOOL).then(|| said(self.approve(arguments).to_string())))
    }
}

impl Permission {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        wire::serve(&self, std::io::stdin().lock(), std::io::stdout().lock())
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
        wire::talk(&server(), message).remove(0)
    }

    #[test]
    fn one_tool_is_offered() {
        let tools = ask(r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#);
        assert_eq!(tools["result"]["tools"][0]["name"], "approve");
        let other =
            ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"other"}}"#);
        assert_eq!(other["error"]["code"], -32602);
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
}
