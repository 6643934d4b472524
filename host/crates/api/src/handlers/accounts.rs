//! Accounts: listing and making them, from the network or the local socket.

use crate::call::{Call, json};
use crate::problem::Problem;
use crate::secrets::{SecretError, hash_password, new_token};
use crate::views::admin::{CloseRequest, NewUser, User, UserPage, UserRequest};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::user::{Account, NotClosed, UserName};
use std::sync::{Mutex, PoisonError};

/// Makes looking at accounts and saving one of them one step.
static MAKING: Mutex<()> = Mutex::new(());

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let accounts = call.shared.accounts()?;
    let mut items: Vec<User> = accounts.iter().map(User::from).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    json(StatusCode::OK, &UserPage { items })
}

fn unmade(error: SecretError) -> Problem {
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
    call.shared.desk.save_account(call.actor()?, account)?;
    let view = NewUser {
        name: name.to_string(),
        role: request.role,
        token: made.token,
    };
    json(StatusCode::CREATED, &view)
}

pub(crate) fn close(call: &Call) -> Result<Response<Body>, Problem> {
    let request: CloseRequest = call.json()?;
    let name = UserName::new(call.param("name")?)
        .map_err(|error| Problem::invalid_field("name", error.to_string()))?;
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
    call.shared.desk.save_account(call.actor()?, closed)?;
    json(StatusCode::OK, &view)
}
