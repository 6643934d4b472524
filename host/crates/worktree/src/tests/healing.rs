//! Snapshot, draft, apply and rollback on trees with uncommitted work.

use super::fixture::{Fixture, message, patch, run};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::{Fit, Repository, RepositoryError};

const CODE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";
const FIXED: &str = "one\ntwo\nTHREE\nfour\nfive\nsix\nseven\neight\n";

fn dirty_app() -> Fixture {
    let app = Fixture::new(&[
        ("code.py", CODE),
        ("other.py", "other\n"),
        ("gone.py", "gone\n"),
        ("run.sh", "#!/bin/sh\n"),
        (".gitignore", "*.log\n"),
        ("staged.py", "staged\n"),
    ]);
    app.chmod("run.sh", 0o755);
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "second"]);
    app.write("stash.py", "stash");
    app.git(&["stash", "-q", "-u"]);
    app.write("other.py", "other, dirty\n");
    app.write("new/deep.txt", "untracked\n");
    app.write("noise.log", "ignored\n");
    app.write("staged.py", "staged, changed\n");
    app.git(&["add", "staged.py"]);
    std::fs::remove_file(app.root.join("gone.py")).unwrap();
    std::os::unix::fs::symlink("other.py", app.root.join("link")).unwrap();
    app
}

fn fix() -> Patch {
    patch(&[("code.py", Some(CODE), Some(FIXED))])
}

#[test]
fn snapshot_records_everything_and_touches_nothing() {
    let app = dirty_app();
    let (seen, raw) = (app.seen(), app.raw_git_state());
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    assert_eq!(app.raw_git_state(), raw);
    assert_eq!(app.seen(), seen);
    assert!(snapshot.dirty);
    assert_eq!(snapshot.branch, "main");
    let at = "refs/selfheal/snapshot/7/1";
    assert_eq!(app.git(&["rev-parse", at]).trim(), snapshot.commit.0);
    assert_eq!(
        app.git(&["rev-parse", &format!("{at}^")]).trim(),
        snapshot.base.0
    );
    let listed = app.git(&["ls-tree", "-r", at]);
    let names: Vec<_> = listed
        .lines()
        .map(|line| (line.split_once('\t').unwrap().1, &line[..6]))
        .collect();
    assert_eq!(
        names,
        [
            (".gitignore", "100644"),
            ("code.py", "100644"),
            ("link", "120000"),
            ("new/deep.txt", "100644"),
            ("other.py", "100644"),
            ("run.sh", "100755"),
            ("staged.py", "100644"),
        ]
    );
    assert_eq!(
        app.git(&["show", &format!("{at}:other.py")]),
        "other, dirty\n"
    );
    let trailers = app.git(&["log", "-1", "--format=%(trailers:only)", at]);
    assert!(trailers.contains("Selfheal-Kind: snapshot\n"), "{trailers}");
    assert!(trailers.contains("Selfheal-Issue: 7\n"), "{trailers}");
    app.git(&["fsck", "--strict", "--no-dangling"]);
    // The kept index must see what changes afterwards, even within a clock tick.
    for round in 0..5 {
        app.write("other.py", &format!("other, round{round}\n"));
        app.write("code.py", &CODE.replace("one", &format!("on{round}")));
        let next = repo.snapshot(run(2 + round), &message("snapshot")).unwrap();
        assert_eq!(
            app.git(&["show", &format!("{}:other.py", next.commit)]),
            format!("other, round{round}\n")
        );
        assert_eq!(
            app.git(&["show", &format!("{}:code.py", next.commit)]),
            CODE.replace("one", &format!("on{round}"))
        );
    }
    // What is ignored by now is not in it any more; what came back is.
    app.write(".gitignore", "*.log\nnew/\ngone.py\n");
    app.write("gone.py", "back\n");
    let next = repo.snapshot(run(20), &message("snapshot")).unwrap();
    let listed = app.git(&["ls-tree", "-r", "--name-only", &next.commit.0]);
    assert!(
        !listed.contains("deep.txt") && listed.contains("gone.py"),
        "{listed}"
    );
}

