//! The one thread that writes: drains what waits, appends it, flushes once, makes
//! it visible, answers. sled follows later, see [`crate::projection`].

use crate::frame::MAX_RECORD_BYTES;
use crate::journal::{AppendError, Journal};
use crate::projection::{Projection, Refusal};
use crate::publish::Publisher;
use crate::staged::Staged;
use selfheal_audit::{Entry, StoredActor, StoredEvent};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{NewRecord, Record};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::StoreError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

/// Most records that share a flush.
pub(crate) const BATCH_RECORDS: usize = 1024;
/// A batch is closed once it holds this many bytes.
const BATCH_BYTES: usize = 16 << 20;

/// Why an append failed, below [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub enum AppendFailure {
    /// The event has no form that reads back.
    #[error("the event cannot be stored")]
    Event(#[source] selfheal_audit::EntryError),
    /// Personal data in it cannot be encrypted.
    #[error("personal data in the record cannot be encrypted")]
    Personal(#[source] selfheal_audit::personal::SealError),
    /// Too large.
    #[error("the record has {0} bytes; at most {MAX_RECORD_BYTES} are stored")]
    TooLarge(usize),
    /// It must not be recorded.
    #[error(transparent)]
    Refused(Refusal),
    /// The file failed.
    #[error("the journal's file failed: {0}")]
    File(String),
    /// An earlier failure closed the store.
    #[error(
        "the store takes no more records since an earlier failure ({0}); restart the host once the cause is cured"
    )]
    Closed(String),
}

pub(crate) struct Request {
    /// With the event as it reads back from `stored`.
    pub(crate) record: NewRecord,
    pub(crate) stored: StoredEvent,
    /// Who, as it is stored.
    pub(crate) actor: StoredActor,
    /// Version of the issue after the record, as the caller knows it.
    pub(crate) version: Option<u64>,
    pub(crate) answer: SyncSender<Result<Record, StoreError>>,
}

/// What readers and the writer share.
pub(crate) struct Shared {
    pub(crate) projection: Projection,
    pub(crate) publisher: Publisher,
    pub(crate) head: Mutex<(u64, Digest)>,
    closed: AtomicBool,
    reason: Mutex<String>,
}

impl Shared {
    pub(crate) fn new(projection: Projection, publisher: Publisher) -> Self {
        let meta = projection.meta();
        Self {
            projection,
            publisher,
            head: Mutex::new((meta.applied, meta.head)),
            closed: AtomicBool::new(false),
            reason: Mutex::default(),
        }
    }

