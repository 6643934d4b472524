//! Bearer tokens: what each may be used for, and until when.
//!
//! A token never gives more than its owner's role: a call needs a role that admits it
//! *and* a token with its scope. What is kept of a token is its SHA-256.

use crate::user::{Account, Role};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Tokens that one account holds at most, besides its initial one.
pub const MAX_TOKENS: usize = 50;
/// Longest name of a token, in characters.
pub const MAX_TOKEN_NAME: usize = 64;
/// Longest life of a token that has an end, in days.
pub const MAX_TOKEN_DAYS: u32 = 3_650;
/// Name of the token that an account was made with.
pub const INITIAL_TOKEN: &str = "initial";
/// Hex digits of a token's digest that are its id.
const ID_DIGITS: usize = 16;

/// What a token may be used for: a group of calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading whatever its owner may see.
    Read,
    /// Reporting issues and commenting.
    Report,
    /// Deciding about issues and their patches.
    Triage,
    /// Services, autonomy, freeze.
    Operate,
    /// Changing policies.
    Policies,
    /// Its owner's tokens and, for admins, accounts and tokens of others.
    Accounts,
    /// Asking before an agent of another maker acts.
    Hook,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Report,
        Self::Triage,
        Self::Operate,
        Self::Policies,
        Self::Accounts,
        Self::Hook,
    ];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Report => "report",
            Self::Triage => "triage",
            Self::Operate => "operate",
            Self::Policies => "policies",
            Self::Accounts => "accounts",
            Self::Hook => "hook",
        }
    }

    /// Those that are of use to somebody with this role.
    pub fn of_role(role: Role) -> &'static [Self] {
        match role {
            Role::Guest => &[],
            Role::Hook => &[Self::Hook],
            Role::User => &[Self::Read, Self::Report, Self::Accounts],
            Role::Auditor => &[Self::Read, Self::Accounts],
            Role::Admin => &[
                Self::Read,
                Self::Report,
                Self::Triage,
                Self::Operate,
                Self::Policies,
                Self::Accounts,
            ],
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("a scope is one of {}; got {text:?}", list(&Self::ALL)))
    }
}

fn list(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(", ")
}

/// The id of a token with this digest (in hex): the digest's first 16 digits, so that
/// whoever finds a token can tell which one to revoke.
pub fn token_id(digest: &str) -> &str {
    digest.get(..ID_DIGITS).unwrap_or(digest)
}

/// A token that was made by name, as the event log knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the token, hex.
    pub digest: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is good for nothing; none when it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When its latest use was recorded, which happens at most once a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<DateTime<Utc>>,
}

impl AccessToken {
    /// See [`token_id`].
    pub fn id(&self) -> &str {
        token_id(&self.digest)
    }

    /// Whether it is over at `now`.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A token that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenOrder {
    /// What to call it.
    pub name: String,
    /// What for; everything that the owner's role may, where there is none.
    pub scopes: Option<Vec<Scope>>,
    /// Its life in days; without end, where there is none.
    pub days: Option<u32>,
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotIssued {
    /// The name is none.
    #[error(
        "a token's name has 1 to {MAX_TOKEN_NAME} characters, none of them a control character, \
         and is not {INITIAL_TOKEN:?}"
    )]
    Name,
    /// Another token of the account has it.
    #[error("there is a token {0:?} already; revoke it first, or choose another name")]
    Taken(String),
    /// Nothing could be done with it.
    #[error("name at least one scope; possible for role {role}: {}", list(Scope::of_role(*role)))]
    NoScope {
        /// The owner's role.
        role: Role,
    },
    /// The owner's role may not do that anyway.
    #[error("role {role} cannot hold {scope}; possible: {}", list(Scope::of_role(*role)))]
    Scope {
        /// The scope.
        scope: Scope,
        /// The owner's role.
        role: Role,
    },
    /// The life is too short or too long.
    #[error("a token lives 1 to {MAX_TOKEN_DAYS} days, or without end")]
    Days,
    /// There are enough.
    #[error("an account has at most {MAX_TOKENS} tokens; revoke one first")]
    TooMany,
}

