//! All services of the application, and the port through which rooms use them.

use crate::actor::{Answer, NotDone, Request};
use crate::config::{Kind, ServiceConfig, check_services};
use crate::foreign::Seen;
use crate::prepare::{prepare, stop_unknown};
use crate::shared::{ServiceHooks, Shared, State, locked};
use selfheal_domain::ledger;
use selfheal_domain::ports::{Clock, ServiceError, ServiceStatus, Services};
use selfheal_domain::service::{LogError, ServiceDetails, ServiceOperation};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use selfheal_sandbox::usage_of;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A health question asked through the port takes at most this long.
const LONGEST_QUESTION: Duration = Duration::from_secs(30);

/// Directories of the services.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePlaces {
    /// The application's root, to which `directory` is relative.
    pub application: PathBuf,
    /// For log files; made if missing.
    pub logs: PathBuf,
    /// For the records of running processes and of their logs; made if missing.
    pub records: PathBuf,
}

/// Runs the services. Stops them, last one first, when dropped.
pub struct ServiceManager {
    services: Vec<Service>,
    hooks: ServiceHooks,
}

pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: Mutex<Sender<Request>>,
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl ServiceManager {
    /// Prepares the services, goes on with what a host that crashed left of them, or
    /// stops it. Nothing is started yet.
    ///
    /// # Errors
    /// A configuration is wrong, or a directory cannot be made.
    pub fn new(
        configs: Vec<ServiceConfig>,
        places: &ServicePlaces,
        clock: Arc<dyn Clock>,
        hooks: ServiceHooks,
    ) -> Result<Self, ServiceError> {
        let order = check_services(&configs).map_err(|error| ServiceError::Failed {
            name: "configuration".to_owned(),
            message: error.to_string(),
        })?;
        stop_unknown(&places.records, &configs, &hooks);
        let mut services = Vec::new();
        for config in order.iter().filter_map(|at| configs.get(*at)) {
            services.push(prepare(config.clone(), places, &clock, &hooks)?);
        }
        Ok(Self { services, hooks })
    }

    /// Starts all in order, each when the one before is ready, but for those that run
    /// already. One that does not come up does not keep the next from starting: the
    /// result tells, and it is tried again as its restart policy says.
    pub fn start_all(&self) -> Vec<(String, Result<(), ServiceError>)> {
        self.services
            .iter()
            .map(|service| (service.name().to_owned(), service.request(Request::Boot)))
            .collect()
    }

    /// Stops all, last one first. They cannot be started again afterwards.
    pub fn stop_all(&self) {
        for service in &self.services {
            service.shared.closing.store(true, Ordering::SeqCst);
        }
        for service in self.services.iter().rev() {
            service.end();
        }
    }

    fn find(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name() == name)
    }

    fn known(&self, name: &str) -> Result<&Service, ServiceError> {
        self.find(name).ok_or_else(|| ServiceError::Unknown {
            name: name.to_owned(),
            known: self.names().join(", "),
        })
    }

    fn masked(&self, text: String) -> String {
        (self.hooks.mask)(text)
    }
}

impl Service {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn request(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), ServiceError> {
        let failed = |message: String| ServiceError::Failed {
            name: self.name().to_owned(),
            message: (self.shared.hooks.mask)(message),
        };
        let (answer, result) = channel();
        locked(&self.requests)
            .send(request(answer))
            .map_err(|_| failed("the host is shutting down".to_owned()))?;
        let done = result
            .recv()
            .unwrap_or_else(|_| Err(NotDone::Failed("the host is shutting down".to_owned())));
        done.map_err(|why| match why {
            NotDone::Stale(stale) => stale,
            NotDone::Failed(message) => failed(message),
        })
    }

