//! Records of the log as JSON: a sentence for people, data for programs.

use chrono::{DateTime, Utc};
use selfheal_domain::account::AccountChange;
use selfheal_domain::event::{Approval, Event, Record, ReviewAnswer, ToolDecision, ToolOutcome};
use selfheal_domain::issue::SnoozeEnd;
use selfheal_domain::policy_control::Rollout;
use selfheal_domain::ports::{InclusionProof, SignedHead};
use selfheal_domain::risk::AutonomyAction;
use selfheal_domain::run::RetryFrom;
use selfheal_domain::service::ServiceNotice;
use selfheal_domain::user::{Actor, Role};
use selfheal_domain::verdict::Verdict;
use selfheal_domain::verification::{Verification, VerificationResult};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(crate) struct EventView {
    /// Position in the log, from 0.
    seq: u64,
    at: DateTime<Utc>,
    actor: String,
    /// `user`, `agent`, `host` or `operator`.
    actor_kind: &'static str,
    /// The issue's number, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    issue: Option<u64>,
    /// As in `issue.approved`.
    #[serde(rename = "type")]
    #[schema(example = "issue.approved")]
    kind: String,
    /// What happened, in plain words.
    summary: String,
    /// Details, by type; without file contents, agent logs and secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// A page of events, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventPage {
    pub(crate) items: Vec<EventView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A record of the audit log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditRecord {
    #[serde(flatten)]
    event: EventView,
    /// Hash of the record before; zeros for the first.
    previous: String,
    /// Hash of this record over its canonical bytes.
    hash: String,
}

/// A page of the audit log, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditPage {
    pub(crate) items: Vec<AuditRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// The signed head of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// Records.
    pub(crate) size: u64,
    /// Hash of the last record.
    pub(crate) head: String,
    /// Root of the Merkle tree (RFC 6962) over the hashes of all records.
    pub(crate) root: String,
    /// Name of the log.
    pub(crate) origin: String,
    /// Size and root, signed by the installation (C2SP tlog-checkpoint).
    pub(crate) checkpoint: String,
    /// Public key to verify it with, as in `NAME+ID+KEY`.
    pub(crate) key: String,
}

/// Proof that one record is in the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = InclusionProof)]
pub(crate) struct InclusionProofView {
    /// Position of the record, from 0.
    pub(crate) index: u64,
    /// Its hash, which is the data of its leaf.
    pub(crate) record: String,
    /// Hashes from the leaf to the root, lowest first.
    pub(crate) proof: Vec<String>,
    /// The head that it is proved under.
    #[serde(flatten)]
    pub(crate) head: Checkpoint,
}

impl From<SignedHead> for Checkpoint {
    fn from(head: SignedHead) -> Self {
        Self {
            size: head.size,
            head: head.head.to_string(),
            root: head.root.to_string(),
            origin: head.origin,
            checkpoint: head.note,
            key: head.key,
        }
    }
}

impl From<InclusionProof> for InclusionProofView {
    fn from(proof: InclusionProof) -> Self {
        Self {
            index: proof.index,
            record: proof.record.to_string(),
            proof: proof.hashes.iter().map(ToString::to_string).collect(),
            head: proof.head.into(),
        }
    }
}

impl From<&Record> for AuditRecord {
    fn from(record: &Record) -> Self {
        Self {
            event: EventView::of(record, Role::Auditor),
            previous: record.previous.to_string(),
            hash: record.hash.to_string(),
        }
    }
}

impl EventView {
    /// The record as somebody with `role` may see it.
    pub(crate) fn of(record: &Record, role: Role) -> Self {
        let (kind, data) = parts(&record.event);
        let open = matches!(role, Role::Admin | Role::Auditor)
            || matches!(
                kind.as_str(),
                "issue.opened" | "issue.commented" | "issue.triaged" | "issue.snoozed"
            );
        Self {
            seq: record.seq,
            at: record.at,
            actor: record.actor.to_string(),
            actor_kind: match record.actor {
                Actor::User(_) => "user",
                Actor::Agent(_) => "agent",
                Actor::Host => "host",
                Actor::Operator => "operator",
            },
            issue: record.issue.map(|number| number.0),
            kind,
            summary: summary(&record.event),
            data: data.filter(|_| open),
        }
    }
}

