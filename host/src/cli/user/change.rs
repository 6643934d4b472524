//! `selfheal user list|role|password|disable|enable`: what becomes of accounts.

use super::{Owner, Settings, output, read_password};
use crate::compose::accounts::{self, Change as Order};
use crate::failure::{Exit, Failure};
use clap::Subcommand;
use selfheal_domain::account::Ties;
use selfheal_domain::user::Role;
use serde_json::Value;

/// Changes of accounts. Each is on record, and ends the sessions of the account's owner.
#[derive(Subcommand, Debug)]
pub(crate) enum Change {
    /// Gives an account another role
    #[command(after_help = "\
Example:
  selfheal user role ann auditor

The last admin who can log in stays one. An agent's hook stays one, too.")]
    Role {
        #[command(flatten)]
        owner: Owner,
        /// admin, user, auditor or guest
        role: Role,
    },
    /// Gives an account another password, read from standard input
    #[command(after_help = "\
Example:
  pass show selfheal/ann | selfheal user password ann

Whoever logs in at the provider of [server.oidc] has no password. Tokens stay as they are:
`selfheal user token list ann` shows them.")]
    Password {
        #[command(flatten)]
        owner: Owner,
    },
    /// Lets nobody in by an account until it is enabled again
    #[command(after_help = "\
Example:
  selfheal user disable ann

Not by password, token, provider or proxy. What the account holds stays; `selfheal user close`
is for good.")]
    Disable {
        #[command(flatten)]
        owner: Owner,
    },
    /// Lets the owner of a disabled account in again
    #[command(after_help = "Example:\n  selfheal user enable ann")]
    Enable {
        #[command(flatten)]
        owner: Owner,
    },
}

impl Change {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (owner, order) = match self {
            Self::Role { owner, role } => (owner, Order::Role(role)),
            Self::Password { owner } => (owner, Order::Password(read_password()?)),
            Self::Disable { owner } => (owner, Order::Disable),
            Self::Enable { owner } => (owner, Order::Enable),
        };
        let (name, config) = owner.read()?;
        let ties = match config.oidc {
            Some(_) => Ties::Hold,
            None => Ties::Gone,
        };
        let user = accounts::change_user(&config.data, &name, &order, ties)?;
        if owner.json {
            output::json(&user);
        } else {
            show(&user);
        }
        Ok(Exit::Done)
    }
}

/// `selfheal user list`.
pub(super) fn list(json: bool, settings: &Settings) -> Result<Exit, Failure> {
    let config = settings.read()?;
    let users = accounts::users(&config.data)?;
    if json {
        output::json(&users);
    } else {
        let items = users.get("items").and_then(Value::as_array);
        items.into_iter().flatten().for_each(show);
    }
    Ok(Exit::Done)
}

fn show(user: &Value) {
    let text = |key: &str| user.get(key).and_then(Value::as_str).unwrap_or_default();
    let by = [
        ("hasToken", "token"),
        ("hasPassword", "password"),
        ("hasProvider", "provider"),
    ];
    let by: Vec<_> = (by.iter())
        .filter(|(key, _)| user.get(key) == Some(&Value::Bool(true)))
        .map(|(_, word)| *word)
        .collect();
    output::line(format!(
        "{:<20}  {:<8}  {:<8}  {}",
        text("name"),
        text("role"),
        text("standing"),
        by.join(", ")
    ));
}
