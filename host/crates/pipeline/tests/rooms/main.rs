//! What single rooms promise: what counts as proof, several heals at once, attempts that
//! keep part of an earlier one, and taking back the commit that broke it. Every port is scripted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod culprit;
mod proof;
mod retry;
mod several;
#[path = "../support/mod.rs"]
mod support;
