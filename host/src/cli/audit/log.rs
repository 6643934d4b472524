//! `selfheal audit log`: the records, for people and programs.

use super::Place;
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_store::JournalReader;

/// Prints the records
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  selfheal audit log --issue 3\n  selfheal audit log --json | jq .event.type"
)]
pub(crate) struct Log {
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
}

impl Log {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let data = self.place.data()?;
        let mut records = Vec::new();
        for record in JournalReader::open(&data).because(Exit::Unavailable)? {
            let record = record
                .and_then(|stored| stored.record())
                .because(Exit::NotSo)?;
            if self.issue.is_none() || record.issue.map(|number| number.0) == self.issue {
                records.push(record);
            }
        }
        let skip = self
            .last
            .map_or(0, |last| records.len().saturating_sub(last));
        for record in records.iter().skip(skip) {
            if self.json {
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
}
