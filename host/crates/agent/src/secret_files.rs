//! Which files of the live tree hold secrets: found anew before each call, at the price
//! of what changed since the last one.
//!
//! The names of a directory are read again when the directory's stamp is another, the
//! text of a file when the file's is. A stamp that was young when it was taken proves
//! nothing: within one tick of its clock a file system may change a file twice.

use crate::observed::{Stamp, stamp};
use crate::view::{Kind, View};
use crate::walk::{MAX_DEPTH, MAX_ENTRIES, entries, is_dependency};
use crate::workbench::Bench;
use chrono::{DateTime, TimeDelta, Utc};
use selfheal_domain::tools::ToolError;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How old a stamp has to be until no later change can have the same one; the coarsest
/// clocks of file systems tick every two seconds.
const SETTLED: TimeDelta = TimeDelta::seconds(2);

/// What is known of the live tree. Shared by all sessions.
#[derive(Debug, Default)]
pub(crate) struct SecretFiles(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    directories: HashMap<String, Directory>,
    /// Whether a file's text tells a secret.
    texts: HashMap<String, Known<bool>>,
}

/// Something found out, and the stamp of what it was found in.
#[derive(Debug)]
struct Known<T> {
    stamp: Stamp,
    settled: bool,
    found: T,
}

/// One directory's entries, by paths below the root.
type Directory = Arc<Known<Listing>>;

#[derive(Debug, Default)]
struct Listing {
    below: Vec<String>,
    files: Vec<String>,
    /// All entries, for the bound.
    count: usize,
}

impl<T> Known<T> {
    fn new(stamp: Stamp, looked: DateTime<Utc>, find: impl FnOnce() -> T) -> Self {
        Self {
            stamp,
            settled: stamp.is_older_than(looked, SETTLED),
            found: find(),
        }
    }

    fn holds_for(&self, stamp: Stamp) -> bool {
        self.settled && self.stamp == stamp
    }
}

impl Bench {
    /// Files of the live tree that read as empty in every command, links followed.
    ///
    /// # Errors
    /// There are more files than anyone can look through.
    pub(crate) fn secret_files(&self) -> Result<BTreeSet<PathBuf>, ToolError> {
        let root = &self.config.repository_root;
        let live = View::new(root.clone(), Vec::new());
        let mut seen = self
            .secret_files
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *seen);
        let mut found = BTreeSet::new();
        let mut open = vec![(String::new(), 0)];
        let mut count = 0;
        while let Some((path, depth)) = open.pop() {
            let looked = self.clock.now();
            let directory = list(&live, &path, looked, before.directories.remove(&path));
            count += directory.found.count;
            if count > MAX_ENTRIES {
                return Err(ToolError::Unavailable(
                    "the repository has too many files to find the secret ones".to_owned(),
                ));
            }
            if depth < MAX_DEPTH {
                let below = directory.found.below.iter().cloned();
                open.extend(below.map(|path| (path, depth + 1)));
            }
            for file in &directory.found.files {
                let secret = self.is_secret(file)
                    || (self.may_tell_secret(file)
                        && self.tells(&live, file, &mut before, &mut seen));
                if secret {
                    let place = root.join(file);
                    // What a name leads to is as secret as the name says.
                    found.insert(place.canonicalize().unwrap_or(place));
                }
            }
            seen.directories.insert(path, directory);
        }
        Ok(found)
    }

    fn tells(&self, live: &View, file: &str, before: &mut Seen, seen: &mut Seen) -> bool {
        let looked = self.clock.now();
        let now = stamp(&self.config.repository_root.join(file));
        let known = before
            .texts
            .remove(file)
            .filter(|known| known.holds_for(now))
            .unwrap_or_else(|| Known::new(now, looked, || self.tells_secret(live, file)));
        let tells = known.found;
        seen.texts.insert(file.to_owned(), known);
        tells
    }
}

/// The entries of a directory. `looked` is a time before this one.
fn list(live: &View, path: &str, looked: DateTime<Utc>, known: Option<Directory>) -> Directory {
    let now = stamp(&live.root().join(path));
    known
        .filter(|known| known.holds_for(now))
        .unwrap_or_else(|| Arc::new(Known::new(now, looked, || read(live, path))))
}

fn read(live: &View, path: &str) -> Listing {
    let mut listing = Listing::default();
    for (name, kind) in entries(live, path) {
        listing.count += 1;
        let at = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        match kind {
            _ if crate::config::is_git(&at) => {}
            Kind::Directory if is_dependency(&at) => {}
            Kind::Directory => listing.below.push(at),
            Kind::File | Kind::Link(_) => listing.files.push(at),
            Kind::Special => {}
        }
    }
    listing
}
