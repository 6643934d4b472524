//! What requests may hold, by the constants that the code checks them with. Schemas of
//! requests are as strict as the code, but for four rules that JSON Schema has no words for:
//!
//! - texts are bounded in bytes (64 KiB), `maxLength` counts characters;
//! - the autonomy level ends at the ceiling of `policy.toml`, which may change at any time;
//! - a query has a grammar, and a snooze ends in time to come;
//! - a candidate `policy.toml`, and the settings of a module, mean what the modules say.
//!
//! Whoever breaks one of them gets a 422, as for any other wrong field.

use crate::handlers::policies::MOST_DECISIONS;
use crate::secrets::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS};
use selfheal_domain::policy_control::LONGEST_GRANT_MINUTES;
use selfheal_domain::query::MAX_CHARS;
use selfheal_domain::report::{MAX_TEXT_BYTES, MAX_TITLE_CHARS};
use selfheal_domain::token::{INITIAL_TOKEN, MAX_TOKEN_DAYS, MAX_TOKEN_NAME};
use selfheal_domain::view::MAX_NAME_CHARS;
use serde_json::{Map, Value, json};

/// A text that is not blank, as [`selfheal_domain::report::check_text`] has it: white space
/// is Unicode's, which is not what every dialect's `\s` is.
const TEXT: &str = r"^[^\x00]*[^\x00\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00]*$";
/// The same on one line.
const LINE: &str = r"^[^\x00\r\n]*[^\x00\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00\r\n]*$";
/// A text that may be blank.
const OPTIONAL: &str = r"^[^\x00]*$";
/// A name of a token or a view: nothing that controls a terminal in it, white space around it or not.
const TOKEN: &str = r"^[\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?[\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$";
/// As [`selfheal_domain::user::UserName`] has it.
pub(super) const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
const DIGEST: &str = "^[0-9a-fA-F]{64}$";
const RULE: &str = "^[a-z0-9._-]{1,64}$";
/// A position in the log, as its lists hand it out.
pub(super) const POSITION: &str = "^(0|[1-9][0-9]{0,18})$";
/// A place in the list of issues, whose last four bytes are a checksum; with a time in it
/// where the list is in the order of changes.
pub(super) const ISSUE_CURSOR: &str = "^[0-9a-f]{26}([0-9a-f]{16})?$";

fn bound(schema: &str, field: &str) -> Option<Value> {
    // Patterns stand apart from lengths: what makes test data of both at once takes seconds
    // for each text.
    let text = json!({
        "minLength": 1, "maxLength": MAX_TEXT_BYTES, "allOf": [{ "pattern": TEXT }]
    });
    let line = json!({
        "minLength": 1, "maxLength": MAX_TITLE_CHARS, "allOf": [{ "pattern": LINE }]
    });
    let optional = json!({ "maxLength": MAX_TEXT_BYTES, "allOf": [{ "pattern": OPTIONAL }] });
    let pattern = |pattern: &str| json!({ "pattern": pattern });
    Some(match (schema, field) {
        ("ReportRequest", "title") => line,
        ("ReportRequest", "description") | ("CommentRequest", "content") | (_, "reason") => text,
        (
            "ReportRequest",
            "stepsToReproduce" | "expectedBehavior" | "actualBehavior" | "service" | "fingerprint",
        ) => optional,
        ("TokenRequest", "name") => json!({
            "minLength": 1, "maxLength": MAX_TOKEN_NAME,
            "allOf": [{ "pattern": TOKEN }, { "not": { "const": INITIAL_TOKEN } }]
        }),
        ("TokenRequest", "scopes") => json!({ "minItems": 1 }),
        ("TokenRequest", "expiresInDays") => json!({ "maximum": MAX_TOKEN_DAYS }),
        ("SavedViewRequest", "query") => json!({ "maxLength": MAX_CHARS }),
        ("PatchApprovalRequest", "patchDigest") => pattern(DIGEST),
        ("UserRequest", "name") => pattern(NAME),
        ("UserRequest" | "PasswordRequest", "password") | ("OwnPasswordRequest", "newPassword") => {
            json!({ "minLength": MIN_PASSWORD_CHARS, "maxLength": MAX_PASSWORD_BYTES })
        }
        ("PolicyGrantRequest", "rule") => pattern(RULE),
        ("PolicyGrantRequest", "minutes") => json!({ "maximum": LONGEST_GRANT_MINUTES }),
        ("PolicyGrantRequest", "issue") | ("PolicyRollbackRequest", "generation") => {
            json!({ "maximum": u64::MAX })
        }
        ("PolicyPlanRequest", "decisions") => json!({ "maximum": MOST_DECISIONS }),
        ("ModuleEditRequest", "kind") => json!({ "enum": ["guardrail", "risk", "autonomy", null] }),
        ("ModuleEditRequest", "mode") => json!({ "enum": ["enforce", "shadow", "off", null] }),
        _ => return None,
    })
}

/// A name of a view, as in its path.
pub(super) fn view_name() -> Value {
    let pattern = json!([{ "pattern": TOKEN }]);
    json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS, "allOf": pattern })
}

