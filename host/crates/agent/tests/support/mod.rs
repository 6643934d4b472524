//! One repository, its data directory and a workbench on them, with policies that
//! always answer the same, a recorder in memory and MCP servers in memory.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

use chrono::{DateTime, Utc};
use selfheal_agent::{SandboxWorkbench, WorkbenchConfig};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::mcp::{McpConversation, McpError, McpReach, McpServer, McpServers, McpTool};
use selfheal_domain::policy::{
    IssueFacts, ModuleIdentity, PatchFacts, PolicyContext, PolicyHost, PolicySet, ToolCallFacts,
    TrackRecord,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, DraftingTools, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::tools::{
    Asset, Replacement, ToolError, ToolOutput, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Answer, Fault, Judgement, ModuleAnswer, Verdict};
use selfheal_sandbox::{Limits, Sandbox};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// `tickets` over the network, `local` as a process that echoes lines.
#[derive(Default)]
pub struct Servers {
    /// What reached a server.
    pub reached: Arc<Mutex<Vec<String>>>,
}

impl McpServers for Servers {
    fn servers(&self) -> Vec<McpServer> {
        let server = |name: &str, reach| McpServer {
            name: name.to_owned(),
            reach,
            timeout: Duration::from_secs(5),
        };
        vec![
            server(
                "tickets",
                McpReach::Http {
                    host: "tickets.example:443".to_owned(),
                },
            ),
            server(
                "local",
                McpReach::Process {
                    command: "cat".to_owned(),
                },
            ),
        ]
    }

    fn connect(
        &self,
        server: &str,
        process: Option<Box<dyn ToolSession>>,
        _: &dyn Fn() -> bool,
    ) -> Result<Box<dyn McpConversation>, McpError> {
        self.reached
            .lock()
            .expect("lock")
            .push(format!("{server}:connect"));
        Ok(Box::new(Talk {
            server: server.to_owned(),
            process: process.map(Mutex::new),
            reached: Arc::clone(&self.reached),
        }))
    }
}

struct Talk {
    server: String,
    process: Option<Mutex<Box<dyn ToolSession>>>,
    reached: Arc<Mutex<Vec<String>>>,
}

impl McpConversation for Talk {
    fn tools(&self, _: &dyn Fn() -> bool) -> Result<Vec<McpTool>, McpError> {
        let tool = |name: &str| McpTool {
            server: self.server.clone(),
            tool: name.to_owned(),
            description: "does it; key AKIAIOSFODNN7EXAMPLE".to_owned(),
            input_schema: serde_json::json!({"type": "object"}),
        };
        Ok(["close", "die", "echo"].map(tool).to_vec())
    }

    fn call(
        &self,
        tool: &str,
        arguments: &Value,
        _: &dyn Fn() -> bool,
    ) -> Result<String, McpError> {
        self.reached
            .lock()
            .expect("lock")
            .push(format!("{}:{tool}", self.server));
        if tool == "die" {
            return Err(McpError::Failed {
                server: self.server.clone(),
                message: "gone".to_owned(),
            });
        }
        let Some(process) = &self.process else {
            return Ok(format!("closed {arguments}; AKIAIOSFODNN7EXAMPLE"));
        };
        let mut process = process.lock().expect("lock");
        let gone = |error| McpError::of_session(&self.server, &error);
        process.send(&arguments.to_string()).map_err(gone)?;
        process.receive(Duration::from_secs(10)).map_err(gone)
    }
}

pub fn mcp(server: &str, tool: &str) -> ToolRequest {
    ToolRequest::Mcp {
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments: serde_json::json!({"number": 1}),
    }
}

/// Long after every file changed, so that what was found out about files is kept.
pub struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(4_000_000_000, 0).expect("a time")
    }
}

#[derive(Default)]
pub struct Counting(AtomicU64);

impl IdSource for Counting {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

/// Answers every question the same way and remembers the facts.
pub struct Fixed {
    answer: Mutex<Answers>,
    pub seen: Mutex<Vec<ToolCallFacts>>,
    pub contexts: Mutex<Vec<PolicyContext>>,
    pub generation: AtomicU64,
}

/// What policies say.
#[derive(Clone, PartialEq, Debug)]
pub enum Answers {
    /// This.
    Verdict(Verdict),
    /// The module broke.
    Fault,
    /// Nothing: no module is loaded.
    Silence,
}

impl Fixed {
    pub fn new(answer: Answers) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(answer),
            seen: Mutex::default(),
            contexts: Mutex::default(),
            generation: AtomicU64::new(0),
        })
    }

    /// Trust class of the latest question.
    pub fn trust(&self) -> TrustClass {
        self.contexts
            .lock()
            .expect("lock")
            .last()
            .expect("asked")
            .trust
    }
}

