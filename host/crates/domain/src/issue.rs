//! An issue, folded from its events.

use crate::digest::Digest;
use crate::event::{Approval, Event, NewRecord, ReviewAnswer};
use crate::ids::{CommentId, IssueId, IssueNumber, RunNumber};
use crate::report::Report;
use crate::risk::AutonomyAction;
use crate::run::{DraftedPatch, Kept, RetryFrom, Run, RunStatus};
use crate::state::{IllegalTransition, IssueStatus, Phase};
use crate::user::{Actor, TrustClass, UserName};
use crate::verification::VerificationResult;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Severity {
    Critical,
    High,
    Medium,
    Low,
}

impl Severity {
    /// As on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// How soon it should be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Priority {
    P0,
    P1,
    P2,
    P3,
}

impl Priority {
    /// As on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }
}

/// Where a report came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Source {
    Web,
    Skill,
    Api,
    Ci,
    Error,
    Pattern,
    Cli,
}

impl Source {
    /// As on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Skill => "skill",
            Self::Api => "api",
            Self::Ci => "ci",
            Self::Error => "error",
            Self::Pattern => "pattern",
            Self::Cli => "cli",
        }
    }
}

/// Kind of trouble (seed B).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Category {
    Scalability,
    Reliability,
    Auditability,
    Governance,
    Performance,
    Bug,
}

impl Category {
    /// As on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalability => "scalability",
            Self::Reliability => "reliability",
            Self::Auditability => "auditability",
            Self::Governance => "governance",
            Self::Performance => "performance",
            Self::Bug => "bug",
        }
    }
}

/// What ends a snooze, besides a change of the issue's state and somebody's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "end")]
pub enum SnoozeEnd {
    /// This time.
    At {
        /// From then on it is over.
        until: DateTime<Utc>,
    },
    /// Whatever happens to the issue next, a comment for instance.
    News,
}

impl SnoozeEnd {
    /// Whether a snooze that ends so goes on at `now`.
    pub fn is_ahead(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::At { until } => now < until,
            Self::News => true,
        }
    }
}

/// In which capacity a comment was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say it")]
pub enum CommentRole {
    User,
    Admin,
    Agent,
    System,
}

/// A comment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Comment {
    /// Identity.
    pub id: CommentId,
    /// User name, agent name, or `host`.
    pub author: String,
    /// Capacity.
    pub role: CommentRole,
    /// Markdown, at most 64 KiB.
    pub content: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// An issue with everything that happened to it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Issue {
    /// Identity.
    pub id: IssueId,
    /// Number.
    pub number: IssueNumber,
    /// What was reported, with severity and priority as triaged.
    pub report: Report,
    /// Who reported it.
    pub reported_by: Actor,
    /// Where it is.
    pub phase: Phase,
    /// The approval in force.
    pub approval: Option<Approval>,
    /// When it was given.
    pub approved_at: Option<DateTime<Utc>>,
    /// Why it (or its patch) was rejected.
    pub rejection_reason: Option<String>,
    /// Attempts, oldest first.
    pub runs: Vec<Run>,
    /// Runs that count against the limit since the last approval by a person.
    pub attempts: u32,
    /// What the next attempts keep of an earlier one, until there is a new draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Related issues.
    pub related: Vec<IssueId>,
    /// How often it was seen.
    pub occurrences: u64,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When it was last opened again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened_at: Option<DateTime<Utc>>,
    /// Out of the way for now; whether still, its end and the time say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snooze: Option<SnoozeEnd>,
    /// Why it was escalated or aborted.
    pub end_reason: Option<String>,
    /// Records about it so far; the next one must build on exactly these.
    pub version: u64,
}

/// An event cannot be folded into the issue.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FoldError {
    /// The state machine refuses it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The first event of an issue is its opening, and only the first.
    #[error("an issue begins with issue.opened, and only once")]
    Beginning,
    /// The event belongs to a run, and there is none.
    #[error("the event needs a run, and the issue has none")]
    NoRun,
    /// A review, or the intent to apply, is for one exact patch: the current draft.
    #[error("the event is about another patch than the current draft")]
    OtherPatch,
    /// A retry keeps what the last attempt did not come to.
    #[error("the last attempt has nothing that the retry could keep")]
    NothingKept,
}

impl Issue {
    /// The issue after its first record.
    ///
    /// # Errors
    /// The record is not `issue.opened`.
    pub fn open(record: &NewRecord) -> Result<Self, FoldError> {
        let Event::IssueOpened {
            id,
            number,
            report,
            reported_by,
        } = &record.event
        else {
            return Err(FoldError::Beginning);
        };
        Ok(Self {
            id: *id,
            number: *number,
            report: report.clone(),
            reported_by: reported_by.clone(),
            phase: Phase::Open,
            approval: None,
            approved_at: None,
            rejection_reason: None,
            runs: Vec::new(),
            attempts: 0,
            kept: None,
            comments: Vec::new(),
            related: Vec::new(),
            occurrences: 1,
            created_at: record.at,
            updated_at: record.at,
            resolved_at: None,
            reopened_at: None,
            snooze: None,
            end_reason: None,
            version: 1,
        })
    }

