//! The walk of an issue through all rooms, with every port scripted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::Fit;
use selfheal_domain::risk::{AutonomyAction, AutonomyLevel};
use selfheal_domain::run::{RetryFrom, RunStatus};
use selfheal_domain::state::Phase;
use selfheal_domain::user::Actor;
use selfheal_pipeline::desk::{DeskError, Freeze, Redraft};
use selfheal_pipeline::settings::HostRules;
use std::sync::Arc;
use support::{BROKEN, Host, World, admin, settings, user};

fn world() -> Arc<World> {
    Arc::new(World::default())
}

fn live(world: &World) -> String {
    world.get(|it| it.files["app.py"].clone())
}

fn count(world: &World, wanted: impl Fn(&Event) -> bool) -> usize {
    let records = world.records.lock().unwrap();
    records.iter().filter(|it| wanted(&it.event)).count()
}

#[test]
fn each_level_goes_as_far_as_it_may() {
    let ends = [
        (AutonomyLevel::Observe, 5, Phase::Observed),
        (AutonomyLevel::Suggest, 5, Phase::PatchPending),
        (AutonomyLevel::AutoLow, 5, Phase::Resolved),
        (AutonomyLevel::AutoLow, 40, Phase::PatchPending),
        (AutonomyLevel::AutoAll, 99, Phase::Resolved),
    ];
    for (level, risk, end) in ends {
        let world = world();
        world.set(|it| it.risk = risk);
        let host = Host::with_issue(&world, level);
        host.rests_in(end);
        assert_eq!(live(&world) == BROKEN, end != Phase::Resolved, "{level}");
        if end == Phase::PatchPending {
            host.approve_patch();
            host.rests_in(Phase::Resolved);
            assert_eq!(live(&world), "x = 2\n");
        }
    }
}

#[test]
fn a_guardrail_that_denies_or_asks_is_heard() {
    let world = world();
    world.set(|it| it.deny_patch = true);
    let issue = Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Escalated);
    assert_eq!(issue.attempts, 3);
    assert!(
        issue
            .runs
            .iter()
            .all(|run| run.status != RunStatus::Succeeded)
    );
    assert_eq!(live(&world), BROKEN);

    let world = self::world();
    world.set(|it| it.ask_patch = true);
    Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::PatchPending);
}

#[test]
fn edited_tests_are_always_reviewed() {
    let world = world();
    world.set(|it| it.test_paths = true);
    Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::PatchPending);
}

#[test]
fn host_limits_stop_a_patch() {
    let world = world();
    world.set(|it| it.writes = vec!["x\n".repeat(30)]);
    let issue = Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Escalated);
    assert!(issue.end_reason.unwrap().contains("at most 20"));
}

#[test]
fn a_patch_that_proves_nothing_is_refuted() {
    // Nothing is checked at all.
    let world = world();
    world.set(|it| it.reproduction = false);
    let mut bare = settings(AutonomyLevel::AutoAll);
    bare.checks.clear();
    let host = Host::new(&world, bare).start();
    host.report();
    host.desk.approve(&admin("ada"), "1").unwrap();
    host.rests_in(Phase::Escalated);
    assert_eq!(
        count(&world, |it| matches!(it, Event::ApplyStarted { .. })),
        0
    );
    assert_eq!(count(&world, |it| matches!(it, Event::PatchProved(_))), 3);

    // The suite was green before: nothing shows that the patch heals.
    let world = self::world();
    world.set(|it| {
        it.reproduction = false;
        it.files.insert("app.py".to_owned(), "y = 0\n".to_owned());
    });
    Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Escalated);
    assert_eq!(live(&world), "y = 0\n");

    // The suite turns green: that is a reproduction, whatever the agent says.
    let world = self::world();
    world.set(|it| it.reproduction = false);
    Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
}

