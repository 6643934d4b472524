//! Chat Completions against a scripted server, and the ways of those who imitate it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::chat::{answer, call, chunk, finish, open, piece, sse, text};
use scripted::{Asked, KEY, Reply, Scripted, told};
use selfheal_model::conversation::{Answer, Block, Message, Role, Stop, ToolChoice, Usage};
use selfheal_model::provider::Delta;
use serde_json::{Value, json};

fn hello() -> Vec<Message> {
    vec![Message::text(Role::User, "hello")]
}

fn ask_of(script: Vec<Reply>) -> (Scripted, Asked) {
    let server = Scripted::start(script);
    let asked = Asked::new("openai", &format!("{}/v1", server.url()), "");
    (server, asked)
}

fn reply(pieces: Vec<Value>, reason: &str) -> Answer {
    let (_server, asked) = ask_of(vec![Reply::stream(&answer(pieces, reason))]);
    asked.ask(&hello()).expect("an answer")
}

/// Name and input of each call.
fn calls(answer: &Answer) -> Vec<(String, Value)> {
    answer
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse { name, input, .. } => Some((name.clone(), input.clone())),
            _ => None,
        })
        .collect()
}

fn results(answer: Answer) -> Vec<Message> {
    let results = answer
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse { id, .. } => Some(Block::ToolResult {
                id: id.clone(),
                content: "no such file".to_owned(),
                is_error: id == "a",
            }),
            _ => None,
        })
        .collect();
    let mut messages = hello();
    messages.push(Message {
        role: Role::Assistant,
        blocks: answer.blocks,
    });
    messages.push(Message {
        role: Role::User,
        blocks: results,
    });
    messages
}

