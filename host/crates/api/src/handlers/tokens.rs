//! Tokens: the own ones, those of others for admins, all for the operator.

use super::accounts::{MAKING, named, unmade};
use crate::call::{Call, json};
use crate::problem::Problem;
use crate::secrets::new_token;
use crate::views::token::{NewToken, Token, TokenPage, TokenRequest};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::event::Event;
use selfheal_domain::token::{AccessToken, NotIssued, TokenOrder, token_id};
use selfheal_domain::user::{Account, UserName};
use std::sync::PoisonError;

/// Whose tokens a call is about: those of the user in its path, or the caller's.
fn owner(call: &Call) -> Result<UserName, Problem> {
    if call.route.path.contains("{name}") {
        named(call)
    } else {
        Ok(call.caller()?.name.clone())
    }
}

fn account(call: &Call) -> Result<Account, Problem> {
    let (name, accounts) = (owner(call)?, call.shared.accounts()?);
    let found = accounts.iter().find(|account| account.name == name);
    found
        .cloned()
        .ok_or_else(|| Problem::not_found(format!("there is no account {name}")))
}

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let items = Token::all(&account(call)?, |id| call.shared.last_used(id));
    let (items, next_cursor) = call.page(items, |token| &token.id)?;
    json(StatusCode::OK, &TokenPage { items, next_cursor })
}

fn refused(why: &NotIssued) -> Problem {
    let message = why.to_string();
    match why {
        NotIssued::Name => Problem::invalid_field("name", message),
        NotIssued::NoScope { .. } | NotIssued::Scope { .. } => {
            Problem::invalid_field("scopes", message)
        }
        NotIssued::Days => Problem::invalid_field("expiresInDays", message),
        NotIssued::Taken(_) | NotIssued::TooMany => Problem::conflict(message),
    }
}

/// A token makes no token that may more, or lives longer, than itself.
fn within(made: &AccessToken, by: &AccessToken) -> Result<(), Problem> {
    let more = made.scopes.iter().find(|scope| !by.scopes.contains(scope));
    if let Some(scope) = more {
        return Err(Problem::out_of_scope(*scope));
    }
    let Some(end) = by.expires_at else {
        return Ok(());
    };
    if made.expires_at.is_some_and(|made| made <= end) {
        return Ok(());
    }
    Err(Problem::forbidden(format!(
        "a token makes none that outlives it; yours ends at {}",
        end.format("%Y-%m-%dT%H:%M:%SZ")
    )))
}

pub(crate) fn add(call: &Call) -> Result<Response<Body>, Problem> {
    let request: TokenRequest = call.json()?;
    let mut order = TokenOrder::from(request);
    let by = call.visitor()?.token.as_ref();
    if order.scopes.is_none() {
        order.scopes = by.map(|by| by.scopes.clone());
    }
    let made = new_token().map_err(unmade)?;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let account = account(call)?;
    let issued = account.issue(order, made.digest, call.shared.desk.now());
    let token = issued.map_err(|why| refused(&why))?;
    if let Some(by) = by {
        within(&token, by)?;
    }
    let view = NewToken {
        about: Token::of(&token, None),
        token: made.token,
    };
    let event = Event::TokenCreated {
        name: account.name,
        token,
    };
    call.shared.desk.record_account(call.actor()?, event)?;
    json(StatusCode::CREATED, &view)
}

pub(crate) fn revoke(call: &Call) -> Result<Response<Body>, Problem> {
    let id = call.param("token")?;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let account = account(call)?;
    if !account.has_token(id) {
        return Err(Problem::not_found(format!(
            "{} has no token {id}",
            account.name
        )));
    }
    let event = Event::TokenRevoked {
        name: account.name.clone(),
        id: id.to_owned(),
    };
    call.shared.desk.record_account(call.actor()?, event)?;
    // Sessions may have been opened with the initial one.
    if account.token_digest.as_deref().map(token_id) == Some(id) {
        call.shared.sessions.close_all(&account.name);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
