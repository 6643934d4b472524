//! Fills a data directory with issues, for measurements: `fill DATA COUNT`. The host must
//! not run.
#![allow(clippy::print_stderr, reason = "it is a tool for developers")]

use chrono::{DateTime, TimeDelta};
use selfheal_audit::Masker;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ids::{IssueId, IssueNumber};
use selfheal_domain::issue::{Category, Priority, Severity, Source};
use selfheal_domain::ports::EventStore;
use selfheal_domain::report::Report;
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_store::{JournalStore, Options};
use std::error::Error;
use std::path::Path;

/// 2026-01-01: the first issue; the others follow by the minute.
const START: i64 = 1_767_225_600;
const WHAT: [&str; 6] = ["Cart", "Checkout", "Search", "Invoice", "Login", "Export"];
const HOW: [&str; 5] = [
    "shows a blank page",
    "answers 500",
    "is slow in the morning",
    "forgets what was chosen",
    "counts one too many",
];
const SEVERITIES: [Severity; 4] = [
    Severity::Medium,
    Severity::Low,
    Severity::High,
    Severity::Critical,
];
const PRIORITIES: [Priority; 4] = [Priority::P2, Priority::P3, Priority::P1, Priority::P0];
const SERVICES: [Option<&str>; 3] = [Some("shop"), None, Some("billing")];

/// The one of `all` whose turn it is.
fn turn<T: Copy>(all: &[T], turn: u64) -> Option<T> {
    let at = turn % u64::try_from(all.len()).ok()?;
    all.get(usize::try_from(at).ok()?).copied()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: fill DATA COUNT";
    let data = arguments.next().ok_or(usage)?;
    let count: u64 = arguments.next().ok_or(usage)?.parse()?;
    let masker = Masker::new(Vec::<String>::new())?;
    let store = JournalStore::open(Path::new(&data), Options::new(masker))?;
    let begin = store.last_issue_number()?;
    let start = DateTime::from_timestamp(START, 0).ok_or(usage)?;
    for number in begin + 1..=begin + count {
        let what = turn(&WHAT, number).unwrap_or_default();
        let how = turn(&HOW, number / 6).unwrap_or_default();
        let report = Report {
            title: format!("{what} {how} ({number})"),
            description: format!("Seen by customer {number}. {what} {how}, again and again."),
            steps_to_reproduce: None,
            expected_behavior: None,
            actual_behavior: None,
            severity: turn(&SEVERITIES, number / 3).unwrap_or(Severity::Medium),
            priority: turn(&PRIORITIES, number / 5).unwrap_or(Priority::P2),
            source: Source::Error,
            category: Category::Bug,
            service: turn(&SERVICES, number).flatten().map(str::to_owned),
            fingerprint: None,
            trust: TrustClass::Machine,
        };
        let later = TimeDelta::try_minutes(i64::try_from(number - begin)?).ok_or(usage)?;
        let record = NewRecord {
            at: start + later,
            actor: Actor::Host,
            issue: Some(IssueNumber(number)),
            event: Event::IssueOpened {
                id: IssueId(uuid::Uuid::from_u128(number.into())),
                number: IssueNumber(number),
                report,
                reported_by: Actor::Host,
            },
        };
        store.append(record, None)?;
    }
    eprintln!("{count} issues from {} on", begin + 1);
    Ok(())
}
