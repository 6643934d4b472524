//! From the configuration to a service whose thread runs: what an earlier host left of
//! it is adopted or stopped.

use crate::actor::{Actor, spec_of};
use crate::config::ServiceConfig;
use crate::foreign::Foreign;
use crate::history::History;
use crate::log::Log;
use crate::manager::{Service, ServicePlaces};
use crate::shared::{ServiceHooks, Shared, Standing, State};
use crate::watch::Watch;
use selfheal_domain::ports::{Clock, ServiceError};
use selfheal_domain::service::ServiceNotice;
use selfheal_sandbox::{ManagedProcess, allowed_environment};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a leftover of a service that is no longer configured may take to end.
const UNKNOWN_GRACE: Duration = Duration::from_secs(10);

pub(crate) fn prepare(
    config: ServiceConfig,
    places: &ServicePlaces,
    clock: &Arc<dyn Clock>,
    hooks: &ServiceHooks,
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
    let marks = places.records.join("watch");
    for directory in [Some(marks.as_path()), log_file.parent()]
        .into_iter()
        .flatten()
    {
        std::fs::create_dir_all(directory)
            .map_err(|error| failed("its directory cannot be made", &error))?;
    }
    let foreign = Foreign::of(&config);
    let mut watched: Vec<PathBuf> = config
        .watch_logs
        .iter()
        .map(|path| places.application.join(path))
        .collect();
    if foreign.is_none() {
        watched.push(log_file.clone());
    }
    let unknown = foreign.is_some();
    let shared = Arc::new(Shared {
        directory: places.application.join(&config.directory),
        environment: environment(&config),
        record: places.records.join(format!("{name}.json")),
        log: Log::new(log_file, config.log_bytes, config.log_count),
        standing: Mutex::new(Standing {
            state: if unknown {
                State::Running
            } else {
                State::Stopped
            },
            pid: None,
            tree: None,
            since: clock.now(),
            restarts: 0,
            crashes: 0,
            circuit_open: false,
            adopted: false,
            healthy: None,
            detail: if unknown {
                "run by somebody else"
            } else {
                "not started"
            }
            .to_owned(),
        }),
        history: Mutex::new(History::default()),
        watch: Mutex::new(Watch::new(watched, marks.join(format!("{name}.json")))),
        clock: Arc::clone(clock),
        hooks: hooks.clone(),
        closing: AtomicBool::new(false),
        foreign,
        config,
    });
    let process =
        take_over(&shared).map_err(|error| failed("a leftover of an earlier host", &error))?;
    let (requests, inbox) = channel();
    let actor = Actor::new(Arc::clone(&shared), process);
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

/// What a host that crashed left of it goes on, or is stopped before anything else.
fn take_over(shared: &Shared) -> Result<Option<ManagedProcess>, selfheal_sandbox::SandboxError> {
    if shared.foreign.is_none()
        && let Some(process) = ManagedProcess::adopt(&spec_of(shared))
    {
        let pid = process.pid();
        tracing::info!(service = %shared.name(), pid, "goes on with what an earlier host started");
        shared.enter(State::Running, Some(pid), "it outlived the host before");
        shared.change(|standing| {
            standing.tree = Some(process.tree());
            standing.adopted = true;
        });
        shared.notice(ServiceNotice::Adopted { pid });
        return Ok(Some(process));
    }
    let grace = shared.config.stop_grace;
    if let Some(pid) = ManagedProcess::stop_leftover(&shared.record, grace)? {
        tracing::warn!(service = %shared.name(), pid, "stopped a leftover of an earlier host");
        shared.notice(ServiceNotice::LeftoverStopped { pid });
    }
    Ok(None)
}

/// Stops what an earlier host left of services that are configured no more.
pub(crate) fn stop_unknown(records: &Path, known: &[ServiceConfig], hooks: &ServiceHooks) {
    for entry in std::fs::read_dir(records).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "json")) else {
            continue;
        };
        if known.iter().any(|config| config.name == name) {
            continue;
        }
        match ManagedProcess::stop_leftover(&path, UNKNOWN_GRACE) {
            Ok(Some(pid)) => {
                tracing::warn!(service = name, pid, "stopped a leftover of an earlier host");
                (hooks.notice)(name, ServiceNotice::LeftoverStopped { pid });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(service = name, %error, "a leftover of an earlier host");
            }
        }
    }
}

fn environment(config: &ServiceConfig) -> BTreeMap<String, String> {
    let mut environment = allowed_environment(&[]);
    // A service is not contained and has the host's own temporary directory.
    environment.remove("TMPDIR");
    // How the user's own service manager is found.
    let bus: &[&str] = if config.user_unit {
        &["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"]
    } else {
        &[]
    };
    for variable in ["TMPDIR"]
        .iter()
        .chain(bus)
        .copied()
        .chain(config.inherit.iter().map(String::as_str))
    {
        if let Ok(value) = std::env::var(variable) {
            environment.insert(variable.to_owned(), value);
        }
    }
    environment.extend(config.environment.clone());
    environment
}
