//! The trusted door: the application's own services. Not contained, but never
//! alone: each runs under a keeper (the running binary once more) that stops it,
//! and whatever it daemonised, when the host says so, or is gone and no other one
//! comes to adopt it in time.

use crate::keeper::{Adoption, KeeperOrder, KeeperReport, KeeperRequest};
use crate::launch::MARK;
use crate::usage::ProcessTree;
use crate::{SandboxError, record};
use selfheal_domain::digest::Digest;
use selfheal_domain::tools::Ended;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
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
    /// Between the signal to stop and `SIGKILL` when the host is gone or this is
    /// dropped.
    pub grace: Duration,
    /// How it is asked to stop; see [`crate::signal_number`].
    pub stop_signal: i32,
    /// How long it runs on when the host is gone without having stopped it, for the
    /// next one to [adopt](ManagedProcess::adopt). It is stopped at once without, and
    /// without a `record`.
    pub orphan: Option<Duration>,
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
    keeper: Keeper,
    control: UnixStream,
    heard: Vec<u8>,
    pid: u32,
    grace: Duration,
    record: Option<PathBuf>,
    ended: Option<Ended>,
    /// It is not ours to stop.
    left: bool,
}

/// The process between us and the program.
#[derive(Debug)]
enum Keeper {
    Own(Child),
    /// Started by a host that is gone: a handle, and its process id.
    Adopted(OwnedFd, u32),
}

impl Keeper {
    fn pid(&self) -> u32 {
        match self {
            Self::Own(child) => child.id(),
            Self::Adopted(_, pid) => *pid,
        }
    }
}

/// Digest of everything that a program is started with, wherever its keeper listens.
fn digest_of(order: &KeeperOrder) -> Result<String, SandboxError> {
    let order = KeeperOrder {
        adoption: None,
        ..order.clone()
    };
    Ok(Digest::of(&encoded(&order)?).to_string())
}

fn encoded(order: &KeeperOrder) -> Result<Vec<u8>, SandboxError> {
    serde_json::to_vec(order)
        .map_err(|error| SandboxError::Invalid(format!("a path is not UTF-8: {error}")))
}

fn order_of(spec: &ManagedSpec) -> KeeperOrder {
    KeeperOrder {
        argv: spec.argv.clone(),
        directory: spec.directory.clone(),
        environment: spec.environment.clone(),
        grace: spec.grace,
        stop_signal: spec.stop_signal,
        lock: spec.record.as_ref().map(|path| path.with_extension("lock")),
        adoption: None,
    }
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
        let mut order = order_of(spec);
        let digest = digest_of(&order)?;
        if let (Some(patience), Some(_)) = (spec.orphan, &spec.record) {
            let nonce = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
                .map_err(SandboxError::host("naming the keeper"))?;
            let name = format!("selfheal-keeper-{}", nonce.trim());
            order.adoption = Some(Adoption { name, patience });
        }
        let message = encoded(&order)?;
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
            keeper: Keeper::Own(keeper),
            control,
            heard: Vec::new(),
            pid: 0,
            grace: spec.grace,
            record: None,
            ended: None,
            left: false,
        };
        process.start(&message)?;
        if let Some(path) = &spec.record {
            let socket = order.adoption.as_ref().map_or("", |it| it.name.as_str());
            record::write(path, process.keeper.pid(), process.pid, socket, &digest)
                .map_err(SandboxError::host("noting the process"))?;
            process.record = Some(path.clone());
            // It may have ended already; then its keeper has no more to hear.
            let _ = process.tell(&KeeperRequest::Recorded);
        }
        Ok(process)
    }

    fn tell(&mut self, request: &KeeperRequest) -> Result<(), SandboxError> {
        let mut line = serde_json::to_vec(request).unwrap_or_default();
        line.push(b'\n');
        self.control
            .write_all(&line)
            .map_err(SandboxError::host("telling the keeper"))
    }

    /// Takes over what a host that crashed left running, by the record it wrote: only
    /// if exactly that keeper and program still run (process ids and the times of
    /// their starts), and were started with what `spec` says. None otherwise; then
    /// [`ManagedProcess::stop_leftover`] is called for.
    pub fn adopt(spec: &ManagedSpec) -> Option<Self> {
        let path = spec.record.as_ref()?;
        let digest = digest_of(&order_of(spec)).ok()?;
        let leftover = record::find_leftover(path, &digest)?;
        let address = SocketAddr::from_abstract_name(&leftover.socket).ok()?;
        let control = UnixStream::connect_addr(&address).ok()?;
        // The name might be somebody else's by now; the keeper's handle is not.
        let peer = rustix::net::sockopt::socket_peercred(&control).ok()?;
        if peer.pid.as_raw_nonzero().get().unsigned_abs() != leftover.keeper_pid {
            return None;
        }
        let mut process = Self {
            keeper: Keeper::Adopted(leftover.keeper, leftover.keeper_pid),
            control,
            heard: Vec::new(),
            pid: 0,
            grace: spec.grace,
            record: None,
            ended: None,
            left: false,
        };
        match process.listen(Instant::now() + PATIENCE) {
            Ok(Some(KeeperReport::Started { pid })) if pid == leftover.program_pid => {
                process.pid = pid;
                process.record = Some(path.clone());
                Some(process)
            }
            _ => {
                process.left = true;
                None
            }
        }
    }

    /// Leaves it to the next host, as a crash would. Without a time to run on for in
    /// its [`ManagedSpec`] it is stopped by its keeper.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// A host before this one started it.
    pub fn is_adopted(&self) -> bool {
        matches!(self.keeper, Keeper::Adopted(..))
    }

    /// It and everything it started.
    pub fn tree(&self) -> ProcessTree {
        ProcessTree {
            keeper: self.keeper.pid(),
            program: self.pid,
        }
    }

    /// Sends a signal to the program itself; see [`crate::signal_number`].
    ///
    /// # Errors
    /// Its keeper cannot be told.
    pub fn signal(&mut self, signal: i32) -> Result<(), SandboxError> {
        self.tell(&KeeperRequest::Signal { signal })
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

    /// Its signal to stop to it and everything it started; `SIGKILL` after the grace. When
    /// this returns, nothing of it runs.
    pub fn stop(&mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.try_wait() {
            return ended;
        }
        let deadline = Instant::now() + grace + PATIENCE;
        let told = self.tell(&KeeperRequest::Stop { grace });
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
        match &mut self.keeper {
            Keeper::Own(child) => {
                while let Ok(None) = child.try_wait() {
                    if Instant::now() > deadline {
                        let _ = child.kill();
                        let _ = child.wait();
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Keeper::Adopted(handle, _) => {
                if !record::ends(handle, deadline) {
                    let _ =
                        rustix::process::pidfd_send_signal(handle, rustix::process::Signal::KILL);
                }
            }
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
        if self.left {
            let _ = self.control.shutdown(std::net::Shutdown::Both);
        } else if self.ended.is_none() && self.pid != 0 {
            self.stop(self.grace);
        } else {
            self.reap();
        }
    }
}
