//! What a question is in the Messages API.

use crate::conversation::{Block, Message, Question, Role, ToolChoice};
use serde_json::{Map, Value, json};

/// Shortest thinking budget that the API takes, in tokens.
const LEAST_THINKING: u32 = 1024;

/// What the configuration says about each request.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Model's name.
    pub(crate) model: String,
    /// Longest answer, in tokens.
    pub(crate) max_output_tokens: u32,
    /// How hard to think, for models that decide themselves how long.
    pub(crate) effort: Option<&'static str>,
    /// Tokens for thinking, for models that need to be told.
    pub(crate) thinking_tokens: Option<u32>,
}

/// The request's body. `own` is the provider's name: thinking of others is left out.
pub(crate) fn body(question: &Question<'_>, settings: &Settings, own: &str) -> Value {
    let max_tokens = question.max_output_tokens.min(settings.max_output_tokens);
    let thinking = thinking(question, settings, own, max_tokens);
    let mut body = json!({
        "model": settings.model,
        "max_tokens": max_tokens,
        "stream": true,
        "messages": messages(question.messages, own, thinking.is_some() || !configured(settings)),
    });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if !question.system.is_empty() {
        fields.insert(
            "system".to_owned(),
            json!([cached(json!({"type": "text", "text": question.system}))]),
        );
    }
    if !question.tools.is_empty() {
        let mut tools: Vec<Value> = question
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.input_schema,
                })
            })
            .collect();
        if let Some(last) = tools.last_mut() {
            *last = cached(last.take());
        }
        fields.insert("tools".to_owned(), Value::Array(tools));
        let choice = match &question.tool_choice {
            ToolChoice::Auto => json!({"type": "auto"}),
            ToolChoice::Tool(name) => json!({"type": "tool", "name": name}),
            ToolChoice::None => json!({"type": "none"}),
        };
        fields.insert("tool_choice".to_owned(), choice);
    }
    if let Some(thinking) = thinking {
        fields.insert("thinking".to_owned(), thinking);
    }
    if let Some(effort) = settings.effort {
        fields.insert("output_config".to_owned(), json!({"effort": effort}));
    }
    body
}

fn configured(settings: &Settings) -> bool {
    settings.effort.is_some() || settings.thinking_tokens.is_some()
}

/// The `thinking` field. The API refuses thinking together with a tool that must be
/// called, and in the middle of a turn that began without.
fn thinking(
    question: &Question<'_>,
    settings: &Settings,
    own: &str,
    max_tokens: u32,
) -> Option<Value> {
    if matches!(question.tool_choice, ToolChoice::Tool(_)) || !may_think(question.messages, own) {
        return None;
    }
    match settings.thinking_tokens {
        Some(tokens) => {
            let budget = tokens.min(max_tokens.saturating_sub(1));
            (budget >= LEAST_THINKING).then(|| json!({"type": "enabled", "budget_tokens": budget}))
        }
        None => settings.effort.map(|_| json!({"type": "adaptive"})),
    }
}

/// Whether the turn under way, if there is one, began with this model's thinking.
fn may_think(messages: &[Message], own: &str) -> bool {
    let results = |message: &Message| {
        message
            .blocks
            .iter()
            .any(|block| matches!(block, Block::ToolResult { .. }))
    };
    let turn = messages
        .iter()
        .rposition(|message| message.role == Role::User && !results(message))
        .map_or(0, |at| at + 1);
    messages
        .iter()
        .skip(turn)
        .find(|message| message.role == Role::Assistant)
        .is_none_or(|message| {
            message.blocks.first().is_some_and(
                |block| matches!(block, Block::Thinking { provider, .. } if provider == own),
            )
        })
}

fn messages(messages: &[Message], own: &str, with_thinking: bool) -> Value {
    let mut out: Vec<Value> = messages
        .iter()
        .filter_map(|message| {
            let mut blocks: Vec<&Block> = message.blocks.iter().collect();
            // Results answer the turn before and must come first.
            blocks.sort_by_key(|block| {
                message.role == Role::User && !matches!(block, Block::ToolResult { .. })
            });
            let content: Vec<Value> = blocks
                .into_iter()
                .filter_map(|block| content(block, own, with_thinking))
                .collect();
            let role = match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            (!content.is_empty()).then(|| json!({"role": role, "content": content}))
        })
        .collect();
    // The last two turns of the user: what the question before this one wrote to the
    // cache, and what the next one will read.
    let turns: Vec<usize> = (0..out.len())
        .rev()
        .filter(|at| {
            out.get(*at)
                .and_then(|message| message.get("role"))
                .is_some_and(|role| role == "user")
        })
        .take(2)
        .collect();
    for at in turns {
        let last = out
            .get_mut(at)
            .and_then(|message| message.get_mut("content"))
            .and_then(Value::as_array_mut)
            .and_then(|content| content.last_mut());
        if let Some(last) = last {
            *last = cached(last.take());
        }
    }
    Value::Array(out)
}

fn content(block: &Block, own: &str, with_thinking: bool) -> Option<Value> {
    match block {
        // The API refuses texts of nothing.
        Block::Text { text } => {
            (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
        }
        Block::Thinking {
            text,
            signature,
            provider,
            raw,
        } => {
            if !with_thinking || provider != own {
                return None;
            }
            raw.clone().or_else(|| {
                signature.as_ref().map(|signature| {
                    json!({"type": "thinking", "thinking": text, "signature": signature})
                })
            })
        }
        Block::ToolUse { id, name, input } => {
            let input = match input {
                Value::Object(_) => input.clone(),
                // It must be an object; what the model said goes back to it inside one.
                other => Value::Object(Map::from_iter([(
                    "malformed_input".to_owned(),
                    other.clone(),
                )])),
            };
            Some(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
        }
        Block::ToolResult {
            id,
            content,
            is_error,
        } => {
            let content = if content.trim().is_empty() {
                "(no output)"
            } else {
                content
            };
            Some(json!({
                "type": "tool_result",
                "tool_use_id": id,
                "content": content,
                "is_error": is_error,
            }))
        }
    }
}

fn cached(mut block: Value) -> Value {
    if let Some(fields) = block.as_object_mut() {
        fields.insert("cache_control".to_owned(), json!({"type": "ephemeral"}));
    }
    block
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
