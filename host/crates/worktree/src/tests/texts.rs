//! Reading a commit's texts.

use super::fixture::{Fixture, message, run};
use selfheal_domain::ports::{Coverage, ReadLimits, Repository};
use std::time::Duration;

const LIMITS: ReadLimits = ReadLimits {
    files: 100,
    bytes: 1 << 20,
    file_bytes: 1 << 10,
    time: Duration::from_secs(60),
};

fn read(fixture: &Fixture, limits: ReadLimits) -> (Vec<(String, String)>, Coverage) {
    let repository = fixture.open();
    let snapshot = repository.snapshot(run(1), &message("snapshot")).unwrap();
    let mut texts = Vec::new();
    let coverage = repository
        .read_files(
            &snapshot.commit,
            limits,
            &|path| path.ends_with(".py"),
            &mut |path, text| texts.push((path.to_owned(), text.to_owned())),
        )
        .unwrap();
    (texts, coverage)
}

#[test]
fn what_is_wanted_is_read_and_links_are_not_followed() {
    let fixture = Fixture::new(&[("shop/cart.py", "a\n"), ("b.py", "b\n"), ("c.txt", "c\n")]);
    std::os::unix::fs::symlink("/etc/passwd", fixture.root.join("link.py")).unwrap();
    fixture.git(&["add", "-A"]);
    fixture.git(&["commit", "-q", "-m", "link"]);
    // The live tree counts as the snapshot has it.
    fixture.write("b.py", "changed\n");
    let (mut texts, coverage) = read(&fixture, LIMITS);
    texts.sort();
    let expected = [("b.py", "changed\n"), ("shop/cart.py", "a\n")];
    assert_eq!(
        texts,
        expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
    );
    assert_eq!(coverage, Coverage::Whole);
}

#[test]
fn every_limit_says_that_something_is_missing() {
    let fixture = Fixture::new(&[("a.py", "a\n"), ("b.py", "b\n")]);
    for limits in [
        ReadLimits { files: 1, ..LIMITS },
        ReadLimits { bytes: 1, ..LIMITS },
        ReadLimits {
            file_bytes: 1,
            ..LIMITS
        },
        ReadLimits {
            time: Duration::ZERO,
            ..LIMITS
        },
    ] {
        assert_eq!(read(&fixture, limits).1, Coverage::Part, "{limits:?}");
    }
    let all = ReadLimits { files: 2, ..LIMITS };
    assert_eq!(read(&fixture, all).0.len(), 2);
}
