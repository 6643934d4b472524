//! One room per phase; each leaves the issue in another phase or at rest.

mod apply;
mod blame;
mod diagnose;
mod draft;
pub(crate) mod judge;
pub(crate) mod prove;
mod undo;
mod verify;

use crate::bounds;
use crate::facts::{Outcomes, Past, Surroundings, Trail};
use crate::feed::{Feed, FeedItem};
use crate::queue::Claim;
use crate::recorder::LedgerRecorder;
use crate::settings::Settings;
use selfheal_domain::agent::{Agent, DiagnosisBrief};
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::ids::RunId;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::{Ledger, RecordError};
use selfheal_domain::policy::{
    AgentPhase, PatchFacts, PolicyContext, PolicyHost, PolicySet, RunCounters,
};
use selfheal_domain::ports::{
    CancelToken, Clock, IdSource, Probes, Repository, Services, Snapshot, StoreError,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::run::Run;
use selfheal_domain::state::Phase;
use selfheal_domain::user::{Actor, TrustClass};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everything the rooms reach the world through.
pub struct Doors {
    /// Finds causes and writes patches.
    pub agent: Arc<dyn Agent>,
    /// Makes tools for it.
    pub workbench: Arc<dyn Workbench>,
    /// The application's repository.
    pub repository: Arc<dyn Repository>,
    /// Policy modules.
    pub policies: Arc<dyn PolicyHost>,
    /// The application's services.
    pub services: Arc<dyn Services>,
    /// Requests to the running application.
    pub probes: Arc<dyn Probes>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identities.
    pub ids: Arc<dyn IdSource>,
}

/// What comes after a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Another room.
    On,
    /// Nothing, until somebody says something.
    Rest,
}

/// Facts that are read once per run.
#[derive(Default)]
pub(crate) struct Known {
    surroundings: Option<Arc<Surroundings>>,
    past: Option<Arc<Past>>,
}

/// Most runs of which such facts are kept. Whatever is forgotten is read again.
const MOST_KNOWN: usize = 64;

pub(crate) struct Rooms {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) doors: Doors,
    /// Where each service's log ended before its last restart by a room.
    pub(crate) log_marks: Mutex<HashMap<String, u64>>,
    /// What was read around the patches of the runs under way, and what the log said.
    pub(crate) known: Mutex<HashMap<RunId, Known>>,
    /// What became of earlier runs.
    pub(crate) outcomes: Outcomes,
    /// Changes of the live tree by rooms, so that a proof knows whether it saw one only.
    pub(crate) moves: Moves,
    /// An enforcement point failed its proof: holds even where no record can be made.
    pub(crate) alarmed: AtomicBool,
}

/// Counts the changes of the live tree that rooms begin and end.
#[derive(Default)]
pub(crate) struct Moves {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Moves {
    /// Makes a change.
    fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let result = change();
        self.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// How many there were, once none is under way; none when it was cancelled.
    fn at_rest(&self, cancel: &CancelToken) -> Option<u64> {
        loop {
            // In this order: a change that begins in between is under way.
            let ended = self.ended.load(Ordering::SeqCst);
            let begun = self.begun.load(Ordering::SeqCst);
            if begun == ended {
                return Some(begun);
            }
            if cancel.is_cancelled() {
                return None;
            }
            std::thread::sleep(CANCEL_STEP);
        }
    }

