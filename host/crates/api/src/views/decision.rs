//! Decisions of the policies as JSON: on tool calls, patches, risk, autonomy, and on
//! issues that may start without an admin.

use super::patch::{FactorView, FaultView, JudgementView, ModuleAnswerView, ReasonView};
use super::record::camel_keys;
use super::vocabulary;
use chrono::{DateTime, Utc};
use selfheal_domain::event::{Approval, Event, Record, ToolOutcome};
use selfheal_domain::external::ExternalOrigin;
use selfheal_domain::policy::{AgentPhase, Asked};
use selfheal_domain::risk::AutonomyAction;
use selfheal_domain::verdict::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What was decided on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DecisionKind {
    /// A tool call: allow, ask or deny.
    ToolCall,
    /// A finished patch: allow, ask or deny.
    Patch,
    /// How risky a patch is.
    Risk,
    /// What becomes of a patch.
    Autonomy,
    /// That an issue may start without an admin.
    Admission,
}

/// Which decisions come first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DecisionOrder {
    /// As they stand in the log.
    #[default]
    Oldest,
    /// The other way round.
    Newest,
}

impl DecisionKind {
    /// Of a record; none where it is no decision.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::ToolCalled(_) => Some(Self::ToolCall),
            Event::PatchDrafted { .. } => Some(Self::Patch),
            Event::RiskAssessed(_) => Some(Self::Risk),
            Event::AutonomyDecided(_) => Some(Self::Autonomy),
            Event::IssueApproved(Approval::Module { .. }) => Some(Self::Admission),
            _ => None,
        }
    }
}

/// One decision of the policies.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Decision)]
pub(crate) struct DecisionView {
    kind: DecisionKind,
    /// Of a decision on a tool call; the others are named by their position.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// Position of its record in the log.
    seq: u64,
    at: DateTime<Utc>,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue: Option<u64>,
    /// `diagnosis`, `drafting` or `verification`.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    /// Of a tool call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Bash")]
    tool: Option<String>,
    /// The call's input as JSON, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    /// On a tool call or a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<vocabulary::VerdictName>)]
    verdict: Option<String>,
    /// In one word or two, whatever its kind.
    #[schema(example = "review 2")]
    answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
    /// Why, in one sentence, where there is no rule to name.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// What each guardrail said.
    modules: Vec<ModuleAnswerView>,
    /// Reasons for a risk score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    factors: Vec<FactorView>,
    /// Risk and autonomy modules that misbehaved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    faults: Vec<FaultView>,
    /// Rules whose asking or denying did not count: an admin broke the glass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    granted: Vec<String>,
    policy_generation: u64,
    /// Who asked and what it was told, where an agent of another maker did.
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<External>,
    /// What the policies saw; for one decision only.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Value>,
    /// What came of it, once it ended; for one decision on a tool call only.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Value>,
}

/// An agent of another maker that asked before it acted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct External {
    #[schema(example = "claude-code")]
    agent: &'static str,
    /// The agent's own session.
    session: String,
    /// Its working directory.
    directory: String,
    /// What it was told: the stricter of what policies say and what the host insists
    /// on where no sandbox contains.
    #[schema(value_type = vocabulary::VerdictName)]
    answer: &'static str,
    /// Why, unless allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
}

impl From<&ExternalOrigin> for External {
    fn from(origin: &ExternalOrigin) -> Self {
        Self {
            agent: origin.agent.as_str(),
            session: origin.session.clone(),
            directory: origin.directory.clone(),
            answer: match origin.answer {
                Verdict::Allow => "allow",
                Verdict::Ask(_) => "ask",
                Verdict::Deny(_) => "deny",
            },
            reason: origin.answer.reason().map(ReasonView::from),
        }
    }
}

/// A page of decisions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionPage {
    pub(crate) items: Vec<DecisionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

