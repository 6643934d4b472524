//! `selfheal user token`: further tokens of an account, each with scopes and an end.

use super::Owner;
use crate::cli::output;
use crate::compose;
use crate::failure::{Exit, Failure};
use clap::Subcommand;
use selfheal_domain::token::{Scope, TokenOrder};
use serde_json::Value;

/// Makes, lists and revokes tokens.
#[derive(Subcommand, Debug)]
#[command(after_help = "Example:\n  selfheal user token add ann nightly --scope read --days 90")]
pub(crate) enum Token {
    /// Makes a token; prints one line, the token
    #[command(after_help = "\
Examples:
  selfheal user token add ann 'nightly report' --scope read --days 90
  selfheal user token add bob ci --scope report --scope read

Scopes: read; report (and comment); triage (decide about issues and patches); operate
(services, autonomy, freeze); policies; accounts (tokens and, for admins, accounts, but it lets
nobody in who may more than itself); hook.
Whatever its scopes, a token gives no more than its owner's role. The line is shown this
once; what is kept is its SHA-256, whose first 16 digits are its id.")]
    Add {
        #[command(flatten)]
        owner: Owner,
        /// What to call it
        label: String,
        /// What it may be used for; give it several times for several (all that the role
        /// may, if left out)
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// Its life; without end if left out
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Lists somebody's tokens, without what they are
    #[command(after_help = "Example:\n  selfheal user token list ann")]
    List {
        #[command(flatten)]
        owner: Owner,
    },
    /// Takes a token away, at once
    #[command(after_help = "\
Example:
  selfheal user token revoke ann 9f86d081884c7d65

The id is in `selfheal user token list ann`; of a token that was found somewhere it is
  printf %s sfh_... | sha256sum | cut -c1-16")]
    Revoke {
        #[command(flatten)]
        owner: Owner,
        /// Id of the token
        id: String,
    },
}

impl Token {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Add {
                owner,
                label,
                scopes,
                days,
            } => {
                let (name, config) = owner.read()?;
                let order = TokenOrder {
                    name: label,
                    scopes: (!scopes.is_empty()).then_some(scopes),
                    days,
                };
                let made = compose::accounts::add_token(&config.data, &name, order)?;
                if owner.json {
                    output::json(&made);
                } else {
                    output::line(
                        made.get("token")
                            .and_then(Value::as_str)
                            .unwrap_or_default(),
                    );
                }
            }
            Self::List { owner } => {
                let (name, config) = owner.read()?;
                let tokens = compose::accounts::tokens(&config.data, &name)?;
                if owner.json {
                    output::json(&tokens);
                } else {
                    let items = tokens.get("items").and_then(Value::as_array);
                    items.into_iter().flatten().for_each(show);
                }
            }
            Self::Revoke { owner, id } => {
                if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    let why = format!("{id:?} is no id of a token: 16 hexadecimal digits");
                    return Err(Failure::new(Exit::Usage, why));
                }
                let (name, config) = owner.read()?;
                compose::accounts::revoke_token(&config.data, &name, &id)?;
                if owner.json {
                    output::json(&serde_json::json!({ "revoked": id }));
                } else {
                    output::line(format!("revoked: {id}"));
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn show(token: &Value) {
    let text = |key: &str| token.get(key).and_then(Value::as_str);
    let scopes = token.get("scopes").and_then(Value::as_array);
    let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
    let scopes: Vec<_> = scopes.collect();
    output::line(format!(
        "{}  {:<20}  {:<40}  until {:<20}  used {}",
        text("id").unwrap_or_default(),
        text("name").unwrap_or_default(),
        scopes.join(","),
        text("expiresAt").map_or("revoked", day),
        text("lastUsedAt").map_or("not yet", day),
    ));
}

/// The day of a time as the API writes it.
fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}
