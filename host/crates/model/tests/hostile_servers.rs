//! Servers that are down, slow, lying, or no servers at all; the same for every
//! dialect.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use scripted::anthropic::{answer, begin, delta, says, sse, start, text, tool};
use scripted::{Act, Asked, KEY, Reply, Scripted, told};
use selfheal_model::conversation::{Message, Role, ToolChoice};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn hello() -> Vec<Message> {
    vec![Message::text(Role::User, "hello")]
}

fn ask_of(script: Vec<Reply>) -> (Scripted, Asked) {
    let server = Scripted::start(script);
    let asked = Asked::new("anthropic", &server.url(), "");
    (server, asked)
}

fn overloaded() -> Reply {
    Reply::error(
        529,
        &json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    )
}

#[test]
fn overload_is_waited_out_longer_and_longer() {
    let mut script = vec![overloaded(); 3];
    script.push(Reply::stream(&says("at last")));
    let (server, asked) = ask_of(script);
    asked.ask(&hello()).expect("an answer");
    assert_eq!(asked.pace.waits(), [0.5, 1.0, 2.0]);
    assert_eq!(server.requests().len(), 4);

    let (server, asked) = ask_of(vec![overloaded(); 20]);
    let (kind, message) = told(asked.ask(&hello()));
    assert_eq!(kind, "unavailable");
    assert!(message.contains("Overloaded (after 8 tries)"), "{message}");
    assert_eq!(asked.pace.waits(), [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]);
    assert_eq!(server.requests().len(), 8);
}

#[test]
fn the_providers_own_wait_is_honoured_within_bounds() {
    let limited = |after: &str| {
        Reply::error(
            429,
            &json!({"error": {"type": "rate_limit_error", "message": "slow down"}}),
        )
        .header("retry-after", after)
    };
    let (_server, asked) = ask_of(vec![limited("7"), limited("0"), Reply::stream(&says("ok"))]);
    asked.ask(&hello()).expect("an answer");
    assert_eq!(asked.pace.waits(), [7.0, 1.0]);

    let (server, asked) = ask_of(vec![limited("3600"); 3]);
    let (kind, message) = told(asked.ask(&hello()));
    assert_eq!(kind, "unavailable");
    assert!(message.contains("3600 s"), "{message}");
    assert_eq!(server.requests().len(), 1);

    // Six minutes of waits do not fit into what is left of ten.
    let (server, asked) = ask_of(vec![limited("110"); 20]);
    assert_eq!(told(asked.ask(&hello())).0, "unavailable");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    for (status, message, kind) in [
        (400, "messages: field required", "refused"),
        (401, "invalid x-api-key", "refused"),
        (402, "pay", "out of budget"),
        (403, "no", "refused"),
        (404, "model: m", "refused"),
        (400, "Your credit balance is too low", "out of budget"),
        (413, "too large", "too long"),
        (400, "prompt is too long: 9 > 8", "too long"),
    ] {
        let reply = Reply::error(status, &json!({"error": {"message": message}}));
        let (server, asked) = ask_of(vec![reply; 3]);
        let (told, text) = told(asked.ask(&hello()));
        assert_eq!(told, kind, "{text}");
        assert!(text.contains(message), "{text}");
        assert_eq!(server.requests().len(), 1, "{text}");
    }
}

