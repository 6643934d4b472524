//! `selfheal policy`: what a policy author and an admin do with policy modules, one
//! file per command. A command is one variant and one arm below.

use crate::failure::{Exit, Failure};
use clap::Subcommand;

/// Writes, checks, tests, signs, plans and swaps policy modules.
#[derive(Subcommand, Debug)]
pub(crate) enum Policy {}

impl Policy {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {}
    }
}
