//! MCP servers as tools of a session: started in the sandbox or reached by the host,
//! asked only through the broker.
//!
//! A conversation is opened at its first use and lasts as long as the session. One
//! that breaks harms the call it broke in; the next call opens another, a few times.

use crate::broker::{Broker, Effect, shorten};
use crate::changes::chain;
use crate::taint::Brought;
use selfheal_domain::mcp::{
    LIST_TOOLS, McpConversation, McpError, McpReach, McpServer, McpServers, McpTool, is_name,
};
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess};
use selfheal_domain::user::TrustClass;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest answer that an agent gets, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Longest arguments of a call, in bytes of JSON.
const MAX_ARGUMENTS: usize = 256 * 1024;

/// How often a server is started or reached anew within one session.
const MOST_OPENINGS: u32 = 4;

/// Longest life of a server's process: what the bundled policies let a call have. One
/// that is over is opened anew.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// What a session knows of its servers.
#[derive(Default)]
pub(crate) struct Conversations(Mutex<BTreeMap<String, Arc<Mutex<Talk>>>>);

/// One server within one session.
#[derive(Default)]
struct Talk {
    open: Option<Arc<dyn McpConversation>>,
    offered: Option<Vec<McpTool>>,
    openings: u32,
}

impl Conversations {
    fn with(&self, server: &str) -> Arc<Mutex<Talk>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(server.to_owned()).or_default())
    }
}

fn lock(talk: &Mutex<Talk>) -> MutexGuard<'_, Talk> {
    talk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host that a server's calls go to, when they leave this machine's processes.
pub(crate) fn host_of(servers: Option<&Arc<dyn McpServers>>, name: &str) -> Option<String> {
    match find(servers, name)?.reach {
        McpReach::Http { host } => Some(host),
        McpReach::Process { .. } => None,
    }
}

fn find(servers: Option<&Arc<dyn McpServers>>, name: &str) -> Option<McpServer> {
    let all = servers?.servers();
    all.into_iter().find(|server| server.name == name)
}

impl Broker {
    /// The effect of [`ToolRequest::Mcp`], once it is admitted.
    pub(crate) fn mcp(&self, server: &str, tool: &str, arguments: &Value) -> Effect<ToolOutput> {
        let configured = self.bench.config.mcp.as_ref();
        let Some(known) = find(configured, server) else {
            return Effect::invalid(format!(
                "no MCP server is called {server:?}, so {tool:?} cannot be called; \
                 [[agent.mcp]] in selfheal.toml names them"
            ));
        };
        if self.phase == AgentPhase::Verification {
            return Effect::invalid("the host's own checks call no MCP servers");
        }
        if tool != LIST_TOOLS && !is_name(tool) {
            return Effect::invalid(format!("{tool:?} is no name of a tool"));
        }
        if !matches!(arguments, Value::Object(_) | Value::Null) {
            return Effect::invalid("the arguments of an MCP tool are a JSON object");
        }
        if arguments.to_string().len() > MAX_ARGUMENTS {
            return Effect::invalid("the arguments of an MCP tool have at most 256 KiB");
        }
        let brought = Brought {
            trust: TrustClass::External,
            source: ToolRequest::Mcp {
                server: server.to_owned(),
                tool: tool.to_owned(),
                arguments: Value::Null,
            }
            .tool()
            .into_owned(),
        };
        match self.ask(&known, tool, arguments) {
            Ok(answer) => {
                let masked = self.bench.masker.for_agent(&answer);
                let text = shorten(&masked, MAX_ANSWER);
                let note = format!("{} bytes", text.len());
                Effect::done(ToolOutput::Text(text), note).bringing(brought)
            }
            Err(error) => {
                // Its words come in with the error as well.
                let text = self.bench.masker.for_agent(&chain(&error));
                Effect::refused(into_tool_error(error, text)).bringing(brought)
            }
        }
    }

