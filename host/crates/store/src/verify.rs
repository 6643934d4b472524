//! Verification of a log from its files alone: no host, no lock, no projection.

use crate::grow::{Grower, Grown, OnFull};
use crate::publish::{self, PublishedError, Tiles};
use crate::reader::{JournalReader, VerifyError};
use crate::{lock, signing};
use selfheal_audit::note::{Checkpoint, LogVerifier};
use selfheal_audit::tiles::{TileId, TileKind, inclusion_proof};
use selfheal_domain::digest::Digest;
use selfheal_domain::ports::{InclusionProof, SignedHead};
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A journal that verifies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// Records in it.
    pub records: u64,
    /// Hash of the last one; zeros when there is none.
    pub head: Digest,
    /// Root of the Merkle tree over all of them (RFC 6962).
    pub merkle_root: Digest,
    /// The signed head that it was compared with; none in a log that never had one.
    pub signed: Option<Checkpoint>,
}

/// A journal, or what is published of it, does not hold.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The first wrong record.
    #[error(transparent)]
    Record(#[from] VerifyError),
    /// The signed head.
    #[error(transparent)]
    Head(#[from] PublishedError),
    /// The key that signs.
    #[error(transparent)]
    Key(#[from] signing::KeyError),
    /// A signed head must be there, and is not.
    #[error(
        "{0} is missing: nothing says how long the log must be; restore it from a backup, or start the host once if it was stopped right after its first start"
    )]
    NoHead(std::path::PathBuf),
    /// The log was signed, but by whom is not there.
    #[error("{0} is missing; give the public key of the log with --key, or restore it")]
    NoKey(std::path::PathBuf),
    /// The machine failed.
    #[error("the Merkle tree could not be built")]
    Machine(#[source] std::io::Error),
    /// There is no such record.
    #[error(
        "there is no record {index}: the signed head covers {size}; see `selfheal audit checkpoint`"
    )]
    NoRecord {
        /// The record asked for.
        index: u64,
        /// Records under the signed head.
        size: u64,
    },
}

impl LogError {
    /// The first wrong record, where it is a record that is wrong.
    pub fn record(&self) -> Option<u64> {
        match self {
            Self::Record(error) => Some(error.seq),
            _ => None,
        }
    }
}

/// The signed head of the log in the data directory `directory`, as the host last
/// wrote it, with the key it is believed by: `key`, or that of the installation.
///
/// # Errors
/// It is gone, or not signed by that key.
pub fn signed_head(
    directory: &Path,
    key: Option<&LogVerifier>,
) -> Result<Option<(Checkpoint, String, LogVerifier)>, LogError> {
    let own = signing::verifier(directory)?;
    let published = directory.join(publish::DIRECTORY);
    let Some(key) = key.cloned().or(own) else {
        // A log of an earlier version has none of these.
        let signed = published.exists() || directory.join(signing::SECRET).exists();
        return if signed {
            Err(LogError::NoKey(directory.join(signing::PUBLIC)))
        } else {
            Ok(None)
        };
    };
    let Some((checkpoint, note)) = publish::published_head(&published, &key)? else {
        return Err(LogError::NoHead(published.join(publish::CHECKPOINT)));
    };
    Ok(Some((checkpoint, note, key)))
}

/// Verifies every record of the journal in the data directory `directory`, the chain
/// over them, the signed head, and the published tiles. `key` is believed instead of
/// the key in that directory. A host may be running on it.
///
/// # Errors
/// The first wrong record, or what else does not hold. A frame that was not finished
/// counts as wrong only when no host runs that may be finishing it.
pub fn verify(directory: &Path, key: Option<&LogVerifier>) -> Result<VerifyReport, LogError> {
    // The head first: the journal of a running host grows.
    let signed = signed_head(directory, key)?.map(|(checkpoint, _, _)| checkpoint);
    let published = directory.join(publish::DIRECTORY);
    let differs = Arc::new(AtomicU64::new(u64::MAX));
    let first = Arc::clone(&differs);
    let compare = move |tile: TileId, right: Vec<u8>| {
        // One that is missing is made again by the next start of the host.
        if let Ok(found) = std::fs::read(published.join(tile.path()))
            && found != right
        {
            first.fetch_min(tile.first_difference(&found, &right), Ordering::Relaxed);
        }
    };
    let (reader, grown) = read_all(directory, signed.as_ref(), Box::new(compare))?;
    if let Some(torn) = reader.torn()
        && !lock::is_held(directory)
    {
        return Err(LogError::Record(reader.torn_fault(torn)));
    }
    let differs = Some(differs.load(Ordering::Relaxed)).filter(|seq| *seq != u64::MAX);
    if let Some(signed) = &signed {
        hold_against(&reader, &grown, signed, differs)?;
    }
    if let Some(seq) = differs {
        let why = "the published tiles name another record here; the journal agrees with its signed head, so it is the tiles that were changed: move the directory tlog/tile away, the next start of the host makes them again";
        return Err(LogError::Record(reader.at_end(seq, why.to_owned())));
    }
    Ok(VerifyReport {
        records: reader.records_read(),
        head: reader.head(),
        merkle_root: grown.tree.root(),
        signed,
    })
}

