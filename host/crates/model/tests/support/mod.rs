//! A scripted model, tools over a tree in memory, and short words for both.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "test support"
)]

use selfheal_domain::agent::{CheckCommand, Diagnosis, DiagnosisBrief, Effort, LabelledText};
use selfheal_domain::ports::IdSource;
use selfheal_domain::tools::{
    CommandOutput, Ended, ToolError, ToolOutput, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use selfheal_domain::user::TrustClass;
use selfheal_domain::verdict::Reason;
use selfheal_model::conversation::{
    Answer, Block, Message, Question, Role, Stop, ToolChoice, Usage,
};
use selfheal_model::provider::{Delta, Price, Provider, ProviderError};
use selfheal_model::{Handover, ModelAgent, ModelLimits, ModelOutfit, Transcript, TranscriptStore};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// What the model was asked, kept.
#[derive(Clone, Debug)]
pub struct Asked {
    pub system: String,
    pub messages: Vec<Message>,
    pub tools: Vec<String>,
    pub choice: ToolChoice,
}

impl Asked {
    /// All texts and results that the model reads last.
    pub fn last(&self) -> String {
        texts(self.messages.last().unwrap())
    }

    pub fn first(&self) -> String {
        texts(self.messages.first().unwrap())
    }
}

pub fn texts(message: &Message) -> String {
    let parts = message.blocks.iter().map(|block| match block {
        Block::Text { text } => text.clone(),
        Block::ToolResult {
            content, is_error, ..
        } => format!("[{}] {content}", if *is_error { "error" } else { "ok" }),
        other => format!("{other:?}"),
    });
    parts.collect::<Vec<_>>().join("\n")
}

type Turn = Result<Answer, ProviderError>;
type Script = dyn Fn(usize, &Asked) -> Turn + Send + Sync;

/// Answers with what a script says, given what it is asked.
pub struct Scripted {
    script: Box<Script>,
    pub asked: Mutex<Vec<Asked>>,
    pub window: u64,
    pub price: Option<Price>,
    /// What is seen of each answer before it is whole.
    before: Vec<Delta>,
}

impl Scripted {
    pub fn new(script: impl Fn(usize, &Asked) -> Turn + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            asked: Mutex::default(),
            window: 200_000,
            price: None,
            before: Vec::new(),
        })
    }

    /// One answer after the other; then prose for ever.
    pub fn turns(turns: Vec<Vec<Block>>) -> Arc<Self> {
        Self::new(move |index, _| {
            Ok(turns.get(index).map_or_else(
                || answer(vec![text("I am done.")]),
                |blocks| answer(blocks.clone()),
            ))
        })
    }

    pub fn with_window(self: Arc<Self>, window: u64) -> Arc<Self> {
        let mut this = Arc::into_inner(self).unwrap();
        this.window = window;
        Arc::new(this)
    }

    pub fn with_price(self: Arc<Self>, price: Price) -> Arc<Self> {
        let mut this = Arc::into_inner(self).unwrap();
        this.price = Some(price);
        Arc::new(this)
    }

    pub fn saying_before(self: Arc<Self>, before: Vec<Delta>) -> Arc<Self> {
        let mut this = Arc::into_inner(self).unwrap();
        this.before = before;
        Arc::new(this)
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn asked(&self, index: usize) -> Asked {
        self.asked.lock().unwrap()[index].clone()
    }

    pub fn last_asked(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

impl Provider for Scripted {
    fn name(&self) -> String {
        "test:scripted".to_owned()
    }
    fn context_window(&self) -> u64 {
        self.window
    }
    fn price(&self) -> Option<Price> {
        self.price
    }
    fn ask(
        &self,
        question: &Question<'_>,
        _: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Turn {
        check_form(question.messages);
        let asked = Asked {
            system: question.system.to_owned(),
            messages: question.messages.to_vec(),
            tools: question
                .tools
                .iter()
                .map(|tool| tool.name.clone())
                .collect(),
            choice: question.tool_choice.clone(),
        };
        let index = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        for delta in &self.before {
            if cancelled() {
                return Err(ProviderError::Cancelled);
            }
            seen(delta.clone());
        }
        let turn = (self.script)(index, &asked);
        if cancelled() {
            return Err(ProviderError::Cancelled);
        }
        turn
    }
}

/// What every provider demands of a conversation.
fn check_form(messages: &[Message]) {
    let mut wanted = Role::User;
    let mut open: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for message in messages {
        assert_eq!(message.role, wanted, "speakers take turns");
        assert!(!message.blocks.is_empty(), "nobody says nothing");
        let mut answered = Vec::new();
        let mut asks = Vec::new();
        for block in &message.blocks {
            match block {
                Block::ToolUse { id, .. } => {
                    assert!(!id.is_empty() && seen.insert(id.clone()), "ids are unique");
                    asks.push(id.clone());
                }
                Block::ToolResult { id, .. } => answered.push(id.clone()),
                Block::Text { text } => assert!(!text.is_empty()),
                Block::Thinking { .. } => {}
            }
        }
        assert_eq!(answered, open, "every call has its result, in order");
        open = asks;
        wanted = match wanted {
            Role::User => Role::Assistant,
            Role::Assistant => Role::User,
        };
    }
    assert_eq!(messages.last().unwrap().role, Role::User);
}

pub fn text(text: &str) -> Block {
    Block::Text {
        text: text.to_owned(),
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);

pub fn call(name: &str, input: Value) -> Block {
    Block::ToolUse {
        id: format!("id{}", CALLS.fetch_add(1, Ordering::SeqCst)),
        name: name.to_owned(),
        input,
    }
}

pub fn read(path: &str) -> Block {
    call("Read", json!({ "file_path": path }))
}

pub fn bash(command: &str) -> Block {
    call("Bash", json!({ "command": command }))
}

pub fn diagnosis() -> Value {
    json!({
        "root_cause": "the comparison in cart.py is off by one", "confidence": 0.8,
        "affected_files": ["cart.py"], "affected_services": [], "suggested_fix": "use >=",
    })
}

pub fn submit() -> Block {
    call("submit_diagnosis", diagnosis())
}

pub fn submit_patch() -> Block {
    call(
        "submit_patch",
        json!({ "rationale": "Compares inclusively.", "confidence": 0.9 }),
    )
}

pub fn answer(blocks: Vec<Block>) -> Answer {
    let calls = blocks
        .iter()
        .any(|block| matches!(block, Block::ToolUse { .. }));
    Answer {
        blocks,
        stop: if calls { Stop::ToolUse } else { Stop::EndTurn },
        usage: Usage {
            input: 1000,
            output: 100,
            ..Usage::default()
        },
    }
}

/// A tree in memory. `python test.py` passes once `cart.py` holds `>=`.
#[derive(Default)]
pub struct Tree {
    pub files: Mutex<BTreeMap<String, String>>,
    pub calls: Mutex<Vec<ToolRequest>>,
    pub notes: Mutex<Vec<String>>,
    pub cancelled: Arc<AtomicBool>,
    /// Cancels when this command is called.
    pub cancel_on: Option<String>,
    /// Commands that say `meet` wait here for each other.
    pub meeting: Option<Barrier>,
    pub at_once: AtomicUsize,
    pub most_at_once: AtomicUsize,
    pub broken: bool,
}

impl Tree {
    pub fn new() -> Self {
        let files = [
            ("cart.py", "def discount(n):\n    return n > 10\n"),
            ("README.md", "A cart.\n"),
        ];
        Self {
            files: Mutex::new(
                files
                    .iter()
                    .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                    .collect(),
            ),
            ..Self::default()
        }
    }

    pub fn file(&self, path: &str) -> String {
        self.files.lock().unwrap()[path].clone()
    }

    pub fn called(&self) -> Vec<ToolRequest> {
        self.calls.lock().unwrap().clone()
    }

    fn bash(&self, command: &str) -> (i32, String) {
        match command {
            "python test.py" if self.file("cart.py").contains(">=") => (0, "OK".to_owned()),
            "python test.py" => (1, "FAILED: discount(10) is False".to_owned()),
            "meet" => {
                let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_at_once.fetch_max(now, Ordering::SeqCst);
                if let Some(meeting) = &self.meeting {
                    meeting.wait();
                }
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                (0, "met".to_owned())
            }
            "true" => (0, String::new()),
            "big" => (0, "x".repeat(1 << 20)),
            other => (0, format!("ran {other}")),
        }
    }
}

impl Tools for Tree {
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        self.calls.lock().unwrap().push(request.clone());
        if self.cancelled() {
            return Err(ToolError::Cancelled);
        }
        if self.broken {
            return Err(ToolError::Unavailable("the disk is full".to_owned()));
        }
        match request {
            ToolRequest::Bash { command, .. } if command.contains("curl") => {
                let mut reason = Reason::new("shell.network", "the network is closed");
                reason.alternative = Some("read the code".to_owned());
                Err(ToolError::Denied(reason))
            }
            ToolRequest::Bash {
                command, access, ..
            } => {
                if self.cancel_on.as_ref() == Some(&command) {
                    self.cancelled.store(true, Ordering::SeqCst);
                    return Err(ToolError::Cancelled);
                }
                if access == WorkspaceAccess::Keep && command == "fix" {
                    self.files
                        .lock()
                        .unwrap()
                        .insert("cart.py".to_owned(), "n >= 10".to_owned());
                }
                let (code, stdout) = self.bash(&command);
                Ok(ToolOutput::Command(CommandOutput {
                    ended: Ended::Exit(code),
                    stdout,
                    stderr: String::new(),
                    truncated: false,
                    seconds: 0.0,
                }))
            }
            ToolRequest::Read { path, .. } => match self.files.lock().unwrap().get(&path) {
                Some(text) => Ok(ToolOutput::Text(text.clone())),
                None => Err(ToolError::Invalid(format!("{path}: no such file"))),
            },
            ToolRequest::Edit { path, old, new, .. } => {
                let mut files = self.files.lock().unwrap();
                let text = files.get_mut(&path).unwrap();
                *text = text.replacen(&old, &new, 1);
                Ok(ToolOutput::Written)
            }
            ToolRequest::Write { path, content } => {
                self.files.lock().unwrap().insert(path, content);
                Ok(ToolOutput::Written)
            }
            ToolRequest::Task { description, .. } if description == "forbidden" => Err(
                ToolError::Denied(Reason::new("agents.none", "no sub-agents here")),
            ),
            ToolRequest::Task { .. } => Ok(ToolOutput::Text(String::new())),
            ToolRequest::Grep { .. } | ToolRequest::Glob { .. } => {
                Ok(ToolOutput::Text("cart.py:1:x\n".to_owned()))
            }
            other => Err(ToolError::Invalid(format!("not here: {other:?}"))),
        }
    }

    fn session(&self, _: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        panic!("models have no sessions")
    }
    fn workspace(&self) -> String {
        "/srv/shop".to_owned()
    }
    fn assets(&self) -> String {
        String::new()
    }
    fn progress(&self, note: &str) {
        self.notes.lock().unwrap().push(note.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

struct Ids(AtomicU64);

impl IdSource for Ids {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

/// Keeps transcripts in memory.
#[derive(Default)]
pub struct Shelf(pub Mutex<BTreeMap<String, Vec<Value>>>);

struct Entry(Arc<Shelf>, String);

pub struct ShelfStore(pub Arc<Shelf>);

impl TranscriptStore for ShelfStore {
    fn open(&self, name: &str) -> std::io::Result<Box<dyn Transcript>> {
        Ok(Box::new(Entry(Arc::clone(&self.0), name.to_owned())))
    }
}

impl Transcript for Entry {
    fn append(&mut self, entry: &Value) -> std::io::Result<()> {
        let mut shelf = self.0.0.lock().unwrap();
        shelf.entry(self.1.clone()).or_default().push(entry.clone());
        Ok(())
    }
    fn finish(&mut self) -> std::io::Result<String> {
        Ok(format!("shelf/{}", self.1))
    }
}

pub fn outfit(limits: ModelLimits, shelf: &Arc<Shelf>) -> ModelOutfit {
    ModelOutfit {
        limits,
        mask: Arc::new(|text| text.replace("hunter22", "[masked]")),
        ids: Arc::new(Ids(AtomicU64::new(0))),
        transcripts: Some(Arc::new(ShelfStore(Arc::clone(shelf)))),
        handover: Handover::default(),
    }
}

pub fn agent(provider: &Arc<Scripted>) -> ModelAgent {
    agent_with(provider, ModelLimits::default())
}

pub fn agent_with(provider: &Arc<Scripted>, limits: ModelLimits) -> ModelAgent {
    let provider: Arc<dyn Provider> = Arc::<Scripted>::clone(provider);
    ModelAgent::new(provider, outfit(limits, &Arc::default()))
}

pub fn check() -> CheckCommand {
    CheckCommand {
        command: "python test.py".to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(60),
    }
}

pub fn brief() -> DiagnosisBrief {
    DiagnosisBrief {
        run: None,
        texts: vec![LabelledText {
            label: "title".to_owned(),
            text: "The discount starts too late. My password is hunter22.".to_owned(),
            trust: TrustClass::Member,
        }],
        checks: vec![check()],
        services: vec!["web".to_owned()],
        budget: Duration::from_secs(600),
        excluded: Vec::new(),
    }
}

pub fn found() -> Diagnosis {
    Diagnosis {
        root_cause: "off by one".to_owned(),
        confidence: 0.8,
        affected_files: vec!["cart.py".to_owned()],
        affected_services: Vec::new(),
        suggested_fix: "use >=".to_owned(),
        reproduction: Some(check()),
        proposals: Vec::new(),
        log: String::new(),
        effort: Effort::default(),
    }
}
