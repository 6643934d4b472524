//! One person at the HTTP API.

use crate::failure::{Because, Exit, Failure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Between two looks at an issue.
const LOOK: Duration = Duration::from_millis(150);

pub(super) struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
}

/// State of an issue.
pub(super) fn status(issue: &Value) -> &str {
    issue
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Client {
    pub(super) fn new(url: &str, token: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self {
            agent,
            base: format!("{url}/api/v1"),
            token: token.to_owned(),
        }
    }

    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body.map(|body| body.to_string()).unwrap_or_default())
            .because(Exit::Unavailable)?;
        let mut response = self.agent.run(request).because(Exit::Unavailable)?;
        let status = response.status();
        let text = response
            .body_mut()
            .read_to_string()
            .because(Exit::Unavailable)?;
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
        }
        Err(Failure::new(
            Exit::Unavailable,
            format!("{method} {path} was answered {status}: {text}"),
        ))
    }

    /// Looks at the issue until it waits for somebody or has ended.
    pub(super) fn wait(
        &self,
        number: u64,
        patience: Duration,
        stopped: &tokio::sync::watch::Receiver<bool>,
    ) -> Result<Value, Failure> {
        const RESTS: [&str; 6] = [
            "PATCH_PENDING",
            "RESOLVED",
            "ESCALATED",
            "ABORTED",
            "REJECTED",
            "OPEN",
        ];
        let begun = Instant::now();
        loop {
            let issue = self.send("GET", &format!("/issues/{number}"), None)?;
            if RESTS.contains(&status(&issue)) {
                return Ok(issue);
            }
            if *stopped.borrow() {
                return Err(Failure::new(Exit::NotSo, "interrupted"));
            }
            if begun.elapsed() > patience {
                return Err(Failure::new(
                    Exit::NotSo,
                    format!(
                        "the issue is still {} after {} s",
                        status(&issue),
                        patience.as_secs()
                    ),
                ));
            }
            std::thread::sleep(LOOK);
        }
    }
}
