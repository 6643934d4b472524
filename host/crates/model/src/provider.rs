//! The door to a model, whoever serves it.

use crate::conversation::{Answer, Question};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A piece of an answer, as it arrives. For people who watch: the answer counts only
/// when it is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More thinking.
    Thinking(String),
    /// A tool call begins.
    ToolUse(String),
    /// More of its input, as JSON text.
    ToolInput(String),
    /// The answer broke off and is asked for again: what was seen of it is void.
    Restart,
}

/// Money for a million tokens, in US dollars.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input at full price.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input from the cache.
    #[serde(default)]
    pub cache_read: f64,
    /// Input written to the cache.
    #[serde(default)]
    pub cache_write: f64,
}

/// Why a model gave no answer. Retries with back-off happen below this: what arrives
/// here is final for this provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// Cannot be reached, or overloaded for longer than the retries last.
    #[error("{provider} is not available: {message}")]
    Unavailable {
        /// Which provider.
        provider: String,
        /// What it or the network said.
        message: String,
    },
    /// Out of credit or quota.
    #[error("{provider} has no budget left: {message}")]
    OutOfBudget {
        /// Which provider.
        provider: String,
        /// What it said.
        message: String,
    },
    /// The key is wrong or missing, the model unknown, the request refused.
    #[error("{provider} refused the request: {message}")]
    Refused {
        /// Which provider.
        provider: String,
        /// What it said.
        message: String,
    },
    /// The conversation does not fit into the model's context.
    #[error("the conversation is too long for {provider}: {message}")]
    TooLong {
        /// Which provider.
        provider: String,
        /// What it said.
        message: String,
    },
    /// Its answer breaks the protocol: no end event, garbage, larger than allowed,
    /// stalled.
    #[error("{provider} broke off or talks nonsense: {message}")]
    Broken {
        /// Which provider.
        provider: String,
        /// What was wrong.
        message: String,
    },
}

/// Asks one model of one provider. Blocking; called from plain threads.
pub trait Provider: Send + Sync {
    /// As in `anthropic:claude-sonnet-4-5`; goes into records and trailers.
    fn name(&self) -> String;

    /// Tokens that a conversation may have, input and output together.
    fn context_window(&self) -> u64;

    /// What tokens cost, when it is configured.
    fn price(&self) -> Option<Price>;

    /// Asks, streams, retries what is worth retrying. Calls in the answer have ids that
    /// are unique in the conversation. `patience` bounds all of it:
    /// connecting, waiting between tries, and the answer itself. `cancelled` is looked
    /// at many times a second: an answer under way is dropped within a second.
    ///
    /// # Errors
    /// See [`ProviderError`].
    fn ask(
        &self,
        question: &Question<'_>,
        patience: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Answer, ProviderError>;
}
