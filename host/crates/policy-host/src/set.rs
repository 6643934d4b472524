//! One immutable generation of modules. Every question is answered: a fault, a
//! silence or an unknown answer is the strictest one (invariant 3), and answers
//! only ever merge towards the stricter (invariant 5).
//!
//! Shadow modules are asked too. Their answers are recorded under the name
//! `shadow:NAME` and never merged; that happens here, after the verdict, and
//! nowhere else.

use crate::abi::{Question, Subject};
use crate::config::ModuleMode;
use crate::history::History;
use crate::loader::LoadedModule;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{
    Environment, IssueFacts, ModuleIdentity, ModuleKind, PatchFacts, PolicyContext, PolicySet,
    ToolCallFacts,
};
use selfheal_domain::risk::{
    Admission, Assessment, AutonomyAction, AutonomyDecision, AutonomyLevel, RiskLevel, RiskScore,
};
use selfheal_domain::verdict::{Answer, Fault, Judgement, ModuleAnswer, Reason, Verdict};
use std::sync::Arc;
use std::time::Instant;

/// A policy set in force, or once in force.
pub struct ActiveSet {
    pub(crate) generation: u64,
    pub(crate) core: Arc<SetCore>,
}

/// What a set is made of; shared between preparing and activating.
pub(crate) struct SetCore {
    pub(crate) digest: Digest,
    pub(crate) environment: Environment,
    pub(crate) ceiling: AutonomyLevel,
    pub(crate) modules: Vec<LoadedModule>,
    pub(crate) history: Arc<History>,
}

/// Name under which nobody's silence is reported.
const NOBODY: &str = "policy-set";

impl ActiveSet {
    /// JSON Schema of a module's settings, by the module's name.
    pub fn settings_schema(&self, module: &str) -> Option<&str> {
        let found = self
            .core
            .modules
            .iter()
            .find(|loaded| loaded.identity.name == module);
        found.map(|loaded| loaded.settings_schema.as_str())
    }

    fn of_kind(&self, kind: ModuleKind) -> impl Iterator<Item = &LoadedModule> {
        self.core
            .modules
            .iter()
            .filter(move |loaded| loaded.identity.kind == kind)
    }

    /// The context with the level cut to the ceiling, and the stricter of both
    /// environments.
    fn capped(&self, context: &PolicyContext) -> PolicyContext {
        let mut capped = context.clone();
        capped.level = context.level.min(self.core.ceiling);
        if strictness(self.core.environment) > strictness(context.environment) {
            capped.environment = self.core.environment;
        }
        capped
    }

    /// The question as all modules of the set are asked it.
    fn question<'a>(&self, context: &'a PolicyContext, subject: Subject<'a>) -> Question<'a> {
        Question::new(context, self.core.history.of(context), subject)
    }

    /// Asks all guardrails; `judged` is the text that evidence points into.
    fn judge(&self, question: &Question<'_>, judged: &str) -> Judgement {
        let mut enforced = Vec::new();
        let mut shadow = Vec::new();
        for loaded in self.of_kind(ModuleKind::Guardrail) {
            let started = Instant::now();
            let answer = loaded.module.judge(question);
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let answer = answer.map_or_else(Answer::Fault, |verdict| {
                Answer::Verdict(placed(verdict, judged))
            });
            let mut answer = ModuleAnswer {
                module: loaded.identity.name.clone(),
                digest: loaded.identity.digest,
                answer,
                micros,
            };
            if counts(loaded) {
                enforced.push(answer);
            } else {
                answer.module = format!("shadow:{}", answer.module);
                shadow.push(answer);
            }
        }
        let mut judgement = Judgement::merge(self.generation, enforced);
        judgement.answers.extend(shadow);
        judgement.asked = Some(question.asked());
        judgement
    }
}

/// The verdict with its evidence found in the judged text.
fn placed(verdict: Verdict, judged: &str) -> Verdict {
    let place = |mut reason: Reason| {
        reason.evidence = reason.evidence.map(|evidence| evidence.found_in(judged));
        reason
    };
    match verdict {
        Verdict::Allow => Verdict::Allow,
        Verdict::Ask(reason) => Verdict::Ask(place(reason)),
        Verdict::Deny(reason) => Verdict::Deny(place(reason)),
    }
}

fn counts(loaded: &LoadedModule) -> bool {
    loaded.mode == ModuleMode::Enforce
}

fn strictness(environment: Environment) -> u8 {
    match environment {
        Environment::Local => 0,
        Environment::Dev => 1,
        Environment::Staging => 2,
        Environment::Production => 3,
    }
}

/// The least that the configured level demands, whatever modules say.
fn floor(
    level: AutonomyLevel,
    patch: &PatchFacts,
    risk: RiskLevel,
) -> (AutonomyAction, &'static str) {
    if patch.files.iter().any(|file| file.test) {
        return (
            AutonomyAction::Review(1),
            "the patch edits tests, which is never applied without review",
        );
    }
    match level {
        AutonomyLevel::Observe => (
            AutonomyAction::Review(1),
            "level 0 changes nothing by itself",
        ),
        AutonomyLevel::Suggest => (
            AutonomyAction::Review(1),
            "level 1 has every patch reviewed",
        ),
        AutonomyLevel::AutoLow if risk > RiskLevel::Low => {
            (AutonomyAction::Review(1), "level 2 applies low risk only")
        }
        AutonomyLevel::AutoLow | AutonomyLevel::AutoAll => {
            (AutonomyAction::Apply, "the level allows it")
        }
    }
}

