//! Chat Completions' chunks, put together. The good end is `[DONE]`, after a reason.
//!
//! Servers differ in how they number tool calls: OpenAI by `index`; some send no index,
//! some the same for all, some each call whole and its id again with every piece.

use super::InputDetails;
use super::chat::{CALL, EXTRA};
use crate::conversation::{Answer, Block, Stop, Usage};
use crate::provider::Delta;
use crate::wire::assemble::{Call, Finished, Room, agree};
use crate::wire::fault::Fault;
use crate::wire::{Assembler, ErrorBody, Flow, classify};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    error: Option<Value>,
    #[serde(default)]
    object: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    delta: Option<Piece>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Piece {
    content: Option<String>,
    refusal: Option<String>,
    /// DeepSeek's, vLLM's and Grok's word for thinking.
    reasoning_content: Option<String>,
    /// Ollama's and OpenRouter's.
    reasoning: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionPiece>,
    extra_content: Option<Value>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<InputDetails>,
}

struct Numbered {
    index: Option<u64>,
    call: Call,
    extra: Option<Value>,
}

/// One answer under way.
pub(super) struct Assembly {
    own: String,
    room: Room,
    text: String,
    thinking: String,
    refused: bool,
    calls: Vec<Numbered>,
    stop: Option<String>,
    usage: Usage,
}

impl Assembly {
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            room: Room::new(),
            text: String::new(),
            thinking: String::new(),
            refused: false,
            calls: Vec::new(),
            stop: None,
            usage: Usage::default(),
        }
    }

    fn piece(&mut self, piece: Piece, seen: &mut dyn FnMut(Delta)) -> Result<(), Fault> {
        if let Some(thinking) = piece.reasoning_content.or(piece.reasoning)
            && !thinking.is_empty()
        {
            self.room.push(&mut self.thinking, &thinking)?;
            seen(Delta::Thinking(thinking));
        }
        self.refused |= piece.refusal.as_ref().is_some_and(|text| !text.is_empty());
        for text in [piece.content, piece.refusal].into_iter().flatten() {
            if !text.is_empty() {
                self.room.push(&mut self.text, &text)?;
                seen(Delta::Text(text));
            }
        }
        for call in piece.tool_calls.into_iter().flatten() {
            self.call(call, seen)?;
        }
        Ok(())
    }

    fn call(&mut self, piece: CallPiece, seen: &mut dyn FnMut(Delta)) -> Result<(), Fault> {
        let id = piece.id.unwrap_or_default();
        let (name, arguments) = match piece.function {
            Some(function) => (
                function.name.unwrap_or_default(),
                function.arguments.unwrap_or_default(),
            ),
            None => Default::default(),
        };
        let known = self.calls.iter_mut().rev().find(|numbered| {
            let same_id = id.is_empty() || numbered.call.id.is_empty() || numbered.call.id == id;
            match piece.index {
                Some(index) => numbered.index == Some(index) && same_id,
                // Without a number, what names no other call goes on with the last one.
                None => same_id && (!id.is_empty() || name.is_empty()),
            }
        });
        let numbered = match known {
            Some(numbered) => numbered,
            None => {
                self.room.call(&name)?;
                self.calls.push(Numbered {
                    index: piece.index,
                    call: Call::default(),
                    extra: None,
                });
                let Some(numbered) = self.calls.last_mut() else {
                    return Ok(());
                };
                numbered
            }
        };
        if numbered.call.id.is_empty() {
            self.room.push(&mut numbered.call.id, &id)?;
        }
        if numbered.call.name.is_empty() && !name.is_empty() {
            self.room.push(&mut numbered.call.name, &name)?;
            seen(Delta::ToolUse(name));
        }
        if let Some(extra) = piece.extra_content {
            self.room.bytes(extra.to_string().len())?;
            numbered.extra = Some(extra);
        }
        self.room.push(&mut numbered.call.raw, &arguments)?;
        if !arguments.is_empty() {
            seen(Delta::ToolInput(arguments));
        }
        Ok(())
    }
}

impl Assembler for Assembly {
    fn event(&mut self, data: &str, seen: &mut dyn FnMut(Delta)) -> Result<Flow, Fault> {
        if data.trim() == "[DONE]" {
            return Ok(Flow::Done);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| Fault::broken(format!("a chunk that is none: {error}")))?;
        if let Some(error) = chunk.error {
            return Err(classify(None, &ErrorBody::of(&error)));
        }
        if chunk.object.as_deref() == Some("error") {
            return Err(classify(None, &ErrorBody::read(data)));
        }
        if let Some(counted) = chunk.usage {
            let details = counted.prompt_tokens_details.unwrap_or_default();
            self.usage = details.usage(counted.prompt_tokens, counted.completion_tokens);
        }
        for choice in chunk.choices.into_iter().flatten() {
            if choice.index != 0 {
                continue;
            }
            if let Some(piece) = choice.delta {
                self.piece(piece, seen)?;
            }
            self.stop = choice.finish_reason.or(self.stop.take());
        }
        Ok(Flow::More)
    }

    fn finish(self: Box<Self>) -> Result<Finished, Fault> {
        let stop = match self.stop.as_deref() {
            _ if self.refused => Stop::Refusal,
            Some("stop") => Stop::EndTurn,
            Some("tool_calls" | "function_call") => Stop::ToolUse,
            Some("length") => Stop::MaxTokens,
            Some("content_filter") => Stop::Refusal,
            Some(other) => {
                return Err(Fault::hopeless(format!(
                    "it stopped for an unknown reason: {other}"
                )));
            }
            None => return Err(Fault::broken("an answer that ends without a reason")),
        };
        let mut blocks = Vec::new();
        if !self.thinking.is_empty() {
            blocks.push(Block::Thinking {
                text: self.thinking,
                signature: None,
                provider: self.own.clone(),
                raw: None,
            });
        }
        if !self.text.is_empty() {
            blocks.push(Block::Text { text: self.text });
        }
        let mut number = 0;
        for numbered in self.calls {
            let Some(call) = numbered.call.finish(stop == Stop::MaxTokens) else {
                continue;
            };
            if let Some(extra) = numbered.extra {
                blocks.push(Block::Thinking {
                    text: String::new(),
                    signature: None,
                    provider: self.own.clone(),
                    raw: Some(json!({CALL: number, EXTRA: extra})),
                });
            }
            blocks.push(call);
            number += 1;
        }
        let stop = agree(&mut blocks, stop);
        Ok(Finished {
            answer: Answer {
                blocks,
                stop,
                usage: self.usage,
            },
            paused: false,
        })
    }
}
