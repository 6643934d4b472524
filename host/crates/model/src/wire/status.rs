//! What a provider's error means for us: who must act, and whether to try again.
//!
//! Read from Anthropic's and OpenAI's documented errors, and from what Gemini, Grok,
//! Ollama and vLLM say at their compatible addresses.

use super::fault::{Fault, Kind, Retry};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// Words of an error that mean: pay first.
const NO_BUDGET: [&str; 9] = [
    "insufficient_quota",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit balance",
    "api usage limits",
    "used all available credits",
    "monthly spending limit",
    "insufficient balance",
];

/// Words of an error that mean: say less.
const TOO_LONG: [&str; 8] = [
    "prompt is too long",
    "context_length_exceeded",
    "maximum context length",
    "exceed context limit",
    "exceeds the context window",
    "exceeds the available context size",
    "input token count",
    "request_too_large",
];

/// An error as a provider words it, whatever the wrapping.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ErrorBody {
    /// Its class, as in `overloaded_error`.
    pub(crate) kind: String,
    /// Its code, as in `context_length_exceeded` or `503`.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

impl ErrorBody {
    /// From `{"error": …}` in all its dialects; text that is no JSON is the message.
    pub(crate) fn read(body: &str) -> Self {
        match serde_json::from_str::<Value>(body) {
            Ok(value) => Self::of(&value),
            Err(_) => Self {
                message: body.trim().to_owned(),
                ..Self::default()
            },
        }
    }

