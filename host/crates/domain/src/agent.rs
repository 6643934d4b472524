//! What an agent is asked and what it answers. The built-in engine and language
//! models implement the same [`Agent`].

use crate::digest::Digest;
use crate::ids::RunRef;
use crate::patch::{FileChange, Patch};
use crate::tools::{ToolError, Tools};
use crate::user::TrustClass;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A command that shows the bug: it fails now and must succeed afterwards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckCommand {
    /// For `/bin/sh -c`.
    pub command: String,
    /// Relative to the workspace; empty for its root.
    #[serde(default)]
    pub directory: String,
    /// Per run of the command.
    pub timeout: Duration,
}

/// A text an agent gets to read, with how far it is to be trusted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LabelledText {
    /// What it is, as in `title`, `log:web`.
    pub label: String,
    /// The text.
    pub text: String,
    /// Who vouches for it.
    pub trust: TrustClass,
}

/// What an agent is asked to diagnose.
#[derive(Clone, PartialEq, Debug)]
pub struct DiagnosisBrief {
    /// The run; none for a one-shot heal.
    pub run: Option<RunRef>,
    /// Title, description, steps, log tails, comments: data, never instructions.
    pub texts: Vec<LabelledText>,
    /// Commands that may show the bug (test suites, probes), most specific first.
    pub checks: Vec<CheckCommand>,
    /// Services of the application, by name.
    pub services: Vec<String>,
    /// Wall-clock budget of the whole diagnosis.
    pub budget: Duration,
    /// Patches that were rejected or failed: never propose them again.
    pub excluded: Vec<Digest>,
}

/// A patch that passed everything the agent could run, not yet written anywhere.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// The patch.
    pub patch: Patch,
    /// Why this fixes it.
    pub rationale: String,
    /// 0 to 1.
    pub confidence: f64,
}

/// What an agent found out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Diagnosis {
    /// In plain words.
    pub root_cause: String,
    /// 0 to 1.
    pub confidence: f64,
    /// Relative paths.
    pub affected_files: Vec<String>,
    /// Service names.
    #[serde(default)]
    pub affected_services: Vec<String>,
    /// In plain words, or a diff.
    pub suggested_fix: String,
    /// The check that fails because of the bug, when one was found.
    pub reproduction: Option<CheckCommand>,
    /// Patches found on the way, best first. Empty for agents that draft later.
    #[serde(default)]
    pub proposals: Vec<Proposal>,
    /// Everything that was tried, for people (at most 64 KiB).
    pub log: String,
    /// Work done.
    pub effort: Effort,
}

/// How much work went into an answer.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Effort {
    /// Candidate patches that were run.
    pub candidates: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// What an agent wrote.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// Why.
    pub rationale: String,
    /// 0 to 1.
    pub confidence: f64,
    /// Changed files, as written in the worktree.
    pub files: Vec<FileChange>,
    /// Other patches that pass the same checks, as diffs.
    #[serde(default)]
    pub rivals: Vec<String>,
    /// What was tried, for people who look closely; names the full transcript.
    #[serde(default)]
    pub log: String,
}

/// An agent could not do it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It looked and found nothing; the text says what was tried.
    #[error("{summary}")]
    NotFound {
        /// One sentence.
        summary: String,
        /// Everything that was tried.
        log: String,
        /// Work done.
        effort: Effort,
    },
    /// It cannot work, or came to no answer: its model is not available or out of
    /// budget, or it used up its own. Another agent may take over.
    #[error("{summary}")]
    Unavailable {
        /// One sentence, in our own words: nothing that a model or a server said.
        summary: String,
        /// Everything that was tried.
        log: String,
        /// Work done.
        effort: Effort,
    },
    /// There is nothing wrong: every check passes.
    #[error("nothing to heal: {0}")]
    NothingWrong(String),
    /// Its tools failed it.
    #[error("a tool call did not happen")]
    Tool(#[from] ToolError),
}

/// The agent of this name among `agent` and who stands in for it; `agent` where none
/// has it.
pub fn named<'a>(agent: &'a dyn Agent, name: &str) -> &'a dyn Agent {
    let mut other = Some(agent);
    while let Some(found) = other {
        if found.name() == name {
            return found;
        }
        other = found.stand_in();
    }
    agent
}

/// Diagnoses and drafts, through [`Tools`] only.
pub trait Agent: Send + Sync {
    /// As in `engine:builtin`; goes into records and trailers.
    fn name(&self) -> String;

    /// Who takes over where this agent is [`AgentError::Unavailable`].
    fn stand_in(&self) -> Option<&dyn Agent> {
        None
    }

    /// Finds the cause; read-only.
    ///
    /// # Errors
    /// See [`AgentError`].
    fn diagnose(&self, brief: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError>;

    /// Writes the patch into the worktree.
    ///
    /// # Errors
    /// See [`AgentError`].
    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError>;
}
