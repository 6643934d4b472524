//! A service's log file and those before it: bounded in size and number, with
//! positions that survive their rotation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file a service appends to, and its predecessors `<file>.1` (the latest),
/// `<file>.2` and so on.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    most: u64,
    count: u32,
    // Bytes that were moved out of the file: a position counts from the first
    // byte that this host saw.
    moved: Mutex<u64>,
}

impl Log {
    /// Moved away when it has more than `most` bytes; `count` such files are kept.
    pub(crate) fn new(path: PathBuf, most: u64, count: u32) -> Self {
        Self {
            path,
            most,
            count,
            moved: Mutex::new(0),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn old(&self) -> PathBuf {
        self.older(1)
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// There is more in it than there should be.
    pub(crate) fn is_full(&self) -> bool {
        self.length() > self.most
    }

    fn length(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Moves the content to `<file>.1` when it is too much. The writer keeps its
    /// descriptor: it appends, so it goes on at the new end.
    pub(crate) fn rotate(&self) -> io::Result<()> {
        if !self.is_full() {
            return Ok(());
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for number in (1..self.count).rev() {
            match std::fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let copied = std::fs::copy(&self.path, self.old())?;
        // What is written between the copy and here is lost: a few lines at most,
        // in exchange for a service that never waits for us.
        File::options().write(true).open(&self.path)?.set_len(0)?;
        *moved += copied;
        Ok(())
    }

    /// After the last byte.
    pub(crate) fn position(&self) -> u64 {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved + self.length()
    }

    /// What is behind a position, the first `most` bytes of it.
    pub(crate) fn since(&self, position: u64, most: usize) -> String {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        if position < *moved {
            let old = self.old();
            let length = old.metadata().map_or(0, |metadata| metadata.len());
            // The old file ends where the new one begins.
            let from = length.saturating_sub(*moved - position);
            read(&old, from, most, &mut bytes);
        }
        let from = position.saturating_sub(*moved);
        let left = most.saturating_sub(bytes.len());
        read(&self.path, from, left, &mut bytes);
        lossy(bytes)
    }

    /// The last bytes.
    pub(crate) fn tail(&self, most: usize) -> String {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = most as u64;
        let length = self.length();
        let mut bytes = Vec::new();
        if length < wanted && *moved > 0 {
            let old = self.old();
            let behind = old.metadata().map_or(0, |metadata| metadata.len());
            let part = usize::try_from(wanted - length).unwrap_or(most);
            read(
                &old,
                behind.saturating_sub(wanted - length),
                part,
                &mut bytes,
            );
        }
        read(&self.path, length.saturating_sub(wanted), most, &mut bytes);
        // More may have been written since the length was asked for.
        let surplus = bytes.len().saturating_sub(most);
        lossy(bytes.split_off(surplus))
    }
}

/// A log that cannot be read is empty: it is shown, never decided on.
fn read(path: &Path, from: u64, most: usize, into: &mut Vec<u8>) {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    into.extend(read().unwrap_or_default());
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn append(log: &Log, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(log.path())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn positions_survive_rotation() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::new(place.path().join("web.log"), 10, 2);
        assert_eq!((log.position(), log.tail(100)), (0, String::new()));
        append(&log, "0123456789");
        log.rotate().unwrap();
        let ten = log.position();
        assert_eq!(ten, 10);
        append(&log, "abcde");
        assert_eq!(log.since(ten, 100), "abcde");
        assert_eq!(log.since(ten, 2), "ab");
        log.rotate().unwrap();
        assert_eq!(log.path().metadata().unwrap().len(), 0);
        append(&log, "XYZ");
        assert_eq!(log.position(), 18);
        assert_eq!(log.since(ten, 100), "abcdeXYZ");
        assert_eq!(log.since(15, 100), "XYZ");
        assert_eq!(log.since(99, 100), "");
        assert_eq!(log.tail(5), "deXYZ");
        assert_eq!(log.tail(2), "YZ");
        assert_eq!(log.tail(0), "");
    }

    #[test]
    fn there_are_never_more_files_than_wanted() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::new(place.path().join("web.log"), 3, 2);
        for number in 0..5 {
            append(&log, &format!("round {number}\n"));
            log.rotate().unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(
            (read("web.log.1"), read("web.log.2")),
            ("round 4\n".into(), "round 3\n".into())
        );
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_writer_that_holds_the_file_goes_on_at_the_new_end() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::new(place.path().join("web.log"), 4, 1);
        let mut writer = File::options()
            .append(true)
            .create(true)
            .open(log.path())
            .unwrap();
        writer.write_all(b"before\n").unwrap();
        log.rotate().unwrap();
        writer.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "after\n");
        assert_eq!(log.tail(100), "before\nafter\n");
    }
}
