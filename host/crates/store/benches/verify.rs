//! What verifying a log costs, beside the bare SHA-256 of the same bytes in the same run.
//!
//! `SELFHEAL_BENCH_RECORDS` sets another number of records than a million.
#![allow(clippy::unwrap_used, missing_docs)]

use chrono::DateTime;
use selfheal_audit::Masker;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ports::EventStore;
use selfheal_domain::user::Actor;
use selfheal_store::{JournalReader, JournalStore, Options, prove, verify};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

const WRITERS: u64 = 64;

/// The median of five runs, in seconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(2).copied().unwrap_or_default()
}

fn main() {
    // `cargo test --benches` runs this too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let records = std::env::var("SELFHEAL_BENCH_RECORDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000_u64);
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new(Masker::new(["a-secret-of-the-installation"]).unwrap());
    let store = JournalStore::open(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for turn in (writer..records).step_by(WRITERS as usize) {
                    let record = NewRecord {
                        at: DateTime::from_timestamp_micros(1_790_000_000_000_000 + turn as i64)
                            .unwrap(),
                        actor: Actor::Host,
                        issue: None,
                        event: Event::FreezeChanged {
                            frozen: true,
                            reason: format!("{turn:0>86}"),
                        },
                    };
                    store.append(record, None).unwrap();
                }
            });
        }
    });
    drop(store);
    let stored: Vec<Vec<u8>> = JournalReader::open(dir.path())
        .unwrap()
        .map(|record| record.unwrap().stored)
        .collect();
    let bytes: usize = stored.iter().map(Vec::len).sum();
    let floor = median(|| {
        for record in &stored {
            black_box(Sha256::digest(record));
        }
    });
    let flat = stored.concat();
    drop(stored);
    let stream = median(|| {
        black_box(Sha256::digest(&flat));
    });
    drop(flat);
    let whole = median(|| assert_eq!(verify(dir.path(), None).unwrap().records, records));
    let proof = median(|| drop(black_box(prove(dir.path(), records / 2).unwrap())));
    let reopen = median(|| drop(JournalStore::open(dir.path(), options()).unwrap()));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{records} records of {} bytes\n\
         SHA-256 of each record, in memory      {floor:.3} s\n\
         SHA-256 of all bytes as one, in memory {stream:.3} s\n\
         verify: chain, frames, tree, tiles     {whole:.3} s\n\
         prove one record, from the journal     {proof:.3} s\n\
         open the store and close it            {reopen:.3} s",
        bytes as u64 / records.max(1)
    )
    .unwrap();
}
