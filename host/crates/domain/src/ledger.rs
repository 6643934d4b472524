//! The one door for events: legality, then durability, then memory, in that
//! order. Hands out permits for recorded intents.

use crate::digest::Digest;
use crate::event::{Event, EventKind, NewRecord, Record};
use crate::ids::{IssueId, IssueNumber};
use crate::issue::{FoldError, Issue};
use crate::permit::{Apply, Diagnose, DraftPatch, Permit, Rollback};
use crate::ports::{Clock, EventStore, StoreError};
use crate::report::Report;
use crate::state::IllegalTransition;
use crate::user::Actor;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why an event was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not legal in the issue's phase; nothing was written.
    #[error(transparent)]
    Illegal(IllegalTransition),
    /// There is no such issue.
    #[error("there is no issue {0}")]
    NoSuchIssue(IssueNumber),
    /// The event does not fit the issue; nothing was written.
    #[error("the event does not fit the issue")]
    Misfit(#[source] FoldError),
    /// The caller's condition does not hold; nothing was written.
    #[error("{0}")]
    Condition(String),
    /// What the caller saw has changed; nothing was written.
    #[error("{0} changed since it was read; read it again before you act")]
    Stale(String),
    /// The store failed.
    #[error("the record could not be stored")]
    Store(#[from] StoreError),
    /// An earlier append left it open whether its record is on disk; only a restart can tell.
    #[error("the journal is in doubt after a failed write; the host must be restarted")]
    InDoubt,
}

impl From<FoldError> for RecordError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Illegal(illegal) => Self::Illegal(illegal),
            other @ (FoldError::Beginning
            | FoldError::NoRun
            | FoldError::OtherPatch
            | FoldError::NothingKept) => Self::Misfit(other),
        }
    }
}

/// The versions of a thing that somebody saw. What they do is meant for one of these, and
/// refused when the thing has moved on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen(Arc<[String]>);

impl Seen {
    /// Any of these versions will do; of none, nothing does.
    pub fn new(versions: impl IntoIterator<Item = String>) -> Self {
        Self(versions.into_iter().collect())
    }

    /// Whether `what`, which has `version` now, is as it was seen.
    ///
    /// # Errors
    /// [`RecordError::Stale`].
    pub fn check(&self, what: &str, version: &str) -> Result<(), RecordError> {
        if self.0.iter().any(|seen| seen == version) {
            return Ok(());
        }
        Err(RecordError::Stale(what.to_owned()))
    }

    /// Version of a thing whose changes nobody counts: another one whenever one of `parts`
    /// is another. Digits only.
    pub fn version_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
        let mut all = Vec::new();
        for part in parts {
            all.extend_from_slice(&part.len().to_be_bytes());
            all.extend_from_slice(part.as_bytes());
        }
        let Digest([a, b, c, d, e, f, g, h, ..]) = Digest::of(&all);
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).to_string()
    }

    fn check_issue(&self, issue: &Issue) -> Result<(), RecordError> {
        let what = format!("issue {}", issue.number);
        self.check(&what, &issue.version.to_string())
    }
}

/// Called with every record after it is durable, in order per issue.
pub type Listener = Box<dyn Fn(&Record) + Send + Sync>;

/// Serialises events per issue over an [`EventStore`].
pub struct Ledger {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    locks: Mutex<HashMap<IssueNumber, Arc<Mutex<()>>>>,
    switching: Mutex<()>,
    in_doubt: AtomicBool,
    run_changes: AtomicU64,
    listener: Listener,
}

