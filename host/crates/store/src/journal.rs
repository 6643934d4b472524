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

impl Journal {
    /// Opens the last of the verified segments in `data`, or makes the first one.
    /// `count` and `head` are what is in them.
    pub(crate) fn open(
        data: &Path,
        count: u64,
        head: Digest,
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
                file.sync_all()?;
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
