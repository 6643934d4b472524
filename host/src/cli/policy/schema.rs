//! JSON Schema as modules use it for their settings: is a schema one, and do settings
//! fit it? Understands the keywords in [`KEYWORDS`]; the module's own `configure` has
//! the last word on everything else.

use serde_json::{Map, Value};

/// What is understood.
const KEYWORDS: [&str; 14] = [
    "$schema",
    "title",
    "description",
    "default",
    "examples",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "minimum",
    "maximum",
    "maxItems",
];
const TYPES: [&str; 7] = [
    "object", "array", "string", "integer", "number", "boolean", "null",
];

/// What is wrong with a schema of settings, and which of its keywords are not looked
/// at by [`violations`].
pub(crate) fn review(text: &str) -> (Vec<String>, Vec<String>) {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Err(error) => problems.push(format!("the settings schema is not JSON: {error}")),
        Ok(Value::Object(schema)) => {
            if schema.get("type").and_then(Value::as_str) != Some("object") {
                problems.push(
                    "the settings schema has no `\"type\": \"object\"`: settings are a table"
                        .to_owned(),
                );
            }
            if !schema.contains_key("additionalProperties") {
                notes.push("the settings schema does not say `\"additionalProperties\": false`: editors will not find misspelt settings".to_owned());
            }
            look(&schema, "settings", &mut problems, &mut notes);
        }
        Ok(_) => problems.push("the settings schema is no JSON object".to_owned()),
    }
    (problems, notes)
}

fn look(
    schema: &Map<String, Value>,
    at: &str,
    problems: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    for key in schema
        .keys()
        .filter(|key| !KEYWORDS.contains(&key.as_str()))
    {
        notes.push(format!("{at}: keyword `{key}` is not checked here"));
    }
    let names: Vec<&Value> = match schema.get("type") {
        None => Vec::new(),
        Some(Value::Array(several)) => several.iter().collect(),
        Some(one) => vec![one],
    };
    for name in names {
        if !name.as_str().is_some_and(|name| TYPES.contains(&name)) {
            problems.push(format!(
                "{at}: `type` is one of {}, got {name}",
                TYPES.join(", ")
            ));
        }
    }
    let mut inside = |value: &Value, at: String| match value {
        Value::Object(schema) => look(schema, &at, problems, notes),
        Value::Bool(_) => {}
        other => problems.push(format!("{at}: a schema is an object, got {other}")),
    };
    match schema.get("properties") {
        Some(Value::Object(properties)) => {
            for (name, value) in properties {
                inside(value, format!("{at}.{name}"));
            }
        }
        Some(other) => inside(
            &Value::String(other.to_string()),
            format!("{at}.properties"),
        ),
        None => {}
    }
    if let Some(items) = schema.get("items") {
        inside(items, format!("{at}[]"));
    }
    if let Some(others) = schema.get("additionalProperties") {
        inside(others, format!("{at}.*"));
    }
}

/// Where settings do not fit a schema; nothing if the schema is none.
pub(crate) fn violations(schema: &str, settings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(schema) = serde_json::from_str(schema) {
        fits(&schema, settings, "settings", &mut found);
    }
    found
}

fn fits(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(schema) = schema else {
        if *schema == Value::Bool(false) {
            found.push(format!("{at} may not be there"));
        }
        return;
    };
    let allowed: Vec<&str> = match schema.get("type") {
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    if !allowed.is_empty() && !allowed.iter().any(|name| is_a(name, value)) {
        found.push(format!("{at} is a {}, got {value}", allowed.join(" or ")));
        return;
    }
    if let Some(Value::Array(choices)) = schema.get("enum")
        && !choices.contains(value)
    {
        let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
        found.push(format!(
            "{at} is one of {}, got {value}",
            choices.join(", ")
        ));
    }
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(number) = value.as_f64() {
        if bound("minimum").is_some_and(|least| number < least) {
            found.push(format!("{at} is less than its minimum"));
        }
        if bound("maximum").is_some_and(|most| number > most) {
            found.push(format!("{at} is more than its maximum"));
        }
    }
    if let Some(items) = value.as_array() {
        if bound("maxItems").is_some_and(|most| items.len() as f64 > most) {
            found.push(format!("{at} has too many items"));
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                fits(schema, item, &format!("{at}[{index}]"), found);
            }
        }
    }
    if let Some(fields) = value.as_object() {
        let properties = schema.get("properties").and_then(Value::as_object);
        for required in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if required
                .as_str()
                .is_some_and(|name| !fields.contains_key(name))
            {
                found.push(format!("{at} lacks {required}"));
            }
        }
        for (name, field) in fields {
            let at = format!("{at}.{name}");
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => fits(schema, field, &at, found),
                None => match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => {
                        let known: Vec<&str> = properties
                            .map(|properties| properties.keys().map(String::as_str).collect())
                            .unwrap_or_default();
                        found.push(format!("{at} is unknown; there are {}", known.join(", ")));
                    }
                    Some(schema) => fits(schema, field, &at, found),
                    None => {}
                },
            }
        }
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "properties": {
        "names": {"type": "array", "items": {"type": "string"}},
        "points": {"type": "integer", "minimum": 0, "maximum": 100},
        "mode": {"enum": ["ask", "deny"]}}}"#;

    #[test]
    fn settings_that_do_not_fit_are_all_named() {
        let settings = json!({"names": ["a", 1], "points": 101, "mode": "allow", "odd": 1});
        let found = violations(SCHEMA, &settings);
        assert_eq!(found.len(), 4, "{found:?}");
        let good = json!({"names": ["a"], "points": 7, "mode": "ask"});
        assert!(violations(SCHEMA, &good).is_empty());
    }

    #[test]
    fn a_schema_that_is_none_is_found() {
        assert!(review(SCHEMA).0.is_empty());
        assert!(review(SCHEMA).1.is_empty());
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"type": "object", "properties": {"a": {"type": "text"}}}"#,
            r#"{"type": "object", "properties": {"a": 1}}"#,
            r#"{"type": "object", "properties": []}"#,
        ] {
            assert!(!review(wrong).0.is_empty(), "{wrong}");
        }
        let (_, notes) =
            review(r#"{"type": "object", "additionalProperties": false, "oneOf": []}"#);
        assert_eq!(notes.len(), 1);
    }
}
