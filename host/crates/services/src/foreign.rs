//! Services that somebody else runs: systemd, or whoever the owner's commands speak to.

use crate::config::{Kind, ServiceConfig};
use selfheal_domain::service::ServiceOperation;
use selfheal_domain::tools::Ended;
use selfheal_sandbox::{ManagedSpec, TrustedCommand, run_trusted};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How much of what a command says is kept, in bytes.
const OUTPUT: usize = 8 * 1024;
/// How long a question about the state may take.
const QUESTION: Duration = Duration::from_secs(10);

/// How such a service is spoken to.
#[derive(Debug)]
pub(crate) struct Foreign {
    systemctl: Option<Vec<String>>,
    unit: String,
    start: Option<String>,
    stop: Option<String>,
    restart: Option<String>,
    reload: Option<String>,
    status: Option<String>,
}

/// What it says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// It runs, as this process if one is known.
    Up(Option<u32>, String),
    /// It is coming up.
    Coming(String),
    /// It does not run, because it was stopped.
    Down(String),
    /// It does not run, and should.
    Broken(String),
    /// Nobody can ask.
    Unknown,
}

/// Where its commands run.
pub(crate) struct Ground<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) timeout: Duration,
}

impl Foreign {
    /// None for a service that the host runs itself.
    pub(crate) fn of(config: &ServiceConfig) -> Option<Self> {
        let systemctl = match config.kind() {
            Kind::Process => return None,
            Kind::Command => None,
            Kind::Systemd => {
                let mut words = vec!["systemctl".to_owned()];
                if config.user_unit {
                    words.push("--user".to_owned());
                }
                // Nobody is there to type a password.
                words.push("--no-ask-password".to_owned());
                Some(words)
            }
        };
        Some(Self {
            systemctl,
            unit: config.unit.clone().unwrap_or_default(),
            start: config.start_command.clone(),
            stop: config.stop_command.clone(),
            restart: config.restart_command.clone(),
            reload: config.reload_command.clone(),
            status: config.status_command.clone(),
        })
    }

    /// The host may bring it up when it starts.
    pub(crate) fn is_startable(&self) -> bool {
        self.systemctl.is_some() || (self.start.is_some() && self.status.is_some())
    }

    pub(crate) fn is_reloadable(&self) -> bool {
        self.systemctl.is_some() || self.reload.is_some()
    }

    /// Systemd starts its own units again.
    pub(crate) fn is_supervised(&self) -> bool {
        self.systemctl.is_some()
    }

    /// Does it and waits for the command.
    pub(crate) fn operate(
        &self,
        operation: ServiceOperation,
        ground: &Ground<'_>,
    ) -> Result<(), String> {
        if let Some(systemctl) = &self.systemctl {
            let verb = operation.name().to_owned();
            let words = systemctl.iter().cloned();
            return run(words.chain([verb, self.unit.clone()]).collect(), ground).map(drop);
        }
        let shell = |command: &String| run(ManagedSpec::shell(command), ground).map(drop);
        let missing = || {
            Err(format!(
                "nobody said how to {} it; set `{}_command`",
                operation.name(),
                operation.name()
            ))
        };
        match operation {
            ServiceOperation::Start => self.start.as_ref().map_or_else(missing, shell),
            ServiceOperation::Stop => self.stop.as_ref().map_or_else(missing, shell),
            ServiceOperation::Reload => self.reload.as_ref().map_or_else(missing, shell),
            ServiceOperation::Restart => match (&self.restart, &self.stop, &self.start) {
                (Some(restart), _, _) => shell(restart),
                (None, Some(stop), Some(start)) => shell(stop).and_then(|()| shell(start)),
                _ => missing(),
            },
        }
    }

    /// How it is.
    pub(crate) fn look(&self, ground: &Ground<'_>) -> Seen {
        let ground = Ground {
            timeout: ground.timeout.min(QUESTION),
            ..*ground
        };
        if let Some(systemctl) = &self.systemctl {
            let question = [
                "show".to_owned(),
                "--property=LoadState,ActiveState,SubState,MainPID,Result".to_owned(),
                self.unit.clone(),
            ];
            let words = systemctl.iter().cloned().chain(question).collect();
            return match run(words, &ground) {
                Ok(text) => unit_state(&self.unit, &text),
                Err(error) => Seen::Broken(error),
            };
        }
        let Some(status) = &self.status else {
            return Seen::Unknown;
        };
        let output = run_trusted(&command(ManagedSpec::shell(status), &ground));
        match output {
            Err(error) => Seen::Broken(crate::actor::with_causes(&error)),
            Ok(output) => {
                let said = format!("{}{}", output.stdout, output.stderr);
                let said = format!("{status}: {}", said.trim());
                match output.ended {
                    Ended::Exit(0) => Seen::Up(None, said),
                    Ended::Exit(1..=3) => Seen::Down(said),
                    ended => Seen::Broken(format!("{said} ({})", crate::actor::describe(ended))),
                }
            }
        }
    }
}

/// Reads the answer of `systemctl show`.
fn unit_state(unit: &str, text: &str) -> Seen {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let (load, active, sub) = (value("LoadState"), value("ActiveState"), value("SubState"));
    let said = format!("{unit}: {active} ({sub})");
    if !matches!(load, "loaded" | "") {
        return Seen::Broken(format!("{unit}: {load}"));
    }
    let pid = value("MainPID").parse().ok().filter(|pid| *pid > 0);
    match active {
        "active" | "reloading" => Seen::Up(pid, said),
        "activating" => Seen::Coming(said),
        "inactive" | "deactivating" => Seen::Down(said),
        "failed" => Seen::Broken(format!("{said}, {}", value("Result"))),
        _ => Seen::Broken(format!("{unit}: systemctl said nothing about its state")),
    }
}

fn command(argv: Vec<String>, ground: &Ground<'_>) -> TrustedCommand {
    TrustedCommand {
        argv,
        directory: ground.directory.to_owned(),
        environment: ground.environment.clone(),
        timeout: ground.timeout,
        output_bytes: OUTPUT,
    }
}

fn run(argv: Vec<String>, ground: &Ground<'_>) -> Result<String, String> {
    let shown = match argv.as_slice() {
        // `/bin/sh -c` says nothing.
        [_, _, command] if argv.first().is_some_and(|it| it == "/bin/sh") => command.clone(),
        words => words.join(" "),
    };
    let output =
        run_trusted(&command(argv, ground)).map_err(|error| crate::actor::with_causes(&error))?;
    if output.ended.success() {
        return Ok(output.stdout);
    }
    let said = format!("{}{}", output.stdout, output.stderr);
    Err(format!(
        "{shown} {}: {}",
        crate::actor::describe(output.ended),
        said.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_is_read() {
        let seen = |load: &str, active: &str| {
            let text = format!(
                "LoadState={load}\nActiveState={active}\nSubState=x\nMainPID=42\nResult=exit-code\n"
            );
            unit_state("web.service", &text)
        };
        assert!(matches!(seen("loaded", "active"), Seen::Up(Some(42), _)));
        assert!(matches!(seen("loaded", "activating"), Seen::Coming(_)));
        assert!(matches!(seen("loaded", "inactive"), Seen::Down(_)));
        assert!(
            matches!(seen("loaded", "failed"), Seen::Broken(text) if text.contains("exit-code"))
        );
        assert!(
            matches!(seen("not-found", "inactive"), Seen::Broken(text) if text.contains("not-found"))
        );
        assert!(matches!(unit_state("x", ""), Seen::Broken(_)));
    }
}
