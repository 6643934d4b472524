//! The process between host and namespaces: it creates them, keeps the time,
//! and takes everything down when told to, when the host is gone, or when the
//! command ended.

use super::{Step, init, lacking};
use crate::order::{Order, Report};
use crate::spec::Access;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{PidfdFlags, Signal, WaitOptions};
use selfheal_domain::tools::Ended;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::exit;
use std::time::{Duration, Instant};

/// An order longer than this is not one of ours.
const LONGEST_ORDER: u32 = 16 * 1024 * 1024;

/// What init tells the supervisor, a line of JSON each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// For the host, unchanged.
    Report(Report),
    /// The command ended (which ends everything).
    Ended(Ended),
    /// It was killed for this.
    Exceeded(String),
}

/// What came along with the order.
pub(super) struct Descriptors {
    /// A session's standard input.
    pub(super) stdin: Option<OwnedFd>,
    /// Where the listeners of network grants go.
    pub(super) bridge: Option<OwnedFd>,
}

/// Never returns.
pub(super) fn main() -> ! {
    // SAFETY: `launch` made the control socket our standard input, and nothing
    // else in this process uses that descriptor.
    let control = unsafe { UnixStream::from_raw_fd(0) };
    let report = supervise(&control).unwrap_or_else(Report::Failed);
    let _ = say(&control, &report);
    exit(0)
}

/// One line of JSON.
pub(crate) fn say<W: Serialize>(mut to: impl Write, word: &W) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Says something on init's pipe.
pub(super) fn tell(pipe: &File, word: &Word) {
    // The reader is the supervisor; if it is gone, so are we in a moment.
    let _ = say(pipe, word);
}

fn supervise(control: &UnixStream) -> Step<Report> {
    // A session of its own: signals of the host's terminal are the host's matter.
    let _ = rustix::process::setsid();
    let (order, Descriptors { stdin, bridge }) = receive(control)?;
    let deadline = Instant::now() + order.spec.limits.wall;
    let (go_reader, mut go_writer) = pipe()?;
    let (word_reader, word_writer) = pipe()?;
    let child = init::clone_into_namespaces().map_err(lacking("creating namespaces"))?;
    let Some(child) = child else {
        // In the new namespaces. The pipes' other ends must go: their closing is
        // how each side learns of the other's death.
        drop((go_writer, word_reader));
        init::main(
            &order,
            Descriptors { stdin, bridge },
            go_reader,
            word_writer,
        );
    };
    drop((go_reader, word_writer, stdin, bridge));
    // The command alone holds its output now, so its end shows.
    let _ = silence();
    let pidfd = rustix::process::pidfd_open(child, PidfdFlags::empty())
        .map_err(lacking("opening the sandbox's first process"))?;
    map_ids(child)?;
    go_writer
        .write_all(b"!")
        .map_err(lacking("starting the sandbox's first process"))?;
    let cause = watch(control, &word_reader, &order, deadline)?;
    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    // When init can be reaped, every process of its namespace is gone.
    while let Err(rustix::io::Errno::INTR) =
        rustix::process::waitpid(Some(child), WaitOptions::empty())
    {}
    if let Access::Keep { work, .. } = &order.spec.workspace.access {
        // The kernel's own directory has no permissions at all, which would keep
        // anybody but root from removing the whole.
        let left = work.join("work");
        if std::fs::remove_dir(&left).is_err() {
            let _ = std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o700));
        }
    }
    Ok(cause)
}

fn pipe() -> Step<(File, File)> {
    let (reader, writer) = std::io::pipe().map_err(lacking("making a pipe"))?;
    Ok((
        File::from(OwnedFd::from(reader)),
        File::from(OwnedFd::from(writer)),
    ))
}

fn receive(control: &UnixStream) -> Step<(Order, Descriptors)> {
    let failed = |error: std::io::Error| super::broken("receiving the order")(error);
    let mut length = [0; 4];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(&mut length)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )
    .map_err(|error| failed(error.into()))?;
    let mut fds: VecDeque<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes != 4 {
        return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let order: Order = receive_body(control, length).map_err(failed)?;
    let expected = usize::from(order.stdin) + usize::from(!order.spec.grants.is_empty());
    if fds.len() != expected {
        return Err(failed(std::io::ErrorKind::InvalidData.into()));
    }
    let stdin = order.stdin.then(|| fds.pop_front()).flatten();
    let bridge = fds.pop_front();
    Ok((order, Descriptors { stdin, bridge }))
}

