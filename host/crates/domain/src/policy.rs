//! What policies judge: facts about a tool call or a patch, and the context
//! around them. Mirrors `guest-sdk/wit/v1`.

use crate::digest::Digest;
use crate::ids::RunRef;
use crate::policy_control::ENFORCEMENT_MARKER;
use crate::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use crate::user::TrustClass;
use crate::verdict::Judgement;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the application runs; rules are tighter towards production.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine.
    Local,
    /// Shared development.
    Dev,
    /// Staging.
    Staging,
    /// The real thing; the default, because it is the strictest.
    #[default]
    Production,
}

/// What an agent is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentPhase {
    /// Reading and running, nothing written survives.
    Diagnosis,
    /// Writing in the run's worktree.
    Drafting,
    /// The host proves or verifies a patch.
    Verification,
}

/// What a run has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunCounters {
    /// Tool calls judged.
    pub tool_calls: u64,
    /// Of these, denied.
    pub denied: u64,
    /// Files written.
    pub files_written: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Seconds since the run started.
    pub seconds: u64,
    /// Commands that changed files they had not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surplus: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Verified outcomes of earlier runs, as the log has them. Autonomy is earned here
/// and lost here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrackRecord {
    /// Patches that were applied and passed verification.
    pub healed: u32,
    /// Runs that ended without a verified patch.
    pub failed: u32,
    /// Patches that were applied and undone.
    pub rolled_back: u32,
    /// Patches healed since the last one that was undone.
    pub streak: u32,
}

/// The situation a question is asked in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PolicyContext {
    /// Issue and run; none for `selfheal heal`, which has no issue.
    pub run: Option<RunRef>,
    /// What the agent is doing.
    pub phase: AgentPhase,
    /// Where the application runs.
    pub environment: Environment,
    /// Configured autonomy.
    pub level: AutonomyLevel,
    /// Who acts, as in `engine:builtin`.
    pub actor: String,
    /// Lowest trust class of the texts that led here.
    pub trust: TrustClass,
    /// The service that the issue is about, when one is known.
    #[serde(default)]
    pub service: Option<String>,
    /// Earlier runs about that service; about any where none is known.
    #[serde(default)]
    pub earned: TrackRecord,
    /// The run so far.
    pub counters: RunCounters,
}

/// A text that is known exactly, or only guessed at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Word {
    /// The text, as far as it is known.
    pub text: String,
    /// False when expansion, substitution or a glob decides only at run time.
    pub certain: bool,
}

/// One program start that a shell command leads to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SimpleCommand {
    /// The program as written, with wrappers (`env`, `sudo`, `xargs`) taken off.
    pub program: Word,
    /// The file that would run, links followed, when that is known.
    pub resolved: Option<String>,
    /// Arguments.
    pub arguments: Vec<Word>,
    /// False when it cannot be known that this is what would run.
    pub certain: bool,
}

/// What happens to a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessMode {
    /// Content or listing is read.
    Read,
    /// An existing file changes.
    Write,
    /// A file comes to be.
    Create,
    /// A file goes.
    Delete,
}

/// One access to one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PathAccess {
    /// Canonical absolute path as the agent sees it, links followed.
    pub path: String,
    /// The same relative to the workspace, when inside.
    pub relative: Option<String>,
    /// What happens.
    pub mode: AccessMode,
    /// Known exactly, or guessed from a command's arguments.
    pub certain: bool,
    /// Git knows the file.
    pub tracked: bool,
    /// `policy.toml` protects it.
    pub protected: bool,
    /// The path as given, when it went through a symbolic link.
    pub link: Option<String>,
}

/// A tool call as policies see it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolCallFacts {
    /// Tool name: `Bash`, `Read`, `Grep`, `Glob`, `Write`, `Edit`, `MultiEdit`, `Task`, or
    /// `mcp__SERVER__TOOL`.
    pub tool: String,
    /// The call's input as JSON, secrets masked.
    pub input: String,
    /// For `Bash`: every program the command leads to.
    pub commands: Vec<SimpleCommand>,
    /// False when the command could not be understood as a whole.
    pub parsed: bool,
    /// Files it touches, as far as known.
    pub paths: Vec<PathAccess>,
    /// Hosts it would talk to, as far as known.
    pub network: Vec<String>,
    /// Bytes it writes.
    pub bytes: u64,
}

impl ToolCallFacts {
    /// The call only tries whether it is refused.
    pub fn bears_marker(&self) -> bool {
        self.input.contains(ENFORCEMENT_MARKER)
    }
}

/// How a file changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// New file.
    Added,
    /// Changed file.
    Modified,
    /// Removed file.
    Deleted,
}

