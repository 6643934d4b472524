//! `selfheal audit verify --git` and `selfheal audit signers`: whether log and history
//! vouch for each other, and the keys that the log's commits are signed with.

use super::Place;
use crate::cli::output::{self, Colour};
use crate::compose::signing::allowed_signer;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_audit::merkle::{RootBuilder, leaf_hash};
use selfheal_domain::event::Record;
use selfheal_store::JournalReader;
use selfheal_worktree::{HistoryReport, LogWitness, MachineHistory};
use std::path::Path;

/// Prints the keys that commits are signed with, as a file of allowed signers
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  selfheal audit signers > signers
  git -c gpg.ssh.allowedSignersFile=signers verify-commit HEAD")]
pub(crate) struct Signers {
    #[command(flatten)]
    place: Place,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Signers {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let signers = signers(&self.place.data()?)?;
        if self.json {
            output::json(&serde_json::json!({ "signers": signers }));
        } else {
            signers.iter().for_each(output::line);
        }
        Ok(Exit::Done)
    }
}

/// Holds the log in `data` and the history of `repository` against each other. The log
/// itself was verified before.
pub(super) fn compare(data: &Path, repository: &Path) -> Result<HistoryReport, Failure> {
    // History first: a commit is made before its record.
    let history = MachineHistory::read(repository).because(Exit::Unavailable)?;
    let mut witness = LogWitness::new(&history);
    observe(data, &mut witness)?;
    Ok(history.compare(&witness))
}

/// The allowed-signers lines of all keys that the log in `data` names.
fn signers(data: &Path) -> Result<Vec<String>, Failure> {
    let mut witness = LogWitness::default();
    observe(data, &mut witness)?;
    Ok(witness.keys().map(|key| allowed_signer(&key)).collect())
}

fn observe(data: &Path, witness: &mut LogWitness) -> Result<(), Failure> {
    let mut tree = RootBuilder::default();
    for stored in JournalReader::open(data).because(Exit::Unavailable)? {
        let stored = stored.because(Exit::NotSo)?;
        let record: Record = stored.record().because(Exit::NotSo)?;
        tree.push_leaf(leaf_hash(&record.hash.0));
        witness.observe(&record, &mut || tree.root());
    }
    Ok(())
}

/// Says what was found.
pub(super) fn tell(report: &HistoryReport) {
    let head = if report.mismatches.is_empty() {
        output::coloured(Colour::Green, "history verified:")
    } else {
        output::coloured(Colour::Red, "history does not hold:")
    };
    output::line(format!(
        "{head} {} commits of Selfheal, {} on record, {} signed by this installation",
        report.commits, report.recorded, report.signed
    ));
    if report.command_line > 0 {
        output::line(format!(
            "of these, {} by `selfheal heal --apply`, which works without a log",
            report.command_line
        ));
    }
    for note in &report.notes {
        output::line(format!("note: {note}"));
    }
    for found in &report.mismatches {
        output::line(format!(
            "{} {}",
            output::coloured(Colour::Red, "wrong:"),
            found.why
        ));
    }
}

/// 0 when both vouch for each other, else 1.
pub(super) fn exit(report: &HistoryReport) -> Exit {
    if report.mismatches.is_empty() {
        Exit::Done
    } else {
        Exit::NotSo
    }
}
