//! Whole statements: conditions, branches, deleting, moving, indenting.

use super::Gen;
use crate::candidate::Edit;
use crate::source::{FUNCTIONS, all_nodes, children, condition, field, is_statement, named, up};
use std::collections::BTreeSet;
use std::ops::Range;
use tree_sitter::Node;

/// `const` and `var` where `let` was meant, also in the head of a loop.
pub(super) fn declaration(generator: &mut Gen<'_>, node: Node<'_>) {
    if !matches!(node.kind(), "lexical_declaration" | "variable_declaration") {
        return;
    }
    let Some(kind) = field(node, "kind").or_else(|| node.child(0)) else {
        return;
    };
    let text = generator.at(kind).to_owned();
    if text == "const" {
        generator.swap(kind, "let", "declaration", 1.5);
    } else if text == "var" {
        generator.swap(kind, "let", "declaration", 1.1);
    }
}

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    match node.kind() {
        "if_statement" => {
            conditions(generator, node);
            branches(generator, node);
        }
        "while_statement" | "do_statement" | "for_statement" => {
            if node.kind() != "for_statement" || !generator.py() {
                conditions(generator, node);
            }
            loop_else(generator, node);
        }
        "break_statement" | "continue_statement" => {
            let (other, cost) = if node.kind() == "break_statement" {
                ("continue", 1.7)
            } else {
                ("break", 1.6)
            };
            let end = if generator.py() { "" } else { ";" };
            generator.swap(node, format!("{other}{end}"), "jump", cost);
            generator.swap(node, format!("return{end}"), "jump", 3.2);
        }
        "pass_statement" => {
            for (other, cost) in [
                ("continue", 2.2),
                ("break", 2.4),
                ("return", 3.0),
                ("raise", 2.4),
            ] {
                generator.swap(node, other, "jump", cost);
            }
        }
        "try_statement" => handlers(generator, node),
        _ => {}
    }
    let inner: Vec<Node<'_>> = children(node)
        .into_iter()
        .filter(|child| matches!(child.kind(), "elif_clause"))
        .collect();
    for clause in inner {
        conditions(generator, clause);
        if let Some(keyword) = clause.child(0) {
            generator.swap(keyword, "if", "elif-if", 2.4);
        }
    }
    if node.kind() == "if_statement"
        && generator.py()
        && node.prev_named_sibling().is_some_and(|before| {
            before.kind() == "if_statement" && field(before, "alternative").is_none()
        })
        && let Some(keyword) = node.child(0)
    {
        generator.swap(keyword, "elif", "elif-if", 1.9);
    }
    if matches!(node.kind(), "lexical_declaration" | "variable_declaration") && !generator.py() {
        for declarator in named(node) {
            if let Some(initial) = field(declarator, "value")
                && matches!(initial.kind(), "identifier")
            {
                let text = generator.at(initial).to_owned();
                generator.swap(initial, format!("[...{text}]"), "copy", 2.0);
                generator.swap(initial, format!("{{ ...{text} }}"), "copy", 2.2);
            }
        }
    }
    delete(generator, node);
    shift(generator, node);
    if node.kind() == "expression_statement" {
        expression(generator, node);
    }
}

