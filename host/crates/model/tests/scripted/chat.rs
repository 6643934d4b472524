//! Chunks of Chat Completions.

use serde_json::{Value, json};

/// Chunks as they go over the wire, with the end.
pub fn sse(chunks: &[Value]) -> String {
    let mut text = open(chunks);
    text.push_str("data: [DONE]\n\n");
    text
}

/// Chunks without the end.
pub fn open(chunks: &[Value]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect()
}

pub fn chunk(choices: Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "m", "choices": choices,
    })
}

pub fn piece(delta: Value) -> Value {
    chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]))
}

pub fn text(text: &str) -> Value {
    piece(json!({"content": text}))
}

pub fn call(index: usize, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let mut function = json!({"arguments": arguments});
    let mut call = json!({"index": index});
    if let Some(name) = name {
        function["name"] = json!(name);
    }
    if let Some(id) = id {
        call["id"] = json!(id);
        call["type"] = json!("function");
    }
    call["function"] = function;
    piece(json!({"tool_calls": [call]}))
}

pub fn finish(reason: &str) -> Vec<Value> {
    let mut counted = chunk(json!([]));
    counted["usage"] = json!({
        "prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050,
        "prompt_tokens_details": {"cached_tokens": 900},
    });
    vec![
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}])),
        counted,
    ]
}

/// A whole answer.
pub fn answer(pieces: Vec<Value>, reason: &str) -> String {
    let mut chunks = vec![piece(json!({"role": "assistant", "content": ""}))];
    chunks.extend(pieces);
    chunks.extend(finish(reason));
    sse(&chunks)
}
