//! Contract line 1: a compiled module and the questions it can be asked. Each
//! question runs in a fresh instance, under the module's limits, with nothing but
//! `host` and what it was granted to call; settings are in force because
//! `configure` runs first.

use super::v1_bindings::autonomy::AutonomyPre;
use super::v1_bindings::guardrail::GuardrailPre;
use super::v1_bindings::risk::RiskPre;
use super::v1_bindings::{host, types as wit};
use super::v1_examples as examples;
use super::v1_facts as facts;
use super::{Description, Order, PolicyModule, Question, Subject};
use crate::capabilities::{self, Capability, Denied, Origin, VirtualWasi};
use crate::engine::{PolicyEngine, ticks};
use crate::error::ModuleProblem;
use crate::limits::{HOST_CALLS, HostCallsDenied, LOG_BYTES, LOG_LINES, MemoryDenied, Meter};
use selfheal_domain::policy::{ModuleKind, PastCall, RunCounters};
use selfheal_domain::risk::{Admission, AutonomyAction, RiskFactor, RiskScore};
use selfheal_domain::verdict::{Evidence, Fault, Reason, Span, Verdict};
use std::sync::Arc;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Store, Trap};

/// Answer of `describe`: facts of its examples may be larger than any verdict.
const DESCRIPTION_BYTES: usize = 4 << 20;

/// What a running module can ask the host for.
struct Guest {
    module: Arc<str>,
    meter: Meter,
    lines_left: u32,
    calls_left: u32,
    surroundings: Surroundings,
    /// Made when it is called first.
    wasi: Option<Box<VirtualWasi>>,
}

/// The run around a question, for the host's read-only look-ups.
#[derive(Clone, Default)]
struct Surroundings {
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

impl Guest {
    fn count_call(&mut self) -> wasmtime::Result<()> {
        self.calls_left = self
            .calls_left
            .checked_sub(1)
            .ok_or_else(|| wasmtime::Error::new(HostCallsDenied))?;
        Ok(())
    }

    fn wasi(&mut self) -> &mut VirtualWasi {
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
        Ok(facts::counters(&self.surroundings.counters))
    }

