//! The process between the host and one service. It adopts whatever the service
//! daemonises, and sees the host's end by its closed socket. Then it ends the service,
//! or, where it was told to, keeps it for a while for the next host to come and ask.
//! So nothing of the service outlives the keeper, and the keeper outlives the host
//! only for a time that was set.

use crate::inside::supervisor::{receive_order, say, silence};
use crate::usage::descendants_of;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions};
use selfheal_domain::tools::Ended;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};

/// How long after `SIGKILL` a process may take to vanish.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How long a copy that an earlier host left may take to end; the host waits longer.
const LOCK_WAIT: Duration = Duration::from_secs(12);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeeperOrder {
    pub(crate) argv: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) grace: Duration,
    /// How the service is asked to end.
    pub(crate) stop_signal: i32,
    /// Held as long as the keeper lives: nobody starts a second copy meanwhile.
    pub(crate) lock: Option<PathBuf>,
    /// What becomes of the service when the host is gone; it is ended without.
    pub(crate) adoption: Option<Adoption>,
}

/// Where another host finds the keeper when the first one is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Adoption {
    /// Name in the abstract namespace of sockets.
    pub(crate) name: String,
    /// How long the service runs on without a host.
    pub(crate) patience: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum KeeperRequest {
    Stop {
        grace: Duration,
    },
    Signal {
        signal: i32,
    },
    /// The record is written: another host can find the keeper from now on.
    Recorded,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum KeeperReport {
    Started { pid: u32 },
    Failed(String),
    Ended(Ended),
}

/// Never returns.
pub(crate) fn main() -> ! {
    // SAFETY: the host made the control socket our standard input, and nothing
    // else in this process uses that descriptor.
    let mut control = Some(unsafe { UnixStream::from_raw_fd(0) });
    let report = match keep(&mut control) {
        Ok(ended) => KeeperReport::Ended(ended),
        Err(error) => KeeperReport::Failed(error.to_string()),
    };
    if let Some(control) = &control {
        let _ = say(control, &report);
    }
    exit(0)
}

fn keep(control: &mut Option<UnixStream>) -> io::Result<Ended> {
    let host = control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
    let order: KeeperOrder = receive_order(host)?;
    let _ = rustix::process::setsid();
    // Orphans of the service become our children instead of the system's.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = signals()?;
    let _lock = order.lock.as_deref().map(lock).transpose()?;
    // Before the service: whoever finds its record can reach its keeper.
    let listener = order.adoption.as_ref().map(listen).transpose()?;
    let child = start(&order)?;
    let _ = silence();
    say(host, &started(child))?;
    let mut service = Service {
        child,
        ended: None,
        stop_signal: Signal::from_named_raw(order.stop_signal).unwrap_or(Signal::TERM),
    };
    let grace = service.attend(control, listener.as_ref(), &signals, &order);
    // Nobody adopts what is about to end.
    drop(listener);
    service.stop(&signals, grace);
    Ok(service
        .ended
        .unwrap_or(Ended::Signal(Signal::KILL.as_raw())))
}

/// Waits for the keeper of a host that crashed to end, should there be one.
fn lock(path: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(format!(
                    "it still runs under the keeper of an earlier host, which holds {}",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn started(child: Pid) -> KeeperReport {
    KeeperReport::Started {
        pid: child.as_raw_nonzero().get().unsigned_abs(),
    }
}

fn listen(adoption: &Adoption) -> io::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(&adoption.name)?;
    let listener = UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next host, if the one that knocks is of our own user.
fn admit(listener: &UnixListener) -> Option<UnixStream> {
    let (stream, _) = listener.accept().ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    stream.set_nonblocking(false).ok()?;
    (peer.uid == rustix::process::getuid()).then_some(stream)
}

/// `SIGCHLD` and polite requests to end, as a descriptor.
fn signals() -> io::Result<File> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by `sigemptyset` before it is used, and all
    // calls get pointers to it that are valid while they run.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn start(order: &KeeperOrder) -> io::Result<Pid> {
    let (program, arguments) = order
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program given"))?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: this process has one thread, so the child's copy is whole.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            let _ = rustix::process::setpgid(None, None);
            // The last resort, should somebody kill the keeper.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
            crate::inside::confine::reset_signals();
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the crate that starts processes"
            )]
            let error = Command::new(program)
                .args(arguments)
                .current_dir(&order.directory)
                .env_clear()
                .envs(&order.environment)
                .stdin(Stdio::null())
                .exec();
            let mut writer = writer;
            let _ = write!(writer, "{program}: {error}");
            exit(127)
        }
        pid => {
            drop(writer);
            let mut text = String::new();
            let mut reader = reader;
            // Ends when the program is executed, for the pipe closes then.
            reader.read_to_string(&mut text)?;
            if text.is_empty() {
                Pid::from_raw(pid).ok_or_else(io::Error::last_os_error)
            } else {
                let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
                Err(io::Error::other(text))
            }
        }
    }
}

struct Service {
    child: Pid,
    ended: Option<Ended>,
    stop_signal: Signal,
}

