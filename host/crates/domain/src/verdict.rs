//! A guardrail's answer, and how answers merge: `allow < ask < deny`, by `max`,
//! so that neither order nor speed of modules can matter (invariant 5).

use crate::digest::Digest;
use crate::policy::Asked;
use serde::{Deserialize, Serialize};

/// Bytes of the judged text, `start` inclusive, `end` exclusive: of a tool call's
/// `input`, or of a patch's `diff`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

/// The part of the question that decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "StoredEvidence")]
pub struct Evidence {
    /// What it says.
    pub text: String,
    /// Where it stands in the judged text, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

impl Evidence {
    /// Evidence whose place is not known.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            span: None,
        }
    }

    /// With the place where the text stands in `judged`: the one that is given if
    /// it lies there, else the first place where the text is found, else none.
    #[must_use]
    pub fn found_in(mut self, judged: &str) -> Self {
        let lies_there = |span: &Span| {
            let range = usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?;
            judged.get(range).filter(|part| !part.is_empty())
        };
        self.span = self
            .span
            .filter(|span| lies_there(span).is_some())
            .or_else(|| {
                let start = judged.find(&self.text).filter(|_| !self.text.is_empty())?;
                Some(Span {
                    start: u32::try_from(start).ok()?,
                    end: u32::try_from(start + self.text.len()).ok()?,
                })
            });
        self
    }
}

/// Logs of earlier versions hold the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredEvidence {
    Text(String),
    Placed {
        text: String,
        #[serde(default)]
        span: Option<Span>,
    },
}

impl From<StoredEvidence> for Evidence {
    fn from(stored: StoredEvidence) -> Self {
        match stored {
            StoredEvidence::Text(text) => Self { text, span: None },
            StoredEvidence::Placed { text, span } => Self { text, span },
        }
    }
}

/// Why a guardrail asks or denies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Rule id, stable across versions of a module, as in `shell.rm-recursive`.
    pub rule: String,
    /// One sentence for the person or agent that reads it.
    pub message: String,
    /// The part of the input that decided, if one part did.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// What to do instead; itself allowed.
    #[serde(default)]
    pub alternative: Option<String>,
}

impl Reason {
    /// A reason without evidence or alternative.
    pub fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            message: message.into(),
            evidence: None,
            alternative: None,
        }
    }
}

/// A guardrail's answer. Ordered: the stricter is the greater.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "reason")]
pub enum Verdict {
    /// Go ahead.
    Allow,
    /// An admin must say yes first; where nobody can be asked, denied.
    Ask(Reason),
    /// No.
    Deny(Reason),
}

impl Verdict {
    /// 0, 1, 2 for allow, ask, deny.
    pub fn strictness(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Ask(_) => 1,
            Self::Deny(_) => 2,
        }
    }

    /// The stricter of both; the first one where they are equally strict.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.strictness() > self.strictness() {
            other
        } else {
            self
        }
    }

    /// The reason, unless allowed.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Allow => None,
            Self::Ask(reason) | Self::Deny(reason) => Some(reason),
        }
    }
}

/// A module that trapped, ran out of a limit, or answered nonsense. Never a
/// verdict; counts as the strictest one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "fault", content = "detail")]
pub enum Fault {
    /// The deadline passed.
    #[error("ran longer than its deadline of {milliseconds} ms")]
    Deadline {
        /// The limit, in milliseconds.
        milliseconds: u64,
    },
    /// It asked for more memory than it may have.
    #[error("asked for more than its {bytes} bytes of memory")]
    Memory {
        /// The limit, in bytes.
        bytes: u64,
    },
    /// Its answer was larger than allowed.
    #[error("answered with {bytes} bytes, more than it may")]
    Output {
        /// Size of the answer, in bytes.
        bytes: u64,
    },
    /// It trapped.
    #[error("trapped: {message}")]
    Trap {
        /// The engine's account of the trap.
        message: String,
    },
    /// Its answer makes no sense, such as a score above 100.
    #[error("answered nonsense: {message}")]
    Nonsense {
        /// What is wrong with the answer.
        message: String,
    },
    /// No module answered at all.
    #[error("no policy module is loaded that could answer")]
    Silence,
    /// It misbehaved too often and is not asked any more.
    #[error("is in quarantine since it {cause}")]
    Quarantined {
        /// The fault that was one too many.
        cause: String,
    },
}

