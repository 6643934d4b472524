//! What operators and the security team configured, as the rooms need it.

use selfheal_domain::agent::CheckCommand;
use selfheal_domain::policy::Environment;
use selfheal_domain::risk::AutonomyLevel;
use std::time::Duration;

/// Settings of the pipeline; immutable while the host runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the application runs.
    pub environment: Environment,
    /// Level until an admin sets another one.
    pub level: AutonomyLevel,
    /// No level above this one can be set.
    pub ceiling: AutonomyLevel,
    /// A reporter may not approve their own issue or its patch.
    pub four_eyes: bool,
    /// Test commands, most specific first.
    pub checks: Vec<CheckCommand>,
    /// Most runs per approval.
    pub max_attempts: u32,
    /// Wall-clock budget of one diagnosis.
    pub diagnosis_budget: Duration,
    /// How long services are watched after a patch.
    pub watch: Duration,
    /// The host's own limits on patches.
    pub limits: PatchLimits,
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
pub struct PathMatcher(std::sync::Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl PathMatcher {
    /// A matcher from a function.
    pub fn new(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(matches))
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