impl DecisionView {
    /// For a list; none where the record is no decision.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let kind = DecisionKind::of(&record.event)?;
        let mut view = Self {
            kind,
            id: None,
            seq: record.seq,
            at: record.at,
            actor: record.actor.to_string(),
            issue: record.issue.map(|number| number.0),
            phase: None,
            tool: None,
            input: None,
            verdict: None,
            answer: String::new(),
            reason: None,
            because: None,
            modules: Vec::new(),
            factors: Vec::new(),
            faults: Vec::new(),
            granted: Vec::new(),
            policy_generation: 0,
            external: None,
            facts: None,
            outcome: None,
        };
        match &record.event {
            Event::ToolCalled(call) => {
                view.id = Some(call.id.0);
                view.phase = Some(phase_name(call.phase));
                view.tool = Some(call.facts.tool.clone());
                view.input = Some(call.facts.input.clone());
                view.external = call.external.as_deref().map(External::from);
                view.judged(JudgementView::from(&call.judgement));
            }
            Event::PatchDrafted { judgement, .. } => {
                view.phase = Some(phase_name(AgentPhase::Drafting));
                view.judged(JudgementView::from(judgement));
            }
            Event::RiskAssessed(assessment) => {
                let score = assessment.score;
                view.answer = format!("risk {}", score.get());
                view.because = Some(format!("{} risk", score.level()));
                view.factors = assessment.factors.iter().map(FactorView::from).collect();
                view.faults = assessment.faults.iter().map(FaultView::from).collect();
                view.policy_generation = assessment.generation;
            }
            Event::AutonomyDecided(decision) => {
                view.answer = match decision.action {
                    AutonomyAction::Apply => "apply".to_owned(),
                    AutonomyAction::Review(count) => format!("review {count}"),
                    AutonomyAction::Stop => "stop".to_owned(),
                };
                view.because = Some(decision.reason.clone());
                view.faults = decision.faults.iter().map(FaultView::from).collect();
                view.policy_generation = decision.generation;
            }
            Event::IssueApproved(Approval::Module {
                reason, generation, ..
            }) => {
                view.answer = "admit".to_owned();
                view.because = Some(reason.clone());
                view.policy_generation = *generation;
            }
            _ => return None,
        }
        Some(view)
    }

    fn judged(&mut self, judgement: JudgementView) {
        self.answer = match &judgement.reason {
            Some(reason) => format!("{} {}", judgement.verdict, reason.rule()),
            None => judgement.verdict.clone(),
        };
        self.verdict = Some(judgement.verdict);
        self.reason = judgement.reason;
        self.modules = judgement.modules;
        self.granted = judgement.granted;
        self.policy_generation = judgement.policy_generation;
    }

    /// With the facts and what came of it.
    pub(crate) fn in_full(record: &Record, outcome: Option<&ToolOutcome>) -> Option<Self> {
        Some(Self {
            facts: facts(&record.event),
            outcome: outcome.and_then(|outcome| serde_json::to_value(outcome).ok()),
            ..Self::of(record)?
        })
    }
}

fn phase_name(phase: AgentPhase) -> &'static str {
    match phase {
        AgentPhase::Diagnosis => "diagnosis",
        AgentPhase::Drafting => "drafting",
        AgentPhase::Verification => "verification",
    }
}

/// What the policies saw, without what is told elsewhere: a call's input, a patch's text.
fn facts(event: &Event) -> Option<Value> {
    let (facts, told): (Value, &[&str]) = match event {
        Event::ToolCalled(call) => (serde_json::to_value(&call.facts).ok()?, &["input", "tool"]),
        Event::PatchDrafted { judgement, .. } => asked(judgement.asked.as_deref())?,
        Event::RiskAssessed(assessment) => asked(assessment.asked.as_deref())?,
        Event::AutonomyDecided(decision) => asked(decision.asked.as_deref())?,
        Event::IssueApproved(Approval::Module { asked, .. }) => {
            let issue = asked.as_deref()?.issue.as_ref()?;
            (serde_json::to_value(issue).ok()?, &[])
        }
        _ => return None,
    };
    let mut facts = facts;
    if let Some(object) = facts.as_object_mut() {
        for key in told {
            object.remove(*key);
        }
        let files = object.get_mut("files").and_then(Value::as_array_mut);
        for file in files.into_iter().flatten().filter_map(Value::as_object_mut) {
            for lines in ["added", "removed"] {
                let count = file.get(lines).and_then(Value::as_array).map(Vec::len);
                if let Some(count) = count {
                    file.insert(lines.to_owned(), count.into());
                }
            }
        }
    }
    Some(camel_keys(facts))
}

fn asked(asked: Option<&Asked>) -> Option<(Value, &'static [&'static str])> {
    let patch = asked?.patch.as_ref()?;
    Some((serde_json::to_value(patch).ok()?, &["diff"]))
}
