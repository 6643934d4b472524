//! The door: log-in, log-out, who am I.

use crate::call::{Call, Credential, json};
use crate::problem::Problem;
use crate::secrets::{digest_of, is_digest, verify_password};
use crate::sessions::set_cookie;
use crate::state::Shared;
use crate::views::admin::{LogInRequest, Session};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use selfheal_domain::event::Event;
use selfheal_domain::user::{Account, Actor, Role};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Passwords checked at the same time: each check takes 19 MiB and a core.
const MAX_CHECKS: usize = 4;
static CHECKS: AtomicUsize = AtomicUsize::new(0);

/// A place among those who log in at the same time.
pub(super) struct Slot(&'static AtomicUsize);

impl Slot {
    pub(super) fn take(taken: &'static AtomicUsize, most: usize) -> Result<Self, Problem> {
        if taken.fetch_add(1, Ordering::SeqCst) >= most {
            taken.fetch_sub(1, Ordering::SeqCst);
            let detail = "many people log in right now; try again";
            return Err(Problem::too_many(detail, Duration::from_secs(1)));
        }
        Ok(Self(taken))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn log_in(call: &Call) -> Result<Response<Body>, Problem> {
    let request: LogInRequest = call.json()?;
    let shared = &call.shared;
    let slot = Slot::take(&CHECKS, MAX_CHECKS)?;
    let attempt = shared
        .lockout
        .attempt(&request.username, call.source, Instant::now());
    attempt.map_err(|wait| Problem::too_many("too many failed log-ins; wait", wait))?;
    let accounts = shared.accounts()?;
    let account = accounts
        .iter()
        .find(|account| account.name.as_str() == request.username)
        // A hook's token is good for its questions and opens no session.
        .filter(|account| account.role != Role::Hook);
    let right = proves(account, &request.password);
    drop(slot);
    let Some(account) = account.filter(|_| right) else {
        refused_by_record(shared, &request.username)?;
        return Err(Problem::unauthenticated("user name or password is wrong"));
    };
    shared.lockout.succeeded(&request.username, call.source);
    let cookie = open_session(call, account)?;
    let view = Session {
        username: account.name.to_string(),
        role: account.role,
        expires_in: Some(shared.sessions.ttl().as_secs()),
    };
    with_cookie(json(StatusCode::OK, &view)?, &cookie)
}

/// Records that somebody could not log in.
pub(super) fn refused_by_record(shared: &Shared, name: &str) -> Result<(), Problem> {
    let name = name.chars().take(64).collect();
    let refused = Event::SessionRefused { name };
    shared.desk.record_session(Actor::Host, refused)?;
    Ok(())
}

/// Opens a session for somebody who proved who they are; the cookie that holds it.
pub(super) fn open_session(call: &Call, account: &Account) -> Result<String, Problem> {
    let shared = &call.shared;
    let name = account.name.clone();
    // Recorded first: without the record there is no session.
    let actor = Actor::User(name.clone());
    shared
        .desk
        .record_session(actor, Event::SessionOpened { name: name.clone() })?;
    let id = shared
        .sessions
        .open(name, Instant::now())
        .map_err(|error| {
            tracing::error!(%error, "no session could be made");
            Problem::internal()
        })?;
    let ttl = shared.sessions.ttl();
    Ok(set_cookie(&id, ttl, shared.options.secure_cookies))
}

/// By password, or by the initial token in its place: one with scopes of its own opens
/// no session, which has none. The same work is done whoever exists.
fn proves(account: Option<&Account>, password: &str) -> bool {
    let token = account.and_then(|account| account.token_digest.as_deref());
    let by_token = token.is_some_and(|kept| is_digest(&digest_of(password), kept));
    let hash = account.and_then(|account| account.password_hash.as_deref());
    let by_password = verify_password(password, hash);
    by_token || by_password
}

pub(super) fn with_cookie(
    mut response: Response<Body>,
    cookie: &str,
) -> Result<Response<Body>, Problem> {
    let value = HeaderValue::try_from(cookie).map_err(|_| Problem::internal())?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(response)
}

pub(crate) fn who_am_i(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    let view = Session {
        username: caller.name.to_string(),
        role: caller.role,
        expires_in: None,
    };
    json(StatusCode::OK, &view)
}

pub(crate) fn log_out(call: &Call) -> Result<Response<Body>, Problem> {
    let shared = &call.shared;
    let credential = call.visitor.as_ref().map(|visitor| visitor.credential);
    if let Some(Credential::Session(key)) = credential
        && let Some(name) = shared.sessions.close(&key)
    {
        let actor = Actor::User(name.clone());
        shared
            .desk
            .record_session(actor, Event::SessionClosed { name })?;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    with_cookie(
        response,
        &set_cookie("", shared.sessions.ttl(), shared.options.secure_cookies),
    )
}
