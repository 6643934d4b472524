//! A host without an agent: the healer is never started, so issues stay where the
//! tests put them.

use super::reply::Reply;
use crate::{ApiOptions, ApiState, control_router, new_token, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use chrono::{DateTime, Duration as ChronoDuration, TimeZone, Utc};
use selfheal_audit::Masker;
use selfheal_domain::account::Standing;
use selfheal_domain::agent::{Agent, AgentError, Diagnosis, DiagnosisBrief, Draft, Effort};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::ids::{CommitId, IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::ledger::{Ledger, Seen};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::permit::{Apply, DraftPatch, Permit, Rollback};
use selfheal_domain::policy::*;
use selfheal_domain::policy_control::*;
use selfheal_domain::ports::*;
use selfheal_domain::risk::*;
use selfheal_domain::tools::Tools;
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_domain::verdict::{Answer, Judgement, ModuleAnswer, Reason, Verdict};
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};
use selfheal_pipeline::desk::IssueDesk;
use selfheal_pipeline::feed::{Feed, FeedItem};
use selfheal_pipeline::healer::{Doors, Healer};
use selfheal_pipeline::settings::{HostRules, PatchLimits, PathMatcher, RulesInForce, Settings};
use selfheal_store::{JournalStore, Options};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;
use uuid::Uuid;

#[derive(Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> DateTime<Utc> {
        let seconds = i64::try_from(self.0.fetch_add(1, Ordering::SeqCst)).unwrap();
        Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap() + ChronoDuration::seconds(seconds)
    }
}

