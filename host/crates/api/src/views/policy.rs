//! Policies and their changes as JSON.

use super::admin::PolicyModule;
use super::patch::ReasonView;
use super::vocabulary;
use crate::problem::Problem;
use chrono::{DateTime, Utc};
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, ChangeSource, ChangedDecision, EnforcementStatus, Explained,
    Explanation, Grant, KeptGeneration, ModuleEdit, ModuleState, ModuleStatus, PolicyPlan,
    PolicyStatus, Proposal, Rollout, TrialStatus,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The active policy set, and everything around it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicySet {
    pub(crate) generation: u64,
    pub(crate) digest: String,
    pub(crate) items: Vec<PolicyModule>,
    #[serde(flatten)]
    pub(crate) standing: Option<PolicyStanding>,
    pub(crate) enforcement: Enforcement,
}

/// What a host that can change its policies says besides.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyStanding {
    /// When this generation came into force.
    since: DateTime<Utc>,
    #[schema(value_type = vocabulary::ChangeSource)]
    source: ChangeSource,
    /// `local`, `dev`, `staging` or `production`.
    environment: String,
    /// Highest autonomy level.
    #[schema(maximum = 3)]
    ceiling: u8,
    /// Loosening needs a second admin.
    four_eyes: bool,
    /// Why `policy.toml` as it is on disk is not in force; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_in_force: Option<String>,
    /// A candidate on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<Trial>,
    /// Changes that wait for a second admin.
    proposals: Vec<PolicyProposal>,
    /// Rules over which the glass is broken now.
    grants: Vec<PolicyGrant>,
    /// Generations that can be gone back to, newest first.
    kept: Vec<PolicyGeneration>,
}

impl PolicySet {
    /// The view of a status; `now` tells how old the proof is.
    pub(crate) fn of(status: PolicyStatus, now: DateTime<Utc>) -> Self {
        let environment = serde_json::to_value(status.environment).ok();
        Self {
            generation: status.generation,
            digest: status.digest.to_string(),
            items: status.modules.into_iter().map(PolicyModule::of).collect(),
            standing: Some(PolicyStanding {
                since: status.since,
                source: status.source,
                environment: environment
                    .and_then(|name| name.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                ceiling: status.ceiling.into(),
                four_eyes: status.four_eyes,
                not_in_force: status.not_in_force,
                trial: status.trial.map(Trial::from),
                proposals: status.proposals.into_iter().map(Into::into).collect(),
                grants: status.grants.into_iter().map(Into::into).collect(),
                kept: status.kept.into_iter().map(Into::into).collect(),
            }),
            enforcement: Enforcement::of(status.enforcement, now),
        }
    }
}

/// How a module does since it came into force as it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleStanding {
    #[schema(value_type = vocabulary::ModuleState)]
    state: ModuleState,
    /// Why, where that needs saying, as in the fault that quarantined it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where its bytes came from.
    #[schema(example = "bundled:shell-guard")]
    source: String,
    /// Publisher that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    capabilities: Vec<String>,
    /// Generation in which it came into force as it is.
    generation: u64,
    since: DateTime<Utc>,
    /// Questions that it answered.
    asked: u64,
    /// How often each rule asked or denied; one that never did has 0.
    hits: BTreeMap<String, u64>,
    faults: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_fault: Option<String>,
    p50_micros: f64,
    p99_micros: f64,
}

impl From<ModuleStatus> for ModuleStanding {
    fn from(status: ModuleStatus) -> Self {
        Self {
            state: status.state,
            reason: status.reason,
            source: status.source,
            publisher: status.publisher,
            capabilities: status.capabilities,
            generation: status.generation,
            since: status.since,
            asked: status.asked,
            hits: status.hits,
            faults: status.faults,
            last_fault: status.last_fault,
            p50_micros: status.p50_micros,
            p99_micros: status.p99_micros,
        }
    }
}

fn rollout_of(rollout: Rollout) -> (&'static str, Option<u8>) {
    match rollout {
        Rollout::Full => ("full", None),
        Rollout::Shadow => ("shadow", None),
        Rollout::Canary { percent } => ("canary", Some(percent)),
    }
}

/// A candidate on trial against the set in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicyTrial)]
pub(crate) struct Trial {
    generation: u64,
    #[schema(value_type = vocabulary::Rollout)]
    rollout: &'static str,
    /// Of 100 runs, for a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    by: String,
    since: DateTime<Utc>,
    asked: u64,
    /// Answers looser than those of the set in force.
    looser: u64,
    /// Stricter answers.
    stricter: u64,
    faults: u64,
    /// The latest differences.
    differences: Vec<Changed>,
}

