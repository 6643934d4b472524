//! The server: everything behind `selfheal serve`, opened in order and closed in
//! the opposite one.

use super::accounts::control_socket;
use super::agents::agent_of;
use super::{BenchParts, identity, keeper_of, masker, patch_limits, workbench};
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use crate::login::OidcConfig;
use crate::machine::Machine;
use crate::mask::Mask;
use selfheal_agent::{BenchRules, CheckerConfig, SandboxWorkbench};
use selfheal_api::{ApiOptions, ApiState, Identity, SecureCookies, SignInOptions};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::PolicyControl;
use selfheal_domain::ports::{EventStore, RunWorktree, Services};
use selfheal_domain::user::Actor;
use selfheal_pipeline::desk::IssueDesk;
use selfheal_pipeline::enforcement::Warden;
use selfheal_pipeline::feed::{Feed, FeedItem};
use selfheal_pipeline::healer::{Doors, Healer};
use selfheal_pipeline::settings::{HostRules, RulesInForce, Settings};
use selfheal_policy_host::{Following, PolicyConfig, PolicyKeeper, RecordEvent};
use selfheal_services::{HttpProbes, ServiceHooks, ServiceManager, ServicePlaces};
use selfheal_store::{JournalStore, Options};
use selfheal_worktree::GitRepository;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// A host that is ready to serve.
pub(crate) struct Host {
    pub(crate) desk: IssueDesk,
    pub(crate) feed: Arc<Feed>,
    pub(crate) services: Arc<ServiceManager>,
    healer: Arc<Healer>,
    keeper: Arc<PolicyKeeper>,
    warden: Arc<Warden>,
    worker: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
    /// Who the host is to browsers, where it has TLS of its own.
    certificate: Option<Identity>,
    /// Where else people log in.
    sign_in: Option<SignInOptions>,
    config: Config,
}

