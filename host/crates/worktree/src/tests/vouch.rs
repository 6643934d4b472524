//! Log and history held against each other, and what is found when one of them lies.

use super::fixture::{Fixture, message, patch, run};
use crate::{
    CommitKey, GitRepository, HistoryReport, LogWitness, MachineHistory, MachineIdentity,
    MismatchKind, heal_commit_now,
};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::{CommitId, RunNumber};
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{Clock, CommitMessage, Repository, Snapshot};
use selfheal_domain::user::Actor;
use std::sync::Arc;

/// A repository, and the log that belongs to it.
struct Healed {
    app: Fixture,
    repo: GitRepository,
    events: Vec<Event>,
    snapshot: Snapshot,
    heal: CommitId,
}

fn root(records: u64) -> Digest {
    Digest::of(format!("root {records}").as_bytes())
}

fn text(records: usize) -> CommitMessage {
    let mut text = message("Heal");
    let audit = format!("{records} {}", root(records as u64));
    text.trailers.push(("Selfheal-Audit".to_owned(), audit));
    text
}

fn fix() -> Patch {
    patch(&[("a", Some("a\n"), Some("A\n"))])
}

impl Healed {
    fn new() -> Self {
        let app = Fixture::new(&[("a", "a\n"), ("b", "b\n")]);
        let key = Arc::new(CommitKey::open_or_create(&app.state.join("key")).unwrap());
        let repo = app
            .open()
            .with_signer(Arc::clone(&key) as Arc<dyn crate::CommitSigner>);
        let mut events = vec![Event::HostStarted {
            version: "1".to_owned(),
            policy_digest: Digest::of(b"policy"),
            policy_generation: 1,
            commit_key: Some(key.public().to_string()),
        }];
        let snapshot = repo.snapshot(run(1), &text(events.len())).unwrap();
        events.push(Event::DiagnosisStarted {
            run: run(1).id,
            number: RunNumber(1),
            agent: "engine:builtin".to_owned(),
            snapshot: snapshot.commit.clone(),
            base_commit: snapshot.base.clone(),
            live_branch: "main".to_owned(),
            policy_generation: 1,
        });
        events.push(Event::ApplyStarted {
            digest: fix().digest,
        });
        let heal = repo
            .apply_run(run(1), &snapshot, &fix(), &text(events.len()))
            .unwrap()
            .commit;
        events.push(Event::PatchApplied {
            commit: heal.clone(),
            probes: Vec::new(),
        });
        Self {
            app,
            repo,
            events,
            snapshot,
            heal,
        }
    }

    fn roll_back(&mut self) {
        self.events.push(Event::RollbackStarted {
            reason: "worse".to_owned(),
        });
        let text = text(self.events.len());
        let commit = self
            .repo
            .roll_back_run(run(1), &self.snapshot, &fix(), &text)
            .unwrap();
        self.events.push(Event::RollbackCommitted { commit });
    }

    fn compare(&self) -> HistoryReport {
        self.compare_with(&self.events, root)
    }

    fn compare_with(&self, events: &[Event], root: fn(u64) -> Digest) -> HistoryReport {
        let history = MachineHistory::read(&self.app.root).unwrap();
        let mut witness = LogWitness::new(&history);
        for (seq, event) in events.iter().enumerate() {
            let seq = seq as u64;
            let record = Record {
                seq,
                at: super::fixture::FixedClock.now(),
                actor: Actor::Host,
                issue: (seq > 0).then_some(run(1).issue),
                event: event.clone(),
                previous: Digest::of(b"before"),
                hash: Digest::of(format!("record {seq}").as_bytes()),
            };
            witness.observe(&record, &mut || root(seq + 1));
        }
        history.compare(&witness)
    }

    fn kinds(&self) -> Vec<MismatchKind> {
        kinds(&self.compare())
    }
}

fn kinds(report: &HistoryReport) -> Vec<MismatchKind> {
    report.mismatches.iter().map(|found| found.kind).collect()
}

#[test]
fn log_and_history_vouch_for_each_other() {
    let mut healed = Healed::new();
    healed.roll_back();
    healed.app.git(&["branch", "elsewhere"]);
    let report = healed.compare();
    assert_eq!(report.mismatches, []);
    assert_eq!(report.notes, [""; 0]);
    assert_eq!((report.commits, report.recorded, report.signed), (3, 3, 3));
}

#[test]
fn a_removed_commit_is_found() {
    let healed = Healed::new();
    healed.app.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let report = healed.compare();
    assert_eq!(kinds(&report), [MismatchKind::CommitRemoved]);
    assert_eq!(report.mismatches[0].commit, healed.heal);
    assert_eq!(report.mismatches[0].record, Some(3));
    // Kept elsewhere, it is still gone from the branch it was made on.
    healed.app.git(&["branch", "kept", &healed.heal.0]);
    assert_eq!(healed.kinds(), [MismatchKind::CommitNotOnBranch]);
    // A graft or a replaced commit neither hides nor brings back anything.
    let healed = Healed::new();
    let grafts = healed.app.root.join(".git/info/grafts");
    std::fs::write(grafts, format!("{}\n", healed.heal)).unwrap();
    assert_eq!(healed.kinds(), []);
    healed
        .app
        .git(&["update-ref", "-d", "refs/selfheal/snapshot/7/1"]);
    assert_eq!(healed.kinds(), [MismatchKind::CommitRemoved]);
}

