//! Which requests go on, with what, and where to.

use super::authorities::{explained, tls};
use super::http::Request;
use super::served::keep_own;
use super::usage::{Meter, Usage};
use super::{Dialect, Upstream};
use serde_json::Value;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest answer, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// Headers of the agent that go on. Never its own credentials or cookies.
const SENT: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "user-agent",
];

/// Headers of the endpoint that come back.
const RETURNED: &[&str] = &[
    "content-type",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "x-should-retry",
];

/// Texts that the endpoint signed or numbered and that must come back unchanged.
const OPAQUE: &[&str] = &[
    "signature",
    "encrypted_content",
    "id",
    "call_id",
    "tool_use_id",
    "type",
];

/// The request does not go on.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: String,
}

/// Sends requests on.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstream: Upstream,
    client: ureq::Agent,
    usage: Mutex<Usage>,
    closed: AtomicBool,
}

impl Forwarder {
    pub(super) fn new(upstream: Upstream) -> Self {
        let client = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Wherever it would lead is not what was configured.
            .max_redirects(0)
            .proxy(proxy(&upstream.base_url, ureq::Proxy::try_from_env()))
            .tls_config(tls(upstream.authorities.as_ref()))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(600)))
            .timeout_per_read(Some(Duration::from_secs(300)))
            .build()
            .new_agent();
        Self {
            upstream,
            client,
            usage: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn usage(&self) -> Usage {
        *self.counted()
    }

    fn counted(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request on and gives the beginning of its answer.
    pub(super) fn forward(&self, request: &Request) -> Result<Answer<'_>, Refusal> {
        let sent = self.send(request);
        if sent.is_err() {
            self.counted().refused += 1;
        }
        sent
    }

    fn send(&self, request: &Request) -> Result<Answer<'_>, Refusal> {
        let refused = |status: u16, text: String| Refusal { status, text };
        let place =
            place(self.upstream.dialect, &request.method, &request.target).ok_or_else(|| {
                refused(
                    404,
                    format!(
                        "{} {} is not a request to the model; nothing else leaves this sandbox",
                        request.method, request.target
                    ),
                )
            })?;
        let body = self
            .masked(&request.body)
            .map_err(|text| refused(400, text))?;
        {
            let mut usage = self.counted();
            if self.closed.load(Ordering::SeqCst) {
                return Err(refused(403, "the session is over".to_owned()));
            }
            if usage.requests >= self.upstream.most_requests {
                let most = self.upstream.most_requests;
                return Err(refused(
                    403,
                    format!("the budget of {most} requests is used up"),
                ));
            }
            if usage.tokens() >= self.upstream.most_tokens {
                let most = self.upstream.most_tokens;
                return Err(refused(
                    403,
                    format!("the budget of {most} tokens is used up"),
                ));
            }
            usage.requests += 1;
        }
        let mut outgoing = ureq::http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{place}", self.upstream.base_url));
        for name in SENT {
            if let Some(value) = request.header(name) {
                outgoing = outgoing.header(*name, value);
            }
        }
        if let Some(key) = &self.upstream.key {
            outgoing = match self.upstream.dialect {
                Dialect::Anthropic => outgoing.header("x-api-key", key),
                Dialect::OpenAi => outgoing.header("authorization", format!("Bearer {key}")),
            };
        }
        let unreachable = |error: &dyn std::fmt::Display| Refusal {
            status: 502,
            text: format!(
                "the model's endpoint {} does not answer: {error}",
                self.upstream.base_url
            ),
        };
        let asked = body.len();
        let answer = if body.is_empty() {
            let outgoing = outgoing.body(()).map_err(|error| unreachable(&error))?;
            self.client.run(outgoing)
        } else {
            let outgoing = outgoing.body(body).map_err(|error| unreachable(&error))?;
            self.client.run(outgoing)
        };
        let answer = answer.map_err(|error| {
            let why = explained(
                &error,
                self.upstream.authorities.as_ref(),
                "agent.external.ca_file",
            );
            // The agent keeps what it is told to itself.
            tracing::warn!(endpoint = self.upstream.base_url, "no answer: {why}");
            unreachable(&why)
        })?;
        let headers = RETURNED
            .iter()
            .filter_map(|name| {
                let value = answer.headers().get(*name)?.to_str().ok()?;
                Some(((*name).to_owned(), value.to_owned()))
            })
            .collect();
        // A list of models, a refusal: nobody counts tokens there.
        let asked = if answer.status().is_success() && !place.starts_with("/v1/messages/count") {
            asked
        } else {
            0
        };
        Ok(Answer {
            status: answer.status().as_u16(),
            headers,
            body: Box::new(answer.into_body().into_reader().take(LONGEST_ANSWER + 1)),
            left: LONGEST_ANSWER,
            meter: Meter::of(asked),
            forwarder: self,
        })
    }

    /// What the agent read in the sandbox may hold secrets: they stay here.
    fn masked(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        if body.is_empty() {
            return Ok(Vec::new());
        }
        let mut value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("the request is not JSON: {error}"))?;
        keep_own(&mut value)?;
        mask(&mut value, &self.upstream.mask);
        serde_json::to_vec(&value).map_err(|error| error.to_string())
    }
}

