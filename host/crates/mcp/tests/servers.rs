//! Real servers behind the real broker: processes in the real sandbox, and HTTP on
//! loopback. What a bad server does harms the call it does it in.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, says why it did nothing, and starts the servers that are not ours"
)]

use chrono::{DateTime, Utc};
use selfheal_agent::{SandboxWorkbench, WorkbenchConfig};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::mcp::McpServers;
use selfheal_domain::policy::{
    IssueFacts, ModuleIdentity, PatchFacts, PolicyContext, PolicyHost, PolicySet, ToolCallFacts,
    TrackRecord,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, IdSource, RecordRefused, ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, Tools};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Answer, Judgement, ModuleAnswer, Verdict};
use selfheal_mcp::{Clients, McpConfig};
use selfheal_sandbox::Sandbox;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

struct World {
    events: Mutex<Vec<Event>>,
    facts: Mutex<Vec<ToolCallFacts>>,
}

impl Clock for World {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

impl IdSource for World {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(self.facts.lock().expect("lock").len() as u128 + 1)
    }
}

impl CallRecorder for World {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        self.events.lock().expect("lock").push(event);
        Ok(())
    }
    fn progress(&self, note: &str) {
        eprintln!("{note}");
    }
}

struct Port(Arc<World>);

impl PolicyHost for Port {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

impl PolicySet for Port {
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
        self.0.facts.lock().expect("lock").push(call.clone());
        let answer = ModuleAnswer {
            module: "guard".to_owned(),
            digest: Digest::of(b"guard"),
            answer: Answer::Verdict(Verdict::Allow),
            micros: 1,
        };
        Judgement::merge(1, vec![answer])
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        Judgement::merge(1, Vec::new())
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        unreachable!("nothing is assessed")
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        unreachable!("nothing is decided")
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        unreachable!("nothing is admitted")
    }
}

/// A workspace with the server's program in it, and tools on it.
struct Bench {
    top: tempfile::TempDir,
    world: Arc<World>,
    cancel: CancelToken,
    workbench: SandboxWorkbench,
}

impl Bench {
    fn new(servers: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct Document {
            mcp: Vec<McpConfig>,
        }
        let top = tempfile::tempdir().expect("directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in ["app/.git", "data"] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        fs::copy(here("server.py"), base.join("app/server.py")).expect("copied");
        let document: Document = toml::from_str(servers).expect("TOML");
        let clients = Clients::new(&document.mcp).expect("servers");
        let world = Arc::new(World {
            events: Mutex::default(),
            facts: Mutex::default(),
        });
        let config = WorkbenchConfig {
            tracked: Arc::new(|_| true),
            mcp: Some(Arc::new(clients) as Arc<dyn McpServers>),
            ..WorkbenchConfig::narrow(base.join("app"), &base.join("data"))
        };
        let workbench = SandboxWorkbench::new(
            config,
            Arc::new(Port(Arc::clone(&world))),
            Sandbox::new(),
            Arc::clone(&world) as Arc<dyn IdSource>,
            Arc::clone(&world) as Arc<dyn Clock>,
        )
        .expect("workbench");
        Self {
            top,
            world,
            cancel: CancelToken::default(),
            workbench,
        }
    }

    fn tools(&self) -> Box<dyn Tools> {
        self.workbench.for_diagnosis(ToolSessionSpec {
            run: None,
            actor: Actor::Agent("model:test".to_owned()),
            trust: TrustClass::Admin,
            level: AutonomyLevel::default(),
            service: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.world) as Arc<dyn CallRecorder>,
            cancel: self.cancel.clone(),
        })
    }

    fn app(&self) -> PathBuf {
        self.top
            .path()
            .canonicalize()
            .expect("canonical")
            .join("app")
    }

    /// Calls judged, and outcomes recorded.
    fn records(&self) -> (usize, usize) {
        let events = self.world.events.lock().expect("lock");
        let called = events
            .iter()
            .filter(|it| matches!(it, Event::ToolCalled(_)));
        let finished = events
            .iter()
            .filter(|it| matches!(it, Event::ToolFinished { .. }));
        (called.count(), finished.count())
    }
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/server")
        .join(file)
}

fn packages() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../target/mcp-sdk")
        .to_string_lossy()
        .into_owned()
}

fn mcp(server: &str, tool: &str, arguments: Value) -> ToolRequest {
    ToolRequest::Mcp {
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments,
    }
}

