//! Values wrapped in a call, or freed from one; what is looped over.

use super::{Gen, is_value};
use crate::candidate::Edit;
use crate::source::{field, named, up};
use std::collections::BTreeSet;
use tree_sitter::Node;

/// Where a wrapped value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Returned,
    Stored,
    Passed,
}

pub(super) fn unwrap(
    generator: &mut Gen<'_>,
    node: Node<'_>,
    callee: Node<'_>,
    list: Option<Node<'_>>,
) {
    let args = list.map(named).unwrap_or_default();
    let python = generator.py();
    match (callee.kind(), args.as_slice()) {
        ("identifier", [only])
            if !matches!(
                only.kind(),
                "generator_expression" | "keyword_argument" | "spread_element"
            ) =>
        {
            let text = generator.at(*only).to_owned();
            generator.swap(node, text, "unwrap", 2.6);
        }
        ("attribute" | "member_expression", rest) => {
            if let Some(object) = field(callee, "object") {
                let base = generator.at(object).to_owned();
                let math = matches!(
                    base.as_str(),
                    "Math" | "math" | "np" | "Number" | "Object" | "JSON" | "String"
                );
                if !math
                    && node
                        .parent()
                        .is_some_and(|parent| parent.kind() != "expression_statement")
                {
                    generator.swap(
                        node,
                        base,
                        "unwrap",
                        if rest.is_empty() { 2.6 } else { 3.0 },
                    );
                }
                if let [only] = rest
                    && math
                {
                    let text = generator.at(*only).to_owned();
                    generator.swap(node, text, "unwrap", 2.6);
                }
            }
        }
        _ => {}
    }
    // A call whose parentheses are too many: the function itself was meant.
    if args.is_empty()
        && python
        && node
            .parent()
            .is_some_and(|parent| parent.kind() == "keyword_argument")
    {
        let text = generator.at(callee).to_owned();
        generator.swap(node, text, "unwrap", 2.2);
    }
}

/// Nothing known, or one of these among the known.
pub(super) fn may(kinds: &BTreeSet<String>, wanted: &[&str]) -> bool {
    kinds.is_empty() || wanted.iter().any(|kind| kinds.contains(*kind))
}

