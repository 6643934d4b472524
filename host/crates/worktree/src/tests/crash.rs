//! The host dies at every step of an apply and of a rollback; the next start, which
//! knows nothing but what is on disk, brings everything back.

use super::fixture::{Fixture, message, patch, run};
use crate::GitRepository;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{Repository, Snapshot};
use std::panic::{AssertUnwindSafe, catch_unwind};

const CODE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";

fn app() -> (Fixture, Patch) {
    let app = Fixture::new(&[("code.py", CODE), ("b.py", "b\n"), ("c.py", "c\n")]);
    app.write("code.py", &CODE.replace("eight", "eight dirty"));
    app.git(&["add", "code.py"]);
    app.write("loose.txt", "loose\n");
    let live = CODE.replace("eight", "eight dirty");
    let patch = patch(&[
        ("code.py", Some(&live), Some(&live.replace("two", "TWO"))),
        ("b.py", Some("b\n"), None),
        ("new/x.py", None, Some("x\n")),
        ("loose.txt", Some("loose\n"), Some("tight\n")),
    ]);
    (app, patch)
}

/// Runs `what` and dies after `steps` of it; false when it came through alive.
fn crashes(repo: &GitRepository, steps: usize, what: impl FnOnce()) -> bool {
    *repo.crash_at.lock().unwrap() = Some(steps);
    let dead = catch_unwind(AssertUnwindSafe(what)).is_err();
    *repo.crash_at.lock().unwrap() = None;
    dead
}

fn undo(app: &Fixture, snapshot: &Snapshot, patch: &Patch) -> Option<String> {
    let repo = app.open();
    let first = repo
        .roll_back_run(run(1), snapshot, patch, &message("Undo"))
        .unwrap();
    let second = repo
        .roll_back_run(run(1), snapshot, patch, &message("Undo"))
        .unwrap();
    assert_eq!(first, second);
    first.map(|id| id.0)
}

#[test]
fn a_crash_at_any_step_of_an_apply_is_rolled_back() {
    let mut steps = 0;
    loop {
        let (app, patch) = app();
        let seen = app.seen();
        let repo = app.open();
        let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
        let dead = crashes(&repo, steps, || {
            let _ = repo.apply_run(run(1), &snapshot, &patch, &message("Fix"));
        });
        assert_eq!(app.root.join(".git/index.lock").exists(), dead);
        let commit = undo(&app, &snapshot, &patch);
        assert_eq!(app.seen(), seen, "died after {steps} steps");
        let healed = app.git(&["rev-parse", "main"]).trim() != snapshot.base.0;
        assert_eq!(healed, commit.is_some());
        app.git(&["fsck", "--strict", "--no-dangling"]);
        if !dead {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 8, "only {steps} steps were tried");
}

#[test]
fn a_crash_at_any_step_of_a_rollback_is_finished() {
    let mut steps = 0;
    loop {
        let (app, patch) = app();
        let seen = app.seen();
        let repo = app.open();
        let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
        repo.apply_run(run(1), &snapshot, &patch, &message("Fix"))
            .unwrap();
        let dead = crashes(&repo, steps, || {
            let _ = repo.roll_back_run(run(1), &snapshot, &patch, &message("Undo"));
        });
        assert!(undo(&app, &snapshot, &patch).is_some());
        assert_eq!(app.seen(), seen, "died after {steps} steps");
        assert_eq!(
            app.git(&["rev-list", "--count", "main"]).trim(),
            "3",
            "exactly one rollback commit"
        );
        if !dead {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 7, "only {steps} steps were tried");
}

#[test]
fn what_a_crash_left_beside_a_file_is_swept() {
    let (app, patch) = app();
    let seen = app.seen();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    // Nothing is written yet but the plan: no file is restored, only swept beside.
    let dead = crashes(&repo, 1, || {
        let _ = repo.apply_run(run(1), &snapshot, &patch, &message("Fix"));
    });
    assert!(dead);
    app.write(&format!(".selfheal-{}.tmp", run(1).id), "half");
    std::fs::write(app.root.join(".git/index.selfheal"), "half").unwrap();
    // The heal commit exists by then, and libgit2 may have died in moving the branch.
    let plan = std::fs::read_to_string(app.state.join("apply/issue-7-run-1.json")).unwrap();
    let (_, rest) = plan.split_once("\"heal_commit\":\"").unwrap();
    std::fs::write(
        app.root.join(".git/refs/heads/main.lock"),
        format!("{}\n", &rest[..40]),
    )
    .unwrap();
    undo(&app, &snapshot, &patch);
    assert_eq!(app.seen(), seen);
    assert!(!app.root.join(".git/refs/heads/main.lock").exists());
}

#[test]
fn a_lock_that_a_crash_left_empty_is_removed_but_not_one_that_somebody_holds() {
    let (app, patch) = app();
    let seen = app.seen();
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.apply_run(run(1), &snapshot, &patch, &message("Fix"))
        .unwrap();
    drop(repo);
    let path = app.root.join(".git/refs/heads/main.lock");
    let held = std::fs::File::create(&path).unwrap();
    let blocked = app
        .open()
        .roll_back_run(run(1), &snapshot, &patch, &message("Undo"));
    assert!(blocked.is_err() && path.exists(), "somebody is writing it");
    drop(held);
    // What other tests are just starting holds it as well, until it becomes itself.
    let undone = (0..1000).find_map(|_| {
        app.open()
            .roll_back_run(run(1), &snapshot, &patch, &message("Undo"))
            .ok()
    });
    assert!(undone.flatten().is_some());
    assert_eq!(app.seen(), seen);
    assert!(!path.exists());
}

#[test]
fn what_a_crash_left_half_written_is_swept_and_nothing_else() {
    let (app, _) = app();
    drop(app.open());
    let git = app.root.join(".git");
    std::fs::create_dir_all(git.join("refs/heads/selfheal/issue-1")).unwrap();
    std::fs::create_dir_all(app.state.join("scratch")).unwrap();
    let ours = [
        git.join("refs/heads/selfheal/issue-1/run-1.lock"),
        git.join("objects/pack/pack_git2_0123456789ab"),
        git.join("objects/pack/pack_git2_0123456789abidx.lock"),
        git.join("objects/tmp_object_git2_0123"),
        app.state.join("scratch/index-edit.lock"),
    ];
    for path in &ours {
        std::fs::write(path, "").unwrap();
    }
    let theirs = git.join("refs/heads/feature.lock");
    std::fs::write(&theirs, "").unwrap();
    // What other tests are just starting holds it as well, until it becomes itself.
    let swept = (0..1000).any(|_| {
        drop(app.open());
        ours.iter().all(|path| !path.exists())
    });
    assert!(swept && theirs.exists());
}
