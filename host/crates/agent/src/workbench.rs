//! Opens the doors of runs to agents.

use crate::broker::{Broker, Place};
use crate::config::{PathGlobs, PathRules, WorkbenchConfig, WorkbenchError};
use crate::history::History;
use crate::layer::{PREFIX, Throwaway, lay_out, sweep};
use crate::masking::Masker;
use crate::observed::RunsCounters;
use crate::secret_files::SecretFiles;
use crate::view::View;
use crate::walk::Ignores;
use selfheal_domain::patch::{FileChange, Patch, is_test_path};
use selfheal_domain::policy::{AgentPhase, Environment, PolicyHost};
use selfheal_domain::ports::{
    Clock, DraftingTools, IdSource, RunWorktree, ToolSessionSpec, Workbench,
};
use selfheal_domain::tools::{Asset, Tools};
use selfheal_sandbox::Sandbox;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Longest file that is looked through for secrets, in bytes.
const MAX_SCANNED: u64 = 64 * 1024;

/// Endings of program text and documents.
const PROGRAM_TEXT: &[&str] = &[
    "c", "cc", "cpp", "cs", "css", "ex", "exs", "gif", "go", "h", "hpp", "htm", "html", "ico",
    "java", "jpg", "js", "jsx", "kt", "lock", "lua", "md", "mjs", "php", "pl", "pm", "png", "py",
    "pyc", "pyi", "rb", "rs", "rst", "scala", "scss", "sh", "so", "sql", "svg", "swift", "ts",
    "tsx", "ttf", "vue", "wasm", "woff", "woff2",
];

/// Longest file that a throw-away layer takes over, in bytes.
const MAX_ORIGINAL: u64 = 16 * 1024 * 1024;

/// How far commands may go beyond the workspace and their own words.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// See [`WorkbenchConfig::network`].
    pub(crate) network: Vec<String>,
    /// See [`WorkbenchConfig::max_surplus_calls`].
    pub(crate) max_surplus_calls: u32,
}

