//! Starts a supervisor (the running binary once more) and waits for its end.

use crate::bridge::Bridge;
use crate::capture::Capture;
use crate::order::{Order, Report};
use crate::{CancelToken, SandboxError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells a start of the binary that it is a supervisor.
pub(crate) const MARK: &str = "SELFHEAL_SANDBOX_SUPERVISOR";

/// How long a supervisor may take to kill everything once told to.
const GRACE: Duration = Duration::from_secs(5);

/// A supervisor under way. Dropping it kills everything below it.
#[derive(Debug)]
pub(crate) struct Launched {
    child: Child,
    control: Arc<UnixStream>,
    /// What the command writes.
    pub(crate) output: Output,
    bridge: Option<Bridge>,
    reports: Vec<u8>,
    deadline: Instant,
    reaped: bool,
}

/// The reading ends of the command's output, not blocking; `None` after the end.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
}

pub(crate) fn launch(
    launcher: &Path,
    mut order: Order,
    cancel: &CancelToken,
    stdin: Option<OwnedFd>,
) -> Result<Launched, SandboxError> {
    order.stdin = stdin.is_some();
    let wall = order.spec.limits.wall;
    let (bridge, channel) = if order.spec.grants.is_empty() {
        (None, None)
    } else {
        let (bridge, channel) = Bridge::new(order.spec.grants.clone())?;
        (Some(bridge), Some(channel))
    };
    let order = serde_json::to_vec(&order)
        .map_err(|error| SandboxError::Invalid(format!("a path is not UTF-8: {error}")))?;
    let (ours, theirs) =
        UnixStream::pair().map_err(SandboxError::host("making the control socket"))?;
    // The control socket travels as standard input: no descriptor is inherited
    // by number, and the standard library may use its cheap way to start it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the crate that starts processes"
    )]
    let mut command = Command::new(launcher);
    command
        .arg0("selfheal-sandbox")
        .arg("--sandbox-supervisor")
        .env_clear()
        .env(MARK, crate::inside::SUPERVISOR)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(SandboxError::host("starting the sandbox supervisor"))?;
    // The command object still holds the supervisor's end of the socket.
    drop(command);
    let control = Arc::new(ours);
    let output = Output {
        stdout: child
            .stdout
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
        stderr: child
            .stderr
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
    };
    let mut launched = Launched {
        child,
        control: Arc::clone(&control),
        output,
        bridge,
        reports: Vec::new(),
        deadline: Instant::now() + wall + GRACE,
        reaped: false,
    };
    for pipe in [&launched.output.stdout, &launched.output.stderr]
        .into_iter()
        .flatten()
    {
        rustix::io::ioctl_fionbio(pipe, true).map_err(|error| SandboxError::Host {
            action: "preparing a pipe",
            source: error.into(),
        })?;
    }
    let fds: Vec<BorrowedFd<'_>> = stdin.iter().chain(&channel).map(AsFd::as_fd).collect();
    launched.send(&order, &fds)?;
    cancel.register(&control);
    Ok(launched)
}

impl Launched {
    fn send(&mut self, order: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        let length = u32::try_from(order.len())
            .map_err(|_| SandboxError::Invalid("the request is too long".to_owned()))?
            .to_le_bytes();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let sent = rustix::net::sendmsg(
            &self.control,
            &[IoSlice::new(&length)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
        .map_err(std::io::Error::from)
        .and_then(|_| (&*self.control).write_all(order));
        match sent {
            Ok(()) => Ok(()),
            // Gone before it read its order: not one of our binaries.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(SandboxError::Setup(
                    "the launcher took no order; does the binary link the sandbox crate?"
                        .to_owned(),
                ))
            }
            Err(source) => Err(SandboxError::Host {
                action: "sending the order",
                source,
            }),
        }
    }

    /// Reads output and reports until the supervisor is gone, or long past its
    /// deadline.
    pub(crate) fn drain(&mut self, stdout: &mut Capture, stderr: &mut Capture) {
        loop {
            let ended = self.wait(self.deadline, Interest::default());
            self.output.read(stdout, stderr);
            match ended {
                Wake::Event => {}
                Wake::Ended | Wake::Deadline => return,
            }
        }
    }

    /// Sleeps until a pipe has something, the supervisor reported or ended, or
    /// the instant has come.
    pub(crate) fn wait(&mut self, until: Instant, interest: Interest<'_>) -> Wake {
        let remaining = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(remaining.max(Duration::from_millis(1))).ok();
        let control = Arc::clone(&self.control);
        let mut fds = vec![PollFd::new(&*control, PollFlags::IN)];
        for pipe in [&self.output.stdout, &self.output.stderr]
            .into_iter()
            .flatten()
        {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        if let Some(writer) = interest.writable {
            fds.push(PollFd::from_borrowed_fd(writer, PollFlags::OUT));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) if Instant::now() >= until => return Wake::Deadline,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Wake::Ended,
        }
        let control_ready = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if control_ready {
            let mut chunk = [0; 4096];
            match (&*self.control).read(&mut chunk) {
                Ok(0) => return Wake::Ended,
                Ok(count) => self.reports.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Wake::Ended,
            }
        }
        Wake::Event
    }

    /// Asks the supervisor to kill everything; it ends when that is done.
    pub(crate) fn stop(&self) {
        let _ = self.control.shutdown(Shutdown::Write);
    }

    /// Waits for the supervisor's end and gives what it reported.
    pub(crate) fn finish(&mut self) -> Result<Vec<Report>, SandboxError> {
        self.stop();
        let until = Instant::now() + GRACE;
        loop {
            let mut ignored = Capture::new(0);
            let mut ignored_too = Capture::new(0);
            match self.wait(until, Interest::default()) {
                Wake::Event => self.output.read(&mut ignored, &mut ignored_too),
                Wake::Ended => break,
                // Its death takes everything below it along.
                Wake::Deadline => {
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        self.child
            .wait()
            .map_err(SandboxError::host("waiting for the sandbox supervisor"))?;
        self.reaped = true;
        self.bridge = None;
        Ok(self
            .reports
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.finish();
        }
    }
}

impl Output {
    /// Takes what is there without waiting.
    pub(crate) fn read(&mut self, stdout: &mut Capture, stderr: &mut Capture) {
        read_available(&mut self.stdout, stdout);
        read_available(&mut self.stderr, stderr);
    }
}

/// Takes what is there without waiting; the pipe is given up at its end.
pub(crate) fn read_available(pipe: &mut Option<File>, capture: &mut Capture) {
    let mut chunk = [0; 65536];
    // Bounded, so that an endless writer on one pipe does not starve the other.
    for _ in 0..64 {
        let Some(file) = pipe else { return };
        match file.read(&mut chunk) {
            Ok(0) => *pipe = None,
            Ok(count) => capture.push(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}

/// What else [`Launched::wait`] waits for.
#[derive(Default)]
pub(crate) struct Interest<'a> {
    /// Until this can be written.
    pub(crate) writable: Option<BorrowedFd<'a>>,
}

/// Why [`Launched::wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// Something may have happened.
    Event,
    /// The supervisor is gone, and everything below it.
    Ended,
    /// It is that late.
    Deadline,
}
