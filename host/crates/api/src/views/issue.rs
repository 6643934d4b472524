//! An issue as JSON (DESIGN §6.1).

use super::vocabulary;
use chrono::{DateTime, Utc};
use selfheal_domain::event::Approval;
use selfheal_domain::issue::{
    Category, Comment, CommentRole, Issue, Priority, Severity, SnoozeEnd, Source,
};
use selfheal_domain::ports::IssueSummary;
use selfheal_domain::report::ReportDraft;
use selfheal_domain::risk::{AutonomyAction, RiskLevel};
use selfheal_domain::run::{RetryFrom, Run, RunStatus};
use selfheal_domain::state::IssueStatus;
use selfheal_domain::user::Role;
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};
use selfheal_pipeline::desk::commits::{CommitKind, MadeCommit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a report holds.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReportRequest {
    /// One line, at most 200 characters.
    #[schema(example = "Checkout shows 500")]
    title: String,
    /// What is wrong, at most 64 KiB.
    #[schema(example = "Paying with an empty cart answers 500.")]
    description: String,
    /// How to see it.
    steps_to_reproduce: Option<String>,
    /// What should happen.
    expected_behavior: Option<String>,
    /// What happens.
    actual_behavior: Option<String>,
    /// For admins; others leave it out.
    #[schema(value_type = Option<vocabulary::Severity>)]
    severity: Option<Severity>,
    /// For admins; others leave it out.
    #[schema(value_type = Option<vocabulary::Priority>)]
    priority: Option<Priority>,
    /// `api` by token and `web` by cookie unless said otherwise.
    #[schema(value_type = Option<vocabulary::Source>)]
    source: Option<Source>,
    /// `bug` unless said otherwise.
    #[schema(value_type = Option<vocabulary::Category>)]
    category: Option<Category>,
    /// Affected service.
    service: Option<String>,
    /// Equal for equal failures.
    fingerprint: Option<String>,
}

impl From<ReportRequest> for ReportDraft {
    fn from(request: ReportRequest) -> Self {
        Self {
            title: request.title,
            description: request.description,
            steps_to_reproduce: request.steps_to_reproduce,
            expected_behavior: request.expected_behavior,
            actual_behavior: request.actual_behavior,
            severity: request.severity,
            priority: request.priority,
            source: request.source,
            category: request.category,
            service: request.service,
            fingerprint: request.fingerprint,
        }
    }
}

/// An issue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Issue)]
pub(crate) struct IssueView {
    id: Uuid,
    /// Running number, from 1.
    #[schema(example = 42)]
    number: u64,
    /// Grows with whatever is recorded about it; `If-Match: "VERSION"` goes by it.
    #[schema(example = 7)]
    version: u64,
    title: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_to_reproduce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_behavior: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual_behavior: Option<String>,
    #[schema(example = "ada")]
    reported_by: String,
    #[schema(value_type = vocabulary::Severity)]
    severity: Severity,
    #[schema(value_type = vocabulary::Priority)]
    priority: Priority,
    /// The admin, or `autonomy` where a policy module stood in.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection_reason: Option<String>,
    #[schema(value_type = vocabulary::IssueStatus)]
    status: IssueStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affected_files: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affected_services: Option<Vec<String>>,
    /// The agent's claim, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence_score: Option<f64>,
    /// What the agent tried; for admins and auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostic_log: Option<String>,
    /// What the agent would do, in words or as a diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested_fix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_diff: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_rationale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_modified: Option<Vec<FileSnapshot>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services_restarted: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::VerificationResult>)]
    verification_result: Option<VerificationResult>,
    /// One line per check.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back: Option<bool>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<DateTime<Utc>>,
    /// Milliseconds from approval to resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_resolve: Option<i64>,
    comments: Vec<CommentView>,
    related_issue_ids: Vec<Uuid>,
    #[schema(value_type = vocabulary::Source)]
    source: Source,
    #[schema(value_type = vocabulary::Category)]
    category: Category,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    occurrences: u64,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100)]
    risk_score: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::RiskLevel>)]
    risk_level: Option<RiskLevel>,
    /// `apply`, `review` or `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    autonomy_decision: Option<String>,
    /// Why it failed, was escalated or aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<String>,
    /// While it is out of the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    snooze: Option<Snooze>,
    runs: Vec<RunView>,
}

