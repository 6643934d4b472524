//! Everything that can happen, as it is recorded.
//!
//! Intents (`*.started`) come before their effect, facts (past tense) after.
//! The names on the wire are part of the stored format: never change one,
//! add a new one.

use crate::account::AccountChange;
use crate::agent::Diagnosis;
use crate::digest::Digest;
use crate::external::ExternalOrigin;
use crate::ids::{CommitId, DecisionId, IssueId, IssueNumber, RunId, RunNumber};
use crate::issue::{Comment, Priority, Severity, SnoozeEnd};
use crate::patch::Patch;
use crate::policy::{AgentPhase, Asked, ToolCallFacts};
use crate::policy_control::{
    ChangeSource, EnforcementStatus, Grant, PolicyPlan, Proposal, Rollout,
};
use crate::report::Report;
use crate::risk::{Assessment, AutonomyDecision, AutonomyLevel};
use crate::run::RetryFrom;
use crate::service::{ServiceNotice, ServiceOperation};
use crate::token::AccessToken;
use crate::user::{Account, Actor, TrustClass, UserName};
use crate::verdict::Judgement;
use crate::verification::{CheckEvidence, Verification};
use crate::view::SavedView;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Whose word lets a run start (invariant 1).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Approval {
    /// A human admin.
    Admin {
        /// Who.
        name: UserName,
    },
    /// An autonomy module, where the environment allows it.
    Module {
        /// Its recorded reason.
        reason: String,
        /// Generation of the policy set.
        generation: u64,
        /// What the modules were asked with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Box<Asked>>,
    },
}

/// One recorded decision on a tool call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolDecision {
    /// Identity of the decision.
    pub id: DecisionId,
    /// What the agent was doing.
    pub phase: AgentPhase,
    /// What policies saw.
    pub facts: ToolCallFacts,
    /// What they said.
    pub judgement: Judgement,
    /// Who asked and what it was told, where an agent of another maker did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<Box<ExternalOrigin>>,
}

/// A change of the policy set in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyChange {
    /// Generation in force from now on.
    pub generation: u64,
    /// Digest of its set.
    pub digest: Digest,
    /// Where it came from.
    pub source: ChangeSource,
    /// In force for everything, for a share of runs, or only looked at.
    pub rollout: Rollout,
    /// Second admin, where one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<Actor>,
    /// Why.
    pub reason: String,
    /// What it changes, as far as the recorded decisions show.
    pub plan: PolicyPlan,
}

/// Outcome of a tool call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub enum ToolOutcome {
    /// It did what it should; the text says what, shortly.
    Succeeded(String),
    /// It ran and failed.
    Failed(String),
    /// The host cannot tell whether it happened.
    Unknown(String),
}

