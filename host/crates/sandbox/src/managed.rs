//! The trusted door: the application's own services. Not contained, but never
//! alone: each runs under a keeper (the running binary once more) that stops it,
//! and whatever it daemonised, when the host says so or is gone.

use crate::keeper::{KeeperOrder, KeeperReport, KeeperRequest};
use crate::launch::MARK;
use crate::{SandboxError, record};
use selfheal_domain::tools::Ended;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a keeper may take beyond what it was told.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a managed process is started with. From the owner's configuration only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedSpec {
    /// Program (looked up in the `PATH` of `environment`) and arguments.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub directory: PathBuf,
    /// The complete environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Standard output and error are appended here.
    pub log_file: PathBuf,
    /// Between `SIGTERM` and `SIGKILL` when the host is gone or this is dropped.
    pub grace: Duration,
    /// Where to note who runs, so that a host that crashed finds leftovers; see
    /// [`ManagedProcess::stop_leftover`].
    pub record: Option<PathBuf>,
}

impl ManagedSpec {
    /// Program and arguments of a shell command.
    pub fn shell(command: &str) -> Vec<String> {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
    }
}

/// A running service with everything it started. Stopped when dropped.
#[derive(Debug)]
pub struct ManagedProcess {
    keeper: Child,
    control: UnixStream,
    heard: Vec<u8>,
    pid: u32,
    grace: Duration,
    record: Option<PathBuf>,
    ended: Option<Ended>,
}

impl ManagedProcess {
    /// Starts it in a session of its own.
    ///
    /// # Errors
    /// The program, its directory or its log file cannot be opened, or the
    /// keeper not be started. Nothing runs then.
    pub fn spawn(spec: &ManagedSpec) -> Result<Self, SandboxError> {
        crate::inside::retain_hook();
        let log = || {
            File::options()
                .append(true)
                .create(true)
                .open(&spec.log_file)
                .map_err(SandboxError::host("opening the log file"))
        };
        let order = serde_json::to_vec(&KeeperOrder {
            argv: spec.argv.clone(),
            directory: spec.directory.clone(),
            environment: spec.environment.clone(),
            grace: spec.grace,
        })
        .map_err(|error| SandboxError::Invalid(format!("a path is not UTF-8: {error}")))?;
        let (control, theirs) =
            UnixStream::pair().map_err(SandboxError::host("making the control socket"))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the crate that starts processes"
        )]
        let mut command = Command::new("/proc/self/exe");
        let keeper = command
            .arg0("selfheal-keeper")
            .arg("--keeper")
            .env_clear()
            .env(MARK, crate::inside::KEEPER)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(log()?))
            .stderr(Stdio::from(log()?))
            .spawn()
            .map_err(SandboxError::host("starting the keeper"))?;
        drop(command);
        let mut process = Self {
            keeper,
            control,
            heard: Vec::new(),
            pid: 0,
            grace: spec.grace,
            record: None,
            ended: None,
        };
        process.start(&order)?;
        if let Some(path) = &spec.record {
            record::write(path, process.keeper.id(), process.pid)
                .map_err(SandboxError::host("noting the process"))?;
            process.record = Some(path.clone());
        }
        Ok(process)
    }

    fn start(&mut self, order: &[u8]) -> Result<(), SandboxError> {
        let length = u32::try_from(order.len())
            .map_err(|_| SandboxError::Invalid("the request is too long".to_owned()))?;
        self.control
            .write_all(&length.to_le_bytes())
            .and_then(|()| self.control.write_all(order))
            .map_err(SandboxError::host("instructing the keeper"))?;
        match self.listen(Instant::now() + PATIENCE)? {
            Some(KeeperReport::Started { pid }) => {
                self.pid = pid;
                Ok(())
            }
            Some(KeeperReport::Failed(text)) => Err(SandboxError::Setup(text)),
            Some(KeeperReport::Ended(_)) | None => Err(SandboxError::Setup(
                "the keeper did not say whether the program started".to_owned(),
            )),
        }
    }

    /// Process id of the program itself.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it did. Once the program itself has ended, what it left
    /// behind is stopped too, and only then this says so.
    pub fn try_wait(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            match self.listen(Instant::now()) {
                Ok(Some(KeeperReport::Ended(ended))) => self.finish(ended),
                Err(_) => {
                    // The keeper was killed. Its death signal asked the program to
                    // end; nobody is left to see whether it does.
                    record::kill_group(self.pid);
                    self.finish(Ended::Signal(libc::SIGKILL));
                }
                Ok(_) => {}
            }
        }
        self.ended
    }

    /// `SIGTERM` to it and everything it started; `SIGKILL` after the grace. When
    /// this returns, nothing of it runs.
    pub fn stop(&mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.try_wait() {
            return ended;
        }
        let request = serde_json::to_vec(&KeeperRequest::Stop { grace }).unwrap_or_default();
        let deadline = Instant::now() + grace + PATIENCE;
        let told = self
            .control
            .write_all(&request)
            .and_then(|()| self.control.write_all(b"\n"));
        while told.is_ok() && self.ended.is_none() {
            match self.listen(deadline) {
                Ok(Some(KeeperReport::Ended(ended))) => self.finish(ended),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        match self.ended {
            Some(ended) => ended,
            None => {
                // Out of order: take the group down ourselves.
                record::kill_group(self.pid);
                let ended = Ended::Signal(libc::SIGKILL);
                self.finish(ended);
                ended
            }
        }
    }

    /// Stops what a host that crashed left behind, by the record it wrote, and
    /// removes the record. Gives the process id if it still ran. A process that
    /// merely got the same id meanwhile is left alone.
    ///
    /// # Errors
    /// The record cannot be read or removed. None there is no error.
    pub fn stop_leftover(path: &Path, grace: Duration) -> Result<Option<u32>, SandboxError> {
        record::stop_leftover(path, grace)
            .map_err(SandboxError::host("stopping a leftover process"))
    }

    fn finish(&mut self, ended: Ended) {
        self.ended = Some(ended);
        self.reap();
        if let Some(path) = self.record.take() {
            // Left behind it would name processes that are gone: harmless.
            let _ = std::fs::remove_file(path);
        }
    }

    fn reap(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.keeper.try_wait() {
            if Instant::now() > deadline {
                let _ = self.keeper.kill();
                let _ = self.keeper.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The next report, if one comes in time; an error when the keeper is gone.
    fn listen(&mut self, until: Instant) -> Result<Option<KeeperReport>, SandboxError> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| SandboxError::Setup(format!("the keeper's report: {error}")));
            }
            let remaining = until.saturating_duration_since(Instant::now());
            let timeout = remaining.max(Duration::from_micros(1));
            let read = self.control.set_read_timeout(Some(timeout)).and_then(|()| {
                let mut chunk = [0; 1024];
                let count = self.control.read(&mut chunk)?;
                self.heard.extend(chunk.iter().take(count));
                Ok(count)
            });
            match read {
                Ok(0) => return Err(SandboxError::Setup("the keeper is gone".to_owned())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(source) => {
                    return Err(SandboxError::Host {
                        action: "hearing the keeper",
                        source,
                    });
                }
            }
        }
    }
}

impl Drop for ManagedProcess {
    fn drop(&mut self) {
        if self.ended.is_none() && self.pid != 0 {
            self.stop(self.grace);
        } else {
            self.reap();
        }
    }
}