impl IdSource for Ticks {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

struct NoAgent;

impl Agent for NoAgent {
    fn name(&self) -> String {
        "engine:none".into()
    }
    fn diagnose(&self, _: &DiagnosisBrief, _: &dyn Tools) -> Result<Diagnosis, AgentError> {
        Err(AgentError::NothingWrong("never asked".into()))
    }
    fn draft(&self, _: &DiagnosisBrief, _: &Diagnosis, _: &dyn Tools) -> Result<Draft, AgentError> {
        Err(AgentError::NothingWrong("never asked".into()))
    }
}

struct Nothing;

impl Workbench for Nothing {
    fn for_diagnosis(&self, _: ToolSessionSpec) -> Box<dyn Tools> {
        unreachable!("the healer is not started")
    }
    fn for_drafting(&self, _: ToolSessionSpec, _: &RunWorktree) -> Box<dyn DraftingTools> {
        unreachable!("the healer is not started")
    }
    fn for_verification(&self, _: ToolSessionSpec, _: Option<&Patch>) -> Box<dyn Tools> {
        unreachable!("the healer is not started")
    }
}

/// A commit that the repository no longer has.
pub(super) const GONE: &str = "dddddddddddddddddddddddddddddddddddddddd";

impl Repository for Nothing {
    fn root(&self) -> PathBuf {
        PathBuf::new()
    }
    fn trailers(&self, commit: &CommitId) -> Result<Vec<(String, String)>, RepositoryError> {
        match commit.0.as_str() {
            GONE => Err(RepositoryError::Conflict("it is not there".to_owned())),
            _ => Ok(vec![("Selfheal-Kind".to_owned(), "heal".to_owned())]),
        }
    }
    fn snapshot(&self, _: RunRef, _: &CommitMessage) -> Result<Snapshot, RepositoryError> {
        Err(RepositoryError::WrongPermit)
    }
    fn open_worktree(
        &self,
        _: &Permit<DraftPatch>,
        _: &CommitId,
    ) -> Result<RunWorktree, RepositoryError> {
        Err(RepositoryError::WrongPermit)
    }
    fn commit_draft(
        &self,
        _: Permit<DraftPatch>,
        _: &CommitId,
        _: &Patch,
        _: &CommitMessage,
    ) -> Result<CommitId, RepositoryError> {
        Err(RepositoryError::WrongPermit)
    }
    fn close_worktree(&self, _: RunRef) -> Result<(), RepositoryError> {
        Ok(())
    }
    fn check_fits(&self, _: &Snapshot, _: &Patch) -> Result<Fit, RepositoryError> {
        Ok(Fit::Exact)
    }
    fn apply(
        &self,
        _: Permit<Apply>,
        _: &Snapshot,
        _: &Patch,
        _: &CommitMessage,
    ) -> Result<Applied, RepositoryError> {
        Err(RepositoryError::WrongPermit)
    }
    fn roll_back(
        &self,
        _: Permit<Rollback>,
        _: &Snapshot,
        _: &Patch,
        _: &CommitMessage,
    ) -> Result<Option<CommitId>, RepositoryError> {
        Err(RepositoryError::WrongPermit)
    }
    fn rehearse_rollback(&self, _: &Snapshot, _: &Patch) -> Result<(), RepositoryError> {
        Ok(())
    }
}

impl Probes for Nothing {
    fn check(&self, _: Duration) -> Vec<CheckEvidence> {
        Vec::new()
    }
}

struct OneService;

impl Services for OneService {
    fn names(&self) -> Vec<String> {
        vec!["web".into()]
    }
    fn restart(&self, name: &str) -> Result<(), ServiceError> {
        match name {
            "web" => Ok(()),
            other => Err(ServiceError::Unknown {
                name: other.into(),
                known: "web".into(),
            }),
        }
    }
    fn health(&self, _: &str) -> CheckEvidence {
        check("health: web")
    }
    fn status(&self) -> Vec<ServiceStatus> {
        vec![ServiceStatus {
            name: "web".into(),
            state: "running".into(),
            pid: Some(42),
            since: Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap(),
            restarts: 0,
            healthy: Some(true),
            detail: "200".into(),
        }]
    }
    fn log_tail(&self, _: &str, _: usize) -> String {
        String::new()
    }
    fn log_position(&self, _: &str) -> u64 {
        0
    }
    fn log_since(&self, _: &str, _: u64, _: usize) -> String {
        String::new()
    }
}

fn check(name: &str) -> CheckEvidence {
    CheckEvidence {
        name: name.into(),
        result: VerificationResult::Pass,
        detail: "fine".into(),
        seconds: 0.1,
    }
}

pub(super) fn judgement() -> Judgement {
    Judgement::merge(
        1,
        vec![ModuleAnswer {
            module: "shell-guard".into(),
            digest: Digest::of(b"module"),
            answer: Answer::Verdict(Verdict::Allow),
            micros: 10,
        }],
    )
}

struct Asking;

impl PolicySet for Asking {
    fn generation(&self) -> u64 {
        1
    }
    fn digest(&self) -> Digest {
        Digest::of(b"set")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        vec![ModuleIdentity {
            name: "shell-guard".into(),
            version: "1.0.0".into(),
            kind: ModuleKind::Guardrail,
            digest: Digest::of(b"module"),
        }]
    }
    fn judge_tool_call(&self, _: &PolicyContext, _: &ToolCallFacts) -> Judgement {
        judgement()
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        judgement()
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        assessment()
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        decision()
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        Admission::NeedsAdmin(Reason::new("admit.ask", "an admin decides"))
    }
}

fn assessment() -> Assessment {
    Assessment {
        score: RiskScore::new(12).unwrap(),
        factors: vec![RiskFactor {
            name: "few-lines".into(),
            points: 12,
            evidence: "2 lines".into(),
        }],
        faults: Vec::new(),
        generation: 1,
        asked: None,
    }
}

fn decision() -> AutonomyDecision {
    AutonomyDecision {
        action: AutonomyAction::Review(1),
        reason: "the level is SUGGEST".into(),
        faults: Vec::new(),
        generation: 1,
        asked: None,
    }
}

struct Policies;

impl PolicyHost for Policies {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(Asking)
    }
}

/// Writes down what it is asked for; number 7, module `guard` and rule `a.b` are
/// all there is.
#[derive(Default)]
pub(super) struct Control(Mutex<Vec<String>>);

impl Control {
    /// What was asked for since the last look.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn known(&self, found: bool, what: &str) -> Result<(), PolicyRefusal> {
        if found {
            Ok(())
        } else {
            Err(PolicyRefusal::Unknown(what.to_owned()))
        }
    }
}

pub(super) fn a_time() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap()
}

fn a_plan() -> PolicyPlan {
    let changed = ChangedDecision {
        seq: 3,
        question: "Bash: git push".into(),
        before: "deny shell.git-push".into(),
        after: "allow".into(),
        reason: Some(Reason::new("shell.git-push", "no pushing")),
    };
    PolicyPlan {
        digest: "d".repeat(64),
        against: 1,
        replayed: 12,
        reproduced: 12,
        loosened: 1,
        loosening: vec![changed],
        ..PolicyPlan::default()
    }
}

fn activated(generation: u64) -> ChangeOutcome {
    ChangeOutcome::Activated {
        generation,
        plan: Box::new(a_plan()),
    }
}

