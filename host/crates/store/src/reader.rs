//! Reading the journal's files from the first record on, verifying each: at
//! open, for `audit verify` beside a running host, and for `audit log`.

use crate::frame::{self, FRAME_BYTES, HEADER_BYTES};
use crate::publish;
use crate::subjects::SubjectKeys;
use selfheal_audit::{ChainVerifier, Entry};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Record;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directory of the journal in the data directory.
pub(crate) const JOURNAL: &str = "journal";

const BUFFER_BYTES: usize = 1 << 20;
/// What a disk writes or loses as one, at least, in bytes: file systems lose multiples
/// of it (4 KiB and more).
const PIECE: u64 = 512;

/// Where a record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// First record of its segment, which is the segment's name.
    pub segment: u64,
    /// Byte at which its frame begins.
    pub offset: u64,
    /// Bytes of the record in it.
    pub length: u32,
}

/// The first thing in the journal that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("record {seq} ({segment}, byte {offset}): {why}")]
pub struct VerifyError {
    /// The record, counted from 0, that is wrong or cannot be reached.
    pub seq: u64,
    /// File name of its segment.
    pub segment: String,
    /// Byte at which its frame begins.
    pub offset: u64,
    /// What is wrong, and what to do about it.
    pub why: String,
}

/// A record with its place and the bytes it was stored as.
#[derive(Clone)]
pub struct StoredRecord {
    /// The verified entry.
    pub entry: Entry,
    /// Its hash.
    pub hash: Digest,
    /// Where it lies.
    pub location: Location,
    /// Canonical bytes, then the hash.
    pub stored: Vec<u8>,
    subjects: Arc<SubjectKeys>,
}

/// The end of the last segment was never flushed, and so never acknowledged: a frame
/// is cut off, or parts of the batch that the host was writing are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TornTail {
    pub(crate) segment: u64,
    /// Where the whole frames end; 0 when not even the header is whole.
    pub(crate) offset: u64,
}

struct Segment {
    first: u64,
    input: BufReader<File>,
    offset: u64,
}

/// Iterates over the records of a journal, oldest first, verifying checksums and
/// chain on the way. Needs no lock; stops after the first error.
pub struct JournalReader {
    directory: PathBuf,
    waiting: VecDeque<u64>,
    current: Option<Segment>,
    chain: ChainVerifier,
    /// Records that are known to have been acknowledged.
    acknowledged: u64,
    torn: Option<TornTail>,
    ended: bool,
    subjects: Arc<SubjectKeys>,
    /// The record that was read last.
    stored: Vec<u8>,
}

enum Step {
    Frame(Digest, Location),
    SegmentEnd,
    Torn,
}

impl JournalReader {
    /// Reads the journal in the data directory `directory`. What its signed head covers
    /// must be there.
    ///
    /// # Errors
    /// There is none, or it cannot be listed.
    pub fn open(directory: &Path) -> Result<Self, VerifyError> {
        let keys = SubjectKeys::readable(directory);
        let mut reader = Self::with_keys(directory, Arc::new(keys))?;
        reader.expect(publish::claimed_size(directory));
        Ok(reader)
    }

