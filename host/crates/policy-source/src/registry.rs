//! Registries: pulling a module by its digest, finding the digest behind a tag,
//! pushing a module.
//!
//! The protocol is `oci-client`'s. It reads answers of any length into memory and
//! follows redirects to anywhere, so all of its traffic goes through a relay of our
//! own (`registry/relay.rs`) that counts bytes and looks at addresses; TLS is end to
//! end through it. Callers are synchronous: each operation has a thread and a runtime
//! of its own, and an end in time.

mod credentials;
mod relay;

pub use credentials::{Credentials, CredentialsProblem};

use crate::manifest::{BadManifest, Blob, LARGEST_CONFIG, MANIFEST_TYPE, ModuleManifest, artifact};
use crate::source::{OciName, OciRef, OciTarget};
use crate::store::LARGEST_MANIFEST;
use crate::{LARGEST_MODULE, SLOWEST_PULL};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use relay::{Relay, Stopped};
use selfheal_domain::digest::Digest;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// What one pull may cost: a module, a manifest, a config, and room for headers,
/// tokens and TLS.
const PULL_BUDGET: u64 = LARGEST_MODULE + LARGEST_MANIFEST + LARGEST_CONFIG + (1 << 20);
/// What the answers to a push, or to a question about a tag, may cost.
const TALK_BUDGET: u64 = 1 << 20;
/// Longest text of a registry that is repeated in an error, in characters.
const LONGEST_QUOTE: usize = 300;

/// A registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryProblem {
    /// This host was told not to ask registries.
    #[error("it is not kept here, and registries are not asked (offline)")]
    Offline,
    /// Nothing answers, or not in the protocol.
    #[error("{registry} cannot be reached: {message}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// Why.
        message: String,
    },
    /// It takes too long.
    #[error("{registry} did not finish within {} seconds", SLOWEST_PULL.as_secs())]
    TooSlow {
        /// Host and port.
        registry: String,
    },
    /// It sends more than a module can have.
    #[error("{registry} sent more than {limit} bytes")]
    TooMuch {
        /// Host and port.
        registry: String,
        /// The bound.
        limit: u64,
    },
    /// It sends us somewhere that we do not go: a private address, plain HTTP.
    #[error("{registry} redirects to {to}, which is not followed: {why}")]
    Elsewhere {
        /// Host and port.
        registry: String,
        /// Host and port that it names.
        to: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It does not have it.
    #[error("{registry} does not have it")]
    NotFound {
        /// Host and port.
        registry: String,
    },
    /// It wants (other) credentials.
    #[error(
        "{registry} refuses access; put credentials for it into ~/.docker/config.json (docker \
         login) or DOCKER_AUTH_CONFIG; credential helpers are not run"
    )]
    Unauthorized {
        /// Host and port.
        registry: String,
    },
    /// It sends other bytes than the digest says.
    #[error("{registry} sent other bytes than the digest {expected} names")]
    Digest {
        /// Host and port.
        registry: String,
        /// What was asked for.
        expected: String,
    },
    /// What it has there is no policy module.
    #[error("it is no policy module")]
    Manifest(#[source] BadManifest),
    /// To be pushed, but no component.
    #[error("it is no WebAssembly component, and only components are pushed")]
    NotAComponent,
    /// It says something else.
    #[error("{registry} answers: {message}")]
    Answer {
        /// Host and port.
        registry: String,
        /// Its words, or the client's, shortened.
        message: String,
    },
    /// The client itself failed.
    #[error("the registry client failed: {0}")]
    Client(String),
}

/// How registries are asked.
#[derive(Clone, Debug)]
pub struct Registries {
    insecure: Vec<String>,
    credentials: Credentials,
    online: bool,
    /// Longest that one operation is waited for.
    patience: Duration,
}

/// Manifest, config and module, as pulled.
pub(crate) type Blobs = (Vec<u8>, Vec<u8>, Vec<u8>);

impl Registries {
    /// Anonymous, over TLS, except with loopback and the `insecure` ones (`HOST[:PORT]`),
    /// which are asked over plain HTTP.
    pub fn new(insecure: &[String]) -> Self {
        Self {
            insecure: insecure.to_vec(),
            credentials: Credentials::default(),
            online: true,
            patience: SLOWEST_PULL,
        }
    }

    /// Asks none: what is not kept already is not had.
    pub fn offline() -> Self {
        Self {
            insecure: Vec::new(),
            credentials: Credentials::default(),
            online: false,
            patience: SLOWEST_PULL,
        }
    }

    /// With credentials for those registries that they name.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// The digest behind a tag, now.
    ///
    /// # Errors
    /// The registry does not say, or what it has there is no policy module.
    pub fn resolve(&self, target: &OciTarget) -> Result<OciRef, RegistryProblem> {
        let reference = tagged(target);
        let manifest = self.ask(&target.name, TALK_BUDGET, async |session| {
            let manifest = session.manifest(&reference).await?;
            ModuleManifest::read(&manifest).map_err(RegistryProblem::Manifest)?;
            Ok(manifest)
        })?;
        Ok(OciRef {
            name: target.name.clone(),
            digest: Digest::of(&manifest),
        })
    }

