//! Agents of other makers as agents of ours: Claude Code over its control protocol,
//! Codex over its app server, anything that speaks the Agent Client Protocol.
//!
//! Such a program brings its own loop and carries out its own tool calls. So that it
//! is still our policies that say what happens:
//!
//! - it runs in our sandbox, as any command does: the run's worktree is the only place
//!   it can write, secrets read as empty, and its processes end with the session;
//! - it has no network but the [`Gateway`], which leads to the model's endpoint and
//!   nowhere else, adds the key on the host's side and counts what is used;
//! - it starts without settings, hooks, plugins, servers or instructions of the
//!   repository, and with an empty home;
//! - every call it wants to make is judged first (`Tools::judge`), whatever it may
//!   already have permitted to itself. What it does without asking ends it;
//! - what counts as its patch is what the worktree holds, not what it says.
//!
//! Where one of these programs has a way to let a call through when the answer is
//! late, broken or missing, its module says which setting closes it.

mod acp;
mod agent;
mod answer;
mod claude;
mod codex;
mod convert;
mod failure;
mod gate;
mod gateway;
mod prompt;
mod transcript;
mod wire;

pub use agent::{Budgets, ExternalAgent, ExternalAgentConfig, Protocol};
pub use gateway::{
    Authorities, AuthoritiesError, Dialect, Gateway, GatewayError, Mask, Upstream, Usage,
    explained, tls,
};