impl PolicyControl for Control {
    fn status(&self) -> PolicyStatus {
        let module = |name: &str, state| ModuleStatus {
            identity: ModuleIdentity {
                name: name.into(),
                version: "1.0.0".into(),
                kind: ModuleKind::Guardrail,
                digest: Digest::of(name.as_bytes()),
            },
            state,
            reason: None,
            source: "bundled:guard".into(),
            publisher: None,
            capabilities: Vec::new(),
            generation: 1,
            since: a_time(),
            asked: 5,
            hits: [("a.b".to_owned(), 2), ("never_hit".to_owned(), 0)].into(),
            faults: 1,
            last_fault: Some("trapped".into()),
            p50_micros: 9.5,
            p99_micros: 20.0,
        };
        PolicyStatus {
            generation: 1,
            digest: Digest::of(b"set"),
            since: a_time(),
            source: ChangeSource::File,
            environment: Environment::Production,
            ceiling: AutonomyLevel::AutoLow,
            four_eyes: true,
            modules: vec![
                module("guard", ModuleState::Enforcing),
                module("odd", ModuleState::Quarantined),
            ],
            not_in_force: Some("policy.toml: line 3: what is this".into()),
            trial: Some(TrialStatus {
                generation: 2,
                rollout: Rollout::Canary { percent: 10 },
                by: Actor::Operator,
                since: a_time(),
                asked: 3,
                looser: 1,
                stricter: 0,
                faults: 0,
                differences: Vec::new(),
            }),
            proposals: vec![Proposal {
                number: 7,
                by: None,
                reason: "an edit".into(),
                at: a_time(),
                plan: a_plan(),
            }],
            grants: vec![self.a_grant("a.b", None, Actor::Operator, "now")],
            kept: vec![KeptGeneration {
                generation: 1,
                digest: Digest::of(b"set"),
                at: a_time(),
                source: ChangeSource::Start,
            }],
            enforcement: EnforcementStatus::default(),
        }
    }
    fn text(&self) -> String {
        "four_eyes = true\n".into()
    }
    fn while_seen(&self, seen: &Seen, act: &mut dyn FnMut()) -> Result<(), PolicyRefusal> {
        self.status().check(seen)?;
        act();
        Ok(())
    }
    fn keep_module(&self, bytes: &[u8], sign: Option<&[u8]>) -> Result<Digest, PolicyRefusal> {
        self.note(format!("keep {} {sign:?}", bytes.len()));
        Ok(Digest::of(bytes))
    }
    fn decide_again(
        &self,
        decision: &AutonomyDecision,
        _: AutonomyLevel,
    ) -> Option<AutonomyDecision> {
        Some(AutonomyDecision {
            action: AutonomyAction::Apply,
            ..decision.clone()
        })
    }
    fn plan(&self, candidate: &Candidate, most: u64) -> Result<PolicyPlan, PolicyRefusal> {
        self.note(format!("plan {candidate:?} {most}"));
        if matches!(candidate, Candidate::Text(text) if text == "nonsense") {
            return Err(PolicyRefusal::Unusable("policy.toml: line 1".into()));
        }
        Ok(a_plan())
    }
    fn activate(
        &self,
        candidate: &Candidate,
        rollout: Rollout,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        self.note(format!("activate {candidate:?} {rollout:?} {by} {reason}"));
        let plan = Box::new(a_plan());
        Ok(match rollout {
            Rollout::Full => ChangeOutcome::Proposed {
                proposal: 7,
                generation: 1,
                plan,
            },
            Rollout::Shadow | Rollout::Canary { .. } => ChangeOutcome::OnTrial {
                generation: 2,
                rollout,
                plan,
            },
        })
    }
    fn confirm(&self, proposal: u64, by: &Actor) -> Result<ChangeOutcome, PolicyRefusal> {
        self.note(format!("confirm {proposal} {by}"));
        self.known(proposal == 7, "proposal")?;
        match by {
            Actor::User(_) => Ok(activated(2)),
            _ => Err(PolicyRefusal::Forbidden("another admin must".into())),
        }
    }
    fn withdraw(&self, proposal: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.note(format!("withdraw {proposal} {by} {reason}"));
        self.known(proposal == 7, "proposal")
    }
    fn end_trial(
        &self,
        promote: Promote,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        self.note(format!("trial {promote:?} {by} {reason}"));
        match promote {
            Promote::Yes => Ok(activated(2)),
            Promote::No => Ok(ChangeOutcome::Unchanged { generation: 1 }),
        }
    }
    fn roll_back(
        &self,
        to: Option<u64>,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        self.note(format!("back to {to:?} {by} {reason}"));
        match to {
            None => Ok(activated(2)),
            Some(_) => Err(PolicyRefusal::Unavailable("policy.toml: disk full".into())),
        }
    }
    fn release(&self, module: &str, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.note(format!("release {module} {by} {reason}"));
        if module == "guard" {
            return Err(PolicyRefusal::Conflict("it is not in quarantine".into()));
        }
        self.known(module == "odd", "module")
    }
    fn grant(
        &self,
        rule: &str,
        issue: Option<IssueNumber>,
        minutes: u32,
        by: &Actor,
        reason: &str,
    ) -> Result<Grant, PolicyRefusal> {
        self.note(format!("grant {rule} {issue:?} {minutes} {by} {reason}"));
        Ok(self.a_grant(rule, issue, by.clone(), reason))
    }
    fn revoke(&self, grant: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.note(format!("revoke {grant} {by} {reason}"));
        self.known(grant == 7, "grant")
    }
    fn explain(&self, seq: u64, under: Option<&Candidate>) -> Result<Explanation, PolicyRefusal> {
        self.note(format!("explain {seq} {under:?}"));
        self.known(seq < 1_000, "decision")?;
        let said = |answer: &str, factors| Explained {
            module: "guard".into(),
            answer: answer.into(),
            reason: Some(Reason::new("shell.git-push", "no pushing")),
            factors,
            decided: true,
        };
        Ok(Explanation {
            seq,
            question: "Bash: git push".into(),
            recorded: "deny shell.git-push".into(),
            modules: vec![said("deny shell.git-push", Vec::new())],
            under: "generation 1".into(),
            answer: "score 40".into(),
            again: vec![said(
                "score 40",
                vec![("size".into(), 40, "900 lines".into())],
            )],
            same: false,
        })
    }
}

