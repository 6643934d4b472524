//! Files of the live tree, reached component by component from its root without
//! ever following a link, so that nothing outside is read or written whatever a
//! path says and whoever swaps a directory for a link meanwhile.

use crate::fail::{broken, failed};
use crate::hardened::unsupported;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use selfheal_domain::ports::RepositoryError;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Largest file that is read to be patched, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// A file as it is in the live tree.
#[derive(Clone, Debug)]
pub(crate) struct LiveFile {
    pub(crate) content: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// What it was when it was read.
    pub(crate) stat: Stat,
}

/// The live tree.
#[derive(Debug)]
pub(crate) struct LiveTree {
    root: PathBuf,
    handle: OwnedFd,
    /// Paths relative to the root that are ours or git's, never the application's.
    off_limits: Vec<String>,
}

impl LiveTree {
    pub(crate) fn open(root: &Path, off_limits: Vec<String>) -> Result<Self, RepositoryError> {
        let handle = rustix::fs::open(
            root,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed(format!("opening {}", root.display())))?;
        Ok(Self {
            root: root.to_owned(),
            handle,
            off_limits,
        })
    }

    /// Refuses a path that is not plainly a file of this tree.
    pub(crate) fn check_path(&self, path: &str) -> Result<(), RepositoryError> {
        let refuse = |why: &str| {
            Err(RepositoryError::Conflict(format!(
                "the path {path:?} {why}"
            )))
        };
        if path.is_empty() || path.len() > 4_000 || path.contains('\0') {
            return refuse("is empty, too long or holds a NUL");
        }
        for component in path.split('/') {
            if component.is_empty() || component == "." || component == ".." {
                return refuse("is not relative to the repository, or not in its plain form");
            }
            if is_git_name(component) {
                return refuse("lies in a git directory");
            }
        }
        for place in &self.off_limits {
            let inside = path
                .strip_prefix(place.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if inside {
                return refuse("lies in a directory of git's or Selfheal's own");
            }
        }
        Ok(())
    }

    /// The directory of `path`, and its last component. None where it does not exist.
    fn parent<'p>(
        &self,
        path: &'p str,
        create: Create,
    ) -> Result<Option<(OwnedFd, &'p str)>, RepositoryError> {
        self.check_path(path)?;
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut here = self
            .handle
            .try_clone()
            .map_err(failed("opening the live tree"))?;
        for component in parents.split('/').filter(|part| !part.is_empty()) {
            let open = |at: &OwnedFd| {
                rustix::fs::openat(
                    at,
                    component,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            };
            let next = match open(&here) {
                Err(Errno::NOENT) => match create {
                    Create::No => return Ok(None),
                    Create::Missing => {
                        match rustix::fs::mkdirat(&here, component, Mode::from_raw_mode(0o777)) {
                            Ok(()) | Err(Errno::EXIST) => {}
                            Err(error) => {
                                return Err(failed(format!("making the directory of {path}"))(
                                    error,
                                ));
                            }
                        }
                        rustix::fs::fsync(&here)
                            .map_err(failed(format!("syncing the directory of {path}")))?;
                        open(&here)
                    }
                },
                other => other,
            };
            here = match next {
                Ok(next) => next,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(RepositoryError::Conflict(format!(
                        "{component:?} in {path} is a link or a file, not a directory"
                    )));
                }
                Err(error) => {
                    return Err(failed(format!("opening the directory of {path}"))(error));
                }
            };
            if rustix::fs::statat(&here, ".git", AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(unsupported(format!(
                    "{path} lies in a submodule or another repository"
                )));
            }
        }
        Ok(Some((here, name)))
    }

    /// Reads a file; none where there is none.
    ///
    /// # Errors
    /// [`RepositoryError::Conflict`] where there is something else: a link, a
    /// directory, a device, or a link on the way.
    pub(crate) fn read(&self, path: &str) -> Result<Option<LiveFile>, RepositoryError> {
        match self.parent(path, Create::No)? {
            Some((directory, name)) => read_at(&directory, name, path),
            None => Ok(None),
        }
    }

    /// Directories on the way to `path` that do not exist yet, outermost first.
    pub(crate) fn missing_directories(&self, path: &str) -> Result<Vec<String>, RepositoryError> {
        let mut missing = Vec::new();
        for (at, _) in path.match_indices('/') {
            let directory = path.get(..at).unwrap_or_default();
            let there = match self.parent(directory, Create::No)? {
                Some((parent, name)) => {
                    rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
                }
                None => false,
            };
            if !there {
                missing.push(directory.to_owned());
            }
        }
        Ok(missing)
    }

