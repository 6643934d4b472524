//! Expressions: constants, collections, conditional expressions, assignments; operators,
//! subscripts and texts have modules of their own.

use super::{Gen, is_atom, is_value, operators, strings, subscripts};
use crate::candidate::Edit;
use crate::source::{binary, field, named};
use tree_sitter::Node;

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    if let Some((left, operator, right)) = binary(node) {
        operators::two_sided(generator, node, left, operator, right);
    }
    match node.kind() {
        "comparison_operator" if node.child_count() > 3 => operators::chained(generator, node),
        "not_operator" => {
            if let Some(inner) = field(node, "argument") {
                let text = generator.at(inner).to_owned();
                generator.swap(node, text, "drop-not", 1.3);
            }
        }
        "unary_operator" | "unary_expression" => operators::unary(generator, node),
        "integer" | "float" | "number" => number(generator, node),
        "true" | "false" => {
            let (yes, no) = generator.truth();
            let other = if node.kind() == "true" { no } else { yes };
            generator.swap(node, other, "flip-boolean", 1.4);
            if node
                .parent()
                .is_some_and(|parent| parent.kind() == "return_statement")
            {
                verdict(generator, node);
            }
        }
        "none" | "null" if is_value(node) => {
            let options: &[&str] = if generator.py() {
                &["[]", "0", "''", "{}", "False", "True"]
            } else {
                &["[]", "0", "''", "{}", "false", "true"]
            };
            for (index, text) in options.iter().enumerate() {
                generator.swap(node, *text, "replace-none", 3.0 + 0.15 * index as f64);
            }
        }
        "undefined" => generator.swap(node, "null", "replace-none", 3.0),
        "list" | "array" | "dictionary" | "object" if node.named_child_count() == 0 => {
            empty(generator, node)
        }
        "list" | "array" => collection(generator, node),
        "tuple" | "expression_list" => collection(generator, node),
        "subscript" | "subscript_expression" => subscripts::subscript(generator, node),
        "slice" => subscripts::slice(generator, node),
        "conditional_expression" | "ternary_expression" => ternary(generator, node),
        "augmented_assignment" | "augmented_assignment_expression" => augmented(generator, node),
        "assignment" | "assignment_expression" => assignment(generator, node),
        "update_expression" => {
            let text = generator.at(node);
            let other = if text.contains("++") {
                text.replace("++", "--")
            } else {
                text.replace("--", "++")
            };
            generator.swap(node, other, "operator", 1.6);
        }
        "string" => strings::string(generator, node),
        "format_specifier" => strings::format_specifier(generator, node),
        "yield" => {
            let text = generator.at(node).to_owned();
            if let Some(rest) = text.strip_prefix("yield from ") {
                generator.swap(node, format!("yield {rest}"), "yield", 1.8);
            } else if let Some(rest) = text.strip_prefix("yield ") {
                generator.swap(node, format!("yield from {rest}"), "yield", 1.8);
            }
        }
        "await" | "await_expression" => {
            if let Some(inner) = node.named_child(0) {
                let text = generator.at(inner).to_owned();
                generator.swap(node, text, "drop-await", 3.5);
            }
        }
        "regex" => strings::regex(generator, node),
        _ => {}
    }
}

/// A fixed answer where the state decides: `return True` for `return not stack`.
fn verdict(generator: &mut Gen<'_>, node: Node<'_>) {
    let scope = generator.scope(node);
    let python = generator.py();
    for (index, name) in scope.values.iter().take(8).enumerate() {
        let kinds = scope.kinds.get(name).cloned().unwrap_or_default();
        let far = 0.05 * index as f64;
        let known = |kind: &str| kinds.contains(kind);
        let mut options: Vec<(String, f64)> = Vec::new();
        if known("sequence") || known("mapping") || known("set") || !python && kinds.is_empty() {
            options.push((
                if python {
                    format!("not {name}")
                } else {
                    format!("{name}.length === 0")
                },
                2.1,
            ));
        }
        if known("number") || kinds.is_empty() {
            options.push((
                if python {
                    format!("{name} == 0")
                } else {
                    format!("{name} === 0")
                },
                2.2,
            ));
        }
        if known("bool") {
            options.push((name.clone(), 2.2));
        }
        for (text, cost) in options {
            generator.swap(node, text, "verdict", cost + far);
        }
    }
}