impl From<Fault> for Verdict {
    /// The one place where a fault becomes a verdict: deny (invariant 3).
    fn from(fault: Fault) -> Self {
        Self::Deny(Reason::new(
            "host.fault",
            format!("a policy module failed, so this is denied: it {fault}"),
        ))
    }
}

/// What one module said, kept in the decision's record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModuleAnswer {
    /// Name of the module in `policy.toml`.
    pub module: String,
    /// Digest of the module's bytes.
    pub digest: Digest,
    /// Its verdict, or its fault.
    pub answer: Answer,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// A verdict or a fault.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The module answered.
    Verdict(Verdict),
    /// The module misbehaved.
    Fault(Fault),
}

/// The merged answer of a policy set to one question, with its parts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// The strictest of all answers; deny when there was none.
    pub verdict: Verdict,
    /// What each module said.
    pub answers: Vec<ModuleAnswer>,
    /// Generation of the policy set that answered.
    pub generation: u64,
    /// Rules whose asking or denying did not count, because an admin broke the
    /// glass over them; as in `shell.network`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    /// What the modules were asked with, so that they can be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<Asked>>,
}

impl Judgement {
    /// Merges by `max`; no answer at all is a denial.
    pub fn merge(generation: u64, answers: Vec<ModuleAnswer>) -> Self {
        Self::merge_granting(generation, answers, |_| false)
    }

    /// The same, but an answer under a rule that is `granted` counts as allow, and is
    /// listed. Faults, silence and the host's own rules (`host.*`) always count.
    pub fn merge_granting(
        generation: u64,
        answers: Vec<ModuleAnswer>,
        granted: impl Fn(&str) -> bool,
    ) -> Self {
        let mut used = Vec::new();
        let verdict = answers
            .iter()
            .map(|answer| match &answer.answer {
                Answer::Verdict(verdict) => match verdict.reason() {
                    Some(reason) if !reason.rule.starts_with("host.") && granted(&reason.rule) => {
                        if !used.contains(&reason.rule) {
                            used.push(reason.rule.clone());
                        }
                        Verdict::Allow
                    }
                    _ => verdict.clone(),
                },
                Answer::Fault(fault) => fault.clone().into(),
            })
            .reduce(Verdict::stricter)
            .unwrap_or_else(|| Fault::Silence.into());
        Self {
            verdict,
            answers,
            generation,
            granted: used,
            asked: None,
        }
    }

    /// The verdict, unless one of the answers that count is stricter: a merge that
    /// went wrong must not loosen anything. Answers of modules on trial do not count,
    /// nor does what a granted rule says; the host's own rules are never granted, and
    /// a fault is no rule's answer.
    pub fn strictest(&self) -> Verdict {
        let counted = self
            .answers
            .iter()
            .filter(|answer| !answer.is_shadow())
            .map(|answer| match &answer.answer {
                Answer::Fault(fault) => fault.clone().into(),
                Answer::Verdict(verdict) => match verdict.reason() {
                    Some(reason) if self.is_granted(&reason.rule) => Verdict::Allow,
                    Some(_) | None => verdict.clone(),
                },
            });
        counted.fold(self.verdict.clone(), Verdict::stricter)
    }

    fn is_granted(&self, rule: &str) -> bool {
        !rule.starts_with("host.") && self.granted.iter().any(|granted| granted == rule)
    }
}

impl ModuleAnswer {
    /// What the names of modules begin with whose answers are only recorded.
    pub const SHADOW: &'static str = "shadow:";

