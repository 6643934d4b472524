//! A world in memory: every port of the pipeline, scripted.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod outside;
mod policies;

use chrono::{DateTime, Utc};
use selfheal_domain::agent::*;
use selfheal_domain::culprit::*;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, NewRecord, Record};
use selfheal_domain::ids::*;
use selfheal_domain::issue::{Issue, Source};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::permit::{Apply, DraftPatch, Permit, Rollback};
use selfheal_domain::policy::*;
use selfheal_domain::ports::*;
use selfheal_domain::query::IssueFilter;
use selfheal_domain::report::ReportDraft;
use selfheal_domain::risk::*;
use selfheal_domain::service::LogError;
use selfheal_domain::state::Phase;
use selfheal_domain::tools::*;
use selfheal_domain::user::{Account, Role, UserName};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use selfheal_pipeline::desk::{Caller, IssueDesk};
use selfheal_pipeline::feed::Feed;
use selfheal_pipeline::healer::{Doors, Healer};
use selfheal_pipeline::settings::{HostRules, PatchLimits, PathMatcher, RulesInForce, Settings};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub const BROKEN: &str = "x = 1\n";
pub const ONE: IssueNumber = IssueNumber(1);

/// What the world does; tests turn the knobs.
pub struct Script {
    pub files: BTreeMap<String, String>,
    /// What they were when a run began.
    pub snapshots: HashMap<RunId, BTreeMap<String, String>>,
    /// Commits on the live branch, by kind.
    pub commits: Vec<String>,
    pub generation: u64,
    pub deny_patch: bool,
    pub ask_patch: bool,
    pub risk: u32,
    pub action: AutonomyAction,
    /// Files the agent writes, from draft to draft.
    pub writes: Vec<String>,
    pub drafts: usize,
    /// How often all issues were read.
    pub listed: usize,
    pub excluded: Vec<usize>,
    pub reproduction: bool,
    /// The check passes when `app.py` does not hold this.
    pub healthy: bool,
    pub probes: bool,
    pub roll_back_fails: bool,
    pub apply_fails: bool,
    pub fits: bool,
    pub fit: Fit,
    pub confidence: f64,
    pub test_paths: bool,
    pub restarts: usize,
    /// Every call of a port that acts on something, with the record that was the
    /// latest at that time.
    pub trace: Vec<(&'static str, Event)>,
    /// The journal takes no records of this type.
    pub unrecordable: Option<&'static str>,
    pub log: String,
    /// What risk modules were asked, call by call.
    pub assessed: Vec<(PolicyContext, PatchFacts)>,
    /// Situations in which it was asked whether an issue may start.
    pub admitted: Vec<PolicyContext>,
    /// Signals that the room was entered, then waits for cancellation.
    pub hold: Option<(&'static str, Sender<()>)>,
    /// What is wrong for which issue, where it is not the one line of `app.py`.
    pub bugs: BTreeMap<u64, Bug>,
    /// Whoever enters this room waits until as many are in it.
    pub meeting: Option<(&'static str, Arc<Meeting>)>,
    /// How the next checks on the unchanged base end, and what they say.
    pub base_runs: VecDeque<(i32, String)>,
    /// The same for checks on a patch.
    pub patch_runs: VecDeque<(i32, String)>,
    /// What the next probes say, before `probes` does.
    pub next_probes: VecDeque<bool>,
    /// Errors that are new in the service's log; none where nobody watches.
    pub new_errors: Option<Vec<LogError>>,
    /// The agent finds a cause.
    pub finds: bool,
    /// Services of the application.
    pub services: Vec<String>,
    /// Services and probes that hang may go on.
    pub released: bool,
    /// What `app.py` was in earlier commits, the newest first.
    pub history: Vec<String>,
}

/// A file with a mark in it that must go.
#[derive(Clone)]
pub struct Bug {
    pub path: &'static str,
    pub mark: &'static str,
    pub fix: &'static str,
}

/// Some threads that wait for each other.
#[derive(Default)]
pub struct Meeting {
    here: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    /// Waits until `wanted` have come, for a minute at most.
    fn wait(&self, wanted: usize) {
        let mut here = self.here.lock().unwrap();
        *here += 1;
        self.changed.notify_all();
        while *here < wanted {
            let (next, wait) = self
                .changed
                .wait_timeout(here, Duration::from_secs(60))
                .unwrap();
            assert!(!wait.timed_out(), "nobody else came");
            here = next;
        }
    }
}

pub struct World {
    pub script: Mutex<Script>,
    pub records: Mutex<Vec<Record>>,
    ids: Mutex<u128>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            script: Mutex::new(Script {
                files: BTreeMap::from([("app.py".to_owned(), BROKEN.to_owned())]),
                snapshots: HashMap::new(),
                commits: Vec::new(),
                generation: 1,
                deny_patch: false,
                ask_patch: false,
                risk: 5,
                action: AutonomyAction::Apply,
                writes: (2..9).map(|n| format!("x = {n}\n")).collect(),
                drafts: 0,
                listed: 0,
                excluded: Vec::new(),
                reproduction: true,
                healthy: true,
                probes: true,
                roll_back_fails: false,
                apply_fails: false,
                fits: true,
                fit: Fit::Exact,
                confidence: 0.9,
                test_paths: false,
                restarts: 0,
                trace: Vec::new(),
                unrecordable: None,
                log: String::new(),
                assessed: Vec::new(),
                admitted: Vec::new(),
                hold: None,
                bugs: BTreeMap::new(),
                meeting: None,
                base_runs: VecDeque::new(),
                patch_runs: VecDeque::new(),
                next_probes: VecDeque::new(),
                new_errors: Some(Vec::new()),
                finds: true,
                services: vec!["web".to_owned()],
                released: false,
                history: Vec::new(),
            }),
            records: Mutex::default(),
            ids: Mutex::new(1),
        }
    }
}

impl World {
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub fn get<T>(&self, read: impl FnOnce(&Script) -> T) -> T {
        read(&self.script.lock().unwrap())
    }

