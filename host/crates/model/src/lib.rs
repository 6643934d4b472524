//! Language models as agents: who is asked ([`provider`]), what is said
//! ([`conversation`]). The only crate that speaks to a model's API.
//!
//! A model's answer is untrusted data. Its tool calls go through
//! [`selfheal_domain::tools::Tools`], the broker's door, like those of every other
//! agent; nothing here starts a process or writes a file.

pub mod conversation;
pub mod provider;