impl From<TrialStatus> for Trial {
    fn from(trial: TrialStatus) -> Self {
        let (rollout, percent) = rollout_of(trial.rollout);
        Self {
            generation: trial.generation,
            rollout,
            percent,
            by: trial.by.to_string(),
            since: trial.since,
            asked: trial.asked,
            looser: trial.looser,
            stricter: trial.stricter,
            faults: trial.faults,
            differences: changed(trial.differences),
        }
    }
}

/// A change that waits for a second admin.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyProposal {
    number: u64,
    /// Who wants it; absent for an edit of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    reason: String,
    at: DateTime<Utc>,
    plan: Plan,
}

impl From<Proposal> for PolicyProposal {
    fn from(proposal: Proposal) -> Self {
        Self {
            number: proposal.number,
            by: proposal.by.map(|by| by.to_string()),
            reason: proposal.reason,
            at: proposal.at,
            plan: proposal.plan.into(),
        }
    }
}

/// A rule over which an admin broke the glass.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyGrant {
    number: u64,
    #[schema(example = "shell.network")]
    rule: String,
    /// Only in this issue; anywhere if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    issue: Option<u64>,
    reason: String,
    by: String,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Decisions that used it.
    used: u64,
}

impl From<Grant> for PolicyGrant {
    fn from(grant: Grant) -> Self {
        Self {
            number: grant.number,
            rule: grant.rule,
            issue: grant.issue.map(|issue| issue.0),
            reason: grant.reason,
            by: grant.by.to_string(),
            at: grant.at,
            until: grant.until,
            used: grant.used,
        }
    }
}

/// A generation that was in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyGeneration {
    generation: u64,
    digest: String,
    at: DateTime<Utc>,
    #[schema(value_type = vocabulary::ChangeSource)]
    source: ChangeSource,
}

impl From<KeptGeneration> for PolicyGeneration {
    fn from(kept: KeptGeneration) -> Self {
        Self {
            generation: kept.generation,
            digest: kept.digest.to_string(),
            at: kept.at,
            source: kept.source,
        }
    }
}

/// One recorded question whose answer a candidate changes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChangedDecision)]
pub(crate) struct Changed {
    /// Position of its record in the log.
    seq: u64,
    #[schema(example = "Bash: git push")]
    question: String,
    /// The answer in force.
    #[schema(example = "deny shell.git-push")]
    before: String,
    /// The candidate's answer.
    after: String,
    /// The reason of the stricter of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
}

fn changed(decisions: Vec<ChangedDecision>) -> Vec<Changed> {
    let view = |decision: ChangedDecision| Changed {
        seq: decision.seq,
        question: decision.question,
        before: decision.before,
        after: decision.after,
        reason: decision.reason.as_ref().map(ReasonView::from),
    };
    decisions.into_iter().map(view).collect()
}

/// What a candidate would have changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicyPlan)]
pub(crate) struct Plan {
    /// Digest of the candidate set.
    digest: String,
    /// Generation that it was compared with.
    against: u64,
    /// Recorded decisions that were asked again.
    replayed: u64,
    /// Of these, how many the set in force answers as recorded.
    reproduced: u64,
    /// Recorded decisions that cannot be asked again: an earlier version wrote them.
    skipped: u64,
    /// Answers that get looser.
    loosened: u64,
    /// Answers that get stricter.
    tightened: u64,
    /// The same verdict for another reason.
    reworded: u64,
    /// The first few that get looser.
    loosening: Vec<Changed>,
    /// The first few that get stricter.
    tightening: Vec<Changed>,
    /// What gets looser whatever is asked.
    structural_loosening: Vec<String>,
    /// What cannot get looser.
    structural_tightening: Vec<String>,
    /// Changes whose effect nobody can know for all questions.
    unproved: Vec<String>,
    /// Faults of the candidate's modules while they were asked.
    faults: u64,
    /// The change is known to loosen nothing.
    only_tightens: bool,
    /// How long it took, in milliseconds.
    millis: u64,
}

impl From<PolicyPlan> for Plan {
    fn from(plan: PolicyPlan) -> Self {
        Self {
            only_tightens: plan.only_tightens(),
            digest: plan.digest,
            against: plan.against,
            replayed: plan.replayed,
            reproduced: plan.reproduced,
            skipped: plan.skipped,
            loosened: plan.loosened,
            tightened: plan.tightened,
            reworded: plan.reworded,
            loosening: changed(plan.loosening),
            tightening: changed(plan.tightening),
            structural_loosening: plan.structural_loosening,
            structural_tightening: plan.structural_tightening,
            unproved: plan.unproved,
            faults: plan.faults,
            millis: plan.millis,
        }
    }
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PolicyChange)]
pub(crate) struct Change {
    /// `activated`; `onTrial` beside the set in force or for a share of runs;
    /// `proposed`, when it waits for another admin; `unchanged`.
    outcome: &'static str,
    /// The generation in force, or the one on trial.
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::Rollout>)]
    rollout: Option<&'static str>,
    /// Of 100 runs, for a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