    /// None began since.
    fn still(&self, count: u64) -> bool {
        self.begun.load(Ordering::SeqCst) == count
    }
}

impl Rooms {
    /// The next step of an issue, decided by its phase alone.
    pub(crate) fn step(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        let undone = matches!(issue.phase, Phase::RolledBack | Phase::AbortRolledBack);
        if (self.alarmed.load(Ordering::SeqCst) || self.ledger.store().switches()?.frozen)
            && !undone
            && !issue.phase.may_have_touched_live_tree()
        {
            self.note(issue, "healing is frozen; waiting");
            return Ok(Step::Rest);
        }
        match issue.phase {
            Phase::Approved => self.diagnose(issue, cancel),
            Phase::Diagnosed => self.draft(issue, cancel),
            Phase::Drafted => self.prove(issue, cancel),
            Phase::Proved => self.assess(issue),
            Phase::Assessed => self.decide(issue),
            Phase::Cleared => self.apply(issue, cancel),
            Phase::Applied => self.restart_and_begin_verification(issue, cancel),
            Phase::Verifying => self.verify(issue, cancel),
            Phase::Verified => self.record(issue, Event::IssueResolved),
            Phase::Refuted => self.roll_back(issue, "the verification did not pass"),
            Phase::Applying => {
                self.roll_back(issue, "the host stopped while the patch was being applied")
            }
            Phase::RollingBack | Phase::Aborting => self.finish_roll_back(issue),
            Phase::RolledBack => self.fail(issue),
            Phase::AbortRolledBack => {
                let reason = issue
                    .end_reason
                    .clone()
                    .unwrap_or_else(|| "aborted".to_owned());
                self.restart_after_undoing(issue)?;
                self.record(issue, Event::IssueAborted { reason })
            }
            Phase::Failed => self.retry_or_escalate(issue),
            Phase::Diagnosing | Phase::Drafting => self.record(issue, Event::RunInterrupted),
            Phase::Open
            | Phase::Rejected
            | Phase::Observed
            | Phase::PatchPending
            | Phase::Resolved
            | Phase::Escalated
            | Phase::Stuck
            | Phase::Aborted => Ok(Step::Rest),
        }
    }

    /// The autonomy level in force.
    pub(crate) fn level(&self) -> Result<AutonomyLevel, StoreError> {
        let switches = self.ledger.store().switches()?;
        let rules = self.settings.rules.get();
        Ok(switches.autonomy.unwrap_or(rules.level).min(rules.ceiling))
    }

    fn record(&self, issue: &Issue, event: Event) -> Result<Step, RecordError> {
        self.ledger
            .record(issue.number, Actor::Host, event)
            .map(|_| Step::On)
    }

    fn escalate(&self, issue: &Issue, reason: impl Into<String>) -> Result<Step, RecordError> {
        self.record(
            issue,
            Event::IssueEscalated {
                reason: bounds::clip(reason.into(), bounds::ACCOUNT),
            },
        )
    }

    pub(crate) fn note(&self, issue: &Issue, note: &str) {
        self.feed.publish(&FeedItem::Progress {
            issue: issue.number,
            note: note.to_owned(),
        });
    }

    /// The policy generation that is in force for the issue's run.
    pub(crate) fn policies_of(&self, issue: &Issue) -> Arc<dyn PolicySet> {
        let run = issue.run().map(|run| run.reference(issue.number));
        self.doors.policies.for_run(run)
    }

    fn agent_actor(&self) -> Actor {
        Actor::Agent(self.doors.agent.name())
    }

    /// Puts on record that a text of the brief is of a lower trust class than anything
    /// the issue itself holds. What the agent then does is judged under that class.
    fn heed(&self, issue: &Issue, brief: &DiagnosisBrief) -> Result<Issue, RecordError> {
        let Some(lowest) = brief.texts.iter().min_by_key(|text| text.trust) else {
            return Ok(issue.clone());
        };
        if lowest.trust >= issue.trust() {
            return Ok(issue.clone());
        }
        let lowered = Event::TrustLowered {
            trust: lowest.trust,
            source: lowest.label.clone(),
        };
        self.ledger.record(issue.number, Actor::Host, lowered)
    }

    /// Trust class of all that led here, as it stands now: agents at work lower it.
    fn trust(&self, issue: &Issue) -> Result<TrustClass, RecordError> {
        let now = self.ledger.store().issue(issue.number)?;
        Ok(now.map_or(issue.trust(), |now| now.trust().min(issue.trust())))
    }

