//! Where work happens: threads take issues from a queue (`queue`) and walk each
//! from room to room until it rests. No issue is walked by two of them.
//!
//! The walk is driven by the recorded phase alone, so a restart goes on exactly
//! where the log says the host had come to. What an issue holds while its patch is in
//! the live tree follows from its phase as well.

use crate::facts::{Outcomes, Past};
use crate::feed::Feed;
use crate::queue::{Claim, Job, Queue, Worker};
use crate::rooms::{Moves, Rooms, Step};
use crate::settings::Settings;
use selfheal_domain::event::{Approval, Event, EventKind};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::{Ledger, RecordError, Seen};
use selfheal_domain::ports::{CancelToken, StoreError};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::state::{IllegalTransition, Phase};
use selfheal_domain::user::Actor;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use crate::rooms::Doors;

/// How long [`Healer::abort`] waits for the work to stop before it answers.
const ABORT_PATIENCE: Duration = Duration::from_secs(20);
/// How often one walk looks again after somebody else moved its issue.
const MOST_OVERTAKEN: u32 = 8;

/// An error with all its causes, for records and logs.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[derive(Default)]
struct State {
    queue: Queue,
    tokens: HashMap<IssueNumber, CancelToken>,
    aborts: HashMap<IssueNumber, (Actor, String)>,
    closed: bool,
}

/// The queue of work, and the walk.
pub struct Healer {
    rooms: Rooms,
    state: Mutex<State>,
    changed: Condvar,
}

impl Healer {
    /// A healer that works through `doors`. Nothing starts before [`Healer::start`].
    pub fn new(
        ledger: Arc<Ledger>,
        feed: Arc<Feed>,
        settings: Arc<Settings>,
        doors: Doors,
    ) -> Self {
        Self {
            rooms: Rooms {
                ledger,
                feed,
                settings,
                doors,
                log_marks: Mutex::default(),
                known: Mutex::default(),
                outcomes: Outcomes::default(),
                moves: Moves::default(),
                alarmed: AtomicBool::new(false),
            },
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The ledger everything is recorded in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.rooms.ledger
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.rooms.settings
    }

    /// What became of earlier runs about `service`; about anything where none is known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn past(&self, service: Option<&str>) -> Result<Past, StoreError> {
        self.rooms.outcomes.past(&self.rooms.ledger, service)
    }

