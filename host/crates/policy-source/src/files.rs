//! Reading files that may be anything, and writing files that are there whole or not
//! at all.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a symbolic link may stand in for the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// An admin's path: links are the admin's business.
    Follow,
    /// Our own directory: nothing there is a link.
    Refuse,
}

/// What reading found.
pub(crate) enum Contents {
    Whole(Vec<u8>),
    TooLarge,
}

/// Reads a regular file of at most `limit` bytes. A pipe or device is an error and is
/// not waited for.
pub(crate) fn read(path: &Path, limit: u64, links: Links) -> io::Result<Contents> {
    let mut file = open(path, links)?;
    contents(&mut file, limit)
}

/// Opens a regular file for reading.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(file)
}

/// Reads what is left, at most `limit` bytes.
pub(crate) fn contents(from: &mut impl Read, limit: u64) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Ok(Contents::TooLarge);
    }
    Ok(Contents::Whole(bytes))
}

/// Replaces a file durably: another one is written beside it, flushed, and renamed
/// over it. Only its owner can read it (0600).
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, |file| file.persist(path).map(drop))
}

/// As [`replace`], but fails where there is a file already.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, |file| file.persist_noclobber(path).map(drop))
}

fn write(
    path: &Path,
    bytes: &[u8],
    persist: impl FnOnce(tempfile::NamedTempFile) -> Result<(), tempfile::PersistError>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    persist(file).map_err(|problem| problem.error)?;
    File::open(directory)?.sync_all()
}
