//! A restart goes on with what was under observation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use super::{World, activate, in_run, text, user, verdict};
use selfheal_domain::event::Event;
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, ChangeSource, PolicyControl, Promote, Rollout,
};

fn stricter() -> Candidate {
    Candidate::Text(text(&[("allows", "enforce"), ("denies", "enforce")]))
}

fn changes(world: &World) -> usize {
    world.count(|event| matches!(event, Event::PolicyChanged(_)))
}

#[test]
fn a_canary_goes_on_for_the_same_runs_after_a_restart() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    let canary = Rollout::Canary { percent: 30 };
    keeper
        .activate(&stricter(), canary, &user("ada"), "try")
        .unwrap();
    let taken = |keeper: &super::PolicyKeeper| -> Vec<u128> {
        let host = keeper.host();
        (0..300u128)
            .filter(|run| host.for_run(in_run(*run).run).generation() == 2)
            .collect()
    };
    let (before, recorded) = (taken(&keeper), changes(&world));
    assert!(!before.is_empty());
    drop(keeper);
    let keeper = world.open();
    let trial = keeper.status().trial.expect("it goes on");
    assert_eq!((trial.generation, trial.rollout), (2, canary));
    assert_eq!(trial.by, user("ada"));
    assert_eq!(taken(&keeper), before);
    assert_eq!(changes(&world), recorded, "nothing changed by that");
    assert_eq!(verdict(&keeper), 0, "the set in force is the same");
    // It is still what misbehaves or is promoted.
    let outcome = keeper
        .end_trial(Promote::Yes, &user("ada"), "good")
        .unwrap();
    assert!(
        matches!(outcome, ChangeOutcome::Activated { generation: 2, .. }),
        "{outcome:?}"
    );
    drop(keeper);
    let keeper = world.open();
    assert_eq!((verdict(&keeper), keeper.status().trial), (2, None));
}

#[test]
fn a_shadow_goes_on_after_a_restart_and_ends_with_another_set() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    keeper
        .activate(&stricter(), Rollout::Shadow, &user("ada"), "look")
        .unwrap();
    drop(keeper);
    let keeper = world.open();
    assert_eq!(world.decide(&keeper, 1, 5), [0; 5]);
    assert_eq!(keeper.status().trial.map(|trial| trial.stricter), Some(5));
    drop(keeper);
    // Edited while the host was down: what is tried was meant against another set.
    world.write(&text(&[("allows", "enforce"), ("asks", "enforce")]));
    let keeper = world.open();
    assert_eq!((verdict(&keeper), keeper.status().trial), (1, None));
    let generation = keeper.status().generation;
    assert_eq!(
        generation, 3,
        "a number that was tried is never another set's"
    );
    assert!(world.log.events().iter().any(|event| matches!(
        event,
        Event::PolicyChanged(change) if change.reason.contains("not tried any more")
    )));
}

#[test]
fn only_what_the_log_vouches_for_is_tried_again() {
    let world = World::new(&text(&[("allows", "enforce"), ("denies", "off")]));
    let keeper = world.open();
    let canary = Rollout::Canary { percent: 5 };
    keeper
        .activate(&stricter(), canary, &user("ada"), "try")
        .unwrap();
    drop(keeper);
    let file = world.home.path().join("data/policies/observed.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    let more = kept.replace("\"percent\": 5", "\"percent\": 99");
    assert_ne!(more, kept);
    std::fs::write(&file, more).unwrap();
    let keeper = world.open();
    assert_eq!(keeper.status().trial, None);
    drop(keeper);
    std::fs::write(&file, kept).unwrap();
    let keeper = world.open();
    assert_eq!(keeper.status().trial, None, "its end is on record");
    // Nor what cannot be read.
    std::fs::write(&file, "nonsense").unwrap();
    drop(keeper);
    assert_eq!(world.open().status().generation, 1);
}

#[test]
fn a_generation_that_is_watched_is_taken_back_after_a_restart_too() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    world.decide(&keeper, 1, 60);
    activate(&keeper, &mode_added("traps"));
    drop(keeper);
    let keeper = world.open();
    assert_eq!((keeper.status().generation, verdict(&keeper)), (2, 2));
    for run in 2..8 {
        world.decide(&keeper, run, 1);
    }
    let status = keeper.status();
    assert_eq!((status.source, verdict(&keeper)), (ChangeSource::Return, 0));
    drop(keeper);

    // Once its time is over, it stays.
    let keeper = world.open();
    activate(&keeper, &mode_added("traps"));
    drop(keeper);
    world.clock.advance(31);
    let keeper = world.open();
    for run in 20..30 {
        world.decide(&keeper, run, 1);
    }
    assert_eq!(keeper.status().source, ChangeSource::Api);
}

fn mode_added(name: &str) -> Candidate {
    Candidate::Text(text(&[("allows", "enforce"), (name, "enforce")]))
}
