//! The event store: a journal, which is the truth and the audit log, and a sled
//! projection of it, which can be thrown away.
//!
//! - [`JournalStore::append`](selfheal_domain::ports::EventStore::append) returns
//!   once the record is on disk (one `fdatasync` for all that waited) and readers
//!   see it. What was acknowledged survives any crash.
//! - A data directory belongs to one host: a second one is refused.
//! - A journal that was changed, cut or reordered is not opened; the error names
//!   the record. Only an append that was never finished, and so never
//!   acknowledged, is moved aside.
//! - The projection is derived from records alone. It is rebuilt whenever sled
//!   errs, panics, or disagrees with the journal.
//! - The log is published: tiles of its Merkle tree and a signed head, so that others
//!   can tell whether it was changed, cut or rewritten.
//! - Personal data is encrypted for the person it is about, and erased with the key.
//! - Secrets are masked before a record is made ([`selfheal_audit::Masker`]).
//! - A page of a list costs the page, not the table.
//!
//! The only crate that names sled.

mod blobs;
mod frame;
mod grow;
mod harden;
mod journal;
mod list;
mod lock;
mod open;
mod places;
mod projection;
mod publish;
mod reader;
mod rows;
mod signing;
mod staged;
mod subjects;
mod verify;
mod writer;

pub use harden::ProjectionError;
pub use lock::{Claim, LockError};
pub use open::OpenError;
pub use projection::Refusal;
pub use publish::PublishedError;
pub use reader::{JournalReader, Location, StoredRecord, VerifyError};
pub use signing::KeyError;
pub use verify::{LogError, VerifyReport, prove, signed_head, verify};
pub use writer::AppendFailure;

use chrono::{DateTime, Utc};
use rows::PolicyList;
use selfheal_audit::personal::{self, Subjects};
use selfheal_audit::tiles::TileId;
use selfheal_audit::{Masker, StoredEvent};
use selfheal_domain::account::Standing;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, NewRecord, Record};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::Issue;
use selfheal_domain::ports::{
    AuditLog, EventStore, InclusionProof, IssueSummary, Page, SignedHead, StoreError, Switches,
};
use selfheal_domain::query::IssueFilter;
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_domain::view::SavedView;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use subjects::SubjectKeys;
use writer::{Request, Shared, not_written};

/// Appends that may wait, usually; the next caller waits for a place.
const QUEUE: usize = 4096;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Takes secrets out of everything that is recorded.
    pub masker: Masker,
    /// A segment of the journal is closed once it is this large, in bytes.
    pub segment_bytes: u64,
    /// Appends that may wait; the next caller waits for a place (back-pressure, never
    /// loss).
    pub queue: usize,
}

impl Options {
    /// The usual options.
    pub fn new(masker: Masker) -> Self {
        Self {
            masker,
            segment_bytes: journal::SEGMENT_BYTES,
            queue: QUEUE,
        }
    }
}

