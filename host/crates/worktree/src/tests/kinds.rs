//! Repositories of every kind that is out of the ordinary: each is served exactly, or
//! refused with the reason; none is mangled.

use super::fixture::{FixedClock, Fixture, message, patch, run};
use super::hostile::refusal;
use crate::lock::RepositoryLock;
use crate::{GitRepository, MachineIdentity};
use selfheal_domain::culprit::{CulpritFinding, CulpritSearch, TreeState};
use selfheal_domain::ports::{CancelToken, Repository, RepositoryError};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn grafts_and_replaced_commits_hide_no_heal_commit_from_its_rollback() {
    let app = Fixture::new(&[("a", "a\n"), ("b", "b\n")]);
    let repo = app.open();
    let fix = patch(&[("a", Some("a\n"), Some("A\n"))]);
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let applied = repo
        .apply_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    app.write("b", "B\n");
    app.git(&["commit", "-q", "-am", "later"]);
    let later = app.git(&["rev-parse", "HEAD"]);
    let other = app.git(&["commit-tree", "-m", "other", "HEAD^{tree}"]);
    // Neither commit has a parent any more, and one is another.
    let grafts = format!("{}\n{}\n", later.trim(), applied.commit);
    std::fs::write(app.root.join(".git/info/grafts"), grafts).unwrap();
    app.git(&[
        "update-ref",
        &format!("refs/replace/{}", applied.commit),
        other.trim(),
    ]);
    let undone = repo
        .roll_back_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    assert!(undone.is_some());
    assert_eq!((app.read("a"), app.read("b")), ("a\n".into(), "B\n".into()));
    assert_eq!(app.git(&["show", "HEAD:a"]), "a\n");
    assert_eq!(app.git(&["show", "HEAD:b"]), "B\n");
    assert_eq!(app.git(&["status", "--porcelain"]), "");
}

/// Makes a repository of another kind in place of the fixture's.
fn made_anew(option: &str) -> Fixture {
    let app = Fixture::new(&[("a", "a\n")]);
    std::fs::remove_dir_all(app.root.join(".git")).unwrap();
    app.git(&["init", "-q", "-b", "main", option]);
    app.git(&["-c", "user.name=x", "-c", "user.email=x@x", "add", "-A"]);
    app.git(&[
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "commit",
        "-q",
        "-m",
        "first",
    ]);
    app
}

/// Everything in the git directory, so that a refusal can be shown to have left it alone.
fn untouched(app: &Fixture, refused: impl FnOnce() -> String) -> String {
    let before = app.raw_git_state();
    let why = refused();
    assert_eq!(app.raw_git_state(), before);
    assert_eq!(app.git(&["status", "--porcelain"]), "");
    app.git(&["fsck", "--strict"]);
    why
}

