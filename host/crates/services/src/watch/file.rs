//! One log file, read on from where it was left, through rotation and truncation.

use super::event::{Error, Grouper};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Longest line; a longer one counts as several.
const LINE: usize = 64 * 1024;
/// How much of what was logged before the host started is looked at, in bytes.
const BASELINE: u64 = 8 * 1024 * 1024;
/// Most bytes that are read in one go.
const BACKLOG: u64 = 64 * 1024 * 1024;
/// By how many of its first bytes a file is told from the one before, in bytes.
const HEAD: usize = 256;

/// A position in a certain file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    device: u64,
    inode: u64,
    offset: u64,
}

impl Place {
    fn of(metadata: &Metadata, offset: u64) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset,
        }
    }

    fn is_in(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }
}

#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    file: Option<File>,
    place: Place,
    head: Vec<u8>,
    partial: Vec<u8>,
    grouper: Grouper,
    mark: Option<Place>,
}

impl WatchedFile {
    /// Gives the errors that are in it already. What stands behind `mark`, the place
    /// that an earlier host noted, is read later, as news.
    pub(crate) fn open(path: PathBuf, mark: Option<&Place>) -> (Self, Vec<Error>) {
        let mut this = Self {
            path,
            file: None,
            place: Place::default(),
            head: Vec::new(),
            partial: Vec::new(),
            grouper: Grouper::default(),
            mark: mark.copied(),
        };
        let mut errors = Vec::new();
        let mut sink = |error| errors.push(error);
        let whole = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
        // What cannot be read here cannot be read later either, and is told then.
        if let Ok(Some(old)) = open(&this.rotated()) {
            let end = match mark {
                Some(mark) if old.metadata().is_ok_and(|it| mark.is_in(&it)) => mark.offset,
                _ => whole(&old),
            };
            let _ = this.skim(&old, end, &mut sink);
            if end < whole(&old) {
                // It was rotated since the mark: the rest of it is news.
                this.adopt(old, end);
                return (this, errors);
            }
        }
        if let Ok(Some(file)) = open(&this.path) {
            let end = match mark {
                Some(mark)
                    if file.metadata().is_ok_and(|it| mark.is_in(&it))
                        && mark.offset <= whole(&file) =>
                {
                    mark.offset
                }
                // Another file than the one with the mark: all of it came later.
                Some(_) => 0,
                None => whole(&file),
            };
            let _ = this.skim(&file, end, &mut sink);
            this.adopt(file, end);
        }
        (this, errors)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it was marked last.
    pub(crate) fn mark(&self) -> Option<Place> {
        self.mark
    }

    fn rotated(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    fn adopt(&mut self, file: File, offset: u64) {
        if let Ok(metadata) = file.metadata() {
            self.place = Place::of(&metadata, offset);
            self.head.clear();
            self.remember_head(&file);
            self.file = Some(file);
        }
    }

    fn remember_head(&mut self, file: &File) {
        let known = HEAD.min(usize::try_from(self.place.offset).unwrap_or(HEAD));
        if self.head.len() < known {
            let mut head = vec![0; known];
            if file.read_exact_at(&mut head, 0).is_ok() {
                self.head = head;
            }
        }
    }

    /// The last part of a file up to `end`, for its errors.
    fn skim(&mut self, file: &File, end: u64, sink: &mut dyn FnMut(Error)) -> io::Result<()> {
        let mut at = end.saturating_sub(BASELINE);
        while at < end {
            at += self.chunk(file, at, end, sink)?.max(1);
        }
        self.finish().into_iter().for_each(sink);
        Ok(())
    }

    /// Reads what is new. An error leaves it where it stands.
    pub(crate) fn read(&mut self, sink: &mut dyn FnMut(Error)) -> io::Result<()> {
        let mut left = BACKLOG;
        loop {
            let Some(file) = self.file.take() else {
                match open(&self.path)? {
                    None => return Ok(()),
                    Some(file) => {
                        self.adopt(file, 0);
                        continue;
                    }
                }
            };
            let result = self.read_on(&file, &mut left, sink);
            self.file = Some(file);
            match result? {
                Next::Done => return Ok(()),
                Next::Another => {
                    self.finish().into_iter().for_each(&mut *sink);
                    self.file = None;
                }
            }
        }
    }

    fn read_on(
        &mut self,
        file: &File,
        left: &mut u64,
        sink: &mut dyn FnMut(Error),
    ) -> io::Result<Next> {
        if self.was_truncated(file)? {
            self.salvage(left, sink)?;
            self.place.offset = 0;
            self.head.clear();
        }
        self.drain(file, left, sink)?;
        match std::fs::metadata(&self.path) {
            Ok(metadata) if self.place.is_in(&metadata) => Ok(Next::Done),
            // Rotated by its name. It was written to until a moment ago.
            Ok(_) => self.drain(file, left, sink).map(|()| Next::Another),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Next::Done),
            Err(error) => Err(error),
        }
    }

    fn was_truncated(&self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() < self.place.offset {
            return Ok(true);
        }
        // It may have grown again since.
        let mut head = vec![0; self.head.len()];
        Ok(file.read_exact_at(&mut head, 0).is_err() || head != self.head)
    }

    /// What was copied away before the file was truncated.
    fn salvage(&mut self, left: &mut u64, sink: &mut dyn FnMut(Error)) -> io::Result<()> {
        if let Some(old) = open(&self.rotated())? {
            let mut head = vec![0; self.head.len()];
            if old.read_exact_at(&mut head, 0).is_ok() && head == self.head {
                self.drain(&old, left, sink)?;
            }
        }
        self.finish().into_iter().for_each(sink);
        Ok(())
    }

    fn drain(
        &mut self,
        file: &File,
        left: &mut u64,
        sink: &mut dyn FnMut(Error),
    ) -> io::Result<()> {
        loop {
            let count = self.chunk(file, self.place.offset, u64::MAX, sink)?;
            if count == 0 {
                break;
            }
            self.place.offset += count;
            *left = left.saturating_sub(count);
            if *left == 0 {
                return Err(io::Error::other(format!(
                    "more than {} MiB were logged at once",
                    BACKLOG / (1024 * 1024)
                )));
            }
        }
        self.remember_head(file);
        Ok(())
    }

    /// Reads one piece and takes its lines; gives the number of bytes.
    fn chunk(
        &mut self,
        file: &File,
        at: u64,
        end: u64,
        sink: &mut dyn FnMut(Error),
    ) -> io::Result<u64> {
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(CHUNK);
        let mut bytes = vec![0; CHUNK.min(most)];
        let count = file.read_at(&mut bytes, at)?;
        for piece in bytes
            .get(..count)
            .unwrap_or_default()
            .split_inclusive(|byte| *byte == b'\n')
        {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LINE {
                let line = std::mem::take(&mut self.partial);
                if let Some(error) = self.grouper.line(&String::from_utf8_lossy(&line)) {
                    sink(error);
                }
            }
        }
        Ok(count as u64)
    }

    /// Nothing follows what was read so far.
    fn finish(&mut self) -> Vec<Error> {
        let partial = std::mem::take(&mut self.partial);
        finished(&mut self.grouper, &partial)
    }

    /// Marks where it stands; gives what was left open.
    pub(crate) fn mark_here(&mut self) -> Vec<Error> {
        // One that is not there yet is new from its first byte.
        self.mark = Some(self.place);
        self.finish()
    }

    /// What it would come to if nothing followed.
    pub(crate) fn pending(&self) -> Vec<Error> {
        finished(&mut self.grouper.clone(), &self.partial)
    }
}

enum Next {
    Done,
    Another,
}

fn finished(grouper: &mut Grouper, partial: &[u8]) -> Vec<Error> {
    let mut errors = Vec::new();
    if !partial.is_empty() {
        errors.extend(grouper.line(&String::from_utf8_lossy(partial)));
    }
    errors.extend(grouper.flush());
    errors
}

/// A regular file to read; none when it is not there. Whoever writes the log cannot
/// make us wait by putting a pipe in its place.
fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::other(format!(
            "{} is no regular file",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", path.display()),
        )),
    }
}
