//! What a contained command must not see, and what it must see although its
//! place is hidden.

use crate::SandboxSpec;
use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Replaced by empty memory file systems in every sandbox.
pub(crate) const HIDDEN: &[&str] = &["/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm"];

/// Below each home directory.
const SECRETS_AT_HOME: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config/gh",
    ".config/gcloud",
    ".config/op",
    ".config/git/credentials",
    ".config/hub",
    ".config/rclone",
    ".config/selfheal",
    ".netrc",
    ".git-credentials",
    ".docker",
    ".kube",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".vault-token",
    ".boto",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".terraform.d/credentials.tfrc.json",
    ".anthropic",
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".local/share/keyrings",
    ".password-store",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
];

/// Of the system, where they are readable for us at all.
const SECRETS_OF_SYSTEM: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/etc/letsencrypt",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
    "/etc/wireguard",
    "/etc/security/opasswd",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/sss",
    "/var/spool/cron",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
];

/// The caller's masks, the well-known secrets and the host's sockets: canonical,
/// existing, parents before children, nothing below another.
pub(crate) fn masked(spec: &SandboxSpec) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let system = SECRETS_OF_SYSTEM.iter().map(PathBuf::from);
    let home = homes()
        .into_iter()
        .flat_map(|home| SECRETS_AT_HOME.iter().map(move |place| home.join(place)));
    let host_keys = directory_entries(Path::new("/etc/ssh")).filter(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with("_key"))
    });
    for path in system
        .chain(home)
        .chain(host_keys)
        .chain(listening_sockets())
        .chain(spec.masked.iter().cloned())
    {
        if let Ok(path) = path.canonicalize()
            && path != Path::new("/")
        {
            found.insert(path);
        }
    }
    // A mask below a masked directory has nothing to stand on.
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in found {
        let root = &spec.workspace.root;
        let covered = kept.iter().any(|mask| {
            // Unless the workspace reopens the place in between.
            path.starts_with(mask) && !(root.starts_with(mask) && path.starts_with(root))
        });
        if !covered {
            kept.push(path);
        }
    }
    kept
}

fn homes() -> BTreeSet<PathBuf> {
    let mut homes = BTreeSet::new();
    if let Some(home) = std::env::var_os("HOME") {
        homes.insert(PathBuf::from(home));
    }
    if rustix::process::geteuid().is_root() {
        homes.insert(PathBuf::from("/root"));
        homes.extend(directory_entries(Path::new("/home")));
    }
    homes.remove(Path::new("/"));
    homes
}

fn directory_entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// A read-only mount does not stop anybody from connecting to a socket in it, so
/// each one that is bound in our network namespace is masked by name; also in
/// hidden places, which a workspace may show in part. Around us may be another
/// container, with its manager's socket mounted: such mounts are masked as well.
fn listening_sockets() -> Vec<PathBuf> {
    let bound = std::fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
    let bound = bound
        .lines()
        .filter_map(|line| line.find(" /").and_then(|at| line.get(at + 1..)))
        .map(PathBuf::from);
    let mounted = mounts().into_iter().map(|(path, _)| path).filter(|path| {
        path.symlink_metadata()
            .is_ok_and(|metadata| metadata.file_type().is_socket())
    });
    bound.chain(mounted).collect()
}

/// Where something is mounted, with the type of its file system.
pub(crate) fn mounts() -> Vec<(PathBuf, String)> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let (of_mount, of_file_system) = line.split_once(" - ")?;
        let place = of_mount.split(' ').nth(4)?;
        let kind = of_file_system.split(' ').next()?;
        Some((unescaped(place), kind.to_owned()))
    });
    mounts.collect()
}

/// Undoes the octal escapes of white space in mount tables.
fn unescaped(field: &str) -> PathBuf {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let text = escapes
        .iter()
        .fold(field.to_owned(), |text, (escape, meant)| {
            text.replace(escape, meant)
        });
    PathBuf::from(text)
}

/// The caller's visible paths and the tool chains that the environment names, as
/// far as they are in hidden places: canonical, existing, parents first.
pub(crate) fn visible(spec: &SandboxSpec) -> Vec<PathBuf> {
    let lists = [
        "PATH",
        "PYTHONPATH",
        "NODE_PATH",
        "PERL5LIB",
        "GEM_PATH",
        "GOPATH",
    ];
    let roots = [
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "GOROOT",
        "GOMODCACHE",
        "JAVA_HOME",
        "GEM_HOME",
        "NVM_DIR",
        "PYENV_ROOT",
        "PYTHONHOME",
        "RBENV_ROOT",
        "npm_config_cache",
    ];
    let named = lists
        .iter()
        .filter_map(|name| spec.environment.get(*name))
        .flat_map(|list| list.split(':'))
        .chain(
            roots
                .iter()
                .filter_map(|name| spec.environment.get(*name).map(String::as_str)),
        )
        .filter(|path| !path.is_empty())
        .map(|path| tool_chain(Path::new(path), &spec.workspace.root));
    named
        .chain(spec.visible.iter().cloned())
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| {
            HIDDEN
                .iter()
                .any(|hidden| path.starts_with(hidden) && path != Path::new(hidden))
                && !path.starts_with(&spec.workspace.root)
        })
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// `x/bin` needs `x/lib` too, unless `x` is a whole hidden place or holds the
/// workspace.
fn tool_chain(path: &Path, workspace: &Path) -> PathBuf {
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent))
            if name == "bin"
                && !workspace.starts_with(parent)
                && !HIDDEN.iter().any(|hidden| parent == Path::new(hidden)) =>
        {
            parent.to_owned()
        }
        _ => path.to_owned(),
    }
}