#[test]
fn a_refuted_verification_is_rolled_back_and_tried_three_times() {
    for spoil in [
        (|it| it.probes = false) as fn(&mut support::Script),
        |it| it.healthy = false,
        |it| it.log = "Traceback (most recent call last):".to_owned(),
        |it| it.apply_fails = true,
    ] {
        let world = world();
        world.set(spoil);
        let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
        let issue = host.rests_in(Phase::Escalated);
        assert_eq!(live(&world), BROKEN);
        assert_eq!(issue.runs.len(), 3);
        assert!(issue.runs.iter().all(|run| run.rolled_back));
        // A patch that never became a heal commit was not found wanting.
        let expected = if world.get(|it| it.apply_fails) {
            [0, 0, 0]
        } else {
            [0, 1, 2]
        };
        assert_eq!(world.get(|it| it.excluded.clone()), expected);
    }
}

#[test]
fn modules_are_told_what_the_repository_and_the_log_know() {
    let world = world();
    world.set(|it| {
        it.probes = false;
        for (path, text) in [
            ("web.py", "import app\n"),
            ("shop/till.py", "from .. import app\n"),
            ("other.py", "import os\n"),
            ("CODEOWNERS", "* @org/all\napp.py @org/core\n"),
        ] {
            it.files.insert(path.to_owned(), text.to_owned());
        }
    });
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Escalated);
    let assessed = world.get(|it| it.assessed.clone());
    assert_eq!(assessed.len(), 3);
    for (run, (context, facts)) in assessed.iter().enumerate() {
        let undone = u32::try_from(run).unwrap();
        let file = &facts.files[0];
        assert_eq!(file.dependents, 2);
        assert_eq!(file.owners, ["@org/core"]);
        assert_eq!((file.earlier_heals, file.earlier_rollbacks), (0, undone));
        assert_eq!(context.earned.rolled_back, undone);
        assert_eq!((context.earned.healed, context.earned.streak), (0, 0));
    }
}

#[test]
fn a_report_reads_nothing_of_the_past_unless_it_changed() {
    let world = world();
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Resolved);
    host.report();
    let before = world.get(|it| it.listed);
    for _ in 0..5 {
        host.report();
    }
    assert_eq!(world.get(|it| it.listed), before);
    host.desk.approve(&admin("ada"), "2").unwrap();
    host.rest();
    host.report();
    assert!(world.get(|it| it.listed) > before);
}

#[test]
fn a_heal_that_holds_is_earned_and_what_cannot_be_searched_is_unknown() {
    let world = world();
    world.set(|it| {
        let large = "import app\n".repeat(200_000);
        it.files.insert("web.py".to_owned(), large);
    });
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Resolved);
    host.report();
    host.desk.approve(&admin("ada"), "2").unwrap();
    host.rest();
    let assessed = world.get(|it| it.assessed.clone());
    let records: Vec<_> = assessed.iter().map(|(context, _)| context.earned).collect();
    assert_eq!((records[0].healed, records[0].streak), (0, 0));
    assert!(
        assessed
            .iter()
            .all(|(_, facts)| facts.files[0].dependents == u32::MAX)
    );
    if let Some((context, facts)) = assessed.get(1) {
        assert_eq!((context.earned.healed, context.earned.streak), (1, 1));
        assert_eq!(facts.files[0].earlier_heals, 1);
    }
}

#[test]
fn a_failed_rollback_waits_for_people_and_an_abort_tries_it_again_once() {
    let world = world();
    world.set(|it| (it.probes, it.roll_back_fails) = (false, true));
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Stuck);
    let abort = |reason| host.desk.abort(&admin("ada"), "1", reason).unwrap();
    assert_eq!(abort("again").phase, Phase::Stuck);
    assert_eq!(
        count(&world, |it| matches!(it, Event::AbortStarted { .. })),
        1
    );
    world.set(|it| it.roll_back_fails = false);
    assert_eq!(abort("once more").phase, Phase::Aborted);
    assert_eq!(live(&world), BROKEN);
}

