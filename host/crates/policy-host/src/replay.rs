//! Asks recorded questions again, from the records alone: what a set would have
//! answered, and what a candidate would change. Nothing is counted, nothing is
//! remembered, no clock or grant has a say.
//!
//! Each module is asked once per question: where both sets hold the same module with
//! the same settings and see the same situation, its answer serves both.

use crate::abi::{Question, Subject};
use crate::set::{Reply, Said, SetCore, admission, assessment, decision, judgement};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Approval, Event, Record};
use selfheal_domain::policy::{Asked, ModuleKind, ToolCallFacts};
use selfheal_domain::policy_control::{ChangedDecision, Explained, PolicyPlan};
use selfheal_domain::ports::{EventStore, StoreError};
use selfheal_domain::risk::{
    Admission, AutonomyAction, AutonomyDecision, AutonomyLevel, RiskFactor, RiskScore,
};
use selfheal_domain::verdict::{Answer, Fault, Judgement, Reason, Verdict};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Changed decisions shown of each sort.
const EXAMPLES: usize = 20;
/// Decisions that a thread takes at a time.
const BATCH: usize = 32;
/// Longest line that says what was asked, in characters.
const LINE: usize = 120;

/// A recorded question with its recorded answer.
pub(crate) struct Recorded {
    pub(crate) seq: u64,
    pub(crate) asked: Box<Asked>,
    pub(crate) generation: u64,
    facts: Option<ToolCallFacts>,
    kind: ModuleKind,
    pub(crate) answer: Outcome,
    /// What each module said, as recorded.
    pub(crate) modules: Vec<Explained>,
}

/// What a set answers to a question.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Outcome {
    Verdict(Verdict),
    Score(RiskScore, Vec<RiskFactor>),
    Action(AutonomyAction, String),
    Admission(Admission),
}

impl Outcome {
    /// Higher is stricter; comparable within one kind of question.
    pub(crate) fn strictness(&self) -> u32 {
        match self {
            Self::Verdict(verdict) => u32::from(verdict.strictness()),
            Self::Score(score, _) => u32::from(score.get()),
            Self::Action(AutonomyAction::Apply, _) => 0,
            Self::Action(AutonomyAction::Review(count), _) => count.saturating_add(1),
            Self::Action(AutonomyAction::Stop, _) => u32::MAX,
            Self::Admission(Admission::Admit(_)) => 0,
            Self::Admission(Admission::NeedsAdmin(_)) => 1,
        }
    }

    /// As in `deny shell.git-push`, `risk 12`, `review 2`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Verdict(verdict) => said_verdict(verdict),
            Self::Score(score, _) => format!("risk {}", score.get()),
            Self::Action(AutonomyAction::Apply, _) => "apply".to_owned(),
            Self::Action(AutonomyAction::Review(count), _) => format!("review {count}"),
            Self::Action(AutonomyAction::Stop, _) => "stop".to_owned(),
            Self::Admission(Admission::Admit(_)) => "admit".to_owned(),
            Self::Admission(Admission::NeedsAdmin(reason)) => {
                format!("needs-admin {}", reason.rule)
            }
        }
    }

    /// The reason, where there is one.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Verdict(verdict) => verdict.reason().cloned(),
            Self::Admission(Admission::NeedsAdmin(reason)) => Some(reason.clone()),
            Self::Action(_, reason) => Some(Reason::new("autonomy", reason.clone())),
            Self::Score(..) | Self::Admission(Admission::Admit(_)) => None,
        }
    }

    /// Whether `recorded` is this answer. The host may have been stricter than its
    /// autonomy modules when it recorded what happens to a patch.
    pub(crate) fn is(&self, recorded: &Self) -> bool {
        match (self, recorded) {
            (Self::Action(said, _), Self::Action(done, _)) if said != done => {
                said.stricter(*done) == *done
            }
            _ => self == recorded,
        }
    }
}