fn number(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    if let Ok(value) = text.parse::<i64>() {
        let negative = node
            .parent()
            .is_some_and(|parent| matches!(parent.kind(), "unary_operator" | "unary_expression"));
        let bare_index = node
            .parent()
            .is_some_and(|parent| matches!(parent.kind(), "subscript" | "subscript_expression"));
        let near = if value.abs() <= 10 { 1.4 } else { 2.2 };
        generator.swap(node, (value + 1).to_string(), "constant", near);
        if value > 0 {
            generator.swap(node, (value - 1).to_string(), "constant", near);
        } else if !negative && (generator.py() || !bare_index) {
            generator.swap(node, "-1", "constant", 1.8);
        }
        if !negative && value > 0 {
            generator.swap(node, format!("-{value}"), "constant", 2.6);
        }
        if value.abs() <= 3 {
            for (other, cost) in [(0, 2.0), (1, 2.0), (2, 2.3)] {
                if other != value && (other - value).abs() > 1 {
                    generator.swap(node, other.to_string(), "constant", cost);
                }
            }
        }
        if value == 0 && !negative {
            let extreme: &[&str] = if generator.py() {
                &["float('inf')", "float('-inf')", "None"]
            } else {
                &["Infinity", "-Infinity", "null"]
            };
            for other in extreme {
                generator.swap(node, *other, "constant", 3.0);
            }
            generator.swap(node, "''", "constant", 3.6);
            generator.swap(node, "[]", "constant", 3.8);
        }
        if value >= 10 {
            for other in [value * 10, value / 10] {
                generator.swap(node, other.to_string(), "constant-scale", 2.8);
            }
        }
    } else if let Ok(value) = text.parse::<f64>() {
        for other in [
            value * 10.0,
            value / 10.0,
            value * 100.0,
            value / 100.0,
            1.0 - value,
            value + 1.0,
            value - 1.0,
        ] {
            let spelled = format!("{other:.6}");
            let spelled = spelled.trim_end_matches('0');
            let spelled = if spelled.ends_with('.') {
                format!("{spelled}0")
            } else {
                spelled.to_owned()
            };
            generator.swap(node, spelled, "constant-scale", 2.6);
        }
    }
    let donors: Vec<String> = generator
        .file
        .numbers
        .iter()
        .filter(|other| **other != text)
        .take(12)
        .cloned()
        .collect();
    for (index, other) in donors.into_iter().enumerate() {
        generator.swap(node, other, "constant-donor", 2.7 + 0.1 * index as f64);
    }
}

fn empty(generator: &mut Gen<'_>, node: Node<'_>) {
    if !is_value(node) {
        return;
    }
    let options: &[&str] = match (node.kind(), generator.py()) {
        ("list", true) => &["[[]]", "{}", "set()", "None", "''"],
        ("dictionary", true) => &["[]", "set()", "None"],
        ("array", _) => &["[[]]", "{}", "new Set()", "null", "''"],
        _ => &["[]", "new Map()", "null", "Object.create(null)"],
    };
    for (index, text) in options.iter().enumerate() {
        generator.swap(node, *text, "replace-empty", 2.6 + 0.2 * index as f64);
    }
}

