//! Where people act: report, comment, triage, approve, review, abort, retry, and
//! the switches. Every method checks what it must, records the act, and only
//! then sets work going.

use crate::enforcement::Warden;
use crate::healer::Healer;
use crate::settings::Settings;
use chrono::{DateTime, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Approval, Event, Record, ReviewAnswer};
use selfheal_domain::external::ExternalChecker;
use selfheal_domain::ids::{CommentId, IssueId, IssueNumber};
use selfheal_domain::issue::{Comment, CommentRole, Issue, Priority, Severity, Source};
use selfheal_domain::ledger::{Ledger, RecordError, Seen};
use selfheal_domain::policy::{
    AgentPhase, Asked, IssueFacts, PolicyContext, PolicyHost, RunCounters,
};
use selfheal_domain::policy_control::PolicyControl;
use selfheal_domain::ports::{Clock, IdSource, Services, StoreError};
use selfheal_domain::report::{FieldError, Report, ReportDraft, check_text};
use selfheal_domain::risk::{Admission, AutonomyAction, AutonomyLevel};
use selfheal_domain::run::RetryFrom;
use selfheal_domain::state::Phase;
use selfheal_domain::user::{Account, Actor, Role, TrustClass, UserName};
use std::sync::Arc;

pub mod commits;
mod external;
mod lists;
mod policies;
pub mod preview;
mod switches;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Account name.
    pub name: UserName,
    /// Role at the time of asking.
    pub role: Role,
}

impl Caller {
    fn actor(&self) -> Actor {
        Actor::User(self.name.clone())
    }

    fn sees_all(&self) -> bool {
        matches!(self.role, Role::Admin | Role::Auditor)
    }

    fn trust(&self) -> TrustClass {
        match self.role {
            Role::Admin => TrustClass::Admin,
            Role::User | Role::Auditor => TrustClass::Member,
            Role::Guest => TrustClass::External,
            Role::Hook => TrustClass::Machine,
        }
    }
}

/// Why an act was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// No such thing, or none that the caller may know of.
    #[error("there is no {0}")]
    NotFound(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// The input is wrong, field by field.
    #[error("the input is not valid")]
    Invalid(Vec<FieldError>),
    /// Not possible in the present state.
    #[error("{0}")]
    Conflict(String),
    /// What the caller saw has changed since.
    #[error("{0}")]
    Stale(String),
    /// The store or a part of the host failed.
    #[error("the host cannot do this now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<RecordError> for DeskError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Illegal(illegal) => Self::Conflict(illegal.to_string()),
            RecordError::Condition(message) => Self::Conflict(message),
            RecordError::Stale(_) => Self::Stale(error.to_string()),
            RecordError::NoSuchIssue(number) => Self::NotFound(format!("issue {number}")),
            other @ (RecordError::Misfit(_) | RecordError::Store(_) | RecordError::InDoubt) => {
                Self::Unavailable(Box::new(other))
            }
        }
    }
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadCursor => {
                Self::Invalid(vec![FieldError::new("cursor", error.to_string())])
            }
            StoreError::TooManyToSort(_) => {
                Self::Invalid(vec![FieldError::new("query", error.to_string())])
            }
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

/// What the autonomy switch shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AutonomyView {
    /// Level in force.
    pub level: AutonomyLevel,
    /// Highest level that may be set.
    pub ceiling: AutonomyLevel,
    /// All healing is stopped.
    pub frozen: bool,
}

impl AutonomyView {
    /// Differs where the switch differs.
    pub fn version(&self) -> String {
        let (level, ceiling) = (u8::from(self.level), u8::from(self.ceiling));
        format!("{level}-{ceiling}-{}", u8::from(self.frozen))
    }
}

/// Where people act. Cheap to clone.
#[derive(Clone)]
pub struct IssueDesk {
    ledger: Arc<Ledger>,
    healer: Arc<Healer>,
    policies: Arc<dyn PolicyHost>,
    services: Arc<dyn Services>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    settings: Arc<Settings>,
    control: Option<Arc<dyn PolicyControl>>,
    warden: Option<Arc<Warden>>,
    checker: Option<Arc<dyn ExternalChecker>>,
    seen: Option<Seen>,
}

