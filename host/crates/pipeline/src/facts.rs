//! What policies get to see of a patch, and what a commit of ours says.

mod imports;
mod owners;
mod past;
mod surroundings;

pub(crate) use past::{Outcomes, Past};
pub(crate) use surroundings::Surroundings;

use crate::bounds;
use crate::settings::{PatchLimits, PathMatcher, Settings};
use crate::witnesses::holds_tests;
use selfheal_domain::agent::{DiagnosisBrief, LabelledText};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Approval;
use selfheal_domain::ids::RunRef;
use selfheal_domain::issue::{CommentRole, Issue};
use selfheal_domain::patch::Patch;
use selfheal_domain::policy::{PatchFacts, PatchFileFacts};
use selfheal_domain::ports::CommitMessage;
use selfheal_domain::run::{DraftedPatch, Run};
use selfheal_domain::user::TrustClass;

/// What goes with a patch besides its text.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The agent's claim, 0 to 1.
    pub confidence: f64,
    /// Other patches that pass as well.
    pub rivals: usize,
    /// Whether the host saw the reproduction turn green.
    pub proved: Proved,
    /// Severity of the issue, as in `HIGH`; empty where there is no issue.
    pub severity: String,
}

/// Whether the host saw the reproduction turn green.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proved {
    /// It did.
    Yes,
    /// It has not looked yet.
    NotYet,
}

/// Facts of a patch; the claims are the agent's, everything else is the host's. What
/// imports its files is not known here.
pub fn patch_facts(patch: &Patch, claims: Claims, protected: &PathMatcher) -> PatchFacts {
    let files = patch
        .files
        .iter()
        .filter_map(|file| {
            let (added, removed) = file.changed_lines();
            Some(PatchFileFacts {
                path: file.path.clone(),
                change: file.kind()?,
                added,
                removed,
                test: holds_tests(file),
                protected: protected.matches(&file.path),
                dependents: u32::MAX,
                owners: Vec::new(),
                earlier_heals: 0,
                earlier_rollbacks: 0,
            })
        })
        .collect();
    PatchFacts {
        digest: patch.digest,
        diff: patch.diff.clone(),
        files,
        claimed_confidence: claims.confidence,
        reproduction_proved: claims.proved == Proved::Yes,
        rivals: u32::try_from(claims.rivals).unwrap_or(u32::MAX),
        severity: claims.severity,
    }
}

/// Facts of a drafted patch.
pub(crate) fn draft_facts(
    draft: &DraftedPatch,
    issue: &Issue,
    proved: Proved,
    protected: &PathMatcher,
) -> PatchFacts {
    let severity = issue.report.severity.as_str().to_owned();
    let claims = Claims {
        confidence: draft.confidence,
        rivals: draft.rivals.len(),
        proved,
        severity,
    };
    patch_facts(&draft.patch, claims, protected)
}

/// The host's own limits, which no module can loosen. The text says which one is
/// broken.
pub fn broken_host_limit(patch: &Patch, limits: &PatchLimits) -> Option<String> {
    if patch.is_empty() {
        return Some("the patch changes nothing".to_owned());
    }
    if patch.files.len() > limits.max_files {
        return Some(format!(
            "the patch changes {} files; at most {} are allowed",
            patch.files.len(),
            limits.max_files
        ));
    }
    let bytes = bounds::patch_bytes(patch);
    if bytes > bounds::PATCH_BYTES {
        let most = bounds::PATCH_BYTES;
        return Some(format!(
            "the patch and the files it changes have {bytes} bytes; at most {most} are allowed"
        ));
    }
    let lines: usize = patch
        .files
        .iter()
        .map(|file| {
            let (added, removed) = file.changed_lines();
            added.len() + removed.len()
        })
        .sum();
    if lines > limits.max_changed_lines {
        let most = limits.max_changed_lines;
        return Some(format!(
            "the patch adds and removes {lines} lines; at most {most} are allowed"
        ));
    }
    let protected = patch
        .files
        .iter()
        .find(|file| limits.protected.matches(&file.path))?;
    Some(format!(
        "the patch touches {}, which policy.toml protects",
        protected.path
    ))
}

/// How many of the latest comments an agent gets to read.
const COMMENTS: usize = 20;

fn comment_trust(role: CommentRole) -> TrustClass {
    match role {
        CommentRole::Admin | CommentRole::System => TrustClass::Admin,
        CommentRole::User => TrustClass::Member,
        CommentRole::Agent => TrustClass::Machine,
    }
}

