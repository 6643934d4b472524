//! Proof that what policies say is obeyed. A marker that every policy set denies is
//! sent down each way from an agent to the world, at the start and then every
//! minute, through the same tools that agents get. A way on which it is not refused
//! freezes the host.
//!
//! What a refusal proves of a way: the set in force was asked (its generation, an
//! answer of each of its guardrails, and the marker's own rule are in the record),
//! the record came before the answer, its denial was obeyed, and nothing was written.
//! The markers do no harm even where they get through: they read nothing, and write
//! an empty file on a layer of their own.

use crate::facts::{Claims, Proved, broken_host_limit, patch_facts};
use crate::healer::Healer;
use crate::rooms::prove::refusal;
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::policy::{
    AgentPhase, ModuleKind, PolicyContext, PolicySet, RunCounters, TrackRecord,
};
use selfheal_domain::policy_control::{
    ENFORCEMENT_MARKER, EnforcementPoint, EnforcementStatus, MARKER_RULE,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, DraftingTools, RecordRefused, RunWorktree, ToolSessionSpec,
};
use selfheal_domain::risk::{AutonomyAction, AutonomyLevel};
use selfheal_domain::tools::{Replacement, ToolError, ToolRequest, Tools, WorkspaceAccess};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Answer, Judgement, ModuleAnswer, Verdict};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often enforcement is proved.
const EVERY: Duration = Duration::from_secs(60);
/// How often the host looks whether another generation came into force, which is
/// proved at once.
const LOOK: Duration = Duration::from_millis(500);
/// How often a proof is begun again because another generation came into force.
const MOST_TRIES: u32 = 5;
/// Longest life of a marker command that got through.
const MARKER_TIME: Duration = Duration::from_secs(5);

/// Proves enforcement, and raises the alarm where it fails.
pub struct Warden {
    healer: Arc<Healer>,
    ground: RunWorktree,
    /// One proof at a time.
    proving: Mutex<()>,
    latest: Mutex<EnforcementStatus>,
    closed: Mutex<bool>,
    closing: Condvar,
}

impl Warden {
    /// A warden over the doors of `healer`. `ground` is where a marker would write
    /// that got through: an empty layer of its own.
    pub fn new(healer: Arc<Healer>, ground: RunWorktree) -> Self {
        Self {
            healer,
            ground,
            proving: Mutex::default(),
            latest: Mutex::default(),
            closed: Mutex::new(false),
            closing: Condvar::new(),
        }
    }

    /// What the latest proof came to.
    pub fn latest(&self) -> EnforcementStatus {
        lock(&self.latest).clone()
    }

    /// Tries every enforcement point now. A point that does not refuse freezes the
    /// host: level 0, agents stopped, on record.
    pub fn check(&self) -> EnforcementStatus {
        let _one_at_a_time = lock(&self.proving);
        let Some(status) = self.prove() else {
            tracing::warn!("policies change too fast to prove that they are enforced");
            return self.latest();
        };
        let before = std::mem::replace(&mut *lock(&self.latest), status.clone());
        if !status.proved {
            // Before anything that can fail.
            self.healer.set_alarm(true);
        }
        let changed = before.at.is_none()
            || before.proved != status.proved
            || before.generation != status.generation;
        if changed {
            self.record(Event::EnforcementChecked(status.clone()));
        }
        if !status.proved && (changed || !self.is_frozen()) {
            self.alarm(&status);
        }
        status
    }