/// A length-prefixed order without descriptors.
pub(crate) fn receive_order<T: DeserializeOwned>(mut control: &UnixStream) -> std::io::Result<T> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    receive_body(control, length)
}

fn receive_body<T: DeserializeOwned>(
    mut control: &UnixStream,
    length: [u8; 4],
) -> std::io::Result<T> {
    let length = u32::from_le_bytes(length);
    if length > LONGEST_ORDER {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    control.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Ids inside are the same as outside: all of them for root (files of other
/// users keep their owners), else just our own.
fn map_ids(child: rustix::process::Pid) -> Step<()> {
    let of = |name: &str| format!("/proc/{}/{name}", child.as_raw_nonzero());
    let write = |name: &str, text: &str| std::fs::write(of(name), text);
    if rustix::process::geteuid().is_root() {
        let all = |name: &str| -> std::io::Result<()> {
            let table = std::fs::read_to_string(format!("/proc/self/{name}"))?;
            let identity: String = table
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split_whitespace();
                    let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
                    Some(format!("{first} {first} {count}\n"))
                })
                .collect();
            write(name, &identity)
        };
        if all("uid_map").is_ok() {
            return all("gid_map").map_err(lacking("mapping group ids"));
        }
    }
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    write("setgroups", "deny").map_err(lacking("giving up supplementary groups"))?;
    write("uid_map", &format!("{uid} {uid} 1\n")).map_err(lacking("mapping the user id"))?;
    write("gid_map", &format!("{gid} {gid} 1\n")).map_err(lacking("mapping the group id"))
}

/// Waits for whatever ends the command first.
fn watch(control: &UnixStream, words: &File, order: &Order, deadline: Instant) -> Step<Report> {
    let mut layer = super::watch::Layer::of(order);
    let mut heard = Vec::new();
    let ended = |ended, note| Ok(Report::Ended { ended, note });
    loop {
        let now = Instant::now();
        if now >= deadline {
            return ended(Ended::TimedOut, None);
        }
        if let Some(note) = layer.exceeded(now) {
            return ended(Ended::Signal(Signal::KILL.as_raw()), Some(note));
        }
        let next = deadline.min(layer.next_look().unwrap_or(deadline));
        let timeout = next
            .saturating_duration_since(now)
            .max(Duration::from_millis(1));
        let mut fds = [
            PollFd::from_borrowed_fd(words.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN | PollFlags::RDHUP),
        ];
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
        let [spoke, hung_up] = fds.map(|fd| !fd.revents().is_empty());
        if spoke {
            let mut chunk = [0; 4096];
            let mut reader = words;
            let count = reader.read(&mut chunk).unwrap_or(0);
            if count == 0 {
                // Killed from outside, such as by the kernel when memory ran out.
                return ended(
                    Ended::Signal(Signal::KILL.as_raw()),
                    Some("the sandbox was killed from outside".to_owned()),
                );
            }
            heard.extend(chunk.iter().take(count));
            while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = heard.drain(..=end).collect();
                match serde_json::from_slice(&line).map_err(lacking("hearing init"))? {
                    Word::Report(Report::Ready(facts)) => {
                        let _ = say(control, &Report::Ready(facts));
                    }
                    Word::Report(last) => return Ok(last),
                    Word::Ended(how) => return ended(how, None),
                    Word::Exceeded(note) => {
                        return ended(Ended::Signal(Signal::KILL.as_raw()), Some(note));
                    }
                }
            }
        } else if hung_up {
            return ended(Ended::Cancelled, None);
        }
    }
}

/// Replaces standard output and error, which belong to the command.
pub(crate) fn silence() -> std::io::Result<()> {
    let null = File::options()
        .read(true)
        .write(true)
        .open(Path::new("/dev/null"))?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