    /// Makes a room wait until it is cancelled; the receiver hears when it is entered.
    pub fn hold(&self, room: &'static str) -> Receiver<()> {
        let (entered, heard) = channel();
        self.set(|it| it.hold = Some((room, entered)));
        heard
    }

    fn acts(&self, what: &'static str) {
        let latest = self.records.lock().unwrap().last().unwrap().event.clone();
        self.set(|it| it.trace.push((what, latest)));
    }

    /// What is wrong for an issue.
    fn bug(&self, issue: u64) -> Bug {
        self.get(|it| it.bugs.get(&issue).cloned()).unwrap_or(Bug {
            path: "app.py",
            mark: BROKEN,
            fix: "",
        })
    }

    /// Has two meet in `room`.
    pub fn meet(&self, room: &'static str) {
        self.set(|it| it.meeting = Some((room, Arc::default())));
    }

    /// What hears no cancellation hangs until it is released.
    fn hang(&self, what: &str) {
        if self.held(what) {
            while !self.get(|it| it.released) {
                std::thread::yield_now();
            }
        }
    }

    fn enter(&self, room: &str) {
        let meeting = self.get(|it| it.meeting.clone());
        if let Some((_, meeting)) = meeting.filter(|(wanted, _)| *wanted == room) {
            meeting.wait(2);
        }
    }

    fn held(&self, room: &str) -> bool {
        let mut script = self.script.lock().unwrap();
        match &script.hold {
            Some((held, entered)) if *held == room => {
                let _heard = entered.send(());
                script.hold = None;
                true
            }
            _ => false,
        }
    }

    /// Phase of the only issue.
    pub fn folded_phase(&self) -> Phase {
        self.folded()[0].phase
    }

