//! A provider of identities over OpenID Connect: authorization code with PKCE.
//!
//! The only crate that names `openidconnect`, which checks the provider's token: its
//! signature by the provider's published keys (asymmetric ones only), its issuer, its
//! audience, its time and its nonce. What the claims mean for accounts is decided here,
//! by the configuration alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    SignatureVerificationError,
};
use selfheal_domain::digest::Digest;
use selfheal_domain::sign_in::{Begun, Identified, SignIn, SignInError};
use selfheal_domain::user::{Role, UserName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::tls::TlsConfig;

/// How long the provider may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 1024 * 1024;
/// How long what the provider says of itself is believed.
const METADATA_TTL: Duration = Duration::from_secs(3600);

/// The provider, and what its claims mean here.
#[derive(Clone)]
pub struct OidcConfig {
    /// The provider, as its tokens name it.
    pub issuer: String,
    /// What it calls this host.
    pub client_id: String,
    /// What this host proves that with; none for a public client.
    pub client_secret: Option<String>,
    /// Where it sends browsers back to: `…/api/v1/session/oidc/callback`.
    pub redirect_url: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// Claim that names the account.
    pub user_claim: String,
    /// Accounts for values of that claim that are no names of users.
    pub users: BTreeMap<String, UserName>,
    /// Claim, a text or a list of texts, that decides about roles.
    pub role_claim: Option<String>,
    /// Roles for values of that claim. Whoever has none of them is refused.
    pub roles: BTreeMap<String, Role>,
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcConfigError {
    /// The provider's address is none, or not safe.
    #[error("issuer: {0:?} is no https address (http is for loopback addresses)")]
    Issuer(String),
    /// The address to come back to is none.
    #[error("redirect_url: {0:?} is no address that ends in /api/v1/session/oidc/callback")]
    Redirect(String),
}

/// A provider of identities.
pub struct Provider {
    config: OidcConfig,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    agent: ureq::Agent,
    metadata: Mutex<Option<(CoreProviderMetadata, Instant)>>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.config).finish()
    }
}

/// Whether the address is encrypted, or leads to this machine.
fn is_safe(address: &openidconnect::url::Url) -> bool {
    let loopback = match address.host() {
        Some(openidconnect::url::Host::Domain(name)) => name == "localhost",
        Some(openidconnect::url::Host::Ipv4(address)) => address.is_loopback(),
        Some(openidconnect::url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    address.scheme() == "https" || (address.scheme() == "http" && loopback)
}

/// The provider did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unanswered(String);

impl Provider {
    /// A provider, reached with this trust in certificates. It is not asked before
    /// somebody logs in.
    ///
    /// # Errors
    /// See [`OidcConfigError`].
    pub fn new(config: OidcConfig, tls: TlsConfig) -> Result<Self, OidcConfigError> {
        let issuer = IssuerUrl::new(config.issuer.clone()).ok();
        let issuer = issuer.filter(|issuer| is_safe(issuer.url()));
        let issuer = issuer.ok_or_else(|| OidcConfigError::Issuer(config.issuer.clone()))?;
        let redirect = RedirectUrl::new(config.redirect_url.clone()).ok();
        let redirect = redirect.filter(|url| url.url().path() == "/api/v1/session/oidc/callback");
        let redirect =
            redirect.ok_or_else(|| OidcConfigError::Redirect(config.redirect_url.clone()))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .tls_config(tls)
            .build()
            .into();
        Ok(Self {
            config,
            issuer,
            redirect,
            agent,
            metadata: Mutex::default(),
        })
    }

    fn ask(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let place = request.uri().to_string();
        let failed = |error: ureq::Error| Unanswered(format!("{place}: {error}"));
        let answer = self.agent.run(request).map_err(failed)?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(LONGEST_ANSWER).read_to_vec();
        Ok(HttpResponse::from_parts(parts, body.map_err(failed)?))
    }

    /// What the provider says of itself, read anew now and then, or at once.
    fn metadata(&self, anew: bool) -> Result<CoreProviderMetadata, SignInError> {
        let known = || self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((metadata, at)) = known().as_ref()
            && !anew
            && at.elapsed() < METADATA_TTL
        {
            return Ok(metadata.clone());
        }
        let ask = |request: HttpRequest| self.ask(request);
        let metadata = CoreProviderMetadata::discover(&self.issuer, &ask);
        let metadata = metadata.map_err(|error| SignInError::Unavailable(chain(&error)))?;
        *known() = Some((metadata.clone(), Instant::now()));
        Ok(metadata)
    }

    /// The payload of a token that holds in every respect.
    fn verified(&self, token: &CoreIdToken, nonce: &str) -> Result<Value, SignInError> {
        match self.checked(token, nonce, false)? {
            Ok(claims) => Ok(claims),
            // The provider may have new keys since.
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                let again = self.checked(token, nonce, true)?;
                again.map_err(|error| SignInError::Refused(chain(&error)))
            }
            Err(error) => Err(SignInError::Refused(chain(&error))),
        }
    }

    fn checked(
        &self,
        token: &CoreIdToken,
        nonce: &str,
        anew: bool,
    ) -> Result<Result<Value, ClaimsVerificationError>, SignInError> {
        let secret = self.config.client_secret.clone().map(ClientSecret::new);
        let client_id = ClientId::new(self.config.client_id.clone());
        let client = CoreClient::from_provider_metadata(self.metadata(anew)?, client_id, secret);
        // The provider's keys alone: a token signed with our own secret proves little.
        let verifier = client.id_token_verifier().set_allowed_algs([
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
            CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            CoreJwsSigningAlgorithm::EcdsaP384Sha384,
            CoreJwsSigningAlgorithm::EdDsa,
        ]);
        if let Err(error) = token.claims(&verifier, &Nonce::new(nonce.to_owned())) {
            return Ok(Err(error));
        }
        let wrong = || SignInError::Refused("the token has no claims".to_owned());
        let text = token.to_string();
        let payload = text.split('.').nth(1).ok_or_else(wrong)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| wrong())?;
        let claims = serde_json::from_slice(&payload).map_err(|_| wrong())?;
        Ok(Ok(claims))
    }
}

