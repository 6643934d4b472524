//! `selfheal.toml`: what belongs to operations. (`policy.toml` belongs to the
//! security team and is read by the policy host.)
//!
//! Unknown keys, wrong types and impossible values are errors that name the file,
//! the line and what is valid.

mod place;

use crate::external::{self, ExternalConfig};
use crate::login::{OidcConfig, ProxyConfig};
use selfheal_api::ProxyOptions;
use selfheal_domain::agent::CheckCommand;
use selfheal_mcp::McpConfig;
use selfheal_model::ModelLimits;
use selfheal_model::config::ProviderConfig;
use selfheal_services::{ProbeConfig, ServiceConfig, check_services};
use serde::Deserialize;
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    #[error("{} cannot be read; `selfheal init` writes one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its text is not what it should be.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what is valid.
        message: String,
    },
    /// A value cannot be.
    #[error("{}, {}{key}: {message}", path.display(), at(*line))]
    Value {
        /// The file.
        path: PathBuf,
        /// Where the key, or its table, stands in it.
        line: Option<usize>,
        /// The key, dotted.
        key: String,
        /// What is wrong and what is valid.
        message: String,
    },
}

fn at(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

/// Most agents that may be at work at once.
const MOST_AGENTS: usize = 64;

/// The file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    application: Application,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    server: Server,
    #[serde(default)]
    agent: Agent,
    #[serde(default)]
    hook: Hook,
    #[serde(default)]
    verification: Verification,
    #[serde(default, rename = "service")]
    services: Vec<ServiceConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    repository: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Storage {
    data: PathBuf,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".selfheal"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Server {
    listen: SocketAddr,
    secure_cookies: bool,
    allowed_origins: Vec<String>,
    embed_in: Vec<String>,
    tls: Option<Tls>,
    proxy: Option<ProxyConfig>,
    oidc: Option<OidcConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "Tls::year")]
    hsts_days: u32,
}

impl Tls {
    fn year() -> u32 {
        365
    }
}

/// The host's certificate and key.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// PEM: the host's own certificate first, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
    /// How long browsers remember to come over TLS only.
    pub hsts: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            secure_cookies: false,
            allowed_origins: Vec::new(),
            embed_in: Vec::new(),
            tls: None,
            proxy: None,
            oidc: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Agent {
    provider: AgentChoice,
    budget_seconds: u64,
    max_attempts: u32,
    concurrency: usize,
    environment: Vec<String>,
    diagnosis_turns: Option<u32>,
    drafting_turns: Option<u32>,
    max_tokens: Option<u64>,
    max_cost: Option<f64>,
    #[serde(rename = "model")]
    models: Vec<ProviderConfig>,
    external: Option<ExternalConfig>,
    mcp: Vec<McpConfig>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            provider: AgentChoice::Builtin,
            budget_seconds: 180,
            max_attempts: 3,
            concurrency: 2,
            environment: Vec::new(),
            diagnosis_turns: None,
            drafting_turns: None,
            max_tokens: None,
            max_cost: None,
            models: Vec::new(),
            external: None,
            mcp: Vec::new(),
        }
    }
}

/// Who is asked first.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AgentChoice {
    /// The engine that needs no model
    #[default]
    Builtin,
    /// The configured models in their order, then the engine
    Model,
    /// Claude Code in our sandbox, then the configured models, then the engine
    ClaudeCode,
    /// Codex, likewise
    Codex,
    /// Any agent that speaks the Agent Client Protocol, likewise
    Acp,
}

/// Longest key that is read, in bytes.
const LONGEST_KEY: u64 = 8 * 1024;

/// Who diagnoses and drafts, and what that may cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentConfig {
    /// Who is asked first.
    pub choice: AgentChoice,
    /// Models in the order in which they are asked.
    pub models: Vec<ProviderConfig>,
    /// Bounds on each diagnosis and draft of a model.
    pub limits: ModelLimits,
    /// The agent of another maker, where one is chosen.
    pub external: Option<ExternalConfig>,
    /// MCP servers that agents may call.
    pub mcp: Vec<McpConfig>,
}

impl AgentConfig {
    /// Files that hold keys: agents must not read them.
    pub(crate) fn key_files(&self) -> impl Iterator<Item = PathBuf> {
        self.key_places()
            .filter_map(|(_, file)| file.as_ref()?.canonicalize().ok())
    }

