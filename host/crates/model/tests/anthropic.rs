//! The Messages API against a scripted server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::anthropic::{answer, begin, end, finish, says, sse, start, text, thinking, tool};
use scripted::{Asked, KEY, Reply, Scripted, told};
use selfheal_model::conversation::{Block, Message, Role, Stop, ToolChoice, Usage};
use selfheal_model::provider::Delta;
use serde_json::json;

fn hello() -> Vec<Message> {
    vec![Message::text(Role::User, "hello")]
}

fn ask_of(script: Vec<Reply>) -> (Scripted, Asked) {
    let server = Scripted::start(script);
    let asked = Asked::new("anthropic", &server.url(), "");
    (server, asked)
}

#[test]
fn an_answer_of_all_kinds_of_blocks_is_read_and_said_again() {
    let first = answer(
        vec![
            thinking(0, "let me see", "c2ln"),
            vec![
                begin(1, json!({"type": "redacted_thinking", "data": "c2VjcmV0"})),
                end(1),
            ],
            text(2, &["I wi", "ll lo", "ok \u{1f50d}"]),
            tool(3, "toolu_1", "Read", &["{\"argu", "ment\":", " \"a.py\"}"]),
            tool(4, "toolu_2", "Bash", &[]),
        ],
        "tool_use",
    );
    let (server, asked) = ask_of(vec![Reply::stream(&first), Reply::stream(&says("done"))]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.stop, Stop::ToolUse);
    assert_eq!(
        got.usage,
        Usage {
            input: 12,
            output: 77,
            cache_read: 4000,
            cache_write: 300
        }
    );
    let Some(Block::ToolUse { input, .. }) = got.blocks.get(3) else {
        panic!("{:?}", got.blocks);
    };
    assert_eq!(*input, json!({"argument": "a.py"}));
    assert_eq!(
        *asked.deltas.lock().expect("unpoisoned"),
        [
            Delta::Thinking("let me see".to_owned()),
            Delta::Text("I wi".to_owned()),
            Delta::Text("ll lo".to_owned()),
            Delta::Text("ok \u{1f50d}".to_owned()),
            Delta::ToolUse("Read".to_owned()),
            Delta::ToolInput("{\"argu".to_owned()),
            Delta::ToolInput("ment\":".to_owned()),
            Delta::ToolInput(" \"a.py\"}".to_owned()),
            Delta::ToolUse("Bash".to_owned()),
        ]
    );

    let mut messages = hello();
    messages.push(Message {
        role: Role::Assistant,
        blocks: got.blocks,
    });
    messages.push(Message {
        role: Role::User,
        blocks: ["toolu_1", "toolu_2"]
            .map(|id| Block::ToolResult {
                id: id.to_owned(),
                content: "no such file".to_owned(),
                is_error: id == "toolu_1",
            })
            .into(),
    });
    let got = asked.ask(&messages).expect("an answer");
    assert_eq!(got.stop, Stop::EndTurn);

    let requests = server.requests();
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("POST", "/v1/messages")
    );
    assert_eq!(first.headers["x-api-key"], KEY);
    assert_eq!(first.headers["anthropic-version"], "2023-06-01");
    assert_eq!(first.headers.get("authorization"), None);
    let said = &second.json()["messages"][1]["content"];
    assert_eq!(
        *said,
        json!([
            {"type": "thinking", "thinking": "let me see", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "c2VjcmV0"},
            {"type": "text", "text": "I will look \u{1f50d}"},
            {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"argument": "a.py"}},
            {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {}},
        ])
    );
    assert_eq!(second.json()["messages"][2]["content"][0]["is_error"], true);
    // One connection serves both.
    assert_eq!(server.connections(), 1);
}

#[test]
fn each_way_to_stop_is_told_apart() {
    for (reason, stop) in [
        ("end_turn", Stop::EndTurn),
        ("stop_sequence", Stop::EndTurn),
        ("max_tokens", Stop::MaxTokens),
        ("refusal", Stop::Refusal),
    ] {
        let (_server, asked) = ask_of(vec![Reply::stream(&answer(vec![text(0, &["x"])], reason))]);
        assert_eq!(asked.ask(&hello()).expect(reason).stop, stop);
    }
    for (reason, kind) in [
        ("model_context_window_exceeded", "too long"),
        ("lunch", "broken"),
    ] {
        let (server, asked) = ask_of(vec![Reply::stream(&answer(vec![text(0, &["x"])], reason))]);
        let (told, message) = told(asked.ask(&hello()));
        assert_eq!(told, kind, "{message}");
        assert_eq!(
            server.requests().len(),
            1,
            "asking again would end the same"
        );
    }
}

