//! Whatever a server says, in whatever order: an answer that keeps its promises, or an
//! error. Right answers of each dialect are damaged at random.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use proptest::prelude::*;
use scripted::{Asked, KINDS, Reply, Scripted, base, rich, told};
use selfheal_model::conversation::{Answer, Block, Message, Role, Stop};
use serde_json::{Value, json};
use std::collections::HashSet;

/// A way to damage a stream of events.
#[derive(Clone, Debug)]
enum Damage {
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    /// Another value at some place of some event.
    Change(usize, usize, Value),
    /// The rest is missing.
    Cut(usize),
    /// Bytes of another kind.
    Bytes(usize, Vec<u8>),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"type": "text"}])),
        prop_oneof![
            Just("error"),
            Just("tool_use"),
            Just("message_stop"),
            Just("reasoning")
        ]
        .prop_map(Value::from),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..64_usize;
    prop_oneof![
        at.clone().prop_map(Damage::Drop),
        at.clone().prop_map(Damage::Double),
        (at.clone(), at.clone()).prop_map(|(a, b)| Damage::Swap(a, b)),
        (at.clone(), 0..40_usize, value())
            .prop_map(|(event, leaf, value)| { Damage::Change(event, leaf, value) }),
        (0..4_000_usize).prop_map(Damage::Cut),
        (0..4_000_usize, prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(at, bytes)| Damage::Bytes(at, bytes)),
    ]
}

/// Puts `new` at the place of this number, counted through the whole value.
fn change(value: &mut Value, left: &mut usize, new: &Value) {
    if *left == 0 {
        *value = new.clone();
    }
    *left = left.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, left, new)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(_, field)| change(field, left, new)),
        _ => {}
    }
}

fn damaged(stream: &str, damages: &[Damage]) -> Vec<u8> {
    let mut events: Vec<String> = stream.split_inclusive("\n\n").map(str::to_owned).collect();
    let mut bytes_later = Vec::new();
    for damage in damages {
        let count = events.len().max(1);
        match damage {
            _ if events.is_empty() => {}
            Damage::Drop(at) => {
                events.remove(at % count);
            }
            Damage::Double(at) => events.insert(at % count, events[at % count].clone()),
            Damage::Swap(a, b) => events.swap(a % count, b % count),
            Damage::Change(at, leaf, new) => {
                let event = &mut events[at % count];
                let Some((head, data)) = event.split_once("data: ") else {
                    continue;
                };
                if let Ok(mut data) = serde_json::from_str::<Value>(data.trim()) {
                    change(&mut data, &mut leaf.clone(), new);
                    *event = format!("{head}data: {data}\n\n");
                }
            }
            Damage::Cut(_) | Damage::Bytes(..) => bytes_later.push(damage),
        }
    }
    let mut bytes = events.concat().into_bytes();
    for damage in bytes_later {
        match damage {
            Damage::Cut(at) => bytes.truncate(*at),
            Damage::Bytes(at, new) => {
                let at = at % (bytes.len() + 1);
                let end = (at + new.len()).min(bytes.len());
                bytes.splice(at..end, new.iter().copied());
            }
            _ => {}
        }
    }
    bytes
}

/// What everybody who takes an answer relies on.
fn check(answer: &Answer) {
    let mut ids = HashSet::new();
    for block in &answer.blocks {
        match block {
            Block::ToolUse { id, name, input } => {
                assert!(ids.insert(id.clone()), "{id} twice");
                for word in [id, name] {
                    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                    assert!(!word.is_empty() && word.chars().all(plain), "{word:?}");
                }
                assert!(input.is_object() || input.is_string(), "{input}");
            }
            Block::Text { text } => assert!(!text.is_empty()),
            Block::Thinking { provider, .. } => assert!(provider.ends_with(":m")),
            Block::ToolResult { .. } => panic!("a model has no results to give"),
        }
    }
    match answer.stop {
        Stop::ToolUse => assert!(!ids.is_empty()),
        Stop::EndTurn | Stop::Refusal => assert!(ids.is_empty()),
        Stop::MaxTokens => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_or_an_error(
        kind in 0..KINDS.len(),
        damages in prop::collection::vec(damage(), 0..4),
    ) {
        let kind = KINDS[kind];
        let bytes = damaged(&rich(kind), &damages);
        let reply = Reply::acts(vec![scripted::Act::Send(bytes)]);
        let server = Scripted::start(vec![reply; 8]);
        let asked = Asked::new(kind, &base(kind, &server), "");
        match asked.ask(&[Message::text(Role::User, "hello")]) {
            Ok(answer) => check(&answer),
            Err(error) => {
                let (said, _) = told(Err(error));
                prop_assert_ne!(said, "cancelled");
            }
        }
        if damages.is_empty() {
            prop_assert_eq!(server.requests().len(), 1);
        }
    }
}
