//! A server that says what a script tells it, and what the tests of all providers
//! share. Speaks HTTP/1.1 by hand, so that it can break it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod anthropic;
pub mod chat;
pub mod responses;

use selfheal_model::config::{ProviderConfig, Surroundings};
use selfheal_model::conversation::{Answer, Message, Question, ToolChoice, ToolSpec};
use selfheal_model::pace::Pace;
use selfheal_model::provider::{Delta, Provider, ProviderError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub const KEY: &str = "sk-test-0123456789abcdefghij";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// A piece of an answer.
#[derive(Clone)]
pub enum Act {
    /// These bytes, in a chunk of their own.
    Send(Vec<u8>),
    /// These bytes so many times.
    Repeat(Vec<u8>, usize),
    /// Nothing more, until the client goes away.
    Stall,
    /// Close without the end that HTTP asks for.
    Cut,
}

/// One answer of the script.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub acts: Vec<Act>,
}

impl Reply {
    pub fn stream(text: &str) -> Self {
        Self::acts(vec![Act::Send(text.as_bytes().to_vec())])
    }

    pub fn acts(acts: Vec<Act>) -> Self {
        Self {
            status: 200,
            headers: vec![(
                "content-type",
                "text/event-stream; charset=utf-8".to_owned(),
            )],
            acts,
        }
    }

    pub fn error(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            acts: vec![Act::Send(body.to_string().into_bytes())],
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Reply>,
    requests: Vec<Request>,
    /// Streams that a client left before their end.
    abandoned: usize,
    connections: usize,
}

/// The server; gone when dropped.
pub struct Scripted {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
    closing: Arc<AtomicBool>,
}

impl Scripted {
    pub fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new((
            Mutex::new(State {
                script: script.into(),
                ..State::default()
            }),
            Condvar::new(),
        ));
        let closing = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&state), Arc::clone(&closing));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    shared.0.lock().expect("unpoisoned").connections += 1;
                    // A client that goes away is a part of many scripts.
                    let _ = serve(&stream, &shared);
                });
            }
        });
        Self {
            address,
            state,
            closing,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.0.lock().expect("unpoisoned").requests.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.0.lock().expect("unpoisoned").connections
    }

    /// Waits until a client has left a stream before its end.
    pub fn wait_abandoned(&self) {
        self.wait("nobody left", |state| state.abandoned > 0);
    }

    /// Waits until so many requests have arrived.
    pub fn wait_requests(&self, count: usize) {
        self.wait("nobody asked", |state| state.requests.len() >= count);
    }

    fn wait(&self, complaint: &str, done: impl Fn(&State) -> bool) {
        let guard = self.state.0.lock().expect("unpoisoned");
        let (_guard, result) = self
            .state
            .1
            .wait_timeout_while(guard, Duration::from_secs(20), |state| !done(state))
            .expect("unpoisoned");
        assert!(!result.timed_out(), "{complaint}");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        let reply = {
            let mut state = shared.0.lock().expect("unpoisoned");
            state.requests.push(request);
            shared.1.notify_all();
            state.script.pop_front()
        };
        let reply = reply.unwrap_or_else(|| {
            Reply::error(400, &json!({"error": {"message": "the script is over"}}))
        });
        let mut out = stream.try_clone()?;
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("transfer-encoding: chunked\r\n\r\n");
        out.write_all(head.as_bytes())?;
        for act in reply.acts {
            let result = match act {
                Act::Send(bytes) => chunk(&mut out, &bytes),
                Act::Repeat(bytes, times) => (0..times).try_for_each(|_| chunk(&mut out, &bytes)),
                Act::Stall => {
                    let mut byte = [0];
                    match reader.read(&mut byte) {
                        Ok(0) | Err(_) => Err(std::io::ErrorKind::ConnectionAborted.into()),
                        Ok(_) => Ok(()),
                    }
                }
                Act::Cut => return stream.shutdown(std::net::Shutdown::Both),
            };
            if result.is_err() {
                shared.0.lock().expect("unpoisoned").abandoned += 1;
                shared.1.notify_all();
                return result;
            }
        }
        out.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

fn chunk(out: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut piece = format!("{:x}\r\n", bytes.len()).into_bytes();
    piece.extend_from_slice(bytes);
    piece.extend_from_slice(b"\r\n");
    out.write_all(&piece)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        path,
        headers,
        body,
    }))
}

/// Time that passes only when somebody waits.
#[derive(Default)]
pub struct FakePace {
    now: Mutex<Duration>,
    waits: Mutex<Vec<Duration>>,
}

impl FakePace {
    /// The waits so far, in seconds.
    pub fn waits(&self) -> Vec<f64> {
        self.waits
            .lock()
            .expect("unpoisoned")
            .iter()
            .map(Duration::as_secs_f64)
            .collect()
    }
}

impl Pace for FakePace {
    fn now(&self) -> Duration {
        *self.now.lock().expect("unpoisoned")
    }

