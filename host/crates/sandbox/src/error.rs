//! Why a process did not start.

use std::io;

/// Why a process did not start or could not be watched to its end. In each case
/// nothing of it runs any more.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel (or the container around us) does not offer what containment
    /// needs; nothing ran.
    #[error("this system offers no containment: {0}")]
    NoContainment(String),
    /// The request is impossible, such as a workspace that does not exist.
    #[error("invalid sandbox request: {0}")]
    Invalid(String),
    /// The sandbox could not be built; nothing ran.
    #[error("the sandbox could not be built: {0}")]
    Setup(String),
    /// A system call on the host's side failed.
    #[error("{action} failed")]
    Host {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Cancelled before the command started.
    #[error("cancelled before the command started")]
    Cancelled,
}

impl SandboxError {
    pub(crate) fn host(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { action, source }
    }
}