impl Control {
    fn a_grant(&self, rule: &str, issue: Option<IssueNumber>, by: Actor, reason: &str) -> Grant {
        Grant {
            number: 7,
            rule: rule.into(),
            issue,
            reason: reason.into(),
            by,
            at: a_time(),
            until: a_time() + ChronoDuration::minutes(30),
            used: 0,
        }
    }
}

/// A host with one account of each role, and a second user.
pub(super) struct World {
    pub(super) router: Router,
    pub(super) state: ApiState,
    pub(super) feed: Arc<Feed>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) control: Arc<Control>,
    tokens: Vec<(&'static str, String)>,
    pub(super) directory: tempfile::TempDir,
}

pub(super) const NAMES: [(&str, Role); 6] = [
    ("admin", Role::Admin),
    ("auditor", Role::Auditor),
    ("ada", Role::User),
    ("bob", Role::User),
    ("guest", Role::Guest),
    ("hook", Role::Hook),
];

impl World {
    pub(super) fn new() -> Self {
        Self::with(ApiOptions::default())
    }

    pub(super) fn with(options: ApiOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let masker = Masker::new(Vec::<String>::new()).unwrap();
        let store = JournalStore::open(directory.path(), Options::new(masker)).unwrap();
        let (ticks, feed) = (Arc::new(Ticks::default()), Arc::new(Feed::default()));
        let publisher = Arc::clone(&feed);
        let listener = Box::new(move |record: &_| {
            publisher.publish(&FeedItem::Record(Arc::new(Clone::clone(record))));
        });
        let ledger = Arc::new(Ledger::new(Arc::new(store), ticks.clone(), listener));
        let settings = Settings {
            rules: RulesInForce::new(HostRules {
                environment: Environment::Production,
                level: AutonomyLevel::Observe,
                ceiling: AutonomyLevel::AutoLow,
                four_eyes: false,
                limits: PatchLimits {
                    max_files: 10,
                    max_changed_lines: 500,
                    protected: PathMatcher::new(|_| false),
                },
            }),
            checks: Vec::new(),
            max_attempts: 3,
            concurrency: std::num::NonZeroUsize::MIN,
            diagnosis_budget: Duration::from_secs(60),
            watch: Duration::ZERO,
            service_directories: Vec::new(),
            installation: "test".into(),
        };
        let doors = Doors {
            agent: Arc::new(NoAgent),
            workbench: Arc::new(Nothing),
            repository: Arc::new(Nothing),
            policies: Arc::new(Policies),
            services: Arc::new(OneService),
            probes: Arc::new(Nothing),
            clock: ticks.clone(),
            ids: ticks.clone(),
        };
        let healer = Healer::new(
            Arc::clone(&ledger),
            Arc::clone(&feed),
            Arc::new(settings),
            doors,
        );
        let desk = IssueDesk::new(
            Arc::new(healer),
            Arc::new(Policies),
            Arc::new(OneService),
            ticks.clone(),
            ticks,
        );
        let control = Arc::new(Control::default());
        let desk = desk.with_policy_control(control.clone());
        let desk = desk.with_checker(Arc::new(super::hooks::ByName));
        let mut tokens = Vec::new();
        for (name, role) in NAMES {
            let made = new_token().unwrap();
            let account = Account {
                name: UserName::new(name).unwrap(),
                role,
                token_digest: Some(made.digest),
                password_hash: None,
                tokens: Vec::new(),
                subject: None,
                standing: Standing::Open,
            };
            desk.record_account(Actor::Operator, Event::UserSaved(account))
                .unwrap();
            tokens.push((name, made.token));
        }
        let state = ApiState::new(desk, &feed, options);
        Self {
            router: router(state.clone()),
            state,
            feed,
            ledger,
            control,
            tokens,
            directory,
        }
    }