impl Service {
    /// Waits for a reason to stop: its own end, the host's word, the host's end and
    /// that of the time in which another one may come.
    fn attend(
        &mut self,
        control: &mut Option<UnixStream>,
        listener: Option<&UnixListener>,
        signals: &File,
        order: &KeeperOrder,
    ) -> Duration {
        let mut heard = Vec::new();
        let mut alone_until = None;
        let mut recorded = false;
        loop {
            self.reap();
            if self.ended.is_some() {
                // What it left behind gets the same chance to end in order.
                return order.grace;
            }
            let timeout = match (control.is_some(), alone_until) {
                (false, Some(until)) if Instant::now() >= until => return order.grace,
                (false, Some(until)) => Some(until.saturating_duration_since(Instant::now())),
                _ => None,
            };
            let waited = wait(signals, control.as_ref(), listener, timeout);
            if waited.signalled && drain(signals) {
                return order.grace;
            }
            if waited.knocked
                && control.is_none()
                && let Some(host) = listener.and_then(admit)
            {
                if say(&host, &started(self.child)).is_ok() {
                    *control = Some(host);
                    heard.clear();
                }
                continue;
            }
            if !waited.spoken {
                continue;
            }
            match hear(control.as_ref(), &mut heard) {
                Heard::Gone => {
                    *control = None;
                    // Without a record nobody would find it.
                    let Some(adoption) = order.adoption.as_ref().filter(|_| recorded) else {
                        return order.grace;
                    };
                    alone_until = Some(Instant::now() + adoption.patience);
                }
                Heard::Stop(grace) => return grace,
                Heard::Signal(signal) => {
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = rustix::process::kill_process(self.child, signal);
                    }
                }
                Heard::Recorded => recorded = true,
                Heard::Unclear => return order.grace,
                Heard::Nothing => {}
            }
        }
    }

    /// Ends everything below us.
    fn stop(&mut self, signals: &File, grace: Duration) {
        for (signal, patience) in [(self.stop_signal, grace), (Signal::KILL, LAST_WAIT)] {
            let deadline = Instant::now() + patience;
            let mut next = Instant::now();
            while self.reap() {
                let now = Instant::now();
                if now >= deadline {
                    break;
                }
                if now >= next {
                    for pid in descendants_of(rustix::process::getpid()) {
                        let _ = rustix::process::kill_process(pid, signal);
                    }
                    // Politely once; by force until nobody forks any more.
                    next = if signal != Signal::KILL {
                        deadline
                    } else {
                        now + Duration::from_millis(5)
                    };
                }
                let timeout = deadline.min(next).saturating_duration_since(now);
                let timeout = timeout.max(Duration::from_millis(1));
                let mut fds = [PollFd::new(signals, PollFlags::IN)];
                let _ = rustix::event::poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
                drain(signals);
            }
        }
    }

    /// Collects what ended. Says whether there are children left.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.child => {
                    self.ended = status
                        .exit_status()
                        .map(Ended::Exit)
                        .or_else(|| status.terminating_signal().map(Ended::Signal));
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

/// What there is to see to.
struct Waited {
    signalled: bool,
    spoken: bool,
    knocked: bool,
}

fn wait(
    signals: &File,
    control: Option<&UnixStream>,
    listener: Option<&UnixListener>,
    timeout: Option<Duration>,
) -> Waited {
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    // Whoever knocks while there is a host waits: there is one at a time.
    match (control, listener) {
        (Some(control), _) => fds.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)),
        (None, Some(listener)) => {
            fds.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        }
        (None, None) => {}
    }
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let _ = rustix::event::poll(&mut fds, timeout.as_ref());
    let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    Waited {
        signalled: ready(0),
        spoken: control.is_some() && ready(1),
        knocked: control.is_none() && ready(1),
    }
}

/// What the host said.
enum Heard {
    Nothing,
    Gone,
    Stop(Duration),
    Signal(i32),
    Recorded,
    Unclear,
}

fn hear(control: Option<&UnixStream>, heard: &mut Vec<u8>) -> Heard {
    let Some(mut reader) = control else {
        return Heard::Nothing;
    };
    // Byte by byte: what follows the line stays where `poll` sees it.
    let mut byte = [0; 1];
    match reader.read(&mut byte) {
        Ok(0) => return Heard::Gone,
        Ok(_) => heard.extend(byte),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Heard::Nothing,
        Err(_) => return Heard::Gone,
    }
    let Some(end) = heard.iter().position(|byte| *byte == b'\n') else {
        return Heard::Nothing;
    };
    let line: Vec<u8> = heard.drain(..=end).collect();
    match serde_json::from_slice(&line) {
        Ok(KeeperRequest::Stop { grace }) => Heard::Stop(grace),
        Ok(KeeperRequest::Signal { signal }) => Heard::Signal(signal),
        Ok(KeeperRequest::Recorded) => Heard::Recorded,
        Err(_) => Heard::Unclear,
    }
}

/// Empties the descriptor; says whether somebody asked us to end.
fn drain(signals: &File) -> bool {
    let mut asked = false;
    let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let mut reader = signals;
    while let Ok(count) = reader.read(&mut buffer) {
        if count < buffer.len() {
            break;
        }
        // The number is the first field.
        let [a, b, c, d, ..] = buffer;
        asked |= i32::from_ne_bytes([a, b, c, d]) != libc::SIGCHLD;
    }
    asked
}
