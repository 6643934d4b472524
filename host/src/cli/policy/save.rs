//! `selfheal policy save`: all modules of a `policy.toml` in one file, for a host
//! without a network.

use super::registry::{RegistryArguments, source_failure, store};
use super::sign::write;
use crate::cli::output;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_host::PolicyConfig;
use selfheal_policy_source::{BundleProblem, Fetched, SourceRef, Sources, save};
use std::path::PathBuf;

/// Writes every module of policy.toml that is not bundled into one file
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy save --config policy.toml -o policies.tar
  scp policies.tar host: && ssh host selfheal policy load policies.tar

The file is an OCI image layout, which skopeo and oras read too. References to registries
stay good where it is loaded; modules from files are found there as sha256:DIGEST.")]
pub(crate) struct Save {
    /// Whose modules
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    config: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE", default_value = "policies.tar")]
    output: PathBuf,
    /// Data directory, for `sha256:` and for what was pulled before
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Save {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let config = PolicyConfig::load(&self.config).because(Exit::Usage)?;
        let registries = self
            .registry
            .registries(config.trust.insecure_registries())?;
        let sources = Sources::new(store(self.data.as_deref())?, registries);
        let wanted: Vec<_> = config
            .modules
            .iter()
            .filter(|module| !matches!(module.source, SourceRef::Bundled(_)))
            .map(|module| (module.name.clone(), module.source.clone()))
            .collect();
        let mut bundle = Vec::new();
        let saved = save(&wanted, &sources, &mut bundle).map_err(failure)?;
        for module in &saved {
            let described = config
                .modules
                .iter()
                .find(|other| other.name == module.name);
            // What the other host would refuse is worth knowing before the journey.
            if let Some(described) = described {
                let fetched = sources.fetch(&described.source).map_err(source_failure)?;
                warn(&config, described, &fetched);
            }
        }
        write(&self.output, &bundle)?;
        if self.json {
            output::json(&serde_json::json!({ "file": self.output, "modules": saved }));
            return Ok(Exit::Done);
        }
        for module in &saved {
            output::line(format!("{}  sha256:{}", module.name, module.digest));
        }
        output::progress(format!(
            "{} modules in {}",
            saved.len(),
            self.output.display()
        ));
        Ok(Exit::Done)
    }
}

fn warn(config: &PolicyConfig, module: &selfheal_policy_host::ModuleConfig, fetched: &Fetched) {
    if let Some(pin) = module.pin
        && pin != fetched.digest
    {
        output::progress(format!(
            "{}: policy.toml pins sha256 {pin}, but it is {}",
            module.name, fetched.digest
        ));
    }
    if let Err(problem) = config.trust.admit(&module.source, module.wanted(), fetched) {
        output::progress(format!("{}: {problem}", module.name));
    }
}

fn failure(problem: BundleProblem) -> Failure {
    match problem {
        BundleProblem::Fetch { name, source } => {
            let inner = source_failure(*source);
            Failure {
                exit: inner.exit,
                error: inner
                    .error
                    .context(format!("the module {name} cannot be saved")),
            }
        }
        BundleProblem::NotAComponent(_) | BundleProblem::TooLarge(_) => Failure {
            exit: Exit::Usage,
            error: problem.into(),
        },
        other => Failure {
            exit: Exit::Unavailable,
            error: other.into(),
        },
    }
}
