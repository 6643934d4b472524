//! Requests to the running application, as its operators configured them.

use selfheal_domain::ports::Probes;
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How much of an answer is read, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// One request and what must come back: `[[verification.probe]]` in `selfheal.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// For people.
    pub name: String,
    /// `GET` unless said otherwise.
    #[serde(default = "get")]
    pub method: String,
    /// Absolute, `http://` only: the application is on this machine.
    pub url: String,
    /// Sent as it is, with `content-type: application/json`.
    pub body: Option<String>,
    /// Status that must come back.
    #[serde(default = "ok")]
    pub expect_status: u16,
    /// Text that the body must contain.
    pub expect_body: Option<String>,
    /// Per request.
    #[serde(default = "five")]
    pub timeout_seconds: u64,
}

impl ProbeConfig {
    /// # Errors
    /// Its address is none that can be asked; the text says what is valid.
    pub fn check(&self) -> Result<(), String> {
        let host = self.url.strip_prefix("http://");
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            return Err(format!(
                "{:?} is no address of the application, as in \"http://127.0.0.1:8080/health\"",
                self.url
            ));
        }
        Ok(())
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

fn five() -> u64 {
    5
}

/// Sends the configured requests one after the other.
#[derive(Debug)]
pub struct HttpProbes {
    probes: Vec<ProbeConfig>,
}

impl HttpProbes {
    /// Probes in the order in which they are sent.
    pub fn new(probes: Vec<ProbeConfig>) -> Self {
        Self { probes }
    }
}

impl Probes for HttpProbes {
    fn check(&self, budget: Duration) -> Vec<CheckEvidence> {
        let start = Instant::now();
        self.probes
            .iter()
            .map(|probe| {
                let begun = Instant::now();
                let left = budget.saturating_sub(start.elapsed());
                let (result, detail) = if left.is_zero() {
                    (
                        VerificationResult::Inconclusive,
                        "no time was left for it".to_owned(),
                    )
                } else {
                    send(probe, left.min(Duration::from_secs(probe.timeout_seconds)))
                };
                CheckEvidence {
                    name: format!("probe: {}", probe.name),
                    result,
                    detail,
                    seconds: begun.elapsed().as_secs_f64(),
                }
            })
            .collect()
    }
}

fn send(probe: &ProbeConfig, timeout: Duration) -> (VerificationResult, String) {
    match answer(probe, timeout) {
        Err(error) => (
            VerificationResult::Fail,
            format!("{} {}: {error}", probe.method, probe.url),
        ),
        Ok((status, body)) => {
            let text_missing = probe
                .expect_body
                .as_ref()
                .filter(|text| !body.contains(text.as_str()));
            let shown: String = body.chars().take(500).collect();
            let seen = format!("{} {} answered {status}: {shown}", probe.method, probe.url);
            if status != probe.expect_status {
                (
                    VerificationResult::Fail,
                    format!("expected status {}; {seen}", probe.expect_status),
                )
            } else if let Some(text) = text_missing {
                (
                    VerificationResult::Fail,
                    format!("expected {text:?} in the body; {seen}"),
                )
            } else {
                (VerificationResult::Pass, seen)
            }
        }
    }
}

fn answer(
    probe: &ProbeConfig,
    timeout: Duration,
) -> Result<(u16, String), Box<dyn std::error::Error>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build()
        .into();
    let request = ureq::http::Request::builder()
        .method(probe.method.as_str())
        .uri(&probe.url)
        .header("content-type", "application/json")
        .body(probe.body.clone().unwrap_or_default())?;
    let mut response = agent.run(request)?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(ANSWER_LIMIT)
        .lossy_utf8(true)
        .read_to_string()?;
    Ok((status, body))
}
