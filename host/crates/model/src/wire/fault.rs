//! What went wrong with one try, and whether another is worth it.

use std::time::Duration;

/// As in [`crate::provider::ProviderError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Cancelled,
    Unavailable,
    OutOfBudget,
    Refused,
    TooLong,
    Broken,
}

/// Whether the same question may be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    /// It would fail the same way.
    No,
    /// After our own wait.
    BackOff,
    /// After the wait that the provider asks for.
    After(Duration),
}

/// One try's end without an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) retry: Retry,
}

impl Fault {
    pub(crate) fn new(kind: Kind, retry: Retry, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry,
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Kind::Cancelled, Retry::No, "cancelled")
    }

    /// Not reached, or overloaded: worth another try.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, Retry::BackOff, message)
    }

    /// Broke off half-way: the next try may do better.
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(Kind::Broken, Retry::BackOff, message)
    }

    /// Broke a bound or a promise of the protocol: the next try would cost as much.
    pub(crate) fn hopeless(message: impl Into<String>) -> Self {
        Self::new(Kind::Broken, Retry::No, message)
    }

    /// The conversation fills the model's context.
    pub(crate) fn too_long(message: impl Into<String>) -> Self {
        Self::new(Kind::TooLong, Retry::No, message)
    }
}
