//! What is worked on next, and what must wait for what: a plain data structure, so that
//! its promises can be tested with every order of events.
//!
//! Work that a recorded intent began is finished first, then patches that were cleared,
//! then agents start: for issues that a person approved before others, but nobody is
//! passed by more than [`MOST_PASSED`] times. What waits for a review is not in here at
//! all and holds nothing.
//!
//! From the moment its patch is about to be applied until it is verified or undone an
//! issue *holds* its files and services, all at once. Those that need any of them wait
//! in the order in which they came: nobody waits while holding, so nobody waits for
//! ever. What is held follows from the recorded phases alone; this is a copy of it.

use selfheal_domain::ids::IssueNumber;
use std::collections::{BTreeMap, BTreeSet};

/// How often work that nobody approved is passed by approved work that came later.
const MOST_PASSED: u32 = 3;

/// Files and services that no two issues change at the same time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Claim {
    /// Relative paths.
    pub(crate) files: BTreeSet<String>,
    /// Names.
    pub(crate) services: BTreeSet<String>,
}

impl Claim {
    /// They share a file or a service.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        !self.files.is_disjoint(&other.files) || !self.services.is_disjoint(&other.services)
    }
}

/// What comes next for an issue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Job {
    /// Finish or undo what was begun; it holds this already.
    Close(Claim),
    /// Apply a cleared patch; needs this.
    Apply(Claim),
    /// An agent's work for an issue that a person approved.
    Approved,
    /// An agent's work for an issue that nobody but a module admitted.
    Automatic,
}

/// Who looks for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worker {
    /// Does anything.
    Any,
    /// Starts no agent: a cleared patch never waits for one.
    Closer,
}

#[derive(Clone, Debug)]
struct Entry {
    issue: IssueNumber,
    job: Job,
    passed: u32,
}

/// The work that waits, that is under way, and what is held.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// In order of arrival.
    waiting: Vec<Entry>,
    working: BTreeSet<IssueNumber>,
    holding: BTreeMap<IssueNumber, Claim>,
}

impl Queue {
    /// Adds work for an issue. One that waits already keeps its place.
    pub(crate) fn put(&mut self, issue: IssueNumber, job: Job) {
        if let Job::Close(claim) = &job {
            self.holding.insert(issue, claim.clone());
        }
        match self.waiting.iter_mut().find(|entry| entry.issue == issue) {
            Some(entry) => entry.job = job,
            None => self.waiting.push(Entry {
                issue,
                job,
                passed: 0,
            }),
        }
    }

    /// Takes what waits for an issue out of the queue.
    pub(crate) fn withdraw(&mut self, issue: IssueNumber) {
        self.waiting.retain(|entry| entry.issue != issue);
    }

    /// The next work for this worker; what it needs is held from now on.
    pub(crate) fn take(&mut self, worker: Worker) -> Option<IssueNumber> {
        let ready: Vec<usize> = (0..self.waiting.len())
            .filter(|at| self.is_ready(*at))
            .collect();
        let entry = |at: &usize| self.waiting.get(*at);
        let first = |wanted: &dyn Fn(&Entry) -> bool| {
            ready
                .iter()
                .copied()
                .find(|at| entry(at).is_some_and(wanted))
        };
        let closing = first(&|it| matches!(it.job, Job::Close(_)))
            .or_else(|| first(&|it| matches!(it.job, Job::Apply(_))));
        let starting = || {
            first(&|it| it.passed >= MOST_PASSED)
                .or_else(|| first(&|it| it.job == Job::Approved))
                .or_else(|| first(&|it| it.job == Job::Automatic))
        };
        let at = match worker {
            Worker::Closer => closing?,
            Worker::Any => closing.or_else(starting)?,
        };
        let taken = self.waiting.remove(at);
        match taken.job {
            Job::Apply(claim) => {
                self.holding.insert(taken.issue, claim);
            }
            Job::Approved => {
                for earlier in self.waiting.iter_mut().take(at) {
                    if earlier.job == Job::Automatic {
                        earlier.passed = earlier.passed.saturating_add(1);
                    }
                }
            }
            Job::Close(_) | Job::Automatic => {}
        }
        self.working.insert(taken.issue);
        Some(taken.issue)
    }

    /// The issue that is worked on needs this from now on. False when somebody else holds
    /// part of it or came first: it must wait.
    pub(crate) fn hold(&mut self, issue: IssueNumber, claim: &Claim) -> bool {
        if self.holding.get(&issue) == Some(claim) {
            return true;
        }
        let free = self.is_free(issue, claim, self.waiting.len());
        if free {
            self.holding.insert(issue, claim.clone());
        }
        free
    }

    /// Nobody works on the issue any longer; `holds` is what its record says it still
    /// holds.
    pub(crate) fn done(&mut self, issue: IssueNumber, holds: Option<Claim>) {
        self.working.remove(&issue);
        match holds {
            Some(claim) => self.holding.insert(issue, claim),
            None => self.holding.remove(&issue),
        };
    }

    /// Nobody works on the issue any longer; it holds what it held.
    pub(crate) fn leave(&mut self, issue: IssueNumber) {
        self.working.remove(&issue);
    }

    /// Nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.working.is_empty()
    }

    /// Something waits or is under way for this issue.
    pub(crate) fn knows(&self, issue: IssueNumber) -> bool {
        self.working.contains(&issue) || self.waiting.iter().any(|entry| entry.issue == issue)
    }

    /// The issue that keeps another one from holding this, if one does.
    pub(crate) fn in_the_way(&self, issue: IssueNumber, claim: &Claim) -> Option<IssueNumber> {
        let mut others = self.holding.iter().filter(|(other, _)| **other != issue);
        let holder = others.find(|(_, held)| held.meets(claim));
        holder.map(|(other, _)| *other)
    }

    fn is_ready(&self, at: usize) -> bool {
        let Some(entry) = self.waiting.get(at) else {
            return false;
        };
        if self.working.contains(&entry.issue) {
            return false;
        }
        match &entry.job {
            Job::Apply(claim) => self.is_free(entry.issue, claim, at),
            Job::Close(_) | Job::Approved | Job::Automatic => true,
        }
    }

    /// Nobody holds any of it, and nobody among the first `before` waits for any of it.
    fn is_free(&self, issue: IssueNumber, claim: &Claim, before: usize) -> bool {
        let mut earlier = self.waiting.iter().take(before);
        self.in_the_way(issue, claim).is_none()
            && !earlier.any(|entry| {
                entry.issue != issue
                    && matches!(&entry.job, Job::Apply(other) if other.meets(claim))
            })
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
