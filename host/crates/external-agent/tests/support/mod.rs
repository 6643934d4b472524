//! What the tests with real programs share: a broker over a real sandbox with rules of
//! its own, and a model on loopback that says what it is told to say.

#![allow(
    dead_code,
    unused_imports,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot set itself up should stop where it is; not every test uses all of it"
)]

mod model;

use chrono::{DateTime, Utc};
pub(crate) use model::{ScriptedModel, Speaks, Turn, say, tool};
use selfheal_agent::{SandboxWorkbench, WorkbenchConfig};
use selfheal_domain::agent::{CheckCommand, DiagnosisBrief, LabelledText};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::policy::{
    IssueFacts, ModuleIdentity, PatchFacts, PolicyContext, PolicyHost, PolicySet, ToolCallFacts,
    TrackRecord,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, DraftingTools, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::tools::Tools;
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Judgement, Reason, Verdict};
use selfheal_external_agent::{
    Budgets, Dialect, ExternalAgent, ExternalAgentConfig, Protocol, Upstream,
};
use selfheal_sandbox::{Limits, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// The key that no agent may ever see.
pub(crate) const KEY: &str = "sk-the-real-key-of-this-installation";

/// What no agent may do, wherever it occurs in a call.
pub(crate) const FORBIDDEN: &str = "FORBIDDEN";

struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl IdSource for Counting {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

/// Denies what holds [`FORBIDDEN`], asks where something holds `ASK`.
struct Rules;

impl PolicyHost for Rules {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(Self)
    }
}

impl PolicySet for Rules {
    fn generation(&self) -> u64 {
        1
    }
    fn digest(&self) -> Digest {
        Digest::of(b"test")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, _: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        let text = call.input.to_string();
        let verdict = if text.contains(FORBIDDEN) {
            Verdict::Deny(Reason::new("test.forbidden", "this is forbidden"))
        } else if text.contains("ASK") {
            Verdict::Ask(Reason::new("test.ask", "somebody should be asked"))
        } else {
            Verdict::Allow
        };
        Judgement {
            verdict,
            answers: Vec::new(),
            generation: 1,
            granted: Vec::new(),
            asked: None,
        }
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        Judgement::merge(0, Vec::new())
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        unreachable!("the broker never assesses")
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        unreachable!("the broker never decides")
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        unreachable!("the broker never admits")
    }
}

#[derive(Default)]
pub(crate) struct Memory {
    events: Mutex<Vec<Event>>,
}

impl CallRecorder for Memory {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        self.events.lock().expect("lock").push(event);
        Ok(())
    }
    fn progress(&self, _: &str) {}
}

/// A recorded call: its tool and input, whether it was allowed, and its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) tool: String,
    pub(crate) input: String,
    pub(crate) allowed: bool,
    pub(crate) outcome: Option<ToolOutcome>,
}

