//! Any mixture of committed, staged and live versions of some files, healed and
//! rolled back, is what it was before; what the user had not committed stays
//! exactly as uncommitted as it was.

use super::fixture::{Fixture, message, patch, run};
use proptest::prelude::*;
use selfheal_domain::ports::{Repository, RepositoryError};

/// A file of twelve lines; a set bit is a changed line. None: there is no file.
type Version = Option<u16>;

#[derive(Clone, Debug)]
struct File {
    committed: Version,
    staged: Version,
    live: Version,
    patched: Version,
    executable: bool,
}

fn text(version: Version, salt: &str) -> Option<String> {
    version.map(|bits| {
        (0..12)
            .map(|line| {
                if bits & (1 << line) == 0 {
                    format!("line {line}\n")
                } else {
                    format!("line {line} {salt}\n")
                }
            })
            .collect()
    })
}

fn bits() -> impl Strategy<Value = u16> {
    prop_oneof![3 => Just(0_u16), 3 => (0..12_u16).prop_map(|line| 1 << line), 1 => 0..4096_u16]
}

fn file() -> impl Strategy<Value = File> {
    (bits(), bits(), bits(), bits(), 0..24_u8, any::<bool>()).prop_map(
        |(committed, staged, live, patched, kind, executable)| {
            let staged = committed ^ staged;
            let live = staged ^ live;
            let patched = live ^ patched;
            let mut file = File {
                committed: Some(committed),
                staged: Some(staged),
                live: Some(live),
                patched: Some(patched),
                executable,
            };
            match kind {
                // Untracked.
                0 | 1 => (file.committed, file.staged) = (None, None),
                // Staged as new.
                2 => file.committed = None,
                // Added by the patch.
                3 | 4 => (file.committed, file.staged, file.live) = (None, None, None),
                // Removed by the patch.
                5 | 6 => {
                    file.staged = file.committed;
                    file.live = file.committed;
                    file.patched = None;
                }
                // Removed by the patch, though dirty.
                7 => file.patched = None,
                // Staged as removed, still there.
                8 => file.staged = None,
                // Removed by the user.
                9 => (file.live, file.patched) = (None, None),
                _ => {}
            }
            file
        },
    )
}

/// The lines of a diff, without where they are.
fn changes(diff: &str) -> Vec<&str> {
    diff.lines()
        .filter(|line| {
            (line.starts_with('+') && !line.starts_with("+++"))
                || (line.starts_with('-') && !line.starts_with("---"))
        })
        .collect()
}

fn put(app: &Fixture, path: &str, content: Option<String>, executable: bool) {
    match content {
        Some(content) => {
            app.write(path, &content);
            app.chmod(path, if executable { 0o755 } else { 0o644 });
        }
        None => {
            let _ = std::fs::remove_file(app.root.join(path));
        }
    }
}

fn check(files: &[File]) -> Result<(), TestCaseError> {
    let app = Fixture::new(&[("keep", "keep\n")]);
    let paths = ["a.py", "d/b.py", "d/e/c.py"];
    for (path, file) in paths.iter().zip(files) {
        put(
            &app,
            path,
            text(file.committed, "committed"),
            file.executable,
        );
    }
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    for (path, file) in paths.iter().zip(files) {
        put(&app, path, text(file.staged, "committed"), file.executable);
    }
    app.git(&["add", "-A"]);
    let mut changed = Vec::new();
    for (path, file) in paths.iter().zip(files) {
        let live = text(file.live, "committed");
        put(&app, path, live.clone(), file.executable);
        changed.push((*path, live, text(file.patched, "committed")));
    }
    let patch = patch(
        &changed
            .iter()
            .map(|(path, before, after)| (*path, before.as_deref(), after.as_deref()))
            .collect::<Vec<_>>(),
    );
    // The patch changes no line that the user has changed and not committed.
    let apart =
        files.iter().all(
            |file| match (file.committed, file.staged, file.live, file.patched) {
                (Some(committed), Some(staged), Some(live), Some(patched)) => {
                    (live ^ patched) & ((committed ^ staged) | (staged ^ live)) == 0
                }
                _ => false,
            },
        );
    let before = app.seen();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let (staged, unstaged) = (app.git(&["diff", "--cached"]), app.git(&["diff"]));
    let applied = repo.apply_run(run(1), &snapshot, &patch, &message("Fix"));
    match &applied {
        Ok(_) => {
            for (path, _, after) in &changed {
                let now = std::fs::read_to_string(app.root.join(path)).ok();
                prop_assert_eq!(&now, after, "{}", path);
            }
            if apart {
                let (now_staged, now_unstaged) =
                    (app.git(&["diff", "--cached"]), app.git(&["diff"]));
                prop_assert_eq!(changes(&now_staged), changes(&staged));
                prop_assert_eq!(changes(&now_unstaged), changes(&unstaged));
            }
        }
        Err(RepositoryError::Conflict(_)) => {}
        Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
    }
    let undone = repo
        .roll_back_run(run(1), &snapshot, &patch, &message("Undo"))
        .unwrap();
    prop_assert_eq!(undone.is_some(), applied.is_ok());
    prop_assert_eq!(app.seen(), before);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(files in proptest::collection::vec(file(), 1..=3)) {
        check(&files)?;
    }
}

#[test]
#[ignore = "minutes; for a thorough look"]
fn any_tree_comes_back_thoroughly() {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest::test_runner::TestRunner::new(config)
        .run(&proptest::collection::vec(file(), 1..=3), |files| {
            check(&files)
        })
        .unwrap();
}
