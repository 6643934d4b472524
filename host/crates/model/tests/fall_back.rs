//! A conversation that one provider began goes on with another, over the wire.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::anthropic::{answer, text, thinking, tool};
use scripted::{Asked, Reply, Scripted, chat, responses, tools};
use selfheal_model::chain::Chain;
use selfheal_model::conversation::{Block, Message, Question, Role, ToolChoice};
use selfheal_model::provider::Provider;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_conversation_moves_along_without_foreign_thoughts() {
    let out_of_money = Reply::error(
        400,
        &json!({"error": {"type": "invalid_request_error",
            "message": "Your credit balance is too low"}}),
    );
    let first = Scripted::start(vec![
        Reply::stream(&answer(
            vec![
                thinking(0, "a secret thought", "c2ln"),
                text(1, &["I will look"]),
                tool(2, "toolu_1", "Read", &["{\"argument\": \"x\"}"]),
            ],
            "tool_use",
        )),
        out_of_money,
    ]);
    let second = Scripted::start(vec![Reply::error(
        401,
        &json!({"error": {"message": "no"}}),
    )]);
    let third = Scripted::start(vec![Reply::stream(&responses::answer(&[
        responses::message("done", None),
    ]))]);
    let chain = Chain::new(
        Asked::new("anthropic", &first.url(), "").provider,
        vec![
            Asked::new("openai", &second.url(), "").provider,
            Asked::new("openai-responses", &third.url(), "").provider,
        ],
        Box::new(|_| {}),
    );
    let ask = |messages: &[Message]| {
        chain.ask(
            &Question {
                system: "You repair programs.",
                messages,
                tools: &tools(),
                tool_choice: ToolChoice::Auto,
                max_output_tokens: 100,
            },
            Duration::from_secs(60),
            &|| false,
            &mut |_| {},
        )
    };
    let mut messages = vec![Message::text(Role::User, "go")];
    let got = ask(&messages).expect("an answer");
    messages.push(Message {
        role: Role::Assistant,
        blocks: got.blocks,
    });
    messages.push(Message {
        role: Role::User,
        blocks: vec![Block::ToolResult {
            id: "toolu_1".to_owned(),
            content: "content".to_owned(),
            is_error: false,
        }],
    });
    ask(&messages).expect("an answer");
    assert_eq!(chain.name(), "openai-responses:m");
    for server in [&second, &third] {
        let body = server.requests()[0].json().to_string();
        assert!(
            body.contains("I will look") && body.contains("toolu_1"),
            "{body}"
        );
        assert!(
            !body.contains("secret thought") && !body.contains("c2ln"),
            "{body}"
        );
    }
}

#[test]
fn a_gone_server_gives_way() {
    let gone = Scripted::start(Vec::new()).url();
    let here = Scripted::start(vec![Reply::stream(&chat::answer(
        vec![chat::text("hello")],
        "stop",
    ))]);
    let gone = Asked::new("anthropic", &gone, "");
    let here = Asked::new("openai", &here.url(), "");
    let chain = Chain::new(gone.provider, vec![here.provider], Box::new(|_| {}));
    let chain: Arc<dyn Provider> = Arc::new(chain);
    let answer = chain.ask(
        &Question {
            system: "",
            messages: &[Message::text(Role::User, "go")],
            tools: &[],
            tool_choice: ToolChoice::Auto,
            max_output_tokens: 100,
        },
        Duration::from_secs(600),
        &|| false,
        &mut |_| {},
    );
    assert_eq!(answer.expect("an answer").blocks.len(), 1);
}
