//! A model behind one address: the provider that the configuration makes. What its
//! questions and answers look like is a [`Dialect`].

use crate::compaction::block_size;
use crate::conversation::{Answer, Block, Message, Question, Role, Usage};
use crate::limits::estimated;
use crate::provider::{Delta, Price, Provider, ProviderError};
use crate::wire::assemble::unique_calls;
use crate::wire::fault::Fault;
use crate::wire::{Assembler, Wire};
use serde_json::Value;
use std::time::Duration;

/// Breaks of one turn before we stop asking for more.
const PAUSES: u32 = 4;

/// How a provider words questions and answers.
pub(crate) trait Dialect: Send + Sync {
    /// The request's body. `own` is the provider's name: what others say of their
    /// thinking is left out.
    fn body(&self, question: &Question<'_>, own: &str) -> Value;

    /// Puts one answer together.
    fn assembler(&self, own: &str) -> Box<dyn Assembler>;
}

/// One model at one address.
pub(crate) struct Endpoint {
    pub(crate) wire: Wire,
    pub(crate) dialect: Box<dyn Dialect>,
    pub(crate) context_window: u64,
    pub(crate) price: Option<Price>,
}

impl Provider for Endpoint {
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
            let body = self.dialect.body(&so_far, name).to_string();
            let fresh = || self.dialect.assembler(name);
            let finished = self
                .wire
                .ask(body.as_bytes(), &fresh, deadline, cancelled, seen)?;
            let mut answer = finished.answer;
            let said = answer.blocks.iter().map(block_size).sum();
            usage = usage.plus(counted(answer.usage, body.len(), said));
            if !finished.paused {
                blocks.append(&mut answer.blocks);
                unique_calls(&mut blocks, question.messages);
                return Ok(Answer {
                    blocks,
                    stop: answer.stop,
                    usage,
                });
            }
            blocks.extend(answer.blocks.iter().cloned());
            messages.push(Message {
                role: Role::Assistant,
                blocks: answer.blocks,
            });
        }
        let fault = Fault::hopeless(format!("it paused {PAUSES} times in one turn"));
        Err(self.wire.error(fault, 1))
    }
}

/// What a server does not count, imitations above all, is estimated from the bytes of
/// question and answer: a budget that sees nothing bounds nothing.
fn counted(mut usage: Usage, asked: usize, said: usize) -> Usage {
    if usage.read() == 0 {
        usage.input = estimated(asked);
    }
    if usage.output == 0 {
        usage.output = estimated(said);
    }
    usage
}