    /// The token of `who`; anything else is one already.
    pub(super) fn token<'a>(&'a self, who: &'a str) -> &'a str {
        let found = self.tokens.iter().find(|(name, _)| *name == who);
        found.map_or(who, |(_, token)| token)
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        send(self.router.clone(), request).await
    }

    /// Sends JSON (or nothing) as `name`, or as nobody.
    pub(super) async fn call(&self, who: &str, method: &str, path: &str, body: Value) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !who.is_empty() {
            let token = self.token(who);
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            json => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(super) async fn get(&self, who: &str, path: &str) -> Reply {
        self.call(who, "GET", path, Value::Null).await
    }

    /// Reports an issue as `who` and returns its number.
    pub(super) async fn report(&self, who: &str) -> u64 {
        let body = serde_json::json!({"title": "It breaks", "description": "Every time."});
        let reply = self.call(who, "POST", "/api/v1/issues", body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json()["number"].as_u64().unwrap()
    }

    pub(super) fn control(&self) -> Router {
        control_router(self.state.clone())
    }

    pub(super) fn record(&self, number: u64, actor: Actor, event: Event) {
        self.ledger
            .record(IssueNumber(number), actor, event)
            .unwrap();
    }

    /// Begins a run of an approved issue.
    pub(super) fn start_diagnosis(&self, number: u64) {
        let commit = |digit: &str| CommitId(digit.repeat(40));
        let started = Event::DiagnosisStarted {
            run: RunId(Uuid::from_u128(7)),
            number: RunNumber(1),
            agent: "engine:none".into(),
            snapshot: commit("a"),
            base_commit: commit("b"),
            live_branch: "main".into(),
            policy_generation: 1,
        };
        let begun = self
            .ledger
            .begin_diagnosis(IssueNumber(number), Actor::Host, started);
        drop(begun.unwrap());
    }

    /// Walks an approved issue to PATCH_PENDING by its records; returns the digest.
    pub(super) fn draft_patch(&self, number: u64) -> String {
        let agent = || Actor::Agent("engine:none".into());
        self.start_diagnosis(number);
        self.record(
            number,
            agent(),
            Event::DiagnosisFinished(Diagnosis {
                root_cause: "off by one".into(),
                confidence: 0.9,
                affected_files: vec!["app.py".into()],
                affected_services: vec!["web".into()],
                suggested_fix: "compare with <".into(),
                reproduction: None,
                proposals: Vec::new(),
                log: "tried 12 candidates".into(),
                effort: Effort::default(),
            }),
        );
        drop(
            self.ledger
                .begin_drafting(IssueNumber(number), Actor::Host)
                .unwrap(),
        );
        let patch = Patch::of(vec![FileChange {
            path: "app.py".into(),
            before: Some("old line\n".into()),
            after: Some("new line\n".into()),
        }]);
        let digest = patch.digest.to_string();
        let drafted = Event::PatchDrafted {
            patch,
            rationale: "the bound was wrong".into(),
            confidence: 0.9,
            rivals: vec!["diff --git a/x b/x\n".into()],
            commit: CommitId("c".repeat(40)),
            judgement: judgement(),
            log: "what was tried".into(),
        };
        self.record(number, agent(), drafted);
        let proof = Verification {
            checks: vec![check("tests: pytest")],
        };
        self.record(number, Actor::Host, Event::PatchProved(proof));
        self.record(number, Actor::Host, Event::RiskAssessed(assessment()));
        self.record(number, Actor::Host, Event::AutonomyDecided(decision()));
        digest
    }
}

pub(super) async fn send(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}