/// Everything the brokers of one repository share.
pub(crate) struct Bench {
    pub(crate) config: WorkbenchConfig,
    pub(crate) rules: PathRules,
    environment: RwLock<Environment>,
    reach: RwLock<Reach>,
    /// Variables that turned out to hold secrets.
    withheld: RwLock<BTreeSet<String>>,
    pub(crate) ignores: Ignores,
    pub(crate) masker: Masker,
    pub(crate) secret_files: SecretFiles,
    pub(crate) counters: RunsCounters,
    pub(crate) policies: Arc<dyn PolicyHost>,
    pub(crate) sandbox: Sandbox,
    pub(crate) history: History,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Bench {
    /// The file's content is for no agent. Keys that tests bring along and git
    /// knows are no secrets, and the tests need them.
    pub(crate) fn is_secret(&self, relative: &str) -> bool {
        self.rules.is_secret(relative)
            && !(is_test_path(relative) && (self.config.tracked)(relative))
    }

    /// How far commands may go, now.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The environment of agents' processes, now.
    pub(crate) fn environment_variables(&self) -> BTreeMap<String, String> {
        let withheld = self.withheld.read().unwrap_or_else(PoisonError::into_inner);
        let mut variables = self.config.environment_variables.clone();
        variables.retain(|name, _| !withheld.contains(name));
        variables
    }

    /// Where the application runs.
    pub(crate) fn environment(&self) -> Environment {
        *self
            .environment
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The file is no program or document, so it may be a key file under any name. (In
    /// program text only the secret itself is masked: the application would not run
    /// without the rest.)
    pub(crate) fn may_tell_secret(&self, relative: &str) -> bool {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        !PROGRAM_TEXT.contains(&extension.to_ascii_lowercase().as_str()) && !is_test_path(relative)
    }

    /// A secret of a known shape stands in the file, or in what is read of a large one.
    pub(crate) fn tells_secret(&self, live: &View, relative: &str) -> bool {
        match live.read(relative, MAX_SCANNED) {
            Ok(Some((bytes, _))) => self.masker.finds_secret(&String::from_utf8_lossy(&bytes)),
            Ok(None) | Err(_) => false,
        }
    }

    /// What a command that mentions git gets to see in place of `.git`.
    pub(crate) fn history_for(&self, command: &str) -> Option<PathBuf> {
        if !command.contains("git") {
            return None;
        }
        self.history
            .view(&self.config, &self.sandbox, || self.ids.uuid(), &|path| {
                self.is_secret(path)
            })
    }

    /// The path is the repository's own, the installation's, or holds secrets.
    pub(crate) fn is_private(&self, path: &Path) -> bool {
        path.starts_with(&self.config.git_dir)
            || self
                .config
                .private_dirs
                .iter()
                .any(|private| path.starts_with(private))
    }
}

/// What a policy says that a workbench goes by. No debug output: it holds secrets.
pub struct BenchRules {
    /// See [`WorkbenchConfig::secret_paths`].
    pub secret_paths: Vec<String>,
    /// See [`WorkbenchConfig::protected_paths`].
    pub protected_paths: Vec<String>,
    /// Where the application runs.
    pub environment: Environment,
    /// See [`WorkbenchConfig::network`].
    pub network: Vec<String>,
    /// See [`WorkbenchConfig::max_surplus_calls`].
    pub max_surplus_calls: u32,
    /// Variables that hold secrets: their values are masked and no process of an agent
    /// gets them, until this one ends.
    pub secret_variables: Vec<(String, String)>,
}

/// Makes brokers for the sessions of one repository. Cheap to clone.
#[derive(Clone)]
pub struct SandboxWorkbench {
    pub(crate) bench: Arc<Bench>,
}

impl SandboxWorkbench {
    /// Checks the configuration and lays out the assets.
    ///
    /// # Errors
    /// See [`WorkbenchError`].
    pub fn new(
        config: WorkbenchConfig,
        policies: Arc<dyn PolicyHost>,
        sandbox: Sandbox,
        ids: Arc<dyn IdSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkbenchError> {
        Self::with_secrets(config, policies, sandbox, ids, clock, std::iter::empty())
    }

    /// The same, with values that are masked in whatever agents see and in records,
    /// besides those that look like secrets by themselves.
    ///
    /// # Errors
    /// See [`WorkbenchError`].
    pub fn with_secrets(
        mut config: WorkbenchConfig,
        policies: Arc<dyn PolicyHost>,
        sandbox: Sandbox,
        ids: Arc<dyn IdSource>,
        clock: Arc<dyn Clock>,
        secrets: impl Iterator<Item = String>,
    ) -> Result<Self, WorkbenchError> {
        let path = config.repository_root.clone();
        config.repository_root = path
            .canonicalize()
            .map_err(|source| WorkbenchError::Repository { path, source })?;
        // Paths of facts have no links, so these must have none either.
        for private in config.private_dirs.iter_mut().chain([&mut config.git_dir]) {
            if let Ok(canonical) = private.canonicalize() {
                *private = canonical;
            }
        }
        let rules = PathRules::new(&config.secret_paths, &config.protected_paths)?;
        lay_out_assets(&config.assets_dir, &config.assets)?;
        sweep(&config.scratch_dir);
        let masker = Masker::new(ids.uuid());
        masker.learn(secrets);
        Ok(Self {
            bench: Arc::new(Bench {
                ignores: Ignores::new(&config.repository_root),
                environment: RwLock::new(config.environment),
                withheld: RwLock::default(),
                reach: RwLock::new(Reach {
                    network: config.network.clone(),
                    max_surplus_calls: config.max_surplus_calls,
                }),
                config,
                rules,
                masker,
                secret_files: SecretFiles::default(),
                counters: RunsCounters::default(),
                policies,
                sandbox,
                history: History::default(),
                ids,
                clock,
            }),
        })
    }

    /// Checks other rules. What it gives brings them into force, from the next call on,
    /// also for sessions that are open.
    ///
    /// # Errors
    /// [`WorkbenchError::Glob`].
    pub fn prepare(
        &self,
        rules: BenchRules,
    ) -> Result<impl FnOnce() + Send + use<>, WorkbenchError> {
        let globs = PathGlobs::new(&rules.secret_paths, &rules.protected_paths)?;
        let bench = Arc::clone(&self.bench);
        Ok(move || {
            let (names, values): (Vec<_>, Vec<_>) = rules.secret_variables.into_iter().unzip();
            bench.masker.learn(values.into_iter());
            let mut withheld = bench
                .withheld
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            withheld.extend(names);
            drop(withheld);
            bench.rules.replace(globs);
            *bench
                .environment
                .write()
                .unwrap_or_else(PoisonError::into_inner) = rules.environment;
            *bench.reach.write().unwrap_or_else(PoisonError::into_inner) = Reach {
                network: rules.network,
                max_surplus_calls: rules.max_surplus_calls,
            };
        })
    }

    /// A layer with the patched files. An agent that read a file with masked
    /// secrets and patched it gets the secrets back here.
    fn patched(&self, patch: &Patch) -> io::Result<Throwaway> {
        let bench = &self.bench;
        let layer = Throwaway::new(
            bench
                .config
                .scratch_dir
                .join(format!("{PREFIX}{}", bench.ids.uuid())),
        )?;
        let live = View::new(bench.config.repository_root.clone(), Vec::new());
        let content = |file: &FileChange, after: &str| {
            let original = live
                .read(&file.path, MAX_ORIGINAL)?
                .map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default();
            bench
                .masker
                .restore(after, &original)
                .ok_or_else(|| io::Error::other("a masked secret would be written"))
        };
        lay_out(layer.path(), &live, &patch.files, &content)?;
        Ok(layer)
    }

    fn broker(&self, session: ToolSessionSpec, phase: AgentPhase, place: Place) -> Broker {
        Broker::new(Arc::clone(&self.bench), session, phase, place)
    }
}

impl Workbench for SandboxWorkbench {
    fn for_diagnosis(&self, session: ToolSessionSpec) -> Box<dyn Tools> {
        Box::new(self.broker(session, AgentPhase::Diagnosis, Place::Live))
    }

    fn for_drafting(
        &self,
        session: ToolSessionSpec,
        worktree: &RunWorktree,
    ) -> Box<dyn DraftingTools> {
        Box::new(self.broker(
            session,
            AgentPhase::Drafting,
            Place::Worktree(worktree.clone()),
        ))
    }

    fn for_verification(&self, session: ToolSessionSpec, patch: Option<&Patch>) -> Box<dyn Tools> {
        let place = match patch.map(|patch| self.patched(patch)) {
            None => Place::Live,
            Some(Ok(layer)) => Place::Patched(layer),
            Some(Err(error)) => Place::Broken(error.to_string()),
        };
        Box::new(self.broker(session, AgentPhase::Verification, place))
    }
}

fn lay_out_assets(directory: &Path, assets: &[Asset]) -> Result<(), WorkbenchError> {
    let write = |path: PathBuf| move |source| WorkbenchError::Write { path, source };
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(write(directory.to_owned()))?;
    }
    std::fs::create_dir_all(directory).map_err(write(directory.to_owned()))?;
    for asset in assets {
        let name = Path::new(&asset.name);
        if asset.name.is_empty()
            || !name
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(WorkbenchError::AssetName(asset.name.clone()));
        }
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(write(parent.to_owned()))?;
        }
        std::fs::write(&path, &asset.content).map_err(write(path.clone()))?;
    }
    Ok(())
}
