//! One name for another: variables, keys, attributes, callees, what is stored.

use super::scope::distance;
use super::{Gen, is_value};
use crate::candidate::Edit;
use crate::source::{CLASSES, FUNCTIONS, all_nodes, field, up};
use std::collections::BTreeSet;
use tree_sitter::Node;

pub(super) fn binds(node: Node<'_>) -> bool {
    node.parent().is_some_and(|parent| match parent.kind() {
        "assignment"
        | "for_statement"
        | "for_in_clause"
        | "for_in_statement"
        | "assignment_expression" => {
            field(parent, "left").is_some_and(|left| left.id() == node.id())
        }
        "variable_declarator" | "named_expression" => {
            field(parent, "name").is_some_and(|name| name.id() == node.id())
        }
        "pattern_list" | "tuple_pattern" | "list_pattern" | "array_pattern" | "object_pattern"
        | "as_pattern_target" | "catch_clause" | "rest_pattern" | "list_splat_pattern" => true,
        "arrow_function" => field(parent, "parameter").is_some_and(|name| name.id() == node.id()),
        _ => false,
    })
}

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    match node.kind() {
        "identifier" if is_value(node) => variable(generator, node),
        "identifier" if binds(node) => target(generator, node),
        "identifier" => callee(generator, node),
        "attribute" | "member_expression" => attribute(generator, node),
        "pair" | "keyword_argument" => key(generator, node),
        "shorthand_property_identifier" => {
            let scope = generator.scope(node);
            let text = generator.at(node).to_owned();
            for other in scope.values.iter().filter(|other| **other != text).take(8) {
                generator.swap(node, format!("{text}: {other}"), "variable", 2.8);
            }
        }
        _ => {}
    }
}

fn variable(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    let scope = generator.scope(node);
    let mut rank = 0.0;
    let local = scope.values.contains(&text);
    for other in scope.values.iter().filter(|other| **other != text) {
        if !scope.alike(&text, other) {
            continue;
        }
        let near = distance(&text, other) < 0.45;
        generator.swap(
            node,
            other.clone(),
            "variable",
            if near {
                1.7
            } else {
                2.0 + f64::min(rank * 0.08, 1.0)
            },
        );
        rank += 1.0;
    }
    if local
        && matches!(
            node.parent().map(|parent| parent.kind()),
            Some(
                "subscript"
                    | "subscript_expression"
                    | "binary_operator"
                    | "binary_expression"
                    | "comparison_operator"
            )
        )
    {
        // Names of the module: constants and tables.
        let constants: Vec<String> = generator
            .file
            .constants
            .iter()
            .filter(|other| !scope.values.contains(other))
            .take(6)
            .cloned()
            .collect();
        for other in constants {
            generator.swap(node, other, "variable-global", 3.2);
        }
    } else if !local {
        let constants: Vec<String> = generator
            .file
            .constants
            .iter()
            .filter(|other| **other != text)
            .take(10)
            .cloned()
            .collect();
        for other in constants {
            generator.swap(node, other, "variable-global", 2.4);
        }
    }
    let owner = if generator.py() { "self" } else { "this" };
    if up(node, CLASSES).is_some() && generator.file.own.contains(&text) {
        generator.swap(node, format!("{owner}.{text}"), "add-self", 1.6);
    }
    let known: BTreeSet<String> = scope.kinds.get(&text).cloned().unwrap_or_default();
    let number = known.is_empty() || known.contains("number");
    let parent = node
        .parent()
        .map(|parent| parent.kind())
        .unwrap_or_default();
    let list = matches!(
        parent,
        "tuple" | "expression_list" | "argument_list" | "array" | "list"
    );
    if number
        && !known.is_empty()
        && (list
            || matches!(
                parent,
                "binary_operator"
                    | "binary_expression"
                    | "return_statement"
                    | "slice"
                    | "subscript"
            ))
    {
        generator.swap(node, format!("{text} + 1"), "offset", 2.4);
        generator.swap(node, format!("{text} - 1"), "offset", 2.4);
        if matches!(
            parent,
            "binary_operator" | "binary_expression" | "return_statement"
        ) {
            generator.swap(node, format!("{text} ** 2"), "power", 2.7);
        }
    }
    if matches!(
        parent,
        "return_statement"
            | "comparison_operator"
            | "binary_expression"
            | "argument_list"
            | "assignment"
            | "arguments"
    ) {
        // A constant or an attribute instead of the variable.
        let (yes, no) = generator.truth();
        if parent == "return_statement" {
            for (other, cost) in [
                (generator.null(), 3.0),
                (yes, 3.2),
                (no, 3.0),
                ("0", 3.4),
                ("[]", 3.4),
            ] {
                generator.swap(node, other, "constant-for-variable", cost);
            }
        }
        let own: Vec<String> = generator.file.own.iter().take(10).cloned().collect();
        if up(node, CLASSES).is_some() {
            for other in own {
                if !generator.file.arity.contains_key(&other) {
                    generator.swap(node, format!("{owner}.{other}"), "variable", 2.8);
                }
            }
        }
    }
}

