//! What things cost in a large repository. Prints, judges nothing: run with
//! `cargo test -p selfheal-worktree -- --ignored --nocapture cost`.

use super::fixture::{Fixture, message, patch, run};
use selfheal_domain::ports::Repository;
use std::time::Instant;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<36} {:>8.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

#[test]
#[ignore = "makes 20,000 files"]
fn costs_of_a_large_repository() {
    let app = Fixture::new(&[("code.py", "a\nb\nc\n")]);
    for directory in 0..400 {
        for file in 0..50 {
            app.write(
                &format!("pkg{}/mod{directory}/f{file}.py", directory % 20),
                &format!("# {directory} {file}\n").repeat(40),
            );
        }
    }
    app.git(&["add", "-A"]);
    app.git(&["commit", "-q", "-m", "many"]);
    app.write("pkg1/mod1/f1.py", "dirty\n");
    app.write("new.txt", "new\n");
    let repo = timed("open", || app.open());
    let fix = patch(&[("code.py", Some("a\nb\nc\n"), Some("a\nB\nc\n"))]);
    timed("snapshot, first", || {
        repo.snapshot(run(1), &message("snapshot")).unwrap()
    });
    timed("snapshot, again", || {
        repo.snapshot(run(2), &message("snapshot")).unwrap()
    });
    let snapshot = timed("snapshot, third", || {
        repo.snapshot(run(3), &message("snapshot")).unwrap()
    });
    let run = run(3);
    timed("open_worktree", || {
        repo.open_layer(run, &snapshot.commit).unwrap()
    });
    timed("commit_draft", || {
        repo.commit_draft_run(run, &snapshot.commit, &fix, &message("x"))
            .unwrap()
    });
    timed("check_fits", || repo.check_fits(&snapshot, &fix).unwrap());
    timed("rehearse_rollback", || {
        repo.rehearse_rollback(&snapshot, &fix).unwrap()
    });
    timed("apply", || {
        repo.apply_run(run, &snapshot, &fix, &message("x")).unwrap()
    });
    timed("roll_back", || {
        repo.roll_back_run(run, &snapshot, &fix, &message("x"))
            .unwrap()
    });
    timed("roll_back, again", || {
        repo.roll_back_run(run, &snapshot, &fix, &message("x"))
            .unwrap()
    });
    timed("is_tracked, first", || repo.is_tracked("code.py").unwrap());
    timed("is_tracked", || repo.is_tracked("code.py").unwrap());
    timed("git status", || app.git(&["status", "--porcelain"]));
}
