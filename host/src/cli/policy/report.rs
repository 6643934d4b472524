//! What the host says about plans, changes and decisions, for people.

use crate::cli::output::{self, Colour};
use serde_json::Value;

/// A text field, or nothing.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number field, or 0.
pub(super) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// The items of a list field.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// With a comma every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines of equally wide columns, the last one open.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max();
        let head = head.get(column).map_or(0, |name| name.chars().count());
        longest.unwrap_or(0).max(head)
    };
    let line = |cells: Vec<&str>| {
        let last = cells.len().saturating_sub(1);
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = if column == last { 0 } else { width(column) };
            format!("{cell:<width$}")
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![output::coloured(Colour::Dim, line(head.to_vec()))];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines
}

/// One line about a plan: how many decisions change, and which way.
pub(super) fn plan_in_short(plan: &Value) -> String {
    let (looser, stricter) = (number(plan, "loosened"), number(plan, "tightened"));
    let changed = looser + stricter;
    let replayed = grouped(number(plan, "replayed"));
    let verb = if changed == 1 { "changes" } else { "change" };
    let mut line = format!(
        "{} of {replayed} recorded decisions {verb}",
        grouped(changed)
    );
    if changed > 0 {
        line.push_str(&format!(
            ": {} stricter, {} looser",
            grouped(stricter),
            grouped(looser)
        ));
    }
    line
}

/// A plan, what loosens apart from what tightens.
pub(super) fn plan(plan: &Value) -> Vec<String> {
    let mut lines = vec![plan_in_short(plan)];
    let mut block = |colour, title: &str, total: u64, changed: &str, notes: &str| {
        let decisions: Vec<_> = items(plan, changed).collect();
        let notes: Vec<_> = items(plan, notes).filter_map(Value::as_str).collect();
        if decisions.is_empty() && notes.is_empty() {
            return;
        }
        lines.push(String::new());
        lines.push(output::coloured(colour, title));
        lines.extend(notes.iter().map(|note| format!("  {note}")));
        for decision in &decisions {
            lines.push(format!(
                "  #{} {}: {} → {}",
                number(decision, "seq"),
                text(decision, "question"),
                text(decision, "before"),
                text(decision, "after")
            ));
            if let Some(reason) = decision.get("reason") {
                lines.push(output::coloured(
                    Colour::Dim,
                    format!("      {}", text(reason, "message")),
                ));
            }
        }
        let shown = u64::try_from(decisions.len()).unwrap_or(u64::MAX);
        if total > shown {
            lines.push(format!("  … and {} more", grouped(total - shown)));
        }
    };
    let (looser, stricter) = (number(plan, "loosened"), number(plan, "tightened"));
    let (red, green) = (Colour::Red, Colour::Green);
    block(red, "Looser", looser, "loosening", "structuralLoosening");
    block(
        green,
        "Stricter",
        stricter,
        "tightening",
        "structuralTightening",
    );
    block(
        Colour::Yellow,
        "Not provable for every question",
        0,
        "",
        "unproved",
    );
    let faults = number(plan, "faults");
    if faults > 0 {
        lines.push(String::new());
        lines.push(output::coloured(
            Colour::Red,
            format!("{faults} answers of the candidate were faults, which count as denials"),
        ));
    }
    let (replayed, reproduced) = (number(plan, "replayed"), number(plan, "reproduced"));
    if reproduced < replayed {
        lines.push(format!(
            "{} recorded decisions come out differently today under the set in force as well",
            grouped(replayed - reproduced)
        ));
    }
    let skipped = number(plan, "skipped");
    if skipped > 0 {
        lines.push(format!(
            "{} decisions that an earlier version recorded cannot be asked again",
            grouped(skipped)
        ));
    }
    lines
}

