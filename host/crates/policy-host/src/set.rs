//! One immutable generation of modules. Every question is answered: a fault, a
//! silence or an unknown answer is the strictest one (invariant 3), and answers
//! only ever merge towards the stricter (invariant 5).
//!
//! Asking and merging are apart. Asking has effects: counters, quarantine, the
//! run's history. Merging has none, so that a replay merges exactly as the live
//! decision did.
//!
//! Shadow modules are asked too. Their answers are recorded under the name
//! `shadow:NAME` and never merged; that happens here, after the verdict, and
//! nowhere else.

use crate::abi::{Question, Subject};
use crate::config::{ModuleMode, QuarantineRules};
use crate::grants::Grants;
use crate::history::History;
use crate::loader::LoadedModule;
use crate::standing::Standing;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{
    Environment, IssueFacts, ModuleIdentity, ModuleKind, PatchFacts, PolicyContext, PolicySet,
    ToolCallFacts,
};
use selfheal_domain::policy_control::MARKER_RULE;
use selfheal_domain::risk::{
    Admission, Assessment, AutonomyAction, AutonomyDecision, AutonomyLevel, RiskFactor, RiskLevel,
    RiskScore,
};
use selfheal_domain::verdict::{Answer, Fault, Judgement, ModuleAnswer, Reason, Verdict};
use std::sync::Arc;
use std::time::Instant;

/// A policy set in force, or once in force.
pub struct ActiveSet {
    pub(crate) generation: u64,
    pub(crate) core: Arc<SetCore>,
    pub(crate) live: Live,
}

/// What a set is made of; shared between preparing and activating.
pub(crate) struct SetCore {
    pub(crate) digest: Digest,
    pub(crate) environment: Environment,
    pub(crate) ceiling: AutonomyLevel,
    pub(crate) quarantine: QuarantineRules,
    pub(crate) modules: Vec<Arc<LoadedModule>>,
}

/// What outlives a generation, and what is counted of this one.
pub(crate) struct Live {
    /// One for each module of the set, in the same order.
    pub(crate) standings: Vec<Arc<Standing>>,
    pub(crate) history: Arc<History>,
    pub(crate) grants: Arc<Grants>,
}

/// Name under which the host's own rule answers.
const HOST: &str = "host";
/// Name under which nobody's silence is reported.
const NOBODY: &str = "policy-set";

/// What one module said to a question of its kind.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Said {
    /// A guardrail.
    Verdict(Verdict),
    /// A risk module.
    Score(RiskScore, Vec<RiskFactor>),
    /// An autonomy module, of a patch.
    Action(AutonomyAction, String),
    /// An autonomy module, of an issue.
    Admission(Admission),
}

/// One module's answer.
#[derive(Clone)]
pub(crate) struct Reply<'a> {
    pub(crate) loaded: &'a LoadedModule,
    pub(crate) said: Result<Said, Fault>,
    pub(crate) micros: u64,
}

impl Reply<'_> {
    pub(crate) fn counts(&self) -> bool {
        self.loaded.mode == ModuleMode::Enforce
    }

    fn name(&self) -> &str {
        &self.loaded.identity.name
    }
}

impl LoadedModule {
    /// Asks the module whatever the question is about.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<Said, Fault> {
        match (question.subject, self.identity.kind) {
            (Subject::ToolCall(call), _) => {
                let verdict = self.module.judge(question)?;
                Ok(Said::Verdict(placed(verdict, &call.input)))
            }
            (Subject::Patch(patch), ModuleKind::Guardrail) => {
                let verdict = self.module.judge(question)?;
                Ok(Said::Verdict(placed(verdict, &patch.diff)))
            }
            (Subject::Patch(_), _) => {
                let (score, factors) = self.module.assess(question)?;
                Ok(Said::Score(score, factors))
            }
            (Subject::Assessed(..), _) => {
                let (action, reason) = self.module.decide(question)?;
                Ok(Said::Action(action, reason))
            }
            (Subject::Issue(_), _) => self.module.admit(question).map(Said::Admission),
        }
    }
}

impl SetCore {
    /// The context with the level cut to the ceiling, and the stricter of both
    /// environments.
    pub(crate) fn capped(&self, context: &PolicyContext) -> PolicyContext {
        let mut capped = context.clone();
        capped.level = context.level.min(self.ceiling);
        if strictness(self.environment) > strictness(context.environment) {
            capped.environment = self.environment;
        }
        capped
    }

