//! What the keeper knows.

use crate::config::PolicyConfig;
use crate::generations::Kept;
use crate::set::ActiveSet;
use crate::trial::{Conduct, Trial};
use chrono::{DateTime, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy_control::{Grant, Proposal, Rollout};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The policy in force.
pub(super) struct InForce {
    pub(super) config: PolicyConfig,
    /// As it is kept; the text is the one in force.
    pub(super) kept: Kept,
}

/// A proposal with what it takes to carry it out.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct OpenProposal {
    pub(super) proposal: Proposal,
    /// The whole of the `policy.toml` that is proposed.
    pub(super) text: String,
    pub(super) rollout: Rollout,
    /// Generation in force while it waits.
    pub(super) base: u64,
    /// A kept generation whose bytes it uses.
    pub(super) from: Option<u64>,
}

/// A generation that came into force a moment ago.
pub(super) struct Watched {
    pub(super) generation: u64,
    /// The last good one.
    pub(super) previous: Kept,
    pub(super) until: DateTime<Utc>,
    pub(super) conduct: Conduct,
    /// Share of tool calls that are usually refused, in percent.
    pub(super) usual: Option<f64>,
}

/// Everything that changes.
pub(super) struct State {
    pub(super) in_force: InForce,
    /// Newest first; the first is in force.
    pub(super) history: Vec<Kept>,
    /// Highest number given out.
    pub(super) last_generation: u64,
    pub(super) not_in_force: Option<String>,
    /// Content of the file that was dealt with last.
    pub(super) file_seen: Option<Digest>,
    pub(super) proposals: BTreeMap<u64, OpenProposal>,
    pub(super) last_proposal: u64,
    pub(super) grants: Vec<Grant>,
    pub(super) last_grant: u64,
    /// Modules whose quarantine is recorded.
    pub(super) quarantined: BTreeSet<String>,
    pub(super) trial: Option<Trial>,
    pub(super) watched: Option<Watched>,
    /// How the generation in force does.
    pub(super) conduct: Conduct,
    /// Generations that may still decide for somebody.
    pub(super) retired: Vec<Arc<ActiveSet>>,
}

impl State {
    /// A number that was never given out.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.last_generation
    }
}
