//! `Idempotency-Key` on POST: the same key with the same body gets the same answer.
//!
//! Kept in memory for a day and within bounds: a restart of the host forgets keys.
//! Only success is kept: whatever was refused had no effect and may be tried again.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use selfheal_domain::digest::Digest;
use selfheal_domain::user::UserName;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TTL: Duration = Duration::from_secs(24 * 3600);
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 32 * 1024 * 1024;
const MAX_KEY_CHARS: usize = 255;
/// What a key may be, as `Answers::claim` has it.
pub(crate) const KEY: &str = "^[ -~]{1,255}$";

/// Whose key, on which route, and the key.
pub(crate) type Key = (UserName, String, String);

/// A finished answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

struct Entry {
    request: Digest,
    answer: Option<Answer>,
    at: Instant,
}

/// Answers by key.
#[derive(Default)]
pub(crate) struct Answers {
    entries: Mutex<HashMap<Key, Entry>>,
}

/// What a key means for a request.
pub(crate) enum Claim<'a> {
    /// Not seen before: do it, then keep the answer.
    First(Reservation<'a>),
    /// Done before: this is the answer.
    Again(Answer),
}

/// The right to do the request; given back when dropped without an answer.
pub(crate) struct Reservation<'a> {
    answers: &'a Answers,
    key: Option<Key>,
}

impl Answers {
    /// Claims a key for a request with this digest.
    ///
    /// # Errors
    /// 422 for a key that was used for another body; 409 while the first one is
    /// still under way; 503 when too many keys are kept.
    pub(crate) fn claim(
        &self,
        key: Key,
        request: Digest,
        now: Instant,
    ) -> Result<Claim<'_>, Problem> {
        let shape = |c: char| c.is_ascii_graphic() || c == ' ';
        if key.2.is_empty() || key.2.len() > MAX_KEY_CHARS || !key.2.chars().all(shape) {
            return Err(Problem::invalid_field(
                "Idempotency-Key",
                format!("must be 1 to {MAX_KEY_CHARS} printable ASCII characters"),
            ));
        }
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&key)
            && now.saturating_duration_since(entry.at) < TTL
        {
            return match &entry.answer {
                _ if entry.request != request => Err(Problem::invalid_field(
                    "Idempotency-Key",
                    "was used before with another body; use a new key",
                )),
                Some(answer) => Ok(Claim::Again(answer.clone())),
                None => Err(Problem::conflict(
                    "a request with this Idempotency-Key is still under way",
                )),
            };
        }
        make_room(&mut entries, now);
        if entries.len() >= MAX_ENTRIES {
            return Err(Problem::unavailable(
                "too many requests with keys are under way",
            ));
        }
        let entry = Entry {
            request,
            answer: None,
            at: now,
        };
        entries.insert(key.clone(), entry);
        Ok(Claim::First(Reservation {
            answers: self,
            key: Some(key),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(entries: &HashMap<Key, Entry>) -> usize {
    let kept = entries.values().filter_map(|entry| entry.answer.as_ref());
    kept.map(|answer| answer.body.len()).sum()
}

/// Forgets what is too old, then the older half of the finished ones if still too much.
fn make_room(entries: &mut HashMap<Key, Entry>, now: Instant) {
    if entries.len() < MAX_ENTRIES && size(entries) < MAX_BYTES {
        return;
    }
    entries.retain(|_, entry| now.saturating_duration_since(entry.at) < TTL);
    if entries.len() < MAX_ENTRIES && size(entries) < MAX_BYTES {
        return;
    }
    let finished = entries.values().filter(|entry| entry.answer.is_some());
    let mut times: Vec<Instant> = finished.map(|entry| entry.at).collect();
    times.sort_unstable();
    if let Some(median) = times.get(times.len() / 2).copied() {
        entries.retain(|_, entry| entry.answer.is_none() || entry.at > median);
    }
}

impl Reservation<'_> {
    /// Keeps the answer for the next request with the same key.
    pub(crate) fn settle(mut self, answer: &Answer) {
        if !answer.status.is_success() {
            return;
        }
        if let Some(key) = self.key.take()
            && let Some(entry) = self.answers.lock().get_mut(&key)
        {
            entry.answer = Some(answer.clone());
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.answers.lock().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        (UserName::new("ada").unwrap(), "POST /x".into(), text.into())
    }

    fn answer(status: StatusCode) -> Answer {
        Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"done"),
        }
    }

    #[test]
    fn a_key_is_worth_one_answer() {
        let answers = Answers::default();
        let now = Instant::now();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let Ok(Claim::First(first)) = answers.claim(key("k"), one, now) else {
            panic!("a new key is free");
        };
        assert!(
            answers.claim(key("k"), one, now).is_err(),
            "still under way"
        );
        first.settle(&answer(StatusCode::CREATED));
        assert!(matches!(
            answers.claim(key("k"), one, now),
            Ok(Claim::Again(_))
        ));
        assert!(answers.claim(key("k"), two, now).is_err(), "another body");
        assert!(matches!(
            answers.claim(key("k"), two, now + TTL),
            Ok(Claim::First(_))
        ));
    }

    #[test]
    fn a_refusal_settles_nothing() {
        let answers = Answers::default();
        let (now, body) = (Instant::now(), Digest::of(b"one"));
        for status in [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::UNPROCESSABLE_ENTITY,
        ] {
            let Ok(Claim::First(first)) = answers.claim(key("k"), body, now) else {
                panic!("free again");
            };
            first.settle(&answer(status));
        }
        let Ok(Claim::First(dropped)) = answers.claim(key("k"), body, now) else {
            panic!("free again");
        };
        drop(dropped);
        assert!(matches!(
            answers.claim(key("k"), body, now),
            Ok(Claim::First(_))
        ));
        assert!(answers.claim(key(""), body, now).is_err());
        assert!(answers.claim(key(&"x".repeat(256)), body, now).is_err());
    }
}
