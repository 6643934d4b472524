//! What was flushed, and what is left of the rest when the power fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is written or lost as one.
const PIECE: usize = 4096;
/// Files up to this size are looked through for the machine's boot id, in bytes.
const SMALL: usize = 4096;

/// A file or directory, also after a number was used again (but not within one tick of
/// the file system's clock, some milliseconds).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Inode(u64, Option<SystemTime>);

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.ino(), metadata.created().ok())
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    File {
        mode: u32,
    },
    Directory {
        mode: u32,
    },
    Link(PathBuf),
    /// A socket: nothing that a disk keeps.
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    inode: Inode,
    kind: Kind,
}

type Listing = BTreeMap<OsString, Entry>;

/// A file or directory at the moment of its flush.
#[derive(Debug)]
pub(crate) struct Flushed {
    inode: Inode,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(Vec<u8>),
    Directory(Listing),
}

impl Flushed {
    /// What `path` (an open file, below `/proc`) holds now.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let content = if metadata.is_dir() {
            // Through the link: the directory may have been renamed.
            Content::Directory(list(&path.join("."))?)
        } else {
            Content::File(fs::read(path)?)
        };
        Ok(Self {
            inode: Inode::of(&metadata),
            content,
        })
    }
}

/// What a disk holds for good.
#[derive(Debug, Default)]
pub struct Disk {
    root: PathBuf,
    files: HashMap<Inode, Vec<u8>>,
    directories: HashMap<Inode, Listing>,
}

fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What goes away meanwhile was not there.
        let Ok(metadata) = entry.path().symlink_metadata() else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        let kind = if metadata.is_dir() {
            Kind::Directory { mode }
        } else if metadata.is_file() {
            Kind::File { mode }
        } else if metadata.is_symlink() {
            Kind::Link(fs::read_link(entry.path())?)
        } else {
            Kind::Other
        };
        let inode = Inode::of(&metadata);
        listing.insert(entry.file_name(), Entry { inode, kind });
    }
    Ok(listing)
}

/// What a node is after the cut.
enum Left {
    Directory { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link(PathBuf),
}

impl Disk {
    /// Everything below `root` is there for good, as it is now.
    pub fn all_flushed(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        disk.take(root);
        disk
    }

    fn take(&mut self, directory: &Path) {
        let (Ok(metadata), Ok(listing)) = (fs::metadata(directory), list(directory)) else {
            return;
        };
        for (name, entry) in &listing {
            let path = directory.join(name);
            match entry.kind {
                Kind::Directory { .. } => self.take(&path),
                Kind::File { .. } => {
                    if let Ok(bytes) = fs::read(&path) {
                        self.files.insert(entry.inode, bytes);
                    }
                }
                Kind::Link(_) | Kind::Other => {}
            }
        }
        self.directories.insert(Inode::of(&metadata), listing);
    }

    pub(crate) fn note(&mut self, flushed: &Flushed) {
        match &flushed.content {
            Content::File(bytes) => {
                self.files.insert(flushed.inode, bytes.clone());
            }
            Content::Directory(listing) => {
                self.directories.insert(flushed.inode, listing.clone());
            }
        }
    }

    /// Makes of the files below the root what the disk could hold after a power cut now;
    /// the same `seed` decides the same. Nothing may run there any more.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn cut(&self, seed: u64) -> io::Result<()> {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut left = BTreeMap::new();
        let moved = self.moved(&mut dice)?;
        let mut survey = Survey {
            disk: self,
            dice: &mut dice,
            moved: &moved,
            left: &mut left,
        };
        survey.directory(&self.root, Some(&self.root))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        for node in left.values_mut() {
            if let Left::File { bytes, .. } = node {
                another_boot(bytes, boot.trim());
            }
        }
        self.put(&left)
    }

    /// What was renamed since its entry was flushed, and whether that lasts: a rename
    /// happens as a whole or not at all.
    fn moved(&self, dice: &mut Dice) -> io::Result<HashMap<Inode, bool>> {
        let mut places = BTreeMap::new();
        places_below(&self.root, &mut places)?;
        let mut moved = HashMap::new();
        for (directory, listing) in &self.directories {
            for (name, entry) in listing {
                let is_here = |places: &BTreeSet<(Inode, OsString)>| {
                    places.contains(&(*directory, name.clone()))
                };
                if places.get(&entry.inode).is_some_and(|it| !is_here(it)) {
                    moved.insert(entry.inode, false);
                }
            }
        }
        // In the order of the numbers, so that the same seed decides the same.
        let mut inodes: Vec<_> = moved.keys().copied().collect();
        inodes.sort_unstable();
        for inode in inodes {
            moved.insert(inode, dice.coin());
        }
        Ok(moved)
    }