    fn session(
        &self,
        issue: &Issue,
        actor: Actor,
        cancel: &CancelToken,
    ) -> Result<ToolSessionSpec, RecordError> {
        Ok(ToolSessionSpec {
            run: issue.run().map(|run| run.reference(issue.number)),
            actor,
            trust: self.trust(issue)?,
            level: self.level()?,
            service: issue.report.service.clone(),
            earned: self.past(issue)?.record,
            recorder: Arc::new(LedgerRecorder {
                ledger: Arc::clone(&self.ledger),
                feed: Arc::clone(&self.feed),
                issue: issue.number,
            }),
            cancel: cancel.clone(),
        })
    }

    fn context(&self, issue: &Issue, phase: AgentPhase) -> Result<PolicyContext, RecordError> {
        Ok(PolicyContext {
            run: issue.run().map(|run| run.reference(issue.number)),
            phase,
            environment: self.settings.rules.get().environment,
            level: self.level()?,
            actor: self.doors.agent.name(),
            trust: self.trust(issue)?,
            service: issue.report.service.clone(),
            earned: self.past(issue)?.record,
            counters: RunCounters::default(),
        })
    }

    /// What became of earlier runs about the issue's service, as it stood when the run
    /// was first asked about.
    fn past(&self, issue: &Issue) -> Result<Arc<Past>, RecordError> {
        let run = issue.run().map(|run| run.id);
        if let Some(past) = run.and_then(|run| self.known().get(&run)?.past.clone()) {
            return Ok(past);
        }
        let service = issue.report.service.as_deref();
        let past = Arc::new(self.outcomes.past(&self.ledger, service)?);
        if let Some(run) = run {
            self.learn(run, |known| known.past = Some(Arc::clone(&past)));
        }
        Ok(past)
    }

    /// Adds to the facts what repository and log say about the patch's files.
    fn inform(&self, issue: &Issue, facts: &mut PatchFacts) -> Result<(), RecordError> {
        let past = self.past(issue)?;
        let Some(run) = issue.run() else {
            return Ok(());
        };
        let paths: Vec<String> = facts.files.iter().map(|file| file.path.clone()).collect();
        let there = self
            .known()
            .get(&run.id)
            .and_then(|it| it.surroundings.clone());
        let surroundings = match there {
            Some(there) if there.are_of(&run.snapshot, &paths) => there,
            _ => {
                let repository = self.doors.repository.as_ref();
                let read = Arc::new(Surroundings::read(repository, &run.snapshot, paths));
                self.learn(run.id, |known| known.surroundings = Some(Arc::clone(&read)));
                read
            }
        };
        surroundings.tell(facts, &past);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RunId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, run: RunId, what: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        if known.len() >= MOST_KNOWN && !known.contains_key(&run) {
            known.clear();
        }
        what(known.entry(run).or_default());
    }

    fn trail(&self, set: &dyn PolicySet) -> Trail {
        let (size, root) = self.ledger.store().tree_head();
        Trail {
            policy: format!("{} {}", set.generation(), set.digest()),
            audit: format!("{size} {root}"),
            installation: self.settings.installation.clone(),
        }
    }