    /// The keys themselves, as far as they can be read: whoever gets one may repeat it,
    /// and no record may hold it then.
    pub(crate) fn keys(&self) -> Vec<String> {
        let read = |file: &PathBuf| {
            let mut key = String::new();
            let opened = std::fs::File::open(file).ok()?;
            opened.take(LONGEST_KEY).read_to_string(&mut key).ok()?;
            Some(key)
        };
        let key = |(variable, file): (&Option<String>, &Option<PathBuf>)| {
            let set = variable.as_ref().and_then(|name| std::env::var(name).ok());
            set.or_else(|| file.as_ref().and_then(read))
        };
        self.key_places().filter_map(key).collect()
    }

    /// Files of authorities that are trusted instead of the machine's.
    fn ca_files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let models = self.models.iter_mut().map(|model| &mut model.ca_file);
        let external = self.external.iter_mut().map(|agent| &mut agent.ca_file);
        let servers = self.mcp.iter_mut().map(|server| &mut server.ca_file);
        models.chain(external).chain(servers).flatten()
    }

    /// Variable and file that are named for each key.
    fn key_places(&self) -> impl Iterator<Item = (&Option<String>, &Option<PathBuf>)> {
        let models = self.models.iter();
        let models = models.map(|model| (&model.key_env, &model.key_file));
        let external = self.external.iter();
        let servers = self.mcp.iter();
        models
            .chain(external.map(|external| (&external.key_env, &external.key_file)))
            .chain(servers.map(|server| (&server.token_env, &server.token_file)))
    }
}

impl Agent {
    /// What serde cannot see. The error names the key.
    fn checked(self) -> Result<AgentConfig, (&'static str, String)> {
        let mut limits = ModelLimits::default();
        for (key, given, limit) in [
            (
                "agent.diagnosis_turns",
                self.diagnosis_turns,
                &mut limits.diagnosis_turns,
            ),
            (
                "agent.drafting_turns",
                self.drafting_turns,
                &mut limits.drafting_turns,
            ),
        ] {
            *limit = given.unwrap_or(*limit);
            if *limit == 0 {
                return Err((key, "must be at least 1".to_owned()));
            }
        }
        limits.tokens = self.max_tokens.unwrap_or(limits.tokens);
        if limits.tokens == 0 {
            return Err(("agent.max_tokens", "must be at least 1".to_owned()));
        }
        limits.cost = self.max_cost;
        if let Some(cost) = self.max_cost {
            if !cost.is_finite() || cost <= 0.0 {
                return Err((
                    "agent.max_cost",
                    "must be a number of US dollars above 0".to_owned(),
                ));
            }
            if let Some(model) = self.models.iter().find(|model| model.price.is_none()) {
                return Err((
                    "agent.max_cost",
                    format!(
                        "cannot be kept for {}: give its `price` under [[agent.model]]",
                        model.name()
                    ),
                ));
            }
        }
        if self.provider == AgentChoice::Model && self.models.is_empty() {
            return Err((
                "agent.provider",
                "\"model\" needs at least one [[agent.model]]".to_owned(),
            ));
        }
        if let Some(external) = &self.external {
            external.check()?;
        } else if external::protocol(self.provider).is_some() {
            return Err((
                "agent.provider",
                "an agent of another maker needs [agent.external] with its command".to_owned(),
            ));
        }
        Ok(AgentConfig {
            external: self.external,
            mcp: self.mcp,
            choice: self.provider,
            models: self.models,
            limits,
        })
    }
}