impl Account {
    /// The token with this digest that `order` asks for, made at `now`.
    ///
    /// # Errors
    /// See [`NotIssued`].
    pub fn issue(
        &self,
        order: TokenOrder,
        digest: String,
        now: DateTime<Utc>,
    ) -> Result<AccessToken, NotIssued> {
        let name = order.name.trim().to_owned();
        let length = name.chars().count();
        if !(1..=MAX_TOKEN_NAME).contains(&length)
            || name.chars().any(char::is_control)
            || name == INITIAL_TOKEN
        {
            return Err(NotIssued::Name);
        }
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(NotIssued::Taken(name));
        }
        if self.tokens.len() >= MAX_TOKENS {
            return Err(NotIssued::TooMany);
        }
        let role = self.role;
        let possible = Scope::of_role(role);
        let mut scopes = order.scopes.unwrap_or_else(|| possible.to_vec());
        scopes.sort_unstable();
        scopes.dedup();
        if let Some(scope) = scopes.iter().find(|scope| !possible.contains(scope)) {
            return Err(NotIssued::Scope {
                scope: *scope,
                role,
            });
        }
        if scopes.is_empty() {
            return Err(NotIssued::NoScope { role });
        }
        let end = |days: u32| {
            let sound = (1..=MAX_TOKEN_DAYS).contains(&days);
            let end = now.checked_add_signed(Duration::days(i64::from(days)));
            end.filter(|_| sound).ok_or(NotIssued::Days)
        };
        Ok(AccessToken {
            name,
            digest,
            scopes,
            created_at: now,
            expires_at: order.days.map(end).transpose()?,
            last_used: None,
        })
    }

    /// Whether one of its tokens has this id.
    pub fn has_token(&self, id: &str) -> bool {
        let initial = self.token_digest.as_deref();
        initial.is_some_and(|digest| token_id(digest) == id)
            || self.tokens.iter().any(|token| token.id() == id)
    }

    /// Takes the token with this id away.
    pub fn revoke(&mut self, id: &str) {
        self.token_digest.take_if(|digest| token_id(digest) == id);
        self.tokens.retain(|token| token.id() != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserName;
    use chrono::TimeZone;

    fn account(role: Role) -> Account {
        Account {
            name: UserName::new("ada").expect("a name"),
            role,
            token_digest: Some("ab".repeat(32)),
            password_hash: None,
            tokens: Vec::new(),
            subject: None,
            standing: crate::account::Standing::Open,
        }
    }

    fn order(name: &str, scopes: Option<&[Scope]>, days: Option<u32>) -> TokenOrder {
        TokenOrder {
            name: name.to_owned(),
            scopes: scopes.map(<[Scope]>::to_vec),
            days,
        }
    }

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0)
            .single()
            .expect("a time")
    }

    #[test]
    fn a_token_holds_what_was_asked_for_and_never_more_than_the_role() {
        let user = account(Role::User);
        let issue = |order| user.issue(order, "cd".repeat(32), now());
        let asked = [Scope::Report, Scope::Read, Scope::Report];
        let token = issue(order(" ci ", Some(&asked), Some(1))).expect("a token");
        assert_eq!(token.name, "ci");
        assert_eq!(token.scopes, [Scope::Read, Scope::Report]);
        let end = token.expires_at.expect("an end");
        assert!(!token.is_expired(end - Duration::seconds(1)));
        assert!(token.is_expired(end));
        let all = issue(order("all", None, None)).expect("a token");
        assert_eq!(all.scopes, Scope::of_role(Role::User));
        assert!(!all.is_expired(DateTime::<Utc>::MAX_UTC));
        for (order, why) in [
            (order("", None, None), NotIssued::Name),
            (order("a\nb", None, None), NotIssued::Name),
            (order(INITIAL_TOKEN, None, None), NotIssued::Name),
            (order(&"x".repeat(65), None, None), NotIssued::Name),
            (
                order("ci", Some(&[]), None),
                NotIssued::NoScope { role: Role::User },
            ),
            (
                order("ci", Some(&[Scope::Read, Scope::Triage]), None),
                NotIssued::Scope {
                    scope: Scope::Triage,
                    role: Role::User,
                },
            ),
            (order("ci", None, Some(0)), NotIssued::Days),
            (order("ci", None, Some(u32::MAX)), NotIssued::Days),
        ] {
            assert_eq!(issue(order), Err(why));
        }
        let guest = account(Role::Guest).issue(order("ci", None, None), String::new(), now());
        assert_eq!(guest, Err(NotIssued::NoScope { role: Role::Guest }));
    }

    #[test]
    fn names_are_taken_once_and_tokens_are_bounded() {
        let mut user = account(Role::User);
        for n in 0..MAX_TOKENS {
            let token = user.issue(
                order(&format!("t{n}"), None, None),
                format!("{n:064x}"),
                now(),
            );
            user.tokens.push(token.expect("a token"));
        }
        assert_eq!(
            user.issue(order("t0", None, None), String::new(), now()),
            Err(NotIssued::Taken("t0".to_owned()))
        );
        assert_eq!(
            user.issue(order("more", None, None), String::new(), now()),
            Err(NotIssued::TooMany)
        );
    }

    #[test]
    fn the_initial_token_is_revoked_like_any_other() {
        let mut user = account(Role::User);
        let token = user.issue(order("ci", None, None), "cd".repeat(32), now());
        user.tokens.push(token.expect("a token"));
        assert!(user.has_token("abababababababab") && user.has_token("cdcdcdcdcdcdcdcd"));
        user.revoke("cdcdcdcdcdcdcdcd");
        assert!(user.token_digest.is_some() && user.tokens.is_empty());
        user.revoke("abababababababab");
        assert!(user.token_digest.is_none() && !user.has_token("abababababababab"));
    }

    #[test]
    fn scopes_read_back_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).expect("JSON"), scope.as_str());
        }
        assert!("everything".parse::<Scope>().is_err());
    }
}
