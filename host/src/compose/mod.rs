//! Wiring: the only place that names every adapter. `one_shot` wires a single
//! heal, `host` a server; what both need is here.

pub(crate) mod accounts;
mod agents;
mod containment;
pub(crate) mod host;
pub(crate) mod one_shot;
pub(crate) mod signing;
mod tls;
mod transcripts;

use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use selfheal_agent::{
    DEFAULT_PROTECTED_PATHS, DEFAULT_SECRET_PATHS, SandboxWorkbench, WorkbenchConfig,
};
use selfheal_audit::Masker;
use selfheal_domain::mcp::McpServers;
use selfheal_domain::policy::PolicyHost;
use selfheal_mcp::{Clients, McpConfig};
use selfheal_pipeline::settings::{PatchLimits, PathMatcher};
use selfheal_policy_host::{
    BundledModules, CodeCache, KeeperPlaces, PolicyConfig, PolicyEngine, PolicyKeeper,
    WasmPolicyHost,
};
use selfheal_policy_source::ModuleStore;
use selfheal_sandbox::Limits;
use selfheal_worktree::MachineIdentity;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

include!(concat!(env!("OUT_DIR"), "/bundled_policies.rs"));

/// Root of the repository that contains `path`.
pub(crate) fn repository_root(path: &Path) -> Result<PathBuf, Failure> {
    Ok(selfheal_worktree::discover(path).because(Exit::Usage)?.root)
}

/// Only the operator may read it, and git never sees it.
pub(crate) fn make_data_directory(path: &Path) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .because(Exit::Unavailable)?;
    let path = path.canonicalize().because(Exit::Unavailable)?;
    let ignore = path.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(ignore, "*\n").because(Exit::Unavailable)?;
    }
    Ok(path)
}

/// The policy set that every installation starts with.
pub(crate) fn bundled_policies() -> Result<WasmPolicyHost, Failure> {
    let config = default_policy_config()?;
    load_policies(&config)
}

/// What keeps the policies of a server: in force when this returns, changed by its
/// admins from then on.
pub(crate) fn keeper_of(config: &Config) -> Result<Arc<PolicyKeeper>, Failure> {
    let host = policy_host(Some(config.data.join("compiled")))?;
    let places = KeeperPlaces {
        policy_file: config.policy_file.clone(),
        data: config.data.clone(),
    };
    PolicyKeeper::open(host, places, Arc::new(Machine)).because(Exit::Usage)
}

/// Whether the policies that a configuration names could come into force; leaves
/// everything as it is.
pub(crate) fn check_policies(config: &Config) -> Result<(), Failure> {
    let policy = PolicyConfig::load(&config.policy_file).because(Exit::Usage)?;
    let mut host = policy_host(Some(config.data.join("compiled")))?;
    let kept = config.data.join("policies/modules");
    if kept.is_dir() {
        host = host.with_store(ModuleStore::open(&kept).because(Exit::Unavailable)?);
    }
    host.prepare(&policy).because(Exit::Usage).map(drop)
}

fn default_policy_config() -> Result<PolicyConfig, Failure> {
    let text = selfheal_policy_host::DEFAULT_POLICY_TOML;
    PolicyConfig::parse(text, "the bundled policy.toml", Path::new("/")).because(Exit::Unavailable)
}

/// Loads and activates a set; without one nothing would be allowed.
fn load_policies(config: &PolicyConfig) -> Result<WasmPolicyHost, Failure> {
    let host = policy_host(None)?;
    let prepared = host.prepare(config).because(Exit::Usage)?;
    host.activate(prepared);
    Ok(host)
}

fn policy_host(code: Option<PathBuf>) -> Result<WasmPolicyHost, Failure> {
    if BUNDLED.is_empty() {
        let message = "this binary was built without its policy modules; run `cargo xtask build-policies` and build again";
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let cache = code
        .or_else(user_code_cache)
        .map_or_else(CodeCache::none, CodeCache::in_directory);
    let engine = PolicyEngine::new().because(Exit::Unavailable)?;
    let bundled = BundledModules::from_static(BUNDLED);
    Ok(WasmPolicyHost::new(engine, cache, bundled))
}

/// Compiled modules of one-shot heals, so that only the first one compiles.
fn user_code_cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("selfheal/compiled"))
}

/// Takes the values of the secrets that `policy.toml` names, and the keys of agents, out
/// of every record.
fn masker(policy: &PolicyConfig, keys: &[String]) -> Result<Masker, Failure> {
    let secrets = variables()
        .filter(|(name, _)| is_named(policy, name) || selfheal_sandbox::looks_secret(name))
        .map(|(_, value)| value);
    Masker::new(secrets.chain(keys.iter().cloned())).because(Exit::Unavailable)
}

