//! A language model that says what a test wrote down: Anthropic's Messages, OpenAI's
//! Responses and Gemini's API on loopback, as far as the agents of these makers need
//! them. Which turn is said follows from the conversation that is sent, so repeated
//! requests are harmless.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Whose API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Responses.
    OpenAi,
    /// Gemini's `generateContent`.
    Gemini,
}

/// What a scripted model says in one turn.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// It asks for a tool, by name and input.
    Call(String, Value),
    /// It says something, which ends the agent's turn.
    Text(String),
    /// Nothing, for as long as the agent waits.
    Silence,
}

type Script = dyn Fn(&Value, usize) -> Line + Send + Sync;

/// Answers until the process ends.
pub struct ScriptedModel {
    url: String,
    dialect: Dialect,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl ScriptedModel {
    /// Asks for these calls (name and input of the tool), one per turn; says `done`
    /// after the last one.
    pub fn calling(calls: &[(&str, Value)]) -> Self {
        Self::speaking(Dialect::Anthropic, calls)
    }

    /// The same in another API.
    pub fn speaking(dialect: Dialect, calls: &[(&str, Value)]) -> Self {
        let calls: Vec<Line> = calls
            .iter()
            .map(|(name, input)| Line::Call((*name).to_owned(), input.clone()))
            .collect();
        Self::following(dialect, move |_, turn| {
            let done = || Line::Text("done".to_owned());
            calls.get(turn).cloned().unwrap_or_else(done)
        })
    }

    /// Says what `script` says to a request and to how many turns the model had in that
    /// conversation before.
    pub fn following(
        dialect: Dialect,
        script: impl Fn(&Value, usize) -> Line + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                // A client that goes away is no failure of the model.
                std::thread::spawn(move || drop(talk(stream, dialect, script.as_ref(), &seen)));
            }
        });
        Self {
            url,
            dialect,
            requests,
        }
    }

    /// Its address, as a base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the agent sent last, as text.
    pub fn last(&self) -> String {
        let requests = self.requests.lock().expect("lock");
        requests.last().map(Value::to_string).unwrap_or_default()
    }

    /// Everything that the agent sent, as text.
    pub fn told(&self) -> String {
        let requests = self.requests.lock().expect("lock");
        requests.iter().map(Value::to_string).collect()
    }

    /// What tools answered so far, as the agent reported it: whether it was an error,
    /// and the text. Anthropic's API only.
    pub fn results(&self) -> Vec<(bool, String)> {
        assert_eq!(self.dialect, Dialect::Anthropic);
        let requests = self.requests.lock().expect("lock");
        let Some(messages) = requests.last().and_then(|last| last["messages"].as_array()) else {
            return Vec::new();
        };
        let blocks = messages.iter().filter_map(|it| it["content"].as_array());
        blocks
            .flatten()
            .filter(|block| block["type"] == "tool_result")
            .map(|block| {
                let text = match &block["content"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                (block["is_error"] == true, text)
            })
            .collect()
    }
}

/// One connection, request after request.
fn talk(
    mut stream: TcpStream,
    dialect: Dialect,
    script: &Script,
    seen: &Mutex<Vec<Value>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let (media, answer) = if path.starts_with("/v1/messages/count_tokens") {
            (
                "application/json",
                json!({ "input_tokens": 10 }).to_string(),
            )
        } else if path.starts_with("/v1/messages") {
            say(&request, script, seen)
        } else if dialect == Dialect::OpenAi && path.ends_with("/responses") {
            respond(&request, script, seen)
        } else if dialect == Dialect::Gemini && path.contains("enerateContent") {
            generate(&request, path.contains("stream"), script, seen)
        } else {
            ("application/json", "{}".to_owned())
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())?;
    }
}

/// What the script says; one that is silent is so for longer than any test.
fn next(script: &Script, request: &Value, turn: usize, seen: &Mutex<Vec<Value>>) -> Line {
    seen.lock().expect("lock").push(request.clone());
    let line = script(request, turn);
    if line == Line::Silence {
        std::thread::sleep(Duration::from_secs(600));
    }
    line
}