/// Somebody's personal data could not be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nothing of theirs is encrypted.
    #[error(
        "nothing in this log is encrypted for {0}: there is no such user, or they were erased before, or all their records are of a version that did not encrypt yet, and those stay"
    )]
    Unknown(UserName),
    /// Somebody must be left who can decide.
    #[error("{0} is the last admin; add another one first: selfheal user add NAME --role admin")]
    LastAdmin(UserName),
    /// The store cannot be opened.
    #[error("the log cannot be opened")]
    Open(#[from] OpenError),
    /// The account could not be closed.
    #[error("the account could not be closed")]
    Store(#[from] StoreError),
    /// A file failed.
    #[error("the erasure could not be begun; nothing was erased")]
    File(#[source] std::io::Error),
}

/// The event store in one data directory. Close it by dropping it.
pub struct JournalStore {
    shared: Arc<Shared>,
    masker: RwLock<Arc<Masker>>,
    requests: Option<SyncSender<Request>>,
    writer: Option<JoinHandle<()>>,
    publisher: Option<JoinHandle<()>>,
    subjects: Arc<SubjectKeys>,
    rebuilt: bool,
    // Last: released when everything above is done with the directory.
    _lock: lock::DirectoryLock,
}

impl JournalStore {
    /// Opens the store in `directory`, which is made if there is none.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing that was recorded is changed then.
    pub fn open(directory: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_claimed(Self::claim(directory)?, options)
    }

    /// Makes `directory` this process's own, for whoever must write in it before the
    /// store can be opened.
    ///
    /// # Errors
    /// Another host runs on it, or it cannot be made.
    pub fn claim(directory: &Path) -> Result<Claim, OpenError> {
        open::claim(directory)
    }

    /// Opens the store in a directory that was claimed before.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing that was recorded is changed then.
    pub fn open_claimed(claim: Claim, options: Options) -> Result<Self, OpenError> {
        let data = claim.directory.clone();
        let failed = |path: &str| {
            let path = data.join(path);
            move |source| OpenError::Io { path, source }
        };
        // An erasure that was begun is finished before anything is read.
        let erasing = subjects::intended(&data).map_err(failed("erasing"))?;
        if let Some(id) = &erasing {
            subjects::destroy(&data, id).map_err(failed("subjects"))?;
        }
        let subjects = Arc::new(SubjectKeys::load(&data).map_err(failed("subjects"))?);
        let opened = open::open(claim, options.segment_bytes, &subjects)?;
        let shared = Arc::new(Shared::new(opened.projection, opened.publisher));
        let (requests, waiting) = sync_channel(options.queue);
        let journal = opened.journal;
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(&for_writer, journal, &waiting))
            .map_err(OpenError::Thread)?;
        let for_publisher = Arc::clone(&shared);
        let publisher = std::thread::Builder::new()
            .name("log publisher".to_owned())
            .spawn(move || for_publisher.publisher.run())
            .map_err(OpenError::Thread)?;
        let store = Self {
            shared,
            masker: RwLock::new(Arc::new(options.masker)),
            subjects,
            requests: Some(requests),
            writer: Some(writer),
            publisher: Some(publisher),
            rebuilt: opened.rebuilt,
            _lock: opened.lock,
        };
        if let Some(id) = erasing {
            store.record_erasure(&data, id)?;
            subjects::finished(&data).map_err(failed("erasing"))?;
        }
        Ok(store)
    }

    /// The last step of an erasure.
    fn record_erasure(&self, data: &Path, subject: String) -> Result<(), OpenError> {
        if subjects::is_recorded(data, &subject).map_err(OpenError::Damaged)? {
            return Ok(());
        }
        let record = NewRecord {
            at: latest(self),
            actor: Actor::Operator,
            issue: None,
            event: Event::UserErased { subject },
        };
        self.append(record, None)
            .map(drop)
            .map_err(OpenError::Erasure)
    }

    /// Erases the personal data of a user: closes the account, destroys the key that
    /// their names, comments and reports are encrypted with, builds the projection again, and
    /// records it under their pseudonym, which is returned. The log still verifies.
    /// `at` is the time of the first record of this.
    ///
    /// # Errors
    /// See [`EraseError`]. Where it was begun, the next start of the store finishes it.
    pub fn erase(
        directory: &Path,
        options: Options,
        name: &UserName,
        at: DateTime<Utc>,
    ) -> Result<String, EraseError> {
        let store = Self::open(directory, options.clone())?;
        let key = store.subjects.of_name(name.as_str(), false);
        let Some(key) = key.ok().flatten() else {
            return Err(EraseError::Unknown(name.clone()));
        };
        let accounts = store.accounts()?;
        let found = accounts.iter().find(|account| account.name == *name);
        if let Some(account) = found {
            if account.is_only_admin(&accounts) {
                return Err(EraseError::LastAdmin(name.clone()));
            }
            // Records of the first version have the name in clear: there it goes on to
            // be an account, which nobody can use.
            let closed = Account {
                role: Role::Guest,
                token_digest: None,
                password_hash: None,
                tokens: Vec::new(),
                subject: None,
                standing: Standing::Closed,
                name: account.name.clone(),
            };
            let record = NewRecord {
                at,
                actor: Actor::Operator,
                issue: None,
                event: Event::UserSaved(closed),
            };
            store.append(record, None)?;
        }
        let id = key.id().to_owned();
        drop(store);
        let claim = Self::claim(directory)?;
        subjects::intend(&claim.directory, &id).map_err(EraseError::File)?;
        drop(Self::open_claimed(claim, options)?);
        Ok(id)
    }

    /// Takes other secrets out of everything that is recorded from now on.
    pub fn put_masker(&self, masker: Masker) {
        *self.masker.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(masker);
    }

    /// Whether the projection was given up and rebuilt when the store was opened.
    pub fn was_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// Rows of the projection and records of the journal read so far: what reading
    /// costs, whatever the machine.
    pub fn rows_read(&self) -> u64 {
        self.shared.projection.touched()
    }

    fn request(&self, record: NewRecord, projected: Option<&Issue>) -> Result<Record, StoreError> {
        let masker = Arc::clone(&self.masker.read().unwrap_or_else(PoisonError::into_inner));
        let stored = StoredEvent::of(&record.event, |name, data| masker.event(name, data))
            .map_err(|error| not_written(AppendFailure::Event(error)))?;
        // What is recorded is what reads back: masked, and proved to be readable.
        let event = stored
            .event()
            .map_err(|error| not_written(AppendFailure::Event(error)))?;
        let (stored, actor) = personal::seal(stored, &record.actor, &*self.subjects)
            .map_err(|error| not_written(AppendFailure::Personal(error)))?;
        if let Some(reason) = self.shared.closed() {
            return Err(not_written(AppendFailure::Closed(reason)));
        }
        let gone = || not_written(AppendFailure::Closed("it is shutting down".to_owned()));
        let (answer, wait) = sync_channel(1);
        self.requests
            .as_ref()
            .ok_or_else(gone)?
            .send(Request {
                record: NewRecord {
                    at: whole_micros(record.at),
                    event,
                    ..record
                },
                stored,
                actor,
                version: projected.map(|issue| issue.version),
                answer,
            })
            .map_err(|_| gone())?;
        wait.recv().unwrap_or_else(|_| {
            let reason = self.shared.closed().unwrap_or_default();
            Err(StoreError::Uncertain(Box::new(AppendFailure::Closed(
                reason,
            ))))
        })
    }
}

/// The time of the last record: what finishes an erasure has no clock of its own.
fn latest(store: &JournalStore) -> DateTime<Utc> {
    let (size, _) = store.head();
    let last = store.record(size.saturating_sub(1)).ok().flatten();
    last.map_or(DateTime::UNIX_EPOCH, |record| record.at)
}

/// Records keep microseconds; the projection must not know more than they do.
fn whole_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

fn read_error(error: ProjectionError) -> StoreError {
    StoreError::Read(Box::new(error))
}

impl EventStore for JournalStore {
    fn append(&self, record: NewRecord, projected: Option<&Issue>) -> Result<Record, StoreError> {
        self.request(record, projected)
    }

    fn issue(&self, number: IssueNumber) -> Result<Option<Issue>, StoreError> {
        let issue = self.shared.projection.issue(number).map_err(read_error)?;
        Ok(issue.map(|issue| Issue::clone(&issue)))
    }

    fn issue_number(&self, id: IssueId) -> Result<Option<IssueNumber>, StoreError> {
        self.shared.projection.issue_number(id).map_err(read_error)
    }

    fn issues(
        &self,
        filter: &IssueFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<IssueSummary>, StoreError> {
        list::page(&self.shared.projection, filter, cursor, limit)
    }

    fn views(&self, of: &UserName) -> Result<Vec<SavedView>, StoreError> {
        self.shared.projection.views(of).map_err(read_error)
    }

    fn active_issues(&self) -> Result<Vec<IssueNumber>, StoreError> {
        self.shared.projection.active().map_err(read_error)
    }

    fn last_issue_number(&self) -> Result<u64, StoreError> {
        Ok(self.shared.projection.meta().last_issue)
    }

    fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.shared
            .projection
            .records(issue, from, limit)
            .map_err(read_error)
    }

    fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        self.shared.projection.record_at(seq).map_err(read_error)
    }

    fn decisions(&self, before: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.shared
            .projection
            .policy_list(PolicyList::Decisions, before, limit)
            .map_err(read_error)
    }

    fn decision(&self, id: DecisionId) -> Result<Option<u64>, StoreError> {
        self.shared.projection.decision(id).map_err(read_error)
    }

    fn policy_changes(&self, before: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.shared
            .projection
            .policy_list(PolicyList::Changes, before, limit)
            .map_err(read_error)
    }

    fn head(&self) -> (u64, Digest) {
        *self
            .shared
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tree_head(&self) -> (u64, Digest) {
        self.shared.publisher.tree_head()
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        Some(self)
    }

    fn accounts(&self) -> Result<Arc<Vec<Account>>, StoreError> {
        self.shared.projection.accounts().map_err(read_error)
    }

    fn switches(&self) -> Result<Switches, StoreError> {
        Ok(self.shared.projection.switches())
    }
}

impl AuditLog for JournalStore {
    fn signed_head(&self) -> Result<SignedHead, StoreError> {
        let published = self.shared.publisher.publish();
        published.map_err(|error| StoreError::Read(Box::new(error)))
    }

    fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(tile) = TileId::parse(path) else {
            return Ok(None);
        };
        let found = self.shared.publisher.tile(tile);
        found.map_err(|error| StoreError::Read(Box::new(error)))
    }

    fn prove(&self, index: u64) -> Result<Option<InclusionProof>, StoreError> {
        let proof = self.shared.publisher.prove(index);
        proof.map_err(|error| StoreError::Read(Box::new(error)))
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
        self.shared.publisher.stop();
        if let Some(publisher) = self.publisher.take()
            && publisher.join().is_err()
        {
            tracing::error!("the log publisher's thread panicked");
        }
        // A projection that failed keeps its mark; one that is whole gives it back.
        if self.shared.closed().is_none()
            && let Err(error) = self.shared.projection.close()
        {
            tracing::warn!(%error, "the projection could not be closed; the next start brings it up to date");
        }
    }
}
