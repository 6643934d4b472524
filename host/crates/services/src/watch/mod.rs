//! Watches the logs of a service for errors that it did not log before.
//!
//! Whatever stands in a log before the service is told to start, restart or reload
//! ([`Watch::mark`]) is the baseline; what comes after and is none of it is new. An
//! error that once failed a verification does not become baseline by the restart that
//! follows, but only when it comes up again while nobody verifies: else a bad patch
//! would vouch for its own errors the second time.

mod event;
mod file;
mod normal;
#[cfg(test)]
mod tests;

use event::Error;
use file::WatchedFile;
pub(crate) use normal::clip;
use selfheal_domain::service::LogError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most different errors of the baseline. One more is new every time.
const MOST_KNOWN: usize = 20_000;
/// Most different new errors. With so many, one more says nothing.
const MOST_FRESH: usize = 2_000;
/// Most errors that are told at once, and most bytes of each.
const MOST_TOLD: usize = 50;
const TOLD_BYTES: usize = 4 * 1024;
/// How long a trace may take to be written, and how long it is left alone to tell.
const SETTLES: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// The logs of one service.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<WatchedFile>,
    /// Where the marks are kept for the next host.
    state: PathBuf,
    baseline: BTreeSet<String>,
    /// Since the mark, by first appearance.
    fresh: Vec<LogError>,
    index: BTreeMap<String, usize>,
    /// Failed a verification.
    convicted: BTreeSet<String>,
    /// Convicted since the mark.
    told: BTreeSet<String>,
    marked: bool,
}

/// What outlives the host.
#[derive(Serialize, Deserialize, Default)]
struct Kept {
    marks: BTreeMap<PathBuf, file::Place>,
    convicted: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Watch {
    /// Watches `files`, which need not exist yet. `state` is a file of its own.
    pub(crate) fn new(files: Vec<PathBuf>, state: PathBuf) -> Self {
        // One that a crash tore says nothing: everything there is then is baseline.
        let kept: Option<Kept> = std::fs::read(&state)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let marked = kept.is_some();
        let kept = kept.unwrap_or_default();
        let mut watch = Self {
            files: Vec::new(),
            state,
            baseline: BTreeSet::new(),
            fresh: Vec::new(),
            index: BTreeMap::new(),
            convicted: kept.convicted,
            told: kept.told,
            marked,
        };
        for path in files {
            let mark = kept.marks.get(&path);
            let (file, errors) = WatchedFile::open(path, mark);
            watch
                .baseline
                .extend(errors.into_iter().map(|error| error.fingerprint));
            watch.files.push(file);
        }
        // What failed a verification of the host before is not vouched for by its log.
        let convicted = &watch.convicted;
        watch.baseline.retain(|known| !convicted.contains(known));
        watch
    }

    /// Files that are watched.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(WatchedFile::path)
    }

    /// The service was told to start before, by this host or an earlier one.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked
    }

    /// Reads on.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        let mut failed = None;
        for file in &mut self.files {
            let name = file.path().display().to_string();
            match file.read(&mut |error| found.push((name.clone(), error))) {
                Ok(()) => {}
                Err(error) => failed = Some(error),
            }
        }
        for (name, error) in found {
            self.take(name, error);
        }
        failed.map_or(Ok(()), Err)
    }

    fn take(&mut self, file: String, error: Error) {
        if self.baseline.contains(&error.fingerprint) {
            return;
        }
        if let Some(entry) = self
            .index
            .get(&error.fingerprint)
            .and_then(|place| self.fresh.get_mut(*place))
        {
            entry.count = entry.count.saturating_add(1);
        } else if self.fresh.len() < MOST_FRESH {
            self.index
                .insert(error.fingerprint.clone(), self.fresh.len());
            self.fresh.push(told(file, error));
        }
    }

    /// From here on errors are new.
    ///
    /// # Errors
    /// A log cannot be read, or the mark not be kept.
    pub(crate) fn mark(&mut self) -> io::Result<()> {
        let read = self.poll();
        let mut ends = Vec::new();
        for file in &mut self.files {
            let name = file.path().display().to_string();
            ends.extend(
                file.mark_here()
                    .into_iter()
                    .map(|error| (name.clone(), error)),
            );
        }
        for (name, error) in ends {
            self.take(name, error);
        }
        for error in self.fresh.drain(..) {
            if !self.told.contains(&error.fingerprint) {
                self.convicted.remove(&error.fingerprint);
                if self.baseline.len() < MOST_KNOWN {
                    self.baseline.insert(error.fingerprint);
                }
            }
        }
        self.index.clear();
        self.told.clear();
        self.marked = true;
        self.keep()?;
        read
    }

    /// Errors since the mark that are none of the baseline.
    ///
    /// # Errors
    /// A log cannot be read: nobody can tell.
    pub(crate) fn fresh(&mut self) -> io::Result<Vec<LogError>> {
        self.poll()?;
        // A trace that ends the log is complete once nothing is added to it.
        let mut pending = self.pending();
        let begun = Instant::now();
        while !pending.is_empty() && begun.elapsed() < SETTLES {
            std::thread::sleep(PAUSE);
            self.poll()?;
            let now = self.pending();
            if now == pending {
                break;
            }
            pending = now;
        }
        let mut found: Vec<LogError> = self.fresh.clone();
        for (file, error) in pending {
            match found
                .iter_mut()
                .find(|known| known.fingerprint == error.fingerprint)
            {
                Some(known) => known.count = known.count.saturating_add(1),
                None => found.push(told(file, error)),
            }
        }
        found.retain(|error| !self.baseline.contains(&error.fingerprint));
        found.truncate(MOST_TOLD);
        let new = found;
        let before = self.told.len();
        for error in &new {
            self.told.insert(error.fingerprint.clone());
            self.convicted.insert(error.fingerprint.clone());
        }
        if self.told.len() > before {
            self.keep()?;
        }
        Ok(new)
    }

    fn pending(&self) -> Vec<(String, Error)> {
        let files = self.files.iter();
        files
            .flat_map(|file| {
                let name = file.path().display().to_string();
                let errors = file.pending().into_iter();
                errors.map(move |error| (name.clone(), error))
            })
            .collect()
    }

    fn keep(&self) -> io::Result<()> {
        let marks = self.files.iter();
        let kept = Kept {
            marks: marks
                .filter_map(|file| Some((file.path().to_owned(), file.mark()?)))
                .collect(),
            convicted: self.convicted.clone(),
            told: self.told.clone(),
        };
        let draft = self.state.with_extension("new");
        std::fs::write(&draft, serde_json::to_vec(&kept)?)?;
        std::fs::rename(draft, &self.state)
    }
}

fn told(file: String, error: Error) -> LogError {
    LogError {
        fingerprint: error.fingerprint,
        file,
        line: error.line,
        text: clip(&error.text, TOLD_BYTES).to_owned(),
        count: 1,
    }
}
