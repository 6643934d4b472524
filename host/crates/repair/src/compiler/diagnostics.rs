//! The compiler's JSON: errors, suggestions, and how these are applied.

use serde::Deserialize;
use std::fmt;

#[derive(Debug, Deserialize)]
struct Envelope {
    reason: String,
    manifest_path: Option<String>,
    message: Option<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    message: String,
    level: String,
    code: Option<Code>,
    #[serde(default)]
    spans: Vec<Span>,
    #[serde(default)]
    children: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Code {
    code: String,
}

#[derive(Debug, Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    line_start: usize,
    is_primary: bool,
    label: Option<String>,
    suggested_replacement: Option<String>,
    suggestion_applicability: Option<String>,
}

/// One replacement: byte offsets in a file as the compiler names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) file: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) text: String,
}

/// One suggestion: edits that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suggestion {
    pub(crate) edits: Vec<Edit>,
    /// Marked as machine-applicable.
    pub(crate) sure: bool,
    pub(crate) message: String,
    /// The error it is for, without its place.
    pub(crate) error: String,
    /// Manifest of the package, where cargo says so.
    pub(crate) root: Option<String>,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    key: String,
    place: String,
    label: String,
    suggestions: Vec<Suggestion>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.key)?;
        if !self.label.is_empty() {
            write!(f, " ({})", self.label)?;
        }
        Ok(())
    }
}

/// All that one run of the compiler said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<Fault>,
    /// The run either succeeded or said why not.
    pub(crate) understood: bool,
    /// The end of what is not JSON.
    pub(crate) rest: String,
}

impl Report {
    /// Reads the lines of a run that ended with this code.
    pub(crate) fn read(lines: &[String], code: i32) -> Self {
        let mut report = Self::default();
        for line in lines {
            let parsed = if let Ok(envelope) = serde_json::from_str::<Envelope>(line) {
                (envelope.reason == "compiler-message")
                    .then_some(envelope.message)
                    .flatten()
                    .map(|message| (message, envelope.manifest_path))
            } else if let Ok(message) = serde_json::from_str::<Message>(line) {
                Some((message, None))
            } else {
                if !line.trim().is_empty() && !line.starts_with('{') {
                    report.rest = line.chars().take(300).collect();
                }
                None
            };
            if let Some((message, root)) = parsed
                && message.level.starts_with("error")
                && let Some(fault) = fault(message, root.as_deref())
                && !report.errors.contains(&fault)
            {
                report.errors.push(fault);
            }
        }
        report.understood = code == 0 || !report.errors.is_empty();
        report
    }

    /// How often an error occurs.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.errors.iter().filter(|error| error.key == key).count()
    }

    /// The first error, in plain words.
    pub(crate) fn cause(&self) -> String {
        let Some(first) = self.errors.first() else {
            return String::new();
        };
        match self.errors.len() {
            1 => format!("The code does not compile: {first}"),
            count => format!("The code does not compile ({count} errors): {first}"),
        }
    }

    /// All suggestions once, sure ones first.
    pub(crate) fn suggestions(&self) -> Vec<Suggestion> {
        let mut all: Vec<Suggestion> = Vec::new();
        for suggestion in self.errors.iter().flat_map(|error| &error.suggestions) {
            if !all.iter().any(|other| other.edits == suggestion.edits) {
                all.push(suggestion.clone());
            }
        }
        all.sort_by_key(|suggestion| !suggestion.sure);
        all
    }
}

fn fault(message: Message, root: Option<&str>) -> Option<Fault> {
    // "aborting due to 2 previous errors" has no place.
    let primary = message.spans.iter().find(|span| span.is_primary)?;
    let key = match &message.code {
        Some(code) => format!("{} [{}]", message.message, code.code),
        None => message.message.clone(),
    };
    let mut suggestions = Vec::new();
    for part in std::iter::once(&message).chain(&message.children) {
        let spans: Vec<&Span> = part
            .spans
            .iter()
            .filter(|span| span.suggested_replacement.is_some())
            .filter(|span| {
                matches!(
                    span.suggestion_applicability.as_deref(),
                    Some("MachineApplicable" | "MaybeIncorrect")
                )
            })
            .collect();
        // Several texts for one place are alternatives; else they belong together.
        let alternatives = spans.iter().enumerate().any(|(index, span)| {
            spans.iter().skip(index + 1).any(|other| {
                other.file_name == span.file_name && other.byte_start == span.byte_start
            })
        });
        let groups: Vec<Vec<&Span>> = if alternatives {
            spans.into_iter().map(|span| vec![span]).collect()
        } else if spans.is_empty() {
            Vec::new()
        } else {
            vec![spans]
        };
        for group in groups {
            suggestions.push(Suggestion {
                sure: !alternatives
                    && group.iter().all(|span| {
                        span.suggestion_applicability.as_deref() == Some("MachineApplicable")
                    }),
                edits: group
                    .into_iter()
                    .map(|span| Edit {
                        file: span.file_name.clone(),
                        start: span.byte_start,
                        end: span.byte_end,
                        text: span.suggested_replacement.clone().unwrap_or_default(),
                    })
                    .collect(),
                message: part.message.clone(),
                error: key.clone(),
                root: root.map(ToOwned::to_owned),
            });
        }
    }
    Some(Fault {
        place: format!("{}:{}", primary.file_name, primary.line_start),
        label: primary.label.clone().unwrap_or_default(),
        key,
        suggestions,
    })
}

