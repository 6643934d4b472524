//! Which issues a list holds, and in which order.
//!
//! A filter is terms that all hold. The words that people type are made into one by
//! [`parse()`]; what an API's single parameters ask for is more terms of the same kind.

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{Asker, KEYS, Key, MAX_CHARS, MAX_TERMS, QueryError, parse, parse_age};

use crate::issue::{Category, Priority, Severity, Source};
use crate::ports::IssueSummary;
use crate::state::IssueStatus;
use crate::user::Actor;
use chrono::{DateTime, Utc};

/// What an issue can be asked for. Lists hold what one value at least fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// In one of these states.
    Status(Vec<IssueStatus>),
    /// This bad.
    Severity(Vec<Severity>),
    /// This urgent.
    Priority(Vec<Priority>),
    /// From one of these.
    Source(Vec<Source>),
    /// Of one of these kinds.
    Category(Vec<Category>),
    /// About one of these services, by exact name.
    Service(Vec<String>),
    /// Reported by one of these.
    Reporter(Vec<Actor>),
    /// Opened then.
    Created(Span),
    /// Last changed then.
    Updated(Span),
    /// Snoozed at that time.
    Snoozed(DateTime<Utc>),
    /// This text occurs in title or description, in any case. Lower case here.
    Text(String),
}

impl Condition {
    /// The condition that a text occurs.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_lowercase())
    }

    /// Whether it holds, where what a list shows is enough to tell.
    fn on_summary(&self, summary: &IssueSummary) -> Option<bool> {
        Some(match self {
            Self::Status(wanted) => wanted.contains(&summary.status),
            Self::Severity(wanted) => wanted.contains(&summary.severity),
            Self::Priority(wanted) => wanted.contains(&summary.priority),
            Self::Source(wanted) => wanted.contains(&summary.source),
            Self::Category(wanted) => wanted.contains(&summary.category),
            Self::Service(wanted) => summary
                .service
                .as_ref()
                .is_some_and(|service| wanted.contains(service)),
            Self::Reporter(wanted) => wanted.contains(&summary.reported_by),
            Self::Created(span) => span.holds(summary.created_at),
            Self::Updated(span) => span.holds(summary.updated_at),
            Self::Snoozed(now) => summary.snooze.is_some_and(|end| end.is_ahead(*now)),
            Self::Text(text) => {
                return summary.title.to_lowercase().contains(text).then_some(true);
            }
        })
    }
}

/// A part of time; an end that is missing is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first instant of it.
    pub from: Option<DateTime<Utc>>,
    /// The first instant after it.
    pub before: Option<DateTime<Utc>>,
}

impl Span {
    fn holds(self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.before.is_none_or(|before| at < before)
    }
}

/// One condition, or its opposite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// What is asked for.
    pub condition: Condition,
    /// The opposite is.
    pub negated: bool,
}

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sort {
    /// What was opened last comes first.
    #[default]
    Created,
    /// What changed last comes first.
    Updated,
}

/// Which issues a list holds. The empty one holds all, what was opened last first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IssueFilter {
    /// They all hold.
    pub terms: Vec<Term>,
    /// The order.
    pub sort: Sort,
}

/// Whether an issue belongs to a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Only its description can tell: see [`IssueFilter::on_text`].
    Ask,
}

impl IssueFilter {
    /// One more condition.
    #[must_use]
    pub fn and(mut self, condition: Condition) -> Self {
        self.terms.push(Term {
            condition,
            negated: false,
        });
        self
    }

    /// One more condition that must not hold.
    #[must_use]
    pub fn and_not(mut self, condition: Condition) -> Self {
        self.terms.push(Term {
            condition,
            negated: true,
        });
        self
    }

    /// Only issues of one reporter, whatever else is asked for: the list is read from
    /// theirs, so that it costs nothing and tells nothing of others'.
    pub fn restrict_to(&mut self, reporter: Actor) {
        let own = Term {
            condition: Condition::Reporter(vec![reporter]),
            negated: false,
        };
        self.terms.insert(0, own);
    }

    /// States that an issue of this list can be in.
    pub fn statuses(&self) -> Vec<IssueStatus> {
        let allows = |status: &IssueStatus| {
            self.terms.iter().all(|term| match &term.condition {
                Condition::Status(wanted) => wanted.contains(status) != term.negated,
                _ => true,
            })
        };
        IssueStatus::ALL.into_iter().filter(allows).collect()
    }

    /// The one person whose issues this list holds, if it is about one.
    pub fn reporter(&self) -> Option<&Actor> {
        self.terms.iter().find_map(|term| match &term.condition {
            Condition::Reporter(wanted) if !term.negated => match wanted.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether an issue belongs to this list, as far as what a list shows tells.
    pub fn on_summary(&self, summary: &IssueSummary) -> Fit {
        let mut fit = Fit::Yes;
        for term in &self.terms {
            match term.condition.on_summary(summary) {
                Some(holds) if holds == term.negated => return Fit::No,
                Some(_) => {}
                None => fit = Fit::Ask,
            }
        }
        fit
    }

    /// Whether an issue whose title does not tell belongs to this list.
    pub fn on_text(&self, summary: &IssueSummary, description: &str) -> bool {
        let description = description.to_lowercase();
        self.terms.iter().all(|term| {
            let holds = term.condition.on_summary(summary);
            let found = match &term.condition {
                Condition::Text(text) => holds == Some(true) || description.contains(text),
                _ => holds == Some(true),
            };
            found != term.negated
        })
    }
}
