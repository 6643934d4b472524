//! How much a model may spend, and what is left of it. Sub-agents draw on the same
//! meter as the agent that started them.

use crate::conversation::Usage;
use crate::provider::Price;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds on one piece of work of a model (a diagnosis, or a draft).
#[derive(Clone, PartialEq, Debug)]
pub struct ModelLimits {
    /// Answers in a diagnosis.
    pub diagnosis_turns: u32,
    /// Answers in drafting.
    pub drafting_turns: u32,
    /// Answers of one sub-agent.
    pub task_turns: u32,
    /// Tokens, input and output of all answers together, cached ones included.
    pub tokens: u64,
    /// US dollars, by the provider's price; without a price it cannot be kept.
    pub cost: Option<f64>,
    /// Answers in a row that bring nothing new before the model is warned.
    pub idle_warning: u32,
    /// Answers in a row that bring nothing new before it must submit what it has.
    pub idle_stop: u32,
    /// Tool calls that are carried out per answer.
    pub calls_per_answer: usize,
    /// Bytes of one tool result.
    pub result_bytes: usize,
    /// Bytes of one answer; a larger one is nonsense.
    pub answer_bytes: usize,
    /// Longest answer asked for, in tokens.
    pub output_tokens: u32,
    /// Longest wait for one answer.
    pub patience: Duration,
    /// Read-only calls of one answer that run at the same time.
    pub parallel: usize,
    /// Sub-agents that run at the same time.
    pub tasks_at_once: usize,
    /// Sub-agents in all.
    pub tasks: u32,
    /// How deep sub-agents may start others; 1: they may not.
    pub depth: u32,
    /// How often a wrong final answer, or prose instead of one, is sent back.
    pub corrections: u32,
    /// How often the conversation is summarised.
    pub compactions: u32,
}

impl Default for ModelLimits {
    fn default() -> Self {
        Self {
            diagnosis_turns: 30,
            drafting_turns: 50,
            task_turns: 15,
            tokens: 3_000_000,
            cost: None,
            idle_warning: 3,
            idle_stop: 6,
            calls_per_answer: 20,
            result_bytes: 32 * 1024,
            answer_bytes: 2 * 1024 * 1024,
            output_tokens: 16_000,
            patience: Duration::from_secs(300),
            parallel: 4,
            tasks_at_once: 2,
            tasks: 8,
            depth: 1,
            corrections: 3,
            compactions: 8,
        }
    }
}

/// What has been spent so far, against the limits.
#[derive(Debug)]
pub(crate) struct Meter {
    tokens: u64,
    cost: Option<f64>,
    price: Option<Price>,
    started: Instant,
    until: Instant,
    before: Before,
    spent: Mutex<Spent>,
}

/// What was spent on the same piece of work before, with another provider.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    usage: Usage,
    /// US dollars, as far as prices are known.
    dollars: f64,
    tasks: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    usage: Usage,
    tasks: u32,
}

impl Meter {
    pub(crate) fn new(limits: &ModelLimits, price: Option<Price>, budget: Duration) -> Self {
        let started = Instant::now();
        Self {
            tokens: limits.tokens,
            cost: limits.cost,
            price,
            started,
            // A budget beyond what the clock can count is a day.
            until: started
                .checked_add(budget)
                .unwrap_or_else(|| started + Duration::from_secs(86_400)),
            before: Before::default(),
            spent: Mutex::default(),
        }
    }

    /// Counts on from what was spent before.
    pub(crate) fn after(mut self, before: Before) -> Self {
        self.spent().tasks = before.tasks;
        self.before = before;
        self
    }

    /// All that was spent on this piece of work.
    pub(crate) fn whole(&self) -> Before {
        let spent = *self.spent();
        let own = self.price.map_or(0.0, |price| cost(spent.usage, price));
        Before {
            usage: self.before.usage.plus(spent.usage),
            dollars: self.before.dollars + own,
            tasks: spent.tasks,
        }
    }

    /// Wall-clock time that was left at `moment`.
    pub(crate) fn left_at(&self, moment: Instant) -> Duration {
        self.until.saturating_duration_since(moment)
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, usage: Usage) {
        let mut spent = self.spent();
        spent.usage = spent.usage.plus(usage);
    }