/// What holds between the fields of a request.
fn rule(schema: &str) -> Option<Value> {
    let given = |field: &str| {
        let of_a_kind = json!({ "not": { "type": "null" } });
        json!({ "required": [field], "properties": { field: of_a_kind } })
    };
    let candidate = json!({ "anyOf": [
        { "required": ["text"], "properties": { "text": { "type": "string" }, "edits": { "type": "null" } } },
        {
            "required": ["edits"],
            "properties": {
                "edits": {
                    "type": "array", "minItems": 1,
                    "items": { "$ref": "#/components/schemas/ModuleEditRequest" }
                },
                "text": { "type": "null" }
            }
        }
    ] });
    let rollout = json!({ "anyOf": [
        {
            "required": ["rollout", "percent"],
            "properties": { "rollout": { "const": "canary" }, "percent": { "type": "integer" } }
        },
        {
            "properties": {
                "rollout": { "enum": ["full", "shadow", null] }, "percent": { "type": "null" }
            }
        }
    ] });
    Some(match schema {
        "TriageRequest" => json!({ "anyOf": [given("priority"), given("severity")] }),
        "PolicyPlanRequest" | "PolicyExplanationRequest" => candidate,
        "PolicyActivationRequest" => json!({ "allOf": [candidate, rollout] }),
        "ModuleEditRequest" => json!({ "additionalProperties": false }),
        _ => return None,
    })
}

/// Puts the bounds into the schemas of requests.
pub(super) fn tighten(schemas: &mut Map<String, Value>) {
    for (name, schema) in schemas {
        if !name.ends_with("Request") {
            continue;
        }
        let Some(schema) = schema.as_object_mut() else {
            continue;
        };
        if let Some(Value::Object(rule)) = rule(name) {
            schema.extend(rule);
        }
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (field, value) in fields.into_iter().flatten() {
            if let (Some(value), Some(Value::Object(bound))) =
                (value.as_object_mut(), bound(name, field))
            {
                value.extend(bound);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_domain::issue::Source;
    use selfheal_domain::report::{Report, ReportDraft, check_text};
    use selfheal_domain::user::{TrustClass, UserName};

    /// Every character that some dialect of `\s` counts, and neighbours that none does.
    fn samples() -> Vec<String> {
        let odd = [
            '\0', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{1c}', '\u{1f}', ' ', '!', '\u{7f}',
            '\u{84}', '\u{85}', '\u{86}', '\u{a0}', '\u{180e}', '\u{1680}', '\u{2000}', '\u{200a}',
            '\u{200b}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{feff}',
            '😀',
        ];
        let mut samples = vec![String::new()];
        for c in odd {
            samples.extend([
                format!("{c}"),
                format!("x{c}"),
                format!("{c}{c}x"),
                format!(" {c}\n"),
            ]);
        }
        samples
    }

    #[test]
    fn patterns_say_what_the_code_checks() {
        let fits = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        for text in samples() {
            let mut errors = Vec::new();
            check_text("t", &text, &mut errors);
            assert_eq!(fits(TEXT, &text), errors.is_empty(), "{text:?}");
            let report = |title: &str, steps: Option<String>| {
                let draft = ReportDraft {
                    title: title.to_owned(),
                    description: "d".to_owned(),
                    steps_to_reproduce: steps,
                    ..ReportDraft::default()
                };
                Report::parse(draft, Source::Api, TrustClass::Member).is_ok()
            };
            assert_eq!(fits(LINE, &text), report(&text, None), "{text:?}");
            // A blank one counts as none, unless it holds what no text may.
            let steps = report("t", Some(text.clone()));
            assert!(!fits(OPTIONAL, &text) || steps, "{text:?}");
            assert_eq!(
                fits(NAME, &text),
                UserName::new(text.clone()).is_ok(),
                "{text:?}"
            );
        }
        for name in [
            "a",
            "ada",
            ".a",
            "A",
            "a-_.9",
            "a b",
            &"a".repeat(64),
            &"a".repeat(65),
        ] {
            assert_eq!(fits(NAME, name), UserName::new(name).is_ok(), "{name:?}");
        }
    }

    /// A text without a bound would be a promise that the code does not keep.
    #[test]
    fn every_text_of_a_request_has_a_bound() {
        let document = crate::openapi_document("1");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        // These are bounded by the body alone.
        let by_body = [
            ("LogInRequest", "username"),
            ("LogInRequest", "password"),
            ("OwnPasswordRequest", "oldPassword"),
            ("ModuleEditRequest", "name"),
            ("ModuleEditRequest", "source"),
            ("PolicyPlanRequest", "text"),
            ("PolicyActivationRequest", "text"),
            ("PolicyExplanationRequest", "text"),
        ];
        for (name, schema) in schemas {
            if !name.ends_with("Request") || name == "HookRequest" {
                continue;
            }
            if name != "EmptyRequest" {
                assert_eq!(schema["additionalProperties"], false, "{name}");
            }
            for (field, value) in schema["properties"].as_object().into_iter().flatten() {
                let kinds = value["type"].to_string();
                let bounded = ["maxLength", "pattern", "enum", "format"]
                    .map(|word| value.get(word).is_some());
                let exempt = by_body.contains(&(name.as_str(), field.as_str()));
                assert!(
                    exempt || !kinds.contains("string") || bounded.contains(&true),
                    "{name}.{field}"
                );
                let bounded = value.get("maximum").is_some() && value.get("minimum").is_some();
                assert!(!kinds.contains("integer") || bounded, "{name}.{field}");
            }
        }
    }
}
