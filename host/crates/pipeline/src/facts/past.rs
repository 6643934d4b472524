//! What became of earlier runs: the record that autonomy is earned by, and how
//! often each file was healed before.

use chrono::{DateTime, Utc};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::Ledger;
use selfheal_domain::policy::TrackRecord;
use selfheal_domain::ports::{EventStore, StoreError};
use selfheal_domain::query::IssueFilter;
use selfheal_domain::run::{Run, RunStatus};
use selfheal_domain::state::IssueStatus;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most issues that are looked at, the newest first. Older ones no longer speak for
/// or against anybody.
const MOST_ISSUES: usize = 500;
/// Issues asked for at once.
const PAGE: usize = 100;

/// What became of the newest issues' runs, as long as nothing recorded changes it: each
/// report asks for it, and reading it costs hundreds of issues.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<Option<Read>>);

struct Read {
    /// [`Ledger::run_changes`] before it was read.
    changes: u64,
    runs: Vec<Ended>,
}

struct Ended {
    issue: IssueNumber,
    service: Option<String>,
    at: DateTime<Utc>,
    outcome: Outcome,
    files: Vec<String>,
}

impl Outcomes {
    /// What the log knows about `service`; about everything where none is known. Files
    /// count whatever their service.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn past(&self, ledger: &Ledger, service: Option<&str>) -> Result<Past, StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken first: what is read after it is at least as new.
        let changes = ledger.run_changes();
        let runs = match kept.take() {
            Some(read) if read.changes == changes => read.runs,
            _ => ended(ledger.store().as_ref())?,
        };
        let last = ledger.store().last_issue_number()?;
        // Issues that were opened since it was read have no runs, but count.
        let oldest = (last + 1).saturating_sub(MOST_ISSUES as u64);
        let mut past = Past::default();
        for run in runs.iter().filter(|run| run.issue.0 >= oldest) {
            past.note_files(&run.files, run.outcome);
            if service.is_none_or(|name| run.service.as_deref() == Some(name)) {
                past.note(run.outcome);
            }
        }
        *kept = Some(Read { changes, runs });
        Ok(past)
    }
}

/// The ended runs of the newest issues, by when it was known how they ended.
fn ended(store: &dyn EventStore) -> Result<Vec<Ended>, StoreError> {
    let mut runs = Vec::new();
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
            for (place, run) in issue.runs.iter().enumerate() {
                let last = place + 1 == issue.runs.len();
                let Some((at, outcome)) = outcome(&issue, run, last) else {
                    continue;
                };
                let files = run.draft.iter().flat_map(|draft| &draft.patch.files);
                runs.push(Ended {
                    issue: issue.number,
                    service: issue.report.service.clone(),
                    at,
                    outcome,
                    files: files.map(|file| file.path.clone()).collect(),
                });
            }
        }
        match page.next_cursor {
            Some(next) if !page.items.is_empty() => cursor = Some(next),
            _ => break,
        }
    }
    runs.sort_by_key(|run| run.at);
    Ok(runs)
}

/// Outcomes of earlier runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Past {
    /// Of the service.
    pub(crate) record: TrackRecord,
    /// By path: heals that stand, and heals that were undone.
    files: HashMap<String, (u32, u32)>,
}

impl Past {
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

    fn note_files(&mut self, paths: &[String], outcome: Outcome) {
        for path in paths {
            let (heals, undone) = match outcome {
                Outcome::Healed => (1, 0),
                Outcome::Undone => (0, 1),
                Outcome::Failed | Outcome::CameBack => continue,
            };
            let entry = self.files.entry(path.clone()).or_default();
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