/// An issue that is out of the way for now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Snooze {
    /// Until then; without it, until something happens to the issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

impl Snooze {
    fn of(end: Option<SnoozeEnd>, now: DateTime<Utc>) -> Option<Self> {
        let end = end.filter(|end| end.is_ahead(now))?;
        let until = match end {
            SnoozeEnd::At { until } => Some(until),
            SnoozeEnd::News => None,
        };
        Some(Self { until })
    }
}

/// A file of the patch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileSnapshot {
    /// Relative to the repository.
    pub(crate) file_path: String,
    /// With `include=files` only; absent for a new file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) original_content: Option<String>,
    /// With `include=files` only; absent for a deleted file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patched_content: Option<String>,
    /// When the original was recorded.
    pub(crate) snapshot_at: DateTime<Utc>,
}

/// A comment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Comment)]
pub(crate) struct CommentView {
    id: Uuid,
    author: String,
    #[schema(value_type = vocabulary::CommentRole)]
    role: CommentRole,
    content: String,
    created_at: DateTime<Utc>,
}

impl From<&Comment> for CommentView {
    fn from(comment: &Comment) -> Self {
        Self {
            id: comment.id.0,
            author: comment.author.clone(),
            role: comment.role,
            content: comment.content.clone(),
            created_at: comment.created_at,
        }
    }
}

/// One attempt to heal an issue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Run)]
pub(crate) struct RunView {
    id: Uuid,
    /// Within the issue, from 1.
    number: u32,
    #[schema(value_type = vocabulary::RunStatus)]
    status: RunStatus,
    started_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    #[schema(example = "selfheal/issue-42/run-1")]
    branch: String,
    base_commit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    heal_commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_digest: Option<String>,
    policy_generation: u64,
    #[schema(example = "engine:builtin")]
    agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<String>,
}

impl RunView {
    fn of(issue: &Issue, run: &Run) -> Self {
        Self {
            id: run.id.0,
            number: run.number.0,
            status: run.status,
            started_at: run.started_at,
            ended_at: run.ended_at,
            branch: run.reference(issue.number).branch(),
            base_commit: run.base_commit.to_string(),
            heal_commit: run.heal_commit.as_ref().map(ToString::to_string),
            rollback_commit: run.rollback_commit.as_ref().map(ToString::to_string),
            patch_digest: run
                .draft
                .as_ref()
                .map(|draft| draft.patch.digest.to_string()),
            policy_generation: run.policy_generation,
            agent: run.agent.clone(),
            end_reason: run.end_reason.clone(),
        }
    }
}

/// What an issue's attempts committed.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssueCommits {
    /// Oldest first.
    commits: Vec<CommitView>,
}

impl From<Vec<MadeCommit>> for IssueCommits {
    fn from(made: Vec<MadeCommit>) -> Self {
        Self {
            commits: made.into_iter().map(CommitView::from).collect(),
        }
    }
}

/// What a commit did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CommitKind)]
pub(crate) enum CommitKindView {
    /// It brought a patch to the live branch.
    Heal,
    /// It undid that.
    Rollback,
}

/// A commit that an attempt made on the live branch.
#[derive(Serialize, ToSchema)]
#[schema(as = Commit)]
pub(crate) struct CommitView {
    /// Number of the attempt within the issue.
    run: u32,
    kind: CommitKindView,
    /// Its name in the application's repository.
    commit: String,
    /// Its trailers, in their order; absent where the repository no longer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Vec<Trailer>>,
}

impl From<MadeCommit> for CommitView {
    fn from(made: MadeCommit) -> Self {
        let trailers = made.trailers.map(|trailers| {
            let trailers = trailers.into_iter();
            trailers
                .map(|(name, value)| Trailer { name, value })
                .collect()
        });
        Self {
            run: made.run.0,
            kind: match made.kind {
                CommitKind::Heal => CommitKindView::Heal,
                CommitKind::Rollback => CommitKindView::Rollback,
            },
            commit: made.commit.to_string(),
            trailers,
        }
    }
}