    fn folded(&self) -> Vec<Issue> {
        let mut issues: Vec<Issue> = Vec::new();
        for record in self.records.lock().unwrap().iter() {
            let Some(number) = record.issue else { continue };
            let new = NewRecord {
                at: record.at,
                actor: record.actor.clone(),
                issue: record.issue,
                event: record.event.clone(),
            };
            match issues.iter_mut().find(|issue| issue.number == number) {
                Some(issue) => *issue = issue.after(&new).unwrap(),
                None => issues.push(Issue::open(&new).unwrap()),
            }
        }
        issues
    }
}

impl Clock for World {
    fn now(&self) -> DateTime<Utc> {
        let second = self.records.lock().unwrap().len();
        DateTime::from_timestamp(1_790_000_000 + second as i64, 0).unwrap()
    }
}

impl IdSource for World {
    fn uuid(&self) -> Uuid {
        let mut last = self.ids.lock().unwrap();
        *last += 1;
        Uuid::from_u128(*last)
    }
}

impl EventStore for World {
    fn append(&self, new: NewRecord, _: Option<&Issue>) -> Result<Record, StoreError> {
        let mut records = self.records.lock().unwrap();
        let numbers = records.iter().filter_map(|record| record.issue);
        let last = numbers.map(|number| number.0).max().unwrap_or_default();
        let new = new.numbered(IssueNumber(last + 1));
        // As the journal does: what cannot be read again is found here.
        let text = serde_json::to_string(&new.event).unwrap();
        if let Some(refused) = self.get(|it| it.unrecordable)
            && text.contains(&format!("\"type\":\"{refused}\""))
        {
            return Err(StoreError::NotWritten("the disk is full".into()));
        }
        let event: Event = serde_json::from_str(&text).unwrap();
        let record = Record {
            seq: records.len() as u64,
            at: new.at,
            actor: new.actor,
            issue: new.issue,
            event,
            previous: Digest([0; 32]),
            hash: Digest([0; 32]),
        };
        records.push(record.clone());
        Ok(record)
    }
    fn issue(&self, number: IssueNumber) -> Result<Option<Issue>, StoreError> {
        Ok(self.folded().into_iter().find(|it| it.number == number))
    }
    fn issue_number(&self, id: IssueId) -> Result<Option<IssueNumber>, StoreError> {
        let found = self.folded().into_iter().find(|it| it.id == id);
        Ok(found.map(|it| it.number))
    }
    fn issues(
        &self,
        _: &IssueFilter,
        cursor: Option<&str>,
        _: usize,
    ) -> Result<Page<IssueSummary>, StoreError> {
        self.set(|it| it.listed += 1);
        assert!(cursor.is_none(), "everything fits one page");
        let items = self.folded().into_iter().rev().map(|issue| IssueSummary {
            id: issue.id,
            number: issue.number,
            title: issue.report.title.clone(),
            status: issue.status(),
            severity: issue.report.severity,
            priority: issue.report.priority,
            source: issue.report.source,
            category: issue.report.category,
            service: issue.report.service.clone(),
            reported_by: issue.reported_by.clone(),
            created_at: issue.created_at,
            updated_at: issue.updated_at,
            snooze: issue.snooze,
        });
        Ok(Page {
            items: items.collect(),
            next_cursor: None,
        })
    }
    fn active_issues(&self) -> Result<Vec<IssueNumber>, StoreError> {
        let active = self.folded().into_iter().filter(|it| it.phase.is_active());
        Ok(active.map(|it| it.number).collect())
    }
    fn last_issue_number(&self) -> Result<u64, StoreError> {
        Ok(self.folded().len() as u64)
    }
    fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.records.lock().unwrap();
        let wanted = records
            .iter()
            .filter(|it| it.seq >= from && (issue.is_none() || it.issue == issue));
        Ok(wanted.take(limit).cloned().collect())
    }
    fn head(&self) -> (u64, Digest) {
        (self.records.lock().unwrap().len() as u64, Digest([0; 32]))
    }
    fn accounts(&self) -> Result<Arc<Vec<Account>>, StoreError> {
        Ok(Arc::default())
    }
    fn switches(&self) -> Result<Switches, StoreError> {
        let mut switches = Switches::default();
        for record in self.records.lock().unwrap().iter() {
            match &record.event {
                Event::AutonomyChanged { level, .. } => switches.autonomy = Some(*level),
                Event::FreezeChanged { frozen, .. } => switches.frozen = *frozen,
                _ => {}
            }
        }
        Ok(switches)
    }
}

/// Ports that other ports of the same name would hide, over one world.
#[derive(Clone)]
pub struct Port(pub Arc<World>);

