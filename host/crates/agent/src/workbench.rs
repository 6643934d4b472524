//! Opens the doors of runs to agents.

use crate::config::{PathRules, WorkbenchConfig, WorkbenchError};
use crate::masking::Masker;
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::ports::{Clock, IdSource};
use selfheal_sandbox::Sandbox;
use std::sync::Arc;

/// Everything the brokers of one repository share.
pub(crate) struct Bench {
    pub(crate) config: WorkbenchConfig,
    pub(crate) rules: PathRules,
    pub(crate) masker: Masker,
    pub(crate) policies: Arc<dyn PolicyHost>,
    pub(crate) sandbox: Sandbox,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Makes brokers for the sessions of one repository. Cheap to clone.
#[derive(Clone)]
pub struct SandboxWorkbench {
    bench: Arc<Bench>,
}

impl SandboxWorkbench {
    /// Checks the configuration and lays out the assets.
    ///
    /// # Errors
    /// See [`WorkbenchError`].
    pub fn new(
        mut config: WorkbenchConfig,
        policies: Arc<dyn PolicyHost>,
        sandbox: Sandbox,
        ids: Arc<dyn IdSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkbenchError> {
        let path = config.repository_root.clone();
        config.repository_root = path
            .canonicalize()
            .map_err(|source| WorkbenchError::Repository { path, source })?;
        let rules = PathRules::new(&config.secret_paths, &config.protected_paths)?;
        let masker = Masker::new(ids.uuid());
        Ok(Self {
            bench: Arc::new(Bench {
                config,
                rules,
                masker,
                policies,
                sandbox,
                ids,
                clock,
            }),
        })
    }
}