/// A text with replacements; the same one twice counts once, one that overlaps
/// an earlier one is left out. None when an offset lies outside or in a character.
pub(crate) fn apply(text: &str, mut edits: Vec<(usize, usize, String)>) -> Option<String> {
    edits.sort();
    edits.dedup();
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (start, end, replacement) in edits {
        if start < at {
            continue;
        }
        text.get(start..end)?;
        out.push_str(text.get(at..start)?);
        out.push_str(&replacement);
        at = end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    /// As rustc 1.95 wrote them, through cargo and by itself.
    const CARGO: &str = r#"{"reason":"compiler-message","package_id":"path+file:///app#0.1.0","manifest_path":"/app/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"app","src_path":"/app/src/main.rs","edition":"2021","doc":true,"doctest":false,"test":true},"message":{"rendered":"","$message_type":"diagnostic","children":[{"children":[],"code":null,"level":"help","message":"consider borrowing here","rendered":null,"spans":[{"byte_end":183,"byte_start":183,"column_end":25,"column_start":25,"expansion":null,"file_name":"src/main.rs","is_primary":true,"label":null,"line_end":7,"line_start":7,"suggested_replacement":"&","suggestion_applicability":"MachineApplicable","text":[]}]}],"level":"error","message":"mismatched types","spans":[{"byte_end":184,"byte_start":183,"column_end":26,"column_start":25,"expansion":null,"file_name":"src/main.rs","is_primary":true,"label":"expected `&String`, found `String`","line_end":7,"line_start":7,"suggested_replacement":null,"suggestion_applicability":null,"text":[]}],"code":{"code":"E0308","explanation":""}}}"#;
    const RUSTC: &str = r#"{"$message_type":"diagnostic","message":"cannot find type `HashMap` in this scope","code":{"code":"E0425","explanation":""},"level":"error","spans":[{"byte_end":206,"byte_start":199,"column_end":19,"column_start":12,"expansion":null,"file_name":"src/main.rs","is_primary":true,"label":"not found in this scope","line_end":8,"line_start":8,"suggested_replacement":null,"suggestion_applicability":null,"text":[]}],"children":[{"children":[],"code":null,"level":"help","message":"consider importing this struct","rendered":null,"spans":[{"byte_end":0,"byte_start":0,"column_end":1,"column_start":1,"expansion":null,"file_name":"src/main.rs","is_primary":true,"label":null,"line_end":1,"line_start":1,"suggested_replacement":"use std::collections::HashMap;\n","suggestion_applicability":"MaybeIncorrect","text":[]}]}],"rendered":""}"#;

    #[test]
    fn suggestions_are_read_sure_ones_first() {
        let report = Report::read(&[RUSTC.into(), CARGO.into(), "error: x".into()], 101);
        assert_eq!(report.errors.len(), 2);
        let all = report.suggestions();
        assert_eq!(
            all.iter().map(|one| one.sure).collect::<Vec<_>>(),
            [true, false]
        );
        let first = all.first().unwrap();
        assert_eq!(first.root.as_deref(), Some("/app/Cargo.toml"));
        assert_eq!(first.edits.first().unwrap().text, "&");
        assert!(
            report
                .cause()
                .contains("src/main.rs:8: cannot find type `HashMap`")
        );
    }

    #[test]
    fn placeholders_are_left_out() {
        let line = CARGO.replace("MachineApplicable", "HasPlaceholders");
        let report = Report::read(&[line], 101);
        assert_eq!(report.errors.len(), 1);
        assert!(report.suggestions().is_empty());
    }

    #[test]
    fn a_failure_without_any_error_is_not_understood() {
        assert!(!Report::read(&["error: no such command".into()], 101).understood);
        assert!(Report::read(&[], 0).understood);
    }

    #[test]
    fn edits_are_applied_together() {
        let edits = vec![
            (4, 4, "mut ".into()),
            (8, 9, "2".into()),
            (8, 9, "2".into()),
        ];
        assert_eq!(apply("let x = 1;", edits).unwrap(), "let mut x = 2;");
        assert_eq!(apply("é", vec![(1, 1, "x".into())]), None);
        assert_eq!(apply("a", vec![(3, 4, "x".into())]), None);
    }
}
