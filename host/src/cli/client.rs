//! How the commands that talk to a host over the network trust it.

use selfheal_external_agent::{Authorities, AuthoritiesError, explained, tls};
use std::path::Path;
use std::time::Duration;

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
