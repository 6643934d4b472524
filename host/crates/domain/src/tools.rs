//! What an agent can do, and only through here: the broker implements
//! [`Tools`] and puts facts, policies, sandbox and record in front of every
//! call (invariant 2).

use crate::event::ToolOutcome;
use crate::ids::DecisionId;
use crate::mcp::McpTool;
use crate::verdict::Reason;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What begins the name of every tool of an MCP server.
pub const MCP_PREFIX: &str = "mcp__";

/// What becomes of files a command writes in the workspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceAccess {
    /// Writing fails.
    ReadOnly,
    /// Writing works on a throw-away layer that is gone when the command ends.
    Discard,
    /// Writes stay in the run's worktree. Refused outside drafting.
    Keep,
}

/// One call of a tool. Paths are relative to the workspace, with `/`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "tool", content = "input")]
pub enum ToolRequest {
    /// Runs a shell command in the workspace, in the sandbox.
    Bash {
        /// For `/bin/sh -c`.
        command: String,
        /// Relative to the workspace; empty for its root.
        #[serde(default)]
        directory: String,
        /// Killed with everything it started after this long.
        timeout: Duration,
        /// What becomes of its writes.
        access: WorkspaceAccess,
    },
    /// Reads a file, or some lines of it.
    Read {
        /// The file.
        path: String,
        /// First line wanted, counted from 1; none and 0 mean the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        /// Most lines wanted; none means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Searches file contents.
    Grep {
        /// Regular expression, `regex` crate syntax.
        pattern: String,
        /// Only files that match this glob.
        #[serde(default)]
        glob: Option<String>,
    },
    /// Lists files (ignored files and `.git` left out).
    Glob {
        /// As in `src/**/*.py`.
        pattern: String,
    },
    /// Writes a whole file in the run's worktree.
    Write {
        /// The file.
        path: String,
        /// Its new content.
        content: String,
    },
    /// Replaces one passage of a file in the run's worktree.
    Edit {
        /// The file.
        path: String,
        /// Occurs exactly once; with `replace_all` at least once.
        old: String,
        /// What stands there afterwards.
        new: String,
        /// Every place where it occurs.
        #[serde(default, skip_serializing_if = "is_false")]
        replace_all: bool,
    },
    /// Replaces several passages of one file in the run's worktree, one after the
    /// other: all of them or none.
    MultiEdit {
        /// The file.
        path: String,
        /// At least one; each sees what the ones before it made.
        edits: Vec<Replacement>,
    },
    /// Starts a sub-agent. The broker judges and records the start; whoever asked then
    /// runs it with the same tools, so each of its calls passes the broker as well.
    Task {
        /// A few words, for people.
        description: String,
        /// What the sub-agent is told.
        prompt: String,
    },
    /// Calls a tool of an MCP server.
    Mcp {
        /// The server, as `selfheal.toml` names it.
        server: String,
        /// Its tool.
        tool: String,
        /// What the tool is given: a JSON object.
        arguments: serde_json::Value,
    },
}

/// One replacement of [`ToolRequest::MultiEdit`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Replacement {
    /// Occurs exactly once; with `replace_all` at least once.
    pub old: String,
    /// What stands there afterwards.
    pub new: String,
    /// Every place where it occurs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace_all: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// A path as a glob that matches only itself, for [`ToolRequest::Grep`] and
/// [`ToolRequest::Glob`].
pub fn literal_glob(path: &str) -> String {
    let mut glob = String::with_capacity(path.len());
    for c in path.chars() {
        if "\\*?[]{},!".contains(c) {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

impl ToolRequest {
    /// Reads a whole file.
    pub fn read(path: impl Into<String>) -> Self {
        Self::Read {
            path: path.into(),
            offset: None,
            limit: None,
        }
    }

    /// Replaces the one place where `old` occurs.
    pub fn edit(path: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Self {
        Self::Edit {
            path: path.into(),
            old: old.into(),
            new: new.into(),
            replace_all: false,
        }
    }

    /// The tool's name on every wire; `mcp__SERVER__TOOL` for tools of MCP servers.
    pub fn tool(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Bash { .. } => "Bash",
            Self::Read { .. } => "Read",
            Self::Grep { .. } => "Grep",
            Self::Glob { .. } => "Glob",
            Self::Write { .. } => "Write",
            Self::Edit { .. } => "Edit",
            Self::MultiEdit { .. } => "MultiEdit",
            Self::Task { .. } => "Task",
            Self::Mcp { server, tool, .. } => {
                return Cow::Owned(format!("{MCP_PREFIX}{server}__{tool}"));
            }
        })
    }
}

/// How a contained process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ended", content = "value")]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// Killed at its time limit.
    TimedOut,
    /// Killed because the run was cancelled.
    Cancelled,
}

impl Ended {
    /// Exit code 0.
    pub fn success(self) -> bool {
        self == Self::Exit(0)
    }
}

/// What a command did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandOutput {
    /// How it ended.
    pub ended: Ended,
    /// Standard output, lossy UTF-8, cut to the limit from the middle.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Something was cut.
    pub truncated: bool,
    /// Wall-clock time.
    pub seconds: f64,
}

/// What came of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum ToolOutput {
    /// `Bash` ran.
    Command(CommandOutput),
    /// `Read`: the content; `Grep`: `path:line:text` lines; `Glob`: paths, a line each;
    /// `Task`: nothing; MCP tools: what the server answered.
    Text(String),
    /// `Write`, `Edit`, `MultiEdit`: done.
    Written,
}