    /// Puts a module, and its detached signature if it has one, under a tag. The same
    /// module always gets the same digest.
    ///
    /// # Errors
    /// It is no component, or the registry does not take it.
    pub fn push(
        &self,
        target: &OciTarget,
        module: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<OciRef, RegistryProblem> {
        let artifact = artifact(module, signature).ok_or(RegistryProblem::NotAComponent)?;
        // What could not be pulled is not pushed.
        ModuleManifest::read(&artifact.manifest).map_err(RegistryProblem::Manifest)?;
        let digest = Digest::of(&artifact.manifest);
        let reference = tagged(target);
        self.ask(&target.name, TALK_BUDGET, async move |session| {
            session.put_blob(&reference, artifact.config).await?;
            session.put_blob(&reference, module.to_vec()).await?;
            session.put_manifest(&reference, artifact.manifest).await
        })?;
        Ok(OciRef {
            name: target.name.clone(),
            digest,
        })
    }

    pub(crate) fn pull(&self, wanted: &OciRef) -> Result<Blobs, RegistryProblem> {
        let digest = format!("sha256:{}", wanted.digest);
        let reference = Reference::with_digest(
            wanted.name.registry().to_owned(),
            wanted.name.repository().to_owned(),
            digest.clone(),
        );
        self.ask(&wanted.name, PULL_BUDGET, async |session| {
            let manifest = session.manifest(&reference).await?;
            if Digest::of(&manifest) != wanted.digest {
                return Err(session.other_bytes(&digest));
            }
            let read = ModuleManifest::read(&manifest).map_err(RegistryProblem::Manifest)?;
            let config = session
                .blob(&reference, read.config, LARGEST_CONFIG)
                .await?;
            let module = session
                .blob(&reference, read.module, LARGEST_MODULE)
                .await?;
            Ok((manifest, config, module))
        })
    }

    /// Runs one operation in a thread of its own, within its time and its bytes.
    fn ask<T: Send>(
        &self,
        name: &OciName,
        budget: u64,
        work: impl AsyncFnOnce(&Session) -> Result<T, RegistryProblem> + Send,
    ) -> Result<T, RegistryProblem> {
        if !self.online {
            return Err(RegistryProblem::Offline);
        }
        let run = || -> Result<T, RegistryProblem> {
            let client_failed = |error: std::io::Error| RegistryProblem::Client(error.to_string());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(client_failed)?;
            let result = runtime.block_on(async {
                let session = self.session(name, budget).await?;
                let registry = name.registry().to_owned();
                match tokio::time::timeout(self.patience, work(&session)).await {
                    // A body that the relay cut off can look like one that ended.
                    Ok(Ok(done)) => match session.relay.stopped() {
                        Some(Stopped::Budget(limit)) => {
                            Err(RegistryProblem::TooMuch { registry, limit })
                        }
                        _ => Ok(done),
                    },
                    Ok(Err(problem)) => Err(session.cause(problem)),
                    Err(_) => Err(RegistryProblem::TooSlow { registry }),
                }
            });
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            result
        };
        // A panic in the client is an error like any other.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("registry".to_owned())
                .spawn_scoped(scope, run)
                .map_err(|error| RegistryProblem::Client(error.to_string()))?
                .join()
                .unwrap_or_else(|_| Err(RegistryProblem::Client("it panicked".to_owned())))
        })
    }

    async fn session(&self, name: &OciName, budget: u64) -> Result<Session, RegistryProblem> {
        // The first one stays; a second is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // `docker.io` is served from elsewhere; everything else is itself.
        let reference =
            Reference::with_tag(name.registry().into(), name.repository().into(), "x".into());
        let registry = reference.resolve_registry().to_owned();
        let plain = self.plain(&registry);
        let relay = Relay::start(&registry, plain, budget)
            .await
            .map_err(|error| RegistryProblem::Client(error.to_string()))?;
        let protocol = if plain.is_some() {
            ClientProtocol::HttpsExcept(vec![registry.clone()])
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            use_monolithic_push: true,
            platform_resolver: None,
            read_timeout: Some(READ_TIMEOUT),
            connect_timeout: Some(CONNECT_TIMEOUT),
            user_agent: concat!("selfheal/", env!("CARGO_PKG_VERSION")),
            http_proxy: Some(relay.address()),
            https_proxy: Some(relay.address()),
            ..ClientConfig::default()
        };
        let client =
            Client::try_from(config).map_err(|error| RegistryProblem::Client(quote(&error)))?;
        let auth = self
            .credentials
            .get(name.registry())
            .map_or(RegistryAuth::Anonymous, |(user, password)| {
                RegistryAuth::Basic(user, password)
            });
        client.store_auth_if_needed(&registry, &auth).await;
        Ok(Session {
            client,
            auth,
            relay,
            registry: name.registry().to_owned(),
        })
    }

    /// Whether a registry is asked over plain HTTP, and why it may be.
    fn plain(&self, registry: &str) -> Option<Plain> {
        if self.insecure.iter().any(|listed| listed == registry) {
            return Some(Plain::Listed);
        }
        let host = registry.split(':').next().unwrap_or(registry);
        let loopback = host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        loopback.then_some(Plain::Loopback)
    }
}

