//! `selfheal policy verify`: who signed a module.

use super::registry::{RegistryArguments, fetch};
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_host::PolicyConfig;
use selfheal_policy_source::{PublicKey, Publisher, claimed_signer, verify};
use std::path::{Path, PathBuf};

/// Verifies a module's signature, without running the module
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy verify no-docker.wasm                     the publishers of policy.toml
  selfheal policy verify no-docker.wasm --key ed25519:AbC…  this key only
  selfheal policy verify oci://ghcr.io/team/no-docker@sha256:…

Exit code 0 when a pinned publisher signed exactly these bytes, else 1.")]
pub(crate) struct Verify {
    /// A .wasm file, a project's directory, or a source as in policy.toml
    #[arg(default_value = ".", value_name = "MODULE")]
    module: String,
    /// Only this public key counts: its text, or a file with it
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// Whose publishers count
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    config: PathBuf,
    /// Data directory, for `sha256:` and for what was pulled before
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut listed = Vec::new();
        let publishers = if self.key.is_empty() {
            let config = PolicyConfig::load(&self.config).because(Exit::Usage)?;
            listed = config.trust.insecure_registries().to_vec();
            config.trust.publishers().to_vec()
        } else {
            self.key
                .iter()
                .map(|key| named(key))
                .collect::<Result<_, _>>()?
        };
        let registries = self.registry.registries(&listed)?;
        let (_, fetched) = fetch(&self.module, self.data.as_deref(), registries)?;
        let signature = fetched.signature.as_deref();
        let result = verify(&fetched.bytes, signature, &publishers);
        // Whose key it claims to be helps where it is not known.
        let claimed = claimed_signer(&fetched.bytes, signature).ok();
        if self.json {
            output::json(&serde_json::json!({
                "sha256": fetched.digest,
                "signed": result.as_ref().ok(),
                "problem": result.as_ref().err().map(ToString::to_string),
                "placement": claimed.as_ref().map(|(placement, _)| placement),
                "keyIdentifier": claimed.as_ref().map(|(_, id)| id),
            }));
        } else {
            output::line(format!("sha256  {}", fetched.digest));
            output::line(match &result {
                Ok(by) => output::coloured(Colour::Green, by),
                Err(problem) => output::coloured(Colour::Red, problem),
            });
        }
        Ok(if result.is_ok() {
            Exit::Done
        } else {
            Exit::NotSo
        })
    }
}

/// A key that is given instead of `policy.toml`'s; it has no other name than itself.
fn named(given: &str) -> Result<Publisher, Failure> {
    let key: PublicKey = if given.starts_with("ed25519:") {
        given.parse().because(Exit::Usage)?
    } else {
        PublicKey::read(Path::new(given)).because(Exit::Usage)?
    };
    Ok(Publisher {
        name: "the given key".to_owned(),
        key,
    })
}
