//! Writes into overlay layers from the host's side, below one directory and
//! through no link: the run's upper directory, and the throw-away layers of
//! verifications.

use crate::view::{Kind, View};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use selfheal_domain::patch::FileChange;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An overlay layer that is being written. Nothing may have it mounted.
pub(crate) struct Layer {
    base: File,
    owner: Option<(u32, u32)>,
}

impl Layer {
    /// Opens the layer at `base`; what is written gets the owner of `root`.
    pub(crate) fn open(base: &Path, root: &Path) -> io::Result<Self> {
        let owner = rustix::process::geteuid()
            .is_root()
            .then(|| {
                root.metadata()
                    .map(|metadata| (metadata.uid(), metadata.gid()))
            })
            .transpose()?;
        Ok(Self {
            base: File::open(base)?,
            owner,
        })
    }

    /// Writes a whole file. Parents that the layer lacks are made, with the mode
    /// they have in `view`; a parent that was removed comes back empty.
    pub(crate) fn write(&self, view: &View, relative: &str, content: &[u8]) -> io::Result<()> {
        let path = Path::new(relative);
        let mode = match view.lookup(path) {
            Some(found) if found.kind == Kind::File => found.mode & 0o777,
            Some(_) => return Err(io::Error::other("there is something that is no file")),
            None => 0o644,
        };
        let parent = self.parents(view, path)?;
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("the path has no file name"))?;
        // Unlinked first: the old entry may be a removal mark, or have a second
        // name that must not change.
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let file = rustix::fs::openat(
            &parent,
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(mode | 0o200),
        )?;
        let mut file = File::from(file);
        file.write_all(content)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        self.own(&file);
        Ok(())
    }

    /// Marks a file of the live tree as removed.
    fn remove(&self, view: &View, relative: &str) -> io::Result<()> {
        let path = Path::new(relative);
        if view.lookup(path).is_none() {
            return Ok(());
        }
        let parent = self.parents(view, path)?;
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("the path has no file name"))?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)?;
        Ok(())
    }

    fn parents(&self, view: &View, path: &Path) -> io::Result<OwnedFd> {
        let mut directory = self.step(&self.base, Path::new("."))?;
        let mut at = PathBuf::new();
        for part in path.parent().unwrap_or(Path::new("")).components() {
            at.push(part);
            let name = Path::new(part.as_os_str());
            let seen = view.lookup(&at);
            if seen
                .as_ref()
                .is_some_and(|found| found.kind != Kind::Directory)
            {
                return Err(io::Error::other("a parent is no directory"));
            }
            directory = match self.step(&directory, name) {
                Ok(next) => next,
                Err(_) => {
                    // Not there, or a removal mark: what was below must stay gone.
                    let removed = rustix::fs::unlinkat(&directory, name, AtFlags::empty()).is_ok();
                    let mode = seen.map_or(0o755, |found| found.mode & 0o777);
                    rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(mode | 0o700))?;
                    let next = self.step(&directory, name)?;
                    if removed {
                        rustix::fs::fsetxattr(
                            &next,
                            "user.overlay.opaque",
                            b"y",
                            XattrFlags::empty(),
                        )?;
                    }
                    self.own(&next);
                    next
                }
            };
        }
        Ok(directory)
    }

    fn step(&self, directory: impl std::os::fd::AsFd, name: &Path) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat2(
            directory,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?)
    }

    fn own(&self, file: impl std::os::fd::AsFd) {
        if let Some((user, group)) = self.owner {
            // Where it fails the file is ours, which every command can still read.
            let _ = rustix::fs::fchown(
                file,
                Some(rustix::fs::Uid::from_raw(user)),
                Some(rustix::fs::Gid::from_raw(group)),
            );
        }
    }
}

/// A layer directory that is gone when dropped.
#[derive(Debug)]
pub(crate) struct Throwaway(PathBuf);

impl Throwaway {
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // What is left is removed by the next workbench.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lays a patch out as a layer over the live tree. `content` may change what is
/// written for a file (see `Masker::restore`).
pub(crate) fn lay_out(
    base: &Path,
    live: &View,
    files: &[FileChange],
    content: &dyn Fn(&FileChange, &str) -> io::Result<String>,
) -> io::Result<()> {
    let layer = Layer::open(base, live.root())?;
    for file in files {
        if !is_plain(&file.path) {
            return Err(io::Error::other(format!(
                "{:?} is no path of a patch",
                file.path
            )));
        }
        let done = match &file.after {
            Some(after) => {
                content(file, after).and_then(|text| layer.write(live, &file.path, text.as_bytes()))
            }
            None => layer.remove(live, &file.path),
        };
        done.map_err(|error| io::Error::other(format!("{}: {error}", file.path)))?;
    }
    Ok(())
}

/// Relative, without `.` and `..`, and not in `.git`.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !crate::config::is_git(path)
}

