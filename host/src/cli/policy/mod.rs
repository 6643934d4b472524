//! `selfheal policy`: what a policy author and an admin do with policy modules, one
//! file per command. A command is one module, one variant and one arm below.

mod bench;
mod build;
mod candidate;
mod cases;
mod check;
mod corpus;
mod explain;
mod glass;
mod host;
mod inspect;
mod keygen;
mod load;
mod module;
mod new;
mod plan;
mod project;
mod push;
mod question;
mod registry;
mod report;
mod save;
mod schema;
mod sdk;
mod sign;
mod status;
mod swap;
mod templates;
mod test;
mod verify;

pub(super) use host::{Body, Host, ask_operator};
pub(super) use status::proof;

use crate::failure::{Exit, Failure};
use clap::Subcommand;

/// Writes, checks, tests, signs, plans and swaps policy modules.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  selfheal policy list\n  selfheal policy new no-docker && selfheal policy build no-docker\n  selfheal policy plan --module shell-guard --settings '{\"denied_programs\": [\"docker\"]}'"
)]
pub(crate) enum Policy {
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Test(test::Test),
    Bench(bench::Bench),
    Inspect(inspect::Inspect),
    List(status::List),
    Status(status::Status),
    Plan(plan::Plan),
    Activate(swap::Activate),
    Confirm(swap::Confirm),
    Withdraw(swap::Withdraw),
    Promote(swap::PromoteTrial),
    EndTrial(swap::EndTrial),
    Rollback(swap::Rollback),
    Grant(glass::Grant),
    Revoke(glass::Revoke),
    Release(glass::Release),
    Explain(explain::Explain),
    Keygen(keygen::Keygen),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Push(push::Push),
    Resolve(push::Resolve),
    Save(save::Save),
    Load(load::Load),
}

impl Policy {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::New(command) => command.run(),
            Self::Build(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Test(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Status(command) => command.run(),
            Self::Plan(command) => command.run(),
            Self::Activate(command) => command.run(),
            Self::Confirm(command) => command.run(),
            Self::Withdraw(command) => command.run(),
            Self::Promote(command) => command.run(),
            Self::EndTrial(command) => command.run(),
            Self::Rollback(command) => command.run(),
            Self::Grant(command) => command.run(),
            Self::Revoke(command) => command.run(),
            Self::Release(command) => command.run(),
            Self::Explain(command) => command.run(),
            Self::Keygen(command) => command.run(),
            Self::Sign(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Push(command) => command.run(),
            Self::Resolve(command) => command.run(),
            Self::Save(command) => command.run(),
            Self::Load(command) => command.run(),
        }
    }
}
