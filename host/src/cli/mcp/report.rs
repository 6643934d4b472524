//! A report as a person dictates it: whole, shown, and known again.

use selfheal_domain::digest::Digest;
use selfheal_domain::issue::Source;
use selfheal_domain::report::{MAX_TITLE_CHARS, Report, ReportDraft};
use selfheal_domain::user::TrustClass;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Fields that every report has, and what to ask for them.
const NEEDED: [(&str, &str); 5] = [
    ("title", "what is wrong, in one line"),
    ("description", "what happened, when, since when"),
    ("stepsToReproduce", "what to do to see it"),
    ("expectedBehavior", "what should have happened"),
    ("actualBehavior", "what happened instead"),
];
/// Fields that it may have.
const MORE: [(&str, &str); 2] = [
    ("service", "which part is affected"),
    ("category", "what kind of problem it is"),
];
const CATEGORIES: [&str; 6] = [
    "bug",
    "reliability",
    "performance",
    "scalability",
    "auditability",
    "governance",
];
/// Digits of a code: nobody guesses one in the life of a server.
const CODE_DIGITS: usize = 12;
/// Shortest word that says something, in characters.
const SHORTEST_WORD: usize = 4;

/// A report that could be sent.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Dictated(Map<String, Value>);

impl Dictated {
    /// The report among the arguments of a tool, whose further argument `besides` is left
    /// out.
    ///
    /// # Errors
    /// Every field that is missing or wrong, a line for each.
    pub(super) fn read(arguments: &Value, besides: &str) -> Result<Self, String> {
        let none = Map::new();
        let given = arguments.as_object().unwrap_or(&none);
        let known = || NEEDED.iter().chain(&MORE).map(|(field, _)| *field);
        let mut wrong = Vec::new();
        let mut fields = Map::new();
        for (field, value) in given.iter().filter(|(field, _)| *field != besides) {
            if !known().any(|known| known == field) {
                let valid: Vec<_> = known().collect();
                let valid = valid.join(", ");
                wrong.push(format!(
                    "{field}: is no field of a report; valid are {valid}"
                ));
            } else if !value.is_string() {
                wrong.push(format!("{field}: must be a text"));
            } else {
                fields.insert(field.clone(), value.clone());
            }
        }
        for (field, meaning) in NEEDED {
            let text = given.get(field).map_or(Some(""), Value::as_str);
            if text.is_some_and(|text| text.trim().is_empty()) {
                wrong.push(format!("{field}: is missing ({meaning})"));
            }
        }
        let category = fields.get("category").and_then(Value::as_str);
        if category.is_some_and(|category| !CATEGORIES.contains(&category)) {
            wrong.push(format!(
                "category: must be one of {}",
                CATEGORIES.join(", ")
            ));
        } else if wrong.is_empty() {
            // The bounds are those that the host checks.
            let draft: Result<ReportDraft, _> =
                serde_json::from_value(Value::Object(fields.clone()));
            match draft {
                Ok(draft) => {
                    let errors = Report::parse(draft, Source::Skill, TrustClass::Member).err();
                    let errors = errors.into_iter().flatten();
                    wrong.extend(errors.map(|error| format!("{}: {}", error.field, error.message)));
                }
                Err(error) => wrong.push(error.to_string()),
            }
        }
        if wrong.is_empty() {
            Ok(Self(fields))
        } else {
            Err(wrong.join("\n"))
        }
    }

    /// Its title.
    pub(super) fn title(&self) -> &str {
        self.0
            .get("title")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Word for word, as it would be sent.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (field, _) in NEEDED.iter().chain(&MORE) {
            if let Some(value) = self.0.get(*field).and_then(Value::as_str) {
                // Fails only where memory does.
                let _ = writeln!(text, "{field}:\n{value}\n");
            }
        }
        text
    }

    /// What the host is sent.
    pub(super) fn body(&self) -> Value {
        let mut body = self.0.clone();
        body.insert("source".to_owned(), json!("skill"));
        Value::Object(body)
    }

