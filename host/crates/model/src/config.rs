//! Which model is asked, where and on whose account: one entry of the configuration.
//!
//! | whose | `kind` | `base_url` | `key_env` |
//! |---|---|---|---|
//! | Anthropic | `anthropic` | | `ANTHROPIC_API_KEY`, unasked |
//! | OpenAI | `openai-responses` or `openai` | | `OPENAI_API_KEY`, unasked |
//! | Gemini | `openai` | `https://generativelanguage.googleapis.com/v1beta/openai` | `GEMINI_API_KEY` |
//! | Grok | `openai` | `https://api.x.ai/v1` | `XAI_API_KEY` |
//! | Ollama | `openai` | `http://localhost:11434/v1` | none |
//! | vLLM | `openai` | `http://localhost:8000/v1` | none |

use crate::anthropic;
use crate::authorities::{Authorities, AuthoritiesError};
use crate::endpoint::{Dialect, Endpoint};
use crate::key::{Key, KeyError};
use crate::openai;
use crate::provider::{Price, Provider};
use crate::wire::pace::{Pace, RealPace};
use crate::wire::{Address, Wire, json_headers};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a provider speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's Chat Completions, which Gemini, Grok, Ollama, vLLM and others speak too.
    Openai,
    /// OpenAI's Responses.
    OpenaiResponses,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::OpenaiResponses => "openai-responses",
        }
    }

    fn default_base(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::Openai | Self::OpenaiResponses => "https://api.openai.com/v1",
        }
    }

    /// In tokens, where the configuration does not say.
    fn default_window(self) -> u64 {
        match self {
            Self::Anthropic => 200_000,
            Self::Openai | Self::OpenaiResponses => 128_000,
        }
    }

    fn default_variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::Openai | Self::OpenaiResponses => "OPENAI_API_KEY",
        }
    }
}

/// How hard a model should think before it answers. Not every model knows every word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Least.
    Low,
    /// Less.
    Medium,
    /// More.
    High,
    /// Much more.
    Xhigh,
    /// As much as it can.
    Max,
}

impl Effort {
    fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }
}

/// One provider of the configuration.
///
/// ```toml
/// kind = "anthropic"
/// model = "claude-sonnet-4-5"
/// key_env = "ANTHROPIC_API_KEY"
/// price = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// What it speaks.
    pub kind: Kind,
    /// The model's name, as the provider calls it.
    pub model: String,
    /// Where it is, up to what comes before `/v1/messages`, `/chat/completions` or
    /// `/responses`. The provider's own address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key may travel unencrypted to an address that is not loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain_http: bool,
    /// Environment variable that holds the key. Without it and `key_file`, the
    /// provider's usual variable at its own address, and no key at any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// File that holds the key, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities that sign the provider's own:
    /// a company's, in front of its vLLM or proxy. They count instead of those that the
    /// machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest answer, in tokens.
    #[serde(default = "default_output")]
    pub max_output_tokens: u32,
    /// Longest conversation, input and output together, in tokens. 200,000 for
    /// Anthropic and 128,000 for others when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// How hard it should think. When absent, as the model likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Tokens for thinking, at least 1,024; for Anthropic's models that take a number
    /// instead of `effort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_tokens: Option<u32>,
    /// What a million tokens cost, in US dollars. Without it, cost is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Longest silence of the provider, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

fn default_output() -> u32 {
    16_384
}

fn default_timeout() -> u64 {
    180
}

