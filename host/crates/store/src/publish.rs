//! The log as others see it: tiles and a signed head, in the data directory and for
//! whoever asks the host.
//!
//! A thread of its own writes full tiles and signs the head, at most once a second
//! while records come in: what was acknowledged is on disk in the journal, so neither
//! is waited for. Tiles are derived from the journal and are made again where they
//! are missing.

use crate::signing::write_durably;
use selfheal_audit::note::{Checkpoint, LogSigner, LogVerifier, NoteError};
use selfheal_audit::tiles::{TileId, TileTree, inclusion_proof};
use selfheal_domain::digest::Digest;
use selfheal_domain::ports::{InclusionProof, SignedHead};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Directory of the published log in the data directory.
pub(crate) const DIRECTORY: &str = "tlog";
/// Its signed head.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Shortest time between two signed heads.
const PAUSE: Duration = Duration::from_secs(1);

/// Full tiles with their content.
pub(crate) type Tiles = BTreeMap<TileId, Arc<Vec<u8>>>;

/// The published log of an open store.
pub(crate) struct Publisher {
    directory: PathBuf,
    signer: LogSigner,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while files are written.
    writing: Mutex<()>,
}

struct State {
    tree: TileTree,
    /// Hash of the last record.
    head: Digest,
    /// Full tiles that are not on disk yet.
    pending: Tiles,
    signed: Option<SignedHead>,
    /// The thread waits for records.
    idle: bool,
    stopping: bool,
}

/// What a log that was published before says of itself.
pub(crate) fn published_head(
    directory: &Path,
    key: &LogVerifier,
) -> Result<Option<(Checkpoint, String)>, PublishedError> {
    let path = directory.join(CHECKPOINT);
    let note = match std::fs::read_to_string(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PublishedError::File { path, source }),
    };
    match key.open(&note) {
        Ok(checkpoint) => Ok(Some((checkpoint, note))),
        Err(source) => Err(PublishedError::Note { path, source }),
    }
}

/// How many records the signed head in the data directory `data` speaks of; 0 where
/// there is none. Nobody vouches for it: good for suspicion only.
pub(crate) fn claimed_size(data: &Path) -> u64 {
    let note = std::fs::read_to_string(data.join(DIRECTORY).join(CHECKPOINT));
    let size = note.ok().and_then(|note| note.lines().nth(1)?.parse().ok());
    size.unwrap_or(0)
}

/// The published log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// A file of it.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its signed head is not what this installation signed.
    #[error("{} does not hold: {source}", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NoteError,
    },
}

/// Whether a full tile is on disk, judged by its size alone or by its content.
pub(crate) fn is_published(directory: &Path, tile: TileId, right: Option<&[u8]>) -> bool {
    let path = directory.join(tile.path());
    match right {
        Some(right) => std::fs::read(path).is_ok_and(|found| found == right),
        None => std::fs::metadata(path).is_ok_and(|found| found.len() == tile.bytes() as u64),
    }
}

