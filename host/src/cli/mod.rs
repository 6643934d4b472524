//! The command line: one file per command, and what all share: exit codes, error
//! printing, and the switch that Ctrl-C throws.

mod audit;
mod autonomy;
mod client;
mod demo;
mod doctor;
mod freeze;
mod heal;
mod hook;
mod init;
mod issue;
mod mcp;
mod output;
mod policy;
mod serve;
mod service;
mod user;

use crate::failure::{Because, Exit, Failure};
use clap::{Parser, Subcommand};
use selfheal_domain::ports::CancelToken;
use std::process::ExitCode;

/// Gives a running application the power to repair its own source code, with a
/// human hand on the switch.
#[derive(Parser, Debug)]
#[command(
    name = "selfheal",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  selfheal heal -- python3 -m pytest -q     find and prove a fix for a failing command
  selfheal demo --exit                      watch one bug being healed, end to end
  selfheal init --app . && selfheal serve   run it beside an application

Exit codes: 0 done; 1 what was asked about is not so; 2 wrong usage or configuration;
3 denied by policy or role; 4 the host or something it needs is unavailable."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(init::Init),
    #[command(subcommand)]
    User(user::User),
    Serve(serve::Serve),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Autonomy(autonomy::Autonomy),
    Freeze(freeze::Freeze),
    Unfreeze(freeze::Unfreeze),
    Issue(issue::Issue),
    Service(service::Service),
    Heal(heal::Heal),
    Hook(hook::Hook),
    Mcp(mcp::Mcp),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Policy(policy::Policy),
}

/// Parses the arguments, runs the command, prints its error.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // Nothing is left to tell if the terminal is gone.
            let _ = error.print();
            return ExitCode::from(code as u8);
        }
    };
    let result = match arguments.command {
        Command::Init(command) => command.run(),
        Command::User(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Autonomy(command) => command.run(),
        Command::Freeze(command) => command.run(),
        Command::Unfreeze(command) => command.run(),
        Command::Issue(command) => command.run(),
        Command::Service(command) => command.run(),
        Command::Heal(command) => command.run(),
        // Its exit codes are those that agents know.
        Command::Hook(command) => match command.run() {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Mcp(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Policy(command) => command.run(),
    };
    let exit = result.unwrap_or_else(|failure| {
        output::error(&failure.error);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// A token that Ctrl-C (or SIGTERM) cancels. A second Ctrl-C ends the process.
fn cancel_on_signal() -> Result<CancelToken, Failure> {
    let token = CancelToken::default();
    let cancelled = token.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .because(Exit::Unavailable)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                wait_for_signal().await;
                cancelled.cancel();
                wait_for_signal().await;
                std::process::exit(130);
            });
        })
        .because(Exit::Unavailable)?;
    Ok(token)
}

/// Returns on SIGINT or SIGTERM.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn without_example(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
        let path = format!("{path}{} ", command.get_name());
        let help = command.get_after_help().map(ToString::to_string);
        if !help.is_some_and(|help| help.contains("Example")) {
            missing.push(path.clone());
        }
        for inner in command.get_subcommands() {
            without_example(inner, &path, missing);
        }
    }

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        let mut missing = Vec::new();
        without_example(&Arguments::command(), "", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}