#[test]
fn calls_that_arrive_interleaved_are_put_together_by_index() {
    let first = answer(
        vec![
            piece(json!({"reasoning_content": "let me see"})),
            text("I will "),
            text("look"),
            call(0, Some("a"), Some("Read"), ""),
            call(1, Some("b"), Some("Bash"), "{\"argu"),
            call(0, None, None, "{\"argument\":"),
            call(1, None, None, "ment\": \"ls\"}"),
            call(0, None, None, " \"x\"}"),
        ],
        "tool_calls",
    );
    let (server, asked) = ask_of(vec![
        Reply::stream(&first),
        Reply::stream(&answer(vec![text("done")], "stop")),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.stop, Stop::ToolUse);
    assert_eq!(
        calls(&got),
        [
            ("Read".to_owned(), json!({"argument": "x"})),
            ("Bash".to_owned(), json!({"argument": "ls"}))
        ]
    );
    assert_eq!(
        got.usage,
        Usage {
            input: 100,
            output: 50,
            cache_read: 900,
            cache_write: 0
        }
    );
    assert_eq!(asked.text_seen(), "I will look");
    assert!(
        asked
            .deltas
            .lock()
            .expect("unpoisoned")
            .contains(&Delta::Thinking("let me see".to_owned()))
    );

    asked.ask(&results(got)).expect("an answer");
    let requests = server.requests();
    assert_eq!(requests[0].path, "/v1/chat/completions");
    assert_eq!(
        requests[0].headers["authorization"],
        format!("Bearer {KEY}")
    );
    let body = requests[1].json();
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "You repair programs."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "I will look", "tool_calls": [
                {"id": "a", "type": "function",
                    "function": {"name": "Read", "arguments": "{\"argument\":\"x\"}"}},
                {"id": "b", "type": "function",
                    "function": {"name": "Bash", "arguments": "{\"argument\":\"ls\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "The tool call failed: no such file"},
            {"role": "tool", "tool_call_id": "b", "content": "no such file"},
        ])
    );
}

#[test]
fn those_who_number_calls_differently_are_understood() {
    let whole = |id: Value, name: &str, arguments: &str, index: Option<u64>| {
        let mut call = json!({"id": id, "type": "function",
            "function": {"name": name, "arguments": arguments}});
        if let Some(index) = index {
            call["index"] = json!(index);
        }
        piece(json!({"tool_calls": [call]}))
    };
    let expected = [
        ("Read".to_owned(), json!({"argument": "x"})),
        ("Bash".to_owned(), json!({"argument": "y"})),
    ];
    let (x, y) = ("{\"argument\": \"x\"}", "{\"argument\": \"y\"}");
    let cases = [
        // No index at all; no index and no id; the same index for all.
        vec![
            whole(json!("a"), "Read", x, None),
            whole(json!("b"), "Bash", y, None),
        ],
        vec![
            whole(json!(""), "Read", x, None),
            whole(json!(null), "Bash", y, None),
        ],
        vec![
            whole(json!("a"), "Read", x, Some(0)),
            whole(json!("b"), "Bash", y, Some(0)),
        ],
        // Id and name again with each piece.
        vec![
            whole(json!("a"), "Read", "{\"argument\":", Some(0)),
            whole(json!("a"), "Read", " \"x\"}", Some(0)),
            whole(json!("b"), "Bash", y, Some(1)),
        ],
    ];
    for (number, pieces) in cases.into_iter().enumerate() {
        // Some end the turn although they wait for results.
        let got = reply(pieces, "stop");
        assert_eq!(calls(&got), expected, "{number}");
        assert_eq!(got.stop, Stop::ToolUse, "{number}");
        let ids: std::collections::BTreeSet<_> = got
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::ToolUse { id, .. } => Some(id.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(ids.len(), 2, "{number}: {ids:?}");
        assert!(!ids.contains(""), "{number}");
    }
}

#[test]
fn a_signature_that_comes_with_a_call_goes_back_with_it() {
    let signed = |id: &str, signature: Option<&str>| {
        let mut call = json!({"index": 0, "id": id, "type": "function",
            "function": {"name": "Read", "arguments": "{}"}});
        if let Some(signature) = signature {
            call["extra_content"] = json!({"google": {"thought_signature": signature}});
        }
        piece(json!({"tool_calls": [call]}))
    };
    let (server, asked) = ask_of(vec![
        Reply::stream(&answer(
            vec![signed("a", None), signed("b", Some("c2ln"))],
            "tool_calls",
        )),
        Reply::stream(&answer(vec![text("done")], "stop")),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    asked.ask(&results(got)).expect("an answer");
    let said = &server.requests()[1].json()["messages"][2]["tool_calls"];
    assert_eq!(said[0].get("extra_content"), None);
    assert_eq!(
        said[1]["extra_content"],
        json!({"google": {"thought_signature": "c2ln"}})
    );
}

#[test]
fn each_way_to_stop_is_told_apart() {
    assert_eq!(reply(vec![text("x")], "stop").stop, Stop::EndTurn);
    assert_eq!(reply(vec![text("x")], "length").stop, Stop::MaxTokens);
    assert_eq!(reply(vec![text("x")], "content_filter").stop, Stop::Refusal);
    let refused = reply(vec![piece(json!({"refusal": "I will not"}))], "stop");
    assert_eq!(refused.stop, Stop::Refusal);
    let cut = reply(
        vec![call(0, Some("a"), Some("Bash"), "{\"argument\": \"rm")],
        "length",
    );
    assert_eq!((cut.stop, cut.blocks.len()), (Stop::MaxTokens, 0));
    let none = reply(vec![call(0, Some("a"), Some("Bash"), "")], "tool_calls");
    assert_eq!(calls(&none), [("Bash".to_owned(), json!({}))]);
}

#[test]
fn only_done_after_a_reason_is_an_end() {
    let all: Vec<Value> = [vec![text("x")], finish("stop")].concat();
    for (name, stream) in [
        ("no [DONE]", open(&all)),
        ("no reason", sse(&[text("x")])),
        ("nothing", sse(&[])),
        (
            "garbage",
            format!("{}data: {{\"choices\": 7}}\n\n", open(&all)),
        ),
    ] {
        let (server, asked) = ask_of(vec![Reply::stream(&stream); 3]);
        assert_eq!(told(asked.ask(&hello())).0, "broken", "{name}");
        assert_eq!(server.requests().len(), 3, "{name}");
    }
}

#[test]
fn errors_in_the_stream_are_errors() {
    for (error, kind, tries) in [
        (
            json!({"error": {"message": "try later", "type": "server_error", "code": null}}),
            "unavailable",
            8,
        ),
        (
            json!({"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}}),
            "out of budget",
            1,
        ),
        (
            json!({"error": {"message": "bad", "code": 400}}),
            "refused",
            1,
        ),
        (
            json!({"object": "error", "message": "maximum context length is 7", "code": 400}),
            "too long",
            1,
        ),
    ] {
        let stream = sse(&[text("x"), error]);
        let (server, asked) = ask_of(vec![Reply::stream(&stream); 9]);
        assert_eq!(told(asked.ask(&hello())).0, kind);
        assert_eq!(server.requests().len(), tries, "{kind}");
    }
}

#[test]
fn a_thousand_calls_or_endless_text_are_refused() {
    let many = (0..1_000)
        .map(|at| call(at, Some(&format!("c{at}")), Some("Bash"), "{}"))
        .collect();
    let endless = (0..40).map(|_| text(&"x".repeat(1 << 20))).collect();
    for pieces in [many, endless] {
        let (server, asked) = ask_of(vec![Reply::stream(&answer(pieces, "stop")); 3]);
        assert_eq!(told(asked.ask(&hello())).0, "broken");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn what_is_not_counted_is_estimated() {
    let mut chunks = vec![text(&"word ".repeat(100))];
    chunks.push(chunk(
        json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    ));
    let (_server, asked) = ask_of(vec![Reply::stream(&sse(&chunks))]);
    let usage = asked.ask(&hello()).expect("an answer").usage;
    assert_eq!(usage.output, 166);
    assert!(usage.input > 100, "{usage:?}");
}

#[test]
fn a_tool_can_be_demanded_and_forbidden() {
    let done = Reply::stream(&answer(vec![text("x")], "stop"));
    let (server, asked) = ask_of(vec![done; 2]);
    for choice in [ToolChoice::Tool("Read".to_owned()), ToolChoice::None] {
        asked
            .ask_with(&hello(), choice, &|| false)
            .expect("an answer");
    }
    let choices: Vec<Value> = server
        .requests()
        .iter()
        .map(|request| request.json()["tool_choice"].clone())
        .collect();
    assert_eq!(
        choices,
        [
            json!({"type": "function", "function": {"name": "Read"}}),
            json!("none")
        ]
    );
}
