//! How admins change the policy set of a running host: what they can ask for, what
//! they are told. Implemented by the policy host's keeper, used by the API.
//!
//! Every change goes the same way: a candidate is prepared, which may fail and
//! changes nothing; compared with what is in force; then activated, which cannot
//! fail, or kept as a proposal until a second admin agrees.

use crate::digest::Digest;
use crate::ids::IssueNumber;
use crate::ledger::Seen;
use crate::policy::{Environment, ModuleIdentity, ModuleKind};
use crate::risk::{AutonomyDecision, AutonomyLevel};
use crate::user::Actor;
use crate::verdict::Reason;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest break-glass grant, in minutes.
pub const LONGEST_GRANT_MINUTES: u32 = 240;

/// Stands in the actions that prove enforcement. Every policy set denies what bears
/// it, whatever its modules are, so that a denial proves that the set in force was
/// asked and obeyed.
pub const ENFORCEMENT_MARKER: &str = "selfheal-enforcement-marker";

/// Rule of every policy set that denies the marker. Like all `host.*` rules it can
/// never be granted.
pub const MARKER_RULE: &str = "host.marker";

/// A policy set that might come into force.
#[derive(Clone, PartialEq, Debug)]
pub enum Candidate {
    /// The whole of a `policy.toml`.
    Text(String),
    /// The `policy.toml` in force with some modules changed.
    Edits(Vec<ModuleEdit>),
}

/// A change of one `[[module]]`; what is not named stays.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleEdit {
    /// The module; a name that is not there adds one, which needs kind and source.
    pub name: String,
    /// Its kind.
    #[serde(default)]
    pub kind: Option<ModuleKind>,
    /// As in `policy.toml`: `bundled:NAME`, `sha256:HEX`, `oci://…`, or a path.
    #[serde(default)]
    pub source: Option<String>,
    /// `enforce`, `shadow` or `off`.
    #[serde(default)]
    pub mode: Option<String>,
    /// Replaces all settings of the module.
    #[serde(default)]
    pub settings: Option<serde_json::Value>,
    /// Takes the module out.
    #[serde(default)]
    pub remove: bool,
}

/// How far a candidate's change is to be trusted with traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "rollout")]
pub enum Rollout {
    /// In force for everything.
    Full,
    /// Asked beside the set in force; its answers are compared, never obeyed.
    Shadow,
    /// In force for a share of the runs.
    Canary {
        /// 1 to 99 of 100 runs.
        percent: u8,
    },
}

/// Where a change came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeSource {
    /// The host's start.
    Start,
    /// An edit of `policy.toml`.
    File,
    /// The API, also by way of the command line.
    Api,
    /// The host itself, because a canary or a new generation misbehaved.
    Return,
}

/// One recorded question whose answer a candidate changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDecision {
    /// Position of its record in the log.
    pub seq: u64,
    /// What was asked, in one line, as in `Bash: git push`.
    pub question: String,
    /// The answer in force, as in `deny shell.git-push`, `risk 12`, `apply`.
    pub before: String,
    /// The candidate's answer.
    pub after: String,
    /// The reason of the stricter of both.
    pub reason: Option<Reason>,
}

/// What a candidate would have changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPlan {
    /// Digest of the candidate set.
    pub digest: String,
    /// Generation that it was compared with.
    pub against: u64,
    /// Recorded decisions that were asked again.
    pub replayed: u64,
    /// Of these, how many the set in force answers as recorded.
    pub reproduced: u64,
    /// Recorded decisions that do not say what was asked, because an earlier version
    /// wrote them.
    #[serde(default)]
    pub skipped: u64,
    /// Answers that got looser.
    pub loosened: u64,
    /// Answers that got stricter.
    pub tightened: u64,
    /// The same verdict for another reason.
    pub reworded: u64,
    /// The first few that got looser.
    pub loosening: Vec<ChangedDecision>,
    /// The first few that got stricter.
    pub tightening: Vec<ChangedDecision>,
    /// What gets looser whatever is asked, as in "module `path-guard` is removed".
    pub structural_loosening: Vec<String>,
    /// What cannot get looser, as in "module `no-docker` is added".
    pub structural_tightening: Vec<String>,
    /// Changes whose effect nobody can know for all questions, as in "settings of
    /// `shell-guard` change".
    pub unproved: Vec<String>,
    /// Faults of the candidate's modules while they were asked.
    pub faults: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl PolicyPlan {
    /// Whether the change is known to loosen nothing.
    pub fn only_tightens(&self) -> bool {
        self.loosened == 0 && self.structural_loosening.is_empty() && self.unproved.is_empty()
    }
}

