//! `selfheal hook`: the policies of a running host for agents that run on their own.
//!
//! The agent starts this command before each call of a tool and obeys its answer.
//! Whatever goes wrong here is a denial, in the agent's own format and with the exit
//! code that denies: most agents run the tool when a hook fails in any other way.

mod ask;
mod host;
mod install;
mod permission;
mod prove;
mod settings;

pub(super) use permission::Permission;

use crate::failure::Failure;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Judges the tool calls of Claude Code, Codex and Gemini CLI by this host's policies
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  selfheal hook install --agent claude-code           write its settings and prove them
  selfheal hook status --agent claude-code            prove them again
  selfheal hook --agent claude-code < event.json      what the settings start

Without a subcommand: reads one hook event on standard input, asks the running host, and
prints the answer in that agent's format. Exit codes: 0 as the answer says; 2 denied, also
when no host answers in time, the input is not understood, or the command is used wrongly."
)]
pub(crate) struct Hook {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    ask: ask::Ask,
}

#[derive(Subcommand, Debug)]
enum Action {
    Install(install::Install),
    Status(install::Status),
    Uninstall(install::Uninstall),
}

impl Hook {
    /// A question ends with the exit code that its agent knows; everything else as
    /// every command does.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let exit = match self.action {
            Some(Action::Install(install)) => install.run()?,
            Some(Action::Status(status)) => status.run()?,
            Some(Action::Uninstall(uninstall)) => uninstall.run()?,
            None => return self.ask.run(),
        };
        Ok(ExitCode::from(exit as u8))
    }
}
