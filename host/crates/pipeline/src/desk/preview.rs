//! What each autonomy level would have done with the patches of last week: the recorded
//! decisions, asked again of the policies in force under the host's own ceiling.

use super::{DeskError, IssueDesk};
use crate::rooms::judge::{capped, proved};
use chrono::{DateTime, Duration, Utc};
use selfheal_domain::ids::{IssueNumber, RunNumber};
use selfheal_domain::issue::Issue;
use selfheal_domain::query::{Condition, IssueFilter, Sort, Span};
use selfheal_domain::risk::{AutonomyAction, AutonomyLevel, RiskScore};
use selfheal_domain::run::{Run, RunStatus};

/// How far back it looks, in days.
pub const DAYS: i64 = 7;
/// Most issues that are looked at, those that changed last.
const MOST_ISSUES: usize = 1_000;
/// Most patches that are asked about, the newest.
const MOST_PATCHES: usize = 200;
const PAGE: usize = 100;

/// All levels, the strictest first.
const LEVELS: [AutonomyLevel; 4] = [
    AutonomyLevel::Observe,
    AutonomyLevel::Suggest,
    AutonomyLevel::AutoLow,
    AutonomyLevel::AutoAll,
];

/// What would have become of a patch at one level.
#[derive(Clone, PartialEq, Debug)]
pub struct AtLevel {
    /// The level.
    pub level: AutonomyLevel,
    /// What would have happened to the patch.
    pub action: AutonomyAction,
    /// Why.
    pub reason: String,
}

/// A patch of these days.
#[derive(Clone, PartialEq, Debug)]
pub struct PreviewedPatch {
    /// Its issue.
    pub issue: IssueNumber,
    /// Its run.
    pub run: RunNumber,
    /// The issue's title.
    pub title: String,
    /// Its risk as assessed then.
    pub risk: RiskScore,
    /// What was decided then.
    pub decided: AutonomyAction,
    /// How its run stands.
    pub status: RunStatus,
    /// It was applied and undone.
    pub rolled_back: bool,
    /// At each level, the strictest first.
    pub levels: Vec<AtLevel>,
}

/// What the levels would have done.
#[derive(Clone, PartialEq, Debug)]
pub struct AutonomyPreview {
    /// From then on.
    pub since: DateTime<Utc>,
    /// Patches that a decision was made about, the newest first.
    pub patches: Vec<PreviewedPatch>,
    /// Patches whose decision cannot be asked again.
    pub unknown: u32,
    /// Runs that ended at OBSERVE before there was a patch: what another level would
    /// have done with one nobody knows.
    pub observed: u32,
    /// There is more than was looked at.
    pub cut: bool,
}

impl IssueDesk {
    /// What each level would have done in the last [`DAYS`] days. Changes nothing.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] where this host cannot ask its policies again; the store
    /// cannot be read.
    pub fn autonomy_preview(&self) -> Result<AutonomyPreview, DeskError> {
        self.policy_control()?;
        let since = self.clock.now() - Duration::days(DAYS);
        let changed = Span {
            from: Some(since),
            before: None,
        };
        let filter = IssueFilter {
            sort: Sort::Updated,
            ..IssueFilter::default().and(Condition::Updated(changed))
        };
        let mut preview = AutonomyPreview {
            since,
            patches: Vec::new(),
            unknown: 0,
            observed: 0,
            cut: false,
        };
        let (mut seen, mut cursor) = (0, None);
        let store = self.ledger.store();
        loop {
            let page = store.issues(&filter, cursor.as_deref(), PAGE)?;
            for summary in &page.items {
                if let Some(issue) = store.issue(summary.number)? {
                    self.preview_issue(&issue, &mut preview)?;
                }
            }
            seen += page.items.len();
            cursor = page.next_cursor;
            // In this order nothing that follows a page without any is newer.
            if cursor.is_none() || page.items.is_empty() {
                return Ok(preview);
            }
            if seen >= MOST_ISSUES || preview.patches.len() >= MOST_PATCHES {
                preview.cut = true;
                return Ok(preview);
            }
        }
    }

    fn preview_issue(&self, issue: &Issue, preview: &mut AutonomyPreview) -> Result<(), DeskError> {
        let of_these_days = |run: &&Run| run.ended_at.is_none_or(|end| end >= preview.since);
        for run in issue.runs.iter().rev().filter(of_these_days) {
            if run.status == RunStatus::Observed {
                preview.observed += 1;
            }
            if run.autonomy.is_none() {
                continue;
            }
            match self.preview_run(issue, run)? {
                Some(patch) => preview.patches.push(patch),
                None => preview.unknown += 1,
            }
        }
        Ok(())
    }

    fn preview_run(&self, issue: &Issue, run: &Run) -> Result<Option<PreviewedPatch>, DeskError> {
        let control = self.policy_control()?;
        let (Some(draft), Some(assessment), Some(decision)) =
            (&run.draft, &run.assessment, &run.autonomy)
        else {
            return Ok(None);
        };
        let risk = assessment.score.level();
        let seen = proved(&self.settings, run);
        let mut levels = Vec::new();
        for level in LEVELS {
            let Some(said) = control.decide_again(decision, level) else {
                return Ok(None);
            };
            let said = capped(said, level, draft, risk, seen);
            levels.push(AtLevel {
                level,
                action: said.action,
                reason: said.reason,
            });
        }
        Ok(Some(PreviewedPatch {
            issue: issue.number,
            run: run.number,
            title: issue.report.title.clone(),
            risk: assessment.score,
            decided: decision.action,
            status: run.status,
            rolled_back: run.rolled_back,
            levels,
        }))
    }
}