/// What an event is about and what it says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
#[allow(
    clippy::large_enum_variant,
    reason = "events are moved once, into the journal"
)]
pub enum Event {
    /// Somebody reported something.
    #[serde(rename = "issue.opened")]
    IssueOpened {
        /// Its identity.
        id: IssueId,
        /// Its number.
        number: IssueNumber,
        /// What was reported.
        report: Report,
        /// Who reported it.
        reported_by: Actor,
    },
    /// A comment.
    #[serde(rename = "issue.commented")]
    IssueCommented(Comment),
    /// Severity or priority set.
    #[serde(rename = "issue.triaged")]
    IssueTriaged {
        /// New severity, if set.
        severity: Option<Severity>,
        /// New priority, if set.
        priority: Option<Priority>,
    },
    /// Related to another issue.
    #[serde(rename = "issue.related")]
    IssueRelated {
        /// The other one.
        other: IssueId,
    },
    /// Out of the way for now.
    #[serde(rename = "issue.snoozed")]
    IssueSnoozed(SnoozeEnd),
    /// Back before its snooze was over.
    #[serde(rename = "issue.woken")]
    IssueWoken,
    /// May start.
    #[serde(rename = "issue.approved")]
    IssueApproved(Approval),
    /// Must not start.
    #[serde(rename = "issue.rejected")]
    IssueRejected {
        /// Why.
        reason: String,
    },
    /// Intent: an agent starts to diagnose; a run begins.
    #[serde(rename = "diagnosis.started")]
    DiagnosisStarted {
        /// The run.
        run: RunId,
        /// Its number.
        number: RunNumber,
        /// Which agent.
        agent: String,
        /// Snapshot of the live tree that the run works on.
        snapshot: CommitId,
        /// Commit of the branch at that time.
        base_commit: CommitId,
        /// Branch that is live.
        live_branch: String,
        /// Generation of the policy set.
        policy_generation: u64,
    },
    /// Intent: a tool call was judged, and is carried out if allowed.
    #[serde(rename = "tool.call")]
    ToolCalled(ToolDecision),
    /// What came of it.
    #[serde(rename = "tool.finished")]
    ToolFinished {
        /// The decision it belongs to.
        decision: DecisionId,
        /// What came of it.
        outcome: ToolOutcome,
    },
    /// Text of a lower trust class came into the run: policies see that class from now
    /// on, whatever else the agent reads.
    #[serde(rename = "trust.lowered")]
    TrustLowered {
        /// The class.
        trust: TrustClass,
        /// What came in, as in `log:web` or `mcp__tickets__read`.
        source: String,
    },
    /// Cause found.
    #[serde(rename = "diagnosis.finished")]
    DiagnosisFinished(Diagnosis),
    /// The autonomy level ends the run here.
    #[serde(rename = "run.observed")]
    RunObserved {
        /// The level.
        level: AutonomyLevel,
    },
    /// Intent: an agent starts to write.
    #[serde(rename = "drafting.started")]
    DraftingStarted,
    /// The patch exists on the run's branch.
    #[serde(rename = "patch.drafted")]
    PatchDrafted {
        /// The patch.
        patch: Patch,
        /// Why.
        rationale: String,
        /// 0 to 1.
        confidence: f64,
        /// Others that pass as well, as diffs.
        rivals: Vec<String>,
        /// Commit of the patch on the run's branch.
        commit: CommitId,
        /// What the guardrails say of the finished diff.
        judgement: Judgement,
        /// What the agent tried, with place and digest of its full transcript.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        log: String,
    },
    /// Fails before, passes after, tests of the base included.
    #[serde(rename = "patch.proved")]
    PatchProved(Verification),
    /// It does not hold: denied by a guardrail, or the proof failed.
    #[serde(rename = "patch.refuted")]
    PatchRefuted {
        /// Why.
        reason: String,
        /// What was seen, if it came to a proof.
        verification: Option<Verification>,
    },
    /// Risk known.
    #[serde(rename = "risk.assessed")]
    RiskAssessed(Assessment),
    /// Apply, ask or stop.
    #[serde(rename = "autonomy.decided")]
    AutonomyDecided(AutonomyDecision),
    /// An admin's answer to one exact patch.
    #[serde(rename = "patch.reviewed")]
    PatchReviewed {
        /// Who: an admin, or the host when the patch no longer fits.
        reviewer: Actor,
        /// The diff the answer is about.
        digest: Digest,
        /// What the answer is.
        answer: ReviewAnswer,
    },
    /// Intent: the live tree is about to change.
    #[serde(rename = "apply.started")]
    ApplyStarted {
        /// The patch.
        digest: Digest,
    },
    /// Heal commit made, live tree updated.
    #[serde(rename = "patch.applied")]
    PatchApplied {
        /// The heal commit.
        commit: CommitId,
        /// What the probes had said before the live tree changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        probes: Vec<CheckEvidence>,
    },
    /// A service was restarted because of a run.
    #[serde(rename = "service.restarted")]
    ServiceRestarted {
        /// Its name.
        service: String,
        /// Unknown while it is only about to happen; then whether it came up. The text
        /// says how or why not.
        outcome: ToolOutcome,
    },
    /// Intent: checks start.
    #[serde(rename = "verification.started")]
    VerificationStarted,
    /// What they said.
    #[serde(rename = "verification.finished")]
    VerificationFinished(Verification),
    /// Healed.
    #[serde(rename = "issue.resolved")]
    IssueResolved,
    /// Intent: the heal commit is about to be undone.
    #[serde(rename = "rollback.started")]
    RollbackStarted {
        /// Why.
        reason: String,
    },
    /// Undone.
    #[serde(rename = "rollback.committed")]
    RollbackCommitted {
        /// The rollback commit; none when the heal commit never came to be.
        commit: Option<CommitId>,
    },
    /// The attempt is over.
    #[serde(rename = "run.failed")]
    RunFailed {
        /// Why.
        reason: String,
    },
    /// Another attempt follows.
    #[serde(rename = "run.retried")]
    RunRetried,
    /// The host died during the run; it starts over.
    #[serde(rename = "run.interrupted")]
    RunInterrupted,
    /// People must look at it.
    #[serde(rename = "issue.escalated")]
    IssueEscalated {
        /// Why, and what was tried.
        reason: String,
    },
    /// Intent: an admin aborts while something is applied.
    #[serde(rename = "abort.started")]
    AbortStarted {
        /// Why.
        reason: String,
    },
    /// Stopped by an admin.
    #[serde(rename = "issue.aborted")]
    IssueAborted {
        /// Why.
        reason: String,
    },
    /// An admin wants another attempt.
    #[serde(rename = "issue.retried")]
    IssueRetried {
        /// Whose word it is.
        #[serde(flatten)]
        approval: Approval,
        /// Where it begins.
        #[serde(default, skip_serializing_if = "RetryFrom::is_diagnose")]
        from: RetryFrom,
    },
    /// It came back.
    #[serde(rename = "issue.reopened")]
    IssueReopened {
        /// Why.
        reason: String,
    },

