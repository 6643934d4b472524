//! `selfheal audit export`: the log for other places.

use super::{Place, siem};
use crate::failure::{Because, Exit, Failure};
use clap::{Args, ValueEnum};
use selfheal_audit::tiles::TileTree;
use selfheal_audit::{export_begun, export_ended, export_record};
use selfheal_store::JournalReader;
use std::io::{BufWriter, Write};

/// Forms of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// Everything, in lines of JSON that `audit verify --from-export` verifies
    Jsonl,
    /// Open Cybersecurity Schema Framework 1.3, API Activity, one event per line
    Ocsf,
    /// Common Event Format
    Cef,
}

/// Prints the whole log for other tools, on standard output
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal audit export > audit.jsonl
  selfheal audit verify --from-export audit.jsonl
  selfheal audit export --format cef --from 1000 | nc siem.example 514

JSONL keeps everything that the records' hashes are made of, personal fields encrypted as they
are stored. The others are for reading: who, when, what; they cannot be verified.")]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    /// Form of the export
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Begin at this record; not with jsonl, whose hashes begin with the first
    #[arg(long, value_name = "RECORD", default_value_t = 0)]
    from: u64,
}

impl Export {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.from > 0 && self.format == Format::Jsonl {
            let message = "jsonl holds the whole log, so that it can be verified; leave --from out, or use --format ocsf or cef";
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        match self
            .write(&mut out)
            .and_then(|()| out.flush().because(Exit::Unavailable))
        {
            // A closed pipe (`| head`) is no error of ours.
            Err(failure) if is_closed_pipe(&failure) => Ok(Exit::Done),
            Err(failure) => Err(failure),
            Ok(()) => Ok(Exit::Done),
        }
    }

    fn write(&self, out: &mut impl Write) -> Result<(), Failure> {
        let data = self.place.data()?;
        let mut put = |line: String| writeln!(out, "{line}").because(Exit::Unavailable);
        // The head first: the journal of a running host grows.
        let signed = selfheal_store::signed_head(&data, None).because(Exit::NotSo)?;
        if self.format == Format::Jsonl {
            let head = signed.as_ref().map(|(_, note, key)| (note.as_str(), key));
            put(export_begun(head))?;
        }
        let mut reader = JournalReader::open(&data).because(Exit::Unavailable)?;
        let mut tree = TileTree::default();
        for stored in reader.by_ref() {
            let stored = stored.because(Exit::NotSo)?;
            if self.format == Format::Jsonl {
                tree.push(stored.hash, |_, _| {});
                put(export_record(&stored.stored).because(Exit::NotSo)?)?;
                continue;
            }
            if stored.entry.seq < self.from {
                continue;
            }
            let record = stored.record().because(Exit::NotSo)?;
            put(match self.format {
                Format::Cef => siem::cef(&record),
                _ => siem::ocsf(&record),
            }
            .because(Exit::Unavailable)?)?;
        }
        if self.format == Format::Jsonl {
            put(export_ended(
                reader.records_read(),
                reader.head(),
                tree.root(),
            ))?;
        }
        Ok(())
    }
}

fn is_closed_pipe(failure: &Failure) -> bool {
    failure
        .error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
