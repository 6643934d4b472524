//! What questions become.

use super::*;
use crate::conversation::ToolSpec;

const OWN: &str = "anthropic:m";

fn settings() -> Settings {
    Settings {
        model: "m".to_owned(),
        max_output_tokens: 8_000,
        effort: None,
        thinking_tokens: None,
    }
}

fn thought(provider: &str) -> Block {
    Block::Thinking {
        text: "hm".to_owned(),
        signature: Some("sig".to_owned()),
        provider: provider.to_owned(),
        raw: None,
    }
}

fn call(id: &str) -> Block {
    Block::ToolUse {
        id: id.to_owned(),
        name: "Read".to_owned(),
        input: json!({"path": "a"}),
    }
}

fn result(id: &str) -> Block {
    Block::ToolResult {
        id: id.to_owned(),
        content: String::new(),
        is_error: true,
    }
}

fn assistant(blocks: Vec<Block>) -> Message {
    Message {
        role: Role::Assistant,
        blocks,
    }
}

fn user(blocks: Vec<Block>) -> Message {
    Message {
        role: Role::User,
        blocks,
    }
}

fn ask(messages: &[Message], choice: ToolChoice, settings: &Settings) -> Value {
    let tools = [ToolSpec {
        name: "Read".to_owned(),
        description: "reads".to_owned(),
        input_schema: json!({"type": "object"}),
    }];
    let question = Question {
        system: "be good",
        messages,
        tools: &tools,
        tool_choice: choice,
        max_output_tokens: 20_000,
    };
    body(&question, settings, OWN)
}

fn turns(provider: &str) -> Vec<Message> {
    vec![
        Message::text(Role::User, "go"),
        assistant(vec![thought(provider), call("a"), call("b")]),
        user(vec![
            Block::Text {
                text: "hurry".to_owned(),
            },
            result("a"),
            result("b"),
        ]),
    ]
}

#[test]
fn a_conversation_is_said_whole() {
    let cache = json!({"type": "ephemeral"});
    assert_eq!(
        ask(&turns(OWN), ToolChoice::Auto, &settings()),
        json!({
            "model": "m",
            "max_tokens": 8_000,
            "stream": true,
            "system": [{"type": "text", "text": "be good", "cache_control": cache}],
            "tools": [{
                "name": "Read", "description": "reads",
                "input_schema": {"type": "object"}, "cache_control": cache,
            }],
            "tool_choice": {"type": "auto"},
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "go", "cache_control": cache},
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "a", "name": "Read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "b", "name": "Read", "input": {"path": "a"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "(no output)", "is_error": true},
                    {"type": "tool_result", "tool_use_id": "b", "content": "(no output)", "is_error": true},
                    {"type": "text", "text": "hurry", "cache_control": cache},
                ]},
            ],
        })
    );
}

#[test]
fn there_are_never_more_than_four_breakpoints() {
    let mut messages = Vec::new();
    for _ in 0..10 {
        messages.extend(turns(OWN));
    }
    let text = ask(&messages, ToolChoice::Auto, &settings()).to_string();
    assert_eq!(text.matches("cache_control").count(), 4);
}

#[test]
fn thinking_of_others_stays_away() {
    let body = ask(&turns("openai:x"), ToolChoice::Auto, &settings());
    assert!(!body.to_string().contains("thinking"), "{body}");
    let alone = [
        Message::text(Role::User, "go"),
        assistant(vec![thought("openai:x")]),
        Message::text(Role::User, "on"),
    ];
    let body = ask(&alone, ToolChoice::Auto, &settings());
    assert_eq!(body["messages"].as_array().map(Vec::len), Some(2));
}

#[test]
fn thinking_is_asked_for_where_the_api_allows_it() {
    let effort = Settings {
        effort: Some("high"),
        ..settings()
    };
    let tokens = Settings {
        thinking_tokens: Some(10_000),
        ..settings()
    };
    let body = ask(&turns(OWN), ToolChoice::Auto, &effort);
    assert_eq!(body["thinking"], json!({"type": "adaptive"}));
    assert_eq!(body["output_config"], json!({"effort": "high"}));
    let body = ask(&turns(OWN), ToolChoice::Auto, &tokens);
    assert_eq!(
        body["thinking"],
        json!({"type": "enabled", "budget_tokens": 7_999})
    );
    // A turn that another model began, and a tool that must be called.
    let begun = ask(&turns("openai:x"), ToolChoice::Auto, &tokens);
    assert_eq!(begun.get("thinking"), None);
    let forced = ask(&turns(OWN), ToolChoice::Tool("Read".to_owned()), &tokens);
    assert!(!forced.to_string().contains("thinking"), "{forced}");
    assert_eq!(
        forced["tool_choice"],
        json!({"type": "tool", "name": "Read"})
    );
}

#[test]
fn what_the_model_got_wrong_goes_back_in_an_object() {
    let wrong = Block::ToolUse {
        id: "a".to_owned(),
        name: "Read".to_owned(),
        input: json!("{\"pa"),
    };
    let messages = [
        Message::text(Role::User, "go"),
        assistant(vec![wrong]),
        user(vec![result("a")]),
    ];
    let body = ask(&messages, ToolChoice::None, &settings());
    assert_eq!(
        body["messages"][1]["content"][0]["input"],
        json!({"malformed_input": "{\"pa"})
    );
}