#[test]
fn a_clean_tree_is_its_own_snapshot() {
    let app = Fixture::new(&[("a", "a\n")]);
    let snapshot = app.open().snapshot(run(1), &message("snapshot")).unwrap();
    assert!(!snapshot.dirty);
    // The same run asking again gets the same commit.
    assert_eq!(
        app.open().snapshot(run(1), &message("snapshot")).unwrap(),
        snapshot
    );
}

#[test]
fn the_hosts_own_directories_are_in_no_snapshot() {
    let mut app = Fixture::new(&[("a", "a\n")]);
    app.state = app.root.join(".selfheal [x]");
    let repo = app.open();
    app.write(".selfheal [x]/journal", "secret\n");
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    assert!(!snapshot.dirty);
    let snapshot = repo.snapshot(run(2), &message("snapshot")).unwrap();
    assert_eq!(
        app.git(&["ls-tree", "-r", "--name-only", &snapshot.commit.0]),
        "a\n"
    );
    let bad = patch(&[(".selfheal [x]/journal", None, Some("x"))]);
    assert!(matches!(
        repo.check_fits(&snapshot, &bad),
        Err(RepositoryError::Conflict(_))
    ));
}

#[test]
fn draft_lands_on_the_runs_branch_only() {
    let app = dirty_app();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let seen = app.seen();
    let worktree = repo.open_layer(run(1), &snapshot.commit).unwrap();
    assert!(worktree.upper.is_dir() && worktree.work.is_dir());
    let draft = repo
        .commit_draft_run(run(1), &snapshot.commit, &fix(), &message("Fix three"))
        .unwrap();
    assert_eq!(
        app.git(&["rev-parse", "selfheal/issue-7/run-1"]).trim(),
        draft.0
    );
    assert_eq!(app.git(&["show", &format!("{draft}:code.py")]), FIXED);
    assert_eq!(
        app.git(&["diff", "--name-only", &snapshot.commit.0, &draft.0]),
        "code.py\n"
    );
    assert_eq!(app.seen(), seen);
    // A second draft of the run, and a layer that an agent made unreadable.
    std::fs::create_dir(worktree.upper.join("x")).unwrap();
    std::fs::write(worktree.upper.join("x/y"), "z").unwrap();
    std::fs::set_permissions(
        worktree.upper.join("x"),
        std::os::unix::fs::PermissionsExt::from_mode(0o000),
    )
    .unwrap();
    let worktree = repo.open_layer(run(1), &snapshot.commit).unwrap();
    assert_eq!(std::fs::read_dir(&worktree.upper).unwrap().count(), 0);
    let second = patch(&[("code.py", Some(CODE), Some("two\n"))]);
    let second = repo
        .commit_draft_run(run(1), &snapshot.commit, &second, &message("Again"))
        .unwrap();
    assert_eq!(
        app.git(&["rev-parse", &format!("{second}^")]).trim(),
        draft.0
    );
    repo.close_worktree(run(1)).unwrap();
    repo.close_worktree(run(1)).unwrap();
    assert!(!worktree.upper.exists());
    app.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_permit_of_another_run_is_refused() {
    let app = dirty_app();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let wrong = repo.apply_run(run(2), &snapshot, &fix(), &message("x"));
    assert!(matches!(wrong, Err(RepositoryError::WrongPermit)));
    let wrong = repo.open_layer(run(2), &snapshot.commit);
    assert!(matches!(wrong, Err(RepositoryError::WrongPermit)));
}

#[test]
fn apply_and_rollback_leave_uncommitted_work_as_it_was() {
    let app = dirty_app();
    // Dirty and staged hunks in the very file that is patched.
    app.write("code.py", &CODE.replace("seven", "seven staged"));
    app.git(&["add", "code.py"]);
    let live = CODE
        .replace("seven", "seven staged")
        .replace("one", "one dirty");
    app.write("code.py", &live);
    app.chmod("code.py", 0o755);
    let repo = app.open();
    let seen = app.seen();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let fixed = live.replace("four", "FOUR");
    let patch = patch(&[
        ("code.py", Some(&live), Some(&fixed)),
        (
            "new/deep.txt",
            Some("untracked\n"),
            Some("untracked, fixed\n"),
        ),
        (
            "other.py",
            Some("other, dirty\n"),
            Some("other, dirty\nmore\n"),
        ),
        ("pkg/sub/added.py", None, Some("added\n")),
        ("run.sh", Some("#!/bin/sh\n"), None),
    ]);
    repo.rehearse_rollback(&snapshot, &patch).unwrap();
    // The hunk in other.py touches the user's uncommitted line: committing it
    // would mean committing theirs.
    for refused in [
        repo.check_fits(&snapshot, &patch).map(drop),
        repo.apply_run(run(1), &snapshot, &patch, &message("Fix"))
            .map(drop),
    ] {
        assert!(
            matches!(refused, Err(RepositoryError::Conflict(_))),
            "{refused:?}"
        );
    }
    assert_eq!(app.seen(), seen);

    let mut patch = patch;
    patch.files.retain(|file| file.path != "other.py");
    let applied = repo
        .apply_run(run(1), &snapshot, &patch, &message("Fix"))
        .unwrap();
    assert_eq!(app.read("code.py"), fixed);
    assert_eq!(app.git(&["rev-parse", "main"]).trim(), applied.commit.0);
    assert_eq!(
        app.git(&["show", "main:code.py"]),
        CODE.replace("four", "FOUR"),
        "only the patch's hunk is committed"
    );
    assert_eq!(
        app.git(&["show", ":code.py"]),
        CODE.replace("seven", "seven staged")
            .replace("four", "FOUR")
    );
    assert_eq!(
        app.git(&["show", "main:new/deep.txt"]),
        "untracked, fixed\n"
    );
    let status = app.git(&["status", "--porcelain", "--untracked-files=all"]);
    assert_eq!(
        status,
        " D gone.py\n M other.py\nM  staged.py\n?? link\n"
            .to_owned()
            .replacen(" D", "MM code.py\n D", 1)
    );
    let trailers = app.git(&["log", "-1", "--format=%an <%ae>%n%(trailers:only)"]);
    assert_eq!(
        trailers.trim(),
        "Selfheal <selfheal@test>\nSelfheal-Issue: 7\nSelfheal-Run: 1\nSelfheal-Run-Id: \
         00000000-0000-0000-0000-000000000002\nSelfheal-Kind: heal\nSelfheal-Risk: 12 low"
    );
    // Read without git they are the same.
    let read = repo.trailers(&applied.commit).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(read, trailers.trim().lines().skip(1).collect::<Vec<_>>());

    let rollback = repo
        .roll_back_run(run(1), &snapshot, &patch, &message("Undo"))
        .unwrap()
        .unwrap();
    assert_eq!(app.seen(), seen);
    assert_eq!(app.git(&["rev-parse", "main"]).trim(), rollback.0);
    assert_eq!(app.git(&["rev-parse", "main~1"]).trim(), applied.commit.0);
    assert_eq!(app.git(&["diff", "main", "main~2"]), "");
    let trailers = app.git(&["log", "-1", "--format=%(trailers:only)"]);
    assert!(trailers.contains(&format!("Selfheal-Reverts: {}", applied.commit)));
    let again = repo
        .roll_back_run(run(1), &snapshot, &patch, &message("Undo"))
        .unwrap();
    assert_eq!(again, Some(rollback));
    assert_eq!(app.seen(), seen);
    app.git(&["fsck", "--strict", "--no-dangling"]);
    assert_eq!(
        std::fs::read_dir(app.state.join("apply")).unwrap().count(),
        0
    );
}

#[test]
fn work_done_between_heal_and_rollback_is_kept() {
    let app = Fixture::new(&[("code.py", CODE), ("b.py", "b\n")]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"))
        .unwrap();
    app.write("b.py", "b2\n");
    app.git(&["commit", "-q", "-am", "user's"]);
    app.write("code.py", &FIXED.replace("eight", "eight dirty"));
    repo.roll_back_run(run(1), &snapshot, &fix(), &message("Undo"))
        .unwrap()
        .unwrap();
    assert_eq!(app.read("code.py"), CODE.replace("eight", "eight dirty"));
    assert_eq!(app.git(&["show", "main:code.py"]), CODE);
    assert_eq!(app.git(&["show", "main:b.py"]), "b2\n");
    assert_eq!(app.git(&["status", "--porcelain"]), " M code.py\n");
}

#[test]
fn a_clash_with_later_work_is_reported_and_that_work_kept() {
    let app = Fixture::new(&[("code.py", CODE)]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"))
        .unwrap();
    let theirs = FIXED.replace("THREE", "three and a half");
    app.write("code.py", &theirs);
    let stuck = repo.roll_back_run(run(1), &snapshot, &fix(), &message("Undo"));
    assert!(
        matches!(stuck, Err(RepositoryError::Failed { .. })),
        "{stuck:?}"
    );
    assert_eq!(app.read("code.py"), theirs);
    assert!(!app.root.join(".git/index.lock").exists());
    // Somebody settles it; then it goes through.
    app.write("code.py", CODE);
    assert!(
        repo.roll_back_run(run(1), &snapshot, &fix(), &message("Undo"))
            .unwrap()
            .is_some()
    );
    assert_eq!(app.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_live_file_that_moved_on_is_merged_or_refused() {
    let app = Fixture::new(&[("code.py", CODE)]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    app.write("code.py", &CODE.replace("eight", "EIGHT"));
    let fits = |repo: &crate::GitRepository| repo.check_fits(&snapshot, &fix()).unwrap();
    let merges = |before: &str, after: &str| Fit::Merges {
        moved: vec!["code.py".to_owned()],
        merged: Patch::of(vec![FileChange {
            path: "code.py".to_owned(),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
        }]),
    };
    let loud = |text: &str| text.replace("eight", "EIGHT");
    assert_eq!(fits(&repo), merges(&loud(CODE), &loud(FIXED)));
    // The branch moves on as well, in the same file and in others.
    app.write("more.py", "more\n");
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "meanwhile"]);
    app.write(
        "code.py",
        &CODE.replace("eight", "EIGHT").replace("one", "ONE"),
    );
    let louder = |text: &str| loud(text).replace("one", "ONE");
    assert_eq!(fits(&repo), merges(&louder(CODE), &louder(FIXED)));
    repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"))
        .unwrap();
    let healed = FIXED.replace("eight", "EIGHT");
    assert_eq!(app.read("code.py"), healed.replace("one", "ONE"));
    assert_eq!(app.git(&["show", "main:code.py"]), healed);
    assert_eq!(app.git(&["show", "main:more.py"]), "more\n");
    assert_eq!(app.git(&["log", "--format=%s", "main"]).lines().count(), 3);

    let app = Fixture::new(&[("code.py", CODE)]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    app.write("code.py", &CODE.replace("three", "drei"));
    let seen = app.seen();
    let refused = repo.check_fits(&snapshot, &fix());
    assert!(matches!(refused, Err(RepositoryError::Conflict(_))));
    let refused = repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"));
    assert!(matches!(refused, Err(RepositoryError::Conflict(_))));
    app.write("code.py", CODE);
    assert_eq!(repo.check_fits(&snapshot, &fix()).unwrap(), Fit::Exact);
    app.git(&["checkout", "-q", "-b", "elsewhere"]);
    let refused = repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"));
    assert!(matches!(refused, Err(RepositoryError::Conflict(_))));
    app.git(&["checkout", "-q", "main"]);
    std::fs::write(app.root.join(".git/index.lock"), "").unwrap();
    let refused = repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"));
    assert!(matches!(refused, Err(RepositoryError::Conflict(_))));
    std::fs::remove_file(app.root.join(".git/index.lock")).unwrap();
    app.write("code.py", &CODE.replace("three", "drei"));
    assert_eq!(app.seen(), seen);
    assert!(
        repo.roll_back_run(run(1), &snapshot, &fix(), &message("Undo"))
            .unwrap()
            .is_none()
    );
}

#[test]
fn without_its_plan_a_heal_commit_is_still_undone() {
    let app = Fixture::new(&[("code.py", CODE), ("x/y.py", "y\n")]);
    let seen = app.seen();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let patch = patch(&[
        ("code.py", Some(CODE), Some(FIXED)),
        ("x/y.py", Some("y\n"), None),
    ]);
    repo.apply_run(run(1), &snapshot, &patch, &message("Fix"))
        .unwrap();
    std::fs::remove_dir_all(&app.state).unwrap();
    let repo = app.open();
    repo.roll_back_run(run(1), &snapshot, &patch, &message("Undo"))
        .unwrap()
        .unwrap();
    assert_eq!(app.seen(), seen);
}

#[test]
fn numbers_of_an_earlier_installation_are_kept_reachable() {
    let app = Fixture::new(&[("code.py", CODE)]);
    let old = app.open().snapshot(run(1), &message("snapshot")).unwrap();
    app.open().open_layer(run(1), &old.commit).unwrap();
    app.write("code.py", "later\n");
    let mut again = run(1);
    again.id = selfheal_domain::ids::RunId(uuid::Uuid::from_u128(99));
    let new = app.open().snapshot(again, &message("snapshot")).unwrap();
    assert_ne!(new.commit, old.commit);
    app.open().open_layer(again, &new.commit).unwrap();
    assert_eq!(
        app.git(&["rev-parse", "selfheal/issue-7/run-1"]).trim(),
        new.commit.0
    );
    app.git(&[
        "rev-parse",
        "--verify",
        &format!("refs/selfheal/superseded/{}", old.commit),
    ]);
}

/// git tells a file that changed within the clock tick of its index only by the
/// index being no younger: a rewritten index must not become younger.
#[test]
fn an_edit_within_the_clock_tick_of_the_index_is_not_lost() {
    let app = Fixture::new(&[("code.py", CODE), ("b.py", "old\n")]);
    app.git(&["config", "core.trustctime", "false"]);
    let file = std::fs::File::options()
        .write(true)
        .open(app.root.join("b.py"))
        .unwrap();
    // Long ago, since git counts whole seconds here.
    let then = file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(3_600);
    file.set_modified(then).unwrap();
    app.git(&["add", "--renormalize", "."]);
    app.git(&["update-index", "--refresh"]);
    let index = std::fs::File::options()
        .write(true)
        .open(app.root.join(".git/index"))
        .unwrap();
    index.set_modified(then).unwrap();
    app.write("b.py", "new\n");
    file.set_modified(then).unwrap();
    assert_eq!(
        app.git(&["--no-optional-locks", "status", "--porcelain"]),
        " M b.py\n"
    );
    let repo = app.open();
    for number in 1..3 {
        let snapshot = repo.snapshot(run(number), &message("snapshot")).unwrap();
        assert_eq!(
            app.git(&["show", &format!("{}:b.py", snapshot.commit)]),
            "new\n"
        );
    }
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.apply_run(run(1), &snapshot, &fix(), &message("Fix"))
        .unwrap();
    assert_eq!(
        app.git(&["--no-optional-locks", "status", "--porcelain"]),
        " M b.py\n"
    );
}

#[test]
fn an_amended_heal_commit_is_still_undone() {
    let app = Fixture::new(&[("code.py", CODE)]);
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let applied = repo
        .apply_run(run(1), &snapshot, &fix(), &message("Fix"))
        .unwrap();
    app.git(&[
        "commit",
        "-q",
        "--amend",
        "--no-edit",
        "--author",
        "Dev <d@e>",
    ]);
    let amended = app.git(&["rev-parse", "main"]).trim().to_owned();
    assert_ne!(amended, applied.commit.0);
    repo.roll_back_run(run(1), &snapshot, &fix(), &message("Undo"))
        .unwrap()
        .unwrap();
    let trailers = app.git(&["log", "-1", "--format=%(trailers:only)"]);
    assert!(trailers.contains(&format!("Selfheal-Reverts: {amended}")));
    assert_eq!(app.git(&["show", "main:code.py"]), CODE);
    assert_eq!(app.read("code.py"), CODE);
}

#[test]
fn staged_files_in_the_way_are_not_pushed_out() {
    let app = Fixture::new(&[("code.py", CODE)]);
    app.write("pkg", "staged\n");
    app.git(&["add", "pkg"]);
    std::fs::remove_file(app.root.join("pkg")).unwrap();
    let seen = app.seen();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let patch = patch(&[("pkg/x.py", None, Some("x\n"))]);
    let refused = repo.apply_run(run(1), &snapshot, &patch, &message("Fix"));
    assert!(
        matches!(refused, Err(RepositoryError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(app.seen(), seen);
}
