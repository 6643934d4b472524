//! Contract line 1: a compiled module and the questions it can be asked. Each
//! question runs in an instance that was never used, under the module's limits, with
//! nothing but `host` and what it was granted to call; see `v1_run`.

use super::v1_bindings::{host, types as wit};
use super::v1_block::Block;
use super::v1_examples as examples;
use super::v1_facts as facts;
use super::v1_run::{About, Decided, Export, Exports, Runner, wrong_kind};
use super::{Code, Description, Order, PolicyModule, Question, Subject};
use crate::capabilities::{Capability, Origin, VirtualWasi};
use crate::engine::PolicyEngine;
use crate::error::ModuleProblem;
use crate::limits::{HOST_CALLS, HostCallsDenied, LOG_BYTES, LOG_LINES, Limits, Meter};
use selfheal_domain::policy::{PastCall, RunCounters};
use selfheal_domain::risk::{Admission, AutonomyAction, RiskFactor, RiskScore};
use selfheal_domain::verdict::{Evidence, Fault, Reason, Span, Verdict};
use std::sync::Arc;
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};

/// Answer of `describe`: facts of its examples may be larger than any verdict.
const DESCRIPTION_BYTES: usize = 4 << 20;

/// What a running module can ask the host for.
pub(super) struct Guest {
    module: Arc<str>,
    pub(super) meter: Meter,
    lines_left: u32,
    calls_left: u32,
    pub(super) surroundings: Surroundings,
    /// It asked for something that another question may have another answer to: an
    /// instance that did so before its question is of no use for it.
    pub(super) asked: bool,
    /// Made when it is called first.
    wasi: Option<Box<VirtualWasi>>,
}

/// The run around a question, for the host's read-only look-ups.
#[derive(Clone, Default)]
pub(super) struct Surroundings {
    counters: RunCounters,
    /// Newest first.
    history: Arc<[Arc<PastCall>]>,
    /// For the random numbers of modules that were granted some; else zeros.
    seed: [u8; 32],
}

/// A question in the words of this line.
pub(super) struct Form {
    context: wit::Context,
    subject: FormSubject,
}

enum FormSubject {
    ToolCall(wit::ToolCall),
    Patch(wit::Patch),
    Assessed(wit::Patch, wit::Assessment),
    Issue(wit::Issue),
}

impl Form {
    fn of(question: &Question<'_>) -> Self {
        let subject = match question.subject {
            Subject::ToolCall(call) => FormSubject::ToolCall(facts::tool_call(call)),
            Subject::Patch(patch) => FormSubject::Patch(facts::patch(patch)),
            Subject::Assessed(patch, assessment) => {
                FormSubject::Assessed(facts::patch(patch), facts::assessment(assessment))
            }
            Subject::Issue(issue) => FormSubject::Issue(facts::issue(issue)),
        };
        Self {
            context: facts::context(question.context),
            subject,
        }
    }
}

/// Parameters of a function that answers one kind of question.
trait Parameters<'q>: ComponentNamedList + Lower + Sized {
    /// Nothing, where the question is of another kind.
    fn of(form: &'q Form) -> Option<Self>;
}

impl<'q> Parameters<'q> for About<'q, wit::ToolCall> {
    fn of(form: &'q Form) -> Option<Self> {
        match &form.subject {
            FormSubject::ToolCall(call) => Some((&form.context, call)),
            _ => None,
        }
    }
}

impl<'q> Parameters<'q> for About<'q, wit::Patch> {
    fn of(form: &'q Form) -> Option<Self> {
        match &form.subject {
            FormSubject::Patch(patch) => Some((&form.context, patch)),
            _ => None,
        }
    }
}

impl<'q> Parameters<'q> for About<'q, wit::Issue> {
    fn of(form: &'q Form) -> Option<Self> {
        match &form.subject {
            FormSubject::Issue(issue) => Some((&form.context, issue)),
            _ => None,
        }
    }
}

impl<'q> Parameters<'q> for Decided<'q> {
    fn of(form: &'q Form) -> Option<Self> {
        match &form.subject {
            FormSubject::Assessed(patch, assessment) => Some((&form.context, patch, assessment)),
            _ => None,
        }
    }
}

impl Guest {
    pub(super) fn new(module: &Arc<str>, limits: &Limits, surroundings: Surroundings) -> Self {
        Self {
            module: Arc::clone(module),
            meter: Meter::new(limits),
            lines_left: LOG_LINES,
            calls_left: HOST_CALLS,
            surroundings,
            asked: false,
            wasi: None,
        }
    }

