//! Cookie sessions: a random id in the browser, everything else here.
//!
//! Kept in memory: a restart of the host logs everybody out. Ids are kept as
//! digests, so that a memory dump holds nothing to log in with.

use crate::secrets::{SecretError, digest_of, random_hex};
use axum::http::{HeaderMap, header};
use selfheal_domain::user::UserName;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Name of the cookie.
pub(crate) const COOKIE: &str = "selfheal_session";
/// Sessions kept per user; the oldest goes first.
const MAX_PER_USER: usize = 20;

struct Session {
    name: UserName,
    until: Instant,
}

/// Identity of a session: the digest of what the browser holds.
pub(crate) type SessionKey = [u8; 32];

/// All sessions.
pub(crate) struct Sessions {
    ttl: Duration,
    open: Mutex<HashMap<SessionKey, Session>>,
}

impl Sessions {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            open: Mutex::default(),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Opens a session and returns its id for the cookie.
    pub(crate) fn open(&self, name: UserName, now: Instant) -> Result<String, SecretError> {
        let id = random_hex()?;
        let mut open = self.lock();
        open.retain(|_, session| session.until > now);
        let mut own: Vec<_> = open
            .iter()
            .filter(|(_, session)| session.name == name)
            .map(|(key, session)| (session.until, *key))
            .collect();
        own.sort_unstable();
        for (_, key) in own.iter().rev().skip(MAX_PER_USER - 1) {
            open.remove(key);
        }
        let until = now + self.ttl;
        open.insert(digest_of(&id), Session { name, until });
        Ok(id)
    }

    /// Whose session this is, if it is still open.
    pub(crate) fn owner(&self, key: &SessionKey, now: Instant) -> Option<UserName> {
        let open = self.lock();
        let session = open.get(key).filter(|session| session.until > now)?;
        Some(session.name.clone())
    }

    /// Closes a session.
    pub(crate) fn close(&self, key: &SessionKey) -> Option<UserName> {
        self.lock().remove(key).map(|session| session.name)
    }

    /// Closes all sessions of a user.
    pub(crate) fn close_all(&self, name: &UserName) {
        self.lock().retain(|_, session| session.name != *name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session that a request's cookie names.
pub(crate) fn cookie_of(headers: &HeaderMap) -> Option<SessionKey> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, id)| digest_of(id))
}

/// Whether a session cookie lives on encrypted connections only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecureCookies {
    /// `Secure`: the host is reached over TLS.
    Yes,
    /// For plain HTTP on a loopback or trusted address.
    No,
}

/// The `Set-Cookie` value that opens (or, with an empty id, closes) a session.
pub(crate) fn set_cookie(id: &str, ttl: Duration, secure: SecureCookies) -> String {
    let secure = match secure {
        SecureCookies::Yes => "; Secure",
        SecureCookies::No => "",
    };
    let age = if id.is_empty() { 0 } else { ttl.as_secs() };
    format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    #[test]
    fn a_session_ends_by_time_and_by_word() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let now = Instant::now();
        let key = digest_of(&sessions.open(name("ada"), now).unwrap());
        assert_eq!(sessions.owner(&key, now), Some(name("ada")));
        assert_eq!(sessions.owner(&key, now + Duration::from_secs(60)), None);
        assert_eq!(sessions.close(&key), Some(name("ada")));
        assert_eq!(sessions.owner(&key, now), None);
    }

    #[test]
    fn sessions_of_one_user_are_bounded() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let start = Instant::now();
        let first = digest_of(&sessions.open(name("ada"), start).unwrap());
        let other = digest_of(&sessions.open(name("bob"), start).unwrap());
        for n in 1..=MAX_PER_USER {
            let at = start + Duration::from_millis(u64::try_from(n).unwrap());
            sessions.open(name("ada"), at).unwrap();
        }
        assert_eq!(sessions.owner(&first, start), None);
        assert_eq!(sessions.owner(&other, start), Some(name("bob")));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            format!("a=b; {COOKIE}=xyz; c=d").parse().unwrap(),
        );
        assert_eq!(cookie_of(&headers), Some(digest_of("xyz")));
        assert_eq!(cookie_of(&HeaderMap::new()), None);
        let value = set_cookie("id", Duration::from_secs(5), SecureCookies::Yes);
        assert_eq!(
            value,
            "selfheal_session=id; HttpOnly; SameSite=Strict; Path=/; Max-Age=5; Secure"
        );
    }
}