pub struct Policies(Arc<Fixed>);

impl PolicyHost for Policies {
    fn current(&self) -> Arc<dyn PolicySet> {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        Arc::new(Generation(Arc::clone(&self.0)))
    }
}

pub struct Generation(Arc<Fixed>);

impl PolicySet for Generation {
    fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::SeqCst)
    }
    fn digest(&self) -> Digest {
        Digest::of(b"test")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, context: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        self.0.seen.lock().expect("lock").push(call.clone());
        self.0.contexts.lock().expect("lock").push(context.clone());
        let answer = match self.0.answer.lock().expect("lock").clone() {
            Answers::Verdict(verdict) => vec![Answer::Verdict(verdict)],
            Answers::Fault => vec![Answer::Fault(Fault::Trap {
                message: "unreachable".to_owned(),
            })],
            Answers::Silence => vec![],
        };
        let answers = answer.into_iter().map(|answer| ModuleAnswer {
            module: "guard".to_owned(),
            digest: Digest::of(b"guard"),
            answer,
            micros: 1,
        });
        Judgement::merge(self.generation(), answers.collect())
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
pub struct Memory {
    pub events: Mutex<Vec<Event>>,
    pub refuses: AtomicBool,
    /// Takes intents, but no outcomes.
    pub forgets: AtomicBool,
    /// Takes no fall of the trust class.
    pub distrusts: AtomicBool,
    /// Looked at when an intent is recorded.
    pub at_intent: Mutex<Option<Look>>,
}

pub type Look = Box<dyn Fn() + Send>;

impl CallRecorder for Memory {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(RecordRefused("the disk is full".to_owned()));
        }
        if self.distrusts.load(Ordering::SeqCst) && matches!(event, Event::TrustLowered { .. }) {
            return Err(RecordRefused("the disk is full".to_owned()));
        }
        if self.forgets.load(Ordering::SeqCst) && !matches!(event, Event::ToolCalled(_)) {
            return Err(RecordRefused("the disk is full".to_owned()));
        }
        if let (Event::ToolCalled(_), Some(look)) = (&event, &*self.at_intent.lock().expect("lock"))
        {
            look();
        }
        self.events.lock().expect("lock").push(event);
        Ok(())
    }
    fn progress(&self, _: &str) {}
}

impl Memory {
    pub fn clear(&self) {
        self.events.lock().expect("lock").clear();
    }

    pub fn names(&self) -> Vec<&'static str> {
        let name = |event: &Event| match event {
            Event::ToolCalled(_) => "called",
            Event::ToolFinished { .. } => "finished",
            Event::TrustLowered { .. } => "trust",
            _ => "other",
        };
        self.events.lock().expect("lock").iter().map(name).collect()
    }

    pub fn outcome(&self) -> ToolOutcome {
        match self.events.lock().expect("lock").last() {
            Some(Event::ToolFinished { outcome, .. }) => outcome.clone(),
            other => panic!("the last event is {other:?}"),
        }
    }
}

