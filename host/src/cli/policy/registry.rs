//! What the commands share that sign, verify and carry modules: reading a module
//! wherever it is, the registries, and the exit codes of their errors.

use super::project::Project;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_source::{
    Credentials, Fetched, ModuleStore, NotASource, Registries, RegistryProblem, SourceProblem,
    SourceRef, Sources,
};
use std::path::{Path, PathBuf};

/// How registries are asked.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RegistryArguments {
    /// Ask this registry over plain HTTP (loopback always is)
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure: Vec<String>,
}

impl RegistryArguments {
    /// Registries with the credentials of whoever runs this, and those that `listed`
    /// names besides over plain HTTP.
    ///
    /// # Errors
    /// There are credentials, but they cannot be read.
    pub(crate) fn registries(&self, listed: &[String]) -> Result<Registries, Failure> {
        let credentials = Credentials::from_environment().because(Exit::Usage)?;
        let insecure = [self.insecure.as_slice(), listed].concat();
        Ok(Registries::new(&insecure).with_credentials(credentials))
    }
}

/// The file of a module that is named by its file or by its project's directory.
///
/// # Errors
/// The directory is no project.
pub(crate) fn module_file(named: &Path) -> Result<PathBuf, Failure> {
    if named.is_dir() {
        Ok(Project::open(named)?.module())
    } else {
        Ok(named.to_owned())
    }
}

/// A module that is named by a file, a project's directory or a source as in
/// `policy.toml`.
///
/// # Errors
/// It cannot be had.
pub(crate) fn fetch(
    named: &str,
    data: Option<&Path>,
    registries: Registries,
) -> Result<(SourceRef, Fetched), Failure> {
    let source = if named.starts_with("sha256:") || named.contains("://") {
        SourceRef::parse(named).because(Exit::Usage)?
    } else {
        SourceRef::File(module_file(Path::new(named))?)
    };
    let sources = Sources::new(store(data)?, registries);
    let fetched = sources.fetch(&source).map_err(source_failure)?;
    Ok((source, fetched))
}

/// Where a data directory keeps its modules.
///
/// # Errors
/// The directory cannot be used.
pub(crate) fn store(data: Option<&Path>) -> Result<Option<ModuleStore>, Failure> {
    data.map(|data| ModuleStore::open(&data.join("policies/modules")))
        .transpose()
        .because(Exit::Unavailable)
}

/// A source's error with its exit code.
pub(crate) fn source_failure(problem: SourceProblem) -> Failure {
    let exit = match &problem {
        SourceProblem::Registry { source, .. } => registry_exit(source),
        SourceProblem::NotStored(_) => Exit::NotSo,
        SourceProblem::Store(_) => Exit::Unavailable,
        SourceProblem::Bundled(_)
        | SourceProblem::File { .. }
        | SourceProblem::TooLarge { .. }
        | SourceProblem::NoStore
        | SourceProblem::Manifest { .. } => Exit::Usage,
    };
    Failure {
        exit,
        error: problem.into(),
    }
}

/// A registry's error with its exit code.
pub(crate) fn registry_failure(problem: RegistryProblem) -> Failure {
    Failure {
        exit: registry_exit(&problem),
        error: problem.into(),
    }
}

fn registry_exit(problem: &RegistryProblem) -> Exit {
    match problem {
        RegistryProblem::NotFound { .. } => Exit::NotSo,
        RegistryProblem::Unauthorized { .. } => Exit::Denied,
        RegistryProblem::Manifest(_) | RegistryProblem::NotAComponent => Exit::Usage,
        _ => Exit::Unavailable,
    }
}

/// A wrong place in a registry is wrong usage.
pub(crate) fn place_failure(problem: NotASource) -> Failure {
    Failure {
        exit: Exit::Usage,
        error: problem.into(),
    }
}
