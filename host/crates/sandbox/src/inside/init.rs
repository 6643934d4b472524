//! Process 1 of the sandbox: builds it, starts the command, reaps, watches.

use super::supervisor::{Descriptors, Word, silence, tell};
use super::{Step, bridge, confine, filter, lacking, root, watch};
use crate::order::{Order, Report};
use crate::sandbox::Containment;
use rustix::process::{Pid, Signal, WaitOptions};
use selfheal_domain::tools::Ended;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::exit;
use std::time::Duration;

/// How often limits are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Like `fork`, into new namespaces of every kind. `None` in the child.
pub(super) fn clone_into_namespaces() -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::SIGCHLD;
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the child
    // runs on a copy of our memory. We have one thread, so nothing in that copy
    // can be half-done by somebody else.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_ulong,
            none,
            none,
            none,
            0_usize,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(i32::try_from(pid).ok().and_then(Pid::from_raw)),
    }
}

/// Never returns. `go` says that the ids are mapped; `words` leads to the
/// supervisor.
pub(super) fn main(order: &Order, descriptors: Descriptors, mut go: File, words: File) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // A supervisor that died before the line above closed the pipe.
    if go.read(&mut [0]).ok() != Some(1) {
        exit(1);
    }
    drop(go);
    match prepare(order, descriptors, &words) {
        Ok(command) => {
            let ended = attend(order, command);
            tell(&words, &ended);
        }
        Err(failure) => tell(&words, &Word::Report(Report::Failed(failure))),
    }
    exit(0)
}

/// Builds everything and starts the command.
fn prepare(order: &Order, descriptors: Descriptors, words: &File) -> Step<Pid> {
    let Descriptors {
        stdin,
        bridge: channel,
    } = descriptors;
    let mut facts = Containment {
        namespaces: true,
        overlay: true,
        seccomp: true,
        ..Containment::default()
    };
    rustix::system::sethostname(b"sandbox").map_err(lacking("naming the host"))?;
    raise_loopback().map_err(lacking("raising the loopback"))?;
    if let Some(channel) = channel {
        bridge::open(&order.spec.grants, &channel)?;
    }
    let writable = root::build(&order.spec)?;
    facts.pid_limit = confine::limit_pids(order.spec.limits.processes);
    root::seal()?;
    let program = filter::compile().map_err(lacking("compiling the system call filter"))?;
    let landlock = confine::landlock(&writable)?;
    facts.landlock = landlock.abi;
    if landlock.abi == 0 {
        facts.notes.push("the kernel offers no Landlock".to_owned());
    }
    let command = Command::new(order)?;
    tell(words, &Word::Report(Report::Ready(facts)));
    // From here on an orphan or the command ending is ours to see.
    block_child_signal().map_err(lacking("blocking SIGCHLD"))?;
    // SAFETY: one thread, so the child's copy is whole.
    match unsafe { libc::fork() } {
        -1 => Err(lacking("starting the command")(io::Error::last_os_error())),
        0 => {
            let failure = match confine::enter(order, stdin, &landlock, &program) {
                Ok(()) => command.execute(),
                Err(failure) => failure,
            };
            tell(words, &Word::Report(Report::Failed(failure)));
            exit(126)
        }
        pid => {
            drop(stdin);
            let _ = silence();
            confine::retire()?;
            Pid::from_raw(pid).ok_or_else(|| lacking("starting the command")("no process id"))
        }
    }
}

/// Waits for the command's end, or for a limit to be passed.
fn attend(order: &Order, command: Pid) -> Word {
    let mut sampler = watch::Sampler::new(order.spec.limits);
    loop {
        // Everything that ended, ours and adopted.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid != command {
                continue;
            }
            if let Some(code) = status.exit_status() {
                return Word::Ended(Ended::Exit(code));
            }
            if let Some(signal) = status.terminating_signal() {
                return Word::Ended(Ended::Signal(signal));
            }
        }
        if let Some(note) = sampler.exceeded() {
            return Word::Exceeded(note);
        }
        wait_for_child_signal(TICK);
    }
}

fn child_signal() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is read.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        let mut set = set.assume_init();
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    }
}

fn block_child_signal() -> io::Result<()> {
    let set = child_signal();
    // SAFETY: the set is initialised and outlives the call.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn wait_for_child_signal(at_most: Duration) {
    let set = child_signal();
    let timeout = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::c_long::from(at_most.subsec_nanos()),
    };
    // SAFETY: set and timeout outlive the call, and no information is asked for.
    unsafe {
        libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const timeout);
    }
}

/// `lo` exists in every network namespace, but down.
fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: an all-zero `ifreq` is a valid value of plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed();
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = up as libc::c_short;
    // SAFETY: the request is a complete `ifreq` that outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Arguments and environment of the command, made before the fork.
struct Command {
    shell: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Command {
    fn new(order: &Order) -> Step<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(super::broken("the command"));
        let shell = text(order.shell.as_os_str().as_bytes())?;
        let mut arguments = vec![shell.clone()];
        if order.shell == Path::new("/bin/bash") {
            arguments.push(text(b"--noprofile")?);
            arguments.push(text(b"--norc")?);
        }
        arguments.push(text(b"-c")?);
        arguments.push(text(order.spec.command.as_bytes())?);
        let environment = order
            .spec
            .environment
            .iter()
            .map(|(name, value)| text(format!("{name}={value}").as_bytes()))
            .collect::<Step<_>>()?;
        Ok(Self {
            shell,
            arguments,
            environment,
        })
    }

    /// Returns only when it failed.
    fn execute(&self) -> crate::order::Failure {
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings
                .iter()
                .map(|text| text.as_ptr())
                .chain(std::iter::once(std::ptr::null()))
                .collect()
        };
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        // SAFETY: both arrays end with a null pointer and point to C strings that
        // live until the call, which returns on failure only.
        unsafe {
            libc::execve(
                self.shell.as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
            );
        }
        super::broken("executing the shell")(io::Error::last_os_error())
    }
}
