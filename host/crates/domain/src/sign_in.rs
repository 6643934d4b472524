//! Logging in at somebody else's: the port to a provider of identities.

use crate::user::{Role, UserName};
use std::fmt;

/// What one log-in at a provider is recognised by when it comes back. Random, and held by
/// the browser that began it.
#[derive(Clone, PartialEq, Eq)]
pub struct Begun {
    /// Ties the answer to the browser.
    pub state: String,
    /// Ties the provider's token to this log-in.
    pub nonce: String,
    /// Proves that whoever redeems the code also asked for it (PKCE).
    pub verifier: String,
}

/// Who somebody is, as the provider vouches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identified {
    /// The account that is meant.
    pub name: UserName,
    /// The operators listed what they are called at the provider, with this account.
    pub listed: bool,
    /// SHA-256 of issuer and subject, hex: stays the same whatever else changes.
    pub subject: String,
    /// The role, where claims decide about it.
    pub role: Option<Role>,
}

/// Why nobody was identified.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The provider cannot be reached or makes no sense.
    #[error("the provider of identities cannot be used: {0}")]
    Unavailable(String),
    /// What came back is not what was asked for, or nobody we would know.
    #[error("the log-in is refused: {0}")]
    Refused(String),
}

/// A provider of identities, as OpenID Connect knows them.
pub trait SignIn: fmt::Debug + Send + Sync {
    /// Where to send the browser, and what it must come back with.
    ///
    /// # Errors
    /// [`SignInError::Unavailable`].
    fn begin(&self) -> Result<(String, Begun), SignInError>;

    /// Redeems the code that the browser came back with; `issuer` is who it says it comes
    /// from, where it does. The caller compared the state.
    ///
    /// # Errors
    /// See [`SignInError`].
    fn finish(
        &self,
        code: &str,
        issuer: Option<&str>,
        begun: &Begun,
    ) -> Result<Identified, SignInError>;
}