impl PolicySet for ActiveSet {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn digest(&self) -> Digest {
        self.core.digest
    }

    fn modules(&self) -> Vec<ModuleIdentity> {
        self.core
            .modules
            .iter()
            .map(|loaded| loaded.identity.clone())
            .collect()
    }

    fn judge_tool_call(&self, context: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        let context = self.capped(context);
        let question = self.question(&context, Subject::ToolCall(call));
        let judgement = self.judge(&question, &call.input);
        self.core.history.record(&context, call, &judgement.verdict);
        judgement
    }

    fn judge_patch(&self, context: &PolicyContext, patch: &PatchFacts) -> Judgement {
        let context = self.capped(context);
        let question = self.question(&context, Subject::Patch(patch));
        self.judge(&question, &patch.diff)
    }

    fn assess(&self, context: &PolicyContext, patch: &PatchFacts) -> Assessment {
        let context = self.capped(context);
        let question = self.question(&context, Subject::Patch(patch));
        let mut merged: Option<RiskScore> = None;
        let mut factors = Vec::new();
        let mut faults = Vec::new();
        for loaded in self.of_kind(ModuleKind::Risk) {
            let answer = loaded.module.assess(&question);
            if !counts(loaded) {
                shadow_log(loaded, "assess", &answer);
                continue;
            }
            let score = match answer {
                Ok((score, found)) => {
                    factors.extend(found);
                    score
                }
                Err(fault) => {
                    faults.push((loaded.identity.name.clone(), fault));
                    RiskScore::MAX
                }
            };
            merged = merged.max(Some(score));
        }
        let score = merged.unwrap_or_else(|| {
            faults.push((NOBODY.to_owned(), Fault::Silence));
            RiskScore::MAX
        });
        Assessment {
            score,
            factors,
            faults,
            generation: self.generation,
            asked: Some(question.asked()),
        }
    }

    fn decide(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
        assessment: &Assessment,
    ) -> AutonomyDecision {
        let context = self.capped(context);
        let question = self.question(&context, Subject::Assessed(patch, assessment));
        let mut merged: Option<(AutonomyAction, String)> = None;
        let mut faults = Vec::new();
        for loaded in self.of_kind(ModuleKind::Autonomy) {
            let answer = loaded.module.decide(&question);
            if !counts(loaded) {
                shadow_log(loaded, "decide", &answer);
                continue;
            }
            let decision = answer.unwrap_or_else(|fault| {
                let reason = format!(
                    "policy module `{}` failed: it {fault}",
                    loaded.identity.name
                );
                faults.push((loaded.identity.name.clone(), fault));
                (AutonomyAction::Stop, reason)
            });
            merged = Some(stricter(merged, decision));
        }
        let decision = merged.unwrap_or_else(|| {
            faults.push((NOBODY.to_owned(), Fault::Silence));
            (AutonomyAction::Stop, Fault::Silence.to_string())
        });
        let (least, why) = floor(context.level, patch, assessment.score.level());
        let (action, reason) = stricter(Some(decision), (least, why.to_owned()));
        AutonomyDecision {
            action,
            reason,
            faults,
            generation: self.generation,
            asked: Some(question.asked()),
        }
    }

    fn admit(&self, context: &PolicyContext, issue: &IssueFacts) -> Admission {
        let context = self.capped(context);
        let question = self.question(&context, Subject::Issue(issue));
        let mut merged: Option<Admission> = None;
        for loaded in self.of_kind(ModuleKind::Autonomy) {
            let answer = loaded.module.admit(&question);
            if !counts(loaded) {
                shadow_log(loaded, "admit", &answer);
                continue;
            }
            let admission = answer.unwrap_or_else(|fault| {
                let message = format!(
                    "policy module `{}` failed: it {fault}",
                    loaded.identity.name
                );
                Admission::NeedsAdmin(Reason::new("host.fault", message))
            });
            merged = match merged {
                Some(Admission::NeedsAdmin(reason)) => Some(Admission::NeedsAdmin(reason)),
                Some(Admission::Admit(_)) | None => Some(admission),
            };
        }
        let merged = merged.unwrap_or_else(|| {
            Admission::NeedsAdmin(Reason::new("host.silence", Fault::Silence.to_string()))
        });
        match (merged, context.environment) {
            // The host's own rule, whatever modules say.
            (Admission::Admit(_), Environment::Production) => Admission::NeedsAdmin(Reason::new(
                "host.production",
                "in production an admin approves every issue",
            )),
            (admission, _) => admission,
        }
    }
}

fn stricter(
    first: Option<(AutonomyAction, String)>,
    second: (AutonomyAction, String),
) -> (AutonomyAction, String) {
    match first {
        Some(first) if first.0.stricter(second.0) == first.0 => first,
        Some(_) | None => second,
    }
}

fn shadow_log<T: std::fmt::Debug>(
    loaded: &LoadedModule,
    question: &str,
    answer: &Result<T, Fault>,
) {
    tracing::info!(module = %loaded.identity.name, question, ?answer, "shadow policy module answered");
}
