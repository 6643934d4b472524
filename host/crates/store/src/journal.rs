//! Writing the journal: append-only segments, one flush per batch.

use crate::frame::{self, HEADER_BYTES};
use crate::reader::{JOURNAL, Location, TornTail};
use selfheal_domain::digest::Digest;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A segment is closed once it is this large, in bytes.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// What an append needs of a file; tests put one in that fails.
pub(crate) trait Medium: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Durable when it returns.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// What was written of it was taken back.
    #[error("the journal's file could not be written")]
    NotWritten(#[source] io::Error),
    /// It may be there or not.
    #[error("the journal's file could not be flushed to disk")]
    Uncertain(#[source] io::Error),
}

/// The last segment, open for appending.
pub(crate) struct Journal {
    directory: PathBuf,
    first: u64,
    length: u64,
    segment_bytes: u64,
    medium: Box<dyn Medium>,
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn create_segment(directory: &Path, first: u64, previous: Digest) -> io::Result<File> {
    let path = directory.join(frame::segment_name(first));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all_at(&frame::header(first, previous), 0)?;
    file.sync_all()?;
    sync_directory(directory)?;
    Ok(file)
}

/// Copies what is left of an unfinished append to a file for people, then cuts it
/// off. Returns that file.
pub(crate) fn set_aside(data: &Path, torn: &TornTail) -> io::Result<PathBuf> {
    let directory = data.join(JOURNAL);
    let path = directory.join(frame::segment_name(torn.segment));
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let aside = directory.join(format!(
        "unfinished-{}-{}",
        frame::segment_name(torn.segment),
        torn.offset
    ));
    let mut rest = &file;
    rest.seek(SeekFrom::Start(torn.offset))?;
    let mut kept = File::create(&aside)?;
    io::copy(&mut rest, &mut kept)?;
    kept.sync_all()?;
    if torn.offset == 0 {
        std::fs::remove_file(&path)?;
    } else {
        file.set_len(torn.offset)?;
        file.sync_all()?;
    }
    sync_directory(&directory)?;
    Ok(aside)
}

/// Bytes that are read and written again at once.
const AGAIN_BYTES: usize = 1 << 20;

/// Where in the segment that begins with record `first`, and has `length` bytes, that
/// begins of which nobody knows whether an earlier host got it to disk. `unsigned` is the
/// first record behind the signed head. A segment is only begun when the one before it
/// is on disk.
fn doubtful(first: u64, length: u64, unsigned: Option<Location>) -> u64 {
    match unsigned {
        Some(record) if record.segment == first => record.offset,
        Some(_) => 0,
        None if length <= HEADER_BYTES as u64 => 0,
        None => length,
    }
}

/// Writes the bytes from `begin` on over themselves, and flushes. After a flush that
/// failed the kernel may hold pages that it takes for written and that are not on disk;
/// another flush alone would say that all is well.
fn write_again(file: &File, begin: u64) -> io::Result<()> {
    let mut offset = begin;
    let mut bytes = vec![0; AGAIN_BYTES];
    loop {
        let read = file.read_at(&mut bytes, offset)?;
        let Some(piece) = bytes.get(..read).filter(|piece| !piece.is_empty()) else {
            return file.sync_all();
        };
        file.write_all_at(piece, offset)?;
        offset += read as u64;
    }
}

impl Journal {
    /// Opens the last of the verified segments in `data`, or makes the first one.
    /// `count` and `head` are what is in them, `unsigned` is where the first record behind
    /// the signed head lies.
    pub(crate) fn open(
        data: &Path,
        count: u64,
        head: Digest,
        unsigned: Option<Location>,
        segment_bytes: u64,
    ) -> io::Result<Self> {
        let directory = data.join(JOURNAL);
        let mut last = None;
        for entry in std::fs::read_dir(&directory)? {
            let name = entry?.file_name();
            last = last.max(name.to_str().and_then(frame::segment_first));
        }
        let (first, file) = match last {
            Some(first) => {
                let path = directory.join(frame::segment_name(first));
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                // What a host that was killed wrote is verified, but may not be on disk
                // yet; what follows must not be durable before it.
                write_again(&file, doubtful(first, file.metadata()?.len(), unsigned))?;
                (first, file)
            }
            None => (count, create_segment(&directory, count, head)?),
        };
        sync_directory(&directory)?;
        Ok(Self {
            first,
            length: file.metadata()?.len(),
            segment_bytes,
            directory,
            medium: Box::new(file),
        })
    }

    /// Where the next frame will lie, if `pending` bytes come before it.
    pub(crate) fn next_offset(&self, pending: usize) -> u64 {
        self.length + pending as u64
    }

    /// Frames a record behind `frames`; says where it will lie.
    pub(crate) fn frame(&self, frames: &mut Vec<u8>, stored: &[u8]) -> Location {
        let offset = self.next_offset(frames.len());
        frame::put_frame(frames, offset, stored);
        Location {
            segment: self.first,
            offset,
            length: u32::try_from(stored.len()).unwrap_or(u32::MAX),
        }
    }

    /// Makes the frames durable with one flush.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<(), AppendError> {
        if let Err(error) = self.medium.write_at(frames, self.length) {
            let undone = self
                .medium
                .truncate(self.length)
                .and_then(|()| self.medium.sync());
            return Err(match undone {
                Ok(()) => AppendError::NotWritten(error),
                Err(_) => AppendError::Uncertain(error),
            });
        }
        // After a failed flush the kernel may have dropped the pages: never try again.
        self.medium.sync().map_err(AppendError::Uncertain)?;
        self.length += frames.len() as u64;
        Ok(())
    }

    /// Starts the next segment if this one is full. Call between batches.
    pub(crate) fn roll(&mut self, count: u64, head: Digest) -> io::Result<()> {
        if self.length < self.segment_bytes || self.length <= HEADER_BYTES as u64 {
            return Ok(());
        }
        let file = create_segment(&self.directory, count, head)?;
        self.first = count;
        self.length = HEADER_BYTES as u64;
        self.medium = Box::new(file);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn replace_medium(&mut self, medium: Box<dyn Medium>) {
        self.medium = medium;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_signed_head_covers_is_doubtful() {
        let record = |segment| {
            Some(Location {
                segment,
                offset: 4_000,
                length: 9,
            })
        };
        assert_eq!(doubtful(7, 9_000, record(7)), 4_000);
        assert_eq!(doubtful(7, 9_000, record(3)), 0, "an earlier segment");
        assert_eq!(doubtful(7, 9_000, None), 9_000, "all is signed");
        assert_eq!(doubtful(7, HEADER_BYTES as u64, None), 0, "a header alone");
    }

    #[test]
    fn what_is_written_again_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let bytes: Vec<u8> = (0..AGAIN_BYTES + 4_321).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        for begin in [0, 1, 4_000, AGAIN_BYTES as u64, bytes.len() as u64] {
            write_again(&file, begin).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }
}