/// What agents that run on their own may do besides.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Hook {
    directories: Vec<PathBuf>,
    tools: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Verification {
    tests: Vec<TestCommand>,
    timeout_seconds: u64,
    watch_seconds: f64,
    #[serde(rename = "probe")]
    probes: Vec<ProbeConfig>,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            tests: Vec::new(),
            timeout_seconds: 120,
            watch_seconds: 2.0,
            probes: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a command as text, or { command, directory, timeout_seconds }"
)]
enum TestCommand {
    Text(String),
    Full(FullTestCommand),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullTestCommand {
    command: String,
    #[serde(default)]
    directory: String,
    timeout_seconds: Option<u64>,
}

/// The file, checked, with absolute paths.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file itself.
    pub file: PathBuf,
    /// `policy.toml` beside it.
    pub policy_file: PathBuf,
    /// Root of the application's repository.
    pub repository: PathBuf,
    /// Where journal, projection and worktrees live.
    pub data: PathBuf,
    /// Address to serve.
    pub listen: SocketAddr,
    /// Cookies only over TLS.
    pub secure_cookies: bool,
    /// Certificate and key, where the host has TLS of its own.
    pub tls: Option<TlsFiles>,
    /// Proxies that are believed.
    pub proxy: ProxyOptions,
    /// The provider of identities.
    pub oidc: Option<OidcConfig>,
    /// Origins that may use the cookie, besides the server's own.
    pub allowed_origins: Vec<String>,
    /// Origins of applications whose pages may show the issues in a frame.
    pub embed_in: Vec<String>,
    /// Budget of a diagnosis.
    pub diagnosis_budget: Duration,
    /// Who diagnoses and drafts.
    pub agent: AgentConfig,
    /// Most runs per approval.
    pub max_attempts: u32,
    /// Most agents at work at once.
    pub concurrency: NonZeroUsize,
    /// Names of further environment variables that sandboxed commands see.
    pub environment: Vec<String>,
    /// Directories besides the repository in which agents that run on their own may
    /// work.
    pub hook_directories: Vec<PathBuf>,
    /// Globs of tools of theirs that the policies alone decide about.
    pub hook_tools: Vec<String>,
    /// Test commands.
    pub checks: Vec<CheckCommand>,
    /// How long services are watched.
    pub watch: Duration,
    /// Requests to the running application.
    pub probes: Vec<ProbeConfig>,
    /// The application's services.
    pub services: Vec<ServiceConfig>,
}