/// What became of a change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum ChangeOutcome {
    /// In force.
    #[serde(rename_all = "camelCase")]
    Activated {
        /// The new generation.
        generation: u64,
        /// What it changes.
        plan: Box<PolicyPlan>,
    },
    /// Runs beside the set in force, or for a share of runs.
    #[serde(rename_all = "camelCase")]
    OnTrial {
        /// Its generation.
        generation: u64,
        /// How.
        rollout: Rollout,
        /// What it changes.
        plan: Box<PolicyPlan>,
    },
    /// Waits for another admin. Where the change also tightens, the stricter of both
    /// sets is in force meanwhile.
    #[serde(rename_all = "camelCase")]
    Proposed {
        /// The proposal.
        proposal: u64,
        /// The generation in force now.
        generation: u64,
        /// What it changes.
        plan: Box<PolicyPlan>,
    },
    /// The set in force is the same already.
    #[serde(rename_all = "camelCase")]
    Unchanged {
        /// The generation in force.
        generation: u64,
    },
}

/// A change that waits for a second admin.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its number.
    pub number: u64,
    /// Who wants it; none for an edit of the file.
    pub by: Option<Actor>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: DateTime<Utc>,
    /// What it changes.
    pub plan: PolicyPlan,
}

/// A rule over which an admin broke the glass.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Its number.
    pub number: u64,
    /// The rule whose asking and denying does not count, as in `shell.network`.
    pub rule: String,
    /// Only in this issue; anywhere if none.
    pub issue: Option<IssueNumber>,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: Actor,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Decisions that used it.
    pub used: u64,
}

/// State of one module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleState {
    /// Its answers count.
    Enforcing,
    /// Its answers are recorded only.
    Shadow,
    /// Not loaded.
    Off,
    /// Misbehaved too often: counts as its strictest answer, without being asked.
    Quarantined,
}

/// How one module does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Name, version, kind, digest.
    pub identity: ModuleIdentity,
    /// Its state.
    pub state: ModuleState,
    /// Why, where that needs saying, as in the fault that quarantined it.
    pub reason: Option<String>,
    /// Where its bytes came from.
    pub source: String,
    /// Publisher that signed it; none for bundled and unsigned ones.
    pub publisher: Option<String>,
    /// Capabilities it was granted.
    pub capabilities: Vec<String>,
    /// Generation in which it came into force as it is.
    pub generation: u64,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Questions that it answered since then.
    pub asked: u64,
    /// How often each rule asked or denied; a rule of its examples that never did
    /// has 0.
    pub hits: BTreeMap<String, u64>,
    /// Faults since then.
    pub faults: u64,
    /// The last fault.
    pub last_fault: Option<String>,
    /// Half of its answers took at most this long, in microseconds.
    pub p50_micros: f64,
    /// 99 of 100 answers took at most this long, in microseconds.
    pub p99_micros: f64,
}

/// How a candidate on trial does against the set in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialStatus {
    /// Its generation.
    pub generation: u64,
    /// How it is tried.
    pub rollout: Rollout,
    /// Who started it.
    pub by: Actor,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Questions it was asked.
    pub asked: u64,
    /// Answers looser than those of the set in force.
    pub looser: u64,
    /// Stricter answers.
    pub stricter: u64,
    /// Faults.
    pub faults: u64,
    /// The latest differences.
    pub differences: Vec<ChangedDecision>,
}