    /// Why no more records are taken, if so.
    pub(crate) fn closed(&self) -> Option<String> {
        if let Some(reason) = self.projection.failure() {
            return Some(format!("the projection failed: {reason}"));
        }
        self.closed.load(Ordering::SeqCst).then(|| {
            self.reason
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
    }

    pub(crate) fn close(&self, reason: String) {
        tracing::error!(%reason, "the journal takes no more records");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.closed.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn not_written(failure: AppendFailure) -> StoreError {
    StoreError::NotWritten(Box::new(failure))
}

fn uncertain(failure: AppendFailure) -> StoreError {
    StoreError::Uncertain(Box::new(failure))
}

/// Runs until every sender is gone.
pub(crate) fn run(shared: &Arc<Shared>, mut journal: Journal, requests: &Receiver<Request>) {
    let work = AssertUnwindSafe(|| {
        while let Ok(first) = requests.recv() {
            write_batch(shared, &mut journal, first, requests);
        }
    });
    if catch_unwind(work).is_err() {
        shared.close("the writer panicked".to_owned());
    }
}

struct Waiting {
    record: Record,
    answer: SyncSender<Result<Record, StoreError>>,
}

fn write_batch(
    shared: &Shared,
    journal: &mut Journal,
    first: Request,
    requests: &Receiver<Request>,
) {
    let mut staged = shared.projection.stage();
    let mut frames = Vec::new();
    let mut waiting = Vec::new();
    let mut next = Some(first);
    while let Some(request) = next.take() {
        if let Some(reason) = shared.closed() {
            answer(
                &request.answer,
                Err(not_written(AppendFailure::Closed(reason))),
            );
        } else {
            let sender = request.answer.clone();
            match place(shared, journal, &mut staged, &mut frames, request) {
                Ok(record) => waiting.push(Waiting {
                    record,
                    answer: sender,
                }),
                Err(failure) => answer(&sender, Err(not_written(failure))),
            }
        }
        if staged.len() < BATCH_RECORDS && frames.len() < BATCH_BYTES {
            next = requests.try_recv().ok();
        }
    }
    if waiting.is_empty() {
        return;
    }
    finish_batch(shared, journal, staged, &frames, waiting);
}

/// Checks and frames one record.
fn place(
    shared: &Shared,
    journal: &Journal,
    staged: &mut Staged,
    frames: &mut Vec<u8>,
    mut request: Request,
) -> Result<Record, AppendFailure> {
    if request.record.wants_number() {
        let number = IssueNumber(staged.meta().last_issue + 1);
        let stored = request.stored.numbered(number);
        request.stored = stored.map_err(AppendFailure::Event)?;
        request.record = request.record.numbered(number);
    }
    let after = staged
        .fold(&shared.projection, &request.record)
        .map_err(AppendFailure::Refused)?;
    if let (Some(expected), Some(after)) = (request.version, &after)
        && expected != after.version
    {
        return Err(AppendFailure::Refused(Refusal::Conflict {
            expected,
            found: after.version,
        }));
    }
    let meta = staged.meta();
    let NewRecord {
        at,
        actor,
        issue,
        event,
    } = request.record;
    let entry = Entry {
        seq: meta.applied,
        at,
        actor: request.actor,
        issue,
        event: request.stored,
        previous: meta.head,
    };
    let sealed = entry.seal();
    if sealed.stored.len() > MAX_RECORD_BYTES {
        return Err(AppendFailure::TooLarge(sealed.stored.len()));
    }
    let record = Record {
        seq: entry.seq,
        at: entry.at,
        actor,
        issue: entry.issue,
        event,
        previous: entry.previous,
        hash: sealed.hash,
    };
    let before = frames.len();
    let location = journal.frame(frames, &sealed.stored);
    if let Err(refusal) = staged.add(&shared.projection, &record, after, location) {
        frames.truncate(before);
        return Err(AppendFailure::Refused(refusal));
    }
    Ok(record)
}

fn finish_batch(
    shared: &Shared,
    journal: &mut Journal,
    staged: Staged,
    frames: &[u8],
    waiting: Vec<Waiting>,
) {
    let meta = staged.meta().clone();
    match journal.append(frames) {
        Ok(()) => {}
        Err(AppendError::NotWritten(error)) => {
            tracing::error!(%error, "the journal could not be written; nothing was recorded");
            for one in waiting {
                let failure = AppendFailure::File(error.to_string());
                answer(&one.answer, Err(not_written(failure)));
            }
            return;
        }
        Err(AppendError::Uncertain(error)) => {
            shared.close(format!("the journal's file failed: {error}"));
            for one in waiting {
                let failure = AppendFailure::File(error.to_string());
                answer(&one.answer, Err(uncertain(failure)));
            }
            return;
        }
    }
    let unsettled = shared.projection.accept(staged);
    *shared.head.lock().unwrap_or_else(PoisonError::into_inner) = (meta.applied, meta.head);
    let hashes = waiting.iter().map(|one| one.record.hash);
    shared.publisher.grow(hashes);
    for one in waiting {
        answer(&one.answer, Ok(one.record));
    }
    // A failure closes the store for what comes next; these records are durable.
    if unsettled >= BATCH_RECORDS && shared.projection.settle().is_err() {
        return;
    }
    if let Err(error) = journal.roll(meta.applied, meta.head) {
        shared.close(format!("the next segment could not be made: {error}"));
    }
}

fn answer(to: &SyncSender<Result<Record, StoreError>>, result: Result<Record, StoreError>) {
    // A caller that no longer waits has ended; its record stays what it is.
    drop(to.send(result));
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
