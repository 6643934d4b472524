//! The host dies at every durable step of a change. What the next start has in force
//! is the old set or the new one, never none, and always one that is allowed to be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use super::{World, four_eyes, mode, text, user, verdict};
use crate::files::crash;
use crate::keeper::PolicyKeeper;
use selfheal_domain::event::Event;
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::{Candidate, ChangeOutcome, PolicyControl, Rollout};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// More steps than any change has.
const MANY: usize = 200;

/// What a start left: the verdict on a call, and whether the log vouches for the
/// generation in force.
fn start(world: &World) -> (std::sync::Arc<PolicyKeeper>, u8) {
    let keeper = world.open();
    let status = keeper.status();
    let set = keeper.host().current();
    assert_eq!(set.generation(), status.generation);
    assert_eq!(set.digest(), status.digest);
    let vouched = world.count(|event| {
        matches!(event, Event::PolicyChanged(change)
            if change.generation == status.generation
                && change.digest == status.digest
                && change.rollout == Rollout::Full)
    });
    assert!(
        vouched > 0,
        "the log knows generation {}",
        status.generation
    );
    let verdict = verdict(&keeper);
    (keeper, verdict)
}

/// Dies at each step of `change` in turn, in a world of its own each time; `check`
/// gets the verdict after the next start. Gives the number of steps.
fn at_each_step(
    first: &str,
    prepare: impl Fn(&World, &PolicyKeeper),
    change: impl Fn(&World, &PolicyKeeper),
    check: impl Fn(&World, &PolicyKeeper, u8, &str),
) -> usize {
    for step in 0..MANY {
        let world = World::new(first);
        let keeper = world.open();
        prepare(&world, &keeper);
        crash::at(step);
        let died = catch_unwind(AssertUnwindSafe(|| change(&world, &keeper))).is_err();
        let place = crash::never();
        drop(keeper);
        if !died {
            let (keeper, verdict) = start(&world);
            check(&world, &keeper, verdict, "it did not die");
            return step;
        }
        let (keeper, verdict) = start(&world);
        check(&world, &keeper, verdict, &format!("step {step}, {place}"));
        drop(keeper);
        // And the start after that says the same.
        let (keeper, again) = start(&world);
        check(
            &world,
            &keeper,
            again,
            &format!("step {step}, {place}, twice"),
        );
        assert_eq!(again, verdict, "step {step}, {place}");
        // What waits for a second admin in the file stays there until one comes.
        if keeper.status().not_in_force.is_some() {
            continue;
        }
        // Nothing is left that stops the next change.
        let text = keeper.text();
        let next = Candidate::Text(format!("{text}[quarantine]\nfaults = 2\n"));
        let outcome = keeper
            .activate(&next, Rollout::Full, &user("ada"), "next")
            .unwrap_or_else(|error| panic!("step {step}, {place}: {error}"));
        let generation = keeper.status().generation;
        assert!(
            matches!(outcome, ChangeOutcome::Activated { generation: number, .. } if number == generation),
            "step {step}, {place}: {outcome:?}"
        );
    }
    panic!("more than {MANY} steps");
}

fn recorded(world: &World, generation: u64) -> bool {
    let found = world.count(
        |event| matches!(event, Event::PolicyChanged(change) if change.generation == generation),
    );
    found > 0
}

#[test]
fn a_change_by_api_is_there_or_not() {
    let steps = at_each_step(
        &text(&[("allows", "enforce"), ("denies", "off")]),
        |_, _| {},
        |_, keeper| {
            let candidate = mode("denies", "enforce");
            let done = keeper.activate(&candidate, Rollout::Full, &user("ada"), "x");
            done.unwrap();
        },
        |world, keeper, verdict, place| {
            assert!([0, 2].contains(&verdict), "{place}: {verdict}");
            // A change that is on record happened.
            if recorded(world, 2) {
                assert_eq!(verdict, 2, "{place}");
            }
            assert_eq!(keeper.status().not_in_force, None, "{place}");
            assert_eq!(keeper.text(), world.text(), "{place}");
        },
    );
    assert!(steps >= 8, "{steps} steps");
}

#[test]
fn an_edit_of_the_file_is_taken_by_the_start_that_follows() {
    let after = text(&[("allows", "enforce"), ("denies", "enforce")]);
    at_each_step(
        &text(&[("allows", "enforce")]),
        |_, _| {},
        |world, keeper| {
            world.write(&after);
            keeper.look_at_file();
        },
        |_, _, verdict, place| assert_eq!(verdict, 2, "{place}"),
    );
}

/// Two admins loosened; half of that must not count as one admin's word.
#[test]
fn a_confirmed_loosening_is_in_force_only_if_it_is_on_record() {
    let steps = at_each_step(
        &four_eyes(&[("allows", "enforce"), ("denies", "enforce")]),
        |_, keeper| {
            let looser = Candidate::Text(four_eyes(&[("allows", "enforce")]));
            let proposed = keeper.activate(&looser, Rollout::Full, &user("ada"), "x");
            assert!(matches!(proposed, Ok(ChangeOutcome::Proposed { .. })));
        },
        |_, keeper| {
            keeper.confirm(1, &user("bob")).unwrap();
        },
        |world, keeper, verdict, place| {
            let loosened = if recorded(world, 2) { 0 } else { 2 };
            assert_eq!(verdict, loosened, "{place}");
            if verdict == 2 {
                let waits = keeper.status().proposals;
                assert!(!waits.is_empty(), "{place}: it still waits");
            }
        },
    );
    assert!(steps >= 8, "{steps} steps");
}

#[test]
fn a_roll_back_is_there_or_not_even_without_the_modules_file() {
    at_each_step(
        &text(&[("allows", "enforce")]),
        |_, keeper| {
            let stricter = Candidate::Text(text(&[("denies", "enforce")]));
            let done = keeper.activate(&stricter, Rollout::Full, &user("ada"), "x");
            done.unwrap();
        },
        |_, keeper| {
            keeper.roll_back(None, &user("ada"), "too strict").unwrap();
        },
        |world, _, verdict, place| {
            assert!([0, 2].contains(&verdict), "{place}: {verdict}");
            if recorded(world, 3) {
                assert_eq!(verdict, 0, "{place}");
            }
        },
    );
}

/// The first start of all: whatever it left, the next one begins.
#[test]
fn a_start_that_dies_does_not_hinder_the_next() {
    for step in 0..MANY {
        let world = World::new(&text(&[("allows", "enforce"), ("asks", "enforce")]));
        crash::at(step);
        let died = catch_unwind(AssertUnwindSafe(|| drop(world.open()))).is_err();
        let place = crash::never();
        let (_, verdict) = start(&world);
        assert_eq!(verdict, 1, "step {step}, {place}");
        if !died {
            assert!(step >= 4, "{step} steps");
            return;
        }
    }
    panic!("more than {MANY} steps");
}
