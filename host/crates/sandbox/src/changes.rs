//! Reads the upper directory of an overlay: what a kept layer changed.

use crate::SandboxError;
use std::collections::BTreeSet;
use std::fs::{File, FileType};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How much of two files is compared at once, in bytes.
const PIECE: usize = 128 * 1024;

/// One path that differs between the live tree and the kept layer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Change {
    /// Relative to the workspace. Never a directory: a directory shows by what
    /// is in it (an empty one not at all).
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChangeKind {
    /// New in the layer.
    Added,
    /// In both, with other content, kind or executable bit. (A file that was
    /// opened for writing but is the same again is left out.)
    Modified,
    /// Gone in the layer.
    Deleted,
}

/// The differences that an overlay's `upper` makes on `live`, sorted by path.
///
/// Reads whiteouts (character device 0/0) and opaque directories in both forms,
/// `user.overlay.*` of user namespaces and `trusted.overlay.*` of root. Files are
/// regular files and symbolic links; sockets, pipes and devices are left out.
/// Symbolic links are never followed.
///
/// # Errors
/// A directory or file cannot be read.
pub fn collect_changes(upper: &Path, live: &Path) -> Result<Vec<Change>, SandboxError> {
    let mut changes = BTreeSet::new();
    compare(upper, live, Path::new(""), true, true, &mut changes)
        .map_err(SandboxError::host("reading the kept layer"))?;
    Ok(changes.into_iter().collect())
}

/// `counterpart` says whether the live tree has a real directory here (below a
/// symbolic link it has nothing), `below` whether that shows through this one.
fn compare(
    upper: &Path,
    live: &Path,
    at: &Path,
    counterpart: bool,
    below: bool,
    changes: &mut BTreeSet<Change>,
) -> io::Result<()> {
    let below = below && !is_opaque(&upper.join(at))?;
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(upper.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        let metadata = entry.metadata()?;
        let kind = metadata.file_type();
        let old = if counterpart {
            existing(&live.join(&path))?
        } else {
            None
        };
        seen.insert(entry.file_name());
        let change = |kind| Change {
            path: path.clone(),
            kind,
        };
        if kind.is_char_device() && metadata.rdev() == 0 {
            deleted(live, &path, old, changes)?;
        } else if kind.is_dir() {
            let on_directory = old.is_some_and(|old| old.is_dir());
            if !on_directory {
                deleted(live, &path, old, changes)?;
            }
            compare(
                upper,
                live,
                &path,
                on_directory,
                below && on_directory,
                changes,
            )?;
        } else if is_content(kind) {
            match old {
                Some(old) if is_content(old) => {
                    if !same(&upper.join(&path), &live.join(&path))? {
                        changes.insert(change(ChangeKind::Modified));
                    }
                }
                // A directory became a file: what was in it is gone.
                Some(old) => {
                    deleted(live, &path, Some(old), changes)?;
                    changes.insert(change(ChangeKind::Added));
                }
                None => {
                    changes.insert(change(ChangeKind::Added));
                }
            }
        }
    }
    if counterpart && !below {
        // Nothing shows through: what the upper directory does not name is gone.
        for entry in std::fs::read_dir(live.join(at))? {
            let entry = entry?;
            if !seen.contains(&entry.file_name()) {
                let kind = entry.file_type()?;
                deleted(live, &at.join(entry.file_name()), Some(kind), changes)?;
            }
        }
    }
    Ok(())
}

/// Everything at a path of the live tree is gone, unless a change of the same
/// path says more.
fn deleted(
    live: &Path,
    path: &Path,
    kind: Option<FileType>,
    changes: &mut BTreeSet<Change>,
) -> io::Result<()> {
    match kind {
        Some(kind) if kind.is_dir() => {
            for entry in std::fs::read_dir(live.join(path))? {
                let entry = entry?;
                let kind = entry.file_type()?;
                deleted(live, &path.join(entry.file_name()), Some(kind), changes)?;
            }
        }
        Some(kind) if is_content(kind) => {
            changes.insert(Change {
                path: path.to_owned(),
                kind: ChangeKind::Deleted,
            });
        }
        Some(_) | None => {}
    }
    Ok(())
}

fn is_content(kind: FileType) -> bool {
    kind.is_file() || kind.is_symlink()
}

fn existing(path: &Path) -> io::Result<Option<FileType>> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_opaque(directory: &Path) -> io::Result<bool> {
    for name in ["user.overlay.opaque", "trusted.overlay.opaque"] {
        let mut value = [0; 16];
        match rustix::fs::lgetxattr(directory, name, &mut value) {
            Ok(1..) if value.first() == Some(&b'y') => return Ok(true),
            Ok(_)
            | Err(
                rustix::io::Errno::NODATA
                | rustix::io::Errno::NOTSUP
                | rustix::io::Errno::PERM
                | rustix::io::Errno::RANGE,
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Same kind, content and executable bit.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (a, b) = (one.symlink_metadata()?, other.symlink_metadata()?);
    if a.file_type() != b.file_type() || a.len() != b.len() {
        return Ok(false);
    }
    if a.is_symlink() {
        return Ok(std::fs::read_link(one)? == std::fs::read_link(other)?);
    }
    let executable = |metadata: &std::fs::Metadata| metadata.mode() & 0o100 != 0;
    Ok(executable(&a) == executable(&b) && same_bytes(one, other)?)
}

/// In pieces: an agent's file may be large.
fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = BufReader::with_capacity(PIECE, File::open(one)?);
    let mut other = BufReader::with_capacity(PIECE, File::open(other)?);
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let common = a.len().min(b.len());
        if a.get(..common) != b.get(..common) {
            return Ok(false);
        }
        if common == 0 {
            return Ok(a.len() == b.len());
        }
        one.consume(common);
        other.consume(common);
    }
}