/// What a marker action that must be refused came to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementStatus {
    /// All enforcement points refused their marker when last asked.
    pub proved: bool,
    /// When that was.
    pub at: Option<DateTime<Utc>>,
    /// Generation that refused.
    pub generation: u64,
    /// Each point and what it answered.
    pub points: Vec<EnforcementPoint>,
}

/// One way from an agent to the world.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementPoint {
    /// Its name, as in `tool:Bash`.
    pub name: String,
    /// It refused the marker.
    pub refused: bool,
    /// What it answered.
    pub detail: String,
}

/// How the policies stand.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Generation in force.
    pub generation: u64,
    /// Digest of the set.
    pub digest: Digest,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Where it came from.
    pub source: ChangeSource,
    /// Where the application runs.
    pub environment: Environment,
    /// Highest level.
    pub ceiling: AutonomyLevel,
    /// Loosening needs a second admin.
    pub four_eyes: bool,
    /// The modules.
    pub modules: Vec<ModuleStatus>,
    /// Why `policy.toml` as it is on disk is not in force; none when it is.
    pub not_in_force: Option<String>,
    /// A candidate on trial.
    pub trial: Option<TrialStatus>,
    /// Changes that wait for a second admin.
    pub proposals: Vec<Proposal>,
    /// Rules over which the glass is broken now.
    pub grants: Vec<Grant>,
    /// Generations that can be gone back to, newest first.
    pub kept: Vec<KeptGeneration>,
    /// Proof of enforcement.
    pub enforcement: EnforcementStatus,
}

impl PolicyStatus {
    /// Another one whenever a change came into force, was proposed, tried out or taken back;
    /// what modules were asked and answered counts nothing.
    pub fn version(&self) -> String {
        let mut parts = vec![
            self.generation.to_string(),
            self.digest.to_string(),
            self.not_in_force.clone().unwrap_or_default(),
        ];
        let trial = self.trial.iter();
        parts.extend(trial.map(|trial| format!("trial {}", trial.generation)));
        let proposals = self.proposals.iter();
        parts.extend(proposals.map(|proposal| format!("proposal {}", proposal.number)));
        let grants = self.grants.iter();
        parts.extend(grants.map(|grant| format!("grant {}", grant.number)));
        let confined = |module: &&ModuleStatus| module.state == ModuleState::Quarantined;
        let confined = self.modules.iter().filter(confined);
        parts.extend(confined.map(|module| format!("confined {}", module.identity.name)));
        Seen::version_of(parts.iter().map(String::as_str))
    }

    /// Whether they are as somebody saw them.
    ///
    /// # Errors
    /// [`PolicyRefusal::Stale`].
    pub fn check(&self, seen: &Seen) -> Result<(), PolicyRefusal> {
        let checked = seen.check("the policy set", &self.version());
        checked.map_err(|stale| PolicyRefusal::Stale(stale.to_string()))
    }
}

/// A generation that was in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptGeneration {
    /// Its number.
    pub generation: u64,
    /// Digest of its set.
    pub digest: Digest,
    /// When it came into force.
    pub at: DateTime<Utc>,
    /// Who or what brought it.
    pub source: ChangeSource,
}

/// One module's answer when a recorded decision is asked again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Name of the module.
    pub module: String,
    /// Its answer, as in `deny shell.git-push` or `score 40`.
    pub answer: String,
    /// Its reason, for verdicts.
    pub reason: Option<Reason>,
    /// Its factors, for scores: name, points, evidence.
    pub factors: Vec<(String, u32, String)>,
    /// It decided.
    pub decided: bool,
}

/// Why a decision came out as it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Position of its record in the log.
    pub seq: u64,
    /// What was asked, in one line.
    pub question: String,
    /// The answer as recorded.
    pub recorded: String,
    /// What each module said, as recorded.
    pub modules: Vec<Explained>,
    /// The set that was asked again: `generation 7`, or the candidate's digest.
    pub under: String,
    /// What that set answers.
    pub answer: String,
    /// What each of its modules says.
    pub again: Vec<Explained>,
    /// The answer is the recorded one.
    pub same: bool,
}

