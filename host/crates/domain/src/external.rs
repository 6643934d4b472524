//! Agents of other makers that run on their own, on a developer's machine or in a CI
//! job: they ask before each call of a tool, and obey the answer. Nothing contains
//! them but that answer, so what cannot be known is not allowed.

use crate::event::ToolOutcome;
use crate::policy::TrackRecord;
use crate::ports::CallRecorder;
use crate::risk::AutonomyLevel;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Whose hooks ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalAgent {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
    /// Google's Gemini CLI.
    Gemini,
}

impl ExternalAgent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ClaudeCode, Self::Codex, Self::Gemini];

    /// As on the command line and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
        }
    }
}

impl std::fmt::Display for ExternalAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ExternalAgent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|agent| agent.as_str() == text);
        found.ok_or_else(|| format!("an agent is claude-code, codex or gemini, got {text:?}"))
    }
}

/// A call that such an agent wants to make, in its own words.
#[derive(Clone, PartialEq, Debug)]
pub struct ExternalCall {
    /// Whose.
    pub agent: ExternalAgent,
    /// Its session, at most 128 characters.
    pub session: String,
    /// Its name of the call, where it has one; at most 128 characters.
    pub call: Option<String>,
    /// Its name of the tool, at most 256 characters.
    pub tool: String,
    /// Its input of the tool.
    pub input: serde_json::Value,
    /// Its working directory, absolute.
    pub directory: PathBuf,
}

/// Where a recorded call came from, when an agent of another maker asked, and what it
/// was told: the stricter of what the policies say and what the host itself insists
/// on where no sandbox contains.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExternalOrigin {
    /// Whose.
    pub agent: ExternalAgent,
    /// Its session.
    pub session: String,
    /// Its name of the call, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Its working directory.
    pub directory: String,
    /// What it was told.
    pub answer: Verdict,
}

/// What a check needs of the host at that moment.
#[derive(Clone)]
pub struct Situation {
    /// Autonomy in force.
    pub level: AutonomyLevel,
    /// Why everything is denied now, as in a freeze.
    pub stopped: Option<String>,
    /// What became of earlier runs.
    pub earned: TrackRecord,
    /// Where the call is recorded before it is answered.
    pub recorder: Arc<dyn CallRecorder>,
}

/// Judges calls that others carry out: the broker's facts, policies and record,
/// without its effect.
pub trait ExternalChecker: Send + Sync {
    /// May this call happen? On record when it returns anything but a denial.
    fn check(&self, call: &ExternalCall, situation: &Situation) -> Verdict;

    /// What came of a call. One that was never asked about is put on record as such.
    fn finished(&self, call: &ExternalCall, outcome: ToolOutcome, situation: &Situation);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for agent in ExternalAgent::ALL {
            assert_eq!(agent.as_str().parse(), Ok(agent));
            assert_eq!(
                serde_json::to_value(agent).unwrap(),
                serde_json::json!(agent.as_str())
            );
        }
        assert!("cursor".parse::<ExternalAgent>().is_err());
    }
}
