//! Changes the policies of a running host, and remembers them over restarts.
//!
//! - Every change is prepared, compared, recorded and kept before it comes into
//!   force, which is one pointer store. What fails on the way changes nothing.
//! - `policy.toml` is the one truth: a change that comes by another way is written
//!   there; an edit that cannot be used is refused and the last good generation stays.
//! - Under `four_eyes` one person's word can tighten, not loosen; meanwhile the
//!   stricter of both is in force.
//! - A module, a trial or a new generation that misbehaves is taken back by itself.
//!
//! One lock serialises changes and may be held for seconds; the state behind the
//! other is touched for moments only. Decisions take neither.

mod change;
mod control;
mod grant;
mod observed;
mod proposal;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod turns;
mod watch;

use crate::config::PolicyConfig;
use crate::files::FileProblem;
use crate::generations::Generations;
use crate::host::WasmPolicyHost;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::policy_control::{EnforcementStatus, PolicyRefusal};
use selfheal_domain::ports::{Clock, EventStore};
use selfheal_domain::user::Actor;
use state::State;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use turns::Turns;

/// Where policies live.
#[derive(Clone, Debug)]
pub struct KeeperPlaces {
    /// `policy.toml`.
    pub policy_file: PathBuf,
    /// The host's data directory.
    pub data: PathBuf,
}

/// Records an event durably, or says why not.
pub type RecordEvent = Box<dyn Fn(Actor, Event) -> Result<(), String> + Send + Sync>;

/// Asked whether the rest of the host can go by a policy, before anything is changed.
/// Gives what makes it do so, or why it cannot: then that policy is refused.
pub type FollowPolicy = Box<dyn Fn(&PolicyConfig) -> Result<Following, String> + Send + Sync>;

/// Makes the rest of the host go by a policy. Must not change policies itself.
pub type Following = Box<dyn FnOnce() + Send>;

/// The host cannot start: no policy can be brought into force.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither the file nor anything kept can be used.
    #[error("{file}; and no earlier generation is kept that could be used instead")]
    NothingUsable {
        /// What is wrong with the file.
        file: String,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] FileProblem),
    /// The modules of earlier generations cannot be used.
    #[error("the kept policy modules cannot be used: {0}")]
    Modules(String),
}

/// What the keeper gets once there is a log.
struct Attached {
    store: Arc<dyn EventStore>,
    record: RecordEvent,
}

/// Keeps the policies of a host. See the module's description.
pub struct PolicyKeeper {
    host: Arc<WasmPolicyHost>,
    places: KeeperPlaces,
    clock: Arc<dyn Clock>,
    generations: Generations,
    /// Held during a change.
    changing: Turns,
    state: Mutex<State>,
    attached: OnceLock<Attached>,
    follower: OnceLock<FollowPolicy>,
    enforcement: Mutex<EnforcementStatus>,
    records: SyncSender<Arc<Record>>,
    inbox: Mutex<Option<Receiver<Arc<Record>>>>,
    /// Records that found no place in the queue: trials did not see them.
    missed: AtomicU64,
    closed: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PolicyKeeper {
    /// The host whose policies these are.
    pub fn host(&self) -> Arc<WasmPolicyHost> {
        Arc::clone(&self.host)
    }

    /// The policy in force. What is on disk may wait for a second admin, or be broken.
    pub fn config(&self) -> PolicyConfig {
        self.state().in_force.config.clone()
    }

    /// Tells `follower` of the policy in force, now and with every change: what it says
    /// beside the modules takes effect with them. The first one stays.
    ///
    /// # Errors
    /// It cannot go by the policy in force; the text says why.
    pub fn follow(&self, follower: FollowPolicy) -> Result<(), String> {
        let _changing = self.changing.take();
        follower(&self.config())?();
        if self.follower.set(follower).is_err() {
            tracing::error!("the policy has a follower already");
        }
        Ok(())
    }

    /// What makes the rest of the host go by this policy.
    fn following(&self, config: &PolicyConfig) -> Result<Following, PolicyRefusal> {
        match self.follower.get() {
            Some(follower) => follower(config).map_err(PolicyRefusal::Unusable),
            None => Ok(Box::new(|| {})),
        }
    }

    /// What the proof of enforcement came to, for status.
    pub fn set_enforcement(&self, status: EnforcementStatus) {
        *lock(&self.enforcement) = status;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Records an event.
    fn record(&self, actor: &Actor, event: Event) -> Result<(), String> {
        match self.attached.get() {
            Some(attached) => (attached.record)(actor.clone(), event),
            None => Err("there is no log yet".to_owned()),
        }
    }

    /// Records what has happened already and cannot be taken back; a failure is loud.
    fn note(&self, actor: &Actor, event: Event) {
        if let Err(error) = self.record(actor, event) {
            tracing::error!(%error, "an event about the policies could not be recorded");
        }
    }
}