impl IssueDesk {
    /// A desk in front of `healer`.
    pub fn new(
        healer: Arc<Healer>,
        policies: Arc<dyn PolicyHost>,
        services: Arc<dyn Services>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let ledger = Arc::clone(healer.ledger());
        let settings = Arc::clone(healer.settings());
        Self {
            ledger,
            healer,
            policies,
            services,
            clock,
            ids,
            settings,
            control: None,
            warden: None,
            checker: None,
            seen: None,
        }
    }

    /// With what changes the policies of the running host.
    #[must_use]
    pub fn with_policy_control(mut self, control: Arc<dyn PolicyControl>) -> Self {
        self.control = Some(control);
        self
    }

    /// With the proof of enforcement.
    #[must_use]
    pub fn with_warden(mut self, warden: Arc<Warden>) -> Self {
        self.warden = Some(warden);
        self
    }

    /// With what judges calls of agents that run on their own.
    #[must_use]
    pub fn with_checker(mut self, checker: Arc<dyn ExternalChecker>) -> Self {
        self.checker = Some(checker);
        self
    }

    /// This desk for somebody who saw these versions of what they act on:
    /// acts on anything that has moved on are refused as [`DeskError::Stale`].
    #[must_use]
    pub fn expecting(&self, seen: Seen) -> Self {
        Self {
            seen: Some(seen),
            ..self.clone()
        }
    }

    /// Files a report. Where the environment allows it, an autonomy module may let
    /// it start without an admin; that decision is recorded in place of an approval.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] field by field; [`DeskError::Forbidden`] for auditors.
    pub fn report(
        &self,
        caller: &Caller,
        draft: ReportDraft,
        source: Source,
    ) -> Result<Issue, DeskError> {
        if !matches!(caller.role, Role::User | Role::Admin) {
            return Err(DeskError::Forbidden(format!(
                "the role {} may not report issues",
                caller.role
            )));
        }
        if caller.role != Role::Admin && draft.priority.is_some() {
            return Err(DeskError::Invalid(vec![FieldError::new(
                "priority",
                "is set by an admin after the report; leave it out",
            )]));
        }
        let report = Report::parse(draft, source, caller.trust()).map_err(DeskError::Invalid)?;
        let issue = self
            .ledger
            .open(IssueId(self.ids.uuid()), report, caller.actor())?;
        self.admit(issue)
    }

    fn admit(&self, issue: Issue) -> Result<Issue, DeskError> {
        let set = self.policies.current();
        let service = issue.report.service.clone();
        let context = PolicyContext {
            run: None,
            phase: AgentPhase::Diagnosis,
            environment: self.settings.rules.get().environment,
            level: self.autonomy()?.level,
            actor: issue.reported_by.to_string(),
            trust: issue.trust(),
            earned: self.healer.past(service.as_deref())?.record,
            service,
            counters: RunCounters::default(),
        };
        // A reporter may say how bad it is; only an admin's word counts where it opens a door.
        let severity = match issue.report.trust {
            TrustClass::Admin => issue.report.severity,
            TrustClass::Member | TrustClass::External | TrustClass::Machine => Severity::Medium,
        };
        let facts = IssueFacts {
            number: issue.number.0,
            severity: severity.as_str().to_owned(),
            category: issue.report.category.as_str().to_owned(),
            source: issue.report.source.as_str().to_owned(),
            trust: issue.trust(),
        };
        match set.admit(&context, &facts) {
            Admission::NeedsAdmin(_) => Ok(issue),
            Admission::Admit(reason) => {
                let asked = Asked {
                    context,
                    history: Arc::default(),
                    patch: None,
                    issue: Some(facts),
                    assessment: None,
                };
                let approval = Approval::Module {
                    reason,
                    generation: set.generation(),
                    asked: Some(Box::new(asked)),
                };
                let issue = self.ledger.record(
                    issue.number,
                    Actor::Host,
                    Event::IssueApproved(approval),
                )?;
                self.healer.enqueue(issue.number);
                Ok(issue)
            }
        }
    }