    /// The host started.
    #[serde(rename = "host.started")]
    HostStarted {
        /// Version of the host.
        version: String,
        /// Digest of the policy set.
        policy_digest: Digest,
        /// Its generation.
        policy_generation: u64,
        /// Public key, as OpenSSH writes it, that its commits are signed with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit_key: Option<String>,
    },
    /// The host stopped in order.
    #[serde(rename = "host.stopped")]
    HostStopped,
    /// An account was made, tied to a provider of identities, or closed.
    #[serde(rename = "user.saved")]
    UserSaved(Account),
    /// An account got another role or password, was disabled or enabled.
    #[serde(rename = "user.changed")]
    UserChanged {
        /// Whose.
        name: UserName,
        /// What of it.
        change: AccountChange,
    },
    /// Somebody got a token.
    #[serde(rename = "token.created")]
    TokenCreated {
        /// Whose.
        name: UserName,
        /// Which.
        token: AccessToken,
    },
    /// A token was taken away.
    #[serde(rename = "token.revoked")]
    TokenRevoked {
        /// Whose.
        name: UserName,
        /// Its id.
        id: String,
    },
    /// A token is in use; recorded at most once a day.
    #[serde(rename = "token.used")]
    TokenUsed {
        /// Whose.
        name: UserName,
        /// Its id.
        id: String,
    },
    /// Somebody's personal data was erased: the key that it was encrypted with in this
    /// log is gone, and the account with it.
    #[serde(rename = "user.erased")]
    UserErased {
        /// Pseudonym under which the data was encrypted.
        subject: String,
    },
    /// Somebody logged in.
    #[serde(rename = "session.opened")]
    SessionOpened {
        /// Who.
        name: UserName,
    },
    /// Somebody could not log in.
    #[serde(rename = "session.refused")]
    SessionRefused {
        /// The name that was given, cut to 64 characters.
        name: String,
    },
    /// Somebody logged out.
    #[serde(rename = "session.closed")]
    SessionClosed {
        /// Who.
        name: UserName,
    },
    /// Autonomy level changed.
    #[serde(rename = "autonomy.changed")]
    AutonomyChanged {
        /// New level.
        level: AutonomyLevel,
        /// Why.
        reason: String,
    },
    /// All healing stops until it is lifted, or goes on again.
    #[serde(rename = "freeze.changed")]
    FreezeChanged {
        /// Frozen from now on.
        frozen: bool,
        /// Why.
        reason: String,
    },
    /// A generation of the policy set came into force, was put on trial or taken off.
    #[serde(rename = "policy.changed")]
    PolicyChanged(PolicyChange),
    /// A change of the policies was not taken; what was in force stays.
    #[serde(rename = "policy.refused")]
    PolicyRefused {
        /// Where it came from.
        source: ChangeSource,
        /// Why.
        reason: String,
    },
    /// A change of the policies waits for a second admin.
    #[serde(rename = "policy.proposed")]
    PolicyProposed(Proposal),
    /// A proposal was taken back.
    #[serde(rename = "policy.withdrawn")]
    PolicyWithdrawn {
        /// The proposal.
        proposal: u64,
        /// Why.
        reason: String,
    },
    /// A module misbehaved too often, or is trusted again.
    #[serde(rename = "policy.quarantine")]
    QuarantineChanged {
        /// The module.
        module: String,
        /// Quarantined from now on.
        quarantined: bool,
        /// The fault, or why it is trusted again.
        reason: String,
    },
    /// An admin broke the glass over a rule.
    #[serde(rename = "policy.granted")]
    GrantGiven(Grant),
    /// The glass is whole again.
    #[serde(rename = "policy.grant-ended")]
    GrantEnded {
        /// The grant.
        grant: u64,
        /// Why, as in "its time is over".
        reason: String,
    },
    /// Marker actions that must be refused were tried; recorded at the start and
    /// whenever the outcome changes.
    #[serde(rename = "enforcement.checked")]
    EnforcementChecked(EnforcementStatus),
    /// A service was started, stopped, restarted or reloaded on an admin's word.
    #[serde(rename = "service.operated")]
    ServiceOperated {
        /// Its name.
        service: String,
        /// What was asked for.
        #[serde(default)]
        operation: ServiceOperation,
        /// Unknown while it is only about to happen; then what came of it.
        outcome: ToolOutcome,
    },
    /// Something happened to a service without anybody's word.
    #[serde(rename = "service.noticed")]
    ServiceNoticed {
        /// Its name.
        service: String,
        /// What.
        notice: ServiceNotice,
    },
    /// Somebody keeps a query under a name.
    #[serde(rename = "view.saved")]
    ViewSaved(SavedView),
    /// It is kept no longer.
    #[serde(rename = "view.forgotten")]
    ViewForgotten {
        /// Whose it was.
        owner: UserName,
        /// Its name.
        name: String,
    },
}

