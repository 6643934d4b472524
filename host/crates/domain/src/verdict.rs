//! A guardrail's answer, and how answers merge: `allow < ask < deny`, by `max`,
//! so that neither order nor speed of modules can matter (invariant 5).

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Why a guardrail asks or denies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Rule id, stable across versions of a module, as in `shell.rm-recursive`.
    pub rule: String,
    /// One sentence for the person or agent that reads it.
    pub message: String,
    /// The part of the input that decided, if one part did.
    #[serde(default)]
    pub evidence: Option<String>,
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
}

impl Judgement {
    /// Merges by `max`; no answer at all is a denial.
    pub fn merge(generation: u64, answers: Vec<ModuleAnswer>) -> Self {
        let verdict = answers
            .iter()
            .map(|answer| match &answer.answer {
                Answer::Verdict(verdict) => verdict.clone(),
                Answer::Fault(fault) => fault.clone().into(),
            })
            .reduce(Verdict::stricter)
            .unwrap_or_else(|| Fault::Silence.into());
        Self {
            verdict,
            answers,
            generation,
        }
    }
}
