//! The thread that owns one service: it starts, watches, restarts and stops it, and
//! nobody else touches it.

use crate::breaker::{Bounds, Breaker, Next};
use crate::config::{Health, Ready, RestartPolicy};
use crate::foreign::Seen;
use crate::health;
use crate::shared::{Shared, State, locked};
use selfheal_domain::ledger;
use selfheal_domain::ports::ServiceError;
use selfheal_domain::service::{ServiceNotice, ServiceOperation};
use selfheal_domain::tools::Ended;
use selfheal_sandbox::{ManagedProcess, ManagedSpec, signal_number};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
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
    /// Bring it up because the host starts.
    Boot(Answer),
    /// On somebody's word, if it is as they saw it; answers when it is done.
    Operate(ServiceOperation, Option<ledger::Seen>, Answer),
    /// Have it take up new code.
    Renew(Answer),
    /// Stop it and end the thread.
    Shutdown,
}

pub(crate) type Answer = Sender<Result<(), NotDone>>;

/// Why it was not done.
pub(crate) enum NotDone {
    /// Nothing was: it is not as it was seen.
    Stale(ServiceError),
    /// It did not come up or go down.
    Failed(String),
}

/// The thread's own.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    process: Option<ManagedProcess>,
    started: Instant,
    breaker: Breaker,
    again: Option<Instant>,
    next_health: Instant,
}

impl Actor {
    /// With the process of an earlier host, if it was adopted.
    pub(crate) fn new(shared: Arc<Shared>, process: Option<ManagedProcess>) -> Self {
        let config = &shared.config;
        let bounds = Bounds {
            first: config.backoff,
            longest: config.backoff_max,
            stable: config.stable,
            limit: config.crash_limit,
            pause: Some(config.breaker).filter(|pause| !pause.is_zero()),
        };
        Self {
            breaker: Breaker::new(bounds),
            shared,
            process,
            started: Instant::now(),
            again: None,
            next_health: Instant::now(),
        }
    }

