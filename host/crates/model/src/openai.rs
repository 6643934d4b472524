//! OpenAI's two interfaces, streamed: Chat Completions, which nearly everybody else
//! speaks too, and Responses.
//!
//! - Neither has a field for a tool that failed: the result's text says it.
//! - Tools are declared without `strict`: it refuses most schemas that people write,
//!   and the Responses API means it when nothing is said.
//! - Their caching needs no marks in the request, only a prefix that stays the same.

mod chat;
mod chat_stream;
mod responses;
mod responses_stream;

use crate::conversation::{Question, Usage};
use crate::endpoint::Dialect;
use crate::wire::Assembler;
use serde::Deserialize;
use serde_json::Value;

/// What the configuration says about each request.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Model's name.
    pub(crate) model: String,
    /// Longest answer, in tokens.
    pub(crate) max_output_tokens: u32,
    /// How hard to think.
    pub(crate) effort: Option<&'static str>,
    /// OpenAI itself has renamed the field for the longest answer; others have not.
    pub(crate) renamed_limit: bool,
}

/// Chat Completions.
pub(crate) struct Chat(pub(crate) Settings);

impl Dialect for Chat {
    fn body(&self, question: &Question<'_>, own: &str) -> Value {
        chat::body(question, &self.0, own)
    }

    fn assembler(&self, own: &str) -> Box<dyn Assembler> {
        Box::new(chat_stream::Assembly::new(own))
    }
}

/// Responses.
pub(crate) struct Responses(pub(crate) Settings);

impl Dialect for Responses {
    fn body(&self, question: &Question<'_>, own: &str) -> Value {
        responses::body(question, &self.0, own)
    }

    fn assembler(&self, own: &str) -> Box<dyn Assembler> {
        Box::new(responses_stream::Assembly::new(own))
    }
}

/// Which part of the input was cached. Both interfaces count it as input, too.
#[derive(Deserialize, Default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl InputDetails {
    fn usage(self, input: u64, output: u64) -> Usage {
        let cache_read = self.cached_tokens.unwrap_or_default();
        let cache_write = self.cache_write_tokens.unwrap_or_default();
        Usage {
            input: input.saturating_sub(cache_read).saturating_sub(cache_write),
            output,
            cache_read,
            cache_write,
        }
    }
}

/// A tool's result as text alone.
fn result_text(content: &str, is_error: bool) -> String {
    let content = if content.trim().is_empty() {
        "(no output)"
    } else {
        content
    };
    if is_error {
        format!("The tool call failed: {content}")
    } else {
        content.to_owned()
    }
}

/// A call's input as the text that the model wrote.
fn arguments(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
