//! Every effect that the host itself has because of a run (git, services, probes), what
//! must be on record before it, and that it does not happen where that record cannot be
//! written (invariants 2 and 8). Effects of agents are listed in the broker's own test.
//!
//! A method that is added to one of these ports fails here until it is listed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::state::Phase;
use std::collections::BTreeSet;
use std::sync::Arc;
use support::{Host, World, admin};

/// What an effect needs.
enum Needs {
    /// The very last record is this intent; a permit made of it is the argument.
    Intent(&'static [&'static str]),
    /// One of these is on record for the run; more happened since.
    Begun(&'static [&'static str]),
}

/// Effects by port and method, with why that is enough.
const EFFECTS: &[(&str, &str, Needs)] = &[
    // Copies the live tree under a ref of our own, so that nothing of it can be lost; its
    // commit is part of the intent that follows.
    (
        "Repository",
        "snapshot",
        Needs::Begun(&["issue.approved", "issue.retried"]),
    ),
    // Takes Permit<DraftPatch>. Makes directories of our own.
    (
        "Repository",
        "open_worktree",
        Needs::Begun(&["drafting.started"]),
    ),
    // Takes Permit<DraftPatch> by value. Commits on the run's own branch.
    (
        "Repository",
        "commit_draft",
        Needs::Begun(&["drafting.started"]),
    ),
    // Removes directories of our own.
    (
        "Repository",
        "close_worktree",
        Needs::Begun(&["drafting.started"]),
    ),
    // Takes Permit<Apply> by value. Changes the live tree and its branch.
    ("Repository", "apply", Needs::Intent(&["apply.started"])),
    // Takes Permit<Rollback> by value. Changes the live tree and its branch.
    (
        "Repository",
        "roll_back",
        Needs::Intent(&["rollback.started", "abort.started"]),
    ),
    // Stops and starts a process of the operators.
    ("Services", "restart", Needs::Intent(&["service.restarted"])),
    (
        "Services",
        "reload_or_restart",
        Needs::Intent(&["service.restarted"]),
    ),
    // On an admin's word; recorded by the desk.
    ("Services", "operate", Needs::Intent(&["service.operated"])),
    // Sends the requests that the operators configured, to see whether the patch holds.
    ("Probes", "check", Needs::Begun(&["apply.started"])),
];

/// Methods that change nothing: they look.
const LOOKS: &[(&str, &[&str])] = &[
    (
        "Repository",
        &[
            "root",
            "read_files",
            "check_fits",
            "rehearse_rollback",
            "find_culprit",
            "trailers",
        ],
    ),
    (
        "Services",
        &[
            "names",
            "health",
            "status",
            "log_tail",
            "log_position",
            "log_since",
            "details",
            "new_errors",
        ],
    ),
    ("Probes", &[]),
    // Hand out tools: every call of these passes the broker.
    (
        "Workbench",
        &["for_diagnosis", "for_drafting", "for_verification"],
    ),
];

/// Type of an event, as in the journal.
fn name(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["type"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the world calls a method.
fn traced(method: &'static str) -> &'static str {
    match method {
        "check" => "probe",
        // The world knows one way to bring a service up anew.
        "reload_or_restart" | "operate" => "restart",
        other => other,
    }
}

/// Walks that together have every effect.
fn walks() -> Vec<Arc<World>> {
    let healed = Arc::new(World::default());
    Host::with_issue(&healed, AutonomyLevel::AutoAll).rests_in(Phase::Resolved);
    let refuted = Arc::new(World::default());
    refuted.set(|it| it.healthy = false);
    Host::with_issue(&refuted, AutonomyLevel::AutoAll).rests_in(Phase::Escalated);
    let aborted = Arc::new(World::default());
    let entered = aborted.hold("verify");
    let host = Host::with_issue(&aborted, AutonomyLevel::AutoAll);
    entered.recv().unwrap();
    host.desk.abort(&admin("ada"), "1", "stop").unwrap();
    drop(host);
    vec![healed, refuted, aborted]
}

#[test]
fn every_effect_of_the_host_has_its_record_first() {
    let mut seen = BTreeSet::new();
    for world in walks() {
        let records: Vec<Event> = {
            let records = world.records.lock().unwrap();
            records.iter().map(|record| record.event.clone()).collect()
        };
        for (what, latest) in world.get(|it| it.trace.clone()) {
            let Some((_, _, needs)) = EFFECTS.iter().find(|(_, method, _)| traced(method) == what)
            else {
                assert!(matches!(what, "diagnose" | "draft"), "{what} is not listed");
                continue;
            };
            seen.insert(what);
            let before = name(&latest);
            match needs {
                Needs::Intent(intents) => {
                    assert!(intents.contains(&before.as_str()), "{what} after {before}");
                    if let Event::ServiceRestarted { outcome, .. } = &latest {
                        assert!(matches!(outcome, ToolOutcome::Unknown(_)), "no intent");
                    }
                }
                Needs::Begun(begun) => {
                    let until = records.iter().position(|event| *event == latest).unwrap();
                    let known = records[..=until].iter().map(name);
                    let mut of_interest = known.filter(|it| begun.contains(&it.as_str()));
                    assert!(of_interest.next().is_some(), "{what} after {before}");
                }
            }
        }
    }
    let listed: BTreeSet<_> = EFFECTS
        .iter()
        .map(|(_, method, _)| traced(method))
        .collect();
    assert_eq!(seen, listed, "the walks have every effect");
}

#[test]
fn without_its_record_no_effect_happens() {
    for (record, effect) in [
        ("issue.approved", "snapshot"),
        ("diagnosis.started", "diagnose"),
        ("drafting.started", "draft"),
        ("drafting.started", "open_worktree"),
        ("drafting.started", "commit_draft"),
        ("apply.started", "apply"),
        ("rollback.started", "roll_back"),
        ("service.restarted", "restart"),
        ("apply.started", "probe"),
    ] {
        let world = Arc::new(World::default());
        world.set(|it| {
            it.healthy = false;
            it.unrecordable = Some(record);
        });
        let host = Host::new(&world, support::settings(AutonomyLevel::AutoAll)).start();
        host.report();
        let _refused = host.desk.approve(&admin("ada"), "1");
        let _at_rest = host.rest();
        drop(host);
        let trace = world.get(|it| it.trace.clone());
        let done: Vec<&str> = trace.into_iter().map(|(what, _)| what).collect();
        assert!(
            !done.contains(&effect),
            "{effect} without {record}: {done:?}"
        );
    }
}

#[test]
fn the_ports_have_no_method_that_is_not_listed() {
    let source = include_str!("../../domain/src/ports.rs");
    for (port, looks) in LOOKS {
        let start = format!("pub trait {port}: Send + Sync {{");
        let body = source
            .split(&start)
            .nth(1)
            .unwrap()
            .split("\n}")
            .next()
            .unwrap();
        let methods: BTreeSet<&str> = body
            .lines()
            .filter_map(|line| line.strip_prefix("    fn ")?.split('(').next())
            .collect();
        let effects = EFFECTS.iter().filter(|(of, _, _)| of == port);
        let listed: BTreeSet<&str> = effects
            .map(|(_, method, _)| *method)
            .chain(looks.iter().copied())
            .collect();
        assert_eq!(methods, listed, "{port}");
    }
}
