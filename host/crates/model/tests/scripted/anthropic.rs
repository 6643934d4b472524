//! Events of the Messages API.

use serde_json::{Value, json};

/// Events as they go over the wire.
pub fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().expect("a type");
            format!("event: {name}\ndata: {event}\n\n")
        })
        .collect()
}

pub fn start() -> Value {
    json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": 12, "output_tokens": 1,
            "cache_creation_input_tokens": 300, "cache_read_input_tokens": 4000,
        },
    }})
}

pub fn begin(index: usize, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

pub fn delta(index: usize, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

pub fn end(index: usize) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

pub fn text(index: usize, pieces: &[&str]) -> Vec<Value> {
    let mut events = vec![begin(index, json!({"type": "text", "text": ""}))];
    events.extend(
        pieces
            .iter()
            .map(|piece| delta(index, json!({"type": "text_delta", "text": piece}))),
    );
    events.push(end(index));
    events
}

pub fn tool(index: usize, id: &str, name: &str, pieces: &[&str]) -> Vec<Value> {
    let mut events = vec![begin(
        index,
        json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
    )];
    events.extend(pieces.iter().map(|piece| {
        delta(
            index,
            json!({"type": "input_json_delta", "partial_json": piece}),
        )
    }));
    events.push(end(index));
    events
}

pub fn thinking(index: usize, text: &str, signature: &str) -> Vec<Value> {
    vec![
        begin(
            index,
            json!({"type": "thinking", "thinking": "", "signature": ""}),
        ),
        delta(index, json!({"type": "thinking_delta", "thinking": text})),
        delta(
            index,
            json!({"type": "signature_delta", "signature": signature}),
        ),
        end(index),
    ]
}

pub fn finish(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": null},
            "usage": {"output_tokens": 77}}),
        json!({"type": "message_stop"}),
    ]
}

/// A whole answer of these blocks.
pub fn answer(blocks: Vec<Vec<Value>>, reason: &str) -> String {
    let mut events = vec![start(), json!({"type": "ping"})];
    events.extend(blocks.into_iter().flatten());
    events.extend(finish(reason));
    sse(&events)
}

/// An answer of one text.
pub fn says(words: &str) -> String {
    answer(vec![text(0, &[words])], "end_turn")
}
