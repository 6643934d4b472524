//! `selfheal heal --apply`: no data directory, no run.

use super::fixture::{FixedClock, Fixture, message, patch};
use crate::{MachineIdentity, discover, heal_commit_now, is_dirty};
use selfheal_domain::ids::CommitId;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::RepositoryError;
use std::sync::Arc;

fn heal(app: &Fixture, patch: &Patch) -> Result<CommitId, RepositoryError> {
    heal_commit_now(
        &app.root,
        patch,
        &message("Fix a"),
        MachineIdentity::of_host("test"),
        Arc::new(FixedClock),
    )
}

#[test]
fn heals_on_the_current_branch_and_leaves_nothing_behind() {
    let app = Fixture::new(&[("a", "a\n"), ("sub/b", "b\n")]);
    app.write("sub/b", "b dirty\n");
    let found = discover(&app.root.join("sub")).unwrap();
    assert_eq!(found.root, app.root);
    assert_eq!(found.branch.as_deref(), Some("main"));
    let seen = app.git(&["status", "--porcelain"]);
    let in_git_dir = || {
        let mut names: Vec<_> = std::fs::read_dir(app.root.join(".git"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let names = in_git_dir();
    let commit = heal(
        &app,
        &patch(&[("a", Some("a\n"), Some("A\n")), ("n", None, Some("n\n"))]),
    )
    .unwrap();
    assert_eq!(app.git(&["rev-parse", "main"]).trim(), commit.0);
    assert_eq!(app.git(&["rev-parse", "main^"]).trim(), found.head.0);
    assert_eq!(
        (app.read("a"), app.read("n")),
        ("A\n".to_owned(), "n\n".to_owned())
    );
    assert_eq!(app.git(&["status", "--porcelain"]), seen);
    assert_eq!(in_git_dir(), names);
    app.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_dirty_file_is_refused() {
    let app = Fixture::new(&[("a", "a\n"), ("b", "b\n")]);
    app.write("a", "a staged\n");
    app.git(&["add", "a"]);
    app.write("a", "a\n");
    app.write("new", "untracked\n");
    let paths = ["a", "b", "new"].map(str::to_owned);
    assert_eq!(is_dirty(&app.root, &paths).unwrap(), ["a", "new"]);
    let seen = app.seen();
    let refused = heal(&app, &patch(&[("a", Some("a\n"), Some("A\n"))]));
    assert!(
        matches!(refused, Err(RepositoryError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(app.seen(), seen);
}

#[test]
fn tracked_files_follow_the_index() {
    let app = Fixture::new(&[("a", "a\n"), ("d/b", "b\n")]);
    let repo = app.open();
    assert!(repo.is_tracked("d/b").unwrap());
    assert!(!repo.is_tracked("new").unwrap());
    app.write("new", "new\n");
    app.git(&["add", "new"]);
    assert!(repo.is_tracked("new").unwrap());
    assert_eq!(repo.list_tracked().unwrap().len(), 3);
}
