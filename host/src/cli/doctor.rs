//! `selfheal doctor`: is everything here that safe healing needs?

use super::output::{self, Colour};
use super::policy::{ask_operator, proof};
use crate::compose;
use crate::compose::accounts::control_socket;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_sandbox::{Probe, Sandbox, Thoroughness, all_hold};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Checks this machine and configuration; says what is missing and what follows.
#[derive(Args, Debug)]
#[command(
    after_help = "Attacks every layer of the sandbox from inside, with a process that tries to write, read, connect,
trace, gain privileges, outlive its call and use more than its share. Where a layer does not hold it
says what to do; until then agents get no commands and autonomy is capped at 1.

Asks a host that runs here, too: whether it proved that policies are enforced, which rules the \
glass is broken over, what is in quarantine.

Exit code 0 when everything needed works, 1 when something is missing.

Examples:
  selfheal doctor
  selfheal doctor --json | jq '.findings[] | select(.ok | not)'"
)]
pub(crate) struct Doctor {
    /// Configuration file; without one only the machine is checked
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Doctor {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let layers = Sandbox::new().attack(Thoroughness::Full);
        let mut findings = containment(&layers);
        findings.push(policies());
        for (name, program) in [("python", "python3"), ("node", "node")] {
            findings.push(interpreter(name, program));
        }
        if self.config.exists() {
            findings.push(configuration(&self.config));
            findings.extend(running_host(&self.config));
        }
        let healthy = findings
            .iter()
            .filter(|finding| !matches!(finding.name, "node" | "python" | "notice"))
            .all(|finding| finding.ok);
        if self.json {
            output::json(
                &serde_json::json!({ "ok": healthy, "layers": layers, "findings": findings }),
            );
        } else {
            for finding in &findings {
                let mark = if finding.ok {
                    output::coloured(Colour::Green, "ok")
                } else if matches!(finding.name, "enforcement" | "policy.toml" | "notice") {
                    output::coloured(Colour::Red, "attention")
                } else {
                    output::coloured(Colour::Yellow, "missing")
                };
                output::line(format!(
                    "{mark:>9}  {:<18} {}",
                    finding.name, finding.detail
                ));
            }
        }
        Ok(if healthy { Exit::Done } else { Exit::NotSo })
    }
}

/// A finding for each layer that was attacked, and what a missing one means.
fn containment(layers: &[Probe]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = layers
        .iter()
        .map(|layer| Finding {
            name: layer.name,
            ok: layer.holds,
            detail: if layer.holds {
                layer.detail.clone()
            } else {
                format!("{}. To do: {}", layer.detail, layer.remedy)
            },
        })
        .collect();
    let held = layers.iter().filter(|layer| layer.holds).count();
    let ok = all_hold(layers);
    findings.push(Finding {
        name: "containment",
        ok,
        detail: if ok {
            format!("all {held} layers hold: agents may run commands")
        } else {
            format!(
                "{held} of {} layers hold: agents get no commands, and autonomy is capped at 1 (SUGGEST)",
                layers.len()
            )
        },
    });
    findings
}

fn policies() -> Finding {
    match compose::bundled_policies() {
        Ok(host) => {
            use selfheal_domain::policy::PolicyHost;
            let set = host.current();
            let names: Vec<String> = set
                .modules()
                .into_iter()
                .map(|module| module.name)
                .collect();
            Finding {
                name: "policies",
                ok: true,
                detail: format!("bundled modules load: {}", names.join(", ")),
            }
        }
        Err(failure) => Finding {
            name: "policies",
            ok: false,
            detail: format!("{:#}", failure.error),
        },
    }
}

/// Found on the path, without running it.
fn interpreter(name: &'static str, program: &str) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file());
    match found {
        Some(file) => Finding {
            name,
            ok: true,
            detail: file.display().to_string(),
        },
        None => Finding {
            name,
            ok: false,
            detail: format!("{program} is not on the PATH; its programs cannot be healed"),
        },
    }
}

