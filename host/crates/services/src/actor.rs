//! The thread that owns one service: it starts, watches, restarts and stops the
//! process, and nobody else touches it.

use crate::backoff::Backoff;
use crate::config::{Health, RestartPolicy, ServiceConfig};
use crate::health::{self, Surroundings};
use crate::log::Log;
use chrono::{DateTime, Utc};
use selfheal_domain::ports::Clock;
use selfheal_domain::tools::Ended;
use selfheal_sandbox::{ManagedProcess, ManagedSpec, TrustedCommand, run_trusted};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a running service is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often its health is asked while nobody else does.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// Between two questions whether it is ready.
const READY_EVERY: Duration = Duration::from_millis(50);
/// Without a health check: one that lives this long came up.
const SETTLED: Duration = Duration::from_millis(300);

/// What somebody else asks of the thread.
pub(crate) enum Request {
    /// Start it, or stop and start it; answers when it is ready.
    Restart(Sender<Result<(), String>>),
    /// Stop it and end the thread.
    Shutdown,
}

/// Where a service is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Stopped,
    Starting,
    Running,
    BackingOff,
    Failed,
}

impl State {
    /// As in `ServiceStatus::state`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing-off",
            Self::Failed => "failed",
        }
    }
}

/// What everybody may look at.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) pid: Option<u32>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) restarts: u32,
    pub(crate) healthy: Option<bool>,
    pub(crate) detail: String,
}

/// What the thread and those who look share.
pub(crate) struct Shared {
    pub(crate) config: ServiceConfig,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) record: PathBuf,
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) standing: Mutex<Standing>,
    // Interrupts a start that waits for readiness.
    pub(crate) closing: AtomicBool,
}

impl Shared {
    pub(crate) fn standing(&self) -> Standing {
        self.standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn enter(&self, state: State, pid: Option<u32>, detail: &str) {
        let now = self.clock.now();
        self.change(|standing| {
            standing.state = state;
            standing.pid = pid;
            standing.since = now;
            standing.healthy = None;
            detail.clone_into(&mut standing.detail);
        });
    }

    /// Asks its health and notes the answer.
    pub(crate) fn ask(&self, at_most: Duration) -> Result<String, String> {
        let Some(health) = &self.config.health else {
            return Ok("it runs; no health check is configured".to_owned());
        };
        let surroundings = Surroundings {
            directory: &self.directory,
            environment: &self.environment,
        };
        let answer = health::check(health, &surroundings, at_most);
        self.change(|standing| {
            standing.healthy = Some(answer.is_ok());
            let (Ok(seen) | Err(seen)) = &answer;
            seen.clone_into(&mut standing.detail);
        });
        answer
    }

    /// Somebody else runs it; we can only tell them to restart it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.config.command.is_empty()
    }
}

/// The thread's own.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    process: Option<ManagedProcess>,
    started: Instant,
    backoff: Backoff,
    again: Option<Instant>,
    next_health: Instant,
}

