//! Contained processes that stay, and the cancellation of everything contained.

use crate::broker::shorten;
use crate::contained::Stay;
use crate::workbench::Bench;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::ids::DecisionId;
use selfheal_domain::ports::{CancelToken, ToolSessionSpec};
use selfheal_domain::tools::{SessionError, ToolSession};
use selfheal_sandbox::Session;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How soon after an abort everything contained is killed.
const LATENCY: Duration = Duration::from_millis(25);

/// Carries an abort of the run over to the sandbox, which kills at once. The
/// run's token can only be looked at, so somebody has to look.
pub(crate) struct Lifeline {
    run: CancelToken,
    sandbox: selfheal_sandbox::CancelToken,
    watcher: OnceLock<()>,
    over: Arc<(Mutex<bool>, Condvar)>,
}

impl Lifeline {
    pub(crate) fn new(run: CancelToken) -> Self {
        Self {
            run,
            sandbox: selfheal_sandbox::CancelToken::new(),
            watcher: OnceLock::new(),
            over: Arc::default(),
        }
    }

    /// The token to start processes under; watched from the first one on.
    pub(crate) fn token(&self) -> &selfheal_sandbox::CancelToken {
        self.watcher.get_or_init(|| {
            let (run, sandbox) = (self.run.clone(), self.sandbox.clone());
            let over = Arc::clone(&self.over);
            std::thread::spawn(move || {
                let (flag, changed) = &*over;
                let mut ended = flag.lock().unwrap_or_else(PoisonError::into_inner);
                while !*ended {
                    if run.is_cancelled() {
                        sandbox.cancel();
                        return;
                    }
                    ended = changed
                        .wait_timeout(ended, LATENCY)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            });
        });
        if self.run.is_cancelled() {
            self.sandbox.cancel();
        }
        &self.sandbox
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let (flag, changed) = &*self.over;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

/// A session whose end is recorded as the outcome of the call that started it.
pub(crate) struct RecordedSession {
    process: Option<Session>,
    // Of a contained agent that keeps what it writes.
    stay: Option<Stay>,
    // Keeps the watcher alive as long as there is something to kill.
    _lifeline: Arc<Lifeline>,
    bench: Arc<Bench>,
    spec: ToolSessionSpec,
    decision: DecisionId,
    sent: u64,
    received: u64,
    last: Option<SessionError>,
}

impl RecordedSession {
    pub(crate) fn new(
        process: Session,
        stay: Option<Stay>,
        lifeline: Arc<Lifeline>,
        bench: Arc<Bench>,
        spec: ToolSessionSpec,
        decision: DecisionId,
    ) -> Self {
        Self {
            process: Some(process),
            stay,
            _lifeline: lifeline,
            bench,
            spec,
            decision,
            sent: 0,
            received: 0,
            last: None,
        }
    }

    fn noted<T>(&mut self, result: Result<T, SessionError>) -> Result<T, SessionError> {
        self.last = result.as_ref().err().cloned();
        result
    }
}

impl ToolSession for RecordedSession {
    fn send(&mut self, line: &str) -> Result<(), SessionError> {
        let result = match &mut self.process {
            // The supervisor kills a cancelled process a moment later; until then
            // it must not be given more to do.
            Some(_) if self.spec.cancel.is_cancelled() => Err(SessionError::Cancelled),
            Some(process) => process.send(line),
            None => Err(SessionError::Gone),
        };
        self.sent += u64::from(result.is_ok());
        self.noted(result)
    }

    fn receive(&mut self, timeout: Duration) -> Result<String, SessionError> {
        let result = match &mut self.process {
            Some(_) if self.spec.cancel.is_cancelled() => Err(SessionError::Cancelled),
            Some(process) => process.receive(timeout),
            None => Err(SessionError::Gone),
        };
        self.received += u64::from(result.is_ok());
        let masked = result.map(|line| self.bench.masker.for_agent(&line));
        self.noted(masked)
    }

    fn stderr_tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, |process| {
            self.bench.masker.for_agent(&process.stderr_tail())
        })
    }
}

impl Drop for RecordedSession {
    fn drop(&mut self) {
        let stderr = self.stderr_tail();
        // Killed before its end is recorded.
        drop(self.process.take());
        let mut text = format!(
            "session: {} lines sent, {} received",
            self.sent, self.received
        );
        if let Some(stay) = self.stay.take() {
            text.push_str(&stay.end());
        }
        let gone = self.last == Some(SessionError::Gone);
        if gone && !stderr.trim().is_empty() {
            text.push_str("; the process ended by itself: ");
            text.push_str(stderr.trim());
        }
        let text = shorten(&self.bench.masker.for_record(&text), 2 * 1024);
        let outcome = match self.last {
            Some(SessionError::Gone) => ToolOutcome::Failed(text),
            _ => ToolOutcome::Succeeded(text),
        };
        let event = Event::ToolFinished {
            decision: self.decision,
            outcome,
        };
        if let Err(error) = self.spec.recorder.record(&self.spec.actor, event) {
            // The intent is on record; a call without an outcome counts as unknown.
            tracing::error!(%error, "the end of a session could not be recorded");
        }
    }
}
