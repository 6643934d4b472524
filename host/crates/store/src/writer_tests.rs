//! Disks that fail.

use super::*;
use crate::journal::{Medium, SEGMENT_BYTES};
use chrono::DateTime;
use selfheal_domain::event::Event;
use selfheal_domain::user::Actor;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Fails as told, once.
struct Failing {
    file: File,
    write: bool,
    truncate: bool,
    sync: bool,
}

impl Medium for Failing {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if std::mem::take(&mut self.write) {
            // Half of it got there.
            let half = bytes.len() / 2;
            Medium::write_at(&mut self.file, &bytes[..half], offset)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Medium::write_at(&mut self.file, bytes, offset)
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if std::mem::take(&mut self.truncate) {
            return Err(io::Error::other("no truncation"));
        }
        self.file.truncate(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.sync) {
            return Err(io::Error::other("no flush"));
        }
        self.file.sync()
    }
}

fn open(dir: &Path) -> crate::open::Opened {
    let keys = Arc::new(crate::subjects::SubjectKeys::load(dir).unwrap());
    crate::open::open(crate::open::claim(dir).unwrap(), SEGMENT_BYTES, &keys).unwrap()
}

/// Appends three records to a disk that fails at the first, and reopens.
fn outcomes(dir: &Path, [write, truncate, sync]: [bool; 3]) -> (Vec<String>, u64) {
    let mut opened = open(dir);
    let segment = dir.join("journal/00000000000000000000.seg");
    opened.journal.replace_medium(Box::new(Failing {
        file: OpenOptions::new()
            .read(true)
            .write(true)
            .open(segment)
            .unwrap(),
        write,
        truncate,
        sync,
    }));
    let shared = Arc::new(Shared::new(opened.projection, opened.publisher));
    let (requests, waiting) = sync_channel(8);
    let mut outcomes = Vec::new();
    std::thread::scope(|scope| {
        let shared = &shared;
        let journal = opened.journal;
        scope.spawn(move || run(shared, journal, &waiting));
        for turn in 0..3 {
            let record = NewRecord {
                at: DateTime::from_timestamp_micros(turn).unwrap(),
                actor: Actor::Host,
                issue: None,
                event: Event::HostStopped,
            };
            let (answer, wait) = sync_channel(1);
            let stored = StoredEvent::of(&record.event, |_, _| {}).unwrap();
            let request = Request {
                record,
                stored,
                actor: Actor::Host.into(),
                version: None,
                answer,
            };
            requests.send(request).unwrap();
            outcomes.push(match wait.recv().unwrap() {
                Ok(record) => format!("{}", record.seq),
                Err(StoreError::NotWritten(_)) => "not written".to_owned(),
                Err(StoreError::Uncertain(_)) => "uncertain".to_owned(),
                Err(other) => other.to_string(),
            });
        }
        drop(requests);
    });
    drop(shared);
    drop(opened.lock);
    let again = open(dir);
    (outcomes, again.projection.meta().applied)
}

#[test]
fn a_full_disk_writes_nothing_and_the_next_append_may_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let (outcomes, kept) = outcomes(dir.path(), [true, false, false]);
    assert_eq!(outcomes, ["not written", "0", "1"]);
    assert_eq!(kept, 2);
}

#[test]
fn what_cannot_be_taken_back_is_in_doubt_and_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (outcomes, kept) = outcomes(dir.path(), [true, true, false]);
    assert_eq!(outcomes, ["uncertain", "not written", "not written"]);
    assert_eq!(kept, 0, "half a frame is no record");
}

#[test]
fn a_failed_flush_is_never_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (outcomes, kept) = outcomes(dir.path(), [false, false, true]);
    assert_eq!(outcomes, ["uncertain", "not written", "not written"]);
    assert_eq!(kept, 1, "the next start shows that it was there");
}
