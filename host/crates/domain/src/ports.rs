//! What the rooms need from the outside world. Adapters implement these; the
//! binary's `compose` wires them.

use crate::culprit::{CulpritFinding, CulpritSearch, TreeJudge};
use crate::digest::Digest;
use crate::event::{Approval, Event, NewRecord, Record};
use crate::ids::{CommitId, DecisionId, IssueId, IssueNumber, RunRef};
use crate::issue::{Category, Issue, Priority, Severity, SnoozeEnd, Source};
use crate::ledger::Seen;
use crate::patch::{FileChange, Patch};
use crate::permit::{Apply, DraftPatch, Permit, Rollback};
use crate::query::IssueFilter;
use crate::service::{LogError, ServiceDetails, ServiceOperation};
use crate::state::IssueStatus;
use crate::user::{Account, Actor, UserName};
use crate::verification::CheckEvidence;
use crate::view::SavedView;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Wall clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> DateTime<Utc>;
}

/// Fresh identities.
pub trait IdSource: Send + Sync {
    /// One that was never handed out before.
    fn uuid(&self) -> Uuid;
}

/// Tells long work to stop. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks everybody who holds a clone to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The journal or its projection failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the journal could not take the record; nothing was written")]
    NotWritten(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may or may not be on disk. The host must stop and replay, never retry.
    #[error(
        "the journal failed while writing; whether the record is on disk shows at the next start"
    )]
    Uncertain(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Reading failed.
    #[error("the store could not be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A cursor that this store did not hand out.
    #[error("this cursor is not valid here; start again without one")]
    BadCursor,
    /// One person has more issues than are put in another order than their own.
    #[error("one person's issues are sorted by their last change up to {0}; ask for sort:created")]
    TooManyToSort(usize),
}

/// What a list shows of an issue; comes from a covering index.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the issue's field of that name")]
pub struct IssueSummary {
    pub id: IssueId,
    pub number: IssueNumber,
    pub title: String,
    pub status: IssueStatus,
    pub severity: Severity,
    pub priority: Priority,
    pub source: Source,
    pub category: Category,
    pub service: Option<String>,
    pub reported_by: Actor,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub snooze: Option<SnoozeEnd>,
}

/// A page of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; none at the end.
    pub next_cursor: Option<String>,
}

/// The event store: an append-only journal that is the truth and the audit log,
/// and a projection that is always as new as the last acknowledged record.
pub trait EventStore: Send + Sync {
    /// Appends one record. When this returns `Ok`, the record is durable and the
    /// projection shows it; `projected` is the issue after it, where it is about one.
    /// Concurrent callers share one disk flush. An issue that is opened as
    /// [`IssueNumber::NEXT`] gets the next number; one that is not stored takes none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn append(&self, record: NewRecord, projected: Option<&Issue>) -> Result<Record, StoreError>;

    /// The issue with this number.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn issue(&self, number: IssueNumber) -> Result<Option<Issue>, StoreError>;

    /// The number of the issue with this id.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn issue_number(&self, id: IssueId) -> Result<Option<IssueNumber>, StoreError>;

    /// Issues in the order of the filter. Looks at a bounded number of them: a page may be
    /// short, or empty, with a cursor to go on from.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadCursor`], [`StoreError::TooManyToSort`].
    fn issues(
        &self,
        filter: &IssueFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<IssueSummary>, StoreError>;

    /// Numbers of the issues whose phase is active, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn active_issues(&self) -> Result<Vec<IssueNumber>, StoreError>;

    /// Highest issue number so far; 0 when there is none.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn last_issue_number(&self) -> Result<u64, StoreError>;

    /// Records from `from` on, oldest first, at most `limit`; of one issue if named.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// The record at a position, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let found = self.records(None, seq, 1)?;
        Ok(found.into_iter().find(|record| record.seq == seq))
    }