    /// The issue with this number or id, if the caller may see it.
    ///
    /// # Errors
    /// [`DeskError::NotFound`], also for somebody else's issue.
    pub fn issue(&self, caller: &Caller, key: &str) -> Result<Issue, DeskError> {
        let missing = || DeskError::NotFound(format!("issue {key}"));
        if matches!(caller.role, Role::Guest | Role::Hook) {
            return Err(missing());
        }
        let number = match key.parse::<u64>() {
            Ok(number) => IssueNumber(number),
            Err(_) => {
                let id = key.parse().map(IssueId).map_err(|_| missing())?;
                self.ledger.store().issue_number(id)?.ok_or_else(missing)?
            }
        };
        let issue = self.ledger.store().issue(number)?.ok_or_else(missing)?;
        if caller.sees_all() || issue.reported_by == caller.actor() {
            Ok(issue)
        } else {
            Err(missing())
        }
    }

    /// Adds a comment.
    ///
    /// # Errors
    /// See [`DeskError`]; auditors may not.
    pub fn comment(
        &self,
        caller: &Caller,
        key: &str,
        content: &str,
    ) -> Result<(Issue, Comment), DeskError> {
        let role = match caller.role {
            Role::Admin => CommentRole::Admin,
            Role::User => CommentRole::User,
            Role::Auditor | Role::Guest | Role::Hook => {
                return Err(DeskError::Forbidden(format!(
                    "the role {} may not comment",
                    caller.role
                )));
            }
        };
        let issue = self.issue(caller, key)?;
        let mut errors = Vec::new();
        check_text("content", content, &mut errors);
        if !errors.is_empty() {
            return Err(DeskError::Invalid(errors));
        }
        let comment = Comment {
            id: CommentId(self.ids.uuid()),
            author: caller.name.to_string(),
            role,
            content: content.to_owned(),
            created_at: self.clock.now(),
        };
        let event = Event::IssueCommented(comment.clone());
        Ok((self.record(caller, issue.number, event)?, comment))
    }

