//! `[[service]]` in `selfheal.toml`. Trusted: written by the owner.

use crate::order::start_order;
use selfheal_sandbox::signal_number;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One service of the application.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Unique; letters, digits, `-`, `_` and `.`, at most 64, no leading dot.
    pub name: String,
    /// Who runs it. A service with a `restart_command` and no `command` is of kind
    /// `command` without saying so.
    #[serde(default)]
    pub kind: Kind,
    /// For `/bin/sh -c`. Runs in the foreground. Kind `process` only.
    #[serde(default)]
    pub command: String,
    /// Unit, as in `web.service`. Kind `systemd` only.
    #[serde(default)]
    pub unit: Option<String>,
    /// The unit is one of the user's own service manager.
    #[serde(default)]
    pub user_unit: bool,
    /// Services that come up before it.
    #[serde(default)]
    pub after: Vec<String>,
    /// Working directory; relative to the application's root.
    #[serde(default)]
    pub directory: PathBuf,
    /// Variables on top of those that every tool needs (`PATH`, `HOME`, …).
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Names of variables that pass from the host's environment as they are,
    /// such as `DATABASE_URL`. Nothing that is not named here does, for the code
    /// of a service may be written by an agent.
    #[serde(default)]
    pub inherit: Vec<String>,
    /// What shows that it came up, before its health is asked.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// How it shows that it is ready and well. Without: it runs.
    #[serde(default)]
    pub health: Option<Health>,
    /// Where its output goes; relative to the log directory. `<name>.log`
    /// unless said otherwise.
    #[serde(default)]
    pub log_file: Option<PathBuf>,
    /// Size at which the log is moved to `<log_file>.1`, in bytes.
    #[serde(default = "default_log_bytes")]
    pub log_bytes: u64,
    /// How many such files are kept.
    #[serde(default = "default_log_count")]
    pub log_count: u32,
    /// Files that it writes itself, watched for errors like its output; relative to
    /// the application's root.
    #[serde(default)]
    pub watch_logs: Vec<PathBuf>,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Before the first start after a crash; doubled with each further crash.
    #[serde(
        rename = "backoff_seconds",
        default = "default_backoff",
        with = "seconds"
    )]
    pub backoff: Duration,
    /// Most of that.
    #[serde(
        rename = "backoff_max_seconds",
        default = "default_backoff_max",
        with = "seconds"
    )]
    pub backoff_max: Duration,
    /// Crashes in a row after which the next one opens the circuit breaker.
    #[serde(default = "default_crash_limit")]
    pub crash_limit: u32,
    /// A service that ran this long is forgiven its crashes.
    #[serde(
        rename = "stable_seconds",
        default = "default_stable",
        with = "seconds"
    )]
    pub stable: Duration,
    /// After this long an open circuit breaker lets one start through; 0: it stays
    /// down until somebody starts it.
    #[serde(
        rename = "breaker_seconds",
        default = "default_breaker",
        with = "seconds"
    )]
    pub breaker: Duration,
    /// Signal by which it reads its code and settings again without ending, as in
    /// `HUP`. Heals use it instead of a restart.
    #[serde(default)]
    pub reload: Option<String>,
    /// For `/bin/sh -c`, kind `command`: bring it up.
    #[serde(default)]
    pub start_command: Option<String>,
    /// Kind `command`: take it down.
    #[serde(default)]
    pub stop_command: Option<String>,
    /// Kind `command`: both. Without it the two above.
    #[serde(default)]
    pub restart_command: Option<String>,
    /// Kind `command`: have it read its code and settings again.
    #[serde(default)]
    pub reload_command: Option<String>,
    /// Kind `command`: exits with 0 when it runs, with 1, 2 or 3 when it is down, as
    /// init scripts do.
    #[serde(default)]
    pub status_command: Option<String>,
    /// How long it may take to be ready.
    #[serde(
        rename = "start_timeout_seconds",
        default = "default_start_timeout",
        with = "seconds"
    )]
    pub start_timeout: Duration,
    /// Signal by which it is asked to stop, as in `TERM`.
    #[serde(default = "default_stop_signal")]
    pub stop_signal: String,
    /// Between that signal and `SIGKILL` to all that is left of it.
    #[serde(
        rename = "stop_grace_seconds",
        default = "default_stop_grace",
        with = "seconds"
    )]
    pub stop_grace: Duration,
    /// How long it runs on after the host crashed, for the next host to go on with
    /// it; then, or at once with 0, it is stopped.
    #[serde(
        rename = "orphan_seconds",
        default = "default_orphan",
        with = "seconds"
    )]
    pub orphan: Duration,
}