#[test]
fn a_call_that_was_cut_is_left_out() {
    let blocks = || {
        vec![
            tool(0, "a", "Bash", &["{\"argument\": \"ls\"}"]),
            tool(1, "b", "Bash", &["{\"argument\": \"rm -rf build"]),
        ]
    };
    let (_server, asked) = ask_of(vec![
        Reply::stream(&answer(blocks(), "max_tokens")),
        Reply::stream(&answer(blocks(), "tool_use")),
    ]);
    let cut = asked.ask(&hello()).expect("an answer");
    assert_eq!((cut.stop, cut.blocks.len()), (Stop::MaxTokens, 1));
    // Not cut, but nonsense: the model's fault, and it is told.
    let wrong = asked.ask(&hello()).expect("an answer");
    let Some(Block::ToolUse { input, .. }) = wrong.blocks.get(1) else {
        panic!("{:?}", wrong.blocks);
    };
    assert_eq!(*input, json!("{\"argument\": \"rm -rf build"));
}

#[test]
fn a_paused_turn_goes_on() {
    let (server, asked) = ask_of(vec![
        Reply::stream(&answer(vec![text(0, &["one "])], "pause_turn")),
        Reply::stream(&answer(vec![text(0, &["two"])], "end_turn")),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.blocks.len(), 2);
    assert_eq!((got.stop, got.usage.output), (Stop::EndTurn, 154));
    let requests = server.requests();
    assert_eq!(requests[1].json()["messages"][1]["role"], "assistant");

    let pauses = vec![Reply::stream(&answer(vec![text(0, &["x"])], "pause_turn")); 9];
    let (server, asked) = ask_of(pauses);
    assert_eq!(told(asked.ask(&hello())).0, "broken");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn an_answer_out_of_order_is_none() {
    let block = || text(0, &["x"]);
    let cases: Vec<(&str, Vec<serde_json::Value>)> = vec![
        ("no start", [block(), finish("end_turn")].concat()),
        ("two starts", vec![start(), start()]),
        ("no reason", vec![start(), json!({"type": "message_stop"})]),
        (
            "open block",
            [vec![start()], block()[..2].to_vec(), finish("end_turn")].concat(),
        ),
        ("gap", [vec![start()], text(1, &["x"])].concat()),
        (
            "delta after the end",
            [vec![start()], block(), block()[1..2].to_vec()].concat(),
        ),
        (
            "wrong delta",
            vec![
                start(),
                begin(0, json!({"type": "text", "text": ""})),
                json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
            ],
        ),
        (
            "wrong type",
            vec![json!({"type": "message_start", "message": 7})],
        ),
        (
            "negative usage",
            vec![
                start(),
                json!({"type": "message_delta",
                "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": -5}}),
            ],
        ),
    ];
    for (name, events) in cases {
        let (_server, asked) = ask_of(vec![Reply::stream(&sse(&events)); 3]);
        let (kind, message) = told(asked.ask(&hello()));
        assert_eq!(kind, "broken", "{name}: {message}");
    }
}

#[test]
fn an_error_in_the_stream_is_tried_again_and_the_watcher_told() {
    let overloaded = sse(&[
        vec![start()],
        text(0, &["half a tho"]),
        vec![json!({"type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"}})],
    ]
    .concat());
    let (server, asked) = ask_of(vec![
        Reply::stream(&overloaded),
        Reply::stream(&says("whole")),
    ]);
    let got = asked.ask(&hello()).expect("an answer");
    assert_eq!(got.blocks.len(), 1);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(asked.pace.waits(), [0.5]);
    assert_eq!(
        *asked.deltas.lock().expect("unpoisoned"),
        [
            Delta::Text("half a tho".to_owned()),
            Delta::Restart,
            Delta::Text("whole".to_owned())
        ]
    );
}

/// As imitations of the API answer.
#[test]
fn what_is_not_counted_is_estimated() {
    let mut start = start();
    start["message"]
        .as_object_mut()
        .expect("an object")
        .remove("usage");
    let mut events = vec![start];
    events.extend(text(0, &["word ".repeat(100).as_str()]));
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
    events.push(json!({"type": "message_stop"}));
    let (_server, asked) = ask_of(vec![Reply::stream(&sse(&events))]);
    let usage = asked.ask(&hello()).expect("an answer").usage;
    assert_eq!(usage.output, 166);
    assert!(usage.input > 100, "{usage:?}");
}

#[test]
fn a_tool_can_be_demanded() {
    let (server, asked) = ask_of(vec![Reply::stream(&says("no"))]);
    let choice = ToolChoice::Tool("Read".to_owned());
    asked
        .ask_with(&hello(), choice, &|| false)
        .expect("an answer");
    assert_eq!(
        server.requests()[0].json()["tool_choice"],
        json!({"type": "tool", "name": "Read"})
    );
}