#[test]
fn a_removed_record_is_found() {
    let mut healed = Healed::new();
    // The record of the heal commit is gone.
    let report = healed.compare_with(&healed.events[..3], root);
    assert_eq!(kinds(&report), [MismatchKind::CommitNotRecorded]);
    assert_eq!(report.mismatches[0].commit, healed.heal);
    // The intent is gone as well.
    let report = healed.compare_with(&healed.events[..2], root);
    assert_eq!(
        kinds(&report),
        [MismatchKind::LogShortened, MismatchKind::CommitNotRecorded]
    );
    assert!(report.mismatches[0].why.contains("3 records"), "{report:?}");
    // The whole log was written anew.
    let report = healed.compare_with(&healed.events, |size| root(size + 1));
    assert_eq!(kinds(&report), [MismatchKind::LogRewritten; 2]);
    // A crash before the record, after which the next start undid it, leaves the same.
    healed.events.remove(3);
    healed.roll_back();
    let report = healed.compare();
    assert_eq!(
        (kinds(&report), report.notes.len()),
        (vec![], 1),
        "{report:?}"
    );
    // Nothing is left.
    let report = healed.compare_with(&[], root);
    assert_eq!(report.signed, 0);
    assert!(kinds(&report).contains(&MismatchKind::CommitNotRecorded));
}

#[test]
fn a_machine_commit_without_a_record_is_found() {
    let healed = Healed::new();
    let made = |body: &str| {
        healed.app.write("b", body);
        healed.app.git(&["commit", "-q", "-am", "fix", "-m", body]);
        healed.app.git(&["rev-parse", "HEAD"]).trim().to_owned()
    };
    let fake = made("Selfheal-Kind: heal\nSelfheal-Issue: 7");
    let report = healed.compare();
    assert_eq!(kinds(&report), [MismatchKind::CommitNotRecorded]);
    assert_eq!(report.mismatches[0].commit.0, fake);
    assert!(report.mismatches[0].why.contains("dev@example.org"));
    // On a branch of its own as well; a person's commit that only speaks of us is none.
    healed.app.git(&["reset", "-q", "--hard", "HEAD~1"]);
    healed.app.git(&["tag", "-a", "-m", "kept", "v1", &fake]);
    made("It mentions Selfheal-Kind: heal in a sentence.");
    assert_eq!(healed.kinds(), [MismatchKind::CommitNotRecorded]);
    // A copy of the heal commit has no signature and no record.
    let healed = Healed::new();
    healed
        .app
        .git(&["checkout", "-q", "-b", "release", "HEAD~1"]);
    healed.app.git(&["cherry-pick", &healed.heal.0]);
    assert_eq!(healed.kinds(), [MismatchKind::CommitNotRecorded]);
}

#[test]
fn an_amended_commit_and_an_unsigned_one_are_found() {
    let healed = Healed::new();
    healed
        .app
        .git(&["commit", "-q", "--amend", "-m", "nothing to see"]);
    assert_eq!(healed.kinds(), [MismatchKind::CommitRemoved]);

    // The log names a commit that nobody signed.
    let mut healed = Healed::new();
    healed.repo = healed.app.open();
    healed.roll_back();
    let report = healed.compare();
    assert_eq!(kinds(&report), [MismatchKind::BadSignature]);
    assert_eq!(report.mismatches[0].record, Some(5));
    // Signed by another.
    let mut healed = Healed::new();
    let other = CommitKey::open_or_create(&healed.app.state.join("other")).unwrap();
    healed.repo = healed.app.open().with_signer(Arc::new(other));
    healed.roll_back();
    let report = healed.compare();
    assert_eq!(kinds(&report), [MismatchKind::BadSignature]);
    // From before the installation had a key.
    let mut healed = Healed::new();
    if let Event::HostStarted { commit_key, .. } = &mut healed.events[0] {
        *commit_key = None;
    }
    let report = healed.compare();
    assert_eq!(report.signed, 0);
    assert_eq!(
        kinds(&report),
        [MismatchKind::BadSignature; 2],
        "{report:?}"
    );
}

#[test]
fn what_the_command_line_made_needs_no_log() {
    let healed = Healed::new();
    let fix = patch(&[("b", Some("b\n"), Some("B\n"))]);
    heal_commit_now(
        &healed.app.root,
        &fix,
        &message("x"),
        MachineIdentity::of_host("test"),
        Arc::new(super::fixture::FixedClock),
    )
    .unwrap();
    let report = healed.compare();
    assert_eq!((kinds(&report), report.command_line), (vec![], 1));
}
