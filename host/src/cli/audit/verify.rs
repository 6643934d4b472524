//! `selfheal audit verify`, `prove` and `checkpoint`: whether the log is what it was.

use super::{Place, git};
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_audit::note::{Checkpoint, LogVerifier};
use selfheal_audit::{ExportError, ExportVerifier, proof_text};
use selfheal_domain::digest::Digest;
use selfheal_worktree::HistoryReport;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Verifies every record, the chain over them and the signed head; names the first that is wrong
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal audit verify
  selfheal audit verify --data /mnt/backup/selfheal --key \"$(cat auditors/log.pub)\"
  selfheal audit verify --from-export audit.jsonl --json
  selfheal audit verify --git
  selfheal audit verify --data /mnt/backup/selfheal --git=/srv/app --json

Finds a changed byte, a removed record, records that changed places, and a tail that was cut
off. Whoever holds the host holds its key too and can sign another history with it: keep the
public key (log.pub, or `selfheal audit checkpoint --json`) and checkpoints elsewhere, and
give the key with --key.

Exit code 0 when the whole log holds, 1 when a record is wrong, or when log and history do not
vouch for each other.")]
pub(crate) struct Verify {
    #[command(flatten)]
    place: Place,
    /// Verify what `selfheal audit export` wrote instead of a data directory; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    from_export: Option<PathBuf>,
    /// Believe heads that this public key signed, and no others
    #[arg(long, value_name = "NAME+ID+KEY")]
    key: Option<String>,
    /// Also compare the log with the history of the repository, by default the one of the
    /// configuration file
    #[arg(
        long,
        value_name = "REPOSITORY",
        require_equals = true,
        conflicts_with = "from_export"
    )]
    git: Option<Option<PathBuf>>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A log that holds.
struct Holds {
    records: u64,
    head: Digest,
    root: Digest,
    signed: Option<Checkpoint>,
}

/// What does not hold, and the first wrong record, where it is a record.
struct Wrong {
    record: Option<u64>,
    error: anyhow::Error,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let key = self.key.as_deref().map(LogVerifier::parse).transpose();
        let key = key.because(Exit::Usage)?;
        let result = match &self.from_export {
            Some(file) => verify_export(file, key)?,
            None => verify_journal(&self.place.data()?, key.as_ref()),
        };
        match result {
            Ok(holds) => {
                let history = self
                    .git
                    .as_ref()
                    .map(|named| {
                        let repository = self.place.repository(named.as_deref())?;
                        git::compare(&self.place.data()?, &repository)
                    })
                    .transpose()?;
                self.tell(&holds, history.as_ref());
                Ok(history.as_ref().map_or(Exit::Done, git::exit))
            }
            Err(wrong) => {
                if self.json {
                    output::json(&json!({
                        "verified": false, "record": wrong.record,
                        "error": format!("{:#}", wrong.error),
                    }));
                }
                Err(Failure {
                    exit: Exit::NotSo,
                    error: wrong.error,
                })
            }
        }
    }

    fn tell(&self, holds: &Holds, history: Option<&HistoryReport>) {
        if self.json {
            let verified = history.is_none_or(|history| git::exit(history) == Exit::Done);
            output::json(&json!({
                "verified": verified, "git": history, "records": holds.records,
                "head": holds.head, "merkleRoot": holds.root,
                "signed": holds.signed.as_ref().map(|signed| json!({
                    "origin": signed.origin, "size": signed.size, "root": signed.root,
                })),
            }));
            return;
        }
        output::line(format!(
            "{} {} records, head {}, Merkle root {}",
            output::coloured(Colour::Green, "verified:"),
            holds.records,
            holds.head,
            holds.root
        ));
        match &holds.signed {
            Some(signed) => output::line(format!(
                "signed: the first {} records, by {}",
                signed.size, signed.origin
            )),
            None => output::line(
                "signed: nothing yet, so a tail that was cut off cannot be told; the next start of the host signs",
            ),
        }
        if let Some(history) = history {
            git::tell(history);
        }
    }
}

fn verify_journal(data: &Path, key: Option<&LogVerifier>) -> Result<Holds, Wrong> {
    match selfheal_store::verify(data, key) {
        Ok(report) => Ok(Holds {
            records: report.records,
            head: report.head,
            root: report.merkle_root,
            signed: report.signed,
        }),
        Err(error) => Err(Wrong {
            record: error.record(),
            error: error.into(),
        }),
    }
}

fn verify_export(file: &Path, key: Option<LogVerifier>) -> Result<Result<Holds, Wrong>, Failure> {
    let unreadable = |error| Failure {
        exit: Exit::Usage,
        error: anyhow::Error::new(error).context(format!("{} cannot be read", file.display())),
    };
    let input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(
            std::fs::File::open(file).map_err(unreadable)?,
        ))
    };
    let mut verifier = ExportVerifier::new(key);
    let wrong = |error: ExportError| {
        let record = match &error {
            ExportError::Record { seq, .. } => Some(*seq),
            ExportError::Format(_) | ExportError::Head(_) => None,
        };
        Wrong {
            record,
            error: anyhow::Error::new(error).context(format!("{} does not hold", file.display())),
        }
    };
    for line in input.lines() {
        let line = line.map_err(unreadable)?;
        if let Err(error) = verifier.line(&line) {
            return Ok(Err(wrong(error)));
        }
    }
    Ok(match verifier.finish() {
        Ok(report) => Ok(Holds {
            records: report.records,
            head: report.head,
            root: report.merkle_root,
            signed: report.signed,
        }),
        Err(error) => Err(wrong(error)),
    })
}

/// Proves that one record is in the log
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  selfheal audit prove 42 > 42.tlog-proof

Prints a C2SP tlog-proof: the way from the record's hash to the signed head. It shows nothing
of other records, and whoever has the log's public key can check it without the log. A record
is covered within a second of being written.")]
pub(crate) struct Prove {
    /// Position of the record, from 0, as in `selfheal audit log`
    record: u64,
    #[command(flatten)]
    place: Place,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Prove {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let proof = selfheal_store::prove(&self.place.data()?, self.record).because(Exit::NotSo)?;
        if self.json {
            output::json(&json!({
                "index": proof.index, "record": proof.record, "proof": proof.hashes,
                "size": proof.head.size, "root": proof.head.root, "origin": proof.head.origin,
                "checkpoint": proof.head.note, "key": proof.head.key,
            }));
        } else {
            output::text(proof_text(&proof));
        }
        Ok(Exit::Done)
    }
}

/// Prints the signed head of the log
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal audit checkpoint >> /mnt/elsewhere/checkpoints
  selfheal audit checkpoint --json | jq -r .key

A C2SP tlog-checkpoint: size and Merkle root of the log, signed by the installation. The host
signs one every second while records come in. The key to verify it with is printed on standard
error.")]
pub(crate) struct ShowCheckpoint {
    #[command(flatten)]
    place: Place,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl ShowCheckpoint {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let signed = selfheal_store::signed_head(&self.place.data()?, None).because(Exit::NotSo)?;
        let Some((checkpoint, note, key)) = signed else {
            let message = "nothing of this log was signed yet; start the host once";
            return Err(Failure::new(Exit::NotSo, message));
        };
        if self.json {
            let document: Value = json!({
                "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root,
                "checkpoint": note, "key": key.to_string(),
            });
            output::json(&document);
        } else {
            output::text(note);
            output::progress(format!("key: {key}"));
        }
        Ok(Exit::Done)
    }
}