impl Publisher {
    /// Publishes the log with this tree; `missing` are the full tiles that are not on
    /// disk. Signs its head at once.
    pub(crate) fn open(
        directory: PathBuf,
        signer: LogSigner,
        tree: TileTree,
        head: Digest,
        missing: Tiles,
    ) -> Result<Self, PublishedError> {
        let publisher = Self {
            directory,
            signer,
            state: Mutex::new(State {
                tree,
                head,
                pending: missing,
                signed: None,
                idle: false,
                stopping: false,
            }),
            changed: Condvar::new(),
            writing: Mutex::new(()),
        };
        publisher.publish()?;
        Ok(publisher)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Size and root of the log as it is now.
    pub(crate) fn tree_head(&self) -> (u64, Digest) {
        let state = self.state();
        (state.tree.size(), state.tree.root())
    }

    /// These records are durable.
    pub(crate) fn grow(&self, hashes: impl Iterator<Item = Digest>) {
        let mut state = self.state();
        let State {
            tree,
            head,
            pending,
            ..
        } = &mut *state;
        for hash in hashes {
            *head = hash;
            tree.push(hash, |tile, bytes| {
                pending.insert(tile, Arc::new(bytes));
            });
        }
        // Once a second is enough: a thread that is woken for each batch costs as much as
        // the batch.
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Writes tiles and signs heads until [`Publisher::stop`].
    pub(crate) fn run(&self) {
        loop {
            let due = |state: &mut State| {
                let signed = state.signed.as_ref().map(|signed| signed.size);
                signed == Some(state.tree.size()) && !state.stopping
            };
            let mut state = self.state();
            state.idle = true;
            let mut state = self
                .changed
                .wait_while(state, due)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
            let stopping = state.stopping;
            drop(state);
            if let Err(error) = self.publish() {
                // The journal is what counts; the next round tries again.
                tracing::error!(%error, "the log's head could not be published");
            }
            if stopping {
                return;
            }
            let stopped = self
                .changed
                .wait_timeout_while(self.state(), PAUSE, |state| !state.stopping);
            drop(stopped);
        }
    }

    /// Ends [`Publisher::run`] after one last round.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    /// Writes what is to be written; the signed head is that of now.
    pub(crate) fn publish(&self) -> Result<SignedHead, PublishedError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (tiles, size, head, root) = {
            let state = self.state();
            if let Some(signed) = &state.signed
                && signed.size == state.tree.size()
            {
                return Ok(signed.clone());
            }
            let (size, root) = (state.tree.size(), state.tree.root());
            (state.pending.clone(), size, state.head, root)
        };
        for (tile, bytes) in &tiles {
            let path = self.directory.join(tile.path());
            write_tile(&path, bytes).map_err(|source| PublishedError::File { path, source })?;
        }
        let note = self.signer.sign(size, root);
        let path = self.directory.join(CHECKPOINT);
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| write_durably(&path, note.as_bytes(), 0o644))
            .map_err(|source| PublishedError::File { path, source })?;
        let signed = SignedHead {
            origin: self.signer.verifier().name().to_owned(),
            size,
            head,
            root,
            note,
            key: self.signer.verifier().to_string(),
        };
        let mut state = self.state();
        state.pending.retain(|tile, _| !tiles.contains_key(tile));
        state.signed = Some(signed.clone());
        Ok(signed)
    }

    /// A tile, whole or in part; none when there is no such tile yet.
    pub(crate) fn tile(&self, tile: TileId) -> io::Result<Option<Vec<u8>>> {
        let full = TileId { width: 256, ..tile };
        {
            let state = self.state();
            if let Some(part) = state.tree.partial(tile) {
                return Ok(Some(part));
            }
            if let Some(pending) = state.pending.get(&full) {
                return Ok(tile.cut(pending.to_vec()));
            }
        }
        match std::fs::read(self.directory.join(full.path())) {
            Ok(bytes) if bytes.len() == full.bytes() => Ok(tile.cut(bytes)),
            Ok(_) => Err(io::Error::other(format!(
                "{} is damaged; the next start of the host makes it again",
                full.path()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Proves that record `index` is in the log; none when there is no such record.
    pub(crate) fn prove(&self, index: u64) -> Result<Option<InclusionProof>, PublishedError> {
        let head = self.publish()?;
        let failed = |tile: TileId, source| PublishedError::File {
            path: self.directory.join(tile.path()),
            source,
        };
        let hashes = inclusion_proof(index, head.size, |tile| {
            let found = self.tile(tile).map_err(|error| failed(tile, error))?;
            found.ok_or_else(|| failed(tile, io::ErrorKind::NotFound.into()))
        })?;
        let entry = crate::verify::entry_tile(index);
        let Some(hashes) = hashes else {
            return Ok(None);
        };
        let bundle = self.tile(entry).map_err(|error| failed(entry, error))?;
        let record = bundle
            .as_deref()
            .and_then(|bundle| bundle.last_chunk())
            .map(|hash| Digest(*hash))
            .ok_or_else(|| failed(entry, io::ErrorKind::NotFound.into()))?;
        Ok(Some(InclusionProof {
            index,
            record,
            hashes,
            head,
        }))
    }
}

/// Not flushed: after a power cut the next start compares tiles with the journal.
fn write_tile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(&fresh, path)
}
