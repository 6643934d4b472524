//! Where each record lies in the journal: rows of one size in a file, in the order of
//! the records. An append to a file is a fraction of the work of rows in sled, and every
//! record has one.
//!
//! Rows behind what sled says was applied mean nothing. The others are compared with the
//! journal whenever the store is opened.

use crate::harden::ProjectionError;
use crate::reader::Location;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Name of the file.
const FILE: &str = "places";
/// Bytes of a row.
const ROW_BYTES: usize = 20;

/// The open file.
pub(crate) struct Places {
    file: File,
}

fn put(row: &mut Vec<u8>, location: Location) {
    row.extend_from_slice(&location.segment.to_be_bytes());
    row.extend_from_slice(&location.offset.to_be_bytes());
    row.extend_from_slice(&location.length.to_be_bytes());
}

fn get(row: &[u8]) -> Result<Location, ProjectionError> {
    let wrong = || ProjectionError::Row("a place in the journal has another size".to_owned());
    let (segment, rest) = row.split_first_chunk().ok_or_else(wrong)?;
    let (offset, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
    Ok(Location {
        segment: u64::from_be_bytes(*segment),
        offset: u64::from_be_bytes(*offset),
        length: u32::from_be_bytes(rest.try_into().map_err(|_| wrong())?),
    })
}

impl Places {
    pub(crate) fn open(projection: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(projection.join(FILE))?;
        Ok(Self { file })
    }

    /// Writes the places of the records from `first` on.
    pub(crate) fn put(&self, first: u64, places: impl Iterator<Item = Location>) -> io::Result<()> {
        let mut rows = Vec::new();
        places.for_each(|place| put(&mut rows, place));
        self.file.write_all_at(&rows, first * ROW_BYTES as u64)
    }

    /// The places of `count` records from `first` on.
    pub(crate) fn get(&self, first: u64, count: usize) -> Result<Vec<Location>, ProjectionError> {
        let mut rows = vec![0; count * ROW_BYTES];
        self.file
            .read_exact_at(&mut rows, first * ROW_BYTES as u64)?;
        rows.chunks(ROW_BYTES).map(get).collect()
    }

    /// All rows of the file as it is, from the first record on, for a comparison.
    pub(crate) fn written(
        projection: &Path,
    ) -> io::Result<impl Iterator<Item = Option<Location>> + use<>> {
        let file = File::open(projection.join(FILE))?;
        let mut rows = BufReader::with_capacity(1 << 16, file);
        Ok(std::iter::repeat_with(move || {
            let mut row = [0; ROW_BYTES];
            rows.read_exact(&mut row).ok()?;
            get(&row).ok()
        }))
    }

    /// Durable when it returns.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_a_missing_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::open(dir.path()).unwrap();
        let at = |offset| Location {
            segment: 7,
            offset,
            length: u32::MAX,
        };
        places.put(0, (0..3).map(at)).unwrap();
        places.put(2, (9..11).map(at)).unwrap();
        assert_eq!(places.get(1, 3).unwrap(), [at(1), at(9), at(10)]);
        assert!(places.get(3, 2).is_err());
        let all: Vec<_> = Places::written(dir.path()).unwrap().take(5).collect();
        assert_eq!(
            all,
            [Some(at(0)), Some(at(1)), Some(at(9)), Some(at(10)), None]
        );
    }
}
