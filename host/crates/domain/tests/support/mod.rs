//! Events of every kind, and an event store in memory.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chrono::{DateTime, Utc};
use selfheal_domain::agent::{Diagnosis, Effort};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{
    Approval, Event, EventKind, NewRecord, Record, ReviewAnswer, ToolDecision, ToolOutcome,
};
use selfheal_domain::ids::{
    CommentId, CommitId, DecisionId, IssueId, IssueNumber, RunId, RunNumber,
};
use selfheal_domain::issue::{
    Category, Comment, CommentRole, Issue, Priority, Severity, SnoozeEnd, Source,
};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::policy::{AgentPhase, ToolCallFacts};
use selfheal_domain::ports::{Clock, EventStore, IssueSummary, Page, StoreError, Switches};
use selfheal_domain::query::IssueFilter;
use selfheal_domain::report::Report;
use selfheal_domain::risk::{
    Assessment, AutonomyAction, AutonomyDecision, AutonomyLevel, RiskScore,
};
use selfheal_domain::run::RetryFrom;
use selfheal_domain::user::{Account, Actor, TrustClass, UserName};
use selfheal_domain::verdict::Judgement;
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
}

pub fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub fn report() -> Report {
    Report {
        title: "It breaks".to_owned(),
        description: "Every time".to_owned(),
        steps_to_reproduce: None,
        expected_behavior: None,
        actual_behavior: None,
        severity: Severity::Medium,
        priority: Priority::P2,
        source: Source::Api,
        category: Category::Bug,
        service: None,
        fingerprint: None,
        trust: TrustClass::Member,
    }
}

pub fn verification(result: VerificationResult) -> Verification {
    Verification {
        checks: vec![CheckEvidence {
            name: "tests".to_owned(),
            result,
            detail: String::new(),
            seconds: 0.1,
        }],
    }
}

pub fn patch(salt: u64) -> Patch {
    Patch::of(vec![FileChange {
        path: "a.py".to_owned(),
        before: Some("x = 1\n".to_owned()),
        after: Some(format!("x = {salt}\n")),
    }])
}

fn autonomy(action: AutonomyAction) -> Event {
    Event::AutonomyDecided(AutonomyDecision {
        action,
        reason: "because".to_owned(),
        faults: Vec::new(),
        generation: 1,
        asked: None,
    })
}

fn reviewed(salt: u64, answer: ReviewAnswer) -> Event {
    let reviewer = if salt.is_multiple_of(3) {
        Actor::Host
    } else {
        Actor::User(name(&format!("admin-{salt}")))
    };
    Event::PatchReviewed {
        reviewer,
        digest: patch(salt).digest,
        answer,
    }
}