    /// The directory that would hold `path` can be written by this process.
    pub(crate) fn check_writable(&self, path: &str) -> Result<(), RepositoryError> {
        let mut at = path;
        while let Some((parent, _)) = at.rsplit_once('/') {
            if self.parent(path, Create::No)?.is_some() {
                break;
            }
            at = parent;
        }
        let directory = match self.parent(at, Create::No)? {
            Some((directory, _)) => directory,
            None => return Ok(()),
        };
        rustix::fs::accessat(
            &directory,
            ".",
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
            AtFlags::empty(),
        )
        .map_err(|error| {
            unsupported(format!(
                "the directory of {path} cannot be written by this process ({error})"
            ))
        })
    }

    /// Puts `content` in place of what was read as `expected` (none: nothing was
    /// there), in one atomic step that is durable when this returns. `scratch` is the
    /// name of the file beside it that is written first.
    ///
    /// # Errors
    /// [`RepositoryError::Failed`], and nothing is changed, if the file is not what was
    /// read any more.
    pub(crate) fn replace(
        &self,
        path: &str,
        expected: Option<&LiveFile>,
        content: &[u8],
        mode: Option<u32>,
        scratch: &str,
    ) -> Result<(), RepositoryError> {
        let doing = format!("writing {path}");
        let Some((directory, name)) = self.parent(path, Create::Missing)? else {
            return Err(broken(doing, "its directory vanished"));
        };
        remove_if_there(&directory, scratch).map_err(failed(doing.clone()))?;
        let made = rustix::fs::openat(
            &directory,
            scratch,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(if mode.is_some() { 0o600 } else { 0o666 }),
        )
        .map_err(failed(doing.clone()))?;
        let result = self.fill_and_rename(
            &doing, &directory, name, made, expected, content, mode, scratch,
        );
        if result.is_err() {
            let _ = remove_if_there(&directory, scratch);
        }
        result
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the second half of `replace`, split off so that its scratch file is removed on every way out"
    )]
    fn fill_and_rename(
        &self,
        doing: &str,
        directory: &OwnedFd,
        name: &str,
        made: OwnedFd,
        expected: Option<&LiveFile>,
        content: &[u8],
        mode: Option<u32>,
        scratch: &str,
    ) -> Result<(), RepositoryError> {
        let mut file = File::from(made);
        file.write_all(content).map_err(failed(doing))?;
        if let Some(expected) = expected {
            let own = rustix::fs::fstat(&file).map_err(failed(doing))?;
            if (own.st_uid, own.st_gid) != (expected.stat.st_uid, expected.stat.st_gid) {
                rustix::fs::fchown(
                    &file,
                    Some(rustix::fs::Uid::from_raw(expected.stat.st_uid)),
                    Some(rustix::fs::Gid::from_raw(expected.stat.st_gid)),
                )
                .map_err(failed(format!("{doing} (keeping its owner)")))?;
            }
        }
        if let Some(mode) = mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed(doing))?;
        }
        file.sync_all().map_err(failed(doing))?;
        self.expect_still(doing, directory, name, expected)?;
        match expected {
            Some(_) => rustix::fs::renameat(directory, scratch, directory, name),
            // Nothing may be overwritten where nothing was.
            None => rustix::fs::renameat_with(
                directory,
                scratch,
                directory,
                name,
                RenameFlags::NOREPLACE,
            ),
        }
        .map_err(failed(doing))?;
        rustix::fs::fsync(directory).map_err(failed(doing))
    }

    /// Removes the file that was read as `expected`.
    ///
    /// # Errors
    /// See [`LiveTree::replace`].
    pub(crate) fn remove(&self, path: &str, expected: &LiveFile) -> Result<(), RepositoryError> {
        let doing = format!("removing {path}");
        let Some((directory, name)) = self.parent(path, Create::No)? else {
            return Ok(());
        };
        self.expect_still(&doing, &directory, name, Some(expected))?;
        rustix::fs::unlinkat(&directory, name, AtFlags::empty()).map_err(failed(doing.clone()))?;
        rustix::fs::fsync(&directory).map_err(failed(doing))
    }

    /// Removes what a crash left beside `path`.
    pub(crate) fn sweep(&self, path: &str, scratch: &str) -> Result<(), RepositoryError> {
        match self.parent(path, Create::No)? {
            Some((directory, _)) => remove_if_there(&directory, scratch)
                .map_err(failed(format!("removing a leftover beside {path}"))),
            None => Ok(()),
        }
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_empty_directory(&self, path: &str) -> Result<(), RepositoryError> {
        let Some((parent, name)) = self.parent(path, Create::No)? else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => rustix::fs::fsync(&parent).map_err(failed(format!("removing {path}"))),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(failed(format!("removing {path}"))(error)),
        }
    }

    fn expect_still(
        &self,
        doing: &str,
        directory: &OwnedFd,
        name: &str,
        expected: Option<&LiveFile>,
    ) -> Result<(), RepositoryError> {
        let now = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(doing)(error)),
        };
        let same = match (&now, expected) {
            (None, None) => true,
            (Some(now), Some(then)) => identity(now) == identity(&then.stat),
            _ => false,
        };
        if same {
            Ok(())
        } else {
            Err(broken(
                doing,
                format!(
                    "somebody else changed it in {} just now",
                    self.root.display()
                ),
            ))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Create {
    No,
    Missing,
}

/// Two stats with this in common are of the same unchanged file.
fn identity(stat: &Stat) -> [i128; 8] {
    [
        i128::from(stat.st_dev),
        i128::from(stat.st_ino),
        i128::from(stat.st_mode),
        i128::from(stat.st_size),
        i128::from(stat.st_mtime),
        i128::from(stat.st_mtime_nsec),
        i128::from(stat.st_ctime),
        i128::from(stat.st_ctime_nsec),
    ]
}

fn read_at(
    directory: &OwnedFd,
    name: &str,
    path: &str,
) -> Result<Option<LiveFile>, RepositoryError> {
    let refuse = |what: &str| RepositoryError::Conflict(format!("{path} is {what}, not a file"));
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(format!("reading {path}"))(error)),
    };
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => {}
        rustix::fs::FileType::Symlink => return Err(refuse("a symbolic link")),
        rustix::fs::FileType::Directory => return Err(refuse("a directory")),
        _ => return Err(refuse("a pipe, socket or device")),
    }
    let handle = rustix::fs::openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed(format!("opening {path}")))?;
    let stat = rustix::fs::fstat(&handle).map_err(failed(format!("reading {path}")))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(refuse("something else"));
    }
    let mut content = Vec::new();
    File::from(handle)
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut content)
        .map_err(failed(format!("reading {path}")))?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(unsupported(format!("{path} is larger than 64 MiB")));
    }
    Ok(Some(LiveFile {
        content,
        mode: stat.st_mode & 0o7777,
        stat,
    }))
}

