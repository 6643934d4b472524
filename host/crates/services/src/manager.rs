//! All services of the application, and the port through which rooms use them.

use crate::actor::{Actor, Request, Shared, Standing, State};
use crate::config::ServiceConfig;
use crate::log::Log;
use selfheal_domain::ports::{Clock, ServiceError, ServiceStatus, Services};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use selfheal_sandbox::{ManagedProcess, allowed_environment};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// For the records of running processes; made if missing.
    pub records: PathBuf,
}

/// Runs the services. Stops them, last one first, when dropped.
pub struct ServiceManager {
    services: Vec<Service>,
}

struct Service {
    shared: Arc<Shared>,
    requests: Mutex<Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ServiceManager {
    /// Prepares the services and stops what a host that crashed left behind.
    /// Nothing is started yet.
    ///
    /// # Errors
    /// A configuration is wrong, or a directory cannot be made.
    pub fn new(
        configs: Vec<ServiceConfig>,
        places: &ServicePlaces,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServiceError> {
        let mut names = BTreeSet::new();
        let mut services = Vec::new();
        for config in configs {
            let failed = |message: String| ServiceError::Failed {
                name: config.name.clone(),
                message,
            };
            config.check().map_err(failed)?;
            if !names.insert(config.name.clone()) {
                return Err(failed("the name is used twice".to_owned()));
            }
            services.push(prepare(config, places, &clock)?);
        }
        Ok(Self { services })
    }

    /// Starts all in order, each when the one before is ready. One that does not
    /// come up does not keep the next from starting: the result tells, and it is
    /// tried again as its restart policy says.
    pub fn start_all(&self) -> Vec<(String, Result<(), ServiceError>)> {
        self.services
            .iter()
            .filter(|service| !service.shared.is_foreign())
            .map(|service| (service.name().to_owned(), service.restart()))
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
}

fn prepare(
    config: ServiceConfig,
    places: &ServicePlaces,
    clock: &Arc<dyn Clock>,
) -> Result<Service, ServiceError> {
    let name = config.name.clone();
    let failed = |what: &str, error: &dyn std::fmt::Display| ServiceError::Failed {
        name: name.clone(),
        message: format!("{what}: {error}"),
    };
    let log_file = places.logs.join(
        config
            .log_file
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{name}.log"))),
    );
    for directory in [Some(places.records.as_path()), log_file.parent()]
        .into_iter()
        .flatten()
    {
        std::fs::create_dir_all(directory)
            .map_err(|error| failed("its directory cannot be made", &error))?;
    }
    let record = places.records.join(format!("{name}.json"));
    if let Some(pid) = ManagedProcess::stop_leftover(&record, config.stop_grace)
        .map_err(|error| failed("a leftover of an earlier host", &error))?
    {
        tracing::warn!(service = %name, pid, "stopped a leftover of an earlier host");
    }
    let mut environment = allowed_environment(&[]);
    // A service is not contained and has the host's own temporary directory.
    environment.remove("TMPDIR");
    for variable in ["TMPDIR"]
        .into_iter()
        .chain(config.inherit.iter().map(String::as_str))
    {
        if let Ok(value) = std::env::var(variable) {
            environment.insert(variable.to_owned(), value);
        }
    }
    environment.extend(config.environment.clone());
    let foreign = config.command.is_empty();
    let shared = Arc::new(Shared {
        directory: places.application.join(&config.directory),
        environment,
        record,
        log: Log::new(log_file, config.log_bytes),
        standing: Mutex::new(Standing {
            state: if foreign {
                State::Running
            } else {
                State::Stopped
            },
            pid: None,
            since: clock.now(),
            restarts: 0,
            healthy: None,
            detail: if foreign {
                "run by somebody else"
            } else {
                "not started"
            }
            .to_owned(),
        }),
        clock: Arc::clone(clock),
        closing: AtomicBool::new(false),
        config,
    });
    let (requests, inbox) = channel();
    let actor = Actor::new(Arc::clone(&shared));
    let thread = std::thread::Builder::new()
        .name(format!("service-{name}"))
        .spawn(move || actor.run(&inbox))
        .map_err(|error| failed("its thread cannot be started", &error))?;
    Ok(Service {
        shared,
        requests: Mutex::new(requests),
        thread: Mutex::new(Some(thread)),
    })
}

impl Service {
    fn name(&self) -> &str {
        &self.shared.config.name
    }

    fn restart(&self) -> Result<(), ServiceError> {
        let failed = |message: String| ServiceError::Failed {
            name: self.name().to_owned(),
            message,
        };
        let (answer, result) = channel();
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(Request::Restart(answer))
            .map_err(|_| failed("the host is shutting down".to_owned()))?;
        result
            .recv()
            .unwrap_or_else(|_| Err("the host is shutting down".to_owned()))
            .map_err(failed)
    }

    fn end(&self) {
        // Fails when the thread is gone already.
        let _ = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(Request::Shutdown);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(service = %self.name(), "the thread of the service panicked");
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
            State::Starting | State::Running => match self.shared.ask(LONGEST_QUESTION) {
                Ok(seen) => (VerificationResult::Pass, seen),
                Err(seen) => (VerificationResult::Fail, seen),
            },
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
        match self.find(name) {
            Some(service) => service.restart(),
            None => Err(ServiceError::Unknown {
                name: name.to_owned(),
                known: self.names().join(", "),
            }),
        }
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
            detail,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn status(&self) -> Vec<ServiceStatus> {
        self.services
            .iter()
            .map(|service| {
                let standing = service.shared.standing();
                ServiceStatus {
                    name: service.name().to_owned(),
                    state: standing.state.name().to_owned(),
                    pid: standing.pid,
                    since: standing.since,
                    restarts: standing.restarts,
                    healthy: standing.healthy,
                    detail: standing.detail,
                }
            })
            .collect()
    }

    fn log_tail(&self, name: &str, max_bytes: usize) -> String {
        self.find(name)
            .map(|service| service.shared.log.tail(max_bytes))
            .unwrap_or_default()
    }

    fn log_position(&self, name: &str) -> u64 {
        self.find(name)
            .map_or(0, |service| service.shared.log.position())
    }

    fn log_since(&self, name: &str, position: u64, max_bytes: usize) -> String {
        self.find(name)
            .map(|service| service.shared.log.since(position, max_bytes))
            .unwrap_or_default()
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.stop_all();
    }
}
