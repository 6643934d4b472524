//! Events of the Responses API.

use serde_json::{Value, json};

/// Events as they go over the wire, numbered.
pub fn sse(events: &[Value]) -> String {
    events
        .iter()
        .enumerate()
        .map(|(number, event)| {
            let mut event = event.clone();
            event["sequence_number"] = json!(number);
            let name = event["type"].as_str().expect("a type").to_owned();
            format!("event: {name}\ndata: {event}\n\n")
        })
        .collect()
}

pub fn response(status: &str, output: &[Value]) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "model": "m",
        "status": status, "output": output, "parallel_tool_calls": true,
        "tool_choice": "auto", "tools": [], "error": null, "incomplete_details": null,
        "instructions": null, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
        "usage": {
            "input_tokens": 1_000, "output_tokens": 50, "total_tokens": 1_050,
            "input_tokens_details": {"cached_tokens": 900, "cache_write_tokens": 60},
            "output_tokens_details": {"reasoning_tokens": 20},
        },
    })
}

pub fn reasoning(id: &str, secret: &str) -> Value {
    json!({
        "type": "reasoning", "id": id,
        "summary": [{"type": "summary_text", "text": "let me see"}],
        "encrypted_content": secret,
    })
}

pub fn message(text: &str, phase: Option<&str>) -> Value {
    let mut item = json!({
        "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    });
    if let Some(phase) = phase {
        item["phase"] = json!(phase);
    }
    item
}

pub fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name,
        "arguments": arguments, "status": "completed",
    })
}

/// The events that lead to an item.
pub fn item(index: usize, whole: &Value) -> Vec<Value> {
    let mut begun = whole.clone();
    let id = whole["id"].clone();
    let mut events = Vec::new();
    match whole["type"].as_str() {
        Some("message") if whole["content"][0]["type"] == "refusal" => {
            begun["content"] = json!([]);
            begun["status"] = json!("in_progress");
            let refusal = &whole["content"][0]["refusal"];
            events.push(
                json!({"type": "response.refusal.delta", "output_index": index,
                "content_index": 0, "item_id": id, "delta": refusal}),
            );
            events.push(
                json!({"type": "response.refusal.done", "output_index": index,
                "content_index": 0, "item_id": id, "refusal": refusal}),
            );
        }
        Some("message") => {
            begun["content"] = json!([]);
            begun["status"] = json!("in_progress");
            let text = &whole["content"][0]["text"];
            events.push(
                json!({"type": "response.content_part.added", "output_index": index,
                "content_index": 0, "item_id": id,
                "part": {"type": "output_text", "text": "", "annotations": []}}),
            );
            events.push(
                json!({"type": "response.output_text.delta", "output_index": index,
                "content_index": 0, "item_id": id, "delta": text, "logprobs": []}),
            );
            events.push(
                json!({"type": "response.output_text.done", "output_index": index,
                "content_index": 0, "item_id": id, "text": text, "logprobs": []}),
            );
            events.push(
                json!({"type": "response.content_part.done", "output_index": index,
                "content_index": 0, "item_id": id, "part": whole["content"][0]}),
            );
        }
        Some("function_call") => {
            begun["arguments"] = json!("");
            begun["status"] = json!("in_progress");
            let arguments = &whole["arguments"];
            events.push(json!({"type": "response.function_call_arguments.delta",
                "output_index": index, "item_id": id, "delta": arguments}));
            events.push(json!({"type": "response.function_call_arguments.done",
                "output_index": index, "item_id": id, "name": whole["name"],
                "arguments": arguments}));
        }
        _ => {
            begun["summary"] = json!([]);
            events.push(json!({"type": "response.reasoning_summary_part.added",
                "output_index": index, "item_id": id, "summary_index": 0,
                "part": {"type": "summary_text", "text": ""}}));
            events.push(json!({"type": "response.reasoning_summary_text.delta",
                "output_index": index, "item_id": id, "summary_index": 0,
                "delta": whole["summary"][0]["text"]}));
        }
    }
    events.insert(
        0,
        json!({"type": "response.output_item.added", "output_index": index, "item": begun}),
    );
    events.push(json!({"type": "response.output_item.done", "output_index": index, "item": whole}));
    events
}

/// The events before the end.
pub fn open(items: &[Value]) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", &[])}),
        json!({"type": "response.in_progress", "response": response("in_progress", &[])}),
    ];
    for (index, whole) in items.iter().enumerate() {
        events.extend(item(index, whole));
    }
    events
}

/// A whole answer.
pub fn answer(items: &[Value]) -> String {
    let mut events = open(items);
    events.push(json!({"type": "response.completed", "response": response("completed", items)}));
    sse(&events)
}

/// An answer that was cut.
pub fn cut(items: &[Value], reason: &str) -> String {
    let mut events = open(items);
    let mut whole = response("incomplete", items);
    whole["incomplete_details"] = json!({"reason": reason});
    events.push(json!({"type": "response.incomplete", "response": whole}));
    sse(&events)
}
