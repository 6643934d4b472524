//! A model that says what a script says, over the Anthropic Messages API on loopback.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What the model does when it is asked.
#[derive(Clone, Debug)]
pub enum Turn {
    /// It answers with these content blocks.
    Blocks(Vec<Value>),
    /// The server refuses with this status and error.
    Refuse(u16, Value),
    /// The stream ends in the middle.
    BreakOff,
    /// The stream begins and nothing more comes, until the client goes away.
    Stall,
}

/// A text block.
pub fn says(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A tool call.
pub fn calls(name: &str, input: Value) -> Value {
    json!({ "type": "tool_use", "name": name, "input": input })
}

/// The names of the tools that a request offers.
pub fn offered(request: &Value) -> Vec<&str> {
    let tools = request.get("tools").and_then(Value::as_array);
    tools
        .into_iter()
        .flatten()
        .filter_map(|tool| tool.get("name")?.as_str())
        .collect()
}

/// How often the model has answered before this request.
pub fn answers(request: &Value) -> usize {
    let messages = request.get("messages").and_then(Value::as_array);
    messages
        .into_iter()
        .flatten()
        .filter(|message| message.get("role").and_then(Value::as_str) == Some("assistant"))
        .count()
}

type Script = dyn Fn(&Value) -> Turn + Send + Sync;

/// A server on a free port; ends when dropped.
pub struct ModelServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
}

impl ModelServer {
    /// Answers every request with what `script` says to its body.
    pub fn start(script: impl Fn(&Value) -> Turn + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (requests, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), seen) = (stream, Arc::clone(&requests)) else {
                    continue;
                };
                let script = Arc::clone(&script);
                // A client that goes away in the middle harms nobody.
                std::thread::spawn(move || drop(serve(stream, &seen, script.as_ref())));
            }
        });
        Self {
            address,
            seen,
            stop,
        }
    }

    /// As in `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of all requests so far.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Value>>, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let number = {
        let mut seen = seen.lock().expect("nobody panicked");
        seen.push(request.clone());
        seen.len()
    };
    match script(&request) {
        Turn::Refuse(status, error) => {
            let body = json!({ "type": "error", "error": error }).to_string();
            write!(
                stream,
                "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Turn::BreakOff => {
            stream.write_all(HEAD.as_bytes())?;
            stream.write_all(begin(&request, number).as_bytes())
        }
        Turn::Stall => {
            stream.write_all(HEAD.as_bytes())?;
            stream.write_all(begin(&request, number).as_bytes())?;
            stream.flush()?;
            // Ends when the client closes its side.
            reader.read_to_end(&mut Vec::new()).map(drop)
        }
        Turn::Blocks(blocks) => {
            stream.write_all(HEAD.as_bytes())?;
            stream.write_all(begin(&request, number).as_bytes())?;
            stream.write_all(rest(&blocks, number).as_bytes())
        }
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n";

fn event(data: &Value) -> String {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

fn begin(request: &Value, number: usize) -> String {
    let usage = json!({
        "input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 5, "service_tier": "standard",
    });
    event(&json!({ "type": "message_start", "message": {
        "id": format!("msg_{number}"), "type": "message", "role": "assistant",
        "model": request.get("model"), "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": usage,
    }}))
}

fn rest(blocks: &[Value], number: usize) -> String {
    let mut text = String::new();
    let mut stop = "end_turn";
    for (index, block) in blocks.iter().enumerate() {
        let (start, delta) = match block.get("type").and_then(Value::as_str) {
            Some("tool_use") => {
                stop = "tool_use";
                let input = block.get("input").map(Value::to_string).unwrap_or_default();
                (
                    json!({ "type": "tool_use", "id": format!("toolu_{number}_{index}"),
                        "name": block.get("name"), "input": {} }),
                    json!({ "type": "input_json_delta", "partial_json": input }),
                )
            }
            _ => (
                json!({ "type": "text", "text": "" }),
                json!({ "type": "text_delta", "text": block.get("text") }),
            ),
        };
        for data in [
            json!({ "type": "content_block_start", "index": index, "content_block": start }),
            json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            json!({ "type": "content_block_stop", "index": index }),
        ] {
            text.push_str(&event(&data));
        }
    }
    text.push_str(&event(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop, "stop_sequence": null },
        "usage": { "output_tokens": 15 },
    })));
    text.push_str(&event(&json!({ "type": "message_stop" })));
    text
}