fn configuration(file: &Path) -> Finding {
    let checked = Config::read(file).because(Exit::Usage).and_then(|config| {
        compose::repository_root(&config.repository)?;
        compose::check_policies(&config)?;
        Ok(config)
    });
    match checked {
        Ok(config) => Finding {
            name: "configuration",
            ok: true,
            detail: format!(
                "{} ({} test commands, {} services)",
                file.display(),
                config.checks.len(),
                config.services.len()
            ),
        },
        Err(failure) => Finding {
            name: "configuration",
            ok: false,
            detail: format!("{:#}", failure.error),
        },
    }
}

/// What a host that runs on this machine says of its policies; nothing when none does.
fn running_host(file: &Path) -> Vec<Finding> {
    let Ok(config) = Config::read(file) else {
        return Vec::new();
    };
    let socket = control_socket(&config.data);
    if !socket.exists() {
        return Vec::new();
    }
    let status = match ask_operator(&socket, "GET", "/status") {
        Ok((200, text)) => serde_json::from_str::<Value>(&text).unwrap_or_default(),
        // Left over from a host that was killed.
        Ok(_) | Err(_) => return Vec::new(),
    };
    let set = status.get("policies").cloned().unwrap_or_default();
    let mut findings = policies_in_force(&set);
    if status.pointer("/autonomy/frozen").and_then(Value::as_bool) == Some(true) {
        findings.push(Finding {
            name: "notice",
            ok: false,
            detail: "frozen: nothing heals until `selfheal unfreeze`".to_owned(),
        });
    }
    findings
}

fn policies_in_force(set: &Value) -> Vec<Finding> {
    let text = |value: &Value, key: &str| {
        let found = value.get(key).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let items = |key: &str| {
        let found = set.get(key).and_then(Value::as_array);
        found.cloned().unwrap_or_default()
    };
    let proved = set.pointer("/enforcement/proved").and_then(Value::as_bool);
    let mut findings = vec![Finding {
        name: "enforcement",
        ok: proved == Some(true),
        detail: proof(set),
    }];
    let why = text(set, "notInForce");
    if !why.is_empty() {
        findings.push(Finding {
            name: "policy.toml",
            ok: false,
            detail: format!("as it is on disk it is not in force: {why}"),
        });
    }
    let mut notice = |detail: String| {
        findings.push(Finding {
            name: "notice",
            ok: false,
            detail,
        });
    };
    for grant in items("grants") {
        notice(format!(
            "the glass over {} is broken until {} by {}: {}",
            text(&grant, "rule"),
            text(&grant, "until"),
            text(&grant, "by"),
            text(&grant, "reason")
        ));
    }
    for module in items("items") {
        let name = text(&module, "name");
        if text(&module, "state") == "quarantined" {
            let why = text(&module, "reason");
            notice(format!("module {name} is in quarantine: {why}"));
        }
        let signed = module.get("publisher").is_some();
        if !signed && !text(&module, "source").starts_with("bundled:") {
            notice(format!("module {name} is not signed"));
        }
    }
    let waiting = items("proposals").len();
    if waiting > 0 {
        notice(format!(
            "{waiting} changes of the policies wait for a second admin; see `selfheal policy status`"
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_does_not_hold_says_what_to_do_and_what_follows() {
        let layer = |name, holds| Probe {
            name,
            holds,
            detail: "connected to 192.0.2.1:9".to_owned(),
            remedy: if holds { "" } else { "allow user namespaces" },
        };
        let findings = containment(&[layer("masks", true), layer("network", false)]);
        let shown: Vec<(&str, bool)> = findings
            .iter()
            .map(|finding| (finding.name, finding.ok))
            .collect();
        assert_eq!(
            shown,
            [("masks", true), ("network", false), ("containment", false)]
        );
        assert!(findings[1].detail.ends_with("To do: allow user namespaces"));
        assert!(findings[2].detail.contains("1 of 2 layers"));
        assert!(findings[2].detail.contains("capped at 1"));
        assert!(!containment(&[]).iter().all(|finding| finding.ok));
    }
}