/// An event of this kind; `salt` makes it differ from others.
pub fn event(kind: EventKind, salt: u64) -> Event {
    use EventKind as K;
    let reason = format!("reason {salt}");
    let uuid = Uuid::from_u128(salt.into());
    let commit = CommitId(format!("{salt:040x}"));
    match kind {
        K::IssueOpened => Event::IssueOpened {
            id: IssueId(uuid),
            number: IssueNumber(salt),
            report: report(),
            reported_by: Actor::User(name("rita")),
        },
        K::IssueCommented => Event::IssueCommented(Comment {
            id: CommentId(uuid),
            author: "rita".to_owned(),
            role: CommentRole::User,
            content: reason,
            created_at: at(1),
        }),
        K::IssueTriaged => Event::IssueTriaged {
            severity: Some(Severity::High),
            priority: salt.is_multiple_of(2).then_some(Priority::P0),
        },
        K::IssueRelated => Event::IssueRelated {
            other: IssueId(uuid),
        },
        K::IssueSnoozed => Event::IssueSnoozed(if salt.is_multiple_of(2) {
            SnoozeEnd::News
        } else {
            SnoozeEnd::At { until: at(1_000) }
        }),
        K::IssueWoken => Event::IssueWoken,
        K::IssueApproved => Event::IssueApproved(Approval::Admin { name: name("ada") }),
        K::IssueRejected => Event::IssueRejected { reason },
        K::DiagnosisStarted => Event::DiagnosisStarted {
            run: RunId(uuid),
            number: RunNumber(1),
            agent: "engine:builtin".to_owned(),
            snapshot: commit.clone(),
            base_commit: commit,
            live_branch: "main".to_owned(),
            policy_generation: salt,
        },
        K::ToolCalled => Event::ToolCalled(ToolDecision {
            id: DecisionId(uuid),
            phase: AgentPhase::Diagnosis,
            facts: ToolCallFacts {
                tool: "Read".to_owned(),
                input: "{}".to_owned(),
                commands: Vec::new(),
                parsed: true,
                paths: Vec::new(),
                network: Vec::new(),
                bytes: 0,
            },
            judgement: Judgement::merge(1, Vec::new()),
            external: None,
        }),
        K::ToolFinished => Event::ToolFinished {
            decision: DecisionId(uuid),
            outcome: ToolOutcome::Unknown(reason),
        },
        K::TrustLowered => Event::TrustLowered {
            trust: TrustClass::External,
            source: reason,
        },
        K::DiagnosisFinished => Event::DiagnosisFinished(Diagnosis {
            root_cause: reason,
            confidence: 0.1 + salt as f64 / 1e6,
            affected_files: vec!["a.py".to_owned()],
            affected_services: Vec::new(),
            suggested_fix: String::new(),
            reproduction: None,
            proposals: Vec::new(),
            log: String::new(),
            effort: Effort::default(),
        }),
        K::RunObserved => Event::RunObserved {
            level: AutonomyLevel::Observe,
        },
        K::DraftingStarted => Event::DraftingStarted,
        K::PatchDrafted => Event::PatchDrafted {
            patch: patch(salt),
            rationale: reason,
            confidence: 0.7,
            rivals: Vec::new(),
            commit,
            judgement: Judgement::merge(1, Vec::new()),
            log: String::new(),
        },
        K::PatchProved => Event::PatchProved(verification(VerificationResult::Pass)),
        K::PatchRefuted => Event::PatchRefuted {
            reason,
            verification: salt
                .is_multiple_of(2)
                .then(|| verification(VerificationResult::Fail)),
        },
        K::RiskAssessed => Event::RiskAssessed(Assessment {
            score: RiskScore::new(12).unwrap(),
            factors: Vec::new(),
            faults: Vec::new(),
            generation: 1,
            asked: None,
        }),
        K::AutonomyApplies => autonomy(AutonomyAction::Apply),
        K::AutonomyAsks => autonomy(AutonomyAction::Review(2)),
        K::AutonomyStops => autonomy(AutonomyAction::Stop),
        K::PatchApprovalCounted => reviewed(salt, ReviewAnswer::Counted),
        K::PatchApproved => reviewed(salt, ReviewAnswer::Approved),
        K::PatchRejected => reviewed(salt, ReviewAnswer::Rejected { reason }),
        K::PatchSentBack => reviewed(salt, ReviewAnswer::SentBack { reason }),
        K::ApplyStarted => Event::ApplyStarted {
            digest: patch(salt).digest,
        },
        K::PatchApplied => Event::PatchApplied {
            commit,
            probes: Vec::new(),
        },
        K::ServiceRestarted => Event::ServiceRestarted {
            service: format!("service-{}", salt % 3),
            outcome: ToolOutcome::Succeeded(reason),
        },
        K::VerificationStarted => Event::VerificationStarted,
        K::VerificationPassed => {
            Event::VerificationFinished(verification(VerificationResult::Pass))
        }
        K::VerificationFailed => {
            Event::VerificationFinished(verification(VerificationResult::Inconclusive))
        }
        K::IssueResolved => Event::IssueResolved,
        K::RollbackStarted => Event::RollbackStarted { reason },
        K::RollbackCommitted => Event::RollbackCommitted {
            commit: salt.is_multiple_of(2).then_some(commit),
        },
        K::RunFailed => Event::RunFailed { reason },
        K::RunRetried => Event::RunRetried,
        K::RunInterrupted => Event::RunInterrupted,
        K::IssueEscalated => Event::IssueEscalated { reason },
        K::AbortStarted => Event::AbortStarted { reason },
        K::IssueAborted => Event::IssueAborted { reason },
        K::IssueRetried => Event::IssueRetried {
            approval: Approval::Admin { name: name("ada") },
            from: RetryFrom::Diagnose,
        },
        K::IssueReopened => Event::IssueReopened { reason },
    }
}

/// The same event, about the issue's current draft where it is about a patch.
pub fn about_draft(issue: &Issue, mut event: Event) -> Event {
    if let Event::PatchReviewed { digest, .. } | Event::ApplyStarted { digest } = &mut event
        && let Some(draft) = issue.run().and_then(|run| run.draft.as_ref())
    {
        *digest = draft.patch.digest;
    }
    event
}

pub fn record(number: u64, event: Event, second: i64) -> NewRecord {
    NewRecord {
        at: at(second),
        actor: Actor::User(name("ada")),
        issue: Some(IssueNumber(number)),
        event,
    }
}

