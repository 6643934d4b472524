//! Attempts that keep what an earlier one came to, and pass every gate again.

use crate::support::{BROKEN, Host, World, admin, settings, user};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::patch::FileChange;
use selfheal_domain::risk::AutonomyLevel::{AutoAll, Observe, Suggest};
use selfheal_domain::run::{RetryFrom, RunStatus};
use selfheal_domain::state::Phase;
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_pipeline::desk::{DeskError, Freeze, Redraft};
use std::sync::Arc;

fn world() -> Arc<World> {
    Arc::new(World::default())
}

fn live(world: &World) -> String {
    world.get(|it| it.files["app.py"].clone())
}

/// How often an agent looked for the cause, and how often one wrote a patch.
fn efforts(world: &World) -> (usize, usize) {
    world.get(|it| {
        let searches = it.trace.iter().filter(|(what, _)| *what == "diagnose");
        (searches.count(), it.drafts)
    })
}

fn retry(host: &Host, from: RetryFrom) -> Result<Issue, DeskError> {
    host.desk.retry(&admin("ada"), "1", from)
}

fn refusal(host: &Host, from: RetryFrom) -> String {
    match retry(host, from) {
        Err(DeskError::Conflict(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_verification_is_repeated_on_the_same_patch() {
    let world = world();
    world.set(|it| it.healthy = false);
    let host = Host::with_issue(&world, AutoAll);
    let failed = host.rests_in(Phase::Escalated);
    let before = efforts(&world);
    assert_eq!(before, (3, 3));
    assert_eq!(live(&world), BROKEN);
    let patch = &failed.run().unwrap().draft.as_ref().unwrap().patch;

    world.set(|it| it.healthy = true);
    let assessed = world.get(|it| it.assessed.len());
    retry(&host, RetryFrom::Prove).unwrap();
    let issue = host.rests_in(Phase::Resolved);
    assert_eq!(efforts(&world), before, "no agent worked");
    let run = issue.run().unwrap();
    assert_eq!(&run.draft.as_ref().unwrap().patch, patch);
    assert_eq!(Some(live(&world)), patch.files[0].after);
    assert_eq!((issue.runs.len(), issue.kept), (4, None));
    // It was judged, proved, scored and decided on anew; its makers are named, and the
    // log says who put it there.
    assert!(run.proof.is_some() && run.autonomy.is_some() && run.verification.is_some());
    assert_eq!(world.get(|it| it.assessed.len()), assessed + 1);
    assert_eq!(run.agent, "engine:scripted");
    assert!(
        run.diagnosis
            .as_ref()
            .unwrap()
            .log
            .starts_with("Kept from attempt 3.")
    );
    let records = world.records.lock().unwrap();
    let drafted = records
        .iter()
        .rfind(|it| matches!(it.event, Event::PatchDrafted { .. }));
    assert_eq!(drafted.unwrap().actor, Actor::Host);
}

#[test]
fn a_patch_that_is_kept_waits_for_its_review_again() {
    let world = world();
    world.set(|it| it.healthy = false);
    let host = Host::with_issue(&world, Suggest);
    for _ in 0..3 {
        host.rests_in(Phase::PatchPending);
        host.approve_patch();
    }
    let failed = host.rests_in(Phase::Escalated);
    assert_eq!(failed.run().unwrap().approvals.len(), 1);
    world.set(|it| it.healthy = true);
    retry(&host, RetryFrom::Prove).unwrap();
    let issue = host.rests_in(Phase::PatchPending);
    assert_eq!(issue.run().unwrap().approvals, []);
    assert_eq!(live(&world), BROKEN);
    host.approve_patch();
    host.rests_in(Phase::Resolved);
}

#[test]
fn a_patch_that_is_kept_is_judged_by_the_policies_of_now() {
    let world = world();
    world.set(|it| it.deny_patch = true);
    let host = Host::with_issue(&world, AutoAll);
    host.rests_in(Phase::Escalated);
    let before = efforts(&world);
    // Still denied: the first attempt with it fails, and those after it begin anew.
    retry(&host, RetryFrom::Prove).unwrap();
    let issue = host.rests_in(Phase::Escalated);
    let kept = &issue.runs[3];
    assert!(kept.end_reason.as_ref().unwrap().contains("patch.no"));
    assert_eq!(efforts(&world), (before.0 + 2, before.1 + 2));
    assert_eq!(live(&world), BROKEN);
    world.set(|it| it.deny_patch = false);
    retry(&host, RetryFrom::Prove).unwrap();
    host.rests_in(Phase::Resolved);
    assert_eq!(efforts(&world), (before.0 + 2, before.1 + 2));
}

#[test]
fn a_diagnosis_is_kept_for_another_draft() {
    let world = world();
    let host = Host::with_issue(&world, Observe);
    let observed = host.rests_in(Phase::Observed);
    assert!(refusal(&host, RetryFrom::Draft).contains("at level OBSERVE"));
    assert!(refusal(&host, RetryFrom::Prove).contains("wrote no patch; retry from draft"));
    drop(host);
    let host = Host::new(&world, settings(Suggest)).start();
    retry(&host, RetryFrom::Draft).unwrap();
    let issue = host.rests_in(Phase::PatchPending);
    assert_eq!(efforts(&world), (1, 1));
    let (first, second) = (observed.run().unwrap(), issue.run().unwrap());
    let cause =
        |run: &selfheal_domain::run::Run| run.diagnosis.as_ref().unwrap().root_cause.clone();
    assert_eq!(cause(first), cause(second));
    assert_ne!(first.id, second.id);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_no_record() {
    let world = world();
    let host = Host::with_issue(&world, Suggest);
    host.rests_in(Phase::PatchPending);
    let kept = || world.records.lock().unwrap().len();
    let before = kept();
    for from in RetryFrom::ALL {
        let why = refusal(&host, from);
        assert!(why.contains("while the issue is PATCH_PENDING"), "{why}");
    }
    assert_eq!(kept(), before);
    let denied = host.desk.retry(&user("rita"), "1", RetryFrom::Draft);
    assert!(matches!(denied, Err(DeskError::Forbidden(_))));

    // What a reviewer sent back is not put before anybody again; what came after it may.
    host.desk
        .set_frozen(&admin("ada"), Freeze::On, "wait")
        .unwrap();
    host.desk
        .reject_patch(&admin("ada"), "1", "too broad", Redraft::Yes)
        .unwrap();
    host.desk.abort(&admin("ada"), "1", "enough").unwrap();
    let why = refusal(&host, RetryFrom::Prove);
    assert!(why.contains("sent back; retry from draft"), "{why}");
    host.desk
        .set_frozen(&admin("ada"), Freeze::Off, "go on")
        .unwrap();
    retry(&host, RetryFrom::Draft).unwrap();
    host.rests_in(Phase::PatchPending);
    host.desk.abort(&admin("ada"), "1", "enough").unwrap();
    retry(&host, RetryFrom::Prove).unwrap();
    host.rests_in(Phase::PatchPending);

    // No attempt has anything to keep.
    let open = self::world();
    let host = Host::new(&open, settings(Suggest)).start();
    host.report();
    host.desk.abort(&admin("ada"), "1", "enough").unwrap();
    for from in [RetryFrom::Draft, RetryFrom::Prove] {
        assert!(refusal(&host, from).contains("no attempt"));
    }
}

#[test]
fn a_patch_whose_files_moved_on_is_not_kept() {
    let world = world();
    let host = Host::with_issue(&world, Suggest);
    host.rests_in(Phase::PatchPending);
    host.desk.abort(&admin("ada"), "1", "later").unwrap();
    let theirs = format!("{BROKEN}# theirs\n");
    world.set(|it| drop(it.files.insert("app.py".to_owned(), theirs.clone())));
    retry(&host, RetryFrom::Prove).unwrap();
    let issue = host.rests_in(Phase::Escalated);
    let why = issue.end_reason.as_ref().unwrap();
    assert!(why.contains("no longer fits"), "{why}");
    assert_eq!(live(&world), theirs);
    assert_eq!(issue.run().unwrap().status, RunStatus::Escalated);
    assert!(refusal(&host, RetryFrom::Prove).contains("wrote no patch"));
    retry(&host, RetryFrom::Draft).unwrap();
    let fresh = host.rests_in(Phase::PatchPending);
    let change: &FileChange = &fresh.run().unwrap().draft.as_ref().unwrap().patch.files[0];
    assert_eq!(change.before.as_ref(), Some(&theirs));
}

#[test]
fn what_is_kept_stays_under_the_trust_of_what_led_to_it() {
    for from in [RetryFrom::Draft, RetryFrom::Prove] {
        let world = world();
        world.set(|it| it.log = "something was logged".to_owned());
        let host = Host::with_issue(&world, Suggest);
        let first = host.rests_in(Phase::PatchPending);
        assert_eq!(first.run().unwrap().trust, Some(TrustClass::Machine));
        host.desk.abort(&admin("ada"), "1", "later").unwrap();
        world.set(|it| it.log.clear());
        retry(&host, from).unwrap();
        let issue = host.rests_in(Phase::PatchPending);
        assert_eq!(
            issue.run().unwrap().trust,
            Some(TrustClass::Machine),
            "{from:?}"
        );
        assert_eq!(issue.trust(), TrustClass::Machine);
    }
}

/// The host dies after each record of an attempt that keeps something.
#[test]
fn a_crash_forgets_nothing_of_what_is_kept() {
    for from in [RetryFrom::Draft, RetryFrom::Prove] {
        let full = world();
        let host = Host::with_issue(&full, Suggest);
        host.rests_in(Phase::PatchPending);
        host.desk.abort(&admin("ada"), "1", "later").unwrap();
        let begin = full.records.lock().unwrap().len();
        retry(&host, from).unwrap();
        let end = host.rests_in(Phase::PatchPending);
        let kept = end.run().unwrap().draft.as_ref().unwrap().patch.clone();
        drop(host);
        let records = full.records.lock().unwrap().clone();
        for cut in begin + 1..=records.len() {
            let later = world();
            *later.records.lock().unwrap() = records[..cut].to_vec();
            later.set(|it| it.drafts = usize::from(from == RetryFrom::Draft));
            let host = Host::new(&later, settings(Suggest)).start();
            let issue = host.rests_in(Phase::PatchPending);
            assert_eq!(
                efforts(&later).0,
                0,
                "{from:?}, {cut}: no cause was looked for"
            );
            if from == RetryFrom::Prove {
                assert_eq!(efforts(&later).1, 0, "{cut}: no patch was written");
                assert_eq!(issue.run().unwrap().draft.as_ref().unwrap().patch, kept);
            }
        }
    }
}