#[test]
fn an_abort_works_in_every_room() {
    let abort = |host: &Host| host.desk.abort(&admin("ada"), "1", "stop");
    for room in ["open", "diagnose", "prove", "pending", "verify", "resolved"] {
        let world = world();
        let entered = world.hold(room);
        let host = if room == "open" {
            let host = Host::new(&world, settings(AutonomyLevel::AutoAll)).start();
            host.report();
            host
        } else if room == "pending" {
            Host::with_issue(&world, AutonomyLevel::Suggest)
        } else {
            Host::with_issue(&world, AutonomyLevel::AutoAll)
        };
        match room {
            "open" => {}
            "pending" | "resolved" => drop(host.rest()),
            _ => entered.recv().unwrap(),
        }
        if room == "resolved" {
            assert!(matches!(abort(&host), Err(DeskError::Conflict(_))));
            continue;
        }
        assert_eq!(abort(&host).unwrap().phase, Phase::Aborted, "{room}");
        assert_eq!(live(&world), BROKEN, "{room}");
        assert!(
            matches!(abort(&host), Err(DeskError::Conflict(_))),
            "{room}"
        );
        // A new attempt is not stopped by the old abort.
        if room != "open" {
            host.desk
                .retry(&admin("ada"), "1", RetryFrom::Diagnose)
                .unwrap();
            let end = if room == "pending" {
                Phase::PatchPending
            } else {
                Phase::Resolved
            };
            if room == "verify" {
                // The only patch was rolled back, and is not proposed again: the next one is.
                assert_eq!(host.rests_in(end).run().unwrap().discarded.len(), 0);
            } else {
                host.rests_in(end);
            }
        }
    }
}

