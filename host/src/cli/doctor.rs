//! `selfheal doctor`: is everything here that safe healing needs?

use super::output::{self, Colour};
use super::policy::{ask_operator, proof};
use crate::compose;
use crate::compose::accounts::control_socket;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Checks this machine and configuration; says what is missing and what follows.
#[derive(Args, Debug)]
#[command(
    after_help = "Asks a host that runs here, too: whether it proved that policies are enforced, which rules the \
glass is broken over, what is in quarantine.

Exit code 0 when everything needed works, 1 when something is missing."
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
        let mut findings = vec![containment(), policies()];
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
            output::json(&serde_json::json!({ "ok": healthy, "findings": findings }));
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
                    "{mark:>9}  {:<14} {}",
                    finding.name, finding.detail
                ));
            }
        }
        Ok(if healthy { Exit::Done } else { Exit::NotSo })
    }
}

fn containment() -> Finding {
    let probed = selfheal_sandbox::Sandbox::probe();
    let ok = probed.is_sufficient();
    let consequence = if ok {
        ""
    } else {
        " — agents get no commands, autonomy is capped at 1 (SUGGEST)"
    };
    Finding {
        name: "containment",
        ok,
        detail: format!("{probed}{consequence}"),
    }
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
