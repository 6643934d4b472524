//! Accounts: listing and making them, from the network or the local socket.

use crate::call::{Call, json};
use crate::problem::Problem;
use crate::secrets::{SecretError, hash_password, new_token};
use crate::views::admin::{CloseRequest, NewUser, User, UserPage, UserRequest};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::event::Event;
use selfheal_domain::user::{Account, NotClosed, UserName};
use std::sync::{Mutex, PoisonError};

/// Makes looking at accounts and saving one of them one step.
pub(crate) static MAKING: Mutex<()> = Mutex::new(());

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let accounts = call.shared.accounts()?;
    let mut items: Vec<User> = accounts.iter().map(User::from).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    let (items, next_cursor) = call.page(items, |user| &user.name)?;
    json(StatusCode::OK, &UserPage { items, next_cursor })
}

pub(super) fn unmade(error: SecretError) -> Problem {
    match error {
        SecretError::Length => Problem::invalid_field("password", error.to_string()),
        SecretError::Random(_) | SecretError::Hash(_) => {
            tracing::error!(
                error = crate::problem::chain(&error),
                "no account could be made"
            );
            Problem::internal()
        }
    }
}

pub(crate) fn add(call: &Call) -> Result<Response<Body>, Problem> {
    let request: UserRequest = call.json()?;
    let name = UserName::new(request.name)
        .map_err(|error| Problem::invalid_field("name", error.to_string()))?;
    let password_hash = request
        .password
        .as_deref()
        .map(hash_password)
        .transpose()
        .map_err(unmade)?;
    let made = new_token().map_err(unmade)?;
    let account = Account {
        name: name.clone(),
        role: request.role,
        token_digest: Some(made.digest),
        password_hash,
        tokens: Vec::new(),
        subject: None,
        standing: selfheal_domain::account::Standing::Open,
    };
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if call
        .shared
        .accounts()?
        .iter()
        .any(|account| account.name == name)
    {
        return Err(Problem::conflict(format!("there is a user {name} already")));
    }
    let saved = Event::UserSaved(account);
    call.shared.desk.record_account(call.actor()?, saved)?;
    let view = NewUser {
        name: name.to_string(),
        role: request.role,
        token: made.token,
    };
    json(StatusCode::CREATED, &view)
}

/// The user that the call's path names; what is no name is nobody's.
pub(super) fn named(call: &Call) -> Result<UserName, Problem> {
    let name = UserName::new(call.param("name")?);
    name.map_err(|error| Problem::not_found(format!("there is no such account: {error}")))
}

pub(crate) fn close(call: &Call) -> Result<Response<Body>, Problem> {
    let request: CloseRequest = call.json()?;
    let name = named(call)?;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let closed =
        Account::closed(&call.shared.accounts()?, &name, request.role).map_err(
            |why| match why {
                NotClosed::Unknown(_) => Problem::not_found(why.to_string()),
                NotClosed::LastAdmin(_) | NotClosed::Another { .. } => {
                    Problem::conflict(why.to_string())
                }
            },
        )?;
    let view = User::from(&closed);
    let closed = Event::UserSaved(closed);
    call.shared.desk.record_account(call.actor()?, closed)?;
    call.shared.sessions.close_all(&name);
    json(StatusCode::OK, &view)
}