    /// One more sub-agent; false when there have been enough.
    pub(crate) fn add_task(&self, most: u32) -> bool {
        let mut spent = self.spent();
        let free = spent.tasks < most;
        if free {
            spent.tasks += 1;
        }
        free
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Wall-clock time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.left_at(Instant::now())
    }

    /// Which budget is used up, in words.
    pub(crate) fn over(&self) -> Option<String> {
        self.over_with(Usage::default())
    }

    /// The same with what an answer under way has cost so far.
    pub(crate) fn over_with(&self, under_way: Usage) -> Option<String> {
        if self.left().is_zero() {
            let seconds = self.until.duration_since(self.started).as_secs();
            return Some(format!("its time budget of {seconds} s is used up"));
        }
        let usage = self.spent().usage.plus(under_way);
        if self.before.usage.plus(usage).total() >= self.tokens {
            return Some(format!("its budget of {} tokens is used up", self.tokens));
        }
        let (most, spent) = (self.cost?, self.price.map(|price| cost(usage, price))?);
        let spent = self.before.dollars + spent;
        (spent >= most).then(|| format!("its budget of {most:.2} US dollars is used up"))
    }

    /// What was spent, in words.
    pub(crate) fn account(&self) -> String {
        let usage = self.spent().usage;
        let tokens = format!(
            "{} tokens in ({} from the cache), {} out",
            usage.read(),
            usage.cache_read,
            usage.output
        );
        match self.price {
            Some(price) => format!("{tokens}, {:.4} US dollars", cost(usage, price)),
            None => tokens,
        }
    }
}

/// Tokens of so many bytes, where nobody counts them: one has about three bytes or more,
/// so this is rather too high.
pub(crate) fn estimated(bytes: usize) -> u64 {
    u64::try_from(bytes / 3).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tokens are far below 2^52"
)]
fn cost(usage: Usage, price: Price) -> f64 {
    (usage.input as f64 * price.input
        + usage.output as f64 * price.output
        + usage.cache_read as f64 * price.cache_read
        + usage.cache_write as f64 * price.cache_write)
        / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        input: 600_000,
        output: 100_000,
        cache_read: 200_000,
        cache_write: 0,
    };
    const PRICE: Price = Price {
        input: 3.0,
        output: 15.0,
        cache_read: 0.3,
        cache_write: 3.75,
    };

    #[test]
    fn each_budget_says_that_it_is_used_up() {
        let long = Duration::from_secs(600);
        let limits = ModelLimits {
            cost: Some(3.0),
            tokens: 1_000_000,
            ..ModelLimits::default()
        };
        let meter = Meter::new(&limits, Some(PRICE), long);
        assert_eq!(meter.over(), None);
        meter.add(USAGE);
        assert!(
            meter.over().is_some_and(|over| over.contains("US dollars")),
            "3.36 dollars: {:?}",
            meter.over()
        );
        meter.add(USAGE);
        assert!(meter.over().is_some_and(|over| over.contains("tokens")));
        let meter = Meter::new(&limits, None, Duration::ZERO);
        assert!(meter.over().is_some_and(|over| over.contains("time")));
        // Whatever a server says it counted.
        let absurd = Usage {
            input: u64::MAX,
            output: u64::MAX,
            cache_read: u64::MAX,
            cache_write: u64::MAX,
        };
        meter.add(absurd);
        meter.add(absurd);
        assert!(meter.account().starts_with(&u64::MAX.to_string()));
        // What another provider was paid counts as well.
        let first = Meter::new(&limits, Some(PRICE), long);
        first.add(Usage {
            input: 900_000,
            ..Usage::default()
        });
        assert_eq!(first.over(), None);
        let next = Meter::new(&limits, Some(PRICE), long).after(first.whole());
        assert_eq!(next.over(), None);
        next.add(Usage {
            output: 50_000,
            ..Usage::default()
        });
        assert!(
            next.over().is_some_and(|over| over.contains("US dollars")),
            "2.70 and 0.75 dollars: {:?}",
            next.over()
        );
        let third = Meter::new(&limits, None, long).after(next.whole());
        third.add(Usage {
            input: 50_000,
            ..Usage::default()
        });
        assert!(third.over().is_some_and(|over| over.contains("tokens")));
        // Without a price nobody can tell the cost.
        let meter = Meter::new(&limits, None, long);
        meter.add(USAGE);
        assert_eq!(meter.over(), None);
    }
}
