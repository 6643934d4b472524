//! The state machine of an issue: one function, [`Phase::apply`], says what is
//! legal. Live execution and replay both go through it.
//!
//! Phases are finer than the twelve public states, so that a restart knows
//! exactly how far a run had come; [`Phase::status`] derives the public state.

use crate::event::EventKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Public state of an issue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(
    missing_docs,
    reason = "the names are the contract; Phase explains them"
)]
pub enum IssueStatus {
    Open,
    Approved,
    Rejected,
    Diagnosing,
    Diagnosed,
    PatchPending,
    Patching,
    Verifying,
    Resolved,
    Failed,
    Escalated,
    Aborted,
}

impl IssueStatus {
    /// All states, in the order of the walk.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Approved,
        Self::Rejected,
        Self::Diagnosing,
        Self::Diagnosed,
        Self::PatchPending,
        Self::Patching,
        Self::Verifying,
        Self::Resolved,
        Self::Failed,
        Self::Escalated,
        Self::Aborted,
    ];

    /// As on every wire, such as `PATCH_PENDING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::Diagnosing => "DIAGNOSING",
            Self::Diagnosed => "DIAGNOSED",
            Self::PatchPending => "PATCH_PENDING",
            Self::Patching => "PATCHING",
            Self::Verifying => "VERIFYING",
            Self::Resolved => "RESOLVED",
            Self::Failed => "FAILED",
            Self::Escalated => "ESCALATED",
            Self::Aborted => "ABORTED",
        }
    }
}

impl fmt::Display for IssueStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for IssueStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                let valid: Vec<_> = Self::ALL.iter().map(|status| status.as_str()).collect();
                format!("a status is one of {}; got {text:?}", valid.join(", "))
            })
    }
}

/// Where an issue is, as finely as recovery needs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reported; waits for an admin.
    Open,
    /// An approval (or a recorded stand-in) exists; waits for the healer.
    Approved,
    /// An admin said no.
    Rejected,
    /// An agent looks for the cause.
    Diagnosing,
    /// The cause is known; drafting comes next.
    Diagnosed,
    /// The cause is known, and the autonomy level ends the run there.
    Observed,
    /// An agent writes the patch.
    Drafting,
    /// The patch exists.
    Drafted,
    /// The host saw it fix the reproduction and keep the tests.
    Proved,
    /// Its risk is known.
    Assessed,
    /// Waits for a review.
    PatchPending,
    /// Autonomy or a review lets it be applied.
    Cleared,
    /// The intent to apply is durable; files may be half written.
    Applying,
    /// Heal commit made, live tree updated.
    Applied,
    /// Checks run against the live application.
    Verifying,
    /// They passed.
    Verified,
    /// They did not.
    Refuted,
    /// The intent to roll back is durable.
    RollingBack,
    /// Rolled back.
    RolledBack,
    /// Aborted while something was applied: the intent to roll back is durable.
    Aborting,
    /// Rolled back because of the abort.
    AbortRolledBack,
    /// Healed.
    Resolved,
    /// The attempt failed and was rolled back; another may follow.
    Failed,
    /// People must look at it.
    Escalated,
    /// People must look at it, and the live tree still holds what could not be undone.
    Stuck,
    /// An admin stopped it.
    Aborted,
}

/// The event is not legal in this phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} is not possible while the issue is {}", event.name(), phase.status())]
pub struct IllegalTransition {
    /// Where the issue is.
    pub phase: Phase,
    /// What was attempted.
    pub event: EventKind,
}

impl Phase {
    /// Every phase, for exhaustive tests.
    pub const ALL: [Self; 26] = [
        Self::Open,
        Self::Approved,
        Self::Rejected,
        Self::Diagnosing,
        Self::Diagnosed,
        Self::Observed,
        Self::Drafting,
        Self::Drafted,
        Self::Proved,
        Self::Assessed,
        Self::PatchPending,
        Self::Cleared,
        Self::Applying,
        Self::Applied,
        Self::Verifying,
        Self::Verified,
        Self::Refuted,
        Self::RollingBack,
        Self::RolledBack,
        Self::Aborting,
        Self::AbortRolledBack,
        Self::Resolved,
        Self::Failed,
        Self::Escalated,
        Self::Stuck,
        Self::Aborted,
    ];

    /// The public state.
    pub fn status(self) -> IssueStatus {
        match self {
            Self::Open => IssueStatus::Open,
            Self::Approved => IssueStatus::Approved,
            Self::Rejected => IssueStatus::Rejected,
            Self::Diagnosing => IssueStatus::Diagnosing,
            Self::Diagnosed
            | Self::Observed
            | Self::Drafting
            | Self::Drafted
            | Self::Proved
            | Self::Assessed => IssueStatus::Diagnosed,
            Self::PatchPending => IssueStatus::PatchPending,
            Self::Cleared | Self::Applying | Self::Applied => IssueStatus::Patching,
            Self::Verifying
            | Self::Verified
            | Self::Refuted
            | Self::RollingBack
            | Self::RolledBack
            | Self::Aborting
            | Self::AbortRolledBack => IssueStatus::Verifying,
            Self::Resolved => IssueStatus::Resolved,
            Self::Failed => IssueStatus::Failed,
            Self::Escalated | Self::Stuck => IssueStatus::Escalated,
            Self::Aborted => IssueStatus::Aborted,
        }
    }

