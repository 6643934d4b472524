//! The file system that a command sees: the host's tree read-only, private
//! memory file systems, a minimal `/dev`, a `/proc` of its own namespace, masks,
//! and the workspace over it all.
//!
//! Everything that comes from the host is opened first, as detached copies of
//! mounts, so that hiding one place (`/tmp`) cannot hide the source of another
//! (a workspace below it).

use super::layers::{Layers, Memory, open, overlay};
use super::veil::{Veils, draw};
use super::{Step, broken, lacking};
use crate::grant::Grant;
use crate::masks::HIDDEN;
use crate::order::Failure;
use crate::spec::{ASSETS_PATH, Access, SandboxSpec};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Device nodes that every program may use.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Parts of `/proc` through which root could change the host, or look at it.
const PROC_READ_ONLY: &[&str] = &["sys", "bus", "fs", "irq", "sysrq-trigger", "acpi", "scsi"];
const PROC_EMPTY: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "timer_list",
    "vmallocinfo",
];

pub(super) fn safe() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
}

pub(super) fn read_only() -> MountAttrFlags {
    safe() | MountAttrFlags::MOUNT_ATTR_RDONLY
}

/// Builds the root and enters it. Gives the places that can be written. `/proc/sys`
/// is still writable until [`seal`].
pub(super) fn build(spec: &SandboxSpec) -> Step<Vec<PathBuf>> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(lacking("making mounts private"))?;

    let devices = DEVICES
        .iter()
        .filter_map(|name| Some((*name, copy(Path::new("/dev").join(name), false).ok()?)))
        .collect::<Vec<_>>();
    let visible = spec
        .visible
        .iter()
        .map(|path| {
            let opened = path.is_dir().then(|| open(path)).transpose()?;
            Ok((path.clone(), opened, copy_read_only(path)?))
        })
        .collect::<Step<Vec<_>>>()?;
    let assets = spec.assets.as_deref().map(copy_read_only).transpose()?;
    let replaced = spec
        .replaced
        .iter()
        .map(|one| Ok((&one.path, copy_read_only(&one.with)?)))
        .collect::<Step<Vec<_>>>()?;
    let host = copy_read_only(Path::new("/"))?;
    let layers = Layers::open(spec)?;
    let veils = Veils::open();
    let memory = Memory::new(spec)?;
    let empty = memory.empty()?;
    let veils = veils.mount(&empty);
    let visible: Vec<(PathBuf, bool, OwnedFd)> = visible
        .into_iter()
        .map(|(path, opened, plain)| match opened {
            Some(opened) => (
                path,
                true,
                overlay(&[&opened, &empty], None).unwrap_or(plain),
            ),
            None => (path, false, plain),
        })
        .collect();
    let workspace = layers.mount(spec, &memory, &empty)?;
    let private = HIDDEN
        .iter()
        .map(Path::new)
        .filter(|place| !place.starts_with("/dev"))
        .filter(|place| place.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
        .map(|place| Ok((place, memory.private(place)?)))
        .collect::<Step<Vec<_>>>()?;
    let shared = memory.private(Path::new("shm"))?;

    enter(&host)?;

    draw(&veils)?;
    for (place, tree) in &private {
        attach(tree, place)?;
    }
    devices_at(Path::new("/dev"), &devices, &shared)?;
    rustix::mount::mount(
        "proc",
        "/proc",
        "proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )
    .map_err(lacking("mounting /proc"))?;

    for (path, is_directory, tree) in &visible {
        mount_point(path, *is_directory)?;
        attach(tree, path)?;
    }
    let root = &spec.workspace.root;
    let (inside, outside): (Vec<&PathBuf>, Vec<&PathBuf>) =
        spec.masked.iter().partition(|path| path.starts_with(root));
    let blank = Blank::new()?;
    let mut later = Vec::new();
    for path in outside {
        if root.starts_with(path) {
            // The workspace gets its place in the otherwise empty directory.
            tmpfs(path, "size=64k,mode=0755")?;
            later.push(path);
        } else {
            blank.cover(path)?;
        }
    }
    mount_point(root, true)?;
    attach(&workspace, root)?;
    for path in inside {
        blank.cover(path)?;
    }
    for (path, tree) in &replaced {
        // A layer may have removed it; then there is nothing to show it at, and
        // nothing of the original either.
        if path.is_dir() && !path.is_symlink() {
            attach(tree, path)?;
        }
    }
    let names: Vec<&Grant> = spec
        .grants
        .iter()
        .filter(|grant| !grant.names.is_empty())
        .collect();
    if !names.is_empty() {
        blank.host_names(&names)?;
    }
    if let Some(assets) = &assets {
        mount_point(Path::new(ASSETS_PATH), true)?;
        attach(assets, Path::new(ASSETS_PATH))?;
    }
    if let Some(home) = spec.environment.get("HOME").map(Path::new)
        && HIDDEN.iter().any(|hidden| home.starts_with(hidden))
    {
        // Tools expect a home to exist; this one is empty and private.
        let _ = std::fs::create_dir_all(home);
    }
    for path in later {
        let mask = File::open(path).map_err(broken("a mask"))?;
        set_attributes(mask.as_fd(), read_only(), false).map_err(lacking("sealing a mask"))?;
    }
    let mut writable: Vec<PathBuf> = HIDDEN
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.is_dir())
        .collect();
    if spec.workspace.access != Access::ReadOnly {
        writable.push(root.clone());
    }
    Ok(writable)
}

/// Closes what only the construction itself had to write.
pub(super) fn seal() -> Step<()> {
    for name in PROC_READ_ONLY {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            let part = copy_read_only(&path)?;
            attach(&part, &path)?;
        }
    }
    let blank = Blank::new()?;
    for name in PROC_EMPTY {
        blank.cover(&Path::new("/proc").join(name))?;
    }
    Ok(())
}

