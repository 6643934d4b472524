//! The thread that starts the program, stands at its door and counts.

use crate::calls::{self, Role};
use crate::disk::{Disk, Flushed};
use crate::kernel::{self, Call, Stop, Tid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// Longest path read from the program, in bytes.
const LONGEST_PATH: usize = 4096;

/// One system call that lasts or acts, by what it is about; names and numbers that
/// differ from run to run are `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    /// As in `rename to app/.git/refs/heads/main`.
    pub name: String,
    /// The how manieth of that name, from 0.
    pub occurrence: usize,
}

/// Which call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Where {
    /// The nth of all, from 0.
    Nth(usize),
    /// This one.
    Point(Point),
}

/// Before the call happens, or after it has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named after what they are")]
pub enum Moment {
    Before,
    After,
}

/// What happens to the program, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is killed with SIGKILL.
    Kill {
        /// There.
        at: Where,
        /// And then.
        moment: Moment,
    },
    /// From this call on there is no space left.
    Full {
        /// There.
        at: Where,
    },
}

/// What was seen of a program that has ended.
#[derive(Debug)]
pub struct Trace {
    /// Its points in order.
    pub points: Vec<Point>,
    /// Where the fault happened, if it came to that.
    pub hit: Option<Point>,
    /// Numbers of system calls that nobody has classified.
    pub unknown: BTreeSet<i64>,
    /// What was on the disk for good.
    pub disk: Disk,
}

/// A program that runs under watch.
#[derive(Debug)]
pub struct Traced {
    pid: Tid,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Trace>>,
}

#[derive(Debug, Default)]
struct Shared {
    hit: AtomicBool,
    space: AtomicBool,
    gone: AtomicBool,
}

impl Traced {
    /// Starts `command`, whose files are below `root`, and lets `fault` happen to it.
    /// Gives its standard output.
    ///
    /// # Errors
    /// It cannot be started, or not be traced.
    pub fn start(
        mut command: Command,
        root: &Path,
        fault: Option<Fault>,
    ) -> io::Result<(Self, ChildStdout)> {
        let shared = Arc::new(Shared::default());
        let (for_thread, root) = (Arc::clone(&shared), root.canonicalize()?);
        let (tell, told) = channel();
        command.stdout(Stdio::piped());
        kernel::traced_by_me(&mut command);
        // One thread does it all: only that one may ask and resume its tracees.
        let thread = std::thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(move || watch(command, root, fault, &for_thread, &tell))?;
        let gone = || io::Error::other("the tracer ended");
        let (pid, stdout) = told.recv().map_err(|_| gone())??;
        let traced = Self {
            pid,
            shared,
            thread: Some(thread),
        };
        Ok((traced, stdout))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Whether the fault has happened.
    pub fn is_hit(&self) -> bool {
        self.shared.hit.load(Ordering::SeqCst)
    }

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::SeqCst)
    }

    /// There is space on the disk again.
    pub fn make_space(&self) {
        self.shared.space.store(true, Ordering::SeqCst);
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Trace {
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_else(|| Trace {
                points: Vec::new(),
                hit: None,
                unknown: BTreeSet::new(),
                disk: Disk::default(),
            })
    }

    /// Ends it with SIGKILL and waits for that.
    pub fn kill(self) -> Trace {
        if !self.is_gone() {
            kernel::kill(self.pid);
        }
        self.wait()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            if !self.is_gone() {
                kernel::kill(self.pid);
            }
            // What it would have said nobody asked for.
            let _ = thread.join();
        }
    }
}

type Started = io::Result<(Tid, ChildStdout)>;

fn watch(
    mut command: Command,
    root: PathBuf,
    fault: Option<Fault>,
    shared: &Shared,
    tell: &Sender<Started>,
) -> Trace {
    let mut trace = Trace {
        points: Vec::new(),
        hit: None,
        unknown: BTreeSet::new(),
        disk: Disk::all_flushed(&root),
    };
    let begun = begin(&mut command).map(|(pid, stdout, memory)| {
        // Nobody waits any more only if the test has ended.
        let _ = tell.send(Ok((pid, stdout)));
        (pid, memory)
    });
    match begun {
        Ok((pid, memory)) => {
            let mut watcher = Watcher {
                pid,
                memory,
                root,
                fault,
                shared,
                trace: &mut trace,
                counts: BTreeMap::new(),
                full: false,
            };
            watcher.run();
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    }
    shared.gone.store(true, Ordering::SeqCst);
    trace
}

fn begin(command: &mut Command) -> io::Result<(Tid, ChildStdout, File)> {
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let stdout = child.stdout.take();
    // It stands at the first instruction of the program.
    kernel::wait()?;
    kernel::follow(pid)?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    kernel::go_on(pid, 0);
    Ok((pid, stdout.ok_or(io::ErrorKind::BrokenPipe)?, memory))
}

/// What a thread is in the middle of.
struct Under {
    /// Index of its point, if it is one.
    point: Option<usize>,
    flushed: Option<Flushed>,
    refused: bool,
    make: bool,
}

struct Watcher<'a> {
    pid: Tid,
    memory: File,
    root: PathBuf,
    fault: Option<Fault>,
    shared: &'a Shared,
    trace: &'a mut Trace,
    counts: BTreeMap<String, usize>,
    full: bool,
}

