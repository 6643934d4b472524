//! What a workbench works on and what it must keep out of reach.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use selfheal_domain::mcp::McpServers;
use selfheal_domain::policy::Environment;
use selfheal_domain::tools::Asset;
use selfheal_sandbox::{Limits, allowed_environment};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

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
    "**/SECRET",
    "**/SECRET.*",
    "**/.secret",
    "**/.secrets",
    "**/*.secret",
    "**/.htpasswd",
    "**/.vault_pass*",
    "**/*.ppk",
    "**/*.kdbx",
    "**/*.tfstate",
    "**/service-account*.json",
    "**/.aws/credentials",
    "**/.docker/config.json",
    "**/.kube/config",
];

/// Files that steer the host itself or run code of their own accord: a good start
/// for [`WorkbenchConfig::protected_paths`].
pub const DEFAULT_PROTECTED_PATHS: &[&str] = &[
    "/policy.toml",
    "/selfheal.toml",
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
    /// Patterns, as in `.gitignore` and relative to the repository, of files whose
    /// content no agent gets; see [`DEFAULT_SECRET_PATHS`]. Until
    /// [`SandboxWorkbench::prepare`](crate::SandboxWorkbench::prepare).
    pub secret_paths: Vec<String>,
    /// Patterns of files no agent writes; see [`DEFAULT_PROTECTED_PATHS`].
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
    /// Destinations (`host:port`) that a command may reach when the policies allow it
    /// with that destination among its facts.
    pub network: Vec<String>,
    /// Commands of a run that may change files they had not named; after one more
    /// nothing is carried out.
    pub max_surplus_calls: u32,
    /// The MCP servers that agents may call, if any.
    pub mcp: Option<Arc<dyn McpServers>>,
}

impl WorkbenchConfig {
    /// The narrowest one: the usual secrets and protected files, no network, no
    /// servers, nothing that git knows. What an application needs beyond it is said
    /// field by field; `data` is the host's own directory.
    pub fn narrow(repository_root: PathBuf, data: &Path) -> Self {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        Self {
            git_dir: repository_root.join(".git"),
            repository_root,
            private_dirs: vec![data.to_owned()],
            secret_paths: own(DEFAULT_SECRET_PATHS),
            protected_paths: own(DEFAULT_PROTECTED_PATHS),
            environment: Environment::Local,
            environment_variables: allowed_environment(&[]),
            assets: Vec::new(),
            assets_dir: data.join("assets"),
            scratch_dir: data.join("scratch"),
            limits: Limits::default(),
            tracked: Arc::new(|_| false),
            network: Vec::new(),
            max_surplus_calls: 3,
            mcp: None,
        }
    }
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
    /// Others come with another policy.
    globs: RwLock<Arc<PathGlobs>>,
    never_secret: GlobSet,
}

#[derive(Debug)]
pub(crate) struct PathGlobs {
    secret: GlobSet,
    protected: GlobSet,
}

impl PathGlobs {
    pub(crate) fn new(
        secret: &[String],
        protected: &[String],
    ) -> Result<Arc<Self>, WorkbenchError> {
        Ok(Arc::new(Self {
            secret: globs(secret)?,
            protected: globs(protected)?,
        }))
    }
}

impl PathRules {
    pub(crate) fn new(secret: &[String], protected: &[String]) -> Result<Self, WorkbenchError> {
        let never: Vec<String> = NEVER_SECRET.iter().map(ToString::to_string).collect();
        Ok(Self {
            globs: RwLock::new(PathGlobs::new(secret, protected)?),
            never_secret: globs(&never)?,
        })
    }

    /// Others from now on.
    pub(crate) fn replace(&self, fresh: Arc<PathGlobs>) {
        *self.globs.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    fn globs(&self) -> Arc<PathGlobs> {
        Arc::clone(&self.globs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its content is for no agent. A directory that is secret makes everything
    /// in it secret.
    pub(crate) fn is_secret(&self, relative: &str) -> bool {
        matches_or_parent(&self.globs().secret, relative) && !self.never_secret.is_match(relative)
    }

    /// No agent writes it.
    pub(crate) fn is_protected(&self, relative: &str) -> bool {
        is_git(relative) || matches_or_parent(&self.globs().protected, relative)
    }
}

/// Decides as the broker does which paths `patterns` protect, besides git's own.
///
/// # Errors
/// [`WorkbenchError::Glob`].
pub fn protected_paths(
    patterns: &[String],
) -> Result<impl Fn(&str) -> bool + Send + Sync + 'static, WorkbenchError> {
    let set = globs(patterns)?;
    Ok(move |relative: &str| is_git(relative) || matches_or_parent(&set, relative))
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
        set.add(glob(&spelled_out(text)).map_err(wrong(text))?);
    }
    set.build().map_err(wrong(&texts.join(" ")))
}

/// A pattern of `policy.toml` as a glob: without a slash it means any file or directory
/// of that name, a slash at the start means the top.
fn spelled_out(pattern: &str) -> String {
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    match pattern.strip_prefix('/') {
        Some(from_the_top) => from_the_top.to_owned(),
        None if pattern.contains('/') => pattern.to_owned(),
        None => format!("**/{pattern}"),
    }
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
    fn patterns_mean_what_policy_toml_says_of_them() {
        let own = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rules = PathRules::new(
            &own(&[".aws", "*.key", "secrets", "/top.txt", "deep/*.txt"]),
            &own(&[
                "CODEOWNERS",
                "/policy.toml",
                ".github/workflows/**",
                "build/",
            ]),
        )
        .expect("globs");
        for path in [
            ".aws",
            ".aws/config",
            "home/.aws/config",
            "a/b/c.key",
            "app/secrets/db.txt",
            "top.txt",
            "deep/a.txt",
        ] {
            assert!(rules.is_secret(path), "{path}");
        }
        for path in ["a/top.txt", "deep/er/a.txt", "a/deep/a.txt", "secrets.rs"] {
            assert!(!rules.is_secret(path), "{path}");
        }
        for path in [
            "CODEOWNERS",
            "docs/CODEOWNERS",
            "policy.toml",
            ".github/workflows/ci.yml",
            "web/build/x.js",
        ] {
            assert!(rules.is_protected(path), "{path}");
        }
        assert!(!rules.is_protected("config/policy.toml"));
        rules.replace(PathGlobs::new(&[], &own(&["Makefile"])).expect("globs"));
        assert!(rules.is_protected("a/Makefile") && !rules.is_protected("CODEOWNERS"));
        assert!(!rules.is_secret(".aws"));
        assert!(PathGlobs::new(&own(&["a["]), &[]).is_err());
        let protected = protected_paths(&own(&["CODEOWNERS"])).expect("globs");
        assert!(protected("docs/CODEOWNERS") && protected("x/.git/config") && !protected("src"));
    }

    #[test]
    fn a_wrong_glob_is_named() {
        let error = PathRules::new(&["a[".to_owned()], &[]).expect_err("no glob");
        assert!(error.to_string().contains("a["), "{error}");
    }
}
