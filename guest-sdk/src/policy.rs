//! The traits that a policy implements.

use crate::{
    Admission, Assessment, Context, Decision, Description, Issue, Patch, Settings, ToolCall,
    Verdict,
};

/// What every module answers.
pub trait Policy: Sized {
    /// Name, version, kind, settings schema and examples. The host asks each
    /// example when it loads the module and refuses one that fails its own.
    fn describe() -> Description;

    /// Reads the settings of `policy.toml`. Called in every fresh instance before
    /// the question.
    ///
    /// # Errors
    /// A sentence for the admin: which setting is wrong and what it may be. The
    /// host then refuses the whole policy set.
    fn configure(settings: &Settings) -> Result<Self, String>;
}

/// Judges tool calls and finished patches.
pub trait Guardrail: Policy {
    /// May this tool call happen?
    fn judge_tool_call(&self, context: &Context, call: &ToolCall) -> Verdict;
    /// Is this patch acceptable?
    fn judge_patch(&self, context: &Context, patch: &Patch) -> Verdict;
}

/// Scores patches.
pub trait Risk: Policy {
    /// Score from 0 to 100 with its factors. A higher score counts as a fault.
    fn assess(&self, context: &Context, patch: &Patch) -> Assessment;
}

/// Decides what becomes of an assessed patch, and which issues start alone.
pub trait Autonomy: Policy {
    /// What happens to this patch? The host never goes beyond the configured level.
    fn decide(&self, context: &Context, patch: &Patch, assessment: &Assessment) -> Decision;
    /// May this issue start without an admin?
    fn admit(&self, context: &Context, issue: &Issue) -> Admission;
}