fn read_all(
    directory: &Path,
    signed: Option<&Checkpoint>,
    on_full: OnFull,
) -> Result<(JournalReader, Grown), LogError> {
    let mut reader = JournalReader::open(directory)?;
    let watched = signed.map(|signed| signed.size);
    let mut grower = Grower::start(watched, on_full).map_err(LogError::Machine)?;
    while let Some((hash, _)) = reader.advance()? {
        grower.push(hash);
    }
    let grown = grower.finish().map_err(LogError::Machine)?;
    Ok((reader, grown))
}

/// Compares a journal that was read to its end with a head that was signed earlier.
/// `differs` is the first record on which published tiles disagree.
pub(crate) fn hold_against(
    reader: &JournalReader,
    grown: &Grown,
    signed: &Checkpoint,
    differs: Option<u64>,
) -> Result<(), VerifyError> {
    let found = reader.records_read();
    if found < signed.size {
        let why = format!(
            "the journal ends before it, with {found} records, but its signed head vouches for {}: the last ones were removed. Restore the journal directory from a backup; if the loss is accepted, move the directory tlog away and start the host",
            signed.size
        );
        return Err(reader.at_end(found, why));
    }
    if grown.root_at != Some(signed.root) {
        let why = match differs {
            Some(_) => "it is not the record that was published: the journal was rewritten from here on; restore it from a backup, and find out who or what changed it".to_owned(),
            None => format!(
                "the first {} records are not the ones that were signed: the journal was rewritten as a whole; restore it from a backup, and find out who or what changed it",
                signed.size
            ),
        };
        return Err(reader.at_end(differs.unwrap_or(0), why));
    }
    Ok(())
}

/// Proves from the files in `directory` that record `index` is in the log: under the
/// signed head, which covers all but the records of the last second.
///
/// # Errors
/// The log does not hold, or its head does not cover such a record.
pub fn prove(directory: &Path, index: u64) -> Result<InclusionProof, LogError> {
    let Some((signed, note, key)) = signed_head(directory, None)? else {
        let missing = directory.join(publish::DIRECTORY).join(publish::CHECKPOINT);
        return Err(LogError::NoHead(missing));
    };
    let tiles = Arc::new(Mutex::new(HashMap::new()));
    let kept = Arc::clone(&tiles);
    let keep = move |tile: TileId, bytes| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(tile, bytes);
    };
    let mut reader = JournalReader::open(directory)?;
    let mut grower = Grower::start(Some(signed.size), Box::new(keep)).map_err(LogError::Machine)?;
    let (mut record, mut head) = (None, Digest([0; 32]));
    while let Some((hash, _)) = reader.advance()? {
        let seq = reader.records_read().saturating_sub(1);
        if seq == index {
            record = Some(hash);
        }
        if seq < signed.size {
            head = hash;
        }
        grower.push(hash);
    }
    let grown = grower.finish().map_err(LogError::Machine)?;
    hold_against(&reader, &grown, &signed, None)?;
    let tiles = tiles.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |tile: TileId| {
        let full = TileId { width: 256, ..tile };
        let whole = tiles.get(&full).cloned();
        let found = whole.and_then(|whole| tile.cut(whole));
        Ok::<_, Infallible>(
            found
                .or_else(|| grown.tree.partial(tile))
                .unwrap_or_default(),
        )
    };
    let Ok(hashes) = inclusion_proof(index, signed.size, read);
    match (record, hashes) {
        (Some(record), Some(hashes)) => Ok(InclusionProof {
            index,
            record,
            hashes,
            head: SignedHead {
                origin: signed.origin,
                size: signed.size,
                head,
                root: signed.root,
                note,
                key: key.to_string(),
            },
        }),
        _ => Err(LogError::NoRecord {
            index,
            size: signed.size,
        }),
    }
}

/// Full tiles below `directory` that are not there as they should be, collected while
/// a tree grows. `thorough` compares their content, not only their size.
pub(crate) fn missing_tiles(directory: &Path, thorough: bool) -> (OnFull, Arc<Mutex<Tiles>>) {
    let missing = Arc::new(Mutex::new(Tiles::new()));
    let (found, directory) = (Arc::clone(&missing), directory.to_owned());
    let look = move |tile: TileId, bytes: Vec<u8>| {
        let right = thorough.then_some(bytes.as_slice());
        if !publish::is_published(&directory, tile, right) {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.insert(tile, Arc::new(bytes));
        }
    };
    (Box::new(look), missing)
}

/// The tile that holds the entries of record `index`, up to and with it.
pub(crate) fn entry_tile(index: u64) -> TileId {
    TileId {
        kind: TileKind::Entries,
        index: index / 256,
        width: u16::try_from(index % 256 + 1).unwrap_or(256),
    }
}