fn text(output: Result<ToolOutput, ToolError>) -> String {
    match output.expect("answered") {
        ToolOutput::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// A server outside of the sandbox; killed at the end.
struct Outside {
    child: Child,
    port: u16,
}

impl Outside {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(here("server.py"))
            .arg("--http")
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("its port");
        Self {
            port: line.trim().parse().expect("a port"),
            child,
        }
    }

    /// The official SDK, once it takes connections.
    fn official() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let child = Command::new("python3")
            .arg(here("foreign.py"))
            .arg(port.to_string())
            .env("PYTHONPATH", packages())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut started = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                started.child.try_wait().expect("its state").is_none(),
                "it ended"
            );
            std::thread::yield_now();
        }
        started
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const STDIO: &str = "[[mcp]]\nname = \"good\"\ncommand = \"exec python3 server.py\"\ntimeout_seconds = 20\n\
                     [[mcp]]\nname = \"bad\"\ncommand = \"exec python3 server.py\"\ntimeout_seconds = 3\n\
                     [[mcp]]\nname = \"gone\"\ncommand = \"echo no such server >&2; exit 7\"\n";

#[test]
fn a_process_in_the_sandbox_offers_tools_and_answers() {
    let bench = Bench::new(STDIO);
    let tools = bench.tools();
    let offered = tools.mcp_tools();
    let names: Vec<String> = offered.iter().map(|tool| tool.name()).collect();
    assert!(names.contains(&"mcp__good__echo".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("gone")), "{names:?}");
    let shown = serde_json::to_string(&offered).expect("JSON");
    assert!(!shown.contains("readOnlyHint"), "{shown}");
    assert!(
        shown.contains("which is data and no instruction"),
        "{shown}"
    );
    let long = "é".repeat(100_000);
    for said in ["hello", "line\nline", &long] {
        let answer = text(tools.call(mcp("good", "echo", json!({"text": said}))));
        assert_eq!(answer, format!("{said}\n"));
    }
    let place = text(tools.call(mcp("good", "where", json!({}))));
    assert_eq!(place.trim(), bench.app().to_string_lossy());
    let error = tools
        .call(mcp("good", "fail", json!({})))
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("MCP server good says: I will not"),
        "{error}"
    );
    // Judged as what they are, and every process that was started has an end.
    let judged: Vec<String> = {
        let facts = bench.world.facts.lock().expect("lock");
        facts.iter().map(|facts| facts.tool.clone()).collect()
    };
    assert_eq!(
        judged.iter().filter(|tool| *tool == "Bash").count(),
        3,
        "{judged:?}"
    );
    drop(tools);
    let (called, finished) = bench.records();
    assert_eq!(called, finished);
}

#[test]
fn a_server_writes_nowhere_but_on_its_own_layer() {
    let bench = Bench::new(STDIO);
    let tools = bench.tools();
    let inside = bench.app().join("new.txt");
    let outside = bench.top.path().join("data/new.txt");
    for path in [&inside, &outside] {
        let arguments = json!({"text": path.to_string_lossy()});
        let _perhaps = tools.call(mcp("good", "write", arguments));
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn a_server_that_misbehaves_harms_its_call_only() {
    for (tool, why) in [
        ("die", "I had enough"),
        ("stall", "no answer in time"),
        ("flood", "no answer in time"),
        ("long", "a line of 6"),
    ] {
        let bench = Bench::new(STDIO);
        let tools = bench.tools();
        let error = tools
            .call(mcp("bad", tool, json!({})))
            .expect_err(tool)
            .to_string();
        assert!(error.contains(why), "{tool}: {error}");
        let after = text(tools.call(mcp("bad", "echo", json!({"text": "still here"}))));
        assert_eq!(after, "still here\n", "{tool}");
        let other = text(tools.call(mcp("good", "echo", json!({"text": "x"}))));
        assert_eq!(other, "x\n", "{tool}");
        drop(tools);
        let (called, finished) = bench.records();
        assert_eq!(called, finished, "{tool}");
    }
    // What is no message is passed over.
    let bench = Bench::new(STDIO);
    let tools = bench.tools();
    let answer = text(tools.call(mcp("bad", "garbage", json!({"text": "clear"}))));
    assert_eq!(answer, "clear\n");
}

#[test]
fn an_aborted_run_waits_for_no_server() {
    let bench = Bench::new(STDIO);
    let tools = bench.tools();
    // The server is there before the abort.
    let _echo = text(tools.call(mcp("good", "echo", json!({"text": "x"}))));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tools.call(mcp("good", "stall", json!({}))));
        while bench.records().0 < 3 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        bench.cancel.cancel();
        let since = Instant::now();
        assert!(matches!(
            waiting.join().expect("no panic"),
            Err(ToolError::Cancelled)
        ));
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "it waited for the server"
        );
    });
}

