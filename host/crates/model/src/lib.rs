<<<<<<< HEAD
//! Language models as agents: who is asked ([`provider`]), what is said
//! ([`conversation`]), and the agent that does the work ([`ModelAgent`]). The only crate
//! that speaks to a model's API.
=======
//! Language models as agents: who is asked ([`provider`], [`config`]), what is said
//! ([`conversation`]). The only crate that speaks to a model's API.
>>>>>>> eb55e2c (wip)
//!
//! A model's answer is untrusted data. Its tool calls go through
//! [`selfheal_domain::tools::Tools`], the broker's door, like those of every other
//! agent; nothing here starts a process or writes a file.

<<<<<<< HEAD
mod answer;
mod calls;
mod catalog;
mod compaction;
pub mod conversation;
mod limits;
mod model_agent;
mod prompt;
pub mod provider;
mod stall;
mod talk;
mod transcript;

pub use limits::ModelLimits;
pub use model_agent::{ModelAgent, ModelOutfit};
pub use prompt::Mask;
pub use transcript::{Transcript, TranscriptStore};
=======
mod anthropic;
pub mod config;
pub mod conversation;
pub mod key;
pub mod provider;
mod wire;

pub use wire::pace;
>>>>>>> eb55e2c (wip)
