//! A report, parsed and bounded once, at the edge (DESIGN §6.7).

use crate::issue::{Category, Priority, Severity, Source};
use crate::user::TrustClass;
use serde::{Deserialize, Serialize};

/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 200;
/// Longest text field, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// A report as somebody sends it: nothing checked yet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on Report")]
pub struct ReportDraft {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub steps_to_reproduce: Option<String>,
    pub expected_behavior: Option<String>,
    pub actual_behavior: Option<String>,
    pub severity: Option<Severity>,
    pub priority: Option<Priority>,
    pub source: Option<Source>,
    pub category: Option<Category>,
    pub service: Option<String>,
    pub fingerprint: Option<String>,
}

/// A report within its bounds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// One line, 1 to 200 characters.
    pub title: String,
    /// What is wrong, 1 byte to 64 KiB.
    pub description: String,
    /// How to see it.
    pub steps_to_reproduce: Option<String>,
    /// What should happen.
    pub expected_behavior: Option<String>,
    /// What happens.
    pub actual_behavior: Option<String>,
    /// Medium unless somebody who may says otherwise.
    pub severity: Severity,
    /// P2 likewise.
    pub priority: Priority,
    /// Where it came from.
    pub source: Source,
    /// Bug unless said otherwise.
    pub category: Category,
    /// Affected service, if known.
    pub service: Option<String>,
    /// Equal for equal failures.
    pub fingerprint: Option<String>,
    /// Trust in its texts.
    pub trust: TrustClass,
}

/// What is wrong with one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FieldError {
    /// The field, as on the wire.
    pub field: String,
    /// What is wrong and what is valid.
    pub message: String,
}

impl FieldError {
    /// A field error.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Checks one text: present, and not over its bound.
pub fn check_text(field: &str, text: &str, errors: &mut Vec<FieldError>) {
    if text.trim().is_empty() {
        errors.push(FieldError::new(field, "must not be empty"));
    } else if text.len() > MAX_TEXT_BYTES {
        errors.push(FieldError::new(
            field,
            format!(
                "is {} bytes; at most {MAX_TEXT_BYTES} are allowed",
                text.len()
            ),
        ));
    } else if text.contains('\0') {
        errors.push(FieldError::new(field, "must not contain a NUL character"));
    }
}

impl Report {
    /// Parses a draft.
    ///
    /// # Errors
    /// Every field that is missing, empty or out of bounds.
    pub fn parse(
        draft: ReportDraft,
        source: Source,
        trust: TrustClass,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        check_text("title", &draft.title, &mut errors);
        let length = draft.title.chars().count();
        if length > MAX_TITLE_CHARS {
            errors.push(FieldError::new(
                "title",
                format!("is {length} characters; at most {MAX_TITLE_CHARS} are allowed"),
            ));
        }
        if draft.title.contains(['\n', '\r']) {
            errors.push(FieldError::new("title", "must be one line"));
        }
        check_text("description", &draft.description, &mut errors);
        let mut optional = |field: &str, text: Option<String>| {
            let text = text.filter(|text| !text.trim().is_empty());
            if let Some(text) = &text {
                check_text(field, text, &mut errors);
            }
            text
        };
        let steps_to_reproduce = optional("stepsToReproduce", draft.steps_to_reproduce);
        let expected_behavior = optional("expectedBehavior", draft.expected_behavior);
        let actual_behavior = optional("actualBehavior", draft.actual_behavior);
        let service = optional("service", draft.service);
        let fingerprint = optional("fingerprint", draft.fingerprint);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            title: draft.title.trim().to_owned(),
            description: draft.description,
            steps_to_reproduce,
            expected_behavior,
            actual_behavior,
            severity: draft.severity.unwrap_or(Severity::Medium),
            priority: draft.priority.unwrap_or(Priority::P2),
            source: draft.source.unwrap_or(source),
            category: draft.category.unwrap_or(Category::Bug),
            service,
            fingerprint,
            trust,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(title: &str, description: &str) -> ReportDraft {
        ReportDraft {
            title: title.into(),
            description: description.into(),
            ..ReportDraft::default()
        }
    }

    #[test]
    fn a_report_is_bounded_field_by_field() {
        let parse = |draft| Report::parse(draft, Source::Api, TrustClass::Member);
        let report = parse(draft(" It breaks ", "Every time")).unwrap();
        assert_eq!(
            (report.title.as_str(), report.severity, report.source),
            ("It breaks", Severity::Medium, Source::Api)
        );

        let fields = |draft| {
            parse(draft)
                .unwrap_err()
                .into_iter()
                .map(|e| e.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(draft("", "")), ["title", "description"]);
        assert_eq!(fields(draft(&"x".repeat(201), "y")), ["title"]);
        assert_eq!(fields(draft("two\nlines", "y")), ["title"]);
        assert_eq!(
            fields(draft("x", &"y".repeat(MAX_TEXT_BYTES + 1))),
            ["description"]
        );
        assert_eq!(fields(draft("x", "a\0b")), ["description"]);
        assert!(
            parse(draft(&"ü".repeat(200), "y")).is_ok(),
            "the title is bounded in characters, not bytes"
        );
    }
}