impl ServiceConfig {
    /// A service with defaults everywhere else.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::default(),
            command: command.into(),
            unit: None,
            user_unit: false,
            after: Vec::new(),
            directory: PathBuf::new(),
            environment: BTreeMap::new(),
            inherit: Vec::new(),
            ready: None,
            health: None,
            log_file: None,
            log_bytes: default_log_bytes(),
            log_count: default_log_count(),
            watch_logs: Vec::new(),
            restart: RestartPolicy::default(),
            backoff: default_backoff(),
            backoff_max: default_backoff_max(),
            crash_limit: default_crash_limit(),
            stable: default_stable(),
            breaker: default_breaker(),
            reload: None,
            start_command: None,
            stop_command: None,
            restart_command: None,
            reload_command: None,
            status_command: None,
            start_timeout: default_start_timeout(),
            stop_signal: default_stop_signal(),
            stop_grace: default_stop_grace(),
            orphan: default_orphan(),
        }
    }

    /// Who runs it.
    pub fn kind(&self) -> Kind {
        match self.kind {
            Kind::Process if self.command.is_empty() && self.restart_command.is_some() => {
                Kind::Command
            }
            kind => kind,
        }
    }

    /// What is wrong with it, for the person who wrote it.
    ///
    /// # Errors
    /// The name is impossible, there is nothing to run, a key belongs to another kind
    /// of service, or a value is impossible.
    pub fn check(&self) -> Result<(), String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.name.is_empty()
            || self.name.len() > 64
            || self.name.starts_with('.')
            || !self.name.bytes().all(fits)
        {
            return Err(
                "the name must be 1 to 64 letters, digits, `-`, `_` or `.`, without leading dot"
                    .to_owned(),
            );
        }
        self.check_kind()?;
        if let Some(Health::Http { url, .. }) = &self.health
            && !url.starts_with("http://")
        {
            return Err("`health.http.url` must begin with `http://`".to_owned());
        }
        for (key, name) in [
            ("reload", self.reload.as_deref()),
            ("stop_signal", Some(self.stop_signal.as_str())),
        ] {
            if let Some(name) = name
                && signal_number(name).is_none()
            {
                return Err(format!(
                    "`{key}` is {name:?}; valid: HUP, INT, QUIT, TERM, USR1, USR2, WINCH"
                ));
            }
        }
        if self.log_bytes == 0 || self.log_count == 0 {
            return Err("`log_bytes` and `log_count` must be at least 1".to_owned());
        }
        if let Some(Ready::Log(text)) = &self.ready
            && (text.is_empty() || self.kind() != Kind::Process)
        {
            return Err(
                "`ready.log` is a text in the output of a service of kind `process`".to_owned(),
            );
        }
        if self.backoff.is_zero() {
            return Err("`backoff_seconds` must be more than 0".to_owned());
        }
        Ok(())
    }

    fn check_kind(&self) -> Result<(), String> {
        let commands = [
            ("start_command", &self.start_command),
            ("stop_command", &self.stop_command),
            ("restart_command", &self.restart_command),
            ("reload_command", &self.reload_command),
            ("status_command", &self.status_command),
        ];
        let given = commands.iter().find(|(_, command)| command.is_some());
        let kind = self.kind();
        match kind {
            Kind::Process if self.command.is_empty() => {
                return Err("`command` is missing".to_owned());
            }
            Kind::Systemd | Kind::Command if !self.command.is_empty() => {
                return Err("`command` is for services of kind `process`".to_owned());
            }
            Kind::Systemd | Kind::Command if self.reload.is_some() => {
                return Err(
                    "`reload` is for services of kind `process`; a unit knows its own, and kind \
                     `command` has `reload_command`"
                        .to_owned(),
                );
            }
            Kind::Command
                if self.restart_command.is_none()
                    && (self.start_command.is_none() || self.stop_command.is_none()) =>
            {
                return Err(
                    "kind `command` needs a `restart_command`, or `start_command` and \
                     `stop_command`"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if kind != Kind::Command
            && let Some((key, _)) = given
        {
            return Err(format!("`{key}` is for services of kind `command`"));
        }
        let unit = self.unit.as_deref().unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:\\".contains(&byte);
        match kind {
            Kind::Systemd
                if unit.is_empty() || unit.starts_with('-') || !unit.bytes().all(fits) =>
            {
                Err("kind `systemd` needs a `unit`, as in `web.service`".to_owned())
            }
            Kind::Process | Kind::Command if self.unit.is_some() => {
                Err("`unit` is for services of kind `systemd`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Checks all services together: names are used once, and nobody waits for himself.
/// Gives the positions in start order.
///
/// # Errors
/// What is wrong, with the name of the service, for the person who wrote it.
pub fn check_services(configs: &[ServiceConfig]) -> Result<Vec<usize>, WrongService> {
    let mut names = BTreeSet::new();
    for config in configs {
        let wrong = |message| WrongService {
            service: Some(config.name.clone()),
            message,
        };
        config.check().map_err(wrong)?;
        if !names.insert(config.name.as_str()) {
            return Err(wrong("the name is used twice".to_owned()));
        }
    }
    let items: Vec<_> = configs
        .iter()
        .map(|config| (config.name.as_str(), config.after.as_slice()))
        .collect();
    start_order(&items)
}

/// Services that cannot be as they are configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongService {
    /// The one that cannot be; none where several are to blame.
    pub service: Option<String>,
    /// What is wrong and what is valid.
    pub message: String,
}

impl fmt::Display for WrongService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "service {service}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for WrongService {}

/// Who runs a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The host itself.
    #[default]
    Process,
    /// systemd; the host tells it what to do.
    Systemd,
    /// Somebody else, told by commands.
    Command,
}

impl Kind {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Systemd => "systemd",
            Self::Command => "command",
        }
    }
}

/// What shows that a service came up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// A line of its output holds this text.
    Log(String),
    /// This port of the machine accepts connections.
    Port(u16),
}

/// How a service shows that it is well.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Health {
    /// A `GET` is answered.
    Http {
        /// `http://…`.
        url: String,
        /// Status of the answer.
        #[serde(default = "default_status")]
        expect_status: u16,
        /// For the whole request.
        #[serde(
            rename = "timeout_seconds",
            default = "default_health_timeout",
            with = "seconds"
        )]
        timeout: Duration,
    },
    /// A connection is accepted.
    Tcp {
        /// `host:port`.
        address: String,
        /// For the connection.
        #[serde(
            rename = "timeout_seconds",
            default = "default_health_timeout",
            with = "seconds"
        )]
        timeout: Duration,
    },
    /// A command exits with 0.
    Command {
        /// For `/bin/sh -c`, in the service's directory and environment.
        run: String,
        /// Killed after this long.
        #[serde(
            rename = "timeout_seconds",
            default = "default_health_timeout",
            with = "seconds"
        )]
        timeout: Duration,
    },
}

