//! What a durable record costs, beside the disk itself and beside other stores, and what
//! reading costs as the table grows. All in one run on one disk, since neither means
//! anything alone.
//!
//! ```text
//! cargo run --release -- appends               # 1, 8 and 64 writers
//! cargo run --release -- alone NAME WRITERS    # one of them, for a profiler
//! cargo run --release -- fill DIRECTORY ISSUES # makes a table; best in /dev/shm, then copied
//! cargo run --release -- reads DIRECTORY       # reopens it and reads pages
//! ```
//!
//! Everybody writes a record of about the same size and answers once it is on disk. The
//! stores that group commits (ours) do it by themselves; for those that do not (redb,
//! SQLite) a thread collects what waits, as an application would have to. The raw limit
//! writes the bytes of all that wait and flushes once.

use redb::{Database, Durability, TableDefinition};
use selfheal_audit::Masker;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ids::{IssueId, IssueNumber};
use selfheal_domain::issue::{Category, Priority, Severity, Source};
use selfheal_domain::ports::EventStore;
use selfheal_domain::query::IssueFilter;
use selfheal_domain::report::Report;
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_store::{JournalStore, Options};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// About what a small event of ours takes in the journal.
const RECORD_BYTES: usize = 214;
/// For each store and number of writers.
const MEASURED: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
const WRITERS: [usize; 3] = [1, 8, 64];
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("events");

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["appends"] => appends(),
        ["alone", name, writers] => {
            let rate = contend(name, writers.parse()?)?;
            println!("{rate:.0} durable records per second");
            Ok(())
        }
        ["fill", directory, issues] => fill(Path::new(directory), issues.parse()?),
        ["reads", directory] => reads(Path::new(directory)),
        _ => Err("one of: appends, alone NAME WRITERS, fill DIRECTORY ISSUES, reads DIRECTORY".into()),
    }
}

fn open(directory: &Path) -> Outcome<JournalStore> {
    let masker = Masker::new(["a-secret-of-the-installation"])?;
    Ok(JournalStore::open(directory, Options::new(masker))?)
}

fn note(turn: u64) -> NewRecord {
    NewRecord {
        at: chrono::DateTime::from_timestamp_micros(1_790_000_000_000_000 + turn as i64)
            .unwrap_or_default(),
        actor: Actor::Host,
        issue: None,
        event: Event::SessionRefused {
            name: format!("somebody number {turn} who could not log in"),
        },
    }
}

fn opened(number: u64) -> NewRecord {
    NewRecord {
        issue: Some(IssueNumber(number)),
        event: Event::IssueOpened {
            id: IssueId(uuid::Uuid::from_u128(number.into())),
            number: IssueNumber(number),
            report: Report {
                title: format!("The page number {number} is blank"),
                description: "Since this morning, with every browser".to_owned(),
                steps_to_reproduce: None,
                expected_behavior: None,
                actual_behavior: None,
                severity: Severity::Medium,
                priority: Priority::P2,
                source: Source::Web,
                category: Category::Bug,
                service: Some("web".to_owned()),
                fingerprint: None,
                trust: TrustClass::Member,
            },
            reported_by: Actor::Operator,
        },
        ..note(number)
    }
}

/// Records per second by `writers` threads, each of which waits for its answer.
fn rate(writers: usize, append: &(dyn Fn(u64) + Sync)) -> f64 {
    let begun = Instant::now();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn(move || {
                    let mut count = 0;
                    while begun.elapsed() < MEASURED {
                        append(count * writers as u64 + writer as u64);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    counts.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64()
}

/// One thread that commits what waits, for those that do not do it themselves.
struct Grouped {
    requests: Sender<Sender<()>>,
}

impl Grouped {
    fn new(mut commit: impl FnMut(usize) -> Outcome<()> + Send + 'static) -> Self {
        let (requests, waiting): (_, Receiver<Sender<()>>) = channel();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let mut group = vec![first];
                group.extend(waiting.try_iter().take(1023));
                if let Err(error) = commit(group.len()) {
                    eprintln!("{error}");
                    return;
                }
                for one in group {
                    let _ = one.send(());
                }
            }
        });
        Self { requests }
    }

    fn append(&self) {
        let (answer, wait) = channel();
        if self.requests.send(answer).is_ok() {
            let _ = wait.recv();
        }
    }
}

