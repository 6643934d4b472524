//! One attempt to heal an issue.

use crate::agent::Diagnosis;
use crate::digest::Digest;
use crate::ids::{CommitId, IssueNumber, RunId, RunNumber, RunRef};
use crate::patch::Patch;
use crate::risk::{Assessment, AutonomyDecision};
use crate::user::{TrustClass, UserName};
use crate::verdict::Judgement;
use crate::verification::{CheckEvidence, Verification};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Under way (or waiting for a review).
    Active,
    /// Ended at OBSERVE.
    Observed,
    /// Healed.
    Succeeded,
    /// Failed; what was applied was rolled back.
    Failed,
    /// Handed to people.
    Escalated,
    /// Stopped by an admin.
    Aborted,
    /// Patch rejected.
    Rejected,
    /// The host died during it; started over.
    Interrupted,
}

/// The step that another attempt begins with. What comes before it is kept from the
/// attempt before; the step itself and all after it are done anew, with every gate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryFrom {
    /// The search for the cause: nothing is kept.
    #[default]
    Diagnose,
    /// The draft: the diagnosis is kept.
    Draft,
    /// The proof: diagnosis and patch are kept. The patch is judged, proved, scored,
    /// decided on and reviewed as if it were new.
    Prove,
}

impl RetryFrom {
    /// All of them, in the order of the walk.
    pub const ALL: [Self; 3] = [Self::Diagnose, Self::Draft, Self::Prove];

    /// As on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Diagnose => "diagnose",
            Self::Draft => "draft",
            Self::Prove => "prove",
        }
    }

    /// Nothing is kept.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_diagnose(&self) -> bool {
        *self == Self::Diagnose
    }
}

/// What an attempt keeps of an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The earlier one.
    pub run: RunNumber,
    /// What comes before this step is kept.
    pub from: RetryFrom,
}

/// One run, folded from its events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Identity.
    pub id: RunId,
    /// Number within the issue, from 1.
    pub number: RunNumber,
    /// How it stands.
    pub status: RunStatus,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Which agent did the work; several, with `, ` between them, where one took over
    /// from another.
    pub agent: String,
    /// Commit that records the live tree as it was.
    pub snapshot: CommitId,
    /// Commit of the live branch at that time.
    pub base_commit: CommitId,
    /// The live branch.
    pub live_branch: String,
    /// Generation of the policy set at its start.
    pub policy_generation: u64,
    /// Lowest trust class of what came into the run on its way, where that was lower
    /// than what the issue itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustClass>,
    /// What the agent found.
    pub diagnosis: Option<Diagnosis>,
    /// The current draft.
    pub draft: Option<DraftedPatch>,
    /// Digests of drafts that were refuted or sent back.
    pub discarded: Vec<Digest>,
    /// Proof of the draft.
    pub proof: Option<Verification>,
    /// Its risk.
    pub assessment: Option<Assessment>,
    /// What autonomy decided.
    pub autonomy: Option<AutonomyDecision>,
    /// Admins who approved this exact patch.
    pub approvals: Vec<UserName>,
    /// Comments of reviewers who sent a draft back.
    pub review_comments: Vec<String>,
    /// A person sent the current draft back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent_back: bool,
    /// What the probes said before the patch was applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes_before: Vec<CheckEvidence>,
    /// Heal commit.
    pub heal_commit: Option<CommitId>,
    /// Services that were restarted.
    pub services_restarted: Vec<String>,
    /// Verification after applying.
    pub verification: Option<Verification>,
    /// Rollback commit.
    pub rollback_commit: Option<CommitId>,
    /// Something was applied and undone.
    pub rolled_back: bool,
    /// Why it ended, unless it succeeded.
    pub end_reason: Option<String>,
}

/// A patch on the run's branch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DraftedPatch {
    /// The patch.
    pub patch: Patch,
    /// Why.
    pub rationale: String,
    /// 0 to 1, the agent's claim.
    pub confidence: f64,
    /// Others that pass as well, as diffs.
    pub rivals: Vec<String>,
    /// Commit on the run's branch.
    pub commit: CommitId,
    /// What the guardrails said.
    pub judgement: Judgement,
}

impl Run {
    /// The agents that did the work, each once.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agent.split(", ")
    }

    /// Its reference within issue `issue`.
    pub fn reference(&self, issue: IssueNumber) -> RunRef {
        RunRef {
            issue,
            run: self.number,
            id: self.id,
        }
    }
}