    /// Proves in a thread of its own until [`Warden::close`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let warden = Arc::clone(self);
        std::thread::Builder::new()
            .name("warden".to_owned())
            .spawn(move || warden.watch())
    }

    /// Ends the thread.
    pub fn close(&self) {
        *lock(&self.closed) = true;
        self.closing.notify_all();
    }

    /// Whether a freeze may be lifted: only over a proof that holds.
    ///
    /// # Errors
    /// The points that do not refuse.
    pub(crate) fn clear(&self) -> Result<(), String> {
        let status = self.check();
        if status.proved {
            return Ok(());
        }
        Err(format!(
            "the freeze cannot be lifted while enforcement is not proved: {}",
            failures(&status)
        ))
    }

    fn watch(&self) {
        let mut proved = Instant::now();
        let mut closed = lock(&self.closed);
        while !*closed {
            closed = self
                .closing
                .wait_timeout(closed, LOOK)
                .map_or_else(|poisoned| poisoned.into_inner().0, |pair| pair.0);
            let generation = self.healer.doors().policies.current().generation();
            let due = proved.elapsed() >= EVERY || generation != lock(&self.latest).generation;
            if due && !*closed {
                drop(closed);
                self.check();
                proved = Instant::now();
                closed = lock(&self.closed);
            }
        }
    }

    fn is_frozen(&self) -> bool {
        let switches = self.healer.ledger().store().switches();
        switches.is_ok_and(|switches| switches.frozen)
    }

    fn alarm(&self, status: &EnforcementStatus) {
        let failed = failures(status);
        tracing::error!(
            failed,
            "ALARM: policies are not enforced; the host is frozen"
        );
        let reason = format!("enforcement is not proved: {failed}");
        let level = AutonomyLevel::Observe;
        self.record(Event::AutonomyChanged {
            level,
            reason: reason.clone(),
        });
        self.record(Event::FreezeChanged {
            frozen: true,
            reason,
        });
    }

    fn record(&self, event: Event) {
        if let Err(error) = self.healer.ledger().record_host(Actor::Host, event) {
            let error = crate::healer::chain(&error);
            tracing::error!(error, "the state of enforcement could not be recorded");
        }
    }

    /// A proof about one generation. None where others come into force faster than
    /// one can be proved.
    fn prove(&self) -> Option<EnforcementStatus> {
        (0..MOST_TRIES).find_map(|_| self.prove_one())
    }

    fn prove_one(&self) -> Option<EnforcementStatus> {
        let policies = &self.healer.doors().policies;
        let set = policies.for_run(None);
        let mut points = Vec::new();
        for phase in [
            AgentPhase::Diagnosis,
            AgentPhase::Drafting,
            AgentPhase::Verification,
        ] {
            self.prove_tools(phase, set.as_ref(), &mut points);
        }
        self.prove_patches(set.as_ref(), &mut points);
        // Which generation was asked what cannot be told once another came into force.
        let steady = policies.for_run(None).generation() == set.generation();
        steady.then(|| EnforcementStatus {
            proved: !points.is_empty() && points.iter().all(|point| point.refused),
            at: Some(self.healer.doors().clock.now()),
            generation: set.generation(),
            points,
        })
    }

    fn prove_tools(
        &self,
        phase: AgentPhase,
        set: &dyn PolicySet,
        points: &mut Vec<EnforcementPoint>,
    ) {
        let witness = Arc::new(Witness::default());
        let tools = self.tools(phase, Arc::clone(&witness) as Arc<dyn CallRecorder>);
        let name = phase_name(phase);
        for request in markers(phase) {
            let point = format!("{name}:{}", request.tool());
            let answer = tools.as_tools().call(request).map(drop);
            points.push(witness.testify(point, answer, set));
        }
        let answer = tools.as_tools().session(bash(phase)).map(drop);
        points.push(witness.testify(format!("{name}:session"), answer, set));
        // Where nothing can be recorded, nothing may happen.
        let mute = self.tools(phase, Arc::new(Mute));
        let refused = matches!(
            mute.as_tools().call(bash(phase)),
            Err(ToolError::Unavailable(_))
        );
        let detail = if refused {
            "no record, no effect"
        } else {
            "it did not insist on its record"
        };
        points.push(point(format!("{name}:record"), refused, detail));
        for (tools, what) in [(tools, "files"), (mute, "files unrecorded")] {
            if let Marked::Writing(tools) = tools {
                let written = tools.changes();
                let (refused, detail) = match &written {
                    Ok(changes) if changes.is_empty() => (true, "nothing was written".to_owned()),
                    Ok(_) => (false, "a refused call wrote a file".to_owned()),
                    Err(error) => (false, error.clone()),
                };
                points.push(point(format!("{name}:{what}"), refused, detail));
            }
        }
    }

    fn tools(&self, phase: AgentPhase, recorder: Arc<dyn CallRecorder>) -> Marked {
        let bench = &self.healer.doors().workbench;
        let session = ToolSessionSpec {
            run: None,
            actor: Actor::Host,
            trust: TrustClass::Machine,
            level: AutonomyLevel::Observe,
            service: None,
            earned: TrackRecord::default(),
            recorder,
            cancel: CancelToken::default(),
        };
        match phase {
            AgentPhase::Diagnosis => Marked::Plain(bench.for_diagnosis(session)),
            AgentPhase::Drafting => Marked::Writing(bench.for_drafting(session, &self.ground)),
            AgentPhase::Verification => Marked::Plain(bench.for_verification(session, None)),
        }
    }

    /// The patch that every set refuses, down the way of finished patches.
    fn prove_patches(&self, set: &dyn PolicySet, points: &mut Vec<EnforcementPoint>) {
        let rules = self.healer.settings().rules.get();
        let marked = |name: String| FileChange {
            path: name,
            before: None,
            after: Some(format!("{ENFORCEMENT_MARKER}\n")),
        };
        let patch = Patch::of(vec![marked(ENFORCEMENT_MARKER.to_owned())]);
        let claims = Claims {
            confidence: 0.0,
            rivals: 0,
            proved: Proved::NotYet,
            severity: String::new(),
        };
        let facts = patch_facts(&patch, claims, &rules.limits.protected);
        let context = PolicyContext {
            run: None,
            phase: AgentPhase::Drafting,
            environment: rules.environment,
            level: AutonomyLevel::Observe,
            actor: Actor::Host.to_string(),
            trust: TrustClass::Machine,
            service: None,
            earned: TrackRecord::default(),
            counters: RunCounters::default(),
        };
        let judgement = set.judge_patch(&context, &facts);
        let obeyed = refusal(&judgement).is_some();
        let answered = answered(&judgement, set);
        let (refused, detail) = match (obeyed, answered) {
            (true, Ok(detail)) => (true, detail),
            (false, _) => (false, "the patch was not refused".to_owned()),
            (true, Err(missing)) => (false, missing),
        };
        points.push(point("patch:guardrails".to_owned(), refused, detail));
        let assessment = set.assess(&context, &facts);
        let decision = set.decide(&context, &facts, &assessment);
        let stops = decision.action == AutonomyAction::Stop;
        let same = [assessment.generation, decision.generation] == [set.generation(); 2];
        let detail = format!("risk {}: {}", assessment.score.get(), decision.reason);
        points.push(point("patch:autonomy".to_owned(), stops && same, detail));
        let many = (0..=rules.limits.max_files)
            .take(MOST_FILES)
            .map(|number| marked(format!("{ENFORCEMENT_MARKER}-{number}")));
        let broken = broken_host_limit(&Patch::of(many.collect()), &rules.limits);
        let refused = broken.is_some() || rules.limits.max_files >= MOST_FILES;
        let detail = broken.unwrap_or_else(|| "not tried: the limit is too far away".to_owned());
        points.push(point("patch:limits".to_owned(), refused, detail));
    }
}

