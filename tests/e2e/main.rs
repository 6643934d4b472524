//! End-to-end tests: the real binary, real repositories, real processes.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests start processes, stop at surprises and say what they measured"
)]

mod authoring;
mod clients;
mod crash;
mod erase;
mod external;
mod heal;
mod hook;
mod hook_claude;
mod hook_install;
mod hook_others;
mod mcp;
mod measured;
mod model;
mod oidc;
mod openapi;
mod pack;
mod policy;
mod policy_host;
mod programs;
mod registry;
mod roles;
mod rollback;
mod services;
mod skill;
mod strategies;
mod streams;
mod tlog;
mod tls;
mod walk;