/// What a commit says about itself, as plain git shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trailer {
    #[schema(example = "Selfheal-Risk")]
    name: String,
    #[schema(example = "12 low")]
    value: String,
}

/// Whether the contents of changed files are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileContents {
    Include,
    LeaveOut,
}

/// What an autonomy decision is called.
pub(crate) fn action_name(action: AutonomyAction) -> &'static str {
    match action {
        AutonomyAction::Apply => "apply",
        AutonomyAction::Review(_) => "review",
        AutonomyAction::Stop => "stop",
    }
}

/// One line per check, with what was seen where it did not pass.
pub(crate) fn details(verification: &Verification) -> String {
    let line = |check: &CheckEvidence| {
        let result = match check.result {
            VerificationResult::Pass => "PASS",
            VerificationResult::Fail => "FAIL",
            VerificationResult::Inconclusive => "INCONCLUSIVE",
        };
        let seen = check.detail.trim();
        let gap = if seen.is_empty() { "" } else { ": " };
        format!(
            "{result} {} ({:.1} s){gap}{seen}",
            check.name, check.seconds
        )
    };
    let lines: Vec<String> = verification.checks.iter().map(line).collect();
    lines.join("\n")
}

/// The files of a patch, with or without what is in them.
pub(crate) fn files_of(run: &Run, contents: FileContents) -> Option<Vec<FileSnapshot>> {
    let files = run.draft.as_ref()?.patch.files.iter().map(|file| {
        let show = contents == FileContents::Include;
        FileSnapshot {
            file_path: file.path.clone(),
            original_content: file.before.clone().filter(|_| show),
            patched_content: file.after.clone().filter(|_| show),
            snapshot_at: run.started_at,
        }
    });
    Some(files.collect())
}

impl IssueView {
    /// The issue as somebody with `role` may see it at `now`.
    pub(crate) fn of(
        issue: &Issue,
        role: Role,
        contents: FileContents,
        now: DateTime<Utc>,
    ) -> Self {
        let report = &issue.report;
        let run = issue.run();
        // What an earlier run found and did counts until a later one knows better.
        let mut earlier = issue.runs.iter().rev();
        let diagnosis = earlier.clone().find_map(|run| run.diagnosis.as_ref());
        let applied = earlier.find(|run| run.heal_commit.is_some() || run.rolled_back);
        let draft = run.and_then(|run| run.draft.as_ref());
        let verification = applied.and_then(|run| run.verification.as_ref());
        let assessment = run.and_then(|run| run.assessment.as_ref());
        let sees_work = matches!(role, Role::Admin | Role::Auditor);
        let contents = if sees_work {
            contents
        } else {
            FileContents::LeaveOut
        };
        let times = issue.approved_at.zip(issue.resolved_at);
        let ended = run.and_then(|run| run.end_reason.clone());
        Self {
            id: issue.id.0,
            number: issue.number.0,
            version: issue.version,
            title: report.title.clone(),
            description: report.description.clone(),
            steps_to_reproduce: report.steps_to_reproduce.clone(),
            expected_behavior: report.expected_behavior.clone(),
            actual_behavior: report.actual_behavior.clone(),
            reported_by: issue.reported_by.to_string(),
            severity: report.severity,
            priority: report.priority,
            approved_by: issue.approval.as_ref().map(|approval| match approval {
                Approval::Admin { name } => name.to_string(),
                Approval::Module { .. } => "autonomy".to_owned(),
            }),
            approved_at: issue.approved_at,
            rejection_reason: issue.rejection_reason.clone(),
            status: issue.status(),
            root_cause: diagnosis.map(|found| found.root_cause.clone()),
            affected_files: diagnosis.map(|found| found.affected_files.clone()),
            affected_services: diagnosis.map(|found| found.affected_services.clone()),
            confidence_score: diagnosis.map(|found| found.confidence),
            diagnostic_log: diagnosis
                .filter(|_| sees_work)
                .map(|found| found.log.clone()),
            suggested_fix: diagnosis.map(|found| found.suggested_fix.clone()),
            patch_diff: draft.map(|draft| draft.patch.diff.clone()),
            patch_rationale: draft.map(|draft| draft.rationale.clone()),
            files_modified: run.and_then(|run| files_of(run, contents)),
            services_restarted: applied
                .map(|run| run.services_restarted.clone())
                .filter(|restarted| !restarted.is_empty()),
            verification_result: verification.map(Verification::result),
            verification_details: verification.map(details),
            rolled_back: applied.map(|run| run.rolled_back),
            created_at: issue.created_at,
            updated_at: issue.updated_at,
            resolved_at: issue.resolved_at,
            time_to_resolve: times.map(|(from, to)| (to - from).num_milliseconds()),
            comments: issue.comments.iter().map(CommentView::from).collect(),
            related_issue_ids: issue.related.iter().map(|id| id.0).collect(),
            source: report.source,
            category: report.category,
            service: report.service.clone(),
            fingerprint: report.fingerprint.clone(),
            occurrences: issue.occurrences,
            risk_score: assessment.map(|assessment| assessment.score.get()),
            risk_level: assessment.map(|assessment| assessment.score.level()),
            autonomy_decision: run
                .and_then(|run| run.autonomy.as_ref())
                .map(|decision| action_name(decision.action).to_owned()),
            end_reason: issue.end_reason.clone().or(ended),
            snooze: Snooze::of(issue.snooze, now),
            runs: issue
                .runs
                .iter()
                .map(|run| RunView::of(issue, run))
                .collect(),
        }
    }
}

