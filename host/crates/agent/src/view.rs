//! The workspace as a command would see it: the live tree under overlay layers.
//!
//! Names are resolved here, step by step, before anything is judged; files are
//! then opened at the resolved name with the kernel refusing every link on the
//! way, so what was judged is what is opened.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Links followed on one path before it counts as a loop; the kernel's own limit.
const MAX_LINKS: u32 = 40;

/// Steps of one path, against texts made to be slow.
const MAX_STEPS: u32 = 4_096;

/// Live tree and layers above it, topmost first.
#[derive(Clone, Debug)]
pub(crate) struct View {
    root: PathBuf,
    layers: Vec<PathBuf>,
}

/// What is at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    File,
    Directory,
    Link(PathBuf),
    Special,
}

/// An entry of the workspace and the layer that shows it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) layer: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
}

/// A path, links followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Resolved {
    /// Absolute, without links and `..`, as far as the path exists.
    pub(crate) path: PathBuf,
    /// Relative to the workspace with `/`, when inside; empty for its root.
    pub(crate) relative: Option<String>,
    /// A symbolic link was on the way.
    pub(crate) linked: bool,
    /// Something is there.
    pub(crate) exists: bool,
    /// It is a directory.
    pub(crate) directory: bool,
    /// False when it depends on the process that asks, loops, or is no UTF-8.
    pub(crate) certain: bool,
}

enum InLayer {
    Found(Found),
    /// Removed, or hidden by something that is no directory.
    Gone,
    /// Not here; `opaque` hides everything below as well.
    Absent {
        opaque: bool,
    },
}

impl View {
    /// `root` must be canonical.
    pub(crate) fn new(root: PathBuf, layers: Vec<PathBuf>) -> Self {
        Self { root, layers }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Layers, topmost first, then the live tree.
    pub(crate) fn bases(&self) -> impl Iterator<Item = &Path> {
        self.layers
            .iter()
            .map(PathBuf::as_path)
            .chain([self.root.as_path()])
    }

    /// The entry at `relative`, links not followed.
    pub(crate) fn lookup(&self, relative: &Path) -> Option<Found> {
        for layer in &self.layers {
            match in_layer(layer, relative) {
                InLayer::Found(found) => return Some(found),
                InLayer::Gone | InLayer::Absent { opaque: true } => return None,
                InLayer::Absent { opaque: false } => {}
            }
        }
        match in_layer(&self.root, relative) {
            InLayer::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Follows `path`, relative to `base` (absolute), as the kernel would in the
    /// sandbox. What does not exist is taken by its letters.
    pub(crate) fn resolve(&self, base: &Path, path: &Path) -> Resolved {
        let mut done = PathBuf::from("/");
        let mut rest: Vec<OsString> = Vec::new();
        push_parts(&mut rest, path);
        if !path.is_absolute() {
            push_parts(&mut rest, base);
        }
        let (mut links, mut steps) = (0, 0);
        let mut certain = true;
        let mut exists = true;
        let mut directory = true;
        while let Some(part) = rest.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                certain = false;
                break;
            }
            if part == ".." {
                done.pop();
                exists = true;
                directory = true;
                continue;
            }
            let next = done.join(&part);
            if next.starts_with("/proc/self") || next.starts_with("/proc/thread-self") {
                // The process that asks is not this one.
                match part.to_str() {
                    Some("cwd") if done.parent() == Some(Path::new("/proc")) => {
                        links += 1;
                        push_parts(&mut rest, base);
                        done = PathBuf::from("/");
                        continue;
                    }
                    Some("root") if done.parent() == Some(Path::new("/proc")) => {
                        links += 1;
                        done = PathBuf::from("/");
                        continue;
                    }
                    Some("self" | "thread-self") => {
                        done = next;
                        continue;
                    }
                    _ => certain = false,
                }
            } else if (next.starts_with("/proc") && part != "proc") || next.starts_with("/dev/fd") {
                certain = false;
            }
            match self.kind(&next) {
                Some(Kind::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        certain = false;
                        break;
                    }
                    push_parts(&mut rest, &target);
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    exists = true;
                    directory = true;
                }
                Some(kind) => {
                    exists = true;
                    directory = kind == Kind::Directory;
                    done = next;
                }
                None => {
                    exists = false;
                    directory = false;
                    done = next;
                }
            }
        }
        let relative = match done.strip_prefix(&self.root) {
            Ok(inside) => match inside.to_str() {
                Some(text) => Some(text.to_owned()),
                None => {
                    certain = false;
                    None
                }
            },
            Err(_) => None,
        };
        Resolved {
            path: done,
            relative,
            linked: links > 0,
            exists,
            directory,
            certain,
        }
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        match path.strip_prefix(&self.root) {
            Ok(inside) => self.lookup(inside).map(|found| found.kind),
            Err(_) => kind_of(path).map(|(kind, _)| kind),
        }
    }

