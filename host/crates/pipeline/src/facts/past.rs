//! What became of earlier runs: the record that autonomy is earned by, and how
//! often each file was healed before.

use chrono::{DateTime, Utc};
use selfheal_domain::issue::Issue;
use selfheal_domain::policy::TrackRecord;
use selfheal_domain::ports::{EventStore, StoreError};
use selfheal_domain::query::IssueFilter;
use selfheal_domain::run::{Run, RunStatus};
use selfheal_domain::state::IssueStatus;
use std::collections::HashMap;

/// Most issues that are looked at, the newest first. Older ones no longer speak for
/// or against anybody.
const MOST_ISSUES: usize = 500;
/// Issues asked for at once.
const PAGE: usize = 100;

/// Outcomes of earlier runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Past {
    /// Of the service.
    pub(crate) record: TrackRecord,
    /// By path: heals that stand, and heals that were undone.
    files: HashMap<String, (u32, u32)>,
}

impl Past {
    /// What the store knows about `service`; about everything where none is known.
    /// Files count whatever their service.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn of(store: &dyn EventStore, service: Option<&str>) -> Result<Self, StoreError> {
        let mut past = Self::default();
        let mut outcomes: Vec<(DateTime<Utc>, Outcome)> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut seen = 0;
        while seen < MOST_ISSUES {
            let page = store.issues(&IssueFilter::default(), cursor.as_deref(), PAGE)?;
            for summary in &page.items {
                seen += 1;
                // Nothing was ever applied in these.
                if matches!(
                    summary.status,
                    IssueStatus::Approved | IssueStatus::Rejected
                ) {
                    continue;
                }
                let Some(issue) = store.issue(summary.number)? else {
                    continue;
                };
                let counts =
                    service.is_none_or(|name| issue.report.service.as_deref() == Some(name));
                for (place, run) in issue.runs.iter().enumerate() {
                    let last = place + 1 == issue.runs.len();
                    let Some((when, outcome)) = outcome(&issue, run, last) else {
                        continue;
                    };
                    past.note_files(run, outcome);
                    if counts {
                        outcomes.push((when, outcome));
                    }
                }
            }
            match page.next_cursor {
                Some(next) if !page.items.is_empty() => cursor = Some(next),
                _ => break,
            }
        }
        outcomes.sort_by_key(|(when, _)| *when);
        for (_, outcome) in outcomes {
            past.note(outcome);
        }
        Ok(past)
    }

    fn note(&mut self, outcome: Outcome) {
        let record = &mut self.record;
        match outcome {
            Outcome::Healed => {
                record.healed = record.healed.saturating_add(1);
                record.streak = record.streak.saturating_add(1);
            }
            Outcome::Failed => record.failed = record.failed.saturating_add(1),
            Outcome::CameBack => {
                record.failed = record.failed.saturating_add(1);
                record.streak = 0;
            }
            Outcome::Undone => {
                record.rolled_back = record.rolled_back.saturating_add(1);
                record.streak = 0;
            }
        }
    }

    fn note_files(&mut self, run: &Run, outcome: Outcome) {
        let paths = run.draft.iter().flat_map(|draft| &draft.patch.files);
        for file in paths {
            let (heals, undone) = match outcome {
                Outcome::Healed => (1, 0),
                Outcome::Undone => (0, 1),
                Outcome::Failed | Outcome::CameBack => continue,
            };
            let entry = self.files.entry(file.path.clone()).or_default();
            entry.0 = u32::saturating_add(entry.0, heals);
            entry.1 = u32::saturating_add(entry.1, undone);
        }
    }

    /// Heals of this file that stand, and heals that were undone.
    pub(crate) fn of_file(&self, path: &str) -> (u32, u32) {
        self.files.get(path).copied().unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Healed,
    Failed,
    /// It passed verification, and the issue was opened again.
    CameBack,
    Undone,
}

/// What became of a run; none while it is under way, and where nobody can tell (a
/// patch that people turned down says nothing of what it would have done).
fn outcome(issue: &Issue, run: &Run, last: bool) -> Option<(DateTime<Utc>, Outcome)> {
    let mut when = run.ended_at?;
    let outcome = match run.status {
        _ if run.rolled_back => Outcome::Undone,
        // Whatever came after it in the same issue shows that it did not hold.
        RunStatus::Succeeded if last && issue.status() == IssueStatus::Resolved => Outcome::Healed,
        RunStatus::Succeeded => {
            // It was believed until somebody opened the issue again.
            when = issue.reopened_at.unwrap_or(when);
            Outcome::CameBack
        }
        RunStatus::Failed | RunStatus::Escalated => Outcome::Failed,
        RunStatus::Active
        | RunStatus::Observed
        | RunStatus::Aborted
        | RunStatus::Rejected
        | RunStatus::Interrupted => return None,
    };
    Some((when, outcome))
}
