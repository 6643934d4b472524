//! The door: log-in, log-out, who am I, and another password.

use super::accounts::{MAKING, ties, unchanged, unmade};
use crate::call::{Call, Credential, json};
use crate::problem::Problem;
use crate::secrets::{SecretError, digest_of, hash_password, is_digest, verify_password};
use crate::sessions::set_cookie;
use crate::state::Shared;
use crate::views::admin::{LogInRequest, OwnPasswordRequest, Session};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use selfheal_domain::account::AccountChange;
use selfheal_domain::event::Event;
use selfheal_domain::user::{Account, Actor, Role};
use std::sync::PoisonError;
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
    if !account.standing.is_open() {
        refused_by_record(shared, &request.username)?;
        let why = "this account is disabled; an admin can enable it again";
        return Err(Problem::unauthenticated(why));
    }
    let cookie = open_session(call, account)?;
    let view = Session::of(account, Some(shared.sessions.ttl()));
    with_cookie(json(StatusCode::OK, &view)?, &cookie)
}

/// Records that somebody could not log in.
pub(super) fn refused_by_record(shared: &Shared, name: &str) -> Result<(), Problem> {
    let name = name.chars().take(64).collect();
    let refused = Event::SessionRefused { name };
    shared.desk.record_session(Actor::Host, refused)?;
    Ok(())
}

/// What somebody comes in by.
fn keys(account: &Account) -> impl PartialEq + use<'_> {
    let secrets = [
        &account.password_hash,
        &account.token_digest,
        &account.subject,
    ];
    (account.standing, secrets)
}

/// The account as it is now, where one still comes in as `account` says.
pub(crate) fn unaltered(shared: &Shared, account: &Account) -> Result<(), Problem> {
    let accounts = shared.accounts()?;
    let now = accounts.iter().find(|now| now.name == account.name);
    if now.is_some_and(|now| keys(now) == keys(account)) {
        return Ok(());
    }
    let why = "the account was changed just now; log in again";
    Err(Problem::unauthenticated(why))
}

/// Opens a session for somebody who proved who they are; the cookie that holds it. Not
/// where what they proved it by was taken away meanwhile.
pub(super) fn open_session(call: &Call, account: &Account) -> Result<String, Problem> {
    let shared = &call.shared;
    let name = account.name.clone();
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    unaltered(shared, account)?;
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
    let accounts = call.shared.accounts()?;
    let account = accounts.iter().find(|account| account.name == caller.name);
    let account = account.ok_or_else(|| Problem::unauthenticated("log in first"))?;
    json(StatusCode::OK, &Session::of(account, None))
}

/// Another password for the caller, who knows the one so far (or, before the first one, the
/// initial token). All sessions end; the caller gets a new one.
pub(crate) fn change_password(call: &Call) -> Result<Response<Body>, Problem> {
    let request: OwnPasswordRequest = call.json()?;
    let (shared, name) = (&call.shared, &call.caller()?.name);
    let slot = Slot::take(&CHECKS, MAX_CHECKS)?;
    let attempt = shared
        .lockout
        .attempt(name.as_str(), call.source, Instant::now());
    attempt.map_err(|wait| Problem::too_many("too many wrong passwords; wait", wait))?;
    let accounts = shared.accounts()?;
    let before = accounts.iter().find(|account| account.name == *name);
    let right = proves(before, &request.old_password);
    let Some(before) = before.filter(|_| right) else {
        refused_by_record(shared, name.as_str())?;
        return Err(Problem::forbidden("the password so far is wrong"));
    };
    shared.lockout.succeeded(name.as_str(), call.source);
    let hashed = hash_password(&request.new_password);
    let password_hash = hashed.map_err(|error| match error {
        SecretError::Length => Problem::invalid_field("newPassword", error.to_string()),
        SecretError::Random(_) | SecretError::Hash(_) => unmade(error),
    })?;
    drop(slot);
    let change = AccountChange::Password { password_hash };
    let after = {
        let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        unaltered(shared, before)?;
        let changed = Account::changed(&shared.accounts()?, name, &change, ties(call));
        let after = changed.map_err(|why| unchanged(&why))?;
        let event = Event::UserChanged {
            name: name.clone(),
            change,
        };
        shared.desk.record_account(call.actor()?, event)?;
        shared.sessions.close_all(name);
        after
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    match (call.visitor()?.credential, after) {
        (Credential::Session(_), Some(after)) => {
            with_cookie(response, &open_session(call, &after)?)
        }
        _ => Ok(response),
    }
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
