//! Operators, constants, subscripts, slices, conditional expressions.

use super::{Gen, is_atom, is_value};
use crate::candidate::Edit;
use crate::source::{binary, children, field, named};
use tree_sitter::Node;

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    if let Some((left, operator, right)) = binary(node) {
        two_sided(generator, node, left, operator, right);
    }
    match node.kind() {
        "comparison_operator" if node.child_count() > 3 => chained(generator, node),
        "not_operator" => {
            if let Some(inner) = field(node, "argument") {
                let text = generator.at(inner).to_owned();
                generator.swap(node, text, "drop-not", 1.3);
            }
        }
        "unary_operator" | "unary_expression" => unary(generator, node),
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
        "subscript" | "subscript_expression" => subscript(generator, node),
        "slice" => slice(generator, node),
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
        "string" => string(generator, node),
        "format_specifier" => format_specifier(generator, node),
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
        "regex" => regex(generator, node),
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

/// Other operators that are easily confused with this one, likeliest first.
fn alternatives(operator: &str, python: bool) -> &'static [(&'static str, f64)] {
    match operator {
        "<" => &[
            ("<=", 1.0),
            (">", 1.2),
            (">=", 1.5),
            ("==", 2.4),
            ("!=", 2.4),
        ],
        "<=" => &[
            ("<", 1.0),
            (">=", 1.2),
            (">", 1.5),
            ("==", 2.4),
            ("!=", 2.6),
        ],
        ">" => &[
            (">=", 1.0),
            ("<", 1.2),
            ("<=", 1.5),
            ("==", 2.4),
            ("!=", 2.4),
        ],
        ">=" => &[
            (">", 1.0),
            ("<=", 1.2),
            ("<", 1.5),
            ("==", 2.4),
            ("!=", 2.6),
        ],
        "==" if python => &[
            ("!=", 1.2),
            (">=", 1.8),
            ("<=", 1.8),
            ("<", 2.2),
            (">", 2.2),
            ("is", 2.6),
            ("in", 2.8),
        ],
        "==" => &[
            ("!=", 1.2),
            ("===", 1.3),
            (">=", 1.8),
            ("<=", 1.8),
            ("<", 2.2),
            (">", 2.2),
        ],
        "!=" if python => &[
            ("==", 1.2),
            ("is not", 2.4),
            ("<", 2.0),
            (">", 2.0),
            ("not in", 2.8),
        ],
        "!=" => &[("==", 1.2), ("!==", 1.3), ("<", 2.0), (">", 2.0)],
        "===" => &[
            ("!==", 1.2),
            ("==", 1.6),
            (">=", 1.8),
            ("<=", 1.8),
            ("<", 2.2),
            (">", 2.2),
        ],
        "!==" => &[("===", 1.2), ("!=", 1.6), ("<", 2.0), (">", 2.0)],
        "is" => &[("==", 1.1), ("is not", 1.2)],
        "is not" => &[("!=", 1.2), ("is", 1.2)],
        "in" if python => &[("not in", 1.3), ("==", 2.8)],
        "not in" => &[("in", 1.3)],
        "and" => &[("or", 1.1)],
        "or" => &[("and", 1.1)],
        "&&" => &[("||", 1.1), ("??", 3.0)],
        "||" => &[("&&", 1.1), ("??", 1.2)],
        "??" => &[("||", 1.3), ("&&", 2.0)],
        "+" => &[("-", 1.2), ("*", 1.9), ("/", 2.8)],
        "-" => &[("+", 1.2), ("*", 2.4), ("/", 2.8), ("%", 3.2)],
        "*" if python => &[
            ("+", 1.8),
            ("/", 1.8),
            ("**", 1.9),
            ("//", 2.2),
            ("-", 2.5),
            ("%", 3.0),
        ],
        "*" => &[("+", 1.8), ("/", 1.8), ("**", 2.0), ("-", 2.5), ("%", 3.0)],
        "/" if python => &[("//", 1.2), ("*", 1.6), ("%", 2.4), ("-", 2.8), ("+", 3.0)],
        "/" => &[("*", 1.6), ("%", 2.0), ("-", 2.8), ("+", 3.0)],
        "//" => &[("/", 1.2), ("%", 1.8), ("*", 2.2), ("-", 2.8)],
        "%" if python => &[("//", 1.6), ("/", 1.8), ("*", 2.2), ("-", 2.6)],
        "%" => &[("/", 1.6), ("*", 2.2), ("-", 2.6)],
        "**" => &[("*", 1.6), ("^", 3.0)],
        "&" => &[("|", 1.3), ("^", 1.6), ("-", 2.6), ("and", 2.8)],
        "|" => &[("&", 1.3), ("^", 1.6), ("or", 2.8)],
        "^" => &[("&", 1.4), ("|", 1.5), ("**", 1.5)],
        "<<" => &[(">>", 1.3)],
        ">>" => &[("<<", 1.3)],
        ">>>" => &[(">>", 1.3)],
        _ => &[],
    }
}

