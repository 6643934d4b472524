//! The trusted door for commands that end: the host's own tools and what the
//! owner configured. Limited in time and output, killed as a group.

use crate::SandboxError;
use crate::capture::Capture;
use crate::launch::read_available;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use selfheal_domain::tools::{CommandOutput, Ended};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command of the host or its owner, never of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedCommand {
    /// Program (looked up in the `PATH` of `environment`) and arguments.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub directory: PathBuf,
    /// The complete environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Killed with its process group after this long.
    pub timeout: Duration,
    /// Captured bytes of each of standard output and standard error.
    pub output_bytes: usize,
}

/// Runs a command to its end, uncontained, with `/dev/null` as input. What it
/// leaves in its process group is killed.
///
/// # Errors
/// It cannot be started.
pub fn run_trusted(trusted: &TrustedCommand) -> Result<CommandOutput, SandboxError> {
    let started = Instant::now();
    let (program, arguments) = trusted
        .argv
        .split_first()
        .ok_or_else(|| SandboxError::Invalid("no program given".to_owned()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the crate that starts processes"
    )]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&trusted.directory)
        .env_clear()
        .envs(&trusted.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command
        .spawn()
        .map_err(SandboxError::host("starting the command"))?;
    let mut group = Group(child, false);
    let (mut stdout, mut stderr) = (
        Capture::new(trusted.output_bytes),
        Capture::new(trusted.output_bytes),
    );
    let ended = group.watch(started + trusted.timeout, &mut stdout, &mut stderr)?;
    Ok(CommandOutput {
        ended,
        truncated: stdout.is_cut() || stderr.is_cut(),
        stdout: stdout.into_text(),
        stderr: stderr.into_text(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// A child that leads its process group, and whether it was waited for; both are
/// gone when this is dropped.
struct Group(Child, bool);

impl Group {
    fn watch(
        &mut self,
        deadline: Instant,
        stdout: &mut Capture,
        stderr: &mut Capture,
    ) -> Result<Ended, SandboxError> {
        let watching = SandboxError::host("watching the command");
        let prepared = (|| {
            let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or(rustix::io::Errno::SRCH)?;
            let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            let out = self
                .0
                .stdout
                .take()
                .map(|pipe| File::from(OwnedFd::from(pipe)));
            let err = self
                .0
                .stderr
                .take()
                .map(|pipe| File::from(OwnedFd::from(pipe)));
            for pipe in [&out, &err].into_iter().flatten() {
                rustix::io::ioctl_fionbio(pipe, true)?;
            }
            Ok((handle, out, err))
        })();
        let (handle, mut out, mut err) =
            prepared.map_err(|error: rustix::io::Errno| watching(error.into()))?;
        let mut timed_out = false;
        loop {
            let now = Instant::now();
            if now >= deadline {
                timed_out = true;
                break;
            }
            let timeout = Timespec::try_from(deadline.saturating_duration_since(now)).ok();
            let mut fds = vec![PollFd::new(&handle, PollFlags::IN)];
            for pipe in [&out, &err].into_iter().flatten() {
                fds.push(PollFd::new(pipe, PollFlags::IN));
            }
            let _ = rustix::event::poll(&mut fds, timeout.as_ref());
            let gone = fds.first().is_some_and(|fd| !fd.revents().is_empty());
            drop(fds);
            read_available(&mut out, stdout);
            read_available(&mut err, stderr);
            if gone {
                break;
            }
        }
        let status = self
            .kill()
            .map_err(SandboxError::host("watching the command"))?;
        read_available(&mut out, stdout);
        read_available(&mut err, stderr);
        Ok(match (status.code(), status.signal()) {
            _ if timed_out => Ended::TimedOut,
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        })
    }

    /// The group first: its number is ours until the leader is waited for.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        crate::record::kill_group(self.0.id());
        self.1 = true;
        self.0.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.1 {
            let _ = self.kill();
        }
    }
}
