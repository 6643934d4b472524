//! What was said, for people: in full where a store keeps it, and shortly as the
//! diagnostic log of the issue.

use crate::text::clip;
use selfheal_domain::tools::Tools;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Longest short log, in bytes; a diagnosis has room for 64 KiB.
const LOG: usize = 56 * 1024;
/// Longest line of it, in bytes.
const LINE: usize = 600;

/// Where full transcripts are kept. An implementation masks secrets in every text
/// before it writes.
pub trait TranscriptStore: Send + Sync {
    /// Opens the transcript of this name (letters, digits, `-`) to append to it.
    ///
    /// # Errors
    /// It cannot be written; the work does not begin then.
    fn open(&self, name: &str) -> io::Result<Box<dyn Transcript>>;
}

/// One transcript, append-only.
pub trait Transcript: Send {
    /// Adds an entry.
    ///
    /// # Errors
    /// It could not be written.
    fn append(&mut self, entry: &Value) -> io::Result<()>;

    /// Ends it; says where it is kept, with its digest.
    ///
    /// # Errors
    /// It could not be written or read back.
    fn finish(&mut self) -> io::Result<String>;
}

/// The account of one piece of work.
pub(crate) struct Journal<'a> {
    started: Instant,
    tools: &'a dyn Tools,
    kept: Mutex<Kept>,
}

struct Kept {
    log: String,
    full: bool,
    transcript: Option<Box<dyn Transcript>>,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(tools: &'a dyn Tools, transcript: Option<Box<dyn Transcript>>) -> Self {
        Self {
            started: Instant::now(),
            tools,
            kept: Mutex::new(Kept {
                log: String::new(),
                full: false,
                transcript,
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line in the log, shown to people who watch.
    pub(crate) fn note(&self, text: &str) {
        self.tools.progress(&clip(text, LINE));
        self.line(text);
    }

    /// One line in the log.
    pub(crate) fn line(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut kept = self.kept();
        if kept.full {
            return;
        }
        let text = clip(text.trim(), LINE).replace('\n', " | ");
        // Writing to a string cannot fail.
        let _ = writeln!(kept.log, "[{seconds:6.2}s] {text}");
        if kept.log.len() > LOG {
            kept.full = true;
            kept.log.push_str("[the rest is in the transcript]\n");
        }
    }

    /// One entry of the transcript.
    pub(crate) fn entry(&self, who: &str, kind: &str, content: Value) {
        let seconds = self.started.elapsed().as_secs_f64();
        let entry = json!({ "seconds": seconds, "who": who, "kind": kind, "content": content });
        let mut kept = self.kept();
        let failed = match kept.transcript.as_mut() {
            Some(transcript) => transcript.append(&entry).err(),
            None => None,
        };
        if let Some(error) = failed {
            kept.transcript = None;
            drop(kept);
            self.line(&format!(
                "the transcript ends here, writing failed: {error}"
            ));
        }
    }

    /// The short log, with where the full one is.
    pub(crate) fn finish(&self) -> String {
        let mut kept = self.kept();
        let place = kept
            .transcript
            .as_mut()
            .map(|transcript| transcript.finish());
        let mut log = std::mem::take(&mut kept.log);
        match place {
            Some(Ok(place)) => log.push_str(&format!("full transcript: {place}\n")),
            Some(Err(error)) => log.push_str(&format!("the transcript cannot be read: {error}\n")),
            None => {}
        }
        log
    }
}