    /// From the object itself or from one that holds it.
    pub(crate) fn of(value: &Value) -> Self {
        // Gemini puts its error into a list.
        let value = value.get(0).unwrap_or(value);
        let error = match value.get("error") {
            Some(Value::String(message)) => {
                return Self {
                    message: message.clone(),
                    ..Self::default()
                };
            }
            Some(error) if error.is_object() => error,
            _ => value,
        };
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| match error.get(*name)? {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                })
                .unwrap_or_default()
        };
        Self {
            kind: text(&["type", "status"]),
            code: text(&["code"]),
            message: text(&["message", "detail"]),
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = format!("{} {} {}", self.kind, self.code, self.message).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

/// What an error in the middle of a stream, or with a status, amounts to.
pub(crate) fn classify(status: Option<u16>, error: &ErrorBody) -> Fault {
    // A gateway puts the status it would have answered into the error.
    let status = status.or_else(|| error.code.parse().ok().filter(|code| *code >= 400));
    let shown = [
        status.map(|status| format!("HTTP {status}")),
        Some(error.kind.clone()).filter(|kind| kind != "error"),
        Some(error.code.clone()).filter(|code| Some(code.as_str()) != Some(&error.kind)),
        Some(error.message.clone()),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(": ");
    let shown = if shown.is_empty() {
        "an error without a word".to_owned()
    } else {
        shown
    };
    if status == Some(402) || error.says(&NO_BUDGET) {
        return Fault::new(Kind::OutOfBudget, Retry::No, shown);
    }
    // A server that is down may say anything; the size is a matter of 4xx.
    let ours = status.is_none_or(|status| (400..500).contains(&status) && status != 429);
    if status == Some(413) || (ours && error.says(&TOO_LONG)) {
        return Fault::too_long(shown);
    }
    match status {
        Some(408 | 409 | 425 | 429) => Fault::unavailable(shown),
        Some(501 | 505) => Fault::new(Kind::Refused, Retry::No, shown),
        Some(status) if status >= 500 => Fault::unavailable(shown),
        Some(_) => Fault::new(Kind::Refused, Retry::No, shown),
        None => match error.kind.as_str() {
            "authentication_error"
            | "permission_error"
            | "not_found_error"
            | "invalid_request_error" => Fault::new(Kind::Refused, Retry::No, shown),
            _ if error.code.starts_with("invalid_") || error.code.ends_with("_policy") => {
                Fault::new(Kind::Refused, Retry::No, shown)
            }
            _ => Fault::unavailable(shown),
        },
    }
}

/// What a response that is no answer amounts to.
pub(crate) fn of_response(status: u16, headers: &HeaderMap, body: &str) -> Fault {
    if (300..400).contains(&status) {
        let target = header(headers, "location").unwrap_or("another address");
        return Fault::new(
            Kind::Refused,
            Retry::No,
            format!(
                "HTTP {status}: a redirect to {target}, which is not followed with a key; \
                 set base_url to the final address"
            ),
        );
    }
    let mut fault = classify(Some(status), &ErrorBody::read(body));
    match header(headers, "x-should-retry") {
        Some("false") => fault.retry = Retry::No,
        Some("true") if fault.retry == Retry::No && fault.kind == Kind::Refused => {
            fault.retry = Retry::BackOff;
        }
        _ => {}
    }
    if fault.retry == Retry::BackOff
        && let Some(wait) = retry_after(headers)
    {
        fault.retry = Retry::After(wait);
    }
    fault
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `Retry-After` in seconds or as a date, or `retry-after-ms`. A date is read against
/// the response's own `Date`, so that clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |text: &str, scale: f64| {
        let value: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(value * scale).ok()
    };
    if let Some(wait) = header(headers, "retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let text = header(headers, "retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        let now = chrono::DateTime::parse_from_rfc2822(header(headers, "date")?).ok()?;
        Some((at - now).to_std().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn each_providers_errors_mean_what_they_say() {
        use Kind::{OutOfBudget, Refused, TooLong, Unavailable};
        let cases: [(u16, &str, Kind, bool); 22] = [
            // Anthropic
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: field required"}}"#,
                Refused,
                false,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
                OutOfBudget,
                false,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits."}}"#,
                OutOfBudget,
                false,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                TooLong,
                false,
            ),
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                Refused,
                false,
            ),
            (
                402,
                r#"{"type":"error","error":{"type":"billing_error","message":"pay"}}"#,
                OutOfBudget,
                false,
            ),
            (
                403,
                r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#,
                Refused,
                false,
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
                Refused,
                false,
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
                TooLong,
                false,
            ),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
                Unavailable,
                true,
            ),
            (
                500,
                r#"{"type":"error","error":{"type":"api_error","message":"oops"}}"#,
                Unavailable,
                true,
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Unavailable,
                true,
            ),
            // OpenAI
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                OutOfBudget,
                false,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached for gpt-5","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                Unavailable,
                true,
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                TooLong,
                false,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                Refused,
                false,
            ),
            // Gemini, Grok, Ollama, vLLM
            (
                503,
                r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
                Unavailable,
                true,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]"#,
                TooLong,
                false,
            ),
            (
                403,
                r#"{"code":"permission-denied","error":"Your team has used all available credits or reached its monthly spending limit."}"#,
                OutOfBudget,
                false,
            ),
            (404, r#"{"error":"model 'x' not found"}"#, Refused, false),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
                TooLong,
                false,
            ),
            // No JSON at all
            (502, "<html>Bad Gateway</html>", Unavailable, true),
        ];
        for (status, body, kind, retried) in cases {
            let fault = of_response(status, &HeaderMap::new(), body);
            assert_eq!(fault.kind, kind, "{status} {body}");
            assert_eq!(fault.retry == Retry::BackOff, retried, "{status} {body}");
        }
    }

    #[test]
    fn an_error_in_the_stream_needs_no_status() {
        let error = |kind: &str| ErrorBody {
            kind: kind.to_owned(),
            ..ErrorBody::default()
        };
        let kind = |name: &str| classify(None, &error(name)).kind;
        assert_eq!(kind("overloaded_error"), Kind::Unavailable);
        assert_eq!(kind("invalid_request_error"), Kind::Refused);
        assert_eq!(kind("billing_error"), Kind::OutOfBudget);
        assert_eq!(kind(""), Kind::Unavailable);
        let gateway = ErrorBody::read(r#"{"error":{"code":401,"message":"no"}}"#);
        assert_eq!(classify(None, &gateway).kind, Kind::Refused);
    }

    #[test]
    fn retry_after_is_read_in_each_form() {
        let wait =
            |pairs: &[(&'static str, &'static str)]| of_response(429, &headers(pairs), "").retry;
        let after = |seconds: f64| Retry::After(Duration::from_secs_f64(seconds));
        assert_eq!(wait(&[("retry-after", "7")]), after(7.0));
        assert_eq!(
            wait(&[("retry-after", "7"), ("retry-after-ms", "1500")]),
            after(1.5)
        );
        assert_eq!(
            wait(&[
                ("date", "Sat, 21 Nov 2026 09:00:00 GMT"),
                ("retry-after", "Sat, 21 Nov 2026 09:00:20 GMT")
            ]),
            after(20.0)
        );
        for nonsense in ["-1", "soon", "1e400", "NaN"] {
            assert_eq!(wait(&[("retry-after", nonsense)]), Retry::BackOff);
        }
        assert_eq!(wait(&[("x-should-retry", "false")]), Retry::No);
        let redirect = of_response(302, &headers(&[("location", "http://evil/")]), "");
        assert_eq!(redirect.kind, Kind::Refused);
        assert!(redirect.message.contains("http://evil/"));
    }
}
