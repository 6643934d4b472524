//! The published log: what it holds, that it is made again, and that it convicts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_audit::merkle::{leaf_hash, verify_inclusion};
use selfheal_audit::note::LogVerifier;
use selfheal_domain::event::Event;
use selfheal_domain::ports::EventStore;
use selfheal_store::{JournalStore, LogError, OpenError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::*;

/// A closed store of `count` records; `odd` is another one's, if any.
fn written(dir: &Path, count: u64, odd: Option<u64>) {
    let store = open(dir);
    for number in 0..count {
        let name = match odd {
            Some(odd) if odd == number => "somebody else".to_owned(),
            _ => format!("visitor {number}"),
        };
        store
            .append(hosts(Event::SessionRefused { name }), None)
            .unwrap();
    }
}

fn key(dir: &Path) -> LogVerifier {
    LogVerifier::parse(&std::fs::read_to_string(dir.join("log.pub")).unwrap()).unwrap()
}

/// Puts the journal of `other` in the place of that of `dir`.
fn replace_journal(dir: &Path, other: &Path) {
    for part in ["journal", "projection"] {
        std::fs::remove_dir_all(dir.join(part)).unwrap();
        std::fs::rename(other.join(part), dir.join(part)).unwrap();
    }
}

#[test]
fn tiles_and_a_signed_head_are_published_and_prove_records() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 700, None);
    let secret = std::fs::metadata(dir.path().join("log.key")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    for (tile, bytes) in [
        ("tile/0/000", 8192),
        ("tile/0/001", 8192),
        ("tile/entries/001", 8704),
    ] {
        let path = dir.path().join("tlog").join(tile);
        assert_eq!(std::fs::metadata(path).unwrap().len(), bytes, "{tile}");
    }
    assert!(!dir.path().join("tlog/tile/0/002").exists(), "not full yet");

    let report = verify(dir.path()).unwrap();
    let note = std::fs::read_to_string(dir.path().join("tlog/checkpoint")).unwrap();
    let signed = key(dir.path()).open(&note).unwrap();
    assert_eq!((signed.size, signed.root), (700, report.merkle_root));
    assert_eq!(report.signed, Some(signed));

    let store = open(dir.path());
    let log = store.audit_log().unwrap();
    let head = log.signed_head().unwrap();
    assert_eq!((head.size, head.head), store.head());
    assert_eq!(head.key, key(dir.path()).to_string());
    for (path, bytes) in [
        ("tile/0/000", Some(8192)),
        ("tile/0/001.p/5", Some(160)),
        ("tile/0/002.p/188", Some(188 * 32)),
        ("tile/0/002.p/189", None),
        ("tile/0/002", None),
        ("tile/1/000.p/2", Some(64)),
        ("tile/entries/002.p/188", Some(188 * 34)),
        ("tile/entries/../000", None),
        ("checkpoint", None),
    ] {
        let found = log.tile(path).unwrap().map(|bytes| bytes.len());
        assert_eq!(found, bytes, "{path}");
    }
    for index in [0, 255, 256, 511, 512, 699] {
        let proof = log.prove(index).unwrap().unwrap();
        assert_eq!(proof.record, store.record(index).unwrap().unwrap().hash);
        let leaf = leaf_hash(&proof.record.0);
        let root = proof.head.root;
        assert!(verify_inclusion(leaf, index, 700, &proof.hashes, root));
        assert_eq!(selfheal_store::prove(dir.path(), index).unwrap(), proof);
    }
    assert_eq!(log.prove(700).unwrap(), None);
    let none = selfheal_store::prove(dir.path(), 700);
    assert!(matches!(none, Err(LogError::NoRecord { size: 700, .. })));
}

#[test]
fn heads_follow_the_records_of_a_running_host() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let checkpoint = dir.path().join("tlog/checkpoint");
    let signed = || key(dir.path()).open(&std::fs::read_to_string(&checkpoint).unwrap());
    assert_eq!(signed().unwrap().size, 0);
    store.append(hosts(Event::HostStopped), None).unwrap();
    let start = std::time::Instant::now();
    while signed().unwrap().size != 1 {
        assert!(start.elapsed().as_secs() < 60, "no head was signed");
        std::thread::yield_now();
    }
    // Whoever asks gets that of now.
    store.append(hosts(Event::HostStopped), None).unwrap();
    assert_eq!(store.audit_log().unwrap().signed_head().unwrap().size, 2);
    assert_eq!(signed().unwrap().size, 2);
    assert_eq!(verify(dir.path()).unwrap().records, 2);
}

