//! `selfheal user`: accounts, from the machine the host runs on.

mod change;
mod token;

use super::output;
use crate::compose;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::{Args, Subcommand};
use selfheal_domain::user::{Role, UserName};
use std::path::PathBuf;

/// Manages accounts.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  selfheal user add ann --role admin\n  selfheal user token add ann nightly --scope read --days 90"
)]
pub(crate) enum User {
    /// Adds an account; prints one line, its token
    #[command(after_help = "\
Examples:
  selfheal user add ann --role admin
  SELFHEAL_TOKEN=$(selfheal user add bob --role user) selfheal issue list

Works beside a running host (through its local control socket) and without one.")]
    Add {
        /// 1 to 64 of a-z, 0-9, '.', '_', '-'
        name: String,
        /// admin, user, auditor, guest, or hook (an agent that asks; nothing else)
        #[arg(long)]
        role: Role,
        /// Print the token (always done; kept so that scripts can say what they want)
        #[arg(long)]
        token: bool,
        /// Read a password from standard input, for logging in on the web page
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Lists the accounts
    #[command(after_help = "Example:\n  selfheal user list --json")]
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    #[command(flatten)]
    Change(change::Change),
    /// Makes, lists and revokes tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Closes an account: its token, its password and its sessions are good for nothing
    #[command(after_help = "\
Example:
  selfheal user close hook-codex-1

Works beside a running host (through its local control socket) and without one. What the
account did stays on record, and its name is not given to anybody else. The last admin who
can log in is not closed.")]
    Close {
        #[command(flatten)]
        owner: Owner,
    },
    /// Erases somebody's personal data, for good, and closes the account
    #[command(after_help = "\
Example:
  selfheal user erase rita

Names of users, the comments they wrote and the texts of what they reported are encrypted in the
log, for each person with a key of their own. This destroys the key: the log still verifies, and
shows [erased] in their place. The erasure itself is recorded, under a pseudonym. Backups hold
the key as long as you keep them. Stop the host first.

What stays: what others made of it (diagnoses, tool calls, what policies were asked, transcripts
of models, reasons that admins gave, the titles of issues in the subjects of commits), and records
of versions that did not encrypt yet.")]
    Erase {
        #[command(flatten)]
        owner: Owner,
    },
}

/// Where the accounts are.
#[derive(Args, Debug)]
pub(crate) struct Settings {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
}

impl Settings {
    fn read(&self) -> Result<Config, Failure> {
        Config::read(&self.config).because(Exit::Usage)
    }
}

/// An account, and how the answer is printed.
#[derive(Args, Debug)]
pub(crate) struct Owner {
    /// The account
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Owner {
    fn read(&self) -> Result<(UserName, Config), Failure> {
        let name = UserName::new(self.name.as_str()).because(Exit::Usage)?;
        Ok((name, self.settings.read()?))
    }
}

impl User {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (name, role, password_stdin, settings) = match self {
            Self::Add {
                name,
                role,
                token: _,
                password_stdin,
                settings,
            } => (name, role, password_stdin, settings),
            Self::List { json, settings } => return change::list(json, &settings),
            Self::Change(change) => return change.run(),
            Self::Token(command) => return command.run(),
            Self::Erase { owner } => return erase(&owner),
            Self::Close { owner } => return close(&owner),
        };
        let name = UserName::new(name).because(Exit::Usage)?;
        let password = if password_stdin {
            Some(read_password()?)
        } else {
            None
        };
        let config = settings.read()?;
        let token = compose::accounts::save_user(&config.data, &name, role, password.as_deref())?;
        output::line(token);
        Ok(Exit::Done)
    }
}

fn close(owner: &Owner) -> Result<Exit, Failure> {
    let (name, config) = owner.read()?;
    compose::accounts::close_user(&config.data, &name, None)?;
    if owner.json {
        output::json(&serde_json::json!({ "closed": name }));
    } else {
        output::line(format!("closed: {name}"));
    }
    Ok(Exit::Done)
}

fn erase(owner: &Owner) -> Result<Exit, Failure> {
    let (name, config) = owner.read()?;
    let subject = compose::accounts::erase_user(&config.data, &name)?;
    if owner.json {
        output::json(&serde_json::json!({ "erased": name, "subject": subject }));
    } else {
        output::line(format!(
            "erased: {name}; the log knows them as {subject} and shows [erased]"
        ));
    }
    Ok(Exit::Done)
}

/// One line from standard input.
pub(crate) fn read_password() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).because(Exit::Usage)?;
    let password = line.trim_end_matches(['\n', '\r']);
    Ok(password.to_owned())
}
