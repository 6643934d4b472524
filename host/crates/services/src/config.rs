//! `[[service]]` in `selfheal.toml`. Trusted: written by the owner.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One service of the application.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Unique; letters, digits, `-`, `_` and `.`, at most 64, no leading dot.
    pub name: String,
    /// For `/bin/sh -c`. Runs in the foreground. Empty only for a service that
    /// somebody else runs, which then needs a `restart_command`.
    #[serde(default)]
    pub command: String,
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
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Instead of stopping and starting it ourselves, for a service that somebody
    /// else runs (`systemctl restart web`). For `/bin/sh -c`.
    #[serde(default)]
    pub restart_command: Option<String>,
    /// How long it may take to be ready.
    #[serde(
        rename = "start_timeout_seconds",
        default = "default_start_timeout",
        deserialize_with = "from_seconds",
        serialize_with = "to_seconds"
    )]
    pub start_timeout: Duration,
    /// Between `SIGTERM` and `SIGKILL`.
    #[serde(
        rename = "stop_grace_seconds",
        default = "default_stop_grace",
        deserialize_with = "from_seconds",
        serialize_with = "to_seconds"
    )]
    pub stop_grace: Duration,
}

impl ServiceConfig {
    /// A service with defaults everywhere else.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
            directory: PathBuf::new(),
            environment: BTreeMap::new(),
            inherit: Vec::new(),
            health: None,
            log_file: None,
            log_bytes: default_log_bytes(),
            restart: RestartPolicy::default(),
            restart_command: None,
            start_timeout: default_start_timeout(),
            stop_grace: default_stop_grace(),
        }
    }

    /// What is wrong with it, for the person who wrote it.
    ///
    /// # Errors
    /// The name is impossible, or there is nothing to run.
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
        if self.command.is_empty() && self.restart_command.is_none() {
            return Err("`command` is missing".to_owned());
        }
        if !self.command.is_empty() && self.restart_command.is_some() {
            return Err("`restart_command` is for services without a `command`".to_owned());
        }
        if let Some(Health::Http { url, .. }) = &self.health
            && !url.starts_with("http://")
        {
            return Err("`health.http.url` must begin with `http://`".to_owned());
        }
        Ok(())
    }
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
            deserialize_with = "from_seconds",
            serialize_with = "to_seconds"
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
            deserialize_with = "from_seconds",
            serialize_with = "to_seconds"
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
            deserialize_with = "from_seconds",
            serialize_with = "to_seconds"
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

fn from_seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(input)?).map_err(serde::de::Error::custom)
}

fn to_seconds<S: Serializer>(duration: &Duration, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_f64(duration.as_secs_f64())
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
        assert!(ServiceConfig::new("web", "").check().is_err());
        let mut foreign = ServiceConfig::new("web", "");
        foreign.restart_command = Some("systemctl restart web".to_owned());
        foreign.check().unwrap();
        foreign.command = "x".to_owned();
        assert!(foreign.check().is_err());
    }
}