#[test]
fn a_history_that_was_rewritten_with_right_hashes_is_convicted() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    written(dir.path(), 600, None);
    written(other.path(), 600, Some(300));
    replace_journal(dir.path(), other.path());
    let fault = wrong(dir.path());
    assert_eq!(fault.seq, 300);
    assert!(fault.why.contains("rewritten"), "{fault}");
    match try_open(dir.path()).err().unwrap() {
        OpenError::Damaged(error) => assert!(error.why.contains("rewritten"), "{error}"),
        other => panic!("{other}"),
    }
    // Where the attacker removed the tiles as well, the head still tells.
    std::fs::remove_dir_all(dir.path().join("tlog/tile")).unwrap();
    assert!(wrong(dir.path()).why.contains("rewritten as a whole"));
    // And where everything was replaced, the auditor's copy of the key.
    let trusted = key(dir.path());
    for file in ["log.pub", "log.key", "tlog/checkpoint"] {
        std::fs::rename(other.path().join(file), dir.path().join(file)).unwrap();
    }
    assert_eq!(verify(dir.path()).unwrap().records, 600);
    let error = selfheal_store::verify(dir.path(), Some(&trusted)).unwrap_err();
    assert!(error.to_string().contains("not signed by"), "{error}");
}

#[test]
fn changed_tiles_and_heads_that_are_gone_or_forged_are_told() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 600, None);
    let tile = dir.path().join("tlog/tile/entries/001");
    let right = std::fs::read(&tile).unwrap();
    let mut changed = right.clone();
    changed[34 * 7 + 9] ^= 1;
    std::fs::write(&tile, changed).unwrap();
    let fault = wrong(dir.path());
    assert_eq!(fault.seq, 256 + 7);
    assert!(fault.why.contains("tiles that were changed"), "{fault}");
    std::fs::write(&tile, right).unwrap();
    assert_eq!(verify(dir.path()).unwrap().records, 600);

    let checkpoint = dir.path().join("tlog/checkpoint");
    let note = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, note.replace("\n600\n", "\n599\n")).unwrap();
    let error = verify(dir.path()).unwrap_err().to_string();
    assert!(error.contains("signature"), "{error}");
    assert!(matches!(try_open(dir.path()), Err(OpenError::Published(_))));
    std::fs::remove_file(&checkpoint).unwrap();
    assert!(matches!(verify(dir.path()), Err(LogError::NoHead(_))));
    std::fs::write(&checkpoint, note).unwrap();
    let public = dir.path().join("log.pub");
    let text = std::fs::read(&public).unwrap();
    std::fs::remove_file(&public).unwrap();
    assert!(matches!(verify(dir.path()), Err(LogError::NoKey(_))));
    std::fs::write(&public, text).unwrap();
    std::fs::remove_file(dir.path().join("log.key")).unwrap();
    let error = try_open(dir.path()).err().unwrap();
    assert!(chain(&error).contains("restore the key"), "{error}");
}

#[test]
fn tiles_are_made_again_where_they_are_missing_or_lost_to_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 600, None);
    let tiles = dir.path().join("tlog/tile");
    let entries = tiles.join("entries/001");
    let right = std::fs::read(&entries).unwrap();
    std::fs::remove_dir_all(&tiles).unwrap();
    drop(open(dir.path()));
    assert_eq!(std::fs::read(&entries).unwrap(), right);
    // Its size came to disk, its content did not.
    std::fs::write(&entries, vec![0; right.len()]).unwrap();
    std::fs::write(dir.path().join("projection/open"), "another boot").unwrap();
    assert!(open(dir.path()).was_rebuilt());
    assert_eq!(std::fs::read(&entries).unwrap(), right);
    assert_eq!(verify(dir.path()).unwrap().records, 600);
}

#[test]
fn a_journal_of_the_first_version_is_read_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    std::fs::create_dir_all(&journal).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1");
    for file in std::fs::read_dir(fixture).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), journal.join(file.file_name())).unwrap();
    }
    // It never had a key: it is verified for what it is.
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.records, report.signed), (17, None));
    let head = "6049c5e58065aa46310f257ecbcba9abc8994af1c41ffab5833846bb98f0c1e6";
    assert_eq!(report.head.to_string(), head);

    let store = open(dir.path());
    let before = view(&store);
    assert_eq!(before.issues.len(), 6);
    let commented = before.issues.iter().find(|(issue, _)| issue.number.0 == 2);
    let (issue, records) = commented.unwrap();
    assert_eq!(issue.comments[0].author, "rita");
    assert_eq!(
        issue.comments[0].content,
        "It was fine in May; call rita@example.org"
    );
    assert_eq!((issue.runs.len(), records.len()), (1, 4));
    assert_eq!(before.accounts.len(), 1);
    assert!(before.switches.frozen);
    store.append(comment(1, "and on it goes"), None).unwrap();
    drop(store);
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.records, 18);
    assert_eq!(report.signed.unwrap().size, 18);
}

#[test]
fn a_store_that_is_full_of_waiting_writers_loses_nothing() {
    // More writers than the queue has places wait; each gets its answer.
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.queue = 2;
    let store = JournalStore::open(dir.path(), options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..24 {
            let store = &store;
            scope.spawn(move || {
                for turn in 0..20 {
                    let name = format!("{thread}/{turn}");
                    let record = store
                        .append(hosts(Event::SessionRefused { name }), None)
                        .unwrap();
                    let kept = store.record(record.seq).unwrap().unwrap();
                    assert_eq!(kept, record);
                }
            });
        }
    });
    assert_eq!(store.head().0, 24 * 20);
    drop(store);
    assert_eq!(verify(dir.path()).unwrap().records, 24 * 20);
}
