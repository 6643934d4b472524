//! The door for events: legality, then durability, then memory; a permit only for
//! what is on disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_domain::event::{Event, EventKind};
use selfheal_domain::ids::{IssueId, IssueNumber};
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::{Ledger, RecordError};
use selfheal_domain::ports::{EventStore, StoreError};
use selfheal_domain::state::Phase;
use selfheal_domain::user::Actor;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier, Mutex};
use support::*;
use uuid::Uuid;

const ONE: IssueNumber = IssueNumber(1);

struct Bench {
    store: Arc<MemoryStore>,
    ledger: Ledger,
    heard: Arc<Mutex<Vec<u64>>>,
}

/// A ledger with one issue that has come as far as `kinds`.
fn bench(kinds: &[EventKind]) -> Bench {
    let store = Arc::new(MemoryStore::default());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let ledger = Ledger::new(
        Arc::clone(&store) as Arc<dyn EventStore>,
        Arc::new(FixedClock),
        Box::new(move |record| listener.lock().unwrap().push(record.seq)),
    );
    let issue = ledger
        .open(IssueId(Uuid::from_u128(1)), report(), Actor::Operator)
        .unwrap();
    assert_eq!(issue.number, ONE);
    for (salt, kind) in kinds.iter().enumerate() {
        ledger
            .record(ONE, Actor::Host, event(*kind, salt as u64))
            .unwrap();
    }
    Bench {
        store,
        ledger,
        heard,
    }
}

#[test]
fn what_is_recorded_is_heard_in_order_and_numbers_have_no_gap() {
    let bench = bench(TO_CLEARED);
    let wanted: Vec<u64> = (0..=TO_CLEARED.len() as u64).collect();
    assert_eq!(*bench.heard.lock().unwrap(), wanted);
    bench.store.failure.store(FAILS_BEFORE, Ordering::SeqCst);
    let id = |number| IssueId(Uuid::from_u128(number));
    let failed = bench.ledger.open(id(2), report(), Actor::Operator);
    assert!(matches!(
        failed,
        Err(RecordError::Store(StoreError::NotWritten(_)))
    ));
    let next = bench.ledger.open(id(3), report(), Actor::Operator).unwrap();
    assert_eq!(next.number, IssueNumber(2), "the failed one took no number");
}

#[test]
fn an_illegal_event_writes_nothing() {
    let bench = bench(&[]);
    let before = bench.store.len();
    for kind in EventKind::ALL {
        if Phase::Open.apply(*kind).is_ok() {
            continue;
        }
        let refused = bench.ledger.record(ONE, Actor::Host, event(*kind, 1));
        assert!(
            matches!(refused, Err(RecordError::Illegal(it)) if it.event == *kind),
            "{kind:?}: {refused:?}"
        );
    }
    let nobody = bench
        .ledger
        .record(IssueNumber(9), Actor::Host, Event::DraftingStarted);
    assert!(matches!(nobody, Err(RecordError::NoSuchIssue(_))));
    let unmet = bench
        .ledger
        .record_if(ONE, Actor::Host, |_| Err("not today".to_owned()));
    assert!(matches!(unmet, Err(RecordError::Condition(why)) if why == "not today"));
    assert_eq!(bench.store.len(), before);
    assert_eq!(bench.heard.lock().unwrap().len(), before);
}

