//! The broker every effect of an agent passes, and the tools behind it.
//!
//! There is one route (invariant 2). [`SandboxWorkbench`] opens a broker per
//! session; each call of an agent goes through it in this order:
//!
//! 1. *facts*: the call is parsed once, paths are resolved;
//! 2. *policy*: one generation of the policy set judges the facts;
//! 3. *record*: facts and judgement are durable before anything happens;
//! 4. *effect*: a command in the sandbox, or a file below the workspace;
//! 5. *outcome*: what came of it is recorded.
//!
//! A denial, a question nobody can answer, a record that cannot be made, a
//! sandbox that cannot be built: each ends the call before the effect.
//!
//! [`Checker`] walks the first three steps for agents that run on their own.

mod broker;
mod changes;
mod checker;
mod config;
mod contained;
mod covered;
mod effects;
mod facts;
mod history;
mod layer;
mod masking;
mod mcp;
mod network;
mod observed;
mod preview;
mod secret_files;
mod session;
mod taint;
mod view;
mod walk;
mod workbench;

pub use checker::{Checker, CheckerConfig, CheckerError};
pub use config::{
    DEFAULT_PROTECTED_PATHS, DEFAULT_SECRET_PATHS, WorkbenchConfig, WorkbenchError, protected_paths,
};
pub use preview::{FactPreview, PreviewConfig};
pub use workbench::{BenchRules, SandboxWorkbench};
