//! The whole machine, pair by pair, and what every way through it must contain.

use super::*;
use EventKind as E;
use Phase as P;
use std::collections::{BTreeSet, VecDeque};

/// What moves an issue, phase by phase: the event, and where it leads. Everything
/// that is not here, nor in [`STAYING`], is illegal.
const MOVES: &[(P, &[(E, P)])] = &[
    (
        P::Open,
        &[
            (E::IssueApproved, P::Approved),
            (E::IssueRejected, P::Rejected),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Approved,
        &[
            (E::DiagnosisStarted, P::Diagnosing),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (P::Rejected, &[]),
    (
        P::Diagnosing,
        &[
            (E::DiagnosisFinished, P::Diagnosed),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Diagnosed,
        &[
            (E::RunObserved, P::Observed),
            (E::DraftingStarted, P::Drafting),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Observed,
        &[
            (E::IssueAborted, P::Aborted),
            (E::IssueRetried, P::Approved),
        ],
    ),
    (
        P::Drafting,
        &[
            (E::PatchDrafted, P::Drafted),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Drafted,
        &[
            (E::PatchProved, P::Proved),
            (E::PatchRefuted, P::Failed),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Proved,
        &[
            (E::RiskAssessed, P::Assessed),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Assessed,
        &[
            (E::AutonomyApplies, P::Cleared),
            (E::AutonomyAsks, P::PatchPending),
            (E::AutonomyStops, P::Escalated),
            (E::RunInterrupted, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::PatchPending,
        &[
            (E::PatchApprovalCounted, P::PatchPending),
            (E::PatchApproved, P::Cleared),
            (E::PatchRejected, P::Rejected),
            (E::PatchSentBack, P::Diagnosed),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Cleared,
        &[
            (E::ApplyStarted, P::Applying),
            (E::PatchSentBack, P::Diagnosed),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Applying,
        &[
            (E::PatchApplied, P::Applied),
            (E::RollbackStarted, P::RollingBack),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::Applied,
        &[
            (E::VerificationStarted, P::Verifying),
            (E::RollbackStarted, P::RollingBack),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::Verifying,
        &[
            (E::VerificationPassed, P::Verified),
            (E::VerificationFailed, P::Refuted),
            (E::RollbackStarted, P::RollingBack),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::Verified,
        &[
            (E::IssueResolved, P::Resolved),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::Refuted,
        &[
            (E::RollbackStarted, P::RollingBack),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::RollingBack,
        &[
            (E::RollbackCommitted, P::RolledBack),
            (E::IssueEscalated, P::Stuck),
            (E::AbortStarted, P::Aborting),
        ],
    ),
    (
        P::RolledBack,
        &[
            (E::RunFailed, P::Failed),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
        ],
    ),
    (
        P::Aborting,
        &[
            (E::RollbackCommitted, P::AbortRolledBack),
            (E::IssueEscalated, P::Stuck),
        ],
    ),
    (P::AbortRolledBack, &[(E::IssueAborted, P::Aborted)]),
    (P::Resolved, &[(E::IssueReopened, P::Open)]),
    (
        P::Failed,
        &[
            (E::RunRetried, P::Approved),
            (E::IssueEscalated, P::Escalated),
            (E::IssueAborted, P::Aborted),
            (E::IssueRetried, P::Approved),
        ],
    ),
    (P::Escalated, &[(E::IssueRetried, P::Approved)]),
    (P::Stuck, &[(E::AbortStarted, P::Aborting)]),
    (P::Aborted, &[(E::IssueRetried, P::Approved)]),
];

/// What is recorded without moving the issue, and where.
const STAYING: &[(&[E], &[P])] = &[
    (
        &[
            E::IssueCommented,
            E::IssueTriaged,
            E::IssueRelated,
            E::IssueWoken,
        ],
        &P::ALL,
    ),
    (
        &[E::IssueSnoozed],
        &[
            P::Open,
            P::Approved,
            P::Diagnosing,
            P::Diagnosed,
            P::Observed,
            P::Drafting,
            P::Drafted,
            P::Proved,
            P::Assessed,
            P::PatchPending,
            P::Cleared,
            P::Applying,
            P::Applied,
            P::Verifying,
            P::Verified,
            P::Refuted,
            P::RollingBack,
            P::RolledBack,
            P::Aborting,
            P::AbortRolledBack,
            P::Failed,
            P::Escalated,
            P::Stuck,
        ],
    ),
    (
        &[E::ToolCalled, E::ToolFinished, E::TrustLowered],
        &[
            P::Diagnosing,
            P::Drafting,
            P::Drafted,
            P::Cleared,
            P::Applied,
            P::Verifying,
            P::RollingBack,
            P::Aborting,
        ],
    ),
    (
        &[E::ServiceRestarted],
        &[
            P::Applied,
            P::RollingBack,
            P::RolledBack,
            P::Aborting,
            P::AbortRolledBack,
        ],
    ),
];

/// The table's answer.
fn expected(phase: P, event: E) -> Option<P> {
    let moves = MOVES.iter().find(|(from, _)| *from == phase);
    let moved = moves
        .into_iter()
        .flat_map(|(_, moves)| *moves)
        .find(|(kind, _)| *kind == event)
        .map(|(_, next)| *next);
    let stays = STAYING
        .iter()
        .any(|(events, phases)| events.contains(&event) && phases.contains(&phase));
    moved.or(stays.then_some(phase))
}

/// Every legal step of the machine itself.
fn steps() -> Vec<(P, E, P)> {
    let pairs = P::ALL
        .into_iter()
        .flat_map(|phase| E::ALL.iter().map(move |event| (phase, *event)));
    pairs
        .filter_map(|(phase, event)| Some((phase, event, phase.apply(event).ok()?)))
        .collect()
}

/// Phases that can be reached from `start` by steps that `allowed` lets through.
fn reachable(start: P, allowed: impl Fn(P, E) -> bool) -> BTreeSet<P> {
    let steps = steps();
    let (mut seen, mut waiting) = (BTreeSet::from([start]), VecDeque::from([start]));
    while let Some(phase) = waiting.pop_front() {
        for (from, event, to) in &steps {
            if *from == phase && allowed(*from, *event) && seen.insert(*to) {
                waiting.push_back(*to);
            }
        }
    }
    seen
}

#[test]
fn every_pair_of_phase_and_event_is_decided_as_the_table_says() {
    assert_eq!(MOVES.len(), P::ALL.len(), "every phase has its row");
    let distinct: BTreeSet<_> = P::ALL.into_iter().collect();
    assert_eq!(distinct.len(), P::ALL.len());
    let (mut pairs, mut legal) = (0, 0);
    for phase in P::ALL {
        for event in E::ALL {
            pairs += 1;
            let found = phase.apply(*event);
            assert_eq!(
                found.ok(),
                expected(phase, *event),
                "{phase:?} on {event:?}"
            );
            match found {
                Ok(_) => legal += 1,
                Err(refusal) => assert_eq!((refusal.phase, refusal.event), (phase, *event)),
            }
        }
    }
    let moves: usize = MOVES.iter().map(|(_, moves)| moves.len()).sum();
    assert_eq!((pairs, moves, legal), (26 * 43, 76, 232));
}

#[test]
fn every_phase_can_be_reached_and_left_as_documented() {
    assert_eq!(reachable(P::Open, |_, _| true).len(), P::ALL.len());
    for phase in P::ALL {
        let moves = steps()
            .into_iter()
            .filter(|(from, _, to)| *from == phase && to != from)
            .count();
        assert_eq!(moves == 0, phase == P::Rejected, "{phase:?}");
        // What is active goes on without anybody's word, what is not waits for one.
        let by_people = |event| {
            matches!(
                event,
                E::IssueApproved
                    | E::IssueRejected
                    | E::IssueRetried
                    | E::IssueReopened
                    | E::IssueAborted
                    | E::AbortStarted
                    | E::PatchApproved
                    | E::PatchRejected
                    | E::PatchSentBack
            )
        };
        let goes_on = steps()
            .into_iter()
            .any(|(from, event, to)| from == phase && to != from && !by_people(event));
        assert_eq!(
            phase.is_active(),
            goes_on || phase == P::AbortRolledBack,
            "{phase:?}"
        );
    }
}

/// Invariants 1, 7, 8: none of these can be left out on the way to a healed issue.
#[test]
fn no_issue_is_resolved_without_approval_proof_clearing_intent_and_verification() {
    let necessary: &[&[E]] = &[
        &[E::IssueApproved],
        &[E::DiagnosisStarted],
        &[E::DiagnosisFinished],
        &[E::DraftingStarted],
        &[E::PatchDrafted],
        &[E::PatchProved],
        &[E::RiskAssessed],
        &[E::AutonomyApplies, E::AutonomyAsks],
        &[E::AutonomyApplies, E::PatchApproved],
        &[E::ApplyStarted],
        &[E::PatchApplied],
        &[E::VerificationStarted],
        &[E::VerificationPassed],
        &[E::IssueResolved],
    ];
    assert!(reachable(P::Open, |_, _| true).contains(&P::Resolved));
    for removed in necessary {
        let left = match removed {
            // An admin's retry is an approval too.
            [E::IssueApproved] => reachable(P::Open, |_, e| {
                e != E::IssueApproved && e != E::IssueRetried
            }),
            _ => reachable(P::Open, |_, e| !removed.contains(&e)),
        };
        assert!(!left.contains(&P::Resolved), "without {removed:?}");
    }
}

/// From wherever an earlier attempt ended, the next one needs every step again.
#[test]
fn a_new_attempt_inherits_no_proof_and_no_clearing() {
    for start in [P::Approved, P::Diagnosed, P::Failed, P::Escalated, P::Open] {
        for removed in [E::PatchProved, E::RiskAssessed, E::ApplyStarted] {
            let left = reachable(start, |_, e| e != removed);
            assert!(!left.contains(&P::Applied), "{start:?} without {removed:?}");
        }
    }
}

#[test]
fn the_live_tree_is_not_touched_without_a_clearing_and_its_recorded_intent() {
    for removed in [
        &[E::AutonomyApplies, E::PatchApproved][..],
        &[E::ApplyStarted],
        &[E::PatchProved],
    ] {
        for phase in reachable(P::Open, |_, e| !removed.contains(&e)) {
            assert!(
                !phase.may_have_touched_live_tree(),
                "{phase:?} without {removed:?}"
            );
        }
    }
    // The only way in is the intent.
    for (from, event, to) in steps() {
        if !from.may_have_touched_live_tree() && to.may_have_touched_live_tree() {
            assert_eq!(
                (from, event, to),
                (P::Cleared, E::ApplyStarted, P::Applying)
            );
        }
    }
}

#[test]
fn what_was_applied_ends_healed_rolled_back_or_with_people() {
    let touched = P::ALL
        .into_iter()
        .filter(|phase| phase.may_have_touched_live_tree());
    for start in touched {
        let left = reachable(start, |from, event| {
            // Where it is healed, the story ends.
            event != E::RollbackCommitted && from != P::Resolved
        });
        for phase in left {
            assert!(
                phase.may_have_touched_live_tree() || phase == P::Resolved,
                "{start:?} leads to {phase:?} without a rollback"
            );
        }
    }
    // What could not be undone stays with people until it is.
    for (from, event, to) in steps() {
        if from == P::Stuck && to != P::Stuck {
            assert_eq!((event, to), (E::AbortStarted, P::Aborting));
        }
    }
}

#[test]
fn phases_map_to_the_public_states_of_the_contract() {
    let statuses: BTreeSet<_> = P::ALL.into_iter().map(Phase::status).collect();
    assert_eq!(statuses, IssueStatus::ALL.into_iter().collect());
    for status in IssueStatus::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            format!("\"{status}\"")
        );
    }
    assert!("open".parse::<IssueStatus>().is_err());
    let of = |status| {
        let phases = P::ALL.into_iter().filter(|phase| phase.status() == status);
        phases.collect::<Vec<_>>()
    };
    assert_eq!(of(IssueStatus::PatchPending), [P::PatchPending]);
    assert_eq!(of(IssueStatus::Resolved), [P::Resolved]);
    assert_eq!(
        of(IssueStatus::Patching),
        [P::Cleared, P::Applying, P::Applied]
    );
}
