//! `selfheal policy sign`: a publisher's word for a module.

use super::registry::module_file;
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::digest::Digest;
use selfheal_policy_host::read_module;
use selfheal_policy_source::{SecretKey, sign_detached, sign_embedded, signature_path};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Signs a module with a publisher's secret key
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy sign no-docker.wasm --key ~/policy-key.pem
  selfheal policy sign no-docker.wasm --key ~/policy-key.pem --embed

The signature goes beside the module (no-docker.wasm.sig), or into it with --embed: then
the file is another one, with another digest, so pin it afterwards. Both are in the format
of wasmsign2, which verifies them too.")]
pub(crate) struct Sign {
    /// A .wasm file, or a project's directory
    #[arg(default_value = ".", value_name = "FILE|DIR")]
    module: PathBuf,
    /// The publisher's secret key
    #[arg(long, value_name = "FILE", env = "SELFHEAL_SIGNING_KEY")]
    key: PathBuf,
    /// Put the signature into the module
    #[arg(long)]
    embed: bool,
    /// Write here; else FILE.sig, or FILE itself with --embed
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let module = module_file(&self.module)?;
        let bytes = read_module(&module).because(Exit::Usage)?;
        let key = SecretKey::read(&self.key).because(Exit::Usage)?;
        let (written, digest, target) = if self.embed {
            let signed = sign_embedded(&bytes, &key).because(Exit::Usage)?;
            let digest = Digest::of(&signed);
            (signed, digest, self.output.unwrap_or(module))
        } else {
            let signature = sign_detached(&bytes, &key).because(Exit::Usage)?;
            let target = self.output.unwrap_or_else(|| signature_path(&module));
            (signature, Digest::of(&bytes), target)
        };
        write(&target, &written)?;
        if self.json {
            output::json(&serde_json::json!({
                "written": target, "embedded": self.embed, "sha256": digest, "key": key.public(),
            }));
        } else {
            output::line(format!(
                "{} {} with {}",
                output::coloured(Colour::Green, "signed"),
                target.display(),
                key.public()
            ));
            output::line(format!("sha256 = \"{digest}\""));
        }
        Ok(Exit::Done)
    }
}

/// Replaces a file as a whole, so that nobody reads half of it.
pub(super) fn write(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let replace = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(target).map_err(|problem| problem.error)?;
        Ok(())
    };
    replace().map_err(|error| {
        Failure::new(
            Exit::Unavailable,
            format!("{} cannot be written: {error}", target.display()),
        )
    })
}
