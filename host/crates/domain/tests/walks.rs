//! Whatever legally happens to an issue, replaying its records gives the same
//! issue, from memory and from JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use proptest::prelude::*;
use selfheal_domain::event::{EventKind, NewRecord};
use selfheal_domain::issue::{FoldError, Issue};
use selfheal_domain::run::RunStatus;
use selfheal_domain::state::Phase;
use support::{TO_CLEARED, about_draft, event, record};

/// A legal walk: each choice picks among the events that are legal then. Moves are
/// preferred, or most walks would only comment.
fn walk(choices: &[u16]) -> (Vec<NewRecord>, Vec<Issue>) {
    let opening = record(1, event(EventKind::IssueOpened, 1), 0);
    let mut issues = vec![Issue::open(&opening).unwrap()];
    let mut records = vec![opening];
    for (turn, choice) in choices.iter().enumerate() {
        let issue = issues.last().unwrap();
        let legal = |moving: bool| {
            EventKind::ALL
                .iter()
                .copied()
                .filter(move |kind| {
                    issue
                        .phase
                        .apply(*kind)
                        .is_ok_and(|next| !moving || next != issue.phase)
                })
                .collect::<Vec<_>>()
        };
        let mut kinds = legal(choice % 4 != 0);
        if kinds.is_empty() {
            kinds = legal(false);
        }
        let kind = kinds[usize::from(choice / 4) % kinds.len()];
        let event = about_draft(issue, event(kind, turn as u64 + 2));
        let next = record(1, event, turn as i64 + 1);
        assert_eq!(next.event.kind(), Some(kind), "the event is of its kind");
        let after = issue.after(&next).unwrap();
        issues.push(after);
        records.push(next);
    }
    (records, issues)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_prefix_of_a_legal_walk_replays_to_the_same_issue(
        choices in proptest::collection::vec(any::<u16>(), 0..80),
    ) {
        let (records, issues) = walk(&choices);
        let mut replayed: Option<Issue> = None;
        for (turn, record) in records.iter().enumerate() {
            let json = serde_json::to_string(record).unwrap();
            let read: NewRecord = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, record);
            let next = match &replayed {
                None => Issue::open(&read).unwrap(),
                Some(issue) => issue.after(&read).unwrap(),
            };
            prop_assert_eq!(&next, &issues[turn]);
            prop_assert_eq!(next.version, turn as u64 + 1);
            let json = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Issue>(&json).unwrap(), &next);
            replayed = Some(next);
        }
    }

    #[test]
    fn what_the_issue_says_fits_its_phase(
        choices in proptest::collection::vec(any::<u16>(), 0..120),
    ) {
        for issue in walk(&choices).1 {
            let active = issue.runs.iter().filter(|run| run.status == RunStatus::Active);
            prop_assert!(active.count() <= 1);
            for (index, run) in issue.runs.iter().enumerate() {
                prop_assert_eq!(run.number.0 as usize, index + 1);
                prop_assert_eq!(run.status == RunStatus::Active, run.ended_at.is_none());
            }
            if issue.phase.may_have_touched_live_tree() {
                let run = issue.run().unwrap();
                prop_assert!(run.draft.is_some() && run.proof.is_some());
                prop_assert!(run.assessment.is_some() && run.autonomy.is_some());
                prop_assert!(issue.approval.is_some());
                prop_assert!(run.ended_at.is_none(), "it is still under way");
            }
            if issue.phase == Phase::Resolved {
                prop_assert!(issue.resolved_at.is_some());
                let run = issue.run().unwrap();
                prop_assert_eq!(run.status, RunStatus::Succeeded);
                prop_assert!(run.heal_commit.is_some() && !run.rolled_back);
            } else {
                prop_assert!(issue.resolved_at.is_none());
            }
        }
    }
}

#[test]
fn illegal_events_and_strangers_leave_the_issue_as_it_is() {
    let (_, issues) = walk(&[]);
    let issue = &issues[0];
    let opening = record(1, event(EventKind::IssueOpened, 1), 0);
    assert!(matches!(
        issue.after(&opening),
        Err(FoldError::Illegal(_) | FoldError::Beginning)
    ));
    for kind in EventKind::ALL {
        let next = record(1, event(*kind, 5), 1);
        assert_eq!(
            issue.after(&next).is_ok(),
            issue.phase.apply(*kind).is_ok(),
            "{kind:?}"
        );
        if *kind != EventKind::IssueOpened {
            assert_eq!(Issue::open(&next).unwrap_err(), FoldError::Beginning);
        }
    }
}

/// An approval is for one exact patch, and so is the intent to apply it.
#[test]
fn reviews_and_intents_about_another_patch_are_refused() {
    let after = |kinds: &[EventKind]| {
        let mut issue = Issue::open(&record(1, event(EventKind::IssueOpened, 1), 0)).unwrap();
        for kind in kinds {
            let event = about_draft(&issue, event(*kind, 4));
            issue = issue.after(&record(1, event, 1)).unwrap();
        }
        issue
    };
    let assessed = TO_CLEARED.len() - 1;
    let pending = [&TO_CLEARED[..assessed], &[EventKind::AutonomyAsks]].concat();
    let pending = after(&pending);
    assert_eq!(pending.phase, Phase::PatchPending);
    let cases = [
        (&pending, EventKind::PatchApproved),
        (&pending, EventKind::PatchApprovalCounted),
        (&pending, EventKind::PatchRejected),
        (&pending, EventKind::PatchSentBack),
        (&after(TO_CLEARED), EventKind::ApplyStarted),
    ];
    for (issue, kind) in cases {
        let other = record(1, event(kind, 5), 2);
        assert_eq!(issue.after(&other), Err(FoldError::OtherPatch), "{kind:?}");
        let right = record(1, about_draft(issue, event(kind, 5)), 2);
        assert!(issue.after(&right).is_ok(), "{kind:?}");
    }
}