/// A provider cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A field's value makes no sense.
    #[error("{field}: {message}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// There is no key.
    #[error("the provider {provider} has no key")]
    Key {
        /// Which.
        provider: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The file of its authorities is of no use.
    #[error("ca_file of the provider {provider}")]
    Authorities {
        /// Which.
        provider: String,
        /// Why.
        #[source]
        source: AuthoritiesError,
    },
    /// The system does not let us connect to anything.
    #[error("cannot prepare connections to {provider}")]
    System {
        /// Which.
        provider: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a provider needs from the machine it runs on.
pub struct Surroundings<'a> {
    /// Looks an environment variable up.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Time between tries.
    pub pace: Arc<dyn Pace>,
    /// Longest time until a connection stands.
    pub connect_timeout: Duration,
    /// Longest silence; the configuration's when `None`.
    pub idle_timeout: Option<Duration>,
}

impl ProviderConfig {
    /// As in `anthropic:claude-sonnet-4-5`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.kind.word(), self.model)
    }

    /// The provider, ready to be asked. Reads the key; connects to nothing yet.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn connect(&self) -> Result<Arc<dyn Provider>, ConfigError> {
        self.connect_in(&Surroundings {
            environment: &|name| std::env::var(name).ok(),
            pace: Arc::new(RealPace::new()),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
        })
    }

    /// As [`ProviderConfig::connect`], with the machine's part given.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn connect_in(
        &self,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<dyn Provider>, ConfigError> {
        self.check()?;
        let base = self.base()?;
        let key = self.key(surroundings)?;
        let renamed_limit = base
            .host_str()
            .is_some_and(|host| host == "api.openai.com" || host.ends_with(".openai.azure.com"));
        let mut headers = json_headers();
        let path: &[&str] = match self.kind {
            Kind::Anthropic => {
                headers.insert(
                    HeaderName::from_static("anthropic-version"),
                    HeaderValue::from_static(anthropic::VERSION),
                );
                insert_key(&mut headers, HeaderName::from_static("x-api-key"), "", &key);
                &["v1", "messages"]
            }
            Kind::Openai => {
                insert_key(&mut headers, AUTHORIZATION, "Bearer ", &key);
                &["chat", "completions"]
            }
            Kind::OpenaiResponses => {
                insert_key(&mut headers, AUTHORIZATION, "Bearer ", &key);
                &["responses"]
            }
        };
        let authorities = self.ca_file.as_deref().map(Authorities::read);
        let authorities = authorities
            .transpose()
            .map_err(|source| ConfigError::Authorities {
                provider: self.name(),
                source,
            })?;
        let address = Address {
            url: joined(base, path)?,
            headers,
            key,
            authorities,
            connect_timeout: surroundings.connect_timeout,
            idle_timeout: surroundings
                .idle_timeout
                .unwrap_or(Duration::from_secs(self.timeout_seconds)),
        };
        let wire =
            Wire::new(self.name(), address, Arc::clone(&surroundings.pace)).map_err(|source| {
                ConfigError::System {
                    provider: self.name(),
                    source,
                }
            })?;
        let settings = openai::Settings {
            model: self.model.clone(),
            max_output_tokens: self.max_output_tokens,
            effort: self.effort.map(Effort::word),
            renamed_limit,
        };
        let dialect: Box<dyn Dialect> = match self.kind {
            Kind::Anthropic => Box::new(anthropic::Messages(anthropic::Settings {
                model: self.model.clone(),
                max_output_tokens: self.max_output_tokens,
                effort: self.effort.map(Effort::word),
                thinking_tokens: self.thinking_tokens,
            })),
            Kind::Openai => Box::new(openai::Chat(settings)),
            Kind::OpenaiResponses => Box::new(openai::Responses(settings)),
        };
        Ok(Arc::new(Endpoint {
            wire,
            dialect,
            context_window: self
                .context_window
                .unwrap_or_else(|| self.kind.default_window()),
            price: self.price,
        }))
    }

    /// What serde cannot see.
    fn check(&self) -> Result<(), ConfigError> {
        if self.model.trim().is_empty() || self.model.chars().any(char::is_control) {
            return Err(wrong("model", "the provider's name of a model is expected"));
        }
        if self.key_env.is_some() && self.key_file.is_some() {
            return Err(wrong("key_file", "either key_env or key_file, not both"));
        }
        if self.max_output_tokens == 0 {
            return Err(wrong("max_output_tokens", "at least 1 is expected"));
        }
        let window = self.context_window.unwrap_or(u64::MAX);
        if window <= u64::from(self.max_output_tokens) {
            return Err(wrong(
                "context_window",
                "more than max_output_tokens is expected: it holds the question too",
            ));
        }
        if let Some(tokens) = self.thinking_tokens {
            if self.kind != Kind::Anthropic {
                return Err(wrong(
                    "thinking_tokens",
                    "only for kind \"anthropic\"; use effort",
                ));
            }
            if tokens < 1024 || tokens >= self.max_output_tokens {
                return Err(wrong(
                    "thinking_tokens",
                    "1024 to less than max_output_tokens is expected",
                ));
            }
        }
        if self.timeout_seconds == 0 {
            return Err(wrong("timeout_seconds", "at least 1 is expected"));
        }
        if let Some(price) = self.price
            && [
                price.input,
                price.output,
                price.cache_read,
                price.cache_write,
            ]
            .iter()
            .any(|dollars| !dollars.is_finite() || *dollars < 0.0)
        {
            return Err(wrong("price", "US dollars, 0 or more, are expected"));
        }
        Ok(())
    }

    fn base(&self) -> Result<Url, ConfigError> {
        let text = self.base_url.as_deref().unwrap_or(self.kind.default_base());
        let url =
            Url::parse(text).map_err(|error| wrong("base_url", &format!("no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "base_url",
                "an address with a password in it; use key_env or key_file",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("base_url", "an address without ? and # is expected"));
        }
        if url.scheme() == "http" && self.ca_file.is_some() {
            return Err(wrong(
                "ca_file",
                "there are no certificates over http; use https, or leave it out",
            ));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_plain_http || is_loopback(&url) => Ok(url),
            "http" => Err(wrong(
                "base_url",
                "http would show key and conversation to the network; use https, \
                 or set allow_plain_http = true",
            )),
            _ => Err(wrong("base_url", "an https address is expected")),
        }
    }

    fn key(&self, surroundings: &Surroundings<'_>) -> Result<Option<Key>, ConfigError> {
        let named = |source| ConfigError::Key {
            provider: self.name(),
            source,
        };
        if let Some(path) = &self.key_file {
            return Key::from_file(path).map(Some).map_err(named);
        }
        let variable = match (&self.key_env, &self.base_url) {
            (Some(variable), _) => variable.as_str(),
            (None, None) => self.kind.default_variable(),
            // Somebody else's address must not get the key of the provider's own.
            (None, Some(_)) => return Ok(None),
        };
        Key::from_env(variable, surroundings.environment)
            .map(Some)
            .map_err(named)
    }
}

fn wrong(field: &'static str, message: &str) -> ConfigError {
    ConfigError::Field {
        field,
        message: message.to_owned(),
    }
}

fn insert_key(headers: &mut HeaderMap, name: HeaderName, prefix: &str, key: &Option<Key>) {
    if let Some(value) = key.as_ref().and_then(|key| key.header(prefix)) {
        headers.insert(name, value);
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `base` and `path`, whether or not `base` ends in a slash or names the version that
/// `path` begins with.
fn joined(mut base: Url, path: &[&str]) -> Result<Url, ConfigError> {
    let versioned = base
        .path_segments()
        .and_then(|segments| segments.rev().find(|segment| !segment.is_empty()))
        .is_some_and(|last| Some(&last) == path.first());
    {
        let mut segments = base
            .path_segments_mut()
            .map_err(|()| wrong("base_url", "an https address is expected"))?;
        segments
            .pop_if_empty()
            .extend(path.iter().skip(usize::from(versioned)));
    }
    Ok(base)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
