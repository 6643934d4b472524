//! `selfheal policy keygen`: a publisher's key pair.

use crate::cli::output;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_source::SecretKey;
use std::path::PathBuf;

/// Makes a key to sign modules with
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy keygen ~/policy-key.pem --name security-team

FILE gets the secret key (PEM, readable by you only; a file that exists is never
replaced). Standard output gets the public key as policy.toml wants it.")]
pub(crate) struct Keygen {
    /// Where the secret key goes
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the publisher
    #[arg(long, default_value = "me", value_name = "NAME")]
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let key = SecretKey::generate().because(Exit::Unavailable)?;
        key.write_new(&self.file).because(Exit::Usage)?;
        let public = key.public();
        if self.json {
            output::json(&serde_json::json!({
                "name": self.name, "key": public, "secretKeyFile": self.file,
            }));
        } else {
            output::progress(format!(
                "{} is the secret key: keep it away from the hosts that load modules; \
                 policy.toml gets",
                self.file.display()
            ));
            output::line(format!(
                "[[publisher]]\nname = {}\nkey = \"{public}\"",
                serde_json::Value::from(self.name)
            ));
        }
        Ok(Exit::Done)
    }
}
