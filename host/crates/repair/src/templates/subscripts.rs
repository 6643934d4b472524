//! Subscripts and slices.

use super::{Gen, is_value};
use crate::candidate::Edit;
use crate::source::{children, field};
use tree_sitter::Node;

pub(super) fn subscript(generator: &mut Gen<'_>, node: Node<'_>) {
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

pub(super) fn slice(generator: &mut Gen<'_>, node: Node<'_>) {
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