    /// Positions of the recorded answers of policy sets (`tool.call`, `patch.drafted`,
    /// `risk.assessed`, `autonomy.decided`, `issue.approved` by a module) before the
    /// position `before`, newest first. Stores that index them cost the page.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn decisions(&self, before: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        newest(self, before, limit, |event| {
            matches!(
                event,
                Event::ToolCalled(_)
                    | Event::PatchDrafted { .. }
                    | Event::RiskAssessed(_)
                    | Event::AutonomyDecided(_)
                    | Event::IssueApproved(Approval::Module { .. })
            )
        })
    }

    /// Position of the decision on a tool call, by its id.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn decision(&self, id: DecisionId) -> Result<Option<u64>, StoreError> {
        let is_it = |event: &Event| matches!(event, Event::ToolCalled(call) if call.id == id);
        Ok(newest(self, None, 1, is_it)?.first().copied())
    }

    /// Positions of the records about the policies themselves (`policy.*`) before the
    /// position `before`, newest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn policy_changes(&self, before: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        newest(self, before, limit, |event| {
            matches!(
                event,
                Event::PolicyChanged(_)
                    | Event::PolicyRefused { .. }
                    | Event::PolicyProposed(_)
                    | Event::PolicyWithdrawn { .. }
                    | Event::QuarantineChanged { .. }
                    | Event::GrantGiven(_)
                    | Event::GrantEnded { .. }
            )
        })
    }

    /// Length and head hash of the log.
    fn head(&self) -> (u64, Digest);

    /// Size and root hash (RFC 6962) of the log: what a commit of ours says of it. A
    /// store that keeps no tree answers as [`EventStore::head`] does.
    fn tree_head(&self) -> (u64, Digest) {
        self.head()
    }

    /// What the store publishes of its log; none where it publishes nothing.
    fn audit_log(&self) -> Option<&dyn AuditLog> {
        None
    }

    /// All accounts as of now.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn accounts(&self) -> Result<Arc<Vec<Account>>, StoreError>;

    /// Views that somebody keeps, then those that others share, each by name. A store
    /// without an index reads everything.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn views(&self, of: &UserName) -> Result<Vec<SavedView>, StoreError> {
        let mut kept: BTreeMap<(UserName, String), SavedView> = BTreeMap::new();
        for record in self.records(None, 0, usize::MAX)? {
            match record.event {
                Event::ViewSaved(view) => {
                    kept.insert((view.owner.clone(), view.name.clone()), view);
                }
                Event::ViewForgotten { owner, name } => {
                    kept.remove(&(owner, name));
                }
                _ => {}
            }
        }
        let (own, others): (Vec<_>, Vec<_>) =
            kept.into_values().partition(|view| view.owner == *of);
        let shared = others.into_iter().filter(|view| view.shared);
        Ok(own.into_iter().chain(shared).collect())
    }

    /// The last autonomy level and freeze that were recorded.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn switches(&self) -> Result<Switches, StoreError>;
}

/// The log as auditors see it: a Merkle tree over the hashes of all records, whose head
/// the installation signs.
pub trait AuditLog: Send + Sync {
    /// The signed head of now.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn signed_head(&self) -> Result<SignedHead, StoreError>;

    /// The tile with this path, as in `tile/0/000.p/8`; none when there is no such tile
    /// (C2SP tlog-tiles).
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Proof that the record at this position is in the log; none when there is none.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn prove(&self, index: u64) -> Result<Option<InclusionProof>, StoreError>;
}

/// A signed head of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedHead {
    /// Name of the log.
    pub origin: String,
    /// Records under it.
    pub size: u64,
    /// Hash of the last of them; zeros when there is none.
    pub head: Digest,
    /// Root of the Merkle tree (RFC 6962) over their hashes.
    pub root: Digest,
    /// The signed checkpoint (C2SP tlog-checkpoint).
    pub note: String,
    /// The public key to verify it with, as in `NAME+ID+KEY`.
    pub key: String,
}

/// Shows that one record is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InclusionProof {
    /// Position of the record.
    pub index: u64,
    /// Its hash: the data of the leaf.
    pub record: Digest,
    /// Hashes from the leaf to the root, lowest first.
    pub hashes: Vec<Digest>,
    /// The head it is proved under.
    pub head: SignedHead,
}

/// What a store without an index does: reads everything.
fn newest<S: EventStore + ?Sized>(
    store: &S,
    before: Option<u64>,
    limit: usize,
    wanted: impl Fn(&Event) -> bool,
) -> Result<Vec<u64>, StoreError> {
    let end = before.unwrap_or(u64::MAX);
    let records = store.records(None, 0, usize::MAX)?;
    Ok(records
        .iter()
        .rev()
        .filter(|record| record.seq < end && wanted(&record.event))
        .map(|record| record.seq)
        .take(limit)
        .collect())
}

