//! `selfheal mcp`: what this host offers over the Model Context Protocol.

use super::hook::Permission;
use crate::failure::{Exit, Failure};
use clap::Subcommand;

/// Serves other agents over the Model Context Protocol, on standard input and output
#[derive(Subcommand, Debug)]
#[command(after_help = "Example:\n  selfheal mcp permission --help")]
pub(crate) enum Mcp {
    Permission(Permission),
}

impl Mcp {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self::Permission(permission) = self;
        permission.run()
    }
}
