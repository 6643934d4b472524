//! What is said between us and a model, in no provider's dialect.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Us: the brief, tool results.
    User,
    /// The model.
    Assistant,
}

/// A part of a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// The model thinking aloud. Replayed as it came, to the provider it came from;
    /// others never see it.
    Thinking {
        /// The text; empty when the provider hides it.
        text: String,
        /// The provider's own proof or ciphertext of it.
        signature: Option<String>,
        /// Name of the provider that said it.
        provider: String,
        /// The provider's block as it came, where `text` and `signature` are not
        /// enough to say it again.
        raw: Option<Value>,
    },
    /// The model asks for a tool.
    ToolUse {
        /// Ties the result to the call; unique within a conversation.
        id: String,
        /// The tool.
        name: String,
        /// Its input: an object, unless the model got it wrong.
        input: Value,
    },
    /// What came of a call.
    ToolResult {
        /// The call's id.
        id: String,
        /// What the tool says.
        content: String,
        /// The call failed or was denied.
        is_error: bool,
    },
}

/// One turn of one speaker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What, in order.
    pub blocks: Vec<Block>,
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            blocks: vec![Block::Text { text: text.into() }],
        }
    }
}

/// A tool that the model may ask for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name on the wire.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its input; an object type.
    pub input_schema: Value,
}

/// Whether the model must call a tool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// This one, now.
    Tool(String),
    /// None.
    None,
}

/// One question to a model: the whole conversation so far.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Standing instructions.
    pub system: &'a str,
    /// User and assistant in turn, user first and last.
    pub messages: &'a [Message],
    /// What it may ask for.
    pub tools: &'a [ToolSpec],
    /// Whether it must.
    pub tool_choice: ToolChoice,
    /// Longest answer, in tokens.
    pub max_output_tokens: u32,
}

/// Why the model stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It has said what it wanted.
    EndTurn,
    /// It waits for tool results.
    ToolUse,
    /// Its answer is cut at `max_output_tokens`. Tool calls that were cut are left out;
    /// those before the cut are in the answer.
    MaxTokens,
    /// It will not answer.
    Refusal,
}

/// Tokens of one answer, as the provider counted them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Read at full price.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the provider's prompt cache.
    pub cache_read: u64,
    /// Written to the provider's prompt cache.
    pub cache_write: u64,
}

impl Usage {
    /// All tokens.
    #[must_use]
    pub fn total(self) -> u64 {
        self.read().saturating_add(self.output)
    }

    /// All that were read, at whatever price.
    #[must_use]
    pub fn read(self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
        }
    }
}

/// A complete answer. One whose stream ended without its end event is none.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// What it said, in order.
    pub blocks: Vec<Block>,
    /// Why it stopped.
    pub stop: Stop,
    /// What it cost.
    pub usage: Usage,
}
