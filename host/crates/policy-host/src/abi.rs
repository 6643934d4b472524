//! The contract's lines. A module of any line is a [`PolicyModule`], which speaks
//! domain types only; which line a component is of is read from the version in the
//! names of its exported interfaces.
//!
//! A further line is one file that implements the trait, one row in [`LINES`] and
//! one field in [`Forms`]; files of other lines stay as they are.

pub(crate) mod v1;
mod v1_bindings;
mod v1_block;
mod v1_examples;
mod v1_facts;
mod v1_run;

use crate::cache::CodeCache;
use crate::capabilities::{Capabilities, Capability};
use crate::engine::PolicyEngine;
use crate::error::ModuleProblem;
use crate::limits::Limits;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{
    Asked, IssueFacts, ModuleKind, PastCall, PatchFacts, PolicyContext, ToolCallFacts,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyAction, RiskFactor, RiskScore};
use selfheal_domain::verdict::{Fault, Verdict};
use selfheal_policy_source::Fetched;
use std::sync::{Arc, OnceLock};
use wasmtime::component::Component;

/// Package of the contract.
const PACKAGE: &str = "selfheal:policy/";

/// What makes a module of a component that is known to be of the line.
type Link = fn(&PolicyEngine, &Component, Order) -> Result<Box<dyn PolicyModule>, ModuleProblem>;

/// Supported lines, newest first.
const LINES: [(Line, Link); 1] = [(Line { major: 1, minor: 0 }, v1::link)];

/// Versions that are compatible with each other: `1` holds all of 1.x, `0.3` all of
/// 0.3.x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    major: u64,
    /// Counts below version 1 only.
    minor: u64,
}

