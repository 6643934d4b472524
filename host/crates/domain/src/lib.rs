//! The words of Selfheal as types: issues, runs, states, events, verdicts,
//! permits, and the ports that every other crate implements or uses.
//!
//! Pure: nothing here reads a clock, a file or the network. `state::Phase::apply`
//! is the one function that says which transition is legal, for live execution
//! and for replay alike.

pub mod account;
pub mod agent;
pub mod culprit;
pub mod digest;
pub mod event;
pub mod external;
pub mod ids;
pub mod issue;
pub mod ledger;
pub mod mcp;
pub mod patch;
pub mod permit;
pub mod policy;
pub mod policy_control;
pub mod ports;
pub mod query;
pub mod report;
pub mod risk;
pub mod run;
pub mod service;
pub mod sign_in;
pub mod state;
pub mod token;
pub mod tools;
pub mod user;
pub mod verdict;
pub mod verification;
pub mod view;
