//! The keeper's own thread: watches `policy.toml`, looks at recorded decisions, ends
//! what is over, takes back what misbehaves.
//!
//! The file is polled, not subscribed to: four times a second, by its metadata, and
//! read only when that changed. Notifications do not cross bind mounts, network and
//! overlay file systems, which is where containers keep it; a poll sees an atomic
//! rename like any other change. It is looked at once it stayed the same for a poll.

use super::change::{FileDuty, Order};
use super::{PolicyKeeper, lock};
use crate::files;
use crate::replay::Recorded;
use crate::trial::look;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::policy_control::{ChangeSource, Rollout};
use selfheal_domain::user::Actor;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError};
use std::time::{Duration, Instant};

/// Between two looks at the file.
const POLL: Duration = Duration::from_millis(250);

/// What tells two states of a file apart without reading it.
type Mark = Option<(u64, u64, u64, i64, i64)>;

fn mark(path: &Path) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

impl PolicyKeeper {
    /// Starts the keeper's thread. Once.
    ///
    /// # Errors
    /// The thread cannot be started, or was started before.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let inbox = lock(&self.inbox).take();
        let inbox = inbox.ok_or_else(|| io::Error::other("the keeper was started before"))?;
        let keeper = Arc::clone(self);
        let worker = std::thread::Builder::new()
            .name("policy-keeper".to_owned())
            .spawn(move || keeper.run(&inbox))?;
        *lock(&self.worker) = Some(worker);
        Ok(())
    }

    /// Ends the keeper's thread and waits for it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(worker) = lock(&self.worker).take()
            && worker.join().is_err()
        {
            tracing::error!("the policy keeper panicked");
        }
    }

    /// Hands a record over that is durable. Costs a moment; what finds no place in the
    /// queue is not looked at.
    pub fn observe(&self, record: &Arc<Record>) {
        let wanted = matches!(
            record.event,
            Event::ToolCalled(_)
                | Event::PatchDrafted { .. }
                | Event::RiskAssessed(_)
                | Event::AutonomyDecided(_)
                | Event::IssueApproved(_)
        );
        if wanted && let Err(TrySendError::Full(_)) = self.records.try_send(Arc::clone(record)) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that were not looked at, because more came than could be.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    fn run(&self, inbox: &Receiver<Arc<Record>>) {
        let mut seen = mark(&self.places.policy_file);
        // It may have been edited since the host read it.
        let mut settled = false;
        let mut next = Instant::now() + POLL;
        while !self.closed.load(Ordering::SeqCst) {
            let wait = next.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(record) => self.look_at(&record),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + POLL;
            let now = mark(&self.places.policy_file);
            if now != seen {
                seen = now;
                settled = false;
            } else if !settled {
                settled = true;
                self.look_at_file();
            }
            self.tick();
        }
    }

    /// What has to be done now and then.
    pub(super) fn tick(&self) {
        self.note_quarantines();
        self.end_old_grants();
        let now = self.clock.now();
        let mut state = self.state();
        if state
            .watched
            .as_ref()
            .is_some_and(|watched| watched.until <= now)
        {
            state.watched = None;
        }
        // Dropping a generation frees its modules; never while somebody decides by it.
        let (free, held): (Vec<_>, Vec<_>) = std::mem::take(&mut state.retired)
            .into_iter()
            .partition(|set| Arc::strong_count(set) == 1);
        state.retired = held;
        drop(state);
        drop(free);
    }

    /// What a recorded decision says about grants, trials and new generations.
    pub(super) fn look_at(&self, record: &Arc<Record>) {
        let generation = match &record.event {
            Event::ToolCalled(call) => {
                self.count_grants(record, &call.judgement);
                if call.facts.bears_marker() {
                    return;
                }
                call.judgement.generation
            }
            Event::PatchDrafted { judgement, .. } => {
                self.count_grants(record, judgement);
                judgement.generation
            }
            Event::RiskAssessed(assessment) => assessment.generation,
            Event::AutonomyDecided(decision) => decision.generation,
            Event::IssueApproved(_) => 0,
            _ => return,
        };
        let trial = {
            let mut state = self.state();
            let state = &mut *state;
            let mut wanted = None;
            if let Some(trial) = &mut state.trial {
                let its = trial.set.generation == generation;
                if its {
                    trial.conduct.count(record);
                }
                if its || trial.rollout == Rollout::Shadow {
                    wanted = Some((Arc::clone(&trial.set.core), trial.set.generation));
                }
            }
            if state.in_force.kept.generation == generation {
                state.conduct.count(record);
            }
            if let Some(watched) = &mut state.watched
                && watched.generation == generation
            {
                watched.conduct.count(record);
            }
            wanted
        };
        if let Some((core, number)) = trial {
            let active = Arc::clone(&self.host.active().core);
            let seen = Recorded::of(Record::clone(record))
                .and_then(|recorded| look(&recorded, (&core, number), &active));
            let mut state = self.state();
            if let (Some(trial), Some(seen)) = (&mut state.trial, seen)
                && trial.set.generation == number
            {
                trial.learn(seen);
            }
        }
        self.take_back();
    }

    /// Takes back what misbehaves.
    fn take_back(&self) {
        let (trial, watched) = {
            let state = self.state();
            let rules = &state.in_force.config.rollout;
            let usual = state.conduct.refused_percent(rules.min_decisions);
            let canary = state
                .trial
                .as_ref()
                .filter(|trial| trial.rollout != Rollout::Shadow);
            let trial = canary.and_then(|trial| {
                let why = trial.conduct.verdict(rules, usual)?;
                Some((trial.set.generation, why))
            });
            let watched = state.watched.as_ref().and_then(|watched| {
                let why = watched.conduct.verdict(rules, watched.usual)?;
                Some((watched.generation, why))
            });
            (trial, watched)
        };
        if let Some((generation, why)) = trial {
            self.end_bad_trial(generation, &why);
        }
        if let Some((generation, why)) = watched {
            self.return_from(generation, &why);
        }
    }

    fn end_bad_trial(&self, generation: u64, why: &str) {
        let _changing = self.changing.take();
        let state = self.state();
        let still = state
            .trial
            .as_ref()
            .is_some_and(|trial| trial.set.generation == generation);
        drop(state);
        if !still {
            return;
        }
        tracing::error!(generation, why, "a canary is taken back");
        let order = Order {
            source: ChangeSource::Return,
            by: Actor::Host,
            confirmed_by: None,
            reason: format!("generation {generation} was on trial and is taken back: {why}"),
        };
        if let Err(error) = self.drop_trial(&order) {
            tracing::error!(%error, "a canary could not be taken back");
        }
    }

    /// Back to the generation before, which was good and approved.
    fn return_from(&self, generation: u64, why: &str) {
        let _changing = self.changing.take();
        let (previous, bad) = {
            let mut state = self.state();
            let Some(watched) = state
                .watched
                .take_if(|watched| watched.generation == generation)
            else {
                return;
            };
            (watched.previous, state.in_force.kept.clone())
        };
        tracing::error!(generation, why, "the new policies are taken back");
        let order = Order {
            source: ChangeSource::Return,
            by: Actor::Host,
            confirmed_by: None,
            reason: format!(
                "generation {generation} is taken back to the set of generation {}: {why}",
                previous.generation
            ),
        };
        // What an admin wrote into the file since stays there, and waits.
        let found = files::read_text(&self.places.policy_file).ok();
        let ours = found.as_deref() == Some(bad.text.as_str());
        let duty = if ours {
            FileDuty::Write
        } else {
            FileDuty::Leave
        };
        let ready = self.read(previous.text.clone(), Some(previous.generation));
        let planned = ready.and_then(|ready| self.planned(ready, Some(previous.generation), 0));
        let done = planned.and_then(|planned| self.commit(planned, &order, duty, None));
        match done {
            Ok(_) if ours => {}
            Ok(_) => {
                let mut state = self.state();
                state.not_in_force = Some(format!("it was taken back: {why}"));
                state.file_seen = found.map(|text| Digest::of(text.as_bytes()));
            }
            Err(error) => {
                tracing::error!(%error, "the new policies misbehave and could not be taken back");
                let refused = Event::PolicyRefused {
                    source: ChangeSource::Return,
                    reason: format!("{}; but that failed: {error}", order.reason),
                };
                self.note(&Actor::Host, refused);
            }
        }
    }
}