    /// Serves requests until told to end.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let (answer, result) = match requests.recv_timeout(TICK) {
                Ok(Request::Boot(answer)) => (answer, self.boot()),
                Ok(Request::Operate(operation, seen, answer)) => {
                    if let Err(stale) = self.shared.status().check(seen.as_ref()) {
                        let _ = answer.send(Err(NotDone::Stale(stale)));
                        continue;
                    }
                    (answer, self.operate(operation))
                }
                Ok(Request::Renew(answer)) => (answer, self.renew()),
                Ok(Request::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    continue;
                }
            };
            // Whoever asked may have gone.
            let _ = answer.send(result.map_err(NotDone::Failed));
        }
        self.stop("the host stops");
    }

    fn tick(&mut self) {
        self.read_logs();
        if self.shared.foreign.is_some() {
            self.tick_foreign();
        } else if let Some(process) = &mut self.process {
            if let Some(ended) = process.try_wait() {
                self.process = None;
                self.ended(ended);
            } else if Instant::now() >= self.next_health {
                let _ = self.shared.ask(HEALTH_EVERY);
                self.next_health = Instant::now() + HEALTH_EVERY;
            }
        }
        if self.shared.standing().state == State::Running
            && self.breaker.settled(self.started.elapsed())
        {
            self.show_breaker();
            self.shared.notice(ServiceNotice::CircuitClosed);
        }
        if self.again.is_some_and(|again| Instant::now() >= again) {
            self.again = None;
            self.shared.change(|standing| standing.restarts += 1);
            if let Err(error) = self.start() {
                tracing::warn!(service = %self.shared.name(), %error, "the service did not come up");
                self.not_ready(error);
            }
        }
    }

    fn read_logs(&self) {
        let shared = &self.shared;
        let mut watch = locked(&shared.watch);
        // Told when somebody asks for what is new.
        let _ = watch.poll();
        if shared.log.is_full()
            && let Err(error) = shared.log.rotate()
        {
            tracing::warn!(service = %shared.name(), %error, "the log cannot be rotated");
        }
    }

    fn boot(&mut self) -> Result<(), String> {
        // What it logs from its very first start on is news; later marks are made
        // when somebody has it take up something new.
        if !locked(&self.shared.watch).is_marked() {
            self.shared.mark_logs();
        }
        if self.process.is_some() {
            let _ = self.shared.ask(self.shared.config.start_timeout);
            return Ok(());
        }
        if let Some(foreign) = &self.shared.foreign {
            let up = matches!(
                foreign.look(&self.shared.ground(self.shared.config.start_timeout)),
                Seen::Up(..) | Seen::Coming(_)
            );
            if up || !foreign.is_startable() {
                self.tick_foreign();
                return Ok(());
            }
            return self.foreign(ServiceOperation::Start);
        }
        let result = self.start();
        if let Err(error) = &result {
            self.not_ready(error.clone());
        }
        result
    }

    /// A new beginning: crashes of the past do not count.
    fn operate(&mut self, operation: ServiceOperation) -> Result<(), String> {
        let running = match operation {
            ServiceOperation::Reload => return self.reload(),
            _ => self.process.is_some() || self.is_up(),
        };
        if operation == ServiceOperation::Start && running {
            return Ok(());
        }
        self.breaker.reset();
        self.show_breaker();
        self.again = None;
        if operation == ServiceOperation::Restart
            && (running || self.shared.standing().restarts > 0)
        {
            self.shared.change(|standing| standing.restarts += 1);
        }
        if self.shared.foreign.is_some() {
            if operation != ServiceOperation::Stop {
                self.shared.mark_logs();
            }
            return self.foreign(operation);
        }
        self.stop("stopped");
        match operation {
            ServiceOperation::Stop => {
                let now = self.shared.standing();
                if now.state != State::Stopped {
                    self.shared.enter(State::Stopped, None, "stopped");
                }
                Ok(())
            }
            _ => {
                // What it said while it was going down is not about what comes now.
                self.shared.mark_logs();
                self.start()
            }
        }
    }

    fn renew(&mut self) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let reloads = match &shared.foreign {
            Some(foreign) => foreign.is_reloadable() && !foreign.is_supervised(),
            None => config.reload.is_some(),
        };
        if reloads && self.is_up() {
            match self.reload() {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(service = %config.name, %error, "it could not be reloaded and is restarted");
                }
            }
        }
        self.operate(ServiceOperation::Restart)
    }

    fn is_up(&self) -> bool {
        self.shared.standing().state == State::Running
    }

    fn reload(&mut self) -> Result<(), String> {
        if !self.is_up() {
            return Err("it does not run, so there is nothing to reload; start it".to_owned());
        }
        let shared = Arc::clone(&self.shared);
        if shared.foreign.is_some() {
            shared.mark_logs();
            return self.foreign(ServiceOperation::Reload);
        }
        let signal = shared.config.reload.as_deref().and_then(signal_number);
        let (Some(signal), Some(process)) = (signal, &mut self.process) else {
            return Err(
                "nobody said how to reload it; set `reload`, as in `reload = \"HUP\"`".to_owned(),
            );
        };
        shared.mark_logs();
        process
            .signal(signal)
            .map_err(|error| with_causes(&error))?;
        let deadline = Instant::now() + shared.config.start_timeout;
        let settled = Instant::now() + SETTLED;
        loop {
            if let Some(process) = &mut self.process
                && let Some(ended) = process.try_wait()
            {
                self.process = None;
                self.ended(ended);
                return Err(format!("it {} on the signal", describe(ended)));
            }
            // What it was before the signal reached it says nothing.
            if Instant::now() >= settled {
                match shared.ask(shared.config.start_timeout) {
                    Ok(_) => return Ok(()),
                    Err(seen) if Instant::now() >= deadline || self.is_closing() => {
                        return Err(seen);
                    }
                    Err(_) => {}
                }
            }
            std::thread::sleep(READY_EVERY);
        }
    }

    fn is_closing(&self) -> bool {
        self.shared.closing.load(Ordering::SeqCst)
    }

    /// It ended by itself, ready or not.
    fn ended(&mut self, ended: Ended) {
        self.shared.enter(State::Failed, None, &describe(ended));
        self.crashed(describe(ended), ended.success());
    }

    /// It was started by itself and did not come up.
    fn not_ready(&mut self, detail: String) {
        let state = self.shared.standing().state;
        if state == State::Failed && self.again.is_none() && !self.breaker.is_open() {
            self.crashed(detail, false);
        }
    }

    fn crashed(&mut self, what: String, success: bool) {
        let shared = Arc::clone(&self.shared);
        tracing::warn!(service = %shared.name(), what, "the service ended");
        let again = match shared.config.restart {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => !success,
            RestartPolicy::Always => true,
        };
        let masked = |text: &str| (shared.hooks.mask)(text.to_owned());
        if !again {
            let state = if success {
                State::Stopped
            } else {
                State::Failed
            };
            shared.enter(state, None, &what);
            let detail = masked(&what);
            shared.notice(ServiceNotice::Ended { detail });
            return;
        }
        match self.breaker.crashed(self.started.elapsed()) {
            Next::Again(delay) => {
                self.again = Some(Instant::now() + delay);
                let detail = format!("{what}; next start in {:.1} s", delay.as_secs_f64());
                shared.enter(State::BackingOff, None, &detail);
                let detail = masked(&detail);
                shared.notice(ServiceNotice::Ended { detail });
            }
            Next::Open(pause) => {
                self.again = pause.map(|pause| Instant::now() + pause);
                let next = pause.map_or_else(
                    || "until somebody starts it".to_owned(),
                    |pause| format!("for {:.0} s, then one start is tried", pause.as_secs_f64()),
                );
                let detail = format!(
                    "{what}; it crashed too often: the circuit breaker is open and it stays down \
                     {next}"
                );
                shared.enter(State::Failed, None, &detail);
                shared.notice(ServiceNotice::CircuitOpened {
                    crashes: self.breaker.crashes(),
                    retry_seconds: pause.map(|pause| pause.as_secs()),
                    detail: masked(&what),
                });
            }
        }
        self.show_breaker();
    }

    fn show_breaker(&self) {
        let (crashes, open) = (self.breaker.crashes(), self.breaker.is_open());
        self.shared.change(|standing| {
            standing.crashes = crashes;
            standing.circuit_open = open;
        });
    }

    fn start(&mut self) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        if shared.foreign.is_some() {
            return self.foreign(ServiceOperation::Start);
        }
        if let Some(seen) = somebody_else(&shared) {
            let detail = format!("something else is in its place already: {seen}");
            shared.enter(State::Failed, None, &detail);
            return Err(detail);
        }
        self.started = Instant::now();
        let begin = shared.log.position();
        match ManagedProcess::spawn(&spec_of(&shared)) {
            Ok(process) => {
                let pid = Some(process.pid());
                shared.enter(State::Starting, pid, "started, not ready yet");
                shared.change(|standing| standing.tree = Some(process.tree()));
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
        let config = &shared.config;
        let deadline = self.started + config.start_timeout;
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
            let left = left.max(Duration::from_millis(50));
            let came_up = match &config.ready {
                Some(ready) => health::came_up(ready, &shared.log, begin, left),
                None => Ok(String::new()),
            };
            let answer = came_up.and_then(|seen| match &config.health {
                Some(_) => shared.ask(left),
                None if config.ready.is_some() => Ok(seen),
                None if self.started.elapsed() >= SETTLED.min(config.start_timeout) => {
                    Ok("it runs".to_owned())
                }
                None => Err("just started".to_owned()),
            });
            match answer {
                // Asked of a process that ended meanwhile: somebody else answered.
                Ok(seen) if process.try_wait().is_none() => {
                    let pid = Some(process.pid());
                    shared.enter(State::Running, pid, &seen);
                    if config.health.is_some() {
                        shared.change(|standing| standing.healthy = Some(true));
                    }
                    self.next_health = Instant::now() + HEALTH_EVERY;
                    return Ok(());
                }
                Ok(_) => continue,
                Err(seen) => {
                    if self.is_closing() || Instant::now() >= deadline {
                        self.stop("not ready");
                        let detail = format!(
                            "it was not ready within {:.1} s: {seen}; its output: {}",
                            config.start_timeout.as_secs_f64(),
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

    fn stop(&mut self, why: &str) {
        if let Some(mut process) = self.process.take() {
            let ended = process.stop(self.shared.config.stop_grace);
            let detail = format!("{why}: {}", describe(ended));
            self.shared.enter(State::Stopped, None, &detail);
        }
    }

    /// Has whoever runs it do it, and waits until that shows.
    fn foreign(&mut self, operation: ServiceOperation) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let Some(foreign) = &shared.foreign else {
            return Err("the host runs it itself".to_owned());
        };
        let timeout = shared.config.start_timeout;
        if operation != ServiceOperation::Reload {
            shared.enter(State::Starting, None, operation.name());
        }
        self.started = Instant::now();
        let deadline = self.started + timeout;
        if let Err(detail) = foreign.operate(operation, &shared.ground(timeout)) {
            shared.enter(State::Failed, None, &detail);
            return Err(detail);
        }
        loop {
            let seen = foreign.look(&shared.ground(timeout));
            let answer = match (operation, seen) {
                (ServiceOperation::Stop, Seen::Down(seen) | Seen::Broken(seen)) => {
                    shared.enter(State::Stopped, None, &seen);
                    return Ok(());
                }
                (ServiceOperation::Stop, Seen::Unknown) => {
                    shared.enter(State::Stopped, None, "stopped");
                    return Ok(());
                }
                (ServiceOperation::Stop, Seen::Up(_, seen) | Seen::Coming(seen)) => Err(seen),
                (_, Seen::Down(seen) | Seen::Broken(seen) | Seen::Coming(seen)) => Err(seen),
                (_, Seen::Up(pid, seen)) => self.ready_foreign().map(|_| (pid, seen)),
                (_, Seen::Unknown) => self.ready_foreign().map(|seen| (None, seen)),
            };
            match answer {
                Ok((pid, seen)) => {
                    shared.enter(State::Running, pid, &seen);
                    return Ok(());
                }
                Err(seen) if Instant::now() >= deadline || self.is_closing() => {
                    shared.enter(State::Failed, None, &seen);
                    return Err(seen);
                }
                Err(_) => std::thread::sleep(READY_EVERY),
            }
        }
    }

    fn ready_foreign(&self) -> Result<String, String> {
        let shared = &self.shared;
        let timeout = shared.config.start_timeout;
        if let Some(ready) = &shared.config.ready {
            health::came_up(ready, &shared.log, 0, timeout)?;
        }
        shared.ask(timeout)
    }

    fn tick_foreign(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(foreign) = &shared.foreign else {
            return;
        };
        if Instant::now() < self.next_health || self.again.is_some() {
            return;
        }
        self.next_health = Instant::now() + HEALTH_EVERY;
        let now = shared.standing().state;
        let supervised = foreign.is_supervised() || !foreign.is_startable();
        match foreign.look(&shared.ground(HEALTH_EVERY)) {
            Seen::Up(pid, seen) => {
                if now != State::Running || shared.standing().pid != pid {
                    shared.enter(State::Running, pid, &seen);
                }
                let _ = shared.ask(HEALTH_EVERY);
            }
            Seen::Unknown => {
                if now == State::Running {
                    let _ = shared.ask(HEALTH_EVERY);
                }
            }
            Seen::Coming(seen) => shared.enter(State::Starting, None, &seen),
            Seen::Down(seen) | Seen::Broken(seen) if now == State::Running && !supervised => {
                self.crashed(seen, false);
            }
            Seen::Down(seen) if now != State::Failed => {
                shared.enter(State::Stopped, None, &seen);
            }
            Seen::Broken(seen) => shared.enter(State::Failed, None, &seen),
            Seen::Down(_) => {}
        }
    }
}

/// Whoever answers in the place of a service that does not run.
fn somebody_else(shared: &Shared) -> Option<String> {
    let port = shared.config.ready.as_ref().and_then(|ready| match ready {
        Ready::Port(_) => health::came_up(ready, &shared.log, 0, SETTLED).ok(),
        Ready::Log(_) => None,
    });
    port.or_else(|| match &shared.config.health {
        Some(health @ (Health::Http { .. } | Health::Tcp { .. })) => {
            health::check(health, &shared.surroundings(), SETTLED).ok()
        }
        Some(Health::Command { .. }) | None => None,
    })
}

/// What its process is started with.
pub(crate) fn spec_of(shared: &Shared) -> ManagedSpec {
    let config = &shared.config;
    ManagedSpec {
        argv: ManagedSpec::shell(&config.command),
        directory: shared.directory.clone(),
        environment: shared.environment.clone(),
        log_file: shared.log.path().to_owned(),
        grace: config.stop_grace,
        stop_signal: signal_number(&config.stop_signal).unwrap_or(libc::SIGTERM),
        orphan: Some(config.orphan).filter(|orphan| !orphan.is_zero()),
        record: Some(shared.record.clone()),
    }
}

pub(crate) fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exited with {code}"),
        Ended::Signal(signal) => format!("was killed by signal {signal}"),
        Ended::TimedOut => "did not end in time".to_owned(),
        Ended::Cancelled => "was cancelled".to_owned(),
    }
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