    /// Has the services of a run take up the files as they are, and records each. With
    /// `cancel` it can be given up in the middle.
    fn restart_services(
        &self,
        issue: &Issue,
        names: &[String],
        cancel: Option<&CancelToken>,
    ) -> Result<(), RecordError> {
        for name in names {
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Ok(());
            }
            self.note(issue, &format!("restarting service {name}"));
            let mark = self.doors.services.log_position(name);
            self.log_marks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.clone(), mark);
            let restarted = |outcome| Event::ServiceRestarted {
                service: name.clone(),
                outcome,
            };
            // On record before it happens (invariant 8), and again with what came of it.
            let intent = ToolOutcome::Unknown("it is about to be restarted".to_owned());
            self.record(issue, restarted(intent))?;
            let (services, service) = (Arc::clone(&self.doors.services), name.clone());
            let restart = move || services.reload_or_restart(&service);
            let done = match cancel {
                Some(cancel) => unless_cancelled(cancel, restart),
                None => Some(restart()),
            };
            let outcome = match done {
                Some(Ok(())) => ToolOutcome::Succeeded("restarted and ready".to_owned()),
                Some(Err(error)) => {
                    ToolOutcome::Failed(bounds::clip(crate::healer::chain(&error), bounds::DETAIL))
                }
                None => ToolOutcome::Unknown("not waited for: the run was stopped".to_owned()),
            };
            self.record(issue, restarted(outcome))?;
        }
        Ok(())
    }

    /// Where to read a service's log from, to see what it said since its restart.
    fn log_mark(&self, name: &str) -> u64 {
        let marks = self
            .log_marks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        marks
            .get(name)
            .copied()
            .unwrap_or_else(|| self.doors.services.log_position(name))
    }

    /// What an issue holds while its patch is in the live tree: the files of the patch
    /// and the services it affects.
    pub(crate) fn claim(&self, issue: &Issue) -> Claim {
        let Some(run) = issue.run() else {
            return Claim::default();
        };
        let files = run.draft.iter().flat_map(|draft| &draft.patch.files);
        Claim {
            files: files.map(|file| file.path.clone()).collect(),
            services: self.affected_services(run).into_iter().collect(),
        }
    }

    /// Services a patch affects: named by the diagnosis, else those whose directory
    /// holds a changed file, else all.
    fn affected_services(&self, run: &Run) -> Vec<String> {
        let known = self.doors.services.names();
        let named: Vec<String> = run
            .diagnosis
            .iter()
            .flat_map(|d| d.affected_services.iter().cloned())
            .collect();
        let changed = || {
            run.draft
                .iter()
                .flat_map(|draft| draft.patch.files.iter().map(|file| file.path.as_str()))
        };
        let by_directory = self
            .settings
            .service_directories
            .iter()
            .filter(|(_, directory)| {
                let prefix = format!("{}/", directory.trim_matches('/'));
                directory.trim_matches(['/', '.']).is_empty()
                    || changed().any(|path| path.starts_with(&prefix))
            });
        let by_directory: Vec<String> = by_directory.map(|(name, _)| name.clone()).collect();
        let wanted = if named.is_empty() {
            by_directory
        } else {
            named
        };
        let affected: Vec<String> = known
            .iter()
            .filter(|name| wanted.contains(name))
            .cloned()
            .collect();
        if affected.is_empty() { known } else { affected }
    }
}

/// How often work that cannot be told to stop is asked whether it must be waited for.
const CANCEL_STEP: Duration = Duration::from_millis(50);

/// What `work` comes to, unless it is cancelled before: then nobody waits for it, and
/// what it still does is the end of it.
fn unless_cancelled<T: Send + 'static>(
    cancel: &CancelToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, end) = std::sync::mpsc::channel();
    let started = std::thread::Builder::new()
        .name("room".to_owned())
        .spawn(move || {
            // Nobody hears it where it was cancelled.
            let _unheard = done.send(work());
        });
    if let Err(error) = started {
        tracing::error!(%error, "no thread could be started");
        return None;
    }
    while !cancel.is_cancelled() {
        match end.recv_timeout(CANCEL_STEP) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// The run belongs to the approval in force.
fn since_approval(issue: &Issue, run: &Run) -> bool {
    issue.approved_at.is_none_or(|at| run.started_at >= at)
}

/// The snapshot a run works on.
fn snapshot_of(run: &Run) -> Snapshot {
    Snapshot {
        commit: run.snapshot.clone(),
        base: run.base_commit.clone(),
        branch: run.live_branch.clone(),
        dirty: run.snapshot != run.base_commit,
    }
}
