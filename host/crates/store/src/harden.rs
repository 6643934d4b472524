//! Opening sled so that neither its leftovers nor its panics hurt.
//!
//! sled 0.34 does not flush durably on Linux, trips over its own half-written
//! snapshots, and panics where it should answer with an error. The projection
//! can always be rebuilt from the journal, so everything doubtful is an error
//! here, and errors lead to a rebuild.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Memory for sled's page cache, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// Says which boot of the machine the projection was last opened in.
const OPEN_MARK: &str = "open";

/// sled, or a row in it, is not to be relied upon.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// sled answered with an error.
    #[error("the embedded database failed")]
    Database(#[source] sled::Error),
    /// sled panicked.
    #[error("the embedded database panicked: {0}")]
    Panicked(String),
    /// A row does not read back.
    #[error("a row of the projection cannot be read: {0}")]
    Row(String),
    /// A file beside it failed.
    #[error("a file of the projection could not be used")]
    File(#[source] io::Error),
    /// The journal's record behind a row cannot be read.
    #[error("the journal's record {0} cannot be read")]
    Record(u64),
    /// It failed before.
    #[error("it failed earlier ({0}); restart the host, which rebuilds it from the journal")]
    Failed(String),
    /// The machine went down while it was open; unflushed parts may be missing.
    #[error("the machine stopped, or the projection failed, while it was open")]
    PowerCut,
}

impl From<sled::Error> for ProjectionError {
    fn from(error: sled::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for ProjectionError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Runs something that calls sled; its panics become errors.
pub(crate) fn guarded<T>(
    call: impl FnOnce() -> Result<T, ProjectionError>,
) -> Result<T, ProjectionError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Err(ProjectionError::Panicked(
            text.unwrap_or_else(|| "without a message".to_owned()),
        ))
    })
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Removes what keeps sled from opening, or from opening what was there.
fn clear_leftovers(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    let conf = directory.join("conf");
    match std::fs::read(&conf) {
        // sled only warns of a wrong checksum, then believes the content.
        Ok(bytes) if !conf_is_whole(&bytes) => std::fs::remove_file(&conf),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn conf_is_whole(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(body, crc)| crc32fast::hash(body) == u32::from_le_bytes(*crc))
}

/// Opens sled in `directory/db`.
pub(crate) fn open(directory: &Path) -> Result<sled::Db, ProjectionError> {
    std::fs::create_dir_all(directory)?;
    let mark = directory.join(OPEN_MARK);
    let boot = boot_id();
    if let Ok(earlier) = std::fs::read_to_string(&mark)
        && (boot.is_empty() || earlier != boot)
    {
        return Err(ProjectionError::PowerCut);
    }
    std::fs::write(&mark, boot)?;
    File::open(&mark)?.sync_all()?;
    let path = directory.join("db");
    clear_leftovers(&path)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that opens sled"
    )]
    let database = guarded(|| {
        Ok(sled::Config::new()
            .path(&path)
            .flush_every_ms(None)
            .cache_capacity(CACHE_BYTES)
            .open()?)
    })?;
    sync_files(directory)?;
    Ok(database)
}

/// sled's own flush ends in `sync_file_range`, which is no promise.
fn sync_files(directory: &Path) -> Result<(), ProjectionError> {
    let database = directory.join("db");
    for name in ["conf", "db", "blobs"] {
        match File::open(database.join(name)) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let parents = [
        Some(database.as_path()),
        Some(directory),
        directory.parent(),
    ];
    for directory in parents.into_iter().flatten() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Flushes everything and takes the mark back: the projection is whole on disk.
pub(crate) fn close(database: &sled::Db, directory: &Path) -> Result<(), ProjectionError> {
    guarded(|| Ok(database.flush().map(drop)?))?;
    sync_files(directory)?;
    std::fs::remove_file(directory.join(OPEN_MARK))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Makes the next start rebuild the projection, whatever it looks like then.
pub(crate) fn condemn(directory: &Path) {
    let mark = directory.join(OPEN_MARK);
    if let Err(error) = std::fs::write(&mark, "failed") {
        tracing::warn!(%error, "the projection could not be marked for a rebuild");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_that_would_keep_sled_from_opening_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let database = open(dir.path()).unwrap();
        database.insert("k", "v").unwrap();
        close(&database, dir.path()).unwrap();
        drop(database);

        let db = dir.path().join("db");
        std::fs::write(db.join("snap.00000000000000FF.generating"), b"half").unwrap();
        let conf = std::fs::read(db.join("conf")).unwrap();
        assert!(conf_is_whole(&conf), "we check it as sled writes it");
        let mut broken = conf;
        broken[0] ^= 1;
        std::fs::write(db.join("conf"), broken).unwrap();

        let database = open(dir.path()).unwrap();
        assert_eq!(database.get("k").unwrap().unwrap(), "v");
        assert!(!db.join("snap.00000000000000FF.generating").exists());
    }

    #[test]
    fn a_projection_left_open_in_an_earlier_boot_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        drop(open(dir.path()).unwrap());
        std::fs::write(dir.path().join(OPEN_MARK), "another boot").unwrap();
        assert!(matches!(open(dir.path()), Err(ProjectionError::PowerCut)));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let result: Result<(), _> = guarded(|| panic!("boom"));
        assert!(matches!(result, Err(ProjectionError::Panicked(text)) if text == "boom"));
    }
}
