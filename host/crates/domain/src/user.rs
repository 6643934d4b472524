//! People and machines that act.

use crate::account::Standing;
use crate::token::{AccessToken, Scope};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Stands where personal data stood that was erased.
pub const ERASED: &str = "[erased]";

/// Name of a user: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// The text is no user name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a user name is 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or digit; got {0:?}"
)]
pub struct NotAUserName(pub String);

impl UserName {
    /// A checked name.
    ///
    /// # Errors
    /// Anything that is not a name as described on the type.
    pub fn new(name: impl Into<String>) -> Result<Self, NotAUserName> {
        let name = name.into();
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let start = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if start && name.len() <= 64 && name.chars().all(shape) {
            Ok(Self(name))
        } else {
            Err(NotAUserName(name))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands in old records for somebody whose personal data was erased. Nobody can
    /// have this name: [`UserName::new`] refuses it.
    pub fn erased() -> Self {
        Self(ERASED.to_owned())
    }
}

/// For what is read back from where it was stored: knows [`UserName::erased`], too.
impl TryFrom<String> for UserName {
    type Error = NotAUserName;
    fn try_from(name: String) -> Result<Self, NotAUserName> {
        if name == ERASED {
            return Ok(Self(name));
        }
        Self::new(name)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing but the login page.
    Guest,
    /// An agent of another maker that asks before it acts: may ask, and nothing else.
    Hook,
    /// Reports issues and follows their own.
    User,
    /// Reads everything, changes nothing.
    Auditor,
    /// Decides.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guest => "guest",
            Self::Hook => "hook",
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "guest" => Ok(Self::Guest),
            "hook" => Ok(Self::Hook),
            "user" => Ok(Self::User),
            "auditor" => Ok(Self::Auditor),
            "admin" => Ok(Self::Admin),
            other => Err(format!(
                "a role is admin, user, auditor, guest or hook, got {other:?}"
            )),
        }
    }
}

/// Who caused an event.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Actor {
    /// A person with an account.
    User(UserName),
    /// An agent, as in `engine:builtin`.
    Agent(String),
    /// The host itself.
    Host,
    /// Whoever runs the command line beside the data directory.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => name.fmt(f),
            Self::Agent(name) => f.write_str(name),
            Self::Host => f.write_str("host"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// How far a text is to be trusted, by who wrote it; a mix counts as its
/// lowest. Ordered from the lowest.
///
/// It travels with every text of a report into the brief, and from there with the
/// session: the class of a session is the lowest of all that its agent has read, it
/// falls when lower text comes in (`trust.lowered`), never rises, and policies see it
/// with every call. Files that git knows are vouched for by those who commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustClass {
    /// Logs, web pages, files that git does not know: nobody vouches for it.
    Machine,
    /// Somebody without an account (webhook, mail), an MCP server.
    External,
    /// A user with an account.
    Member,
    /// An admin.
    Admin,
}

impl TrustClass {
    /// As in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::External => "external",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// An account, as the event log knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Login name.
    pub name: UserName,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the initial bearer token, which may all that the role may, hex; none
    /// when it has none.
    pub token_digest: Option<String>,
    /// Argon2id hash in PHC string format; none when it cannot log in by password.
    pub password_hash: Option<String>,
    /// Further tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<AccessToken>,
    /// SHA-256 of issuer and subject at the provider of identities that its owner logs in
    /// at, hex; the first that comes with its name is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether its owner comes in.
    #[serde(default, skip_serializing_if = "Standing::is_open")]
    pub standing: Standing,
}

/// Why an account stays open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotClosed {
    /// There is none of that name.
    #[error("there is no account {0}")]
    Unknown(UserName),
    /// Nobody could administer the installation any more.
    #[error("{0} is the only admin who can log in; make another one first")]
    LastAdmin(UserName),
    /// It is not what the caller took it for.
    #[error("{name} is no account of role {expected}, but of role {role}")]
    Another {
        /// The account.
        name: UserName,
        /// Its role.
        role: Role,
        /// The role that was expected.
        expected: Role,
    },
}

impl Account {
    /// Somebody can log in with it for good, or do whatever its role may by a token.
    pub fn is_open(&self) -> bool {
        let whole = |token: &AccessToken| {
            token.expires_at.is_none() && Scope::of_role(self.role) == token.scopes
        };
        let held = self.token_digest.is_some()
            || self.password_hash.is_some()
            || self.subject.is_some()
            || self.tokens.iter().any(whole);
        held && self.standing.is_open()
    }

    /// The account `name` of `all` as it is saved to close it: nobody can use it any more,
    /// and nobody else gets its name. With `expected`, only if it has that role.
    ///
    /// # Errors
    /// See [`NotClosed`].
    pub fn closed(
        all: &[Self],
        name: &UserName,
        expected: Option<Role>,
    ) -> Result<Self, NotClosed> {
        let found = all.iter().find(|account| account.name == *name);
        let account = found.ok_or_else(|| NotClosed::Unknown(name.clone()))?;
        if let Some(expected) = expected.filter(|expected| *expected != account.role) {
            return Err(NotClosed::Another {
                name: name.clone(),
                role: account.role,
                expected,
            });
        }
        if account.is_only_admin(all) {
            return Err(NotClosed::LastAdmin(name.clone()));
        }
        Ok(Self {
            name: name.clone(),
            role: Role::Guest,
            token_digest: None,
            password_hash: None,
            tokens: Vec::new(),
            subject: None,
            standing: Standing::Closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_closed_for_good_unless_it_is_the_last_admins() {
        let account = |name: &str, role, token: Option<&str>| Account {
            name: UserName::new(name).expect("a name"),
            role,
            token_digest: token.map(str::to_owned),
            password_hash: None,
            tokens: Vec::new(),
            subject: None,
            standing: Standing::Open,
        };
        let all = [
            account("ann", Role::Admin, Some("a")),
            // Closed before, or never usable: no admin to count on.
            account("old", Role::Admin, None),
            account("hook-codex-1", Role::Hook, Some("b")),
        ];
        let name = |name: &str| UserName::new(name).expect("a name");
        let hook = Account::closed(&all, &name("hook-codex-1"), Some(Role::Hook)).expect("closed");
        assert!(!hook.is_open());
        assert_eq!(hook.role, Role::Guest);
        assert_eq!(
            Account::closed(&all, &name("ann"), None),
            Err(NotClosed::LastAdmin(name("ann")))
        );
        assert!(matches!(
            Account::closed(&all, &name("ann"), Some(Role::Hook)),
            Err(NotClosed::Another { .. })
        ));
        assert!(matches!(
            Account::closed(&all, &name("bob"), None),
            Err(NotClosed::Unknown(_))
        ));
    }
}