    /// Asks all modules of a kind with `ask`, in their order.
    pub(crate) fn replies<'a>(
        &'a self,
        kind: ModuleKind,
        mut ask: impl FnMut(usize, &'a LoadedModule) -> Result<Said, Fault>,
    ) -> Vec<Reply<'a>> {
        let of_kind = self
            .modules
            .iter()
            .enumerate()
            .filter(|(_, loaded)| loaded.identity.kind == kind);
        of_kind
            .map(|(at, loaded)| {
                let started = Instant::now();
                let said = ask(at, loaded);
                let took = started.elapsed().as_micros();
                Reply {
                    loaded,
                    said,
                    micros: u64::try_from(took).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }
}

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

    /// Every module has its fastest form: its instances begin configured. That is made
    /// after a set was prepared, unless it was kept; never where no compiled code is
    /// kept, and not of every module.
    pub fn settled(&self) -> bool {
        let mut modules = self.core.modules.iter();
        modules.all(|loaded| loaded.module.settled())
    }

    /// Instances that were made beforehand and wait, of all modules together.
    pub fn spares(&self) -> usize {
        let modules = self.core.modules.iter();
        modules.map(|loaded| loaded.module.spares()).sum()
    }

    /// The question as all modules of the set are asked it.
    fn question<'a>(&self, context: &'a PolicyContext, subject: Subject<'a>) -> Question<'a> {
        Question::new(context, self.live.history.of(context), subject)
    }

    /// Asks all modules of a kind; whoever is in quarantine is not asked. What only
    /// proves enforcement is not counted.
    fn ask(&self, kind: ModuleKind, question: &Question<'_>) -> Vec<Reply<'_>> {
        let proving = marked(question);
        self.core.replies(kind, |at, loaded| {
            let Some(standing) = self.live.standings.get(at) else {
                return loaded.ask(question);
            };
            if let Some(fault) = standing.quarantine() {
                return Err(fault);
            }
            if proving {
                return loaded.ask(question);
            }
            let started = Instant::now();
            let said = loaded.ask(question);
            standing.answered(started.elapsed());
            match &said {
                Ok(said) => {
                    standing.sound();
                    match said {
                        Said::Verdict(verdict) => standing.hit(verdict),
                        Said::Score(_, factors) => {
                            for factor in factors {
                                standing.hit_rule(&factor.name);
                            }
                        }
                        Said::Admission(Admission::NeedsAdmin(reason)) => {
                            standing.hit_rule(&reason.rule);
                        }
                        Said::Admission(Admission::Admit(_)) | Said::Action(..) => {}
                    }
                }
                Err(fault) => standing.fault(fault, &self.core.quarantine),
            }
            if kind != ModuleKind::Guardrail && loaded.mode == ModuleMode::Shadow {
                // Records of these have no place for answers that do not count.
                let module = &loaded.identity.name;
                tracing::info!(module, ?said, "shadow policy module answered");
            }
            said
        })
    }

    /// Asks all guardrails.
    fn judge(&self, question: &Question<'_>) -> Judgement {
        let replies = self.ask(ModuleKind::Guardrail, question);
        let granted = self.live.grants.in_force(question.context);
        let granted = granted.as_deref().unwrap_or_default();
        let mut judgement = judgement(self.generation, replies, granted, marked(question));
        judgement.asked = Some(question.asked());
        judgement
    }
}

/// Whether the question only tries if it is refused.
pub(crate) fn marked(question: &Question<'_>) -> bool {
    match question.subject {
        Subject::ToolCall(call) => call.bears_marker(),
        Subject::Patch(patch) | Subject::Assessed(patch, _) => patch.bears_marker(),
        Subject::Issue(_) => false,
    }
}

const MARKED: &str = "this only tries whether it is refused, and it always is";

/// Merges what guardrails said; rules in `granted` count as allowed. The host itself
/// denies what is `marked`, whatever the modules are.
pub(crate) fn judgement(
    generation: u64,
    replies: Vec<Reply<'_>>,
    granted: &[String],
    marked: bool,
) -> Judgement {
    let mut enforced = Vec::with_capacity(replies.len());
    if marked {
        enforced.push(ModuleAnswer {
            module: HOST.to_owned(),
            digest: Digest::of(MARKER_RULE.as_bytes()),
            answer: Answer::Verdict(Verdict::Deny(Reason::new(MARKER_RULE, MARKED))),
            micros: 0,
        });
    }
    let mut shadow = Vec::new();
    for reply in replies {
        let counts = reply.counts();
        let module = if counts {
            reply.name().to_owned()
        } else {
            format!("{}{}", ModuleAnswer::SHADOW, reply.name())
        };
        let answer = ModuleAnswer {
            module,
            digest: reply.loaded.identity.digest,
            micros: reply.micros,
            answer: match reply.said {
                Ok(Said::Verdict(verdict)) => Answer::Verdict(verdict),
                Ok(_) => Answer::Fault(other_question()),
                Err(fault) => Answer::Fault(fault),
            },
        };
        if counts {
            enforced.push(answer);
        } else {
            shadow.push(answer);
        }
    }
    let is_granted = |rule: &str| granted.iter().any(|one| one == rule);
    let mut judgement = Judgement::merge_granting(generation, enforced, is_granted);
    judgement.answers.extend(shadow);
    judgement
}

fn other_question() -> Fault {
    Fault::Nonsense {
        message: "it answered another question".to_owned(),
    }
}

/// Merges what risk modules said: the highest score, 100 for a fault.
pub(crate) fn assessment(generation: u64, replies: Vec<Reply<'_>>, marked: bool) -> Assessment {
    let mut merged: Option<RiskScore> = None;
    let mut factors = Vec::new();
    if marked {
        merged = Some(RiskScore::MAX);
        factors.push(RiskFactor {
            name: MARKER_RULE.to_owned(),
            points: u32::from(RiskScore::MAX.get()),
            evidence: MARKED.to_owned(),
        });
    }
    let mut faults = Vec::new();
    for reply in replies {
        if !reply.counts() {
            continue;
        }
        let name = reply.name().to_owned();
        let score = match reply.said {
            Ok(Said::Score(score, found)) => {
                factors.extend(found);
                score
            }
            Ok(_) => {
                faults.push((name, other_question()));
                RiskScore::MAX
            }
            Err(fault) => {
                faults.push((name, fault));
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
        generation,
        asked: None,
    }
}

/// Merges what autonomy modules said of a patch: the strictest, never looser than
/// the level.
pub(crate) fn decision(
    generation: u64,
    replies: Vec<Reply<'_>>,
    level: AutonomyLevel,
    patch: &PatchFacts,
    assessment: &Assessment,
) -> AutonomyDecision {
    let mut merged: Option<(AutonomyAction, String)> = None;
    let mut faults = Vec::new();
    for reply in replies {
        if !reply.counts() {
            continue;
        }
        let name = reply.name().to_owned();
        let mut failed = |fault: Fault| {
            let reason = format!("policy module `{name}` failed: it {fault}");
            faults.push((name.clone(), fault));
            (AutonomyAction::Stop, reason)
        };
        let decision = match reply.said {
            Ok(Said::Action(action, reason)) => (action, reason),
            Ok(_) => failed(other_question()),
            Err(fault) => failed(fault),
        };
        merged = Some(stricter(merged, decision));
    }
    let decision = merged.unwrap_or_else(|| {
        faults.push((NOBODY.to_owned(), Fault::Silence));
        (AutonomyAction::Stop, Fault::Silence.to_string())
    });
    let (least, why) = floor(level, patch, assessment.score.level());
    let mut decision = stricter(Some(decision), (least, why.to_owned()));
    if patch.bears_marker() {
        decision = (AutonomyAction::Stop, format!("{MARKER_RULE}: {MARKED}"));
    }
    let (action, reason) = decision;
    AutonomyDecision {
        action,
        reason,
        faults,
        generation,
        asked: None,
    }
}

/// Merges what autonomy modules said of an issue: one that wants an admin is enough.
pub(crate) fn admission(replies: Vec<Reply<'_>>, environment: Environment) -> Admission {
    let mut merged: Option<Admission> = None;
    for reply in replies {
        if !reply.counts() {
            continue;
        }
        let name = reply.name().to_owned();
        let failed = |fault: Fault| {
            let message = format!("policy module `{name}` failed: it {fault}");
            Admission::NeedsAdmin(Reason::new("host.fault", message))
        };
        let admission = match reply.said {
            Ok(Said::Admission(admission)) => admission,
            Ok(_) => failed(other_question()),
            Err(fault) => failed(fault),
        };
        merged = match merged {
            Some(Admission::NeedsAdmin(reason)) => Some(Admission::NeedsAdmin(reason)),
            Some(Admission::Admit(_)) | None => Some(admission),
        };
    }
    let merged = merged.unwrap_or_else(|| {
        Admission::NeedsAdmin(Reason::new("host.silence", Fault::Silence.to_string()))
    });
    match (merged, environment) {
        // The host's own rule, whatever modules say.
        (Admission::Admit(_), Environment::Production) => Admission::NeedsAdmin(Reason::new(
            "host.production",
            "in production an admin approves every issue",
        )),
        (admission, _) => admission,
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

/// Stricter environments have the higher number.
pub(crate) fn strictness(environment: Environment) -> u8 {
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
        let context = self.core.capped(context);
        let question = self.question(&context, Subject::ToolCall(call));
        let judgement = self.judge(&question);
        self.live.history.record(&context, call, &judgement.verdict);
        judgement
    }

    fn judge_patch(&self, context: &PolicyContext, patch: &PatchFacts) -> Judgement {
        let context = self.core.capped(context);
        self.judge(&self.question(&context, Subject::Patch(patch)))
    }

    fn assess(&self, context: &PolicyContext, patch: &PatchFacts) -> Assessment {
        let context = self.core.capped(context);
        let question = self.question(&context, Subject::Patch(patch));
        let replies = self.ask(ModuleKind::Risk, &question);
        Assessment {
            asked: Some(question.asked()),
            ..assessment(self.generation, replies, patch.bears_marker())
        }
    }

    fn decide(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
        assessment: &Assessment,
    ) -> AutonomyDecision {
        let context = self.core.capped(context);
        let question = self.question(&context, Subject::Assessed(patch, assessment));
        let replies = self.ask(ModuleKind::Autonomy, &question);
        let level = context.level;
        AutonomyDecision {
            asked: Some(question.asked()),
            ..decision(self.generation, replies, level, patch, assessment)
        }
    }

    fn admit(&self, context: &PolicyContext, issue: &IssueFacts) -> Admission {
        let context = self.core.capped(context);
        let question = self.question(&context, Subject::Issue(issue));
        let replies = self.ask(ModuleKind::Autonomy, &question);
        admission(replies, context.environment)
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
