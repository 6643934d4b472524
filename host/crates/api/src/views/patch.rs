//! A patch as its reviewers see it.

use super::issue::{FileContents, FileSnapshot, action_name, files_of};
use super::vocabulary;
use selfheal_domain::issue::Issue;
use selfheal_domain::risk::{AutonomyAction, RiskFactor, RiskLevel};
use selfheal_domain::run::Run;
use selfheal_domain::state::IssueStatus;
use selfheal_domain::verdict::{Answer, Fault, Judgement, ModuleAnswer, Reason, Verdict};
use selfheal_domain::verification::{Verification, VerificationResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Approves one exact patch.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchApprovalRequest {
    /// SHA-256 of the diff that was read, in hex.
    pub(crate) patch_digest: String,
}

/// Rejects the pending patch.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchRejectionRequest {
    /// At most 64 KiB; the next draft's author reads it.
    pub(crate) reason: String,
    /// Whether another draft follows; without it the issue is rejected.
    #[serde(default)]
    pub(crate) redraft: bool,
}

/// Bytes of a text, `start` inclusive, `end` exclusive.
#[derive(Serialize, ToSchema)]
#[schema(as = Span)]
pub(crate) struct SpanView {
    start: u32,
    end: u32,
}

/// Why a guardrail asks or denies.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reason)]
pub(crate) struct ReasonView {
    #[schema(example = "shell.rm-recursive")]
    rule: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    /// Where the evidence stands, in bytes of the judged text: a call's input, a
    /// patch's diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<SpanView>,
    /// What to do instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternative: Option<String>,
}

impl ReasonView {
    /// Id of the rule.
    pub(super) fn rule(&self) -> &str {
        &self.rule
    }
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> Self {
        Self {
            rule: reason.rule.clone(),
            message: reason.message.clone(),
            evidence: reason.evidence.as_ref().map(|part| part.text.clone()),
            span: reason.evidence.as_ref().and_then(|part| {
                part.span.map(|span| SpanView {
                    start: span.start,
                    end: span.end,
                })
            }),
            alternative: reason.alternative.clone(),
        }
    }
}

fn name_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Ask(_) => "ask",
        Verdict::Deny(_) => "deny",
    }
    .to_owned()
}

/// What one module said.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ModuleAnswer)]
pub(crate) struct ModuleAnswerView {
    module: String,
    digest: String,
    /// Absent when the module misbehaved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::VerdictName>)]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
    /// How the module misbehaved; counts as deny.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    micros: u64,
}

impl From<&ModuleAnswer> for ModuleAnswerView {
    fn from(answer: &ModuleAnswer) -> Self {
        let (verdict, fault) = match &answer.answer {
            Answer::Verdict(verdict) => (Some(verdict), None),
            Answer::Fault(fault) => (None, Some(fault.to_string())),
        };
        Self {
            module: answer.module.clone(),
            digest: answer.digest.to_string(),
            verdict: verdict.map(name_of),
            reason: verdict.and_then(Verdict::reason).map(ReasonView::from),
            fault,
            micros: answer.micros,
        }
    }
}

/// The merged answer of the policy set, with its parts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Judgement)]
pub(crate) struct JudgementView {
    #[schema(value_type = vocabulary::VerdictName)]
    pub(crate) verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<ReasonView>,
    pub(crate) modules: Vec<ModuleAnswerView>,
    /// Rules whose asking or denying did not count: an admin broke the glass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) granted: Vec<String>,
    pub(crate) policy_generation: u64,
}

impl From<&Judgement> for JudgementView {
    fn from(judgement: &Judgement) -> Self {
        Self {
            verdict: name_of(&judgement.verdict),
            reason: judgement.verdict.reason().map(ReasonView::from),
            modules: judgement
                .answers
                .iter()
                .map(ModuleAnswerView::from)
                .collect(),
            granted: judgement.granted.clone(),
            policy_generation: judgement.generation,
        }
    }
}

/// One thing that was checked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    name: String,
    #[schema(value_type = vocabulary::VerificationResult)]
    result: VerificationResult,
    detail: String,
    seconds: f64,
}

/// A verification with its evidence.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verification)]
pub(crate) struct VerificationView {
    #[schema(value_type = vocabulary::VerificationResult)]
    result: VerificationResult,
    checks: Vec<Check>,
}

