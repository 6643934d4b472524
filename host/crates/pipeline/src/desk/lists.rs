//! Lists of issues: what is in them, what is out of the way for now, and the queries
//! that people keep.

use super::{Caller, DeskError, IssueDesk};
use chrono::{DateTime, Duration, Utc};
use selfheal_domain::event::Event;
use selfheal_domain::issue::{Issue, SnoozeEnd};
use selfheal_domain::ports::{IssueSummary, Page};
use selfheal_domain::query::{Asker, IssueFilter, parse};
use selfheal_domain::report::FieldError;
use selfheal_domain::user::{Role, UserName};
use selfheal_domain::view::{MAX_NAME_CHARS, MAX_VIEWS, SavedView};

/// Longest snooze, in days.
const LONGEST_SNOOZE_DAYS: i64 = 366;

fn invalid(field: &str, message: impl Into<String>) -> DeskError {
    DeskError::Invalid(vec![FieldError::new(field, message)])
}

impl IssueDesk {
    /// The filter that a query asks for, with the caller as its `me`.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] says where it makes no sense and what would.
    pub fn read_query(&self, caller: &Caller, query: &str) -> Result<IssueFilter, DeskError> {
        let asker = Asker {
            me: Some(&caller.name),
            now: self.clock.now(),
        };
        parse(query, asker).map_err(|error| invalid("query", error.to_string()))
    }

    /// Issues the caller may see, in the order of the filter.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] for a bad cursor.
    pub fn issues(
        &self,
        caller: &Caller,
        mut filter: IssueFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<IssueSummary>, DeskError> {
        if matches!(caller.role, Role::Guest | Role::Hook) {
            return Err(DeskError::Forbidden(format!(
                "the role {} sees no issues",
                caller.role
            )));
        }
        if !caller.sees_all() {
            filter.restrict_to(caller.actor());
        }
        Ok(self.ledger.store().issues(&filter, cursor, limit)?)
    }

    /// Puts an issue out of the way until a time, or until something happens to it.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] for a time that is not ahead or too far away,
    /// [`DeskError::Conflict`] for an issue that is over.
    pub fn snooze(
        &self,
        caller: &Caller,
        key: &str,
        until: Option<DateTime<Utc>>,
    ) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let now = self.clock.now();
        let longest = now + Duration::days(LONGEST_SNOOZE_DAYS);
        let end = match until {
            None => SnoozeEnd::News,
            Some(until) if until <= now => {
                return Err(invalid("until", "must be a time to come"));
            }
            Some(until) if until > longest => {
                let message = format!("may be at most {LONGEST_SNOOZE_DAYS} days away");
                return Err(invalid("until", message));
            }
            Some(until) => SnoozeEnd::At { until },
        };
        let number = self.issue(caller, key)?.number;
        self.record(caller, number, Event::IssueSnoozed(end))
    }

    /// Ends a snooze. Nothing is recorded where there is none.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn wake(&self, caller: &Caller, key: &str) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let issue = self.issue(caller, key)?;
        if issue.snooze.is_none() {
            let seen = self.seen.as_ref();
            return Ok(self.ledger.while_seen(issue.number, seen, || issue)?);
        }
        self.record(caller, issue.number, Event::IssueWoken)
    }

    /// Relates two issues to each other, on record at both. Nothing is recorded where they
    /// are related already.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for either; [`DeskError::Invalid`] for one and the same.
    pub fn relate(&self, caller: &Caller, key: &str, other: &str) -> Result<Issue, DeskError> {
        self.must_decide(caller)?;
        let issue = self.issue(caller, key)?;
        let seen = self.seen.as_ref();
        self.ledger.while_seen(issue.number, seen, || ())?;
        let other = self.issue(caller, other)?;
        if issue.number == other.number {
            return Err(invalid("id", "an issue is not related to itself"));
        }
        let relation = |to: &Issue| Event::IssueRelated { other: to.id };
        let related = if issue.related.contains(&other.id) {
            issue.clone()
        } else {
            self.record(caller, issue.number, relation(&other))?
        };
        if !other.related.contains(&issue.id) {
            let actor = caller.actor();
            self.ledger.record(other.number, actor, relation(&issue))?;
        }
        Ok(related)
    }

    /// Views that the caller keeps, then those that others share.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn views(&self, caller: &Caller) -> Result<Vec<SavedView>, DeskError> {
        Ok(self.ledger.store().views(&caller.name)?)
    }

    /// Keeps a query under a name, in the place of what had that name.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] for a name or a query that makes no sense, or too many
    /// views; [`DeskError::Forbidden`] where somebody but an admin would share it.
    pub fn save_view(
        &self,
        caller: &Caller,
        name: &str,
        query: &str,
        shared: bool,
    ) -> Result<SavedView, DeskError> {
        if shared && caller.role != Role::Admin {
            let message = "only an admin may share a view with everybody";
            return Err(DeskError::Forbidden(message.to_owned()));
        }
        // What is around it counts, as the bound is told to callers.
        let (length, plain) = (name.chars().count(), !name.chars().any(char::is_control));
        let name = name.trim();
        if name.is_empty() || length > MAX_NAME_CHARS || !plain {
            let message = format!("has 1 to {MAX_NAME_CHARS} characters on one line");
            return Err(invalid("name", message));
        }
        self.read_query(caller, query)?;
        let views = self.views(caller)?;
        let own = views.iter().filter(|view| view.owner == caller.name);
        if !own.clone().any(|view| view.name == name) && own.count() >= MAX_VIEWS {
            let message = format!("you keep {MAX_VIEWS} views already; forget one first");
            return Err(invalid("name", message));
        }
        let view = SavedView {
            owner: caller.name.clone(),
            name: name.to_owned(),
            query: query.to_owned(),
            shared,
        };
        self.ledger
            .record_host(caller.actor(), Event::ViewSaved(view.clone()))?;
        Ok(view)
    }

    /// Forgets a view: the caller's own, or, for admins, what somebody shares.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] where the caller knows of none.
    pub fn forget_view(
        &self,
        caller: &Caller,
        owner: Option<&str>,
        name: &str,
    ) -> Result<(), DeskError> {
        let missing = || DeskError::NotFound(format!("view {name:?}"));
        let owner = match owner {
            Some(owner) => UserName::new(owner).map_err(|_| missing())?,
            None => caller.name.clone(),
        };
        let views = self.views(caller)?;
        if !views
            .iter()
            .any(|view| view.owner == owner && view.name == name)
        {
            return Err(missing());
        }
        if owner != caller.name {
            self.must_decide(caller)?;
        }
        let event = Event::ViewForgotten {
            owner,
            name: name.to_owned(),
        };
        self.ledger.record_host(caller.actor(), event)?;
        Ok(())
    }
}