    fn end(&self) {
        // Fails when the thread is gone already.
        let _ = locked(&self.requests).send(Request::Shutdown);
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(service = %self.name(), "the thread of the service panicked");
        }
    }

    fn details(&self) -> ServiceDetails {
        let shared = &self.shared;
        let config = &shared.config;
        let standing = shared.standing();
        let used = match (standing.tree, standing.pid) {
            (Some(tree), _) => tree.usage(),
            (None, Some(pid)) => usage_of(pid),
            (None, None) => None,
        };
        let age = used.and_then(|(_, age)| chrono::Duration::from_std(age).ok());
        ServiceDetails {
            kind: config.kind().name().to_owned(),
            after: config.after.clone(),
            started_at: age.map(|age| shared.clock.now() - age),
            uptime: used.map(|(_, age)| age),
            usage: used.map(|(usage, _)| usage),
            crashes: standing.crashes,
            circuit_open: standing.circuit_open,
            adopted: standing.adopted,
            reloads: match config.kind() {
                Kind::Process => config.reload.is_some(),
                Kind::Systemd => true,
                Kind::Command => config.reload_command.is_some(),
            },
            logs: locked(&shared.watch)
                .paths()
                .map(|path| path.display().to_string())
                .collect(),
            health: locked(&shared.history).samples(),
        }
    }

    fn health(&self) -> (VerificationResult, String) {
        let standing = self.shared.standing();
        match standing.state {
            // Not ours to answer: whoever listens there now, it is not the service.
            State::Stopped | State::BackingOff | State::Failed => (
                VerificationResult::Fail,
                format!("{}: {}", standing.state.name(), standing.detail),
            ),
            State::Starting | State::Running => {
                let down = self.shared.foreign.as_ref().and_then(|foreign| {
                    match foreign.look(&self.shared.ground(LONGEST_QUESTION)) {
                        Seen::Down(seen) | Seen::Broken(seen) | Seen::Coming(seen) => Some(seen),
                        Seen::Up(..) | Seen::Unknown => None,
                    }
                });
                match down.map_or_else(|| self.shared.ask(LONGEST_QUESTION), Err) {
                    Ok(seen) => (VerificationResult::Pass, seen),
                    Err(seen) => (VerificationResult::Fail, seen),
                }
            }
        }
    }
}

impl Services for ServiceManager {
    fn names(&self) -> Vec<String> {
        self.services
            .iter()
            .map(|service| service.name().to_owned())
            .collect()
    }

    fn restart(&self, name: &str) -> Result<(), ServiceError> {
        self.operate(name, ServiceOperation::Restart, None)
    }

    fn reload_or_restart(&self, name: &str) -> Result<(), ServiceError> {
        self.known(name)?.request(Request::Renew)
    }

    fn operate(
        &self,
        name: &str,
        operation: ServiceOperation,
        seen: Option<&ledger::Seen>,
    ) -> Result<(), ServiceError> {
        let request = |answer| Request::Operate(operation, seen.cloned(), answer);
        self.known(name)?.request(request)
    }

    fn details(&self, name: &str) -> Option<ServiceDetails> {
        self.find(name).map(Service::details)
    }

    fn new_errors(&self, name: &str) -> Result<Vec<LogError>, ServiceError> {
        let service = self.known(name)?;
        let found = locked(&service.shared.watch).fresh();
        let mut errors = found.map_err(|error| ServiceError::Failed {
            name: name.to_owned(),
            message: format!("its logs cannot be read: {error}"),
        })?;
        for error in &mut errors {
            error.line = self.masked(std::mem::take(&mut error.line));
            error.text = self.masked(std::mem::take(&mut error.text));
        }
        Ok(errors)
    }

    fn health(&self, name: &str) -> CheckEvidence {
        let started = Instant::now();
        let (result, detail) = match self.find(name) {
            Some(service) => service.health(),
            None => (
                VerificationResult::Inconclusive,
                format!("there is no service {name:?}"),
            ),
        };
        CheckEvidence {
            name: format!("health: {name}"),
            result,
            detail: self.masked(detail),
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn status(&self) -> Vec<ServiceStatus> {
        self.services
            .iter()
            .map(|service| {
                let status = service.shared.status();
                ServiceStatus {
                    detail: self.masked(status.detail),
                    ..status
                }
            })
            .collect()
    }

    fn log_tail(&self, name: &str, max_bytes: usize) -> String {
        self.find(name)
            .map(|service| self.masked(service.shared.log.tail(max_bytes)))
            .unwrap_or_default()
    }

    fn log_position(&self, name: &str) -> u64 {
        self.find(name)
            .map_or(0, |service| service.shared.log.position())
    }

    fn log_since(&self, name: &str, position: u64, max_bytes: usize) -> String {
        self.find(name)
            .map(|service| self.masked(service.shared.log.since(position, max_bytes)))
            .unwrap_or_default()
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.stop_all();
    }
}