/// One changed file, as policies see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PatchFileFacts {
    /// Path relative to the repository.
    pub path: String,
    /// Kind of change.
    pub change: ChangeKind,
    /// Lines added, without their line ends.
    pub added: Vec<String>,
    /// Lines removed.
    pub removed: Vec<String>,
    /// It is a test, by path and content.
    pub test: bool,
    /// `policy.toml` protects it.
    pub protected: bool,
    /// Tracked files that import it, as far as their text tells; `u32::MAX` when not all
    /// of them could be looked at, so that not knowing never looks safer than knowing.
    #[serde(default)]
    pub dependents: u32,
    /// Who owns it, as `CODEOWNERS` says.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Earlier heals of this file that stand.
    #[serde(default)]
    pub earlier_heals: u32,
    /// Earlier heals of this file that were undone.
    #[serde(default)]
    pub earlier_rollbacks: u32,
}

/// A finished patch, as policies see it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PatchFacts {
    /// Digest of the unified diff.
    pub digest: Digest,
    /// The unified diff.
    pub diff: String,
    /// Its files.
    pub files: Vec<PatchFileFacts>,
    /// What the agent claims; may raise risk, never lower it (invariant 6).
    pub claimed_confidence: f64,
    /// The host saw the reproduction fail on base and pass on the patch.
    pub reproduction_proved: bool,
    /// Other patches that pass the same tests: ambiguity.
    pub rivals: u32,
    /// Severity of the issue, as in `CRITICAL`.
    pub severity: String,
}

impl PatchFacts {
    /// The patch only tries whether it is refused.
    pub fn bears_marker(&self) -> bool {
        self.diff.contains(ENFORCEMENT_MARKER)
    }
}

/// An issue that waits for approval, as an autonomy module sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IssueFacts {
    /// Number.
    pub number: u64,
    /// As in `CRITICAL`.
    pub severity: String,
    /// As in `reliability`.
    pub category: String,
    /// As in `web`.
    pub source: String,
    /// Lowest trust class of its texts.
    pub trust: TrustClass,
}

/// An earlier tool call of a run, as modules can look it up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PastCall {
    /// Name of the tool.
    pub tool: String,
    /// `allow`, `ask` or `deny`.
    pub verdict: String,
    /// Rule that asked or denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What a question was asked with besides the facts that its event holds anyway:
/// recorded, so that it can be asked again and must get the same answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The situation, as modules saw it.
    pub context: PolicyContext,
    /// The run's latest calls that modules could look up, newest first.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub history: Arc<[Arc<PastCall>]>,
    /// The patch, where the question was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchFacts>,
    /// The issue, where the question was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<IssueFacts>,
    /// The patch's assessment, where the question was what happens to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<Box<Assessment>>,
}

/// One immutable generation of modules with their settings and limits. Every
/// method answers: faults and silence are denials, stops and top scores, never
/// errors (invariant 3).
pub trait PolicySet: Send + Sync {
    /// Counts up with each activation.
    fn generation(&self) -> u64;
    /// Over all modules, settings and limits.
    fn digest(&self) -> Digest;
    /// Names, kinds and digests of the modules, for people.
    fn modules(&self) -> Vec<ModuleIdentity>;
    /// May this tool call happen?
    fn judge_tool_call(&self, context: &PolicyContext, call: &ToolCallFacts) -> Judgement;
    /// Is this patch acceptable?
    fn judge_patch(&self, context: &PolicyContext, patch: &PatchFacts) -> Judgement;
    /// How risky is it?
    fn assess(&self, context: &PolicyContext, patch: &PatchFacts) -> Assessment;
    /// What happens to it?
    fn decide(
        &self,
        context: &PolicyContext,
        patch: &PatchFacts,
        assessment: &Assessment,
    ) -> AutonomyDecision;
    /// May the issue start without an admin?
    fn admit(&self, context: &PolicyContext, issue: &IssueFacts) -> Admission;
}

/// What kind of questions a module answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// Judges tool calls and patches.
    Guardrail,
    /// Scores patches.
    Risk,
    /// Decides what happens to a patch.
    Autonomy,
}

/// Which module is loaded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModuleIdentity {
    /// Name in `policy.toml`.
    pub name: String,
    /// The module's own version.
    pub version: String,
    /// Kind.
    pub kind: ModuleKind,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// Holds the active generation; one pointer read per decision.
pub trait PolicyHost: Send + Sync {
    /// The active generation.
    fn current(&self) -> Arc<dyn PolicySet>;

    /// The generation that is in force for a run: the active one, unless the run is
    /// part of a canary.
    fn for_run(&self, run: Option<RunRef>) -> Arc<dyn PolicySet> {
        let _ = run;
        self.current()
    }

    /// Something that the host saw a run do and that policies should find in its
    /// history from now on.
    fn observed(&self, run: Option<RunRef>, what: PastCall) {
        let _ = (run, what);
    }
}