fn said_verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Ask(reason) => format!("ask {}", reason.rule),
        Verdict::Deny(reason) => format!("deny {}", reason.rule),
    }
}

impl Recorded {
    /// The question in a record; none where the record is no decision, or does not
    /// say what was asked, or only tried whether it is refused.
    pub(crate) fn of(record: Record) -> Option<Self> {
        let seq = record.seq;
        let (asked, generation, facts, kind, answer, modules) = match record.event {
            Event::ToolCalled(call) if !call.facts.bears_marker() => {
                let (answer, modules) = recorded_verdict(&call.judgement);
                let generation = call.judgement.generation;
                let asked = call.judgement.asked?;
                (
                    asked,
                    generation,
                    Some(call.facts),
                    ModuleKind::Guardrail,
                    answer,
                    modules,
                )
            }
            Event::PatchDrafted { judgement, .. } => {
                let (answer, modules) = recorded_verdict(&judgement);
                let generation = judgement.generation;
                (
                    judgement.asked?,
                    generation,
                    None,
                    ModuleKind::Guardrail,
                    answer,
                    modules,
                )
            }
            Event::RiskAssessed(assessment) => {
                let all = Explained {
                    module: "all risk modules".to_owned(),
                    answer: format!("score {}", assessment.score.get()),
                    reason: None,
                    factors: factors(&assessment.factors),
                    decided: true,
                };
                let modules = with_faults(all, &assessment.faults);
                let answer = Outcome::Score(assessment.score, assessment.factors);
                (
                    assessment.asked?,
                    assessment.generation,
                    None,
                    ModuleKind::Risk,
                    answer,
                    modules,
                )
            }
            Event::AutonomyDecided(decision) => return Self::of_autonomy(seq, decision),
            Event::IssueApproved(Approval::Module {
                reason,
                generation,
                asked,
            }) => {
                let all = Explained {
                    module: "all autonomy modules".to_owned(),
                    answer: "admit".to_owned(),
                    reason: None,
                    factors: Vec::new(),
                    decided: true,
                };
                let answer = Outcome::Admission(Admission::Admit(reason));
                (
                    asked?,
                    generation,
                    None,
                    ModuleKind::Autonomy,
                    answer,
                    vec![all],
                )
            }
            _ => return None,
        };
        let recorded = Self {
            seq,
            asked,
            generation,
            facts,
            kind,
            answer,
            modules,
        };
        recorded.subject().is_some().then_some(recorded)
    }

    /// The question of an autonomy decision; none where the record does not say.
    fn of_autonomy(seq: u64, decision: AutonomyDecision) -> Option<Self> {
        let answer = Outcome::Action(decision.action, decision.reason);
        let all = Explained {
            module: "all autonomy modules".to_owned(),
            answer: answer.text(),
            reason: answer.reason(),
            factors: Vec::new(),
            decided: true,
        };
        let recorded = Self {
            seq,
            modules: with_faults(all, &decision.faults),
            asked: decision.asked?,
            generation: decision.generation,
            facts: None,
            kind: ModuleKind::Autonomy,
            answer,
        };
        recorded.subject().is_some().then_some(recorded)
    }