/// Switches that outlive a restart because they are events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Switches {
    /// The level as last set at run time; none: `policy.toml` decides.
    pub autonomy: Option<crate::risk::AutonomyLevel>,
    /// Healing is frozen.
    pub frozen: bool,
}

/// State of the live tree when a run starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Commit that records the live tree as it was, dirty and untracked included.
    pub commit: CommitId,
    /// Commit the live branch pointed to.
    pub base: CommitId,
    /// The live branch, as in `main`.
    pub branch: String,
    /// The live tree differed from `base`.
    pub dirty: bool,
}

/// What a commit of ours says of itself, besides its kind.
#[derive(Clone, PartialEq, Debug)]
pub struct CommitMessage {
    /// First line.
    pub subject: String,
    /// Paragraphs under it; may be empty.
    pub body: String,
    /// Trailers in order, as in `("Selfheal-Risk", "12 low")`. The repository adds
    /// `Selfheal-Issue`, `Selfheal-Run` and `Selfheal-Kind` itself.
    pub trailers: Vec<(String, String)>,
}

/// What applying did.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The heal commit on the live branch.
    pub commit: CommitId,
}

/// How a patch fits the live tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fit {
    /// Its files are what they were when it was made.
    Exact,
    /// Some of its files moved on, and it will be merged with what they are now.
    Merges {
        /// Which.
        moved: Vec<String>,
        /// The patch as the live tree will get it: from what its files are now.
        merged: Patch,
    },
}

/// Why git work failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The live tree moved on and the patch no longer fits; nothing was changed.
    #[error("the patch no longer fits the live tree: {0}")]
    Conflict(String),
    /// The repository is of a kind that cannot be handled; nothing was changed.
    #[error("this repository cannot be handled: {0}")]
    Unsupported(String),
    /// The permit belongs to another run.
    #[error("the permit is for another run")]
    WrongPermit,
    /// Git or the file system failed.
    #[error("{doing} failed")]
    Failed {
        /// What was attempted.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How much of a commit is read at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimits {
    /// Files whose content is read.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Larger files are passed over; they count as not read.
    pub file_bytes: u64,
    /// Wall-clock time.
    pub time: Duration,
}

/// How much of what was wanted has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// A limit ended it, or a file could not be read.
    Part,
}

/// The application's repository.
pub trait Repository: Send + Sync {
    /// Root of the live tree.
    fn root(&self) -> PathBuf;