fn two_sided(
    generator: &mut Gen<'_>,
    node: Node<'_>,
    left: Node<'_>,
    operator: Node<'_>,
    right: Node<'_>,
) {
    let symbol = generator
        .at(operator)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let (l, r) = (
        generator.at(left).to_owned(),
        generator.at(right).to_owned(),
    );
    let text_like = matches!(left.kind(), "string" | "template_string")
        || matches!(right.kind(), "string" | "template_string");
    for (other, cost) in alternatives(&symbol, generator.py()) {
        if text_like
            && matches!(
                *other,
                "-" | "*" | "/" | "//" | "**" | "<" | ">" | "<=" | ">="
            )
        {
            continue;
        }
        if !generator.py() && matches!(*other, "and" | "or") {
            continue;
        }
        generator.swap(operator, *other, "operator", *cost);
    }
    let commutes = matches!(
        symbol.as_str(),
        "+" | "*" | "==" | "!=" | "===" | "!==" | "&" | "|" | "^" | "and" | "or" | "&&" | "||"
    );
    let comparing = matches!(
        symbol.as_str(),
        "<" | ">" | "<=" | ">=" | "==" | "!=" | "===" | "!=="
    );
    let arithmetic = matches!(symbol.as_str(), "+" | "-" | "*" | "/" | "//" | "%" | "**");
    if l != r && !commutes && !comparing && !matches!(symbol.as_str(), "is" | "is not") {
        generator.edit(
            vec![
                Edit {
                    range: left.byte_range(),
                    text: r.clone(),
                },
                Edit {
                    range: right.byte_range(),
                    text: l.clone(),
                },
            ],
            "swap-operands",
            1.9,
        );
    } else if symbol == "+"
        && l != r
        && !matches!(left.kind(), "integer" | "number")
        && !matches!(right.kind(), "integer" | "number")
    {
        generator.edit(
            vec![
                Edit {
                    range: left.byte_range(),
                    text: r.clone(),
                },
                Edit {
                    range: right.byte_range(),
                    text: l.clone(),
                },
            ],
            "swap-operands",
            2.6,
        );
    }
    if matches!(symbol.as_str(), "<" | ">" | "<=" | ">=") && !text_like {
        for (delta, cost) in [("+ 1", 2.2), ("- 1", 2.2)] {
            if is_atom(right) && !matches!(right.kind(), "integer" | "number" | "float") {
                generator.swap(right, format!("{r} {delta}"), "bound", cost);
            }
            if is_atom(left) && !matches!(left.kind(), "integer" | "number" | "float") {
                generator.swap(left, format!("{l} {delta}"), "bound", cost + 0.4);
            }
        }
    }
    if arithmetic || matches!(symbol.as_str(), "and" | "or" | "&&" | "||" | "??") {
        let logical = !arithmetic;
        let (drop_right, drop_left) = if logical { (2.4, 2.4) } else { (2.8, 3.2) };
        generator.swap(node, l.clone(), "drop-operand", drop_right);
        generator.swap(node, r.clone(), "drop-operand", drop_left);
    }
    if matches!(symbol.as_str(), "and" | "or" | "&&" | "||") {
        for side in [left, right] {
            if !matches!(side.kind(), "not_operator" | "unary_expression") {
                let text = generator.not(side);
                generator.swap(side, text, "negate", 2.0);
            }
        }
    }
    if arithmetic {
        reassociate(generator, node, left, operator, right);
        if is_atom(node) || node.parent().is_some_and(|parent| binary(parent).is_none()) {
            for (suffix, cost) in [(" + 1", 2.4), (" - 1", 2.4)] {
                if !text_like {
                    generator.swap(
                        node,
                        format!("{}{suffix}", generator.at(node)),
                        "bound",
                        cost,
                    );
                }
            }
        }
    }
    repeated(generator, node, left, &symbol, right);
    if matches!(symbol.as_str(), "//" | "/") && is_atom(right) && generator.py() {
        let numerator = if is_atom(left) || symbol == "//" {
            l.clone()
        } else {
            format!("({l})")
        };
        generator.swap(
            node,
            format!("({numerator} + {r} - 1) // {r}"),
            "ceiling",
            2.0,
        );
        generator.swap(
            node,
            format!(
                "-(-{} // {r})",
                if is_atom(left) {
                    l.clone()
                } else {
                    format!("({l})")
                }
            ),
            "ceiling",
            2.2,
        );
    }
    if matches!(symbol.as_str(), "+" | "-") && !text_like {
        further_terms(generator, node);
    }
    if symbol == "/" && generator.py() {
        generator.swap(node, format!("int({})", generator.at(node)), "wrap", 3.0);
    }
    if !generator.py() && matches!(symbol.as_str(), "/") {
        generator.swap(
            node,
            format!("Math.floor({})", generator.at(node)),
            "wrap",
            1.8,
        );
        generator.swap(
            node,
            format!("Math.ceil({})", generator.at(node)),
            "wrap",
            2.6,
        );
        generator.swap(
            node,
            format!("Math.round({})", generator.at(node)),
            "wrap",
            2.6,
        );
    }
}

