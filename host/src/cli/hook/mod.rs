//! `selfheal hook`: the policies of a running host for agents that run on their own.
//!
//! The agent starts this command before each call of a tool and obeys its answer.
//! Whatever goes wrong here is a denial, in the agent's own format and with the exit
//! code that denies: most agents run the tool when a hook fails in any other way.

mod ask;
mod host;

use clap::Args;
use std::process::ExitCode;

/// Judges the tool calls of Claude Code, Codex and Gemini CLI by this host's policies.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  selfheal hook --agent claude-code < event.json      what an agent's settings start
  SELFHEAL_URL=… SELFHEAL_TOKEN=… selfheal hook --agent codex < event.json

Reads one hook event on standard input, asks the running host, prints the answer in
that agent's format. Exit codes: 0 as the answer says; 2 denied, also when no host
answers in time, the input is not understood, or the command is used wrongly."
)]
pub(crate) struct Hook {
    #[command(flatten)]
    ask: ask::Ask,
}

impl Hook {
    pub(crate) fn run(self) -> ExitCode {
        self.ask.run()
    }
}