/// What became of a change.
pub(super) fn change(answer: &Value) -> Vec<String> {
    let generation = number(answer, "generation");
    let mut lines = match text(answer, "outcome") {
        "activated" => vec![output::coloured(
            Colour::Green,
            format!("generation {generation} is in force"),
        )],
        "onTrial" => vec![match answer.get("percent").and_then(Value::as_u64) {
            Some(percent) => {
                format!("generation {generation} is in force for {percent} of 100 runs")
            }
            None => format!(
                "generation {generation} is asked beside the set in force; nothing obeys it"
            ),
        }],
        "proposed" => {
            let proposal = number(answer, "proposal");
            vec![
                output::coloured(
                    Colour::Yellow,
                    format!("waits for another admin as proposal {proposal}"),
                ),
                format!(
                    "  it may loosen something, and four_eyes is on; another admin runs: selfheal policy confirm {proposal}"
                ),
                format!("  generation {generation} is in force meanwhile"),
            ]
        }
        _ => vec![format!(
            "nothing changed: generation {generation} is in force"
        )],
    };
    if let Some(plan) = answer.get("plan") {
        lines.push(plan_in_short(plan));
    }
    lines
}

/// Why a decision came out as it did, and what another set says.
pub(super) fn explanation(answer: &Value) -> Vec<String> {
    let mut lines = vec![
        format!(
            "#{} {}",
            number(answer, "seq"),
            output::coloured(Colour::Bold, text(answer, "question"))
        ),
        format!("recorded: {}", verdict(text(answer, "recorded"))),
    ];
    said(answer, "modules", &mut lines);
    let same = answer.get("same").and_then(Value::as_bool) == Some(true);
    let now = if same {
        "the same".to_owned()
    } else {
        verdict(text(answer, "answer"))
    };
    lines.push(format!("{}: {now}", text(answer, "under")));
    if !same {
        said(answer, "again", &mut lines);
    }
    lines
}

fn verdict(answer: &str) -> String {
    let colour = match answer.split(' ').next() {
        Some("allow" | "apply") => Colour::Green,
        Some("deny" | "stop") => Colour::Red,
        _ => Colour::Yellow,
    };
    output::coloured(colour, answer)
}

fn said(answer: &Value, key: &str, lines: &mut Vec<String>) {
    for module in items(answer, key) {
        let decided = module.get("decided").and_then(Value::as_bool) == Some(true);
        lines.push(format!(
            "  {} {}: {}",
            if decided { "▸" } else { " " },
            text(module, "module"),
            verdict(text(module, "answer"))
        ));
        for factor in items(module, "factors") {
            lines.push(format!(
                "      +{} {}: {}",
                number(factor, "points"),
                text(factor, "name"),
                text(factor, "evidence")
            ));
        }
        let Some(reason) = module.get("reason") else {
            continue;
        };
        lines.push(format!("      {}", text(reason, "message")));
        for (label, key) in [("evidence", "evidence"), ("instead", "alternative")] {
            let value = text(reason, key);
            if !value.is_empty() {
                lines.push(format!("      {label}: {value}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(4310), "4,310");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn a_plan_says_first_how_much_changes_and_lists_loosening_first() {
        let changed = |question: &str| json!({"seq": 3, "question": question, "before": "deny a.b", "after": "allow"});
        let answer = json!({
            "replayed": 4310, "reproduced": 4310, "loosened": 3, "tightened": 9,
            "loosening": [changed("Bash: git push")], "tightening": [changed("Bash: ls")],
            "structuralLoosening": ["module `path-guard` is removed"]
        });
        let lines = plan(&answer);
        assert_eq!(
            lines[0],
            "12 of 4,310 recorded decisions change: 9 stricter, 3 looser"
        );
        let text = lines.join("\n");
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"))
        };
        assert!(at("path-guard") < at("git push") && at("git push") < at("Bash: ls"));
        assert!(
            text.contains("and 2 more") && text.contains("and 8 more"),
            "{text}"
        );
        assert!(!text.contains("differently"), "{text}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), "y".to_owned()],
        ];
        let lines = table(&["N", "V"], &rows);
        assert_eq!(lines[1], "a     x");
        assert_eq!(lines[2], "long  y");
    }
}
