//! The process between the host and one service. It sees the host's end by its
//! closed socket and adopts whatever the service daemonises, so nothing of the
//! service outlives either of them.

use crate::inside::supervisor::{receive_order, say, silence};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions};
use selfheal_domain::tools::Ended;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};

/// How long after `SIGKILL` a process may take to vanish.
const LAST_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeeperOrder {
    pub(crate) argv: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) grace: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum KeeperRequest {
    Stop { grace: Duration },
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
    let control = unsafe { UnixStream::from_raw_fd(0) };
    let report = match keep(&control) {
        Ok(ended) => KeeperReport::Ended(ended),
        Err(error) => KeeperReport::Failed(error.to_string()),
    };
    let _ = say(&control, &report);
    exit(0)
}

fn keep(control: &UnixStream) -> io::Result<Ended> {
    let order: KeeperOrder = receive_order(control)?;
    let _ = rustix::process::setsid();
    // Orphans of the service become our children instead of the system's.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = signals()?;
    let child = start(&order)?;
    let _ = silence();
    say(
        control,
        &KeeperReport::Started {
            pid: child.as_raw_nonzero().get().unsigned_abs(),
        },
    )?;
    let mut service = Service { child, ended: None };
    let grace = service.attend(control, &signals, order.grace);
    service.stop(&signals, grace);
    Ok(service
        .ended
        .unwrap_or(Ended::Signal(Signal::KILL.as_raw())))
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
}

impl Service {
    /// Waits for a reason to stop: its own end, the host's word, the host's end.
    fn attend(&mut self, control: &UnixStream, signals: &File, grace: Duration) -> Duration {
        let mut heard = Vec::new();
        loop {
            self.reap();
            if self.ended.is_some() {
                // What it left behind gets the same chance to end in order.
                return grace;
            }
            let mut fds = [
                PollFd::new(signals, PollFlags::IN),
                PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
            ];
            let _ = rustix::event::poll(&mut fds, None);
            let [signalled, spoken] = fds.map(|fd| !fd.revents().is_empty());
            if signalled && drain(signals) {
                return grace;
            }
            if spoken {
                let mut chunk = [0; 1024];
                let mut reader = control;
                match reader.read(&mut chunk) {
                    Ok(0) => return grace,
                    Ok(count) => heard.extend(chunk.iter().take(count)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return grace,
                }
                if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = heard.drain(..=end).collect();
                    return match serde_json::from_slice(&line) {
                        Ok(KeeperRequest::Stop { grace }) => grace,
                        Err(_) => grace,
                    };
                }
            }
        }
    }

    /// Ends everything below us.
    fn stop(&mut self, signals: &File, grace: Duration) {
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, LAST_WAIT)] {
            let deadline = Instant::now() + patience;
            let mut next = Instant::now();
            while self.reap() {
                let now = Instant::now();
                if now >= deadline {
                    break;
                }
                if now >= next {
                    for pid in descendants() {
                        let _ = rustix::process::kill_process(pid, signal);
                    }
                    // Politely once; by force until nobody forks any more.
                    next = if signal == Signal::TERM {
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

/// All processes below this one.
fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some(parent) = crate::record::stat_field(pid, 4) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut pending = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(parent) = pending.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            pending.push(child);
            found.extend(Pid::from_raw(child));
        }
    }
    found
}