impl Ledger {
    /// A ledger over `store`.
    pub fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, listener: Listener) -> Self {
        Self {
            store,
            clock,
            locks: Mutex::default(),
            switching: Mutex::default(),
            in_doubt: AtomicBool::new(false),
            run_changes: AtomicU64::new(0),
            listener,
        }
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// Changes whenever something was recorded that may change what became of a run: what
    /// was made of the log before is good as long as this is the same.
    pub fn run_changes(&self) -> u64 {
        self.run_changes.load(Ordering::SeqCst)
    }

    /// Opens an issue under the next number. Whoever opens one at the same time shares the
    /// flush: the store numbers them as it writes them.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn open(
        &self,
        id: IssueId,
        report: Report,
        reported_by: Actor,
    ) -> Result<Issue, RecordError> {
        let record = NewRecord {
            at: self.clock.now(),
            actor: reported_by.clone(),
            issue: Some(IssueNumber::NEXT),
            event: Event::IssueOpened {
                id,
                number: IssueNumber::NEXT,
                report,
                reported_by,
            },
        };
        let Record {
            at,
            actor,
            issue,
            event,
            ..
        } = self.append(record, None)?;
        Ok(Issue::open(&NewRecord {
            at,
            actor,
            issue,
            event,
        })?)
    }

    /// Records an event about an issue, if it is legal now.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn record(
        &self,
        number: IssueNumber,
        actor: Actor,
        event: Event,
    ) -> Result<Issue, RecordError> {
        self.record_if(number, actor, |_| Ok(event))
            .map(|(issue, _)| issue)
    }

    /// Records the event that `decide` makes of the issue as it is now; nothing can
    /// come in between.
    ///
    /// # Errors
    /// See [`RecordError`]; `decide`'s refusal becomes [`RecordError::Condition`].
    pub fn record_if(
        &self,
        number: IssueNumber,
        actor: Actor,
        decide: impl FnOnce(&Issue) -> Result<Event, String>,
    ) -> Result<(Issue, Record), RecordError> {
        self.record_seen(number, actor, None, decide)
    }

    /// The same, if the issue still has a version that was `seen`.
    ///
    /// # Errors
    /// See [`Ledger::record_if`]; [`RecordError::Stale`] for any other version.
    pub fn record_seen(
        &self,
        number: IssueNumber,
        actor: Actor,
        seen: Option<&Seen>,
        decide: impl FnOnce(&Issue) -> Result<Event, String>,
    ) -> Result<(Issue, Record), RecordError> {
        let guard = Arc::clone(lock(&self.locks).entry(number).or_default());
        let _serial = lock(&guard);
        let issue = self
            .store
            .issue(number)?
            .ok_or(RecordError::NoSuchIssue(number))?;
        seen.map_or(Ok(()), |seen| seen.check_issue(&issue))?;
        let event = decide(&issue).map_err(RecordError::Condition)?;
        let record = NewRecord {
            at: self.clock.now(),
            actor,
            issue: Some(number),
            event,
        };
        let next = issue.after(&record)?;
        let record = self.append(record, Some(&next))?;
        Ok((next, record))
    }

    /// Does `act`, which records nothing by itself, while the issue has a version that was
    /// `seen`: nothing is recorded about it in between.
    ///
    /// # Errors
    /// [`RecordError::Stale`] for any other version; see [`RecordError`].
    pub fn while_seen<T>(
        &self,
        number: IssueNumber,
        seen: Option<&Seen>,
        act: impl FnOnce() -> T,
    ) -> Result<T, RecordError> {
        let guard = Arc::clone(lock(&self.locks).entry(number).or_default());
        let _serial = lock(&guard);
        if let Some(seen) = seen {
            let issue = self.store.issue(number)?;
            seen.check_issue(&issue.ok_or(RecordError::NoSuchIssue(number))?)?;
        }
        Ok(act())
    }

    /// Records the change of a switch that `decide` makes of the switches as they are now;
    /// no other change can come in between.
    ///
    /// # Errors
    /// What `decide` refuses; see [`RecordError`].
    pub fn record_switch<E: From<RecordError>>(
        &self,
        actor: Actor,
        decide: impl FnOnce() -> Result<Event, E>,
    ) -> Result<Record, E> {
        let _serial = lock(&self.switching);
        let event = decide()?;
        Ok(self.append_host(actor, event)?)
    }

    /// Records an event that concerns no issue.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn record_host(&self, actor: Actor, event: Event) -> Result<Record, RecordError> {
        match event {
            Event::AutonomyChanged { .. } | Event::FreezeChanged { .. } => {
                self.record_switch(actor, || Ok(event))
            }
            other => self.append_host(actor, other),
        }
    }

    fn append_host(&self, actor: Actor, event: Event) -> Result<Record, RecordError> {
        self.append(
            NewRecord {
                at: self.clock.now(),
                actor,
                issue: None,
                event,
            },
            None,
        )
    }

    /// Records that a diagnosis starts.
    ///
    /// # Errors
    /// See [`RecordError`]; without approval it is illegal.
    pub fn begin_diagnosis(
        &self,
        number: IssueNumber,
        actor: Actor,
        event: Event,
    ) -> Result<(Issue, Permit<Diagnose>), RecordError> {
        if !matches!(event, Event::DiagnosisStarted { .. }) {
            return Err(RecordError::Condition(
                "a diagnosis begins with diagnosis.started".to_owned(),
            ));
        }
        self.begin(number, actor, event)
    }

    /// Records that drafting starts.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn begin_drafting(
        &self,
        number: IssueNumber,
        actor: Actor,
    ) -> Result<(Issue, Permit<DraftPatch>), RecordError> {
        self.begin(number, actor, Event::DraftingStarted)
    }

    /// Records that the live tree is about to change.
    ///
    /// # Errors
    /// See [`RecordError`]; legal only for a patch that was cleared.
    pub fn begin_apply(
        &self,
        number: IssueNumber,
        actor: Actor,
    ) -> Result<(Issue, Permit<Apply>), RecordError> {
        let mut digest = None;
        let (issue, record) = self.record_if(number, actor, |issue| {
            let draft = issue
                .run()
                .and_then(|run| run.draft.as_ref())
                .ok_or("there is no patch to apply")?;
            digest = Some(draft.patch.digest);
            Ok(Event::ApplyStarted {
                digest: draft.patch.digest,
            })
        })?;
        let permit = permit(&issue, &record)?;
        Ok((issue, permit))
    }

    /// Records that the heal commit is about to be undone.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn begin_rollback(
        &self,
        number: IssueNumber,
        actor: Actor,
        reason: String,
    ) -> Result<(Issue, Permit<Rollback>), RecordError> {
        self.begin(number, actor, Event::RollbackStarted { reason })
    }

    /// Records that an admin's abort undoes what was applied.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn begin_abort(
        &self,
        number: IssueNumber,
        actor: Actor,
        reason: String,
    ) -> Result<(Issue, Permit<Rollback>), RecordError> {
        self.begin(number, actor, Event::AbortStarted { reason })
    }

    /// The permit of a rollback whose intent is already recorded: the host died in the
    /// middle, and rolling back is idempotent.
    ///
    /// # Errors
    /// No rollback is under way.
    pub fn resume_rollback(
        &self,
        number: IssueNumber,
    ) -> Result<(Issue, Permit<Rollback>), RecordError> {
        use crate::state::Phase;
        let issue = self
            .store
            .issue(number)?
            .ok_or(RecordError::NoSuchIssue(number))?;
        if !matches!(issue.phase, Phase::RollingBack | Phase::Aborting) {
            return Err(RecordError::Condition(format!(
                "issue {number} is not being rolled back"
            )));
        }
        let run = issue
            .run()
            .ok_or(RecordError::Misfit(FoldError::NoRun))?
            .reference(number);
        Ok((issue, Permit::issue(run, self.store.head().0)))
    }

    fn begin<Act>(
        &self,
        number: IssueNumber,
        actor: Actor,
        event: Event,
    ) -> Result<(Issue, Permit<Act>), RecordError> {
        let (issue, record) = self.record_if(number, actor, |_| Ok(event))?;
        let permit = permit(&issue, &record)?;
        Ok((issue, permit))
    }

    fn append(&self, record: NewRecord, projected: Option<&Issue>) -> Result<Record, RecordError> {
        if self.in_doubt.load(Ordering::SeqCst) {
            return Err(RecordError::InDoubt);
        }
        match self.store.append(record, projected) {
            Ok(record) => {
                if record.event.kind().is_some_and(EventKind::may_change_runs) {
                    self.run_changes.fetch_add(1, Ordering::SeqCst);
                }
                (self.listener)(&record);
                Ok(record)
            }
            Err(error) => {
                if matches!(error, StoreError::Uncertain(_)) {
                    self.in_doubt.store(true, Ordering::SeqCst);
                }
                Err(error.into())
            }
        }
    }
}

fn permit<Act>(issue: &Issue, record: &Record) -> Result<Permit<Act>, RecordError> {
    let run = issue.run().ok_or(RecordError::Misfit(FoldError::NoRun))?;
    Ok(Permit::issue(run.reference(issue.number), record.seq))
}

/// A poisoned lock only means that another thread panicked; the data under it is
/// written before and after, never halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
