//! `selfheal policy new`: a project that builds, with tests and a README.

use super::project::{Kind, Language, PROJECT_FILE, ProjectFile, check_name};
use super::{sdk, templates};
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Makes a project for a policy module
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy new no-docker --kind guardrail --lang rust
  selfheal policy new careful-money --kind risk --lang javascript --dir policies/careful-money
  cd no-docker && selfheal policy build . && selfheal policy test .

The project holds the SDK (Rust) or the contract (other languages); nothing is fetched.
Refuses a directory that exists and is not empty.")]
pub(crate) struct New {
    /// Name of the module: 1 to 40 of a-z, 0-9 and '-'
    name: String,
    /// What it answers
    #[arg(long, value_enum)]
    kind: Kind,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Where to put it; a directory of its name if not given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use this checkout of the SDK instead of a copy (Rust only)
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl New {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        check_name(&self.name)?;
        let directory = self
            .dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(&self.name));
        let files = self.files()?;
        refuse_to_overwrite(&directory)?;
        for (name, text) in &files {
            write(&directory.join(name), text)?;
        }
        if self.json {
            let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            output::json(&serde_json::json!({
                "name": self.name, "kind": self.kind, "language": self.lang,
                "directory": directory, "files": names,
            }));
            return Ok(Exit::Done);
        }
        let shown = directory.display();
        output::line(format!(
            "{} {shown}: a {} in {}, {} files",
            output::coloured(Colour::Green, "made"),
            self.kind.name(),
            self.lang.name(),
            files.len()
        ));
        output::line(format!(
            "  next: edit {shown}/{}, then\n  selfheal policy build {shown} && selfheal policy test {shown}",
            self.lang.source()
        ));
        Ok(Exit::Done)
    }

    fn files(&self) -> Result<Vec<(String, String)>, Failure> {
        let sdk_path = match (&self.sdk, self.lang) {
            (Some(path), Language::Rust) => {
                let path = path.canonicalize().because(Exit::Usage)?;
                if !sdk::is_sdk(&path) {
                    let message = format!("{} is no checkout of the SDK", path.display());
                    return Err(Failure::new(Exit::Usage, message));
                }
                Some(path.display().to_string())
            }
            (Some(_), _) => {
                let message = "--sdk is for Rust; other languages need no SDK";
                return Err(Failure::new(Exit::Usage, message));
            }
            (None, _) => None,
        };
        let project = ProjectFile {
            name: self.name.clone(),
            kind: self.kind,
            language: self.lang,
        };
        let remark = "# What `selfheal policy build`, `check`, `test` and `bench` read.\n";
        let project = toml::to_string(&project).because(Exit::Unavailable)?;
        let mut files = vec![(PROJECT_FILE.to_owned(), format!("{remark}{project}"))];
        let sdk_in_manifest = sdk_path.as_deref().unwrap_or(sdk::VENDORED);
        files.extend(templates::files(
            &self.name,
            self.kind,
            self.lang,
            sdk_in_manifest,
        ));
        match self.lang {
            Language::Rust if sdk_path.is_none() => {
                files.push(("Cargo.lock".to_owned(), sdk::lock(&self.name)?));
                let vendored = sdk::files()?.into_iter();
                files.extend(
                    vendored.map(|(name, text)| (format!("{}/{name}", sdk::VENDORED), text)),
                );
            }
            Language::Rust => {}
            Language::Javascript | Language::Python => files.extend(
                sdk::contract().map(|(name, text)| (format!("wit/{name}"), text.to_owned())),
            ),
        }
        Ok(files)
    }
}

/// An empty directory may be there; a file, or a directory with anything in it, not.
fn refuse_to_overwrite(directory: &Path) -> Result<(), Failure> {
    let empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            let error =
                anyhow::Error::new(error).context(format!("cannot use {}", directory.display()));
            return Err(error).because(Exit::Usage);
        }
    };
    if empty {
        return Ok(());
    }
    let message = format!(
        "{} is not empty, and nothing is overwritten; choose another directory with --dir",
        directory.display()
    );
    Err(Failure::new(Exit::Usage, message))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::File::create_new(path))
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written
        .map_err(|error| {
            anyhow::Error::new(error).context(format!("cannot write {}", path.display()))
        })
        .because(Exit::Unavailable)
}