/// Variables of this process that `policy.toml` names as secrets, with their values.
fn secret_variables(policy: &PolicyConfig) -> impl Iterator<Item = (String, String)> {
    variables().filter(|(name, _)| is_named(policy, name))
}

/// The environment of this process, as far as it is text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `policy.toml` says that the variable holds a secret.
fn is_named(policy: &PolicyConfig, name: &str) -> bool {
    policy
        .secret_names
        .iter()
        .any(|pattern| matches_name(pattern, name))
}

/// `*` stands for any text; case is ignored.
fn matches_name(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_uppercase(), name.to_ascii_uppercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Host limits on patches, from `policy.toml`.
fn patch_limits(policy: &PolicyConfig) -> Result<PatchLimits, Failure> {
    let protected =
        selfheal_agent::protected_paths(&protected_paths(policy)).because(Exit::Usage)?;
    Ok(PatchLimits {
        max_files: usize::try_from(policy.limits.max_files).unwrap_or(usize::MAX),
        max_changed_lines: usize::try_from(policy.limits.max_changed_lines).unwrap_or(usize::MAX),
        protected: PathMatcher::new(protected),
    })
}

fn protected_paths(policy: &PolicyConfig) -> Vec<String> {
    with_defaults(&policy.limits.protected_paths, DEFAULT_PROTECTED_PATHS)
}

fn secret_paths(policy: &PolicyConfig) -> Vec<String> {
    with_defaults(&policy.limits.secret_paths, DEFAULT_SECRET_PATHS)
}

fn with_defaults(configured: &[String], defaults: &[&str]) -> Vec<String> {
    configured
        .iter()
        .cloned()
        .chain(defaults.iter().map(ToString::to_string))
        .collect()
}

/// What a workbench is made of besides its policies.
struct BenchParts<'a> {
    root: PathBuf,
    git_dir: PathBuf,
    private: Vec<PathBuf>,
    state: &'a Path,
    policy: &'a PolicyConfig,
    extra_environment: &'a [String],
    longest_command: Duration,
    tracked: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    mcp: &'a [McpConfig],
}

fn workbench(
    parts: BenchParts<'_>,
    policies: Arc<dyn PolicyHost>,
) -> Result<SandboxWorkbench, Failure> {
    let longest = parts.longest_command;
    // What holds a secret is the security team's to say: nobody's list of further
    // variables brings it to an agent.
    let mut environment_variables = selfheal_sandbox::allowed_environment(parts.extra_environment);
    environment_variables.retain(|name, _| !is_named(parts.policy, name));
    let secrets = secret_variables(parts.policy);

    let mcp: Option<Arc<dyn McpServers>> = match parts.mcp {
        [] => None,
        servers => Some(Arc::new(Clients::new(servers).because(Exit::Usage)?)),
    };
    let config = WorkbenchConfig {
        repository_root: parts.root,
        git_dir: parts.git_dir,
        private_dirs: parts.private,
        secret_paths: secret_paths(parts.policy),
        protected_paths: protected_paths(parts.policy),
        environment: parts.policy.environment,
        environment_variables,
        assets: selfheal_repair::assets(),
        assets_dir: parts.state.join("assets"),
        scratch_dir: parts.state.join("scratch"),
        limits: Limits {
            wall: longest,
            cpu: longest.saturating_mul(4),
            ..Limits::default()
        },
        tracked: parts.tracked,
        network: parts.policy.network.clone(),
        max_surplus_calls: parts.policy.limits.max_surplus_calls,
        mcp,
    };
    SandboxWorkbench::with_secrets(
        config,
        policies,
        containment::sandbox(),
        Arc::new(Machine),
        Arc::new(Machine),
        secrets.map(|(_, value)| value),
    )
    .because(Exit::Unavailable)
}

/// Who makes our commits.
fn identity() -> MachineIdentity {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    MachineIdentity::of_host(host.trim())
}

#[cfg(test)]
mod tests {
    use super::matches_name;

    #[test]
    fn secret_names_may_hold_stars() {
        for (pattern, name, expected) in [
            ("API_KEY", "api_key", true),
            ("API_KEY", "API_KEY2", false),
            ("*_TOKEN", "GITHUB_TOKEN", true),
            ("*_TOKEN", "TOKEN", false),
            ("DB_*", "DB_PASSWORD", true),
            ("*SECRET*", "MY_SECRET_1", true),
            ("A*B*C", "AxxBxC", true),
            ("A*B*C", "AxxCxB", false),
            ("*", "ANYTHING", true),
        ] {
            assert_eq!(matches_name(pattern, name), expected, "{pattern} {name}");
        }
    }
}