    fn wait(&self, time: Duration, _cancelled: &dyn Fn() -> bool) {
        self.waits.lock().expect("unpoisoned").push(time);
        *self.now.lock().expect("unpoisoned") += time;
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}

/// A provider that asks at `base_url`, and its time.
pub struct Asked {
    pub provider: Arc<dyn Provider>,
    pub pace: Arc<FakePace>,
    pub deltas: Mutex<Vec<Delta>>,
}

impl Asked {
    /// From lines of configuration.
    pub fn new(kind: &str, base_url: &str, more: &str) -> Self {
        Self::with_idle(kind, base_url, more, Duration::from_secs(20))
    }

    pub fn with_idle(kind: &str, base_url: &str, more: &str, idle: Duration) -> Self {
        let config: ProviderConfig = toml::from_str(&format!(
            "kind = \"{kind}\"\nmodel = \"m\"\nkey_env = \"KEY\"\nbase_url = \"{base_url}\"\n{more}"
        ))
        .expect("a valid configuration");
        let pace = Arc::new(FakePace::default());
        let provider = config
            .connect_in(&Surroundings {
                environment: &|_| Some(KEY.to_owned()),
                pace: Arc::clone(&pace) as Arc<dyn Pace>,
                connect_timeout: Duration::from_secs(5),
                idle_timeout: Some(idle),
            })
            .expect("a provider");
        Self {
            provider,
            pace,
            deltas: Mutex::default(),
        }
    }

    pub fn ask(&self, messages: &[Message]) -> Result<Answer, ProviderError> {
        self.ask_with(messages, ToolChoice::Auto, &|| false)
    }

    pub fn ask_with(
        &self,
        messages: &[Message],
        tool_choice: ToolChoice,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Answer, ProviderError> {
        let tools = tools();
        self.provider.ask(
            &Question {
                system: "You repair programs.",
                messages,
                tools: &tools,
                tool_choice,
                max_output_tokens: 4_096,
            },
            Duration::from_secs(600),
            cancelled,
            &mut |delta| self.deltas.lock().expect("unpoisoned").push(delta),
        )
    }

    pub fn text_seen(&self) -> String {
        self.deltas
            .lock()
            .expect("unpoisoned")
            .iter()
            .filter_map(|delta| match delta {
                Delta::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub fn tools() -> Vec<ToolSpec> {
    ["Bash", "Read"]
        .map(|name| ToolSpec {
            name: name.to_owned(),
            description: format!("{name} does what it says"),
            input_schema: json!({
                "type": "object",
                "properties": {"argument": {"type": "string", "description": "What"}},
                "required": ["argument"],
                "additionalProperties": false,
            }),
        })
        .into()
}

/// The variant's name and its message.
pub fn told(result: Result<Answer, ProviderError>) -> (&'static str, String) {
    let error = result.expect_err("an error");
    let text = error.to_string();
    assert!(!text.contains(KEY) && !format!("{error:?}").contains(KEY));
    let kind = match error {
        ProviderError::Cancelled => "cancelled",
        ProviderError::Unavailable { .. } => "unavailable",
        ProviderError::OutOfBudget { .. } => "out of budget",
        ProviderError::Refused { .. } => "refused",
        ProviderError::TooLong { .. } => "too long",
        ProviderError::Broken { .. } => "broken",
    };
    (kind, text)
}

/// Everything that a provider can speak.
pub const KINDS: [&str; 3] = ["anthropic", "openai", "openai-responses"];

/// What `base_url` is for this kind.
pub fn base(kind: &str, server: &Scripted) -> String {
    match kind {
        "anthropic" => server.url(),
        _ => format!("{}/v1", server.url()),
    }
}

/// An answer with everything in it, as each kind streams it.
pub fn rich(kind: &str) -> String {
    let (x, y) = ("{\"argument\": \"\u{e9} \\u00e9\"}", "{\"argument\":\"y\"}");
    match kind {
        "anthropic" => anthropic::answer(
            vec![
                anthropic::thinking(0, "let me see", "c2ln"),
                anthropic::text(1, &["I will ", "look \u{1f50d}"]),
                anthropic::tool(2, "call_a", "Read", &[&x[..7], &x[7..]]),
                anthropic::tool(3, "call_b", "Bash", &[y]),
                anthropic::tool(4, "call_c", "Bash", &[]),
            ],
            "tool_use",
        ),
        "openai" => chat::answer(
            vec![
                chat::text("I will "),
                chat::text("look \u{1f50d}"),
                chat::call(0, Some("call_a"), Some("Read"), &x[..7]),
                chat::call(0, None, None, &x[7..]),
                chat::call(1, Some("call_b"), Some("Bash"), y),
                chat::call(2, Some("call_c"), Some("Bash"), ""),
            ],
            "tool_calls",
        ),
        _ => responses::answer(&[
            responses::reasoning("rs_1", "Z2VoZWlt"),
            responses::message("I will look \u{1f50d}", Some("commentary")),
            responses::call("call_a", "Read", x),
            responses::call("call_b", "Bash", y),
            responses::call("call_c", "Bash", ""),
        ]),
    }
}