fn remove_if_there(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A name that some file system takes for `.git`.
fn is_git_name(component: &str) -> bool {
    let plain: String = component
        .chars()
        // HFS+ ignores these.
        .filter(|c| !matches!(*c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let plain = plain.to_ascii_lowercase();
    let plain = plain.split(':').next().unwrap_or_default();
    let plain = plain.trim_end_matches([' ', '.']);
    plain == ".git" || plain == "git~1" || plain == ".git\\" || plain.starts_with(".git\\")
}

#[cfg(test)]
mod tests {
    use super::{LiveTree, is_git_name};

    #[test]
    fn refuses_paths_that_leave_the_tree_or_enter_git() {
        let place = tempfile::tempdir().unwrap();
        let live = LiveTree::open(place.path(), vec![".selfheal".to_owned()]).unwrap();
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a//b",
            "./a",
            "a/",
            "a/.",
            ".git/config",
            "a/.GIT/hooks/x",
            ".git ./x",
            "git~1/x",
            ".g\u{200c}it/x",
            ".selfheal/journal",
            ".selfheal",
            "a\0b",
        ] {
            assert!(live.check_path(path).is_err(), "{path:?}");
        }
        for path in [
            "a",
            "a/b.c",
            ".github/x",
            ".gitignore",
            "git",
            ".selfheal2/x",
        ] {
            assert!(live.check_path(path).is_ok(), "{path:?}");
        }
        assert!(!is_git_name(".gitattributes"));
    }

    #[test]
    fn never_follows_a_link() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("f"), "theirs").unwrap();
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), place.path().join("dir")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("f"), place.path().join("link")).unwrap();
        let live = LiveTree::open(place.path(), Vec::new()).unwrap();
        assert!(live.read("dir/f").is_err());
        assert!(live.read("link").is_err());
        assert!(live.replace("dir/g", None, b"x", None, ".t").is_err());
        assert!(live.replace("link", None, b"x", None, ".t").is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }
}
