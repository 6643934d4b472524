//! The proof of enforcement: a way on which the marker is not refused freezes the
//! host until an admin lifts it over a proof that holds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up should stop where it is"
)]

mod support;

use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::ids::DecisionId;
use selfheal_domain::ledger::Ledger;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::policy::*;
use selfheal_domain::policy_control::{ENFORCEMENT_MARKER, EnforcementStatus, MARKER_RULE};
use selfheal_domain::ports::*;
use selfheal_domain::risk::*;
use selfheal_domain::state::Phase;
use selfheal_domain::tools::*;
use selfheal_domain::verdict::{Answer, Judgement, ModuleAnswer, Reason, Verdict};
use selfheal_pipeline::desk::{DeskError, Freeze, IssueDesk};
use selfheal_pipeline::enforcement::Warden;
use selfheal_pipeline::feed::Feed;
use selfheal_pipeline::healer::{Doors, Healer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::{Host, Port, World, admin, settings};
use uuid::Uuid;

/// What is wrong with the host.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Hole {
    /// One tool of one phase never asks.
    SkipsPolicy(AgentPhase, &'static str),
    /// It asks, and does it anyway.
    Disobeys,
    /// It asks a set that is not in force.
    AsksOldSet,
    /// It denies without a record.
    Unrecorded,
    /// It does not mind that nothing can be recorded.
    NeedsNoRecord,
    /// What was denied is written all the same.
    WritesFirst,
    /// Started processes are not judged.
    FreeSessions,
    /// The set leaves a guardrail out.
    ForgetsModule,
    /// Patches are not judged.
    AllowsPatches,
    /// Autonomy modules let the marker through.
    AppliesPatches,
}

#[derive(Default)]
struct Knobs {
    hole: Mutex<Option<Hole>>,
    generation: AtomicU64,
}

#[derive(Clone)]
struct Rig(Arc<Knobs>);

impl Rig {
    fn has(&self, hole: Hole) -> bool {
        *self.0.hole.lock().unwrap() == Some(hole)
    }

    fn tear(&self, hole: Option<Hole>) {
        *self.0.hole.lock().unwrap() = hole;
    }
}

struct Set(Rig, u64);

impl Set {
    fn judged(&self, marked: bool) -> Judgement {
        let answer = |module: &str, verdict| ModuleAnswer {
            module: module.into(),
            digest: Digest::of(b"x"),
            answer: Answer::Verdict(verdict),
            micros: 1,
        };
        let mut answers = Vec::new();
        if !self.0.has(Hole::ForgetsModule) {
            answers.push(answer("guard", Verdict::Allow));
        }
        if marked {
            let no = Verdict::Deny(Reason::new(MARKER_RULE, "a marker"));
            answers.push(answer("host", no));
        }
        Judgement::merge(self.1, answers)
    }
}

impl PolicySet for Set {
    fn generation(&self) -> u64 {
        self.1
    }
    fn digest(&self) -> Digest {
        Digest::of(b"set")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        vec![ModuleIdentity {
            name: "guard".into(),
            version: "1.0.0".into(),
            kind: ModuleKind::Guardrail,
            digest: Digest::of(b"x"),
        }]
    }
    fn judge_tool_call(&self, _: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        self.judged(call.bears_marker())
    }
    fn judge_patch(&self, _: &PolicyContext, patch: &PatchFacts) -> Judgement {
        self.judged(patch.bears_marker() && !self.0.has(Hole::AllowsPatches))
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        Assessment {
            score: RiskScore::MAX,
            factors: Vec::new(),
            faults: Vec::new(),
            generation: self.1,
            asked: None,
        }
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        AutonomyDecision {
            action: if self.0.has(Hole::AppliesPatches) {
                AutonomyAction::Apply
            } else {
                AutonomyAction::Stop
            },
            reason: MARKER_RULE.into(),
            faults: Vec::new(),
            generation: self.1,
            asked: None,
        }
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        Admission::NeedsAdmin(Reason::new("a.b", "no"))
    }
}

impl PolicyHost for Rig {
    fn current(&self) -> Arc<dyn PolicySet> {
        let generation = self.0.generation.load(Ordering::SeqCst);
        Arc::new(Set(self.clone(), generation))
    }
}

/// A broker in small: facts, policy, record, effect, outcome.
struct Small {
    rig: Rig,
    phase: AgentPhase,
    session: ToolSessionSpec,
    written: Mutex<bool>,
}

impl Small {
    fn call_with(&self, request: &ToolRequest, tool: &str) -> Result<ToolOutput, ToolError> {
        let rig = &self.rig;
        if rig.has(Hole::SkipsPolicy(
            self.phase,
            Box::leak(tool.to_owned().into_boxed_str()),
        )) {
            return Ok(ToolOutput::Written);
        }
        let facts = ToolCallFacts {
            tool: tool.into(),
            input: serde_json::to_string(request).unwrap(),
            commands: Vec::new(),
            parsed: true,
            paths: Vec::new(),
            network: Vec::new(),
            bytes: 0,
        };
        let context = PolicyContext {
            run: None,
            phase: self.phase,
            environment: Environment::Production,
            level: self.session.level,
            actor: "host".into(),
            trust: self.session.trust,
            service: None,
            earned: TrackRecord::default(),
            counters: RunCounters::default(),
        };
        let old = u64::from(rig.has(Hole::AsksOldSet));
        let generation = rig.current().generation() - old;
        let judgement = Set(rig.clone(), generation).judge_tool_call(&context, &facts);
        let verdict = judgement.strictest();
        let id = DecisionId(Uuid::from_u128(7));
        let record = |event| {
            let done = self.session.recorder.record(&self.session.actor, event);
            match done {
                Err(_) if !rig.has(Hole::NeedsNoRecord) => {
                    Err(ToolError::Unavailable("no record".into()))
                }
                _ => Ok(()),
            }
        };
        if !rig.has(Hole::Unrecorded) {
            record(Event::ToolCalled(ToolDecision {
                id,
                phase: self.phase,
                facts,
                judgement,
                external: None,
            }))?;
        }
        if rig.has(Hole::WritesFirst) && tool == "Write" {
            *self.written.lock().unwrap() = true;
        }
        if rig.has(Hole::Disobeys) {
            return Ok(ToolOutput::Written);
        }
        let reason = verdict.reason().unwrap().clone();
        if !rig.has(Hole::Unrecorded) {
            record(Event::ToolFinished {
                decision: id,
                outcome: ToolOutcome::Failed("denied".into()),
            })?;
        }
        Err(ToolError::Denied(reason))
    }
}

struct Gone;

impl ToolSession for Gone {
    fn send(&mut self, _: &str) -> Result<(), SessionError> {
        Err(SessionError::Gone)
    }
    fn receive(&mut self, _: std::time::Duration) -> Result<String, SessionError> {
        Err(SessionError::Gone)
    }
    fn stderr_tail(&self) -> String {
        String::new()
    }
}

impl Tools for Small {
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        let tool = request.tool();
        self.call_with(&request, &tool)
    }
    fn session(&self, request: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        if self.rig.has(Hole::FreeSessions) {
            return Ok(Box::new(Gone));
        }
        self.call_with(&request, "session")
            .map(|_| Box::new(Gone) as Box<dyn ToolSession>)
    }
    fn workspace(&self) -> String {
        "/".into()
    }
    fn assets(&self) -> String {
        "/".into()
    }
    fn progress(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

impl DraftingTools for Small {
    fn changes(&self) -> Result<Vec<FileChange>, String> {
        let change = FileChange {
            path: "x".into(),
            before: None,
            after: Some(String::new()),
        };
        let written = *self.written.lock().unwrap();
        Ok(written.then_some(change).into_iter().collect())
    }
    fn as_tools(&self) -> &dyn Tools {
        self
    }
}

impl Rig {
    fn small(&self, phase: AgentPhase, session: ToolSessionSpec) -> Box<Small> {
        Box::new(Small {
            rig: self.clone(),
            phase,
            session,
            written: Mutex::default(),
        })
    }
}

impl Workbench for Rig {
    fn for_diagnosis(&self, session: ToolSessionSpec) -> Box<dyn Tools> {
        self.small(AgentPhase::Diagnosis, session)
    }
    fn for_drafting(&self, session: ToolSessionSpec, _: &RunWorktree) -> Box<dyn DraftingTools> {
        self.small(AgentPhase::Drafting, session)
    }
    fn for_verification(&self, session: ToolSessionSpec, _: Option<&Patch>) -> Box<dyn Tools> {
        self.small(AgentPhase::Verification, session)
    }
}

struct Watched {
    world: Arc<World>,
    rig: Rig,
    warden: Arc<Warden>,
    desk: IssueDesk,
}

fn watched() -> Watched {
    let world = Arc::new(World::default());
    let rig = Rig(Arc::new(Knobs::default()));
    rig.0.generation.store(3, Ordering::SeqCst);
    let port = Arc::new(Port(Arc::clone(&world)));
    let policies: Arc<dyn PolicyHost> = Arc::new(rig.clone());
    let ledger = Ledger::new(
        Arc::clone(&world) as _,
        Arc::clone(&world) as _,
        Box::new(|_| {}),
    );
    let doors = Doors {
        agent: Arc::clone(&port) as _,
        workbench: Arc::new(rig.clone()),
        repository: Arc::clone(&port) as _,
        policies: Arc::clone(&policies),
        services: Arc::clone(&port) as _,
        probes: Arc::clone(&port) as _,
        clock: Arc::clone(&world) as _,
        ids: Arc::clone(&world) as _,
    };
    let healer = Arc::new(Healer::new(
        Arc::new(ledger),
        Arc::new(Feed::default()),
        Arc::new(settings(AutonomyLevel::AutoAll)),
        doors,
    ));
    let ground = RunWorktree {
        upper: PathBuf::from("/nowhere/upper"),
        work: PathBuf::from("/nowhere/work"),
    };
    let warden = Arc::new(Warden::new(Arc::clone(&healer), ground));
    let desk = IssueDesk::new(
        healer,
        policies,
        port as _,
        Arc::clone(&world) as _,
        Arc::clone(&world) as _,
    )
    .with_warden(Arc::clone(&warden));
    Watched {
        world,
        rig,
        warden,
        desk,
    }
}

impl Watched {
    /// Names of the host's own records.
    fn recorded(&self) -> Vec<&'static str> {
        let records = self.world.records.lock().unwrap();
        let name = |event: &Event| match event {
            Event::EnforcementChecked(status) if status.proved => "proved",
            Event::EnforcementChecked(_) => "failed",
            Event::FreezeChanged { frozen: true, .. } => "frozen",
            Event::FreezeChanged { .. } => "lifted",
            Event::AutonomyChanged { level, .. } => {
                assert_eq!(*level, AutonomyLevel::Observe);
                "level 0"
            }
            _ => "other",
        };
        records.iter().map(|record| name(&record.event)).collect()
    }
}

fn failed(status: &EnforcementStatus) -> Vec<&str> {
    let failed = status.points.iter().filter(|point| !point.refused);
    failed.map(|point| point.name.as_str()).collect()
}

#[test]
fn a_sound_host_is_proved_and_recorded_once() {
    let watched = watched();
    assert!(!watched.desk.enforcement().proved, "before the first proof");
    let status = watched.warden.check();
    assert!(status.proved, "{status:?}");
    assert_eq!(status.generation, 3);
    // Nine tools, a session and the record in three phases; files; patches.
    assert_eq!(status.points.len(), 3 * 11 + 2 + 3);
    watched.warden.check();
    assert_eq!(watched.recorded(), ["proved"], "markers fill no log");
    watched.rig.0.generation.store(4, Ordering::SeqCst);
    assert_eq!(watched.warden.check().generation, 4);
    assert_eq!(watched.recorded(), ["proved", "proved"]);
    assert_eq!(watched.desk.enforcement(), watched.warden.latest());
}

#[test]
fn every_hole_is_seen_and_freezes_the_host() {
    use AgentPhase::{Diagnosis, Drafting, Verification};
    let mut holes = vec![
        Hole::Disobeys,
        Hole::AsksOldSet,
        Hole::Unrecorded,
        Hole::NeedsNoRecord,
        Hole::WritesFirst,
        Hole::FreeSessions,
        Hole::ForgetsModule,
        Hole::AllowsPatches,
        Hole::AppliesPatches,
    ];
    for phase in [Diagnosis, Drafting, Verification] {
        for tool in [
            "Bash",
            "Read",
            "Grep",
            "Glob",
            "Write",
            "Edit",
            "MultiEdit",
            "Task",
            "session",
        ] {
            holes.push(Hole::SkipsPolicy(phase, tool));
        }
        let mcp = format!("mcp__{ENFORCEMENT_MARKER}__{ENFORCEMENT_MARKER}");
        holes.push(Hole::SkipsPolicy(phase, Box::leak(mcp.into_boxed_str())));
    }
    for hole in holes {
        let watched = watched();
        assert!(watched.warden.check().proved);
        watched.rig.tear(Some(hole));
        let status = watched.warden.check();
        assert!(!status.proved, "{hole:?}");
        assert!(!failed(&status).is_empty(), "{hole:?}");
        if let Hole::SkipsPolicy(phase, tool) = hole {
            let phase = format!("{phase:?}").to_ascii_lowercase();
            let names = failed(&status);
            assert!(
                names.contains(&format!("{phase}:{tool}").as_str()),
                "{names:?}"
            );
            assert!(
                names.iter().all(|name| name.starts_with(&phase)),
                "{names:?}"
            );
        }
        let expected = ["proved", "failed", "level 0", "frozen"];
        assert_eq!(watched.recorded(), expected, "{hole:?}");
        let view = watched.desk.autonomy().unwrap();
        assert!(view.frozen && view.level == AutonomyLevel::Observe);
    }
}

#[test]
fn a_freeze_by_alarm_is_lifted_by_an_admin_over_a_proof_and_not_otherwise() {
    let watched = watched();
    watched.rig.tear(Some(Hole::Disobeys));
    watched.warden.check();
    watched.warden.check();
    assert_eq!(watched.recorded(), ["failed", "level 0", "frozen"], "once");
    let lift = || watched.desk.set_frozen(&admin("ada"), Freeze::Off, "fixed");
    let refused = lift().unwrap_err();
    assert!(
        matches!(&refused, DeskError::Conflict(why) if why.contains("diagnosis:Bash")),
        "{refused:?}"
    );
    watched.rig.tear(None);
    assert!(watched.warden.check().proved);
    assert!(
        watched.desk.autonomy().unwrap().frozen,
        "a proof alone lifts nothing"
    );
    let view = lift().unwrap();
    assert!(!view.frozen);
    assert_eq!(view.level, AutonomyLevel::Observe, "as the alarm left it");
    // Somebody lifts a freeze, and the hole is back: the next proof freezes again.
    watched.rig.tear(Some(Hole::Disobeys));
    watched.warden.check();
    assert!(watched.desk.autonomy().unwrap().frozen);
}

#[test]
fn a_freeze_stops_agents_at_work_and_their_run_starts_over_when_it_is_lifted() {
    let world = Arc::new(World::default());
    let entered = world.hold("diagnose");
    let host = Host::with_issue(&world, AutonomyLevel::Suggest);
    entered.recv().unwrap();
    let frozen = host.desk.set_frozen(&admin("ada"), Freeze::On, "stop it");
    assert!(frozen.unwrap().frozen);
    let issue = host.rest();
    assert_eq!(issue.phase, Phase::Approved, "the agent stopped");
    let lifted = host.desk.set_frozen(&admin("ada"), Freeze::Off, "go on");
    assert!(!lifted.unwrap().frozen);
    host.rests_in(Phase::PatchPending);
}
