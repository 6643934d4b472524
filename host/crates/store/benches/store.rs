//! What the store costs, beside what the disk costs in the same run: appends per
//! second with 1, 8 and 64 writers, and a page of 50 at 100,000 issues.
//!
//! `SELFHEAL_BENCH_ISSUES` sets another number of issues.
#![allow(clippy::unwrap_used, missing_docs)]

use chrono::DateTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use selfheal_audit::Masker;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ids::{IssueId, IssueNumber};
use selfheal_domain::issue::{Category, Priority, Severity, Source};
use selfheal_domain::ports::EventStore;
use selfheal_domain::query::{Condition, IssueFilter};
use selfheal_domain::report::Report;
use selfheal_domain::state::IssueStatus;
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_store::{JournalStore, Options};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn open(dir: &Path) -> JournalStore {
    let masker = Masker::new(["a-secret-of-the-installation"]).unwrap();
    JournalStore::open(dir, Options::new(masker)).unwrap()
}

fn note(turn: u64) -> NewRecord {
    NewRecord {
        at: DateTime::from_timestamp_micros(1_790_000_000_000_000 + turn as i64).unwrap(),
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
            id: IssueId(Uuid::from_u128(number.into())),
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

/// `total` calls of `work` by `threads` threads at once.
fn spread(threads: u64, total: u64, work: impl Fn(u64) + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let work = &work;
            scope.spawn(move || {
                let mut turn = thread;
                while turn < total {
                    work(turn);
                    turn += threads;
                }
            });
        }
    });
    start.elapsed()
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(4));
    for threads in [1, 8, 64] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        group.bench_function(BenchmarkId::new("store", threads), |bencher| {
            bencher.iter_custom(|total| {
                spread(threads, total, |turn| {
                    store.append(note(turn), None).unwrap();
                })
            });
        });
        // The limit: the same bytes, one flush for as many as the store could share.
        let mut file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        let batch = vec![7; 214 * threads as usize];
        group.bench_function(
            BenchmarkId::new("raw write and fdatasync", threads),
            |bencher| {
                bencher.iter_custom(|total| {
                    let start = Instant::now();
                    for _ in 0..total.div_ceil(threads) {
                        file.write_all(&batch).unwrap();
                        file.as_file().sync_data().unwrap();
                    }
                    start.elapsed()
                });
            },
        );
    }
    group.finish();
}

fn pages(criterion: &mut Criterion) {
    let issues = std::env::var("SELFHEAL_BENCH_ISSUES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000_u64);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let start = Instant::now();
    // Numbers come in order, as they do from the ledger; comments share the flushes.
    let last = Mutex::new(0_u64);
    spread(16, issues * 2, |turn| {
        if turn.is_multiple_of(2) {
            let mut last = last.lock().unwrap();
            *last += 1;
            store.append(opened(*last), None).unwrap();
        } else {
            store.append(note(turn), None).unwrap();
        }
    });
    let filled = start.elapsed();
    drop(store);
    let start = Instant::now();
    let store = open(dir.path());
    let reopened = start.elapsed();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    let start = Instant::now();
    let store = open(dir.path());
    let rebuilt = start.elapsed();
    let start = Instant::now();
    let report = selfheal_store::verify(dir.path(), None).unwrap();
    let verified = start.elapsed();
    let mut out = std::io::stderr().lock();
    writeln!(
        out,
        "{issues} issues, {} records: filled in {filled:.2?}, reopened in {reopened:.2?}, rebuilt in {rebuilt:.2?}, verified in {verified:.2?}",
        report.records
    )
    .unwrap();
    drop(out);

    let mut group = criterion.benchmark_group(format!("read at {issues} issues"));
    let filters = [
        ("page of 50", IssueFilter::default()),
        (
            "page of 50 by status",
            IssueFilter::default().and(Condition::Status(vec![IssueStatus::Open])),
        ),
    ];
    for (name, filter) in filters {
        let middle = {
            let mut page = store.issues(&filter, None, 50).unwrap();
            for _ in 0..20 {
                page = store
                    .issues(&filter, page.next_cursor.as_deref(), 50)
                    .unwrap();
            }
            page.next_cursor
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(store.issues(&filter, middle.as_deref(), 50).unwrap()));
        });
    }
    let mut number = 0;
    group.bench_function("one issue", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % issues;
            black_box(store.issue(IssueNumber(number + 1)).unwrap())
        });
    });
    group.bench_function("50 records", |bencher| {
        bencher.iter(|| black_box(store.records(None, issues, 50).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, appends, pages);
criterion_main!(benches);