#[test]
fn a_redirect_gets_neither_key_nor_conversation() {
    let elsewhere = Scripted::start(vec![Reply::stream(&says("gotcha"))]);
    for status in [301, 302, 307, 308] {
        let reply = Reply::error(status, &json!({})).header("location", &elsewhere.url());
        let (_server, asked) = ask_of(vec![reply]);
        let (kind, message) = told(asked.ask(&hello()));
        assert_eq!(kind, "refused");
        assert!(message.contains("base_url"), "{message}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_server_that_repeats_the_key_gets_no_echo() {
    let body = json!({"error": {"message": format!("bad key {KEY}, or sk-test-****ghij\nnext")}});
    let (_server, asked) = ask_of(vec![Reply::error(401, &body)]);
    let (_, message) = told(asked.ask(&hello()));
    assert!(
        message.contains("bad key [key], or [key] next"),
        "{message}"
    );
    let long = json!({"error": {"message": "x".repeat(100_000)}});
    let (_server, asked) = ask_of(vec![Reply::error(400, &long)]);
    assert!(told(asked.ask(&hello())).1.len() < 1_000);
}

#[test]
fn nobody_there_is_unavailable() {
    // A port that was just free.
    let url = Scripted::start(Vec::new()).url();
    let asked = Asked::new("anthropic", &url, "");
    let (kind, message) = told(asked.ask(&hello()));
    assert_eq!(kind, "unavailable");
    assert!(message.contains("cannot connect"), "{message}");
    assert_eq!(asked.pace.waits().len(), 7);
}

#[test]
fn a_stream_without_its_end_is_no_answer() {
    let whole = says("all of it");
    let last = whole.rfind("event: message_stop").expect("an end");
    for upto in [0, 1, 50, last, whole.len() - 1] {
        let cut = Act::Send(whole.as_bytes()[..upto].to_vec());
        for end in [vec![], vec![Act::Cut]] {
            let acts = [vec![cut.clone()], end].concat();
            let (server, asked) = ask_of(vec![Reply::acts(acts); 9]);
            let (kind, message) = told(asked.ask(&hello()));
            assert_eq!(kind, "broken", "{upto}: {message}");
            assert!(message.contains("end event"), "{upto}: {message}");
            assert_eq!(server.requests().len(), 3, "each try costs tokens");
        }
    }
}

#[test]
fn what_follows_the_end_is_not_waited_for() {
    let acts = vec![Act::Send(says("x").into_bytes()), Act::Stall];
    let (_server, asked) = ask_of(vec![Reply::acts(acts)]);
    asked.ask(&hello()).expect("an answer");
}

#[test]
fn garbage_is_no_answer() {
    let bytes = |bytes: &[u8]| Reply::acts(vec![Act::Send(bytes.to_vec())]);
    let cases = [
        bytes(b"data: \xff\xfe\xfd\n\n"),
        bytes(b"data: {\"type\":\n\n"),
        bytes(b"data: []\n\n"),
        bytes(b"data: null\n\n"),
        bytes(format!("data: {}\n\n", "[".repeat(50_000)).as_bytes()),
        bytes(b"\x00\x01\x02\x03"),
        Reply::stream("<html>please log in</html>").header("content-type", "text/html"),
        Reply::error(200, &json!({"type": "message"})),
    ];
    for (number, reply) in cases.into_iter().enumerate() {
        let (_server, asked) = ask_of(vec![reply; 3]);
        let (kind, message) = told(asked.ask(&hello()));
        assert_eq!(kind, "broken", "{number}: {message}");
    }
}

#[test]
fn silence_ends() {
    let stalls = || {
        vec![
            Reply::acts(vec![Act::Stall]),
            Reply::acts(vec![Act::Send(sse(&[start()]).into_bytes()), Act::Stall]),
            Reply::acts(vec![Act::Send(b"event: mess".to_vec()), Act::Stall]),
        ]
    };
    let server = Scripted::start(stalls());
    let idle = Duration::from_millis(150);
    let asked = Asked::with_idle("anthropic", &server.url(), "", idle);
    let (kind, message) = told(asked.ask(&hello()));
    assert_eq!(kind, "broken");
    assert!(message.contains("stalled"), "{message}");
    server.wait_abandoned();
}

/// Fifty megabytes in each shape end in an error, and are not read to their end.
#[test]
fn endless_answers_end() {
    let megabyte = "x".repeat(1 << 20);
    let piece = |event: serde_json::Value| sse(&[event]).into_bytes();
    let opening = sse(&[start(), begin(0, json!({"type": "text", "text": ""}))]).into_bytes();
    let text = delta(0, json!({"type": "text_delta", "text": megabyte}));
    let thought = delta(0, json!({"type": "thinking_delta", "thinking": megabyte}));
    let thinking = sse(&[
        start(),
        begin(0, json!({"type": "thinking", "thinking": ""})),
    ])
    .into_bytes();
    let cases = [
        ("a text", opening.clone(), piece(text)),
        ("thinking", thinking, piece(thought)),
        (
            "one event",
            b"data: ".to_vec(),
            megabyte.clone().into_bytes(),
        ),
        ("a line", Vec::new(), megabyte.clone().into_bytes()),
        (
            "an event of many lines",
            opening.clone(),
            format!("data: {megabyte}\n").into_bytes(),
        ),
        (
            "comments",
            opening,
            format!(": {megabyte}\n\n").into_bytes(),
        ),
    ];
    for (name, opening, piece) in cases {
        let acts = vec![Act::Send(opening), Act::Repeat(piece, 100)];
        let (server, asked) = ask_of(vec![Reply::acts(acts); 3]);
        let (kind, message) = told(asked.ask(&hello()));
        assert_eq!(kind, "broken", "{name}: {message}");
        assert!(message.contains("MiB"), "{name}: {message}");
        assert_eq!(
            server.requests().len(),
            1,
            "{name}: it would cost as much again"
        );
        server.wait_abandoned();
    }
}

#[test]
fn a_thousand_tools_at_once_are_refused() {
    let calls = |count: usize| {
        let blocks = (0..count)
            .map(|at| tool(at, &format!("t{at}"), "Bash", &["{}"]))
            .collect();
        Reply::stream(&answer(blocks, "tool_use"))
    };
    let (_server, asked) = ask_of(vec![calls(1_000), calls(128)]);
    let (kind, message) = told(asked.ask(&hello()));
    assert_eq!(kind, "broken");
    assert!(message.contains("128 tool calls"), "{message}");
    assert_eq!(asked.ask(&hello()).expect("an answer").blocks.len(), 128);

    let blocks = (0..5_000).map(|at| text(at, &["x"])).collect();
    let (_server, asked) = ask_of(vec![Reply::stream(&answer(blocks, "end_turn"))]);
    assert_eq!(told(asked.ask(&hello())).0, "broken");
    let name = "n".repeat(10_000);
    let (_server, asked) = ask_of(vec![Reply::stream(&answer(
        vec![tool(0, "a", &name, &[])],
        "tool_use",
    ))]);
    assert_eq!(told(asked.ask(&hello())).0, "broken");
}

#[test]
fn cancelling_drops_an_answer_under_way() {
    for acts in [
        vec![Act::Stall],
        vec![Act::Send(sse(&[start()]).into_bytes()), Act::Stall],
        // So busy that nothing ever has to be waited for.
        vec![
            Act::Send(sse(&[start()]).into_bytes()),
            Act::Repeat(b": busy\n\n".repeat(1_000), 7_000),
        ],
    ] {
        let (server, asked) = ask_of(vec![Reply::acts(acts)]);
        let cancel = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                asked.ask_with(&hello(), ToolChoice::Auto, &|| {
                    cancel.load(Ordering::SeqCst)
                })
            });
            server.wait_requests(1);
            let asked_to_stop = Instant::now();
            cancel.store(true, Ordering::SeqCst);
            let (kind, _) = told(asking.join().expect("no panic"));
            assert_eq!(kind, "cancelled");
            assert!(asked_to_stop.elapsed() < Duration::from_secs(10));
        });
        server.wait_abandoned();
    }
}

