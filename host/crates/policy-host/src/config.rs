//! `policy.toml`: parsed strictly, with errors that name the file, the line and
//! what may stand there.

use crate::capabilities::{Capabilities, Capability};
use crate::error::ConfigError;
use crate::limits::Limits;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{Environment, ModuleKind};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_policy_source::{Publisher, SourceRef, TrustRules, Wanted};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The commented default that `selfheal init` writes.
pub const DEFAULT_POLICY_TOML: &str = include_str!("../../../../policy.toml");

/// `policy.toml`, checked.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// Where the application runs.
    pub environment: Environment,
    /// Level of a new installation.
    pub level: AutonomyLevel,
    /// Highest level that an admin can set.
    pub ceiling: AutonomyLevel,
    /// A reporter cannot approve its own issue.
    pub four_eyes: bool,
    /// The host's own limits on patches and paths.
    pub limits: HostLimits,
    /// Environment variables that hold secrets; `*` stands for any text, case is ignored.
    pub secret_names: Vec<String>,
    /// Destinations (`host:port`) that a command may reach when the modules allow it.
    pub network: Vec<String>,
    /// Whose modules are loaded.
    pub trust: TrustRules,
    /// When a new generation is taken back.
    pub rollout: RolloutRules,
    /// When a module is not asked any more.
    pub quarantine: QuarantineRules,
    /// In the order of the file.
    pub modules: Vec<ModuleConfig>,
    /// What relative sources are relative to.
    pub directory: PathBuf,
}

/// Limits that the host itself enforces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostLimits {
    /// Files that a patch may change.
    pub max_files: u32,
    /// Added plus removed lines of a patch.
    pub max_changed_lines: u32,
    /// Commands of a run that may change files they had not named.
    pub max_surplus_calls: u32,
    /// Globs of paths that no patch may touch, as in `.gitignore`.
    pub protected_paths: Vec<String>,
    /// Globs of paths that no agent may read.
    pub secret_paths: Vec<String>,
}

/// When a generation on trial, or one that just came into force, is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RolloutRules {
    /// Share of decisions with a fault, in percent; 100 never takes back.
    pub max_fault_percent: u8,
    /// Percentage points by which more is denied than before; 100 never takes back.
    pub max_deny_jump_percent: u8,
    /// Decisions before what is denied says anything.
    pub min_decisions: u32,
    /// How long a generation that came into force is watched.
    pub watch: Duration,
}

/// When a module is not asked any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantineRules {
    /// Faults in a row; twice as many within the window do as well.
    pub faults: u32,
    /// The window.
    pub window: Duration,
}

/// One `[[module]]`.
#[derive(Clone, PartialEq, Debug)]
pub struct ModuleConfig {
    /// Unique name.
    pub name: String,
    /// Which questions it answers.
    pub kind: ModuleKind,
    /// Where its bytes come from.
    pub source: SourceRef,
    /// Only these bytes.
    pub pin: Option<Digest>,
    /// Only a module that this publisher signed.
    pub publisher: Option<String>,
    /// It may be unsigned.
    pub unsigned: bool,
    /// Whether its answers count.
    pub mode: ModuleMode,
    /// Handed to the module as JSON.
    pub settings: serde_json::Value,
    /// Of each decision.
    pub limits: Limits,
    /// What it may import beyond the contract.
    pub capabilities: Capabilities,
}

/// Whether a module's answers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleMode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded only.
    Shadow,
    /// It is not even loaded.
    Off,
}

impl ModuleConfig {
    /// What it says of its signature.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted {
            publisher: self.publisher.as_deref(),
            unsigned: self.unsigned,
        }
    }
}

impl PolicyConfig {
    /// Reads a file; sources are relative to its directory.
    ///
    /// # Errors
    /// The file cannot be read or says something impossible.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &path.display().to_string(), directory)
    }

    /// Reads a text. `file` is for error messages, `directory` for relative sources.
    ///
    /// # Errors
    /// The text says something impossible; the message names file and line.
    pub fn parse(text: &str, file: &str, directory: &Path) -> Result<Self, ConfigError> {
        let invalid = |message: String| ConfigError::Invalid {
            file: file.to_owned(),
            message,
        };
        let raw: RawPolicy = toml::from_str(text)
            .map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
        raw.check(directory).map_err(|Wrong { at, message }| {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            invalid(format!("line {line}: {message}"))
        })
    }
}

/// Something impossible, with the byte offset where it stands.
struct Wrong {
    at: usize,
    message: String,
}