    fn put(&self, left: &BTreeMap<PathBuf, Left>) -> io::Result<()> {
        clear(&self.root, left)?;
        // Outer ones come first in a sorted map.
        for (path, node) in left {
            match node {
                Left::Directory { mode } => {
                    if !path.is_dir() {
                        fs::create_dir(path)?;
                        fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
                    }
                }
                Left::File { mode, bytes } => {
                    let is_new = !path.exists();
                    if is_new || fs::read(path)? != *bytes {
                        if !is_new {
                            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                        }
                        fs::write(path, bytes)?;
                    }
                    fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
                }
                Left::Link(target) => {
                    if path.symlink_metadata().is_err() {
                        std::os::unix::fs::symlink(target, path)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Where everything below `directory` is now.
fn places_below(
    directory: &Path,
    places: &mut BTreeMap<Inode, BTreeSet<(Inode, OsString)>>,
) -> io::Result<()> {
    let own = Inode::of(&fs::metadata(directory)?);
    for (name, entry) in list(directory)? {
        if let Kind::Directory { .. } = entry.kind {
            places_below(&directory.join(&name), places)?;
        }
        places.entry(entry.inode).or_default().insert((own, name));
    }
    Ok(())
}

/// Goes through the directories and decides what is left.
struct Survey<'a> {
    disk: &'a Disk,
    dice: &'a mut Dice,
    moved: &'a HashMap<Inode, bool>,
    left: &'a mut BTreeMap<PathBuf, Left>,
}

impl Survey<'_> {
    /// `live` is where the directory is now, if it still is.
    fn directory(&mut self, place: &Path, live: Option<&Path>) -> io::Result<()> {
        let now = live.map(list).transpose()?.unwrap_or_default();
        let inode = live.map(fs::metadata).transpose()?.as_ref().map(Inode::of);
        let before = inode
            .and_then(|inode| self.disk.directories.get(&inode))
            .cloned()
            .unwrap_or_default();
        self.entries(place, live, &before, &now)
    }

    fn entries(
        &mut self,
        place: &Path,
        live: Option<&Path>,
        before: &Listing,
        now: &Listing,
    ) -> io::Result<()> {
        let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        for name in names {
            let (old, new) = (before.get(name), now.get(name));
            let renamed = [new, old]
                .into_iter()
                .flatten()
                .find_map(|entry| self.moved.get(&entry.inode));
            let same = old.map(|old| old.inode) == new.map(|new| new.inode);
            let is_new = same || renamed.copied().unwrap_or_else(|| self.dice.coin());
            let Some(entry) = (if is_new { new } else { old }) else {
                continue;
            };
            let path = place.join(name);
            let at = live.map(|live| live.join(name)).filter(|_| is_new);
            match &entry.kind {
                Kind::Other => {}
                Kind::Link(target) => {
                    self.left.insert(path, Left::Link(target.clone()));
                }
                Kind::Directory { mode } => {
                    self.left
                        .insert(path.clone(), Left::Directory { mode: *mode });
                    match at {
                        Some(at) => self.directory(&path, Some(&at))?,
                        // Removed, but not for good: as it was flushed.
                        None => {
                            let disk = self.disk;
                            let nothing = Listing::new();
                            let before = disk.directories.get(&entry.inode).unwrap_or(&nothing);
                            self.entries(&path, None, before, before)?;
                        }
                    }
                }
                Kind::File { mode } => {
                    let flushed = self.disk.files.get(&entry.inode);
                    let flushed = flushed.map(Vec::as_slice).unwrap_or_default();
                    let bytes = match at.map(fs::read).transpose()? {
                        Some(now) => torn(flushed, &now, self.dice),
                        None => flushed.to_owned(),
                    };
                    self.left.insert(path, Left::File { mode: *mode, bytes });
                }
            }
        }
        Ok(())
    }
}

/// Removes what is not left, or is of another kind.
fn clear(directory: &Path, left: &BTreeMap<PathBuf, Left>) -> io::Result<()> {
    for (name, entry) in list(directory)? {
        let path = directory.join(name);
        match (&entry.kind, left.get(&path)) {
            (Kind::Directory { .. }, Some(Left::Directory { .. })) => clear(&path, left)?,
            (Kind::Directory { .. }, _) => fs::remove_dir_all(&path)?,
            (Kind::File { .. }, Some(Left::File { .. })) => {}
            (Kind::Link(now), Some(Left::Link(then))) if now == then => {}
            _ => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// `flushed` with some pieces of `now`.
fn torn(flushed: &[u8], now: &[u8], dice: &mut Dice) -> Vec<u8> {
    if flushed == now {
        return now.to_owned();
    }
    let (short, long) = (flushed.len().min(now.len()), flushed.len().max(now.len()));
    let length = match dice.below(4) {
        0 => flushed.len(),
        1 => now.len(),
        2 => short + dice.below(long - short + 1),
        // At the end of a piece.
        _ => (short.next_multiple_of(PIECE) + dice.below((long - short) / PIECE + 1) * PIECE)
            .clamp(short, long),
    };
    // A length that was never flushed shows zeroes where no piece is.
    let mut bytes = vec![0; length];
    let all = dice.below(8) == 0;
    for (index, piece) in bytes.chunks_mut(PIECE).enumerate() {
        let from = if all || dice.coin() { now } else { flushed };
        let begin = index * PIECE;
        let end = (begin + piece.len()).min(from.len());
        if let Some(source) = from.get(begin..end)
            && let Some(target) = piece.get_mut(..source.len())
        {
            target.copy_from_slice(source);
        }
    }
    bytes
}

/// A machine that lost its power has another boot id afterwards; this one still has its.
fn another_boot(bytes: &mut [u8], boot: &str) {
    if boot.is_empty() || bytes.len() > SMALL {
        return;
    }
    let at = bytes
        .windows(boot.len())
        .position(|window| window == boot.as_bytes());
    if let Some(first) = at.and_then(|at| bytes.get_mut(at)) {
        *first = if *first == b'0' { b'1' } else { b'0' };
    }
}

/// Small, and the same everywhere: which pieces are left must be repeatable.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64).max(1)).unwrap_or_default()
    }
}

/// Ends every process whose current directory is below `root`, as a power cut would.
pub fn end_processes_in(root: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(root)) {
            crate::kernel::kill(pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(disk: &mut Disk, path: &Path) {
        disk.note(&Flushed::read(path).unwrap());
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_may_go() {
        let mut lost = [false; 4];
        for seed in 0..64 {
            let home = tempfile::tempdir().unwrap();
            let at = |name: &str| home.path().join(name);
            fs::write(at("old"), "old").unwrap();
            let mut disk = Disk::all_flushed(home.path());
            // Flushed with its entry, flushed without, not flushed at all.
            fs::write(at("safe"), vec![1; 9000]).unwrap();
            flush(&mut disk, &at("safe"));
            flush(&mut disk, home.path());
            fs::write(at("unlisted"), "x").unwrap();
            flush(&mut disk, &at("unlisted"));
            let mut longer = vec![1; 9000];
            longer.extend(vec![2; 9000]);
            fs::write(at("safe"), longer).unwrap();
            fs::write(at("fresh"), "new").unwrap();
            fs::rename(at("fresh"), at("old")).unwrap();

            disk.cut(seed).unwrap();
            let safe = fs::read(at("safe")).unwrap();
            assert!(safe.iter().take(9000).all(|byte| *byte == 1), "seed {seed}");
            lost[0] |= safe.len() < 18000;
            lost[1] |= !at("unlisted").exists();
            let old = fs::read(at("old")).unwrap();
            assert!(old != b"fresh", "never gone: {old:?}");
            lost[2] |= old == b"old";
            lost[3] |= old.is_empty() || old == [0; 3];
        }
        assert_eq!(lost, [true; 4], "64 cuts show every loss");
    }

    #[test]
    fn a_removed_file_may_come_back_and_a_number_used_again_is_another_file() {
        let mut back = false;
        for seed in 0..16 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a");
            fs::write(&path, "first").unwrap();
            let disk = Disk::all_flushed(home.path());
            let first = Inode::of(&fs::metadata(&path).unwrap());
            fs::remove_file(&path).unwrap();
            let again = home.path().join("b");
            fs::write(&again, "second").unwrap();
            // Within one tick of the file system's clock the two cannot be told apart.
            while Inode::of(&fs::metadata(&again).unwrap()) == first {
                fs::remove_file(&again).unwrap();
                fs::write(&again, "second").unwrap();
            }
            disk.cut(seed).unwrap();
            if let Ok(text) = fs::read(&path) {
                assert_eq!(text, b"first");
                back = true;
            }
            if let Ok(text) = fs::read(home.path().join("b")) {
                let is_part = b"second".starts_with(&text) || text.iter().all(|byte| *byte == 0);
                assert!(is_part, "{text:?}");
            }
        }
        assert!(back);
    }
}
