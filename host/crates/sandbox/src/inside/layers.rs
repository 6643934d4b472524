//! The two things that are made and not copied from the host: the memory behind
//! the private directories, and the workspace's overlay.

use super::root::{copy, copy_read_only, lacking_at, read_only, safe, tmpfs};
use super::{Step, broken, lacking};
use crate::spec::{Access, SandboxSpec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Empty files cost memory, too.
const FILES_IN_MEMORY: u32 = 500_000;

/// One memory file system for everything private, so that one size bounds it all.
/// It is mounted over the host's `/dev` (seen by us alone) until the root changes.
pub(super) struct Memory {
    place: PathBuf,
}

impl Memory {
    pub(super) fn new(spec: &SandboxSpec) -> Step<Self> {
        let place = PathBuf::from("/dev");
        let options = format!(
            "size={},nr_inodes={FILES_IN_MEMORY},mode=0700",
            spec.limits.tmp_bytes
        );
        tmpfs(&place, &options)?;
        Ok(Self { place })
    }

    fn directory(&self, name: &str, mode: u32) -> Step<PathBuf> {
        let failed = |error| broken("making a private directory")(error);
        let path = self.place.join(name);
        std::fs::create_dir(&path).map_err(failed)?;
        // Not at creation, where the umask has its say.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(path)
    }

    /// An empty directory, for the bottom of overlays.
    pub(super) fn empty(&self) -> Step<OwnedFd> {
        open(&self.directory("empty", 0o755)?)
    }

    /// A detached mount of an empty directory that everybody may write.
    pub(super) fn private(&self, place: &Path) -> Step<OwnedFd> {
        let name: String = place
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(format!("-{}", name.display())),
                _ => None,
            })
            .collect();
        let path = self.directory(&name, 0o1777)?;
        copy(&path, false).map_err(lacking_at("copying the mount of", &path))
    }
}

/// The workspace's directories, opened while all of them can be seen.
pub(super) struct Layers {
    lower: Vec<OwnedFd>,
    kept: Option<(OwnedFd, OwnedFd)>,
    /// The live tree as it is, where overlays are not possible and nothing is written.
    plain: Option<OwnedFd>,
}

impl Layers {
    pub(super) fn open(spec: &SandboxSpec) -> Step<Self> {
        let workspace = &spec.workspace;
        let lower = workspace
            .layers
            .iter()
            .chain(std::iter::once(&workspace.root))
            .map(|path| open(path))
            .collect::<Step<Vec<_>>>()?;
        let kept = match &workspace.access {
            Access::Keep { upper, work } => Some((open(upper)?, open(work)?)),
            Access::ReadOnly | Access::Discard => None,
        };
        let plain = (workspace.access == Access::ReadOnly && workspace.layers.is_empty())
            .then(|| copy_read_only(&workspace.root))
            .transpose()?;
        Ok(Self { lower, kept, plain })
    }

    /// As a detached mount. `empty` is an empty directory.
    pub(super) fn mount(
        self,
        spec: &SandboxSpec,
        memory: &Memory,
        empty: &OwnedFd,
    ) -> Step<OwnedFd> {
        if let Some(plain) = self.plain {
            let mut lower: Vec<&OwnedFd> = self.lower.iter().collect();
            lower.push(empty);
            // No socket of the live tree leads to its listener through an overlay.
            return Ok(overlay(&lower, None).unwrap_or(plain));
        }
        let discard = spec.workspace.access == Access::Discard;
        let writable = match (self.lower.first(), self.kept) {
            (Some(top), None) if discard => Some(memory_layer(memory, top)?),
            (_, kept) => kept,
        };
        overlay(&self.lower.iter().collect::<Vec<_>>(), writable.as_ref())
    }
}

/// A detached overlay: `lower` topmost first, of which a read-only one needs two, and
/// upper and work directory for one that can be written.
pub(super) fn overlay(lower: &[&OwnedFd], writable: Option<&(OwnedFd, OwnedFd)>) -> Step<OwnedFd> {
    let failed = |error: Errno| lacking("mounting the overlay")(error);
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    let set = |name: &str, value: &str| {
        rustix::mount::fsconfig_set_string(overlay.as_fd(), name, value)
            .map_err(|error| lacking("an option of the overlay")(format!("{name}: {error}")))
    };
    let layers: Vec<String> = lower.iter().map(|layer| by_descriptor(layer)).collect();
    set("lowerdir", &layers.join(":"))?;
    if let Some((upper, work)) = writable {
        set("upperdir", &by_descriptor(upper))?;
        set("workdir", &by_descriptor(work))?;
    }
    // Whiteouts and opaque marks in `user.*`: `trusted.*` is out of reach in a user
    // namespace, also for root.
    rustix::mount::fsconfig_set_flag(overlay.as_fd(), "userxattr").map_err(failed)?;
    rustix::mount::fsconfig_create(overlay.as_fd()).map_err(failed)?;
    let attributes = if writable.is_some() {
        safe()
    } else {
        read_only()
    };
    rustix::mount::fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(failed)
}

pub(super) fn open(path: &Path) -> Step<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(broken(path.display()))
}

/// A path that needs no escaping in mount options and cannot be hidden.
fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Upper and work directory in memory. The root of an overlay looks like its
/// topmost layer, so that one must look like the layer below.
fn memory_layer(memory: &Memory, below: &OwnedFd) -> Step<(OwnedFd, OwnedFd)> {
    let failed = |error: Errno| broken("making the layer in memory")(error);
    let like = rustix::fs::fstat(below).map_err(failed)?;
    let upper = memory.directory("upper", like.st_mode & 0o7777)?;
    let work = memory.directory("work", 0o700)?;
    // Impossible where the owner is not mapped; then it is ours.
    let _ = std::os::unix::fs::chown(&upper, Some(like.st_uid), Some(like.st_gid));
    Ok((open(&upper)?, open(&work)?))
}