impl Host {
    /// Opens store, policies, repository and services, takes up unfinished work.
    pub(crate) fn open(config: Config) -> Result<Self, Failure> {
        let certificate = config.tls.as_ref().map(super::tls::identity).transpose();
        let certificate = certificate.because(Exit::Usage)?;
        let sign_in = config.oidc.as_ref().map(OidcConfig::sign_in).transpose();
        let sign_in = sign_in.because(Exit::Usage)?;
        // The keeper writes generations: never beside another host's.
        let claim = JournalStore::claim(&config.data).because(Exit::Unavailable)?;
        let keeper = keeper_of(&config)?;
        let (policy, keys) = (keeper.config(), config.keys());
        let policies: Arc<dyn PolicyHost> = keeper.host();
        let journal = Arc::new(
            JournalStore::open_claimed(claim, Options::new(masker(&policy, &keys)?))
                .because(Exit::Unavailable)?,
        );
        let store = Arc::clone(&journal) as Arc<dyn EventStore>;
        let feed = Arc::new(Feed::default());
        let (publish, observer) = (Arc::clone(&feed), Arc::clone(&keeper));
        let listener = Box::new(move |record: &Record| {
            let record = Arc::new(record.clone());
            observer.observe(&record);
            publish.publish(&FeedItem::Record(record));
        });
        let ledger = Arc::new(Ledger::new(Arc::clone(&store), Arc::new(Machine), listener));
        keeper
            .attach(store, recorder_of(&ledger))
            .map_err(|error| Failure::new(Exit::Unavailable, error))?;
        // What was recorded before a crash may have come into force by that.
        let policy = keeper.config();

        let found = selfheal_worktree::discover(&config.repository).because(Exit::Usage)?;
        let layers = layers_directory(&config.data, &found.root)?;
        let state = layers.join("git");
        let commit_key = super::signing::commit_key(&config.data)?;
        let public_key = commit_key.public();
        let repository =
            GitRepository::open(&config.repository, &state, identity(), Arc::new(Machine))
                .and_then(|repository| repository.with_private_directory(&config.data))
                .because(Exit::Usage)?
                .with_signer(commit_key);
        let repository = Arc::new(repository);
        let tracked = Arc::clone(&repository);
        let parts = BenchParts {
            root: found.root.clone(),
            git_dir: found.git_dir,
            private: [&layers, &config.data, &config.policy_file, &config.file]
                .into_iter()
                .cloned()
                .chain(config.agent.key_files())
                .chain(config.secret_files())
                .collect(),
            state: &layers,
            policy: &policy,
            extra_environment: &config.environment,
            mcp: &config.agent.mcp,
            longest_command: config.diagnosis_budget.max(Duration::from_secs(600)),
            tracked: Arc::new(move |path: &str| tracked.is_tracked(path).unwrap_or(false)),
        };
        let bench = workbench(parts, Arc::clone(&policies))?;
        let checker = CheckerConfig {
            directories: config.hook_directories.clone(),
            tools: config.hook_tools.clone(),
        };
        let checker = bench.checker(&checker).because(Exit::Usage)?;

        let places = ServicePlaces {
            application: found.root.clone(),
            logs: config.data.join("logs"),
            records: config.data.join("services"),
        };
        let mask = Mask::new(masker(&policy, &keys)?);
        let hooks = service_hooks(&ledger, &mask);
        let services =
            ServiceManager::new(config.services.clone(), &places, Arc::new(Machine), hooks)
                .because(Exit::Usage)?;
        for (name, started) in services.start_all() {
            if let Err(error) = started {
                tracing::warn!(service = name, %error, "a service did not come up; it is tried again");
            }
        }
        let services = Arc::new(services);
        let settings = Arc::new(settings(&config, &policy)?);
        follow(
            &keeper,
            settings.rules.clone(),
            bench.clone(),
            &journal,
            (mask.clone(), keys),
        )?;
        let doors = Doors {
            agent: agent_of(&config.agent, &mask, Some(&config.data))?,
            workbench: Arc::new(bench),
            repository,
            policies: Arc::clone(&policies),
            services: Arc::clone(&services) as Arc<dyn Services>,
            probes: Arc::new(HttpProbes::new(config.probes.clone())),
            clock: Arc::new(Machine),
            ids: Arc::new(Machine),
        };
        let healer = Arc::new(Healer::new(
            Arc::clone(&ledger),
            Arc::clone(&feed),
            settings,
            doors,
        ));
        let desk = IssueDesk::new(
            Arc::clone(&healer),
            Arc::clone(&policies),
            Arc::clone(&services) as Arc<dyn Services>,
            Arc::new(Machine),
            Arc::new(Machine),
        );
        let warden = Arc::new(Warden::new(
            Arc::clone(&healer),
            proving_ground(&layers.join("proving")).because(Exit::Unavailable)?,
        ));
        let desk = desk
            .with_policy_control(Arc::clone(&keeper) as Arc<dyn PolicyControl>)
            .with_warden(Arc::clone(&warden))
            .with_checker(Arc::new(checker));
        let set = policies.current();
        let started = Event::HostStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_digest: set.digest(),
            policy_generation: set.generation(),
            commit_key: Some(public_key.to_string()),
        };
        ledger
            .record_host(Actor::Host, started)
            .because(Exit::Unavailable)?;
        Ok(Self {
            desk,
            feed,
            services,
            healer,
            keeper,
            warden,
            worker: None,
            watcher: None,
            certificate,
            sign_in,
            config,
        })
    }

    /// Proves that policies are enforced, then starts to work on approved issues, and
    /// to watch `policy.toml`. Where the proof fails the host is frozen.
    pub(crate) fn start_healing(&mut self) -> Result<(), Failure> {
        self.warden.check();
        self.watcher = Some(self.warden.start().because(Exit::Unavailable)?);
        self.keeper.start().because(Exit::Unavailable)?;
        let worker = self
            .healer
            .start()
            .map_err(|error| Failure::new(Exit::Unavailable, error))?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Serves HTTP and the operator's socket until `shutdown` resolves. `ready` is
    /// called with the address once connections are accepted.
    pub(crate) async fn serve(
        &self,
        ready: impl FnOnce(std::net::SocketAddr),
        shutdown: tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let config = &self.config;
        let options = ApiOptions {
            allowed_origins: config.allowed_origins.clone(),
            embed_in: config.embed_in.clone(),
            secure_cookies: if config.secure_cookies || config.tls.is_some() {
                SecureCookies::Yes
            } else {
                SecureCookies::No
            },
            proxy: config.proxy.clone(),
            sign_in: self.sign_in.clone(),
            hsts: config.tls.as_ref().map_or(Duration::ZERO, |tls| tls.hsts),
            ..ApiOptions::default()
        };
        let state = ApiState::new(self.desk.clone(), &self.feed, options);
        let listener = tokio::net::TcpListener::bind(config.listen)
            .await
            .map_err(|error| Failure {
                exit: Exit::Unavailable,
                error: anyhow::Error::new(error)
                    .context(format!("{} cannot be listened on", config.listen)),
            })?;
        let address = listener.local_addr().because(Exit::Unavailable)?;
        let socket = control_socket(&config.data);
        // Left over from a host that was killed: the directory lock says that none runs.
        let _ = std::fs::remove_file(&socket);
        let control = tokio::net::UnixListener::bind(&socket).because(Exit::Unavailable)?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
            .because(Exit::Unavailable)?;
        ready(address);
        let wait = |mut shutdown: tokio::sync::watch::Receiver<bool>| async move {
            // An error means that the sender is gone: stop as well.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        let (network, stop) = (state.clone(), wait(shutdown.clone()));
        let web = async {
            let Some((files, identity)) = config.tls.as_ref().zip(self.certificate.clone()) else {
                return selfheal_api::serve(listener, network, stop).await;
            };
            let (renewed, identities) = tokio::sync::watch::channel(identity);
            let following = tokio::spawn(super::tls::follow(files.clone(), renewed));
            let served = selfheal_api::serve_tls(listener, identities, network, stop).await;
            following.abort();
            served
        };
        let operator = selfheal_api::serve_control(control, state, wait(shutdown));
        let result = tokio::try_join!(web, operator).because(Exit::Unavailable);
        let _ = std::fs::remove_file(&socket);
        result.map(drop)
    }

    /// Stops work, services and store, in this order.
    pub(crate) fn close(mut self) {
        self.keeper.close();
        self.warden.close();
        if let Some(watcher) = self.watcher.take()
            && watcher.join().is_err()
        {
            tracing::error!("the proof of enforcement panicked");
        }
        self.healer.close();
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the healer panicked");
        }
        self.services.stop_all();
        if let Err(error) = self
            .healer
            .ledger()
            .record_host(Actor::Host, Event::HostStopped)
        {
            tracing::error!(%error, "the end of the host could not be recorded");
        }
    }
}

