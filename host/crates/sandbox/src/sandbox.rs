//! The host's side of containment: start a supervisor, capture, wait, kill.

use crate::capture::Capture;
use crate::launch::{Launched, launch};
use crate::order::{Order, Report};
use crate::{Access, CancelToken, SandboxError, SandboxSpec, Session, Workspace};
use selfheal_domain::tools::{CommandOutput, Ended};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Runs commands contained. Cheap to clone; holds no resources.
#[derive(Clone, Debug)]
pub struct Sandbox {
    launcher: PathBuf,
    closed: Option<Arc<str>>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Which layers of containment this system offers, found out by using them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Containment {
    /// User, mount, pid, net, ipc and uts namespaces with a private root: without
    /// them nothing runs.
    pub namespaces: bool,
    /// Writable views of a workspace ([`Access::Discard`], [`Access::Keep`]).
    pub overlay: bool,
    /// Landlock's ABI version; 0 where there is none.
    pub landlock: u32,
    /// The system call filter.
    pub seccomp: bool,
    /// A private limit on process ids; without it the number of processes is
    /// limited by sampling and, for users other than root, by the kernel's
    /// per-user limit.
    pub pid_limit: bool,
    /// Why something is missing, for people.
    pub notes: Vec<String>,
}

impl Containment {
    /// Commands can be contained: namespaces, overlay, system call filter and Landlock
    /// all work. (Landlock repeats what the mounts enforce already, for the day on
    /// which one of the two has a hole.)
    pub fn is_sufficient(&self) -> bool {
        self.namespaces && self.overlay && self.seccomp && self.landlock > 0
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |works: bool| if works { "yes" } else { "no" };
        write!(
            f,
            "namespaces {}, overlay {}, seccomp {}, landlock ",
            word(self.namespaces),
            word(self.overlay),
            word(self.seccomp)
        )?;
        match self.landlock {
            0 => write!(f, "no")?,
            abi => write!(f, "ABI {abi}")?,
        }
        write!(f, ", pid limit {}", word(self.pid_limit))?;
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}

impl Sandbox {
    /// Uses the running binary as launcher; it links this crate, so it works.
    pub fn new() -> Self {
        Self::with_launcher("/proc/self/exe")
    }

    /// Uses another binary that links this crate, for example when the running
    /// one may be replaced on disk.
    pub fn with_launcher(launcher: impl Into<PathBuf>) -> Self {
        // Keeps the start-up hook in every binary that can come here.
        crate::inside::retain_hook();
        Self {
            launcher: launcher.into(),
            closed: None,
        }
    }

    /// Refuses every command, for a machine on which a layer of containment does not
    /// hold. `why` is what callers are told.
    pub fn closed(why: &str) -> Self {
        Self {
            closed: Some(why.into()),
            ..Self::new()
        }
    }

    /// What this system offers, for `doctor` and for capping autonomy. Tried once
    /// per process, in about 20 ms.
    pub fn probe() -> Containment {
        static PROBED: OnceLock<Containment> = OnceLock::new();
        PROBED.get_or_init(|| Self::new().try_layers()).clone()
    }

    fn try_layers(&self) -> Containment {
        // `/usr` exists everywhere and a discarded overlay leaves it alone.
        let mut spec = SandboxSpec::new("true", Workspace::new("/usr", Access::Discard));
        spec.limits.wall = Duration::from_secs(10);
        let mut failure = match self.facts(spec.clone()) {
            Ok(facts) => return facts,
            Err(error) => error.to_string(),
        };
        spec.workspace.access = Access::ReadOnly;
        let mut facts = self.facts(spec).unwrap_or_else(|error| {
            failure = error.to_string();
            Containment::default()
        });
        facts.overlay = false;
        facts.notes.push(failure);
        facts
    }