    fn subject(&self) -> Option<Subject<'_>> {
        if let Some(facts) = &self.facts {
            return Some(Subject::ToolCall(facts));
        }
        match (
            &self.asked.issue,
            &self.asked.patch,
            &self.asked.assessment,
            self.kind,
        ) {
            (Some(issue), ..) => Some(Subject::Issue(issue)),
            (None, Some(patch), Some(assessment), ModuleKind::Autonomy) => {
                Some(Subject::Assessed(patch, assessment))
            }
            (None, Some(patch), _, ModuleKind::Guardrail | ModuleKind::Risk) => {
                Some(Subject::Patch(patch))
            }
            _ => None,
        }
    }

    /// What was asked, in one line.
    pub(crate) fn line(&self) -> String {
        let text = match self.subject() {
            Some(Subject::ToolCall(call)) => {
                let input: serde_json::Value =
                    serde_json::from_str(&call.input).unwrap_or_default();
                let fields = ["command", "path", "pattern", "url"];
                let said = fields
                    .iter()
                    .find_map(|field| input.get(field)?.as_str())
                    .unwrap_or(&call.input);
                format!("{}: {said}", call.tool)
            }
            Some(Subject::Patch(patch) | Subject::Assessed(patch, _)) => {
                let files: Vec<&str> = patch.files.iter().map(|file| file.path.as_str()).collect();
                format!("patch of {}", files.join(", "))
            }
            Some(Subject::Issue(issue)) => {
                format!(
                    "issue {}: {} {}",
                    issue.number, issue.severity, issue.category
                )
            }
            None => String::new(),
        };
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LINE)
            .collect();
        if text.chars().count() > LINE {
            format!("{line}…")
        } else {
            line
        }
    }

    /// Asks sets, one after the other; what they share is asked once.
    pub(crate) fn ask<'s, const N: usize>(&self, sets: [&'s SetCore; N]) -> Option<[Again<'s>; N]> {
        let subject = self.subject()?;
        let contexts = sets.map(|set| set.capped(&self.asked.context));
        let mut memo: Vec<(usize, Digest, Result<Said, Fault>)> = Vec::new();
        let mut questions: Vec<Question<'_>> = Vec::with_capacity(N);
        // The first set that sees the same situation lends its question.
        let mut lender = [0; N];
        for (at, context) in contexts.iter().enumerate() {
            let same = contexts.iter().take(at).position(|other| other == context);
            if let Some(slot) = lender.get_mut(at) {
                *slot = same.unwrap_or(at);
            }
            questions.push(Question::new(context, self.asked.history.clone(), subject));
        }
        let mut at = 0;
        Some(sets.map(|set| {
            let lent = lender.get(at).copied().unwrap_or(at);
            at += 1;
            let replies = set.replies(self.kind, |_, loaded| {
                let known = memo
                    .iter()
                    .find(|(question, print, _)| *question == lent && *print == loaded.fingerprint);
                if let Some((_, _, said)) = known {
                    return said.clone();
                }
                let said = match questions.get(lent) {
                    Some(question) => loaded.ask(question),
                    None => Err(Fault::Silence),
                };
                memo.push((lent, loaded.fingerprint, said.clone()));
                said
            });
            let faults = replies.iter().filter(|reply| reply.said.is_err()).count() as u64;
            let level = contexts
                .get(lent)
                .map_or(self.asked.context.level, |context| context.level);
            let environment = contexts
                .get(lent)
                .map_or(self.asked.context.environment, |context| {
                    context.environment
                });
            let kept = replies.clone();
            let outcome = match subject {
                Subject::Issue(_) => Outcome::Admission(admission(replies, environment)),
                Subject::Assessed(patch, assessed) => {
                    let decision = decision(0, replies, level, patch, assessed);
                    Outcome::Action(decision.action, decision.reason)
                }
                Subject::Patch(_) if self.kind == ModuleKind::Risk => {
                    let assessment = assessment(0, replies, false);
                    Outcome::Score(assessment.score, assessment.factors)
                }
                Subject::ToolCall(_) | Subject::Patch(_) => {
                    Outcome::Verdict(judgement(0, replies, &[], false).verdict)
                }
            };
            Again {
                outcome,
                replies: kept,
                faults,
            }
        }))
    }
}

/// What a set answers when it is asked again.
pub(crate) struct Again<'s> {
    pub(crate) outcome: Outcome,
    replies: Vec<Reply<'s>>,
    pub(crate) faults: u64,
}

