//! Tools of MCP servers: what they say of themselves, and the port to the client.
//!
//! Everything a server says (names, descriptions, schemas, results) is external data.
//! Its annotations (`readOnlyHint` and such) are claims, never evidence: no type here
//! has a place for them.

use crate::tools::{MCP_PREFIX, SessionError, ToolSession};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The method that lists a server's tools; a call to it is judged and recorded as
/// the tool `mcp__SERVER__tools/list`. No tool can have this name: see [`is_name`].
pub const LIST_TOOLS: &str = "tools/list";

/// A tool that an MCP server offers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct McpTool {
    /// The server, as `selfheal.toml` names it.
    pub server: String,
    /// The tool, as the server names it; a checked name.
    pub tool: String,
    /// What the server says of it, bounded: external data.
    pub description: String,
    /// JSON Schema of its arguments, as the server gives it, bounded: an object.
    pub input_schema: Value,
}

impl McpTool {
    /// Its name on every wire.
    pub fn name(&self) -> String {
        format!("{MCP_PREFIX}{}__{}", self.server, self.tool)
    }
}

/// Server and tool of a name such as `mcp__github__search`. Names of servers hold no
/// `__`, so there is one way to read it.
pub fn split_name(name: &str) -> Option<(&str, &str)> {
    let (server, tool) = name.strip_prefix(MCP_PREFIX)?.split_once("__")?;
    (is_server_name(server) && is_name(tool)).then_some((server, tool))
}

/// A name that goes on every wire: 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A server's name: 1 to 32 of `A-Z a-z 0-9 _ -`, without `__` and no `_` at the end.
pub fn is_server_name(name: &str) -> bool {
    is_name(name) && name.len() <= 32 && !name.contains("__") && !name.ends_with('_')
}

/// How a configured server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum McpReach {
    /// A process in the agent's sandbox that talks over its pipes.
    Process {
        /// For `/bin/sh -c`, in the workspace's root.
        command: String,
    },
    /// Streamable HTTP; the host makes the connection.
    Http {
        /// Host and port, as facts name it.
        host: String,
    },
}

/// A configured server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct McpServer {
    /// Its name; see [`is_server_name`].
    pub name: String,
    /// How it is reached.
    pub reach: McpReach,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// Why a call of an MCP server came to nothing. It harms that call only.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// No answer in time.
    #[error("MCP server {0}: no answer in time")]
    TimedOut(String),
    /// It cannot be reached, died, or broke the protocol.
    #[error("MCP server {server}: {message}")]
    Failed {
        /// The server.
        server: String,
        /// What happened.
        message: String,
    },
    /// The server itself says that the call failed.
    #[error("MCP server {server} says: {message}")]
    Refused {
        /// The server.
        server: String,
        /// Its words, bounded.
        message: String,
    },
}

impl McpError {
    /// A server's process or its pipes failed.
    pub fn of_session(server: &str, error: &SessionError) -> Self {
        match error {
            SessionError::Cancelled => Self::Cancelled,
            SessionError::TimedOut => Self::TimedOut(server.to_owned()),
            SessionError::Gone => Self::Failed {
                server: server.to_owned(),
                message: "the process is gone".to_owned(),
            },
        }
    }
}

/// The MCP client: knows the configured servers and speaks to them. Judging, recording
/// and starting processes is the broker's, which alone calls this.
pub trait McpServers: Send + Sync {
    /// The configured servers.
    fn servers(&self) -> Vec<McpServer>;

    /// Opens a conversation. `process` is the server's contained process where it is
    /// reached so, none otherwise.
    ///
    /// # Errors
    /// See [`McpError`].
    fn connect(
        &self,
        server: &str,
        process: Option<Box<dyn ToolSession>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Box<dyn McpConversation>, McpError>;
}

/// A conversation with one server; ends when dropped.
pub trait McpConversation: Send + Sync {
    /// What it offers: names checked, texts bounded, annotations dropped.
    ///
    /// # Errors
    /// See [`McpError`].
    fn tools(&self, cancelled: &dyn Fn() -> bool) -> Result<Vec<McpTool>, McpError>;

    /// Calls a tool; the answer as bounded text.
    ///
    /// # Errors
    /// See [`McpError`].
    fn call(
        &self,
        tool: &str,
        arguments: &Value,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, McpError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_one_way() {
        assert_eq!(split_name("mcp__git_hub__a__b"), Some(("git_hub", "a__b")));
        assert_eq!(split_name("mcp__a___b"), Some(("a", "_b")));
        for wrong in [
            "Bash",
            "mcp__x",
            "mcp____x",
            "mcp__x__",
            "mcp__a/b__c",
            "mcp__a__tools/list",
        ] {
            assert_eq!(split_name(wrong), None, "{wrong}");
        }
        assert!(!is_server_name("a__b") && !is_server_name("a_") && !is_server_name(""));
        assert!(!is_name(LIST_TOOLS));
    }
}
