//! Anthropic's Messages API, streamed.
//!
//! - Thinking is said again with its signature, to the model that said it.
//! - Prompt caching has its four breakpoints: tools, system, and the last two turns of
//!   the user, so that each question finds what the one before it wrote.
//! - A paused turn is continued here; callers see one answer.

mod request;
mod stream;

use crate::conversation::{Answer, Block, Message, Question, Role, Usage};
use crate::provider::{Delta, Price, Provider, ProviderError};
use crate::wire::fault::Fault;
use crate::wire::{Wire, settled};
use std::time::Duration;

pub(crate) use request::Settings;

/// The version of the API that all this is written for.
pub(crate) const VERSION: &str = "2023-06-01";

/// Breaks of one turn before we stop asking for more.
const PAUSES: u32 = 4;

/// A model behind the Messages API.
pub(crate) struct Anthropic {
    wire: Wire,
    settings: Settings,
    context_window: u64,
    price: Option<Price>,
}

impl Anthropic {
    pub(crate) fn new(
        wire: Wire,
        settings: Settings,
        context_window: u64,
        price: Option<Price>,
    ) -> Self {
        Self {
            wire,
            settings,
            context_window,
            price,
        }
    }
}

impl Provider for Anthropic {
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
        let mut messages = question.messages.to_vec();
        let mut blocks: Vec<Block> = Vec::new();
        let mut usage = Usage::default();
        for _ in 0..PAUSES {
            let so_far = Question {
                messages: &messages,
                tool_choice: question.tool_choice.clone(),
                ..*question
            };
            let body = request::body(&so_far, &self.settings, name).to_string();
            let mut finished = self.wire.ask(
                body.as_bytes(),
                &|| Box::new(stream::Assembly::new(name)),
                deadline,
                cancelled,
                seen,
            )?;
            usage = usage.plus(finished.answer.usage);
            if !finished.paused {
                blocks.append(&mut finished.answer.blocks);
                finished.answer.blocks = blocks;
                finished.answer.usage = usage;
                return Ok(settled(finished, question.messages));
            }
            blocks.extend(finished.answer.blocks.iter().cloned());
            messages.push(Message {
                role: Role::Assistant,
                blocks: finished.answer.blocks,
            });
        }
        let fault = Fault::hopeless(format!("it paused {PAUSES} times in one turn"));
        Err(self.wire.error(fault, 1))
    }
}