/// Heals `a` and takes it back, and leaves everything else as it was.
fn heals(app: &Fixture) {
    let before = (app.seen(), app.git(&["ls-files", "-s", "-t"]));
    let repo = app.open();
    let content = app.read("a");
    let fix = patch(&[("a", Some(&content), Some("healed\n"))]);
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.open_layer(run(1), &snapshot.commit).unwrap();
    repo.commit_draft_run(run(1), &snapshot.commit, &fix, &message("x"))
        .unwrap();
    repo.rehearse_rollback(&snapshot, &fix).unwrap();
    let heal = repo
        .apply_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    assert_eq!(
        app.git(&["show", &format!("{}:a", heal.commit)]),
        "healed\n"
    );
    assert_eq!(
        app.git(&["diff", "--name-only", "HEAD~1", "HEAD"]),
        "a\n",
        "the heal commit has its own files only"
    );
    repo.roll_back_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    repo.close_worktree(run(1)).unwrap();
    assert_eq!(app.git(&["diff", "HEAD~2", "HEAD"]), "");
    assert_eq!((app.seen(), app.git(&["ls-files", "-s", "-t"])), before);
    app.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn sha256_and_reftable_are_refused_with_the_reason() {
    let app = made_anew("--object-format=sha256");
    assert!(untouched(&app, || refusal(&app)).contains("SHA-256"));
    let app = made_anew("--ref-format=reftable");
    assert!(untouched(&app, || refusal(&app)).contains("reftable"));
}

#[test]
fn a_sparse_checkout_is_healed_and_what_it_leaves_out_stays_in_history() {
    for mode in ["--cone", "--no-cone"] {
        let app = Fixture::new(&[
            ("a", "a\n"),
            ("in/b", "b\n"),
            ("out/c", "c\n"),
            ("out/d/e", "e\n"),
        ]);
        let pattern = if mode == "--cone" { "in" } else { "/a\n/in/" };
        app.git(&["sparse-checkout", "set", mode, pattern]);
        if mode == "--no-cone" {
            std::fs::write(app.root.join(".git/info/sparse-checkout"), "/a\n/in/\n").unwrap();
            app.git(&["sparse-checkout", "reapply"]);
        }
        assert!(!app.root.join("out/c").exists());
        app.write("in/b", "dirty\n");
        let repo = app.open();
        let snapshot = repo.snapshot(run(9), &message("x")).unwrap();
        for _ in 0..2 {
            let listed = app.git(&["diff", "--name-only", "HEAD", &snapshot.commit.0]);
            assert_eq!(listed, "in/b\n", "nothing was deleted");
        }
        let clash = patch(&[("out/c", Some("c\n"), Some("C\n"))]);
        assert!(
            repo.apply_run(run(9), &snapshot, &clash, &message("x"))
                .is_err()
        );
        heals(&app);
        assert!(!app.root.join("out").exists());
    }
}

#[test]
fn a_sparse_index_is_refused_with_the_way_out() {
    let app = Fixture::new(&[("a", "a\n"), ("in/b", "b\n"), ("out/c", "c\n")]);
    app.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    let why = untouched(&app, || refusal(&app));
    assert!(why.contains("--no-sparse-index"), "{why}");
    app.git(&["sparse-checkout", "reapply", "--no-sparse-index"]);
    heals(&app);
}

#[test]
fn filtered_files_are_left_as_they_are_and_their_filters_never_run() {
    let app = Fixture::new(&[
        ("a", "a\n"),
        (
            ".gitattributes",
            "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        ),
    ]);
    let ran = app.root.join("../ran");
    let filter = |turn: &str| format!("sh -c 'echo x >> {}; sed s/{turn}/'", ran.display());
    app.git(&["config", "filter.lfs.clean", &filter("large/pointer")]);
    app.git(&["config", "filter.lfs.smudge", &filter("pointer/large")]);
    app.git(&["config", "filter.lfs.required", "true"]);
    app.write("asset.bin", "large\n");
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "asset"]);
    assert_eq!(app.git(&["show", "HEAD:asset.bin"]), "pointer\n");
    // Settled: the index vouches for the file, git needs not look into it.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    std::fs::File::options()
        .write(true)
        .open(app.root.join("asset.bin"))
        .unwrap()
        .set_times(std::fs::FileTimes::new().set_modified(old))
        .unwrap();
    app.git(&["update-index", "--refresh"]);
    let _ = std::fs::remove_file(&ran);
    let repo = app.open();
    let snapshot = repo.snapshot(run(9), &message("x")).unwrap();
    assert!(!snapshot.dirty);
    let touch = patch(&[("asset.bin", Some("pointer\n"), Some("x\n"))]);
    assert!(matches!(
        repo.apply_run(run(9), &snapshot, &touch, &message("x")),
        Err(RepositoryError::Unsupported(why)) if why.contains("filter=lfs")
    ));
    assert!(!ran.exists(), "a filter ran");
    heals(&app);
    assert_eq!(app.read("asset.bin"), "large\n");
    assert_eq!(app.git(&["show", "HEAD:asset.bin"]), "pointer\n");
}

#[test]
fn a_submodule_is_left_alone_and_can_be_healed_itself() {
    let inner = Fixture::new(&[("a", "inner\n")]);
    let app = Fixture::new(&[("a", "a\n")]);
    let url = inner.root.to_str().unwrap();
    app.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        url,
        "sub",
    ]);
    app.git(&["commit", "-q", "-m", "submodule"]);
    let link = app.git(&["rev-parse", "HEAD:sub"]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(9), &message("x")).unwrap();
    assert!(!snapshot.dirty);
    let fix = patch(&[("sub/a", Some("inner\n"), Some("x\n"))]);
    assert!(matches!(
        repo.apply_run(run(9), &snapshot, &fix, &message("x")),
        Err(RepositoryError::Unsupported(why)) if why.contains("submodule")
    ));
    // Work in it is its own: the superproject's snapshot names the commit it stands on.
    app.write("sub/a", "dirty\n");
    let snapshot = repo.snapshot(run(10), &message("x")).unwrap();
    assert_eq!(
        app.git(&["rev-parse", &format!("{}:sub", snapshot.commit)]),
        link
    );
    app.write("sub/a", "inner\n");
    heals(&app);
    assert_eq!(app.git(&["rev-parse", "HEAD:sub"]), link);
    // The submodule as the application.
    let sub = app.root.join("sub");
    let found = crate::discover(&sub);
    let Err(RepositoryError::Unsupported(why)) = &found else {
        assert_eq!(found.unwrap().root, sub);
        return;
    };
    assert!(why.contains("detached"), "{why}");
}

