//! Saving accounts from the operator's command line: into the journal where no
//! host runs, through the running host's control socket where one does.

use super::masker;
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use selfheal_domain::account::{AccountChange, Standing, Ties};
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ports::{Clock, EventStore};
use selfheal_domain::token::TokenOrder;
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_store::{EraseError, JournalStore, LockError, OpenError, Options};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where a running host listens for its operator.
pub(crate) fn control_socket(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Saves an account and returns its new token.
pub(crate) fn save_user(
    data: &Path,
    name: &UserName,
    role: Role,
    password: Option<&str>,
) -> Result<String, Failure> {
    let options = Options::new(masker(&super::default_policy_config()?, &[])?);
    match JournalStore::open(data, options) {
        Ok(store) => save_in_journal(&store, name, role, password),
        Err(OpenError::Lock(LockError::Held { .. })) => {
            save_through_host(data, name, role, password)
        }
        Err(error) => Err(error).because(Exit::Unavailable),
    }
}

/// Erases a user's personal data; returns the pseudonym it was encrypted under.
pub(crate) fn erase_user(data: &Path, name: &UserName) -> Result<String, Failure> {
    let options = Options::new(masker(&super::default_policy_config()?, &[])?);
    JournalStore::erase(data, options, name, Machine.now()).map_err(|error| {
        let exit = match &error {
            EraseError::Unknown(_) | EraseError::LastAdmin(_) => Exit::NotSo,
            EraseError::Open(_) | EraseError::Store(_) | EraseError::File(_) => Exit::Unavailable,
        };
        Failure {
            exit,
            error: error.into(),
        }
    })
}

/// The public key that the heads of the log in `data` are signed with.
pub(crate) fn log_key(data: &Path) -> Result<String, Failure> {
    let signed = selfheal_store::signed_head(data, None).because(Exit::Unavailable)?;
    signed
        .map(|(_, _, key)| key.to_string())
        .ok_or_else(|| Failure::new(Exit::Unavailable, "the log has no key"))
}

fn save_in_journal(
    store: &JournalStore,
    name: &UserName,
    role: Role,
    password: Option<&str>,
) -> Result<String, Failure> {
    let accounts = store.accounts().because(Exit::Unavailable)?;
    if accounts.iter().any(|account| account.name == *name) {
        return Err(Failure::new(
            Exit::NotSo,
            format!("there already is an account {name}"),
        ));
    }
    let token = selfheal_api::new_token().because(Exit::Unavailable)?;
    let password_hash = match password {
        Some(password) => Some(selfheal_api::hash_password(password).because(Exit::Usage)?),
        None => None,
    };
    let account = Account {
        name: name.clone(),
        role,
        token_digest: Some(token.digest),
        password_hash,
        tokens: Vec::new(),
        subject: None,
        standing: Standing::Open,
    };
    record(store, Event::UserSaved(account))?;
    Ok(token.token)
}

/// Closes an account, if it has the role `only` where one is given: its token and password
/// are good for nothing from then on.
pub(crate) fn close_user(data: &Path, name: &UserName, only: Option<Role>) -> Result<(), Failure> {
    let options = Options::new(masker(&super::default_policy_config()?, &[])?);
    match JournalStore::open(data, options) {
        Ok(store) => {
            let accounts = store.accounts().because(Exit::Unavailable)?;
            let closed = Account::closed(&accounts, name, only).because(Exit::NotSo)?;
            record(&store, Event::UserSaved(closed))
        }
        Err(OpenError::Lock(LockError::Held { .. })) => {
            let body = only.map_or_else(|| json!({}), |role| json!({ "role": role }));
            match through_host(data, "POST", &format!("/users/{name}/close"), &body)? {
                Ok(_) => Ok(()),
                Err(why) => Err(refused(Exit::NotSo, &why)),
            }
        }
        Err(error) => Err(error).because(Exit::Unavailable),
    }
}

fn record(store: &JournalStore, event: Event) -> Result<(), Failure> {
    let record = NewRecord {
        at: Machine.now(),
        actor: Actor::Operator,
        issue: None,
        event,
    };
    store
        .append(record, None)
        .map(drop)
        .because(Exit::Unavailable)
}

fn save_through_host(
    data: &Path,
    name: &UserName,
    role: Role,
    password: Option<&str>,
) -> Result<String, Failure> {
    let mut body = json!({ "name": name, "role": role });
    if let (Some(password), Some(body)) = (password, body.as_object_mut()) {
        body.insert("password".to_owned(), json!(password));
    }
    let answer = through_host(data, "POST", "/users", &body)?;
    let token = answer.map(|answer| answer.get("token")?.as_str().map(str::to_owned));
    match token {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(refused(Exit::Unavailable, "it gave no token")),
        Err(why) => Err(refused(Exit::Usage, &why)),
    }
}

/// The account `name` of those in the journal.
fn account(store: &JournalStore, name: &UserName) -> Result<Account, Failure> {
    let accounts = store.accounts().because(Exit::Unavailable)?;
    let found = accounts.iter().find(|account| account.name == *name);
    found
        .cloned()
        .ok_or_else(|| Failure::new(Exit::NotSo, format!("there is no account {name}")))
}

/// Does it in the journal or, where a host runs, by one request to that.
fn either(
    data: &Path,
    in_journal: impl FnOnce(&JournalStore) -> Result<Value, Failure>,
    (method, path, body): (&str, String, Value),
) -> Result<Value, Failure> {
    let options = Options::new(masker(&super::default_policy_config()?, &[])?);
    match JournalStore::open(data, options) {
        Ok(store) => in_journal(&store),
        Err(OpenError::Lock(LockError::Held { .. })) => {
            let answer = through_host(data, method, &path, &body)?;
            answer.map_err(|why| refused(Exit::NotSo, &why))
        }
        Err(error) => Err(error).because(Exit::Unavailable),
    }
}

/// Makes a token for somebody: as the API describes it, with the token itself.
pub(crate) fn add_token(data: &Path, name: &UserName, order: TokenOrder) -> Result<Value, Failure> {
    let body = json!({
        "name": order.name, "scopes": order.scopes, "expiresInDays": order.days,
    });
    let in_journal = |store: &JournalStore| {
        let account = account(store, name)?;
        let made = selfheal_api::new_token().because(Exit::Unavailable)?;
        let issued = account.issue(order, made.digest, Machine.now());
        let token = issued.because(Exit::Usage)?;
        let mut view = selfheal_api::token_view(&token);
        if let Some(view) = view.as_object_mut() {
            view.insert("token".to_owned(), json!(made.token));
        }
        let name = account.name;
        record(store, Event::TokenCreated { name, token })?;
        Ok(view)
    };
    either(
        data,
        in_journal,
        ("POST", format!("/users/{name}/tokens"), body),
    )
}

/// What the operator changes of an account.
pub(crate) enum Change {
    /// Its role.
    Role(Role),
    /// Its password.
    Password(String),
    /// Nobody comes in by it.
    Disable,
    /// Its owner does again.
    Enable,
}

/// Changes an account: as the API describes it, afterwards.
pub(crate) fn change_user(
    data: &Path,
    name: &UserName,
    change: &Change,
    ties: Ties,
) -> Result<Value, Failure> {
    let (method, what, body) = match change {
        Change::Role(role) => ("PUT", "role", json!({ "role": role })),
        Change::Password(password) => ("PUT", "password", json!({ "password": password })),
        Change::Disable => ("POST", "disable", json!({})),
        Change::Enable => ("POST", "enable", json!({})),
    };
    let in_journal = |store: &JournalStore| {
        let change = match change {
            Change::Role(role) => AccountChange::Role { role: *role },
            Change::Password(password) => AccountChange::Password {
                password_hash: selfheal_api::hash_password(password).because(Exit::Usage)?,
            },
            Change::Disable => AccountChange::Disabled,
            Change::Enable => AccountChange::Enabled,
        };
        let accounts = store.accounts().because(Exit::Unavailable)?;
        let changed = Account::changed(&accounts, name, &change, ties);
        let Some(after) = changed.because(Exit::NotSo)? else {
            return Ok(selfheal_api::user_view(&account(store, name)?));
        };
        let name = name.clone();
        record(store, Event::UserChanged { name, change })?;
        Ok(selfheal_api::user_view(&after))
    };
    let place = format!("/users/{name}/{what}");
    either(data, in_journal, (method, place, body))
}

/// All accounts, by name, as the API describes them.
pub(crate) fn users(data: &Path) -> Result<Value, Failure> {
    let in_journal = |store: &JournalStore| {
        let mut accounts = store.accounts().because(Exit::Unavailable)?.to_vec();
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        let items: Vec<_> = accounts.iter().map(selfheal_api::user_view).collect();
        Ok(json!({ "items": items }))
    };
    let mut page = either(
        data,
        in_journal,
        ("GET", "/users?limit=200".to_owned(), json!({})),
    )?;
    let mut items = Vec::new();
    loop {
        let more = page.get_mut("items").and_then(Value::as_array_mut);
        items.append(more.unwrap_or(&mut Vec::new()));
        let Some(next) = page.get("nextCursor").and_then(Value::as_str) else {
            return Ok(json!({ "items": items }));
        };
        let place = format!("/users?limit=200&cursor={next}");
        let answer = through_host(data, "GET", &place, &json!({}))?;
        page = answer.map_err(|why| refused(Exit::NotSo, &why))?;
    }
}

/// Somebody's tokens, as the API describes them.
pub(crate) fn tokens(data: &Path, name: &UserName) -> Result<Value, Failure> {
    let in_journal = |store: &JournalStore| Ok(selfheal_api::tokens_view(&account(store, name)?));
    either(
        data,
        in_journal,
        ("GET", format!("/users/{name}/tokens?limit=200"), json!({})),
    )
}

/// Takes the token with this id away.
pub(crate) fn revoke_token(data: &Path, name: &UserName, id: &str) -> Result<(), Failure> {
    let in_journal = |store: &JournalStore| {
        let account = account(store, name)?;
        if !account.has_token(id) {
            let why = format!("{name} has no token {id}; `selfheal user token list {name}`");
            return Err(Failure::new(Exit::NotSo, why));
        }
        let (name, id) = (account.name, id.to_owned());
        record(store, Event::TokenRevoked { name, id })?;
        Ok(Value::Null)
    };
    let place = format!("/users/{name}/tokens/{id}");
    either(data, in_journal, ("DELETE", place, json!({}))).map(drop)
}

fn refused(exit: Exit, why: &str) -> Failure {
    Failure::new(exit, format!("the running host refused: {why}"))
}

/// One request over the local socket, whose file mode is the authentication: what the
/// host answers, or why it refuses.
fn through_host(
    data: &Path,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Result<Value, String>, Failure> {
    let socket = control_socket(data);
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(&socket).map_err(|error| Failure {
        exit: Exit::Unavailable,
        error: anyhow::Error::new(error).context(format!(
            "the data directory is in use, and the host using it does not answer on {}",
            socket.display()
        )),
    })?;
    stream
        .write_all(request.as_bytes())
        .because(Exit::Unavailable)?;
    let mut answer = String::new();
    stream
        .take(64 * 1024)
        .read_to_string(&mut answer)
        .because(Exit::Unavailable)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    let document: Value = serde_json::from_str(body.trim()).unwrap_or_default();
    if status
        .split(' ')
        .nth(1)
        .is_some_and(|code| code.starts_with('2'))
    {
        return Ok(Ok(document));
    }
    let detail = document.get("detail").and_then(Value::as_str);
    Ok(Err(detail.unwrap_or(status).to_owned()))
}
