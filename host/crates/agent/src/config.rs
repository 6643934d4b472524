//! What a workbench works on and what it must keep out of reach.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use selfheal_domain::mcp::McpServers;
use selfheal_domain::policy::Environment;
use selfheal_domain::tools::Asset;
use selfheal_sandbox::Limits;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Files that usually hold secrets: a good start for
/// [`WorkbenchConfig::secret_paths`].
pub const DEFAULT_SECRET_PATHS: &[&str] = &[
    "**/.env",
    "**/.env.*",
    "**/*.pem",
    "**/*.key",
    "**/*.p12",
    "**/*.pfx",
    "**/*.jks",
    "**/*.keystore",
    "**/id_rsa*",
    "**/id_ecdsa*",
    "**/id_ed25519*",
    "**/.netrc",
    "**/.npmrc",
    "**/.pypirc",
    "**/.pgpass",
    "**/.git-credentials",
    "**/credentials.json",
    "**/secrets.{json,toml,yaml,yml}",
];

/// Files that steer the host itself or run code of their own accord: a good start
/// for [`WorkbenchConfig::protected_paths`].
pub const DEFAULT_PROTECTED_PATHS: &[&str] = &[
    "policy.toml",
    "selfheal.toml",
    "**/.git/**",
    "**/.git",
    "**/.gitmodules",
    "**/.gitattributes",
];

/// Templates that look like secret files but are made to be read.
const NEVER_SECRET: &[&str] = &[
    "**/.env.example",
    "**/.env.sample",
    "**/.env.template",
    "**/.env.dist",
    "**/.env.defaults",
];

/// One application's repository and the rules around it.
#[derive(Clone)]
pub struct WorkbenchConfig {
    /// Root of the live tree, absolute.
    pub repository_root: PathBuf,
    /// The repository's `.git` directory (or file), absolute: reads as empty.
    pub git_dir: PathBuf,
    /// Absolute directories and files that agents must not see: the data
    /// directory, policy files, keys. They read as empty. The run's own upper
    /// directory may be below one.
    pub private_dirs: Vec<PathBuf>,
    /// Globs, relative to the repository, of files whose content no agent gets;
    /// see [`DEFAULT_SECRET_PATHS`].
    pub secret_paths: Vec<String>,
    /// Globs, relative to the repository, of files no agent writes; see
    /// [`DEFAULT_PROTECTED_PATHS`].
    pub protected_paths: Vec<String>,
    /// Where the application runs.
    pub environment: Environment,
    /// The complete environment of commands; see
    /// [`selfheal_sandbox::allowed_environment`].
    pub environment_variables: BTreeMap<String, String>,
    /// Read-only files the agents bring along.
    pub assets: Vec<Asset>,
    /// Host directory in which `assets` are laid out; made if missing, its former
    /// content is removed. Belongs to this workbench alone.
    pub assets_dir: PathBuf,
    /// Host directory for throw-away layers of verifications; made if missing.
    /// On the same file system as the runs' upper directories, outside the
    /// repository.
    pub scratch_dir: PathBuf,
    /// Bounds on each command; `wall` is the longest time a call may ask for.
    pub limits: Limits,
    /// Whether git knows a file, by its path relative to the repository.
    pub tracked: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The MCP servers that agents may call, if any.
    pub mcp: Option<Arc<dyn McpServers>>,
}

impl fmt::Debug for WorkbenchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkbenchConfig")
            .field("repository_root", &self.repository_root)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// Why a workbench cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WorkbenchError {
    /// The repository is not there.
    #[error("the repository {} cannot be opened", path.display())]
    Repository {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A glob of the configuration is none.
    #[error("{glob:?} is not a glob")]
    Glob {
        /// The text.
        glob: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// An asset has a name that leads elsewhere.
    #[error("an asset cannot be named {0:?}: relative, with `/`, without `..`")]
    AssetName(String),
    /// An asset could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Which paths are out of reach. Paths are relative to the repository.
#[derive(Debug)]
pub(crate) struct PathRules {
    secret: GlobSet,
    never_secret: GlobSet,
    protected: GlobSet,
}

impl PathRules {
    pub(crate) fn new(secret: &[String], protected: &[String]) -> Result<Self, WorkbenchError> {
        let never: Vec<String> = NEVER_SECRET.iter().map(ToString::to_string).collect();
        Ok(Self {
            secret: globs(secret)?,
            never_secret: globs(&never)?,
            protected: globs(protected)?,
        })
    }

    /// Its content is for no agent. A directory that is secret makes everything
    /// in it secret.
    pub(crate) fn is_secret(&self, relative: &str) -> bool {
        matches_or_parent(&self.secret, relative) && !self.never_secret.is_match(relative)
    }

    /// No agent writes it.
    pub(crate) fn is_protected(&self, relative: &str) -> bool {
        is_git(relative) || matches_or_parent(&self.protected, relative)
    }
}

/// `.git` itself or something in it, at any depth, in any spelling that a
/// case-insensitive file system would take for it.
pub(crate) fn is_git(relative: &str) -> bool {
    relative
        .split('/')
        .any(|part| part.eq_ignore_ascii_case(".git"))
}

fn matches_or_parent(set: &GlobSet, relative: &str) -> bool {
    let mut path = relative;
    loop {
        if set.is_match(path) {
            return true;
        }
        match path.rfind('/') {
            Some(slash) => path = path.get(..slash).unwrap_or_default(),
            None => return false,
        }
    }
}

fn globs(texts: &[String]) -> Result<GlobSet, WorkbenchError> {
    let wrong = |glob: &str| {
        let glob = glob.to_owned();
        move |source| WorkbenchError::Glob { glob, source }
    };
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(glob(text).map_err(wrong(text))?);
    }
    set.build().map_err(wrong(&texts.join(" ")))
}

/// A glob in which `*` stops at `/`, as in shells and `.gitignore`.
pub(crate) fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> PathRules {
        let own = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
        PathRules::new(&own(DEFAULT_SECRET_PATHS), &own(DEFAULT_PROTECTED_PATHS)).expect("globs")
    }

    #[test]
    fn secrets_are_found_at_any_depth() {
        let rules = rules();
        for path in [".env", "a/b/.env", "deploy/key.pem", "id_rsa", ".env.local"] {
            assert!(rules.is_secret(path), "{path}");
        }
        for path in ["environment.py", ".env.example", "src/keys.py", "a.env"] {
            assert!(!rules.is_secret(path), "{path}");
        }
    }

    #[test]
    fn git_is_protected_in_every_spelling() {
        let rules = rules();
        for path in [".git", ".git/config", "sub/.GIT/hooks/x", "policy.toml"] {
            assert!(rules.is_protected(path), "{path}");
        }
        assert!(!rules.is_protected("src/policy.toml.py"));
        assert!(!rules.is_protected(".gitignore"));
    }

    #[test]
    fn a_wrong_glob_is_named() {
        let error = PathRules::new(&["a[".to_owned()], &[]).expect_err("no glob");
        assert!(error.to_string().contains("a["), "{error}");
    }
}
