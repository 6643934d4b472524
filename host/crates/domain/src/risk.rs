//! Risk of a patch, and how much autonomy it gets.

use crate::policy::Asked;
use crate::verdict::{Fault, Reason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Risk from 0 (none) to 100.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct RiskScore(u8);

/// A score above 100.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a risk score is 0 to 100, got {0}")]
pub struct ScoreOutOfRange(pub u32);

impl RiskScore {
    /// The highest risk; what a fault counts as.
    pub const MAX: Self = Self(100);

    /// A checked score.
    ///
    /// # Errors
    /// Above 100.
    pub fn new(score: u32) -> Result<Self, ScoreOutOfRange> {
        u8::try_from(score)
            .ok()
            .filter(|score| *score <= 100)
            .map(Self)
            .ok_or(ScoreOutOfRange(score))
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The level, always derived: low below 25, medium below 50, high below 75, else critical.
    pub fn level(self) -> RiskLevel {
        match self.0 {
            0..=24 => RiskLevel::Low,
            25..=49 => RiskLevel::Medium,
            50..=74 => RiskLevel::High,
            _ => RiskLevel::Critical,
        }
    }
}

impl TryFrom<u8> for RiskScore {
    type Error = ScoreOutOfRange;
    fn try_from(score: u8) -> Result<Self, ScoreOutOfRange> {
        Self::new(u32::from(score))
    }
}

impl From<RiskScore> for u8 {
    fn from(score: RiskScore) -> Self {
        score.0
    }
}

/// Band of a [`RiskScore`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RiskLevel {
    /// 0–24.
    Low,
    /// 25–49.
    Medium,
    /// 50–74.
    High,
    /// 75–100.
    Critical,
}

impl fmt::Display for RiskLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// One reason for the score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RiskFactor {
    /// Stable name, as in `touches-authentication`.
    pub name: String,
    /// Points it adds.
    pub points: u32,
    /// What in the patch shows it.
    pub evidence: String,
}

/// Score and factors, merged over all risk modules by the highest score.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assessment {
    /// Highest score of all modules; 100 when one failed or none answered.
    pub score: RiskScore,
    /// Factors of the modules, prefixed by none.
    pub factors: Vec<RiskFactor>,
    /// Modules that misbehaved, by name.
    #[serde(default)]
    pub faults: Vec<(String, Fault)>,
    /// Generation of the policy set that answered.
    pub generation: u64,
    /// What the modules were asked with, so that they can be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<Asked>>,
}

/// How much the host may do without asking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum AutonomyLevel {
    /// 0: diagnose and suggest, change nothing. Every new installation.
    #[default]
    Observe,
    /// 1: draft patches, an admin reviews each.
    Suggest,
    /// 2: apply low risk, review the rest.
    AutoLow,
    /// 3: apply all, rollback guaranteed.
    AutoAll,
}

impl From<AutonomyLevel> for u8 {
    fn from(level: AutonomyLevel) -> Self {
        level as u8
    }
}

impl TryFrom<u8> for AutonomyLevel {
    type Error = String;
    fn try_from(level: u8) -> Result<Self, String> {
        match level {
            0 => Ok(Self::Observe),
            1 => Ok(Self::Suggest),
            2 => Ok(Self::AutoLow),
            3 => Ok(Self::AutoAll),
            other => Err(format!(
                "an autonomy level is 0 (OBSERVE), 1 (SUGGEST), 2 (AUTO_LOW) or 3 (AUTO_ALL), got {other}"
            )),
        }
    }
}

impl fmt::Display for AutonomyLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "OBSERVE",
            Self::Suggest => "SUGGEST",
            Self::AutoLow => "AUTO_LOW",
            Self::AutoAll => "AUTO_ALL",
        })
    }
}

/// What an autonomy module says of one assessed patch. Ordered by strictness
/// through [`AutonomyAction::stricter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "action", content = "reviews")]
pub enum AutonomyAction {
    /// Apply now.
    Apply,
    /// Wait for this many admins.
    Review(u32),
    /// Do not apply at all.
    Stop,
}

impl AutonomyAction {
    fn rank(self) -> (u8, u32) {
        match self {
            Self::Apply => (0, 0),
            Self::Review(count) => (1, count),
            Self::Stop => (2, 0),
        }
    }

    /// The stricter of both.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }
}

/// The strictest decision of all autonomy modules, capped by the configured level.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AutonomyDecision {
    /// What happens to the patch.
    pub action: AutonomyAction,
    /// Why, for people.
    pub reason: String,
    /// Modules that misbehaved, by name.
    #[serde(default)]
    pub faults: Vec<(String, Fault)>,
    /// Generation of the policy set that answered.
    pub generation: u64,
    /// What the modules were asked with, so that they can be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<Asked>>,
}

/// An autonomy module's answer to "may this issue start without an admin?".
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "admission", content = "reason")]
pub enum Admission {
    /// Start; the recorded decision stands in for the approval.
    Admit(String),
    /// An admin must approve.
    NeedsAdmin(Reason),
}
