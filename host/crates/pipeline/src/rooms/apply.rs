//! Apply: snapshot, heal commit, live tree updated, services restarted.

use super::{Rooms, Step, since_approval, snapshot_of};
use crate::bounds;
use crate::facts::heal_message;
use crate::healer::chain;
use crate::proof::missing_reproduction;
use selfheal_domain::event::{Event, ReviewAnswer};
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CancelToken, Fit, RepositoryError};
use selfheal_domain::run::{Run, RunStatus};
use selfheal_domain::user::Actor;
use selfheal_domain::verification::{CheckEvidence, VerificationResult};

/// How often per approval a run starts over because the tree or the policies moved
/// under its patch.
const MOST_VOIDED: usize = 3;

impl Rooms {
    pub(super) fn apply(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        let Some((run, draft)) = issue.run().and_then(|run| Some((run, run.draft.as_ref()?)))
        else {
            return self.escalate(issue, "the run has no patch to apply");
        };
        let snapshot = snapshot_of(run);
        // A review is for one diff on one base under one generation; any change voids it.
        if let Some(change) = self.no_longer_cleared(issue, run)? {
            return self.send_back(issue, &change);
        }
        let set = self.policies_of(issue);
        match self.doors.repository.check_fits(&snapshot, &draft.patch) {
            Ok(Fit::Exact) => {}
            // A review was of these files as they were.
            Ok(Fit::Merges { moved, .. }) if !run.approvals.is_empty() => {
                let changed = format!("{} changed since the patch was reviewed", moved.join(", "));
                return self.send_back(issue, &changed);
            }
            // And so was the proof.
            Ok(Fit::Merges { moved, merged }) => {
                let became = format!("merged with what {} became meanwhile", moved.join(", "));
                self.note(issue, &format!("proving the patch, {became}"));
                match self.prove_merged(issue, run, &draft.patch, &merged, cancel)? {
                    None => return Ok(Step::On),
                    Some(Ok(())) => {}
                    Some(Err(why)) => return self.send_back(issue, &format!("{became}, {why}")),
                }
            }
            Err(error) => return self.send_back(issue, &chain(&error)),
        }
        // The proof may be days old: no patch goes in whose way back was not tried now.
        if let Err(error) = self
            .doors
            .repository
            .rehearse_rollback(&snapshot, &draft.patch)
        {
            return self.send_back(issue, &format!("it could not be undone: {}", chain(&error)));
        }
        let patch = draft.patch.clone();
        let (recorded, permit) = self.ledger.begin_apply(issue.number, Actor::Host)?;
        // The commit speaks of the log as it is with the intent in it.
        let message = heal_message(issue, run, draft, &self.trail(set.as_ref()));
        let issue = recorded;
        // What it changes is judged by what was so before.
        let Some(probes) = self.probe(cancel) else {
            return Ok(Step::On);
        };
        self.note(&issue, "applying the patch to the live tree");
        let repository = &self.doors.repository;
        let applied = self
            .moves
            .change(|| repository.apply(permit, &snapshot, &patch, &message));
        match applied {
            Ok(applied) => self.record(
                &issue,
                Event::PatchApplied {
                    commit: applied.commit,
                    probes: probes.into_iter().map(bounds::evidence).collect(),
                },
            ),
            Err(
                error @ (RepositoryError::Conflict(_)
                | RepositoryError::Unsupported(_)
                | RepositoryError::WrongPermit
                | RepositoryError::Failed { .. }),
            ) => self.roll_back(
                &issue,
                &format!("the patch could not be applied: {}", chain(&error)),
            ),
        }
    }

    /// Tries the patch as the live tree would get it: whether it holds there, or why
    /// not; none when it was cancelled.
    fn prove_merged(
        &self,
        issue: &Issue,
        run: &Run,
        patch: &Patch,
        merged: &Patch,
        cancel: &CancelToken,
    ) -> Result<Option<Result<(), String>>, RecordError> {
        let Some(moves) = self.moves.at_rest(cancel) else {
            return Ok(None);
        };
        let Some(mut evidence) = self.trial(issue, run, merged, cancel)? else {
            return Ok(None);
        };
        evidence.extend(missing_reproduction(&evidence));
        let passed = |check: &&CheckEvidence| check.result == VerificationResult::Pass;
        if let Some(check) = evidence.iter().find(|check| !passed(check)) {
            let detail = check.detail.lines().next().unwrap_or_default();
            return Ok(Some(Err(format!(
                "it does not hold: {}: {detail}",
                check.name
            ))));
        }
        let fits = self.doors.repository.check_fits(&snapshot_of(run), patch);
        let is_same = matches!(fits, Ok(Fit::Merges { merged: now, .. }) if now == *merged);
        Ok(Some(if is_same && self.moves.still(moves) {
            Ok(())
        } else {
            Err("it was being proved when the live tree moved on again".to_owned())
        }))
    }

    fn send_back(&self, issue: &Issue, reason: &str) -> Result<Step, RecordError> {
        let Some(digest) = issue
            .run()
            .and_then(|run| run.draft.as_ref())
            .map(|draft| draft.patch.digest)
        else {
            return self.escalate(issue, reason);
        };
        // A live tree that keeps moving must not keep an agent busy for ever.
        let voided = issue
            .runs
            .iter()
            .filter(|run| since_approval(issue, run) && run.status == RunStatus::Interrupted)
            .filter(|run| !run.review_comments.is_empty())
            .count();
        if voided >= MOST_VOIDED {
            return self.escalate(
                issue,
                format!("the patch was voided again after {voided} times; last: {reason}"),
            );
        }
        let answer = ReviewAnswer::SentBack {
            reason: bounds::clip(reason.to_owned(), bounds::DETAIL),
        };
        self.record(
            issue,
            Event::PatchReviewed {
                reviewer: Actor::Host,
                digest,
                answer,
            },
        )?;
        // The diagnosis was made on a tree that is no more: start over from the live one.
        self.record(issue, Event::RunInterrupted)
    }
}
