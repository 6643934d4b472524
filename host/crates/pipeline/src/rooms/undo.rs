//! The end of what did not work: rollback, failure, another run, escalation, abort.

use super::{Rooms, Step, snapshot_of};
use crate::bounds;
use crate::facts::rollback_message;
use crate::healer::chain;
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::permit::{Permit, Rollback};
use selfheal_domain::run::RunStatus;
use selfheal_domain::state::Phase;
use selfheal_domain::user::Actor;

impl Rooms {
    pub(super) fn roll_back(&self, issue: &Issue, reason: &str) -> Result<Step, RecordError> {
        let reason = bounds::clip(reason.to_owned(), bounds::DETAIL);
        let (issue, permit) = self
            .ledger
            .begin_rollback(issue.number, Actor::Host, reason)?;
        self.undo(&issue, permit)
    }

    /// Goes on with a rollback whose intent is on record.
    pub(super) fn finish_roll_back(&self, issue: &Issue) -> Result<Step, RecordError> {
        let (issue, permit) = self.ledger.resume_rollback(issue.number)?;
        self.undo(&issue, permit)
    }

    fn undo(&self, issue: &Issue, permit: Permit<Rollback>) -> Result<Step, RecordError> {
        let Some((run, draft)) = issue.run().and_then(|run| Some((run, run.draft.as_ref()?)))
        else {
            return self.escalate(issue, "there is nothing on record to roll back to");
        };
        self.note(issue, "rolling back");
        let reason = run
            .end_reason
            .as_deref()
            .or(issue.end_reason.as_deref())
            .unwrap_or("it did not hold");
        let set = self.policies_of(issue);
        let message = rollback_message(issue, run, reason, &self.trail(set.as_ref()));
        let (repository, snapshot) = (&self.doors.repository, snapshot_of(run));
        let undone = self
            .moves
            .change(|| repository.roll_back(permit, &snapshot, &draft.patch, &message));
        match undone {
            // The next room restarts the services, so that a crash here cannot skip it.
            Ok(commit) => self.record(issue, Event::RollbackCommitted { commit }),
            Err(error) => self.escalate(
                issue,
                format!(
                    "the rollback failed and needs people; abort the issue to try it again: {}",
                    chain(&error)
                ),
            ),
        }
    }

    /// Services run the files as they were before, once these are back.
    pub(super) fn restart_after_undoing(&self, issue: &Issue) -> Result<(), RecordError> {
        let services = issue
            .run()
            .map(|run| self.affected_services(run))
            .unwrap_or_default();
        self.restart_services(issue, &services, None)
    }

    pub(super) fn fail(&self, issue: &Issue) -> Result<Step, RecordError> {
        self.restart_after_undoing(issue)?;
        let reason = issue
            .run()
            .and_then(|run| run.end_reason.clone())
            .unwrap_or_else(|| "the run failed".to_owned());
        self.record(issue, Event::RunFailed { reason })
    }

    /// Another run while attempts are left, else people.
    pub(super) fn retry_or_escalate(&self, issue: &Issue) -> Result<Step, RecordError> {
        if issue.attempts < self.settings.max_attempts {
            return self.record(issue, Event::RunRetried);
        }
        let tried: Vec<String> = issue
            .runs
            .iter()
            .filter(|run| run.status == RunStatus::Failed)
            .map(|run| {
                format!(
                    "run {}: {}",
                    run.number,
                    run.end_reason.as_deref().unwrap_or("failed")
                )
            })
            .collect();
        self.escalate(
            issue,
            format!("{} attempts failed\n{}", issue.attempts, tried.join("\n")),
        )
    }

    /// An admin's abort, from wherever the issue is.
    pub(crate) fn abort(
        &self,
        issue: &Issue,
        actor: Actor,
        reason: String,
    ) -> Result<Step, RecordError> {
        match issue.phase {
            Phase::Applying
            | Phase::Applied
            | Phase::Verifying
            | Phase::Verified
            | Phase::Refuted
            | Phase::RollingBack
            | Phase::Stuck => {
                let (issue, permit) = self.ledger.begin_abort(issue.number, actor, reason)?;
                self.undo(&issue, permit)
            }
            Phase::Aborting => self.finish_roll_back(issue),
            Phase::RolledBack | Phase::AbortRolledBack => {
                self.restart_after_undoing(issue)?;
                self.ledger
                    .record(issue.number, actor, Event::IssueAborted { reason })
                    .map(|_| Step::On)
            }
            Phase::Aborted | Phase::Resolved | Phase::Rejected | Phase::Escalated => Ok(Step::Rest),
            Phase::Open
            | Phase::Approved
            | Phase::Diagnosing
            | Phase::Diagnosed
            | Phase::Observed
            | Phase::Drafting
            | Phase::Drafted
            | Phase::Proved
            | Phase::Assessed
            | Phase::PatchPending
            | Phase::Cleared
            | Phase::Failed => self
                .ledger
                .record(issue.number, actor, Event::IssueAborted { reason })
                .map(|_| Step::On),
        }
    }
}
