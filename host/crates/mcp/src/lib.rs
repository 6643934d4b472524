//! MCP servers of others as tools of an agent: the client behind the port
//! [`selfheal_domain::mcp::McpServers`].
//!
//! - A server is a process in the agent's sandbox, started by the broker and handed in
//!   here as lines, or a streamable HTTP server at an address that `selfheal.toml`
//!   names: `https`, or plain `http` on loopback. Redirects are not followed.
//! - Each call is judged and recorded by the broker before it comes here. This crate
//!   starts no process, reads no file but the tokens that are
//!   configured, and reaches no other address.
//! - What a server says is external data: names are checked, texts and numbers of tools
//!   bounded, descriptions labelled. Its annotations are dropped unread: they are claims.
//! - A server that dies, floods, stalls or talks nonsense fails the call it does it in.

mod answer;
mod client;
mod config;
mod conversation;
mod pump;

pub use client::Clients;
pub use config::{McpConfig, McpConfigError};