/// Why a registry may be asked over plain HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plain {
    /// `policy.toml` lists it.
    Listed,
    /// It is this machine; its address has to be, too.
    Loopback,
}

/// One operation's client.
struct Session {
    client: Client,
    auth: RegistryAuth,
    relay: Relay,
    registry: String,
}

impl Session {
    async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>, RegistryProblem> {
        let (bytes, _) = self
            .client
            .pull_manifest_raw(reference, &self.auth, &[MANIFEST_TYPE])
            .await
            .map_err(|error| self.problem(&error, reference.digest().unwrap_or_default()))?;
        Ok(bytes.to_vec())
    }

    async fn blob(
        &self,
        reference: &Reference,
        blob: Blob,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryProblem> {
        let digest = format!("sha256:{}", blob.digest);
        let limit = limit.min(blob.size);
        let mut out = Bounded {
            bytes: Vec::new(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            over: false,
        };
        let pulled = self
            .client
            .pull_blob(reference, digest.as_str(), &mut out)
            .await;
        if out.over {
            return Err(RegistryProblem::TooMuch {
                registry: self.registry.clone(),
                limit,
            });
        }
        pulled.map_err(|error| self.problem(&error, &digest))?;
        if Digest::of(&out.bytes) != blob.digest {
            return Err(self.other_bytes(&digest));
        }
        Ok(out.bytes)
    }

    async fn put_blob(&self, at: &Reference, bytes: Vec<u8>) -> Result<(), RegistryProblem> {
        let digest = format!("sha256:{}", Digest::of(&bytes));
        if self.client.blob_exists(at, &digest).await.unwrap_or(false) {
            return Ok(());
        }
        self.client
            .push_blob(at, bytes, &digest)
            .await
            .map(drop)
            .map_err(|error| self.problem(&error, &digest))
    }

    async fn put_manifest(&self, at: &Reference, bytes: Vec<u8>) -> Result<(), RegistryProblem> {
        let content_type = MANIFEST_TYPE
            .parse()
            .map_err(|_| RegistryProblem::Client(MANIFEST_TYPE.to_owned()))?;
        self.client
            .push_manifest_raw(at, bytes, content_type)
            .await
            .map(drop)
            .map_err(|error| self.problem(&error, ""))
    }

    fn other_bytes(&self, expected: &str) -> RegistryProblem {
        RegistryProblem::Digest {
            registry: self.registry.clone(),
            expected: expected.to_owned(),
        }
    }

    /// The relay knows better than the client why a connection ended.
    fn cause(&self, problem: RegistryProblem) -> RegistryProblem {
        let registry = self.registry.clone();
        match self.relay.stopped() {
            Some(Stopped::Budget(limit)) => RegistryProblem::TooMuch { registry, limit },
            Some(Stopped::Refused { to, why }) => RegistryProblem::Elsewhere { registry, to, why },
            Some(Stopped::Unreachable(message)) => {
                RegistryProblem::Unreachable { registry, message }
            }
            None => problem,
        }
    }

    fn problem(&self, error: &OciDistributionError, expected: &str) -> RegistryProblem {
        use oci_client::errors::OciErrorCode as Code;
        let registry = self.registry.clone();
        match error {
            OciDistributionError::DigestError(_) => self.other_bytes(expected),
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError {
                code: 401 | 403, ..
            } => RegistryProblem::Unauthorized { registry },
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => {
                RegistryProblem::NotFound { registry }
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let has = |wanted: &[Code]| {
                    envelope
                        .errors
                        .iter()
                        .any(|error| wanted.contains(&error.code))
                };
                if has(&[Code::ManifestUnknown, Code::BlobUnknown, Code::NameUnknown]) {
                    RegistryProblem::NotFound { registry }
                } else if has(&[Code::Unauthorized, Code::Denied]) {
                    RegistryProblem::Unauthorized { registry }
                } else {
                    RegistryProblem::Answer {
                        registry,
                        message: quote(error),
                    }
                }
            }
            OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => {
                RegistryProblem::Unreachable {
                    registry,
                    message: quote(error),
                }
            }
            _ => RegistryProblem::Answer {
                registry,
                message: quote(error),
            },
        }
    }
}

/// Takes bytes up to a bound, and nothing after it.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            self.over = true;
            return Poll::Ready(Err(std::io::Error::other("more than announced")));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn tagged(target: &OciTarget) -> Reference {
    Reference::with_tag(
        target.name.registry().to_owned(),
        target.name.repository().to_owned(),
        target.tag.clone(),
    )
}

/// An error's text with its causes, on one line, shortened: a registry chose parts of it.
fn quote(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_QUOTE)
        .collect()
}

#[cfg(test)]
mod tests;
