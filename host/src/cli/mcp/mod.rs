//! `selfheal mcp`: what this host offers over the Model Context Protocol.

mod issues;
mod report;
pub(super) mod wire;

use super::hook::Permission;
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use issues::Issues;

/// Serves assistants and other agents over the Model Context Protocol, on standard input and
/// output: without a command, what a person may do who reports
#[derive(Args, Debug)]
#[command(after_help = issues::HELP)]
pub(crate) struct Mcp {
    #[command(flatten)]
    issues: Issues,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand, Debug)]
enum Other {
    Permission(Permission),
}

impl Mcp {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.other {
            Some(Other::Permission(permission)) => permission.run(),
            None => self.issues.run(),
        }
    }
}
