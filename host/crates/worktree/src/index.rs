//! The user's index: locked as git locks it, changed entry by entry, and swapped
//! in whole. Everything else the user staged stays as it is.

use crate::fail::{broken, failed};
use git2::{Index, IndexEntry, IndexTime, Oid};
use selfheal_domain::ports::RepositoryError;
use serde::{Deserialize, Serialize};
use std::fs::{File, FileTimes, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for another git process to finish with the index.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// What an entry says, without what the file system said when it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EntryState {
    pub(crate) id: String,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) flags_extended: u16,
}

/// Bits of `flags_extended` that live in memory only.
const STORED_EXTENDED: u16 = 0x6000;
const INTENT_TO_ADD: u16 = 1 << 13;
const SKIP_WORKTREE: u16 = 1 << 14;

impl EntryState {
    pub(crate) fn of(entry: &IndexEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            mode: entry.mode,
            flags: entry.flags & 0xf000,
            flags_extended: entry.flags_extended & STORED_EXTENDED,
        }
    }

    /// A plain entry with this blob.
    pub(crate) fn plain(id: Oid, mode: u32) -> Self {
        Self {
            id: id.to_string(),
            mode,
            flags: 0,
            flags_extended: 0,
        }
    }

    pub(crate) fn is_intent_to_add(&self) -> bool {
        self.flags_extended & INTENT_TO_ADD != 0
    }

    pub(crate) fn is_outside_the_tree(&self) -> bool {
        self.flags_extended & SKIP_WORKTREE != 0
    }

    /// A sparse checkout leaves the file out of the live tree.
    pub(crate) fn is_left_out(entry: &IndexEntry) -> bool {
        entry.flags_extended & SKIP_WORKTREE != 0
    }

    pub(crate) fn oid(&self) -> Result<Oid, RepositoryError> {
        Oid::from_str(&self.id).map_err(failed("reading an index entry"))
    }

    fn entry(&self, path: &str) -> Result<IndexEntry, RepositoryError> {
        Ok(IndexEntry {
            ctime: IndexTime::new(0, 0),
            mtime: IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: self.mode,
            uid: 0,
            gid: 0,
            // Size 0 makes git look at the content rather than trust these figures.
            file_size: 0,
            id: self.oid()?,
            flags: self.flags,
            flags_extended: self.flags_extended,
            path: path.as_bytes().to_vec(),
        })
    }
}

/// The entry of `path`, unless it is in conflict.
pub(crate) fn entry_in(index: &Index, path: &str) -> Result<Option<EntryState>, RepositoryError> {
    let at = Path::new(path);
    if (1..=3).any(|stage| index.get_path(at, stage).is_some()) {
        return Err(RepositoryError::Conflict(format!(
            "{path} has an unresolved merge conflict"
        )));
    }
    let state = index.get_path(at, 0).map(|entry| EntryState::of(&entry));
    if state.as_ref().is_some_and(EntryState::is_outside_the_tree) {
        return Err(RepositoryError::Unsupported(format!(
            "{path} is left out of this checkout (sparse, or marked skip-worktree); check it out first"
        )));
    }
    Ok(state)
}

/// An entry of this path would push no other out: none is above it, none below.
pub(crate) fn check_room(index: &Index, path: &str) -> Result<(), RepositoryError> {
    let above = path.match_indices('/').find_map(|(at, _)| {
        let above = path.get(..at).unwrap_or_default();
        index.get_path(Path::new(above), 0).map(|_| above)
    });
    if above.is_some() || index.find_prefix(format!("{path}/")).is_ok() {
        return Err(RepositoryError::Conflict(format!(
            "something else than a directory is staged where {path} would be"
        )));
    }
    Ok(())
}

/// A copy of the user's index to look into and to change; gone when it is dropped.
pub(crate) struct WorkingIndex {
    index: Index,
    copy: PathBuf,
    /// There is an index at all.
    exists: bool,
}

impl std::ops::Deref for WorkingIndex {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl Drop for WorkingIndex {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.copy);
    }
}

/// git's own lock on the index, held by us. It says whose it is, so that the next
/// start can tell a lock that a crash left from somebody else's.
#[derive(Debug)]
pub(crate) struct IndexLock {
    git_dir: PathBuf,
}