fn say(request: &Value, script: &Script, seen: &Mutex<Vec<Value>>) -> (&'static str, String) {
    let spoken = request["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|message| message["role"] == "assistant")
        .count();
    let works = request["tools"]
        .as_array()
        .is_some_and(|tools| !tools.is_empty());
    let line = if works {
        next(script, request, spoken, seen)
    } else {
        Line::Text("done".to_owned())
    };
    let block = match line {
        Line::Call(name, input) => json!({ "type": "tool_use",
            "id": format!("toolu_test{spoken:04}"), "name": name, "input": input }),
        Line::Text(text) => json!({ "type": "text", "text": text }),
        Line::Silence => json!({ "type": "text", "text": "" }),
    };
    let stop = if block["type"] == "tool_use" {
        "tool_use"
    } else {
        "end_turn"
    };
    let message = json!({
        "id": format!("msg_test{spoken:04}"), "type": "message", "role": "assistant",
        "model": request["model"], "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 5 },
    });
    if request["stream"] != true {
        let mut whole = message;
        whole["content"] = json!([block]);
        whole["stop_reason"] = json!(stop);
        return ("application/json", whole.to_string());
    }
    let (start, delta) = if stop == "tool_use" {
        let mut start = block.clone();
        start["input"] = json!({});
        let input = block["input"].to_string();
        (
            start,
            json!({ "type": "input_json_delta", "partial_json": input }),
        )
    } else {
        let start = json!({ "type": "text", "text": "" });
        (
            start,
            json!({ "type": "text_delta", "text": block["text"] }),
        )
    };
    let events = [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": start }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
            "usage": { "output_tokens": 15 } }),
        json!({ "type": "message_stop" }),
    ];
    let text = events.iter().map(|event| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    });
    ("text/event-stream", text.collect())
}

/// OpenAI's Responses, streamed.
fn respond(request: &Value, script: &Script, seen: &Mutex<Vec<Value>>) -> (&'static str, String) {
    let spoken = request["input"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["type"] == "function_call")
        .count();
    let item = match next(script, request, spoken, seen) {
        Line::Call(name, input) => json!({ "type": "function_call",
            "id": format!("fc_{spoken}"), "call_id": format!("call_{spoken}"),
            "name": name, "arguments": input.to_string() }),
        Line::Text(text) => json!({ "type": "message", "id": "m", "role": "assistant",
            "content": [{ "type": "output_text", "text": text }] }),
        Line::Silence => json!({ "type": "message", "id": "m", "role": "assistant",
            "content": [] }),
    };
    let usage = json!({ "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1,
        "output_tokens_details": null, "total_tokens": 2 });
    let events = [
        json!({ "type": "response.created", "response": { "id": "r" } }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": { "id": "r", "usage": usage } }),
    ];
    let text = events.iter().map(|event| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    });
    ("text/event-stream", text.collect())
}

/// Gemini's `generateContent`, streamed or not.
fn generate(
    request: &Value,
    streams: bool,
    script: &Script,
    seen: &Mutex<Vec<Value>>,
) -> (&'static str, String) {
    let parts = request["contents"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|content| content["parts"].as_array())
        .flatten();
    let spoken = parts
        .filter(|part| part.get("functionResponse").is_some())
        .count();
    let works = streams && request["tools"].is_array();
    let line = if works {
        next(script, request, spoken, seen)
    } else {
        Line::Text("done".to_owned())
    };
    let part = match line {
        Line::Call(name, input) => json!({ "functionCall": { "name": name, "args": input } }),
        Line::Text(text) => json!({ "text": text }),
        Line::Silence => json!({ "text": "" }),
    };
    let answer = json!({
        "candidates": [{ "content": { "role": "model", "parts": [part] },
            "finishReason": "STOP", "index": 0 }],
        "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 },
        "modelVersion": "test",
    });
    if streams {
        ("text/event-stream", format!("data: {answer}\r\n\r\n"))
    } else {
        ("application/json", answer.to_string())
    }
}