/// Atoms that a condition may be missing, likeliest first.
pub(super) fn atoms(generator: &mut Gen<'_>, node: Node<'_>) -> Vec<(String, f64)> {
    let mut out: Vec<(String, f64)> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let scope = generator.scope(node);
    // Conditions that the same function already asks.
    if let Some(function) = up(node, FUNCTIONS) {
        for inner in all_nodes(function) {
            if let Some(test) = condition(inner) {
                let text = generator.at(test).to_owned();
                if text.len() < 60 && seen.insert(text.clone()) {
                    out.push((text, 0.4));
                }
            }
            if inner.kind() == "comparison_operator" {
                let text = generator.at(inner).to_owned();
                if text.len() < 40 && seen.insert(text.clone()) {
                    out.push((text, 0.4));
                }
            }
        }
    }
    let null = generator.null();
    for (index, name) in scope.values.iter().take(8).enumerate() {
        let kinds = scope.kinds.get(name).cloned().unwrap_or_default();
        let far = 0.06 * index as f64;
        let mut push = |text: String, cost: f64| {
            if seen.insert(text.clone()) {
                out.push((text, cost + far));
            }
        };
        let known = |kind: &str| kinds.is_empty() || kinds.contains(kind);
        if generator.py() {
            push(format!("not {name}"), 0.2);
            push(name.clone(), 0.4);
            if kinds.is_empty() || kinds.contains("none") {
                push(format!("{name} is None"), 0.2);
                push(format!("{name} is not None"), 0.3);
            }
        } else {
            push(format!("!{name}"), 0.2);
            push(name.clone(), 0.4);
            push(format!("{name} == null"), 0.4);
            push(format!("{name} != {null}"), 0.5);
        }
        if known("number") {
            push(format!("{name} > 0"), 0.5);
            push(format!("{name} <= 0"), 0.5);
            push(format!("{name} == 0"), 0.5);
            push(format!("{name} < 0"), 0.5);
            push(format!("{name} <= 1"), 0.7);
        }
        if kinds.contains("sequence") || kinds.contains("text") {
            let length = generator.len(name);
            push(format!("{length} <= 1"), 0.7);
            push(format!("{length} < 2"), 0.8);
        }
    }
    let values: Vec<String> = scope.values.iter().take(6).cloned().collect();
    for a in &values {
        for b in &values {
            if a == b || !scope.alike(a, b) {
                continue;
            }
            for (operator, cost) in [("<", 0.8), ("==", 0.9), ("!=", 0.9), ("<=", 1.0)] {
                let operator = match (operator, generator.py()) {
                    ("==", false) => "===",
                    ("!=", false) => "!==",
                    (other, _) => other,
                };
                let text = format!("{a} {operator} {b}");
                if seen.insert(text.clone()) {
                    out.push((text, cost));
                }
            }
            let kinds = scope.kinds.get(b).cloned().unwrap_or_default();
            if kinds.is_empty()
                || ["sequence", "mapping", "set", "text"]
                    .iter()
                    .any(|kind| kinds.contains(*kind))
            {
                let options: Vec<String> = if generator.py() {
                    vec![format!("{a} not in {b}"), format!("{a} in {b}")]
                } else {
                    vec![format!("!{b}.includes({a})"), format!("!{b}.has({a})")]
                };
                for text in options {
                    if seen.insert(text.clone()) {
                        out.push((text, 0.9));
                    }
                }
            }
        }
    }
    let owner = if generator.py() { "self" } else { "this" };
    if up(node, crate::source::CLASSES).is_some() {
        for name in generator
            .file
            .own
            .clone()
            .iter()
            .filter(|name| !generator.file.arity.contains_key(*name))
            .take(6)
        {
            for text in if generator.py() {
                [format!("not {owner}.{name}"), format!("{owner}.{name}")]
            } else {
                [format!("!{owner}.{name}"), format!("{owner}.{name}")]
            } {
                if seen.insert(text.clone()) {
                    out.push((text, 0.8));
                }
            }
        }
    }
    out.truncate(70);
    out
}

fn conditions(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(test) = condition(node) else { return };
    let text = generator.at(test).to_owned();
    if text.contains("__name__") || text.contains("require.main") {
        return;
    }
    let negated = generator.not(test);
    if !matches!(test.kind(), "not_operator") {
        generator.swap(test, negated, "negate", 1.6);
    }
    let compound = matches!(
        test.kind(),
        "boolean_operator" | "binary_expression" | "conditional_expression" | "ternary_expression"
    );
    let wrapped = if compound
        && (text.contains(" or ")
            || text.contains(" and ")
            || text.contains("||")
            || text.contains("&&"))
    {
        format!("({text})")
    } else {
        text.clone()
    };
    let (and, or) = (generator.and(), generator.or());
    for (atom, cost) in atoms(generator, node) {
        if atom == text || text.contains(&atom) && compound {
            continue;
        }
        generator.swap(
            test,
            format!("{wrapped} {and} {atom}"),
            "extend-condition",
            2.5 + cost,
        );
        generator.swap(
            test,
            format!("{wrapped} {or} {atom}"),
            "extend-condition",
            2.5 + cost,
        );
        if matches!(
            node.kind(),
            "if_statement" | "while_statement" | "elif_clause"
        ) {
            generator.swap(
                test,
                format!("{atom} {and} {wrapped}"),
                "extend-condition",
                3.3 + cost,
            );
            generator.swap(test, atom, "replace-condition", 3.0 + cost);
        }
    }
    let (yes, no) = generator.truth();
    let looping = matches!(node.kind(), "while_statement" | "do_statement");
    generator.swap(
        test,
        yes,
        "replace-condition",
        if looping { 2.6 } else { 4.2 },
    );
    generator.swap(test, no, "disable-condition", 4.6);
    if let Some(keyword) = node.child(0) {
        match (node.kind(), generator.py()) {
            ("if_statement", _) if field(node, "alternative").is_none() => {
                generator.swap(keyword, "while", "if-while", 2.2)
            }
            ("while_statement", _) => generator.swap(keyword, "if", "if-while", 2.4),
            _ => {}
        }
    }
}