#[test]
fn an_abort_that_meets_the_end_of_the_walk_is_neither_lost_nor_half_done() {
    for round in 0..60 {
        let world = world();
        let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
        // Every round lets the walk come a little further before the abort.
        while world.records.lock().unwrap().len() < 2 + round % 14 && host.issue().phase.is_active()
        {
            std::thread::yield_now();
        }
        let answer = host.desk.abort(&admin("ada"), "1", "stop");
        let end = host.rest().phase;
        match answer {
            Ok(issue) => assert_eq!((issue.phase, end), (Phase::Aborted, Phase::Aborted)),
            Err(DeskError::Conflict(_)) => assert_eq!(end, Phase::Resolved),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(live(&world) == BROKEN, end == Phase::Aborted);
    }
}

#[test]
fn an_abort_of_waiting_work_is_on_record_at_once() {
    let world = world();
    let entered = world.hold("diagnose");
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    entered.recv().unwrap();
    host.report();
    host.desk.approve(&admin("ada"), "2").unwrap();
    let second = host.desk.abort(&admin("ada"), "2", "stop").unwrap();
    assert_eq!(second.phase, Phase::Aborted);
    drop(host);

    // What was applied before a crash and is aborted before anything is taken up.
    let full = self::world();
    Host::with_issue(&full, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
    let applied = {
        let records = full.records.lock().unwrap();
        let mut events = records.iter().map(|it| &it.event);
        events.position(|it| matches!(it, Event::PatchApplied { .. }))
    };
    let later = restarted(&full, applied.unwrap() + 1);
    let host = Host::new(&later, settings(AutonomyLevel::AutoAll));
    let desk = host.desk.clone();
    let abort = std::thread::spawn(move || desk.abort(&admin("ada"), "1", "stop").unwrap());
    while later.folded_phase() != Phase::Aborting {
        std::thread::yield_now();
    }
    let host = host.start();
    assert_eq!(abort.join().unwrap().phase, Phase::Aborted);
    assert_eq!(live(&later), BROKEN);
    assert_eq!(host.rest().phase, Phase::Aborted);
}

#[test]
fn a_freeze_stops_new_work_but_not_an_undoing() {
    let world = world();
    let host = Host::new(&world, settings(AutonomyLevel::AutoAll)).start();
    host.report();
    host.desk
        .set_frozen(&admin("ada"), Freeze::On, "quiet")
        .unwrap();
    host.desk.approve(&admin("ada"), "1").unwrap();
    host.rests_in(Phase::Approved);
    host.desk
        .set_frozen(&admin("ada"), Freeze::Off, "go")
        .unwrap();
    host.rests_in(Phase::Resolved);
    drop(host);

    let world = self::world();
    let entered = world.hold("verify");
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    entered.recv().unwrap();
    host.desk
        .set_frozen(&admin("ada"), Freeze::On, "quiet")
        .unwrap();
    let issue = host.desk.abort(&admin("ada"), "1", "stop").unwrap();
    assert_eq!(issue.phase, Phase::Aborted);
    assert_eq!(live(&world), BROKEN);
}

#[test]
fn a_frozen_host_still_brings_services_back_after_a_rollback() {
    let full = world();
    full.set(|it| it.probes = false);
    Host::with_issue(&full, AutonomyLevel::AutoAll).rests_in(Phase::Escalated);
    let rolled_back = {
        let records = full.records.lock().unwrap();
        let mut events = records.iter().map(|it| &it.event);
        events.position(|it| matches!(it, Event::RollbackCommitted { .. }))
    };
    let later = restarted(&full, rolled_back.unwrap() + 1);
    let host = Host::new(&later, settings(AutonomyLevel::AutoAll));
    host.desk
        .set_frozen(&admin("ada"), Freeze::On, "quiet")
        .unwrap();
    let host = host.start();
    host.rests_in(Phase::Failed);
    assert_eq!(later.get(|it| it.restarts), 1);
}

#[test]
fn a_redraft_brings_another_patch() {
    let world = world();
    let host = Host::with_issue(&world, AutonomyLevel::Suggest);
    let patch = |issue: &Issue| issue.run().unwrap().draft.as_ref().unwrap().patch.digest;
    let first = patch(&host.rests_in(Phase::PatchPending));
    let redraft = || {
        host.desk
            .reject_patch(&admin("ada"), "1", "nicer", Redraft::Yes)
    };
    redraft().unwrap();
    assert_ne!(patch(&host.rests_in(Phase::PatchPending)), first);
    assert_eq!(world.get(|it| it.excluded.clone()), [0, 1]);
    // An agent that does not listen is stopped by the host.
    world.set(|it| it.writes = vec!["x = 2\n".to_owned()]);
    redraft().unwrap();
    let issue = host.rests_in(Phase::Escalated);
    assert!(issue.end_reason.unwrap().contains("again"));
}

#[test]
fn new_policies_void_what_was_judged_under_old_ones() {
    let world = world();
    let host = Host::with_issue(&world, AutonomyLevel::Suggest);
    let issue = host.rests_in(Phase::PatchPending);
    world.set(|it| it.generation = 2);
    let digest = issue.run().unwrap().draft.as_ref().unwrap().patch.digest;
    let refused = host
        .desk
        .approve_patch(&admin("ada"), "1", &digest.to_string());
    assert!(matches!(refused, Err(DeskError::Conflict(_))));
    drop(host);

    // A host that starts with new policies, or a lower level, starts a cleared patch over.
    for (generation, level, end) in [
        (2, AutonomyLevel::AutoAll, Phase::Resolved),
        (1, AutonomyLevel::Suggest, Phase::PatchPending),
        (1, AutonomyLevel::Observe, Phase::Observed),
    ] {
        let world = self::world();
        Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
        let cleared = {
            let records = world.records.lock().unwrap();
            records
                .iter()
                .position(|it| matches!(it.event, Event::ApplyStarted { .. }))
                .unwrap()
        };
        let later = restarted(&world, cleared);
        later.set(|it| it.generation = generation);
        let host = Host::new(&later, settings(level)).start();
        let issue = host.rests_in(end);
        assert_eq!(issue.runs[0].status, RunStatus::Interrupted);
        assert_eq!(issue.runs.len(), 2);
    }
}

#[test]
fn a_tree_that_keeps_moving_does_not_keep_an_agent_busy() {
    let world = world();
    world.set(|it| it.fits = false);
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    let issue = host.rests_in(Phase::Escalated);
    assert_eq!(issue.runs.len(), 4);
    assert!(issue.end_reason.unwrap().contains("voided"));
    assert_eq!(live(&world), BROKEN);
    // An admin's retry has its own count.
    world.set(|it| it.fits = true);
    host.desk
        .retry(&admin("ada"), "1", RetryFrom::Diagnose)
        .unwrap();
    host.rests_in(Phase::Resolved);
}

/// The file of the bug moved on, and the patch merged with it leaves `after`.
fn moved_on(after: &str) -> Fit {
    Fit::Merges {
        moved: vec!["app.py".to_owned()],
        merged: Patch::of(vec![FileChange {
            path: "app.py".to_owned(),
            before: Some(format!("{BROKEN}# more\n")),
            after: Some(after.to_owned()),
        }]),
    }
}

#[test]
fn a_tree_that_moved_on_is_merged_unless_the_patch_was_reviewed() {
    let world = world();
    world.set(|it| it.fit = moved_on("x = 2\n# more\n"));
    let issue = Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
    assert_eq!(issue.runs.len(), 1);

    // A review is of files as they were: the next draft is of what they are now.
    let world = self::world();
    let host = Host::with_issue(&world, AutonomyLevel::Suggest);
    host.rests_in(Phase::PatchPending);
    world.set(|it| it.fit = moved_on("x = 2\n# more\n"));
    host.approve_patch();
    let issue = host.rests_in(Phase::PatchPending);
    assert_eq!(issue.runs.len(), 2);
    assert_eq!(issue.runs[0].status, RunStatus::Interrupted);
    assert_eq!(live(&world), BROKEN);
}

#[test]
fn a_merge_goes_live_only_if_it_holds() {
    let world = world();
    world.set(|it| it.fit = moved_on(&format!("{BROKEN}# even more\n")));
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    let issue = host.rests_in(Phase::Escalated);
    let first = &issue.runs[0];
    assert_eq!(first.status, RunStatus::Interrupted);
    let why = &first.review_comments[0];
    assert!(why.contains("it does not hold"), "{why}");
    assert_eq!(live(&world), BROKEN);
    let begun = |event: &Event| matches!(event, Event::ApplyStarted { .. });
    assert_eq!(count(&world, begun), 0);

    // One that holds, in a tree that stands still.
    world.set(|it| it.fit = moved_on("x = 2\n# more\n"));
    host.desk
        .retry(&admin("ada"), "1", RetryFrom::Diagnose)
        .unwrap();
    host.rests_in(Phase::Resolved);
    assert_eq!(count(&world, begun), 1);
}

#[test]
fn a_run_that_never_ends_with_its_host_is_handed_to_people() {
    let world = world();
    let entered = world.hold("diagnose");
    let mut host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    entered.recv().unwrap();
    for _ in 0..7 {
        drop(host);
        let entered = world.hold("diagnose");
        host = Host::new(&world, settings(AutonomyLevel::AutoAll)).start();
        entered.recv().unwrap();
    }
    drop(host);
    let host = Host::new(&world, settings(AutonomyLevel::AutoAll)).start();
    let issue = host.rests_in(Phase::Escalated);
    assert!(
        issue
            .end_reason
            .unwrap()
            .contains("8 runs were interrupted")
    );
    host.desk
        .retry(&admin("ada"), "1", RetryFrom::Diagnose)
        .unwrap();
    host.rests_in(Phase::Resolved);
}

#[test]
fn what_agents_and_checks_say_is_bounded_before_it_is_recorded() {
    let world = world();
    world.set(|it| it.confidence = f64::NAN);
    Host::with_issue(&world, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
    for record in world.records.lock().unwrap().iter() {
        let text = serde_json::to_string(&record.event).unwrap();
        assert!(text.len() < 80_000, "{} bytes", text.len());
    }
}

#[test]
fn whoever_admits_an_issue_knows_what_earlier_heals_came_to() {
    let world = world();
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Resolved);
    host.report();
    let healed: Vec<_> = world.get(|it| {
        let asked = it.admitted.iter();
        asked
            .map(|context| (context.earned.healed, context.earned.streak))
            .collect()
    });
    assert_eq!(healed, [(0, 0), (1, 1)]);
}

#[test]
fn a_heal_whose_issue_comes_back_is_none_and_ends_the_streak() {
    let world = world();
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::Resolved);
    let reason = "it came back".to_owned();
    let ledger = host.healer.ledger();
    ledger
        .record(support::ONE, Actor::Host, Event::IssueReopened { reason })
        .unwrap();
    host.report();
    let earned = world.get(|it| it.admitted.last().unwrap().earned);
    assert_eq!((earned.healed, earned.failed, earned.streak), (0, 1, 0));
}

#[test]
fn four_eyes_keep_reporters_from_deciding() {
    let world = world();
    let settings = settings(AutonomyLevel::Suggest);
    let rules = settings.rules.clone();
    let host = Host::new(&world, settings).start();
    host.report();
    // It counts from the moment on in which it comes into force.
    rules.put(HostRules {
        four_eyes: true,
        ..(*rules.get()).clone()
    });
    let forbidden = |result| matches!(result, Err(DeskError::Forbidden(_)));
    assert!(forbidden(host.desk.approve(&user("rita"), "1")));
    assert!(forbidden(host.desk.approve(&admin("rita"), "1")));
    host.desk.approve(&admin("ada"), "1").unwrap();
    let issue = host.rests_in(Phase::PatchPending);
    let digest = issue
        .run()
        .unwrap()
        .draft
        .as_ref()
        .unwrap()
        .patch
        .digest
        .to_string();
    assert!(forbidden(host.desk.approve_patch(
        &admin("rita"),
        "1",
        &digest
    )));
}

#[test]
fn two_reviews_are_by_two_people() {
    let world = world();
    world.set(|it| it.action = AutonomyAction::Review(2));
    let host = Host::with_issue(&world, AutonomyLevel::AutoAll);
    host.rests_in(Phase::PatchPending);
    host.approve_patch();
    let issue = host.rests_in(Phase::PatchPending);
    let digest = issue
        .run()
        .unwrap()
        .draft
        .as_ref()
        .unwrap()
        .patch
        .digest
        .to_string();
    let again = host.desk.approve_patch(&admin("ada"), "1", &digest);
    assert!(matches!(again, Err(DeskError::Conflict(_))));
    host.desk
        .approve_patch(&admin("bob"), "1", &digest)
        .unwrap();
    host.rests_in(Phase::Resolved);
}

/// A world as a crash leaves it after the first `length` records of another one: the
/// live tree as it stood then, half-written where that was under way.
fn restarted(full: &World, length: usize) -> Arc<World> {
    let later = world();
    let records = full.records.lock().unwrap()[..length].to_vec();
    let (mut file, mut commits) = (BROKEN.to_owned(), Vec::new());
    for record in &records {
        match &record.event {
            Event::PatchDrafted { .. } => later.set(|it| it.drafts += 1),
            Event::ApplyStarted { digest } => {
                let patch = records.iter().rev().find_map(|it| match &it.event {
                    Event::PatchDrafted { patch, .. } if patch.digest == *digest => Some(patch),
                    _ => None,
                });
                file = patch.unwrap().files[0].after.clone().unwrap();
            }
            Event::PatchApplied { .. } => commits.push("heal".to_owned()),
            Event::RollbackCommitted { commit } => {
                file = BROKEN.to_owned();
                commits.extend(commit.iter().map(|_| "rollback".to_owned()));
            }
            _ => {}
        }
    }
    later.set(|it| {
        it.files.insert("app.py".to_owned(), file);
        it.commits = commits;
    });
    *later.records.lock().unwrap() = records;
    later
}

#[test]
fn a_crash_after_any_record_ends_healed_or_as_before() {
    for probes in [true, false] {
        let full = world();
        full.set(|it| it.probes = probes);
        let host = Host::with_issue(&full, AutonomyLevel::AutoAll);
        host.rest();
        drop(host);
        let length = full.records.lock().unwrap().len();
        assert!(length > 12);
        for cut in 1..=length {
            let later = restarted(&full, cut);
            later.set(|it| it.probes = probes);
            let touched = later.folded_phase().may_have_touched_live_tree();
            let host = Host::new(&later, settings(AutonomyLevel::AutoAll)).start();
            let issue = host.rest();
            assert!(!issue.phase.is_active(), "{cut}: {:?}", issue.phase);
            let healed = issue.phase == Phase::Resolved;
            let expected = match (cut, probes) {
                (1, _) => Phase::Open,
                (_, true) => Phase::Resolved,
                (_, false) => Phase::Escalated,
            };
            assert_eq!(issue.phase, expected, "after {cut} records");
            assert_eq!(live(&later) == BROKEN, !healed, "after {cut} records");
            if touched {
                assert!(
                    later.get(|it| it.restarts) > 0 || healed,
                    "after {cut} records"
                );
            }
        }
    }
}