impl From<&Verification> for VerificationView {
    fn from(verification: &Verification) -> Self {
        let checks = verification.checks.iter().map(|check| Check {
            name: check.name.clone(),
            result: check.result,
            detail: check.detail.clone(),
            seconds: check.seconds,
        });
        Self {
            result: verification.result(),
            checks: checks.collect(),
        }
    }
}

/// One reason for the risk score.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RiskFactor)]
pub(crate) struct FactorView {
    name: String,
    points: u32,
    evidence: String,
}

impl From<&RiskFactor> for FactorView {
    fn from(factor: &RiskFactor) -> Self {
        Self {
            name: factor.name.clone(),
            points: factor.points,
            evidence: factor.evidence.clone(),
        }
    }
}

/// A module that misbehaved.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ModuleFault)]
pub(crate) struct FaultView {
    module: String,
    fault: String,
}

impl From<&(String, Fault)> for FaultView {
    fn from((module, fault): &(String, Fault)) -> Self {
        Self {
            module: module.clone(),
            fault: fault.to_string(),
        }
    }
}

/// What autonomy decided.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AutonomyDecision)]
pub(crate) struct AutonomyDecisionView {
    /// `apply`, `review` or `stop`.
    action: &'static str,
    /// Admins who must approve, for `review`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reviews: Option<u32>,
    reason: String,
    faults: Vec<FaultView>,
    policy_generation: u64,
}

/// A patch with everything a review needs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PatchReview {
    issue: u64,
    run: u32,
    #[schema(value_type = vocabulary::IssueStatus)]
    status: IssueStatus,
    branch: String,
    base_commit: String,
    commit: String,
    /// SHA-256 of `patchDiff`: what an approval names.
    patch_digest: String,
    patch_diff: String,
    files: Vec<FileSnapshot>,
    patch_rationale: String,
    /// The agent's claim, 0 to 1.
    confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_score: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::RiskLevel>)]
    risk_level: Option<RiskLevel>,
    factors: Vec<FactorView>,
    risk_faults: Vec<FaultView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<AutonomyDecisionView>,
    /// What the guardrails said of the finished diff.
    judgement: JudgementView,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<VerificationView>,
    /// Other patches that pass the same checks, as diffs.
    rivals: Vec<String>,
    /// Admins who approved this exact patch.
    approvals: Vec<String>,
    /// What reviewers wanted different so far.
    review_comments: Vec<String>,
    policy_generation: u64,
}

fn faults(faults: &[(String, Fault)]) -> Vec<FaultView> {
    faults.iter().map(FaultView::from).collect()
}

impl PatchReview {
    /// The current patch of an issue, if there is one.
    pub(crate) fn of(issue: &Issue) -> Option<Self> {
        let run: &Run = issue.run()?;
        let draft = run.draft.as_ref()?;
        let assessment = run.assessment.as_ref();
        let factors = assessment
            .map(|assessment| assessment.factors.as_slice())
            .unwrap_or_default();
        Some(Self {
            issue: issue.number.0,
            run: run.number.0,
            status: issue.status(),
            branch: run.reference(issue.number).branch(),
            base_commit: run.base_commit.to_string(),
            commit: draft.commit.to_string(),
            patch_digest: draft.patch.digest.to_string(),
            patch_diff: draft.patch.diff.clone(),
            files: files_of(run, FileContents::Include).unwrap_or_default(),
            patch_rationale: draft.rationale.clone(),
            confidence: draft.confidence,
            root_cause: run.diagnosis.as_ref().map(|found| found.root_cause.clone()),
            risk_score: assessment.map(|assessment| assessment.score.get()),
            risk_level: assessment.map(|assessment| assessment.score.level()),
            factors: factors.iter().map(FactorView::from).collect(),
            risk_faults: assessment
                .map(|assessment| faults(&assessment.faults))
                .unwrap_or_default(),
            decision: run.autonomy.as_ref().map(|decision| AutonomyDecisionView {
                action: action_name(decision.action),
                reviews: match decision.action {
                    AutonomyAction::Review(count) => Some(count),
                    AutonomyAction::Apply | AutonomyAction::Stop => None,
                },
                reason: decision.reason.clone(),
                faults: faults(&decision.faults),
                policy_generation: decision.generation,
            }),
            judgement: JudgementView::from(&draft.judgement),
            proof: run.proof.as_ref().map(VerificationView::from),
            rivals: draft.rivals.clone(),
            approvals: run.approvals.iter().map(ToString::to_string).collect(),
            review_comments: run.review_comments.clone(),
            policy_generation: run.policy_generation,
        })
    }
}
