//! The Responses API's events, put together. The good ends are `response.completed`
//! and `response.incomplete`; `response.failed` and `error` are bad ones.

use super::InputDetails;
use super::responses::PHASE;
use crate::conversation::{Answer, Block, Stop, Usage};
use crate::provider::Delta;
use crate::wire::assemble::{Call, Finished, Room, agree};
use crate::wire::fault::Fault;
use crate::wire::{Assembler, ErrorBody, Flow, classify};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "response.output_text.delta")]
    Text { delta: String },
    #[serde(rename = "response.refusal.delta")]
    Refusal { delta: String },
    #[serde(
        rename = "response.reasoning_summary_text.delta",
        alias = "response.reasoning_text.delta"
    )]
    Reasoning { delta: String },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments { delta: String },
    #[serde(rename = "response.output_item.added")]
    Added { item: Value },
    #[serde(rename = "response.output_item.done")]
    Item { output_index: u64, item: Value },
    #[serde(rename = "response.completed")]
    Completed { response: Whole },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Whole },
    #[serde(rename = "response.failed")]
    Failed { response: Whole },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Whole {
    output: Option<Vec<Value>>,
    usage: Option<Counted>,
    error: Option<Value>,
    incomplete_details: Option<Incomplete>,
}

#[derive(Deserialize)]
struct Incomplete {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    input_tokens_details: Option<InputDetails>,
}

/// One answer under way.
pub(super) struct Assembly {
    own: String,
    /// For what is shown as it arrives.
    shown: Room,
    /// For what is kept.
    kept: Room,
    items: Vec<(u64, Value)>,
    stop: Stop,
    usage: Usage,
}

impl Assembly {
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            shown: Room::new(),
            kept: Room::new(),
            items: Vec::new(),
            stop: Stop::EndTurn,
            usage: Usage::default(),
        }
    }

    fn keep(&mut self, index: u64, item: Value) -> Result<(), Fault> {
        self.kept.bytes(item.to_string().len())?;
        match text_of(&item, "type") {
            "function_call" => self.kept.call(text_of(&item, "name"))?,
            _ => self.kept.block()?,
        }
        self.items.push((index, item));
        Ok(())
    }

    fn end(&mut self, response: Whole) -> Result<Flow, Fault> {
        if let Some(counted) = response.usage {
            let details = counted.input_tokens_details.unwrap_or_default();
            self.usage = details.usage(counted.input_tokens, counted.output_tokens);
        }
        // Some servers send the items at the end only.
        if self.items.is_empty() {
            for (index, item) in (0..).zip(response.output.unwrap_or_default()) {
                self.keep(index, item)?;
            }
        }
        Ok(Flow::Done)
    }

    /// Adds what a message says; a refusal in it ends the turn as one.
    fn message(&self, item: Value, blocks: &mut Vec<Block>) -> Option<Stop> {
        let mut refused = None;
        if let Some(phase) = item.get(PHASE).filter(|phase| phase.is_string()) {
            blocks.push(Block::Thinking {
                text: String::new(),
                signature: None,
                provider: self.own.clone(),
                raw: Some(json!({PHASE: phase})),
            });
        }
        for part in item
            .get("content")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let refusal = text_of(part, "type") == "refusal";
            if refusal {
                refused = Some(Stop::Refusal);
            }
            let text = text_of(part, if refusal { "refusal" } else { "text" });
            if !text.is_empty() {
                blocks.push(Block::Text {
                    text: text.to_owned(),
                });
            }
        }
        refused
    }
}

impl Assembler for Assembly {
    fn event(&mut self, data: &str, seen: &mut dyn FnMut(Delta)) -> Result<Flow, Fault> {
        // Compatible servers end the stream as Chat Completions does; by then it is over.
        if data.trim() == "[DONE]" {
            return Err(Fault::broken(
                "an answer that ends without response.completed",
            ));
        }
        let value: Value = serde_json::from_str(data)
            .map_err(|error| Fault::broken(format!("an event that is none: {error}")))?;
        if text_of(&value, "type") == "error" {
            return Err(classify(None, &ErrorBody::of(&value)));
        }
        let event: Event = serde_json::from_value(value)
            .map_err(|error| Fault::broken(format!("an event that is none: {error}")))?;
        match event {
            Event::Text { delta } | Event::Refusal { delta } => {
                self.shown.bytes(delta.len())?;
                seen(Delta::Text(delta));
            }
            Event::Reasoning { delta } => {
                self.shown.bytes(delta.len())?;
                seen(Delta::Thinking(delta));
            }
            Event::Arguments { delta } => {
                self.shown.bytes(delta.len())?;
                seen(Delta::ToolInput(delta));
            }
            Event::Added { item } => {
                if text_of(&item, "type") == "function_call" {
                    let name = text_of(&item, "name");
                    self.shown.call(name)?;
                    seen(Delta::ToolUse(name.to_owned()));
                }
            }
            Event::Item { output_index, item } => self.keep(output_index, item)?,
            Event::Completed { response } => return self.end(response),
            Event::Incomplete { response } => {
                let reason = response
                    .incomplete_details
                    .as_ref()
                    .and_then(|details| details.reason.as_deref())
                    .unwrap_or("none");
                self.stop = match reason {
                    "max_output_tokens" => Stop::MaxTokens,
                    "content_filter" => Stop::Refusal,
                    other => {
                        return Err(Fault::hopeless(format!(
                            "it stopped for an unknown reason: {other}"
                        )));
                    }
                };
                return self.end(response);
            }
            Event::Failed { response } => {
                let error = response.error.unwrap_or_default();
                return Err(classify(None, &ErrorBody::of(&error)));
            }
            Event::Other => {}
        }
        Ok(Flow::More)
    }

    fn finish(mut self: Box<Self>) -> Result<Finished, Fault> {
        let mut items = std::mem::take(&mut self.items);
        items.sort_by_key(|(index, _)| *index);
        let cut = self.stop == Stop::MaxTokens;
        let mut blocks = Vec::new();
        let mut stop = self.stop;
        for (_, item) in items {
            match text_of(&item, "type") {
                "message" => stop = self.message(item, &mut blocks).unwrap_or(stop),
                "function_call" => {
                    let half = text_of(&item, "status") == "incomplete";
                    let call = Call {
                        id: text_of(&item, "call_id").to_owned(),
                        name: text_of(&item, "name").to_owned(),
                        raw: text_of(&item, "arguments").to_owned(),
                    };
                    if !half {
                        blocks.extend(call.finish(cut));
                    }
                }
                "reasoning" => blocks.push(Block::Thinking {
                    text: summary(&item),
                    signature: None,
                    provider: self.own.clone(),
                    raw: Some(item),
                }),
                // Tools of the server's own, which nobody asked for.
                _ => {}
            }
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

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What a reasoning item lets people read.
fn summary(item: &Value) -> String {
    ["summary", "content"]
        .iter()
        .filter_map(|field| item.get(*field)?.as_array())
        .flatten()
        .map(|part| text_of(part, "text"))
        .collect::<Vec<_>>()
        .join("\n\n")
}