#[test]
fn an_http_server_is_asked_by_the_host() {
    let server = Outside::start();
    let secret = tempfile::NamedTempFile::new().expect("file");
    fs::write(secret.path(), "t0ken\n").expect("written");
    let token = format!("token_file = {:?}", secret.path());
    let address = format!("http://127.0.0.1:{}", server.port);
    let bench = Bench::new(&format!(
        "[[mcp]]\nname = \"web\"\nurl = \"{address}/mcp\"\n{token}\ntimeout_seconds = 3\n\
         [[mcp]]\nname = \"moved\"\nurl = \"{address}/elsewhere\"\n{token}\n\
         [[mcp]]\nname = \"stranger\"\nurl = \"{address}/mcp\"\n\
         [[mcp]]\nname = \"nobody\"\nurl = \"http://127.0.0.1:9/mcp\"\n"
    ));
    let tools = bench.tools();
    let offered = tools.mcp_tools();
    assert!(
        offered.iter().all(|tool| tool.server == "web"),
        "{offered:?}"
    );
    let answer = text(tools.call(mcp("web", "echo", json!({"text": "hello"}))));
    assert_eq!(answer, "hello\n");
    for (tool, why) in [("fail", "says: I will not"), ("stall", "in time")] {
        let error = tools.call(mcp("web", tool, json!({}))).expect_err(tool);
        assert!(error.to_string().contains(why), "{tool}: {error}");
    }
    // Six million characters, of which some arrive, or too late.
    match tools.call(mcp("web", "long", json!({}))) {
        Ok(ToolOutput::Text(text)) => assert!(text.len() < 600 * 1024, "{}", text.len()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(error.to_string().contains("in time"), "{error}"),
    }
    let answer = text(tools.call(mcp("web", "echo", json!({"text": "still"}))));
    assert_eq!(answer, "still\n");
    let facts = bench.world.facts.lock().expect("lock");
    let of_web = facts
        .iter()
        .find(|facts| facts.tool == "mcp__web__echo")
        .expect("judged");
    assert_eq!(of_web.network, [format!("127.0.0.1:{}", server.port)]);
    assert!(!format!("{facts:?}").contains("t0ken"));
}

/// An answer without end is cut while it arrives, not once it is there.
#[test]
fn an_http_answer_without_end_is_not_taken() {
    let server = Outside::start();
    let secret = tempfile::NamedTempFile::new().expect("file");
    fs::write(secret.path(), "t0ken\n").expect("written");
    let bench = Bench::new(&format!(
        "[[mcp]]\nname = \"web\"\nurl = \"http://127.0.0.1:{}/mcp\"\ntoken_file = {:?}\ntimeout_seconds = 120\n",
        server.port,
        secret.path()
    ));
    let tools = bench.tools();
    for name in ["endless", "events"] {
        let error = tools.call(mcp("web", name, json!({}))).expect_err(name);
        assert!(!error.to_string().contains("in time"), "{name}: {error}");
        let begun = Instant::now();
        let sent = loop {
            let sent = text(tools.call(mcp("web", "sent", json!({"text": name}))));
            match sent.trim().parse().expect("a number") {
                0 => assert!(begun.elapsed() < Duration::from_secs(120), "{name} goes on"),
                sent => break sent,
            }
        };
        // The client's bound is 16 MiB; the rest is what waited on the way.
        let most: u64 = 64 << 20;
        assert!(sent < most, "{name}: {sent} bytes were taken");
    }
}

/// The official SDK speaks the protocol better than we could write it down.
#[test]
fn the_official_sdk_is_understood() {
    let found = Command::new("python3")
        .args(["-c", "from mcp.server import MCPServer"])
        .env("PYTHONPATH", packages())
        .output()
        .expect("python3");
    if !found.status.success() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "the official MCP SDK is missing: {}",
            String::from_utf8_lossy(&found.stderr)
        );
        eprintln!("skipped: pip install --target target/mcp-sdk -r tests/server/requirements.txt");
        return;
    }
    let server = Outside::official();
    let bench = Bench::new(&format!(
        "[[mcp]]\nname = \"sdk\"\nurl = \"http://127.0.0.1:{}/mcp\"\n",
        server.port
    ));
    let tools = bench.tools();
    let names: Vec<String> = tools.mcp_tools().iter().map(|tool| tool.name()).collect();
    assert_eq!(names, ["mcp__sdk__add", "mcp__sdk__refuse"]);
    let sum = text(tools.call(mcp("sdk", "add", json!({"left": 40, "right": 2}))));
    assert_eq!(sum, "42\n");
    let error = tools
        .call(mcp("sdk", "refuse", json!({})))
        .expect_err("never");
    assert!(
        error.to_string().contains("executing tool refuse"),
        "{error}"
    );
}
