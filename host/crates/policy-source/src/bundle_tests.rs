//! Bundles that are right come through whole; everything else leaves the store empty.

use super::*;
use crate::component::custom_section;
use crate::registry::Registries;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn component(text: &[u8]) -> Vec<u8> {
    [&HEADER[..], &custom_section(b"name", text)].concat()
}

struct World {
    home: tempfile::TempDir,
    store: ModuleStore,
}

fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let store = ModuleStore::open(&home.path().join("modules")).unwrap();
    World { home, store }
}

fn offline(store: Option<ModuleStore>) -> Sources {
    Sources::new(store, Registries::offline())
}

fn a_bundle(home: &Path) -> Vec<u8> {
    let path = home.join("a.wasm");
    fs::write(&path, component(b"a")).unwrap();
    fs::write(home.join("a.wasm.sig"), b"signature").unwrap();
    let mut out = Vec::new();
    let modules = [("a".to_owned(), SourceRef::File(path))];
    save(&modules, &offline(None), &mut out).unwrap();
    out
}

type Entry = (Vec<u8>, Vec<u8>, tar::EntryType);

fn entries(bundle: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(bundle);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path_bytes().into_owned();
        found.push((path, bytes, entry.header().entry_type()));
    }
    found
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes, kind) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // As an attacker would: no check of the path.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        archive.append(&header, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn modules_travel_with_their_signatures() {
    let here = world();
    let text = here.home.path().join("t.wat");
    fs::write(&text, "(component)").unwrap();
    let stored = here.store.put(&component(b"stored"), None).unwrap();
    let path = here.home.path().join("a.wasm");
    fs::write(&path, component(b"a")).unwrap();
    fs::write(here.home.path().join("a.wasm.sig"), b"signature").unwrap();
    let modules = [
        ("a".to_owned(), SourceRef::File(path)),
        ("b".to_owned(), SourceRef::Stored(stored)),
    ];
    let sources = offline(Some(here.store.clone()));
    let mut bundle = Vec::new();
    let saved = save(&modules, &sources, &mut bundle).unwrap();
    let mut again = Vec::new();
    save(&modules, &sources, &mut again).unwrap();
    assert_eq!(bundle, again);

    let there = world();
    let loaded = load(bundle.as_slice(), &there.store).unwrap();
    assert_eq!(loaded, saved);
    let a = there.store.get(&loaded[0].digest).unwrap().unwrap();
    assert_eq!(a.bytes, component(b"a"));
    assert_eq!(a.signature.as_deref(), Some(&b"signature"[..]));
    assert!(
        there
            .store
            .get(&stored)
            .unwrap()
            .unwrap()
            .signature
            .is_none()
    );
    // The manifest came along, so its pinned reference is good without a network.
    let reference = format!("oci://nowhere.example/a@sha256:{}", loaded[0].manifest);
    let source = SourceRef::parse(&reference).unwrap();
    let fetched = offline(Some(there.store.clone())).fetch(&source).unwrap();
    assert_eq!(fetched, a);

    assert!(matches!(
        save(
            &[("t".to_owned(), SourceRef::File(text))],
            &sources,
            Vec::new()
        ),
        Err(BundleProblem::NotAComponent(_))
    ));
}

#[test]
fn nothing_hostile_gets_in_and_nothing_else_with_it() {
    let here = world();
    let good = entries(&a_bundle(here.home.path()));
    let regular = tar::EntryType::Regular;
    let blob = |bytes: &[u8]| format!("{BLOBS}{}", Digest::of(bytes)).into_bytes();
    let with = |path: &[u8], bytes: &[u8], kind| {
        let mut entries = good.clone();
        entries.push((path.to_vec(), bytes.to_vec(), kind));
        packed(&entries)
    };
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = good.clone();
        change(&mut entries);
        packed(&entries)
    };
    let some = b"some".as_slice();
    let hostile = [
        with(b"../../etc/cron.d/x", some, regular),
        with(b"/etc/x", some, regular),
        with(b"blobs/sha256/../../x", some, regular),
        with(b"blobs/sha256/x", some, regular),
        with(b"readme", some, regular),
        with(&blob(some), b"", tar::EntryType::Symlink),
        with(&blob(some), b"", tar::EntryType::Link),
        with(&blob(some), b"", tar::EntryType::Fifo),
        with(&blob(some), b"", tar::EntryType::Char),
        with(&blob(some), some, tar::EntryType::GNUSparse),
        with(
            b"x",
            b"30 path=blobs/sha256/../../../x\n",
            tar::EntryType::XHeader,
        ),
        with(b"././@LongLink", some, tar::EntryType::GNULongName),
        with(b"other/", b"", tar::EntryType::Directory),
        // Another content than the name says.
        with(&blob(some), b"else", regular),
        // Twice.
        with(b"index.json", &good[1].1, regular),
        with(&good[2].0, &good[2].1, regular),
        // Without one of its parts.
        changed(&|entries| drop(entries.remove(0))),
        changed(&|entries| drop(entries.remove(1))),
        changed(&|entries| drop(entries.remove(2))),
        changed(&|entries| drop(entries.remove(3))),
        changed(&|entries| drop(entries.remove(4))),
        changed(&|entries| entries[0].1 = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec()),
        changed(&|entries| entries[1].1 = br#"{"schemaVersion":1,"manifests":[]}"#.to_vec()),
        changed(&|entries| entries[1].1 = b"{".to_vec()),
        Vec::from(some),
    ];
    for (number, bundle) in hostile.iter().enumerate() {
        assert!(load(bundle.as_slice(), &here.store).is_err(), "{number}");
        assert_eq!(here.store.list().unwrap(), [], "{number}");
    }
    assert_eq!(
        load(packed(&good).as_slice(), &here.store).unwrap().len(),
        1
    );
}

#[test]
fn bombs_are_refused_before_they_are_read() {
    let here = world();
    // A blob that announces a petabyte, in an archive that never ends.
    let mut header = tar::Header::new_gnu();
    header
        .set_path(format!("{BLOBS}{}", Digest::of(b"")))
        .unwrap();
    header.set_size(1 << 50);
    header.set_mode(0o644);
    header.set_cksum();
    let endless = header.as_bytes().chain(io::repeat(7));
    assert!(matches!(
        load(endless, &here.store),
        Err(BundleProblem::TooLarge(_))
    ));
    // Entries without end.
    let directory = packed(&[(b"blobs/".to_vec(), Vec::new(), tar::EntryType::Directory)]);
    let many = directory[..512].repeat(MOST_ENTRIES + 1);
    assert!(matches!(
        load(many.as_slice(), &here.store),
        Err(BundleProblem::TooLarge(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_bundle_brings_nothing_wrong(at in 0usize..20_000, byte: u8) {
        let here = world();
        let mut bundle = a_bundle(here.home.path());
        if let Some(place) = bundle.get_mut(at) {
            *place = byte;
        }
        if load(bundle.as_slice(), &here.store).is_ok() {
            for digest in here.store.list().unwrap() {
                prop_assert_eq!(digest, Digest::of(&component(b"a")));
            }
        }
    }
}