#[test]
fn a_shallow_clone_is_healed_and_its_history_ends_where_it_was_cut() {
    let origin = Fixture::new(&[("a", "0\n")]);
    for number in 1..6 {
        origin.write("a", &format!("{number}\n"));
        origin.git(&["commit", "-q", "-am", "more"]);
    }
    let app = Fixture::new(&[("a", "a\n")]);
    std::fs::remove_dir_all(&app.root).unwrap();
    std::fs::create_dir(&app.root).unwrap();
    let url = format!("file://{}", origin.root.display());
    app.git(&["clone", "-q", "--depth", "2", &url, "."]);
    assert!(app.root.join(".git/shallow").exists());
    heals(&app);
    let repo = app.open();
    let snapshot = repo.snapshot(run(2), &message("x")).unwrap();
    let search = CulpritSearch {
        snapshot: &snapshot,
        known_good: None,
        held: &|_| false,
        most_trials: 20,
        cancel: &CancelToken::default(),
    };
    let mut tried = 0;
    let finding = repo.find_culprit(&search, &mut |_, _| {
        tried += 1;
        TreeState::Broken
    });
    assert!(
        matches!(finding, Ok(CulpritFinding::NotFound(_))),
        "{finding:?}"
    );
    // The cut commit, and what heals and its rollback are here.
    assert!((1..=3).contains(&tried), "{tried}");
}

#[test]
fn a_partial_clone_is_refused_with_the_way_out() {
    let origin = Fixture::new(&[("a", "a\n"), ("b", "b\n")]);
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let app = Fixture::new(&[("a", "a\n")]);
    std::fs::remove_dir_all(&app.root).unwrap();
    std::fs::create_dir(&app.root).unwrap();
    let url = format!("file://{}", origin.root.display());
    app.git(&["clone", "-q", "--filter=blob:none", &url, "."]);
    let why = untouched(&app, || refusal(&app));
    assert!(why.contains("partial clone"), "{why}");
}

#[test]
fn a_repository_of_another_user_is_refused_with_the_way_out() {
    let app = Fixture::new(&[("a", "a\n")]);
    // Only root can give files away.
    if std::os::unix::fs::chown(&app.root, Some(65_534), None).is_err() {
        return;
    }
    std::os::unix::fs::chown(app.root.join(".git"), Some(65_534), None).unwrap();
    let why = refusal(&app);
    assert!(why.contains("belongs to another user"), "{why}");
    assert!(why.contains("safe.directory"), "{why}");
}

#[test]
fn a_separate_git_directory_must_name_its_tree() {
    let app = Fixture::new(&[("a", "a\n")]);
    let elsewhere = app.root.join("../elsewhere.git");
    app.git(&[
        "init",
        "-q",
        "--separate-git-dir",
        elsewhere.to_str().unwrap(),
    ]);
    let why = refusal(&app);
    assert!(why.contains("git config core.worktree"), "{why}");
    app.git(&["config", "core.worktree", app.root.to_str().unwrap()]);
    let repo = app.open();
    let fix = patch(&[("a", Some("a\n"), Some("A\n"))]);
    let snapshot = repo.snapshot(run(1), &message("x")).unwrap();
    repo.apply_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    assert_eq!(app.git(&["show", "HEAD:a"]), "A\n");
    assert_eq!(app.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_linked_worktree_is_healed_on_its_own_branch() {
    let app = Fixture::new(&[("a", "a\n")]);
    app.git(&["worktree", "add", "-q", "-b", "side", "../side"]);
    let listed = app.git(&["worktree", "list"]);
    let side = app.root.join("../side").canonicalize().unwrap();
    let repo = GitRepository::open(
        &side,
        &app.state,
        MachineIdentity::of_host("test"),
        Arc::new(FixedClock),
    )
    .unwrap();
    let main = app.git(&["rev-parse", "main"]);
    let fix = patch(&[("a", Some("a\n"), Some("A\n"))]);
    let snapshot = repo.snapshot(run(1), &message("x")).unwrap();
    repo.apply_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    assert_eq!(app.git(&["show", "side:a"]), "A\n");
    assert_eq!(std::fs::read_to_string(side.join("a")).unwrap(), "A\n");
    assert_eq!(
        (app.git(&["rev-parse", "main"]), app.read("a")),
        (main, "a\n".to_owned())
    );
    let moved = app.git(&["worktree", "list"]);
    let paths = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(paths(&moved), paths(&listed));
}

#[test]
fn two_of_ours_take_turns_and_leave_no_lock() {
    let app = Fixture::new(&[("a", "a\n")]);
    let before = app.seen();
    let git = app.root.join(".git");
    let held = RepositoryLock::acquire(&git).unwrap();
    let refused = RepositoryLock::acquire_within(&git, Duration::ZERO);
    assert!(
        matches!(refused, Err(RepositoryError::Conflict(why)) if why.contains("another Selfheal"))
    );
    // Whoever waits gets its turn.
    let repo = app.open();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| repo.snapshot(run(1), &message("x")));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(app.seen(), before);
    // Two processes' worth of snapshots at once.
    let other = app.open();
    std::thread::scope(|scope| {
        for (repo, first) in [(&repo, 2), (&other, 20)] {
            scope.spawn(move || {
                for number in first..first + 8 {
                    repo.snapshot(run(number), &message("x")).unwrap();
                }
            });
        }
    });
    assert_eq!(
        app.git(&["for-each-ref", "refs/selfheal"]).lines().count(),
        17
    );
    assert_eq!(app.seen(), before);
    app.git(&["fsck", "--strict"]);
}
