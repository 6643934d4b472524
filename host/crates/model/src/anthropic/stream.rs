//! The Messages API's events, put together.

use crate::conversation::{Answer, Block, Stop, Usage};
use crate::provider::Delta;
use crate::wire::assemble::{Call, Finished, Room, agree};
use crate::wire::fault::Fault;
use crate::wire::{Assembler, ErrorBody, Flow, classify};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: usize,
        content_block: Begun,
    },
    ContentBlockDelta {
        index: usize,
        delta: More,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: Ending,
        usage: Option<Counted>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, and events that are newer than this.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    usage: Option<Counted>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Begun {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// A server-side tool, which nobody asked for.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum More {
    TextDelta {
        text: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
}

/// Counts so far; later ones replace earlier ones.
#[derive(Deserialize, Default, Clone, Copy)]
struct Counted {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

enum Part {
    Text(String),
    Thinking { text: String, signature: String },
    Redacted(String),
    Tool(Call),
    Ignored,
}

/// One answer under way.
pub(crate) struct Assembly {
    own: String,
    room: Room,
    started: bool,
    parts: Vec<Part>,
    /// The last of `parts` is still growing.
    open: bool,
    stop: Option<String>,
    usage: Usage,
}

impl Assembly {
    pub(crate) fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            room: Room::new(),
            started: false,
            parts: Vec::new(),
            open: false,
            stop: None,
            usage: Usage::default(),
        }
    }

    /// Imitations count nothing now and then.
    fn count(&mut self, counted: Option<Counted>) {
        let counted = counted.unwrap_or_default();
        let set = |into: &mut u64, from: Option<u64>| *into = from.unwrap_or(*into);
        set(&mut self.usage.input, counted.input_tokens);
        set(&mut self.usage.output, counted.output_tokens);
        set(&mut self.usage.cache_read, counted.cache_read_input_tokens);
        set(
            &mut self.usage.cache_write,
            counted.cache_creation_input_tokens,
        );
    }

    /// Blocks come one after the other.
    fn check_open(&self, index: usize) -> Result<(), Fault> {
        if self.open && self.parts.len() == index + 1 {
            return Ok(());
        }
        Err(Fault::broken(format!(
            "an event for block {index}, which is not open"
        )))
    }

    fn begin(
        &mut self,
        index: usize,
        begun: Begun,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<(), Fault> {
        if self.open || self.parts.len() != index {
            return Err(Fault::broken(format!("block {index} begins out of order")));
        }
        self.open = true;
        let part = match begun {
            Begun::ToolUse { id, name, input } => {
                self.room.call(&name)?;
                seen(Delta::ToolUse(name.clone()));
                // Streamed input follows; a server that does not stream it sends it here.
                let raw = match &input {
                    Value::Object(fields) if !fields.is_empty() => input.to_string(),
                    _ => String::new(),
                };
                self.room.bytes(id.len().saturating_add(raw.len()))?;
                if !raw.is_empty() {
                    seen(Delta::ToolInput(raw.clone()));
                }
                Part::Tool(Call { id, name, raw })
            }
            other => {
                self.room.block()?;
                match other {
                    Begun::Text { text } => {
                        self.room.bytes(text.len())?;
                        if !text.is_empty() {
                            seen(Delta::Text(text.clone()));
                        }
                        Part::Text(text)
                    }
                    Begun::Thinking {
                        thinking,
                        signature,
                    } => {
                        self.room
                            .bytes(thinking.len().saturating_add(signature.len()))?;
                        Part::Thinking {
                            text: thinking,
                            signature,
                        }
                    }
                    Begun::RedactedThinking { data } => {
                        self.room.bytes(data.len())?;
                        Part::Redacted(data)
                    }
                    Begun::ToolUse { .. } | Begun::Other => Part::Ignored,
                }
            }
        };
        self.parts.push(part);
        Ok(())
    }

    fn grow(&mut self, index: usize, more: More, seen: &mut dyn FnMut(Delta)) -> Result<(), Fault> {
        self.check_open(index)?;
        match (self.parts.last_mut(), more) {
            (Some(Part::Text(text)), More::TextDelta { text: more }) => {
                self.room.push(text, &more)?;
                seen(Delta::Text(more));
            }
            (Some(Part::Thinking { text, .. }), More::ThinkingDelta { thinking }) => {
                self.room.push(text, &thinking)?;
                seen(Delta::Thinking(thinking));
            }
            (Some(Part::Thinking { signature, .. }), More::SignatureDelta { signature: more }) => {
                self.room.push(signature, &more)?;
            }
            (Some(Part::Tool(call)), More::InputJsonDelta { partial_json }) => {
                self.room.push(&mut call.raw, &partial_json)?;
                seen(Delta::ToolInput(partial_json));
            }
            // Citations and the like.
            (_, More::Other) | (Some(Part::Ignored), _) => {}
            _ => {
                return Err(Fault::broken(format!(
                    "a delta that does not belong to block {index}"
                )));
            }
        }
        Ok(())
    }
}

impl Assembler for Assembly {
    fn event(&mut self, data: &str, seen: &mut dyn FnMut(Delta)) -> Result<Flow, Fault> {
        let event: Event = serde_json::from_str(data)
            .map_err(|error| Fault::broken(format!("an event that is none: {error}")))?;
        if !self.started
            && !matches!(
                event,
                Event::MessageStart { .. } | Event::Error { .. } | Event::Other
            )
        {
            return Err(Fault::broken("an answer that does not begin at its start"));
        }
        match event {
            Event::MessageStart { message } => {
                if self.started {
                    return Err(Fault::broken("an answer that begins twice"));
                }
                self.started = true;
                self.count(message.usage);
            }
            Event::ContentBlockStart {
                index,
                content_block,
            } => self.begin(index, content_block, seen)?,
            Event::ContentBlockDelta { index, delta } => self.grow(index, delta, seen)?,
            Event::ContentBlockStop { index } => {
                self.check_open(index)?;
                self.open = false;
            }
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                self.stop = delta.stop_reason.or(self.stop.take());
            }
            Event::MessageStop => return Ok(Flow::Done),
            Event::Error { error } => return Err(classify(None, &ErrorBody::of(&error))),
            Event::Other => {}
        }
        Ok(Flow::More)
    }

    fn finish(self: Box<Self>) -> Result<Finished, Fault> {
        if self.open {
            return Err(Fault::broken(
                "an answer that ends in the middle of a block",
            ));
        }
        let reason = self.stop.as_deref().unwrap_or("none");
        let (stop, paused) = match reason {
            "end_turn" | "stop_sequence" => (Stop::EndTurn, false),
            "tool_use" => (Stop::ToolUse, false),
            "max_tokens" => (Stop::MaxTokens, false),
            "refusal" => (Stop::Refusal, false),
            "pause_turn" => (Stop::EndTurn, true),
            "model_context_window_exceeded" => {
                return Err(Fault::too_long(
                    "the answer ran into the end of its context",
                ));
            }
            other => {
                return Err(Fault::hopeless(format!(
                    "it stopped for an unknown reason: {other}"
                )));
            }
        };
        let last = self.parts.len().saturating_sub(1);
        let own = &self.own;
        let mut blocks: Vec<Block> = self
            .parts
            .into_iter()
            .enumerate()
            .filter_map(|(at, part)| match part {
                Part::Text(text) => (!text.is_empty()).then_some(Block::Text { text }),
                Part::Thinking { text, signature } => Some(Block::Thinking {
                    text,
                    signature: Some(signature).filter(|signature| !signature.is_empty()),
                    provider: own.clone(),
                    raw: None,
                }),
                Part::Redacted(data) => Some(Block::Thinking {
                    text: String::new(),
                    signature: None,
                    provider: own.clone(),
                    raw: Some(serde_json::json!({"type": "redacted_thinking", "data": data})),
                }),
                Part::Tool(call) => call.finish(stop == Stop::MaxTokens && at == last),
                Part::Ignored => None,
            })
            .collect();
        if paused {
            // Nothing that is to be answered may stand in the middle of a turn.
            blocks.retain(|block| !matches!(block, Block::ToolUse { .. }));
        }
        let stop = agree(&mut blocks, stop);
        Ok(Finished {
            answer: Answer {
                blocks,
                stop,
                usage: self.usage,
            },
            paused,
        })
    }
}