    fn ask(&self, server: &McpServer, tool: &str, arguments: &Value) -> Result<String, McpError> {
        let cancelled = || self.session.cancel.is_cancelled();
        let talk = self.conversations.with(&server.name);
        let (open, offered) = self.opened(server, &talk)?;
        if tool == LIST_TOOLS {
            return Ok(offered
                .iter()
                .map(|tool| format!("{}\n", tool.tool))
                .collect());
        }
        if !offered.iter().any(|known| known.tool == tool) {
            let names: Vec<&str> = offered.iter().map(|tool| tool.tool.as_str()).collect();
            return Err(McpError::Refused {
                server: server.name.clone(),
                message: format!("it has no tool {tool:?}; it has {}", names.join(", ")),
            });
        }
        let answer = open.call(tool, arguments, &cancelled);
        if let Err(McpError::TimedOut(_) | McpError::Failed { .. }) = &answer {
            // Nothing more comes of this one. What another call opened meanwhile stays.
            let mut talk = lock(&talk);
            if talk
                .open
                .as_ref()
                .is_some_and(|now| Arc::ptr_eq(now, &open))
            {
                talk.open = None;
            }
        }
        answer
    }

    /// The conversation and what it offers; one call at a time opens it.
    fn opened(
        &self,
        server: &McpServer,
        talk: &Mutex<Talk>,
    ) -> Result<(Arc<dyn McpConversation>, Vec<McpTool>), McpError> {
        let failed = |message: String| McpError::Failed {
            server: server.name.clone(),
            message,
        };
        let cancelled = || self.session.cancel.is_cancelled();
        let mut talk = lock(talk);
        if let (Some(open), Some(offered)) = (&talk.open, &talk.offered) {
            return Ok((Arc::clone(open), offered.clone()));
        }
        if talk.openings >= MOST_OPENINGS {
            return Err(failed(format!(
                "it broke {MOST_OPENINGS} times and is not tried again in this session"
            )));
        }
        talk.openings += 1;
        let Some(servers) = &self.bench.config.mcp else {
            return Err(failed("it is not configured".to_owned()));
        };
        let process = match &server.reach {
            McpReach::Http { .. } => None,
            // A process of the agent's world: judged, recorded and contained as such.
            McpReach::Process { command } => Some(
                self.session(ToolRequest::Bash {
                    command: command.clone(),
                    directory: String::new(),
                    timeout: LIFE,
                    access: WorkspaceAccess::Discard,
                })
                .map_err(|error| match error {
                    ToolError::Cancelled => McpError::Cancelled,
                    error => failed(format!("its process was not started: {}", chain(&error))),
                })?,
            ),
        };
        let open: Arc<dyn McpConversation> =
            Arc::from(servers.connect(&server.name, process, &cancelled)?);
        let mut offered = open.tools(&cancelled)?;
        for tool in &mut offered {
            tool.description = self.bench.masker.for_agent(&tool.description);
        }
        talk.open = Some(Arc::clone(&open));
        talk.offered = Some(offered.clone());
        Ok((open, offered))
    }

    /// What all servers offer. Asking one is a call like any other.
    pub(crate) fn offered_by_servers(&self) -> Vec<McpTool> {
        let Some(servers) = &self.bench.config.mcp else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for server in servers.servers() {
            let talk = self.conversations.with(&server.name);
            let known = lock(&talk).offered.clone();
            if let Some(offered) = known {
                all.extend(offered);
                continue;
            }
            let asked = self.call(ToolRequest::Mcp {
                server: server.name.clone(),
                tool: LIST_TOOLS.to_owned(),
                arguments: Value::Null,
            });
            match asked {
                Ok(_) => all.extend(lock(&talk).offered.clone().unwrap_or_default()),
                Err(error) => self.progress(&format!(
                    "MCP server {} offers nothing: {}",
                    server.name,
                    chain(&error)
                )),
            }
        }
        all
    }
}

fn into_tool_error(error: McpError, text: String) -> ToolError {
    match error {
        McpError::Cancelled => ToolError::Cancelled,
        McpError::TimedOut(_) | McpError::Failed { .. } => ToolError::Unavailable(text),
        McpError::Refused { .. } => ToolError::Invalid(text),
    }
}