impl IndexLock {
    /// Waits a little for others; takes over what a crash of the same `owner` left.
    pub(crate) fn acquire(git_dir: &Path, owner: &str) -> Result<Self, RepositoryError> {
        let path = git_dir.join("index.lock");
        let marker = format!("selfheal {owner}\n");
        let mut waited = Duration::ZERO;
        loop {
            match take(git_dir, &path, owner, &marker) {
                Ok(()) => {
                    return Ok(Self {
                        git_dir: git_dir.to_owned(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("locking the index")(error)),
            }
            let held = holder(&path);
            if held.as_deref() == Some(marker.as_bytes()) {
                return Ok(Self {
                    git_dir: git_dir.to_owned(),
                });
            }
            if held.is_some_and(|held| is_of_a_dead_command(&held)) {
                let _ = std::fs::remove_file(&path);
                continue;
            }
            if waited >= PATIENCE {
                return Err(RepositoryError::Conflict(format!(
                    "another git process holds {}; if none is running, remove that file",
                    path.display()
                )));
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
    }

    /// A copy of the index as it is now, in the directory `scratch`.
    pub(crate) fn read(&self, scratch: &Path) -> Result<WorkingIndex, RepositoryError> {
        let doing = "reading the index";
        std::fs::create_dir_all(scratch).map_err(failed(doing))?;
        let copy = scratch.join("index-edit");
        let exists = match std::fs::copy(self.git_dir.join("index"), &copy) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // What a crash left there is of an earlier index.
                let _ = std::fs::remove_file(&copy);
                false
            }
            Err(error) => return Err(failed(doing)(error)),
        };
        let index = Index::open(&copy).map_err(failed(doing))?;
        Ok(WorkingIndex {
            index,
            copy,
            exists,
        })
    }

    /// The bytes of the index with `edits` made; none where nothing changes.
    pub(crate) fn edited(
        &self,
        mut working: WorkingIndex,
        edits: &[(String, Option<EntryState>)],
    ) -> Result<Option<Vec<u8>>, RepositoryError> {
        let doing = "preparing the index";
        if edits.is_empty() || !working.exists {
            return Ok(None);
        }
        let index = &mut working.index;
        for (path, state) in edits {
            match state {
                Some(state) => index.add(&state.entry(path)?).map_err(failed(doing))?,
                None if index.get_path(Path::new(path), 0).is_some() => {
                    index.remove(Path::new(path), 0).map_err(failed(doing))?;
                }
                None => {}
            }
        }
        index.write().map_err(failed(doing))?;
        std::fs::read(&working.copy)
            .map(Some)
            .map_err(failed(doing))
    }

    /// Makes `bytes` the index, atomically and durably.
    pub(crate) fn install(&self, bytes: &[u8]) -> Result<(), RepositoryError> {
        let doing = "updating the index";
        let current = self.git_dir.join("index");
        let fresh = self.git_dir.join("index.selfheal");
        let meta = std::fs::metadata(&current).map_err(failed(doing))?;
        let mut file = File::create(&fresh).map_err(failed(doing))?;
        file.write_all(bytes).map_err(failed(doing))?;
        file.set_permissions(meta.permissions())
            .map_err(failed(doing))?;
        // Entries as new as the index are not trusted by git; with a newer date they
        // would be, although nobody looked at their files.
        let modified = meta.modified().map_err(failed(doing))?;
        file.set_times(FileTimes::new().set_modified(modified))
            .map_err(failed(doing))?;
        file.sync_all().map_err(failed(doing))?;
        std::fs::rename(&fresh, &current).map_err(failed(doing))?;
        File::open(&self.git_dir)
            .and_then(|directory| directory.sync_all())
            .map_err(failed(doing))
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        // A panic is a crash: what it left is judged by the recovery, not by unwinding.
        if std::thread::panicking() {
            return;
        }
        let _ = std::fs::remove_file(self.git_dir.join("index.selfheal"));
        let _ = std::fs::remove_file(self.git_dir.join("index.lock"));
        // A lock that came back with the power would be in everybody's way.
        let _ = File::open(&self.git_dir).and_then(|directory| directory.sync_all());
    }
}

/// Makes the lock with its owner's name in it at once: one that a power cut left empty
/// would be nobody's, and stay for ever.
fn take(git_dir: &Path, path: &Path, owner: &str, marker: &str) -> std::io::Result<()> {
    let beside = git_dir.join(format!("index.selfheal-{owner}"));
    let mut file = File::create(&beside)?;
    let taken = file
        .write_all(marker.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match std::fs::hard_link(&beside, path) {
            // A file system without links: in two steps, then.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unsupported | ErrorKind::PermissionDenied
                ) =>
            {
                let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
                file.write_all(marker.as_bytes())
                    .and_then(|()| file.sync_all())
            }
            other => other,
        });
    let _ = std::fs::remove_file(&beside);
    taken
}

/// Who holds the lock of a `selfheal heal`, which has no next start to clean up.
pub(crate) const COMMAND: &str = "heal-";

fn is_of_a_dead_command(held: &[u8]) -> bool {
    std::str::from_utf8(held)
        .ok()
        .and_then(|held| held.trim().strip_prefix("selfheal "))
        .and_then(|owner| owner.strip_prefix(COMMAND))
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn holder(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)
        .ok()?
        .take(200)
        .read_to_end(&mut content)
        .ok()?;
    Some(content)
}

/// Checksum (or whatever stands in its place) and length of an index file: changes
/// whenever its content does.
pub(crate) fn fingerprint(path: &Path) -> Result<String, RepositoryError> {
    use std::io::{Seek, SeekFrom};
    let doing = "reading the index";
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok("none".to_owned()),
        Err(error) => return Err(failed(doing)(error)),
    };
    let length = file.metadata().map_err(failed(doing))?.len();
    if length < 32 {
        return Err(broken(doing, "it is too short"));
    }
    file.seek(SeekFrom::End(-20)).map_err(failed(doing))?;
    let mut sum = [0; 20];
    file.read_exact(&mut sum).map_err(failed(doing))?;
    if sum == [0; 20] {
        // index.skipHash: no checksum to go by.
        return Ok(String::new());
    }
    Ok(format!("{length} {}", hex::encode(sum)))
}
