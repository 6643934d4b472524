//! `selfheal audit`: reads and verifies the log from its files; needs no host.

use super::audit_git;
use super::output::{self, Colour};
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::{Args, Subcommand};
use selfheal_store::JournalReader;
use std::path::PathBuf;

/// Reads and verifies the audit log; needs no running host.
#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Prints the records
    #[command(
        after_help = "Examples:\n  selfheal audit log --issue 3\n  selfheal audit log --json | jq .event.type"
    )]
    Log {
        #[command(flatten)]
        place: Place,
        /// Only records about this issue
        #[arg(long, value_name = "NUMBER")]
        issue: Option<u64>,
        /// Only the last records
        #[arg(long, value_name = "COUNT")]
        last: Option<usize>,
        /// One JSON document per line
        #[arg(long)]
        json: bool,
    },
    /// Verifies every record and the chain over them; names the first that is wrong
    #[command(
        after_help = "Exit code 0 when the whole log holds, 1 when a record is wrong, or when log and\nhistory do not vouch for each other.\n\nExamples:\n  selfheal audit verify\n  selfheal audit verify --git\n  selfheal audit verify --data /backup/selfheal --git=/srv/app --json"
    )]
    Verify {
        #[command(flatten)]
        place: Place,
        /// Also compare the log with the history of the repository, by default the one of
        /// the configuration file
        #[arg(long, value_name = "REPOSITORY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        git: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Prints the keys that commits are signed with, as a file of allowed signers
    #[command(
        after_help = "Example:\n  selfheal audit signers > signers\n  git -c gpg.ssh.allowedSignersFile=signers verify-commit HEAD"
    )]
    Signers {
        #[command(flatten)]
        place: Place,
    },
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
    fn repository(&self, named: PathBuf) -> Result<PathBuf, Failure> {
        if named.as_os_str().is_empty() {
            return Ok(Config::read(&self.config).because(Exit::Usage)?.repository);
        }
        Ok(named)
    }
}

impl Audit {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Log {
                place,
                issue,
                last,
                json,
            } => log(&place.data()?, issue, last, json),
            Self::Verify { place, git, json } => {
                let repository = git.map(|path| place.repository(path)).transpose()?;
                verify(&place.data()?, repository.as_deref(), json)
            }
            Self::Signers { place } => {
                let signers = audit_git::signers(&place.data()?)?;
                signers.iter().for_each(output::line);
                Ok(Exit::Done)
            }
        }
    }
}

fn log(
    data: &std::path::Path,
    issue: Option<u64>,
    last: Option<usize>,
    json: bool,
) -> Result<Exit, Failure> {
    let mut records = Vec::new();
    for record in JournalReader::open(data).because(Exit::Unavailable)? {
        let record = record
            .and_then(|stored| stored.record())
            .because(Exit::NotSo)?;
        if issue.is_none() || record.issue.map(|number| number.0) == issue {
            records.push(record);
        }
    }
    let skip = last.map_or(0, |last| records.len().saturating_sub(last));
    for record in records.iter().skip(skip) {
        if json {
            output::line(serde_json::to_string(record).because(Exit::Unavailable)?);
            continue;
        }
        let about = record
            .issue
            .map_or_else(String::new, |number| format!("#{number} "));
        let value = serde_json::to_value(&record.event).because(Exit::Unavailable)?;
        let name = value
            .get("type")
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        let time = record
            .at
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let hash = record.hash.to_string();
        output::line(format!(
            "{:>6} {time} {} {about}{} {}",
            record.seq,
            output::coloured(Colour::Dim, hash.get(..12).unwrap_or(&hash)),
            output::coloured(Colour::Bold, name),
            output::coloured(Colour::Dim, format!("by {}", record.actor)),
        ));
    }
    Ok(Exit::Done)
}

fn verify(
    data: &std::path::Path,
    repository: Option<&std::path::Path>,
    json: bool,
) -> Result<Exit, Failure> {
    match selfheal_store::verify(data) {
        Ok(report) => {
            let history = repository
                .map(|repository| audit_git::compare(data, repository))
                .transpose()?;
            let exit = history.as_ref().map_or(Exit::Done, audit_git::exit);
            if json {
                output::json(&serde_json::json!({
                    "verified": exit == Exit::Done, "records": report.records,
                    "head": report.head, "merkleRoot": report.merkle_root, "git": history,
                }));
            } else {
                output::line(format!(
                    "{} {} records, head {}, Merkle root {}",
                    output::coloured(Colour::Green, "verified:"),
                    report.records,
                    report.head,
                    report.merkle_root
                ));
                if let Some(history) = &history {
                    audit_git::tell(history);
                }
            }
            Ok(exit)
        }
        Err(error) => {
            if json {
                output::json(&serde_json::json!({ "verified": false, "error": error.to_string() }));
            }
            Err(error).because(Exit::NotSo)
        }
    }
}
