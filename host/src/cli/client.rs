//! How the commands that talk to a host over the network trust it.

use super::issue::{exit_of, problem};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_external_agent::{Authorities, AuthoritiesError, explained, tls};
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest answer that is taken, in bytes.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the host is and who asks.
#[derive(Args, Debug, Clone)]
pub(crate) struct Access {
    /// Address of the host
    #[arg(
        long,
        env = "SELFHEAL_URL",
        default_value = "http://127.0.0.1:7700",
        global = true
    )]
    url: String,
    /// Token of the account
    #[arg(
        long,
        env = "SELFHEAL_TOKEN",
        hide_env_values = true,
        default_value = "",
        global = true
    )]
    token: String,
    /// Authorities (PEM) of its certificate, in place of those that this machine trusts
    #[arg(long, env = "SELFHEAL_CA_FILE", value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

impl Access {
    /// The address, without a slash at its end.
    pub(super) fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// For what runs unattended: there is a token, and nobody on the way reads it.
    ///
    /// # Errors
    /// What is missing, and where to put it.
    pub(super) fn must_be_private(&self) -> Result<(), Failure> {
        if self.token.is_empty() {
            let why = "SELFHEAL_TOKEN is not set: set it to the token of the person's account";
            return Err(Failure::new(Exit::Usage, why));
        }
        let url: Option<ureq::http::Uri> = self.url.parse().ok();
        let private = url.is_some_and(|url| match url.scheme_str() {
            Some("https") => true,
            Some("http") => url.host().is_some_and(is_loopback),
            _ => false,
        });
        if private {
            return Ok(());
        }
        let why = format!(
            "SELFHEAL_URL is {:?}: it must be https, or http on this machine",
            self.url
        );
        Err(Failure::new(Exit::Usage, why))
    }

    /// Sends a request under `/api/v1`, which counts once under its `key`; the answer's
    /// bytes.
    ///
    /// # Errors
    /// What the host refuses, and why; or that it does not answer.
    pub(super) fn fetch(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
        proxies: Proxies,
    ) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/api/v1{path}", self.url());
        let client = Client::new(self.ca_file.as_deref(), PATIENCE, proxies);
        let client = client.because(Exit::Usage)?;
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request
            .header("content-type", "application/json")
            .body(text.into_bytes())
            .map_err(|error| Failure::new(Exit::Usage, no_request(&url, &error)))?;
        let response = client.run(&url, request);
        let mut response = response.map_err(|why| Failure::new(Exit::Unavailable, why))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_BYTES);
        let bytes = body.read_to_vec().because(Exit::Unavailable)?;
        if status < 400 {
            return Ok(bytes);
        }
        let answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(Failure::new(exit_of(status), problem(status, &answer)))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// A client that trusts the authorities of one file in place of the machine's.
pub(super) struct Client {
    agent: ureq::Agent,
    authorities: Option<Authorities>,
}

/// What to say of a request that cannot be made of what was given.
pub(super) fn no_request(url: &str, error: &ureq::http::Error) -> String {
    format!("{url} cannot be asked ({error}); a host is named as in http://127.0.0.1:7700")
}

/// Whether what the environment says of proxies counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxies {
    /// As everywhere.
    Followed,
    /// Whoever sets the environment must not answer in the host's place.
    Ignored,
}

impl Client {
    /// A client that waits for so long.
    ///
    /// # Errors
    /// The file does not hold authorities.
    pub(super) fn new(
        ca_file: Option<&Path>,
        patience: Duration,
        proxies: Proxies,
    ) -> Result<Self, AuthoritiesError> {
        let authorities = ca_file.map(Authorities::read).transpose()?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(patience))
            // A token goes to nobody but the host that was named.
            .max_redirects(0)
            .tls_config(tls(authorities.as_ref()));
        let config = match proxies {
            Proxies::Followed => config,
            Proxies::Ignored => config.proxy(None),
        };
        Ok(Self {
            agent: config.build().into(),
            authorities,
        })
    }

    /// Sends a request to `url`.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(super) fn run(
        &self,
        url: &str,
        request: ureq::http::Request<Vec<u8>>,
    ) -> Result<ureq::http::Response<ureq::Body>, String> {
        self.agent.run(request).map_err(|error| {
            let setting = "SELFHEAL_CA_FILE (or --ca-file)";
            let why = explained(&error, self.authorities.as_ref(), setting);
            format!("{url} does not answer ({why}); is `selfheal serve` running?")
        })
    }
}