impl From<ChangeOutcome> for Change {
    fn from(outcome: ChangeOutcome) -> Self {
        let bare = |outcome, generation| Self {
            outcome,
            generation,
            proposal: None,
            rollout: None,
            percent: None,
            plan: None,
        };
        match outcome {
            ChangeOutcome::Activated { generation, plan } => Self {
                plan: Some((*plan).into()),
                ..bare("activated", generation)
            },
            ChangeOutcome::OnTrial {
                generation,
                rollout,
                plan,
            } => {
                let (rollout, percent) = rollout_of(rollout);
                Self {
                    rollout: Some(rollout),
                    percent,
                    plan: Some((*plan).into()),
                    ..bare("onTrial", generation)
                }
            }
            ChangeOutcome::Proposed {
                proposal,
                generation,
                plan,
            } => Self {
                proposal: Some(proposal),
                plan: Some((*plan).into()),
                ..bare("proposed", generation)
            },
            ChangeOutcome::Unchanged { generation } => bare("unchanged", generation),
        }
    }
}

/// What the latest marker actions, which must be refused, came to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Enforcement {
    /// Every enforcement point refused its marker when last asked.
    pub(crate) proved: bool,
    /// When that was; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<u64>,
    /// Generation that refused.
    pub(crate) generation: u64,
    /// Each way from an agent to the world, and what it answered.
    pub(crate) points: Vec<Point>,
}

/// One way from an agent to the world.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EnforcementPoint)]
pub(crate) struct Point {
    #[schema(example = "drafting:Bash")]
    name: String,
    refused: bool,
    detail: String,
}

impl Enforcement {
    pub(crate) fn of(status: EnforcementStatus, now: DateTime<Utc>) -> Self {
        let age = status.at.map(|at| (now - at).num_seconds().max(0));
        let view = |point: selfheal_domain::policy_control::EnforcementPoint| Point {
            name: point.name,
            refused: point.refused,
            detail: point.detail,
        };
        Self {
            proved: status.proved,
            at: status.at,
            age_seconds: age.and_then(|age| u64::try_from(age).ok()),
            generation: status.generation,
            points: status.points.into_iter().map(view).collect(),
        }
    }
}

/// Why a decision came out as it did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Explanation)]
pub(crate) struct ExplanationView {
    /// Position of its record in the log.
    seq: u64,
    /// What was asked, in one line.
    question: String,
    /// The answer as recorded.
    recorded: String,
    /// What each module said, as recorded.
    modules: Vec<ExplainedAnswer>,
    /// The set that was asked again.
    #[schema(example = "generation 7")]
    under: String,
    /// What that set answers.
    answer: String,
    /// What each of its modules says.
    again: Vec<ExplainedAnswer>,
    /// The answer is the recorded one.
    same: bool,
}

/// One module's part in a decision.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedAnswer {
    module: String,
    #[schema(example = "deny shell.git-push")]
    answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
    /// Of its score.
    factors: Vec<ExplainedFactor>,
    /// It decided.
    decided: bool,
}

/// One reason for a module's score.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplainedFactor {
    name: String,
    points: u32,
    evidence: String,
}

impl From<Explained> for ExplainedAnswer {
    fn from(said: Explained) -> Self {
        let factor = |(name, points, evidence)| ExplainedFactor {
            name,
            points,
            evidence,
        };
        Self {
            module: said.module,
            answer: said.answer,
            reason: said.reason.as_ref().map(ReasonView::from),
            factors: said.factors.into_iter().map(factor).collect(),
            decided: said.decided,
        }
    }
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        Self {
            seq: explanation.seq,
            question: explanation.question,
            recorded: explanation.recorded,
            modules: explanation.modules.into_iter().map(Into::into).collect(),
            under: explanation.under,
            answer: explanation.answer,
            again: explanation.again.into_iter().map(Into::into).collect(),
            same: explanation.same,
        }
    }
}

/// A module that is kept under its digest.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeptModule {
    pub(crate) digest: String,
    /// What a candidate names it by.
    #[schema(example = "sha256:9f86d081…")]
    pub(crate) source: String,
    pub(crate) bytes: usize,
}