    /// Hands out path and text of every regular file of `commit` that `wants` says yes
    /// to, without running anything and without following links. Texts that are not
    /// UTF-8 come lossily. A repository that cannot do it reads nothing and says so.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn read_files(
        &self,
        commit: &CommitId,
        limits: ReadLimits,
        wants: &dyn Fn(&str) -> bool,
        read: &mut dyn FnMut(&str, &str),
    ) -> Result<Coverage, RepositoryError> {
        let _ = (commit, limits, wants, read);
        Ok(Coverage::Part)
    }

    /// The trailers of a commit, in their order, as `(name, value)`.
    ///
    /// # Errors
    /// See [`RepositoryError`]; the commit may be gone.
    fn trailers(&self, commit: &CommitId) -> Result<Vec<(String, String)>, RepositoryError>;

    /// Records the live tree as it is under `run.snapshot_ref()`, without touching
    /// index, branch or stash.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn snapshot(&self, run: RunRef, message: &CommitMessage) -> Result<Snapshot, RepositoryError>;

    /// Makes the run's worktree on `run.branch()`, based on the snapshot.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn open_worktree(
        &self,
        permit: &Permit<DraftPatch>,
        snapshot: &CommitId,
    ) -> Result<RunWorktree, RepositoryError>;

    /// Commits what is in the run's worktree on the run's branch.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn commit_draft(
        &self,
        permit: Permit<DraftPatch>,
        snapshot: &CommitId,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<CommitId, RepositoryError>;

    /// Removes the run's worktree (not its branch). Idempotent.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn close_worktree(&self, run: RunRef) -> Result<(), RepositoryError>;

    /// Whether `patch` can be applied to live tree, branch and index as they are now:
    /// the same branch, and files that are as they were in `snapshot` or changed in
    /// other places since. Changes nothing.
    ///
    /// # Errors
    /// [`RepositoryError::Conflict`] says what stands in the way.
    fn check_fits(&self, snapshot: &Snapshot, patch: &Patch) -> Result<Fit, RepositoryError>;

    /// Makes the heal commit on the live branch and updates the live tree, file by
    /// file, each atomically. Dirty content of other files and hunks is kept.
    ///
    /// # Errors
    /// See [`RepositoryError`]; after anything but `Conflict`, `Unsupported` and
    /// `WrongPermit`, [`Repository::roll_back`] must follow.
    fn apply(
        &self,
        permit: Permit<Apply>,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Applied, RepositoryError>;

    /// Brings the files of `patch` back to what they were in the snapshot and, if the
    /// run's heal commit exists, makes a commit that undoes it. Idempotent: finds out
    /// itself how far [`Repository::apply`] had come.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn roll_back(
        &self,
        permit: Permit<Rollback>,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Option<CommitId>, RepositoryError>;

    /// Proves that a rollback of `patch` would apply cleanly. Changes nothing.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    fn rehearse_rollback(&self, snapshot: &Snapshot, patch: &Patch) -> Result<(), RepositoryError>;

    /// Finds the commit that broke the live tree by bisecting its first-parent history,
    /// and makes the patch that takes it back. Changes nothing; runs nothing itself:
    /// `judge` is asked about one tree after the other, and may take its time. A
    /// repository that cannot do it finds nothing and says so.
    ///
    /// # Errors
    /// The history cannot be read, see [`RepositoryError`].
    fn find_culprit(
        &self,
        search: &CulpritSearch<'_>,
        judge: &mut TreeJudge<'_>,
    ) -> Result<CulpritFinding, RepositoryError> {
        let _ = (search, judge);
        Ok(CulpritFinding::NotFound(
            "this repository cannot search its history".to_owned(),
        ))
    }
}

/// Where a run writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunWorktree {
    /// Changed files only; an overlay over the live tree.
    pub upper: PathBuf,
    /// Scratch directory beside it, same file system.
    pub work: PathBuf,
}

/// Opens the doors of one run to an agent: makes the broker for it.
pub trait Workbench: Send + Sync {
    /// Tools for reading and running; nothing written survives.
    fn for_diagnosis(&self, session: ToolSessionSpec) -> Box<dyn crate::tools::Tools>;
    /// Tools for writing in `worktree`.
    fn for_drafting(
        &self,
        session: ToolSessionSpec,
        worktree: &RunWorktree,
    ) -> Box<dyn DraftingTools>;
    /// The host's own checks on live tree plus `patch`, on a throw-away layer.
    fn for_verification(
        &self,
        session: ToolSessionSpec,
        patch: Option<&Patch>,
    ) -> Box<dyn crate::tools::Tools>;
}

/// Tools of a drafting agent, and what it wrote with them.
pub trait DraftingTools: crate::tools::Tools {
    /// Everything that changed in the worktree, by whatever means.
    ///
    /// # Errors
    /// The worktree cannot be read, or holds what no patch can hold (binary, links).
    fn changes(&self) -> Result<Vec<FileChange>, String>;
    /// The same as plain tools.
    fn as_tools(&self) -> &dyn crate::tools::Tools;
}

/// Who works, on what, under which policies.
#[derive(Clone)]
pub struct ToolSessionSpec {
    /// The run; none for a one-shot heal.
    pub run: Option<RunRef>,
    /// The agent, as in `engine:builtin`; the host for its own checks.
    pub actor: Actor,
    /// Lowest trust class of the texts the agent reads.
    pub trust: crate::user::TrustClass,
    /// Configured autonomy.
    pub level: crate::risk::AutonomyLevel,
    /// The service that the issue is about, when one is known.
    pub service: Option<String>,
    /// What became of earlier runs there.
    pub earned: crate::policy::TrackRecord,
    /// Where every call is recorded before it happens.
    pub recorder: Arc<dyn CallRecorder>,
    /// Stops the session.
    pub cancel: CancelToken,
}

/// Records tool calls; implemented over the ledger.
pub trait CallRecorder: Send + Sync {
    /// Durable when it returns.
    ///
    /// # Errors
    /// The call must not happen then.
    fn record(&self, actor: &Actor, event: crate::event::Event) -> Result<(), RecordRefused>;
    /// For people who watch; never stored.
    fn progress(&self, note: &str);
}

