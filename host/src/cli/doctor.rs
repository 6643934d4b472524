//! `selfheal doctor`: is everything here that safe healing needs?

use super::output::{self, Colour};
use crate::compose;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Checks this machine and configuration; says what is missing and what follows.
#[derive(Args, Debug)]
#[command(after_help = "Exit code 0 when everything needed works, 1 when something is missing.")]
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
        }
        let healthy = findings
            .iter()
            .filter(|finding| finding.name != "node" && finding.name != "python")
            .all(|f| f.ok);
        if self.json {
            output::json(&serde_json::json!({ "ok": healthy, "findings": findings }));
        } else {
            for finding in &findings {
                let mark = if finding.ok {
                    output::coloured(Colour::Green, "ok")
                } else {
                    output::coloured(Colour::Yellow, "missing")
                };
                output::line(format!(
                    "{mark:>8}  {:<14} {}",
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

fn configuration(file: &std::path::Path) -> Finding {
    let checked = Config::read(file).because(Exit::Usage).and_then(|config| {
        compose::repository_root(&config.repository)?;
        compose::policies_of(&config)?;
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