impl Line {
    /// From `1.0.0`; nothing where that is no version.
    fn of(version: &str) -> Option<Self> {
        let mut parts = version.split(['.', '-', '+']);
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (major, minor, _) = (number()?, number()?, number()?);
        Some(Self {
            major,
            minor: if major == 0 { minor } else { 0 },
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.major {
            0 => write!(formatter, "0.{}.x", self.minor),
            major => write!(formatter, "{major}.x"),
        }
    }
}

/// What a module is made of besides its code.
pub(crate) struct Order {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ModuleKind,
    /// JSON, in force in every decision.
    pub(crate) settings: String,
    pub(crate) limits: Limits,
    pub(crate) capabilities: Capabilities,
    /// It says that it never gives memory back; see [`keeps_memory`].
    pub(crate) keeps_memory: bool,
}

/// Whether the module says of itself, in a custom section, that it never gives memory
/// back. Questions to it take one allocation then instead of one for each text.
pub(crate) fn keeps_memory(bytes: &[u8]) -> bool {
    let Ok(bytes) = wat::parse_bytes(bytes) else {
        return false;
    };
    wasmparser::Parser::new(0)
        .parse_all(&bytes)
        .map_while(Result::ok)
        .any(|payload| match payload {
            wasmparser::Payload::CustomSection(section) => section.name() == v1_block::SECTION,
            _ => false,
        })
}

/// A module's code and where its compiled forms are kept.
pub(crate) struct Code {
    pub(crate) cache: CodeCache,
    pub(crate) bytes: Arc<Fetched>,
}

impl Code {
    /// Name of a compiled form of this code other than the code as it is.
    fn form(&self, form: &str, settings: &str) -> Digest {
        let mut text = form.as_bytes().to_vec();
        text.push(b' ');
        text.extend(self.bytes.digest.0);
        text.extend(settings.as_bytes());
        Digest::of(&text)
    }
}

/// A compiled module of any line with its settings and limits. Every question runs
/// in an instance of its own; whatever goes wrong in there is a fault.
pub(crate) trait PolicyModule: Send + Sync {
    /// What it is.
    fn describe(&self) -> Result<Description, Fault>;
    /// Tries settings; the inner error is the module's own words.
    fn try_settings(&self, settings: &str) -> Result<Result<(), String>, Fault>;
    /// Takes up the form that was kept when the module was settled before with the same
    /// settings, if it can be used under the limits of now. Then they need not be
    /// offered to it again.
    fn resume(&self, code: &Code) -> bool;
    /// Makes it faster, where that is possible and nothing could be resumed: its settings
    /// have been accepted and stay as they are, so that what follows from them can be
    /// computed once. What takes long happens later, on a thread of its own.
    fn settle(&self, code: Code);
    /// Whether that is done.
    fn settled(&self) -> bool;
    /// Instances that were made beforehand and wait.
    fn spares(&self) -> usize;
    /// May this tool call happen, or is this patch acceptable? For guardrails.
    fn judge(&self, question: &Question<'_>) -> Result<Verdict, Fault>;
    /// How risky is this patch? For risk modules.
    fn assess(&self, question: &Question<'_>) -> Result<(RiskScore, Vec<RiskFactor>), Fault>;
    /// What happens to this assessed patch? For autonomy modules.
    fn decide(&self, question: &Question<'_>) -> Result<(AutonomyAction, String), Fault>;
    /// May this issue start without an admin? For autonomy modules.
    fn admit(&self, question: &Question<'_>) -> Result<Admission, Fault>;
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    ToolCall(&'a ToolCallFacts),
    Patch(&'a PatchFacts),
    Assessed(&'a PatchFacts, &'a Assessment),
    Issue(&'a IssueFacts),
}

/// One question, made once and put to every module of a set.
pub(crate) struct Question<'a> {
    pub(crate) context: &'a PolicyContext,
    /// The run's latest calls, newest first.
    pub(crate) history: Arc<[Arc<PastCall>]>,
    pub(crate) subject: Subject<'a>,
    /// Instead of the module's own; for examples.
    pub(crate) settings: Option<&'a str>,
    seed: OnceLock<[u8; 32]>,
    forms: Forms,
}

/// The question in the words of each line, made when the first module of that line
/// is asked.
#[derive(Default)]
struct Forms {
    v1: OnceLock<v1::Form>,
    v1_block: OnceLock<v1_block::Block>,
}

impl<'a> Question<'a> {
    pub(crate) fn new(
        context: &'a PolicyContext,
        history: Arc<[Arc<PastCall>]>,
        subject: Subject<'a>,
    ) -> Self {
        Self {
            context,
            history,
            subject,
            settings: None,
            seed: OnceLock::new(),
            forms: Forms::default(),
        }
    }

    /// What it was asked with, for the record.
    pub(crate) fn asked(&self) -> Box<Asked> {
        let (patch, issue) = match self.subject {
            Subject::ToolCall(_) => (None, None),
            Subject::Patch(patch) | Subject::Assessed(patch, _) => (Some(patch.clone()), None),
            Subject::Issue(issue) => (None, Some(issue.clone())),
        };
        let assessment = match self.subject {
            Subject::Assessed(_, assessment) => Some(Box::new(Assessment {
                asked: None,
                ..assessment.clone()
            })),
            Subject::ToolCall(_) | Subject::Patch(_) | Subject::Issue(_) => None,
        };
        Box::new(Asked {
            context: self.context.clone(),
            history: Arc::clone(&self.history),
            patch,
            issue,
            assessment,
        })
    }

    /// What random numbers follow from: the same question gets the same ones.
    fn seed(&self) -> [u8; 32] {
        *self.seed.get_or_init(|| {
            // Of an assessment, what modules see of it.
            let subject = match self.subject {
                Subject::ToolCall(call) => serde_json::to_vec(call),
                Subject::Patch(patch) => serde_json::to_vec(patch),
                Subject::Assessed(patch, assessment) => {
                    serde_json::to_vec(&(patch, assessment.score, &assessment.factors))
                }
                Subject::Issue(issue) => serde_json::to_vec(issue),
            };
            // Facts are plain records: writing them cannot fail, and if it did, the
            // numbers would still be the same ones every time.
            let mut text = serde_json::to_vec(&(self.context, &self.history)).unwrap_or_default();
            text.extend(subject.unwrap_or_default());
            Digest::of(&text).0
        })
    }
}

/// What a module says about itself.
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: ModuleKind,
    pub(crate) settings_schema: String,
    pub(crate) examples: Vec<Example>,
}

/// A promise of a module: a question and how it answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Example {
    /// What it shows.
    pub name: String,
    /// JSON that the module is configured with; `{}` where there is none.
    pub settings: Option<String>,
    /// The situation.
    pub context: PolicyContext,
    /// The question.
    pub question: ExampleQuestion,
    /// The answer that is right.
    pub expect: Expectation,
}

/// The question of an [`Example`].
#[derive(Clone, PartialEq, Debug)]
pub enum ExampleQuestion {
    /// May this happen?
    ToolCall(ToolCallFacts),
    /// Is this acceptable, or how risky is it?
    Patch(PatchFacts),
    /// What happens to it?
    Assessed(PatchFacts, Assessment),
    /// May it start without an admin?
    Issue(IssueFacts),
}

/// The right answer of an [`Example`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// Of a guardrail.
    Allow,
    /// Of a guardrail.
    Ask,
    /// Of a guardrail.
    Deny,
    /// Of a risk module: lowest and highest score that is right.
    Score(u32, u32),
    /// Of an autonomy module.
    Apply,
    /// Of an autonomy module.
    Review,
    /// Of an autonomy module.
    Stop,
    /// Of an autonomy module.
    Admit,
    /// Of an autonomy module.
    NeedsAdmin,
}

impl Example {
    /// The question as a module is asked it.
    pub(crate) fn question(&self) -> Question<'_> {
        let subject = match &self.question {
            ExampleQuestion::ToolCall(call) => Subject::ToolCall(call),
            ExampleQuestion::Patch(patch) => Subject::Patch(patch),
            ExampleQuestion::Assessed(patch, assessment) => Subject::Assessed(patch, assessment),
            ExampleQuestion::Issue(issue) => Subject::Issue(issue),
        };
        Question {
            settings: Some(self.settings.as_deref().unwrap_or("{}")),
            ..Question::new(&self.context, Arc::default(), subject)
        }
    }
}

pub(crate) fn kind_name(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Guardrail => "guardrail",
        ModuleKind::Risk => "risk",
        ModuleKind::Autonomy => "autonomy",
    }
}

/// Links a component as a module of the line that it was made for.
///
/// # Errors
/// It is of no supported line, imports what it was not granted, or does not fit the
/// contract of its kind.
pub(crate) fn link(
    engine: &PolicyEngine,
    component: &Component,
    order: Order,
) -> Result<Box<dyn PolicyModule>, ModuleProblem> {
    let kind = component.component_type();
    granted(kind.imports(engine.wasm()).map(|(name, _)| name), &order)?;
    let found: Vec<&str> = kind
        .exports(engine.wasm())
        .filter_map(|(name, _)| name.strip_prefix(PACKAGE))
        .collect();
    let of = |name: &&str| {
        name.split_once('@')
            .and_then(|(_, version)| Line::of(version))
    };
    let lines: Vec<Line> = found.iter().filter_map(of).collect();
    let Some((_, link)) = LINES.iter().find(|(line, _)| lines.contains(line)) else {
        return Err(ModuleProblem::Line {
            found: found
                .iter()
                .map(|name| format!("{PACKAGE}{name}"))
                .collect(),
            supported: LINES.iter().map(|(line, _)| line.to_string()).collect(),
        });
    };
    link(engine, component, order)
}

/// That nothing is imported beyond the contract and what `policy.toml` grants.
fn granted<'a>(imports: impl Iterator<Item = &'a str>, order: &Order) -> Result<(), ModuleProblem> {
    let mut missing = Vec::new();
    let mut grants = order.capabilities;
    for import in imports.filter(|import| !import.starts_with(PACKAGE)) {
        let Some(capability) = Capability::of_import(import) else {
            return Err(ModuleProblem::Import {
                import: import.to_owned(),
            });
        };
        if !order.capabilities.has(capability) {
            missing.push(import.to_owned());
            grants = grants.with(capability);
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ModuleProblem::NotGranted { missing, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_versions_that_are_compatible() {
        assert_eq!(Line::of("1.0.0"), Line::of("1.7.3"));
        assert_ne!(Line::of("1.0.0"), Line::of("2.0.0"));
        assert_ne!(Line::of("0.1.0"), Line::of("0.2.0"));
        assert_eq!(Line::of("0.2.1"), Line::of("0.2.0"));
        for nonsense in ["", "1", "1.0", "x.y.z", "-1.0.0", "1.0.x"] {
            assert_eq!(Line::of(nonsense), None, "{nonsense}");
        }
        assert_eq!(Line::of("0.2.1").unwrap().to_string(), "0.2.x");
        assert_eq!(Line::of("1.2.1").unwrap().to_string(), "1.x");
    }
}
