//! Repositories that want to run something or reach outside: nothing runs, nothing
//! outside is written, and the rest is refused with its reason.

use super::fixture::{FixedClock, Fixture, message, patch, run};
use super::traps::trapped;
use crate::{GitRepository, MachineIdentity, heal_commit_now};
use selfheal_domain::ports::{Repository, RepositoryError};
use std::os::unix::fs::symlink;
use std::sync::Arc;

#[test]
fn files_that_git_converts_are_refused() {
    let app = trapped();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let filtered = patch(&[("data.bin", Some("data\n"), Some("x\n"))]);
    let refused = repo.apply_run(run(1), &snapshot, &filtered, &message("x"));
    assert!(
        matches!(refused, Err(RepositoryError::Unsupported(_))),
        "{refused:?}"
    );

    let app = Fixture::new(&[("a.txt", "a\r\nb\r\n"), (".gitattributes", "*.txt -text\n")]);
    let repo = app.open();
    let fix = patch(&[("a.txt", Some("a\r\nb\r\n"), Some("a\r\nB\r\n"))]);
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.check_fits(&snapshot, &fix).unwrap();
    app.write(".gitattributes", "*.txt text=auto\n");
    assert!(matches!(
        repo.check_fits(&snapshot, &fix),
        Err(RepositoryError::Unsupported(_))
    ));
}

#[test]
fn no_path_leads_outside() {
    let app = Fixture::new(&[("dir/f", "f\n"), ("a", "a\n")]);
    let outside = app.root.parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "f\n").unwrap();
    symlink(&outside, app.root.join("link")).unwrap();
    symlink("a", app.root.join("alias")).unwrap();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let seen = app.seen();
    let bad = [
        ("/etc/passwd-x", None),
        ("../outside/g", None),
        ("dir/../../outside/g", None),
        (".git/hooks/post-commit", None),
        (".GIT/config-x", None),
        ("dir/.git/config", None),
        ("link/g", None),
        ("link/f", Some("f\n")),
        ("alias", Some("a")),
        ("a/b", None),
        ("dir", None),
    ];
    for (path, before) in bad {
        let patch = patch(&[(path, before, Some("x\n"))]);
        for result in [
            repo.check_fits(&snapshot, &patch).map(drop),
            repo.rehearse_rollback(&snapshot, &patch),
            repo.commit_draft_run(run(1), &snapshot.commit, &patch, &message("x"))
                .map(drop),
            repo.apply_run(run(1), &snapshot, &patch, &message("x"))
                .map(drop),
            heal_commit_now(
                &app.root,
                &patch,
                &message("x"),
                MachineIdentity::of_host("test"),
                Arc::new(FixedClock),
            )
            .map(drop),
        ] {
            assert!(result.is_err(), "{path}");
        }
    }
    assert_eq!(app.seen(), seen);
    // A directory that is swapped for a link after the snapshot.
    let patch = patch(&[("dir/f", Some("f\n"), Some("x\n"))]);
    std::fs::remove_dir_all(app.root.join("dir")).unwrap();
    symlink(&outside, app.root.join("dir")).unwrap();
    let refused = repo.apply_run(run(1), &snapshot, &patch, &message("x"));
    assert!(
        matches!(refused, Err(RepositoryError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(outside.join("f")).unwrap(), "f\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

pub(crate) fn refusal(app: &Fixture) -> String {
    let opened = GitRepository::open(
        &app.root,
        &app.state,
        MachineIdentity::of_host("test"),
        Arc::new(FixedClock),
    );
    match opened.and_then(|repo| repo.snapshot(run(1), &message("snapshot"))) {
        Err(RepositoryError::Unsupported(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn what_cannot_be_handled_is_refused_with_its_reason() {
    let fresh = || Fixture::new(&[("a", "a\n"), ("d/b", "b\n")]);

    let app = fresh();
    app.git(&["checkout", "-q", "--detach"]);
    assert!(refusal(&app).contains("detached"));

    let app = fresh();
    app.git(&["update-index", "--split-index"]);
    assert!(refusal(&app).contains("index"));

    let app = fresh();
    app.git(&["config", "core.worktree", "/"]);
    assert!(refusal(&app).contains("core.worktree"));

    let app = fresh();
    app.git(&["config", "core.bare", "true"]);
    assert!(refusal(&app).contains("bare"));

    let app = fresh();
    app.git(&["config", "core.repositoryformatversion", "1"]);
    app.git(&["config", "extensions.partialClone", "origin"]);
    assert!(refusal(&app).contains("partial"));

    let app = fresh();
    app.git(&["checkout", "-q", "-b", "side"]);
    app.write("a", "side\n");
    app.git(&["commit", "-q", "-am", "side"]);
    app.git(&["checkout", "-q", "main"]);
    app.write("a", "main\n");
    app.git(&["commit", "-q", "-am", "main"]);
    let _ = app.try_git(&["merge", "side"]);
    assert!(refusal(&app).contains("merge"));

    let app = fresh();
    app.git(&["checkout", "-q", "--orphan", "empty"]);
    assert!(refusal(&app).contains("no commit"));

    let app = fresh();
    std::fs::remove_dir_all(app.root.join(".git")).unwrap();
    assert!(refusal(&app).contains("no git repository"));
}

#[test]
fn a_submodule_that_is_not_checked_out_is_refused_too() {
    let app = Fixture::new(&[("a", "a\n")]);
    let commit = app.git(&["rev-parse", "HEAD"]);
    let entry = format!("160000,{},sub", commit.trim());
    app.git(&["update-index", "--add", "--cacheinfo", &entry]);
    std::fs::create_dir(app.root.join("sub")).unwrap();
    app.git(&["commit", "-q", "-m", "submodule"]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    assert!(!snapshot.dirty);
    let patch = patch(&[("sub/x", None, Some("x\n"))]);
    let refused = repo.apply_run(run(1), &snapshot, &patch, &message("x"));
    assert!(
        matches!(refused, Err(RepositoryError::Unsupported(_))),
        "{refused:?}"
    );
}

#[test]
fn other_repositories_in_the_tree_are_left_alone() {
    let app = Fixture::new(&[("a", "a\n")]);
    std::fs::create_dir_all(app.root.join("vendor")).unwrap();
    app.git(&["init", "-q", "vendor/lib"]);
    app.write("vendor/lib/x", "x\n");
    let (made, _) = {
        #[expect(clippy::disallowed_methods, reason = "makes a pipe for the test")]
        let status = std::process::Command::new("mkfifo")
            .arg(app.root.join("pipe"))
            .status()
            .unwrap();
        (status.success(), ())
    };
    assert!(made);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    assert_eq!(
        app.git(&["ls-tree", "-r", "--name-only", &snapshot.commit.0]),
        "a\n"
    );
    let patch = patch(&[("vendor/lib/new", None, Some("x\n"))]);
    assert!(
        repo.apply_run(run(1), &snapshot, &patch, &message("x"))
            .is_err()
    );
}