/// `[row] * n` shares one row; `[0] * n` may have meant the numbers themselves.
fn repeated(
    generator: &mut Gen<'_>,
    node: Node<'_>,
    left: Node<'_>,
    symbol: &str,
    right: Node<'_>,
) {
    if !generator.py() || symbol != "*" || left.kind() != "list" {
        return;
    }
    let items = named(left);
    let [only] = items.as_slice() else { return };
    let (item, count) = (
        generator.at(*only).to_owned(),
        generator.at(right).to_owned(),
    );
    let count = count
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
        .unwrap_or(&count)
        .to_owned();
    match only.kind() {
        "binary_operator" | "list" | "dictionary" | "call" | "list_comprehension" | "set" => {
            generator.swap(
                node,
                format!("[{item} for _ in range({count})]"),
                "shared-rows",
                1.0,
            );
        }
        "integer" => generator.swap(node, format!("list(range({count}))"), "count-up", 2.2),
        _ => {}
    }
    if !count.contains('+') {
        generator.swap(right, format!("({count} + 1)"), "bound", 1.6);
    }
}

/// A term that was left out of a sum: a variable in scope or its length.
fn further_terms(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    let scope = generator.scope(node);
    for (index, name) in scope.values.iter().take(9).enumerate() {
        let kinds = scope.kinds.get(name).cloned().unwrap_or_default();
        let far = 0.07 * index as f64;
        if kinds.contains("number") {
            for sign in ["+", "-"] {
                generator.swap(
                    node,
                    format!("{text} {sign} {name}"),
                    "further-term",
                    2.8 + far,
                );
            }
        } else if ["sequence", "text", "set", "mapping"]
            .iter()
            .any(|kind| kinds.contains(*kind))
        {
            let length = generator.len(name);
            for sign in ["+", "-"] {
                generator.swap(
                    node,
                    format!("{text} {sign} {length}"),
                    "further-term",
                    2.9 + far,
                );
            }
        }
    }
}

