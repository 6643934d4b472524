//! A contained process that stays: lines in, lines out.

use crate::capture::Capture;
use crate::launch::{Interest, Launched, Wake};
use crate::{CancelToken, SandboxError};
use selfheal_domain::tools::{SessionError, ToolSession};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much a session may have said that nobody received yet; more ends it.
const MOST_UNREAD: usize = 64 * 1024 * 1024;

/// Made by [`Sandbox::spawn`](crate::Sandbox::spawn). Ends with everything it
/// started when dropped.
#[derive(Debug)]
pub struct Session {
    launched: Launched,
    stdin: File,
    cancel: CancelToken,
    // Received, not yet handed out; complete lines first.
    lines: VecDeque<String>,
    partial: Vec<u8>,
    unread: usize,
    stderr: Capture,
    gone: bool,
}

impl Session {
    pub(crate) fn new(
        launched: Launched,
        stdin: OwnedFd,
        cancel: CancelToken,
        stderr_limit: usize,
    ) -> Result<Self, SandboxError> {
        rustix::io::ioctl_fionbio(&stdin, true).map_err(|error| SandboxError::Host {
            action: "preparing a pipe",
            source: error.into(),
        })?;
        Ok(Self {
            launched,
            stdin: File::from(stdin),
            cancel,
            lines: VecDeque::new(),
            partial: Vec::new(),
            unread: 0,
            stderr: Capture::new(stderr_limit),
            gone: false,
        })
    }

    /// Reads what is there; afterwards `gone` says whether more can come.
    fn collect(&mut self, wake: Wake) {
        let mut ignored = Capture::new(0);
        // Standard error goes through the capture, standard output through lines.
        let mut stdout = self.launched.output.stdout.take();
        self.launched.output.read(&mut ignored, &mut self.stderr);
        let mut chunk = [0; 65536];
        while let Some(file) = &mut stdout {
            match file.read(&mut chunk) {
                Ok(0) => stdout = None,
                Ok(count) => {
                    self.take_bytes(chunk.get(..count).unwrap_or_default());
                    if !self.lines.is_empty() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => stdout = None,
            }
            if self.unread > MOST_UNREAD {
                stdout = None;
            }
        }
        if stdout.is_none() || wake == Wake::Ended {
            self.gone = true;
        }
        self.launched.output.stdout = stdout;
    }

    fn take_bytes(&mut self, mut bytes: &[u8]) {
        self.unread += bytes.len();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.partial.extend_from_slice(line);
            self.lines
                .push_back(String::from_utf8_lossy(&self.partial).into_owned());
            self.partial.clear();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
    }

    fn ended(&self) -> SessionError {
        if self.cancel.is_cancelled() {
            SessionError::Cancelled
        } else {
            SessionError::Gone
        }
    }
}

impl ToolSession for Session {
    fn send(&mut self, line: &str) -> Result<(), SessionError> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if self.gone || self.cancel.is_cancelled() {
                return Err(self.ended());
            }
            match self.stdin.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    // It may be waiting for us to read first. The supervisor
                    // enforces the deadline of the session's life.
                    let until = Instant::now() + Duration::from_secs(1);
                    let wake = self.launched.wait(
                        until,
                        Interest {
                            writable: Some(self.stdin.as_fd()),
                        },
                    );
                    self.collect(wake);
                }
                Err(_) => return Err(self.ended()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> Result<String, SessionError> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(line) = self.lines.pop_front() {
                self.unread = self.unread.saturating_sub(line.len() + 1);
                return Ok(line);
            }
            if self.cancel.is_cancelled() {
                return Err(SessionError::Cancelled);
            }
            if self.gone {
                return Err(self.ended());
            }
            let wake = self.launched.wait(until, Interest::default());
            self.collect(wake);
            if wake == Wake::Deadline && self.lines.is_empty() && !self.gone {
                return Err(SessionError::TimedOut);
            }
        }
    }

    fn stderr_tail(&self) -> String {
        self.stderr.text()
    }
}
