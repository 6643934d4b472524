//! Several providers as one: when one is down, refuses or is out of budget, the next
//! takes over, for the rest of the run.
//!
//! The conversation is nobody's dialect, so it moves along whole; only what another
//! model thought stays behind. A conversation that is too long for a provider, and a
//! cancelled run, are no reason to go on to the next.

use crate::conversation::{Answer, Question};
use crate::provider::{Delta, Price, Provider, ProviderError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One provider gave way to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Who gave way.
    pub from: String,
    /// Who took over.
    pub to: String,
    /// What the first one said, as people may read it.
    pub because: String,
}

/// Told of each switch, once.
pub type Told = Box<dyn Fn(&Switch) + Send + Sync>;

/// Providers in the order in which they are asked. Make one for each run: a provider
/// that gave way is not asked again by the same chain.
pub struct Chain {
    providers: Vec<Arc<dyn Provider>>,
    at: AtomicUsize,
    told: Told,
}

impl Chain {
    /// `first` is asked first, then each of `others`.
    pub fn new(first: Arc<dyn Provider>, others: Vec<Arc<dyn Provider>>, told: Told) -> Self {
        let mut providers = vec![first];
        providers.extend(others);
        Self {
            providers,
            at: AtomicUsize::new(0),
            told,
        }
    }

    fn current(&self) -> Option<&Arc<dyn Provider>> {
        self.providers.get(self.at.load(Ordering::SeqCst))
    }
}

/// Whether another provider may do better.
fn gives_way(error: &ProviderError) -> bool {
    match error {
        ProviderError::Unavailable { .. }
        | ProviderError::OutOfBudget { .. }
        | ProviderError::Refused { .. }
        | ProviderError::Broken { .. } => true,
        ProviderError::Cancelled | ProviderError::TooLong { .. } => false,
    }
}

/// `error` with what was said before it.
fn after(error: ProviderError, before: &[String]) -> ProviderError {
    if before.is_empty() {
        return error;
    }
    let with = |message: String| format!("{message}; before that, {}", before.join("; "));
    match error {
        ProviderError::Unavailable { provider, message } => ProviderError::Unavailable {
            provider,
            message: with(message),
        },
        ProviderError::OutOfBudget { provider, message } => ProviderError::OutOfBudget {
            provider,
            message: with(message),
        },
        ProviderError::Refused { provider, message } => ProviderError::Refused {
            provider,
            message: with(message),
        },
        ProviderError::Broken { provider, message } => ProviderError::Broken {
            provider,
            message: with(message),
        },
        error @ (ProviderError::Cancelled | ProviderError::TooLong { .. }) => error,
    }
}

impl Provider for Chain {
    /// The one that would be asked now.
    fn name(&self) -> String {
        self.current()
            .map_or_else(String::new, |provider| provider.name())
    }

    fn context_window(&self) -> u64 {
        self.current()
            .map_or(0, |provider| provider.context_window())
    }

    /// The most that any of them asks for, so that a budget holds whoever answers.
    fn price(&self) -> Option<Price> {
        self.providers
            .iter()
            .filter_map(|provider| provider.price())
            .reduce(|a, b| Price {
                input: a.input.max(b.input),
                output: a.output.max(b.output),
                cache_read: a.cache_read.max(b.cache_read),
                cache_write: a.cache_write.max(b.cache_write),
            })
    }

    fn ask(
        &self,
        question: &Question<'_>,
        patience: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Answer, ProviderError> {
        let started = Instant::now();
        let mut before = Vec::new();
        let mut at = self.at.load(Ordering::SeqCst);
        loop {
            let Some(provider) = self.providers.get(at) else {
                // There is at least one, and the last one never gives way.
                return Err(ProviderError::Unavailable {
                    provider: String::new(),
                    message: "there is no provider".to_owned(),
                });
            };
            let next = self.providers.get(at + 1);
            let left = patience.saturating_sub(started.elapsed());
            // Whoever comes next needs time too.
            let share = if next.is_some() { left / 3 * 2 } else { left };
            let mut watched = false;
            let result = provider.ask(question, share, cancelled, &mut |delta| {
                watched = delta != Delta::Restart;
                seen(delta);
            });
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(next) = next.filter(|_| gives_way(&error)) else {
                return Err(after(error, &before));
            };
            before.push(error.to_string());
            // Of several who ask at once, one does the telling.
            if self
                .at
                .compare_exchange(at, at + 1, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                (self.told)(&Switch {
                    from: provider.name(),
                    to: next.name(),
                    because: error.to_string(),
                });
            }
            if watched {
                seen(Delta::Restart);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