    fn run_history(&mut self, limit: u32) -> wasmtime::Result<Vec<wit::PastCall>> {
        self.count_call()?;
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

/// Linked against `host`, what was granted, and nothing else.
enum Linked {
    Guardrail(GuardrailPre<Guest>),
    Risk(RiskPre<Guest>),
    Autonomy(AutonomyPre<Guest>),
}

/// A compiled module with its settings and limits.
struct Module {
    order: Order,
    engine: PolicyEngine,
    linked: Linked,
}

/// Links `component` for the kind that is ordered. Anything that it imports beyond
/// the contract and its grants, and anything of the contract that it does not
/// export, is refused here.
pub(super) fn link(
    engine: &PolicyEngine,
    component: &Component,
    order: Order,
) -> Result<Box<dyn PolicyModule>, ModuleProblem> {
    let misfit = |error: wasmtime::Error| ModuleProblem::Contract {
        kind: super::kind_name(order.kind),
        message: format!("{error:#}"),
    };
    let mut linker: Linker<Guest> = Linker::new(engine.wasm());
    host::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(misfit)?;
    capabilities::link(&mut linker, order.capabilities, Guest::wasi).map_err(misfit)?;
    let instance = linker.instantiate_pre(component).map_err(misfit)?;
    let linked = match order.kind {
        ModuleKind::Guardrail => Linked::Guardrail(GuardrailPre::new(instance).map_err(misfit)?),
        ModuleKind::Risk => Linked::Risk(RiskPre::new(instance).map_err(misfit)?),
        ModuleKind::Autonomy => Linked::Autonomy(AutonomyPre::new(instance).map_err(misfit)?),
    };
    Ok(Box::new(Module {
        order,
        engine: engine.clone(),
        linked,
    }))
}

impl PolicyModule for Module {
    fn describe(&self) -> Result<Description, Fault> {
        let description =
            self.guarded(
                Surroundings::default(),
                DESCRIPTION_BYTES,
                |store| match &self.linked {
                    Linked::Guardrail(pre) => pre.instantiate(&mut *store)?.call_describe(store),
                    Linked::Risk(pre) => pre.instantiate(&mut *store)?.call_describe(store),
                    Linked::Autonomy(pre) => pre.instantiate(&mut *store)?.call_describe(store),
                },
            )?;
        examples::description(description)
    }

    fn try_settings(&self, settings: &str) -> Result<Result<(), String>, Fault> {
        self.guarded(
            Surroundings::default(),
            self.output(),
            |store| match &self.linked {
                Linked::Guardrail(pre) => pre
                    .instantiate(&mut *store)?
                    .call_configure(store, settings),
                Linked::Risk(pre) => pre
                    .instantiate(&mut *store)?
                    .call_configure(store, settings),
                Linked::Autonomy(pre) => pre
                    .instantiate(&mut *store)?
                    .call_configure(store, settings),
            },
        )
    }

    fn judge(&self, question: &Question<'_>) -> Result<Verdict, Fault> {
        let form = self.form(question);
        let (Linked::Guardrail(pre), FormSubject::ToolCall(_) | FormSubject::Patch(_)) =
            (&self.linked, &form.subject)
        else {
            return Err(wrong_kind());
        };
        let verdict = self.guarded(self.around(question), self.output(), |store| {
            let instance = pre.instantiate(&mut *store)?;
            configured(instance.call_configure(&mut *store, self.settings(question))?)?;
            let judge = instance.selfheal_policy_judge();
            match &form.subject {
                FormSubject::ToolCall(call) => {
                    judge.call_judge_tool_call(store, &form.context, call)
                }
                FormSubject::Patch(patch) => judge.call_judge_patch(store, &form.context, patch),
                FormSubject::Assessed(..) | FormSubject::Issue(_) => Ok(wit::Verdict::Allow),
            }
        })?;
        self.verdict(verdict)
    }

    fn assess(&self, question: &Question<'_>) -> Result<(RiskScore, Vec<RiskFactor>), Fault> {
        let form = self.form(question);
        let (Linked::Risk(pre), FormSubject::Patch(patch)) = (&self.linked, &form.subject) else {
            return Err(wrong_kind());
        };
        let answer = self.guarded(self.around(question), self.output(), |store| {
            let instance = pre.instantiate(&mut *store)?;
            configured(instance.call_configure(&mut *store, self.settings(question))?)?;
            instance
                .selfheal_policy_assess()
                .call_assess(store, &form.context, patch)
        })?;
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
        let form = self.form(question);
        let (Linked::Autonomy(pre), FormSubject::Assessed(patch, assessment)) =
            (&self.linked, &form.subject)
        else {
            return Err(wrong_kind());
        };
        let answer = self.guarded(self.around(question), self.output(), |store| {
            let instance = pre.instantiate(&mut *store)?;
            configured(instance.call_configure(&mut *store, self.settings(question))?)?;
            instance
                .selfheal_policy_decide()
                .call_decide(store, &form.context, patch, assessment)
        })?;
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
        let form = self.form(question);
        let (Linked::Autonomy(pre), FormSubject::Issue(issue)) = (&self.linked, &form.subject)
        else {
            return Err(wrong_kind());
        };
        let answer = self.guarded(self.around(question), self.output(), |store| {
            let instance = pre.instantiate(&mut *store)?;
            configured(instance.call_configure(&mut *store, self.settings(question))?)?;
            instance
                .selfheal_policy_decide()
                .call_admit(store, &form.context, issue)
        })?;
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
    /// The question in this line's words, made for the first module that is asked.
    fn form<'a>(&self, question: &'a Question<'_>) -> &'a Form {
        question.forms.v1.get_or_init(|| Form::of(question))
    }

    fn around(&self, question: &Question<'_>) -> Surroundings {
        let random = self.order.capabilities.has(Capability::Random);
        Surroundings {
            counters: question.context.counters,
            history: Arc::clone(&question.history),
            seed: if random { question.seed() } else { [0; 32] },
        }
    }

    fn settings<'a>(&'a self, question: &'a Question<'_>) -> &'a str {
        question.settings.unwrap_or(&self.order.settings)
    }

    /// Bytes that may be copied out of the guest in one call. Records cost more
    /// than their texts, so this is wider than the check of the texts.
    fn output(&self) -> usize {
        usize::try_from(self.order.limits.output())
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
    }

    fn fits(&self, size: usize) -> Result<(), Fault> {
        let bytes = size as u64;
        if bytes > self.order.limits.output() {
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

    /// The one place where guest code runs: fresh store, all limits, and every
    /// error turned into a fault.
    fn guarded<T>(
        &self,
        surroundings: Surroundings,
        output: usize,
        question: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let guest = Guest {
            module: Arc::clone(&self.order.name),
            meter: Meter::new(&self.order.limits),
            lines_left: LOG_LINES,
            calls_left: HOST_CALLS,
            surroundings,
            wasi: None,
        };
        let _place = self.engine.enter();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one store there is, with every limit set below"
        )]
        let mut store = Store::new(self.engine.wasm(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_epoch_deadline(ticks(self.order.limits.deadline()));
        store.epoch_deadline_trap();
        store.set_hostcall_fuel(output);
        question(&mut store).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        if error.downcast_ref::<MemoryDenied>().is_some() {
            return Fault::Memory {
                bytes: self.order.limits.memory(),
            };
        }
        if let Some(refused) = error.downcast_ref::<SettingsRefused>() {
            return Fault::Nonsense {
                message: refused.to_string(),
            };
        }
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Fault::Trap {
                message: denied.to_string(),
            };
        }
        if let Some(flood) = error.downcast_ref::<HostCallsDenied>() {
            return Fault::Trap {
                message: flood.to_string(),
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                let milliseconds =
                    u64::try_from(self.order.limits.deadline().as_millis()).unwrap_or(u64::MAX);
                Fault::Deadline { milliseconds }
            }
            Some(trap) => Fault::Trap {
                message: trap.to_string(),
            },
            // Not stopped while running: what it handed over could not be read.
            None => Fault::Nonsense {
                message: error.root_cause().to_string(),
            },
        }
    }
}

/// The module accepted its settings when it was prepared and refuses them now.
#[derive(Debug, thiserror::Error)]
#[error("it refused the settings that it had accepted: {0}")]
struct SettingsRefused(String);

fn configured(answer: Result<(), String>) -> wasmtime::Result<()> {
    answer.map_err(|message| wasmtime::Error::new(SettingsRefused(message)))
}

fn wrong_kind() -> Fault {
    Fault::Nonsense {
        message: "it is not of the kind that answers this question".to_owned(),
    }
}