impl Agent for Port {
    fn name(&self) -> String {
        "engine:scripted".to_owned()
    }
    fn diagnose(&self, _: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError> {
        self.0.acts("diagnose");
        self.0.enter("diagnose");
        if !self.0.get(|it| it.finds) {
            return Err(AgentError::NotFound {
                summary: "no patch passed".to_owned(),
                log: "tried everything".to_owned(),
                effort: Effort::default(),
            });
        }
        if self.0.held("diagnose") {
            while !tools.cancelled() {
                std::thread::yield_now();
            }
            return Err(ToolError::Cancelled.into());
        }
        let (reproduction, confidence) = self.0.get(|it| (it.reproduction, it.confidence));
        Ok(Diagnosis {
            root_cause: "x is wrong".to_owned(),
            confidence,
            affected_files: vec!["app.py".to_owned()],
            affected_services: Vec::new(),
            suggested_fix: String::new(),
            reproduction: reproduction.then(check),
            proposals: Vec::new(),
            log: "Traceback (most recent call last)".repeat(9000),
            effort: Effort::default(),
        })
    }
    fn draft(
        &self,
        brief: &DiagnosisBrief,
        _: &Diagnosis,
        _: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        self.0.acts("draft");
        self.0.set(|it| {
            it.drafts += 1;
            it.excluded.push(brief.excluded.len());
        });
        Ok(Draft {
            rationale: "because".to_owned(),
            confidence: self.0.get(|it| it.confidence),
            files: Vec::new(),
            rivals: Vec::new(),
            log: String::new(),
        })
    }
}

pub fn check() -> CheckCommand {
    CheckCommand {
        command: "python3 -m unittest".to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(5),
    }
}

/// Tools whose only command passes when the broken line is gone.
struct FakeTools {
    world: Arc<World>,
    issue: u64,
    cancel: CancelToken,
    patch: Option<Patch>,
    /// What was written with a tool, in place of what the script says.
    written: Mutex<Option<String>>,
}

impl Tools for FakeTools {
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        if let ToolRequest::Write { content, .. } = request {
            *self.written.lock().unwrap() = Some(content);
            return Ok(ToolOutput::Written);
        }
        let issue = self.world.issue(IssueNumber(self.issue)).unwrap();
        let room = match (&self.patch, issue.map(|issue| issue.phase)) {
            (Some(_), _) => "prove",
            (None, Some(Phase::Verifying)) => "verify",
            (None, _) => "base",
        };
        self.world.enter(room);
        if self.world.held(room) {
            while !self.cancel.is_cancelled() {
                std::thread::yield_now();
            }
            return Err(ToolError::Cancelled);
        }
        let mut files = self.world.get(|it| it.files.clone());
        for file in self.patch.iter().flat_map(|patch| &patch.files) {
            files.insert(file.path.clone(), file.after.clone().unwrap_or_default());
        }
        let bug = self.world.bug(self.issue);
        let seen = i32::from(files[bug.path].contains(bug.mark));
        let mut script = self.world.script.lock().unwrap();
        let forced = match room {
            "prove" => script.patch_runs.pop_front(),
            "base" => script.base_runs.pop_front(),
            _ => None,
        };
        let (code, stdout) = forced.unwrap_or((seen, String::new()));
        Ok(ToolOutput::Command(CommandOutput {
            ended: Ended::Exit(code),
            stdout,
            stderr: String::new(),
            truncated: false,
            seconds: 0.1,
        }))
    }
    fn session(&self, _: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        Err(ToolError::Unavailable("none here".to_owned()))
    }
    fn workspace(&self) -> String {
        "/app".to_owned()
    }
    fn assets(&self) -> String {
        "/assets".to_owned()
    }
    fn progress(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl DraftingTools for FakeTools {
    fn changes(&self) -> Result<Vec<FileChange>, String> {
        let bug = self.world.bug(self.issue);
        let script = self.world.script.lock().unwrap();
        let before = script.files[bug.path].clone();
        let after = match (self.written.lock().unwrap().take(), bug.fix) {
            (Some(written), _) => written,
            (None, "") => script.writes[(script.drafts - 1).min(script.writes.len() - 1)].clone(),
            (None, fix) => before.replace(bug.mark, fix),
        };
        let mut changes = vec![FileChange {
            path: bug.path.to_owned(),
            before: Some(before),
            after: Some(after),
        }];
        if script.test_paths {
            changes.push(FileChange {
                path: "tests/test_app.py".to_owned(),
                before: None,
                after: Some("pass\n".to_owned()),
            });
        }
        Ok(changes)
    }
    fn as_tools(&self) -> &dyn Tools {
        self
    }
}

impl Workbench for Port {
    fn for_diagnosis(&self, session: ToolSessionSpec) -> Box<dyn Tools> {
        self.for_verification(session, None)
    }
    fn for_drafting(&self, session: ToolSessionSpec, _: &RunWorktree) -> Box<dyn DraftingTools> {
        Box::new(FakeTools {
            world: Arc::clone(&self.0),
            issue: session.run.map_or(1, |run| run.issue.0),
            cancel: session.cancel,
            patch: None,
            written: Mutex::default(),
        })
    }
    fn for_verification(&self, session: ToolSessionSpec, patch: Option<&Patch>) -> Box<dyn Tools> {
        Box::new(FakeTools {
            world: Arc::clone(&self.0),
            issue: session.run.map_or(1, |run| run.issue.0),
            cancel: session.cancel,
            patch: patch.cloned(),
            written: Mutex::default(),
        })
    }
}

/// Settings at `level`, with one check.
pub fn settings(level: AutonomyLevel) -> Settings {
    Settings {
        rules: RulesInForce::new(HostRules {
            environment: Environment::Production,
            level,
            ceiling: AutonomyLevel::AutoAll,
            four_eyes: false,
            limits: PatchLimits {
                max_files: 3,
                max_changed_lines: 20,
                protected: PathMatcher::new(|path| path.starts_with("secret/")),
            },
        }),
        checks: vec![check()],
        max_attempts: 3,
        concurrency: NonZeroUsize::MIN,
        diagnosis_budget: Duration::from_secs(9),
        watch: Duration::ZERO,
        service_directories: Vec::new(),
        installation: "here".to_owned(),
    }
}

/// One host over a world; a second one over the same world is a restart.
pub struct Host {
    pub world: Arc<World>,
    pub healer: Arc<Healer>,
    pub desk: IssueDesk,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    pub fn new(world: &Arc<World>, settings: Settings) -> Self {
        let store: Arc<dyn EventStore> = Arc::clone(world) as _;
        let clock: Arc<dyn Clock> = Arc::clone(world) as _;
        let ids: Arc<dyn IdSource> = Arc::clone(world) as _;
        let port = Arc::new(Port(Arc::clone(world)));
        let ledger = Ledger::new(store, Arc::clone(&clock), Box::new(|_| {}));
        let doors = Doors {
            agent: Arc::clone(&port) as _,
            workbench: Arc::clone(&port) as _,
            repository: Arc::clone(&port) as _,
            policies: Arc::clone(&port) as _,
            services: Arc::clone(&port) as _,
            probes: Arc::clone(&port) as _,
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
        };
        let feed = Arc::new(Feed::default());
        let healer = Arc::new(Healer::new(
            Arc::new(ledger),
            feed,
            Arc::new(settings),
            doors,
        ));
        let desk = IssueDesk::new(
            Arc::clone(&healer),
            Arc::clone(&port) as _,
            port as _,
            clock,
            ids,
        );
        Self {
            world: Arc::clone(world),
            healer,
            desk,
            thread: None,
        }
    }

    pub fn start(mut self) -> Self {
        self.thread = Some(self.healer.start().unwrap());
        self
    }

    /// A running host at `level` with one issue that was reported and approved.
    pub fn with_issue(world: &Arc<World>, level: AutonomyLevel) -> Self {
        let host = Self::new(world, settings(level)).start();
        host.report();
        host.desk.approve(&admin("ada"), "1").unwrap();
        host
    }

    pub fn report(&self) {
        let draft: ReportDraft =
            serde_json::from_str(r#"{"title":"It breaks","description":"Every time"}"#).unwrap();
        self.desk.report(&user("rita"), draft, Source::Api).unwrap();
    }

    pub fn issue(&self) -> Issue {
        self.world.issue(ONE).unwrap().unwrap()
    }

    /// Waits until the healer has nothing to do.
    pub fn rest(&self) -> Issue {
        self.healer.wait_until_idle(Duration::from_secs(60));
        self.issue()
    }

    pub fn rests_in(&self, phase: Phase) -> Issue {
        let issue = self.rest();
        assert_eq!(
            issue.phase,
            phase,
            "{:?} {:?}",
            issue.end_reason,
            issue
                .runs
                .last()
                .map(|run| (&run.end_reason, &run.proof, &run.verification))
        );
        issue
    }

    pub fn approve_patch(&self) {
        let digest = self
            .issue()
            .run()
            .unwrap()
            .draft
            .as_ref()
            .unwrap()
            .patch
            .digest;
        self.desk
            .approve_patch(&admin("ada"), "1", &digest.to_string())
            .unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.healer.close();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

pub fn caller(name: &str, role: Role) -> Caller {
    Caller {
        name: UserName::new(name).unwrap(),
        role,
    }
}

pub fn admin(name: &str) -> Caller {
    caller(name, Role::Admin)
}

pub fn user(name: &str) -> Caller {
    caller(name, Role::User)
}