/// `a + b * c` as `(a + b) * c`, and parentheses taken away.
fn reassociate(
    generator: &mut Gen<'_>,
    node: Node<'_>,
    left: Node<'_>,
    operator: Node<'_>,
    right: Node<'_>,
) {
    let symbol = generator.at(operator).to_owned();
    if let Some((a, inner, b)) = binary(right) {
        let text = format!(
            "({} {symbol} {}) {} {}",
            generator.at(left),
            generator.at(a),
            generator.at(inner),
            generator.at(b)
        );
        if generator.at(inner) != symbol || symbol == "-" || symbol == "/" {
            generator.swap(node, text, "reassociate", 2.2);
        }
    }
    if let Some((a, inner, b)) = binary(left) {
        let text = format!(
            "{} {} ({} {symbol} {})",
            generator.at(a),
            generator.at(inner),
            generator.at(b),
            generator.at(right)
        );
        if generator.at(inner) != symbol || symbol == "-" || symbol == "/" {
            generator.swap(node, text, "reassociate", 2.2);
        }
    }
    for side in [left, right] {
        if side.kind() == "parenthesized_expression"
            && let Some(inner) = side.named_child(0)
            && binary(inner).is_some()
        {
            let text = generator.at(inner).to_owned();
            generator.swap(side, text, "reassociate", 2.4);
        }
    }
}

fn chained(generator: &mut Gen<'_>, node: Node<'_>) {
    for child in children(node) {
        if !child.is_named() {
            let symbol = generator.at(child).to_owned();
            for (other, cost) in alternatives(&symbol, true).iter().take(3) {
                generator.swap(child, *other, "operator", *cost);
            }
        }
    }
}