    /// Sets severity, priority, or both.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn triage(
        &self,
        caller: &Caller,
        key: &str,
        severity: Option<Severity>,
        priority: Option<Priority>,
    ) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        if severity.is_none() && priority.is_none() {
            return Err(DeskError::Invalid(vec![FieldError::new(
                "priority",
                "give priority, severity, or both",
            )]));
        }
        let number = self.issue(caller, key)?.number;
        self.record(caller, number, Event::IssueTriaged { severity, priority })
    }

    /// Lets an agent start.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] unless the issue is open; [`DeskError::Forbidden`] for
    /// its reporter when four eyes are required.
    pub fn approve(&self, caller: &Caller, key: &str) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let issue = self.issue(caller, key)?;
        self.must_be_other_eyes(caller, &issue)?;
        let approval = Approval::Admin {
            name: caller.name.clone(),
        };
        let issue = self.record(caller, issue.number, Event::IssueApproved(approval))?;
        self.healer.enqueue(issue.number);
        Ok(issue)
    }

    /// Closes an open issue.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] unless it is open.
    pub fn reject(&self, caller: &Caller, key: &str, reason: &str) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let number = self.issue(caller, key)?.number;
        self.record(caller, number, Event::IssueRejected { reason })
    }

    /// Approves one exact patch under the policy generation that judged it.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] when the digest is not the pending patch's, the
    /// policies changed since, or the caller already approved it.
    pub fn approve_patch(
        &self,
        caller: &Caller,
        key: &str,
        digest: &str,
    ) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let issue = self.issue(caller, key)?;
        self.must_be_other_eyes(caller, &issue)?;
        let digest: Digest = digest.parse().map_err(|error| {
            DeskError::Invalid(vec![FieldError::new("patchDigest", format!("{error}"))])
        })?;
        let run = issue.run().map(|run| run.reference(issue.number));
        let generation = self.policies.for_run(run).generation();
        let seen = self.seen.as_ref();
        let (issue, _) = self
            .ledger
            .record_seen(issue.number, caller.actor(), seen, |issue| {
                let (needed, approvals) = pending_patch(issue, digest, generation)?;
                if approvals.contains(&caller.name) {
                    return Err("you already approved this patch; another admin must".to_owned());
                }
                let enough = u32::try_from(approvals.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1)
                    >= needed;
                let answer = if enough {
                    ReviewAnswer::Approved
                } else {
                    ReviewAnswer::Counted
                };
                Ok(Event::PatchReviewed {
                    reviewer: caller.actor(),
                    digest,
                    answer,
                })
            })?;
        if issue.phase == Phase::Cleared {
            self.healer.enqueue(issue.number);
        }
        Ok(issue)
    }

    /// Rejects the pending patch, for good or to have another one drafted.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] when no patch is pending.
    pub fn reject_patch(
        &self,
        caller: &Caller,
        key: &str,
        reason: &str,
        next: Redraft,
    ) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let number = self.issue(caller, key)?.number;
        let seen = self.seen.as_ref();
        let (issue, _) = self
            .ledger
            .record_seen(number, caller.actor(), seen, |issue| {
                let digest = issue
                    .run()
                    .and_then(|run| run.draft.as_ref())
                    .map(|draft| draft.patch.digest);
                let digest =
                    digest.ok_or_else(|| format!("issue {number} has no patch to reject"))?;
                let answer = match next {
                    Redraft::No => ReviewAnswer::Rejected { reason },
                    Redraft::Yes => ReviewAnswer::SentBack { reason },
                };
                Ok(Event::PatchReviewed {
                    reviewer: caller.actor(),
                    digest,
                    answer,
                })
            })?;
        if issue.phase == Phase::Diagnosed {
            self.healer.enqueue(issue.number);
        }
        Ok(issue)
    }

    /// Stops the issue, undoing what was applied; waits a while for the end.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] when it already rests for good.
    pub fn abort(&self, caller: &Caller, key: &str, reason: &str) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let number = self.issue(caller, key)?.number;
        let seen = self.seen.as_ref();
        Ok(self.healer.abort(number, caller.actor(), reason, seen)?)
    }

    /// Starts another attempt; counts as a new approval. What comes before `from` is kept
    /// from the last one.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] unless it failed, was escalated, aborted or observed, and
    /// where there is nothing to keep, or at OBSERVE nothing to do with it.
    pub fn retry(&self, caller: &Caller, key: &str, from: RetryFrom) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let issue = self.issue(caller, key)?;
        self.must_be_other_eyes(caller, &issue)?;
        let approval = Approval::Admin {
            name: caller.name.clone(),
        };
        let level = self.healer.level()?;
        let seen = self.seen.as_ref();
        let (issue, _) = self
            .ledger
            .record_seen(issue.number, caller.actor(), seen, |issue| {
                let event = Event::IssueRetried { approval, from };
                // That it cannot be retried at all says more than what is missing.
                if event.kind().is_some_and(|it| issue.phase.apply(it).is_ok()) {
                    issue.keeps(from)?;
                    if from != RetryFrom::Diagnose && level == AutonomyLevel::Observe {
                        return Err(format!(
                            "at level {level} no attempt goes on after the diagnosis; raise the level or retry from {}",
                            RetryFrom::Diagnose.as_str()
                        ));
                    }
                }
                Ok(event)
            })?;
        self.healer.enqueue(issue.number);
        Ok(issue)
    }

    /// Now, as this host counts time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Records of one issue the caller may see, from `from` on. Reporters see what
    /// happened to their issue, not how the guards decided.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn issue_records(
        &self,
        caller: &Caller,
        key: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, DeskError> {
        let number = self.issue(caller, key)?.number;
        let mut records = self.ledger.store().records(Some(number), from, limit)?;
        records.retain(|record| visible(caller, record));
        Ok(records)
    }

    /// Records of the whole log, for admins and auditors.
    ///
    /// # Errors
    /// [`DeskError::Forbidden`] for everybody else.
    pub fn audit(
        &self,
        caller: &Caller,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, DeskError> {
        if !caller.sees_all() {
            return Err(DeskError::Forbidden(
                "the audit log is for admins and auditors".to_owned(),
            ));
        }
        Ok(self.ledger.store().records(None, from, limit)?)
    }

    /// Length and head of the audit log.
    pub fn audit_head(&self) -> (u64, Digest) {
        self.ledger.store().head()
    }

    /// All accounts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn accounts(&self) -> Result<Arc<Vec<Account>>, DeskError> {
        Ok(self.ledger.store().accounts()?)
    }

    /// Records a change of accounts or tokens; the caller is an admin, the owner of a
    /// token, or the operator at the machine.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn record_account(&self, actor: Actor, event: Event) -> Result<(), DeskError> {
        self.ledger
            .record_host(actor, event)
            .map(drop)
            .map_err(DeskError::from)
    }

    /// Records what happened at the door: log-in, log-out, refusal.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn record_session(&self, actor: Actor, event: Event) -> Result<(), DeskError> {
        self.ledger
            .record_host(actor, event)
            .map(drop)
            .map_err(DeskError::from)
    }

    /// The healer behind this desk.
    pub fn healer(&self) -> &Arc<Healer> {
        &self.healer
    }

    fn record(
        &self,
        caller: &Caller,
        number: IssueNumber,
        event: Event,
    ) -> Result<Issue, DeskError> {
        let seen = self.seen.as_ref();
        let (issue, _) = self
            .ledger
            .record_seen(number, caller.actor(), seen, |_| Ok(event))?;
        Ok(issue)
    }

    fn must_decide(&self, caller: &Caller) -> Result<(), DeskError> {
        match caller.role {
            Role::Admin => Ok(()),
            role @ (Role::User | Role::Auditor | Role::Guest | Role::Hook) => Err(
                DeskError::Forbidden(format!("only an admin may do this; you are {role}")),
            ),
        }
    }

    fn must_be_other_eyes(&self, caller: &Caller, issue: &Issue) -> Result<(), DeskError> {
        if self.settings.rules.get().four_eyes && issue.reported_by == caller.actor() {
            return Err(DeskError::Forbidden(
                "four_eyes is on: another admin must decide on an issue that you reported"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Whether a rejected patch is followed by another draft.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redraft {
    /// Back to the agent with the comment.
    Yes,
    /// The issue is rejected.
    No,
}

/// Position of the freeze switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freeze {
    /// Nothing starts any more.
    On,
    /// Healing goes on.
    Off,
}

/// Whether a caller who may see an issue may also see this record of it.
pub fn visible(caller: &Caller, record: &Record) -> bool {
    caller.sees_all()
        || !matches!(
            record.event,
            Event::ToolCalled(_)
                | Event::ToolFinished { .. }
                | Event::TrustLowered { .. }
                | Event::AutonomyDecided(_)
                | Event::RiskAssessed(_)
        )
}

fn pending_patch(
    issue: &Issue,
    digest: Digest,
    generation: u64,
) -> Result<(u32, &[UserName]), String> {
    let number = issue.number;
    let pending = issue.run().filter(|_| issue.phase == Phase::PatchPending);
    let run = pending.ok_or_else(|| {
        format!(
            "patch approval is not possible while the issue is {}",
            issue.status()
        )
    })?;
    let draft = run
        .draft
        .as_ref()
        .ok_or_else(|| format!("issue {number} has no patch"))?;
    if draft.patch.digest != digest {
        return Err(format!(
            "the pending patch is {}, not {digest}; read it again before you approve",
            draft.patch.digest
        ));
    }
    let decision = run
        .autonomy
        .as_ref()
        .ok_or_else(|| format!("issue {number} has no autonomy decision"))?;
    if decision.generation != generation {
        return Err(format!(
            "the policies changed since this patch was judged (generation {} then, {generation} now); reject it with redraft",
            decision.generation
        ));
    }
    let needed = match decision.action {
        AutonomyAction::Review(count) => count.max(1),
        AutonomyAction::Apply | AutonomyAction::Stop => 1,
    };
    Ok((needed, &run.approvals))
}

fn required(field: &str, text: &str) -> Result<String, DeskError> {
    let mut errors = Vec::new();
    check_text(field, text, &mut errors);
    if errors.is_empty() {
        Ok(text.to_owned())
    } else {
        Err(DeskError::Invalid(errors))
    }
}
