//! The official SDKs say whether our wire formats are right: what our providers send
//! is held against the SDKs' own request types, and what the scripted server says is
//! read by the SDKs' own clients.
//!
//! Needs python3 and the packages of `sdk/requirements.txt`, where it finds them or in
//! `target/sdk` (`pip install --target target/sdk -r …`). Without them the tests say
//! so and pass, except where `CI` is `true`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic, and says why it did nothing"
)]

mod scripted;

use scripted::{Asked, KINDS, Reply, Scripted, anthropic, base, chat, responses, rich};
use selfheal_model::conversation::{Answer, Block, Message, Role, Stop, ToolChoice};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the judge with these lines; `None` where there is none.
fn peer(arguments: &[&str], lines: &[Value]) -> Option<Vec<Value>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages: PathBuf = here.join("../../../target/sdk");
    #[expect(
        clippy::disallowed_methods,
        reason = "the official SDKs are Python, and this is their test"
    )]
    let mut command = Command::new("python3");
    let child = command
        .arg(here.join("tests/sdk/peer.py"))
        .args(arguments)
        .env("PYTHONPATH", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Whatever this machine is set up for, the SDKs speak to loopback.
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return missing(&format!("python3: {error}")),
    };
    let mut input = child.stdin.take().expect("an input");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    // A judge that gave up early has said why.
    let _ = writing.join();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        assert!(!complaint.contains("Traceback"), "{complaint}");
        return missing(complaint.trim());
    }
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    assert_eq!(answers.len(), lines.len(), "{complaint}");
    Some(answers)
}

fn missing(reason: &str) -> Option<Vec<Value>> {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "the official SDKs are missing: {reason}"
    );
    eprintln!("skipped: {reason}; pip install --target target/sdk -r tests/sdk/requirements.txt");
    None
}

fn plain(kind: &str, reason: &str) -> String {
    let cut = reason == "cut";
    match kind {
        "anthropic" => anthropic::answer(
            vec![anthropic::text(0, &["word"])],
            if cut { "max_tokens" } else { "end_turn" },
        ),
        "openai" => chat::answer(
            vec![chat::text("word")],
            if cut { "length" } else { "stop" },
        ),
        _ => {
            let items = [responses::message("word", None)];
            if cut {
                responses::cut(&items, "max_output_tokens")
            } else {
                responses::answer(&items)
            }
        }
    }
}

/// What each kind sends in a conversation with everything in it.
fn requests() -> Vec<Value> {
    let mut captured = Vec::new();
    for kind in KINDS {
        let settings: &[&str] = match kind {
            "anthropic" => &["", "effort = \"high\"\n", "thinking_tokens = 2048\n"],
            _ => &["", "effort = \"low\"\n"],
        };
        for more in settings {
            let mut script = vec![Reply::stream(&rich(kind))];
            script.extend(vec![Reply::stream(&plain(kind, "end")); 3]);
            let server = Scripted::start(script);
            let asked = Asked::new(kind, &base(kind, &server), more);
            let mut messages = vec![Message::text(Role::User, "repair it")];
            let got = asked.ask(&messages).expect("an answer");
            let results = ["call_a", "call_b", "call_c"].map(|id| Block::ToolResult {
                id: id.to_owned(),
                content: if id == "call_b" { "" } else { "content" }.to_owned(),
                is_error: id == "call_a",
            });
            messages.push(Message {
                role: Role::Assistant,
                blocks: got.blocks,
            });
            messages.push(Message {
                role: Role::User,
                blocks: [
                    results.to_vec(),
                    vec![Block::Text {
                        text: "two turns left".to_owned(),
                    }],
                ]
                .concat(),
            });
            for choice in [
                ToolChoice::Auto,
                ToolChoice::Tool("Read".to_owned()),
                ToolChoice::None,
            ] {
                asked
                    .ask_with(&messages, choice, &|| false)
                    .expect("an answer");
            }
            for (number, request) in server.requests().iter().enumerate() {
                captured.push(json!({
                    "kind": kind,
                    "name": format!("{kind} {} {number}", more.trim()),
                    "body": request.json(),
                }));
            }
        }
    }
    captured
}

