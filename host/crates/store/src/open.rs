//! Opening: lock, verify the journal, take back what was never finished, bring the
//! projection up to it.

use crate::frame;
use crate::grow::{Grower, Grown};
use crate::harden::ProjectionError;
use crate::journal::{self, Journal};
use crate::lock::{Claim, DirectoryLock, LockError};
use crate::places::Places;
use crate::projection::{Projection, Refusal};
use crate::publish::{self, PublishedError, Publisher};
use crate::reader::{JOURNAL, JournalReader, Location, StoredRecord, VerifyError};
use crate::rows::Meta;
use crate::signing::{self, KeyError};
use crate::staged::Staged;
use crate::subjects::SubjectKeys;
use crate::verify::{hold_against, missing_tiles};
use crate::writer::BATCH_RECORDS;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::NewRecord;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// The store cannot be opened. Nothing that was recorded has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another host runs here, or the lock file is unusable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A directory or file cannot be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal is damaged.
    #[error("the journal is damaged: {0}")]
    Damaged(#[source] VerifyError),
    /// Records that were acknowledged are gone.
    #[error(
        "the journal ends with record {found}, but the projection has seen {known} records: the last ones were removed. Restore the journal directory from a backup; if the loss is accepted, move {} away and start again",
        projection.display()
    )]
    Shortened {
        /// Records in the journal.
        found: u64,
        /// Records that were acknowledged.
        known: u64,
        /// Directory of the projection.
        projection: PathBuf,
    },
    /// A record is whole, but cannot follow the ones before it.
    #[error("record {seq} ({segment}, byte {offset}) cannot be replayed: {why}")]
    Replay {
        /// The record.
        seq: u64,
        /// File name of its segment.
        segment: String,
        /// Byte at which its frame begins.
        offset: u64,
        /// Why not.
        why: String,
    },
    /// The projection fails even when it is made anew.
    #[error("the projection cannot be built")]
    Projection(#[source] ProjectionError),
    /// The key that signs the log's head.
    #[error("the log's key cannot be used")]
    Key(#[from] KeyError),
    /// The signed head of the log, or its tiles.
    #[error("the published log cannot be used")]
    Published(#[from] PublishedError),
    /// An erasure was carried out, but not recorded.
    #[error("the erasure of a user's data could not be recorded; the next start tries again")]
    Erasure(#[source] selfheal_domain::ports::StoreError),
    /// A thread cannot be started.
    #[error("the journal's thread could not be started")]
    Thread(#[source] io::Error),
}

/// What opening yields.
pub(crate) struct Opened {
    pub(crate) lock: DirectoryLock,
    pub(crate) journal: Journal,
    pub(crate) projection: Projection,
    pub(crate) publisher: Publisher,
    pub(crate) rebuilt: bool,
}

/// A projection that is as far as its journal.
struct Brought {
    projection: Projection,
    reader: JournalReader,
    grown: Grown,
    /// Where the first record behind the signed head lies.
    unsigned: Option<Location>,
}

/// Why a projection was given up.
enum Unfit {
    Broken(ProjectionError),
    Disagrees,
    Fatal(OpenError),
}

impl From<ProjectionError> for Unfit {
    fn from(error: ProjectionError) -> Self {
        Self::Broken(error)
    }
}

/// Makes the directory where there is none, and takes its lock.
pub(crate) fn claim(data: &Path) -> Result<Claim, OpenError> {
    let failed = |source| OpenError::Io {
        path: data.to_owned(),
        source,
    };
    std::fs::create_dir_all(data).map_err(failed)?;
    let directory = data.canonicalize().map_err(failed)?;
    let lock = DirectoryLock::take(&directory)?;
    Ok(Claim { directory, lock })
}

pub(crate) fn open(
    claim: Claim,
    segment_bytes: u64,
    subjects: &Arc<SubjectKeys>,
) -> Result<Opened, OpenError> {
    let Claim {
        directory: data,
        lock,
    } = claim;
    let data = &data;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let directory = data.join(JOURNAL);
    std::fs::create_dir_all(&directory).map_err(failed(&directory))?;
    journal::sync_directory(data).map_err(failed(data))?;

    let published = data.join(publish::DIRECTORY);
    let signer = signing::signer(data, &published)?;
    let signed = publish::published_head(&published, signer.verifier())?;
    let signed = signed.map(|(checkpoint, _)| checkpoint);
    if signed.is_none() && data.join("projection").exists() {
        // So it is after an upgrade, too; `audit verify` tells the two apart.
        tracing::warn!("this log has records, but no signed head; it is signed as it is now");
    }
    let watched = signed.as_ref().map(|signed| signed.size);
    // The projection knows whether the machine went down; its tiles count for as much
    // then.
    let attempt = |thorough| {
        let (on_full, missing) = missing_tiles(&published, thorough);
        let grower =
            Grower::start(watched, on_full).map_err(|e| Unfit::Fatal(OpenError::Thread(e)))?;
        bring_up(data, watched, grower, subjects).map(|brought| (brought, missing))
    };

    let projection = data.join("projection");
    let ((brought, missing), rebuilt) = match attempt(false) {
        Ok(brought) => (brought, false),
        Err(Unfit::Fatal(error)) => return Err(error),
        Err(unfit) => {
            match unfit {
                Unfit::Broken(error) => {
                    tracing::warn!(%error, "the projection is set aside and rebuilt");
                }
                _ => tracing::warn!("the projection disagrees with the journal and is rebuilt"),
            }
            move_aside(&projection).map_err(failed(&projection))?;
            match attempt(true) {
                Ok(brought) => (brought, true),
                Err(Unfit::Fatal(error)) => return Err(error),
                Err(Unfit::Broken(error)) => return Err(OpenError::Projection(error)),
                Err(Unfit::Disagrees) => {
                    return Err(OpenError::Projection(ProjectionError::Row(
                        "it disagrees with the journal right after it was made".to_owned(),
                    )));
                }
            }
        }
    };
    let Brought {
        projection,
        reader,
        grown,
        unsigned,
    } = brought;
    if let Some(signed) = &signed {
        hold_against(&reader, &grown, signed, None).map_err(OpenError::Damaged)?;
    }
    if let Some(torn) = reader.torn() {
        let aside = journal::set_aside(data, torn).map_err(failed(&directory))?;
        tracing::warn!(
            record = reader.records_read(),
            segment = frame::segment_name(torn.segment),
            offset = torn.offset,
            kept_in = %aside.display(),
            "the last batch was never flushed, so never acknowledged; it was moved aside"
        );
    }
    let journal = Journal::open(
        data,
        reader.records_read(),
        reader.head(),
        unsigned,
        segment_bytes,
    )
    .map_err(failed(&directory))?;
    let missing = std::mem::take(&mut *missing.lock().unwrap_or_else(PoisonError::into_inner));
    let publisher = Publisher::open(published, signer, grown.tree, reader.head(), missing)?;
    Ok(Opened {
        lock,
        journal,
        projection,
        publisher,
        rebuilt,
    })
}

/// A journal being read, while the tree over it grows and its places are compared.
struct Walk {
    reader: JournalReader,
    grower: Grower,
    /// How many records are in the tree, and the hash of the last one, which stands for
    /// all of them: it ends their chain.
    grown: (u64, Digest),
    places: Box<dyn Iterator<Item = Option<Location>>>,
    /// So many records from the first on lie where the projection says.
    placed: u64,
    /// Records under the signed head, and where the first one behind it lies.
    signed: u64,
    unsigned: Option<Location>,
}

impl Walk {
    fn begin(
        data: &Path,
        signed: u64,
        grower: Grower,
        subjects: &Arc<SubjectKeys>,
    ) -> Result<Self, VerifyError> {
        let mut walk = Self {
            reader: JournalReader::with_keys(data, Arc::clone(subjects))?,
            grower,
            grown: (0, Digest([0; 32])),
            places: Box::new(std::iter::empty()),
            placed: 0,
            signed,
            unsigned: None,
        };
        walk.reader.expect(signed);
        if let Ok(places) = Places::written(&data.join("projection")) {
            walk.places = Box::new(places);
        }
        Ok(walk)
    }

    /// Reads what is there again, from the first record on.
    fn begin_again(self, data: &Path, subjects: &Arc<SubjectKeys>) -> Result<Self, VerifyError> {
        let grown = self.grown;
        let again = Self::begin(data, self.signed, self.grower, subjects)?;
        Ok(Self { grown, ..again })
    }

    fn advance(&mut self) -> Result<Option<(Digest, Location)>, VerifyError> {
        let Some((hash, location)) = self.reader.advance()? else {
            return Ok(None);
        };
        let read = self.reader.records_read();
        if self.placed + 1 == read && self.places.next() == Some(Some(location)) {
            self.placed = read;
        }
        if self.signed + 1 == read {
            self.unsigned = Some(location);
        }
        if read > self.grown.0 {
            self.grower.push(hash);
            self.grown = (read, hash);
        } else if read == self.grown.0 && hash != self.grown.1 {
            let why = "the journal was changed while it was read".to_owned();
            return Err(self.reader.at_end(read - 1, why));
        }
        Ok(Some((hash, location)))
    }
}

/// Opens the projection while the journal is read: neither needs the other, and with a
/// million issues each takes half a second. Reading knows nothing yet of what the
/// projection has acknowledged or lacks, so where that matters it begins again.
fn open_while_reading(
    data: &Path,
    signed: u64,
    grower: Grower,
    subjects: &Arc<SubjectKeys>,
) -> Result<(Result<Projection, ProjectionError>, Walk), VerifyError> {
    let mut walk = Walk::begin(data, signed, grower, subjects)?;
    let (projection, read) = std::thread::scope(|scope| {
        let opening = scope.spawn(|| Projection::open(data, Arc::clone(subjects)));
        let mut read = Ok(());
        while !opening.is_finished() {
            match walk.advance() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
        }
        let projection = opening.join().unwrap_or_else(|_| {
            let reason = "the thread that opens the projection".to_owned();
            Err(ProjectionError::Panicked(reason))
        });
        (projection, read)
    });
    read?;
    if let Ok(open) = &projection {
        let applied = open.meta().applied;
        if walk.reader.torn().is_some() || walk.reader.records_read() > applied {
            walk = walk.begin_again(data, subjects)?;
        }
        walk.reader.expect(applied.max(signed));
    }
    Ok((projection, walk))
}

/// Verifies the whole journal and replays what the projection has not seen. The first
/// `signed` records are known to others.
fn bring_up(
    data: &Path,
    signed: Option<u64>,
    grower: Grower,
    subjects: &Arc<SubjectKeys>,
) -> Result<Brought, Unfit> {
    let damaged = |error| Unfit::Fatal(OpenError::Damaged(error));
    let (projection, mut walk) =
        open_while_reading(data, signed.unwrap_or(0), grower, subjects).map_err(damaged)?;
    let known = match &projection {
        Ok(projection) => projection.meta(),
        Err(_) => Meta::default(),
    };
    let mut staged = projection.as_ref().ok().map(Projection::stage);
    let mut agrees =
        walk.reader.records_read() == known.applied && walk.reader.head() == known.head;
    while let Some((hash, location)) = walk.advance().map_err(damaged)? {
        let read = walk.reader.records_read();
        if read <= known.applied {
            agrees |= read == known.applied && hash == known.head;
            continue;
        }
        let (Ok(projection), Some(batch)) = (&projection, &mut staged) else {
            continue;
        };
        if !agrees || walk.placed < known.applied {
            continue;
        }
        let stored = walk.reader.latest(hash, location).map_err(damaged)?;
        replay(projection, batch, &stored)?;
        if batch.len() >= BATCH_RECORDS {
            let meta = batch.meta().clone();
            projection.accept(std::mem::replace(batch, Staged::empty(meta)));
            projection.settle()?;
        }
    }
    let projection = projection?;
    let Walk {
        reader,
        grower,
        grown: (grown, _),
        placed,
        unsigned,
        ..
    } = walk;
    if reader.records_read() < known.applied.max(grown) {
        return Err(Unfit::Fatal(OpenError::Shortened {
            found: reader.records_read(),
            known: known.applied.max(grown),
            projection: data.join("projection"),
        }));
    }
    if !agrees || placed < known.applied {
        return Err(Unfit::Disagrees);
    }
    if let Some(batch) = staged
        && batch.len() > 0
    {
        projection.accept(batch);
        projection.settle()?;
    }
    let grown = grower
        .finish()
        .map_err(|error| Unfit::Fatal(OpenError::Thread(error)))?;
    Ok(Brought {
        projection,
        reader,
        grown,
        unsigned,
    })
}

fn replay(projection: &Projection, batch: &mut Staged, stored: &StoredRecord) -> Result<(), Unfit> {
    let record = stored
        .record()
        .map_err(|error| Unfit::Fatal(OpenError::Damaged(error)))?;
    let refused = |refusal: Refusal| match refusal {
        Refusal::Projection(error) => Unfit::Broken(error),
        other => Unfit::Fatal(OpenError::Replay {
            seq: stored.entry.seq,
            segment: frame::segment_name(stored.location.segment),
            offset: stored.location.offset,
            why: other.to_string(),
        }),
    };
    let new = NewRecord {
        at: record.at,
        actor: record.actor.clone(),
        issue: record.issue,
        event: record.event.clone(),
    };
    let after = batch.fold(projection, &new).map_err(refused)?;
    batch
        .add(projection, &record, after, stored.location)
        .map_err(refused)
}

/// Keeps the latest projection that was given up, for people.
fn move_aside(projection: &Path) -> io::Result<()> {
    let aside = projection.with_extension("set-aside");
    match std::fs::remove_dir_all(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match std::fs::rename(projection, aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
