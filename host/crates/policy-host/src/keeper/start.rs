//! From what is on disk to a policy in force: the file if it can be used and does not
//! loosen behind a second admin's back, else the last good generation.

use super::observed::Observed;
use super::state::{InForce, OpenProposal, State};
use super::turns::Turns;
use super::{KeeperPlaces, PolicyKeeper, RecordEvent, StartError};
use crate::compare::{Side, compare};
use crate::config::PolicyConfig;
use crate::files;
use crate::generations::{Generations, Kept, modules_of};
use crate::host::{PreparedSet, WasmPolicyHost};
use crate::trial::Conduct;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, PolicyChange};
use selfheal_domain::policy_control::{ChangeSource, EnforcementStatus, PolicyPlan, Rollout};
use selfheal_domain::ports::{Clock, EventStore};
use selfheal_domain::user::Actor;
use selfheal_policy_source::{ModuleStore, SourceRef};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};

/// Recorded decisions that may wait to be looked at by a trial.
const QUEUE: usize = 512;
/// Records about policies that are read at the start.
const CHANGES: usize = 100_000;

/// A text that can come into force.
pub(super) struct Ready {
    pub(super) text: String,
    pub(super) config: PolicyConfig,
    pub(super) set: PreparedSet,
}

impl Ready {
    pub(super) fn side(&self) -> Side<'_> {
        Side {
            config: &self.config,
            set: &self.set,
        }
    }
}

/// Parses and prepares `text`; with the bytes of a kept generation, if one is given.
/// Bundled modules are always those of this host.
pub(super) fn ready(
    host: &WasmPolicyHost,
    places: &KeeperPlaces,
    text: String,
    from: Option<(&Kept, &ModuleStore)>,
) -> Result<Ready, String> {
    let file = places.policy_file.display().to_string();
    let directory = places.policy_file.parent().unwrap_or(Path::new("."));
    let config = PolicyConfig::parse(&text, &file, directory).map_err(|error| error.to_string())?;
    let set = match from {
        None => host.prepare(&config),
        Some((kept, store)) => {
            let bundled: BTreeSet<&str> = config
                .modules
                .iter()
                .filter(|module| matches!(module.source, SourceRef::Bundled(_)))
                .map(|module| module.name.as_str())
                .collect();
            let mut digests = kept.digests();
            digests.retain(|name, _| !bundled.contains(name.as_str()));
            host.prepare_from(&config, Some((store, &digests)))
        }
    };
    let set = set.map_err(|error| format!("{file}: {error}"))?;
    Ok(Ready { text, config, set })
}

/// The last number that an earlier version gave out, and for which set.
fn earlier_number(data: &Path) -> Option<(u64, String)> {
    let text = std::fs::read_to_string(data.join("policy-generation")).ok()?;
    let (number, digest) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, digest.to_owned()))
}

