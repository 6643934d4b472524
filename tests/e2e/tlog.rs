//! Implementations that are not ours (Cloudflare's ports of Go's `sumdb/note` and
//! `sumdb/tlog`) read the log that the real binary makes, and refuse one that was
//! tampered with.

use crate::programs::cart;
use selfheal_tests::{Project, TestHost};
use serde_json::Value;
use sha2::{Digest, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::path::{Path, PathBuf};
use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader, Tile, TileHashReader, TileReader, check_record,
    prove_record, record_hash, stored_hash_index, stored_hashes, tree_hash,
};

/// The checkpoint in a note, if this key signed it.
fn signed(note: &str, key: &str) -> Result<Checkpoint, String> {
    let note = Note::from_bytes(note.as_bytes()).map_err(|e| e.to_string())?;
    let verifier = StandardVerifier::new(key).map_err(|e| e.to_string())?;
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (verified, _) = note.verify(&known).map_err(|e| e.to_string())?;
    assert!(!verified.is_empty());
    Checkpoint::from_bytes(note.text()).map_err(|_| "no checkpoint".to_owned())
}

/// Tiles as the host serves them.
struct Served<'a>(&'a TestHost);

impl Served<'_> {
    fn get(&self, path: &str) -> Vec<u8> {
        let (status, bytes) = self.0.fetch(&self.0.admin, &format!("/audit/tlog/{path}"));
        assert_eq!(status, 200, "{path}");
        bytes
    }
}

impl TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        // The layout of Go's proxy names the height as well.
        let path = |tile: &Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles.iter().map(|tile| self.get(&path(tile))).collect())
    }
    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|at| self.0[*at as usize]).collect())
    }
}

fn segment(data: &Path) -> PathBuf {
    data.join("journal/00000000000000000000.seg")
}