/// Every copy of `value` with one object changed by `change`. What is free-form by
/// nature stays as it is.
fn changed(value: &Value, change: &dyn Fn(&mut Value)) -> Vec<Value> {
    let mut copies = Vec::new();
    match value {
        Value::Object(fields) => {
            let mut copy = value.clone();
            change(&mut copy);
            if copy != *value {
                copies.push(copy);
            }
            for (name, field) in fields {
                if field.is_object()
                    && ["input_schema", "parameters", "input"].contains(&name.as_str())
                {
                    continue;
                }
                copies.extend(changed(field, change).into_iter().map(|inner| {
                    let mut copy = value.clone();
                    copy[name.as_str()] = inner;
                    copy
                }));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                copies.extend(changed(item, change).into_iter().map(|inner| {
                    let mut copy = value.clone();
                    copy[at] = inner;
                    copy
                }));
            }
        }
        _ => {}
    }
    copies
}

#[test]
fn what_we_send_is_what_the_sdks_allow() {
    let captured = requests();
    assert_eq!(captured.len(), 28);
    let Some(verdicts) = peer(&["requests"], &captured) else {
        return;
    };
    for (verdict, request) in verdicts.iter().zip(&captured) {
        assert_eq!(verdict["complaint"], Value::Null, "{verdict}\n{request}");
    }
}

/// The judge itself is judged: each object of each request, wrong in one way, is found.
#[test]
fn what_is_wrong_anywhere_is_found() {
    let changes: [&dyn Fn(&mut Value); 3] = [
        &|object| object["bogus"] = json!(1),
        &|object| {
            if let Some(fields) = object.as_object_mut()
                && fields.contains_key("type")
            {
                fields.insert("type".to_owned(), json!("bogus"));
            }
        },
        &|object| {
            for name in [
                "text",
                "name",
                "tool_use_id",
                "call_id",
                "tool_call_id",
                "role",
                "model",
            ] {
                if object.get(name).is_some_and(Value::is_string) {
                    object[name] = json!(7);
                    return;
                }
            }
        },
    ];
    let mut wrong = Vec::new();
    for request in requests().iter().filter(|request| {
        // The first follow-up of each kind has everything in it.
        request["name"]
            .as_str()
            .is_some_and(|name| name.ends_with(" 1"))
    }) {
        for change in changes {
            for body in changed(&request["body"], change) {
                wrong.push(json!({"kind": request["kind"], "name": request["name"], "body": body}));
            }
        }
    }
    assert!(wrong.len() > 200, "{}", wrong.len());
    let Some(verdicts) = peer(&["requests"], &wrong) else {
        return;
    };
    for (verdict, request) in verdicts.iter().zip(&wrong) {
        assert!(verdict["complaint"].is_string(), "not found: {request}");
    }
}

/// Our own reading of an answer, in the judge's words.
fn ours(kind: &str, answer: &Answer) -> Value {
    let text = |thinking: bool| -> String {
        answer
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::Text { text } if !thinking => Some(text.as_str()),
                Block::Thinking { text, .. } if thinking => Some(text.as_str()),
                _ => None,
            })
            .collect()
    };
    let calls: Vec<Value> = answer
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse { id, name, input } => Some(json!([id, name, input])),
            _ => None,
        })
        .collect();
    let stop = match (kind, answer.stop) {
        ("anthropic", Stop::EndTurn) => "end_turn",
        ("anthropic", Stop::ToolUse) => "tool_use",
        ("anthropic", Stop::MaxTokens) => "max_tokens",
        ("openai", Stop::EndTurn) => "stop",
        ("openai", Stop::ToolUse) => "tool_calls",
        ("openai", Stop::MaxTokens) => "length",
        (_, Stop::MaxTokens) => "incomplete",
        (_, Stop::EndTurn | Stop::ToolUse) => "completed",
        (_, Stop::Refusal) => "refusal",
    };
    let usage = answer.usage;
    json!({
        "text": text(false), "thinking": text(true), "calls": calls, "stop": stop,
        "usage": [usage.input, usage.output, usage.cache_read, usage.cache_write],
    })
}

#[test]
fn what_the_server_says_is_what_the_sdks_and_we_understand() {
    for kind in KINDS {
        let streams = [rich(kind), plain(kind, "end"), plain(kind, "cut")];
        let script: Vec<Reply> = streams.iter().map(|stream| Reply::stream(stream)).collect();
        let server = Scripted::start(script.clone());
        let lines: Vec<Value> = (0..streams.len())
            .map(|number| json!({"kind": kind, "name": format!("{kind} {number}")}))
            .collect();
        let Some(understood) = peer(&["answers", &server.url()], &lines) else {
            return;
        };
        let server = Scripted::start(script);
        let asked = Asked::new(kind, &base(kind, &server), "");
        for theirs in understood {
            let answer = asked
                .ask(&[Message::text(Role::User, "hello")])
                .expect("an answer");
            let mut expected = ours(kind, &answer);
            expected["name"] = theirs["name"].clone();
            assert_eq!(theirs, expected);
        }
    }
}