#[test]
fn a_permit_comes_only_with_a_legal_recorded_intent() {
    let early = bench(&TO_CLEARED[..TO_CLEARED.len() - 1]);
    let refused = early.ledger.begin_apply(ONE, Actor::Host);
    assert!(matches!(refused, Err(RecordError::Illegal(_))));

    let ready = bench(TO_CLEARED);
    let (issue, permit) = ready.ledger.begin_apply(ONE, Actor::Host).unwrap();
    assert_eq!(issue.phase, Phase::Applying);
    let intent = &ready.store.records(Some(ONE), permit.record(), 1).unwrap()[0];
    assert!(matches!(intent.event, Event::ApplyStarted { .. }));
    assert_eq!(permit.run(), issue.run().unwrap().reference(ONE));
    // One intent, one effect.
    let again = ready.ledger.begin_apply(ONE, Actor::Host);
    assert!(matches!(again, Err(RecordError::Illegal(_))));

    let resume = ready.ledger.resume_rollback(ONE);
    assert!(matches!(resume, Err(RecordError::Condition(_))));
    let reason = || "it got worse".to_owned();
    let (issue, permit) = ready
        .ledger
        .begin_rollback(ONE, Actor::Host, reason())
        .unwrap();
    assert_eq!(issue.phase, Phase::RollingBack);
    let (_, resumed) = ready.ledger.resume_rollback(ONE).unwrap();
    assert_eq!(resumed.run(), permit.run());
}

#[test]
fn a_diagnosis_begins_with_its_own_event_and_an_approval() {
    let open = bench(&[]);
    let start = || event(EventKind::DiagnosisStarted, 5);
    let refused = open.ledger.begin_diagnosis(ONE, Actor::Host, start());
    assert!(matches!(refused, Err(RecordError::Illegal(_))));
    let approved = bench(&[EventKind::IssueApproved]);
    let other = event(EventKind::IssueCommented, 5);
    let refused = approved.ledger.begin_diagnosis(ONE, Actor::Host, other);
    assert!(matches!(refused, Err(RecordError::Condition(_))));
    let (issue, _permit) = approved
        .ledger
        .begin_diagnosis(ONE, Actor::Host, start())
        .unwrap();
    assert_eq!(issue.phase, Phase::Diagnosing);
}

#[test]
fn an_append_that_fails_before_the_write_yields_no_permit_and_can_be_repeated() {
    let bench = bench(TO_CLEARED);
    let before = bench.store.len();
    bench.store.failure.store(FAILS_BEFORE, Ordering::SeqCst);
    let failed = bench.ledger.begin_apply(ONE, Actor::Host);
    assert!(matches!(
        failed,
        Err(RecordError::Store(StoreError::NotWritten(_)))
    ));
    assert_eq!(bench.store.len(), before);
    assert_eq!(bench.heard.lock().unwrap().len(), before);
    let (_, permit) = bench.ledger.begin_apply(ONE, Actor::Host).unwrap();
    assert_eq!(permit.record(), before as u64);
}

#[test]
fn an_append_in_doubt_yields_no_permit_and_stops_everything() {
    let bench = bench(TO_CLEARED);
    let before = bench.heard.lock().unwrap().len();
    bench.store.failure.store(FAILS_AFTER, Ordering::SeqCst);
    let failed = bench.ledger.begin_apply(ONE, Actor::Host);
    assert!(matches!(
        failed,
        Err(RecordError::Store(StoreError::Uncertain(_)))
    ));
    assert_eq!(bench.heard.lock().unwrap().len(), before);
    // It is on disk in truth. Nobody may act on either assumption before a restart.
    let length = bench.store.len();
    let comment = event(EventKind::IssueCommented, 1);
    let refusals = [
        bench.ledger.record(ONE, Actor::Host, comment).err(),
        bench.ledger.begin_apply(ONE, Actor::Host).err(),
        bench
            .ledger
            .begin_rollback(ONE, Actor::Host, "x".to_owned())
            .err(),
        bench
            .ledger
            .record_host(Actor::Host, Event::HostStopped)
            .err(),
        bench
            .ledger
            .open(IssueId(Uuid::from_u128(2)), report(), Actor::Operator)
            .err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(
                refusal,
                Some(RecordError::InDoubt | RecordError::Illegal(_))
            ),
            "{refusal:?}"
        );
    }
    assert_eq!(bench.store.len(), length);
}