/// How the keeper of the policies puts its changes on record.
fn recorder_of(ledger: &Arc<Ledger>) -> RecordEvent {
    // The ledger's listener holds the keeper: not the other way round as well.
    let ledger = Arc::downgrade(ledger);
    Box::new(move |actor, event| {
        let ledger = ledger.upgrade().ok_or("the host is stopping")?;
        let recorded = ledger.record_host(actor, event);
        recorded.map(drop).map_err(|error| error.to_string())
    })
}

/// What happens to services is on record, and what they say passes the masker in force.
fn service_hooks(ledger: &Arc<Ledger>, mask: &Mask) -> ServiceHooks {
    let (ledger, mask) = (Arc::downgrade(ledger), mask.clone());
    ServiceHooks {
        notice: Arc::new(move |name, notice| {
            let event = Event::ServiceNoticed {
                service: name.to_owned(),
                notice,
            };
            let recorded = ledger
                .upgrade()
                .map(|ledger| ledger.record_host(Actor::Host, event));
            // The application goes on: a service that crashed is started all the same.
            if let Some(Err(error)) = recorded {
                tracing::error!(service = name, %error, "what happened to a service could not be recorded");
            }
        }),
        mask: Arc::new(move |text| mask.text(&text)),
    }
}

/// An empty layer, where a marker would write that is not refused.
fn proving_ground(directory: &Path) -> std::io::Result<RunWorktree> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let ground = RunWorktree {
        upper: directory.join("upper"),
        work: directory.join("work"),
    };
    std::fs::create_dir_all(&ground.upper)?;
    std::fs::create_dir_all(&ground.work)?;
    Ok(ground)
}