/// The frames of a segment, as host/crates/store/FORMAT.md says.
fn frames(data: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(segment(data)).unwrap();
    let mut rest = &bytes[56..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (frame, after) = rest.split_at(12 + length);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

/// Whether the records in a data directory are those that were signed.
fn holds(data: &Path, note: &str, key: &str) -> Result<u64, String> {
    let checkpoint = signed(note, key)?;
    let mut hashes = Stored(Vec::new());
    let frames = frames(data);
    if (frames.len() as u64) < checkpoint.size() {
        return Err("records are missing".to_owned());
    }
    for (number, frame) in (0..checkpoint.size()).zip(&frames) {
        let entry = Sha256::digest(&frame[12..frame.len() - 32]);
        let more = stored_hashes(number, &entry, &hashes).map_err(|e| e.to_string())?;
        hashes.0.extend(more);
    }
    let root = tree_hash(checkpoint.size(), &hashes).map_err(|e| e.to_string())?;
    if root == *checkpoint.hash() {
        Ok(checkpoint.size())
    } else {
        Err("another root".to_owned())
    }
}

/// A copy of the data that a verifier needs, with another journal.
fn tampered(project: &Project, data: &Path, name: &str, frames: &[Vec<u8>]) -> PathBuf {
    let copy = project.outside().join(name);
    for directory in ["journal", "tlog"] {
        std::fs::create_dir_all(copy.join(directory)).unwrap();
    }
    for file in ["log.pub", "tlog/checkpoint"] {
        std::fs::copy(data.join(file), copy.join(file)).unwrap();
    }
    let header = std::fs::read(segment(data)).unwrap()[..56].to_vec();
    let bytes = [header, frames.concat()].concat();
    std::fs::write(segment(&copy), bytes).unwrap();
    copy
}

#[test]
fn a_public_implementation_accepts_our_log_and_refuses_a_tampered_one() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    for turn in 0..4 {
        let text = serde_json::json!({ "content": format!("still so, {turn}") });
        host.admin("POST", &format!("/issues/{number}/comments"), Some(text));
    }
    let shown = host.admin("GET", "/audit/checkpoint", None);
    let (key, note) = (
        shown["key"].as_str().unwrap().to_owned(),
        shown["checkpoint"].as_str().unwrap().to_owned(),
    );
    let checkpoint = signed(&note, &key).unwrap();
    assert_eq!(shown["size"], checkpoint.size());
    assert_eq!(shown["origin"], checkpoint.origin());
    let served = Served(&host);
    // Two signatures of one head are the same.
    assert_eq!(served.get("checkpoint"), note.as_bytes());

    // Every record, through tiles and bundles.
    let size = checkpoint.size();
    assert!((5..256).contains(&size), "{size}");
    let reader = TileHashReader::new(size, *checkpoint.hash(), &served);
    let bundle = served.get(&format!("tile/entries/000.p/{size}"));
    let page = host.admin("GET", "/audit?limit=200", None);
    for index in 0..size {
        let at = index as usize;
        let entry = &bundle[at * 34..(at + 1) * 34];
        assert_eq!(entry[..2], [0, 32]);
        let hex: String = entry[2..]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(page["items"][at]["hash"], hex);
        let leaf = reader.read_hashes(&[stored_hash_index(0, index)]).unwrap();
        assert_eq!(leaf, [record_hash(&entry[2..])]);
        let proof = prove_record(size, index, &reader).unwrap();
        check_record(&proof, size, *checkpoint.hash(), index, leaf[0]).unwrap();
        // Ours is the same.
        let ours = host.admin("GET", &format!("/audit/proof/{index}"), None);
        let theirs: Vec<Value> = proof
            .iter()
            .map(|hash| hash.0.iter().map(|byte| format!("{byte:02x}")).collect())
            .map(Value::String)
            .collect();
        assert_eq!(ours["proof"], Value::Array(theirs), "{index}");
    }

    drop(host);
    let outside = project.outside();
    let data = outside.join("data");
    let run = |arguments: &[&str]| project.selfheal_in(&outside, arguments);
    let note = std::fs::read_to_string(data.join("tlog/checkpoint")).unwrap();
    let whole = frames(&data);
    let size = holds(&data, &note, &key).unwrap();
    assert_eq!(run(&["audit", "verify", "--key", &key]).code, 0);
    let shown = run(&["audit", "checkpoint"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, note.as_str()));

    let mut changed = whole.clone();
    let middle = changed[2].len() / 2;
    changed[2][middle] ^= 1;
    let mut removed = whole.clone();
    removed.remove(2);
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    let mut truncated = whole.clone();
    truncated.truncate(size as usize - 1);
    for (name, frames, first) in [
        ("changed", changed, 2),
        ("removed", removed, 2),
        ("swapped", swapped, 2),
        ("truncated", truncated, size - 1),
    ] {
        let copy = tampered(&project, &data, name, &frames);
        assert!(holds(&copy, &note, &key).is_err(), "{name}");
        let place = copy.display().to_string();
        let told = run(&["audit", "verify", "--data", &place, "--json"]);
        assert_eq!(told.code, 1, "{name}: {told:?}");
        assert_eq!(told.json()["record"], first, "{name}: {told:?}");
    }
    let copy = tampered(&project, &data, "whole", &whole);
    assert_eq!(holds(&copy, &note, &key), Ok(size));

    // What is exported verifies without the journal, and convicts as well.
    let export = run(&["audit", "export"]);
    assert_eq!(export.code, 0, "{export:?}");
    let file = outside.join("audit.jsonl");
    let place = file.display().to_string();
    let verify = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&[
            "audit",
            "verify",
            "--from-export",
            &place,
            "--key",
            &key,
            "--json",
        ])
    };
    let told = verify(&export.stdout);
    assert_eq!(
        (told.code, told.json()["records"].clone()),
        (0, size.into())
    );
    // What people wrote is sealed; what was done is not.
    assert!(!export.stdout.contains("starts too late"), "{export:?}");
    let (was, forged) = (r#""role":"admin""#, r#""role":"guest""#);
    let told = verify(&export.stdout.replacen(was, forged, 1));
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.json()["record"].as_u64().is_some(), "{told:?}");
    for format in ["ocsf", "cef"] {
        let lines = run(&["audit", "export", "--format", format]).stdout;
        assert_eq!(lines.lines().count() as u64, size, "{format}");
    }
    let proof = run(&["audit", "prove", "2"]);
    assert!(
        proof
            .stdout
            .starts_with("c2sp.org/tlog-proof@v1\nindex 2\n")
    );
    assert!(proof.stdout.ends_with(&format!("\n\n{note}")), "{proof:?}");
    assert_eq!(run(&["audit", "prove", "100000"]).code, 1);
}