/// The record could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the audit record could not be written: {0}")]
pub struct RecordRefused(pub String);

/// State of a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// `stopped`, `starting`, `running`, `backing-off`, `failed`.
    pub state: String,
    /// Process id.
    pub pid: Option<u32>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Restarts since the host started.
    pub restarts: u32,
    /// Last health answer: healthy, and what was seen.
    pub healthy: Option<bool>,
    /// What was seen.
    pub detail: String,
}

impl ServiceStatus {
    /// Another one whenever it was started, stopped or ended since; what was seen of its
    /// health counts nothing.
    pub fn version(&self) -> String {
        let (pid, since) = (self.pid.unwrap_or_default(), self.since.timestamp_micros());
        let rest = format!("{pid} {since} {}", self.restarts);
        Seen::version_of([&*self.name, &*self.state, &*rest])
    }

    /// Whether it is as somebody saw it, if they say so.
    ///
    /// # Errors
    /// [`ServiceError::Stale`].
    pub fn check(&self, seen: Option<&Seen>) -> Result<(), ServiceError> {
        let what = format!("service {:?}", self.name);
        let checked = seen.map_or(Ok(()), |seen| seen.check(&what, &self.version()));
        checked.map_err(|stale| ServiceError::Stale(stale.to_string()))
    }
}

/// A service did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No such service.
    #[error("there is no service {name:?}; configured: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// It is not as it was seen; nothing was done.
    #[error("{0}")]
    Stale(String),
    /// It did not come up or go down.
    #[error("service {name}: {message}")]
    Failed {
        /// Its name.
        name: String,
        /// What happened.
        message: String,
    },
}

/// The application's services.
pub trait Services: Send + Sync {
    /// Their names, in start order.
    fn names(&self) -> Vec<String>;
    /// Restarts one and waits until it is ready.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn restart(&self, name: &str) -> Result<(), ServiceError>;
    /// Has one take up new code and settings: reloads it where that is configured and
    /// works, else restarts it. Waits until it is ready.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn reload_or_restart(&self, name: &str) -> Result<(), ServiceError> {
        self.restart(name)
    }
    /// Starts, stops, restarts or reloads one and waits until that is done. Does nothing
    /// where it has another version than was `seen`; nobody else operates it in between.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn operate(
        &self,
        name: &str,
        operation: ServiceOperation,
        seen: Option<&Seen>,
    ) -> Result<(), ServiceError> {
        if let Some(status) = self.status().iter().find(|status| status.name == name) {
            status.check(seen)?;
        }
        match operation {
            ServiceOperation::Restart => self.restart(name),
            other => Err(ServiceError::Failed {
                name: name.to_owned(),
                message: format!("nobody can {} it here", other.name()),
            }),
        }
    }
    /// What else is known of one; none where nobody knows it.
    fn details(&self, name: &str) -> Option<ServiceDetails> {
        let _ = name;
        None
    }
    /// Errors in one's logs since it was last told to start, restart or reload that it
    /// had not logged before, in the order in which they came up. Bounded.
    ///
    /// # Errors
    /// Nobody can tell: the logs are not watched or cannot be read.
    fn new_errors(&self, name: &str) -> Result<Vec<LogError>, ServiceError> {
        Err(ServiceError::Failed {
            name: name.to_owned(),
            message: "its logs are not watched".to_owned(),
        })
    }
    /// Checks one's health now.
    fn health(&self, name: &str) -> CheckEvidence;
    /// How they stand.
    fn status(&self) -> Vec<ServiceStatus>;
    /// The end of one's log, at most `max_bytes`, lossy UTF-8.
    fn log_tail(&self, name: &str, max_bytes: usize) -> String;
    /// Position in one's log, to read on from later with [`Services::log_since`].
    fn log_position(&self, name: &str) -> u64;
    /// What was logged since `position`, at most `max_bytes`.
    fn log_since(&self, name: &str, position: u64, max_bytes: usize) -> String;
}

/// Sends requests to the running application, as configured by its operators.
pub trait Probes: Send + Sync {
    /// Sends all configured requests once.
    fn check(&self, budget: Duration) -> Vec<CheckEvidence>;
}