/// The host's own limits, the level, what is secret and who may decide change with the
/// policy. One that cannot be gone by is refused before it changes anything.
fn follow(
    keeper: &PolicyKeeper,
    rules: RulesInForce,
    bench: SandboxWorkbench,
    journal: &Arc<JournalStore>,
    (mask, keys): (Mask, Vec<String>),
) -> Result<(), Failure> {
    // The journal's listener holds the keeper: not the other way round as well.
    let journal = Arc::downgrade(journal);
    let prepare = move |policy: &PolicyConfig| -> Result<Following, Failure> {
        let (found, masker) = (rules_of(policy)?, masker(policy, &keys)?);
        let bench = bench
            .prepare(BenchRules {
                secret_paths: super::secret_paths(policy),
                protected_paths: super::protected_paths(policy),
                environment: policy.environment,
                network: policy.network.clone(),
                max_surplus_calls: policy.limits.max_surplus_calls,
                secret_variables: super::secret_variables(policy).collect(),
            })
            .because(Exit::Usage)?;
        let (rules, mask, journal) = (rules.clone(), mask.clone(), Weak::clone(&journal));
        Ok(Box::new(move || {
            mask.put(masker.clone());
            bench();
            if let Some(journal) = journal.upgrade() {
                journal.put_masker(masker);
            }
            rules.put(found);
        }))
    };
    keeper
        .follow(Box::new(move |policy| {
            prepare(policy).map_err(|failure| format!("{:#}", failure.error))
        }))
        .map_err(|why| Failure::new(Exit::Usage, why))
}

fn rules_of(policy: &PolicyConfig) -> Result<HostRules, Failure> {
    Ok(HostRules {
        environment: policy.environment,
        level: policy.level,
        ceiling: super::containment::ceiling(policy.ceiling),
        four_eyes: policy.four_eyes,
        limits: patch_limits(policy)?,
    })
}

fn settings(config: &Config, policy: &PolicyConfig) -> Result<Settings, Failure> {
    let directory =
        |service: &selfheal_services::ServiceConfig| service.directory.display().to_string();
    Ok(Settings {
        rules: RulesInForce::new(rules_of(policy)?),
        checks: config.checks.clone(),
        max_attempts: config.max_attempts,
        concurrency: config.concurrency,
        diagnosis_budget: config.diagnosis_budget,
        watch: config.watch,
        service_directories: config
            .services
            .iter()
            .map(|service| (service.name.clone(), directory(service)))
            .collect(),
        installation: installation(config)?,
    })
}

/// Where worktrees and throw-away layers go: the data directory, unless that lies in
/// the repository, for the kernel lays no tree over itself.
fn layers_directory(data: &Path, repository: &Path) -> Result<PathBuf, Failure> {
    if !data.starts_with(repository) {
        return Ok(data.to_owned());
    }
    let home = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = home.filter(|path| path.is_absolute()).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        home.is_absolute().then(|| home.join(".local/state"))
    });
    let directory = home.map(|home| {
        let name = Digest::of(data.as_os_str().as_encoded_bytes()).to_string();
        home.join("selfheal").join(name.get(..16).unwrap_or(&name))
    });
    match directory.filter(|directory| !directory.starts_with(repository)) {
        Some(directory) => super::make_data_directory(&directory),
        None => Err(Failure::new(
            Exit::Usage,
            format!(
                "the data directory {} lies in the repository, and there is no home directory for its \
                 worktrees; set storage.data to a directory outside the repository",
                data.display()
            ),
        )),
    }
}

/// Random, made once: what makes pseudonyms of this installation its own.
fn installation(config: &Config) -> Result<String, Failure> {
    let file = config.data.join("installation");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use selfheal_domain::ports::IdSource;
            let seed = format!("{}{}", Machine.uuid(), Machine.uuid());
            let text = Digest::of(seed.as_bytes()).to_string();
            std::fs::write(&file, &text).because(Exit::Unavailable)?;
            Ok(text)
        }
        Err(error) => Err(error).because(Exit::Unavailable),
    }
}