impl Actor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            process: None,
            started: Instant::now(),
            backoff: Backoff::default(),
            again: None,
            next_health: Instant::now(),
        }
    }

    /// Serves requests until told to end.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            match requests.recv_timeout(TICK) {
                Ok(Request::Restart(answer)) => {
                    let result = self.restart();
                    // Whoever asked may have gone.
                    let _ = answer.send(result);
                }
                Ok(Request::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.tick(),
            }
        }
        self.stop();
    }

    fn tick(&mut self) {
        if let Err(error) = self.shared.log.rotate() {
            tracing::warn!(service = %self.shared.config.name, %error, "the log cannot be rotated");
        }
        if let Some(process) = &mut self.process {
            if let Some(ended) = process.try_wait() {
                self.process = None;
                self.ended(ended);
            } else if Instant::now() >= self.next_health {
                let _ = self.shared.ask(HEALTH_EVERY);
                self.next_health = Instant::now() + HEALTH_EVERY;
            }
        } else if self.again.is_some_and(|again| Instant::now() >= again) {
            self.again = None;
            self.shared.change(|standing| standing.restarts += 1);
            if let Err(error) = self.start() {
                tracing::warn!(service = %self.shared.config.name, %error, "the service did not come up");
            }
        }
    }

    /// A new beginning: crashes of the past do not count.
    fn restart(&mut self) -> Result<(), String> {
        self.backoff = Backoff::default();
        self.again = None;
        if self.shared.is_foreign() {
            return self.restart_foreign();
        }
        let known = self.process.is_some() || self.shared.standing().restarts > 0;
        self.stop();
        if known {
            self.shared.change(|standing| standing.restarts += 1);
        }
        self.start()
    }

    /// It ended by itself, ready or not.
    fn ended(&mut self, ended: Ended) {
        let shared = &self.shared;
        let what = describe(ended);
        tracing::warn!(service = %shared.config.name, what, "the service ended");
        let again = match shared.config.restart {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => !ended.success(),
            RestartPolicy::Always => true,
        };
        if !again {
            let state = if ended.success() {
                State::Stopped
            } else {
                State::Failed
            };
            shared.enter(state, None, &what);
            return;
        }
        match self.backoff.after(self.started.elapsed()) {
            Some(delay) => {
                self.again = Some(Instant::now() + delay);
                let detail = format!("{what}; next start in {:.1} s", delay.as_secs_f64());
                shared.enter(State::BackingOff, None, &detail);
            }
            None => {
                let detail = format!("{what}; it crashed too often and stays down until restarted");
                shared.enter(State::Failed, None, &detail);
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let spec = ManagedSpec {
            argv: ManagedSpec::shell(&shared.config.command),
            directory: shared.directory.clone(),
            environment: shared.environment.clone(),
            log_file: shared.log.path().to_owned(),
            grace: shared.config.stop_grace,
            record: Some(shared.record.clone()),
        };
        if let Some(health @ (Health::Http { .. } | Health::Tcp { .. })) = &shared.config.health {
            let surroundings = Surroundings {
                directory: &shared.directory,
                environment: &shared.environment,
            };
            if let Ok(seen) = health::check(health, &surroundings, SETTLED) {
                let detail = format!("something else is in its place already: {seen}");
                shared.enter(State::Failed, None, &detail);
                return Err(detail);
            }
        }
        self.started = Instant::now();
        let begin = shared.log.position();
        match ManagedProcess::spawn(&spec) {
            Ok(process) => {
                shared.enter(
                    State::Starting,
                    Some(process.pid()),
                    "started, not ready yet",
                );
                self.process = Some(process);
            }
            Err(error) => {
                let detail = with_causes(&error);
                shared.enter(State::Failed, None, &detail);
                return Err(detail);
            }
        }
        self.await_ready(begin)
    }

    fn await_ready(&mut self, begin: u64) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let deadline = self.started + shared.config.start_timeout;
        loop {
            let Some(process) = &mut self.process else {
                return Err("it does not run".to_owned());
            };
            if let Some(ended) = process.try_wait() {
                self.process = None;
                self.ended(ended);
                return Err(format!(
                    "it {} before it was ready; its output: {}",
                    describe(ended),
                    shared.log.since(begin, 2000).trim()
                ));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = match &shared.config.health {
                Some(_) => shared.ask(left.max(Duration::from_millis(50))),
                None if self.started.elapsed() >= SETTLED.min(shared.config.start_timeout) => {
                    Ok("it runs".to_owned())
                }
                None => Err("just started".to_owned()),
            };
            match answer {
                // Asked of a process that ended meanwhile: somebody else answered.
                Ok(seen) if process.try_wait().is_none() => {
                    let pid = Some(process.pid());
                    shared.enter(State::Running, pid, &seen);
                    if shared.config.health.is_some() {
                        shared.change(|standing| standing.healthy = Some(true));
                    }
                    self.next_health = Instant::now() + HEALTH_EVERY;
                    return Ok(());
                }
                Ok(_) => continue,
                Err(seen) => {
                    let closing = shared.closing.load(Ordering::SeqCst);
                    if closing || Instant::now() >= deadline {
                        self.stop();
                        let detail = format!(
                            "it was not ready within {:.1} s: {seen}; its output: {}",
                            shared.config.start_timeout.as_secs_f64(),
                            shared.log.since(begin, 2000).trim()
                        );
                        shared.enter(State::Failed, None, &detail);
                        return Err(detail);
                    }
                }
            }
            std::thread::sleep(READY_EVERY);
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let ended = process.stop(self.shared.config.stop_grace);
            self.shared.enter(
                State::Stopped,
                None,
                &format!("stopped: {}", describe(ended)),
            );
        }
    }

    fn restart_foreign(&self) -> Result<(), String> {
        let shared = &self.shared;
        let Some(command) = &shared.config.restart_command else {
            return Err("nobody said how to restart it".to_owned());
        };
        shared.change(|standing| standing.restarts += 1);
        shared.enter(State::Starting, None, "restarting");
        let started = Instant::now();
        let output = run_trusted(&TrustedCommand {
            argv: ManagedSpec::shell(command),
            directory: shared.directory.clone(),
            environment: shared.environment.clone(),
            timeout: shared.config.start_timeout,
            output_bytes: 8 * 1024,
        })
        .map_err(|error| with_causes(&error))
        .and_then(|output| {
            if output.ended.success() {
                Ok(())
            } else {
                let said = format!("{}{}", output.stdout, output.stderr);
                Err(format!(
                    "{command} {}: {}",
                    describe(output.ended),
                    said.trim()
                ))
            }
        });
        if let Err(detail) = output {
            shared.enter(State::Failed, None, &detail);
            return Err(detail);
        }
        loop {
            match shared.ask(shared.config.start_timeout) {
                Ok(seen) => {
                    shared.enter(State::Running, None, &seen);
                    return Ok(());
                }
                Err(seen)
                    if started.elapsed() >= shared.config.start_timeout
                        || shared.closing.load(Ordering::SeqCst) =>
                {
                    shared.enter(State::Failed, None, &seen);
                    return Err(seen);
                }
                Err(_) => std::thread::sleep(READY_EVERY),
            }
        }
    }
}

fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exited with {code}"),
        Ended::Signal(signal) => format!("was killed by signal {signal}"),
        Ended::TimedOut => "did not end in time".to_owned(),
        Ended::Cancelled => "was cancelled".to_owned(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
