//! The structured end of an agent's answer: found in what it wrote, checked, and
//! never believed further than its fields go.

use selfheal_domain::agent::{CheckCommand, DiagnosisBrief};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Longest answer that is searched, in bytes, from its end.
const LONGEST: usize = 256 * 1024;

/// Longest text of one field, in bytes.
const LONGEST_TEXT: usize = 16 * 1024;

/// Most entries of a list.
const MOST_ENTRIES: usize = 100;

/// What a diagnosis says.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiagnosisAnswer {
    /// None: no cause was found.
    pub(crate) root_cause: Option<String>,
    pub(crate) confidence: f64,
    #[serde(default)]
    pub(crate) affected_files: Vec<String>,
    #[serde(default)]
    pub(crate) affected_services: Vec<String>,
    #[serde(default)]
    pub(crate) suggested_fix: String,
    #[serde(default)]
    pub(crate) reproduction: Option<String>,
}

/// What a draft says about itself.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DraftAnswer {
    pub(crate) rationale: String,
    pub(crate) confidence: f64,
}

/// How the agent is told to end a diagnosis.
pub(crate) const DIAGNOSIS_FORM: &str = r#"{"rootCause": "what is wrong and why, in plain words; null if you found no cause",
 "confidence": 0.0 to 1.0,
 "affectedFiles": ["paths relative to the workspace"],
 "affectedServices": ["names of the services listed above, if any"],
 "suggestedFix": "what to change",
 "reproduction": "a shell command that fails now because of the bug and will succeed once it is fixed; null if there is none"}"#;

/// How the agent is told to end a draft.
pub(crate) const DRAFT_FORM: &str = r#"{"rationale": "why the change fixes the root cause, in plain words",
 "confidence": 0.0 to 1.0}"#;

/// The diagnosis at the end of `text`, or what is wrong with it.
pub(crate) fn diagnosis(text: &str) -> Result<DiagnosisAnswer, String> {
    let answer: DiagnosisAnswer = parse(text, "confidence")?;
    confidence(answer.confidence)?;
    if let Some(cause) = &answer.root_cause {
        bounded("rootCause", cause)?;
        if cause.trim().is_empty() {
            return Err("rootCause is empty; write null if you found no cause".to_owned());
        }
    }
    bounded("suggestedFix", &answer.suggested_fix)?;
    if let Some(command) = &answer.reproduction {
        bounded("reproduction", command)?;
    }
    for (name, list) in [
        ("affectedFiles", &answer.affected_files),
        ("affectedServices", &answer.affected_services),
    ] {
        if list.len() > MOST_ENTRIES {
            return Err(format!("{name} has more than {MOST_ENTRIES} entries"));
        }
    }
    if let Some(path) = answer.affected_files.iter().find(|path| {
        path.is_empty()
            || path.len() > 1024
            || path.starts_with('/')
            || path.split('/').any(|part| part == "..")
    }) {
        return Err(format!(
            "affectedFiles: {path:?} is not relative to the workspace"
        ));
    }
    Ok(answer)
}

/// The draft's words at the end of `text`, or what is wrong with them.
pub(crate) fn draft(text: &str) -> Result<DraftAnswer, String> {
    let answer: DraftAnswer = parse(text, "rationale")?;
    confidence(answer.confidence)?;
    bounded("rationale", &answer.rationale)?;
    if answer.rationale.trim().is_empty() {
        return Err("rationale is empty".to_owned());
    }
    Ok(answer)
}

/// The reproduction as a check: one of the brief's own where it says the same.
pub(crate) fn reproduction(
    answer: &DiagnosisAnswer,
    brief: &DiagnosisBrief,
) -> Option<CheckCommand> {
    let command = answer.reproduction.as_deref()?.trim();
    if command.is_empty() {
        return None;
    }
    let known = brief.checks.iter().find(|check| check.command == command);
    let longest = brief.checks.iter().map(|check| check.timeout).max();
    Some(known.cloned().unwrap_or_else(|| CheckCommand {
        command: command.to_owned(),
        directory: String::new(),
        timeout: longest.unwrap_or(Duration::from_secs(120)),
    }))
}

fn confidence(value: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(format!("confidence is {value}, not between 0 and 1"))
    }
}

fn bounded(name: &str, text: &str) -> Result<(), String> {
    if text.len() > LONGEST_TEXT {
        return Err(format!("{name} is longer than {LONGEST_TEXT} bytes"));
    }
    Ok(())
}

/// The last JSON object in a text that has the field `mark`.
fn parse<T: serde::de::DeserializeOwned>(text: &str, mark: &str) -> Result<T, String> {
    let mut start = text.len().saturating_sub(LONGEST);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let text = text.get(start..).unwrap_or_default();
    let mut found = None;
    let mut at = 0;
    let mut tries = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('{')) {
        tries += 1;
        if tries > 500 {
            break;
        }
        let begin = at + next;
        let rest = text.get(begin..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = begin + values.byte_offset().max(1);
                if value.get(mark).is_some() {
                    found = Some(value);
                }
            }
            Some(Err(_)) | None => at = begin + 1,
        }
    }
    let Some(value) = found else {
        return Err(format!("there is no JSON object with {mark:?} in it"));
    };
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_counts_however_it_is_wrapped() {
        let text = "I think {this} is it.\n{\"confidence\": 0.1, \"rootCause\": \"a\"}\nNo, rather:\n```json\n\
                    {\"rootCause\": \"b {x}\", \"confidence\": 0.5, \"affectedFiles\": [\"a.py\"], \"extra\": {\"n\": 1}}\n```\n";
        let answer = diagnosis(text).expect("an answer");
        assert_eq!(answer.root_cause.as_deref(), Some("b {x}"));
        assert_eq!(answer.affected_files, ["a.py"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("done", "no JSON object"),
            (
                "{\"rootCause\": \"a\", \"confidence\": 2}",
                "between 0 and 1",
            ),
            ("{\"rootCause\": \"\", \"confidence\": 1}", "empty"),
            ("{\"rootCause\": 3, \"confidence\": 1}", "invalid type"),
            (
                "{\"rootCause\": \"a\", \"confidence\": 1, \"affectedFiles\": [\"/etc/passwd\"]}",
                "relative",
            ),
        ] {
            let error = diagnosis(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(draft("{\"rationale\": \" \", \"confidence\": 1}").is_err());
        let long = format!(
            "{{\"rationale\": \"{}\", \"confidence\": 1}}",
            "x".repeat(20_000)
        );
        assert!(draft(&long).is_err());
    }

    #[test]
    fn a_hostile_answer_takes_no_time() {
        assert!(diagnosis(&"{".repeat(1 << 22)).is_err());
        assert!(diagnosis(&"{\"a\":".repeat(1 << 20)).is_err());
    }
}