fn unary(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(inner) = field(node, "argument") else {
        return;
    };
    let text = generator.at(inner).to_owned();
    match field(node, "operator").map(|operator| generator.at(operator)) {
        Some("-") => generator.swap(node, text, "drop-minus", 1.8),
        Some("!") => {
            generator.swap(node, text.clone(), "drop-not", 1.3);
        }
        Some("~") => generator.swap(node, text, "drop-minus", 2.4),
        _ => {}
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

fn subscript(generator: &mut Gen<'_>, node: Node<'_>) {
    let (object, index) = if generator.py() {
        (field(node, "value"), field(node, "subscript"))
    } else {
        (field(node, "object"), field(node, "index"))
    };
    let (Some(object), Some(index)) = (object, index) else {
        return;
    };
    if index.kind() == "slice" {
        return;
    }
    let (base, key) = (
        generator.at(object).to_owned(),
        generator.at(index).to_owned(),
    );
    let kinds = generator.kinds_of(object);
    let mapping = kinds.contains("mapping") || matches!(index.kind(), "string");
    if !matches!(
        index.kind(),
        "string" | "integer" | "number" | "unary_operator"
    ) && !mapping
    {
        generator.swap(index, format!("{key} - 1"), "index", 1.7);
        generator.swap(index, format!("{key} + 1"), "index", 1.7);
    }
    if index.kind() == "integer" && key == "0" {
        generator.swap(index, "-1", "index", 1.5);
    }
    if !generator.py() && key == "0" {
        generator.swap(index, format!("{base}.length - 1"), "index", 1.8);
    }
    if !generator.py() && key == format!("{base}.length") {
        generator.swap(index, format!("{base}.length - 1"), "index", 1.0);
    }
    if key == "-1" {
        generator.swap(index, "0", "index", 1.5);
    }
    if matches!(object.kind(), "subscript" | "subscript_expression") {
        let inner = if generator.py() {
            field(object, "subscript")
        } else {
            field(object, "index")
        };
        if let Some(inner) = inner {
            let other = generator.at(inner).to_owned();
            generator.edit(
                vec![
                    Edit {
                        range: inner.byte_range(),
                        text: key.clone(),
                    },
                    Edit {
                        range: index.byte_range(),
                        text: other,
                    },
                ],
                "swap-indices",
                1.9,
            );
        }
    }
    let stored = node.parent().is_some_and(|parent| {
        matches!(
            parent.kind(),
            "assignment"
                | "assignment_expression"
                | "augmented_assignment"
                | "augmented_assignment_expression"
        ) && field(parent, "left").is_some_and(|left| left.id() == node.id())
    });
    let deleted = node
        .parent()
        .is_some_and(|parent| parent.kind() == "delete_statement");
    if !stored && !deleted {
        generator.swap(node, base.clone(), "drop-subscript", 3.2);
        if generator.py() && !matches!(index.kind(), "integer") && (kinds.is_empty() || mapping) {
            generator.swap(node, format!("{base}.get({key})"), "get", 2.2);
            for (default, cost) in [
                ("0", 2.2),
                ("[]", 2.6),
                ("''", 2.8),
                ("{}", 3.0),
                ("False", 3.2),
            ] {
                generator.swap(node, format!("{base}.get({key}, {default})"), "get", cost);
            }
        }
        if !generator.py() && is_value(node) {
            generator.swap(node, format!("{base}?.[{key}]"), "optional-chain", 1.9);
            for (default, cost) in [("0", 2.2), ("[]", 2.6), ("''", 3.0), ("{}", 3.0)] {
                generator.swap(node, format!("({base}[{key}] ?? {default})"), "get", cost);
            }
        }
    }
}

fn slice(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    let mut parts: Vec<String> = vec![String::new()];
    for child in children(node) {
        if child.is_named() {
            if let Some(last) = parts.last_mut() {
                last.push_str(generator.at(child));
            }
        } else {
            parts.push(String::new());
        }
    }
    parts.resize(3, String::new());
    let [start, stop, step] = parts.as_slice() else {
        return;
    };
    let spell = |start: &str, stop: &str, step: &str| {
        if step.is_empty() {
            format!("{start}:{stop}")
        } else {
            format!("{start}:{stop}:{step}")
        }
    };
    let mut options: Vec<(String, f64)> = Vec::new();
    for (delta, cost) in [(" + 1", 1.6), (" - 1", 1.6)] {
        if !start.is_empty() && start.parse::<i64>().is_err() {
            options.push((spell(&format!("{start}{delta}"), stop, step), cost));
        }
        if !stop.is_empty() && stop.parse::<i64>().is_err() {
            options.push((spell(start, &format!("{stop}{delta}"), step), cost));
        }
    }
    if start.is_empty() {
        options.push((spell("1", stop, step), 1.8));
    } else {
        options.push((spell("", stop, step), 2.0));
        if stop.is_empty() {
            options.push((spell("", start, step), 1.8));
            options.push((spell(&format!("-{start}"), "", step), 2.2));
        }
    }
    if stop.is_empty() {
        options.push((spell(start, "-1", step), 1.9));
    } else {
        options.push((spell(start, "", step), 2.0));
        if start.is_empty() {
            options.push((spell(stop, "", step), 1.8));
        } else {
            options.push((spell(stop, start, step), 2.4));
        }
    }
    if step.is_empty() {
        options.push((spell(start, stop, "-1"), 2.2));
    } else {
        options.push((spell(start, stop, ""), 2.0));
    }
    for (option, cost) in options {
        if option != text {
            generator.swap(node, option, "slice", cost);
        }
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

fn string(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    if text.len() > 80 || text.starts_with("\"\"\"") || text.starts_with("'''") {
        return;
    }
    let Some(quote) = text.chars().last() else {
        return;
    };
    let Some(open) = text.find(quote) else { return };
    let prefix = text.get(..open).unwrap_or_default().to_owned();
    if prefix.contains(['f', 'F']) {
        return;
    }
    let inner = text
        .get(open + 1..text.len().saturating_sub(1))
        .unwrap_or_default()
        .to_owned();
    let donors: Vec<String> = generator
        .file
        .strings
        .iter()
        .filter(|other| **other != inner)
        .cloned()
        .collect();
    let mut ranked: Vec<(f64, String)> = donors
        .into_iter()
        .filter(|other| !other.contains(quote) && !other.contains('\n'))
        .map(|other| (super::names::distance(&inner, &other), other))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (index, (distance, other)) in ranked.into_iter().take(10).enumerate() {
        let cost = if distance < 0.4 {
            1.6
        } else {
            2.7 + 0.12 * index as f64
        };
        generator.swap(
            node,
            format!("{prefix}{quote}{other}{quote}"),
            "string-donor",
            cost,
        );
    }
    let mut options: Vec<(String, f64)> = Vec::new();
    match inner.as_str() {
        "" => options.push((" ".into(), 2.2)),
        " " => options.extend([
            (String::new(), 2.0),
            (", ".into(), 3.0),
            ("\\n".into(), 3.2),
        ]),
        "," => options.extend([(", ".into(), 1.8), (";".into(), 2.6)]),
        ", " => options.push((",".into(), 1.8)),
        "\\n" => options.extend([(String::new(), 2.6), (" ".into(), 3.0)]),
        _ => {}
    }
    if inner.len() > 1 {
        let lower = inner.to_lowercase();
        if lower != inner {
            options.push((lower, 2.6));
        }
        let trimmed = inner.trim().to_owned();
        if trimmed != inner && !trimmed.is_empty() {
            options.push((trimmed, 2.4));
        }
        if !inner.ends_with(' ') {
            options.push((format!("{inner} "), 3.4));
        }
    }
    if let Some(other) = match inner.as_str() {
        "r" => Some("rb"),
        "w" => Some("a"),
        "a" => Some("w"),
        "(" => Some(")"),
        ")" => Some("("),
        "[" => Some("]"),
        "]" => Some("["),
        "{" => Some("}"),
        "}" => Some("{"),
        _ => None,
    } {
        options.push((other.to_owned(), 2.0));
    }
    for (from, to, cost) in [
        ("%d", "%s", 2.6),
        ("%m", "%M", 1.8),
        ("%M", "%m", 1.8),
        ("%y", "%Y", 1.8),
        ("%Y", "%y", 2.2),
        ("%H", "%I", 2.2),
        ("%I", "%H", 1.8),
    ] {
        if inner.contains(from) {
            options.push((inner.replacen(from, to, 1), cost));
        }
    }
    if inner.contains("%d/%m") {
        options.push((inner.replace("%d/%m", "%m/%d"), 1.8));
    }
    if inner.contains("%m-%d") {
        options.push((inner.replace("%m-%d", "%d-%m"), 2.0));
    }
    if inner.contains("%d-%m") {
        options.push((inner.replace("%d-%m", "%m-%d"), 1.8));
    }
    for (option, cost) in options {
        generator.swap(
            node,
            format!("{prefix}{quote}{option}{quote}"),
            "string",
            cost,
        );
    }
    let pattern = prefix.contains(['r', 'R'])
        || node
            .parent()
            .and_then(|parent| parent.parent())
            .is_some_and(|call| generator.at(call).starts_with("re."));
    if pattern {
        for (option, cost) in pattern_options(&inner) {
            generator.swap(
                node,
                format!("{prefix}{quote}{option}{quote}"),
                "pattern",
                cost,
            );
        }
    }
}

/// Small slips inside regular expressions.
fn pattern_options(inner: &str) -> Vec<(String, f64)> {
    let mut out = Vec::new();
    for (from, to) in [
        ("+", "*"),
        ("*", "+"),
        ("\\d", "\\w"),
        ("\\w", "\\d"),
        ("\\s", "\\S"),
        ("\\D", "\\d"),
        (".", "\\."),
        ("?", ""),
        ("\\b", ""),
        ("a-z", "a-zA-Z"),
        ("A-Z", "A-Za-z"),
        ("\\d", "\\d+"),
        ("\\w", "\\w+"),
        ("0-9", "0-9a-z"),
        (".*", ".*?"),
        (".+", ".+?"),
        ("\\w", "[\\w.]"),
        ("^", ""),
    ] {
        for (at, _) in inner.match_indices(from).take(3) {
            let mut option = inner.to_owned();
            option.replace_range(at..at + from.len(), to);
            out.push((option, 2.3));
        }
    }
    for (at, _) in inner.match_indices([']', ')']).take(4) {
        for quantifier in ["+", "*", "?"] {
            let mut option = inner.to_owned();
            option.insert_str(at + 1, quantifier);
            out.push((option, 2.8));
        }
    }
    if !inner.ends_with('$') {
        out.push((format!("{inner}$"), 2.2));
    }
    if !inner.starts_with('^') {
        out.push((format!("^{inner}"), 2.2));
    }
    for (at, _) in inner.match_indices('{').take(2) {
        if let Some(end) = inner.get(at..).and_then(|rest| rest.find('}'))
            && let Some(body) = inner.get(at + 1..at + end)
        {
            let mut numbers: Vec<i64> = body
                .split(',')
                .filter_map(|part| part.parse().ok())
                .collect();
            for position in 0..numbers.len() {
                for delta in [-1, 1] {
                    if let Some(number) = numbers.get_mut(position) {
                        *number += delta;
                    }
                    let spelled: Vec<String> = numbers.iter().map(i64::to_string).collect();
                    let mut option = inner.to_owned();
                    option.replace_range(at + 1..at + end, &spelled.join(","));
                    out.push((option, 2.2));
                    if let Some(number) = numbers.get_mut(position) {
                        *number -= delta;
                    }
                }
            }
            let mut option = inner.to_owned();
            option.replace_range(at + 1..at + end, &format!("{body},"));
            out.push((option, 2.4));
        }
    }
    out
}

fn regex(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(pattern) = field(node, "pattern") else {
        return;
    };
    let inner = generator.at(pattern).to_owned();
    let flags = field(node, "flags")
        .map(|flags| generator.at(flags).to_owned())
        .unwrap_or_default();
    for flag in ["g", "i", "m"] {
        if flags.contains(flag) {
            generator.swap(
                node,
                format!("/{inner}/{}", flags.replace(flag, "")),
                "regex-flag",
                2.2,
            );
        } else {
            generator.swap(
                node,
                format!("/{inner}/{flags}{flag}"),
                "regex-flag",
                if flag == "g" { 1.4 } else { 2.2 },
            );
        }
    }
    for (option, cost) in pattern_options(&inner) {
        generator.swap(pattern, option, "pattern", cost);
    }
}

fn format_specifier(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    for (at, digit) in text
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .take(4)
    {
        let Some(value) = digit.to_digit(10) else {
            continue;
        };
        for other in [value.wrapping_add(1), value.wrapping_sub(1)] {
            if other <= 9 {
                let mut option = text.clone();
                option.replace_range(at..=at, &other.to_string());
                generator.swap(node, option, "format", 2.2);
            }
        }
    }
    for (from, to) in [("<", ">"), (">", "<"), ("^", ">"), ("d", "f"), ("f", "d")] {
        if text.contains(from) {
            generator.swap(node, text.replacen(from, to, 1), "format", 2.4);
        }
    }
}
