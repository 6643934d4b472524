//! Finding the commit that broke it, and taking it back.

use super::fixture::{Fixture, message, run};
use selfheal_domain::culprit::{Culprit, CulpritFinding, CulpritSearch, Revert, TreeState};
use selfheal_domain::ids::CommitId;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CancelToken, Repository, RepositoryError};
use std::collections::BTreeMap;

/// What a search is asked, as far as tests vary it.
struct Ask {
    good: Option<String>,
    trials: usize,
    cancel: CancelToken,
    held: fn(&str) -> bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            good: None,
            trials: 40,
            cancel: CancelToken::default(),
            held: |path| path.starts_with("tests/"),
        }
    }
}

/// Searches with a reproduction that looks at the files of a tree.
fn search(
    app: &Fixture,
    ask: &Ask,
    reproduce: &mut dyn FnMut(&BTreeMap<String, String>) -> TreeState,
) -> Result<CulpritFinding, RepositoryError> {
    let repo = app.open();
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    let listed = app.git(&["ls-tree", "-r", "--name-only", &snapshot.commit.0]);
    let live: BTreeMap<String, String> = listed
        .lines()
        .map(|path| (path.to_owned(), app.read(path)))
        .collect();
    let before = app.seen();
    let search = CulpritSearch {
        snapshot: &snapshot,
        known_good: ask.good.clone().map(CommitId),
        held: &ask.held,
        most_trials: ask.trials,
        cancel: &ask.cancel,
    };
    let finding = repo.find_culprit(&search, &mut |_, patch: &Patch| {
        let mut files = live.clone();
        for file in &patch.files {
            assert_eq!(files.get(&file.path), file.before.as_ref(), "{}", file.path);
            match &file.after {
                Some(after) => files.insert(file.path.clone(), after.clone()),
                None => files.remove(&file.path),
            };
        }
        reproduce(&files)
    });
    assert_eq!(app.seen(), before, "a search changes nothing");
    finding
}

fn works_unless_broken(files: &BTreeMap<String, String>) -> TreeState {
    assert!(files.contains_key("tests/t.py"), "the reproduction is held");
    if files["code.py"].contains("bug") {
        TreeState::Broken
    } else {
        TreeState::Works
    }
}

const LINES: &str = "a\nb\nc\nd\ne\nf\ng\nh\n";

/// Some commits, the bug among them, more commits, and a test that came last.
fn broken_app(before: usize, after: usize) -> (Fixture, String) {
    let app = Fixture::new(&[("code.py", LINES)]);
    for number in 0..before {
        app.write("log.txt", &format!("{number}\n"));
        app.git(&["add", "-A"]);
        app.git(&["commit", "-q", "-m", &format!("before {number}")]);
    }
    app.write("code.py", &LINES.replace("d\n", "bug\n"));
    app.git(&["commit", "-q", "-am", "Speed it up"]);
    let culprit = app.git(&["rev-parse", "HEAD"]).trim().to_owned();
    for number in 0..after {
        app.write("later.txt", &format!("{number}\n"));
        app.git(&["add", "-A"]);
        app.git(&["commit", "-q", "-m", &format!("after {number}")]);
    }
    app.write("tests/t.py", "the reproduction\n");
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "test"]);
    (app, culprit)
}

fn found(finding: Result<CulpritFinding, RepositoryError>) -> Culprit {
    match finding {
        Ok(CulpritFinding::Found(culprit)) => culprit,
        other => panic!("{other:?}"),
    }
}

fn clean(revert: &Revert) -> &Patch {
    match revert {
        Revert::Clean(patch) => patch,
        Revert::Conflict(why) => panic!("{why:?}"),
    }
}

