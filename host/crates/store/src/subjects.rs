//! Keys of people, and their erasure.
//!
//! `subjects/PSEUDONYM.key`, readable by the owner of the data directory only, holds
//! the name and the key of one person. Erasing somebody is: the intent is written to
//! the file `erasing`, the key is destroyed, the projection, which has the plain texts,
//! is thrown away and built again without them, the erasure is recorded. The next start
//! goes on from wherever a crash left it.

use crate::journal::sync_directory;
use crate::reader::{JournalReader, VerifyError};
use crate::signing::write_durably;
use selfheal_audit::personal::{SealError, SubjectKey, Subjects};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Directory of the keys in the data directory.
const DIRECTORY: &str = "subjects";
/// Says whose erasure is under way.
const ERASING: &str = "erasing";

/// The keys in one data directory.
pub(crate) struct SubjectKeys {
    directory: PathBuf,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    by_name: HashMap<String, Arc<SubjectKey>>,
    by_id: HashMap<String, Arc<SubjectKey>>,
}

impl Keys {
    fn insert(&mut self, name: &str, key: SubjectKey) -> Arc<SubjectKey> {
        let key = Arc::new(key);
        self.by_name.insert(name.to_owned(), Arc::clone(&key));
        self.by_id.insert(key.id().to_owned(), Arc::clone(&key));
        key
    }
}

/// Ignores that there is nothing to remove.
fn if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SealError::Random(error.to_string()))?;
    Ok(bytes)
}

fn parse(id: &str, text: &str) -> Option<(String, SubjectKey)> {
    let (name, secret) = text.trim_end().split_once('\n')?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(secret, &mut bytes).ok()?;
    Some((name.to_owned(), SubjectKey::new(id, &bytes)?))
}

impl SubjectKeys {
    /// Reads all keys in the data directory `data`.
    pub(crate) fn load(data: &Path) -> io::Result<Self> {
        let directory = data.join(DIRECTORY);
        let mut keys = Keys::default();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let file = entry.file_name();
            let Some(id) = file.to_str().and_then(|name| name.strip_suffix(".key")) else {
                continue;
            };
            let text = std::fs::read_to_string(entry.path())?;
            let (name, key) = parse(id, &text).ok_or_else(|| {
                let path = entry.path().display().to_string();
                io::Error::other(format!("{path} is no key; restore it from a backup"))
            })?;
            keys.insert(&name, key);
        }
        Ok(Self {
            directory,
            keys: Mutex::new(keys),
        })
    }

    /// The keys as far as this process may read them: without them personal data reads
    /// as erased.
    pub(crate) fn readable(data: &Path) -> Self {
        Self::load(data).unwrap_or_else(|error| {
            tracing::warn!(%error, "the keys of personal data cannot be read; it shows as erased");
            Self {
                directory: data.join(DIRECTORY),
                keys: Mutex::default(),
            }
        })
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, name: &str) -> Result<SubjectKey, SealError> {
        let (id, secret) = (hex::encode(random::<8>()?), random::<32>()?);
        let key = SubjectKey::new(&id, &secret).ok_or(SealError::Cipher)?;
        let text = format!("{name}\n{}\n", hex::encode(secret));
        // On disk before anything is encrypted with it.
        let kept = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .and_then(|()| {
                let path = self.directory.join(format!("{id}.key"));
                write_durably(&path, text.as_bytes(), 0o600)?;
                sync_directory(&self.directory)?;
                self.directory.parent().map_or(Ok(()), sync_directory)
            });
        kept.map_err(SealError::Key)?;
        Ok(key)
    }
}

impl Subjects for SubjectKeys {
    fn of_name(&self, name: &str, make: bool) -> Result<Option<Arc<SubjectKey>>, SealError> {
        let mut keys = self.keys();
        if let Some(key) = keys.by_name.get(name) {
            return Ok(Some(Arc::clone(key)));
        }
        if !make {
            return Ok(None);
        }
        let key = self.make(name)?;
        Ok(Some(keys.insert(name, key)))
    }

    fn of_id(&self, id: &str) -> Option<Arc<SubjectKey>> {
        self.keys().by_id.get(id).cloned()
    }

    fn nonce(&self) -> Result<[u8; 12], SealError> {
        random()
    }
}

/// Writes down that the person with this pseudonym is to be erased: from here on it
/// happens, at the latest at the next start.
pub(crate) fn intend(data: &Path, id: &str) -> io::Result<()> {
    write_durably(&data.join(ERASING), id.as_bytes(), 0o600)?;
    sync_directory(data)
}

/// Whose erasure is under way.
pub(crate) fn intended(data: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(data.join(ERASING)) {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Destroys the key, and every plain text that was derived with it.
pub(crate) fn destroy(data: &Path, id: &str) -> io::Result<()> {
    let directory = data.join(DIRECTORY);
    let key = directory.join(format!("{id}.key"));
    if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&key) {
        // For file systems that write in place; on others removing it must do.
        let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; length], 0)?;
        file.sync_all()?;
    }
    if_there(std::fs::remove_file(&key))?;
    if directory.is_dir() {
        sync_directory(&directory)?;
    }
    for projection in ["projection", "projection.set-aside"] {
        if_there(std::fs::remove_dir_all(data.join(projection)))?;
    }
    sync_directory(data)
}

/// Whether the journal has the record of this erasure.
pub(crate) fn is_recorded(data: &Path, id: &str) -> Result<bool, VerifyError> {
    for stored in JournalReader::open(data)? {
        let event = stored?.entry.event;
        let wanted = format!("{{\"subject\":\"{id}\"}}");
        if event.name == "user.erased" && event.payload == wanted.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The erasure is complete.
pub(crate) fn finished(data: &Path) -> io::Result<()> {
    if_there(std::fs::remove_file(data.join(ERASING)))?;
    sync_directory(data)
}