/// An admin's answer to a patch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum ReviewAnswer {
    /// Yes, but more admins must agree.
    Counted,
    /// Yes, and that is enough.
    Approved,
    /// No, and no other patch either.
    Rejected {
        /// Why.
        reason: String,
    },
    /// No; draft another one. Also recorded by the host when the patch no longer
    /// fits what it was approved for.
    SentBack {
        /// What to do differently.
        reason: String,
    },
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What happened, without its data: the input of the state machine.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[allow(missing_docs, reason = "each is documented on Event")]
        pub enum EventKind { $($kind,)* }

        impl EventKind {
            /// Every kind that concerns an issue, for exhaustive tests.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// For messages, as in `approve`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    IssueOpened = "opening it again",
    IssueCommented = "a comment",
    IssueTriaged = "triage",
    IssueRelated = "relating it",
    IssueSnoozed = "snoozing it",
    IssueWoken = "ending its snooze",
    IssueApproved = "approval",
    IssueRejected = "rejection",
    DiagnosisStarted = "starting a diagnosis",
    ToolCalled = "a tool call",
    ToolFinished = "the end of a tool call",
    TrustLowered = "a lower trust class",
    DiagnosisFinished = "finishing a diagnosis",
    RunObserved = "ending at OBSERVE",
    DraftingStarted = "drafting",
    PatchDrafted = "a drafted patch",
    PatchProved = "a proof",
    PatchRefuted = "a refuted patch",
    RiskAssessed = "a risk assessment",
    AutonomyApplies = "clearing a patch",
    AutonomyAsks = "asking for a review",
    AutonomyStops = "stopping a patch",
    PatchApprovalCounted = "a patch approval",
    PatchApproved = "patch approval",
    PatchRejected = "patch rejection",
    PatchSentBack = "sending a patch back",
    ApplyStarted = "applying a patch",
    PatchApplied = "an applied patch",
    ServiceRestarted = "a service restart",
    VerificationStarted = "verification",
    VerificationPassed = "a passed verification",
    VerificationFailed = "a failed verification",
    IssueResolved = "resolution",
    RollbackStarted = "rollback",
    RollbackCommitted = "a rollback commit",
    RunFailed = "a failed run",
    RunRetried = "another run",
    RunInterrupted = "an interrupted run",
    IssueEscalated = "escalation",
    AbortStarted = "abort with rollback",
    IssueAborted = "abort",
    IssueRetried = "retry",
    IssueReopened = "reopening",
}

impl EventKind {
    /// Whether what became of an issue's runs may be another after it. The opening of an
    /// issue, what people say about it and what agents call change nothing there.
    pub fn may_change_runs(self) -> bool {
        !matches!(
            self,
            Self::IssueOpened
                | Self::IssueCommented
                | Self::IssueTriaged
                | Self::IssueRelated
                | Self::IssueSnoozed
                | Self::IssueWoken
                | Self::ToolCalled
                | Self::ToolFinished
                | Self::TrustLowered
        )
    }
}