    /// The autonomy level in force: as last set, never above the ceiling.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn level(&self) -> Result<AutonomyLevel, StoreError> {
        self.rooms.level()
    }

    /// Takes up what was under way when the host last stopped, then works in threads of
    /// its own until [`Healer::close`]: as many as agents may be at work at once, and one
    /// that only applies, verifies and undoes. The thread that is returned ends with the
    /// last of them.
    ///
    /// # Errors
    /// The store cannot be read, or a thread not started.
    pub fn start(
        self: &Arc<Self>,
    ) -> Result<std::thread::JoinHandle<()>, Box<dyn std::error::Error + Send + Sync>> {
        self.resume()?;
        let agents = (0..self.rooms.settings.concurrency.get()).map(|_| Worker::Any);
        let mut threads = Vec::new();
        for worker in agents.chain([Worker::Closer]) {
            let healer = Arc::clone(self);
            let started = std::thread::Builder::new()
                .name("healer".to_owned())
                .spawn(move || healer.work(worker));
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.close();
                    return Err(error.into());
                }
            }
        }
        Ok(std::thread::Builder::new()
            .name("healers".to_owned())
            .spawn(move || {
                let ends = threads.into_iter().map(std::thread::JoinHandle::join);
                if let Some(Err(panic)) = ends.reduce(Result::and) {
                    std::panic::resume_unwind(panic);
                }
            })?)
    }

    /// Queues every issue that has work to do.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn resume(&self) -> Result<(), StoreError> {
        for number in self.rooms.ledger.store().active_issues()? {
            self.enqueue(number);
        }
        Ok(())
    }

    /// Puts an issue into the queue; does nothing if it is there.
    pub fn enqueue(&self, number: IssueNumber) {
        let job = match self.issue(number) {
            Ok(issue) => self.job(&issue),
            Err(error) => {
                // The walk finds out what is wrong, and says so.
                tracing::warn!(issue = number.0, error = chain(&error), "queued unread");
                Job::Automatic
            }
        };
        self.lock().queue.put(number, job);
        self.changed.notify_all();
    }

    /// What comes next for an issue, by its record alone.
    fn job(&self, issue: &Issue) -> Job {
        if let Some(claim) = self.held(issue) {
            return Job::Close(claim);
        }
        if issue.phase == Phase::Cleared {
            return Job::Apply(self.rooms.claim(issue));
        }
        match issue.approval {
            Some(Approval::Admin { .. }) => Job::Approved,
            Some(Approval::Module { .. }) | None => Job::Automatic,
        }
    }

    /// What an issue holds by its record: it is between the intent to apply and the end
    /// of verification or undoing. One that waits for people holds nothing.
    fn held(&self, issue: &Issue) -> Option<Claim> {
        let undone = matches!(issue.phase, Phase::RolledBack | Phase::AbortRolledBack);
        let holds = undone || issue.phase.may_have_touched_live_tree();
        (holds && issue.phase.is_active()).then(|| self.rooms.claim(issue))
    }

    /// Stops working; what is under way is cancelled and taken up at the next start.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for token in state.tokens.values() {
            token.cancel();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Aborts an issue: at once where nothing is under way, else by stopping the
    /// work and waiting up to 20 s for it to be undone. With `seen` only if it is as it
    /// was seen.
    ///
    /// # Errors
    /// [`RecordError::Stale`] when it is not; [`RecordError::Illegal`] when it already rests for good.
    pub fn abort(
        &self,
        number: IssueNumber,
        actor: Actor,
        reason: String,
        seen: Option<&Seen>,
    ) -> Result<Issue, RecordError> {
        let mut state = self.lock();
        if let Some(token) = state.tokens.get(&number).cloned() {
            self.rooms.ledger.while_seen(number, seen, || {
                state.aborts.insert(number, (actor, reason));
                token.cancel();
            })?;
            drop(state);
        } else {
            // Nobody works on it while the queue is locked, so the abort is on record
            // before this answers, and outlives the host.
            let ledger = &self.rooms.ledger;
            let issue = self.issue(number)?;
            match issue.phase {
                Phase::Aborting | Phase::AbortRolledBack => {
                    ledger.while_seen(number, seen, || ())?;
                }
                Phase::RolledBack => {
                    ledger.while_seen(number, seen, || {
                        state.aborts.insert(number, (actor, reason));
                    })?;
                }
                phase if phase.may_have_touched_live_tree() => {
                    // The walk takes out a permit of its own when it gets there.
                    let intent = Event::AbortStarted { reason };
                    ledger.record_seen(number, actor, seen, |_| Ok(intent))?;
                }
                _ => {
                    let aborted = Event::IssueAborted { reason };
                    let (aborted, _) = ledger.record_seen(number, actor, seen, |_| Ok(aborted))?;
                    // Whoever waited behind it may go on.
                    state.queue.withdraw(number);
                    drop(state);
                    self.changed.notify_all();
                    return Ok(aborted);
                }
            }
            // Undoing comes before whatever else waits.
            state
                .queue
                .put(number, Job::Close(self.rooms.claim(&issue)));
            drop(state);
            self.changed.notify_all();
        }
        let issue = self.await_rest(number)?;
        match issue.phase {
            // The work ended by itself in the moment of the abort.
            phase @ (Phase::Resolved | Phase::Rejected | Phase::Escalated) => {
                let event = EventKind::IssueAborted;
                Err(RecordError::Illegal(IllegalTransition { phase, event }))
            }
            _ => Ok(issue),
        }
    }

    /// Waits until nothing is under way and nothing waits, at most for `patience`;
    /// whether it came to that.
    pub fn wait_until_idle(&self, patience: Duration) -> bool {
        self.wait_until(patience, |state| state.queue.is_idle())
    }

    fn await_rest(&self, number: IssueNumber) -> Result<Issue, RecordError> {
        self.wait_until(ABORT_PATIENCE, |state| {
            state.closed || !state.queue.knows(number)
        });
        self.issue(number)
    }

    fn wait_until(&self, patience: Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !is_so(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |pair| pair.0);
        }
        true
    }

    fn issue(&self, number: IssueNumber) -> Result<Issue, RecordError> {
        self.rooms
            .ledger
            .store()
            .issue(number)?
            .ok_or(RecordError::NoSuchIssue(number))
    }

    fn work(&self, worker: Worker) {
        while let Some((number, cancel)) = self.take(worker) {
            let walked = self.walk(number, &cancel);
            // Read before anybody else may take it.
            let issue = self.issue(number);
            let mut state = self.lock();
            state.tokens.remove(&number);
            match &issue {
                Ok(issue) => state.queue.done(number, self.held(issue)),
                // Nobody knows what it holds: what it held.
                Err(_) => state.queue.leave(number),
            }
            if let Err(error) = walked {
                state.aborts.remove(&number);
                tracing::error!(
                    issue = number.0,
                    error = chain(&error),
                    "an issue could not be worked on"
                );
            } else if state.aborts.contains_key(&number) && !state.closed {
                // It came to rest in the moment in which somebody aborted it: that waits for
                // nobody's files, and for no agent's end.
                let job = issue.map_or(Job::Automatic, |issue| {
                    Job::Close(self.held(&issue).unwrap_or_default())
                });
                state.queue.put(number, job);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn take(&self, worker: Worker) -> Option<(IssueNumber, CancelToken)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(number) = state.queue.take(worker) {
                let token = CancelToken::default();
                state.tokens.insert(number, token.clone());
                return Some((number, token));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the issue may go on to apply its patch now. If not, it waits in the queue
    /// and is walked again when what it needs is free.
    fn may_apply(&self, issue: &Issue) -> bool {
        let claim = self.rooms.claim(issue);
        let mut state = self.lock();
        if state.queue.hold(issue.number, &claim) {
            return true;
        }
        let other = state.queue.in_the_way(issue.number, &claim);
        state.queue.put(issue.number, Job::Apply(claim));
        drop(state);
        let whom = other.map_or("others that came first".to_owned(), |other| {
            format!("issue {other}, which changes the same files or service")
        });
        self.rooms.note(issue, &format!("waiting for {whom}"));
        false
    }

    /// From room to room until the issue rests.
    fn walk(&self, number: IssueNumber, cancel: &CancelToken) -> Result<(), RecordError> {
        // Agents whose host died in the middle of their work start over.
        let issue = self.issue(number)?;
        if matches!(issue.phase, Phase::Diagnosing | Phase::Drafting) {
            self.rooms
                .ledger
                .record(number, Actor::Host, Event::RunInterrupted)?;
        }
        let mut overtaken = 0;
        loop {
            let issue = self.issue(number)?;
            // Taken out at once: an abort is tried one time, and goes on by phase then.
            let (abort, closed) = {
                let mut state = self.lock();
                (state.aborts.remove(&number), state.closed)
            };
            let walked = match &abort {
                Some((actor, reason)) => self.rooms.abort(&issue, actor.clone(), reason.clone()),
                None if closed || !issue.phase.is_active() => Ok(Step::Rest),
                None if cancel.is_cancelled() => {
                    // Stopped for an abort that is done; what is left has a fresh start.
                    self.enqueue(number);
                    Ok(Step::Rest)
                }
                None if issue.phase == Phase::Cleared && !self.may_apply(&issue) => Ok(Step::Rest),
                None => self.rooms.step(&issue, cancel),
            };
            let version = self.issue(number)?.version;
            match walked {
                Ok(Step::Rest) => return Ok(()),
                Ok(Step::On)
                    if version == issue.version
                        && !self.is_told(number)
                        && !cancel.is_cancelled() =>
                {
                    tracing::error!(
                        issue = number.0,
                        phase = ?issue.phase,
                        "a room did nothing; the issue rests until the next start"
                    );
                    return Ok(());
                }
                Ok(Step::On) => {}
                // Somebody else moved the issue while the room was at work: look again.
                Err(RecordError::Illegal(_) | RecordError::Condition(_))
                    if version != issue.version && overtaken < MOST_OVERTAKEN =>
                {
                    overtaken += 1;
                    if let Some(abort) = abort {
                        self.lock().aborts.entry(number).or_insert(abort);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The walk of this issue has something to hear: an abort, or the end.
    fn is_told(&self, number: IssueNumber) -> bool {
        let state = self.lock();
        state.closed || state.aborts.contains_key(&number)
    }

    /// Stops every agent at work, because healing is frozen. What touched the live
    /// tree goes on until it is verified or undone.
    pub(crate) fn stop_agents(&self) {
        let state = self.lock();
        for (number, token) in &state.tokens {
            let touched = self
                .issue(*number)
                .is_ok_and(|issue| issue.phase.may_have_touched_live_tree());
            if !touched {
                token.cancel();
            }
        }
    }

    /// From now on (or no longer) frozen by an alarm, whatever the record says.
    pub(crate) fn set_alarm(&self, on: bool) {
        self.rooms.alarmed.store(on, Ordering::SeqCst);
        if on {
            self.stop_agents();
        }
    }

    /// An enforcement point failed its proof, and nobody lifted the freeze since.
    pub(crate) fn alarmed(&self) -> bool {
        self.rooms.alarmed.load(Ordering::SeqCst)
    }

    /// The doors that the rooms work through.
    pub(crate) fn doors(&self) -> &Doors {
        &self.rooms.doors
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