    fn count_call(&mut self) -> wasmtime::Result<()> {
        self.calls_left = self
            .calls_left
            .checked_sub(1)
            .ok_or_else(|| wasmtime::Error::new(HostCallsDenied))?;
        Ok(())
    }

    pub(super) fn wasi(&mut self) -> &mut VirtualWasi {
        self.asked = true;
        self.wasi.get_or_insert_with(|| {
            Box::new(VirtualWasi::new(Origin {
                module: Arc::clone(&self.module),
                seconds: self.surroundings.counters.seconds,
                seed: self.surroundings.seed,
            }))
        })
    }
}

impl wit::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::LogLevel, message: String) -> wasmtime::Result<()> {
        self.count_call()?;
        if self.lines_left > 0 {
            self.lines_left -= 1;
            let end = message.floor_char_boundary(LOG_BYTES);
            let message = message.get(..end).unwrap_or_default();
            let module = &*self.module;
            match level {
                host::LogLevel::Debug => tracing::debug!(module, ?message, "policy module says"),
                host::LogLevel::Info => tracing::info!(module, ?message, "policy module says"),
                host::LogLevel::Warn => tracing::warn!(module, ?message, "policy module says"),
            }
        }
        Ok(())
    }

    fn run_counters(&mut self) -> wasmtime::Result<wit::Counters> {
        self.count_call()?;
        self.asked = true;
        Ok(facts::counters(&self.surroundings.counters))
    }

    fn run_history(&mut self, limit: u32) -> wasmtime::Result<Vec<wit::PastCall>> {
        self.count_call()?;
        self.asked = true;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let past = |call: &Arc<PastCall>| wit::PastCall {
            tool: call.tool.clone(),
            verdict: call.verdict.clone(),
            rule: call.rule.clone(),
        };
        Ok(self
            .surroundings
            .history
            .iter()
            .take(limit)
            .map(past)
            .collect())
    }
}

/// A compiled module.
struct Module {
    runner: Arc<Runner>,
}

/// Links `component` for the kind that is ordered. Anything that it imports beyond
/// the contract and its grants, and anything of the contract that it does not
/// export, is refused here.
pub(super) fn link(
    engine: &PolicyEngine,
    component: &Component,
    order: Order,
) -> Result<Box<dyn PolicyModule>, ModuleProblem> {
    let runner = Runner::link(engine, component, order)?;
    Ok(Box::new(Module {
        runner: Arc::new(runner),
    }))
}

impl PolicyModule for Module {
    fn describe(&self) -> Result<Description, Fault> {
        let description = self.runner.plain(DESCRIPTION_BYTES, |instance, exports| {
            let (description,) = instance.call(&exports.describe, ())?;
            Ok(description)
        })?;
        examples::description(description)
    }

    fn try_settings(&self, settings: &str) -> Result<Result<(), String>, Fault> {
        self.runner.plain(self.output(), |instance, exports| {
            let (answer,) = instance.call(&exports.configure, (settings,))?;
            Ok(answer)
        })
    }

    fn settle(&self, code: Code) {
        self.runner.settle(code);
    }

    fn resume(&self, code: &Code) -> bool {
        self.runner.resume(code)
    }

    fn settled(&self) -> bool {
        self.runner.settled()
    }

    fn spares(&self) -> usize {
        self.runner.spares()
    }

    fn judge(&self, question: &Question<'_>) -> Result<Verdict, Fault> {
        let (verdict,) = match question.subject {
            Subject::ToolCall(_) => self.ask(question, Exports::judge_tool_call)?,
            Subject::Patch(_) => self.ask(question, Exports::judge_patch)?,
            Subject::Assessed(..) | Subject::Issue(_) => return Err(wrong_kind()),
        };
        self.verdict(verdict)
    }

    fn assess(&self, question: &Question<'_>) -> Result<(RiskScore, Vec<RiskFactor>), Fault> {
        let Subject::Patch(_) = question.subject else {
            return Err(wrong_kind());
        };
        let (answer,) = self.ask(question, Exports::assess)?;
        let size: usize = answer
            .factors
            .iter()
            .map(|factor| factor.name.len() + factor.evidence.len())
            .sum();
        self.fits(size)?;
        let score = RiskScore::new(answer.score).map_err(|error| Fault::Nonsense {
            message: error.to_string(),
        })?;
        let factor = |factor: wit::Factor| RiskFactor {
            name: factor.name,
            points: factor.points,
            evidence: factor.evidence,
        };
        Ok((score, answer.factors.into_iter().map(factor).collect()))
    }

