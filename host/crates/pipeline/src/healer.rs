//! Where work happens: one thread takes issues from a queue and walks each from
//! room to room until it rests.
//!
//! The walk is driven by the recorded phase alone, so a restart goes on exactly
//! where the log says the host had come to.

use crate::feed::Feed;
use crate::rooms::{Rooms, Step};
use crate::settings::Settings;
use selfheal_domain::event::{Event, EventKind};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::{Ledger, RecordError};
use selfheal_domain::ports::{CancelToken, StoreError};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::state::{IllegalTransition, Phase};
use selfheal_domain::user::Actor;
use std::collections::{HashMap, VecDeque};
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
struct Queue {
    waiting: VecDeque<IssueNumber>,
    working: HashMap<IssueNumber, CancelToken>,
    aborts: HashMap<IssueNumber, (Actor, String)>,
    closed: bool,
}

/// The queue of work, and the walk.
pub struct Healer {
    rooms: Rooms,
    queue: Mutex<Queue>,
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
                alarmed: AtomicBool::new(false),
            },
            queue: Mutex::default(),
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

    /// The autonomy level in force: as last set, never above the ceiling.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn level(&self) -> Result<AutonomyLevel, StoreError> {
        self.rooms.level()
    }

    /// Takes up what was under way when the host last stopped, then works in a
    /// thread of its own until [`Healer::close`].
    ///
    /// # Errors
    /// The store cannot be read, or the thread not started.
    pub fn start(
        self: &Arc<Self>,
    ) -> Result<std::thread::JoinHandle<()>, Box<dyn std::error::Error + Send + Sync>> {
        self.resume()?;
        let healer = Arc::clone(self);
        Ok(std::thread::Builder::new()
            .name("healer".to_owned())
            .spawn(move || healer.work())?)
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
        let mut queue = self.lock();
        if !queue.waiting.contains(&number) {
            queue.waiting.push_back(number);
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Stops working; what is under way is cancelled and taken up at the next start.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        for token in queue.working.values() {
            token.cancel();
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Aborts an issue: at once where nothing is under way, else by stopping the
    /// work and waiting up to 20 s for it to be undone.
    ///
    /// # Errors
    /// [`RecordError::Illegal`] when it already rests for good.
    pub fn abort(
        &self,
        number: IssueNumber,
        actor: Actor,
        reason: String,
    ) -> Result<Issue, RecordError> {
        let mut queue = self.lock();
        if let Some(token) = queue.working.get(&number).cloned() {
            queue.aborts.insert(number, (actor, reason));
            token.cancel();
            drop(queue);
        } else {
            // Nobody works on it while the queue is locked, so the abort is on record
            // before this answers, and outlives the host.
            let ledger = &self.rooms.ledger;
            match self.issue(number)?.phase {
                Phase::Aborting | Phase::AbortRolledBack => {}
                Phase::RolledBack => {
                    queue.aborts.insert(number, (actor, reason));
                }
                phase if phase.may_have_touched_live_tree() => {
                    let (_, intent) = ledger.begin_abort(number, actor, reason)?;
                    // The walk takes out a permit of its own when it gets there.
                    drop(intent);
                }
                _ => return ledger.record(number, actor, Event::IssueAborted { reason }),
            }
            // Undoing comes before whatever else waits.
            queue.waiting.retain(|waiting| *waiting != number);
            queue.waiting.push_front(number);
            drop(queue);
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
        let deadline = Instant::now() + patience;
        let mut queue = self.lock();
        while !queue.working.is_empty() || !queue.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self
                .changed
                .wait_timeout(queue, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |pair| pair.0);
        }
        true
    }

    fn await_rest(&self, number: IssueNumber) -> Result<Issue, RecordError> {
        let deadline = Instant::now() + ABORT_PATIENCE;
        let mut queue = self.lock();
        while (queue.working.contains_key(&number) || queue.waiting.contains(&number))
            && !queue.closed
        {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self
                .changed
                .wait_timeout(queue, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |pair| pair.0);
        }
        drop(queue);
        self.issue(number)
    }

    fn issue(&self, number: IssueNumber) -> Result<Issue, RecordError> {
        self.rooms
            .ledger
            .store()
            .issue(number)?
            .ok_or(RecordError::NoSuchIssue(number))
    }

    fn work(&self) {
        while let Some((number, cancel)) = self.take() {
            let walked = self.walk(number, &cancel);
            let mut queue = self.lock();
            queue.working.remove(&number);
            if let Err(error) = walked {
                queue.aborts.remove(&number);
                tracing::error!(
                    issue = number.0,
                    error = chain(&error),
                    "an issue could not be worked on"
                );
            } else if queue.aborts.contains_key(&number) && !queue.closed {
                // It came to rest in the moment in which somebody aborted it.
                queue.waiting.push_front(number);
            }
            drop(queue);
            self.changed.notify_all();
        }
    }

    fn take(&self) -> Option<(IssueNumber, CancelToken)> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(number) = queue.waiting.pop_front() {
                let token = CancelToken::default();
                queue.working.insert(number, token.clone());
                return Some((number, token));
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
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
                let mut queue = self.lock();
                (queue.aborts.remove(&number), queue.closed)
            };
            let walked = match &abort {
                Some((actor, reason)) => self.rooms.abort(&issue, actor.clone(), reason.clone()),
                None if closed || !issue.phase.is_active() => Ok(Step::Rest),
                None if cancel.is_cancelled() => {
                    // Stopped for an abort that is done; what is left has a fresh start.
                    self.enqueue(number);
                    Ok(Step::Rest)
                }
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
        let queue = self.lock();
        queue.closed || queue.aborts.contains_key(&number)
    }

    /// Freezes healing: on record first, then every agent is stopped.
    pub(crate) fn set_frozen_by(&self, actor: Actor, reason: String) -> Result<(), RecordError> {
        let frozen = Event::FreezeChanged {
            frozen: true,
            reason,
        };
        self.rooms.ledger.record_host(actor, frozen)?;
        self.stop_agents();
        Ok(())
    }

    /// Stops every agent at work, because healing is frozen. What touched the live
    /// tree goes on until it is verified or undone.
    pub(crate) fn stop_agents(&self) {
        let queue = self.lock();
        for (number, token) in &queue.working {
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

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
