//! What operators and the security team configured, as the rooms need it.

use selfheal_domain::agent::CheckCommand;
use selfheal_domain::policy::Environment;
use selfheal_domain::risk::AutonomyLevel;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What the security team says to the rooms; others come into force with another
/// policy, while the host runs.
#[derive(Clone, Debug)]
pub struct HostRules {
    /// Where the application runs.
    pub environment: Environment,
    /// Level until an admin sets another one.
    pub level: AutonomyLevel,
    /// No level above this one is in force.
    pub ceiling: AutonomyLevel,
    /// A reporter may not approve their own issue or its patch, and no admin lets another
    /// one in alone.
    pub four_eyes: bool,
    /// The host's own limits on patches.
    pub limits: PatchLimits,
}

/// The rules in force. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct RulesInForce(Arc<RwLock<Arc<HostRules>>>);

impl RulesInForce {
    /// With these to begin with.
    pub fn new(rules: HostRules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// What is in force now. Whoever looks twice may see two policies.
    pub fn get(&self) -> Arc<HostRules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Others from now on.
    pub fn put(&self, rules: HostRules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

/// Settings of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `policy.toml` says.
    pub rules: RulesInForce,
    /// Test commands, most specific first.
    pub checks: Vec<CheckCommand>,
    /// Most runs per approval.
    pub max_attempts: u32,
    /// Most agents at work at once. Applying, verifying and undoing go on beside them.
    pub concurrency: NonZeroUsize,
    /// Wall-clock budget of one diagnosis.
    pub diagnosis_budget: Duration,
    /// How long services are watched after a patch.
    pub watch: Duration,
    /// Directory of each service relative to the repository, to know which ones a patch affects.
    pub service_directories: Vec<(String, String)>,
    /// Makes pseudonyms of user names differ between installations.
    pub installation: String,
}

/// The host's own limits on patches, which no module can loosen.
#[derive(Clone, Debug)]
pub struct PatchLimits {
    /// Most files.
    pub max_files: usize,
    /// Most lines added and removed.
    pub max_changed_lines: usize,
    /// Paths that no patch may touch.
    pub protected: PathMatcher,
}

/// Decides whether a relative path is protected.
#[derive(Clone)]
pub struct PathMatcher(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl PathMatcher {
    /// A matcher from a function.
    pub fn new(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(matches))
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        (self.0)(path)
    }
}

impl std::fmt::Debug for PathMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PathMatcher")
    }
}
