//! Whatever is done to the journal's files is found and named; only an append that
//! was never finished is moved aside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use proptest::prelude::*;
use selfheal_domain::event::Event;
use selfheal_domain::ports::EventStore;
use selfheal_store::{JournalReader, JournalStore, Location, OpenError};
use std::path::{Path, PathBuf};
use support::*;

const FRAME: u64 = 12;

fn segment(dir: &Path) -> PathBuf {
    dir.join("journal/00000000000000000000.seg")
}

/// A closed store with `count` records; says where each lies.
fn written(dir: &Path, count: u64) -> Vec<Location> {
    let store = open(dir);
    for number in 1..=count {
        store.append(opened(number), None).unwrap();
    }
    drop(store);
    let reader = JournalReader::open(dir).unwrap();
    reader.map(|record| record.unwrap().location).collect()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// The record that both `verify` and opening complain about.
fn found(dir: &Path) -> (u64, u64) {
    let before = std::fs::read(segment(dir)).unwrap();
    let fault = wrong(dir);
    match try_open(dir).err() {
        Some(OpenError::Damaged(same)) => {
            assert_eq!((same.seq, same.offset), (fault.seq, fault.offset));
            assert!(
                same.to_string().contains("restore"),
                "says what to do: {same}"
            );
            assert!(same.to_string().contains(".seg"), "says where: {same}");
        }
        other => panic!(
            "opened a damaged journal: {:?}",
            other.map(|it| it.to_string())
        ),
    }
    assert_eq!(std::fs::read(segment(dir)).unwrap(), before, "untouched");
    (fault.seq, fault.offset)
}

fn frame(bytes: &[u8], location: Location) -> Vec<u8> {
    let start = location.offset as usize;
    bytes[start..start + FRAME as usize + location.length as usize].to_vec()
}

#[test]
fn a_changed_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 6);
    let at = places[3].offset;
    edit(&segment(dir.path()), |bytes| {
        let text = b"sealed:1:";
        let from = at as usize;
        let found = bytes[from..].windows(text.len()).position(|it| it == text);
        bytes[from + found.unwrap()] = b'S';
    });
    assert_eq!(found(dir.path()), (3, at));
}

#[test]
fn a_record_that_was_removed_is_named_even_with_a_right_frame() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 6);
    edit(&segment(dir.path()), |bytes| {
        let start = places[2].offset as usize;
        bytes.drain(start..places[3].offset as usize);
    });
    assert_eq!(found(dir.path()), (2, places[2].offset));
}

#[test]
fn records_that_were_swapped_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 6);
    edit(&segment(dir.path()), |bytes| {
        let (one, two) = (frame(bytes, places[1]), frame(bytes, places[2]));
        let start = places[1].offset as usize;
        let both = [two, one].concat();
        bytes[start..start + both.len()].copy_from_slice(&both);
    });
    assert_eq!(found(dir.path()).0, 1);
}

#[test]
fn a_changed_header_and_a_missing_segment_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.segment_bytes = 700;
    let store = JournalStore::open(dir.path(), options).unwrap();
    for number in 1..=12 {
        store.append(opened(number), None).unwrap();
    }
    let before = view(&store);
    drop(store);
    assert_eq!(verify(dir.path()).unwrap().records, 12);
    assert_eq!(view(&open(dir.path())), before);

    let mut segments: Vec<_> = std::fs::read_dir(dir.path().join("journal"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    let second = std::fs::read(&segments[1]).unwrap();
    edit(&segments[1], |bytes| bytes[20] ^= 1);
    let wrong = support::wrong(dir.path());
    assert!(wrong.to_string().contains("header"), "{wrong}");
    std::fs::remove_file(&segments[1]).unwrap();
    let wrong = support::wrong(dir.path());
    assert!(wrong.to_string().contains("is missing"), "{wrong}");
    assert!(matches!(try_open(dir.path()), Err(OpenError::Damaged(_))));
    std::fs::write(&segments[1], second).unwrap();
    // The end of a segment that others follow was never torn.
    let length = std::fs::metadata(&segments[1]).unwrap().len();
    edit(&segments[1], |bytes| bytes.truncate(length as usize - 3));
    assert!(support::wrong(dir.path()).why.contains("others follow"));
    assert!(try_open(dir.path()).is_err());
}

#[test]
fn an_append_that_was_never_finished_is_moved_aside() {
    let finish = |dir: &Path, tail: &[u8]| {
        let places = written(dir, 3);
        let store = open(dir);
        let before = view(&store);
        drop(store);
        let end = places[2].offset + FRAME + u64::from(places[2].length);
        edit(&segment(dir), |bytes| bytes.extend_from_slice(tail));
        (before, end)
    };
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        let places = written(dir.path(), 4);
        frame(&std::fs::read(segment(dir.path())).unwrap(), places[3])
    };
    let zeros = vec![0; 5000];
    for tail in [&whole[..5], &whole[..12], &whole[..whole.len() - 1], &zeros] {
        let dir = tempfile::tempdir().unwrap();
        let (before, end) = finish(dir.path(), tail);
        let wrong = support::wrong(dir.path());
        assert_eq!((wrong.seq, wrong.offset), (3, end));
        assert!(wrong.why.contains("cut off"), "{wrong}");
        let store = open(dir.path());
        assert!(!store.was_rebuilt());
        assert_eq!(view(&store), before);
        let aside = segment(dir.path())
            .with_file_name(format!("unfinished-00000000000000000000.seg-{end}"));
        assert_eq!(std::fs::read(aside).unwrap(), tail);
        store.append(opened(4), None).unwrap();
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().records, 4);
    }
}

