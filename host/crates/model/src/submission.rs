//! What a model submits in the end: calls of a tool whose input is checked strictly. Prose
//! is none.

use crate::catalog::typed;
use crate::conversation::ToolSpec;
use serde::Deserialize;
use serde_json::{Value, json};

/// Most bytes of a text of an answer.
const TEXT: usize = 32 * 1024;
/// Most entries of a list of an answer.
const ENTRIES: usize = 64;
/// Most bytes of an entry.
const NAME: usize = 1024;

/// A model's diagnosis: claims.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmittedDiagnosis {
    /// Whether a cause was found.
    #[serde(default = "yes")]
    pub(crate) found: bool,
    pub(crate) root_cause: String,
    pub(crate) confidence: f64,
    pub(crate) affected_files: Vec<String>,
    pub(crate) affected_services: Vec<String>,
    pub(crate) suggested_fix: String,
    pub(crate) reproduction: Option<String>,
}

fn yes() -> bool {
    true
}

/// What a model says of its patch: claims.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmittedPatch {
    pub(crate) rationale: String,
    pub(crate) confidence: f64,
}

pub(crate) const SUBMIT_DIAGNOSIS: &str = "submit_diagnosis";
pub(crate) const SUBMIT_PATCH: &str = "submit_patch";

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn share(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": 1, "description": description })
}

fn list(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "maxItems": ENTRIES, "description": description })
}

pub(crate) fn diagnosis_spec(services: &[String]) -> ToolSpec {
    let mut services_schema = list("Services that must be restarted for the fix; empty if none");
    if let (false, Some(schema)) = (services.is_empty(), services_schema.as_object_mut()) {
        schema.insert("items".to_owned(), json!({ "enum": services }));
    }
    ToolSpec {
        name: SUBMIT_DIAGNOSIS.to_owned(),
        description: "Ends the diagnosis with its result.".to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "found": { "type": "boolean", "description": "False when no cause was found; root_cause then says what was looked at" },
                "root_cause": text("What is wrong, where, and why that makes the problem happen; in plain words"),
                "confidence": share("How sure you are, 0 to 1"),
                "affected_files": list("Files that have to change, relative to the workspace"),
                "affected_services": services_schema,
                "suggested_fix": text("What to change, in plain words or as a diff"),
                "reproduction": text("A shell command that fails because of the bug and succeeds once it is fixed, if there is one"),
            },
            "required": ["root_cause", "confidence", "affected_files", "affected_services", "suggested_fix"],
            "additionalProperties": false,
        }),
    }
}

pub(crate) fn patch_spec() -> ToolSpec {
    ToolSpec {
        name: SUBMIT_PATCH.to_owned(),
        description: "Ends the work on the patch that is in the worktree.".to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "rationale": text("Why this change removes the cause; first sentence in at most 60 characters"),
                "confidence": share("How sure you are that it does, 0 to 1"),
            },
            "required": ["rationale", "confidence"],
            "additionalProperties": false,
        }),
    }
}

/// The diagnosis in a call's input, or what is wrong with it.
pub(crate) fn diagnosis(
    input: &Value,
    services: &[String],
    workspace: &str,
) -> Result<SubmittedDiagnosis, String> {
    let mut answer: SubmittedDiagnosis = typed(SUBMIT_DIAGNOSIS, input)?;
    check_text("root_cause", &answer.root_cause, true)?;
    check_text("suggested_fix", &answer.suggested_fix, answer.found)?;
    check_share(answer.confidence)?;
    check_list("affected_files", &answer.affected_files)?;
    check_list("affected_services", &answer.affected_services)?;
    let root = format!("{}/", workspace.trim_end_matches('/'));
    for file in &mut answer.affected_files {
        let path = file.strip_prefix(&root).unwrap_or(file);
        let path = path.strip_prefix("./").unwrap_or(path);
        if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!(
                "affected_files: {file:?} is not a path in the workspace {workspace}"
            ));
        }
        *file = path.to_owned();
    }
    if let Some(unknown) = answer
        .affected_services
        .iter()
        .find(|name| !services.contains(name))
    {
        let known = if services.is_empty() {
            "none; leave the list empty".to_owned()
        } else {
            services.join(", ")
        };
        return Err(format!(
            "affected_services: there is no service {unknown:?}; there are: {known}"
        ));
    }
    answer.reproduction = answer
        .reproduction
        .filter(|command| !command.trim().is_empty());
    if let Some(command) = &answer.reproduction {
        check_text("reproduction", command, true)?;
    }
    Ok(answer)
}