    /// The answer is recorded only; it decides nothing.
    pub fn is_shadow(&self) -> bool {
        self.module.starts_with(Self::SHADOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(module: &str, answer: Answer) -> ModuleAnswer {
        ModuleAnswer {
            module: module.to_owned(),
            digest: Digest::of(module.as_bytes()),
            answer,
            micros: 1,
        }
    }

    fn denies(rule: &str) -> Answer {
        Answer::Verdict(Verdict::Deny(Reason::new(rule, "no")))
    }

    fn judged(answers: Vec<ModuleAnswer>, granted: &[&str]) -> u8 {
        let judgement = Judgement {
            verdict: Verdict::Allow,
            granted: granted.iter().map(ToString::to_string).collect(),
            ..Judgement::merge(1, answers)
        };
        judgement.strictest().strictness()
    }

    #[test]
    fn a_merge_that_went_wrong_loosens_nothing() {
        assert_eq!(judged(vec![answer("a", denies("shell.rm"))], &[]), 2);
        let fault = Answer::Fault(Fault::Silence);
        assert_eq!(judged(vec![answer("a", fault)], &[]), 2);
        let allows = answer("a", Answer::Verdict(Verdict::Allow));
        assert_eq!(judged(vec![allows], &[]), 0);
    }

    #[test]
    fn what_is_on_trial_decides_nothing() {
        assert_eq!(judged(vec![answer("shadow:a", denies("shell.rm"))], &[]), 0);
    }

    #[test]
    fn a_grant_opens_its_own_rule_and_nothing_else() {
        let rm = || answer("a", denies("shell.rm"));
        assert_eq!(judged(vec![rm()], &["shell.rm"]), 0);
        assert_eq!(judged(vec![rm()], &["shell"]), 2);
        assert_eq!(
            judged(vec![rm(), answer("b", denies("x.y"))], &["shell.rm"]),
            2
        );
        let own = answer("a", denies("host.marker"));
        assert_eq!(judged(vec![own], &["host.marker"]), 2);
        let fault = answer("a", Answer::Fault(Fault::Silence));
        assert_eq!(judged(vec![fault], &["host.fault"]), 2);
    }

    #[test]
    fn merging_lists_the_grants_that_were_used() {
        let both = || vec![answer("a", denies("shell.rm")), answer("b", denies("x.y"))];
        let judgement = Judgement::merge_granting(1, both(), |rule| rule == "shell.rm");
        assert_eq!(judgement.granted, ["shell.rm"]);
        assert_eq!(judgement.verdict.strictness(), 2);
        let judgement = Judgement::merge_granting(1, both(), |_| true);
        assert_eq!(judgement.granted, ["shell.rm", "x.y"]);
        assert_eq!(judgement.verdict, Verdict::Allow);
        assert_eq!(judgement.strictest(), Verdict::Allow);
        // No answer, and the host's own rules: nothing to grant.
        assert_eq!(
            Judgement::merge_granting(1, vec![], |_| true)
                .verdict
                .strictness(),
            2
        );
        let own = vec![answer("a", denies("host.marker"))];
        let judgement = Judgement::merge_granting(1, own, |_| true);
        assert_eq!(judgement.verdict.strictness(), 2);
        assert!(judgement.granted.is_empty());
    }

    #[test]
    fn evidence_points_into_the_judged_text_or_nowhere() {
        let judged = "{\"command\":\"rm -rf é\"}";
        let at = |start, end| Some(Span { start, end });
        let placed = |text: &str, span| {
            let evidence = Evidence {
                text: text.to_owned(),
                span,
            };
            evidence.found_in(judged).span
        };
        assert_eq!(placed("rm -rf", None), at(12, 18));
        assert_eq!(
            placed("anything", at(0, 3)),
            at(0, 3),
            "a module's own words"
        );
        for wrong in [at(5, 4_000), at(9, 3), at(4, 4), at(20, 21)] {
            assert_eq!(placed("not there", wrong), None, "{wrong:?}");
            assert_eq!(placed("rm", wrong), at(12, 14), "{wrong:?}");
        }
        assert_eq!(placed("", None), None);
    }

    #[test]
    fn evidence_of_earlier_logs_is_text_alone() {
        let old = r#"{"rule":"a.b","message":"m","evidence":"x"}"#;
        let reason: Reason = serde_json::from_str(old).unwrap();
        assert_eq!(reason.evidence, Some(Evidence::text("x")));
        let now = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&now).unwrap(), reason);
    }
}
