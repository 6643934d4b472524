//! The facts of a call without anything happening: what a policy would be asked. For
//! policy authors, who write calls down and want the question that a host makes of
//! them.

use crate::config::{PathRules, WorkbenchError};
use crate::facts::{Scope, facts_of};
use crate::masking::Masker;
use crate::view::View;
use selfheal_domain::patch::is_test_path;
use selfheal_domain::policy::ToolCallFacts;
use selfheal_domain::tools::ToolRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use uuid::Uuid;

/// A workspace that calls are about.
#[derive(Clone, Debug)]
pub struct PreviewConfig {
    /// Root of the workspace, absolute; it must be there.
    pub root: PathBuf,
    /// The environment of commands: `PATH` decides which programs are found.
    pub environment_variables: BTreeMap<String, String>,
    /// Globs of files whose content no agent gets; as in a workbench.
    pub secret_paths: Vec<String>,
    /// Globs of files no agent writes; as in a workbench.
    pub protected_paths: Vec<String>,
    /// Files that git knows, relative to the root.
    pub tracked: BTreeSet<String>,
}

/// Extracts facts the way the broker does.
pub struct FactPreview {
    view: View,
    rules: PathRules,
    masker: Masker,
    config: PreviewConfig,
}

impl FactPreview {
    /// Checks the configuration.
    ///
    /// # Errors
    /// The root is not there, or a glob is none.
    pub fn new(mut config: PreviewConfig) -> Result<Self, WorkbenchError> {
        let path = config.root.clone();
        config.root = path
            .canonicalize()
            .map_err(|source| WorkbenchError::Repository { path, source })?;
        Ok(Self {
            view: View::new(config.root.clone(), Vec::new()),
            rules: PathRules::new(&config.secret_paths, &config.protected_paths)?,
            // Marks of masked secrets are the same in every preview.
            masker: Masker::new(Uuid::nil()),
            config,
        })
    }

    /// The facts of a call. Never fails: what cannot be understood says so.
    pub fn facts(&self, request: &ToolRequest) -> ToolCallFacts {
        let git = self.config.root.join(".git");
        let tracked = |relative: &str| self.config.tracked.contains(relative);
        let secret = |relative: &str| {
            self.rules.is_secret(relative) && !(is_test_path(relative) && tracked(relative))
        };
        let scope = Scope::with(
            &self.view,
            &self.config.environment_variables,
            &self.masker,
            Box::new(tracked),
            Box::new(|path, relative| {
                path.starts_with(&git)
                    || relative.is_some_and(|relative| {
                        self.rules.is_protected(relative) || secret(relative)
                    })
            }),
        );
        facts_of(request, &scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_domain::policy::AccessMode;
    use selfheal_domain::tools::WorkspaceAccess;
    use std::time::Duration;

    #[test]
    fn a_preview_sees_programs_files_and_what_is_out_of_reach() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("KEY"), "x").unwrap();
        std::fs::write(home.path().join("a.py"), "x").unwrap();
        let preview = FactPreview::new(PreviewConfig {
            root: home.path().to_owned(),
            environment_variables: BTreeMap::from([(
                "PATH".to_owned(),
                "/usr/bin:/bin".to_owned(),
            )]),
            secret_paths: vec!["KEY".to_owned()],
            protected_paths: Vec::new(),
            tracked: BTreeSet::from(["a.py".to_owned()]),
        })
        .unwrap();
        let facts = preview.facts(&ToolRequest::Bash {
            command: "env cat KEY > a.py".to_owned(),
            directory: String::new(),
            timeout: Duration::from_secs(1),
            access: WorkspaceAccess::Keep,
        });
        let programs: Vec<&str> = facts
            .commands
            .iter()
            .map(|command| command.program.text.as_str())
            .collect();
        assert!(programs.contains(&"cat"), "{programs:?}");
        let of = |name: &str| {
            facts
                .paths
                .iter()
                .find(|path| path.relative.as_deref() == Some(name))
        };
        assert!(of("KEY").unwrap().protected);
        let written = of("a.py").unwrap();
        assert_eq!(written.mode, AccessMode::Write);
        assert!(written.tracked && !written.protected);
    }
}