/// The patch's description in a call's input, or what is wrong with it.
pub(crate) fn patch(input: &Value) -> Result<SubmittedPatch, String> {
    let answer: SubmittedPatch = typed(SUBMIT_PATCH, input)?;
    check_text("rationale", &answer.rationale, true)?;
    check_share(answer.confidence)?;
    Ok(answer)
}

fn check_text(name: &str, text: &str, needed: bool) -> Result<(), String> {
    if needed && text.trim().is_empty() {
        return Err(format!("{name} is empty"));
    }
    if text.len() > TEXT {
        return Err(format!("{name} has more than {TEXT} bytes"));
    }
    Ok(())
}

fn check_share(claim: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&claim) {
        Ok(())
    } else {
        Err(format!("confidence is {claim}; it must be from 0 to 1"))
    }
}

fn check_list(name: &str, list: &[String]) -> Result<(), String> {
    if list.len() > ENTRIES {
        return Err(format!("{name} has more than {ENTRIES} entries"));
    }
    if list.iter().any(|entry| entry.len() > NAME) {
        return Err(format!("{name} has an entry of more than {NAME} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Value {
        json!({
            "found": true, "root_cause": "off by one", "confidence": 0.9,
            "affected_files": ["/srv/shop/cart.py", "./lib/a.py"], "affected_services": ["web"],
            "suggested_fix": "use >=", "reproduction": "pytest",
        })
    }

    #[test]
    fn the_schema_and_what_is_taken_agree() {
        let services = ["web".to_owned()];
        let spec = diagnosis_spec(&services);
        let schema = |key: &str| spec.input_schema[key].clone();
        for key in schema("properties").as_object().unwrap().keys() {
            let mut input = full();
            input.as_object_mut().unwrap().remove(key);
            let required = schema("required").as_array().unwrap().contains(&json!(key));
            assert_eq!(
                diagnosis(&input, &services, "/srv/shop").is_err(),
                required,
                "{key}"
            );
        }
        let taken = diagnosis(&full(), &services, "/srv/shop").unwrap();
        assert_eq!(taken.affected_files, ["cart.py", "lib/a.py"]);
    }

    #[test]
    fn wrong_answers_say_what_is_wrong() {
        let services = ["web".to_owned()];
        for (key, value, expected) in [
            ("confidence", json!(1.5), "from 0 to 1"),
            ("confidence", json!("high"), "invalid type"),
            ("root_cause", json!(" "), "root_cause is empty"),
            ("affected_services", json!(["db"]), "there are: web"),
            ("affected_files", json!(["/etc/passwd"]), "not a path"),
            ("affected_files", json!(["a/../../b"]), "not a path"),
            ("affected_files", json!("cart.py"), "invalid type"),
            ("grade", json!("A"), "unknown field `grade`"),
            ("suggested_fix", json!("x".repeat(TEXT + 1)), "more than"),
        ] {
            let mut input = full();
            input[key] = value;
            let error = diagnosis(&input, &services, "/srv/shop").unwrap_err();
            assert!(error.contains(expected), "{key}: {error}");
        }
        assert!(patch(&json!({"rationale": "", "confidence": 1})).is_err());
        assert!(patch(&json!({"rationale": "x", "confidence": 1, "risk": 0})).is_err());
        assert!(patch(&json!({"rationale": "x", "confidence": 1})).is_ok());
    }
}