fn branches(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(yes) = field(node, "consequence") else {
        return;
    };
    let Some(alternative) = field(node, "alternative") else {
        return;
    };
    let no = if alternative.kind() == "else_clause" {
        field(alternative, "body").or_else(|| alternative.named_child(0))
    } else {
        None
    };
    if let Some(no) = no {
        let (a, b) = (generator.at(yes).to_owned(), generator.at(no).to_owned());
        generator.edit(
            vec![
                Edit {
                    range: yes.byte_range(),
                    text: b,
                },
                Edit {
                    range: no.byte_range(),
                    text: a,
                },
            ],
            "swap-branches",
            1.9,
        );
    }
}

/// `for … else` and statements that belong behind the loop.
fn loop_else(generator: &mut Gen<'_>, node: Node<'_>) {
    let _ = (generator, node);
}

fn handlers(generator: &mut Gen<'_>, node: Node<'_>) {
    if !generator.py() {
        return;
    }
    let raised: Vec<String> = generator
        .know
        .raised
        .iter()
        .filter(|name| *name != "AssertionError")
        .cloned()
        .collect();
    for clause in children(node) {
        if clause.kind() != "except_clause" {
            continue;
        }
        let Some(value) = clause
            .named_child(0)
            .filter(|value| value.kind() != "block")
        else {
            continue;
        };
        let target = if value.kind() == "as_pattern" {
            value.named_child(0).unwrap_or(value)
        } else {
            value
        };
        let text = generator.at(target).to_owned();
        for name in raised.iter().filter(|name| !text.contains(name.as_str())) {
            let extended =
                if let Some(inner) = text.strip_suffix(')').filter(|_| text.starts_with('(')) {
                    format!("{inner}, {name})")
                } else {
                    format!("({text}, {name})")
                };
            let line = crate::source::line_of(clause);
            for (text, cost) in [(name.clone(), 1.2), (extended, 1.3)] {
                generator.edit_at(
                    vec![Edit {
                        range: target.byte_range(),
                        text,
                    }],
                    "except",
                    cost,
                    1.0,
                    line,
                );
            }
        }
        for name in [
            "KeyError",
            "IndexError",
            "ValueError",
            "TypeError",
            "AttributeError",
            "ZeroDivisionError",
        ] {
            if !text.contains(name) {
                generator.swap(target, name, "except", 3.0);
            }
        }
    }
}

/// The whole lines of a statement; none when it shares them.
pub(super) fn whole_lines(generator: &Gen<'_>, node: Node<'_>) -> Option<Range<usize>> {
    let start = generator.src.line_start(node.start_byte());
    let before = generator.src.text.get(start..node.start_byte())?;
    let end = generator.src.next_line(node.end_byte());
    let after = generator.src.text.get(node.end_byte()..end)?.trim();
    let alone = before.trim().is_empty()
        && (after.is_empty() || after == ";" || after.starts_with('#') || after.starts_with("//"));
    alone.then_some(start..end)
}

