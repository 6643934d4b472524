//! Calls: well-known confusions of callees, what methods, sorts and ranges are given.

use super::{Gen, arguments, confusions, wrapping};
use crate::source::{field, named};
use tree_sitter::Node;

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    match node.kind() {
        "call" | "call_expression" => call(generator, node),
        "new_expression" => arguments::arguments(generator, node, field(node, "arguments"), ""),
        "list_comprehension"
        | "generator_expression"
        | "set_comprehension"
        | "dictionary_comprehension" => wrapping::comprehension(generator, node),
        "return_statement" | "yield" => {
            if let Some(value) = node.named_child(0) {
                wrapping::wrap(generator, value, wrapping::Place::Returned);
            }
        }
        "assignment"
        | "assignment_expression"
        | "augmented_assignment"
        | "augmented_assignment_expression" => {
            if let Some(value) = field(node, "right") {
                wrapping::wrap(generator, value, wrapping::Place::Stored);
            }
        }
        "variable_declarator" => {
            if let Some(value) = field(node, "value") {
                wrapping::wrap(generator, value, wrapping::Place::Stored);
            }
        }
        "for_statement" | "for_in_statement" | "for_in_clause" => {
            if let Some(right) = field(node, "right") {
                wrapping::iterated(generator, right);
            }
        }
        "keyword_argument" => {
            if let Some(value) = field(node, "value") {
                wrapping::wrap(generator, value, wrapping::Place::Passed);
            }
        }
        "lambda" | "arrow_function" => {
            if let Some(body) = field(node, "body")
                && body.kind() != "statement_block"
            {
                wrapping::wrap(generator, body, wrapping::Place::Returned);
                if generator.at(body).len() < 40 && !body.kind().starts_with("unary") {
                    let text = generator.at(body).to_owned();
                    generator.swap(body, format!("-{text}"), "negate-key", 2.6);
                }
            }
        }
        _ => {}
    }
}

fn call(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(callee) = field(node, "function") else {
        return;
    };
    let list = field(node, "arguments");
    let name = generator.at(callee).to_owned();
    let python = generator.py();
    if name == "len" && python {
        length_offset(generator, node);
    }
    match callee.kind() {
        "identifier" => {
            for (other, cost) in confusions::callee_confusions(&name, python) {
                generator.swap(callee, *other, "callee", *cost);
            }
            if name == "range" {
                range(generator, node, list);
            }
        }
        "attribute" | "member_expression" => method(generator, node, callee, list),
        _ => {}
    }
    arguments::arguments(generator, node, list, &name);
    wrapping::unwrap(generator, node, callee, list);
}

/// A length that is off by one, wherever it stands.
pub(super) fn length_offset(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    let tight = node.parent().is_some_and(|parent| {
        matches!(parent.kind(), "binary_operator" | "binary_expression")
            && field(parent, "operator").is_some_and(|operator| {
                !matches!(
                    generator.at(operator),
                    "+" | "<" | ">" | "<=" | ">=" | "==" | "===" | "!=="
                )
            })
    });
    for sign in ["-", "+"] {
        let offset = if tight {
            format!("({text} {sign} 1)")
        } else {
            format!("{text} {sign} 1")
        };
        generator.swap(node, offset, "bound", if sign == "-" { 1.7 } else { 1.9 });
    }
}

