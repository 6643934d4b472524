//! Tokens as JSON. The token itself is in one answer only, when it is made.

use super::vocabulary;
use chrono::{DateTime, Utc};
use selfheal_domain::token::{AccessToken, INITIAL_TOKEN, Scope, TokenOrder, token_id};
use selfheal_domain::user::Account;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// What to call it; no other token of the account has this name.
    #[schema(example = "nightly report")]
    pub(crate) name: String,
    /// What it may be used for, within the role; everything that the caller may, without.
    #[schema(value_type = Option<Vec<vocabulary::Scope>>)]
    pub(crate) scopes: Option<Vec<Scope>>,
    /// Its life in days; without, it has no end.
    #[schema(minimum = 1)]
    pub(crate) expires_in_days: Option<u32>,
}

impl From<TokenRequest> for TokenOrder {
    fn from(request: TokenRequest) -> Self {
        Self {
            name: request.name,
            scopes: request.scopes,
            days: request.expires_in_days,
        }
    }
}

/// A token, without what it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    /// The first 16 hex digits of its SHA-256.
    #[schema(example = "9f86d081884c7d65")]
    pub(crate) id: String,
    /// `initial` is the one that the account was made with.
    pub(crate) name: String,
    #[schema(value_type = Vec<vocabulary::Scope>)]
    pub(crate) scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<DateTime<Utc>>,
    /// From when on it is good for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Its latest use: exactly, since the host started; by the day, before that (of the
    /// initial token nothing is known from before).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

impl Token {
    /// A token of its own name.
    pub(crate) fn of(token: &AccessToken, used: Option<DateTime<Utc>>) -> Self {
        Self {
            id: token.id().to_owned(),
            name: token.name.clone(),
            scopes: token.scopes.clone(),
            created_at: Some(token.created_at),
            expires_at: token.expires_at,
            last_used_at: used.max(token.last_used),
        }
    }

    /// All tokens of an account; `used` knows when one was used since the host started.
    pub(crate) fn all(
        account: &Account,
        used: impl Fn(&str) -> Option<DateTime<Utc>>,
    ) -> Vec<Self> {
        let initial = account.token_digest.as_deref().map(|digest| Self {
            id: token_id(digest).to_owned(),
            name: INITIAL_TOKEN.to_owned(),
            scopes: Scope::of_role(account.role).to_vec(),
            created_at: None,
            expires_at: None,
            last_used_at: used(token_id(digest)),
        });
        let others = account.tokens.iter();
        let others = others.map(|token| Self::of(token, used(token.id())));
        initial.into_iter().chain(others).collect()
    }
}

/// All tokens of an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPage {
    pub(crate) items: Vec<Token>,
    /// Where the next page starts; absent at the end.
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A token as the API describes it.
pub fn token_view(token: &AccessToken) -> Value {
    serde_json::to_value(Token::of(token, None)).unwrap_or_default()
}

/// The tokens of an account as the API lists them, where no host runs that knows more.
pub fn tokens_view(account: &Account) -> Value {
    let items = Token::all(account, |_| None);
    serde_json::to_value(TokenPage {
        items,
        next_cursor: None,
    })
    .unwrap_or_default()
}

/// A new token, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewToken {
    #[serde(flatten)]
    pub(crate) about: Token,
    #[schema(example = "sfh_…")]
    pub(crate) token: String,
}