pub(super) fn wrap(generator: &mut Gen<'_>, node: Node<'_>, place: Place) {
    if !is_value(node) && node.kind() == "identifier" {
        return;
    }
    if matches!(
        node.kind(),
        "lambda"
            | "arrow_function"
            | "function_expression"
            | "keyword_argument"
            | "string"
            | "integer"
            | "number"
            | "float"
            | "true"
            | "false"
            | "none"
            | "null"
            | "spread_element"
            | "list_splat"
            | "generator_expression"
            | "expression_list"
            | "dictionary"
            | "object"
            | "pair"
            | "class"
    ) {
        return;
    }
    let text = generator.at(node).to_owned();
    if text.len() > 100 {
        return;
    }
    let kinds = generator.kinds_of(node);
    let simple = super::is_atom(node);
    let operand = if simple {
        text.clone()
    } else {
        format!("({text})")
    };
    let extra = match place {
        Place::Returned | Place::Stored => 0.0,
        Place::Passed => 0.5,
    };
    let sequence = may(&kinds, &["sequence", "set"]);
    let mapping = may(&kinds, &["mapping"]);
    let number = may(&kinds, &["number"]);
    let words = may(&kinds, &["text"]);
    let mut options: Vec<(String, f64)> = Vec::new();
    let copied = matches!(
        node.kind(),
        "identifier" | "attribute" | "member_expression" | "subscript" | "subscript_expression"
    );
    if generator.py() {
        if sequence && copied {
            options.push((format!("list({text})"), 2.0));
            options.push((format!("{operand}[:]"), 2.4));
        }
        if (sequence || mapping) && copied {
            options.push((format!("{operand}.copy()"), 2.3));
        }
        if mapping && copied {
            options.push((format!("dict({text})"), 2.5));
        }
        if sequence {
            options.push((format!("sorted({text})"), 2.4));
            options.push((format!("{operand}[::-1]"), 2.6));
            options.push((format!("set({text})"), 2.9));
            options.push((format!("len({text})"), 2.8));
            options.push((format!("tuple({text})"), 3.0));
            options.push((format!("list(reversed({text}))"), 3.0));
            options.push((format!("sum({text})"), 3.4));
        }
        if number {
            options.push((format!("int({text})"), 2.5));
            options.push((format!("round({text}, 2)"), 2.5));
            options.push((format!("abs({text})"), 2.5));
            options.push((format!("max(0, {text})"), 2.6));
            options.push((format!("float({text})"), 2.8));
            options.push((format!("round({text})"), 2.9));
            options.push((format!("-{operand}"), 2.8));
            options.push((format!("str({text})"), 2.5));
        }
        if words {
            options.push((format!("{operand}.strip()"), 2.5));
            options.push((format!("{operand}.lower()"), 2.5));
            options.push((format!("int({text})"), 2.5));
            options.push((format!("float({text})"), 2.8));
            options.push((format!("str({text})"), 2.6));
        }
        if place == Place::Returned {
            let scope = generator.scope(node);
            let list = matches!(node.kind(), "list" | "list_comprehension");
            for (index, value) in scope.values.iter().take(6).enumerate() {
                let kinds = scope.kinds.get(value).cloned().unwrap_or_default();
                if list && kinds.contains("sequence") && *value != text {
                    options.push((format!("{value} + {text}"), 2.6 + 0.05 * index as f64));
                    options.push((format!("{text} + {value}"), 2.7 + 0.05 * index as f64));
                } else if !list
                    && number
                    && kinds.contains("number")
                    && *value != text
                    && node.kind() != "list"
                {
                    for sign in ["+", "-", "*"] {
                        options.push((
                            format!("{operand} {sign} {value}"),
                            2.8 + 0.05 * index as f64,
                        ));
                    }
                }
            }
        }
        if place == Place::Returned {
            options.push((generator.not(node), 2.0));
            options.push((format!("bool({text})"), 3.0));
            options.push((format!("[{text}]"), 3.0));
            if number {
                options.push((format!("{operand} + 1"), 2.2));
                options.push((format!("{operand} - 1"), 2.2));
            }
        }
        if place == Place::Stored {
            options.push((format!("{operand} or []"), 3.4));
            if number && !matches!(node.kind(), "list") {
                options.push((format!("{operand} + 1"), 2.4));
                options.push((format!("{operand} - 1"), 2.4));
            }
        }
        if place == Place::Passed && !matches!(node.kind(), "list") {
            options.push((format!("[{text}]"), 3.0));
            options.push((format!("*{operand}"), 3.0));
        }
        if matches!(node.kind(), "call")
            && up(node, &["function_definition"])
                .is_some_and(|function| generator.at(function).starts_with("async"))
        {
            options.push((format!("await {text}"), 1.2));
        }
    } else {
        if copied && sequence {
            options.push((format!("[...{text}]"), 2.0));
        }
        if copied && mapping {
            options.push((format!("{{ ...{text} }}"), 2.2));
            options.push((format!("structuredClone({text})"), 3.2));
        }
        if number {
            options.push((format!("Number({text})"), 2.4));
            options.push((format!("Math.abs({text})"), 2.5));
            options.push((format!("Math.floor({text})"), 2.4));
            options.push((format!("Math.round({text})"), 2.6));
            options.push((format!("Math.max(0, {text})"), 2.6));
            options.push((format!("-{operand}"), 2.8));
        }
        if words {
            options.push((format!("String({text})"), 2.6));
            options.push((format!("{operand}.trim()"), 2.5));
            options.push((format!("{operand}.toLowerCase()"), 2.5));
        }
        if place == Place::Returned {
            options.push((generator.not(node), 2.0));
            options.push((format!("{operand}.length"), 3.0));
            options.push((format!("[{text}]"), 3.0));
            if number {
                options.push((format!("{operand} + 1"), 2.2));
                options.push((format!("{operand} - 1"), 2.2));
            }
        }
        if place == Place::Stored && number {
            options.push((format!("{operand} + 1"), 2.4));
            options.push((format!("{operand} - 1"), 2.4));
        }
        if place == Place::Passed {
            options.push((format!("...{operand}"), 2.8));
        }
        if node.kind() == "call_expression" && in_async(generator, node) {
            options.push((format!("await {text}"), 1.1));
        }
    }
    for (option, cost) in options {
        generator.swap(node, option, "wrap", cost + extra);
    }
}