/// Why a call did not happen or failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// A policy said no (or asked, with nobody to ask).
    #[error("denied by rule {}: {}", .0.rule, .0.message)]
    Denied(Reason),
    /// The input is impossible: no such file, path outside, text not found.
    #[error("{0}")]
    Invalid(String),
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// The record could not be written or the sandbox not built; nothing happened.
    #[error("the host could not carry out the call: {0}")]
    Unavailable(String),
}

/// A contained process that reads lines and answers lines, such as a warm test
/// worker. Killed with everything it started when dropped.
pub trait ToolSession: Send {
    /// Writes one line (a line feed is added).
    ///
    /// # Errors
    /// The process is gone.
    fn send(&mut self, line: &str) -> Result<(), SessionError>;
    /// The next line of its standard output, without the line feed.
    ///
    /// # Errors
    /// None came in time, the process is gone, or the run was cancelled.
    fn receive(&mut self, timeout: Duration) -> Result<String, SessionError>;
    /// The end of what it wrote to standard error so far (capped).
    fn stderr_tail(&self) -> String;
}

/// Why a session gave no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No line in time; the session still lives.
    #[error("no answer in time")]
    TimedOut,
    /// The process ended or its pipe broke.
    #[error("the process is gone")]
    Gone,
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
}

/// An agent of another maker, about to be started in the sandbox. It carries out its
/// calls itself, in there; whether they may happen it asks through [`Tools::judge`].
#[derive(Clone, PartialEq, Debug)]
pub struct ContainedAgent {
    /// `Bash`: the command that starts it, judged and recorded as such. With
    /// [`WorkspaceAccess::Keep`] it works in the run's worktree, alone.
    pub request: ToolRequest,
    /// Variables beside the ones that every command gets. Never a secret: whatever
    /// runs in the sandbox reads them.
    pub environment: BTreeMap<String, String>,
    /// Absolute files and directories of the host that it needs and that might be
    /// hidden otherwise, such as its own program. Read-only.
    pub visible: Vec<PathBuf>,
    /// Its only way out: connections to `127.0.0.1` and this port, inside, lead to
    /// this unix socket of the host. Without it there is none.
    pub gateway: Option<(u16, PathBuf)>,
}

/// The receipt of a call that may happen: its intent is on record, its outcome is
/// not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the outcome of a judged call must be recorded with `Tools::finished`"]
pub struct JudgedCall(pub DecisionId);

/// An agent's only door to the world.
pub trait Tools: Send + Sync {
    /// Carries out one call, if the policies allow it.
    ///
    /// # Errors
    /// See [`ToolError`].
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError>;

    /// Starts a `Bash` command that stays and talks over its pipes. Judged and
    /// recorded as a `Bash` call. `timeout` bounds its whole life.
    ///
    /// # Errors
    /// See [`ToolError`]; a request other than `Bash` is invalid.
    fn session(&self, request: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError>;

    /// Starts an agent of another maker, as [`Tools::session`] starts a command.
    ///
    /// # Errors
    /// See [`ToolError`]; unavailable where these tools start no agents.
    fn contain(&self, agent: ContainedAgent) -> Result<Box<dyn ToolSession>, ToolError> {
        drop(agent);
        Err(ToolError::Unavailable(
            "these tools start no agents of other makers".to_owned(),
        ))
    }

    /// Facts, policies and record of a call, without its effect: for what a contained
    /// agent wants to do itself. It may happen only when this returns `Ok`.
    ///
    /// # Errors
    /// As [`Tools::call`] before anything happens.
    fn judge(&self, request: &ToolRequest) -> Result<JudgedCall, ToolError> {
        Err(ToolError::Unavailable(format!(
            "these tools judge no calls of others ({})",
            request.tool()
        )))
    }

    /// Records what came of a judged call.
    ///
    /// # Errors
    /// The record could not be written: the agent must go no further.
    fn finished(&self, call: JudgedCall, outcome: ToolOutcome) -> Result<(), ToolError> {
        drop((call, outcome));
        Err(ToolError::Unavailable(
            "these tools judge no calls of others".to_owned(),
        ))
    }

    /// The tools of MCP servers that may be called with [`ToolRequest::Mcp`]. Asking a
    /// server what it offers is a call like any other: judged and recorded, and what it
    /// says is external text. A server that fails offers nothing.
    fn mcp_tools(&self) -> Vec<McpTool> {
        Vec::new()
    }

    /// Absolute path at which commands see the workspace.
    fn workspace(&self) -> String;

    /// Absolute path at which commands see the agent's own read-only files (see
    /// `Asset`); the same in every sandbox.
    fn assets(&self) -> String;

    /// Tells the people who watch what is going on. Never judged, never an effect.
    fn progress(&self, note: &str);

    /// Somebody aborted the run: stop soon.
    fn cancelled(&self) -> bool;
}

/// A read-only file that an agent brings into its sandboxes, such as a test worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asset {
    /// File name, or path with `/` and without `..`.
    pub name: String,
    /// Content.
    pub content: Vec<u8>,
}