impl Again<'_> {
    /// What each module says.
    pub(crate) fn modules(&self) -> Vec<Explained> {
        let mut decided = false;
        let explained = self.replies.iter().map(|reply| {
            let name = &reply.loaded.identity.name;
            let module = if reply.counts() {
                name.clone()
            } else {
                format!("shadow:{name}")
            };
            let said = match &reply.said {
                Ok(Said::Verdict(verdict)) => Ok(Outcome::Verdict(verdict.clone())),
                Ok(Said::Score(score, factors)) => Ok(Outcome::Score(*score, factors.clone())),
                Ok(Said::Action(action, reason)) => Ok(Outcome::Action(*action, reason.clone())),
                Ok(Said::Admission(admission)) => Ok(Outcome::Admission(admission.clone())),
                Err(fault) => Err(fault),
            };
            let same = match &said {
                Ok(said) => said.strictness() == self.outcome.strictness(),
                Err(_) => true,
            };
            let decides = reply.counts() && same && !decided;
            decided |= decides;
            let (answer, reason, found) = match said {
                Ok(Outcome::Score(score, list)) => {
                    (format!("score {}", score.get()), None, factors(&list))
                }
                Ok(said) => (said.text(), said.reason(), Vec::new()),
                Err(fault) => (format!("fault: it {fault}"), None, Vec::new()),
            };
            Explained {
                module,
                answer,
                reason,
                factors: found,
                decided: decides,
            }
        });
        explained.collect()
    }
}

fn factors(list: &[RiskFactor]) -> Vec<(String, u32, String)> {
    let told = |factor: &RiskFactor| (factor.name.clone(), factor.points, factor.evidence.clone());
    list.iter().map(told).collect()
}

fn with_faults(all: Explained, faults: &[(String, Fault)]) -> Vec<Explained> {
    let faulty = faults.iter().map(|(module, fault)| Explained {
        module: module.clone(),
        answer: format!("fault: it {fault}"),
        reason: None,
        factors: Vec::new(),
        decided: false,
    });
    std::iter::once(all).chain(faulty).collect()
}

/// The recorded verdict as the modules gave it, whatever was granted at the time.
fn recorded_verdict(judgement: &Judgement) -> (Outcome, Vec<Explained>) {
    let counted = judgement
        .answers
        .iter()
        .filter(|answer| !answer.is_shadow());
    let verdict = Judgement::merge(judgement.generation, counted.cloned().collect()).verdict;
    let mut decided = false;
    let modules = judgement.answers.iter().map(|answer| {
        let said: Verdict = match &answer.answer {
            Answer::Verdict(verdict) => verdict.clone(),
            Answer::Fault(fault) => fault.clone().into(),
        };
        let decides = !decided && !answer.is_shadow() && said.strictness() == verdict.strictness();
        decided |= decides;
        Explained {
            module: answer.module.clone(),
            answer: match &answer.answer {
                Answer::Verdict(verdict) => said_verdict(verdict),
                Answer::Fault(fault) => format!("fault: it {fault}"),
            },
            reason: said.reason().cloned(),
            factors: Vec::new(),
            decided: decides,
        }
    });
    let modules = modules.collect();
    (Outcome::Verdict(verdict), modules)
}

/// What a set says to the question of a recorded decision, were the level this one.
pub(crate) fn decide_again(
    set: &SetCore,
    decision: &AutonomyDecision,
    level: AutonomyLevel,
) -> Option<AutonomyDecision> {
    let mut recorded = Recorded::of_autonomy(0, decision.clone())?;
    recorded.asked.context.level = level;
    let [again] = recorded.ask([set])?;
    match again.outcome {
        Outcome::Action(action, reason) => Some(AutonomyDecision {
            action,
            reason,
            faults: Vec::new(),
            generation: decision.generation,
            asked: None,
        }),
        _ => None,
    }
}

/// What replaying found, beside the plan.
#[derive(Default)]
pub(crate) struct Replayed {
    pub(crate) plan: PolicyPlan,
    /// Tool calls that the set in force asks about or denies, of `tool_calls`.
    pub(crate) refused: u64,
    pub(crate) tool_calls: u64,
}