/// What happens when a service ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays down.
    Never,
    /// It is started again unless it exited with 0.
    #[default]
    OnFailure,
    /// It is started again.
    Always,
}

fn default_log_bytes() -> u64 {
    16 * 1024 * 1024
}

fn default_log_count() -> u32 {
    3
}

fn default_backoff() -> Duration {
    Duration::from_millis(500)
}

fn default_backoff_max() -> Duration {
    Duration::from_secs(30)
}

fn default_crash_limit() -> u32 {
    6
}

fn default_stable() -> Duration {
    Duration::from_secs(60)
}

fn default_breaker() -> Duration {
    Duration::from_secs(300)
}

fn default_stop_signal() -> String {
    "TERM".to_owned()
}

fn default_orphan() -> Duration {
    Duration::from_secs(30)
}

fn default_start_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_stop_grace() -> Duration {
    Duration::from_secs(10)
}

fn default_health_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_status() -> u16 {
    200
}

/// Durations are written as seconds, fractions allowed.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(input)?).map_err(Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        output: S,
    ) -> Result<S::Ok, S::Error> {
        output.serialize_f64(duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_needed_and_nothing_unknown_is_taken() {
        let full = r#"{
            "name": "web", "command": "python3 app.py", "directory": "server",
            "environment": {"PORT": "8000"}, "inherit": ["DATABASE_URL"],
            "health": {"http": {"url": "http://127.0.0.1:8000/", "expect_status": 204, "timeout_seconds": 2}},
            "restart": "always", "start_timeout_seconds": 1.5, "stop_grace_seconds": 3
        }"#;
        let config: ServiceConfig = serde_json::from_str(full).unwrap();
        assert_eq!(config.start_timeout, Duration::from_millis(1500));
        assert_eq!(config.restart, RestartPolicy::Always);
        config.check().unwrap();
        let again: ServiceConfig =
            serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);

        let least: ServiceConfig =
            serde_json::from_str(r#"{"name": "web", "command": "x"}"#).unwrap();
        assert_eq!(least, ServiceConfig::new("web", "x"));
        for wrong in [
            r#"{"name": "web", "command": "x", "comand": "y"}"#,
            r#"{"name": "web", "command": "x", "health": {"http": {"url": "u", "x": 1}}}"#,
            r#"{"name": "web", "command": "x", "stop_grace_seconds": -1}"#,
        ] {
            assert!(
                serde_json::from_str::<ServiceConfig>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn impossible_services_are_refused() {
        for name in ["", ".", "../x", "a/b", "a b", &"x".repeat(65)] {
            assert!(ServiceConfig::new(name, "x").check().is_err(), "{name}");
        }
        let parse = |text: &str| {
            let config: ServiceConfig = serde_json::from_str(text).unwrap();
            config.check()
        };
        for (fields, expected) in [
            (r#""command": """#, "`command` is missing"),
            (r#""kind": "systemd""#, "needs a `unit`"),
            (r#""kind": "systemd", "unit": "--now""#, "needs a `unit`"),
            (
                r#""kind": "systemd", "unit": "a.service", "command": "x""#,
                "`command` is for",
            ),
            (
                r#""kind": "command", "start_command": "x""#,
                "`stop_command`",
            ),
            (
                r#""command": "x", "restart_command": "y""#,
                "`restart_command` is for",
            ),
            (r#""command": "x", "reload": "KILL""#, "valid: HUP"),
            (r#""command": "x", "log_count": 0"#, "at least 1"),
            (r#""command": "x", "ready": {"log": ""}"#, "`ready.log`"),
            (
                r#""restart_command": "x", "reload": "HUP""#,
                "`reload_command`",
            ),
        ] {
            let error = parse(&format!(r#"{{"name": "web", {fields}}}"#)).unwrap_err();
            assert!(error.contains(expected), "{fields}: {error}");
        }
        for fields in [
            r#""restart_command": "x""#,
            r#""kind": "systemd", "unit": "web@1.service", "user_unit": true"#,
            r#""kind": "command", "start_command": "x", "stop_command": "y""#,
            r#""command": "x", "ready": {"port": 8000}, "reload": "HUP", "stop_signal": "SIGINT""#,
        ] {
            parse(&format!(r#"{{"name": "web", {fields}}}"#)).unwrap();
        }
    }

    #[test]
    fn services_are_checked_together() {
        let named = |name: &str, after: &[&str]| {
            let mut config = ServiceConfig::new(name, "x");
            config.after = after.iter().map(|it| (*it).to_owned()).collect();
            config
        };
        assert_eq!(
            check_services(&[named("web", &["db"]), named("db", &[])]).unwrap(),
            [1, 0]
        );
        for (configs, expected) in [
            (vec![named("a", &[]), named("a", &[])], "used twice"),
            (
                vec![named("a", &["b"]), named("b", &["a"])],
                "a after b after a",
            ),
            (vec![named("a", &["x"])], "\"x\""),
        ] {
            let error = check_services(&configs).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
