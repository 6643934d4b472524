//! Examples of what is answered, made from the schemas: what they name as an example, and
//! the first thing that fits where they name none.

use serde_json::{Map, Value, json};

/// Deepest nesting of an example.
const MOST_DEEP: usize = 12;

/// Something that the schema accepts.
pub(super) fn sample(schema: &Value, schemas: &Map<String, Value>) -> Value {
    within(schema, schemas, MOST_DEEP)
}

fn within(schema: &Value, schemas: &Map<String, Value>, deep: usize) -> Value {
    if let Some(named) = schema.get("$ref").and_then(Value::as_str) {
        let found = schemas.get(named.rsplit('/').next().unwrap_or_default());
        return match (found, deep.checked_sub(1)) {
            (Some(found), Some(deep)) => within(found, schemas, deep),
            _ => Value::Null,
        };
    }
    for word in ["example", "const", "default"] {
        if let Some(value) = schema.get(word) {
            return value.clone();
        }
    }
    for word in ["enum", "examples"] {
        if let Some(value) = schema.pointer(&format!("/{word}/0")) {
            return value.clone();
        }
    }
    for word in ["oneOf", "anyOf"] {
        let choices = schema.get(word).and_then(Value::as_array);
        let some = |choice: &&Value| choice.get("type").is_none_or(|kind| kind != "null");
        if let Some(choice) = choices.and_then(|choices| choices.iter().find(some)) {
            return within(choice, schemas, deep);
        }
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(part) = within(part, schemas, deep) {
                whole.extend(part);
            }
        }
        return Value::Object(whole);
    }
    plain(schema, schemas, deep)
}

fn plain(schema: &Value, schemas: &Map<String, Value>, deep: usize) -> Value {
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null"),
        kind => kind,
    };
    match kind.and_then(Value::as_str).unwrap_or("object") {
        "string" => text(schema),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => json!(0.5),
        "boolean" => json!(true),
        "array" => {
            let items = schema.get("items");
            let one = items.zip(deep.checked_sub(1));
            let one = one.map(|(items, deep)| within(items, schemas, deep));
            Value::Array(one.filter(|one| !one.is_null()).into_iter().collect())
        }
        "null" => Value::Null,
        _ => object(schema, schemas, deep),
    }
}

fn text(schema: &Value) -> Value {
    json!(match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-03-01T09:30:00Z",
        Some("uuid") => "0195500c-1f40-7000-8000-000000000001",
        Some("uri-reference") => "/api/v1/issues/42",
        _ => "text",
    })
}

/// What is required, and what has an example of its own.
fn object(schema: &Value, schemas: &Map<String, Value>, deep: usize) -> Value {
    let required = schema.get("required").and_then(Value::as_array);
    let required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let fields = schema.get("properties").and_then(Value::as_object);
    let Some(deep) = deep.checked_sub(1) else {
        return json!({});
    };
    let fields = fields.into_iter().flatten();
    let fields = fields
        .filter(|(name, field)| required(name) || field.get("example").is_some())
        .map(|(name, field)| (name.clone(), within(field, schemas, deep)));
    Value::Object(fields.collect())
}