/// A detached copy of the mount at a path.
pub(super) fn copy(path: impl AsRef<Path>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path.as_ref(), flags)
}

pub(super) fn copy_read_only(path: &Path) -> Step<OwnedFd> {
    let tree = copy(path, true).map_err(lacking_at("copying the mount of", path))?;
    set_attributes(tree.as_fd(), read_only(), true)
        .map_err(lacking_at("making read-only", path))?;
    Ok(tree)
}

pub(super) fn lacking_at(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Failure {
    move |error| Failure {
        containment: true,
        text: format!("{what} {}: {error}", path.display()),
    }
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let request = MountAttr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let mut flags = AtFlags::EMPTY_PATH.bits();
    if recursive {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    // SAFETY: the path is a C string, the request is a complete `mount_attr` of
    // the size given, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const request,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

pub(super) fn attach(tree: &OwnedFd, path: &Path) -> Step<()> {
    rustix::mount::move_mount(
        tree,
        "",
        CWD,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
    )
    .map_err(lacking_at("mounting", path))
}

pub(super) fn tmpfs(path: &Path, options: &str) -> Step<()> {
    let options = std::ffi::CString::new(options).map_err(broken("options"))?;
    rustix::mount::mount(
        "tmpfs",
        path,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(options.as_c_str()),
    )
    .map_err(lacking_at("mounting memory at", path))
}

/// Makes the copied tree the root and lets go of the host's.
fn enter(host: &OwnedFd) -> Step<()> {
    // Any directory does as the place where the new root hangs for a moment.
    attach(host, Path::new("/proc"))?;
    rustix::process::fchdir(host).map_err(lacking("entering the new root"))?;
    rustix::process::pivot_root(".", ".").map_err(lacking("changing the root"))?;
    // Now the old root is stacked on the new one.
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(lacking("leaving the old root"))?;
    rustix::process::chdir("/").map_err(lacking("entering the new root"))
}

/// Makes sure that something can be mounted at a path.
fn mount_point(path: &Path, is_directory: bool) -> Step<()> {
    if path.exists() {
        return Ok(());
    }
    let failed = |error| broken(format!("making room for {}", path.display()))(error);
    if is_directory {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(failed)
    } else {
        if let Some(parent) = path.parent() {
            mount_point(parent, true)?;
        }
        File::create(path).map(drop).map_err(failed)
    }
}

fn devices_at(dev: &Path, devices: &[(&str, OwnedFd)], shared: &OwnedFd) -> Step<()> {
    let failed = |error| broken("making /dev")(error);
    tmpfs(dev, "size=64k,mode=0755")?;
    for (name, node) in devices {
        let place = dev.join(name);
        File::create(&place).map_err(failed)?;
        attach(node, &place)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).map_err(failed)?;
    }
    for name in ["pts", "shm"] {
        std::fs::create_dir(dev.join(name)).map_err(failed)?;
    }
    attach(shared, &dev.join("shm"))?;
    rustix::mount::mount(
        "devpts",
        dev.join("pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620"),
    )
    .map_err(lacking("mounting /dev/pts"))?;
    let open = File::open(dev).map_err(failed)?;
    set_attributes(
        open.as_fd(),
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID,
        false,
    )
    .map_err(lacking("sealing /dev"))
}

/// An empty directory and an empty file, to be shown in place of others.
struct Blank {
    directory: PathBuf,
    file: PathBuf,
}

impl Blank {
    fn new() -> Step<Self> {
        // The place is private and empty; what is put there is removed again.
        let place = Path::new("/dev/shm/.blank");
        let failed = |error| broken("making masks")(error);
        let blank = Self {
            directory: place.join("directory"),
            file: place.join("file"),
        };
        std::fs::create_dir_all(&blank.directory).map_err(failed)?;
        File::create(&blank.file).map_err(failed)?;
        Ok(blank)
    }

    /// What does not exist here, such as below a hidden place, needs no mask.
    fn cover(&self, path: &Path) -> Step<()> {
        let Ok(metadata) = path.metadata() else {
            return Ok(());
        };
        let source = if metadata.is_dir() {
            &self.directory
        } else {
            &self.file
        };
        let blank = copy(source, false).map_err(lacking_at("copying the mask for", path))?;
        set_attributes(blank.as_fd(), read_only(), false)
            .map_err(|error| lacking("sealing a mask")(error))?;
        attach(&blank, path)
    }

    /// The host's table of names, and above it those of granted destinations.
    fn host_names(&self, grants: &[&Grant]) -> Step<()> {
        let table = Path::new("/etc/hosts");
        let mut text = String::new();
        for grant in grants {
            for name in &grant.names {
                text.push_str(&format!("{} {name}\n", grant.listen.ip()));
            }
        }
        text.push_str(&std::fs::read_to_string(table).unwrap_or_default());
        let place = self.directory.with_file_name("hosts");
        std::fs::write(&place, text).map_err(broken("naming granted destinations"))?;
        let names = copy(&place, false).map_err(lacking_at("copying the mount of", &place))?;
        set_attributes(names.as_fd(), read_only(), false)
            .map_err(|error| lacking("sealing the table of names")(error))?;
        attach(&names, table)?;
        // The mount keeps what it shows; the name goes.
        let _ = std::fs::remove_file(&place);
        Ok(())
    }
}

impl Drop for Blank {
    fn drop(&mut self) {
        // The mounts keep what they show; the names go.
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_dir(&self.directory);
        if let Some(place) = self.directory.parent() {
            let _ = std::fs::remove_dir(place);
        }
    }
}
