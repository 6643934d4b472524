//! `[agent.external]`: an agent of another maker that works in place of a model.

use crate::config::AgentChoice;
use crate::failure::{Because, Exit, Failure};
use crate::mask::Mask;
use selfheal_external_agent::{
    Authorities, Budgets, Dialect, ExternalAgent, ExternalAgentConfig, Protocol, Upstream,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Requests to a model in one diagnosis or draft.
const MOST_REQUESTS: u64 = 500;

/// The section, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExternalConfig {
    /// Its program and arguments.
    pub(crate) command: Vec<String>,
    /// The model it is told to use.
    pub(crate) model: Option<String>,
    /// What its model's endpoint speaks; by default what the agent's maker speaks.
    pub(crate) dialect: Option<DialectName>,
    /// Where its model is; the maker's own address when absent.
    pub(crate) base_url: Option<String>,
    /// Environment variable that holds the key.
    pub(crate) key_env: Option<String>,
    /// File that holds the key, and nothing else.
    pub(crate) key_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities that sign the endpoint's own,
    /// instead of those that the machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
    /// Further variables for it. Never a secret.
    pub(crate) environment: BTreeMap<String, String>,
    /// Absolute paths it needs to see although commands do not, such as its packages.
    pub(crate) visible: Vec<PathBuf>,
    /// Most turns, where it can be told.
    pub(crate) turns: Option<u32>,
    /// Most tool calls.
    pub(crate) calls: Option<u32>,
}

/// What an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DialectName {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses and Chat Completions.
    Openai,
}

/// What a choice of agent speaks; none for those that are ours.
pub(crate) fn protocol(choice: AgentChoice) -> Option<Protocol> {
    match choice {
        AgentChoice::Builtin | AgentChoice::Model => None,
        AgentChoice::ClaudeCode => Some(Protocol::ClaudeCode),
        AgentChoice::Codex => Some(Protocol::Codex),
        AgentChoice::Acp => Some(Protocol::Acp),
    }
}

impl ExternalConfig {
    /// What serde cannot see. The error names the key.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self
            .command
            .first()
            .is_none_or(|program| program.trim().is_empty())
        {
            return Err((
                "agent.external.command",
                "must name the agent's program, as in [\"claude\"]".to_owned(),
            ));
        }
        if self.key_env.is_some() && self.key_file.is_some() {
            return Err((
                "agent.external.key_env",
                "there is a key_file as well; give one of the two".to_owned(),
            ));
        }
        if self.turns == Some(0) || self.calls == Some(0) {
            return Err((
                "agent.external.turns",
                "turns and calls must be at least 1".to_owned(),
            ));
        }
        if self.ca_file.is_some()
            && self
                .base_url
                .as_ref()
                .is_some_and(|url| url.starts_with("http:"))
        {
            return Err((
                "agent.external.ca_file",
                "there are no certificates over http; use https, or leave it out".to_owned(),
            ));
        }
        match &self.base_url {
            Some(url) if !may_carry_a_key(url) => Err((
                "agent.external.base_url",
                "must be https://…, or http:// to this machine, without user and query".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// The agent, not yet started.
    pub(crate) fn agent(
        &self,
        protocol: Protocol,
        tokens: u64,
        mask: &Mask,
    ) -> Result<ExternalAgent, Failure> {
        let dialect = match (self.dialect, protocol) {
            (Some(DialectName::Anthropic), _) | (None, Protocol::ClaudeCode | Protocol::Acp) => {
                Dialect::Anthropic
            }
            (Some(DialectName::Openai), _) | (None, Protocol::Codex) => Dialect::OpenAi,
        };
        let (usual, variable) = match dialect {
            Dialect::Anthropic => ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
            Dialect::OpenAi => ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        };
        let base_url = self.base_url.as_deref().unwrap_or(usual);
        let mask = mask.clone();
        let upstream = Upstream {
            dialect,
            base_url: base_url.trim_end_matches('/').to_owned(),
            key: self.key(self.base_url.is_none().then_some(variable))?,
            authorities: self
                .ca_file
                .as_deref()
                .map(Authorities::read)
                .transpose()
                .because(Exit::Usage)?,
            mask: Arc::new(move |text| mask.text(text)),
            most_requests: MOST_REQUESTS,
            most_tokens: tokens,
        };
        let budgets = Budgets::default();
        Ok(ExternalAgent::new(ExternalAgentConfig {
            protocol,
            command: self.found()?,
            model: self.model.clone(),
            upstream: Some(upstream),
            sockets: std::env::temp_dir(),
            visible: self.visible.clone(),
            environment: self.environment.clone(),
            budgets: Budgets {
                turns: self.turns.unwrap_or(budgets.turns),
                calls: self.calls.unwrap_or(budgets.calls),
            },
        }))
    }

    /// The command with its program's own place, so that the sandbox shows it.
    fn found(&self) -> Result<Vec<String>, Failure> {
        let mut command = self.command.clone();
        if let Some(program) = command.first_mut() {
            let path = if program.contains('/') {
                Some(PathBuf::from(program.as_str()))
            } else {
                let places = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&places)
                    .map(|place| place.join(program.as_str()))
                    .find(|path| path.is_file())
            };
            let found = path.and_then(|path| path.canonicalize().ok());
            let found = found.as_deref().and_then(Path::to_str).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!(
                        "the agent's program {program:?} is not there; install it, or set agent.external.command"
                    ),
                )
            })?;
            found.clone_into(program);
        }
        Ok(command)
    }

    fn key(&self, unasked: Option<&str>) -> Result<Option<String>, Failure> {
        if let Some(file) = &self.key_file {
            let text = std::fs::read_to_string(file).because(Exit::Usage)?;
            return Ok(Some(text.trim().to_owned()));
        }
        let value = |name: &str| {
            let value = std::env::var(name).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        match &self.key_env {
            Some(name) => value(name).map(Some).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("agent.external.key_env: the environment variable {name} is not set"),
                )
            }),
            None => Ok(unasked.and_then(value)),
        }
    }
}

/// Encrypted, or not leaving this machine.
fn may_carry_a_key(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = rest
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"@?#\\".contains(&byte));
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    plain
        && !name.is_empty()
        && match scheme {
            "https" => true,
            "http" => matches!(name, "127.0.0.1" | "localhost" | "[::1]"),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_travel_in_the_open() {
        for url in [
            "https://api.example.org",
            "https://api.example.org:8443/v1",
            "http://127.0.0.1:8080/v1",
            "http://localhost",
        ] {
            assert!(may_carry_a_key(url), "{url}");
        }
        for url in [
            "http://api.example.org",
            "http://127.0.0.1.example.org",
            "http://127.0.0.1@example.org",
            "http://localhost:80@example.org/",
            "ftp://localhost",
            "https://",
            "api.example.org",
        ] {
            assert!(!may_carry_a_key(url), "{url}");
        }
    }
}