/// The kinds from a cleared patch's beginning to the point before it is applied.
pub const TO_CLEARED: &[EventKind] = &[
    EventKind::IssueApproved,
    EventKind::DiagnosisStarted,
    EventKind::DiagnosisFinished,
    EventKind::DraftingStarted,
    EventKind::PatchDrafted,
    EventKind::PatchProved,
    EventKind::RiskAssessed,
    EventKind::AutonomyApplies,
];

pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        at(7)
    }
}

/// How the next append fails, if it does.
pub const HEALTHY: u8 = 0;
pub const FAILS_BEFORE: u8 = 1;
pub const FAILS_AFTER: u8 = 2;

/// An event store in memory, derived from its records alone.
#[derive(Default)]
pub struct MemoryStore {
    records: Mutex<Vec<Record>>,
    pub failure: AtomicU8,
    /// Appends wait until so many are under way at once.
    pub meeting: AtomicUsize,
    under_way: Mutex<usize>,
    came: Condvar,
}

impl MemoryStore {
    pub fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    fn meet(&self) {
        let wanted = self.meeting.load(Ordering::SeqCst);
        if wanted > 0 {
            let mut under_way = self.under_way.lock().unwrap();
            *under_way += 1;
            self.came.notify_all();
            let patience = Duration::from_secs(60);
            let alone = |under_way: &mut usize| *under_way < wanted;
            let met = self.came.wait_timeout_while(under_way, patience, alone);
            assert!(!met.unwrap().1.timed_out(), "nobody else came");
        }
    }

    fn folded(&self) -> Vec<Issue> {
        let mut issues: Vec<Issue> = Vec::new();
        for record in self.records.lock().unwrap().iter() {
            let new = NewRecord {
                at: record.at,
                actor: record.actor.clone(),
                issue: record.issue,
                event: record.event.clone(),
            };
            let Some(number) = record.issue else { continue };
            match issues.iter_mut().find(|issue| issue.number == number) {
                Some(issue) => *issue = issue.after(&new).unwrap(),
                None => issues.push(Issue::open(&new).unwrap()),
            }
        }
        issues
    }
}

fn next_number(records: &[Record]) -> IssueNumber {
    let numbers = records.iter().filter_map(|record| record.issue);
    IssueNumber(numbers.map(|number| number.0).max().unwrap_or_default() + 1)
}

impl EventStore for MemoryStore {
    fn append(&self, new: NewRecord, _: Option<&Issue>) -> Result<Record, StoreError> {
        let failure = self.failure.swap(HEALTHY, Ordering::SeqCst);
        if failure == FAILS_BEFORE {
            return Err(StoreError::NotWritten("the disk is full".into()));
        }
        self.meet();
        let mut records = self.records.lock().unwrap();
        let new = new.numbered(next_number(&records));
        let record = Record {
            seq: records.len() as u64,
            at: new.at,
            actor: new.actor,
            issue: new.issue,
            event: new.event,
            previous: Digest([0; 32]),
            hash: Digest([0; 32]),
        };
        records.push(record.clone());
        if failure == FAILS_AFTER {
            return Err(StoreError::Uncertain("the flush failed".into()));
        }
        Ok(record)
    }

    fn issue(&self, number: IssueNumber) -> Result<Option<Issue>, StoreError> {
        Ok(self.folded().into_iter().find(|it| it.number == number))
    }

    fn issue_number(&self, id: IssueId) -> Result<Option<IssueNumber>, StoreError> {
        let found = self.folded().into_iter().find(|it| it.id == id);
        Ok(found.map(|it| it.number))
    }

    fn issues(
        &self,
        _: &IssueFilter,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<IssueSummary>, StoreError> {
        Err(StoreError::BadCursor)
    }

    fn active_issues(&self) -> Result<Vec<IssueNumber>, StoreError> {
        let active = self.folded().into_iter().filter(|it| it.phase.is_active());
        Ok(active.map(|it| it.number).collect())
    }

    fn last_issue_number(&self) -> Result<u64, StoreError> {
        Ok(self.folded().len() as u64)
    }

    fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.records.lock().unwrap();
        let wanted = records
            .iter()
            .filter(|it| it.seq >= from && (issue.is_none() || it.issue == issue));
        Ok(wanted.take(limit).cloned().collect())
    }

    fn head(&self) -> (u64, Digest) {
        (self.len() as u64, Digest([0; 32]))
    }

    fn accounts(&self) -> Result<Arc<Vec<Account>>, StoreError> {
        Ok(Arc::default())
    }

    fn switches(&self) -> Result<Switches, StoreError> {
        Ok(Switches::default())
    }
}
