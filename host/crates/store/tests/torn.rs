//! A power cut during a flush leaves any of its pieces, in any order. Whatever it leaves,
//! the store opens with every record that was acknowledged; and nobody can pass off a
//! changed record as such a cut.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::ports::EventStore;
use selfheal_store::{JournalReader, JournalStore, OpenError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use support::*;

/// What is written or lost as one.
const PIECE: usize = 4096;
const FRAME: u64 = 12;

fn segment(dir: &Path) -> PathBuf {
    dir.join("journal/00000000000000000000.seg")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Appends a record for each size.
fn append(dir: &Path, sizes: &[usize]) {
    let store = open(dir);
    for size in sizes {
        let name = "x".repeat(*size);
        store
            .append(hosts(Event::SessionRefused { name }), None)
            .unwrap();
    }
}

/// A data directory at three moments.
struct History {
    /// With what the projection and the signed head knew some time ago.
    earlier: tempfile::TempDir,
    /// When the last flush ended.
    flushed: tempfile::TempDir,
    /// The journal then, and how many records it had.
    journal: Vec<u8>,
    acknowledged: usize,
    /// The journal when everything was written.
    written: Vec<u8>,
    hashes: Vec<Digest>,
    frames: Vec<Range<usize>>,
}

impl History {
    fn new(first: &[usize], flushed: &[usize], batch: &[usize]) -> Self {
        let moment = |sizes: &[usize], from: Option<&tempfile::TempDir>| {
            let dir = tempfile::tempdir().unwrap();
            if let Some(from) = from {
                copy(from.path(), dir.path());
            }
            append(dir.path(), sizes);
            dir
        };
        let earlier = moment(first, None);
        let then = moment(flushed, Some(&earlier));
        let all = moment(batch, Some(&then));
        let records: Vec<_> = JournalReader::open(all.path())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let frames = records.iter().map(|record| {
            let start = record.location.offset as usize;
            start..start + (FRAME as usize) + record.location.length as usize
        });
        Self {
            journal: std::fs::read(segment(then.path())).unwrap(),
            written: std::fs::read(segment(all.path())).unwrap(),
            acknowledged: first.len() + flushed.len(),
            hashes: records.iter().map(|record| record.hash).collect(),
            frames: frames.collect(),
            earlier,
            flushed: then,
        }
    }

    /// The journal after a power cut that kept these pieces of the last batch, and as much
    /// of the new length.
    fn cut(&self, kept: &[bool], length: Index) -> Vec<u8> {
        let (old, new) = (self.journal.len(), self.written.len());
        let mut bytes = vec![0; old + length.index(new - old + 1)];
        for (index, piece) in bytes.chunks_mut(PIECE).enumerate() {
            let is_kept = kept[index % kept.len()];
            let from = if is_kept {
                &self.written
            } else {
                &self.journal
            };
            let begin = (index * PIECE).min(from.len());
            let end = (begin + piece.len()).min(from.len());
            piece[..end - begin].copy_from_slice(&from[begin..end]);
        }
        bytes
    }

    /// A data directory with that journal.
    fn left(&self, journal: &[u8], knows: Knows) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let from = match knows {
            Knows::Earlier => &self.earlier,
            Knows::All | Knows::SignedHead => &self.flushed,
        };
        copy(from.path(), dir.path());
        if knows == Knows::SignedHead {
            std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
        }
        std::fs::write(segment(dir.path()), journal).unwrap();
        dir
    }
}

/// What is left beside the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Knows {
    /// Head and projection as they were before the latest records.
    Earlier,
    /// Both as they are.
    All,
    /// No projection.
    SignedHead,
}

/// What somebody does to an acknowledged record.
#[derive(Clone, Copy, Debug)]
enum Change {
    Byte(Index),
    Removed,
    /// A piece of it looks as if it had never been written.
    Emptied(Index),
    /// All of them from it on.
    AllEmptied,
}

impl Change {
    fn make(self, journal: &mut Vec<u8>, frame: Range<usize>) {
        match self {
            Self::Byte(at) => journal[frame.start + at.index(frame.len())] ^= 0x40,
            Self::Removed => drop(journal.drain(frame)),
            Self::Emptied(at) => {
                let begin = (frame.start + at.index(frame.len())) / PIECE * PIECE;
                let end = (begin + PIECE).min(journal.len());
                journal[begin..end].fill(0);
            }
            Self::AllEmptied => journal[frame.start..].fill(0),
        }
    }
}