fn collection(generator: &mut Gen<'_>, node: Node<'_>) {
    let items = named(node);
    for pair in items.windows(2).take(6) {
        if let [a, b] = pair {
            let (left, right) = (generator.at(*a).to_owned(), generator.at(*b).to_owned());
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
    if let [only] = items.as_slice()
        && matches!(node.kind(), "list" | "array")
        && matches!(only.kind(), "list" | "array")
        && only.named_child_count() == 0
    {
        generator.swap(node, "[]", "replace-empty", 2.2);
    }
}

fn ternary(generator: &mut Gen<'_>, node: Node<'_>) {
    let parts = named(node);
    let [first, second, third] = parts.as_slice() else {
        return;
    };
    let (yes, test, no) = if generator.py() {
        (*first, *second, *third)
    } else {
        (*second, *first, *third)
    };
    let (a, b) = (generator.at(yes).to_owned(), generator.at(no).to_owned());
    generator.edit(
        vec![
            Edit {
                range: yes.byte_range(),
                text: b.clone(),
            },
            Edit {
                range: no.byte_range(),
                text: a.clone(),
            },
        ],
        "swap-branches",
        1.6,
    );
    let negated = generator.not(test);
    generator.swap(test, negated, "negate", 1.8);
    generator.swap(node, a, "drop-branch", 3.4);
    generator.swap(node, b, "drop-branch", 3.4);
}

fn augmented(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(operator) = field(node, "operator") else {
        return;
    };
    let symbol = generator.at(operator).to_owned();
    let others: &[(&str, f64)] = match symbol.as_str() {
        "+=" => &[("-=", 1.3), ("=", 1.6), ("*=", 2.0)],
        "-=" => &[("+=", 1.3), ("=", 1.8), ("/=", 2.6)],
        "*=" => &[("+=", 1.6), ("/=", 1.6), ("=", 2.2), ("**=", 2.6)],
        "/=" => &[("//=", 1.2), ("*=", 1.5), ("-=", 2.4), ("%=", 2.6)],
        "//=" => &[("/=", 1.4), ("%=", 2.0), ("-=", 2.2), ("*=", 2.2)],
        "%=" => &[("//=", 1.8), ("/=", 2.0)],
        "&=" => &[("|=", 1.4), ("^=", 1.6)],
        "|=" => &[("&=", 1.4), ("^=", 1.6)],
        "^=" => &[("|=", 1.5), ("&=", 1.4)],
        "<<=" => &[(">>=", 1.3)],
        ">>=" => &[("<<=", 1.3)],
        "||=" => &[("??=", 1.4), ("&&=", 1.8)],
        _ => &[],
    };
    for (other, cost) in others {
        if !generator.py() && *other == "//=" {
            continue;
        }
        generator.swap(operator, *other, "operator", *cost);
    }
}

fn assignment(generator: &mut Gen<'_>, node: Node<'_>) {
    let (Some(left), Some(right)) = (field(node, "left"), field(node, "right")) else {
        return;
    };
    if matches!(
        left.kind(),
        "pattern_list" | "tuple_pattern" | "array_pattern" | "object_pattern"
    ) || field(node, "type").is_some()
    {
        if matches!(
            left.kind(),
            "pattern_list" | "tuple_pattern" | "array_pattern"
        ) && left.named_child_count() == 2
        {
            let items = named(left);
            if let [a, b] = items.as_slice() {
                let (x, y) = (generator.at(*a).to_owned(), generator.at(*b).to_owned());
                generator.edit(
                    vec![
                        Edit {
                            range: a.byte_range(),
                            text: y,
                        },
                        Edit {
                            range: b.byte_range(),
                            text: x,
                        },
                    ],
                    "swap-elements",
                    2.0,
                );
            }
        }
        return;
    }
    let (target, value) = (
        generator.at(left).to_owned(),
        generator.at(right).to_owned(),
    );
    for (operator, cost) in [("+=", 1.7), ("-=", 2.6), ("*=", 2.8)] {
        generator.swap(
            node,
            format!("{target} {operator} {value}"),
            "accumulate",
            cost,
        );
    }
    if generator.py() {
        generator.swap(node, format!("{target} |= {value}"), "accumulate", 3.4);
    }
    if is_atom(right) && right.kind() != "string" && is_value(right) {
        for (pattern, cost) in [("max", 2.4), ("min", 2.4)] {
            let call = if generator.py() {
                format!("{pattern}({target}, {value})")
            } else {
                format!("Math.{pattern}({target}, {value})")
            };
            generator.swap(right, call, "accumulate", cost);
        }
    }
    if !matches!(
        right.kind(),
        "string" | "list" | "dictionary" | "array" | "object" | "none"
    ) {
        for (operator, cost) in [("+", 2.4), ("-", 3.0)] {
            generator.swap(
                right,
                format!("{target} {operator} {value}"),
                "accumulate",
                cost + 0.2,
            );
        }
    }
}
