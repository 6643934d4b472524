//! Directories of the host as read-only overlays: they read the same, but a socket in
//! them is a name without its listener, whenever that begins to listen. A mount that is
//! merely read-only stops nobody from connecting.
//!
//! The kernel lays no overlay over a tree with other mounts in it, as the root has, so
//! each directory that has none gets its own. What stays as it is: `/` and whatever else
//! has a mount below it, for the sockets directly in it, and file systems that overlays
//! refuse. What listens there at the start is masked by name (`masks`).

use super::Step;
use super::layers::{open, overlay};
use super::root::attach;
use crate::masks::{HIDDEN, mounts};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Most directories that get an overlay of their own.
const MOST: usize = 64;

/// How deep below the root one without mounts is looked for.
const DEEPEST: usize = 4;

/// Rebuilt for each command, or without sockets.
const OTHERWISE: &[&str] = &["/proc", "/sys", "/dev"];

/// Where nobody listens, or where looking has effects.
const WITHOUT: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Directories that are to be veiled, opened while all of them can be seen.
pub(super) struct Veils(Vec<(PathBuf, OwnedFd)>);

impl Veils {
    /// Everything of the host below `/` that can be.
    pub(super) fn open() -> Self {
        let mounts = mounts();
        let mut found = Vec::new();
        let mut waiting = vec![(PathBuf::from("/"), 0)];
        while let Some((directory, depth)) = waiting.pop() {
            let children = std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten();
            for child in children {
                let path = child.path();
                let passed_over = HIDDEN
                    .iter()
                    .chain(OTHERWISE)
                    .any(|place| path == Path::new(place))
                    || mounts
                        .iter()
                        .any(|(at, kind)| *at == path && WITHOUT.contains(&kind.as_str()));
                if passed_over || !child.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let holds_mounts = mounts
                    .iter()
                    .any(|(at, _)| *at != path && at.starts_with(&path));
                if holds_mounts && depth < DEEPEST {
                    waiting.push((path, depth + 1));
                } else if !holds_mounts && found.len() < MOST {
                    // What cannot be opened cannot be searched by the command either.
                    found.extend(open(&path).ok().map(|opened| (path, opened)));
                }
            }
        }
        Self(found)
    }

    /// As detached mounts; what overlays refuse is left out.
    pub(super) fn mount(self, empty: &OwnedFd) -> Vec<(PathBuf, OwnedFd)> {
        let mounted = self.0.into_iter().filter_map(|(path, lower)| {
            let veil = overlay(&[&lower, empty], None).ok()?;
            Some((path, veil))
        });
        mounted.collect()
    }
}

/// Puts them where they belong in the new root.
pub(super) fn draw(veils: &[(PathBuf, OwnedFd)]) -> Step<()> {
    for (path, veil) in veils {
        attach(veil, path)?;
    }
    Ok(())
}
