//! What all dialects' answers are made of: bounded texts and tool calls.

use super::fault::Fault;
use super::limits;
use crate::conversation::{Answer, Block, Message, Stop};
use serde_json::Value;
use std::collections::HashSet;

/// Longest name of a tool that some provider accepts, in bytes.
const LONGEST_NAME: usize = 128;

/// An answer whose end event was seen.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What it came to.
    pub(crate) answer: Answer,
    /// The provider took a break: the same turn goes on when it is asked again.
    pub(crate) paused: bool,
}

/// What one answer may still hold.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    calls: usize,
    blocks: usize,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            bytes: limits::ANSWER,
            calls: limits::CALLS,
            blocks: limits::BLOCKS,
        }
    }

    /// Room for so many more bytes.
    pub(crate) fn bytes(&mut self, wanted: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.checked_sub(wanted).ok_or_else(|| {
            Fault::hopeless(format!(
                "an answer of more than {} MiB",
                limits::ANSWER >> 20
            ))
        })?;
        Ok(())
    }

    /// Appends, where there is room.
    pub(crate) fn push(&mut self, text: &mut String, more: &str) -> Result<(), Fault> {
        self.bytes(more.len())?;
        text.push_str(more);
        Ok(())
    }

    /// Room for one more block.
    pub(crate) fn block(&mut self) -> Result<(), Fault> {
        self.blocks = self
            .blocks
            .checked_sub(1)
            .ok_or_else(|| Fault::hopeless(format!("more than {} blocks", limits::BLOCKS)))?;
        Ok(())
    }

    /// Room for one more tool call.
    pub(crate) fn call(&mut self, name: &str) -> Result<(), Fault> {
        self.block()?;
        self.calls = self.calls.checked_sub(1).ok_or_else(|| {
            Fault::hopeless(format!("more than {} tool calls at once", limits::CALLS))
        })?;
        if name.len() > limits::NAME {
            return Err(Fault::hopeless("a tool's name of absurd length"));
        }
        self.bytes(name.len())
    }
}

/// A tool call as it arrives.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Its input so far: JSON text.
    pub(crate) raw: String,
}

impl Call {
    /// The call, unless it was cut: a half call must never run. Input that is no JSON
    /// object stays as text, so that whoever runs tools can tell the model.
    pub(crate) fn finish(self, cut: bool) -> Option<Block> {
        let raw = self.raw.trim();
        let input = if raw.is_empty() && !cut {
            // Models leave the input of a tool without parameters out.
            Some(Value::Object(serde_json::Map::new()))
        } else {
            serde_json::from_str(raw).ok().filter(Value::is_object)
        };
        if input.is_none() && cut {
            return None;
        }
        Some(Block::ToolUse {
            id: self.id,
            name: self.name,
            input: input.unwrap_or(Value::String(self.raw)),
        })
    }
}

/// Makes blocks and stop agree: some servers end a turn that asks for tools, some wait
/// for tools that were not asked for, and a refused turn asks for nothing.
pub(crate) fn agree(blocks: &mut Vec<Block>, stop: Stop) -> Stop {
    if stop == Stop::Refusal {
        blocks.retain(|block| !matches!(block, Block::ToolUse { .. }));
    }
    let calls = blocks
        .iter()
        .any(|block| matches!(block, Block::ToolUse { .. }));
    match (stop, calls) {
        (Stop::EndTurn, true) => Stop::ToolUse,
        (Stop::ToolUse, false) => Stop::EndTurn,
        (stop, _) => stop,
    }
}

/// Gives each call an id that is unique in the conversation, and id and name such that
/// every provider accepts them when they are said again; usable ones stay as they came.
pub(crate) fn unique_calls(blocks: &mut [Block], messages: &[Message]) {
    let mut taken: HashSet<String> = messages
        .iter()
        .flat_map(|message| &message.blocks)
        .filter_map(|block| match block {
            Block::ToolUse { id, .. } => Some(id.clone()),
            _ => None,
        })
        .collect();
    let mut number = 0;
    for block in blocks {
        let Block::ToolUse { id, name, .. } = block else {
            continue;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            *name = name
                .chars()
                .take(LONGEST_NAME)
                .map(|c| if plain(c) { c } else { '_' })
                .chain(name.is_empty().then_some('_'))
                .collect();
        }
        let usable = (1..=64).contains(&id.len()) && id.chars().all(plain);
        if !usable || taken.contains(id) {
            loop {
                number += 1;
                *id = format!("call_{}_{number}", messages.len());
                if !taken.contains(id) {
                    break;
                }
            }
        }
        taken.insert(id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Role;
    use serde_json::json;

    fn call(id: &str, raw: &str) -> Call {
        Call {
            id: id.to_owned(),
            name: "Bash".to_owned(),
            raw: raw.to_owned(),
        }
    }

    fn input(block: Option<Block>) -> Option<Value> {
        match block? {
            Block::ToolUse { input, .. } => Some(input),
            _ => None,
        }
    }

    #[test]
    fn a_cut_call_does_not_exist() {
        assert_eq!(call("a", r#"{"command":"rm -rf x"#).finish(true), None);
        assert_eq!(call("a", "").finish(true), None);
        assert_eq!(
            input(call("a", r#"{"x":1}"#).finish(true)),
            Some(json!({"x":1}))
        );
    }

    #[test]
    fn input_that_is_no_object_stays_text() {
        assert_eq!(input(call("a", "").finish(false)), Some(json!({})));
        for raw in ["[1]", "{\"a\":", "rm", &"[".repeat(100_000)] {
            assert_eq!(input(call("a", raw).finish(false)), Some(json!(raw)));
        }
    }

    #[test]
    fn ids_are_unique_in_the_conversation() {
        let use_of = |id: &str| call(id, "{}").finish(false).expect("a call");
        let before = Message {
            role: Role::Assistant,
            blocks: vec![use_of("one"), use_of("call_1_1")],
        };
        let mut blocks: Vec<Block> = ["one", "two", "two", "", "a b", &"x".repeat(65)]
            .map(use_of)
            .into();
        unique_calls(&mut blocks, &[before]);
        let ids: Vec<String> = blocks
            .iter()
            .filter_map(|block| match block {
                Block::ToolUse { id, .. } => Some(id.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(
            ids,
            [
                "call_1_2", "two", "call_1_3", "call_1_4", "call_1_5", "call_1_6"
            ]
        );
    }

    #[test]
    fn names_can_be_said_again() {
        for (said, name) in [
            ("mcp__a__b-c", "mcp__a__b-c".to_owned()),
            ("", "_".to_owned()),
            ("rm -rf \u{fc}", "rm_-rf__".to_owned()),
            (&"n".repeat(200), "n".repeat(128)),
        ] {
            let mut blocks = vec![Block::ToolUse {
                id: "a".to_owned(),
                name: said.to_owned(),
                input: json!({}),
            }];
            unique_calls(&mut blocks, &[]);
            assert!(
                matches!(blocks.first(), Some(Block::ToolUse { name: got, .. }) if *got == name),
                "{blocks:?}"
            );
        }
    }

    #[test]
    fn stop_and_blocks_agree() {
        let with = || vec![call("a", "{}").finish(false).expect("a call")];
        assert_eq!(agree(&mut with(), Stop::EndTurn), Stop::ToolUse);
        assert_eq!(agree(&mut Vec::new(), Stop::ToolUse), Stop::EndTurn);
        let mut refused = with();
        assert_eq!(agree(&mut refused, Stop::Refusal), Stop::Refusal);
        assert!(refused.is_empty());
    }
}
