//! One repository with every trap that is known: whatever of git's runs programs, reads
//! other places or lies about history is set, and leaves a mark where it works.

use super::fixture::{FixedClock, Fixture, message, patch, run};
use super::trapped::{lay, sprung};
use crate::{MachineIdentity, discover, heal_commit_now, is_dirty};
use selfheal_domain::ports::{ReadLimits, Repository, RepositoryError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn trapped() -> Fixture {
    let app = Fixture::new(&[
        ("code.py", "a\nb\nc\n"),
        ("data.bin", "data\n"),
        ("z", "z\n"),
        (".git-hooks/pre-commit", "#!/bin/sh\nexit 1\n"),
    ]);
    lay(&app.root, &|args| app.try_git(args).1);
    app
}

/// Does everything that the host does to a repository.
fn everything(app: &Fixture) {
    let repo = app.open();
    let patch = patch(&[("code.py", Some("a\nb\nc\n"), Some("a\nB\nc\n"))]);
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.is_tracked("code.py").unwrap();
    repo.list_tracked().unwrap();
    let limits = ReadLimits {
        files: 100,
        bytes: 1 << 20,
        file_bytes: 1 << 16,
        time: Duration::from_secs(60),
    };
    repo.read_files(&snapshot.commit, limits, &|_| true, &mut |_, _| {})
        .unwrap();
    repo.open_layer(run(1), &snapshot.commit).unwrap();
    repo.commit_draft_run(run(1), &snapshot.commit, &patch, &message("x"))
        .unwrap();
    repo.check_fits(&snapshot, &patch).unwrap();
    repo.rehearse_rollback(&snapshot, &patch).unwrap();
    repo.apply_run(run(1), &snapshot, &patch, &message("x"))
        .unwrap();
    repo.roll_back_run(run(1), &snapshot, &patch, &message("x"))
        .unwrap();
    repo.close_worktree(run(1)).unwrap();
    discover(&app.root).unwrap();
    is_dirty(&app.root, &["code.py".to_owned()]).unwrap();
    heal_commit_now(
        &app.root,
        &patch,
        &message("x"),
        MachineIdentity::of_host("test"),
        Arc::new(FixedClock),
    )
    .unwrap();
}

#[test]
fn no_trap_is_sprung_by_anything_that_the_host_does() {
    let app = trapped();
    app.write("data.bin", "data, dirty\n");
    app.write("z", "z dirty\n");
    everything(&app);
    assert_eq!(sprung(&app.root), Vec::<String>::new());
    assert_eq!(app.read("code.py"), "a\nB\nc\n");
    assert_eq!(app.read("z"), "z dirty\n");
    // The traps are real: git itself steps into them.
    let _ = app.try_git(&["status"]);
    let _ = app.try_git(&["add", "data.bin"]);
    let _ = app.try_git(&["commit", "-m", "x"]);
    let _ = app.try_git(&["diff"]);
    let _ = app.try_git(&["fetch"]);
    let _ = app.try_git(&["checkout", "-q", "-b", "side"]);
    let sprung = sprung(&app.root);
    for trap in ["fsmonitor", "filter_evil", "ext_transport"] {
        assert!(
            sprung.iter().any(|name| name.contains(trap)),
            "{trap}: {sprung:?}"
        );
    }
}

/// What is written goes into the repository, whatever its own parts point to.
#[test]
fn parts_of_git_that_lead_elsewhere_are_refused() {
    for part in [
        "refs",
        "refs/heads",
        "refs/selfheal",
        "objects",
        "objects/pack",
        "logs",
        "logs/refs",
        "index",
        "HEAD",
    ] {
        let app = Fixture::new(&[("code.py", "a\nb\nc\n")]);
        let git = app.root.join(".git");
        let elsewhere = app.root.parent().unwrap().join("elsewhere");
        let at = git.join(part);
        if at.exists() {
            std::fs::rename(&at, &elsewhere).unwrap();
        } else {
            std::fs::create_dir(&elsewhere).unwrap();
        }
        symlink(&elsewhere, &at).unwrap();
        let before = picture(&elsewhere);
        let opened = crate::GitRepository::open(
            &app.root,
            &app.state,
            MachineIdentity::of_host("test"),
            Arc::new(FixedClock),
        );
        let why = match opened.and_then(|repo| repo.snapshot(run(1), &message("snapshot"))) {
            Err(RepositoryError::Unsupported(why)) => why,
            other => panic!("{part}: {other:?}"),
        };
        assert!(why.contains(part), "{part}: {why}");
        assert_eq!(picture(&elsewhere), before, "{part}");
    }
}

#[test]
fn a_git_file_that_points_to_a_repository_of_others_is_refused() {
    let other = Fixture::new(&[("code.py", "other\n")]);
    let app = Fixture::new(&[("code.py", "a\nb\nc\n")]);
    std::fs::remove_dir_all(app.root.join(".git")).unwrap();
    app.write(
        ".git",
        &format!("gitdir: {}\n", other.root.join(".git").display()),
    );
    let seen = other.seen();
    let refused = discover(&app.root);
    assert!(
        matches!(&refused, Err(RepositoryError::Unsupported(why)) if why.contains("does not name this tree")),
        "{refused:?}"
    );
    assert_eq!(other.seen(), seen);
    // A linked worktree is known to its repository.
    let linked = other.root.parent().unwrap().join("linked");
    other.git(&["worktree", "add", "-q", linked.to_str().unwrap()]);
    discover(&linked).unwrap();
}

/// Names and contents, for comparison.
fn picture(at: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![at.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                waiting.push(entry.unwrap().path());
            }
            found.push((path, Vec::new()));
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            found.push((path, content));
        }
    }
    found.sort();
    found
}