impl Event {
    /// Its kind for the state machine; none when it concerns no issue.
    pub fn kind(&self) -> Option<EventKind> {
        use crate::risk::AutonomyAction;
        use crate::verification::VerificationResult;
        use EventKind as K;
        Some(match self {
            Self::IssueOpened { .. } => K::IssueOpened,
            Self::IssueCommented(_) => K::IssueCommented,
            Self::IssueTriaged { .. } => K::IssueTriaged,
            Self::IssueRelated { .. } => K::IssueRelated,
            Self::IssueSnoozed(_) => K::IssueSnoozed,
            Self::IssueWoken => K::IssueWoken,
            Self::IssueApproved(_) => K::IssueApproved,
            Self::IssueRejected { .. } => K::IssueRejected,
            Self::DiagnosisStarted { .. } => K::DiagnosisStarted,
            Self::ToolCalled(_) => K::ToolCalled,
            Self::ToolFinished { .. } => K::ToolFinished,
            Self::TrustLowered { .. } => K::TrustLowered,
            Self::DiagnosisFinished(_) => K::DiagnosisFinished,
            Self::RunObserved { .. } => K::RunObserved,
            Self::DraftingStarted => K::DraftingStarted,
            Self::PatchDrafted { .. } => K::PatchDrafted,
            Self::PatchProved(verification) => match verification.result() {
                VerificationResult::Pass => K::PatchProved,
                VerificationResult::Fail | VerificationResult::Inconclusive => K::PatchRefuted,
            },
            Self::PatchRefuted { .. } => K::PatchRefuted,
            Self::RiskAssessed(_) => K::RiskAssessed,
            Self::AutonomyDecided(decision) => match decision.action {
                AutonomyAction::Apply => K::AutonomyApplies,
                AutonomyAction::Review(_) => K::AutonomyAsks,
                AutonomyAction::Stop => K::AutonomyStops,
            },
            Self::PatchReviewed { answer, .. } => match answer {
                ReviewAnswer::Counted => K::PatchApprovalCounted,
                ReviewAnswer::Approved => K::PatchApproved,
                ReviewAnswer::Rejected { .. } => K::PatchRejected,
                ReviewAnswer::SentBack { .. } => K::PatchSentBack,
            },
            Self::ApplyStarted { .. } => K::ApplyStarted,
            Self::PatchApplied { .. } => K::PatchApplied,
            Self::ServiceRestarted { .. } => K::ServiceRestarted,
            Self::VerificationStarted => K::VerificationStarted,
            Self::VerificationFinished(verification) => match verification.result() {
                VerificationResult::Pass => K::VerificationPassed,
                VerificationResult::Fail | VerificationResult::Inconclusive => {
                    K::VerificationFailed
                }
            },
            Self::IssueResolved => K::IssueResolved,
            Self::RollbackStarted { .. } => K::RollbackStarted,
            Self::RollbackCommitted { .. } => K::RollbackCommitted,
            Self::RunFailed { .. } => K::RunFailed,
            Self::RunRetried => K::RunRetried,
            Self::RunInterrupted => K::RunInterrupted,
            Self::IssueEscalated { .. } => K::IssueEscalated,
            Self::AbortStarted { .. } => K::AbortStarted,
            Self::IssueAborted { .. } => K::IssueAborted,
            Self::IssueRetried { .. } => K::IssueRetried,
            Self::IssueReopened { .. } => K::IssueReopened,
            Self::HostStarted { .. }
            | Self::HostStopped
            | Self::UserSaved(_)
            | Self::UserChanged { .. }
            | Self::UserErased { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::TokenUsed { .. }
            | Self::SessionOpened { .. }
            | Self::SessionRefused { .. }
            | Self::SessionClosed { .. }
            | Self::AutonomyChanged { .. }
            | Self::FreezeChanged { .. }
            | Self::PolicyChanged(_)
            | Self::PolicyRefused { .. }
            | Self::PolicyProposed(_)
            | Self::PolicyWithdrawn { .. }
            | Self::QuarantineChanged { .. }
            | Self::GrantGiven(_)
            | Self::GrantEnded { .. }
            | Self::EnforcementChecked(_)
            | Self::ServiceOperated { .. }
            | Self::ServiceNoticed { .. }
            | Self::ViewSaved(_)
            | Self::ViewForgotten { .. } => return None,
        })
    }
}

/// An event as it is handed to the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NewRecord {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// Which issue, if one.
    pub issue: Option<IssueNumber>,
    /// What.
    pub event: Event,
}

impl NewRecord {
    /// Whether it opens an issue whose number is up to the store.
    pub fn wants_number(&self) -> bool {
        let Event::IssueOpened { number, .. } = &self.event else {
            return false;
        };
        *number == IssueNumber::NEXT && self.issue == Some(IssueNumber::NEXT)
    }

    /// The record about the issue `next`, where its number is up to the store; as it is else.
    #[must_use]
    pub fn numbered(mut self, next: IssueNumber) -> Self {
        if self.wants_number()
            && let Event::IssueOpened { number, .. } = &mut self.event
        {
            *number = next;
            self.issue = Some(next);
        }
        self
    }
}

/// An event as the journal holds it: a leaf of the audit log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Position in the log, from 0, without gaps.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// Which issue, if one.
    pub issue: Option<IssueNumber>,
    /// What.
    pub event: Event,
    /// Hash of the record before; zeros for the first.
    pub previous: Digest,
    /// Hash of this record over its canonical bytes.
    pub hash: Digest,
}