/// A misspelled key of an object literal.
fn key(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(name) = field(node, "key").filter(|name| name.kind() == "property_identifier") else {
        return;
    };
    let text = generator.at(name).to_owned();
    let mut pool: Vec<String> = generator.file.attributes.clone();
    pool.extend(generator.scope(node).values.iter().cloned());
    pool.extend(generator.file.keys.iter().cloned());
    pool.extend(generator.know.neighbours.iter().cloned());
    for other in pool {
        if other != text && distance(&text, &other) < 0.35 {
            generator.swap(name, other, "attribute", 1.4);
        }
    }
}

/// Two names exchanged throughout an expression: `m[r][n - c]` for `m[c][n - r]`.
pub(super) fn exchange(generator: &mut Gen<'_>, node: Node<'_>) {
    if !matches!(
        node.kind(),
        "subscript"
            | "subscript_expression"
            | "binary_operator"
            | "binary_expression"
            | "call"
            | "call_expression"
            | "comparison_operator"
    ) {
        return;
    }
    let mut uses: Vec<(String, Vec<std::ops::Range<usize>>)> = Vec::new();
    for inner in all_nodes(node) {
        if inner.kind() == "identifier" && is_value(inner) {
            let text = generator.at(inner);
            match uses.iter_mut().find(|(name, _)| name == text) {
                Some((_, ranges)) => ranges.push(inner.byte_range()),
                None => uses.push((text.to_owned(), vec![inner.byte_range()])),
            }
        }
    }
    if uses.len() < 2 || uses.len() > 5 {
        return;
    }
    let scope = generator.scope(node);
    for (index, (a, first)) in uses.iter().enumerate() {
        for (b, second) in uses.iter().skip(index + 1) {
            if !scope.alike(a, b) || !scope.values.contains(a) || !scope.values.contains(b) {
                continue;
            }
            let edits = first
                .iter()
                .map(|range| Edit {
                    range: range.clone(),
                    text: b.clone(),
                })
                .chain(second.iter().map(|range| Edit {
                    range: range.clone(),
                    text: a.clone(),
                }))
                .collect();
            generator.edit(edits, "swap-names", 2.1);
        }
    }
}

/// Expressions of the same function in place of a simple one; best when they
/// contain what they replace (`b` becomes `b[1:]`).
pub(super) fn donors(generator: &mut Gen<'_>, node: Node<'_>) {
    let simple = matches!(
        node.kind(),
        "identifier"
            | "integer"
            | "number"
            | "subscript"
            | "subscript_expression"
            | "attribute"
            | "member_expression"
            | "none"
            | "null"
    );
    if !simple || !is_value(node) {
        return;
    }
    let Some(function) = up(node, FUNCTIONS) else {
        return;
    };
    let Some(parent) = node.parent() else { return };
    if matches!(parent.kind(), "attribute" | "member_expression" | "slice") {
        return;
    }
    let text = generator.at(node).to_owned();
    let mut pool: Vec<String> = Vec::new();
    for inner in all_nodes(function) {
        let donor = matches!(
            inner.kind(),
            "subscript"
                | "subscript_expression"
                | "attribute"
                | "member_expression"
                | "call"
                | "call_expression"
                | "binary_operator"
                | "binary_expression"
        );
        if !donor
            || inner.id() == node.id()
            || node.start_byte() >= inner.start_byte() && node.end_byte() <= inner.end_byte()
        {
            continue;
        }
        let callee = inner.parent().is_some_and(|outer| {
            matches!(outer.kind(), "call" | "call_expression")
                && field(outer, "function").is_some_and(|callee| callee.id() == inner.id())
        });
        let value = generator.at(inner);
        if !callee
            && value.len() <= 28
            && !value.contains('\n')
            && !pool.iter().any(|known| known == value)
        {
            pool.push(value.to_owned());
        }
    }
    let mut ranked: Vec<(f64, String)> = pool
        .into_iter()
        .filter(|donor| *donor != text)
        .map(|donor| {
            let holds =
                donor.contains(&text) && node.kind() == "identifier" || text.contains(&donor);
            (
                if holds {
                    2.4
                } else {
                    2.7 + 0.5 * distance(&text, &donor)
                },
                donor,
            )
        })
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (index, (cost, donor)) in ranked.into_iter().take(9).enumerate() {
        generator.swap(node, donor, "donor", cost + 0.05 * index as f64);
    }
}