#[test]
fn a_rollback_is_not_what_broke_it() {
    let (app, culprit) = broken_app(3, 2);
    app.write("code.py", LINES);
    app.git(&["commit", "-q", "-am", "heal"]);
    let heal = app.git(&["rev-parse", "HEAD"]).trim().to_owned();
    app.write("code.py", &LINES.replace("d\n", "bug\n"));
    let message = format!("roll back\n\nSelfheal-Kind: rollback\nSelfheal-Reverts: {heal}\n");
    app.git(&["commit", "-q", "-am", &message]);
    let found = found(search(&app, &Ask::default(), &mut works_unless_broken));
    assert_eq!(found.commit.0, culprit, "{}", found.subject);

    // One that does not leave what was there before the heal is a commit like any other.
    app.write("code.py", LINES);
    app.git(&["commit", "-q", "-am", "heal again"]);
    let heal = app.git(&["rev-parse", "HEAD"]).trim().to_owned();
    app.write("code.py", &LINES.replace("e\n", "another bug\n"));
    let message = format!("roll back\n\nSelfheal-Kind: rollback\nSelfheal-Reverts: {heal}\n");
    app.git(&["commit", "-q", "-am", &message]);
    let found = self::found(search(&app, &Ask::default(), &mut works_unless_broken));
    assert_eq!(found.subject, "roll back");
}

#[test]
fn the_commit_that_broke_it_is_found_and_its_revert_keeps_later_work() {
    let (app, culprit) = broken_app(20, 30);
    app.write(
        "code.py",
        &LINES.replace("d\n", "bug\n").replace("h\n", "H\n"),
    );
    app.git(&["commit", "-q", "-am", "later work in the same file"]);
    app.write(
        "code.py",
        &LINES.replace("d\n", "bug\n").replace("h\n", "H dirty\n"),
    );
    app.write("untracked.txt", "stays\n");
    for good in [
        None,
        Some(app.git(&["rev-parse", "HEAD~50"]).trim().to_owned()),
    ] {
        let ask = Ask {
            good,
            ..Ask::default()
        };
        let found = found(search(&app, &ask, &mut |files| {
            assert_eq!(files["untracked.txt"], "stays\n");
            works_unless_broken(files)
        }));
        assert_eq!(found.commit.0, culprit);
        assert_eq!(found.subject, "Speed it up");
        assert_eq!(
            found.before.0,
            app.git(&["rev-parse", &format!("{culprit}^")]).trim()
        );
        assert_eq!((found.commits_since, found.suspects.len()), (32, 0));
        assert!(found.trials <= 14, "{}", found.trials);
        let patch = clean(&found.revert);
        assert_eq!(patch.files.len(), 1);
        assert_eq!(
            patch.files[0].after.as_deref(),
            Some(LINES.replace("h\n", "H dirty\n").as_str())
        );
    }
}

#[test]
fn a_merge_is_the_culprit_where_its_branch_broke_it() {
    let (app, _) = broken_app(0, 0);
    app.write("code.py", LINES);
    app.git(&["commit", "-q", "-am", "fixed"]);
    app.git(&["checkout", "-q", "-b", "side"]);
    for number in 0..3 {
        app.write("side.txt", &format!("{number}\n"));
        app.write("code.py", &LINES.replace("f\n", &format!("bug {number}\n")));
        app.git(&["add", "-A"]);
        app.git(&["commit", "-q", "-m", "on the side"]);
    }
    app.git(&["checkout", "-q", "main"]);
    app.write("code.py", &LINES.replace("a\n", "A\n"));
    app.git(&["commit", "-q", "-am", "on main"]);
    app.git(&["merge", "-q", "--no-ff", "-m", "Merge side", "side"]);
    let merge = app.git(&["rev-parse", "HEAD"]).trim().to_owned();
    app.write("x.txt", "x\n");
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "after"]);
    let found = found(search(&app, &Ask::default(), &mut works_unless_broken));
    assert_eq!(found.commit.0, merge);
    let patch = clean(&found.revert);
    let paths: Vec<_> = patch.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["code.py", "side.txt"]);
    assert_eq!(patch.files[0].after, Some(LINES.replace("a\n", "A\n")));
    assert_eq!(patch.files[1].after, None);
}

#[test]
fn a_revert_that_later_work_stands_in_the_way_of_is_a_conflict() {
    let (app, culprit) = broken_app(3, 3);
    app.write("code.py", &LINES.replace("d\n", "bug, but faster\n"));
    app.git(&["commit", "-q", "-am", "on top"]);
    let found = found(search(&app, &Ask::default(), &mut works_unless_broken));
    assert_eq!(found.commit.0, culprit);
    let Revert::Conflict(why) = found.revert else {
        panic!("{:?}", found.revert)
    };
    assert!(why[0].contains("code.py"), "{why:?}");
}