fn mask(value: &mut Value, with: &super::Mask) {
    match value {
        Value::String(text) => *text = with(text),
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, with)),
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(name, value)| !(value.is_string() && OPAQUE.contains(&name.as_str())))
            .for_each(|(_, value)| mask(value, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What plain HTTP carries, the key above all, is for the endpoint and for no proxy.
fn proxy(base_url: &str, configured: Option<ureq::Proxy>) -> Option<ureq::Proxy> {
    configured.filter(|_| base_url.starts_with("https:"))
}

/// Path and query below the base URL; none for what is not the model's interface.
fn place(dialect: Dialect, method: &str, target: &str) -> Option<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:=&,%".contains(&byte))
    };
    if !plain(path) || !plain(query) || path.contains("..") || path.contains('%') {
        return None;
    }
    let model = |rest: &str| rest.is_empty() || (rest.starts_with('/') && rest.len() > 1);
    let known = match (dialect, method) {
        (Dialect::Anthropic, "POST") => {
            matches!(path, "/v1/messages" | "/v1/messages/count_tokens")
        }
        (Dialect::OpenAi, "POST") => matches!(
            path,
            "/v1/responses" | "/v1/responses/compact" | "/v1/chat/completions"
        ),
        (_, "GET") => path.strip_prefix("/v1/models").is_some_and(model),
        _ => false,
    };
    if !known {
        return None;
    }
    let path = match dialect {
        Dialect::Anthropic => path,
        Dialect::OpenAi => path.strip_prefix("/v1")?,
    };
    Some(match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    })
}

/// An answer as it comes in, counted.
pub(super) struct Answer<'f> {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    body: Box<dyn Read + Send>,
    left: u64,
    meter: Meter,
    forwarder: &'f Forwarder,
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.forwarder.closed.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let count = self.body.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("the answer is longer than 64 MiB"))?;
        self.meter.feed(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.meter.finish();
        let mut usage = self.forwarder.counted();
        usage.input_tokens = usage.input_tokens.saturating_add(self.meter.input);
        usage.output_tokens = usage.output_tokens.saturating_add(self.meter.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_the_models_interface_is_reached() {
        use Dialect::{Anthropic, OpenAi};
        for (dialect, method, target, expected) in [
            (
                Anthropic,
                "POST",
                "/v1/messages?beta=true",
                Some("/v1/messages?beta=true"),
            ),
            (
                Anthropic,
                "GET",
                "/v1/models/claude-x",
                Some("/v1/models/claude-x"),
            ),
            (OpenAi, "POST", "/v1/responses", Some("/responses")),
            (OpenAi, "GET", "/v1/models", Some("/models")),
            (Anthropic, "POST", "/v1/files", None),
            (Anthropic, "POST", "/api/event_logging/batch", None),
            (Anthropic, "DELETE", "/v1/models/x", None),
            (Anthropic, "POST", "/v1/messages/../files", None),
            (Anthropic, "GET", "/v1/models/%2e%2e/files", None),
            (Anthropic, "GET", "/v1/modelsx", None),
            (Anthropic, "POST", "http://other.example/v1/messages", None),
            (Anthropic, "POST", "@other.example/v1/messages", None),
            (OpenAi, "POST", "/v1/messages", None),
            (OpenAi, "CONNECT", "other.example:443", None),
        ] {
            assert_eq!(
                place(dialect, method, target).as_deref(),
                expected,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_proxy_carries_what_it_cannot_read() {
        let configured = || ureq::Proxy::new("http://10.0.0.1:3128").ok();
        assert!(proxy("https://api.example.org", configured()).is_some());
        assert!(proxy("http://127.0.0.1:8000", configured()).is_none());
    }

    #[test]
    fn texts_are_masked_and_signatures_are_not() {
        let with: super::super::Mask = Arc::new(|text| text.replace("secret", "*"));
        let mut body = serde_json::json!({
            "messages": [{"content": [
                {"type": "thinking", "thinking": "a secret", "signature": "secretsecret"},
                {"type": "tool_result", "tool_use_id": "secret", "content": [{"text": "the secret"}]},
            ]}],
        });
        mask(&mut body, &with);
        assert_eq!(
            body,
            serde_json::json!({
                "messages": [{"content": [
                    {"type": "thinking", "thinking": "a *", "signature": "secretsecret"},
                    {"type": "tool_result", "tool_use_id": "secret", "content": [{"text": "the *"}]},
                ]}],
            })
        );
    }
}
