//! One question over HTTP: connect, stream, bound, retry. What is said in the bodies
//! is a dialect's business ([`Assembler`]).
//!
//! - The key goes to the configured address only: redirects are not followed.
//! - An answer is complete when its dialect has seen its end event, never because the
//!   connection closed.
//! - Every buffer has a bound ([`limits`]).

pub(crate) mod assemble;
mod exchange;
pub(crate) mod fault;
pub(crate) mod limits;
pub mod pace;
mod status;

use crate::authorities::Authorities;
use crate::key::Key;
use crate::provider::{Delta, ProviderError};
use assemble::Finished;
use fault::{Fault, Retry};
use pace::Pace;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use fault::Kind;
pub(crate) use status::{ErrorBody, classify};

/// Tries of one question when the provider is overloaded or cannot be reached.
const TRIES: u32 = 8;
/// Tries when answers break off: each costs tokens.
const BROKEN_TRIES: u32 = 3;
/// First wait between tries; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait that we choose ourselves.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Longest wait that a provider may ask for; beyond it, it is as good as down.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// What came of the events so far.
pub(crate) enum Flow {
    /// More must follow.
    More,
    /// That was the end event.
    Done,
}

/// Puts an answer together from a dialect's events.
pub(crate) trait Assembler {
    /// Takes one event.
    fn event(&mut self, data: &str, seen: &mut dyn FnMut(Delta)) -> Result<Flow, Fault>;

    /// What it came to. Called after [`Flow::Done`] only.
    fn finish(self: Box<Self>) -> Result<Finished, Fault>;
}

/// Where and how a provider is asked.
pub(crate) struct Address {
    /// The complete address of the call.
    pub(crate) url: Url,
    /// Sent with each request.
    pub(crate) headers: HeaderMap,
    /// Taken out of every message.
    pub(crate) key: Option<Key>,
    /// Who signs its certificate; the machine's authorities when `None`.
    pub(crate) authorities: Option<Authorities>,
    /// Longest time until a connection stands.
    pub(crate) connect_timeout: Duration,
    /// Longest silence.
    pub(crate) idle_timeout: Duration,
}

/// A provider's line: connections, time and limits.
pub(crate) struct Wire {
    name: String,
    address: Address,
    client: Client,
    /// `None` only while it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    pace: Arc<dyn Pace>,
}

