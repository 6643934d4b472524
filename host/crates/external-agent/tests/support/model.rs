//! A model on loopback: which answer it gives depends on how many it has given in the
//! conversation, so that a repeated request gets the same one.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    Messages,
    Responses,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) body: String,
}

/// One turn of its script.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    Say(String),
    Tool(String, Value),
}

pub(crate) fn say(text: impl Into<String>) -> Turn {
    Turn::Say(text.into())
}

pub(crate) fn tool(name: &str, input: Value) -> Turn {
    Turn::Tool(name.to_owned(), input)
}

pub(crate) struct ScriptedModel {
    pub(crate) speaks: Speaks,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl ScriptedModel {
    /// Listens until the test ends.
    pub(crate) fn start(speaks: Speaks, script: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (shared, script) = (Arc::clone(&seen), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, speaks, &script, &seen));
            }
        });
        Self {
            speaks,
            address,
            seen,
        }
    }

    pub(crate) fn base_url(&self) -> String {
        match self.speaks {
            Speaks::Messages => format!("http://{}", self.address),
            Speaks::Responses => format!("http://{}/v1", self.address),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }
}

fn serve(stream: TcpStream, speaks: Speaks, script: &[Turn], seen: &Mutex<Vec<Seen>>) {
    let mut writer = stream.try_clone().expect("clone");
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        seen.lock().expect("lock").push(Seen {
            path: path.clone(),
            headers: head,
            body: body.clone(),
        });
        let request: Value = serde_json::from_str(&body).unwrap_or_default();
        let (kind, answer) = answer(speaks, &path, &request, script);
        let _ = write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
    }
}

fn answer(speaks: Speaks, path: &str, request: &Value, script: &[Turn]) -> (&'static str, String) {
    if path.contains("/models") {
        let models = json!({"data": [], "models": [], "has_more": false, "object": "list"});
        return ("application/json", models.to_string());
    }
    let done = json!({"rootCause": null, "rationale": "the script is over", "confidence": 0.0})
        .to_string();
    let over = Turn::Say(done);
    match speaks {
        Speaks::Messages => {
            let turns = request["messages"].as_array().map_or(0, |messages| {
                messages
                    .iter()
                    .filter(|message| message["role"] == "assistant")
                    .count()
            });
            let main = request["tools"]
                .as_array()
                .is_some_and(|tools| !tools.is_empty());
            let turn = if main {
                script.get(turns).unwrap_or(&over)
            } else {
                &over
            };
            ("text/event-stream", messages(turns, turn))
        }
        Speaks::Responses => {
            let turns = request["input"].as_array().map_or(0, |items| {
                items
                    .iter()
                    .filter(|item| {
                        item["role"] == "assistant"
                            || item["type"] == "function_call"
                            || item["type"] == "custom_tool_call"
                    })
                    .count()
            });
            let turn = script.get(turns).unwrap_or(&over);
            ("text/event-stream", responses(turns, turn))
        }
    }
}

fn event(out: &mut String, data: &Value) {
    out.push_str(&format!(
        "event: {}\ndata: {data}\n\n",
        data["type"].as_str().unwrap_or_default()
    ));
}

fn messages(number: usize, turn: &Turn) -> String {
    let mut out = String::new();
    let usage = json!({"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0,
                       "cache_read_input_tokens": 0});
    event(
        &mut out,
        &json!({"type": "message_start", "message": {
            "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}),
    );
    let (block, delta, stop) = match turn {
        Turn::Say(text) => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
            "end_turn",
        ),
        Turn::Tool(name, input) => (
            json!({"type": "tool_use", "id": format!("toolu_{number:04}"), "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
    };
    event(
        &mut out,
        &json!({"type": "content_block_start", "index": 0, "content_block": block}),
    );
    event(
        &mut out,
        &json!({"type": "content_block_delta", "index": 0, "delta": delta}),
    );
    event(&mut out, &json!({"type": "content_block_stop", "index": 0}));
    event(
        &mut out,
        &json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
                "usage": {"output_tokens": 15}}),
    );
    event(&mut out, &json!({"type": "message_stop"}));
    out
}

fn responses(number: usize, turn: &Turn) -> String {
    let mut out = String::new();
    let id = format!("resp_{number}");
    let item = match turn {
        Turn::Say(text) => {
            json!({"type": "message", "id": format!("msg_{number}"), "role": "assistant",
            "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]})
        }
        Turn::Tool(name, input) if name == "apply_patch" => json!({"type": "custom_tool_call",
            "id": format!("ct_{number}"), "call_id": format!("call_{number}"), "name": name,
            "input": input.as_str().unwrap_or_default(), "status": "completed"}),
        Turn::Tool(name, input) => json!({"type": "function_call", "id": format!("fc_{number}"),
            "call_id": format!("call_{number}"), "name": name, "arguments": input.to_string(),
            "status": "completed"}),
    };
    event(
        &mut out,
        &json!({"type": "response.created", "response": {"id": id, "object": "response",
        "status": "in_progress", "output": []}}),
    );
    event(
        &mut out,
        &json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
    );
    event(
        &mut out,
        &json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
    );
    event(
        &mut out,
        &json!({"type": "response.completed", "response": {"id": id, "object": "response", "status": "completed",
            "output": [item], "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}}}),
    );
    out
}