fn method(generator: &mut Gen<'_>, node: Node<'_>, callee: Node<'_>, list: Option<Node<'_>>) {
    let python = generator.py();
    let property = if python {
        field(callee, "attribute")
    } else {
        field(callee, "property")
    };
    let (Some(property), Some(object)) = (property, field(callee, "object")) else {
        return;
    };
    let method = generator.at(property).to_owned();
    let base = generator.at(object).to_owned();
    for (other, cost) in confusions::method_confusions(&method, python) {
        generator.swap(property, *other, "method", *cost);
    }
    let args: Vec<Node<'_>> = list.map(named).unwrap_or_default();
    let first = args.first().map(|arg| generator.at(*arg).to_owned());
    let statement = node
        .parent()
        .is_some_and(|parent| parent.kind() == "expression_statement");
    match (method.as_str(), python, args.len()) {
        ("get", true, 1) => {
            for (default, cost) in [
                ("0", 1.6),
                ("[]", 2.0),
                ("''", 2.2),
                ("{}", 2.4),
                ("False", 2.6),
                ("1", 3.2),
            ] {
                generator.swap(
                    node,
                    format!(
                        "{base}.get({}, {default})",
                        first.clone().unwrap_or_default()
                    ),
                    "get",
                    cost,
                );
            }
            generator.swap(
                node,
                format!("{base}[{}]", first.clone().unwrap_or_default()),
                "get",
                2.4,
            );
        }
        ("get", false, 1) => {
            for (default, cost) in [("0", 2.0), ("[]", 2.4), ("''", 2.8)] {
                generator.swap(
                    node,
                    format!(
                        "({base}.get({}) ?? {default})",
                        first.clone().unwrap_or_default()
                    ),
                    "get",
                    cost,
                );
            }
        }
        ("pop", true, 0) => generator.swap(node, format!("{base}.pop(0)"), "method", 1.5),
        ("pop", true, 1) if first.as_deref() == Some("0") => {
            generator.swap(node, format!("{base}.pop()"), "method", 1.5)
        }
        ("split", true, 1) => {
            generator.swap(node, format!("{base}.split()"), "method", 1.8);
            generator.swap(
                node,
                format!("{base}.split({}, 1)", first.clone().unwrap_or_default()),
                "method",
                2.0,
            );
        }
        ("split", true, 0) => {
            for separator in ["','", "' '", "'\\n'"] {
                generator.swap(node, format!("{base}.split({separator})"), "method", 2.4);
            }
        }
        ("sort", true, _) => sort_options(generator, node, list),
        ("sort", false, 0) => {
            generator.swap(
                node,
                format!("{base}.sort((a, b) => a - b)"),
                "comparator",
                1.1,
            );
            generator.swap(
                node,
                format!("{base}.sort((a, b) => b - a)"),
                "comparator",
                1.8,
            );
            generator.swap(node, format!("[...{base}].sort()"), "copy", 1.8);
            generator.swap(
                node,
                format!("[...{base}].sort((a, b) => a - b)"),
                "comparator",
                2.6,
            );
        }
        ("sort" | "reverse", false, _) => {
            let rest = generator
                .at(node)
                .get(base.len()..)
                .unwrap_or_default()
                .to_owned();
            if !base.starts_with("[...") && !base.ends_with(".slice()") {
                generator.swap(node, format!("[...{base}]{rest}"), "copy", 1.6);
            }
        }
        ("join", false, 0) => {
            for separator in ["''", "' '", "', '"] {
                generator.swap(node, format!("{base}.join({separator})"), "method", 1.6);
            }
        }
        ("push", false, 1) => {
            let value = first.clone().unwrap_or_default();
            generator.swap(node, format!("{base}.push(...{value})"), "method", 1.8);
            generator.swap(node, format!("{base}.push([...{value}])"), "copy", 1.8);
        }
        ("concat", false, 1) if statement => {
            let value = first.clone().unwrap_or_default();
            generator.swap(
                node,
                format!("{base} = {base}.concat({value})"),
                "lost-result",
                1.2,
            );
            generator.swap(node, format!("{base}.push(...{value})"), "lost-result", 1.8);
        }
        ("toString", false, 0) => {
            generator.swap(node, format!("{base}.toString(2)"), "method", 2.8)
        }
        ("indexOf", false, 1) => {}
        ("reduce", false, 1) => {
            for initial in ["0", "''", "[]", "{}", "1"] {
                generator.swap(
                    node,
                    format!(
                        "{base}.reduce({}, {initial})",
                        first.clone().unwrap_or_default()
                    ),
                    "initial",
                    1.5,
                );
            }
        }
        _ => {}
    }
    if statement
        && matches!(
            method.as_str(),
            "strip"
                | "lower"
                | "upper"
                | "replace"
                | "trim"
                | "toLowerCase"
                | "toUpperCase"
                | "slice"
                | "filter"
                | "map"
                | "union"
                | "replaceAll"
                | "title"
                | "lstrip"
                | "rstrip"
        )
    {
        let text = generator.at(node).to_owned();
        generator.swap(node, format!("{base} = {text}"), "lost-result", 1.1);
    }
}

pub(super) fn sort_options(generator: &mut Gen<'_>, node: Node<'_>, list: Option<Node<'_>>) {
    let Some(list) = list else { return };
    let text = generator.at(list).to_owned();
    if let Some(inner) = text.strip_suffix(')') {
        let glue = if inner.trim_end().ends_with('(') {
            ""
        } else {
            ", "
        };
        if !text.contains("reverse") {
            generator.swap(
                list,
                format!("{inner}{glue}reverse=True)"),
                "sort-order",
                1.6,
            );
        }
        if !text.contains("key") {
            for (key, cost) in [
                ("lambda x: x[1]", 2.6),
                ("lambda x: x[0]", 2.8),
                ("len", 2.6),
                ("str.lower", 2.6),
                ("abs", 3.2),
            ] {
                generator.swap(list, format!("{inner}{glue}key={key})"), "sort-order", cost);
            }
        }
    }
    let _ = node;
}

fn range(generator: &mut Gen<'_>, node: Node<'_>, list: Option<Node<'_>>) {
    let args: Vec<String> = list
        .map(named)
        .unwrap_or_default()
        .into_iter()
        .map(|arg| generator.at(arg).to_owned())
        .collect();
    let mut push = |text: String, cost: f64| generator.swap(node, text, "range", cost);
    match args.as_slice() {
        [stop] => {
            push(format!("range({stop} + 1)"), 1.2);
            push(format!("range({stop} - 1)"), 1.3);
            push(format!("range(1, {stop})"), 1.6);
            push(format!("range(1, {stop} + 1)"), 1.5);
            push(format!("range(2, {stop} + 1)"), 2.4);
            push(format!("range({stop} - 1, -1, -1)"), 2.2);
            push(format!("range(len({stop}))"), 2.4);
            push(format!("range(0, {stop}, 2)"), 3.2);
        }
        [start, stop] => {
            push(format!("range({start}, {stop} + 1)"), 1.2);
            push(format!("range({start}, {stop} - 1)"), 1.3);
            push(format!("range({start} + 1, {stop})"), 1.5);
            push(format!("range({start} - 1, {stop})"), 1.6);
            push(format!("range({start} + 1, {stop} + 1)"), 1.8);
            push(format!("range({stop})"), 1.9);
            push(format!("range({stop}, {start})"), 2.4);
            push(format!("range({stop}, {start}, -1)"), 2.4);
            push(format!("range({start}, {stop}, 2)"), 2.8);
            push(format!("range({start}, int({stop} ** 0.5) + 1)"), 3.0);
        }
        [start, stop, step] => {
            push(format!("range({start}, {stop} + 1, {step})"), 1.3);
            push(format!("range({start}, {stop} - 1, {step})"), 1.3);
            push(format!("range({start} - 1, {stop}, {step})"), 1.6);
            push(format!("range({start} + 1, {stop}, {step})"), 1.6);
            push(format!("range({start}, {stop}, -{step})"), 2.0);
            push(format!("range({start}, {stop})"), 2.4);
        }
        _ => {}
    }
}
