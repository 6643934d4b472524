//! What a contained command is given: a view of the workspace, an environment
//! and limits.

use crate::grant::Grant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where every contained command finds [`SandboxSpec::assets`].
pub const ASSETS_PATH: &str = "/run/selfheal-assets";

/// One contained command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// For `bash -c` where there is a bash, else `/bin/sh -c`.
    pub command: String,
    /// The tree it works on.
    pub workspace: Workspace,
    /// Working directory, relative to the workspace; empty for its root.
    pub directory: PathBuf,
    /// The complete environment; nothing is inherited. See
    /// [`allowed_environment`](crate::allowed_environment).
    pub environment: BTreeMap<String, String>,
    /// A host directory shown read-only at [`ASSETS_PATH`].
    pub assets: Option<PathBuf>,
    /// Absolute files and directories that read as empty and cannot be written:
    /// `.git`, data and policy directories, secrets. Ones that do not exist are
    /// skipped, so a command may make a `.git` where none was: whoever reads the
    /// kept layer must refuse it. The well-known secret places of the home directories are always
    /// masked.
    pub masked: Vec<PathBuf>,
    /// Directories of the workspace in whose place others of the host are shown,
    /// read-only: neither the original nor a way to change it is left.
    #[serde(default)]
    pub replaced: Vec<Replacement>,
    /// Absolute files and directories that stay visible, read-only, although
    /// they are below `/tmp`, `/var/tmp`, `/run` or `/dev/shm`. Tool chains named
    /// by the environment (`PATH`, `VIRTUAL_ENV`, …) are found by themselves.
    pub visible: Vec<PathBuf>,
    /// Destinations it may reach; without one there is no network but a loopback.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Bounds on what it uses.
    pub limits: Limits,
}

impl SandboxSpec {
    /// A command on a workspace, with no environment, no assets, no extra masks
    /// and default limits.
    pub fn new(command: impl Into<String>, workspace: Workspace) -> Self {
        Self {
            command: command.into(),
            workspace,
            directory: PathBuf::new(),
            environment: BTreeMap::new(),
            assets: None,
            masked: Vec::new(),
            replaced: Vec::new(),
            visible: Vec::new(),
            grants: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// One directory shown in place of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replacement {
    /// An existing directory of the live tree, absolute, no link.
    pub path: PathBuf,
    /// An existing directory of the host, absolute.
    pub with: PathBuf,
}

/// The tree a command works on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// The live tree, absolute; shown at this path. Never changed.
    pub root: PathBuf,
    /// Overlay layers above the live tree, topmost first, such as the upper
    /// directory of an earlier [`Access::Keep`]. Never changed.
    pub layers: Vec<PathBuf>,
    /// What becomes of writes.
    pub access: Access,
}

impl Workspace {
    /// The live tree alone.
    pub fn new(root: impl Into<PathBuf>, access: Access) -> Self {
        Self {
            root: root.into(),
            layers: Vec::new(),
            access,
        }
    }
}

/// What becomes of writes in the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// They fail.
    ReadOnly,
    /// They go to memory ([`Limits::tmp_bytes`]) and are gone afterwards.
    Discard,
    /// They stay in `upper`, in the overlay format that
    /// [`collect_changes`](crate::collect_changes) reads. At most one `Keep` at
    /// a time may use the pair.
    Keep {
        /// An existing directory, not inside the live tree.
        upper: PathBuf,
        /// An existing empty directory on the same file system; the kernel's
        /// scratch space, useless afterwards.
        work: PathBuf,
    },
}

/// Bounds on what a command and everything it starts may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock time of the whole, then everything is killed.
    pub wall: Duration,
    /// Processor time of each process, in whole seconds, rounded up.
    pub cpu: Duration,
    /// Memory: writable private memory of each process, and resident private
    /// memory of all together (sampled).
    pub memory_bytes: u64,
    /// Processes and threads at the same time.
    pub processes: u32,
    /// Size of each file written.
    pub file_bytes: u64,
    /// Captured bytes of each of standard output and standard error; more is cut
    /// from the middle.
    pub output_bytes: usize,
    /// Size of everything private together: `/tmp`, `/var/tmp`, `/run`,
    /// `/dev/shm` and the layer of [`Access::Discard`], all in memory; and,
    /// apart, how much an [`Access::Keep`] may add on disk (sampled).
    pub tmp_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(60),
            memory_bytes: 4096 * MIB,
            processes: 512,
            file_bytes: 512 * MIB,
            output_bytes: 1024 * 1024,
            tmp_bytes: 1024 * MIB,
        }
    }
}
