//! What git work costs in repositories of 1,000, 10,000 and 50,000 files, beside
//! `git commit`: `cargo bench -p selfheal-worktree`. Medians, in milliseconds. Other sizes
//! as arguments: `cargo bench -p selfheal-worktree -- 50000`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement on a throw-away repository, with git itself beside it"
)]

#[path = "../../domain/tests/support/mod.rs"]
mod support;

use selfheal_domain::event::EventKind;
use selfheal_domain::ids::{IssueId, RunRef};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::{Clock, CommitMessage, EventStore, Repository};
use selfheal_domain::user::Actor;
use selfheal_worktree::{CommitKey, GitRepository, MachineIdentity};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Files of a patch.
const TOUCHED: usize = 10;
const ROUNDS: u64 = 15;

struct Now;

impl Clock for Now {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        support::at(0)
    }
}

fn git(root: &Path, args: &[&str]) {
    let out = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@x"])
        // It would go on in the background, beside what is measured.
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(args)
        .current_dir(root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "git {args:?}: {error}");
}

fn path(number: usize) -> String {
    format!("pkg{}/mod{}/f{number}.py", number % 20, number / 50)
}

fn content(salt: &str) -> String {
    format!("# line of {salt}\n").repeat(60)
}

/// A repository with `files` files.
fn repository(root: &Path, files: usize) {
    for number in 0..files {
        let path = root.join(path(number));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content(&number.to_string())).unwrap();
    }
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "all"]);
    git(root, &["gc", "-q"]);
}

/// The files of a patch are spread over the tree.
fn touched(files: usize) -> impl Iterator<Item = PathBuf> {
    (0..TOUCHED).map(move |number| PathBuf::from(path(number * files / TOUCHED)))
}

fn patch(root: &Path, files: usize, salt: u64) -> Patch {
    let change = |path: PathBuf| {
        let before = std::fs::read_to_string(root.join(&path)).unwrap();
        FileChange {
            path: path.to_str().unwrap().to_owned(),
            after: Some(format!("{before}# healed {salt}\n")),
            before: Some(before),
        }
    };
    Patch::of(touched(files).map(change).collect())
}

/// A ledger of its own, which gives the permits.
fn ledger() -> Ledger {
    let store = Arc::new(support::MemoryStore::default()) as Arc<dyn EventStore>;
    Ledger::new(store, Arc::new(support::FixedClock), Box::new(|_| {}))
}

/// The next issue, as far as `kinds`, and its run.
fn walked(ledger: &Ledger, salt: u64, kinds: &[EventKind]) -> RunRef {
    let id = IssueId(Uuid::from_u128(u128::from(salt)));
    let opened = ledger.open(id, support::report(), Actor::Operator).unwrap();
    let mut issue = opened.clone();
    for kind in kinds {
        let event = support::event(*kind, salt);
        issue = ledger.record(opened.number, Actor::Host, event).unwrap();
    }
    issue.run().unwrap().reference(opened.number)
}

fn message() -> CommitMessage {
    CommitMessage {
        subject: "Heal".to_owned(),
        body: String::new(),
        trailers: vec![("Selfheal-Risk".to_owned(), "12 low".to_owned())],
    }
}

#[derive(Default)]
struct Figures(Vec<(&'static str, Vec<Duration>)>);

impl Figures {
    fn time<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(took),
            None => self.0.push((what, vec![took])),
        }
        result
    }
}

fn measure(files: usize) -> Figures {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("app");
    std::fs::create_dir(&root).unwrap();
    repository(&root, files);
    let key = CommitKey::open_or_create(&place.path().join("key")).unwrap();
    let repo = GitRepository::open(
        &root,
        &place.path().join("state"),
        MachineIdentity::of_host("bench"),
        Arc::new(Now),
    )
    .unwrap()
    .with_signer(Arc::new(key));
    let mut figures = Figures::default();
    let (applying, drafting) = (ledger(), ledger());
    for round in 0..ROUNDS {
        let run = walked(&applying, round + 1, support::TO_CLEARED);
        let fix = patch(&root, files, round);
        let name = if round == 0 {
            "snapshot of the live tree, first"
        } else {
            "snapshot of the live tree"
        };
        std::fs::write(root.join("pkg1/dirty.py"), content(&round.to_string())).unwrap();
        let snapshot = figures.time(name, || repo.snapshot(run, &message()).unwrap());
        let (_, permit) = applying.begin_apply(run.issue, Actor::Host).unwrap();
        figures.time("heal: commit, live files, branch, index", || {
            repo.apply(permit, &snapshot, &fix, &message()).unwrap()
        });
        let (_, permit) = applying
            .begin_rollback(run.issue, Actor::Host, "worse".to_owned())
            .unwrap();
        figures.time("rollback: live files, commit, branch, index", || {
            repo.roll_back(permit, &snapshot, &fix, &message()).unwrap()
        });
        // The commit as such: what a draft on the run's branch is.
        let mut diagnosed = support::TO_CLEARED.split(|kind| *kind == EventKind::DraftingStarted);
        walked(&drafting, round + 1, diagnosed.next().unwrap());
        let (_, permit) = drafting.begin_drafting(run.issue, Actor::Host).unwrap();
        repo.open_worktree(&permit, &snapshot.commit).unwrap();
        figures.time("commit alone: one pack, branch", || {
            repo.commit_draft(permit, &snapshot.commit, &fix, &message())
                .unwrap()
        });
        for (name, options) in [
            ("git add + git commit", &[][..]),
            ("git add + git commit, fsync", &["-c", "core.fsync=all"][..]),
        ] {
            for path in touched(files) {
                let path = root.join(path);
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, format!("{text}# {name} {round}\n")).unwrap();
            }
            let run = |args: &[&str]| git(&root, &[options, args].concat());
            figures.time(name, || {
                run(&["add", "-u", "--", "."]);
                run(&["commit", "-q", "-m", "x"]);
            });
        }
    }
    figures
}

fn main() {
    // `cargo test` runs benches too; there it only has to compile.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut sizes: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 50_000];
    }
    let columns: Vec<Figures> = sizes.iter().copied().map(measure).collect();
    print!("{:<46}", format!("median of {ROUNDS}, ms; files:"));
    sizes.iter().for_each(|files| print!("{files:>10}"));
    println!();
    let Some(first) = columns.first() else { return };
    for (name, _) in &first.0 {
        print!("{name:<46}");
        for column in &columns {
            let mut times = column
                .0
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, times)| times.clone())
                .unwrap_or_default();
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            print!("{:>10.1}", median.as_secs_f64() * 1e3);
        }
        println!();
    }
}
