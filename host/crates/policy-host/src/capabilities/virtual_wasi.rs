//! WASI for one decision, all of it made up. There is no code here that could
//! reach a file, a clock, a source of randomness or another process:
//!
//! - Clocks start at the run's age and move only when they are read (a microsecond,
//!   so that who waits for them to move gets on) or waited for: waiting an hour
//!   takes no time, and the clock is an hour on.
//! - Random bytes are SHA-256 over the question and a counter: asked again, the
//!   module gets the same ones.
//! - What is written goes to the host's log, the first lines of it.
//! - Calls are counted; more than a bound is a fault. So are exits.

use super::bindings::wasi;
use crate::limits::{LOG_BYTES, LOG_LINES, WASI_CALLS};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use wasi::clocks::wall_clock::Datetime;
use wasi::filesystem::types as files;
use wasi::io::streams::{InputStream, OutputStream, StreamError};
use wasmtime::component::Resource;

/// How far reading a clock moves it, in nanoseconds.
const READING: u64 = 1_000;
/// Bytes that one call writes or gets, at most.
const CHUNK: u64 = 64 << 10;
/// Things to wait for that exist at the same time.
const POLLABLES: usize = 256;
const SECOND: u64 = 1_000_000_000;

/// The module did what a policy cannot do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("more than {WASI_CALLS} calls of WASI in one decision")]
    Calls,
    #[error("it asked for {0} random bytes at once, more than {CHUNK}")]
    RandomBytes(u64),
    #[error("it waits for more than {POLLABLES} things at once")]
    Pollables,
    #[error("it waits for nothing")]
    Nothing,
    #[error("it ended itself instead of answering")]
    Exit,
    #[error("it used something that it was never given")]
    Stranger,
}

fn denied(what: Denied) -> wasmtime::Error {
    wasmtime::Error::new(what)
}

/// What one decision's WASI starts with.
#[derive(Clone)]
pub(crate) struct Origin {
    /// For the log.
    pub(crate) module: Arc<str>,
    /// What the clocks start at.
    pub(crate) seconds: u64,
    /// What random bytes follow from.
    pub(crate) seed: [u8; 32],
}

/// The state behind the calls of one decision.
pub(crate) struct VirtualWasi {
    origin: Origin,
    /// Nanoseconds.
    now: u64,
    calls_left: u32,
    /// Blocks of random bytes made.
    blocks: u64,
    spare: Vec<u8>,
    /// When each becomes ready; the index is the handle.
    pollables: Vec<Option<u64>>,
    lines_left: u32,
    /// A line that has no end yet, per output.
    pending: [Vec<u8>; 2],
}

/// Which output a stream is.
const STDOUT: u32 = 0;
const STDERR: u32 = 1;

impl VirtualWasi {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            now: origin.seconds.saturating_mul(SECOND),
            origin,
            calls_left: WASI_CALLS,
            blocks: 0,
            spare: Vec::new(),
            pollables: Vec::new(),
            lines_left: LOG_LINES,
            pending: [Vec::new(), Vec::new()],
        }
    }

    fn count(&mut self) -> wasmtime::Result<()> {
        self.calls_left = self
            .calls_left
            .checked_sub(1)
            .ok_or_else(|| denied(Denied::Calls))?;
        Ok(())
    }

    fn read_clock(&mut self) -> u64 {
        self.now = self.now.saturating_add(READING);
        self.now
    }

    fn random(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        if count > CHUNK {
            return Err(denied(Denied::RandomBytes(count)));
        }
        let count = usize::try_from(count).unwrap_or_default();
        while self.spare.len() < count {
            let block = Sha256::new()
                .chain_update(self.origin.seed)
                .chain_update(self.blocks.to_be_bytes())
                .finalize();
            self.blocks += 1;
            self.spare.extend_from_slice(&block);
        }
        let rest = self.spare.split_off(count);
        Ok(std::mem::replace(&mut self.spare, rest))
    }

    fn random_number(&mut self) -> wasmtime::Result<u64> {
        let mut number = [0; 8];
        number.copy_from_slice(&self.random(8)?);
        Ok(u64::from_be_bytes(number))
    }

    fn pollable(&mut self, ready_at: u64) -> wasmtime::Result<Resource<wasi::io::poll::Pollable>> {
        let free = self.pollables.iter().position(Option::is_none);
        let place = free.unwrap_or(self.pollables.len());
        if place == POLLABLES {
            return Err(denied(Denied::Pollables));
        }
        match self.pollables.get_mut(place) {
            Some(slot) => *slot = Some(ready_at),
            None => self.pollables.push(Some(ready_at)),
        }
        Ok(Resource::new_own(u32::try_from(place).unwrap_or(u32::MAX)))
    }

    fn ready_at(&self, pollable: &Resource<wasi::io::poll::Pollable>) -> wasmtime::Result<u64> {
        let place = usize::try_from(pollable.rep()).unwrap_or(usize::MAX);
        let known = self.pollables.get(place).copied().flatten();
        known.ok_or_else(|| denied(Denied::Stranger))
    }

    /// Logs whole lines; what is left of the last one waits for its end.
    fn print(&mut self, stream: u32, bytes: &[u8]) {
        let mut rest = bytes;
        while self.lines_left > 0
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            let (line, after) = rest.split_at(end);
            self.keep(stream, line);
            self.end_line(stream);
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(stream, rest);
    }

    fn keep(&mut self, stream: u32, part: &[u8]) {
        if let Some(pending) = usize::try_from(stream)
            .ok()
            .and_then(|stream| self.pending.get_mut(stream))
        {
            let room = LOG_BYTES.saturating_sub(pending.len());
            pending.extend(part.iter().take(room));
        }
    }

    fn end_line(&mut self, stream: u32) {
        let pending = usize::try_from(stream)
            .ok()
            .and_then(|stream| self.pending.get_mut(stream));
        let Some(line) = pending.map(std::mem::take) else {
            return;
        };
        if line.is_empty() || self.lines_left == 0 {
            return;
        }
        self.lines_left -= 1;
        let (module, message) = (&*self.origin.module, String::from_utf8_lossy(&line));
        if stream == STDERR {
            tracing::warn!(module, ?message, "policy module prints");
        } else {
            tracing::info!(module, ?message, "policy module prints");
        }
    }
}

