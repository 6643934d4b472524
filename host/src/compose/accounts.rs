//! Saving accounts from the operator's command line: into the journal where no
//! host runs, through the running host's control socket where one does.

use super::masker;
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ports::{Clock, EventStore};
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_store::{EraseError, JournalStore, LockError, OpenError, Options};
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
    };
    let record = NewRecord {
        at: Machine.now(),
        actor: Actor::Operator,
        issue: None,
        event: Event::UserSaved(account),
    };
    store.append(record, None).because(Exit::Unavailable)?;
    Ok(token.token)
}

/// One request over the local socket. Its file mode is the authentication.
fn save_through_host(
    data: &Path,
    name: &UserName,
    role: Role,
    password: Option<&str>,
) -> Result<String, Failure> {
    let socket = control_socket(data);
    let mut body = serde_json::json!({ "name": name, "role": role });
    if let (Some(password), Some(body)) = (password, body.as_object_mut()) {
        body.insert("password".to_owned(), serde_json::json!(password));
    }
    let body = body.to_string();
    let request = format!(
        "POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
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
    let document: serde_json::Value = serde_json::from_str(body.trim()).unwrap_or_default();
    match document.get("token").and_then(|token| token.as_str()) {
        Some(token) => Ok(token.to_owned()),
        None => {
            let detail = document.get("detail").and_then(|detail| detail.as_str());
            let status = head.lines().next().unwrap_or_default();
            Err(Failure::new(
                Exit::Usage,
                format!("the running host refused: {}", detail.unwrap_or(status)),
            ))
        }
    }
}
