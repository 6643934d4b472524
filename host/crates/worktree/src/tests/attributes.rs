//! What is found in an index is what libgit2 finds there.

use super::fixture::Fixture;
use crate::attributes::{Attributes, attribute_files};
use git2::{Index, Oid};

fn as_libgit2(app: &Fixture) -> Vec<(Vec<u8>, u32, Oid)> {
    let index = Index::open(&app.root.join(".git/index")).unwrap();
    let named = index.iter().filter(|entry| {
        let stage = entry.flags & 0x3000;
        let name = entry.path.rsplit(|byte| *byte == b'/').next();
        stage == 0 && name == Some(b".gitattributes".as_slice())
    });
    named
        .map(|entry| (entry.path, entry.mode, entry.id))
        .collect()
}

fn as_we(content: &[u8]) -> Option<Vec<(Vec<u8>, u32, Oid)>> {
    let found = attribute_files(content)?;
    Some(
        found
            .into_iter()
            .map(|(path, mode, id)| (path.to_vec(), mode, id))
            .collect(),
    )
}

fn index_of(app: &Fixture) -> Vec<u8> {
    std::fs::read(app.root.join(".git/index")).unwrap()
}

#[test]
fn what_the_index_names_is_found_whatever_stands_around_it() {
    let long = format!("{}/.gitattributes", "d".repeat(200));
    let deep = format!("{}.gitattributes", "e/".repeat(2_100));
    let names: Vec<String> = (0..40).map(|length| "n".repeat(length + 1)).collect();
    let mut files = vec![
        (".gitattributes", "* -text"),
        ("a/.gitattributes", "*.c text"),
        ("a/x.gitattributes", "no"),
        ("z.gitattributes", "no"),
        (long.as_str(), "*.h text"),
    ];
    files.extend(names.iter().map(|name| (name.as_str(), "x")));
    let app = Fixture::new(&files);
    assert_eq!(as_libgit2(&app).len(), 3);
    assert_eq!(as_we(&index_of(&app)), Some(as_libgit2(&app)));

    // Version 3: an entry with more flags. A path longer than the flags can say.
    app.write("later", "x");
    app.git(&["add", "-N", "later"]);
    let empty = app.git(&["hash-object", "-t", "blob", "-w", "/dev/null"]);
    let info = format!("100644,{},{deep}", empty.trim());
    app.git(&["update-index", "--add", "--cacheinfo", &info]);
    assert_eq!(index_of(&app)[7], 3);
    assert_eq!(as_libgit2(&app).len(), 4);
    assert_eq!(as_we(&index_of(&app)), Some(as_libgit2(&app)));
}

#[test]
fn what_is_not_understood_is_left_to_libgit2() {
    let app = Fixture::new(&[(".gitattributes", "* -text"), ("b", "x"), ("c", "x")]);
    let whole = index_of(&app);
    for end in 0..whole.len() {
        // Twenty bytes of an extension look like a checksum.
        let found = as_we(&whole[..end]);
        assert!(found.is_none() || found == as_we(&whole), "cut at {end}");
    }
    assert_eq!(as_we(&[&whole, &b"more"[..]].concat()), None);
    app.git(&["update-index", "--index-version=4"]);
    assert_eq!(as_we(&index_of(&app)), None);
    app.git(&["update-index", "--index-version=2"]);
    app.git(&["update-index", "--split-index"]);
    assert_eq!(as_we(&index_of(&app)), None);
}

#[test]
fn attributes_count_where_they_stand_in_the_index_alone() {
    let app = Fixture::new(&[
        (".gitattributes", "*.bin filter=lfs"),
        ("sub/.gitattributes", "*.txt ident"),
        ("sub/a.txt", "x"),
        ("b.txt", "x"),
    ]);
    for attributes in [".gitattributes", "sub/.gitattributes"] {
        std::fs::remove_file(app.root.join(attributes)).unwrap();
    }
    for version in ["2", "4"] {
        app.git(&["update-index", &format!("--index-version={version}")]);
        let attributes = Attributes::of(&crate::hardened::open(&app.root).unwrap()).unwrap();
        let refused = |path: &str| attributes.refuse_conversion(path, &[]).is_err();
        assert_eq!(
            ["x.bin", "sub/y.bin", "sub/a.txt", "b.txt"].map(refused),
            [true, true, true, false],
            "index version {version}"
        );
    }
}