    fn decide(&self, question: &Question<'_>) -> Result<(AutonomyAction, String), Fault> {
        let Subject::Assessed(..) = question.subject else {
            return Err(wrong_kind());
        };
        let (answer,) = self.ask(question, Exports::decide)?;
        self.fits(answer.reason.len())?;
        let action = match answer.action {
            wit::Action::Apply => AutonomyAction::Apply,
            wit::Action::Review(0) => {
                return Err(Fault::Nonsense {
                    message: "a review by nobody".to_owned(),
                });
            }
            wit::Action::Review(count) => AutonomyAction::Review(count),
            wit::Action::Stop => AutonomyAction::Stop,
        };
        Ok((action, answer.reason))
    }

    fn admit(&self, question: &Question<'_>) -> Result<Admission, Fault> {
        let Subject::Issue(_) = question.subject else {
            return Err(wrong_kind());
        };
        let (answer,) = self.ask(question, Exports::admit)?;
        match answer {
            wit::Admission::Admit(why) => {
                self.fits(why.len())?;
                Ok(Admission::Admit(why))
            }
            wit::Admission::NeedsAdmin(reason) => Ok(Admission::NeedsAdmin(self.reason(reason)?)),
        }
    }
}

impl Module {
    /// Asks the function that `export` picks in an instance that was never used. The
    /// question is put into this line's words for the first module that is asked.
    fn ask<'q, P, R>(
        &self,
        question: &'q Question<'_>,
        export: impl Fn(&Exports) -> Option<&Export<P, R>>,
    ) -> Result<R, Fault>
    where
        P: Parameters<'q>,
        R: ComponentNamedList + Lift,
    {
        let around = self.around(question);
        let order = self.runner.order();
        let (settings, output) = (question.settings, self.output());
        if order.keeps_memory {
            let block = question.forms.v1_block.get_or_init(|| Block::of(question));
            let parameters = block.standing_for::<P>();
            return self
                .runner
                .ask(settings, around, output, export, |running, export| {
                    running.call_in_one_piece(export, parameters)
                });
        }
        let form = question.forms.v1.get_or_init(|| Form::of(question));
        let parameters = P::of(form).ok_or_else(wrong_kind)?;
        self.runner
            .ask(settings, around, output, export, |running, export| {
                running.call(export, parameters)
            })
    }

    fn around(&self, question: &Question<'_>) -> Surroundings {
        let random = self.runner.order().capabilities.has(Capability::Random);
        Surroundings {
            counters: question.context.counters,
            history: Arc::clone(&question.history),
            seed: if random { question.seed() } else { [0; 32] },
        }
    }

    /// Bytes that may be copied out of the guest in one call. Records cost more
    /// than their texts, so this is wider than the check of the texts.
    fn output(&self) -> usize {
        usize::try_from(self.runner.order().limits.output())
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
    }

    fn fits(&self, size: usize) -> Result<(), Fault> {
        let bytes = size as u64;
        if bytes > self.runner.order().limits.output() {
            Err(Fault::Output { bytes })
        } else {
            Ok(())
        }
    }

    fn verdict(&self, verdict: wit::Verdict) -> Result<Verdict, Fault> {
        Ok(match verdict {
            wit::Verdict::Allow => Verdict::Allow,
            wit::Verdict::Ask(reason) => Verdict::Ask(self.reason(reason)?),
            wit::Verdict::Deny(reason) => Verdict::Deny(self.reason(reason)?),
        })
    }

    fn reason(&self, reason: wit::Reason) -> Result<Reason, Fault> {
        let evidence = reason.evidence.as_ref().map_or(0, |part| part.text.len());
        let alternative = reason.alternative.as_ref().map_or(0, String::len);
        self.fits(reason.rule.len() + reason.message.len() + evidence + alternative)?;
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if reason.rule.is_empty() || reason.rule.len() > 64 || !reason.rule.chars().all(shape) {
            let message = "a rule id is 1 to 64 of a-z, 0-9, '.', '_', '-'".to_owned();
            return Err(Fault::Nonsense { message });
        }
        Ok(Reason {
            rule: reason.rule,
            message: reason.message,
            evidence: reason.evidence.map(|part| Evidence {
                text: part.text,
                span: part.span.map(|span| Span {
                    start: span.start,
                    end: span.end,
                }),
            }),
            alternative: reason.alternative,
        })
    }
}