/// Removes what an earlier workbench could not.
pub(crate) fn sweep(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Names of throw-away layers start so.
pub(crate) const PREFIX: &str = "layer-";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    struct Trees {
        _top: tempfile::TempDir,
        base: PathBuf,
    }

    impl Trees {
        fn new() -> Self {
            let top = tempfile::tempdir().expect("temporary directory");
            let base = top.path().canonicalize().expect("canonical");
            for directory in ["live/src", "upper", "outside"] {
                fs::create_dir_all(base.join(directory)).expect("directory");
            }
            fs::write(base.join("live/src/a.py"), "old").expect("file");
            fs::write(base.join("live/src/b.py"), "b").expect("file");
            Self { _top: top, base }
        }

        fn view(&self) -> View {
            View::new(self.base.join("live"), vec![self.base.join("upper")])
        }

        fn layer(&self) -> Layer {
            Layer::open(&self.base.join("upper"), &self.base.join("live")).expect("layer")
        }
    }

    #[test]
    fn writes_stay_in_the_layer() {
        let trees = Trees::new();
        let (view, layer) = (trees.view(), trees.layer());
        layer.write(&view, "src/a.py", b"new").expect("written");
        layer.write(&view, "new/deep/c.py", b"c").expect("written");
        let read = |path: &str| fs::read_to_string(trees.base.join(path)).expect("file");
        assert_eq!(read("live/src/a.py"), "old");
        assert_eq!(read("upper/src/a.py"), "new");
        assert_eq!(read("upper/new/deep/c.py"), "c");
        assert_eq!(
            view.read("src/a.py", 10).expect("read"),
            Some((b"new".to_vec(), true))
        );
    }

    #[test]
    fn no_link_leads_a_write_elsewhere() {
        let trees = Trees::new();
        symlink(trees.base.join("outside"), trees.base.join("upper/out")).expect("link");
        symlink("../outside", trees.base.join("live/also")).expect("link");
        let (view, layer) = (trees.view(), trees.layer());
        assert!(layer.write(&view, "out/x", b"x").is_err());
        assert!(layer.write(&view, "also/x", b"x").is_err());
        assert!(
            fs::read_dir(trees.base.join("outside"))
                .expect("list")
                .next()
                .is_none()
        );
    }

    /// As somebody in the sandbox could, who kept a process running.
    #[test]
    fn no_link_that_comes_and_goes_leads_anything_elsewhere() {
        let trees = Trees::new();
        let (view, layer) = (trees.view(), trees.layer());
        let outside = trees.base.join("outside");
        fs::write(outside.join("a.py"), "outside").expect("file");
        fs::create_dir_all(trees.base.join("upper/src")).expect("directory");
        let over = AtomicBool::new(false);
        let tries = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let at = |name: &str| trees.base.join("upper").join(name);
                for flip in 1.. {
                    // Whatever was made at these names in between is in the way.
                    let _ = fs::rename(at("src"), at("aside"));
                    let _ = symlink(&outside, at("src"));
                    let _ = fs::remove_file(at("src"));
                    let _ = fs::rename(at("aside"), at("src"));
                    let _ = fs::remove_dir_all(at("aside"));
                    // Now and then one whole try meets nobody.
                    let before = tries.load(Ordering::SeqCst);
                    while flip % 64 == 0 && tries.load(Ordering::SeqCst) < before + 2 {
                        if over.load(Ordering::SeqCst) {
                            return;
                        }
                        std::thread::yield_now();
                    }
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
            let (mut written, mut led) = (0, false);
            let more = |done, written| done < 3_000 || (written == 0 && done < 100_000);
            while !led && more(tries.fetch_add(1, Ordering::SeqCst), written) {
                written += usize::from(layer.write(&view, "src/a.py", b"inside").is_ok());
                let read = view.read("src/a.py", 100).unwrap_or_default();
                led = read.is_some_and(|(bytes, _)| bytes == b"outside");
            }
            over.store(true, Ordering::SeqCst);
            assert!(!led, "no read leads outside");
            assert!(written > 0, "some come through");
        });
        let names = fs::read_dir(&outside).expect("list").count();
        let text = fs::read_to_string(outside.join("a.py")).expect("file");
        assert_eq!((names, text.as_str()), (1, "outside"));
    }

    #[test]
    fn a_removed_directory_comes_back_empty() {
        let trees = Trees::new();
        let (view, layer) = (trees.view(), trees.layer());
        rustix::fs::mknodat(
            rustix::fs::CWD,
            trees.base.join("upper/src"),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .expect("whiteout");
        layer.write(&view, "src/new.py", b"n").expect("written");
        assert!(view.lookup(Path::new("src/new.py")).is_some());
        assert!(view.lookup(Path::new("src/a.py")).is_none());
    }

    #[test]
    fn a_patch_becomes_a_layer() {
        let trees = Trees::new();
        let live = View::new(trees.base.join("live"), Vec::new());
        let change = |path: &str, before: Option<&str>, after: Option<&str>| FileChange {
            path: path.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let files = [
            change("src/a.py", Some("old"), Some("fixed")),
            change("src/b.py", Some("b"), None),
            change("c.py", None, Some("c")),
        ];
        let plain = |_: &FileChange, text: &str| Ok(text.to_owned());
        lay_out(&trees.base.join("upper"), &live, &files, &plain).expect("laid out");
        let view = trees.view();
        assert!(view.lookup(Path::new("src/b.py")).is_none());
        assert_eq!(
            view.read("c.py", 10).expect("read"),
            Some((b"c".to_vec(), true))
        );
        for path in ["../x", "/etc/x", ".git/config", "a/../../x", ""] {
            let files = [change(path, None, Some("x"))];
            assert!(
                lay_out(&trees.base.join("upper"), &live, &files, &plain).is_err(),
                "{path}"
            );
        }
    }
}
