//! How people log in besides with us: `[server.proxy]` and `[server.oidc]`.

use selfheal_api::{Network, ProxyOptions, SignInOptions};
use selfheal_domain::user::{Role, UserName};
use selfheal_external_agent::{Authorities, AuthoritiesError, tls};
use selfheal_oidc::{OidcConfigError, Provider};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest secret that is read, in bytes.
const LONGEST_SECRET: usize = 8 * 1024;

/// `[server.proxy]`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyConfig {
    trusted: Vec<String>,
    #[serde(default)]
    forwarded: bool,
    user_header: Option<String>,
    unknown_users: Option<Role>,
}

/// The role of accounts that are made for whoever comes: none that decides, and not that
/// of a machine.
fn newcomers(role: Option<Role>) -> Result<Option<Role>, (&'static str, String)> {
    match role {
        Some(Role::Admin | Role::Hook) => Err((
            "unknown_users",
            "may be \"user\", \"auditor\" or \"guest\"; leave it out to refuse them".to_owned(),
        )),
        role => Ok(role),
    }
}

impl ProxyConfig {
    /// What the edge needs of it.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub(crate) fn options(self) -> Result<ProxyOptions, (&'static str, String)> {
        let trusted: Result<Vec<Network>, _> = self.trusted.iter().map(|it| it.parse()).collect();
        let trusted = trusted.map_err(|why| ("trusted", why))?;
        if trusted.is_empty() {
            return Err(("trusted", "names no address of a proxy".to_owned()));
        }
        let header = self.user_header.map(|name| {
            let parsed = name.parse();
            parsed.map_err(|_| ("user_header", format!("{name:?} is no name of a header")))
        });
        Ok(ProxyOptions {
            trusted,
            forwarded: self.forwarded,
            user_header: header.transpose()?,
            newcomers: newcomers(self.unknown_users)?,
        })
    }
}

/// `[server.oidc]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcConfig {
    issuer: String,
    client_id: String,
    client_secret_env: Option<String>,
    pub(crate) client_secret_file: Option<PathBuf>,
    redirect_url: String,
    label: Option<String>,
    #[serde(default = "OidcConfig::default_scopes")]
    scopes: Vec<String>,
    #[serde(default = "OidcConfig::default_claim")]
    user_claim: String,
    #[serde(default)]
    users: BTreeMap<String, UserName>,
    unknown_users: Option<Role>,
    role_claim: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    ca_file: Option<PathBuf>,
}

/// The provider of identities cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    /// What is configured makes no sense.
    #[error("server.oidc")]
    Config(#[from] OidcConfigError),
    /// Its authorities cannot be read.
    #[error("server.oidc.ca_file")]
    Authorities(#[from] AuthoritiesError),
    /// The secret is not there.
    #[error("server.oidc: the client secret is not in {0}")]
    Secret(String, #[source] Option<std::io::Error>),
}

impl OidcConfig {
    fn default_scopes() -> Vec<String> {
        vec!["profile".to_owned(), "email".to_owned()]
    }

    fn default_claim() -> String {
        "preferred_username".to_owned()
    }

    /// Files that it names.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.client_secret_file.iter_mut().chain(&mut self.ca_file)
    }

    /// What serde cannot see.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        newcomers(self.unknown_users)?;
        if self.client_secret_env.is_some() && self.client_secret_file.is_some() {
            let why = "is given beside client_secret_file; one of them is enough".to_owned();
            return Err(("client_secret_env", why));
        }
        if self.role_claim.is_some() == self.roles.is_empty() {
            let why = "needs [server.oidc.roles] beside it, and the other way round".to_owned();
            return Err(("role_claim", why));
        }
        if self.roles.values().any(|role| *role == Role::Hook) {
            return Err(("roles", "no person is a hook".to_owned()));
        }
        Ok(())
    }

    /// The client secret; none for a public client.
    ///
    /// # Errors
    /// It is not where it should be.
    pub(crate) fn secret(&self) -> Result<Option<String>, OidcError> {
        let read = match (&self.client_secret_env, &self.client_secret_file) {
            (Some(name), _) => std::env::var(name)
                .map_err(|_| OidcError::Secret(format!("the variable {name}"), None))?,
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| OidcError::Secret(file.display().to_string(), Some(error)))?,
            (None, None) => return Ok(None),
        };
        let secret = read.trim().to_owned();
        if secret.is_empty() || secret.len() > LONGEST_SECRET {
            return Err(OidcError::Secret(
                "its place: it is empty, or too long".to_owned(),
                None,
            ));
        }
        Ok(Some(secret))
    }

    /// What the edge needs of it.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub(crate) fn sign_in(&self) -> Result<SignInOptions, OidcError> {
        let authorities = self.ca_file.as_deref().map(Authorities::read).transpose()?;
        let provider = selfheal_oidc::OidcConfig {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.secret()?,
            redirect_url: self.redirect_url.clone(),
            scopes: self.scopes.clone(),
            user_claim: self.user_claim.clone(),
            users: self.users.clone(),
            role_claim: self.role_claim.clone(),
            roles: self.roles.clone(),
        };
        Ok(SignInOptions {
            provider: Arc::new(Provider::new(provider, tls(authorities.as_ref()))?),
            label: self.label.clone().unwrap_or_else(|| self.issuer.clone()),
            newcomers: self.unknown_users,
        })
    }
}
