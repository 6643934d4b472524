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

use crate::conversation::{Answer, Question};
use crate::provider::{Delta, Price, Provider, ProviderError};
use crate::wire::{Assembler, Wire, settled};
use std::time::Duration;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Chat,
    Responses,
}

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

/// A model behind one of the two.
pub(crate) struct OpenAi {
    wire: Wire,
    dialect: Dialect,
    settings: Settings,
    context_window: u64,
    price: Option<Price>,
}

impl OpenAi {
    pub(crate) fn new(
        wire: Wire,
        dialect: Dialect,
        settings: Settings,
        context_window: u64,
        price: Option<Price>,
    ) -> Self {
        Self {
            wire,
            dialect,
            settings,
            context_window,
            price,
        }
    }
}

impl Provider for OpenAi {
    fn name(&self) -> String {
        self.wire.name().to_owned()
    }

    fn context_window(&self) -> u64 {
        self.context_window
    }

    fn price(&self) -> Option<Price> {
        self.price
    }

    fn ask(
        &self,
        question: &Question<'_>,
        patience: Duration,
        cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Answer, ProviderError> {
        let deadline = self.wire.now().saturating_add(patience);
        let name = self.wire.name();
        let body = match self.dialect {
            Dialect::Chat => chat::body(question, &self.settings, name),
            Dialect::Responses => responses::body(question, &self.settings, name),
        }
        .to_string();
        let fresh = || -> Box<dyn Assembler> {
            match self.dialect {
                Dialect::Chat => Box::new(chat_stream::Assembly::new(name, body.len())),
                Dialect::Responses => Box::new(responses_stream::Assembly::new(name, body.len())),
            }
        };
        let finished = self
            .wire
            .ask(body.as_bytes(), &fresh, deadline, cancelled, seen)?;
        Ok(settled(finished, question.messages))
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
fn arguments(input: &serde_json::Value) -> String {
    match input {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Tokens where the server counts none, so that budgets see something: about four
/// bytes each.
fn estimated(bytes: usize) -> u64 {
    u64::try_from(bytes / 4).unwrap_or(u64::MAX)
}