/// A last line without an end is one too.
impl Drop for VirtualWasi {
    fn drop(&mut self) {
        self.end_line(STDOUT);
        self.end_line(STDERR);
    }
}

impl wasi::io::error::Host for VirtualWasi {}

impl wasi::io::error::HostError for VirtualWasi {
    fn to_debug_string(
        &mut self,
        _error: Resource<wasi::io::error::Error>,
    ) -> wasmtime::Result<String> {
        Err(denied(Denied::Stranger))
    }

    fn drop(&mut self, _error: Resource<wasi::io::error::Error>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wasi::io::poll::Host for VirtualWasi {
    fn poll(
        &mut self,
        pollables: Vec<Resource<wasi::io::poll::Pollable>>,
    ) -> wasmtime::Result<Vec<u32>> {
        self.count()?;
        let times: Vec<u64> = pollables
            .iter()
            .map(|pollable| self.ready_at(pollable))
            .collect::<wasmtime::Result<_>>()?;
        let first = times.iter().min().ok_or_else(|| denied(Denied::Nothing))?;
        self.now = self.now.max(*first);
        Ok((0..)
            .zip(&times)
            .filter(|(_, time)| **time <= self.now)
            .map(|(place, _)| place)
            .collect())
    }
}

impl wasi::io::poll::HostPollable for VirtualWasi {
    fn ready(&mut self, this: Resource<wasi::io::poll::Pollable>) -> wasmtime::Result<bool> {
        self.count()?;
        // Looking moves the clock as reading it does, for who asks again and again.
        Ok(self.ready_at(&this)? <= self.read_clock())
    }

    fn block(&mut self, this: Resource<wasi::io::poll::Pollable>) -> wasmtime::Result<()> {
        self.count()?;
        self.now = self.now.max(self.ready_at(&this)?);
        Ok(())
    }

    fn drop(&mut self, this: Resource<wasi::io::poll::Pollable>) -> wasmtime::Result<()> {
        let place = usize::try_from(this.rep()).unwrap_or(usize::MAX);
        if let Some(slot) = self.pollables.get_mut(place) {
            *slot = None;
        }
        Ok(())
    }
}

impl wasi::io::streams::Host for VirtualWasi {}

/// Every input has ended before it began.
impl wasi::io::streams::HostInputStream for VirtualWasi {
    fn read(
        &mut self,
        _this: Resource<InputStream>,
        _count: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
        self.count()?;
        Ok(Err(StreamError::Closed))
    }

    fn blocking_read(
        &mut self,
        this: Resource<InputStream>,
        count: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
        self.read(this, count)
    }

    fn skip(
        &mut self,
        _this: Resource<InputStream>,
        _count: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        self.count()?;
        Ok(Err(StreamError::Closed))
    }

    fn blocking_skip(
        &mut self,
        this: Resource<InputStream>,
        count: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        self.skip(this, count)
    }

    fn subscribe(
        &mut self,
        _this: Resource<InputStream>,
    ) -> wasmtime::Result<Resource<wasi::io::poll::Pollable>> {
        self.count()?;
        self.pollable(0)
    }

    fn drop(&mut self, _this: Resource<InputStream>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Outputs take everything and keep what the log has room for.
impl wasi::io::streams::HostOutputStream for VirtualWasi {
    fn check_write(
        &mut self,
        _this: Resource<OutputStream>,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        self.count()?;
        Ok(Ok(CHUNK))
    }

    fn write(
        &mut self,
        this: Resource<OutputStream>,
        contents: Vec<u8>,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.count()?;
        self.print(this.rep(), &contents);
        Ok(Ok(()))
    }

    fn blocking_write_and_flush(
        &mut self,
        this: Resource<OutputStream>,
        contents: Vec<u8>,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.write(this, contents)
    }

    fn flush(
        &mut self,
        _this: Resource<OutputStream>,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.count()?;
        Ok(Ok(()))
    }

    fn blocking_flush(
        &mut self,
        this: Resource<OutputStream>,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.flush(this)
    }

    fn subscribe(
        &mut self,
        _this: Resource<OutputStream>,
    ) -> wasmtime::Result<Resource<wasi::io::poll::Pollable>> {
        self.count()?;
        self.pollable(0)
    }

    /// Zeros say nothing to a log.
    fn write_zeroes(
        &mut self,
        this: Resource<OutputStream>,
        _count: u64,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.flush(this)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        this: Resource<OutputStream>,
        count: u64,
    ) -> wasmtime::Result<Result<(), StreamError>> {
        self.write_zeroes(this, count)
    }

    fn splice(
        &mut self,
        _this: Resource<OutputStream>,
        _source: Resource<InputStream>,
        _count: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        self.count()?;
        Ok(Err(StreamError::Closed))
    }

    fn blocking_splice(
        &mut self,
        this: Resource<OutputStream>,
        source: Resource<InputStream>,
        count: u64,
    ) -> wasmtime::Result<Result<u64, StreamError>> {
        self.splice(this, source, count)
    }

    fn drop(&mut self, _this: Resource<OutputStream>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wasi::clocks::monotonic_clock::Host for VirtualWasi {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        Ok(self.read_clock())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        Ok(READING)
    }

    fn subscribe_instant(
        &mut self,
        when: u64,
    ) -> wasmtime::Result<Resource<wasi::io::poll::Pollable>> {
        self.count()?;
        self.pollable(when)
    }

    fn subscribe_duration(
        &mut self,
        duration: u64,
    ) -> wasmtime::Result<Resource<wasi::io::poll::Pollable>> {
        self.count()?;
        self.pollable(self.now.saturating_add(duration))
    }
}

/// The age of the run, counted from 1970: a date would differ when asked again.
impl wasi::clocks::wall_clock::Host for VirtualWasi {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        self.count()?;
        let now = self.read_clock();
        Ok(Datetime {
            seconds: now / SECOND,
            nanoseconds: u32::try_from(now % SECOND).unwrap_or_default(),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        self.count()?;
        Ok(Datetime {
            seconds: 0,
            nanoseconds: u32::try_from(READING).unwrap_or_default(),
        })
    }
}

impl wasi::random::random::Host for VirtualWasi {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.count()?;
        self.random(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        self.random_number()
    }
}

impl wasi::random::insecure::Host for VirtualWasi {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.count()?;
        self.random(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        self.random_number()
    }
}

impl wasi::random::insecure_seed::Host for VirtualWasi {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.count()?;
        Ok((self.random_number()?, self.random_number()?))
    }
}

impl wasi::cli::environment::Host for VirtualWasi {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.count()?;
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count()?;
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        self.count()?;
        Ok(None)
    }
}

impl wasi::cli::exit::Host for VirtualWasi {
    fn exit(&mut self, _status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(denied(Denied::Exit))
    }

    fn exit_with_code(&mut self, _status: u8) -> wasmtime::Result<()> {
        Err(denied(Denied::Exit))
    }
}

impl wasi::cli::stdin::Host for VirtualWasi {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<InputStream>> {
        self.count()?;
        Ok(Resource::new_own(0))
    }
}

impl wasi::cli::stdout::Host for VirtualWasi {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        self.count()?;
        Ok(Resource::new_own(STDOUT))
    }
}

impl wasi::cli::stderr::Host for VirtualWasi {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        self.count()?;
        Ok(Resource::new_own(STDERR))
    }
}

impl wasi::cli::terminal_input::Host for VirtualWasi {}

impl wasi::cli::terminal_input::HostTerminalInput for VirtualWasi {
    fn drop(
        &mut self,
        _this: Resource<wasi::cli::terminal_input::TerminalInput>,
    ) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wasi::cli::terminal_output::Host for VirtualWasi {}

impl wasi::cli::terminal_output::HostTerminalOutput for VirtualWasi {
    fn drop(
        &mut self,
        _this: Resource<wasi::cli::terminal_output::TerminalOutput>,
    ) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wasi::cli::terminal_stdin::Host for VirtualWasi {
    fn get_terminal_stdin(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<wasi::cli::terminal_input::TerminalInput>>> {
        self.count()?;
        Ok(None)
    }
}

impl wasi::cli::terminal_stdout::Host for VirtualWasi {
    fn get_terminal_stdout(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<wasi::cli::terminal_output::TerminalOutput>>> {
        self.count()?;
        Ok(None)
    }
}

impl wasi::cli::terminal_stderr::Host for VirtualWasi {
    fn get_terminal_stderr(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<wasi::cli::terminal_output::TerminalOutput>>> {
        self.count()?;
        Ok(None)
    }
}

impl files::Host for VirtualWasi {
    fn filesystem_error_code(
        &mut self,
        _error: Resource<wasi::io::error::Error>,
    ) -> wasmtime::Result<Option<files::ErrorCode>> {
        self.count()?;
        Ok(None)
    }
}

impl wasi::filesystem::preopens::Host for VirtualWasi {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<files::Descriptor>, String)>> {
        self.count()?;
        Ok(Vec::new())
    }
}