impl Memory {
    pub(crate) fn calls(&self) -> Vec<Recorded> {
        let events = self.events.lock().expect("lock");
        let mut calls: Vec<(_, Recorded)> = Vec::new();
        for event in events.iter() {
            match event {
                Event::ToolCalled(decision) => calls.push((
                    decision.id,
                    Recorded {
                        tool: decision.facts.tool.clone(),
                        input: decision.facts.input.to_string(),
                        allowed: decision.judgement.strictest() == Verdict::Allow,
                        outcome: None,
                    },
                )),
                Event::ToolFinished { decision, outcome } => {
                    for (id, call) in &mut calls {
                        if id == decision {
                            call.outcome = Some(outcome.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        calls.into_iter().map(|(_, call)| call).collect()
    }
}

/// One application and a broker on it.
pub(crate) struct Bench {
    _top: tempfile::TempDir,
    pub(crate) base: PathBuf,
    pub(crate) recorder: Arc<Memory>,
    pub(crate) cancel: CancelToken,
    workbench: SandboxWorkbench,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let top = tempfile::tempdir().expect("temporary directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in [
            "app/src",
            "app/.git",
            "data/upper",
            "data/work",
            "data/gate",
        ] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        for (path, text) in [
            ("app/src/a.py", "value = 1\n"),
            ("app/.env", "API_KEY=do-not-read-this\n"),
            ("app/.git/config", "[core]\n"),
        ] {
            fs::write(base.join(path), text).expect("file");
        }
        let config = WorkbenchConfig {
            limits: Limits {
                wall: Duration::from_secs(300),
                ..Limits::default()
            },
            tracked: Arc::new(|path| path.starts_with("src/")),
            ..WorkbenchConfig::narrow(base.join("app"), &base.join("data"))
        };
        let workbench = SandboxWorkbench::new(
            config,
            Arc::new(Rules),
            Sandbox::new(),
            Arc::new(Counting::default()),
            Arc::new(Still),
        )
        .expect("workbench");
        Self {
            _top: top,
            base,
            recorder: Arc::default(),
            cancel: CancelToken::default(),
            workbench,
        }
    }

    /// A file of the repository, before anything starts.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.base.join("app").join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }

    pub(crate) fn app(&self) -> String {
        self.base.join("app").display().to_string()
    }

    fn spec(&self) -> ToolSessionSpec {
        ToolSessionSpec {
            run: None,
            actor: Actor::Agent("agent:test".to_owned()),
            trust: TrustClass::Member,
            level: AutonomyLevel::default(),
            service: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.recorder) as Arc<dyn CallRecorder>,
            cancel: self.cancel.clone(),
        }
    }

    pub(crate) fn diagnosis(&self) -> Box<dyn Tools> {
        self.workbench.for_diagnosis(self.spec())
    }

    pub(crate) fn drafting(&self) -> Box<dyn DraftingTools> {
        let worktree = RunWorktree {
            upper: self.base.join("data/upper"),
            work: self.base.join("data/work"),
        };
        self.workbench.for_drafting(self.spec(), &worktree)
    }

    /// An agent that speaks `protocol`, with `model` behind the gateway.
    pub(crate) fn agent(
        &self,
        protocol: Protocol,
        command: Vec<String>,
        model: Option<&ScriptedModel>,
    ) -> ExternalAgentConfig {
        let dialect = match model.map(|model| model.speaks) {
            Some(Speaks::Responses) => Dialect::OpenAi,
            Some(Speaks::Messages) | None => Dialect::Anthropic,
        };
        ExternalAgentConfig {
            protocol,
            command,
            model: Some("claude-sonnet-4-5".to_owned()),
            upstream: model.map(|model| Upstream {
                dialect,
                base_url: model.base_url(),
                key: Some(KEY.to_owned()),
                authorities: None,
                mask: Arc::new(|text| text.replace("hunter2hunter2", "[masked]")),
                most_requests: 100,
                most_tokens: 1_000_000,
            }),
            sockets: self.base.join("data/gate"),
            visible: Vec::new(),
            environment: BTreeMap::new(),
            budgets: Budgets::default(),
        }
    }
}

pub(crate) fn brief() -> DiagnosisBrief {
    DiagnosisBrief {
        run: None,
        texts: vec![LabelledText {
            label: "title".to_owned(),
            text: "value is wrong".to_owned(),
            trust: TrustClass::Member,
        }],
        checks: vec![CheckCommand {
            command: "grep -q 'value = 2' src/a.py".to_owned(),
            directory: String::new(),
            timeout: Duration::from_secs(10),
        }],
        services: vec!["web".to_owned()],
        budget: Duration::from_secs(120),
        excluded: Vec::new(),
    }
}

/// A program of the packages in `tests/agents`; none, said once, where they are not
/// installed. In CI they are.
pub(crate) fn installed(path: &str) -> Option<PathBuf> {
    let agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/agents/node_modules");
    let found = agents.join(path).canonicalize().ok();
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "tests/agents is not installed: run `npm ci --ignore-scripts` there"
        );
        eprintln!(
            "skipped: {} is not installed; run `npm ci --ignore-scripts` in tests/agents",
            agents.join(path).display()
        );
    }
    found
}

/// The same agent, ready.
pub(crate) fn ready(config: ExternalAgentConfig) -> ExternalAgent {
    ExternalAgent::new(config)
}