    pub(crate) fn with_keys(
        directory: &Path,
        subjects: Arc<SubjectKeys>,
    ) -> Result<Self, VerifyError> {
        let directory = directory.join(JOURNAL);
        let failed = |source: std::io::Error| VerifyError {
            seq: 0,
            segment: directory.display().to_string(),
            offset: 0,
            why: format!("the journal cannot be read: {source}"),
        };
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            segments.extend(name.to_str().and_then(frame::segment_first));
        }
        segments.sort_unstable();
        Ok(Self {
            directory,
            waiting: segments.into(),
            current: None,
            chain: ChainVerifier::new(),
            acknowledged: 0,
            torn: None,
            ended: false,
            subjects,
            stored: Vec::new(),
        })
    }

    /// The first `records` of the journal were acknowledged: whatever is wrong with one
    /// of them is damage, however much it looks like a write that was never finished.
    pub(crate) fn expect(&mut self, records: u64) {
        self.acknowledged = self.acknowledged.max(records);
    }

    /// Reads and verifies the next record without taking it apart: its hash and its
    /// place. None at the end.
    ///
    /// # Errors
    /// The record is wrong; nothing more can be read then.
    pub(crate) fn advance(&mut self) -> Result<Option<(Digest, Location)>, VerifyError> {
        while !self.ended {
            match self.step() {
                Ok(Some(Step::Frame(hash, location))) => return Ok(Some((hash, location))),
                Ok(Some(Step::SegmentEnd)) => {}
                Ok(Some(Step::Torn) | None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// The record that [`JournalReader::advance`] read last.
    pub(crate) fn latest(
        &self,
        hash: Digest,
        location: Location,
    ) -> Result<StoredRecord, VerifyError> {
        let entry = Entry::split(&self.stored).and_then(|(canonical, _)| Entry::parse(canonical));
        let entry = entry.map_err(|error| VerifyError {
            seq: self.chain.count().saturating_sub(1),
            segment: frame::segment_name(location.segment),
            offset: location.offset,
            why: error.to_string(),
        })?;
        Ok(StoredRecord {
            entry,
            hash,
            location,
            stored: self.stored.clone(),
            subjects: Arc::clone(&self.subjects),
        })
    }

    /// An error about the journal as a whole, at the record where it shows.
    pub(crate) fn at_end(&self, seq: u64, why: String) -> VerifyError {
        VerifyError {
            seq,
            ..self.fault(0, why)
        }
    }

    /// What an unfinished frame means where no host runs that may be finishing it.
    pub(crate) fn torn_fault(&self, torn: &TornTail) -> VerifyError {
        VerifyError {
            seq: self.records_read(),
            segment: frame::segment_name(torn.segment),
            offset: torn.offset,
            why: "it is cut off: either the host died while writing it, then it was never acknowledged and the next start of the host moves it aside, or somebody shortened the file".to_owned(),
        }
    }

    /// Records read so far.
    pub fn records_read(&self) -> u64 {
        self.chain.count()
    }

    /// Hash of the last record read; zeros before the first.
    pub fn head(&self) -> Digest {
        self.chain.head()
    }

    /// The unfinished frame at the very end, once the iterator has ended.
    pub(crate) fn torn(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    fn fault(&self, offset: u64, why: impl Into<String>) -> VerifyError {
        let segment = match (&self.current, self.waiting.front()) {
            (Some(segment), _) => segment.first,
            (None, Some(first)) => *first,
            (None, None) => self.chain.count(),
        };
        VerifyError {
            seq: self.chain.count(),
            segment: frame::segment_name(segment),
            offset,
            why: why.into(),
        }
    }

    fn damaged(&self, offset: u64, what: &str) -> VerifyError {
        self.fault(
            offset,
            format!(
                "{what}; restore the journal directory from a backup, and find out who or what changed it"
            ),
        )
    }

    fn open_segment(&mut self) -> Result<Option<Step>, VerifyError> {
        let Some(first) = self.waiting.front().copied() else {
            return Ok(None);
        };
        if first != self.chain.count() {
            let name = frame::segment_name(self.chain.count());
            return Err(self.damaged(0, &format!("segment {name} is missing before this one")));
        }
        let path = self.directory.join(frame::segment_name(first));
        let unreadable = |this: &Self, source: std::io::Error| {
            this.fault(0, format!("the segment cannot be read: {source}"))
        };
        let file = File::open(&path).map_err(|e| unreadable(self, e))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        input
            .by_ref()
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut header)
            .map_err(|e| unreadable(self, e))?;
        if let Some(wrong) = frame::check_header(&header, first, self.chain.head()) {
            // The header is flushed before anything else is written to the file.
            let never_flushed =
                header.len() < HEADER_BYTES || all_zero(&mut header.as_slice().chain(&mut input));
            let is_acknowledged = first < self.acknowledged;
            if self.waiting.len() == 1 && never_flushed && !is_acknowledged {
                self.torn = Some(TornTail {
                    segment: first,
                    offset: 0,
                });
                return Ok(Some(Step::Torn));
            }
            return Err(self.damaged(0, &wrong));
        }
        self.waiting.pop_front();
        self.current = Some(Segment {
            first,
            input,
            offset: HEADER_BYTES as u64,
        });
        Ok(Some(Step::SegmentEnd))
    }

    fn step(&mut self) -> Result<Option<Step>, VerifyError> {
        let Some(segment) = &mut self.current else {
            return self.open_segment();
        };
        let offset = segment.offset;
        let first = segment.first;
        let mut start = [0; FRAME_BYTES];
        match read_full(&mut segment.input, &mut start) {
            Ok(FRAME_BYTES) => {}
            Ok(0) => {
                self.current = None;
                return Ok(Some(Step::SegmentEnd));
            }
            Ok(_) => return self.incomplete(offset),
            Err(error) => {
                return Err(self.fault(offset, format!("the segment cannot be read: {error}")));
            }
        }
        let Some((length, crc)) = frame::frame_start(start, offset) else {
            let fault = self.damaged(offset, "the length of its frame was changed");
            return self.unflushed_or(fault, offset, FRAME_BYTES);
        };
        self.stored.resize(length, 0);
        let Some(segment) = &mut self.current else {
            return Ok(None);
        };
        match segment.input.read_exact(&mut self.stored) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return self.incomplete(offset);
            }
            Err(error) => {
                return Err(self.fault(offset, format!("the segment cannot be read: {error}")));
            }
        }
        segment.offset += (FRAME_BYTES + length) as u64;
        // The chain first: it says more than a checksum does.
        let (seq, hash) = match self.chain.check(&self.stored) {
            Ok((entry, hash)) => (entry.seq, hash),
            Err(fault) => {
                let fault = self.damaged(offset, &fault.flaw.to_string());
                return self.unflushed_or(fault, offset, FRAME_BYTES + length);
            }
        };
        if crc32c::crc32c(&self.stored) != crc {
            let mut fault = self.damaged(offset, "the checksum of its frame was changed");
            fault.seq = seq;
            return Err(fault);
        }
        let location = Location {
            segment: first,
            offset,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        Ok(Some(Step::Frame(hash, location)))
    }

    fn incomplete(&mut self, offset: u64) -> Result<Option<Step>, VerifyError> {
        if !self.waiting.is_empty() {
            return Err(self.damaged(offset, "it was cut off, and others follow"));
        }
        self.torn = self.current.as_ref().map(|segment| TornTail {
            segment: segment.first,
            offset,
        });
        Ok(Some(Step::Torn))
    }

    /// What a frame that does not hold means. When the power fails during a flush, some
    /// pieces of the batch are on disk and others are not, in any order; a piece that is
    /// not reads as zeros, from the end of what was flushed before on. No record is that
    /// empty. All that was flushed is there, so only the last batch can be so, and nobody
    /// was told that any of it was recorded.
    fn unflushed_or(
        &mut self,
        fault: VerifyError,
        offset: u64,
        length: usize,
    ) -> Result<Option<Step>, VerifyError> {
        let is_acknowledged = self.chain.count() < self.acknowledged;
        if !is_acknowledged && self.lacks_a_piece(offset, length) {
            return self.incomplete(offset);
        }
        Err(fault)
    }

    /// Whether a piece that the frame at `offset` touches is empty, as far as it does not
    /// lie before the frame.
    fn lacks_a_piece(&self, offset: u64, length: usize) -> bool {
        let Some(segment) = &self.current else {
            return false;
        };
        let file = segment.input.get_ref();
        let Ok(size) = file.metadata().map(|metadata| metadata.len()) else {
            return false;
        };
        let end = (offset + length as u64).min(size);
        let mut begin = offset;
        while begin < end {
            let next = (begin / PIECE + 1) * PIECE;
            let mut piece = [0; PIECE as usize];
            let length = usize::try_from(next.min(size) - begin).unwrap_or(piece.len());
            let Some(piece) = piece.get_mut(..length) else {
                return false;
            };
            if file.read_exact_at(piece, begin).is_ok() && piece.iter().all(|byte| *byte == 0) {
                return true;
            }
            begin = next;
        }
        false
    }
}

impl Iterator for JournalReader {
    type Item = Result<StoredRecord, VerifyError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(None) => None,
            Ok(Some((hash, location))) => Some(self.latest(hash, location)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Whether all that `input` still gives is zeros.
fn all_zero(input: &mut impl Read) -> bool {
    let mut chunk = vec![0; 64 << 10];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return true,
            Ok(count) if chunk.iter().take(count).all(|byte| *byte == 0) => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Fills `buffer` as far as the input goes.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while let Some(space) = buffer.get_mut(read..).filter(|space| !space.is_empty()) {
        match input.read(space) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl StoredRecord {
    /// The record as the domain knows it; personal data as far as its keys are there.
    ///
    /// # Errors
    /// Its event is not one that this program knows.
    pub fn record(&self) -> Result<Record, VerifyError> {
        self.entry
            .record(self.hash, &*self.subjects)
            .map_err(|error| VerifyError {
                seq: self.entry.seq,
                segment: frame::segment_name(self.location.segment),
                offset: self.location.offset,
                why: format!(
                    "{error} ({}); if a newer Selfheal wrote it, use that one",
                    std::error::Error::source(&error)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                ),
            })
    }
}