impl Config {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(crate) fn read(file: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read {
            path: file.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(file).map_err(read)?;
        let file = file.canonicalize().map_err(read)?;
        Self::parse(&file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document: Document = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: file.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        let wrong = |key: &str, message: String| ConfigError::Value {
            path: file.to_owned(),
            line: place::line(text, key),
            key: key.to_owned(),
            message,
        };
        let base = file.parent().unwrap_or(Path::new("/"));
        let repository = base.join(&document.application.repository);
        let repository = repository.canonicalize().map_err(|error| {
            wrong(
                "application.repository",
                format!("{} is not there ({error})", repository.display()),
            )
        })?;
        let verification = document.verification;
        if verification.timeout_seconds == 0 {
            return Err(wrong(
                "verification.timeout_seconds",
                "must be at least 1".to_owned(),
            ));
        }
        let watch = Duration::try_from_secs_f64(verification.watch_seconds).map_err(|_| {
            wrong(
                "verification.watch_seconds",
                "must be a number of seconds, 0 or more".to_owned(),
            )
        })?;
        for (key, is_none) in [
            ("agent.max_attempts", document.agent.max_attempts == 0),
            ("agent.budget_seconds", document.agent.budget_seconds == 0),
        ] {
            if is_none {
                return Err(wrong(key, "must be at least 1".to_owned()));
            }
        }
        for probe in &verification.probes {
            let key = format!("verification.probe.{}.url", probe.name);
            probe.check().map_err(|message| wrong(&key, message))?;
        }
        let timeout = |seconds: Option<u64>| {
            Duration::from_secs(seconds.unwrap_or(verification.timeout_seconds))
        };
        let checks: Vec<CheckCommand> = verification
            .tests
            .into_iter()
            .map(|test| match test {
                TestCommand::Text(command) => CheckCommand {
                    command,
                    directory: String::new(),
                    timeout: timeout(None),
                },
                TestCommand::Full(FullTestCommand {
                    command,
                    directory,
                    timeout_seconds,
                }) => CheckCommand {
                    command,
                    directory,
                    timeout: timeout(timeout_seconds),
                },
            })
            .collect();
        if let Some(check) = checks.iter().find(|check| check.command.trim().is_empty()) {
            return Err(wrong(
                "verification.tests",
                format!("a command is empty (directory {:?})", check.directory),
            ));
        }
        let diagnosis_budget = Duration::from_secs(document.agent.budget_seconds);
        let max_attempts = document.agent.max_attempts;
        let concurrency = NonZeroUsize::new(document.agent.concurrency)
            .filter(|count| count.get() <= MOST_AGENTS)
            .ok_or_else(|| {
                wrong(
                    "agent.concurrency",
                    format!("must be a number of agents from 1 to {MOST_AGENTS}"),
                )
            })?;
        let environment = document.agent.environment.clone();
        let mut agent = document
            .agent
            .checked()
            .map_err(|(key, message)| wrong(key, message))?;
        for key in agent
            .models
            .iter_mut()
            .filter_map(|model| model.key_file.as_mut())
            .chain(
                agent
                    .external
                    .iter_mut()
                    .filter_map(|external| external.key_file.as_mut()),
            )
            .chain(
                agent
                    .mcp
                    .iter_mut()
                    .filter_map(|server| server.token_file.as_mut()),
            )
        {
            *key = base.join(&key);
        }
        for authorities in agent.ca_files_mut() {
            *authorities = base.join(&authorities);
            outside(&repository, authorities).map_err(|why| wrong("ca_file", why))?;
        }
        if let Some(text) = document
            .server
            .embed_in
            .iter()
            .find(|text| !selfheal_api::is_origin(text))
        {
            return Err(wrong(
                "server.embed_in",
                format!("{text:?} is no origin, as in \"https://shop.example\""),
            ));
        }
        let tls = document.server.tls.map(|tls| TlsFiles {
            certificate: base.join(tls.certificate),
            key: base.join(tls.key),
            hsts: Duration::from_secs(u64::from(tls.hsts_days) * 24 * 3600),
        });
        if let Some(files) = &tls {
            outside(&repository, &files.key).map_err(|why| wrong("server.tls.key", why))?;
        }
        let proxy = document.server.proxy.map(ProxyConfig::options).transpose();
        let proxy = proxy.map_err(|(key, why)| wrong(&format!("server.proxy.{key}"), why))?;
        let proxy = proxy.unwrap_or_default();
        let mut oidc = document.server.oidc;
        if let Some(oidc) = &mut oidc {
            for file in oidc.files_mut() {
                *file = base.join(&file);
                outside(&repository, file).map_err(|why| wrong("server.oidc", why))?;
            }
            oidc.check()
                .map_err(|(key, why)| wrong(&format!("server.oidc.{key}"), why))?;
        }
        if let Err(error) = check_services(&document.services) {
            let name = error.service.map(|name| format!(".{name}"));
            let key = format!("service{}", name.unwrap_or_default());
            return Err(wrong(&key, error.message));
        }
        Ok(Self {
            policy_file: base.join("policy.toml"),
            data: base.join(document.storage.data),
            file: file.to_owned(),
            repository,
            listen: document.server.listen,
            secure_cookies: document.server.secure_cookies,
            tls,
            proxy,
            oidc,
            allowed_origins: document.server.allowed_origins,
            embed_in: document.server.embed_in,
            diagnosis_budget,
            max_attempts,
            concurrency,
            environment,
            agent,
            hook_directories: (document.hook.directories.iter())
                .map(|path| base.join(path))
                .collect(),
            hook_tools: document.hook.tools,
            checks,
            watch,
            probes: verification.probes,
            services: document.services,
        })
    }
}

/// Nothing that trust hangs on lies where a patch could change it.
fn outside(repository: &Path, file: &Path) -> Result<(), String> {
    match file.canonicalize() {
        Ok(place) if place.starts_with(repository) => Err(format!(
            "{} is in the application's repository, where a patch could change who is trusted \
             with keys and code; keep it elsewhere",
            file.display()
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Config {
    /// Files of the host's own that agents must not read, besides keys of models.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self.tls.iter().map(|tls| &tls.key);
        let oidc = self.oidc.iter();
        let oidc = oidc.filter_map(|oidc| oidc.client_secret_file.as_ref());
        tls.chain(oidc).filter_map(|file| file.canonicalize().ok())
    }

    /// Secrets that no record may hold, as far as they can be read.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.agent.keys();
        let secret = self.oidc.as_ref().map(OidcConfig::secret);
        keys.extend(secret.and_then(Result::ok).flatten());
        keys
    }

    /// Where the host is reached, by the configuration alone.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listen)
    }
}

#[cfg(test)]
mod tests;
