//! `selfheal policy inspect`: what a module is, without believing it.

use super::module::{self, ModuleArguments, Target, kind_name};
use crate::cli::output::{self, Colour};
use crate::failure::{Exit, Failure};
use clap::Args;
use selfheal_policy_host::{LARGEST_MODULE, Limits, SingleModule};
use selfheal_policy_source::{Placement, claimed_signer, signature_path};

/// Shows a module's identity, digest, imports, exports, settings and limits
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy inspect no-docker.wasm
  selfheal policy inspect shell-guard --json | jq .settingsSchema

The digest is what `sha256 = …` in policy.toml pins.")]
pub(crate) struct Inspect {
    #[command(flatten)]
    arguments: ModuleArguments,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let target = self.arguments.target()?;
        let (engine, cache) = module::engine()?;
        let anatomy = SingleModule::anatomy_of(&engine, &cache, &target.bytes)
            .map_err(|problem| Failure::new(Exit::NotSo, format!("{}: {problem}", target.name)))?;
        // Nothing of what it says about itself is known if it cannot be loaded.
        let run_as = self.arguments.run_as(&target)?;
        let described = SingleModule::load(&engine, &cache, &target.bytes, run_as)
            .and_then(|module| module.describe());
        let source = source_of(&target);
        let signature = signature_of(&target);
        if self.arguments.json {
            let schema = described.as_ref().ok().map(|described| {
                serde_json::from_str(&described.settings_schema).unwrap_or_else(|_| {
                    serde_json::Value::String(described.settings_schema.clone())
                })
            });
            output::json(&serde_json::json!({
                "name": described.as_ref().map(|described| &described.name).ok(),
                "version": described.as_ref().map(|described| &described.version).ok(),
                "source": source,
                "kind": anatomy.kind.map(kind_name),
                "line": anatomy.line,
                "sha256": anatomy.digest.to_string(),
                "bytes": anatomy.size,
                "signature": signature.as_ref().ok().map(|(placement, key)| {
                    serde_json::json!({ "placement": placement, "claimedKey": key })
                }),
                "imports": anatomy.imports,
                "exports": anatomy.exports,
                "settingsSchema": schema,
                "examples": described.as_ref().map(|described| &described.examples).ok(),
                "limits": limits(),
                "problem": described.as_ref().err().map(ToString::to_string),
            }));
            return Ok(Exit::Done);
        }
        let name = described
            .as_ref()
            .map_or(target.name.as_str(), |described| described.name.as_str());
        let version = described
            .as_ref()
            .map_or("", |described| described.version.as_str());
        output::line(format!(
            "{} {version}",
            output::coloured(Colour::Bold, name)
        ));
        let row = |label: &str, value: String| output::line(format!("  {label:<10} {value}"));
        row("source", source);
        row("kind", anatomy.kind.map_or("unknown", kind_name).to_owned());
        row(
            "contract",
            anatomy.line.clone().unwrap_or_else(|| "unknown".to_owned()),
        );
        row("sha256", anatomy.digest.to_string());
        row("size", format!("{} bytes", anatomy.size));
        row(
            "signature",
            match &signature {
                Ok((placement, key)) => format!(
                    "{placement:?} and claims key {key}; `selfheal policy verify` checks it"
                )
                .to_lowercase(),
                Err(none) => none.clone(),
            },
        );
        row("imports", joined(&anatomy.imports));
        row("exports", joined(&anatomy.exports));
        let standard = Limits::DEFAULT;
        row(
            "limits",
            format!(
                "{} ms, {} MiB, answers of {} KiB (policy.toml may say otherwise)",
                standard.deadline().as_millis(),
                standard.memory() >> 20,
                standard.output() >> 10
            ),
        );
        match described {
            Ok(described) => {
                row("examples", described.examples.len().to_string());
                row("settings", settings_of(&described.settings_schema));
            }
            Err(problem) => row("problem", problem.to_string()),
        }
        Ok(Exit::Done)
    }
}

fn source_of(target: &Target) -> String {
    if target.bundled {
        return format!("bundled:{}", target.name);
    }
    target
        .file
        .as_ref()
        .map_or_else(String::new, |file| file.display().to_string())
}

/// Where its signature stands and whose it claims to be. Without the publishers that
/// a policy.toml pins, nothing is known of whether that is so.
fn signature_of(target: &Target) -> Result<(Placement, String), String> {
    if target.bundled {
        return Err("none: it is built into this binary".to_owned());
    }
    let detached = target
        .file
        .as_ref()
        .and_then(|file| std::fs::read(signature_path(file)).ok());
    claimed_signer(&target.bytes, detached.as_deref()).map_err(|problem| problem.to_string())
}

fn limits() -> serde_json::Value {
    let standard = Limits::DEFAULT;
    serde_json::json!({
        "deadlineMs": standard.deadline().as_millis() as u64,
        "memoryBytes": standard.memory(),
        "outputBytes": standard.output(),
        "largestModule": LARGEST_MODULE,
    })
}

fn joined(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// One line per setting, as far as the schema says.
fn settings_of(schema: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let properties = schema
        .get("properties")
        .and_then(serde_json::Value::as_object);
    let lines: Vec<String> = properties
        .into_iter()
        .flatten()
        .map(|(name, setting)| {
            let text = |key: &str| {
                setting
                    .get(key)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default()
            };
            format!("{name} ({}) {}", text("type"), text("description"))
        })
        .collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join("\n             ")
    }
}
