//! Accounts: listing, making and changing them, from the network or the local socket.

use crate::call::{Call, Credential, json};
use crate::problem::Problem;
use crate::secrets::{SecretError, hash_password, new_token};
use crate::views::admin::{
    CloseRequest, NewUser, PasswordRequest, RoleRequest, User, UserPage, UserRequest,
};
use crate::views::issue::EmptyRequest;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::account::{AccountChange, NotChanged, Standing, Ties};
use selfheal_domain::event::Event;
use selfheal_domain::token::Scope;
use selfheal_domain::user::{Account, NotClosed, Role, UserName};
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
    may_give(call, request.role)?;
    let made = new_token().map_err(unmade)?;
    let account = Account {
        name: name.clone(),
        role: request.role,
        token_digest: Some(made.digest),
        password_hash,
        tokens: Vec::new(),
        subject: None,
        standing: Standing::Open,
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

/// Whether the caller may bring it about that somebody acts in this role who could not
/// before. A token gives nobody more than itself: not what it has no scope for, and no
/// admin, who has no end, where it has one. With `four_eyes` no admin makes a second pair of
/// eyes alone.
fn may_give(call: &Call, role: Role) -> Result<(), Problem> {
    let visitor = call.visitor()?;
    if visitor.credential == Credential::Socket {
        return Ok(());
    }
    if let Some(token) = &visitor.token {
        // A hook may only ask, which no admin's token is good for.
        let mut needed = Scope::of_role(role).iter();
        let lacking = needed.find(|it| **it != Scope::Hook && !token.scopes.contains(it));
        if let Some(scope) = lacking {
            return Err(Problem::out_of_scope(*scope));
        }
        if role == Role::Admin && token.expires_at.is_some() {
            let why = "a token that ends makes no admin, who does not end; log in";
            return Err(Problem::forbidden(why));
        }
    }
    let rules = call.shared.desk.healer().settings().rules.get();
    if role == Role::Admin && rules.four_eyes {
        return Err(Problem::forbidden(
            "four_eyes is on: no admin alone lets another one in; the operator does so at the \
             machine, by `selfheal user`",
        ));
    }
    Ok(())
}

/// Whether a provider of identities is there for those who are tied to one.
pub(super) fn ties(call: &Call) -> Ties {
    match call.shared.options.sign_in {
        Some(_) => Ties::Hold,
        None => Ties::Gone,
    }
}

pub(super) fn unchanged(why: &NotChanged) -> Problem {
    match why {
        NotChanged::Unknown(_) => Problem::not_found(why.to_string()),
        NotChanged::Closed(_)
        | NotChanged::LastAdmin(_)
        | NotChanged::Kind
        | NotChanged::Hook(_)
        | NotChanged::Tied(_) => Problem::conflict(why.to_string()),
    }
}

/// Changes the account that the path names, and ends the sessions of its owner. What is so
/// already is left alone, and so are the sessions.
fn change(call: &Call, change: AccountChange) -> Result<Response<Body>, Problem> {
    let name = named(call)?;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let accounts = call.shared.accounts()?;
    let changed = Account::changed(&accounts, &name, &change, ties(call));
    let before = accounts.iter().find(|account| account.name == name);
    let view = match (changed.map_err(|why| unchanged(&why))?, before) {
        (Some(after), Some(before)) => {
            if let Some(role) = change.gives(before) {
                may_give(call, role)?;
            }
            let event = Event::UserChanged {
                name: name.clone(),
                change,
            };
            call.shared.desk.record_account(call.actor()?, event)?;
            call.shared.sessions.close_all(&name);
            User::from(&after)
        }
        (None, Some(before)) => User::from(before),
        (_, None) => return Err(unchanged(&NotChanged::Unknown(name))),
    };
    json(StatusCode::OK, &view)
}

pub(crate) fn set_role(call: &Call) -> Result<Response<Body>, Problem> {
    let RoleRequest { role } = call.json()?;
    change(call, AccountChange::Role { role })
}

pub(crate) fn set_password(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PasswordRequest = call.json()?;
    let visitor = call.visitor()?;
    // Whoever finds an open session must not keep it that way.
    if visitor.credential != Credential::Socket && named(call)? == visitor.caller.name {
        return Err(Problem::forbidden(
            "your own password is changed on the page of your account, with the one so far",
        ));
    }
    let password_hash = hash_password(&request.password).map_err(unmade)?;
    change(call, AccountChange::Password { password_hash })
}

pub(crate) fn disable(call: &Call) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    change(call, AccountChange::Disabled)
}

pub(crate) fn enable(call: &Call) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    change(call, AccountChange::Enabled)
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
