//! How a command ends: exit codes, and errors that carry theirs.

/// How a command ended, as its exit code says (DESIGN §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The thing asked about is not so.
    NotSo = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Denied by policy or role.
    Denied = 3,
    /// The host or a dependency is unavailable.
    Unavailable = 4,
}

/// An error with the exit code it deserves.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// A failure that is only a message.
    pub(crate) fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self {
            exit,
            error: anyhow::anyhow!("{message}"),
        }
    }
}

/// Gives an error its exit code.
pub(crate) trait Because<T> {
    /// The error, as a failure with this exit code.
    fn because(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> Because<T> for Result<T, E> {
    fn because(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            exit,
            error: error.into(),
        })
    }
}
