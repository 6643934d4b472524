//! The keeper's own thread, as a host runs it: what it notices by itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use super::{World, bash, in_run, mode, text, user};
use crate::keeper::PolicyKeeper;
use selfheal_domain::event::Event;
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::{ChangeSource, PolicyControl, Rollout};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Long enough for any machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next event that `wanted` picks, as soon as it is recorded.
fn next<T>(events: &Receiver<Event>, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event in time");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

fn changed(event: &Event) -> Option<(u64, ChangeSource)> {
    match event {
        Event::PolicyChanged(change) => Some((change.generation, change.source)),
        _ => None,
    }
}

fn refused(event: &Event) -> Option<String> {
    match event {
        Event::PolicyRefused { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

/// Ends the thread also where a test fails.
struct Started(Arc<PolicyKeeper>);

impl Started {
    fn new(keeper: &Arc<PolicyKeeper>) -> Self {
        keeper.start().unwrap();
        Self(Arc::clone(keeper))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[test]
fn edits_are_noticed_however_an_editor_writes_them() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let (keeper, events) = world.open_watched();
    let thread = Started::new(&keeper);
    assert!(keeper.start().is_err(), "once");
    assert_eq!(next(&events, changed), (1, ChangeSource::Start));

    world.write(&text(&[("allows", "enforce"), ("asks", "enforce")]));
    assert_eq!(next(&events, changed), (2, ChangeSource::File));

    // Beside it and renamed over it, as editors and configuration tools do.
    let fresh = world.home.path().join("policy.toml.new");
    std::fs::write(&fresh, text(&[("denies", "enforce")])).unwrap();
    std::fs::rename(&fresh, world.file()).unwrap();
    assert_eq!(next(&events, changed), (3, ChangeSource::File));

    world.write("colour = [");
    assert!(next(&events, refused).contains("policy.toml"));
    std::fs::remove_file(world.file()).unwrap();
    assert!(next(&events, refused).contains("policy.toml"));
    world.write(&text(&[("allows", "enforce")]));
    assert_eq!(next(&events, changed), (4, ChangeSource::File));
    let generation = keeper.host().current().generation();
    assert!(generation >= 3, "recorded before it is in force");

    drop(thread);
    assert_eq!(keeper.status().generation, 4);
}

#[test]
fn what_is_observed_takes_a_bad_canary_back() {
    let world = World::new(&text(&[("allows", "enforce"), ("traps", "off")]));
    let (keeper, events) = world.open_watched();
    let _thread = Started::new(&keeper);
    let canary = Rollout::Canary { percent: 99 };
    keeper
        .activate(&mode("traps", "enforce"), canary, &user("ada"), "try")
        .unwrap();
    next(&events, |event| match event {
        Event::PolicyChanged(change) => (change.rollout == canary).then_some(()),
        _ => None,
    });
    let host = keeper.host();
    let mut run = 0;
    let reason = loop {
        run += 1;
        let context = in_run(run);
        let set = host.for_run(context.run);
        let record = world.log.decide(&*set, &context, bash("ls"));
        keeper.observe(&Arc::new(record));
        let back = events.try_iter().find_map(|event| match event {
            Event::PolicyChanged(change) if change.source == ChangeSource::Return => {
                Some(change.reason)
            }
            _ => None,
        });
        match back {
            Some(reason) => break reason,
            None => assert!(run < 1_000_000, "never taken back"),
        }
    };
    assert!(reason.contains("taken back"), "{reason}");
}
