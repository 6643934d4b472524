//! The module that a command is about: a file, a project's built module, or one that
//! is built into this binary; and how it is run.

use super::project::Project;
use crate::compose::BUNDLED;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::policy::ModuleKind;
use selfheal_policy_host::{
    Capabilities, Capability, CodeCache, Limits, PolicyEngine, RunAs, SingleModule, read_module,
};
use std::path::{Path, PathBuf};

/// Which module, and how it is run.
#[derive(Args, Debug, Clone)]
pub(crate) struct ModuleArguments {
    /// A .wasm file, a project's directory, or the name of a bundled module
    #[arg(default_value = ".", value_name = "FILE|DIR|NAME")]
    pub(crate) module: String,
    /// Settings as in policy.toml: JSON, or a .json or .toml file
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) settings: Option<String>,
    /// Grant a capability, as `capabilities = […]` in policy.toml would
    #[arg(long = "capability", value_name = "NAME")]
    pub(crate) capabilities: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// A module's bytes with what is known of them.
pub(crate) struct Target {
    /// Name for messages and for running it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) project: Option<Project>,
    pub(crate) bundled: bool,
    /// The file, unless bundled.
    pub(crate) file: Option<PathBuf>,
}

impl ModuleArguments {
    /// Reads the module.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be read.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let path = Path::new(&self.module);
        if path.is_dir() {
            let project = Project::open(path)?;
            let file = project.module();
            if !file.is_file() {
                let message = format!(
                    "{} is not built yet; run `selfheal policy build {}`",
                    project.name, self.module
                );
                return Err(Failure::new(Exit::Usage, message));
            }
            return Ok(Target {
                name: project.name.clone(),
                bytes: read_module(&file).because(Exit::Usage)?,
                project: Some(project),
                bundled: false,
                file: Some(file),
            });
        }
        if path.is_file() {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            return Ok(Target {
                name: stem.into_owned(),
                bytes: read_module(path).because(Exit::Usage)?,
                project: None,
                bundled: false,
                file: Some(path.to_owned()),
            });
        }
        // As policy.toml has it, too.
        let wanted = self.module.strip_prefix("bundled:").unwrap_or(&self.module);
        let bundled = BUNDLED.iter().find(|(name, _)| *name == wanted);
        let Some((name, bytes)) = bundled else {
            let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
            let message = format!(
                "{:?} is no file, no directory and no bundled module; bundled are: {}",
                self.module,
                names.join(", ")
            );
            return Err(Failure::new(Exit::Usage, message));
        };
        Ok(Target {
            name: (*name).to_owned(),
            bytes: bytes.to_vec(),
            project: None,
            bundled: true,
            file: None,
        })
    }

    /// The settings as JSON; an empty object where none are given.
    ///
    /// # Errors
    /// They are neither JSON nor a file that holds a table.
    pub(crate) fn settings(&self) -> Result<serde_json::Value, Failure> {
        let Some(given) = &self.settings else {
            return Ok(serde_json::Value::Object(serde_json::Map::new()));
        };
        let value: serde_json::Value = if given.trim_start().starts_with('{') {
            serde_json::from_str(given)
                .map_err(|error| anyhow::anyhow!("--settings is not JSON: {error}"))
                .because(Exit::Usage)?
        } else {
            let text = std::fs::read_to_string(given)
                .map_err(|error| {
                    anyhow::anyhow!(
                        "--settings is a JSON object or a file; cannot read {given}: {error}"
                    )
                })
                .because(Exit::Usage)?;
            let is_toml = Path::new(given)
                .extension()
                .is_some_and(|extension| extension == "toml");
            let read = if is_toml {
                toml::from_str(&text).map_err(anyhow::Error::new)
            } else {
                serde_json::from_str(&text).map_err(anyhow::Error::new)
            };
            read.map_err(|error| error.context(format!("cannot use {given}")))
                .because(Exit::Usage)?
        };
        if value.is_object() {
            return Ok(value);
        }
        let message = format!("settings are a table of key = value, got {value}");
        Err(Failure::new(Exit::Usage, message))
    }

    /// What is granted.
    ///
    /// # Errors
    /// There is no capability of a name; the message lists them.
    pub(crate) fn granted(&self) -> Result<Capabilities, Failure> {
        Capabilities::named(self.capabilities.iter().map(String::as_str)).map_err(|name| {
            let known: Vec<&str> = Capability::ALL.iter().map(|one| one.name()).collect();
            let message = format!(
                "no capability is called `{name}`; there are {}",
                known.join(", ")
            );
            Failure::new(Exit::Usage, message)
        })
    }

    /// The module as it would be run, with the default limits.
    pub(crate) fn run_as(&self, target: &Target) -> Result<RunAs, Failure> {
        Ok(RunAs {
            name: target.name.clone(),
            settings: self.settings()?.to_string(),
            limits: Limits::DEFAULT,
            capabilities: self.granted()?,
        })
    }
}

/// An engine and the user's cache of compiled modules.
pub(crate) fn engine() -> Result<(PolicyEngine, CodeCache), Failure> {
    let engine = PolicyEngine::new().because(Exit::Unavailable)?;
    let cache = selfheal_guest_build::cache_directory().map_or_else(
        |_| CodeCache::none(),
        |cache| CodeCache::in_directory(cache.join("compiled")),
    );
    Ok((engine, cache))
}

/// Loads the module that the arguments name.
///
/// # Errors
/// It does not fit the contract; the message says why.
pub(crate) fn load(arguments: &ModuleArguments, target: &Target) -> Result<SingleModule, Failure> {
    let (engine, cache) = engine()?;
    SingleModule::load(&engine, &cache, &target.bytes, arguments.run_as(target)?).map_err(|problem| {
        let message = format!(
            "{} is no module that a host loads: {problem}; `selfheal policy check` says all that is wrong",
            target.name
        );
        Failure::new(Exit::NotSo, message)
    })
}

/// As policy.toml spells it.
pub(crate) fn kind_name(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Guardrail => "guardrail",
        ModuleKind::Risk => "risk",
        ModuleKind::Autonomy => "autonomy",
    }
}
