//! What a commit of ours writes: one pack with what it changes, whatever the size of
//! the repository.

use super::fixture::{Fixture, message, patch, run};
use selfheal_domain::ports::Repository;

/// Loose objects, packs, and objects in packs.
fn stored(app: &Fixture) -> [usize; 3] {
    let counted = app.git(&["count-objects", "-v"]);
    ["count: ", "packs: ", "in-pack: "].map(|key| {
        let line = counted.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap().parse().unwrap()
    })
}

#[test]
fn a_commit_is_one_pack_of_what_it_changes() {
    let mut files: Vec<(String, String)> = (0..200)
        .map(|number| {
            (
                format!("d{}/e{}/f{number}", number % 5, number % 20),
                number.to_string(),
            )
        })
        .collect();
    files.push(("staged".to_owned(), "one\ntwo\nthree\n".to_owned()));
    let borrowed: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_str()))
        .collect();
    let app = Fixture::new(&borrowed);
    app.git(&["gc", "-q"]);
    // Staged work in a file of the patch: what is staged then is in no commit.
    app.write("staged", "one\ntwo\nTHREE, staged\n");
    app.git(&["add", "staged"]);
    let changes: Vec<(&str, Option<&str>, Option<&str>)> = borrowed[..10]
        .iter()
        .map(|(path, content)| (*path, Some(*content), Some("healed\n")))
        .chain([(
            "staged",
            Some("one\ntwo\nTHREE, staged\n"),
            Some("ONE\ntwo\nTHREE, staged\n"),
        )])
        .collect();
    let fix = patch(&changes);
    let repo = app.open();
    let mut before = stored(&app);
    let mut grew = |most: usize| {
        let now = stored(&app);
        assert_eq!(now[0], before[0], "no loose objects");
        assert_eq!(now[1], before[1] + 1, "one pack");
        assert!(now[2] - before[2] <= most, "{now:?} after {before:?}");
        before = now;
    };
    let snapshot = repo.snapshot(run(1), &message("x")).unwrap();
    // A commit and its root tree: the blob was staged by git.
    grew(2);
    repo.open_layer(run(1), &snapshot.commit).unwrap();
    repo.commit_draft_run(run(1), &snapshot.commit, &fix, &message("x"))
        .unwrap();
    // A commit, the trees on the way (a root, 5, 10) and two new contents.
    grew(19);
    repo.apply_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    // The same, and the contents on branch and index.
    grew(20);
    repo.roll_back_run(run(1), &snapshot, &fix, &message("x"))
        .unwrap();
    // A commit alone: everything else was there before.
    let now = stored(&app);
    assert_eq!((now[1], now[2]), (before[1] + 1, before[2] + 1));
    assert_eq!(app.git(&["diff", "--cached", "--name-only"]), "staged\n");
    assert_eq!(app.git(&["diff"]), "");
    app.git(&["fsck", "--strict", "--no-dangling"]);
}
