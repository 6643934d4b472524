//! The Responses API against a scripted server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::responses::{answer, call, cut, message, open, reasoning, response, sse};
use scripted::{Asked, Reply, Scripted, told};
use selfheal_model::conversation::{Block, Message, Role, Stop, Usage};
use serde_json::{Value, json};

fn hello() -> Vec<Message> {
    vec![Message::text(Role::User, "hello")]
}

fn ask_of(script: Vec<Reply>) -> (Scripted, Asked) {
    let server = Scripted::start(script);
    let url = format!("{}/v1", server.url());
    let asked = Asked::new("openai-responses", &url, "effort = \"high\"\n");
    (server, asked)
}

#[test]
fn reasoning_and_calls_are_read_and_said_again() {
    let items = [
        reasoning("rs_1", "Z2VoZWlt"),
        message("I will look", Some("commentary")),
        call("call_a", "Read", "{\"argument\":\"x\"}"),
        call("call_b", "Bash", ""),
        // Led to nothing, and would be refused at the end.
        reasoning("rs_2", "bm9jaA=="),
    ];
    let (server, asked) = ask_of(vec![
        Reply::stream(&answer(&items)),
        Reply::stream(&answer(&[message("done", None)])),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.stop, Stop::ToolUse);
    assert_eq!(
        got.usage,
        Usage {
            input: 40,
            output: 50,
            cache_read: 900,
            cache_write: 60
        }
    );
    assert_eq!(asked.text_seen(), "I will look");
    let Some(Block::Thinking { text, .. }) = got.blocks.first() else {
        panic!("{:?}", got.blocks);
    };
    assert_eq!(text, "let me see");

    let mut messages = hello();
    messages.push(Message {
        role: Role::Assistant,
        blocks: got.blocks,
    });
    messages.push(Message {
        role: Role::User,
        blocks: ["call_a", "call_b"]
            .map(|id| Block::ToolResult {
                id: id.to_owned(),
                content: "no such file".to_owned(),
                is_error: id == "call_a",
            })
            .into(),
    });
    asked.ask(&messages).expect("an answer");
    let requests = server.requests();
    assert_eq!(requests[0].path, "/v1/responses");
    let body = requests[1].json();
    assert_eq!(body["store"], false);
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(
        body["reasoning"],
        json!({"effort": "high", "summary": "auto"})
    );
    assert_eq!(body["tools"][0]["strict"], false);
    assert_eq!(body["instructions"], "You repair programs.");
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "user",
                "content": [{"type": "input_text", "text": "hello"}]},
            reasoning("rs_1", "Z2VoZWlt"),
            {"type": "message", "role": "assistant", "content": "I will look",
                "phase": "commentary"},
            {"type": "function_call", "call_id": "call_a", "name": "Read",
                "arguments": "{\"argument\":\"x\"}"},
            {"type": "function_call", "call_id": "call_b", "name": "Bash", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_a",
                "output": "The tool call failed: no such file"},
            {"type": "function_call_output", "call_id": "call_b", "output": "no such file"},
        ])
    );
}

#[test]
fn reasoning_that_cannot_be_said_again_is_not() {
    let mut open_reasoning = reasoning("rs_1", "");
    open_reasoning["encrypted_content"] = Value::Null;
    let (server, asked) = ask_of(vec![
        Reply::stream(&answer(&[open_reasoning, message("x", None)])),
        Reply::stream(&answer(&[message("done", None)])),
    ]);
    let mut messages = hello();
    messages.push(Message {
        role: Role::Assistant,
        blocks: asked.ask(&hello()).expect("an answer").blocks,
    });
    messages.push(Message::text(Role::User, "on"));
    asked.ask(&messages).expect("an answer");
    let text = server.requests()[1].json()["input"].to_string();
    assert!(!text.contains("rs_1"), "{text}");
}

#[test]
fn an_answer_that_was_cut_has_no_half_calls() {
    let mut half = call("b", "Bash", "{\"argument\":\"rm -rf build");
    half["status"] = json!("incomplete");
    let items = [call("a", "Bash", "{\"argument\":\"ls\"}"), half];
    let (_server, asked) = ask_of(vec![
        Reply::stream(&cut(&items, "max_output_tokens")),
        Reply::stream(&cut(&items, "content_filter")),
        Reply::stream(&cut(&items, "steered")),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!((got.stop, got.blocks.len()), (Stop::MaxTokens, 1));
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!((got.stop, got.blocks.len()), (Stop::Refusal, 0));
    assert_eq!(told(asked.ask(&hello())).0, "broken");
}

#[test]
fn a_refusal_is_one() {
    let mut item = message("", None);
    item["content"] = json!([{"type": "refusal", "refusal": "I will not"}]);
    let (_server, asked) = ask_of(vec![Reply::stream(&answer(&[item]))]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.stop, Stop::Refusal);
    assert_eq!(
        got.blocks,
        [Block::Text {
            text: "I will not".to_owned()
        }]
    );
}

#[test]
fn only_completed_and_incomplete_are_ends() {
    let events = open(&[message("x", None)]);
    for (name, stream) in [
        ("no end", sse(&events)),
        ("another's end", format!("{}data: [DONE]\n\n", sse(&events))),
        (
            "garbage",
            format!("{}data: {{\"type\": 7}}\n\n", sse(&events)),
        ),
        (
            "an item that is none",
            sse(&[json!({"type": "response.output_item.done", "item": {}})]),
        ),
    ] {
        let (server, asked) = ask_of(vec![Reply::stream(&stream); 3]);
        assert_eq!(told(asked.ask(&hello())).0, "broken", "{name}");
        assert_eq!(server.requests().len(), 3, "{name}");
    }
}

#[test]
fn a_failed_response_says_why() {
    let failed = |code: &str, message: &str| {
        let mut whole = response("failed", &[]);
        whole["error"] = json!({"code": code, "message": message});
        json!({"type": "response.failed", "response": whole})
    };
    for (event, kind, tries) in [
        (failed("server_error", "oops"), "unavailable", 8),
        (failed("rate_limit_exceeded", "slow"), "unavailable", 8),
        (failed("invalid_prompt", "no"), "refused", 1),
        (failed("insufficient_quota", "pay"), "out of budget", 1),
        (failed("context_length_exceeded", "long"), "too long", 1),
        (
            json!({"type": "error", "code": "server_error", "message": "oops", "param": null}),
            "unavailable",
            8,
        ),
    ] {
        let (server, asked) = ask_of(vec![Reply::stream(&sse(&[event])); 9]);
        let (got, message) = told(asked.ask(&hello()));
        assert_eq!(got, kind, "{message}");
        assert_eq!(server.requests().len(), tries, "{message}");
    }
}

#[test]
fn items_may_come_at_the_end_only() {
    let items = [message("x", None), call("a", "Bash", "{}")];
    let stream =
        sse(&[json!({"type": "response.completed", "response": response("completed", &items)})]);
    let (_server, asked) = ask_of(vec![Reply::stream(&stream)]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!((got.stop, got.blocks.len()), (Stop::ToolUse, 2));
}

#[test]
fn a_thousand_calls_are_refused() {
    let items: Vec<Value> = (0..1_000)
        .map(|at| call(&format!("c{at}"), "Bash", "{}"))
        .collect();
    let (server, asked) = ask_of(vec![Reply::stream(&answer(&items)); 3]);
    assert_eq!(told(asked.ask(&hello())).0, "broken");
    assert_eq!(server.requests().len(), 1);
}
