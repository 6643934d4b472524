//! `selfheal audit`: reads, verifies, proves and exports the log from its files;
//! needs no host.

mod export;
mod git;
mod log;
mod siem;
mod verify;

use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Reads, verifies, proves and exports the audit log; needs no running host.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  selfheal audit verify --git                        log and repository vouch for each other
  selfheal audit export > audit.jsonl && selfheal audit verify --from-export audit.jsonl
  selfheal audit prove 41 --json")]
pub(crate) enum Audit {
    Log(log::Log),
    Verify(verify::Verify),
    Prove(verify::Prove),
    Checkpoint(verify::ShowCheckpoint),
    Signers(git::Signers),
    Export(export::Export),
}

#[derive(Args, Debug)]
pub(crate) struct Place {
    /// Data directory; else the one of the configuration file
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
}

impl Place {
    fn data(&self) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(Config::read(&self.config).because(Exit::Usage)?.data),
        }
    }

    /// The repository that was named, or the one of the configuration file.
    fn repository(&self, named: Option<&Path>) -> Result<PathBuf, Failure> {
        match named {
            Some(named) => Ok(named.to_owned()),
            None => Ok(Config::read(&self.config).because(Exit::Usage)?.repository),
        }
    }
}

impl Audit {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Log(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Prove(command) => command.run(),
            Self::Checkpoint(command) => command.run(),
            Self::Signers(command) => command.run(),
            Self::Export(command) => command.run(),
        }
    }
}