/// Else each report would wait for the flush of the one before.
#[test]
fn issues_that_are_opened_at_once_are_with_the_store_at_once() {
    const AT_ONCE: usize = 4;
    let bench = bench(&[]);
    bench.store.meeting.store(AT_ONCE, Ordering::SeqCst);
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let open = |id| {
            let ledger = &bench.ledger;
            scope.spawn(move || {
                let id = IssueId(Uuid::from_u128(id));
                let issue = ledger.open(id, report(), Actor::Operator).unwrap();
                assert_eq!(issue.id, id);
                issue.number.0
            })
        };
        let threads: Vec<_> = (2..2 + AT_ONCE as u128).map(open).collect();
        let ends = threads.into_iter().map(|it| it.join().unwrap());
        ends.collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5]);
    assert_eq!(bench.heard.lock().unwrap().len(), 1 + AT_ONCE);
}

#[test]
fn what_may_change_a_run_is_counted_and_nothing_else() {
    let bench = bench(&[]);
    let mut before = bench.ledger.run_changes();
    for (salt, kind) in TO_CLEARED.iter().enumerate() {
        let comment = event(EventKind::IssueCommented, 1_000 + salt as u64);
        bench.ledger.record(ONE, Actor::Host, comment).unwrap();
        assert_eq!(bench.ledger.run_changes(), before);
        let next = event(*kind, salt as u64);
        bench.ledger.record(ONE, Actor::Host, next).unwrap();
        let after = bench.ledger.run_changes();
        assert_eq!(after != before, kind.may_change_runs(), "{kind:?}");
        before = after;
    }
    let before = bench.store.issue(ONE).unwrap().unwrap();
    for kind in EventKind::ALL {
        let event = event(*kind, 2_000);
        if kind.may_change_runs() || before.phase.apply(*kind).is_err() {
            continue;
        }
        let (issue, _) = bench
            .ledger
            .record_if(ONE, Actor::Host, |_| Ok(event))
            .unwrap();
        let of = |issue: &Issue| {
            let ends = issue.runs.iter();
            let ends = ends.map(|run| (run.status, run.ended_at, run.rolled_back));
            (ends.collect::<Vec<_>>(), issue.status(), issue.reopened_at)
        };
        assert_eq!(of(&issue), of(&before), "{kind:?}");
    }
}

#[test]
fn of_two_writers_on_one_transition_one_is_refused() {
    for _ in 0..50 {
        let bench = bench(TO_CLEARED);
        let start = Barrier::new(2);
        let go = || {
            start.wait();
            bench.ledger.begin_apply(ONE, Actor::Host)
        };
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(go);
            (go(), other.join().unwrap())
        });
        assert!(one.is_ok() != two.is_ok());
        let loser = if one.is_ok() { two } else { one };
        assert!(matches!(loser, Err(RecordError::Illegal(_))));
        let starts = bench.store.records(Some(ONE), 0, 100).unwrap();
        let starts = starts
            .iter()
            .filter(|it| matches!(it.event, Event::ApplyStarted { .. }));
        assert_eq!(starts.count(), 1);
    }
}

/// Else a host that is killed at the wrong moment gives up the only right patch.
#[test]
fn a_patch_undone_before_it_was_whole_may_come_again_and_one_that_was_may_not() {
    for (applied, discarded) in [(None, 0), (Some(EventKind::PatchApplied), 1)] {
        let bench = bench(TO_CLEARED);
        let _permit = bench.ledger.begin_apply(ONE, Actor::Host).unwrap();
        if let Some(kind) = applied {
            let event = event(kind, 0);
            bench.ledger.record(ONE, Actor::Host, event).unwrap();
        }
        let reason = "it did not hold".to_owned();
        let _permit = bench
            .ledger
            .begin_rollback(ONE, Actor::Host, reason)
            .unwrap();
        let undone = event(EventKind::RollbackCommitted, 0);
        bench.ledger.record(ONE, Actor::Host, undone).unwrap();
        let issue = bench.store.issue(ONE).unwrap().unwrap();
        let run = issue.run().unwrap();
        assert!(run.rolled_back);
        assert_eq!(run.discarded.len(), discarded, "{applied:?}");
    }
}