impl Wrong {
    fn new<T>(value: &Spanned<T>, message: String) -> Self {
        Self {
            at: value.span().start,
            message,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(default)]
    environment: Environment,
    #[serde(default)]
    four_eyes: bool,
    #[serde(default)]
    autonomy: RawAutonomy,
    #[serde(default)]
    limits: RawHostLimits,
    #[serde(default)]
    secrets: RawSecrets,
    #[serde(default)]
    network: RawNetwork,
    #[serde(default)]
    trust: RawTrust,
    #[serde(default)]
    rollout: RawRollout,
    #[serde(default)]
    quarantine: RawQuarantine,
    #[serde(default, rename = "publisher")]
    publishers: Vec<Spanned<Publisher>>,
    #[serde(default, rename = "module")]
    modules: Vec<RawModule>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawAutonomy {
    level: Option<Spanned<AutonomyLevel>>,
    ceiling: Option<AutonomyLevel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHostLimits {
    max_files: Spanned<u32>,
    max_changed_lines: Spanned<u32>,
    max_surplus_calls: u32,
    protected_paths: Vec<Spanned<String>>,
    secret_paths: Vec<Spanned<String>>,
}

impl Default for RawHostLimits {
    fn default() -> Self {
        Self {
            max_files: Spanned::new(0..0, 10),
            max_changed_lines: Spanned::new(0..0, 400),
            max_surplus_calls: 3,
            protected_paths: Vec::new(),
            secret_paths: Vec::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawSecrets {
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawNetwork {
    allow: Vec<Spanned<String>>,
}

impl RawNetwork {
    fn check(self) -> Result<Vec<String>, Wrong> {
        const MOST: usize = 16;
        let mut allow = Vec::new();
        for destination in self.allow {
            let text = destination.get_ref();
            let port = text
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            let shaped = |host: &str| {
                !host.is_empty()
                    && !host.starts_with(['-', '.'])
                    && host
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            };
            match port {
                Some((host, Ok(1..))) if shaped(host) && allow.len() < MOST => {
                    allow.push(text.clone());
                }
                _ => {
                    let message = format!(
                        "[network] allow takes up to {MOST} destinations like \"registry.example.org:443\"; got {text:?}"
                    );
                    return Err(Wrong::new(&destination, message));
                }
            }
        }
        Ok(allow)
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawTrust {
    unsigned: bool,
    insecure_registries: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRollout {
    max_fault_percent: Spanned<u8>,
    max_deny_jump_percent: Spanned<u8>,
    min_decisions: Spanned<u32>,
    watch_minutes: Spanned<u32>,
}

impl Default for RawRollout {
    fn default() -> Self {
        Self {
            max_fault_percent: Spanned::new(0..0, 5),
            max_deny_jump_percent: Spanned::new(0..0, 25),
            min_decisions: Spanned::new(0..0, 50),
            watch_minutes: Spanned::new(0..0, 30),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawQuarantine {
    faults: Spanned<u32>,
    window_minutes: Spanned<u32>,
}

impl Default for RawQuarantine {
    fn default() -> Self {
        Self {
            faults: Spanned::new(0..0, 5),
            window_minutes: Spanned::new(0..0, 10),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModule {
    name: Spanned<String>,
    kind: ModuleKind,
    source: Spanned<String>,
    sha256: Option<Spanned<String>>,
    publisher: Option<Spanned<String>>,
    #[serde(default)]
    unsigned: bool,
    #[serde(default)]
    mode: ModuleMode,
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    limits: Option<Spanned<RawLimits>>,
    #[serde(default)]
    capabilities: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    deadline_ms: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
}

impl RawPolicy {
    fn check(self, directory: &Path) -> Result<PolicyConfig, Wrong> {
        let ceiling = self.autonomy.ceiling.unwrap_or(AutonomyLevel::AutoAll);
        let level = match self.autonomy.level {
            Some(level) if *level.get_ref() > ceiling => {
                let message = format!(
                    "level {} is above the ceiling {}",
                    u8::from(*level.get_ref()),
                    u8::from(ceiling)
                );
                return Err(Wrong::new(&level, message));
            }
            Some(level) => level.into_inner(),
            None => AutonomyLevel::Observe,
        };
        let trust = self.trust.check(self.publishers)?;
        let mut names = BTreeSet::new();
        let mut modules = Vec::new();
        for module in self.modules {
            if !names.insert(module.name.get_ref().clone()) {
                let message = format!("there are two modules named `{}`", module.name.get_ref());
                return Err(Wrong::new(&module.name, message));
            }
            if let Some(publisher) = &module.publisher {
                known_publisher(publisher, &trust)?;
            }
            modules.push(module.check(directory)?);
        }
        Ok(PolicyConfig {
            environment: self.environment,
            level,
            ceiling,
            four_eyes: self.four_eyes,
            limits: self.limits.check()?,
            network: self.network.check()?,
            secret_names: self.secrets.names,
            trust,
            rollout: self.rollout.check()?,
            quarantine: self.quarantine.check()?,
            modules,
            directory: directory.to_owned(),
        })
    }
}

fn known_publisher(name: &Spanned<String>, trust: &TrustRules) -> Result<(), Wrong> {
    let names: Vec<&str> = trust
        .publishers()
        .iter()
        .map(|publisher| publisher.name.as_str())
        .collect();
    if names.contains(&name.get_ref().as_str()) {
        return Ok(());
    }
    let known = if names.is_empty() {
        "there is no [[publisher]]".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    let message = format!("no publisher is named `{}`; {known}", name.get_ref());
    Err(Wrong::new(name, message))
}

impl RawTrust {
    fn check(self, publishers: Vec<Spanned<Publisher>>) -> Result<TrustRules, Wrong> {
        let at = publishers.first().map_or(0, |first| first.span().start);
        let publishers = publishers.into_iter().map(Spanned::into_inner).collect();
        TrustRules::new(publishers, self.unsigned, self.insecure_registries).map_err(|error| {
            Wrong {
                at,
                message: error.to_string(),
            }
        })
    }
}

/// The value, if it lies in the range.
fn within<T: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    value: &Spanned<T>,
    (low, high): (T, T),
) -> Result<T, Wrong> {
    let number = *value.get_ref();
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    let message = format!("{name} is {low} to {high}, got {number}");
    Err(Wrong::new(value, message))
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60)
}

impl RawRollout {
    fn check(self) -> Result<RolloutRules, Wrong> {
        Ok(RolloutRules {
            max_fault_percent: within("max_fault_percent", &self.max_fault_percent, (1, 100))?,
            max_deny_jump_percent: within(
                "max_deny_jump_percent",
                &self.max_deny_jump_percent,
                (1, 100),
            )?,
            min_decisions: within("min_decisions", &self.min_decisions, (1, 1_000_000))?,
            watch: minutes(within("watch_minutes", &self.watch_minutes, (0, 10_080))?),
        })
    }
}

impl RawQuarantine {
    fn check(self) -> Result<QuarantineRules, Wrong> {
        Ok(QuarantineRules {
            faults: within("faults", &self.faults, (1, 1_000))?,
            window: minutes(within("window_minutes", &self.window_minutes, (1, 1_440))?),
        })
    }
}

impl RawHostLimits {
    fn check(self) -> Result<HostLimits, Wrong> {
        let positive = |name: &str, value: Spanned<u32>| match value.get_ref() {
            0 => Err(Wrong::new(&value, format!("{name} is at least 1"))),
            number => Ok(*number),
        };
        Ok(HostLimits {
            max_files: positive("max_files", self.max_files)?,
            max_changed_lines: positive("max_changed_lines", self.max_changed_lines)?,
            max_surplus_calls: self.max_surplus_calls,
            protected_paths: globs(self.protected_paths)?,
            secret_paths: globs(self.secret_paths)?,
        })
    }
}

fn globs(patterns: Vec<Spanned<String>>) -> Result<Vec<String>, Wrong> {
    let check = |pattern: Spanned<String>| match globset::Glob::new(pattern.get_ref()) {
        Ok(_) if !pattern.get_ref().is_empty() => Ok(pattern.into_inner()),
        Ok(_) => Err(Wrong::new(
            &pattern,
            "an empty pattern matches nothing".to_owned(),
        )),
        Err(error) => Err(Wrong::new(&pattern, error.to_string())),
    };
    patterns.into_iter().map(check).collect()
}

impl RawModule {
    fn check(self, directory: &Path) -> Result<ModuleConfig, Wrong> {
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let name = self.name.get_ref();
        if name.is_empty() || name.len() > 64 || !name.chars().all(shape) {
            let message =
                format!("a module's name is 1 to 64 of a-z, 0-9, '-', '_', '.'; got {name:?}");
            return Err(Wrong::new(&self.name, message));
        }
        let mut capabilities = Capabilities::NONE;
        for name in &self.capabilities {
            let Some(capability) = Capability::named(name.get_ref()) else {
                let valid = Capability::ALL.map(Capability::name).join(", ");
                let message = format!(
                    "unknown capability `{}`; valid ones: {valid}",
                    name.get_ref()
                );
                return Err(Wrong::new(name, message));
            };
            capabilities = capabilities.with(capability);
        }
        let pin = match self.sha256 {
            None => None,
            Some(text) => Some(
                text.get_ref()
                    .parse::<Digest>()
                    .map_err(|error| Wrong::new(&text, error.to_string()))?,
            ),
        };
        let limits = match self.limits {
            None => Limits::DEFAULT,
            Some(raw) => {
                let default = Limits::DEFAULT;
                let given = raw.get_ref();
                let milliseconds =
                    u64::try_from(default.deadline().as_millis()).unwrap_or(u64::MAX);
                Limits::new(
                    given.deadline_ms.unwrap_or(milliseconds),
                    given.memory_bytes.unwrap_or(default.memory()),
                    given.output_bytes.unwrap_or(default.output()),
                )
                .map_err(|message| Wrong::new(&raw, message))?
            }
        };
        let settings = serde_json::to_value(&self.settings).map_err(|error| {
            Wrong::new(
                &self.name,
                format!("settings cannot be written as JSON: {error}"),
            )
        })?;
        Ok(ModuleConfig {
            source: source(&self.source, directory)?,
            name: self.name.into_inner(),
            kind: self.kind,
            pin,
            publisher: self.publisher.map(Spanned::into_inner),
            unsigned: self.unsigned,
            mode: self.mode,
            settings,
            limits,
            capabilities,
        })
    }
}

fn source(text: &Spanned<String>, directory: &Path) -> Result<SourceRef, Wrong> {
    match SourceRef::parse(text.get_ref()) {
        Ok(source) => Ok(source.within(directory)),
        Err(error) => Err(Wrong::new(text, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PolicyConfig, String> {
        PolicyConfig::parse(text, "policy.toml", Path::new("/etc/app"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_the_strictest_installation() {
        let config = parse(DEFAULT_POLICY_TOML).unwrap();
        assert_eq!(config.environment, Environment::Production);
        assert_eq!(config.level, AutonomyLevel::Observe);
        assert_eq!(config.modules.len(), 5);
        assert!(
            config
                .modules
                .iter()
                .all(|module| module.mode == ModuleMode::Enforce)
        );
        assert!(
            config
                .limits
                .protected_paths
                .iter()
                .any(|path| path == ".git")
        );
        assert_eq!(parse("").unwrap().environment, Environment::Production);
    }

    #[test]
    fn errors_name_file_line_and_choices() {
        let module = "[[module]]\nname = \"a\"\nkind = \"guardrail\"\n";
        for (text, parts) in [
            (
                "enviroment = \"dev\"",
                &[
                    "policy.toml",
                    "line 1",
                    "unknown field `enviroment`",
                    "environment",
                ][..],
            ),
            (
                "\nenvironment = \"prod\"",
                &["line 2", "local", "staging", "production"],
            ),
            (
                "[autonomy]\nlevel = 4",
                &["line 2", "0 (OBSERVE)", "3 (AUTO_ALL)"],
            ),
            (
                "[autonomy]\nceiling = 1\nlevel = 2",
                &["line 3", "above the ceiling 1"],
            ),
            ("[limits]\nmax_files = 0", &["line 2", "at least 1"]),
            (
                "[limits]\nprotected_paths = [\n\"a\",\n\"[\"]",
                &["line 4", "["],
            ),
            (
                &format!("{module}source = \"x.so\""),
                &["line 4", "bundled:NAME", ".wasm"],
            ),
            (
                &format!("{module}source = \"bundled:x\"\nmode = \"monitor\""),
                &["line 5", "enforce", "shadow", "off"],
            ),
            (
                &format!("{module}source = \"bundled:x\"\nsha256 = \"12\""),
                &["line 5", "64 hex digits"],
            ),
            (
                &format!("{module}source = \"bundled:x\"\ncapabilities = [\"clock\"]"),
                &["line 5", "`clock`", "wasi:clocks"],
            ),
            (
                &format!("{module}source = \"bundled:x\"\nlimits = {{ deadline_ms = 0 }}"),
                &["line 5", "deadline_ms is 1 to 60000"],
            ),
            (
                &format!("{module}source = \"bundled:x\"\n{module}source = \"bundled:x\""),
                &["line 6", "two modules named `a`"],
            ),
        ] {
            let error = parse(text).unwrap_err();
            for part in parts {
                assert!(
                    error.contains(part),
                    "{text:?}: {error:?} does not say {part:?}"
                );
            }
        }
    }

    #[test]
    fn a_module_takes_settings_and_limits() {
        let text = "[[module]]\nname = \"a\"\nkind = \"risk\"\nsource = \"rules/a.wasm\"\nmode = \"shadow\"\n\
                    settings = { max = 3, names = [\"x\"] }\n[module.limits]\nmemory_bytes = 1048576\n";
        let module = parse(text).unwrap().modules.remove(0);
        assert_eq!(
            module.source,
            SourceRef::File("/etc/app/rules/a.wasm".into())
        );
        assert_eq!(
            module.settings,
            serde_json::json!({"max": 3, "names": ["x"]})
        );
        assert_eq!(
            (module.limits.memory(), module.limits.deadline()),
            (1 << 20, Limits::DEFAULT.deadline())
        );
    }
}