/// The stored side: `a = …` should be `b = …`.
fn target(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(parent) = node.parent() else { return };
    if !matches!(
        parent.kind(),
        "assignment"
            | "assignment_expression"
            | "augmented_assignment"
            | "augmented_assignment_expression"
    ) {
        return;
    }
    let text = generator.at(node).to_owned();
    let scope = generator.scope(node);
    for (index, other) in scope
        .values
        .iter()
        .filter(|other| **other != text)
        .enumerate()
        .take(10)
    {
        if scope.alike(&text, other) {
            generator.swap(
                node,
                other.clone(),
                "stored-variable",
                2.6 + 0.1 * index as f64,
            );
        }
    }
    let owner = if generator.py() { "self" } else { "this" };
    if up(node, CLASSES).is_some() && generator.file.own.contains(&text) {
        generator.swap(node, format!("{owner}.{text}"), "add-self", 1.5);
    }
}

fn callee(generator: &mut Gen<'_>, node: Node<'_>) {
    if !node
        .parent()
        .is_some_and(|parent| matches!(parent.kind(), "call" | "call_expression"))
    {
        return;
    }
    let text = generator.at(node).to_owned();
    let others: Vec<String> = generator
        .file
        .callables
        .iter()
        .filter(|other| **other != text)
        .cloned()
        .collect();
    let defined = generator.file.callables.contains(&text);
    for (index, other) in others.into_iter().take(10).enumerate() {
        let near = distance(&text, &other) < 0.5;
        let cost = if near {
            1.9
        } else if defined {
            2.5
        } else {
            3.2
        };
        generator.swap(node, other, "callee", cost + 0.06 * index as f64);
    }
    let owner = if generator.py() { "self" } else { "this" };
    if up(node, CLASSES).is_some() && generator.file.own.contains(&text) {
        generator.swap(node, format!("{owner}.{text}"), "add-self", 1.5);
    }
}

fn attribute(generator: &mut Gen<'_>, node: Node<'_>) {
    let name = field(node, "attribute").or_else(|| field(node, "property"));
    let (Some(name), Some(object)) = (name, field(node, "object")) else {
        return;
    };
    let (text, base) = (
        generator.at(name).to_owned(),
        generator.at(object).to_owned(),
    );
    let own = matches!(base.as_str(), "self" | "this" | "cls");
    let called = node.parent().is_some_and(|parent| {
        matches!(parent.kind(), "call" | "call_expression")
            && field(parent, "function").is_some_and(|callee| callee.id() == node.id())
    });
    let pool: Vec<String> = if own {
        generator.file.own.clone()
    } else {
        generator.file.attributes.clone()
    };
    let mut ranked: Vec<(f64, String)> = pool
        .into_iter()
        .filter(|other| *other != text)
        .filter(|other| !own || called == generator.file.arity.contains_key(other))
        .map(|other| (distance(&text, &other), other))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let strangers: Vec<String> = generator
        .know
        .neighbours
        .iter()
        .filter(|other| **other != text && distance(&text, other) < 0.35)
        .cloned()
        .collect();
    for other in strangers {
        generator.swap(name, other, "attribute", 1.8);
    }
    let known_method = called && !own && super::calls_known(&text);
    for (index, (far, other)) in ranked
        .into_iter()
        .take(if own { 14 } else { 8 })
        .enumerate()
    {
        let base_cost = if own { 2.0 } else { 2.8 };
        let cost = if far < 0.45 {
            1.7
        } else {
            base_cost + 0.1 * index as f64
        };
        generator.swap(
            name,
            other,
            "attribute",
            if known_method { cost + 1.0 } else { cost },
        );
    }
    // The variable of the same name, or the bare object.
    let scope = generator.scope(node);
    if own && !called {
        for other in scope.values.iter().take(8) {
            let near = *other == text;
            generator.swap(
                node,
                other.clone(),
                "variable",
                if near { 1.9 } else { 2.8 },
            );
        }
    }
    if !own && !called && is_value(node) {
        generator.swap(node, base.clone(), "drop-attribute", 3.4);
    }
    if !generator.py() && is_value(node) && !own && field(node, "optional_chain").is_none() {
        generator.swap(node, format!("{base}?.{text}"), "optional-chain", 2.3);
        if text == "length" {
            super::calls::length_offset(generator, node);
            generator.swap(node, format!("{base}.size"), "attribute", 1.8);
        } else if text == "size" {
            generator.swap(node, format!("{base}.length"), "attribute", 1.8);
        }
    }
    // A method that was named but not called.
    if !called && generator.file.arity.get(&text) == Some(&(0, 0)) {
        let whole = generator.at(node).to_owned();
        generator.swap(node, format!("{whole}()"), "call-missing", 1.5);
    }
}