impl Watcher<'_> {
    fn run(&mut self) {
        let mut threads: HashMap<Tid, Option<Under>> = HashMap::from([(self.pid, None)]);
        while let Ok((tid, stop)) = kernel::wait() {
            match stop {
                Stop::Gone if tid == self.pid => return,
                Stop::Gone => {
                    threads.remove(&tid);
                }
                Stop::Event => kernel::go_on(tid, 0),
                Stop::Signal(libc::SIGSTOP) if !threads.contains_key(&tid) => {
                    if self.is_thread(tid) {
                        threads.insert(tid, None);
                        kernel::go_on(tid, 0);
                    } else {
                        kernel::detach(tid);
                    }
                }
                Stop::Signal(signal) => kernel::go_on(tid, signal),
                Stop::Call => {
                    let under = threads.entry(tid).or_insert(None);
                    let died = match kernel::call(tid) {
                        Ok(Call::Enter { number, arguments }) => {
                            *under = self.enter(tid, number, &arguments);
                            self.dies(under.as_ref(), Moment::Before)
                        }
                        Ok(Call::Leave { result }) => {
                            let under = under.take();
                            if let Some(under) = &under {
                                self.leave(tid, under, result);
                            }
                            self.dies(under.as_ref(), Moment::After)
                        }
                        Err(_) => false,
                    };
                    if died {
                        kernel::kill(self.pid);
                    } else {
                        kernel::go_on(tid, 0);
                    }
                }
            }
        }
    }

    /// Whether it is a thread of the program and no process of its own.
    fn is_thread(&self, tid: Tid) -> bool {
        Path::new(&format!("/proc/{}/task/{tid}", self.pid)).exists()
    }

    fn dies(&mut self, under: Option<&Under>, then: Moment) -> bool {
        let Some(index) = under.and_then(|under| under.point) else {
            return false;
        };
        let Some(Fault::Kill { at, moment }) = &self.fault else {
            return false;
        };
        let dies = *moment == then && self.is_at(at, index);
        if dies {
            self.hit(index);
        }
        dies
    }

    fn is_at(&self, at: &Where, index: usize) -> bool {
        match at {
            Where::Nth(nth) => *nth == index,
            Where::Point(point) => self.trace.points.get(index) == Some(point),
        }
    }

    fn hit(&mut self, index: usize) {
        self.trace.hit = self.trace.points.get(index).cloned();
        self.shared.hit.store(true, Ordering::SeqCst);
    }

    fn enter(&mut self, tid: Tid, number: i64, arguments: &[u64; 6]) -> Option<Under> {
        let argument = |position: usize| arguments.get(position).copied().unwrap_or_default();
        let Some(role) = calls::role(number, arguments, self.pid) else {
            self.trace.unknown.insert(number);
            return None;
        };
        let mut under = Under {
            point: None,
            flushed: None,
            refused: false,
            make: false,
        };
        let (name, space) = match role {
            Role::Nothing => return None,
            Role::Effect("start") => {
                // Flags come first in its arguments.
                if self.number_at(argument(0))? & libc::CLONE_THREAD as u64 != 0 {
                    return None;
                }
                ("start a process".to_owned(), false)
            }
            Role::Effect(name) => (name.to_owned(), false),
            Role::FlushAll => {
                self.trace.disk = Disk::all_flushed(&self.root);
                ("flush everything".to_owned(), false)
            }
            Role::Flush(file) => {
                let open = self.open_file(tid, argument(file));
                let name = self.about(&std::fs::read_link(&open).ok()?)?;
                under.flushed = Flushed::read(&open).ok();
                (format!("flush {name}"), false)
            }
            Role::Open { verb, file, space } => {
                let target = std::fs::read_link(self.open_file(tid, argument(file))).ok()?;
                (format!("{verb} {}", self.about(&target)?), space)
            }
            Role::At {
                verb,
                directory,
                path,
                space,
            } => {
                let at = self.path(tid, directory.map(argument), argument(path))?;
                let exists = at.symlink_metadata().is_ok();
                let verb = match verb {
                    "open" if !self.opens_to_make(argument(2)) => return None,
                    // Opening what is there makes nothing, unless it empties it.
                    "open" | "make" if exists && !self.truncates(number, arguments) => {
                        return None;
                    }
                    "open" | "make" if exists => "empty",
                    "open" => "make",
                    other => other,
                };
                under.make = verb == "make";
                (
                    format!("{verb} {}", self.about(&at)?),
                    space && verb != "empty",
                )
            }
        };
        let count = self.counts.entry(name.clone()).or_default();
        let occurrence = std::mem::replace(count, *count + 1);
        let index = self.trace.points.len();
        let on_disk = name
            .split_once(' ')
            .is_some_and(|(_, about)| !about.starts_with("to a "));
        self.trace.points.push(Point { name, occurrence });
        under.point = Some(index);
        if let Some(Fault::Full { at }) = &self.fault
            && !self.full
            && space
            && self.is_at_or_after(at, index)
        {
            self.full = true;
            self.hit(index);
        }
        if self.full && space && on_disk && !self.shared.space.load(Ordering::SeqCst) {
            under.refused = kernel::skip(tid).is_ok();
        }
        Some(under)
    }

    /// A full disk shows at the first call that needs space.
    fn is_at_or_after(&self, at: &Where, index: usize) -> bool {
        match at {
            Where::Nth(nth) => *nth <= index,
            Where::Point(_) => self.is_at(at, index),
        }
    }

    fn leave(&mut self, tid: Tid, under: &Under, result: i64) {
        if under.refused {
            let _ = kernel::fail(tid, libc::ENOSPC);
            return;
        }
        if result == 0
            && let Some(flushed) = &under.flushed
        {
            self.trace.disk.note(flushed);
        }
    }

    fn opens_to_make(&self, how: u64) -> bool {
        self.number_at(how)
            .is_some_and(|flags| flags as i32 & (libc::O_CREAT | libc::O_TRUNC) != 0)
    }

    fn truncates(&self, number: i64, arguments: &[u64; 6]) -> bool {
        let [_, second, third, ..] = *arguments;
        let flags = match number {
            libc::SYS_open => second,
            libc::SYS_openat => third,
            libc::SYS_openat2 => self.number_at(third).unwrap_or_default(),
            libc::SYS_creat => return true,
            _ => return false,
        };
        flags as i32 & libc::O_TRUNC != 0
    }

    /// An open file of the program, through the eyes of the kernel.
    fn open_file(&self, tid: Tid, file: u64) -> PathBuf {
        format!("/proc/{tid}/fd/{}", file as i32).into()
    }

    fn number_at(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn text_at(&self, address: u64) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let mut text = Vec::new();
        let mut piece = [0; 256];
        while text.len() < LONGEST_PATH {
            let read = self
                .memory
                .read_at(&mut piece, address + text.len() as u64)
                .ok()?;
            let piece = piece.get(..read).filter(|piece| !piece.is_empty())?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(piece.get(..end)?);
                return Some(std::ffi::OsString::from_vec(text).into());
            }
            text.extend_from_slice(piece);
        }
        None
    }

    fn path(&self, tid: Tid, directory: Option<u64>, path: u64) -> Option<PathBuf> {
        let path = self.text_at(path)?;
        if path.is_absolute() {
            return Some(path);
        }
        let base = match directory {
            Some(directory) if directory as i32 != libc::AT_FDCWD => {
                std::fs::read_link(self.open_file(tid, directory)).ok()?
            }
            _ => std::fs::read_link(format!("/proc/{tid}/cwd")).ok()?,
        };
        Some(base.join(path))
    }

    /// What a call is about, without what differs from run to run; none when nobody
    /// outside the process and nothing on disk is concerned.
    fn about(&self, target: &Path) -> Option<String> {
        let text = target.to_string_lossy();
        if text.starts_with("socket:") {
            return Some("to a socket".to_owned());
        }
        let inert = [
            "pipe:",
            "anon_inode:",
            "/memfd:",
            "/proc/",
            "/dev/",
            "/sys/",
        ];
        if inert.iter().any(|prefix| text.starts_with(prefix)) {
            return None;
        }
        let shown = target.strip_prefix(&self.root).unwrap_or(target);
        let parts = shown.components().filter_map(|part| match part {
            Component::Normal(name) => Some(general(&name.to_string_lossy())),
            _ => None,
        });
        Some(parts.collect::<Vec<_>>().join("/"))
    }
}

/// A name of a file with `*` for every word that is chosen anew in each run.
fn general(name: &str) -> String {
    // Random names of temporary files.
    for mark in [".tmp", "_git2_", "tmp_obj"] {
        if let Some((before, after)) = name.split_once(mark)
            && !after.is_empty()
            && !after.starts_with('.')
        {
            return format!("{before}{mark}*");
        }
    }
    if name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "*".to_owned();
    }
    let mut shown = String::new();
    for word in name.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let rest = word.get(bare.len()..).unwrap_or_default();
        if bare.bytes().any(|byte| byte.is_ascii_digit()) {
            shown.push('*');
        } else {
            shown.push_str(bare);
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_every_run() {
        for (name, wanted) in [
            ("00000000000000000042.log", "*.log"),
            ("main.lock", "main.lock"),
            ("issue-7-run-1.json", "issue-*-run-*.json"),
            ("pack-0af3.idx", "pack-*.idx"),
            (".tmpAbCdEf", ".tmp*"),
            ("pack_git2_a81c", "pack_git2_*"),
            ("fd", "*"),
            ("db", "*"),
            (".selfheal-01a2-x.tmp", ".selfheal-*-x.tmp"),
        ] {
            assert_eq!(general(name), wanted, "{name}");
        }
    }
}
