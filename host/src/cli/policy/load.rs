//! `selfheal policy load`: a bundle's modules into the data directory.

use super::registry::store;
use crate::cli::output;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_source::{BundleProblem, load};
use std::fs::File;
use std::path::PathBuf;

/// Keeps the modules of a file that `save` wrote; runs none of them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy load policies.tar
  selfheal policy load policies.tar --data /var/lib/selfheal

Nothing is kept unless all of the file is right, and nothing comes into force: policy.toml
names what does, as sha256:DIGEST or by the reference in a registry.")]
pub(crate) struct Load {
    /// The file
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Data directory; else the one of the configuration file
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file
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

impl Load {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let data = match self.data {
            Some(data) => data,
            None => Config::read(&self.config).because(Exit::Usage)?.data,
        };
        let file = File::open(&self.bundle).map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("{} cannot be read: {error}", self.bundle.display()),
            )
        })?;
        let Some(store) = store(Some(&data))? else {
            return Err(Failure::new(
                Exit::Unavailable,
                "there is no data directory",
            ));
        };
        let loaded = load(std::io::BufReader::new(file), &store).map_err(|problem| {
            let exit = match problem {
                BundleProblem::Store(_) => Exit::Unavailable,
                _ => Exit::NotSo,
            };
            Failure {
                exit,
                error: problem.into(),
            }
        })?;
        if self.json {
            output::json(&serde_json::json!({ "modules": loaded }));
            return Ok(Exit::Done);
        }
        for module in &loaded {
            output::line(format!(
                "{}  sha256:{}{}",
                module.name,
                module.digest,
                if module.source.starts_with("oci://") {
                    format!("  {}", module.source)
                } else {
                    String::new()
                }
            ));
        }
        output::progress(format!("{} modules kept", loaded.len()));
        Ok(Exit::Done)
    }
}
