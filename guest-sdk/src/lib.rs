//! SDK for Selfheal policy modules.
//!
//! A policy is a type with one or two judging functions, one that reads its
//! settings and one that describes it, and a line that exports it:
//!
//! ```
//! use selfheal_policy_sdk::{
//!     Context, Description, Expectation, Guardrail, Kind, Patch, Policy, Settings, ToolCall, Verdict, example, facts,
//! };
//!
//! struct NoDocker;
//!
//! impl Policy for NoDocker {
//!     fn describe() -> Description {
//!         Description {
//!             name: "no-docker".into(),
//!             version: "1.0.0".into(),
//!             kind: Kind::Guardrail,
//!             settings_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
//!             examples: vec![
//!                 example("tests run", facts::context(), facts::bash("pytest -q"), Expectation::Allow),
//!                 example("docker does not", facts::context(), facts::bash("docker ps"), Expectation::Deny),
//!             ],
//!         }
//!     }
//!
//!     fn configure(settings: &Settings) -> Result<Self, String> {
//!         settings.only(&[])?;
//!         Ok(Self)
//!     }
//! }
//!
//! impl Guardrail for NoDocker {
//!     fn judge_tool_call(&self, _context: &Context, call: &ToolCall) -> Verdict {
//!         match call.commands.iter().find(|command| command.program_name() == "docker") {
//!             Some(command) => Verdict::deny("site.no-docker", "containers are not for agents").shows(&command.text()),
//!             None => Verdict::Allow,
//!         }
//!     }
//!
//!     fn judge_patch(&self, _context: &Context, _patch: &Patch) -> Verdict {
//!         Verdict::Allow
//!     }
//! }
//!
//! selfheal_policy_sdk::export_guardrail!(NoDocker);
//! # selfheal_policy_sdk::check_examples_guardrail::<NoDocker>().unwrap();
//! ```
//!
//! Policies build for `wasm32-unknown-unknown` and import nothing but the host's
//! `host` interface: no clock, files, network or randomness, so that the same
//! question always gets the same answer. The exported functions exist on that
//! target only; everywhere else the policy is plain code, tested with `cargo test`.

mod allocator;
#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
pub mod bindings;
mod check;
mod export;
pub mod facts;
mod input;
mod policy;
mod settings;
pub mod text;
mod words;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use allocator::make_room as __make_room;
pub use bindings::types::{
    AccessMode, Action, Admission, AssessedPatch, Assessment, AutonomyLevel, ChangeKind, Context,
    Counters, Decision, Description, Environment, Evidence, Example, Expectation, Factor, Issue,
    Kind, PastCall, Patch, PatchFile, PathAccess, Phase, Question, Reason, RunRef, SimpleCommand,
    Span, ToolCall, TrackRecord, Trust, Verdict, Word,
};
pub use check::{check_examples_autonomy, check_examples_guardrail, check_examples_risk};
pub use policy::{Autonomy, Guardrail, Policy, Risk};
pub use settings::Settings;
pub use words::{example, example_with};

/// The host's functions; callable from a running module only.
pub use bindings::host;
