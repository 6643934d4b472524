//! Files that must be whole after a crash: written beside, synced, renamed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest file read, in bytes: a `policy.toml` or a kept generation.
const LARGEST: u64 = 8 << 20;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The file system says no.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is not what should be.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FileProblem + '_ {
    |source| FileProblem::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory that only its owner can enter.
pub(crate) fn make_directory(path: &Path) -> Result<(), FileProblem> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path))
}

/// Names in a directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, FileProblem> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let name = entry.map_err(failed(directory))?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// All of a file, if it is not too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileProblem> {
    let file = File::open(path).map_err(failed(path))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed(path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileProblem::Content {
            path: path.to_owned(),
            message: format!("it is larger than {LARGEST} bytes"),
        });
    }
    Ok(bytes)
}

/// A text file.
pub(crate) fn read_text(path: &Path) -> Result<String, FileProblem> {
    String::from_utf8(read(path)?).map_err(|_| FileProblem::Content {
        path: path.to_owned(),
        message: "it is not UTF-8".to_owned(),
    })
}

/// Replaces a file as a whole; whoever reads it sees the old or the new one. Durable
/// when it returns. `like` gives mode and owner, 0600 without one.
pub(crate) fn replace(path: &Path, bytes: &[u8], like: Option<&Path>) -> Result<(), FileProblem> {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{attempt}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    crash::point("before a file is written");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        if let Some(metadata) = like.and_then(|like| std::fs::metadata(like).ok()) {
            let mode = metadata.mode() & 0o7777;
            // Another owner can only be kept by root; without it the content still counts.
            let _ = std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid()));
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        crash::point("before a file is replaced");
        std::fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        remove(&fresh);
        failed(path)(error)
    })?;
    crash::point("after a file is replaced");
    sync_parent(path)
}

/// Renames, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileProblem> {
    crash::point("before a file is renamed");
    std::fs::rename(from, to).map_err(failed(to))?;
    crash::point("after a file is renamed");
    sync_parent(to)
}

fn sync_parent(path: &Path) -> Result<(), FileProblem> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(parent))
}

/// Removes a file that may be there.
pub(crate) fn remove(path: &Path) {
    crash::point("before a file is removed");
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a file could not be removed");
        }
        _ => {}
    }
}

/// Removes what processes that are gone had begun to write in `directory`, for files whose
/// names begin with `prefix`.
pub(crate) fn sweep(directory: &Path, prefix: &str) {
    for name in names(directory).unwrap_or_default() {
        let writer = name
            .strip_suffix(".new")
            .filter(|_| name.starts_with(prefix))
            .and_then(|name| name.rsplit_once('.'))
            .and_then(|(_, writer)| writer.split_once('-'))
            .and_then(|(pid, attempt)| Some((pid.parse::<u32>().ok()?, attempt)));
        let Some((pid, attempt)) = writer else {
            continue;
        };
        let is_ours = attempt.bytes().all(|byte| byte.is_ascii_digit());
        let is_gone = pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
        // Whatever is left is in nobody's way; the next start tries again.
        if is_ours && is_gone {
            let _ = std::fs::remove_file(directory.join(name));
        }
    }
}

/// Steps at which a process can die with something durable half done. Outside of tests
/// they are nothing.
#[cfg(not(test))]
pub(crate) mod crash {
    /// A step.
    pub(crate) fn point(_: &'static str) {}
}

/// Lets a test die at the nth step: the panic unwinds past everything that would tidy
/// up after an error, and what is on disk stays as a kill would leave it.
#[cfg(test)]
#[allow(clippy::panic, reason = "dying is what it is for")]
pub(crate) mod crash {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
        static PLACE: Cell<&'static str> = const { Cell::new("nowhere") };
    }

    /// A step.
    pub(crate) fn point(place: &'static str) {
        match LEFT.get() {
            None => {}
            Some(0) => {
                PLACE.set(place);
                LEFT.set(None);
                panic!("killed {place}");
            }
            Some(left) => LEFT.set(Some(left - 1)),
        }
    }

    /// Dies at the step that `more` others come before.
    pub(crate) fn at(more: usize) {
        PLACE.set("nowhere");
        LEFT.set(Some(more));
    }

    /// Lives on; gives where it died.
    pub(crate) fn never() -> &'static str {
        LEFT.set(None);
        PLACE.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("policy.toml");
        replace(&path, b"one", Some(&path)).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"two", Some(&path)).unwrap();
        assert_eq!((read(&path).unwrap(), mode()), (b"two".to_vec(), 0o644));
        assert_eq!(names(home.path()).unwrap(), ["policy.toml"]);
        // What a write that never ended left; 0 is no process.
        std::fs::write(home.path().join("policy.toml.0-3.new"), b"ha").unwrap();
        std::fs::write(home.path().join("mine.0-3.new"), b"not ours").unwrap();
        sweep(home.path(), "policy.toml.");
        assert_eq!(names(home.path()).unwrap().len(), 2);
        sweep(home.path(), "");
        assert_eq!(names(home.path()).unwrap(), ["policy.toml"]);
        let directory = home.path().join("taken");
        std::fs::create_dir_all(directory.join("inside")).unwrap();
        assert!(replace(&directory, b"x", None).is_err());
        assert_eq!(names(home.path()).unwrap().len(), 2, "nothing is left over");
    }
}
