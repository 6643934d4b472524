//! What error messages say: wrong names, missing imports, unbound variables.

use super::Gen;
use crate::candidate::Edit;
use crate::source::{FUNCTIONS, all_nodes, field, is_statement, named, up};
use tree_sitter::Node;

/// Candidates that belong to the file as a whole.
pub(super) fn whole_file(generator: &mut Gen<'_>) {
    if let Some(line) = generator.know.syntax {
        unparsable(generator, line);
        unparsable(generator, line.saturating_sub(1));
    }
    let hints = generator.know.hints.clone();
    for hint in &hints {
        if hint.kind != "import" || !uses(generator, &hint.wrong) {
            continue;
        }
        for line in &hint.right {
            let at = import_place(generator);
            generator.edit_at(
                vec![Edit {
                    range: at..at,
                    text: format!("{line}\n"),
                }],
                "missing-import",
                1.0,
                1.0,
                1,
            );
        }
    }
}

/// A line that does not parse: something is missing at its end, or its indent is wrong.
fn unparsable(generator: &mut Gen<'_>, number: u32) {
    let text = generator.src.line(number).to_owned();
    let Some(row) = number.checked_sub(1).filter(|_| !text.trim().is_empty()) else {
        return;
    };
    let start: usize = generator
        .src
        .text
        .split_inclusive('\n')
        .take(row as usize)
        .map(str::len)
        .sum();
    let end = start + text.trim_end().len();
    let mut edits: Vec<(std::ops::Range<usize>, String, f64)> = Vec::new();
    for (index, mark) in [":", ")", "]", "}", "\"", "'", ",", "):", "]:", " {", ";"]
        .iter()
        .enumerate()
    {
        edits.push((end..end, (*mark).to_owned(), 1.0 + 0.05 * index as f64));
    }
    if let Some(last) = text.trim_end().chars().last() {
        edits.push((end - last.len_utf8()..end, String::new(), 1.6));
        if last == ':' {
            for mark in ["):", "]:"] {
                edits.push((end - 1..end, mark.to_owned(), 1.2));
            }
        }
    }
    for (at, _) in text.match_indices(" = ") {
        edits.push((start + at..start + at + 3, " == ".to_owned(), 1.3));
    }
    for (at, mark) in text.match_indices([')', ']', '}', '(', '[', '{']) {
        edits.push((start + at..start + at + mark.len(), String::new(), 1.5));
    }
    let unit = generator.src.indent_unit();
    let trimmed = text.trim_start();
    let indent = text.get(..text.len() - trimmed.len()).unwrap_or_default();
    edits.push((start..start + indent.len(), format!("{indent}{unit}"), 1.4));
    if let Some(less) = indent.strip_suffix(unit) {
        edits.push((start..start + indent.len(), less.to_owned(), 1.4));
    }
    let above = generator.src.line(row).to_owned();
    let above = above
        .get(..above.len() - above.trim_start().len())
        .unwrap_or_default()
        .to_owned();
    edits.push((start..start + indent.len(), above, 1.3));
    for (range, text, cost) in edits {
        generator.edit_at(vec![Edit { range, text }], "syntax", cost, 1.0, number);
    }
}

fn uses(generator: &Gen<'_>, name: &str) -> bool {
    all_nodes(generator.src.root())
        .iter()
        .any(|node| node.kind() == "identifier" && generator.src.at(*node) == name)
}

/// Behind the last import, or behind the module's docstring.
fn import_place(generator: &Gen<'_>) -> usize {
    let mut place = 0;
    for (index, statement) in named(generator.src.root()).into_iter().enumerate() {
        let docstring = index == 0
            && statement.kind() == "expression_statement"
            && statement
                .named_child(0)
                .is_some_and(|inner| inner.kind() == "string");
        if docstring
            || matches!(
                statement.kind(),
                "import_statement" | "import_from_statement" | "future_import_statement"
            )
        {
            place = generator.src.next_line(statement.end_byte());
        } else if statement.kind() != "comment" {
            break;
        }
    }
    place
}

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    let hints = generator.know.hints.clone();
    for hint in &hints {
        match (hint.kind.as_str(), node.kind()) {
            ("name", "identifier") | ("attribute", "identifier" | "property_identifier")
                if generator.at(node) == hint.wrong =>
            {
                for (index, right) in hint.right.iter().enumerate() {
                    generator.swap(
                        node,
                        right.clone(),
                        "did-you-mean",
                        1.0 + 0.15 * index as f64,
                    );
                }
                // A name nobody defined: anything alike in scope or in the file.
                let scope = generator.scope(node);
                let pool: Vec<String> = scope
                    .values
                    .iter()
                    .chain(generator.file.callables.iter())
                    .chain(generator.file.constants.iter())
                    .chain(
                        generator
                            .file
                            .attributes
                            .iter()
                            .filter(|_| hint.kind == "attribute"),
                    )
                    .cloned()
                    .collect();
                let mut ranked: Vec<(f64, String)> = pool
                    .into_iter()
                    .filter(|other| *other != hint.wrong)
                    .map(|other| (super::scope::distance(&hint.wrong, &other), other))
                    .collect();
                ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (far, other) in ranked.into_iter().take(10) {
                    generator.swap(node, other, "did-you-mean", 1.3 + far);
                }
            }
            ("self", "identifier") if generator.at(node) == hint.wrong => {
                let owner = if generator.py() { "self" } else { "this" };
                generator.swap(node, format!("{owner}.{}", hint.wrong), "add-self", 1.0);
            }
            ("key", "string") => {
                let text = generator.at(node).to_owned();
                if text.trim_matches(['"', '\'']) == hint.wrong {
                    for (index, right) in hint.right.iter().enumerate() {
                        generator.swap(
                            node,
                            text.replace(&hint.wrong, right),
                            "did-you-mean",
                            1.2 + 0.2 * index as f64,
                        );
                    }
                }
            }
            ("unbound", _) if generator.py() && is_statement(node) => {
                unbound(generator, node, &hint.wrong)
            }
            _ => {}
        }
    }
}

/// `x` is local because it is assigned: declare it, or give it a first value.
fn unbound(generator: &mut Gen<'_>, node: Node<'_>, name: &str) {
    let Some(function) = up(node, FUNCTIONS) else {
        return;
    };
    let Some(first) = field(function, "body").and_then(|body| {
        named(body)
            .into_iter()
            .find(|inner| inner.kind() != "comment")
    }) else {
        return;
    };
    let indent = generator.src.indent_at(first.start_byte()).to_owned();
    let at = generator.src.line_start(first.start_byte());
    let nested = function
        .parent()
        .and_then(|parent| up(parent, FUNCTIONS))
        .is_some();
    let declare = if nested { "nonlocal" } else { "global" };
    let mut lines = vec![(format!("{indent}{declare} {name}\n"), 1.0)];
    for (index, initial) in ["None", "0", "[]", "{}", "''", "False"].iter().enumerate() {
        lines.push((
            format!("{indent}{name} = {initial}\n"),
            1.6 + 0.15 * index as f64,
        ));
    }
    for (text, cost) in lines {
        generator.edit(
            vec![Edit {
                range: at..at,
                text,
            }],
            "unbound",
            cost,
        );
    }
}
