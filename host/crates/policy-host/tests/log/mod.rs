//! A log in memory, and a clock that stands still.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part; a test may stop at a surprise"
)]

use chrono::{DateTime, TimeDelta, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::ToolDecision;
use selfheal_domain::event::{Event, NewRecord, Record};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber, RunRef};
use selfheal_domain::issue::Issue;
use selfheal_domain::policy::{AgentPhase, PolicyContext, PolicySet, ToolCallFacts};
use selfheal_domain::ports::{Clock, EventStore, IssueSummary, Page, StoreError, Switches};
use selfheal_domain::query::IssueFilter;
use selfheal_domain::user::{Account, Actor};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Records, as the journal would hold them.
#[derive(Default)]
pub(crate) struct MemoryLog {
    records: Mutex<Vec<Record>>,
    /// Refuses records from now on.
    pub(crate) full: AtomicBool,
}

impl MemoryLog {
    /// Appends; what cannot be read back is found here.
    pub(crate) fn add(
        &self,
        actor: Actor,
        issue: Option<IssueNumber>,
        at: DateTime<Utc>,
        event: Event,
    ) -> Result<Record, String> {
        if self.full.load(Ordering::SeqCst) {
            return Err("the disk is full".to_owned());
        }
        let text = serde_json::to_string(&event).unwrap();
        let event: Event = serde_json::from_str(&text).unwrap();
        let mut records = self.records.lock().unwrap();
        let record = Record {
            seq: records.len() as u64,
            at,
            actor,
            issue,
            event,
            previous: Digest([0; 32]),
            hash: Digest([0; 32]),
        };
        records.push(record.clone());
        Ok(record)
    }

    /// Asks a set and records the decision, as the broker does.
    pub(crate) fn decide(
        &self,
        set: &dyn PolicySet,
        context: &PolicyContext,
        call: ToolCallFacts,
    ) -> Record {
        let judgement = set.judge_tool_call(context, &call);
        let event = Event::ToolCalled(ToolDecision {
            id: DecisionId(Uuid::from_u128(self.records.lock().unwrap().len() as u128)),
            phase: AgentPhase::Drafting,
            facts: call,
            judgement,
            external: None,
        });
        let issue = context.run.map(|run: RunRef| run.issue);
        self.add(
            Actor::Agent("engine:builtin".to_owned()),
            issue,
            DateTime::UNIX_EPOCH,
            event,
        )
        .unwrap()
    }

    /// All events, oldest first.
    pub(crate) fn events(&self) -> Vec<Event> {
        let records = self.records.lock().unwrap();
        records.iter().map(|record| record.event.clone()).collect()
    }
}

impl EventStore for MemoryLog {
    fn append(&self, new: NewRecord, _: Option<&Issue>) -> Result<Record, StoreError> {
        self.add(new.actor, new.issue, new.at, new.event)
            .map_err(|error| StoreError::NotWritten(error.into()))
    }
    fn issue(&self, _: IssueNumber) -> Result<Option<Issue>, StoreError> {
        Ok(None)
    }
    fn issue_number(&self, _: IssueId) -> Result<Option<IssueNumber>, StoreError> {
        Ok(None)
    }
    fn issues(
        &self,
        _: &IssueFilter,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<IssueSummary>, StoreError> {
        Ok(Page {
            items: Vec::new(),
            next_cursor: None,
        })
    }
    fn active_issues(&self) -> Result<Vec<IssueNumber>, StoreError> {
        Ok(Vec::new())
    }
    fn last_issue_number(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn records(
        &self,
        _: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.records.lock().unwrap();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(records.iter().skip(from).take(limit).cloned().collect())
    }
    fn head(&self) -> (u64, Digest) {
        (self.records.lock().unwrap().len() as u64, Digest([0; 32]))
    }
    fn accounts(&self) -> Result<Arc<Vec<Account>>, StoreError> {
        Ok(Arc::default())
    }
    fn switches(&self) -> Result<Switches, StoreError> {
        Ok(Switches::default())
    }
}

/// Stands still until it is moved.
#[derive(Default)]
pub(crate) struct StillClock(AtomicI64);

impl StillClock {
    pub(crate) fn advance(&self, minutes: i64) {
        self.0.fetch_add(minutes, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(self.0.load(Ordering::SeqCst))
    }
}
