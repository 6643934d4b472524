//! A conversation that one model began can go on with any other, over the wire.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::{Asked, KINDS, Reply, Scripted, base, rich};
use selfheal_model::conversation::{Block, Message, Role};

#[test]
fn a_conversation_moves_along_without_foreign_thoughts() {
    for first in KINDS {
        let server = Scripted::start(vec![Reply::stream(&rich(first))]);
        let mut messages = vec![Message::text(Role::User, "go")];
        let said = Asked::new(first, &base(first, &server), "")
            .ask(&messages)
            .expect("an answer");
        let results = said
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::ToolUse { id, .. } => Some(Block::ToolResult {
                    id: id.clone(),
                    content: "content".to_owned(),
                    is_error: false,
                }),
                _ => None,
            })
            .collect();
        messages.push(Message {
            role: Role::Assistant,
            blocks: said.blocks,
        });
        messages.push(Message {
            role: Role::User,
            blocks: results,
        });
        for second in KINDS {
            let server = Scripted::start(vec![Reply::stream(&rich(second))]);
            Asked::new(second, &base(second, &server), "")
                .ask(&messages)
                .expect("an answer");
            let body = server.requests()[0].json().to_string();
            for kept in ["I will look", "call_a", "call_b", "call_c", "content"] {
                assert!(body.contains(kept), "{first}, {second}: {body}");
            }
            let thought = ["let me see", "c2ln", "Z2VoZWlt", "commentary"]
                .iter()
                .any(|secret| body.contains(secret));
            // Chat Completions has no way to say a thought again.
            assert_eq!(
                thought,
                first == second && first != "openai",
                "{first}, {second}: {body}"
            );
        }
    }
}