    /// Public state.
    pub fn status(&self) -> IssueStatus {
        self.phase.status()
    }

    /// The current or last run.
    pub fn run(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// Lowest trust class of all texts an agent would read, and of all that came into
    /// the current run: it never rises while a run lasts.
    pub fn trust(&self) -> TrustClass {
        let comments = self.comments.iter().map(|comment| match comment.role {
            CommentRole::Admin | CommentRole::System => TrustClass::Admin,
            CommentRole::User => TrustClass::Member,
            CommentRole::Agent => TrustClass::Machine,
        });
        let run = self.run().and_then(|run| run.trust);
        comments.chain(run).fold(self.report.trust, Ord::min)
    }

    /// Whether the last attempt has what a retry from this step keeps.
    ///
    /// # Errors
    /// What is missing, in words for whoever asked.
    pub fn keeps(&self, from: RetryFrom) -> Result<(), String> {
        if from == RetryFrom::Diagnose {
            return Ok(());
        }
        let run = self
            .run()
            .ok_or("there was no attempt that anything could be kept of")?;
        let missing = |what: &str, instead: &str| {
            let number = run.number;
            Err(format!("attempt {number} {what}; retry from {instead}"))
        };
        match (from, &run.diagnosis, &run.draft) {
            (RetryFrom::Diagnose, ..) | (RetryFrom::Draft, Some(_), _) => Ok(()),
            (RetryFrom::Draft | RetryFrom::Prove, None, _) => {
                missing("found no cause", RetryFrom::Diagnose.as_str())
            }
            (RetryFrom::Prove, Some(_), None) => {
                missing("wrote no patch", RetryFrom::Draft.as_str())
            }
            (RetryFrom::Prove, Some(_), Some(_)) if run.sent_back => missing(
                "has a patch that a reviewer sent back",
                RetryFrom::Draft.as_str(),
            ),
            (RetryFrom::Prove, Some(_), Some(_)) => Ok(()),
        }
    }

    /// The earlier attempt that the current one keeps something of, and what.
    pub fn kept_run(&self) -> Option<(&Run, RetryFrom)> {
        let kept = self.kept?;
        let run = self.runs.iter().find(|run| run.number == kept.run)?;
        Some((run, kept.from))
    }

    /// The issue after one more record: legality first, then the data.
    ///
    /// # Errors
    /// See [`FoldError`]; the issue is unchanged then.
    pub fn after(&self, record: &NewRecord) -> Result<Self, FoldError> {
        let Some(kind) = record.event.kind() else {
            return Err(FoldError::Beginning);
        };
        let phase = self.phase.apply(kind)?;
        let mut next = self.clone();
        next.phase = phase;
        if phase != self.phase {
            next.snooze = None;
        }
        next.version += 1;
        next.updated_at = record.at;
        next.take(record)?;
        Ok(next)
    }

    fn take(&mut self, record: &NewRecord) -> Result<(), FoldError> {
        let at = record.at;
        match &record.event {
            Event::IssueOpened { .. } => return Err(FoldError::Beginning),
            Event::IssueCommented(comment) => {
                self.comments.push(comment.clone());
                self.news();
            }
            Event::IssueTriaged { severity, priority } => {
                self.report.severity = severity.unwrap_or(self.report.severity);
                self.report.priority = priority.unwrap_or(self.report.priority);
            }
            Event::IssueRelated { other } => {
                if !self.related.contains(other) {
                    self.related.push(*other);
                }
                self.news();
            }
            Event::IssueSnoozed(end) => self.snooze = Some(*end),
            Event::IssueWoken => self.snooze = None,
            Event::IssueApproved(approval) => self.start(approval, at),
            Event::IssueRetried { approval, from } => {
                self.keeps(*from).map_err(|_| FoldError::NothingKept)?;
                self.kept = match (from, self.run()) {
                    (RetryFrom::Diagnose, _) | (_, None) => None,
                    (&from, Some(run)) => Some(Kept {
                        run: run.number,
                        from,
                    }),
                };
                self.start(approval, at);
            }
            Event::IssueRejected { reason } => self.rejection_reason = Some(reason.clone()),
            Event::DiagnosisStarted {
                run,
                agent,
                snapshot,
                base_commit,
                live_branch,
                policy_generation,
                ..
            } => {
                self.attempts += 1;
                let number = RunNumber(
                    u32::try_from(self.runs.len())
                        .unwrap_or(u32::MAX)
                        .saturating_add(1),
                );
                self.runs.push(Run {
                    id: *run,
                    number,
                    status: RunStatus::Active,
                    started_at: at,
                    ended_at: None,
                    agent: agent.clone(),
                    snapshot: snapshot.clone(),
                    base_commit: base_commit.clone(),
                    live_branch: live_branch.clone(),
                    policy_generation: *policy_generation,
                    trust: None,
                    diagnosis: None,
                    draft: None,
                    discarded: Vec::new(),
                    proof: None,
                    assessment: None,
                    autonomy: None,
                    approvals: Vec::new(),
                    review_comments: Vec::new(),
                    sent_back: false,
                    probes_before: Vec::new(),
                    heal_commit: None,
                    services_restarted: Vec::new(),
                    verification: None,
                    rollback_commit: None,
                    rolled_back: false,
                    end_reason: None,
                });
            }
            Event::TrustLowered { trust, .. } => {
                let run = self.run_mut()?;
                run.trust = Some(run.trust.map_or(*trust, |known| known.min(*trust)));
            }
            Event::DiagnosisFinished(diagnosis) => {
                let run = self.run_mut()?;
                run.diagnosis = Some(diagnosis.clone());
                // Another one may have taken over from the agent that was asked.
                if let Actor::Agent(name) = &record.actor {
                    run.agent.clone_from(name);
                }
            }
            Event::RunObserved { .. } => {
                self.end_run(RunStatus::Observed, at, "the autonomy level is OBSERVE")
            }
            Event::PatchDrafted {
                patch,
                rationale,
                confidence,
                rivals,
                commit,
                judgement,
                log: _,
            } => {
                self.kept = None;
                let run = self.run_mut()?;
                run.sent_back = false;
                run.draft = Some(DraftedPatch {
                    patch: patch.clone(),
                    rationale: rationale.clone(),
                    confidence: *confidence,
                    rivals: rivals.clone(),
                    commit: commit.clone(),
                    judgement: judgement.clone(),
                });
                run.proof = None;
                run.assessment = None;
                run.autonomy = None;
                run.approvals.clear();
                if let Actor::Agent(name) = &record.actor
                    && !run.agents().any(|known| known == name)
                {
                    run.agent = format!("{}, {name}", run.agent);
                }
            }
            Event::PatchProved(verification) => {
                let failed = verification.result() != VerificationResult::Pass;
                let run = self.run_mut()?;
                run.proof = Some(verification.clone());
                if failed {
                    run.discard_draft();
                    self.end_run(RunStatus::Failed, at, "the proof failed");
                }
            }
            Event::PatchRefuted {
                reason,
                verification,
            } => {
                let run = self.run_mut()?;
                run.proof.clone_from(verification);
                run.discard_draft();
                self.end_run(RunStatus::Failed, at, reason);
            }
            Event::RiskAssessed(assessment) => {
                self.run_mut()?.assessment = Some(assessment.clone())
            }
            Event::AutonomyDecided(decision) => {
                self.run_mut()?.autonomy = Some(decision.clone());
                if decision.action == AutonomyAction::Stop {
                    self.end_reason = Some(decision.reason.clone());
                    self.end_run(RunStatus::Escalated, at, &decision.reason);
                }
            }
            Event::PatchReviewed {
                reviewer,
                digest,
                answer,
            } => {
                self.check_draft(*digest)?;
                self.take_review(reviewer, answer, at)?;
            }
            Event::ApplyStarted { digest } => self.check_draft(*digest)?,
            Event::PatchApplied { commit, probes } => {
                let run = self.run_mut()?;
                run.heal_commit = Some(commit.clone());
                run.probes_before.clone_from(probes);
            }
            Event::ServiceRestarted { service, .. } => {
                let run = self.run_mut()?;
                if !run.services_restarted.contains(service) {
                    run.services_restarted.push(service.clone());
                }
            }
            Event::VerificationFinished(verification) => {
                self.run_mut()?.verification = Some(verification.clone())
            }
            Event::IssueResolved => {
                self.resolved_at = Some(at);
                self.end_run(RunStatus::Succeeded, at, "");
            }
            Event::RollbackStarted { reason } => self.run_mut()?.end_reason = Some(reason.clone()),
            Event::RollbackCommitted { commit } => {
                let run = self.run_mut()?;
                run.rollback_commit.clone_from(commit);
                run.rolled_back = true;
                // Undone before it was whole, because the host stopped, says nothing about it.
                if run.heal_commit.is_some() {
                    run.discard_draft();
                }
            }
            Event::RunFailed { reason } => self.end_run(RunStatus::Failed, at, reason),
            Event::RunInterrupted => {
                self.attempts = self.attempts.saturating_sub(1);
                self.end_run(
                    RunStatus::Interrupted,
                    at,
                    "the host stopped during the run",
                );
            }
            Event::IssueEscalated { reason } => {
                self.end_reason = Some(reason.clone());
                self.end_run(RunStatus::Escalated, at, reason);
            }
            Event::AbortStarted { reason } => self.end_reason = Some(reason.clone()),
            Event::IssueAborted { reason } => {
                self.end_reason = Some(reason.clone());
                self.end_run(RunStatus::Aborted, at, reason);
            }
            Event::IssueReopened { .. } => {
                self.approval = None;
                self.approved_at = None;
                self.resolved_at = None;
                self.reopened_at = Some(at);
                self.occurrences += 1;
            }
            Event::ToolCalled(_)
            | Event::ToolFinished { .. }
            | Event::DraftingStarted
            | Event::VerificationStarted
            | Event::RunRetried
            | Event::HostStarted { .. }
            | Event::HostStopped
            | Event::UserErased { .. }
            | Event::UserSaved(_)
            | Event::UserChanged { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::TokenUsed { .. }
            | Event::SessionOpened { .. }
            | Event::SessionRefused { .. }
            | Event::SessionClosed { .. }
            | Event::AutonomyChanged { .. }
            | Event::FreezeChanged { .. }
            | Event::PolicyChanged(_)
            | Event::PolicyRefused { .. }
            | Event::PolicyProposed(_)
            | Event::PolicyWithdrawn { .. }
            | Event::QuarantineChanged { .. }
            | Event::GrantGiven(_)
            | Event::GrantEnded { .. }
            | Event::EnforcementChecked(_)
            | Event::ServiceOperated { .. }
            | Event::ServiceNoticed { .. }
            | Event::ViewSaved(_)
            | Event::ViewForgotten { .. } => {}
        }
        Ok(())
    }

    /// From now on an agent may start.
    fn start(&mut self, approval: &Approval, at: DateTime<Utc>) {
        self.approval = Some(approval.clone());
        self.approved_at = Some(at);
        self.rejection_reason = None;
        self.end_reason = None;
        self.attempts = 0;
        self.end_run(RunStatus::Failed, at, "retried");
    }

    /// Something happened that whoever snoozed it may have waited for.
    fn news(&mut self) {
        if self.snooze == Some(SnoozeEnd::News) {
            self.snooze = None;
        }
    }

    fn take_review(
        &mut self,
        reviewer: &Actor,
        answer: &ReviewAnswer,
        at: DateTime<Utc>,
    ) -> Result<(), FoldError> {
        let reviewer_name: Option<UserName> = match reviewer {
            Actor::User(name) => Some(name.clone()),
            Actor::Agent(_) | Actor::Host | Actor::Operator => None,
        };
        match answer {
            ReviewAnswer::Counted | ReviewAnswer::Approved => {
                self.run_mut()?.approvals.extend(reviewer_name)
            }
            ReviewAnswer::Rejected { reason } => {
                self.rejection_reason = Some(reason.clone());
                self.run_mut()?.discard_draft();
                self.end_run(RunStatus::Rejected, at, reason);
            }
            ReviewAnswer::SentBack { reason } => {
                let run = self.run_mut()?;
                run.review_comments.push(reason.clone());
                if reviewer_name.is_some() {
                    run.discard_draft();
                    run.sent_back = true;
                }
                run.approvals.clear();
            }
        }
        Ok(())
    }

    fn check_draft(&self, digest: Digest) -> Result<(), FoldError> {
        let run = self.run().ok_or(FoldError::NoRun)?;
        match &run.draft {
            Some(draft) if draft.patch.digest == digest => Ok(()),
            Some(_) | None => Err(FoldError::OtherPatch),
        }
    }

    fn run_mut(&mut self) -> Result<&mut Run, FoldError> {
        self.runs.last_mut().ok_or(FoldError::NoRun)
    }

    fn end_run(&mut self, status: RunStatus, at: DateTime<Utc>, reason: &str) {
        if let Some(run) = self.runs.last_mut().filter(|run| run.ended_at.is_none()) {
            run.status = status;
            run.ended_at = Some(at);
            if !reason.is_empty() && run.end_reason.is_none() {
                run.end_reason = Some(reason.to_owned());
            }
        }
    }
}

impl Run {
    /// The draft is not to be proposed again in this run.
    fn discard_draft(&mut self) {
        if let Some(draft) = &self.draft
            && !self.discarded.contains(&draft.patch.digest)
        {
            self.discarded.push(draft.patch.digest);
        }
    }
}