/// An issue in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssueSummary)]
pub(crate) struct IssueItem {
    id: Uuid,
    number: u64,
    title: String,
    #[schema(value_type = vocabulary::IssueStatus)]
    status: IssueStatus,
    #[schema(value_type = vocabulary::Severity)]
    severity: Severity,
    #[schema(value_type = vocabulary::Priority)]
    priority: Priority,
    #[schema(value_type = vocabulary::Source)]
    source: Source,
    #[schema(value_type = vocabulary::Category)]
    category: Category,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    reported_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// While it is out of the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    snooze: Option<Snooze>,
}

impl IssueItem {
    /// The issue as it is at `now`.
    pub(crate) fn of(summary: IssueSummary, now: DateTime<Utc>) -> Self {
        Self {
            id: summary.id.0,
            number: summary.number.0,
            title: summary.title,
            status: summary.status,
            severity: summary.severity,
            priority: summary.priority,
            source: summary.source,
            category: summary.category,
            service: summary.service,
            reported_by: summary.reported_by.to_string(),
            created_at: summary.created_at,
            updated_at: summary.updated_at,
            snooze: Snooze::of(summary.snooze, now),
        }
    }
}

/// A page of issues.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssuePage {
    pub(crate) items: Vec<IssueItem>,
    /// Where the next page starts; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// No fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyRequest {}

/// Where another attempt begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// What comes before this step is kept from the last attempt; the step itself and all
    /// after it are done anew, policies and review included. Without it, from the
    /// beginning.
    #[serde(default)]
    #[schema(value_type = Option<vocabulary::RetryFrom>)]
    pub(crate) from: Option<RetryFrom>,
}

/// A comment to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommentRequest {
    /// At most 64 KiB.
    pub(crate) content: String,
}

/// How long an issue is out of the way.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnoozeRequest {
    /// Until then, at most a year away; without it, until something happens to the
    /// issue. A change of its state ends every snooze.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    /// At most 64 KiB; goes into the record.
    pub(crate) reason: String,
}

/// Priority, severity, or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriageRequest {
    #[schema(value_type = Option<vocabulary::Priority>)]
    pub(crate) priority: Option<Priority>,
    #[schema(value_type = Option<vocabulary::Severity>)]
    pub(crate) severity: Option<Severity>,
}
