//! `selfheal mcp`: what this host offers over the Model Context Protocol.

mod issues;
mod report;
pub(super) mod wire;

use super::hook::Permission;
use crate::failure::{Exit, Failure};
use clap::Subcommand;
use issues::Issues;

/// Serves other agents over the Model Context Protocol, on standard input and output
#[derive(Subcommand, Debug)]
#[command(after_help = "Example:\n  selfheal mcp permission --help")]
pub(crate) enum Mcp {
    Issues(Issues),
    Permission(Permission),
}

impl Mcp {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Issues(issues) => issues.run(),
            Self::Permission(permission) => permission.run(),
        }
    }
}