/// Why a change of the policies is refused; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefusal {
    /// The candidate cannot be used. The text names the module, the line, the choices.
    #[error("{0}")]
    Unusable(String),
    /// There is no such proposal, generation, grant, module or decision.
    #[error("there is no {0}")]
    Unknown(String),
    /// The same admin cannot be the second one, or it is not allowed here.
    #[error("{0}")]
    Forbidden(String),
    /// It does not fit the state of things.
    #[error("{0}")]
    Conflict(String),
    /// They are not as they were seen.
    #[error("{0}")]
    Stale(String),
    /// `policy.toml` or the data directory cannot be read or written.
    #[error("{0}")]
    Unavailable(String),
}

/// Changes the policies of a running host.
pub trait PolicyControl: Send + Sync {
    /// How they stand.
    fn status(&self) -> PolicyStatus;

    /// The text of the `policy.toml` in force.
    fn text(&self) -> String;

    /// Does `act`, once, if the policies have a version that was `seen`; nothing else
    /// changes them in between.
    ///
    /// # Errors
    /// [`PolicyRefusal::Stale`] for any other version.
    fn while_seen(&self, seen: &Seen, act: &mut dyn FnMut()) -> Result<(), PolicyRefusal>;

    /// Keeps a module's bytes under their digest, so that a candidate can name it as
    /// `sha256:HEX`. `signature` is a detached one.
    ///
    /// # Errors
    /// Larger than a module may be, or it cannot be written.
    fn keep_module(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Digest, PolicyRefusal>;

    /// What `candidate` would have changed in the latest `decisions` recorded ones.
    ///
    /// # Errors
    /// The candidate cannot be prepared.
    fn plan(&self, candidate: &Candidate, decisions: u64) -> Result<PolicyPlan, PolicyRefusal>;

    /// Brings `candidate` into force, on trial, or before a second admin. Writes
    /// `policy.toml` when it comes into force.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn activate(
        &self,
        candidate: &Candidate,
        rollout: Rollout,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal>;

    /// A second admin agrees to a proposal.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn confirm(&self, proposal: u64, by: &Actor) -> Result<ChangeOutcome, PolicyRefusal>;

    /// Takes a proposal back.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn withdraw(&self, proposal: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal>;

    /// Brings the set on trial into force, or ends the trial.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn end_trial(
        &self,
        promote: Promote,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal>;

    /// Goes back to a kept generation (to the one before, if none is named), as a new
    /// generation.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn roll_back(
        &self,
        to: Option<u64>,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal>;

    /// Asks a quarantined module again.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn release(&self, module: &str, by: &Actor, reason: &str) -> Result<(), PolicyRefusal>;

    /// Breaks the glass over a rule, for at most [`LONGEST_GRANT_MINUTES`].
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn grant(
        &self,
        rule: &str,
        issue: Option<IssueNumber>,
        minutes: u32,
        by: &Actor,
        reason: &str,
    ) -> Result<Grant, PolicyRefusal>;

    /// Ends a grant early.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn revoke(&self, grant: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal>;

    /// What the autonomy modules in force say to the question of a recorded decision, were
    /// the level this one; none where the record does not say what was asked. It counts
    /// nowhere as a decision.
    fn decide_again(
        &self,
        decision: &AutonomyDecision,
        level: AutonomyLevel,
    ) -> Option<AutonomyDecision>;

    /// Why the decision recorded at `seq` came out as it did, and what the set in
    /// force (or `under`) says to the same question.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    fn explain(&self, seq: u64, under: Option<&Candidate>) -> Result<Explanation, PolicyRefusal>;
}

/// What becomes of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promote {
    /// Into force.
    Yes,
    /// Ended.
    No,
}