fn sizes(count: Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![3 => 0..300_usize, 2 => 300..9000_usize, 1 => 9000..40_000_usize];
    proptest::collection::vec(size, count)
}

fn kept() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(any::<bool>(), 32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn whatever_a_power_cut_leaves_of_a_batch_the_acknowledged_records_are_there(
        first in sizes(1..3),
        flushed in sizes(1..5),
        batch in sizes(1..12),
        cuts in proptest::collection::vec((kept(), any::<Index>(), any::<bool>()), 5),
    ) {
        let history = History::new(&first, &flushed, &batch);
        for (kept, length, is_behind) in cuts {
            let knows = if is_behind { Knows::Earlier } else { Knows::All };
            let dir = history.left(&history.cut(&kept, length), knows);
            let store = open(dir.path());
            let records = store.records(None, 0, usize::MAX).unwrap();
            prop_assert!(records.len() >= history.acknowledged);
            for (record, hash) in records.iter().zip(&history.hashes) {
                prop_assert_eq!(record.hash, *hash);
            }
            drop(store);
            append(dir.path(), &[7]);
            prop_assert_eq!(verify(dir.path()).unwrap().records, records.len() as u64 + 1);
        }
    }

    #[test]
    fn a_changed_acknowledged_record_is_no_power_cut(
        first in sizes(1..3),
        flushed in sizes(1..5),
        batch in sizes(1..6),
        changes in proptest::collection::vec((
            kept(),
            any::<Index>(),
            any::<Index>(),
            prop_oneof![
                any::<Index>().prop_map(Change::Byte),
                Just(Change::Removed),
                any::<Index>().prop_map(Change::Emptied),
                Just(Change::AllEmptied),
            ],
            any::<bool>(),
        ), 5),
    ) {
        let history = History::new(&first, &flushed, &batch);
        for (kept, length, record, change, has_projection) in changes {
            let mut journal = history.cut(&kept, length);
            let frame = history.frames[record.index(history.acknowledged)].clone();
            change.make(&mut journal, frame);
            let knows = if has_projection { Knows::All } else { Knows::SignedHead };
            let dir = history.left(&journal, knows);
            prop_assert!(verify(dir.path()).is_err(), "{:?}", change);
            if matches!(change, Change::Emptied(_) | Change::AllEmptied) {
                let mut read = JournalReader::open(dir.path()).unwrap();
                prop_assert!(read.any(|record| record.is_err()), "{change:?} is read over");
            }
            match try_open(dir.path()).err() {
                Some(OpenError::Damaged(_) | OpenError::Shortened { .. }) => {}
                other => prop_assert!(false, "{change:?}: {other:?}"),
            }
            prop_assert_eq!(std::fs::read(segment(dir.path())).unwrap(), journal, "untouched");
        }
    }
}

#[test]
fn a_segment_that_others_follow_was_never_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.segment_bytes = 700;
    let store = JournalStore::open(dir.path(), options).unwrap();
    for size in [3000, 10, 3000] {
        let name = "x".repeat(size);
        store
            .append(hosts(Event::SessionRefused { name }), None)
            .unwrap();
    }
    drop(store);
    // Nobody knows of any record.
    for known in ["projection", "tlog", "log.key", "log.pub"] {
        let path = dir.path().join(known);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut bytes = std::fs::read(segment(dir.path())).unwrap();
    bytes[1024..2048].fill(0);
    std::fs::write(segment(dir.path()), bytes).unwrap();
    match try_open(dir.path()).err() {
        Some(OpenError::Damaged(error)) => assert_eq!(error.seq, 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_whose_header_was_never_flushed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), &[10]);
    let next = dir.path().join("journal/00000000000000000001.seg");
    std::fs::write(&next, [0; 56]).unwrap();
    append(dir.path(), &[10]);
    assert_eq!(verify(dir.path()).unwrap().records, 2);
    // Not where its records are known.
    std::fs::write(&next, [0; 56]).unwrap();
    assert!(matches!(
        try_open(dir.path()),
        Err(OpenError::Damaged(_) | OpenError::Shortened { .. })
    ));
}