impl PolicyKeeper {
    /// Brings a policy into force: `policy.toml`, or the last good generation where the
    /// file cannot be used, or would loosen what only a second admin may loosen. Then
    /// [`selfheal_domain::policy_control::PolicyStatus::not_in_force`] says why.
    ///
    /// # Errors
    /// There is nothing that could be in force, or the data directory cannot be used.
    pub fn open(
        host: WasmPolicyHost,
        places: KeeperPlaces,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StartError> {
        let directory = places.data.join("policies");
        files::make_directory(&directory)?;
        files::make_directory(&directory.join("proposals"))?;
        for kept in [
            &directory,
            &directory.join("proposals"),
            &directory.join("generations"),
        ] {
            files::sweep(kept, "");
        }
        if let (Some(home), Some(name)) =
            (places.policy_file.parent(), places.policy_file.file_name())
        {
            files::sweep(home, &format!("{}.", name.to_string_lossy()));
        }
        let modules = ModuleStore::open(&directory.join("modules"))
            .map_err(|error| StartError::Modules(error.to_string()))?;
        let host = Arc::new(host.with_store(modules.clone()));
        let generations = Generations::open(&directory, modules)?;
        let history = generations.list()?;
        let pending = generations.pending()?;
        let earlier = earlier_number(&places.data);
        let numbers = history.iter().chain(&pending).map(|kept| kept.generation);
        let mut last = numbers.max().unwrap_or(0);
        last = last.max(earlier.as_ref().map_or(0, |(number, _)| *number));
        last = last.max(Observed::read(&places.data).last_generation);

        let file = files::read_text(&places.policy_file);
        let file_seen = file.as_ref().ok().map(|text| Digest::of(text.as_bytes()));
        let file = file.map_err(|error| error.to_string());
        let file = file.and_then(|text| ready(&host, &places, text, None));
        let good = last_good(&host, &places, &history, generations.modules());
        let (chosen, before, not_in_force) = choose(file, good)?;

        let now = clock.now();
        let digest = chosen.set.digest();
        let same = before.as_ref().filter(|before| before.digest == digest);
        let kept = match (same, earlier) {
            (Some(before), _) if unchanged(before, &chosen) => Kept {
                text: chosen.text.clone(),
                ..(*before).clone()
            },
            (_, earlier) => {
                let number = match earlier {
                    // The set that the earlier version had in force keeps its number.
                    Some((number, known)) if history.is_empty() && known == digest.to_string() => {
                        number.max(1)
                    }
                    _ => last + 1,
                };
                last = last.max(number);
                Kept {
                    generation: number,
                    digest,
                    at: now,
                    source: ChangeSource::Start,
                    text: chosen.text.clone(),
                    modules: modules_of(&chosen.set.core, before.as_ref(), number, now),
                }
            }
        };
        generations.write_pending(&kept, &chosen.set.core)?;
        generations.finish(kept.generation)?;
        let history = generations.list()?;
        drop(host.put_in_force(host.ready(&chosen.set, kept.generation), None));
        if let Some(why) = &not_in_force {
            tracing::error!(generation = kept.generation, %why, "policy.toml is not in force; the last good policies are");
        }
        let (records, inbox) = sync_channel(QUEUE);
        let state = State {
            in_force: InForce {
                config: chosen.config,
                kept,
            },
            history,
            last_generation: last,
            not_in_force,
            file_seen,
            proposals: BTreeMap::new(),
            last_proposal: 0,
            grants: Vec::new(),
            last_grant: 0,
            quarantined: BTreeSet::new(),
            trial: None,
            watched: None,
            conduct: Conduct::default(),
            retired: Vec::new(),
        };
        Ok(Arc::new(Self {
            host,
            places,
            clock,
            generations,
            changing: Turns::default(),
            state: Mutex::new(state),
            attached: OnceLock::new(),
            follower: OnceLock::new(),
            enforcement: Mutex::new(EnforcementStatus::default()),
            records,
            inbox: Mutex::new(Some(inbox)),
            missed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            worker: Mutex::new(None),
        }))
    }

    /// Takes up what the log knows of grants, quarantines and proposals, and records
    /// what the start did. From here on changes can be made. Call once.
    ///
    /// # Errors
    /// The log cannot be read or written; the host must not start then.
    pub fn attach(&self, store: Arc<dyn EventStore>, record: RecordEvent) -> Result<(), String> {
        let changing = self.changing.take();
        let text = |error: selfheal_domain::ports::StoreError| error.to_string();
        let mut changes = store.policy_changes(None, CHANGES).map_err(text)?;
        changes.reverse();
        let mut log = Log::default();
        for seq in changes {
            if let Some(found) = store.record(seq).map_err(text)? {
                log.take(found);
            }
        }
        if self
            .attached
            .set(super::Attached { store, record })
            .is_err()
        {
            return Err("the log is known already".to_owned());
        }
        self.finish_pending(&log)?;
        self.take_up(&log);
        let in_force = self.state().in_force.kept.clone();
        // A trial is one against the set in force when it began: another one ends it.
        let same = log.generations.get(&in_force.generation) == Some(&in_force.digest);
        self.observe_again(log.on_trial.as_ref().filter(|_| same));
        self.record_start(&log)?;
        self.keep_observed();
        drop(changing);
        self.look_at_file_again();
        Ok(())
    }

    /// What was recorded as in force when the host died comes into force; what was not
    /// is forgotten.
    fn finish_pending(&self, log: &Log) -> Result<(), String> {
        let pending = self
            .generations
            .pending()
            .map_err(|error| error.to_string())?;
        for (index, kept) in pending.iter().enumerate() {
            let current = self.state().in_force.kept.clone();
            let recorded = log.generations.get(&kept.generation) == Some(&kept.digest);
            let newer =
                index == 0 && kept.generation > current.generation && kept.digest != current.digest;
            if !(recorded && newer) {
                self.generations.discard(kept.generation);
                continue;
            }
            let from = Some((kept, self.generations.modules()));
            match ready(&self.host, &self.places, kept.text.clone(), from) {
                Ok(ready) if ready.set.digest() == kept.digest => {
                    self.generations
                        .finish(kept.generation)
                        .map_err(|error| error.to_string())?;
                    let set = self.host.ready(&ready.set, kept.generation);
                    let retired = self.host.put_in_force(set, None);
                    let mut state = self.state();
                    state.retired.extend(retired);
                    state.history.insert(0, kept.clone());
                    state.in_force = InForce {
                        config: ready.config,
                        kept: kept.clone(),
                    };
                    state.not_in_force = None;
                    state.file_seen = None;
                }
                _ => self.generations.discard(kept.generation),
            }
        }
        Ok(())
    }

    fn take_up(&self, log: &Log) {
        let now = self.clock.now();
        let mut state = self.state();
        state.last_grant = log.last_grant;
        state.last_proposal = log.last_proposal;
        state.grants = log.grants.values().cloned().collect();
        state.grants.retain(|grant| grant.until > now);
        self.host.grants().put(state.grants.clone(), &self.clock);
        let base = state.in_force.kept.generation;
        for number in &log.proposals {
            let read = files::read(&self.proposal_path(*number)).ok();
            let open = read.and_then(|json| serde_json::from_slice::<OpenProposal>(&json).ok());
            if let Some(open) = open.filter(|open| open.base == base) {
                state.proposals.insert(*number, open);
            }
        }
        let active = self.host.active();
        for (loaded, standing) in active.core.modules.iter().zip(&active.live.standings) {
            let name = &loaded.identity.name;
            let Some((at, cause)) = log.quarantined.get(name) else {
                continue;
            };
            let modules = &state.in_force.kept.modules;
            let since = modules.iter().find(|module| module.name == *name);
            // Other bytes or settings since then are a new chance.
            if since.is_some_and(|module| module.since <= *at) {
                standing.confine(cause);
                state.quarantined.insert(name.clone());
            }
        }
    }

    fn record_start(&self, log: &Log) -> Result<(), String> {
        let (kept, why, trial) = {
            let state = self.state();
            let trial = state.trial.is_some();
            (
                state.in_force.kept.clone(),
                state.not_in_force.clone(),
                trial,
            )
        };
        let ended = log.on_trial.is_some() && !trial;
        if let Some(reason) = &why {
            let refused = Event::PolicyRefused {
                source: ChangeSource::Start,
                reason: reason.clone(),
            };
            self.record(&Actor::Host, refused)?;
        }
        let known = log.generations.get(&kept.generation) == Some(&kept.digest);
        if known && !ended {
            return Ok(());
        }
        let reason = match (why, ended) {
            (Some(_), _) => "the last good generation, because policy.toml cannot be used",
            (None, true) => "the host started; what was on trial is not tried any more",
            (None, false) => "the host started",
        };
        let changed = PolicyChange {
            generation: kept.generation,
            digest: kept.digest,
            source: ChangeSource::Start,
            rollout: Rollout::Full,
            confirmed_by: None,
            reason: reason.to_owned(),
            plan: PolicyPlan::default(),
        };
        self.record(&Actor::Host, Event::PolicyChanged(changed))
    }
}

/// What the log says about policies.
#[derive(Default)]
struct Log {
    /// In force at some time, with the digest of the set.
    generations: BTreeMap<u64, Digest>,
    /// What the last change put on trial.
    on_trial: Option<(u64, Digest, Rollout)>,
    grants: BTreeMap<u64, selfheal_domain::policy_control::Grant>,
    last_grant: u64,
    /// Not taken back.
    proposals: BTreeSet<u64>,
    last_proposal: u64,
    quarantined: BTreeMap<String, (chrono::DateTime<chrono::Utc>, String)>,
}

impl Log {
    fn take(&mut self, record: selfheal_domain::event::Record) {
        match record.event {
            Event::PolicyChanged(change) => {
                self.on_trial = (change.rollout != Rollout::Full).then_some((
                    change.generation,
                    change.digest,
                    change.rollout,
                ));
                if change.rollout == Rollout::Full {
                    self.generations.insert(change.generation, change.digest);
                }
            }
            Event::PolicyProposed(proposal) => {
                self.last_proposal = self.last_proposal.max(proposal.number);
                self.proposals.insert(proposal.number);
            }
            Event::PolicyWithdrawn { proposal, .. } => {
                self.proposals.remove(&proposal);
            }
            Event::QuarantineChanged {
                module,
                quarantined,
                reason,
            } => {
                if quarantined {
                    self.quarantined.insert(module, (record.at, reason));
                } else {
                    self.quarantined.remove(&module);
                }
            }
            Event::GrantGiven(grant) => {
                self.last_grant = self.last_grant.max(grant.number);
                self.grants.insert(grant.number, grant);
            }
            Event::GrantEnded { grant, .. } => {
                self.grants.remove(&grant);
            }
            _ => {}
        }
    }
}

type Good = (Kept, Ready);

/// The newest kept generation that can be used.
fn last_good(
    host: &WasmPolicyHost,
    places: &KeeperPlaces,
    history: &[Kept],
    store: &ModuleStore,
) -> Option<Good> {
    history.iter().find_map(|kept| {
        match ready(host, places, kept.text.clone(), Some((kept, store))) {
            Ok(ready) => Some((kept.clone(), ready)),
            Err(error) => {
                tracing::error!(generation = kept.generation, %error, "a kept policy generation cannot be used");
                None
            }
        }
    })
}

/// What comes into force at the start, what it follows, and why the file does not.
fn choose(
    file: Result<Ready, String>,
    good: Option<Good>,
) -> Result<(Ready, Option<Kept>, Option<String>), StartError> {
    match (file, good) {
        (Ok(file), None) => Ok((file, None, None)),
        (Err(error), None) => Err(StartError::NothingUsable { file: error }),
        (Err(error), Some((kept, good))) => Ok((good, Some(kept), Some(error))),
        (Ok(file), Some((kept, good))) => {
            let structure = compare(good.side(), file.side());
            if good.config.four_eyes && !structure.only_tightens() {
                let mut what = structure.loosening;
                what.extend(structure.unproved);
                let why = format!("it needs a second admin: {}", what.join("; "));
                return Ok((good, Some(kept), Some(why)));
            }
            Ok((file, Some(kept), None))
        }
    }
}

/// Only comments, or the order of things, differ.
fn unchanged(before: &Kept, chosen: &Ready) -> bool {
    if before.text == chosen.text {
        return true;
    }
    let directory = &chosen.config.directory;
    let parsed = PolicyConfig::parse(&before.text, "kept", directory);
    parsed.is_ok_and(|config| {
        let before = Side {
            config: &config,
            set: &chosen.set,
        };
        compare(before, chosen.side()).is_empty()
    })
}