/// Asks the latest `decisions` recorded questions of both sets, on all processors.
pub(crate) fn replay(
    store: &dyn EventStore,
    in_force: &SetCore,
    candidate: &SetCore,
    decisions: u64,
) -> Result<Replayed, StoreError> {
    let limit = usize::try_from(decisions).unwrap_or(usize::MAX);
    let seqs = store.decisions(None, limit)?;
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let work = || -> Result<Replayed, StoreError> {
        let mut found = Replayed::default();
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = seqs.get(start..seqs.len().min(start.saturating_add(BATCH))) else {
                return Ok(found);
            };
            if batch.is_empty() {
                return Ok(found);
            }
            for seq in batch {
                let Some(record) = store.record(*seq)? else {
                    continue;
                };
                one(record, in_force, candidate, &mut found);
            }
        }
    };
    let parts: Vec<Result<Replayed, StoreError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let gone = |_| {
            Err(StoreError::Read(
                "a thread that replays decisions died".into(),
            ))
        };
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(gone))
            .collect()
    });
    let mut all = Replayed::default();
    for part in parts {
        let part = part?;
        all.refused += part.refused;
        all.tool_calls += part.tool_calls;
        let (sum, plan) = (&mut all.plan, part.plan);
        sum.replayed += plan.replayed;
        sum.reproduced += plan.reproduced;
        sum.skipped += plan.skipped;
        sum.loosened += plan.loosened;
        sum.tightened += plan.tightened;
        sum.reworded += plan.reworded;
        sum.faults += plan.faults;
        sum.loosening.extend(plan.loosening);
        sum.tightening.extend(plan.tightening);
    }
    for list in [&mut all.plan.loosening, &mut all.plan.tightening] {
        list.sort_by_key(|changed| std::cmp::Reverse(changed.seq));
        list.truncate(EXAMPLES);
    }
    Ok(all)
}

fn one(record: Record, in_force: &SetCore, candidate: &SetCore, found: &mut Replayed) {
    let proving = matches!(&record.event, Event::ToolCalled(call) if call.facts.bears_marker());
    let Some(recorded) = Recorded::of(record) else {
        if !proving {
            found.plan.skipped += 1;
        }
        return;
    };
    let Some([before, after]) = recorded.ask([in_force, candidate]) else {
        found.plan.skipped += 1;
        return;
    };
    let plan = &mut found.plan;
    plan.replayed += 1;
    plan.reproduced += u64::from(before.outcome.is(&recorded.answer));
    plan.faults += after.faults;
    if recorded.facts.is_some() {
        found.tool_calls += 1;
        found.refused += u64::from(before.outcome.strictness() > 0);
    }
    match difference(&recorded, &before.outcome, &after.outcome) {
        Difference::None => {}
        Difference::Reworded => plan.reworded += 1,
        Difference::Looser(changed) => {
            plan.loosened += 1;
            if plan.loosening.len() < EXAMPLES {
                plan.loosening.push(changed);
            }
        }
        Difference::Stricter(changed) => {
            plan.tightened += 1;
            if plan.tightening.len() < EXAMPLES {
                plan.tightening.push(changed);
            }
        }
    }
}

/// How two answers to one question differ.
pub(crate) enum Difference {
    None,
    Reworded,
    Looser(ChangedDecision),
    Stricter(ChangedDecision),
}

/// From `before` to `after`.
pub(crate) fn difference(recorded: &Recorded, before: &Outcome, after: &Outcome) -> Difference {
    if before == after {
        return Difference::None;
    }
    let changed = |stricter: &Outcome| ChangedDecision {
        seq: recorded.seq,
        question: recorded.line(),
        before: before.text(),
        after: after.text(),
        reason: stricter.reason(),
    };
    match after.strictness().cmp(&before.strictness()) {
        std::cmp::Ordering::Less => Difference::Looser(changed(before)),
        std::cmp::Ordering::Equal => Difference::Reworded,
        std::cmp::Ordering::Greater => Difference::Stricter(changed(after)),
    }
}
