//! Repositories of every kind that is out of the ordinary: each is served exactly, or
//! refused with the reason; none is mangled.

use super::fixture::{Fixture, message, patch, run};
use selfheal_domain::ports::Repository;

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
