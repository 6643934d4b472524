//! What a question is in Chat Completions.

use super::{Settings, arguments, result_text};
use crate::conversation::{Block, Message, Question, Role, ToolChoice};
use serde_json::{Value, json};

/// In a thinking block's `raw`: the number of the call that it belongs to.
pub(super) const CALL: &str = "tool_call";
/// What Gemini wants back with a call, and everybody else ignores.
pub(super) const EXTRA: &str = "extra_content";

/// The request's body. `own` is the provider's name: what others say of their thinking
/// is left out.
pub(super) fn body(question: &Question<'_>, settings: &Settings, own: &str) -> Value {
    let mut messages = Vec::new();
    if !question.system.is_empty() {
        messages.push(json!({"role": "system", "content": question.system}));
    }
    for message in question.messages {
        match message.role {
            Role::User => user(message, &mut messages),
            Role::Assistant => messages.extend(assistant(message, own)),
        }
    }
    let mut body = json!({
        "model": settings.model,
        "messages": messages,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    let limit = if settings.renamed_limit {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    let tokens = question.max_output_tokens.min(settings.max_output_tokens);
    fields.insert(limit.to_owned(), json!(tokens));
    if let Some(effort) = settings.effort {
        fields.insert("reasoning_effort".to_owned(), json!(effort));
    }
    if !question.tools.is_empty() {
        let tools: Vec<Value> = question
            .tools
            .iter()
            .map(|tool| {
                json!({"type": "function", "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                }})
            })
            .collect();
        fields.insert("tools".to_owned(), Value::Array(tools));
        let choice = match &question.tool_choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::Tool(name) => json!({"type": "function", "function": {"name": name}}),
            ToolChoice::None => json!("none"),
        };
        fields.insert("tool_choice".to_owned(), choice);
    }
    body
}

/// Results answer the turn before and come first, each as a message.
fn user(message: &Message, messages: &mut Vec<Value>) {
    for block in &message.blocks {
        if let Block::ToolResult {
            id,
            content,
            is_error,
        } = block
        {
            messages.push(json!({
                "role": "tool",
                "tool_call_id": id,
                "content": result_text(content, *is_error),
            }));
        }
    }
    let text = texts(message);
    if !text.is_empty() {
        messages.push(json!({"role": "user", "content": text}));
    }
}

fn assistant(message: &Message, own: &str) -> Option<Value> {
    let mut calls: Vec<Value> = message
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse { id, name, input } => Some(json!({
                "id": id,
                "type": "function",
                "function": {"name": name, "arguments": arguments(input)},
            })),
            _ => None,
        })
        .collect();
    for block in &message.blocks {
        let Block::Thinking {
            provider,
            raw: Some(raw),
            ..
        } = block
        else {
            continue;
        };
        let call = raw
            .get(CALL)
            .and_then(Value::as_u64)
            .and_then(|number| usize::try_from(number).ok())
            .and_then(|number| calls.get_mut(number))
            .and_then(Value::as_object_mut);
        if let (true, Some(call), Some(extra)) = (provider == own, call, raw.get(EXTRA)) {
            call.insert(EXTRA.to_owned(), extra.clone());
        }
    }
    let text = texts(message);
    let mut said = json!({"role": "assistant"});
    let fields = said.as_object_mut()?;
    if !text.is_empty() {
        fields.insert("content".to_owned(), json!(text));
    }
    if !calls.is_empty() {
        fields.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    (fields.len() > 1).then_some(said)
}

fn texts(message: &Message) -> String {
    message
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text { text } if !text.trim().is_empty() => Some(text.as_str()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join("\n\n")
}