/// A file limit above this is not tried every minute.
const MOST_FILES: usize = 1_000;

/// Tools of one phase.
enum Marked {
    Plain(Box<dyn Tools>),
    Writing(Box<dyn DraftingTools>),
}

impl Marked {
    fn as_tools(&self) -> &dyn Tools {
        match self {
            Self::Plain(tools) => tools.as_ref(),
            Self::Writing(tools) => tools.as_tools(),
        }
    }
}

/// Writes where writing stays, so that an effect before the answer is seen.
fn bash(phase: AgentPhase) -> ToolRequest {
    ToolRequest::Bash {
        command: format!(": > {ENFORCEMENT_MARKER}"),
        directory: String::new(),
        timeout: MARKER_TIME,
        access: match phase {
            AgentPhase::Drafting => WorkspaceAccess::Keep,
            AgentPhase::Diagnosis | AgentPhase::Verification => WorkspaceAccess::Discard,
        },
    }
}

/// One marker for each tool.
fn markers(phase: AgentPhase) -> Vec<ToolRequest> {
    let marker = || ENFORCEMENT_MARKER.to_owned();
    vec![
        bash(phase),
        ToolRequest::read(marker()),
        ToolRequest::Grep {
            pattern: marker(),
            glob: None,
        },
        ToolRequest::Glob { pattern: marker() },
        ToolRequest::Write {
            path: marker(),
            content: String::new(),
        },
        ToolRequest::edit(marker(), marker(), ""),
        ToolRequest::MultiEdit {
            path: marker(),
            edits: vec![Replacement {
                old: marker(),
                ..Replacement::default()
            }],
        },
        ToolRequest::Task {
            description: marker(),
            prompt: marker(),
        },
        ToolRequest::Mcp {
            server: marker(),
            tool: marker(),
            arguments: Default::default(),
        },
    ]
}