#[test]
fn what_cannot_be_judged_is_walked_around_and_named() {
    let (app, culprit) = broken_app(9, 9);
    // `later.txt` tells commits apart: some say nothing.
    let found_it = found(search(&app, &Ask::default(), &mut |files| match files
        .get("later.txt")
        .map(String::as_str)
    {
        Some("2\n" | "3\n" | "4\n") => TreeState::Unclear,
        _ => works_unless_broken(files),
    }));
    assert_eq!(found_it.commit.0, culprit);
    // The culprit itself says nothing: the next broken one is named, with the suspect.
    let doubtful = found(search(&app, &Ask::default(), &mut |files| {
        let at_culprit = !files.contains_key("later.txt") && files["code.py"].contains("bug");
        if at_culprit {
            TreeState::Unclear
        } else {
            works_unless_broken(files)
        }
    }));
    assert_eq!(doubtful.suspects, [CommitId(culprit)]);
}

#[test]
fn a_search_ends() {
    let (app, _) = broken_app(9, 9);
    // Too few trials.
    let ask = Ask {
        trials: 3,
        ..Ask::default()
    };
    let mut asked = 0;
    let finding = search(&app, &ask, &mut |files| {
        asked += 1;
        works_unless_broken(files)
    });
    assert!(matches!(finding, Ok(CulpritFinding::NotFound(why)) if why.contains("3 trials")));
    assert_eq!(asked, 3);
    // It never worked.
    let finding = search(&app, &Ask::default(), &mut |_| TreeState::Broken);
    assert!(
        matches!(finding, Ok(CulpritFinding::NotFound(_))),
        "{finding:?}"
    );
    // Nothing says anything.
    let finding = search(&app, &Ask::default(), &mut |_| TreeState::Unclear);
    assert!(
        matches!(finding, Ok(CulpritFinding::NotFound(_))),
        "{finding:?}"
    );
    // Somebody does not want to wait: the answer of that trial does not count.
    let ask = Ask::default();
    let cancel = ask.cancel.clone();
    let finding = search(&app, &ask, &mut |_| {
        cancel.cancel();
        TreeState::Works
    });
    assert_eq!(finding.unwrap(), CulpritFinding::Cancelled);
    // A commit that is said to work, and does not; one of another branch.
    let side = app.git(&["commit-tree", "-m", "side", "HEAD^{tree}"]);
    let broken = app.git(&["rev-parse", "HEAD~2"]);
    for good in [side, broken] {
        let ask = Ask {
            good: Some(good.trim().to_owned()),
            ..Ask::default()
        };
        let finding = search(&app, &ask, &mut works_unless_broken);
        assert!(
            matches!(finding, Ok(CulpritFinding::NotFound(_))),
            "{finding:?}"
        );
    }
}

#[test]
fn uncommitted_work_that_broke_it_is_no_commits_fault() {
    let (app, _) = broken_app(2, 2);
    app.write("code.py", LINES);
    app.git(&["commit", "-q", "-am", "fixed"]);
    app.write("code.py", &LINES.replace("e\n", "bug\n"));
    let finding = search(&app, &Ask::default(), &mut works_unless_broken);
    assert_eq!(finding.unwrap(), CulpritFinding::Uncommitted);
}

#[test]
fn what_no_patch_can_hold_is_left_out_and_said() {
    let (app, culprit) = broken_app(2, 0);
    app.write("later.txt", "0\n");
    std::fs::write(app.root.join("icon.bin"), [0, 159, 1]).unwrap();
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "binary"]);
    std::fs::write(app.root.join("icon.bin"), [0, 159, 2]).unwrap();
    app.git(&["commit", "-q", "-am", "binary again"]);
    std::fs::remove_file(app.root.join("icon.bin")).unwrap();
    app.git(&["commit", "-q", "-am", "binary gone"]);
    let found = found(search(&app, &Ask::default(), &mut works_unless_broken));
    assert_eq!(found.commit.0, culprit);
    assert_eq!(found.left_out, ["icon.bin"]);
    clean(&found.revert);
}