/// Runs one contender in a new directory.
fn contend(name: &str, writers: usize) -> Outcome<f64> {
    let directory = tempfile::tempdir_in(".")?;
    let bytes = [7_u8; RECORD_BYTES];
    if name == "Selfheal" {
        let store = open(directory.path())?;
        let append = |turn| {
            if let Err(error) = store.append(note(turn), None) {
                eprintln!("{error}");
            }
        };
        return Ok(rate(writers, &append));
    }
    let grouped = match name {
        "raw append + fdatasync" => {
            let mut file = File::create(directory.path().join("raw"))?;
            Grouped::new(move |count| {
                file.write_all(&bytes.repeat(count))?;
                Ok(file.sync_data()?)
            })
        }
        "redb" => {
            let database = Database::create(directory.path().join("redb"))?;
            let mut key = 0;
            Grouped::new(move |count| {
                let mut transaction = database.begin_write()?;
                transaction.set_durability(Durability::Immediate)?;
                {
                    let mut table = transaction.open_table(TABLE)?;
                    for _ in 0..count {
                        key += 1;
                        table.insert(key, bytes.as_slice())?;
                    }
                }
                Ok(transaction.commit()?)
            })
        }
        _ => {
            let mut database = rusqlite::Connection::open(directory.path().join("sqlite"))?;
            database.pragma_update(None, "journal_mode", "WAL")?;
            database.pragma_update(None, "synchronous", "FULL")?;
            database.execute(
                "CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB)",
                [],
            )?;
            Grouped::new(move |count| {
                let transaction = database.transaction()?;
                {
                    let mut insert =
                        transaction.prepare_cached("INSERT INTO events (body) VALUES (?1)")?;
                    for _ in 0..count {
                        insert.execute([bytes.as_slice()])?;
                    }
                }
                Ok(transaction.commit()?)
            })
        }
    };
    Ok(rate(writers, &|_| grouped.append()))
}

/// Flushes per second that the disk does of a file that grows by a record each time: with
/// one writer nobody can be faster, with more the records that share a flush count.
fn flushes() -> Outcome<f64> {
    let directory = tempfile::tempdir_in(".")?;
    let mut file = File::create(directory.path().join("raw"))?;
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < MEASURED {
        file.write_all(&[7; RECORD_BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// The rounds are mixed, so that a slow moment of the machine hits everybody.
fn appends() -> Outcome<()> {
    let names = [
        "raw append + fdatasync",
        "Selfheal",
        "redb",
        "SQLite WAL FULL",
    ];
    println!("durable records per second, best of {ROUNDS} (median)");
    println!(
        "| {:24} | {:>18} | {:>18} | {:>18} |",
        "", "1 writer", "8", "64"
    );
    let mut seen = vec![vec![Vec::new(); WRITERS.len()]; names.len()];
    let mut limit = Vec::new();
    for _ in 0..ROUNDS {
        limit.push(flushes()?);
        for (column, writers) in WRITERS.into_iter().enumerate() {
            for (row, name) in names.iter().enumerate() {
                if let Some(cell) = seen.get_mut(row).and_then(|row| row.get_mut(column)) {
                    cell.push(contend(name, writers)?);
                }
            }
        }
    }
    for (name, row) in names.iter().zip(&mut seen) {
        let cells = row.iter_mut().map(|cell| {
            cell.sort_by(f64::total_cmp);
            let best = cell.last().copied().unwrap_or_default();
            let median = cell.get(cell.len() / 2).copied().unwrap_or_default();
            format!("{best:.0} ({median:.0})")
        });
        let cells: Vec<String> = cells.map(|cell| format!("{cell:>18}")).collect();
        println!("| {name:24} | {} |", cells.join(" | "));
    }
    let limit: Vec<String> = limit.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("this disk: {} fdatasync per second", limit.join(", "));
    Ok(())
}

/// Issues come one by one, each with its own flush: quick only in `/dev/shm`.
fn fill(directory: &Path, issues: u64) -> Outcome<()> {
    let store = open(directory)?;
    let begun = Instant::now();
    for number in store.last_issue_number()?..issues {
        store.append(opened(number + 1), None)?;
    }
    println!("{issues} issues in {:.1?}", begun.elapsed());
    Ok(())
}

/// Half of the measurements were below this.
fn median(mut work: impl FnMut(usize) -> Outcome<()>) -> Outcome<Duration> {
    let mut times = Vec::new();
    for turn in 0..2000 {
        let begun = Instant::now();
        work(turn)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn reads(directory: &Path) -> Outcome<()> {
    let begun = Instant::now();
    let store = open(directory)?;
    let reopened = begun.elapsed();
    let issues = store.last_issue_number()?;
    let filter = IssueFilter::default();
    let mut cursors = vec![None];
    for _ in 0..(issues as usize / 50).saturating_sub(2).min(400) {
        let page = store.issues(&filter, cursors.last().and_then(Option::as_deref), 50)?;
        cursors.push(page.next_cursor);
    }
    let page = median(|turn| {
        let cursor = cursors
            .get(turn * 7919 % cursors.len())
            .and_then(Option::as_deref);
        let page = store.issues(&filter, cursor, 50)?;
        assert_eq!(page.items.len(), 50);
        Ok(())
    })?;
    let one = median(|turn| {
        let number = IssueNumber((turn as u64 * 7919) % issues + 1);
        store.issue(number)?.ok_or("it is there")?;
        Ok(())
    })?;
    println!(
        "{issues} issues: reopened in {reopened:.2?}, page of 50 in {page:.1?}, one issue in {one:.1?}"
    );
    Ok(())
}
