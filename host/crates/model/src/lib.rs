//! Language models as agents: who is asked ([`provider`], [`config`]), what is said
//! ([`conversation`]), and the agent that does the work ([`ModelAgent`]). The only crate
//! that speaks to a model's API.
//!
//! A model's answer is untrusted data. Its tool calls go through
//! [`selfheal_domain::tools::Tools`], the broker's door, like those of every other
//! agent; nothing here starts a process or writes a file.

mod anthropic;
pub mod authorities;
mod calls;
mod catalog;
mod compaction;
pub mod config;
pub mod conversation;
mod endpoint;
mod handover;
pub mod key;
mod limits;
mod model_agent;
mod openai;
mod prompt;
pub mod provider;
mod stall;
mod submission;
mod talk;
mod text;
mod transcript;
mod wire;

pub use handover::Handover;
pub use limits::ModelLimits;
pub use model_agent::{ModelAgent, ModelOutfit};
pub use prompt::Mask;
pub use transcript::{Transcript, TranscriptStore};
pub use wire::pace;
