//! `selfheal policy push` and `resolve`: modules and registries.

use super::registry::{RegistryArguments, fetch, place_failure, registry_failure};
use crate::cli::output;
use crate::failure::{Exit, Failure};
use clap::Args;
use selfheal_policy_source::{OciRef, OciTarget, Registries};

/// Puts a module into a registry; prints the reference that policy.toml pins
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy push no-docker.wasm oci://ghcr.io/team/no-docker:1.0

The signature beside the module (no-docker.wasm.sig) goes along. The layout is that of
other WebAssembly tools (wkg, wasmtime), and the same module always gets the same digest.
Credentials come from DOCKER_AUTH_CONFIG, REGISTRY_AUTH_FILE or ~/.docker/config.json.")]
pub(crate) struct Push {
    /// A .wasm file, or a project's directory
    #[arg(value_name = "FILE|DIR")]
    module: String,
    /// Where to: `oci://HOST[:PORT]/REPOSITORY[:TAG]`
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Push {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let target = OciTarget::parse(&self.place).map_err(place_failure)?;
        let (_, module) = fetch(&self.module, None, Registries::offline())?;
        let registries = self.registry.registries(&[])?;
        let signature = module.signature.as_deref();
        let pushed = registries
            .push(&target, &module.bytes, signature)
            .map_err(registry_failure)?;
        if self.json {
            output::json(&serde_json::json!({
                "reference": pushed, "sha256": module.digest,
                "detachedSignature": signature.is_some(),
            }));
        } else {
            output::progress(format!("pushed {target}; policy.toml pins it as"));
            output::line(pushed);
        }
        Ok(Exit::Done)
    }
}

/// Prints the reference, pinned by digest, that a registry's tag means now
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy resolve oci://ghcr.io/team/no-docker:1.0")]
pub(crate) struct Resolve {
    /// `oci://HOST[:PORT]/REPOSITORY[:TAG]`
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Resolve {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let target = OciTarget::parse(&self.place).map_err(place_failure)?;
        let registries = self.registry.registries(&[])?;
        let reference: OciRef = registries.resolve(&target).map_err(registry_failure)?;
        if self.json {
            output::json(&serde_json::json!({ "reference": reference }));
        } else {
            output::line(reference);
        }
        Ok(Exit::Done)
    }
}