impl Wire {
    /// # Errors
    /// When the system gives no thread, or its certificates cannot be read.
    pub(crate) fn new(
        name: String,
        address: Address,
        pace: Arc<dyn Pace>,
    ) -> Result<Self, std::io::Error> {
        // A second installation is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("selfheal/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // The library's own repetition would hide tries from our count.
            .retry(reqwest::retry::never())
            .connect_timeout(address.connect_timeout)
            .read_timeout(address.idle_timeout)
            .pool_idle_timeout(Duration::from_secs(60));
        if address.url.scheme() == "http" {
            // A proxy would see the key in the clear.
            builder = builder.no_proxy().tls_certs_only([]);
        } else if let Some(authorities) = &address.authorities {
            builder = builder.tls_certs_only(authorities.certificates.iter().cloned());
        }
        let client = builder.build().map_err(std::io::Error::other)?;
        // One worker keeps idle connections honest between questions; the questions
        // themselves run on their callers' threads.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("model-wire")
            .enable_all()
            .build()?;
        Ok(Self {
            name,
            address,
            client,
            runtime: Some(runtime),
            pace,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Time since a fixed point.
    pub(crate) fn now(&self) -> Duration {
        self.pace.now()
    }

    /// Asks until there is an answer, a final fault, or no patience.
    pub(crate) fn ask(
        &self,
        body: &[u8],
        fresh: &dyn Fn() -> Box<dyn Assembler>,
        deadline: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Finished, ProviderError> {
        let mut tries = 0;
        loop {
            if cancelled() {
                return Err(ProviderError::Cancelled);
            }
            let mut watched = false;
            let result = self.once(body, fresh(), deadline, cancelled, &mut |delta| {
                watched = true;
                seen(delta);
            });
            tries += 1;
            let fault = match result {
                Ok(finished) => return Ok(finished),
                Err(fault) => fault,
            };
            let Some(wait) = self.wait_before_next(&fault, tries, deadline) else {
                let error = self.error(fault, tries);
                if !matches!(error, ProviderError::Cancelled) {
                    tracing::warn!(provider = self.name, tries, "no answer: {error}");
                }
                return Err(error);
            };
            tracing::warn!(
                provider = self.name,
                tries,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "asked again: {}",
                self.shown(&fault.message)
            );
            self.pace.wait(wait, cancelled);
            if watched {
                seen(Delta::Restart);
            }
        }
    }

    /// How long to wait before the next try; `None` when there is none.
    fn wait_before_next(&self, fault: &Fault, tries: u32, deadline: Duration) -> Option<Duration> {
        let allowed = match fault.kind {
            Kind::Broken => BROKEN_TRIES,
            _ => TRIES,
        };
        if tries >= allowed {
            return None;
        }
        let doubled = FIRST_WAIT
            .saturating_mul(1 << (tries - 1).min(16))
            .min(LONGEST_WAIT);
        // Between a half and the whole, so that many clients do not come back at once.
        let own = doubled.mul_f64(0.5 + 0.5 * self.pace.jitter().clamp(0.0, 1.0));
        let wait = match fault.retry {
            Retry::No => return None,
            Retry::BackOff => own,
            Retry::After(asked) if asked > LONGEST_ASKED => return None,
            Retry::After(asked) => asked.max(own),
        };
        (self.pace.now().saturating_add(wait) < deadline).then_some(wait)
    }

    fn once(
        &self,
        body: &[u8],
        assembler: Box<dyn Assembler>,
        deadline: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Finished, Fault> {
        let Some(runtime) = &self.runtime else {
            return Err(Fault::unavailable("the connection is closed"));
        };
        let left = deadline.saturating_sub(self.pace.now());
        let request = self
            .client
            .post(self.address.url.clone())
            .headers(self.address.headers.clone())
            .body(body.to_vec());
        runtime.block_on(async {
            let work = exchange::exchange(request, assembler, &self.address, seen);
            let patience = tokio::time::sleep(left);
            let mut ticks = tokio::time::interval(pace::TICK);
            tokio::pin!(work, patience);
            loop {
                tokio::select! {
                    biased;
                    _ = ticks.tick() => if cancelled() {
                        return Err(Fault::cancelled());
                    },
                    () = &mut patience => {
                        return Err(Fault::unavailable("no complete answer in the time there was"));
                    }
                    result = &mut work => return result,
                }
            }
        })
    }

    /// The message without the key, without control characters, bounded.
    fn shown(&self, message: &str) -> String {
        let message = match &self.address.key {
            Some(key) => key.scrub(message),
            None => message.to_owned(),
        };
        message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(limits::MESSAGE)
            .collect()
    }

    /// A fault as callers see it.
    pub(crate) fn error(&self, fault: Fault, tries: u32) -> ProviderError {
        let provider = self.name.clone();
        let mut message = self.shown(&fault.message);
        if let Retry::After(asked) = fault.retry
            && asked > LONGEST_ASKED
        {
            message.push_str(&format!(" (it wants us back in {} s)", asked.as_secs()));
        }
        if tries > 1 {
            message.push_str(&format!(" (after {tries} tries)"));
        }
        match fault.kind {
            Kind::Cancelled => ProviderError::Cancelled,
            Kind::Unavailable => ProviderError::Unavailable { provider, message },
            Kind::OutOfBudget => ProviderError::OutOfBudget { provider, message },
            Kind::Refused => ProviderError::Refused { provider, message },
            Kind::TooLong => ProviderError::TooLong { provider, message },
            Kind::Broken => ProviderError::Broken { provider, message },
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A name look-up that hangs must not hold up whoever drops us.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A header that everyone needs.
pub(crate) fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        reqwest::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        reqwest::header::ACCEPT,
        HeaderValue::from_static("text/event-stream"),
    );
    headers
}