fn delete(generator: &mut Gen<'_>, node: Node<'_>) {
    if matches!(
        node.kind(),
        "function_definition"
            | "class_definition"
            | "decorated_definition"
            | "function_declaration"
            | "class_declaration"
            | "import_statement"
            | "import_from_statement"
            | "export_statement"
            | "comment"
            | "pass_statement"
    ) {
        return;
    }
    let Some(lines) = whole_lines(generator, node) else {
        return;
    };
    let alone = node
        .parent()
        .is_some_and(|parent| parent.kind() == "block" && named(parent).len() == 1);
    let base = match node.kind() {
        "break_statement" | "continue_statement" => 2.4,
        "expression_statement" => 3.2,
        "return_statement" => 3.2,
        "raise_statement" | "throw_statement" | "assert_statement" => 4.4,
        "if_statement" => 3.9,
        _ => 4.0,
    };
    if alone && generator.py() {
        let indent = generator.src.indent_at(node.start_byte()).to_owned();
        generator.edit(
            vec![Edit {
                range: lines,
                text: format!("{indent}pass\n"),
            }],
            "delete",
            base + 0.4,
        );
    } else {
        generator.edit(
            vec![Edit {
                range: lines,
                text: String::new(),
            }],
            "delete",
            base,
        );
    }
}

/// Moves a statement: past its neighbour, out of its block, into the block before.
fn shift(generator: &mut Gen<'_>, node: Node<'_>) {
    if matches!(
        node.kind(),
        "function_definition"
            | "class_definition"
            | "decorated_definition"
            | "import_statement"
            | "import_from_statement"
    ) {
        return;
    }
    let Some(lines) = whole_lines(generator, node) else {
        return;
    };
    let text = generator
        .src
        .text
        .get(lines.clone())
        .unwrap_or_default()
        .to_owned();
    let text = if text.ends_with('\n') {
        text
    } else {
        format!("{text}\n")
    };
    if let Some(next) = node.next_named_sibling().filter(|next| is_statement(*next))
        && let Some(other) = whole_lines(generator, next)
        && !matches!(
            next.kind(),
            "function_definition" | "class_definition" | "decorated_definition"
        )
        && other.start == lines.end
    {
        let below = generator.src.text.get(other.clone()).unwrap_or_default();
        let below = if below.ends_with('\n') {
            below.to_owned()
        } else {
            format!("{below}\n")
        };
        let terminal = matches!(
            node.kind(),
            "return_statement"
                | "raise_statement"
                | "break_statement"
                | "continue_statement"
                | "throw_statement"
        );
        if !matches!(next.kind(), "return_statement") {
            generator.edit(
                vec![Edit {
                    range: lines.start..other.end,
                    text: format!("{below}{text}"),
                }],
                "swap-statements",
                if terminal { 1.8 } else { 2.2 },
            );
        }
    }
    let unit = generator.src.indent_unit();
    let Some(block) = node
        .parent()
        .filter(|parent| matches!(parent.kind(), "block" | "statement_block"))
    else {
        return;
    };
    let siblings = named(block);
    let last = siblings.last().is_some_and(|last| last.id() == node.id());
    let first = siblings
        .first()
        .is_some_and(|first| first.id() == node.id());
    let owner = block.parent();
    let outer_loop = owner.is_some_and(|owner| {
        matches!(
            owner.kind(),
            "for_statement"
                | "while_statement"
                | "for_in_statement"
                | "if_statement"
                | "elif_clause"
                | "else_clause"
                | "with_statement"
                | "try_statement"
                | "except_clause"
                | "do_statement"
        )
    });
    if last && outer_loop {
        // Out of its block.
        let out_dented: String = text
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix(unit).unwrap_or(line)))
            .collect();
        let cost = if node.kind() == "return_statement" {
            1.6
        } else {
            2.0
        };
        if generator.py() {
            let statement = owner.and_then(|owner| {
                if is_statement(owner) {
                    Some(owner)
                } else {
                    owner.parent()
                }
            });
            let tail = statement.is_some_and(|statement| statement.end_byte() > node.end_byte());
            if first {
                if let Some(statement) = statement.filter(|_| !tail) {
                    let place = generator.src.next_line(statement.end_byte());
                    let indent = generator.src.indent_at(node.start_byte()).to_owned();
                    generator.edit(
                        vec![
                            Edit {
                                range: lines.clone(),
                                text: format!("{indent}pass\n"),
                            },
                            Edit {
                                range: place..place,
                                text: out_dented,
                            },
                        ],
                        "dedent",
                        cost + 1.2,
                    );
                }
            } else if tail {
                if let Some(statement) = statement {
                    let place = generator.src.next_line(statement.end_byte());
                    generator.edit(
                        vec![
                            Edit {
                                range: lines.clone(),
                                text: String::new(),
                            },
                            Edit {
                                range: place..place,
                                text: out_dented,
                            },
                        ],
                        "dedent",
                        cost + 0.4,
                    );
                }
            } else {
                generator.edit(
                    vec![Edit {
                        range: lines.clone(),
                        text: out_dented,
                    }],
                    "dedent",
                    cost,
                );
            }
        } else if let Some(owner) = owner {
            let place = generator.src.next_line(owner.end_byte());
            generator.edit(
                vec![
                    Edit {
                        range: lines.clone(),
                        text: String::new(),
                    },
                    Edit {
                        range: place..place,
                        text: out_dented,
                    },
                ],
                "dedent",
                cost,
            );
        }
    }
    // Into the block just before.
    if let Some(previous) = node.prev_named_sibling().filter(|previous| {
        matches!(
            previous.kind(),
            "for_statement"
                | "while_statement"
                | "if_statement"
                | "for_in_statement"
                | "with_statement"
        )
    }) {
        let deeper: String = text
            .lines()
            .map(|line| {
                if line.trim().is_empty() {
                    format!("{line}\n")
                } else {
                    format!("{unit}{line}\n")
                }
            })
            .collect();
        let cost = if node.kind() == "return_statement" {
            2.2
        } else {
            1.9
        };
        if generator.py() {
            generator.edit(
                vec![Edit {
                    range: lines.clone(),
                    text: deeper.clone(),
                }],
                "indent",
                cost,
            );
            let twice: String = deeper
                .lines()
                .map(|line| {
                    if line.trim().is_empty() {
                        format!("{line}\n")
                    } else {
                        format!("{unit}{line}\n")
                    }
                })
                .collect();
            generator.edit(
                vec![Edit {
                    range: lines,
                    text: twice,
                }],
                "indent",
                cost + 0.8,
            );
        } else if let Some(body) =
            field(previous, "body").or_else(|| field(previous, "consequence"))
            && body.kind() == "statement_block"
        {
            let close = generator.src.line_start(body.end_byte().saturating_sub(1));
            generator.edit(
                vec![
                    Edit {
                        range: close..close,
                        text: deeper,
                    },
                    Edit {
                        range: lines,
                        text: String::new(),
                    },
                ],
                "indent",
                cost,
            );
        }
    }
}