fn phase_name(phase: AgentPhase) -> &'static str {
    match phase {
        AgentPhase::Diagnosis => "diagnosis",
        AgentPhase::Drafting => "drafting",
        AgentPhase::Verification => "verification",
    }
}

fn point(name: String, refused: bool, detail: impl Into<String>) -> EnforcementPoint {
    EnforcementPoint {
        name,
        refused,
        detail: detail.into(),
    }
}

fn failures(status: &EnforcementStatus) -> String {
    let failed = status.points.iter().filter(|point| !point.refused);
    let failed: Vec<_> = failed
        .map(|point| format!("{} ({})", point.name, point.detail))
        .collect();
    if failed.is_empty() {
        return "no enforcement point was found".to_owned();
    }
    crate::bounds::clip(failed.join("; "), crate::bounds::DETAIL)
}

/// Whether the set in force gave this judgement, with the marker's own rule and an
/// answer of each of its guardrails; and how many gave one.
fn answered(judgement: &Judgement, set: &dyn PolicySet) -> Result<String, String> {
    if judgement.generation != set.generation() {
        return Err(format!(
            "generation {} was asked; {} is in force",
            judgement.generation,
            set.generation()
        ));
    }
    let counted = || {
        judgement
            .answers
            .iter()
            .filter(|answer| !answer.is_shadow())
    };
    let marker = counted().any(|answer| {
        matches!(&answer.answer, Answer::Verdict(Verdict::Deny(reason)) if reason.rule == MARKER_RULE)
    });
    if !marker {
        return Err("the set in force did not see the marker".to_owned());
    }
    let guardrails = set.modules().into_iter();
    let guardrails: Vec<_> = guardrails
        .filter(|module| module.kind == ModuleKind::Guardrail)
        .collect();
    for module in &guardrails {
        let answers = judgement.answers.iter();
        let heard = answers.filter(|answer| {
            let name = answer.module.strip_prefix(ModuleAnswer::SHADOW);
            name.unwrap_or(&answer.module) == module.name
        });
        if heard.count() == 0 {
            return Err(format!("guardrail {} was not asked", module.name));
        }
    }
    let faults: Vec<_> = counted()
        .filter(|answer| matches!(answer.answer, Answer::Fault(_)))
        .map(|answer| answer.module.as_str())
        .collect();
    let faults = if faults.is_empty() {
        String::new()
    } else {
        format!("; failed, which counts as a denial: {}", faults.join(", "))
    };
    Ok(format!(
        "refused by {} guardrails{faults}",
        guardrails.len()
    ))
}

/// Remembers what was recorded for a marker.
#[derive(Default)]
struct Witness {
    seen: Mutex<Vec<Event>>,
}

impl Witness {
    /// What the call just made shows; forgets it.
    fn testify(
        &self,
        name: String,
        answer: Result<(), ToolError>,
        set: &dyn PolicySet,
    ) -> EnforcementPoint {
        let seen = std::mem::take(&mut *lock(&self.seen));
        match answer {
            Ok(()) => return point(name, false, "the marker was carried out"),
            Err(ToolError::Denied(_)) => {}
            Err(error) => return point(name, false, format!("not a denial: {error}")),
        }
        let shown = match seen.as_slice() {
            [
                Event::ToolCalled(ToolDecision { id, judgement, .. }),
                Event::ToolFinished {
                    decision,
                    outcome: ToolOutcome::Failed(_),
                },
            ] if id == decision => answered(judgement, set),
            [] => Err("denied, but nothing was recorded".to_owned()),
            _ => Err("what was recorded is no denied call".to_owned()),
        };
        match shown {
            Ok(detail) => point(name, true, detail),
            Err(detail) => point(name, false, detail),
        }
    }
}

impl CallRecorder for Witness {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        lock(&self.seen).push(event);
        Ok(())
    }

    fn progress(&self, _: &str) {}
}

/// Refuses every record.
struct Mute;

impl CallRecorder for Mute {
    fn record(&self, _: &Actor, _: Event) -> Result<(), RecordRefused> {
        Err(RecordRefused("this recorder takes nothing".to_owned()))
    }

    fn progress(&self, _: &str) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