/// One repository, its data directory, and a workbench on them.
pub struct Bench {
    _top: tempfile::TempDir,
    pub base: PathBuf,
    pub policies: Arc<Fixed>,
    pub recorder: Arc<Memory>,
    pub cancel: CancelToken,
    pub servers: Arc<Servers>,
    pub workbench: SandboxWorkbench,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Answers::Verdict(Verdict::Allow))
    }

    pub fn with(answer: Answers) -> Self {
        let top = tempfile::tempdir().expect("temporary directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in [
            "app/src",
            "app/.git/hooks",
            "data/upper",
            "data/work",
            "outside",
        ] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        for (path, text) in [
            ("app/src/a.py", "value = 1\nother = 2\n"),
            ("app/src/b.py", "import a\n"),
            ("app/notes.txt", "value of nobody\n"),
            ("app/.gitignore", "ignored/\n"),
            ("app/.env", "API_KEY=do-not-read-this\n"),
            ("app/policy.toml", "level = 0\n"),
            ("app/.git/config", "[core]\n"),
            ("data/key", "host-secret\n"),
            ("outside/secret", "outside-secret\n"),
        ] {
            fs::write(base.join(path), text).expect("file");
        }
        symlink("../../outside/secret", base.join("app/src/leak")).expect("link");
        let policies = Fixed::new(answer);
        let limits = Limits {
            wall: Duration::from_secs(20),
            ..Limits::default()
        };
        let servers = Arc::new(Servers::default());
        let config = WorkbenchConfig {
            assets: vec![Asset {
                name: "worker/run.py".to_owned(),
                content: b"print('asset')\n".to_vec(),
            }],
            limits,
            tracked: Arc::new(|path| path.starts_with("src/")),
            mcp: Some(Arc::clone(&servers) as Arc<dyn McpServers>),
            ..WorkbenchConfig::narrow(base.join("app"), &base.join("data"))
        };
        let workbench = SandboxWorkbench::new(
            config,
            Arc::new(Policies(Arc::clone(&policies))),
            Sandbox::new(),
            Arc::new(Counting::default()),
            Arc::new(Still),
        )
        .expect("workbench");
        Self {
            _top: top,
            base,
            policies,
            recorder: Arc::default(),
            cancel: CancelToken::default(),
            servers,
            workbench,
        }
    }

    pub fn spec(&self) -> ToolSessionSpec {
        ToolSessionSpec {
            run: None,
            actor: Actor::Agent("engine:test".to_owned()),
            trust: TrustClass::Member,
            level: AutonomyLevel::default(),
            service: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.recorder) as Arc<dyn CallRecorder>,
            cancel: self.cancel.clone(),
        }
    }

    pub fn diagnosis(&self) -> Box<dyn Tools> {
        self.workbench.for_diagnosis(self.spec())
    }

    pub fn drafting(&self) -> Box<dyn DraftingTools> {
        let worktree = RunWorktree {
            upper: self.base.join("data/upper"),
            work: self.base.join("data/work"),
        };
        self.workbench.for_drafting(self.spec(), &worktree)
    }

    /// Everything in repository and worktree that must not change when denied.
    pub fn picture(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for top in ["app", "data/upper", "outside"] {
            picture(&self.base.join(top), &mut found);
        }
        found.sort();
        found
    }
}

pub fn picture(at: &Path, found: &mut Vec<(PathBuf, Option<Vec<u8>>)>) {
    for entry in fs::read_dir(at).expect("directory") {
        let entry = entry.expect("entry");
        let kind = entry.file_type().expect("type");
        let content = kind
            .is_file()
            .then(|| fs::read(entry.path()).expect("file"));
        found.push((entry.path(), content));
        if kind.is_dir() {
            picture(&entry.path(), found);
        }
    }
}

pub fn bash(command: &str, access: WorkspaceAccess) -> ToolRequest {
    ToolRequest::Bash {
        command: command.to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(15),
        access,
    }
}

pub fn read(path: &str) -> ToolRequest {
    ToolRequest::read(path)
}

pub fn edited(old: &str, new: &str, replace_all: bool) -> Replacement {
    Replacement {
        old: old.to_owned(),
        new: new.to_owned(),
        replace_all,
    }
}

pub fn write(path: &str, content: &str) -> ToolRequest {
    ToolRequest::Write {
        path: path.to_owned(),
        content: content.to_owned(),
    }
}

pub fn text(output: Result<ToolOutput, ToolError>) -> String {
    match output.expect("allowed") {
        ToolOutput::Text(text) => text,
        ToolOutput::Command(output) => format!("{}{}", output.stdout, output.stderr),
        ToolOutput::Written => String::new(),
    }
}

/// One of each kind, each with an effect that shows. The match makes a new kind
/// fail to compile until it is listed.
pub fn one_of_each() -> Vec<ToolRequest> {
    let all = vec![
        bash("echo effect > src/a.py; echo seen", WorkspaceAccess::Keep),
        bash("echo seen", WorkspaceAccess::Discard),
        bash("echo seen", WorkspaceAccess::ReadOnly),
        read("src/a.py"),
        ToolRequest::Grep {
            pattern: "value".to_owned(),
            glob: None,
        },
        ToolRequest::Glob {
            pattern: "**/*.py".to_owned(),
        },
        write("src/a.py", "effect"),
        ToolRequest::edit("src/a.py", "value = 1", "effect"),
        ToolRequest::MultiEdit {
            path: "src/a.py".to_owned(),
            edits: vec![edited("value = 1", "effect", false)],
        },
        ToolRequest::Task {
            description: "look".to_owned(),
            prompt: "look at src".to_owned(),
        },
        mcp("tickets", "close"),
        mcp("local", "echo"),
        mcp("tickets", "tools/list"),
    ];
    for request in &all {
        match request {
            ToolRequest::Bash { .. }
            | ToolRequest::Read { .. }
            | ToolRequest::Grep { .. }
            | ToolRequest::Glob { .. }
            | ToolRequest::Write { .. }
            | ToolRequest::Edit { .. }
            | ToolRequest::MultiEdit { .. }
            | ToolRequest::Task { .. }
            | ToolRequest::Mcp { .. } => {}
        }
    }
    all
}
