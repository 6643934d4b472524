//! What a model's provider would do by itself: search, fetch, call servers of others. All
//! of it reaches the network from there, with whatever the request holds, so none of it is
//! asked for by what lives in a sandbox without a network.

use serde_json::Value;

/// Tools that the asking side carries out, by their type or the beginning of it.
const OWN: &[&str] = &[
    "apply_patch",
    "bash_",
    "computer",
    "custom",
    "function",
    "local_shell",
    "memory_",
    "namespace",
    "shell",
    "text_editor_",
    "tool_search",
];

/// Fields with which a provider reaches servers or runs code by itself.
const REACHING: &[&str] = &["container", "mcp_servers", "web_search_options"];

/// Fields whose address a provider fetches.
const FETCHED: &[&str] = &["file_url", "image_url"];

/// Takes out of a request what the provider would do by itself.
///
/// # Errors
/// What cannot be taken out: content that the provider would have to fetch.
pub(super) fn keep_own(request: &mut Value) -> Result<(), String> {
    let Some(fields) = request.as_object_mut() else {
        return Ok(());
    };
    for name in REACHING {
        fields.remove(*name);
    }
    if let Some(Value::Array(tools)) = fields.get_mut("tools") {
        tools.retain(is_own);
    }
    let fetched = fields
        .iter()
        .filter(|(name, _)| *name != "tools")
        .any(|(name, value)| fetches(name, value, 0));
    if fetched {
        return Err(
            "content by address is not sent on: the model's provider would fetch it".to_owned(),
        );
    }
    Ok(())
}

fn is_own(tool: &Value) -> bool {
    // A shell or a group of tools may be the provider's by what is in it.
    let elsewhere = tool
        .pointer("/environment/type")
        .is_some_and(|place| place != "local");
    let inner = tool.get("tools").and_then(Value::as_array);
    if elsewhere || !inner.into_iter().flatten().all(is_own) {
        return false;
    }
    match tool.get("type") {
        None | Some(Value::Null) => true,
        Some(Value::String(kind)) => OWN.iter().any(|own| kind.starts_with(own)),
        Some(_) => false,
    }
}

fn fetches(name: &str, value: &Value, depth: u32) -> bool {
    let is_address = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| !text.trim_start().to_ascii_lowercase().starts_with("data:"))
    };
    if depth > 128 {
        return true;
    }
    if FETCHED.contains(&name) {
        return is_address(value) || value.get("url").is_some_and(is_address);
    }
    match value {
        Value::Array(items) => items.iter().any(|item| fetches("", item, depth + 1)),
        Value::Object(fields) => {
            let source = fields.get("type").and_then(Value::as_str) == Some("url")
                && fields.contains_key("url");
            source
                || fields
                    .iter()
                    // What a model asked for and what a tool takes are its own words.
                    .filter(|(name, _)| {
                        !matches!(name.as_str(), "input" | "arguments") || depth == 0
                    })
                    .any(|(name, value)| fetches(name, value, depth + 1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_provider_would_do_by_itself_is_taken_out() {
        let mut request = json!({
            "model": "m",
            "mcp_servers": [{"type": "url", "url": "https://evil.example"}],
            "container": {"skills": []},
            "web_search_options": {},
            "tools": [
                {"name": "Bash", "input_schema": {"properties": {"image_url": {"type": "string"}}}},
                {"type": "function", "name": "shell"},
                {"type": "web_fetch_20250910", "name": "web_fetch"},
                {"type": "web_search", "external_web_access": false},
                {"type": "mcp", "server_url": "https://evil.example"},
                {"type": "code_interpreter"},
                {"type": "shell", "environment": {"type": "container_auto"}},
                {"type": "namespace", "tools": [{"type": "web_search"}]},
                {"type": 7},
            ],
        });
        keep_own(&mut request).expect("kept");
        let names: Vec<&Value> = request["tools"]
            .as_array()
            .expect("tools")
            .iter()
            .map(|tool| &tool["name"])
            .collect();
        assert_eq!(names, ["Bash", "shell"]);
        assert_eq!(request.as_object().expect("object").len(), 2);
    }

    #[test]
    fn content_by_address_does_not_go_on() {
        for content in [
            json!({"type": "image", "source": {"type": "url", "url": "https://evil.example/?x"}}),
            json!({"type": "image_url", "image_url": {"url": "https://evil.example/?x"}}),
            json!({"type": "input_image", "image_url": " HTTPS://evil.example/?x"}),
            json!({"type": "input_file", "file_url": "https://evil.example/?x"}),
            json!({"type": "tool_result", "content": [{"source": {"type": "url", "url": "x"}}]}),
        ] {
            for place in ["messages", "input"] {
                let mut request = json!({ place: [{"role": "user", "content": [content]}] });
                assert!(keep_own(&mut request).is_err(), "{request}");
            }
        }
        for content in [
            json!({"type": "image", "source": {"type": "base64", "data": "AA"}}),
            json!({"type": "input_image", "image_url": "data:image/png;base64,AA"}),
            json!({"type": "text", "text": "https://example.org"}),
            json!({"type": "tool_use", "input": {"type": "url", "url": "https://example.org"}}),
        ] {
            let mut request = json!({"messages": [{"role": "user", "content": [content]}]});
            assert!(keep_own(&mut request).is_ok(), "{request}");
        }
    }
}