/// Whom the claims of a token stand for.
fn person(config: &OidcConfig, claims: &Value) -> Result<Identified, SignInError> {
    let refused = |why: String| SignInError::Refused(why);
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let subject = text("sub").ok_or_else(|| refused("the token has no sub".to_owned()))?;
    let claim = &config.user_claim;
    let said = text(claim).ok_or_else(|| refused(format!("the token has no claim {claim}")))?;
    // Whoever may write any address into a profile is not yet its owner.
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(refused(
            "the provider has not verified the address".to_owned(),
        ));
    }
    let listed = config.users.get(said);
    let name = match listed {
        Some(name) => name.clone(),
        None => UserName::new(said).map_err(|_| {
            refused(format!(
                "{claim} is {said:?}, which is no name of a user; [server.oidc.users] can name one"
            ))
        })?,
    };
    let role = match &config.role_claim {
        None => None,
        Some(claim) => Some(role(config, claims.get(claim)).ok_or_else(|| {
            refused(format!(
                "nothing in {claim} is listed in [server.oidc.roles]"
            ))
        })?),
    };
    Ok(Identified {
        name,
        listed: listed.is_some(),
        subject: Digest::of(format!("{}\0{subject}", config.issuer).as_bytes()).to_string(),
        role,
    })
}

/// The role that gives the most, of those that a claim stands for.
fn role(config: &OidcConfig, claim: Option<&Value>) -> Option<Role> {
    let said: Vec<&str> = match claim? {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let roles = said.into_iter().filter_map(|value| config.roles.get(value));
    roles.copied().max_by_key(|role| match role {
        Role::Hook | Role::Guest => 0,
        Role::User => 1,
        Role::Auditor => 2,
        Role::Admin => 3,
    })
}

impl SignIn for Provider {
    fn begin(&self) -> Result<(String, Begun), SignInError> {
        let client_id = ClientId::new(self.config.client_id.clone());
        let client = CoreClient::from_provider_metadata(self.metadata(false)?, client_id, None)
            .set_redirect_uri(self.redirect.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .set_pkce_challenge(challenge);
        for scope in &self.config.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.url();
        let begun = Begun {
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
        };
        Ok((url.to_string(), begun))
    }

    fn finish(
        &self,
        code: &str,
        issuer: Option<&str>,
        begun: &Begun,
    ) -> Result<Identified, SignInError> {
        // RFC 9207: whoever answers says who it is, and must be who was asked.
        if issuer.is_some_and(|issuer| issuer != self.config.issuer) {
            let why = "another provider answered".to_owned();
            return Err(SignInError::Refused(why));
        }
        let secret = self.config.client_secret.clone().map(ClientSecret::new);
        let client_id = ClientId::new(self.config.client_id.clone());
        let client = CoreClient::from_provider_metadata(self.metadata(false)?, client_id, secret)
            .set_redirect_uri(self.redirect.clone());
        let exchange = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| SignInError::Unavailable(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.clone()));
        let ask = |request: HttpRequest| self.ask(request);
        let answer = exchange.request(&ask).map_err(|error| match error {
            openidconnect::RequestTokenError::Request(error) => {
                SignInError::Unavailable(chain(&error))
            }
            other => SignInError::Refused(chain(&other)),
        })?;
        let token = answer.extra_fields().id_token();
        let token = token.ok_or_else(|| SignInError::Refused("there is no id_token".to_owned()))?;
        person(&self.config, &self.verified(token, &begun.nonce)?)
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> OidcConfig {
        OidcConfig {
            issuer: "https://id.example.org".into(),
            client_id: "selfheal".into(),
            client_secret: None,
            redirect_url: "https://heal.example.org/api/v1/session/oidc/callback".into(),
            scopes: Vec::new(),
            user_claim: "preferred_username".into(),
            users: BTreeMap::new(),
            role_claim: None,
            roles: BTreeMap::new(),
        }
    }

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    #[test]
    fn a_provider_is_reached_safely_and_answers_to_the_one_place() {
        let made = |edit: &dyn Fn(&mut OidcConfig)| {
            let mut config = config();
            edit(&mut config);
            Provider::new(config, TlsConfig::default())
        };
        assert!(made(&|_| {}).is_ok());
        assert!(made(&|config| config.issuer = "http://127.0.0.1:9".into()).is_ok());
        for issuer in [
            "http://id.example.org",
            "id.example.org",
            "ftp://localhost",
            "",
        ] {
            let refused = made(&|config| config.issuer = issuer.into());
            assert!(
                matches!(refused, Err(OidcConfigError::Issuer(_))),
                "{issuer}"
            );
        }
        let elsewhere = "https://heal.example.org/elsewhere";
        let refused = made(&|config| config.redirect_url = elsewhere.into());
        assert!(matches!(refused, Err(OidcConfigError::Redirect(_))));
        let secret = OidcConfig {
            client_secret: Some("s3cret".into()),
            ..config()
        };
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    #[test]
    fn claims_name_an_account_or_nobody() {
        let ann = json!({"sub": "1", "preferred_username": "ann", "email": "ann@example.org"});
        let found = person(&config(), &ann).unwrap();
        assert!(!found.listed);
        assert_eq!((found.name, found.role), (name("ann"), None));
        let again = json!({"sub": "2", "preferred_username": "ann"});
        assert_ne!(person(&config(), &again).unwrap().subject, found.subject);
        for nobody in [
            json!({"preferred_username": "ann"}),
            json!({"sub": "1"}),
            json!({"sub": "1", "preferred_username": ["ann"]}),
            json!({"sub": "1", "preferred_username": "Ann O'Nym"}),
        ] {
            assert!(person(&config(), &nobody).is_err(), "{nobody}");
        }
        let by_mail = OidcConfig {
            user_claim: "email".into(),
            users: [("ann@example.org".to_owned(), name("ann"))].into(),
            ..config()
        };
        assert!(person(&by_mail, &ann).is_err(), "nobody verified it");
        let mut verified = ann.clone();
        verified["email_verified"] = json!(true);
        let found = person(&by_mail, &verified).unwrap();
        assert_eq!((found.name, found.listed), (name("ann"), true));
    }

    #[test]
    fn roles_follow_the_claim_that_was_named_and_only_as_listed() {
        let grouped = OidcConfig {
            role_claim: Some("groups".into()),
            roles: [("staff", Role::User), ("heal-admins", Role::Admin)]
                .map(|(group, role)| (group.to_owned(), role))
                .into(),
            ..config()
        };
        let with = |groups: Value| {
            person(
                &grouped,
                &json!({"sub": "1", "preferred_username": "ann", "groups": groups}),
            )
        };
        let role = |groups| with(groups).unwrap().role;
        assert_eq!(role(json!(["staff", "x"])), Some(Role::User));
        assert_eq!(role(json!(["heal-admins", "staff"])), Some(Role::Admin));
        assert_eq!(role(json!("staff")), Some(Role::User));
        for none in [json!([]), json!(["admin"]), json!(7), json!(null)] {
            assert!(with(none.clone()).is_err(), "{none}");
        }
    }
}