    /// Another one for every letter of the report, and in every server: who names it has
    /// been shown this very report.
    pub(super) fn code(&self, server: &str) -> String {
        let whole = self.name(server);
        whole.get(..CODE_DIGITS).unwrap_or(&whole).to_owned()
    }

    /// The same for the same report to the same place.
    pub(super) fn name(&self, place: &str) -> String {
        Digest::of(json!([place, self.0]).to_string().as_bytes()).to_string()
    }
}

/// The fields as JSON Schema has them.
pub(super) fn schema() -> Map<String, Value> {
    let texts = NEEDED.iter().chain(&MORE);
    let mut fields: Map<String, Value> = texts
        .map(|(field, meaning)| {
            let field = (*field).to_owned();
            (field, json!({ "type": "string", "description": meaning }))
        })
        .collect();
    if let Some(Value::Object(title)) = fields.get_mut("title") {
        title.insert("maxLength".to_owned(), json!(MAX_TITLE_CHARS));
    }
    if let Some(Value::Object(category)) = fields.get_mut("category") {
        category.insert("enum".to_owned(), json!(CATEGORIES));
    }
    fields
}

/// Names of the fields that a report must have.
pub(super) fn needed() -> Vec<&'static str> {
    NEEDED.iter().map(|(field, _)| *field).collect()
}

/// Words of a title that say something, longest first.
pub(super) fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_alphanumeric());
    let telling = parts.filter(|word| word.chars().count() >= SHORTEST_WORD);
    let unique: BTreeSet<String> = telling.map(str::to_owned).collect();
    let mut words: Vec<String> = unique.into_iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words
}

/// Share of the words that two titles have in common, in percent.
pub(super) fn likeness(one: &str, other: &str) -> usize {
    let (left, right) = (words(one), words(other));
    let both = left.iter().filter(|word| right.contains(word)).count();
    let all = left.len() + right.len() - both;
    (both * 100).checked_div(all).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Value {
        json!({
            "title": "Totals are wrong", "description": "Since Monday.",
            "stepsToReproduce": "Open order 1001.", "expectedBehavior": "90.00",
            "actualBehavior": "100.00",
        })
    }

    #[test]
    fn every_field_that_is_missing_or_wrong_is_named() {
        let wrong = |report: Value| Dictated::read(&report, "code").unwrap_err();
        let lines = wrong(json!({ "title": "x", "severity": "HIGH", "description": 7 }));
        for expected in [
            "severity: is no field of a report",
            "description: must be a text",
            "stepsToReproduce: is missing (what to do to see it)",
            "expectedBehavior: is missing",
            "actualBehavior: is missing",
        ] {
            assert!(lines.contains(expected), "{lines}");
        }
        assert_eq!(wrong(json!(null)).lines().count(), 5);
        for (field, text) in [
            ("title", "x".repeat(201)),
            ("title", "two\nlines".to_owned()),
            ("description", "x".repeat(65 * 1024)),
            ("actualBehavior", "a\0b".to_owned()),
            ("category", "boring".to_owned()),
        ] {
            let mut report = whole();
            report[field] = json!(text);
            let lines = wrong(report);
            assert!(lines.starts_with(field), "{field}: {lines}");
        }
    }

    #[test]
    fn a_code_is_that_of_one_report_in_one_server() {
        let read = |report: &Value| Dictated::read(report, "code").unwrap();
        let one = read(&whole());
        let mut report = whole();
        report["code"] = json!("whatever was shown");
        assert_eq!(read(&report), one);
        report["description"] = json!("Since Tuesday.");
        assert_ne!(read(&report).code("a"), one.code("a"));
        assert_ne!(one.code("a"), one.code("b"));
        assert!(one.text().contains("actualBehavior:\n100.00\n"));
        assert_eq!(one.body()["source"], "skill");
    }

    #[test]
    fn titles_are_alike_by_the_words_they_share() {
        let title = "Totals are wrong when an order has a discount";
        assert!(likeness(title, "Wrong totals with a discount") >= 50);
        assert_eq!(likeness(title, "The logo is too small"), 0);
        assert_eq!(likeness("", ""), 0);
        assert_eq!(words("An Äußerung, an order")[0], "äußerung");
    }
}
