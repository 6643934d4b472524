//! What a question is in the Responses API. Nothing is stored there: reasoning comes
//! encrypted and is said again.

use super::{Settings, arguments, result_text};
use crate::conversation::{Block, Message, Question, Role, ToolChoice};
use serde_json::{Value, json};

/// In a thinking block's `raw`: which part of an answer the next text was.
pub(super) const PHASE: &str = "phase";

/// The request's body. `own` is the provider's name: reasoning of others is left out.
pub(super) fn body(question: &Question<'_>, settings: &Settings, own: &str) -> Value {
    let mut input = Vec::new();
    for message in question.messages {
        match message.role {
            Role::User => user(message, &mut input),
            Role::Assistant => assistant(message, own, &mut input),
        }
    }
    let mut body = json!({
        "model": settings.model,
        "input": input,
        "max_output_tokens": question.max_output_tokens.min(settings.max_output_tokens),
        "store": false,
        "stream": true,
    });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if !question.system.is_empty() {
        fields.insert("instructions".to_owned(), json!(question.system));
    }
    if let Some(effort) = settings.effort {
        fields.insert(
            "reasoning".to_owned(),
            json!({"effort": effort, "summary": "auto"}),
        );
        // Models that do not reason refuse it.
        fields.insert("include".to_owned(), json!(["reasoning.encrypted_content"]));
    }
    if !question.tools.is_empty() {
        let tools: Vec<Value> = question
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                    "strict": false,
                })
            })
            .collect();
        fields.insert("tools".to_owned(), Value::Array(tools));
        let choice = match &question.tool_choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::Tool(name) => json!({"type": "function", "name": name}),
            ToolChoice::None => json!("none"),
        };
        fields.insert("tool_choice".to_owned(), choice);
    }
    body
}

fn user(message: &Message, input: &mut Vec<Value>) {
    for block in &message.blocks {
        if let Block::ToolResult {
            id,
            content,
            is_error,
        } = block
        {
            input.push(json!({
                "type": "function_call_output",
                "call_id": id,
                "output": result_text(content, *is_error),
            }));
        }
    }
    let texts: Vec<Value> = message
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text { text } if !text.trim().is_empty() => {
                Some(json!({"type": "input_text", "text": text}))
            }
            _ => None,
        })
        .collect();
    if !texts.is_empty() {
        input.push(json!({"type": "message", "role": "user", "content": texts}));
    }
}

fn assistant(message: &Message, own: &str, input: &mut Vec<Value>) {
    let first = input.len();
    let mut phase = None;
    for block in &message.blocks {
        match block {
            Block::Text { text } if !text.trim().is_empty() => {
                let mut said = json!({"type": "message", "role": "assistant", "content": text});
                if let (Some(phase), Some(fields)) = (phase.take(), said.as_object_mut()) {
                    fields.insert(PHASE.to_owned(), phase);
                }
                input.push(said);
            }
            Block::Thinking {
                provider,
                raw: Some(raw),
                ..
            } if provider == own => {
                if let Some(known) = raw.get(PHASE) {
                    phase = Some(known.clone());
                } else if raw
                    .get("encrypted_content")
                    .is_some_and(|content| content.is_string())
                {
                    input.push(raw.clone());
                }
            }
            Block::ToolUse {
                id,
                name,
                input: said,
            } => input.push(json!({
                "type": "function_call",
                "call_id": id,
                "name": name,
                "arguments": arguments(said),
            })),
            Block::Text { .. } | Block::Thinking { .. } | Block::ToolResult { .. } => {}
        }
    }
    // Reasoning that led to nothing is refused.
    while input.len() > first
        && input
            .last()
            .and_then(|item| item.get("type"))
            .is_some_and(|kind| kind == "reasoning")
    {
        input.pop();
    }
}
