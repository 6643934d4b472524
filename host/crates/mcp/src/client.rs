//! The configured servers, as the broker's port wants them.

use crate::config::{Known, McpConfig, McpConfigError, checked};
use crate::conversation::Conversation;
use selfheal_domain::mcp::{McpConversation, McpError, McpServer, McpServers};
use selfheal_domain::tools::ToolSession;

/// The MCP client.
pub struct Clients {
    known: Vec<Known>,
}

impl Clients {
    /// The servers of `selfheal.toml`. Tokens are read from the host's environment now.
    ///
    /// # Errors
    /// See [`McpConfigError`].
    pub fn new(servers: &[McpConfig]) -> Result<Self, McpConfigError> {
        let variable = |name: &str| std::env::var(name).ok();
        Ok(Self {
            known: checked(servers, &variable)?,
        })
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.known.iter().map(|known| known.name.as_str()).collect();
        f.debug_struct("Clients").field("servers", &names).finish()
    }
}

impl McpServers for Clients {
    fn servers(&self) -> Vec<McpServer> {
        let server = |known: &Known| McpServer {
            name: known.name.clone(),
            reach: known.reach(),
            timeout: known.timeout,
        };
        self.known.iter().map(server).collect()
    }

    fn connect(
        &self,
        server: &str,
        process: Option<Box<dyn ToolSession>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Box<dyn McpConversation>, McpError> {
        let known = self.known.iter().find(|known| known.name == server);
        let known = known.ok_or_else(|| McpError::Failed {
            server: server.to_owned(),
            message: "it is not configured".to_owned(),
        })?;
        Ok(Box::new(Conversation::open(known, process, cancelled)?))
    }
}
