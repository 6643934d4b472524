//! Why a module cannot be built.

use std::path::PathBuf;
use std::process::ExitStatus;

/// A step of a build failed. What the tools themselves said is on standard error.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program is missing or cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name and arguments.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` ended with {status}")]
    Ended {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file or directory.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried, as in `read`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something that building needs is missing; the text says how to get it.
    #[error("{0}")]
    Missing(String),
    /// A componentizer could not be fetched from its registry.
    #[error(
        "{tool} could not be installed from {registry}: is the registry reachable? By hand: {command}"
    )]
    Registry {
        /// Name and version.
        tool: String,
        /// The registry.
        registry: &'static str,
        /// What does the same by hand.
        command: String,
        /// What failed.
        #[source]
        source: Box<BuildError>,
    },
    /// What was built is no policy module.
    #[error("{what} is no policy module: {message}")]
    NotAModule {
        /// What was built.
        what: String,
        /// Why not.
        message: String,
    },
}

/// Names what was tried on which file.
pub(crate) fn on_file(
    what: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.into();
    move |source| BuildError::File { what, path, source }
}