#[test]
fn a_running_host_may_be_in_the_middle_of_an_append() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3);
    let store = open(dir.path());
    edit(&segment(dir.path()), |bytes| bytes.extend([0, 0, 1]));
    assert_eq!(verify(dir.path()).unwrap().records, 3);
    drop(store);
    assert!(verify(dir.path()).is_err());
}

#[test]
fn acknowledged_records_that_are_gone_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 5);
    // Cut exactly between two records: nothing in the journal itself shows it, but its
    // head was signed.
    let end = places[3].offset as usize;
    edit(&segment(dir.path()), |bytes| bytes.truncate(end));
    let wrong = support::wrong(dir.path());
    assert_eq!(wrong.seq, 3);
    assert!(wrong.why.contains("vouches for 5"), "{wrong}");
    let error = try_open(dir.path()).err().unwrap();
    assert!(matches!(
        error,
        OpenError::Shortened {
            found: 3,
            known: 5,
            ..
        }
    ));
    assert!(error.to_string().contains("backup"), "{error}");
    // Without the projection the signed head still tells.
    std::fs::rename(dir.path().join("projection"), dir.path().join("elsewhere")).unwrap();
    let before = std::fs::read(segment(dir.path())).unwrap();
    match try_open(dir.path()).err().unwrap() {
        OpenError::Damaged(error) => assert_eq!(error.seq, 3),
        other => panic!("{other}"),
    }
    assert_eq!(std::fs::read(segment(dir.path())).unwrap(), before);
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("projection")).unwrap();
    // Cut within the last acknowledged record: not taken for an unfinished append.
    edit(&segment(dir.path()), |bytes| bytes.extend([0, 0]));
    let length = std::fs::metadata(segment(dir.path())).unwrap().len();
    assert!(matches!(
        try_open(dir.path()),
        Err(OpenError::Shortened { .. })
    ));
    assert_eq!(
        std::fs::metadata(segment(dir.path())).unwrap().len(),
        length
    );
}

#[test]
fn a_segment_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("journal")).unwrap();
    std::fs::write(segment(dir.path()), b"SELFH").unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    drop(store);
    assert_eq!(verify(dir.path()).unwrap().records, 1);
    let next = dir.path().join("journal/00000000000000000001.seg");
    std::fs::write(&next, b"").unwrap();
    let store = open(dir.path());
    store.append(opened(2), None).unwrap();
    drop(store);
    assert_eq!(verify(dir.path()).unwrap().records, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any single bit, anywhere.
    #[test]
    fn any_flipped_bit_is_found(place in 0.0..1.0_f64, bit in 0..8_u32) {
        let dir = tempfile::tempdir().unwrap();
        let places = written(dir.path(), 4);
        let length = std::fs::metadata(segment(dir.path())).unwrap().len();
        let byte = (length as f64 * place) as usize;
        edit(&segment(dir.path()), |bytes| bytes[byte] ^= 1 << bit);
        let (seq, _) = found(dir.path());
        let wanted = places.iter().rposition(|it| it.offset <= byte as u64).unwrap_or(0);
        prop_assert_eq!(seq, wanted as u64);
    }

    /// Random records, legal or not: what was accepted is what is there, also after
    /// the projection was lost.
    #[test]
    fn whatever_is_appended_survives_the_loss_of_the_projection(
        choices in proptest::collection::vec((0..4_u64, 0..7_u8), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut accepted = 0;
        for (number, kind) in choices {
            let record = match kind {
                0 | 1 => opened(store.last_issue_number().unwrap() + 1),
                2 => about(number, approved()),
                3 => about(number, diagnosis_started()),
                4 => about(number, Event::RunInterrupted),
                5 => about(number, Event::IssueRejected { reason: "no".to_owned() }),
                _ => comment(number, &"long ".repeat(number as usize * 5_000)),
            };
            accepted += u64::from(store.append(record, None).is_ok());
        }
        prop_assert_eq!(store.head().0, accepted);
        let before = view(&store);
        drop(store);
        prop_assert_eq!(&view(&open(dir.path())), &before);
        std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
        prop_assert_eq!(&view(&open(dir.path())), &before);
    }
}