    /// Reads a regular file at a resolved relative path. `None` where there is
    /// none; the second part is false when it is longer than `limit`.
    pub(crate) fn read(&self, relative: &str, limit: u64) -> io::Result<Option<(Vec<u8>, bool)>> {
        let path = Path::new(relative);
        let Some(found) = self.lookup(path) else {
            return Ok(None);
        };
        if found.kind != Kind::File {
            return Ok(None);
        }
        let file = open_beneath(&found.layer, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut content = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut content)?;
        let complete = content.len() as u64 <= limit;
        if !complete {
            content.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(Some((content, complete)))
    }
}

fn push_parts(rest: &mut Vec<OsString>, path: &Path) {
    let parts: Vec<OsString> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    rest.extend(parts.into_iter().rev());
}

fn kind_of(path: &Path) -> Option<(Kind, u32)> {
    let metadata = path.symlink_metadata().ok()?;
    let kind = if metadata.is_symlink() {
        Kind::Link(path.read_link().ok()?)
    } else if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_file() {
        Kind::File
    } else {
        Kind::Special
    };
    Some((kind, metadata.mode() & 0o7777))
}

/// A removal mark of overlayfs.
pub(crate) fn is_whiteout(metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// A directory of a layer that hides what is below it.
pub(crate) fn is_opaque(directory: &Path) -> bool {
    ["user.overlay.opaque", "trusted.overlay.opaque"]
        .iter()
        .any(|name| {
            let mut value = [0_u8; 4];
            rustix::fs::lgetxattr(directory, *name, &mut value[..])
                .is_ok_and(|length| value.get(..length) == Some(b"y"))
        })
}

fn in_layer(layer: &Path, relative: &Path) -> InLayer {
    let mut place = layer.to_owned();
    let mut opaque = false;
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        let Ok(metadata) = place.symlink_metadata() else {
            return InLayer::Absent { opaque };
        };
        if is_whiteout(&metadata) {
            return InLayer::Gone;
        }
        if parts.peek().is_some() {
            if !metadata.is_dir() {
                return InLayer::Gone;
            }
            opaque = opaque || is_opaque(&place);
        }
    }
    match kind_of(&place) {
        Some((kind, mode)) => InLayer::Found(Found {
            layer: layer.to_owned(),
            kind,
            mode,
        }),
        None => InLayer::Absent { opaque },
    }
}

/// Opens `relative` below `base`; no link is followed anywhere on the way.
pub(crate) fn open_beneath(base: &Path, relative: &Path, flags: OFlags) -> io::Result<File> {
    let base = File::open(base)?;
    let file = rustix::fs::openat2(
        &base,
        relative,
        flags | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, View) {
        let top = tempfile::tempdir().expect("temporary directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in ["live/src", "live/gone", "upper/src", "outside"] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        fs::write(base.join("live/src/a.py"), "live").expect("file");
        fs::write(base.join("live/src/b.py"), "live").expect("file");
        fs::write(base.join("live/gone/x"), "live").expect("file");
        fs::write(base.join("outside/secret"), "s").expect("file");
        fs::write(base.join("upper/src/a.py"), "upper").expect("file");
        symlink("../outside/secret", base.join("live/leak")).expect("link");
        symlink("src", base.join("live/source")).expect("link");
        symlink("loop", base.join("live/loop")).expect("link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            base.join("upper/gone"),
            rustix::fs::FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .expect("whiteout");
        let view = View::new(base.join("live"), vec![base.join("upper")]);
        (top, view)
    }

    fn text(view: &View, relative: &str) -> Option<String> {
        view.read(relative, 100)
            .expect("readable")
            .map(|(bytes, _)| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn layers_cover_the_live_tree() {
        let (_top, view) = tree();
        assert_eq!(text(&view, "src/a.py").as_deref(), Some("upper"));
        assert_eq!(text(&view, "src/b.py").as_deref(), Some("live"));
        assert_eq!(text(&view, "gone/x"), None);
        assert!(view.lookup(Path::new("gone")).is_none());
    }

    #[test]
    fn links_are_followed_to_where_they_lead() {
        let (_top, view) = tree();
        let root = view.root().to_owned();
        let inside = view.resolve(&root, Path::new("source/../src/./b.py"));
        assert_eq!(inside.relative.as_deref(), Some("src/b.py"));
        assert!(inside.linked && inside.exists && inside.certain);
        let outside = view.resolve(&root, Path::new("leak"));
        assert_eq!(outside.relative, None);
        assert!(outside.path.ends_with("outside/secret"));
        let through = view.resolve(&root, Path::new("/proc/self/cwd/src/a.py"));
        assert_eq!(through.relative.as_deref(), Some("src/a.py"));
        assert!(!view.resolve(&root, Path::new("loop")).certain);
        let new = view.resolve(&root, Path::new("source/new.py"));
        assert_eq!(new.relative.as_deref(), Some("src/new.py"));
        assert!(!new.exists);
        assert_eq!(view.resolve(&root, Path::new("../outside")).relative, None);
    }

    #[test]
    fn a_link_put_there_later_is_not_followed() {
        let (_top, view) = tree();
        assert!(open_beneath(view.root(), Path::new("leak"), OFlags::RDONLY).is_err());
        assert!(open_beneath(view.root(), Path::new("source/b.py"), OFlags::RDONLY).is_err());
        assert!(open_beneath(view.root(), Path::new("../outside/secret"), OFlags::RDONLY).is_err());
    }
}
