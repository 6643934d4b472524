//! Why a conversation with a contained agent ended without an answer.

use selfheal_domain::tools::{SessionError, ToolError};

/// It ended without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Our own side: refused, cancelled, not recordable.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The program ended, was silent too long or said what cannot be understood.
    #[error("{0}")]
    Broken(String),
    /// It did something that it had not asked for, or that was refused.
    #[error("it carried out a call without permission: {0}")]
    Disobeyed(String),
    /// It came to its end without doing what it was asked.
    #[error("{0}")]
    GaveUp(String),
    /// It used up what it was given.
    #[error("{0}")]
    OverBudget(String),
}

impl Failure {
    /// In our own words, without what the agent said.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Tool(_) => "a tool call did not happen",
            Self::Broken(_) => "it does not keep to its protocol",
            Self::Disobeyed(_) => "it carried out a call without permission",
            Self::GaveUp(_) => "it came to no answer that can be used",
            Self::OverBudget(_) => "it used up what it was given",
        }
    }

    /// What a session gave instead of a line.
    pub(crate) fn of_session(error: &SessionError, stderr: &str) -> Self {
        match error {
            SessionError::Cancelled => Self::Tool(ToolError::Cancelled),
            SessionError::TimedOut => Self::OverBudget("its time is over".to_owned()),
            SessionError::Gone => {
                let last = stderr.trim();
                let last = last
                    .char_indices()
                    .nth_back(399)
                    .map_or(last, |(at, _)| last.get(at..).unwrap_or(last));
                Self::Broken(if last.is_empty() {
                    "the program ended in the middle".to_owned()
                } else {
                    format!("the program ended in the middle: {last}")
                })
            }
        }
    }
}