#[test]
fn cancelling_ends_the_wait_between_tries_and_the_connecting() {
    use selfheal_model::config::{ProviderConfig, Surroundings};
    use selfheal_model::conversation::Question;
    use selfheal_model::pace::RealPace;
    use std::sync::Arc;

    // A server that asks for a long wait, and a listener that never greets back: the
    // connection does not come to stand.
    let busy = Scripted::start(vec![overloaded().header("retry-after", "100"); 2]);
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let deaf_address = deaf.local_addr().expect("an address");
    for (url, wait) in [
        (busy.url(), Some(&busy)),
        (format!("https://{deaf_address}"), None),
    ] {
        let config: ProviderConfig = toml::from_str(&format!(
            "kind = \"anthropic\"\nmodel = \"m\"\nbase_url = \"{url}\"\n"
        ))
        .expect("valid");
        let provider = config
            .connect_in(&Surroundings {
                environment: &|_| None,
                pace: Arc::new(RealPace::new()),
                connect_timeout: Duration::from_secs(60),
                idle_timeout: None,
            })
            .expect("a provider");
        let cancel = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                provider.ask(
                    &Question {
                        system: "",
                        messages: &hello(),
                        tools: &[],
                        tool_choice: ToolChoice::Auto,
                        max_output_tokens: 10,
                    },
                    Duration::from_secs(600),
                    &|| cancel.load(Ordering::SeqCst),
                    &mut |_| {},
                )
            });
            if let Some(server) = wait {
                server.wait_requests(1);
            }
            let asked_to_stop = Instant::now();
            cancel.store(true, Ordering::SeqCst);
            assert_eq!(told(asking.join().expect("no panic")).0, "cancelled");
            assert!(asked_to_stop.elapsed() < Duration::from_secs(10));
        });
    }
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_no_try() {
    let (server, asked) = ask_of(vec![
        Reply::acts(vec![Act::Send(says("one").into_bytes()), Act::Cut]),
        Reply::stream(&says("two")),
    ]);
    asked.ask(&hello()).expect("an answer");
    asked.ask(&hello()).expect("an answer");
    assert!(asked.pace.waits().is_empty());
    assert_eq!(server.connections(), 2);
}
