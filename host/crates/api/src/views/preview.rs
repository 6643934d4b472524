//! What the autonomy levels would have done, as JSON.

use super::issue::action_name;
use super::vocabulary;
use chrono::{DateTime, Utc};
use selfheal_domain::risk::{AutonomyAction, AutonomyLevel, RiskLevel};
use selfheal_domain::run::RunStatus;
use selfheal_pipeline::desk::preview::{AtLevel, AutonomyPreview, PreviewedPatch};
use serde::Serialize;
use utoipa::ToSchema;

/// What each autonomy level would have done with the patches of the last days.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AutonomyPreview)]
pub(crate) struct AutonomyPreviewView {
    since: DateTime<Utc>,
    /// The level that is set, and the highest that may be.
    #[schema(maximum = 3)]
    level: u8,
    #[schema(maximum = 3)]
    ceiling: u8,
    /// Patches whose decision cannot be asked again.
    unknown: u32,
    /// Runs that ended at OBSERVE before there was a patch.
    observed: u32,
    /// More happened than is counted here.
    cut: bool,
    /// Each level with how many patches it would have let pass.
    levels: Vec<LevelPreview>,
    /// The patches, newest first.
    patches: Vec<PatchPreview>,
}

/// One level in numbers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LevelPreview {
    #[schema(maximum = 3)]
    level: u8,
    #[schema(example = "AUTO_LOW")]
    name: String,
    /// Applied without anybody's word.
    applied: usize,
    /// Of these, those that did not hold and were rolled back.
    applied_and_undone: usize,
    /// Left to admins.
    reviewed: usize,
    /// Not applied at all.
    stopped: usize,
}

/// One patch at each level.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PatchPreview {
    issue: u64,
    run: u32,
    title: String,
    #[schema(maximum = 100)]
    risk_score: u8,
    #[schema(value_type = vocabulary::RiskLevel)]
    risk_level: RiskLevel,
    /// What was decided then: `apply`, `review` or `stop`.
    decided: &'static str,
    #[schema(value_type = vocabulary::RunStatus)]
    status: RunStatus,
    rolled_back: bool,
    levels: Vec<PatchAtLevel>,
}

/// What would have become of a patch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PatchAtLevel {
    #[schema(maximum = 3)]
    level: u8,
    /// `apply`, `review` or `stop`.
    action: &'static str,
    /// Admins that must agree, for `review`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reviews: Option<u32>,
    reason: String,
}

impl From<&AtLevel> for PatchAtLevel {
    fn from(at: &AtLevel) -> Self {
        Self {
            level: at.level.into(),
            action: action_name(at.action),
            reviews: match at.action {
                AutonomyAction::Review(count) => Some(count),
                AutonomyAction::Apply | AutonomyAction::Stop => None,
            },
            reason: at.reason.clone(),
        }
    }
}

impl From<&PreviewedPatch> for PatchPreview {
    fn from(patch: &PreviewedPatch) -> Self {
        Self {
            issue: patch.issue.0,
            run: patch.run.0,
            title: patch.title.clone(),
            risk_score: patch.risk.get(),
            risk_level: patch.risk.level(),
            decided: action_name(patch.decided),
            status: patch.status,
            rolled_back: patch.rolled_back,
            levels: patch.levels.iter().map(PatchAtLevel::from).collect(),
        }
    }
}

impl AutonomyPreviewView {
    /// The preview beside the level that is set and its ceiling.
    pub(crate) fn of(
        preview: &AutonomyPreview,
        level: AutonomyLevel,
        ceiling: AutonomyLevel,
    ) -> Self {
        let all = [
            AutonomyLevel::Observe,
            AutonomyLevel::Suggest,
            AutonomyLevel::AutoLow,
            AutonomyLevel::AutoAll,
        ];
        let in_numbers = |level: AutonomyLevel| {
            let at = |wanted: fn(AutonomyAction) -> bool| {
                let fits = move |patch: &&PreviewedPatch| {
                    let mut levels = patch.levels.iter();
                    levels.any(|at| at.level == level && wanted(at.action))
                };
                preview.patches.iter().filter(fits)
            };
            let applied = at(|action| action == AutonomyAction::Apply);
            LevelPreview {
                level: level.into(),
                name: level.to_string(),
                applied_and_undone: applied.clone().filter(|patch| patch.rolled_back).count(),
                applied: applied.count(),
                reviewed: at(|action| matches!(action, AutonomyAction::Review(_))).count(),
                stopped: at(|action| action == AutonomyAction::Stop).count(),
            }
        };
        Self {
            since: preview.since,
            level: level.into(),
            ceiling: ceiling.into(),
            unknown: preview.unknown,
            observed: preview.observed,
            cut: preview.cut,
            levels: all.into_iter().map(in_numbers).collect(),
            patches: preview.patches.iter().map(PatchPreview::from).collect(),
        }
    }
}