    /// Nothing is left to do.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Resolved | Self::Rejected | Self::Aborted)
    }

    /// The healer has (or will have) work to do without anybody's word.
    pub fn is_active(self) -> bool {
        !matches!(
            self,
            Self::Open
                | Self::Rejected
                | Self::Observed
                | Self::PatchPending
                | Self::Resolved
                | Self::Escalated
                | Self::Stuck
                | Self::Aborted
        )
    }

    /// Files of the live tree may differ from what they were before the run.
    pub fn may_have_touched_live_tree(self) -> bool {
        matches!(
            self,
            Self::Applying
                | Self::Applied
                | Self::Verifying
                | Self::Verified
                | Self::Refuted
                | Self::RollingBack
                | Self::Aborting
                | Self::Stuck
        )
    }

    /// The phase after `event`.
    ///
    /// # Errors
    /// The event is not legal here; nothing changes.
    pub fn apply(self, event: EventKind) -> Result<Self, IllegalTransition> {
        use EventKind as E;
        let next = match (self, event) {
            // Talk never moves an issue.
            (_, E::IssueCommented | E::IssueTriaged | E::IssueRelated) => self,

            // Out of the way of people: where it waits for them or for an agent.
            (phase, E::IssueSnoozed) if !phase.is_over() => self,
            (_, E::IssueWoken) => self,

            (Self::Open, E::IssueApproved) => Self::Approved,
            (Self::Open, E::IssueRejected) => Self::Rejected,

            (Self::Approved, E::DiagnosisStarted) => Self::Diagnosing,
            (Self::Diagnosing, E::DiagnosisFinished) => Self::Diagnosed,
            (Self::Diagnosed, E::RunObserved) => Self::Observed,
            (Self::Diagnosed, E::DraftingStarted) => Self::Drafting,
            (Self::Drafting, E::PatchDrafted) => Self::Drafted,
            (Self::Drafted, E::PatchProved) => Self::Proved,
            (Self::Drafted, E::PatchRefuted) => Self::Failed,
            (Self::Proved, E::RiskAssessed) => Self::Assessed,
            (Self::Assessed, E::AutonomyApplies) => Self::Cleared,
            (Self::Assessed, E::AutonomyAsks) => Self::PatchPending,
            (Self::Assessed, E::AutonomyStops) => Self::Escalated,

            (Self::PatchPending, E::PatchApprovalCounted) => Self::PatchPending,
            (Self::PatchPending, E::PatchApproved) => Self::Cleared,
            (Self::PatchPending, E::PatchRejected) => Self::Rejected,
            (Self::PatchPending | Self::Cleared, E::PatchSentBack) => Self::Diagnosed,

            // Work of agents is recorded where agents work.
            (
                Self::Diagnosing
                | Self::Drafting
                | Self::Drafted
                | Self::Cleared
                | Self::Applied
                | Self::Verifying
                | Self::RollingBack
                | Self::Aborting,
                E::ToolCalled | E::ToolFinished | E::TrustLowered,
            ) => self,

            (Self::Cleared, E::ApplyStarted) => Self::Applying,
            (Self::Applying, E::PatchApplied) => Self::Applied,
            (
                Self::Applied
                | Self::RollingBack
                | Self::RolledBack
                | Self::Aborting
                | Self::AbortRolledBack,
                E::ServiceRestarted,
            ) => self,
            (Self::Applied, E::VerificationStarted) => Self::Verifying,
            (Self::Verifying, E::VerificationPassed) => Self::Verified,
            (Self::Verifying, E::VerificationFailed) => Self::Refuted,
            (Self::Verified, E::IssueResolved) => Self::Resolved,

            (
                Self::Applying | Self::Applied | Self::Verifying | Self::Refuted,
                E::RollbackStarted,
            ) => Self::RollingBack,
            (Self::RollingBack, E::RollbackCommitted) => Self::RolledBack,
            (Self::RolledBack, E::RunFailed) => Self::Failed,
            (Self::Failed, E::RunRetried) => Self::Approved,

            (
                Self::Applying
                | Self::Applied
                | Self::Verifying
                | Self::Verified
                | Self::Refuted
                | Self::RollingBack
                | Self::Stuck,
                E::AbortStarted,
            ) => Self::Aborting,
            (Self::Aborting, E::RollbackCommitted) => Self::AbortRolledBack,
            (
                Self::Open
                | Self::Approved
                | Self::Diagnosing
                | Self::Diagnosed
                | Self::Observed
                | Self::Drafting
                | Self::Drafted
                | Self::Proved
                | Self::Assessed
                | Self::PatchPending
                | Self::Cleared
                | Self::RolledBack
                | Self::AbortRolledBack
                | Self::Failed,
                E::IssueAborted,
            ) => Self::Aborted,

            // The host died in between; nothing was applied, so start over.
            (
                Self::Diagnosing
                | Self::Diagnosed
                | Self::Drafting
                | Self::Drafted
                | Self::Proved
                | Self::Assessed,
                E::RunInterrupted,
            ) => Self::Approved,

            (
                Self::Approved
                | Self::Diagnosing
                | Self::Diagnosed
                | Self::Drafting
                | Self::Drafted
                | Self::Proved
                | Self::Assessed
                | Self::Cleared
                | Self::RolledBack
                | Self::Failed,
                E::IssueEscalated,
            ) => Self::Escalated,
            // Undoing failed: only an abort, which undoes again, leads out.
            (Self::RollingBack | Self::Aborting, E::IssueEscalated) => Self::Stuck,

            // An admin's word, which counts as a new approval.
            (Self::Observed | Self::Failed | Self::Escalated | Self::Aborted, E::IssueRetried) => {
                Self::Approved
            }
            (Self::Resolved, E::IssueReopened) => Self::Open,

            (phase, event) => return Err(IllegalTransition { phase, event }),
        };
        Ok(next)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
