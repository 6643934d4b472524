//! `selfheal policy build`: a project's sources into the module beside them.

use super::project::{Language, Project};
use super::sdk;
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::digest::Digest;
use selfheal_guest_build::script::{self, Script};
use selfheal_guest_build::{BuildError, Guests, Say};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Builds a project into NAME.wasm
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy build                    the project in this directory
  selfheal policy build policies/no-docker --json

Rust needs a compiler for wasm32-unknown-unknown: of the active toolchain, or Debian's.
JavaScript needs node and npm, Python python3 with pip; their componentizers are
installed once, in pinned versions, into the user's cache directory.")]
pub(crate) struct Build {
    /// The project's directory
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
    /// Write the module here instead of DIR/NAME.wasm
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Build {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let started = Instant::now();
        let project = Project::open(&self.directory)?;
        let say: Say<'_> = &|line| output::progress(line);
        let (component, way) = match project.language {
            Language::Rust => rust(&project, say),
            Language::Javascript | Language::Python => scripted(&project, say),
        }?;
        let target = self.output.unwrap_or_else(|| project.module());
        write(&target, &component)?;
        let seconds = started.elapsed().as_secs_f64();
        let digest = Digest::of(&component);
        if self.json {
            output::json(&serde_json::json!({
                "name": project.name, "language": project.language, "module": target,
                "bytes": component.len(), "sha256": digest, "way": way, "seconds": seconds,
            }));
        } else {
            output::line(format!(
                "{} {}: {} KiB in {seconds:.1} s",
                output::coloured(Colour::Green, "built"),
                target.display(),
                component.len().div_ceil(1024)
            ));
            output::line(format!("  sha256 {digest}\n  by {way}"));
        }
        Ok(Exit::Done)
    }
}

/// A missing tool or registry is a dependency that is unavailable; sources that do
/// not compile are not what was asked for.
fn failed(error: BuildError) -> Failure {
    let exit = match &error {
        BuildError::Start { .. }
        | BuildError::Missing(_)
        | BuildError::Registry { .. }
        | BuildError::File { .. } => Exit::Unavailable,
        BuildError::Ended { .. } | BuildError::NotAModule { .. } => Exit::NotSo,
    };
    Failure {
        exit,
        error: error.into(),
    }
}

fn rust(project: &Project, say: Say<'_>) -> Result<(Vec<u8>, String), Failure> {
    let toolchain = selfheal_guest_build::find(&project.directory, say).map_err(failed)?;
    say(&format!(
        "compiling {}; way taken: {}",
        project.name, toolchain.way
    ));
    // Shared by all projects: what they depend on is compiled once per user.
    let target_dir = selfheal_guest_build::cache_directory().map_or_else(
        |_| project.directory.join("target"),
        |cache| cache.join("guest-target"),
    );
    let guests = Guests {
        directory: &project.directory,
        profile: "release",
        target_dir: &target_dir,
        packages: std::slice::from_ref(&project.name),
    };
    let modules = guests.compile(&toolchain).map_err(failed)?;
    let library = project.name.replace('-', "_");
    let module = modules.get(&library).or_else(|| modules.values().next());
    let component = module.map_or_else(
        || {
            Err(BuildError::NotAModule {
                what: project.name.clone(),
                message: "it left no module".to_owned(),
            })
        },
        |module| selfheal_guest_build::componentise(&project.name, module),
    );
    Ok((component.map_err(failed)?, toolchain.way))
}

fn scripted(project: &Project, say: Say<'_>) -> Result<(Vec<u8>, String), Failure> {
    let Some(kind) = project.kind else {
        let message = format!("{} does not say its kind", project.name);
        return Err(Failure::new(Exit::Usage, message));
    };
    // A project may bring the contract it was made for; else it is this host's.
    let own = project.directory.join("wit");
    let temporary = tempfile::tempdir().because(Exit::Unavailable)?;
    let wit = if own.is_dir() {
        own
    } else {
        for (name, text) in sdk::contract() {
            std::fs::write(temporary.path().join(name), text).because(Exit::Unavailable)?;
        }
        temporary.path().to_owned()
    };
    let script = Script {
        directory: &project.directory,
        source: project.language.source(),
        wit: &wit,
        world: kind.name(),
    };
    let (component, way) = match project.language {
        Language::Javascript => (script::javascript(script, say), script::QJS),
        Language::Python | Language::Rust => (script::python(script, say), script::PY),
    };
    Ok((component.map_err(failed)?, way.to_owned()))
}

/// Written beside and renamed: a host that watches the file sees the old or the new one.
fn write(target: &Path, component: &[u8]) -> Result<(), Failure> {
    let fresh = target.with_extension("wasm.new");
    std::fs::write(&fresh, component)
        .and_then(|()| std::fs::rename(&fresh, target))
        .map_err(|error| {
            anyhow::Error::new(error).context(format!("cannot write {}", target.display()))
        })
        .because(Exit::Unavailable)
}
