//! What becomes of a conversation that fills the model's context: its older part is
//! replaced by a summary, the brief and the latest turns stay.

use crate::conversation::{Block, Message, Role};
use crate::limits::estimated;
use crate::text::cut_middle;

/// Messages at the end that stay as they are: two answers with their results.
const KEPT: usize = 4;
/// Bytes of one tool result in what is summarised.
const RESULT: usize = 3 * 1024;
/// Bytes of one tool result that stays, once room is short.
const KEPT_RESULT: usize = 8 * 1024;
/// Bytes of one tool result where nothing else is left to leave out.
const LEAST_RESULT: usize = 1024;
/// What a summary begins with.
const HEADING: &str = "Summary of the work so far; the calls themselves are left out to save room:";

/// Tokens of a conversation, about.
pub(crate) fn estimate(system: &str, messages: &[Message]) -> u64 {
    estimated(system.len() + messages.iter().map(size).sum::<usize>())
}

/// Bytes of a message, about.
pub(crate) fn size(message: &Message) -> usize {
    message.blocks.iter().map(block_size).sum()
}

pub(crate) fn block_size(block: &Block) -> usize {
    match block {
        Block::Text { text } => text.len(),
        Block::Thinking {
            text,
            signature,
            raw,
            ..
        } => {
            text.len()
                + signature.as_ref().map_or(0, String::len)
                + raw.as_ref().map_or(0, |raw| raw.to_string().len())
        }
        Block::ToolUse { id, name, input } => id.len() + name.len() + input.to_string().len(),
        Block::ToolResult { id, content, .. } => id.len() + content.len(),
    }
}

/// The part that can be summarised: its range, without the brief and the latest turns.
pub(crate) fn older(messages: &[Message]) -> Option<std::ops::Range<usize>> {
    let mut end = messages.len().checked_sub(KEPT)?;
    // What stays begins with an answer, so that the speakers still take turns.
    while messages.get(end)?.role != Role::Assistant {
        end += 1;
    }
    (end > 1).then_some(1..end)
}

/// A part of a conversation as plain text of at most `most` bytes.
pub(crate) fn render(messages: &[Message], most: usize) -> String {
    let mut text = String::new();
    for block in messages.iter().flat_map(|message| {
        let role = message.role;
        message.blocks.iter().map(move |block| (role, block))
    }) {
        let line = match block {
            (Role::Assistant, Block::Text { text }) => format!("agent: {text}"),
            (Role::User, Block::Text { text }) => format!("host: {text}"),
            (_, Block::Thinking { .. }) => continue,
            (_, Block::ToolUse { name, input, .. }) => {
                format!("call {name}: {}", cut_middle(&input.to_string(), RESULT))
            }
            (_, Block::ToolResult { content, .. }) => {
                format!("result: {}", cut_middle(content, RESULT))
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    cut_middle(&text, most)
}

/// What is known without asking anybody: the calls, without what they said.
pub(crate) fn mechanical(messages: &[Message]) -> String {
    let mut text = "(made without the model: only the calls are listed)\n".to_owned();
    for block in messages.iter().flat_map(|message| &message.blocks) {
        match block {
            Block::Text { text: said } if said.starts_with(HEADING) => {
                text.push_str(&cut_middle(said, RESULT));
                text.push('\n');
            }
            Block::ToolUse { name, input, .. } => {
                text.push_str(&format!("{name} {}\n", cut_middle(&input.to_string(), 300)));
            }
            Block::Text { .. } | Block::Thinking { .. } | Block::ToolResult { .. } => {}
        }
    }
    cut_middle(&text, 4 * RESULT)
}

/// Puts the summary in the place of what it summarises.
pub(crate) fn replace(messages: &mut Vec<Message>, range: std::ops::Range<usize>, summary: &str) {
    messages.drain(range);
    if let Some(first) = messages.first_mut() {
        // The brief is one block; an earlier summary is part of the new one.
        first.blocks.truncate(1);
        first.blocks.push(Block::Text {
            text: format!("{HEADING}\n{summary}"),
        });
    }
}

/// An earlier summary, to be part of the next one.
pub(crate) fn earlier(messages: &[Message]) -> Option<&str> {
    match messages.first()?.blocks.get(1)? {
        Block::Text { text } => Some(text),
        _ => None,
    }
}

/// Cuts the tool results that are left, until `fits` or nothing more can be cut.
pub(crate) fn shrink(messages: &mut [Message], fits: impl Fn(&[Message]) -> bool) {
    for most in [KEPT_RESULT, LEAST_RESULT] {
        if fits(messages) {
            return;
        }
        for block in messages.iter_mut().flat_map(|message| &mut message.blocks) {
            match block {
                Block::ToolResult { content, .. } | Block::Text { text: content }
                    if content.len() > most =>
                {
                    *content = cut_middle(content, most);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conversation(turns: usize) -> Vec<Message> {
        let mut messages = vec![Message::text(Role::User, "brief")];
        for turn in 0..turns {
            let id = format!("c{turn}");
            messages.push(Message {
                role: Role::Assistant,
                blocks: vec![Block::ToolUse {
                    id: id.clone(),
                    name: "Read".to_owned(),
                    input: json!({ "file_path": format!("f{turn}") }),
                }],
            });
            messages.push(Message {
                role: Role::User,
                blocks: vec![Block::ToolResult {
                    id,
                    content: "x".repeat(20_000),
                    is_error: false,
                }],
            });
        }
        messages
    }

    #[test]
    fn brief_and_latest_turns_stay_and_speakers_take_turns() {
        assert_eq!(older(&conversation(0)), None);
        assert_eq!(older(&conversation(2)), None);
        let mut messages = conversation(5);
        let range = older(&messages).unwrap();
        assert_eq!(range, 1..7);
        replace(&mut messages, range, "f0 to f2 were read");
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        use Role::{Assistant, User};
        assert_eq!(roles, [User, Assistant, User, Assistant, User]);
        assert!(earlier(&messages).is_some_and(|text| text.ends_with("f0 to f2 were read")));
        // Once more: one summary, not two.
        messages.extend(conversation(3).into_iter().skip(1));
        let range = older(&messages).unwrap();
        replace(&mut messages, range, "all");
        assert_eq!(messages.first().unwrap().blocks.len(), 2);
    }

    #[test]
    fn what_is_left_can_be_cut() {
        let mut messages = conversation(2);
        shrink(&mut messages, |messages| estimate("", messages) < 2000);
        assert!(estimate("", &messages) < 2000);
    }

    #[test]
    fn the_mechanical_summary_lists_the_calls() {
        let text = mechanical(&conversation(3));
        assert!(text.contains("f0") && text.contains("f2") && !text.contains("xxx"));
    }
}
