//! Operators: comparison, arithmetic, boolean; their sides, their order.

use super::{Gen, is_atom};
use crate::candidate::Edit;
use crate::source::{binary, children, field, named};
use tree_sitter::Node;

/// Other operators that are easily confused with this one, likeliest first.
pub(super) fn alternatives(operator: &str, python: bool) -> &'static [(&'static str, f64)] {
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

pub(super) fn two_sided(
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

pub(super) fn chained(generator: &mut Gen<'_>, node: Node<'_>) {
    for child in children(node) {
        if !child.is_named() {
            let symbol = generator.at(child).to_owned();
            for (other, cost) in alternatives(&symbol, true).iter().take(3) {
                generator.swap(child, *other, "operator", *cost);
            }
        }
    }
}

pub(super) fn unary(generator: &mut Gen<'_>, node: Node<'_>) {
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