/// A change of one module; what is not named stays.
#[derive(ToSchema)]
#[schema(as = ModuleEditRequest)]
#[allow(dead_code, reason = "exists for its schema only")]
pub(crate) struct ModuleEditSchema {
    /// A name that is not there adds a module, which needs kind and source.
    #[schema(example = "shell-guard")]
    name: String,
    /// `guardrail`, `risk` or `autonomy`.
    kind: Option<String>,
    /// `bundled:NAME`, `sha256:HEX`, `oci://…`, or a path on the host.
    source: Option<String>,
    /// `enforce`, `shadow` or `off`.
    mode: Option<String>,
    /// Replaces all settings of the module.
    #[schema(value_type = Option<Object>)]
    settings: Option<serde_json::Value>,
    /// Takes the module out.
    #[schema(nullable = false)]
    remove: Option<bool>,
}

/// Asks what a candidate would have changed: `text` or `edits`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyPlanRequest {
    /// A whole `policy.toml`.
    text: Option<String>,
    /// Changes of single modules.
    #[schema(value_type = Option<Vec<ModuleEditSchema>>)]
    edits: Option<Vec<ModuleEdit>>,
    /// How many of the latest recorded decisions are asked again.
    #[schema(default = 10_000)]
    pub(crate) decisions: Option<u64>,
}

/// Brings a candidate into force: `text` or `edits`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyActivationRequest {
    /// A whole `policy.toml`.
    text: Option<String>,
    /// Changes of single modules.
    #[schema(value_type = Option<Vec<ModuleEditSchema>>)]
    edits: Option<Vec<ModuleEdit>>,
    /// `full` if left out.
    #[schema(value_type = Option<vocabulary::Rollout>)]
    rollout: Option<RolloutName>,
    /// Of 100 runs, for a canary: 1 to 99.
    #[schema(minimum = 1, maximum = 99)]
    percent: Option<u8>,
    pub(crate) reason: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RolloutName {
    Full,
    Shadow,
    Canary,
}

/// Goes back to a kept generation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRollbackRequest {
    /// The one before the present one, if left out.
    pub(crate) generation: Option<u64>,
    pub(crate) reason: String,
}

/// Breaks the glass over a rule for a while.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyGrantRequest {
    /// Never one of `host.*`.
    #[schema(example = "shell.network")]
    pub(crate) rule: String,
    /// Only in this issue; anywhere if left out.
    pub(crate) issue: Option<u64>,
    #[schema(minimum = 1)]
    pub(crate) minutes: u32,
    pub(crate) reason: String,
}

/// Asks what another set says to a recorded question: `text` or `edits`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyExplanationRequest {
    /// A whole `policy.toml`.
    text: Option<String>,
    /// Changes of single modules.
    #[schema(value_type = Option<Vec<ModuleEditSchema>>)]
    edits: Option<Vec<ModuleEdit>>,
}

fn candidate(text: Option<String>, edits: Option<Vec<ModuleEdit>>) -> Result<Candidate, Problem> {
    match (text, edits) {
        (Some(text), None) => Ok(Candidate::Text(text)),
        (None, Some(edits)) if !edits.is_empty() => Ok(Candidate::Edits(edits)),
        (None, Some(_)) => Err(Problem::invalid_field("edits", "names no module")),
        (Some(_), Some(_)) => Err(Problem::invalid_field(
            "edits",
            "cannot be given with text; a candidate is one or the other",
        )),
        (None, None) => Err(Problem::invalid_field(
            "text",
            "is required: a whole policy.toml, or edits of single modules in its place",
        )),
    }
}

impl PolicyPlanRequest {
    pub(crate) fn candidate(self) -> Result<Candidate, Problem> {
        candidate(self.text, self.edits)
    }
}

impl PolicyExplanationRequest {
    pub(crate) fn candidate(self) -> Result<Candidate, Problem> {
        candidate(self.text, self.edits)
    }
}

impl PolicyActivationRequest {
    pub(crate) fn rollout(&self) -> Result<Rollout, Problem> {
        let share = |percent| Problem::invalid_field("percent", percent);
        match (self.rollout.unwrap_or(RolloutName::Full), self.percent) {
            (RolloutName::Full, None) => Ok(Rollout::Full),
            (RolloutName::Shadow, None) => Ok(Rollout::Shadow),
            (RolloutName::Canary, Some(percent @ 1..=99)) => Ok(Rollout::Canary { percent }),
            (RolloutName::Canary, _) => Err(share("of a canary is a number from 1 to 99")),
            (RolloutName::Full | RolloutName::Shadow, Some(_)) => {
                Err(share("is for the rollout canary only"))
            }
        }
    }

    pub(crate) fn candidate(self) -> Result<Candidate, Problem> {
        candidate(self.text, self.edits)
    }
}