fn in_async(generator: &Gen<'_>, node: Node<'_>) -> bool {
    up(node, crate::source::FUNCTIONS)
        .is_some_and(|function| generator.at(function).starts_with("async"))
}

pub(super) fn iterated(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    let kinds = generator.kinds_of(node);
    let mut options: Vec<(String, f64)> = Vec::new();
    if generator.py() {
        if !text.starts_with("range(") {
            options.extend([
                (format!("list({text})"), 1.9),
                (format!("reversed({text})"), 2.0),
                (format!("sorted({text})"), 2.0),
                (format!("set({text})"), 2.8),
                (format!("{text}[1:]"), 2.2),
                (format!("{text}[:-1]"), 2.2),
            ]);
            if let Some(inner) = text
                .strip_prefix("enumerate(")
                .and_then(|rest| rest.strip_suffix(')'))
            {
                options.push((format!("enumerate({inner}, 1)"), 1.6));
                options.push((inner.to_owned(), 2.8));
            }
            if may(&kinds, &["mapping"]) && !text.ends_with(')') {
                options.push((format!("{text}.items()"), 1.8));
                options.push((format!("{text}.values()"), 2.0));
            }
        } else {
            options.push((format!("reversed({text})"), 2.4));
        }
    } else if node
        .parent()
        .is_some_and(|parent| parent.kind() == "for_in_statement")
    {
        if let Some(operator) = node.parent().and_then(|parent| field(parent, "operator")) {
            let other = if generator.at(operator) == "of" {
                "in"
            } else {
                "of"
            };
            generator.swap(operator, other, "for-of", 1.3);
        }
        options.extend([
            (format!("[...{text}]"), 2.0),
            (format!("[...{text}].reverse()"), 2.2),
            (format!("Object.entries({text})"), 2.2),
            (format!("Object.keys({text})"), 2.2),
            (format!("Object.values({text})"), 2.2),
            (format!("{text}.slice(1)"), 2.4),
        ]);
    }
    if generator.py() && matches!(node.kind(), "identifier" | "attribute") {
        let scope = generator.scope(node);
        for value in scope.values.iter().take(8) {
            if scope
                .kinds
                .get(value)
                .is_some_and(|kinds| kinds.contains("number"))
                && !text.contains(value.as_str())
            {
                options.push((format!("{text}[{value}:]"), 2.3));
                options.push((format!("{text}[:{value}]"), 2.4));
            }
        }
    }
    for (option, cost) in options {
        generator.swap(node, option, "iterate", cost);
    }
}

pub(super) fn comprehension(generator: &mut Gen<'_>, node: Node<'_>) {
    let parts = named(node);
    for part in &parts {
        if part.kind() == "if_clause" {
            let start = generator
                .src
                .text
                .get(..part.start_byte())
                .map_or(part.start_byte(), |before| before.trim_end().len());
            generator.edit(
                vec![Edit {
                    range: start..part.end_byte(),
                    text: String::new(),
                }],
                "drop-filter",
                2.6,
            );
        }
    }
    let filtered = parts.iter().any(|part| part.kind() == "if_clause");
    if let (false, Some(last), Some(target)) = (
        filtered,
        parts.last(),
        parts
            .iter()
            .find(|part| part.kind() == "for_in_clause")
            .and_then(|clause| field(*clause, "left")),
    ) {
        let name = generator.at(target).to_owned();
        if target.kind() == "identifier" {
            for (test, cost) in [
                (name.clone(), 2.6),
                (format!("{name} is not None"), 2.8),
                (format!("{name} > 0"), 3.0),
            ] {
                generator.edit(
                    vec![Edit {
                        range: last.end_byte()..last.end_byte(),
                        text: format!(" if {test}"),
                    }],
                    "add-filter",
                    cost,
                );
            }
        }
    }
    if node.kind() == "list_comprehension" && parts.len() > 2 {
        let clauses: Vec<&Node<'_>> = parts
            .iter()
            .filter(|part| part.kind() == "for_in_clause")
            .collect();
        if let [a, b] = clauses.as_slice() {
            let (left, right) = (generator.at(**a).to_owned(), generator.at(**b).to_owned());
            generator.edit(
                vec![
                    Edit {
                        range: a.byte_range(),
                        text: right,
                    },
                    Edit {
                        range: b.byte_range(),
                        text: left,
                    },
                ],
                "swap-elements",
                2.2,
            );
        }
    }
}
