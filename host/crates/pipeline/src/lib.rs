//! The rooms an issue walks through (DESIGN §3), over ports only.
//!
//! [`desk::IssueDesk`] is where people act: report, approve, review, abort.
//! [`healer::Healer`] is where work happens: it takes some issues at a time and
//! moves each from room to room until it rests. No room reaches back; everything
//! goes through the [ledger](selfheal_domain::ledger).

mod bounds;
mod culprit;
pub mod desk;
pub mod enforcement;
pub mod facts;
pub mod feed;
pub mod healer;
pub mod proof;
mod queue;
mod recorder;
mod rooms;
pub mod settings;
pub mod witnesses;