/// A bare expression whose value is lost.
fn expression(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(inner) = node.named_child(0) else {
        return;
    };
    if !matches!(
        inner.kind(),
        "call"
            | "call_expression"
            | "comparison_operator"
            | "binary_operator"
            | "binary_expression"
            | "identifier"
            | "await_expression"
            | "await"
    ) {
        return;
    }
    let text = generator.at(inner).to_owned();
    let looped = up(
        node,
        &["for_statement", "while_statement", "for_in_statement"],
    )
    .is_some_and(|found| {
        up(node, FUNCTIONS).is_none_or(|function| function.start_byte() < found.start_byte())
    });
    let printed = text.starts_with("print") || text.starts_with("console.");
    if !printed && up(node, FUNCTIONS).is_some() {
        generator.swap(
            inner,
            format!("return {text}"),
            if looped {
                "early-return"
            } else {
                "missing-return"
            },
            if looped { 2.6 } else { 1.5 },
        );
    }
    if matches!(inner.kind(), "call" | "call_expression") {
        if generator.py() {
            generator.swap(inner, format!("yield from {text}"), "yield", 2.4);
        }
        let is_async =
            up(node, FUNCTIONS).is_some_and(|function| generator.at(function).starts_with("async"));
        if is_async {
            generator.swap(inner, format!("await {text}"), "missing-await", 1.1);
        }
        if let Some(name) = text.split('(').next() {
            let scope = generator.scope(node);
            let recursive = generator.file.callables.iter().any(|known| known == name);
            for value in scope.values.iter().take(5) {
                if recursive {
                    generator.swap(inner, format!("{value} = {text}"), "lost-result", 2.2);
                    generator.swap(inner, format!("{value} += {text}"), "lost-result", 2.6);
                }
            }
        }
    }
}