    fn facts(&self, spec: SandboxSpec) -> Result<Containment, SandboxError> {
        let mut launched = launch(&self.launcher, Order::new(spec)?, &CancelToken::new(), None)?;
        let mut ignored = Capture::new(0);
        let mut ignored_too = Capture::new(0);
        launched.drain(&mut ignored, &mut ignored_too);
        let reports = launched.finish()?;
        let mut facts = None;
        for report in reports {
            match report {
                Report::Ready(containment) => facts = Some(containment),
                Report::Ended { .. } => {}
                Report::Failed(failure) => return Err(failure.into()),
            }
        }
        facts.ok_or_else(|| SandboxError::Setup("the launcher did not report".to_owned()))
    }

    /// Runs a command to its end. When this returns, nothing of it runs any more.
    ///
    /// A command killed for its use of memory, processes or disk ends with
    /// `Ended::Signal(9)` and says so in the last line of `stderr`.
    ///
    /// # Errors
    /// The command did not run: see [`SandboxError`]. A command that ran and
    /// failed is an `Ok` with its exit code.
    pub fn run(
        &self,
        spec: SandboxSpec,
        cancel: &CancelToken,
    ) -> Result<CommandOutput, SandboxError> {
        let started = Instant::now();
        let limit = spec.limits.output_bytes;
        let mut launched = self.start(spec, cancel, None)?;
        let mut stdout = Capture::new(limit);
        let mut stderr = Capture::new(limit);
        launched.drain(&mut stdout, &mut stderr);
        let (ended, note) = verdict(launched.finish()?, cancel)?;
        let truncated = stdout.is_cut() || stderr.is_cut();
        let mut stderr = stderr.into_text();
        if let Some(note) = note {
            if !stderr.is_empty() && !stderr.ends_with('\n') {
                stderr.push('\n');
            }
            stderr.push_str(&format!("[sandbox] killed: {note}\n"));
        }
        Ok(CommandOutput {
            ended,
            stdout: stdout.into_text(),
            stderr,
            truncated,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Starts a command that stays and talks over its pipes. `limits.wall` bounds
    /// its whole life; dropping the session ends it and everything it started.
    ///
    /// # Errors
    /// As for [`run`](Self::run), except that a sandbox that cannot be built may
    /// also show as a session whose process is gone.
    pub fn spawn(&self, spec: SandboxSpec, cancel: &CancelToken) -> Result<Session, SandboxError> {
        let limit = spec.limits.output_bytes;
        let (reader, writer) = std::io::pipe().map_err(SandboxError::host("making a pipe"))?;
        let launched = self.start(spec, cancel, Some(reader.into()))?;
        Session::new(launched, writer.into(), cancel.clone(), limit)
    }

    fn start(
        &self,
        spec: SandboxSpec,
        cancel: &CancelToken,
        stdin: Option<std::os::fd::OwnedFd>,
    ) -> Result<Launched, SandboxError> {
        if let Some(why) = &self.closed {
            return Err(SandboxError::NoContainment(why.to_string()));
        }
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        launch(&self.launcher, Order::new(spec)?, cancel, stdin)
    }
}

/// How it ended, and the reason where we killed it for a limit.
fn verdict(
    reports: Vec<Report>,
    cancel: &CancelToken,
) -> Result<(Ended, Option<String>), SandboxError> {
    for report in reports {
        match report {
            Report::Ready(_) => {}
            Report::Failed(failure) => return Err(failure.into()),
            // The supervisor sees a closed lifeline; only we know why we closed it.
            Report::Ended {
                ended: Ended::Cancelled,
                ..
            } if !cancel.is_cancelled() => {
                return Ok((Ended::TimedOut, None));
            }
            Report::Ended { ended, note } => return Ok((ended, note)),
        }
    }
    if cancel.is_cancelled() {
        return Ok((Ended::Cancelled, None));
    }
    Err(SandboxError::Setup(
        "the launcher ended without a report; does the binary link the sandbox crate?".to_owned(),
    ))
}