/// An event's name on the wire and its data, pruned and in camelCase.
fn parts(event: &Event) -> (String, Option<Value>) {
    let Ok(Value::Object(mut object)) = serde_json::to_value(event) else {
        return ("unknown".to_owned(), None);
    };
    let kind = match object.remove("type") {
        Some(Value::String(kind)) => kind,
        _ => "unknown".to_owned(),
    };
    let data = object
        .remove("data")
        .map(|data| camel_keys(prune(event, data)));
    (kind, data)
}

fn prune(event: &Event, mut data: Value) -> Value {
    let Some(object) = data.as_object_mut() else {
        return data;
    };
    match event {
        Event::PatchDrafted { patch, rivals, .. } => {
            let paths = patch
                .files
                .iter()
                .map(|file| Value::from(file.path.as_str()))
                .collect();
            let mut short = Map::new();
            short.insert("digest".to_owned(), Value::from(patch.digest.to_string()));
            short.insert("files".to_owned(), Value::Array(paths));
            object.insert("patch".to_owned(), Value::Object(short));
            object.insert("rivals".to_owned(), Value::from(rivals.len()));
            object.remove("log");
        }
        Event::DiagnosisFinished(diagnosis) => {
            object.remove("log");
            object.insert(
                "proposals".to_owned(),
                Value::from(diagnosis.proposals.len()),
            );
        }
        Event::UserSaved(account) => {
            object.remove("token_digest");
            object.remove("password_hash");
            object.remove("subject");
            let names = account.tokens.iter();
            let names = names.map(|token| Value::from(token.name.as_str()));
            object.insert("tokens".to_owned(), names.collect());
            object.insert(
                "has_token".to_owned(),
                Value::from(account.token_digest.is_some()),
            );
            object.insert(
                "has_password".to_owned(),
                Value::from(account.password_hash.is_some()),
            );
        }
        Event::UserChanged { .. } => {
            if let Some(Value::Object(change)) = object.get_mut("change") {
                change.remove("password_hash");
            }
        }
        Event::TokenCreated { token, .. } => {
            if let Some(Value::Object(shown)) = object.get_mut("token") {
                shown.remove("digest");
                shown.insert("id".to_owned(), Value::from(token.id()));
            }
        }
        _ => {}
    }
    data
}

pub(super) fn camel_keys(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (camel(&key), camel_keys(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(camel_keys).collect()),
        other => other,
    }
}

fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn failed_checks(verification: &Verification) -> String {
    let bad = verification
        .checks
        .iter()
        .filter(|check| check.result != VerificationResult::Pass);
    bad.map(|check| check.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn short(text: &str) -> String {
    const MOST: usize = 300;
    let mut cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// What happened, in plain words.
pub(crate) fn summary(event: &Event) -> String {
    match event {
        Event::IssueOpened { report, .. } => format!("reported: {}", report.title),
        Event::IssueCommented(comment) => format!("{} commented", comment.author),
        Event::IssueTriaged { severity, priority } => {
            let parts = [
                severity.map(|it| it.as_str()),
                priority.map(|it| it.as_str()),
            ];
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            format!("set to {}", parts.join(", "))
        }
        Event::IssueRelated { other } => format!("related to issue {other}"),
        Event::IssueSnoozed(SnoozeEnd::At { until }) => {
            format!("snoozed until {}", until.format("%Y-%m-%d %H:%M UTC"))
        }
        Event::IssueSnoozed(SnoozeEnd::News) => "snoozed until something happens".to_owned(),
        Event::IssueWoken => "its snooze was ended".to_owned(),
        Event::ViewSaved(view) => format!("{} keeps the view {:?}", view.owner, view.name),
        Event::ViewForgotten { owner, name } => {
            format!("the view {name:?} of {owner} is forgotten")
        }
        Event::IssueApproved(Approval::Admin { name }) => {
            format!("approved by {name}; an agent will start")
        }
        Event::IssueApproved(Approval::Module { reason, .. }) => {
            format!("may start without an admin: {}", short(reason))
        }
        Event::IssueRejected { reason } => format!("rejected: {}", short(reason)),
        Event::DiagnosisStarted { number, .. } => {
            format!("attempt {number}: looking for the cause")
        }
        Event::ToolCalled(decision) => tool_summary(decision),
        Event::ToolFinished { outcome, .. } => match outcome {
            ToolOutcome::Succeeded(text) => format!("done: {}", short(text)),
            ToolOutcome::Failed(text) => format!("failed: {}", short(text)),
            ToolOutcome::Unknown(text) => format!("outcome unknown: {}", short(text)),
        },
        Event::TrustLowered { trust, source } => format!(
            "text of trust class {} came in from {}",
            trust.as_str(),
            short(source)
        ),
        Event::DiagnosisFinished(diagnosis) => {
            format!("cause found: {}", short(&diagnosis.root_cause))
        }
        Event::RunObserved { level } => {
            format!("stopped before changing anything: the autonomy level is {level}")
        }
        Event::DraftingStarted => "writing a patch".to_owned(),
        Event::PatchDrafted { patch, .. } => format!("patch written; files: {}", patch.files.len()),
        Event::PatchProved(verification) => match verification.result() {
            VerificationResult::Pass => "the patch fixes the failure and the tests pass".to_owned(),
            _ => format!("the patch did not hold: {}", failed_checks(verification)),
        },
        Event::PatchRefuted { reason, .. } => format!("the patch did not hold: {}", short(reason)),
        Event::RiskAssessed(assessment) => {
            format!(
                "risk {} of 100 ({})",
                assessment.score.get(),
                assessment.score.level()
            )
        }
        Event::AutonomyDecided(decision) => match decision.action {
            AutonomyAction::Apply => "the patch may be applied without a review".to_owned(),
            AutonomyAction::Review(_) => "the patch waits for a review".to_owned(),
            AutonomyAction::Stop => {
                format!("the patch is not applied: {}", short(&decision.reason))
            }
        },
        Event::PatchReviewed {
            reviewer, answer, ..
        } => match answer {
            ReviewAnswer::Counted => {
                format!("{reviewer} approved the patch; another admin must agree")
            }
            ReviewAnswer::Approved => format!("{reviewer} approved the patch"),
            ReviewAnswer::Rejected { reason } => {
                format!("{reviewer} rejected the patch: {}", short(reason))
            }
            ReviewAnswer::SentBack { reason } => {
                format!("{reviewer} asked for another patch: {}", short(reason))
            }
        },
        Event::ApplyStarted { .. } => "applying the patch".to_owned(),
        Event::PatchApplied { commit, .. } => format!("patch applied in commit {commit}"),
        Event::ServiceRestarted { service, outcome } => match outcome {
            ToolOutcome::Succeeded(_) => format!("service {service} restarted"),
            ToolOutcome::Failed(_) => format!("service {service} did not come up"),
            ToolOutcome::Unknown(text) => format!("service {service}: {}", short(text)),
        },
        Event::ServiceOperated {
            service,
            operation,
            outcome,
        } => match outcome {
            ToolOutcome::Failed(text) => {
                let name = operation.name();
                format!("service {service} did not {name}: {}", short(text))
            }
            ToolOutcome::Succeeded(text) | ToolOutcome::Unknown(text) => {
                format!("service {service}: {}", short(text))
            }
        },
        Event::ServiceNoticed { service, notice } => match notice {
            ServiceNotice::Ended { detail } => format!("service {service} {}", short(detail)),
            ServiceNotice::CircuitOpened {
                crashes, detail, ..
            } => format!(
                "service {service} crashed {crashes} times in a row and stays down: {}",
                short(detail)
            ),
            ServiceNotice::CircuitClosed => format!("service {service} stays up again"),
            ServiceNotice::Adopted { pid } => {
                format!("service {service} outlived the host before; process {pid}")
            }
            ServiceNotice::LeftoverStopped { pid } => {
                format!("service {service}: process {pid} of the host before was stopped")
            }
        },
        Event::PolicyChanged(change) => match change.rollout {
            Rollout::Full => format!("policy generation {} is in force", change.generation),
            Rollout::Shadow => format!("policy generation {} is looked at", change.generation),
            Rollout::Canary { percent } => format!(
                "policy generation {} is in force for {percent} of 100 runs",
                change.generation
            ),
        },
        Event::PolicyRefused { reason, .. } => {
            format!("a change of the policies was refused: {}", short(reason))
        }
        Event::PolicyProposed(proposal) => format!(
            "policy proposal {} waits for a second admin",
            proposal.number
        ),
        Event::PolicyWithdrawn { proposal, reason } => {
            format!(
                "policy proposal {proposal} was withdrawn: {}",
                short(reason)
            )
        }
        Event::QuarantineChanged {
            module,
            quarantined: true,
            reason,
        } => format!("policy module {module} is in quarantine: {}", short(reason)),
        Event::QuarantineChanged { module, .. } => {
            format!("policy module {module} is out of quarantine")
        }
        Event::GrantGiven(grant) => format!(
            "GLASS BROKEN over rule {} until {}: {}",
            grant.rule,
            grant.until.format("%H:%M UTC"),
            short(&grant.reason)
        ),
        Event::GrantEnded { grant, reason } => {
            format!("break-glass grant {grant} ended: {}", short(reason))
        }
        Event::EnforcementChecked(status) if status.proved => {
            "every enforcement point refused its marker".to_owned()
        }
        Event::EnforcementChecked(_) => {
            "AN ENFORCEMENT POINT DID NOT REFUSE ITS MARKER: the host is frozen".to_owned()
        }
        Event::VerificationStarted => "checking the running application".to_owned(),
        Event::VerificationFinished(verification) => match verification.result() {
            VerificationResult::Pass => "all checks passed".to_owned(),
            VerificationResult::Fail => format!("checks failed: {}", failed_checks(verification)),
            VerificationResult::Inconclusive => {
                "the checks could not tell; treated as failed".to_owned()
            }
        },
        Event::IssueResolved => "resolved".to_owned(),
        Event::RollbackStarted { reason } => format!("undoing the patch: {}", short(reason)),
        Event::RollbackCommitted { commit } => match commit {
            Some(commit) => format!("patch undone in commit {commit}"),
            None => "undone; no commit had been made".to_owned(),
        },
        Event::RunFailed { reason } => format!("the attempt failed: {}", short(reason)),
        Event::RunRetried => "another attempt follows".to_owned(),
        Event::RunInterrupted => "the host stopped during the attempt; it starts over".to_owned(),
        Event::IssueEscalated { reason } => format!("people must look at it: {}", short(reason)),
        Event::AbortStarted { reason } => {
            format!("aborting, undoing what was applied: {}", short(reason))
        }
        Event::IssueAborted { reason } => format!("aborted: {}", short(reason)),
        Event::IssueRetried { from, .. } => match from {
            RetryFrom::Diagnose => "an admin started another attempt".to_owned(),
            RetryFrom::Draft => {
                "an admin started another attempt; the cause that was found is kept".to_owned()
            }
            RetryFrom::Prove => {
                "an admin started another attempt; cause and patch are kept".to_owned()
            }
        },
        Event::IssueReopened { reason } => format!("came back: {}", short(reason)),
        Event::HostStarted { version, .. } => format!("host {version} started"),
        Event::HostStopped => "host stopped".to_owned(),
        Event::UserErased { .. } => "personal data of a user erased".to_owned(),
        Event::UserSaved(account) => {
            format!("account {} saved with role {}", account.name, account.role)
        }
        Event::UserChanged { name, change } => match change {
            AccountChange::Role { role } => format!("{name} has the role {role} now"),
            AccountChange::Password { .. } => format!("{name} has another password"),
            AccountChange::Disabled => format!("account {name} disabled"),
            AccountChange::Enabled => format!("account {name} enabled again"),
        },
        Event::TokenCreated { name, token } => {
            let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
            format!(
                "token {:?} of {name} made, for: {}",
                short(&token.name),
                scopes.join(", ")
            )
        }
        Event::TokenRevoked { name, id } => format!("token {id} of {name} revoked"),
        Event::TokenUsed { name, id } => format!("token {id} of {name} is in use"),
        Event::SessionOpened { name } => format!("{name} logged in"),
        Event::SessionRefused { name } => format!("log-in as {name:?} refused"),
        Event::SessionClosed { name } => format!("{name} logged out"),
        Event::AutonomyChanged { level, reason } => {
            format!("autonomy level set to {level}: {}", short(reason))
        }
        Event::FreezeChanged {
            frozen: true,
            reason,
        } => format!("healing frozen: {}", short(reason)),
        Event::FreezeChanged {
            frozen: false,
            reason,
        } => format!("healing goes on: {}", short(reason)),
    }
}

fn tool_summary(decision: &ToolDecision) -> String {
    let tool = &decision.facts.tool;
    match &decision.judgement.verdict {
        Verdict::Allow if decision.judgement.granted.is_empty() => format!("{tool} allowed"),
        Verdict::Allow => format!(
            "{tool} allowed OVER BROKEN GLASS: {}",
            decision.judgement.granted.join(", ")
        ),
        Verdict::Ask(reason) => format!(
            "{tool} not allowed without an admin: {}",
            short(&reason.message)
        ),
        Verdict::Deny(reason) => format!("{tool} denied: {}", short(&reason.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_domain::account::Standing;
    use selfheal_domain::token::{AccessToken, Scope};
    use selfheal_domain::user::{Account, UserName};

    fn a_token() -> AccessToken {
        AccessToken {
            name: "ci".into(),
            digest: "d".repeat(64),
            scopes: vec![Scope::Read],
            created_at: DateTime::<Utc>::MIN_UTC,
            expires_at: None,
            last_used: None,
        }
    }

    #[test]
    fn no_secret_of_an_account_leaves_through_the_log() {
        let event = Event::UserSaved(Account {
            name: UserName::new("ada").unwrap(),
            role: Role::Admin,
            token_digest: Some("d".repeat(64)),
            password_hash: Some("$argon2id$secret".into()),
            tokens: vec![a_token()],
            subject: None,
            standing: Standing::Open,
        });
        let (kind, data) = parts(&event);
        let text = data.unwrap().to_string();
        assert_eq!(kind, "user.saved");
        assert!(
            !text.contains("argon2id") && !text.contains("dddd"),
            "{text}"
        );
        assert!(text.contains("\"tokens\":[\"ci\"]"), "{text}");
        let changed = Event::UserChanged {
            name: UserName::new("ada").unwrap(),
            change: AccountChange::Password {
                password_hash: "$argon2id$secret".into(),
            },
        };
        let shown = parts(&changed).1.unwrap();
        assert_eq!(
            shown,
            serde_json::json!({"name": "ada", "change": {"kind": "password"}})
        );
        let created = Event::TokenCreated {
            name: UserName::new("ada").unwrap(),
            token: a_token(),
        };
        let shown = parts(&created).1.unwrap();
        assert_eq!(shown["token"]["id"], "d".repeat(16));
        assert!(shown["token"].get("digest").is_none(), "{shown}");
        assert!(
            text.contains("\"hasToken\":true") && text.contains("\"hasPassword\":true"),
            "{text}"
        );
    }

    #[test]
    fn keys_become_camel_case_at_every_depth() {
        let value = serde_json::json!({"a_b": [{"c_d_e": 1, "gone": null}], "plain": "x_y"});
        assert_eq!(
            camel_keys(value),
            serde_json::json!({"aB": [{"cDE": 1}], "plain": "x_y"})
        );
    }
}