/// What the agent is asked, with the trust of every text.
pub(crate) fn brief(issue: &Issue, settings: &Settings, logs: Vec<LabelledText>) -> DiagnosisBrief {
    let report = &issue.report;
    let text = |label: &str, text: &str| LabelledText {
        label: label.to_owned(),
        text: text.to_owned(),
        trust: report.trust,
    };
    let mut texts = vec![
        text("title", &report.title),
        text("description", &report.description),
    ];
    let optional = [
        ("stepsToReproduce", &report.steps_to_reproduce),
        ("expectedBehavior", &report.expected_behavior),
        ("actualBehavior", &report.actual_behavior),
    ];
    texts.extend(
        optional
            .into_iter()
            .filter_map(|(label, value)| value.as_deref().map(|value| text(label, value))),
    );
    let reviews = issue.runs.iter().flat_map(|run| &run.review_comments);
    texts.extend(reviews.map(|comment| LabelledText {
        label: "review".to_owned(),
        text: comment.clone(),
        trust: TrustClass::Admin,
    }));
    let comments = issue.comments.iter().rev().take(COMMENTS).rev();
    texts.extend(comments.map(|comment| LabelledText {
        label: "comment".to_owned(),
        text: comment.content.clone(),
        trust: comment_trust(comment.role),
    }));
    texts.extend(logs);
    DiagnosisBrief {
        run: issue.run().map(|run| run.reference(issue.number)),
        texts,
        checks: settings.checks.clone(),
        services: settings
            .service_directories
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        budget: settings.diagnosis_budget,
        excluded: excluded(issue).collect(),
    }
}

/// Patches that were refuted, rolled back or sent back: never the same one again.
pub(crate) fn excluded(issue: &Issue) -> impl Iterator<Item = Digest> + '_ {
    issue
        .runs
        .iter()
        .flat_map(|run| run.discarded.iter().copied())
}

/// Message of the commit that records the live tree.
pub(crate) fn snapshot_message(run: RunRef, trail: &Trail) -> CommitMessage {
    CommitMessage {
        subject: format!("Live tree before run {} of issue {}", run.run, run.issue),
        body: String::new(),
        trailers: vec![
            ("Selfheal-Policy".to_owned(), trail.policy.clone()),
            ("Selfheal-Audit".to_owned(), trail.audit.clone()),
        ],
    }
}

/// Message of a heal commit, with the trailers of DESIGN §6.6.
pub(crate) fn heal_message(
    issue: &Issue,
    run: &Run,
    draft: &DraftedPatch,
    trail: &Trail,
) -> CommitMessage {
    let mut trailers = Vec::new();
    if let Some(assessment) = &run.assessment {
        let score = assessment.score;
        trailers.push((
            "Selfheal-Risk".to_owned(),
            format!("{} {}", score.get(), score.level()),
        ));
    }
    if let Some(autonomy) = &run.autonomy {
        trailers.push((
            "Selfheal-Autonomy".to_owned(),
            bounds::line(&autonomy.reason),
        ));
    }
    trailers.push(("Selfheal-Policy".to_owned(), trail.policy.clone()));
    trailers.extend(
        approvers(issue, run, &trail.installation)
            .map(|who| ("Selfheal-Approved-By".to_owned(), who)),
    );
    trailers.push(("Selfheal-Audit".to_owned(), trail.audit.clone()));
    trailers.extend(
        run.agents()
            .map(|name| ("Assisted-by".to_owned(), name.to_owned())),
    );
    let cause = run
        .diagnosis
        .as_ref()
        .map(|diagnosis| diagnosis.root_cause.clone())
        .unwrap_or_default();
    let reason = bounds::line(&cause);
    if !reason.is_empty() {
        trailers.push(("Selfheal-Reason".to_owned(), reason));
    }
    CommitMessage {
        subject: format!("heal: {}", issue.report.title),
        body: format!("{cause}\n\n{}", draft.rationale).trim().to_owned(),
        trailers,
    }
}

/// Message of a rollback commit.
pub(crate) fn rollback_message(
    issue: &Issue,
    run: &Run,
    reason: &str,
    trail: &Trail,
) -> CommitMessage {
    let mut trailers = vec![("Selfheal-Policy".to_owned(), trail.policy.clone())];
    if let Some(commit) = &run.heal_commit {
        trailers.push(("Selfheal-Reverts".to_owned(), commit.to_string()));
    }
    trailers.push(("Selfheal-Reason".to_owned(), bounds::line(reason)));
    trailers.push(("Selfheal-Audit".to_owned(), trail.audit.clone()));
    CommitMessage {
        subject: format!("roll back: {}", issue.report.title),
        body: format!(
            "The patch for issue {} did not hold: {reason}",
            issue.number
        ),
        trailers,
    }
}

/// What a commit says of log and policies.
pub(crate) struct Trail {
    pub(crate) policy: String,
    pub(crate) audit: String,
    pub(crate) installation: String,
}

/// People in commits are pseudonyms: equal within an installation, unknown outside.
fn approvers<'a>(
    issue: &'a Issue,
    run: &'a Run,
    installation: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let first = match &issue.approval {
        Some(Approval::Admin { name }) => Some(name.clone()),
        Some(Approval::Module { .. }) | None => None,
    };
    let mut names: Vec<_> = first
        .into_iter()
        .chain(run.approvals.iter().cloned())
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().map(move |name| {
        let digest = Digest::of(format!("{installation}\0{name}").as_bytes()).to_string();
        format!("admin-{}", digest.get(..12).unwrap_or(&digest))
    })
}
