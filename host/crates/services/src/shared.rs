//! What the thread of a service and those who look at it share.

use crate::config::ServiceConfig;
use crate::foreign::{Foreign, Ground};
use crate::health::{self, Surroundings};
use crate::history::History;
use crate::log::Log;
use crate::watch::Watch;
use chrono::{DateTime, Utc};
use selfheal_domain::ports::{Clock, ServiceStatus};
use selfheal_domain::service::ServiceNotice;
use selfheal_sandbox::ProcessTree;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Told the name of a service and what happened to it.
pub type Notice = dyn Fn(&str, ServiceNotice) + Send + Sync;

/// What the host does with what services say and what happens to them.
#[derive(Clone)]
pub struct ServiceHooks {
    /// Puts on record what happened to the service of that name.
    pub notice: Arc<Notice>,
    /// Takes secrets out of texts of services before anybody sees them.
    pub mask: Arc<dyn Fn(String) -> String + Send + Sync>,
}

impl Default for ServiceHooks {
    /// Records nothing and hides nothing.
    fn default() -> Self {
        Self {
            notice: Arc::new(|_, _| {}),
            mask: Arc::new(|text| text),
        }
    }
}

impl fmt::Debug for ServiceHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHooks").finish_non_exhaustive()
    }
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
    pub(crate) tree: Option<ProcessTree>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) restarts: u32,
    pub(crate) crashes: u32,
    pub(crate) circuit_open: bool,
    pub(crate) adopted: bool,
    pub(crate) healthy: Option<bool>,
    pub(crate) detail: String,
}

pub(crate) struct Shared {
    pub(crate) config: ServiceConfig,
    /// How it is spoken to when somebody else runs it.
    pub(crate) foreign: Option<Foreign>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) record: PathBuf,
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: ServiceHooks,
    pub(crate) standing: Mutex<Standing>,
    pub(crate) history: Mutex<History>,
    pub(crate) watch: Mutex<Watch>,
    // Interrupts a start that waits for readiness.
    pub(crate) closing: AtomicBool,
}

impl Shared {
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) fn standing(&self) -> Standing {
        locked(&self.standing).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut locked(&self.standing));
    }

    pub(crate) fn enter(&self, state: State, pid: Option<u32>, detail: &str) {
        let now = self.clock.now();
        self.change(|standing| {
            standing.state = state;
            standing.pid = pid;
            if pid.is_none() {
                standing.tree = None;
                standing.adopted = false;
            }
            standing.since = now;
            standing.healthy = None;
            detail.clone_into(&mut standing.detail);
        });
    }

    /// How it stands; what is in the detail is not masked.
    pub(crate) fn status(&self) -> ServiceStatus {
        let standing = self.standing();
        ServiceStatus {
            name: self.name().to_owned(),
            state: standing.state.name().to_owned(),
            pid: standing.pid,
            since: standing.since,
            restarts: standing.restarts,
            healthy: standing.healthy,
            detail: standing.detail,
        }
    }

    pub(crate) fn notice(&self, notice: ServiceNotice) {
        (self.hooks.notice)(self.name(), notice);
    }

    /// Asks its health and notes the answer.
    pub(crate) fn ask(&self, at_most: Duration) -> Result<String, String> {
        let Some(health) = &self.config.health else {
            return Ok("it runs; no health check is configured".to_owned());
        };
        let answer = health::check(health, &self.surroundings(), at_most);
        let (Ok(seen) | Err(seen)) = &answer;
        self.change(|standing| {
            standing.healthy = Some(answer.is_ok());
            seen.clone_into(&mut standing.detail);
        });
        let seen = (self.hooks.mask)(seen.clone());
        locked(&self.history).note(self.clock.now(), answer.is_ok(), &seen);
        answer
    }

    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            directory: &self.directory,
            environment: &self.environment,
        }
    }

    pub(crate) fn ground(&self, timeout: Duration) -> Ground<'_> {
        Ground {
            directory: &self.directory,
            environment: &self.environment,
            timeout,
        }
    }

    /// What its logs say from here on is news.
    pub(crate) fn mark_logs(&self) {
        if let Err(error) = locked(&self.watch).mark() {
            tracing::warn!(service = %self.name(), %error, "its logs cannot be watched");
        }
    }
}

/// A thread that panicked leaves values that are still whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
