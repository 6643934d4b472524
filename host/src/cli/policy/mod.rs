//! `selfheal policy`: what a policy author and an admin do with policy modules, one
//! file per command. A command is one module, one variant and one arm below.

mod build;
mod cases;
mod check;
mod corpus;
mod inspect;
mod module;
mod new;
mod project;
mod question;
mod schema;
mod sdk;
mod templates;
mod test;

use crate::failure::{Exit, Failure};
use clap::Subcommand;

/// Writes, checks, tests, signs, plans and swaps policy modules.
#[derive(Subcommand, Debug)]
pub(crate) enum Policy {
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Test(test::Test),
    Inspect(inspect::Inspect),
}

impl Policy {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::New(command) => command.run(),
            Self::Build(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Test(command) => command.run(),
            Self::Inspect(command) => command.run(),
        }
    }
}
