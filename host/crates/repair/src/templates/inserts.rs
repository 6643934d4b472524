//! Statements that are missing: guards, returns, raises, repeated neighbours.

use super::{Gen, statements};
use crate::candidate::Edit;
use crate::source::{CLASSES, FUNCTIONS, all_nodes, field, is_statement, named, up};
use std::collections::BTreeSet;
use tree_sitter::Node;

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    if matches!(
        node.kind(),
        "function_definition"
            | "function_declaration"
            | "method_definition"
            | "decorated_definition"
            | "class_definition"
            | "class_declaration"
    ) {
        function(generator, node);
        return;
    }
    if up(node, FUNCTIONS).is_none() {
        return;
    }
    guards(generator, node);
    copies(generator, node);
    jumps(generator, node);
    ending(generator, node);
}

fn before(generator: &mut Gen<'_>, node: Node<'_>, body: &str, template: &'static str, cost: f64) {
    let Some(lines) = statements::whole_lines(generator, node) else {
        return;
    };
    let indent = generator.src.indent_at(node.start_byte()).to_owned();
    let text: String = body
        .lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    generator.edit(
        vec![Edit {
            range: lines.start..lines.start,
            text,
        }],
        template,
        cost,
    );
}

fn after(generator: &mut Gen<'_>, node: Node<'_>, body: &str, template: &'static str, cost: f64) {
    let Some(lines) = statements::whole_lines(generator, node) else {
        return;
    };
    let indent = generator.src.indent_at(node.start_byte()).to_owned();
    let mut text: String = body
        .lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    if !generator
        .src
        .text
        .get(lines.clone())
        .unwrap_or_default()
        .ends_with('\n')
    {
        text = format!("\n{}", text.trim_end_matches('\n'));
    }
    generator.edit(
        vec![Edit {
            range: lines.end..lines.end,
            text,
        }],
        template,
        cost,
    );
}

/// `if CONDITION: ACTION` in the file's language.
fn guard(generator: &Gen<'_>, test: &str, action: &str) -> String {
    let unit = generator.src.indent_unit();
    if generator.py() {
        format!("if {test}:\n{unit}{action}")
    } else {
        format!("if ({test}) {action};")
    }
}

/// What functions of this kind give back early, likeliest first.
fn answers(generator: &mut Gen<'_>, node: Node<'_>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    if let Some(function) = up(node, FUNCTIONS) {
        for inner in all_nodes(function) {
            if inner.kind() == "return_statement"
                && up(inner, FUNCTIONS).is_some_and(|owner| owner.id() == function.id())
                && let Some(value) = inner.named_child(0)
            {
                let text = generator.at(value).to_owned();
                if text.len() < 24
                    && matches!(
                        value.kind(),
                        "identifier"
                            | "integer"
                            | "number"
                            | "list"
                            | "array"
                            | "true"
                            | "false"
                            | "none"
                            | "null"
                            | "string"
                            | "dictionary"
                            | "object"
                            | "float"
                            | "unary_operator"
                            | "unary_expression"
                    )
                    && !out.contains(&text)
                {
                    out.push(text);
                }
            }
        }
    }
    let scope = generator.scope(node);
    let kinds: BTreeSet<String> = scope.kinds.get("return").cloned().unwrap_or_default();
    let python = generator.py();
    let mut add = |text: &str| {
        if !out.iter().any(|known| known == text) {
            out.push(text.to_owned());
        }
    };
    let (yes, no) = if python {
        ("True", "False")
    } else {
        ("true", "false")
    };
    let unknown = kinds.is_empty() || kinds.iter().all(|kind| kind == "none");
    if kinds.contains("number") || unknown {
        add("0");
    }
    if kinds.contains("bool") || unknown {
        add(no);
        add(yes);
    }
    if kinds.contains("sequence") || unknown {
        add("[]");
    }
    add(if python { "None" } else { "null" });
    if kinds.contains("mapping") {
        add("{}");
    }
    if kinds.contains("text") || unknown {
        add(if python { "\"\"" } else { "''" });
    }
    if kinds.contains("number") || unknown {
        add("1");
        add("-1");
    }
    for parameter in scope.parameters.iter().take(3) {
        add(parameter);
    }
    out.truncate(10);
    out
}

fn guards(generator: &mut Gen<'_>, node: Node<'_>) {
    let block_first = node
        .prev_named_sibling()
        .is_none_or(|previous| previous.kind() == "comment" || is_docstring(previous));
    let function_first = block_first
        && node
            .parent()
            .and_then(|block| block.parent())
            .is_some_and(|owner| FUNCTIONS.contains(&owner.kind()));
    let in_loop = up(
        node,
        &["for_statement", "while_statement", "for_in_statement"],
    )
    .is_some_and(|found| {
        up(node, FUNCTIONS).is_some_and(|function| {
            function.start_byte() < found.start_byte() && found.id() != node.id()
        })
    });
    let scope = generator.scope(node);
    let tests = statements::atoms(generator, node);
    let own: Vec<&String> = scope.parameters.iter().collect();
    let relevant = |test: &str| scope.values.iter().any(|name| test.contains(name.as_str()));
    let replies = answers(generator, node);
    // A guard belongs at the start of the function, or before the statement that fails.
    let base = if function_first { 2.7 } else { 3.3 };
    for (test, cost) in tests
        .iter()
        .filter(|(test, _)| relevant(test))
        .take(if function_first { 30 } else { 16 })
    {
        let about_parameter = own.iter().any(|name| test.contains(name.as_str()));
        if function_first && !about_parameter {
            continue;
        }
        for (index, reply) in replies
            .iter()
            .take(if function_first { 7 } else { 4 })
            .enumerate()
        {
            let body = guard(generator, test, &format!("return {reply}"));
            before(
                generator,
                node,
                &body,
                "guard-return",
                base + cost + 0.12 * index as f64,
            );
        }
        if in_loop {
            for (jump, extra) in [("continue", 0.1), ("break", 0.2)] {
                let body = guard(generator, test, jump);
                before(generator, node, &body, "guard-jump", 2.9 + cost + extra);
            }
        }
        let wanted: Vec<String> = generator.know.expected_errors.iter().cloned().collect();
        for error in wanted {
            let action = if generator.py() {
                format!("raise {error}(\"invalid value\")")
            } else {
                format!("throw new {error}('invalid value')")
            };
            let body = guard(generator, test, &action);
            before(generator, node, &body, "guard-raise", base - 0.9 + cost);
        }
    }
    if function_first && generator.py() {
        for name in own.iter().take(4) {
            for initial in ["[]", "{}", "0", "''"] {
                let body = guard(
                    generator,
                    &format!("{name} is None"),
                    &format!("{name} = {initial}"),
                );
                before(generator, node, &body, "guard-default", 3.2);
            }
        }
    }
}

fn is_docstring(node: Node<'_>) -> bool {
    node.kind() == "expression_statement"
        && node
            .named_child(0)
            .is_some_and(|inner| inner.kind() == "string")
}

/// Statements of the same function (and siblings) that may have been forgotten here.
fn copies(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(function) = up(node, FUNCTIONS) else {
        return;
    };
    let mut donors: Vec<(String, f64)> = Vec::new();
    for inner in all_nodes(function) {
        if is_statement(inner)
            && matches!(inner.kind(), "expression_statement")
            && !is_docstring(inner)
        {
            let text = generator.at(inner).to_owned();
            if text.len() < 70
                && !text.contains('\n')
                && !donors.iter().any(|(known, _)| *known == text)
            {
                donors.push((text, 0.0));
            }
        }
    }
    // Statements of other methods of the class: bookkeeping that this one lacks.
    if let Some(class) = up(node, CLASSES) {
        for inner in all_nodes(class) {
            if is_statement(inner)
                && inner.kind() == "expression_statement"
                && !is_docstring(inner)
                && donors.len() < 24
            {
                let text = generator.at(inner).to_owned();
                let own = text.starts_with("self.") || text.starts_with("this.");
                if own
                    && text.len() < 60
                    && !text.contains('\n')
                    && !donors.iter().any(|(known, _)| *known == text)
                {
                    donors.push((text, 0.5));
                }
            }
        }
    }
    let scope = generator.scope(node);
    // Counters and accumulators that nobody moves.
    let end = if generator.py() { "" } else { ";" };
    let mut fresh: Vec<(String, f64)> = Vec::new();
    for name in scope.values.iter().take(8) {
        let kinds = scope.kinds.get(name).cloned().unwrap_or_default();
        if kinds.is_empty() || kinds.contains("number") {
            fresh.push((format!("{name} += 1{end}"), 0.0));
            fresh.push((format!("{name} -= 1{end}"), 0.3));
        }
        if kinds.contains("set") || kinds.contains("sequence") {
            for value in scope.values.iter().take(8).filter(|value| *value != name) {
                if generator.py() {
                    let method = if kinds.contains("set") {
                        "add"
                    } else {
                        "append"
                    };
                    fresh.push((format!("{name}.{method}({value})"), 0.3));
                } else {
                    fresh.push((format!("{name}.push({value});"), 0.3));
                    fresh.push((format!("{name}.add({value});"), 0.4));
                }
            }
        }
    }
    forgotten_updates(generator, node, function, &scope.values, &mut fresh);
    let tail = node
        .next_named_sibling()
        .is_none_or(|next| !is_statement(next));
    let terminal = matches!(
        node.kind(),
        "return_statement"
            | "break_statement"
            | "continue_statement"
            | "raise_statement"
            | "throw_statement"
    );
    for (text, extra) in donors.iter().take(20) {
        before(generator, node, text, "insert-copy", 3.3 + extra);
        if tail && !terminal {
            after(generator, node, text, "insert-copy", 3.2 + extra);
        }
        // The same statement about another variable.
        let names: Vec<&String> = scope.values.iter().take(6).collect();
        for a in &names {
            for b in &names {
                if a != b && text.contains(a.as_str()) && scope.alike(a, b) {
                    let other = replace_word(text, a, b);
                    if other == *text {
                        continue;
                    }
                    let own = generator
                        .src
                        .text
                        .get(node.byte_range())
                        .unwrap_or_default()
                        == text;
                    if tail && !terminal || own {
                        after(generator, node, &other, "insert-copy", 3.9 + extra);
                    }
                    if !own {
                        continue;
                    }
                    // The neighbour's twin: two names change together.
                    for c in &names {
                        for d in &names {
                            if c != d
                                && ![a, b].contains(&c)
                                && ![a, b].contains(&d)
                                && text.contains(c.as_str())
                                && scope.alike(c, d)
                            {
                                let twin = replace_word(&other, c, d);
                                if twin != other {
                                    after(generator, node, &twin, "insert-copy", 2.7 + extra);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    for (text, extra) in fresh.iter().take(110) {
        if tail && !terminal {
            after(generator, node, text, "insert-update", 2.9 + extra);
        }
        // Where the thing is talked about is where it is updated.
        let subject = text.split([' ', '.']).next().unwrap_or_default();
        let here = generator
            .at(node)
            .lines()
            .next()
            .unwrap_or_default()
            .contains(subject);
        before(
            generator,
            node,
            text,
            "insert-update",
            if here { 2.8 } else { 3.1 } + extra,
        );
    }
}

/// Statements that record what is looked up, move what is counted, and keep
/// attributes up to date.
fn forgotten_updates(
    generator: &Gen<'_>,
    node: Node<'_>,
    function: Node<'_>,
    values: &[String],
    fresh: &mut Vec<(String, f64)>,
) {
    let end = if generator.py() { "" } else { ";" };
    let mut add = |text: String, extra: f64| {
        if fresh.len() < 120 && !fresh.iter().any(|(known, _)| *known == text) {
            fresh.push((text, extra));
        }
    };
    for inner in all_nodes(function) {
        if let Some((left, operator, right)) = crate::source::binary(inner)
            && matches!(generator.at(operator), "in" | "not in")
            && generator.at(right).len() < 30
        {
            let (item, holder) = (generator.at(left), generator.at(right));
            add(format!("{holder}.add({item})"), 0.0);
            add(format!("{holder}.append({item})"), 0.1);
            add(format!("{holder}.remove({item})"), 0.6);
        }
        if inner.kind() == "call_expression"
            && let Some(callee) = field(inner, "function")
            && let Some(list) = field(inner, "arguments")
        {
            let arguments = generator.at(list);
            if let Some(holder) = generator.at(callee).strip_suffix(".has") {
                add(format!("{holder}.add{arguments};"), 0.0);
                add(format!("{holder}.delete{arguments};"), 0.4);
            } else if let Some(holder) = generator.at(callee).strip_suffix(".includes") {
                add(format!("{holder}.push{arguments};"), 0.1);
            }
        }
        if matches!(inner.kind(), "subscript" | "subscript_expression")
            && generator.at(inner).len() < 36
        {
            let place = generator.at(inner);
            let asked = inner
                .parent()
                .is_some_and(|parent| crate::source::binary(parent).is_some());
            for step in ["+= 1", "-= 1"] {
                add(
                    format!("{place} {step}{end}"),
                    if asked { 0.1 } else { 0.4 },
                );
            }
        }
    }
    if up(node, CLASSES).is_some() {
        let owner = if generator.py() { "self" } else { "this" };
        for name in generator
            .file
            .own
            .iter()
            .filter(|name| !generator.file.arity.contains_key(*name))
            .take(6)
        {
            for value in values.iter().take(5) {
                add(format!("{owner}.{name} = {value}{end}"), 0.2);
            }
            for step in ["+= 1", "-= 1"] {
                add(format!("{owner}.{name} {step}{end}"), 0.4);
            }
        }
    }
}

/// Replaces whole words.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let wordish = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(at) = rest.find(from) {
        let (head, tail) = rest.split_at(at);
        let after = tail.get(from.len()..).unwrap_or_default();
        let alone =
            !head.chars().last().is_some_and(wordish) && !after.chars().next().is_some_and(wordish);
        out.push_str(head);
        out.push_str(if alone { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn jumps(generator: &mut Gen<'_>, node: Node<'_>) {
    let inside = up(
        node,
        &[
            "for_statement",
            "while_statement",
            "for_in_statement",
            "do_statement",
        ],
    )
    .is_some_and(|found| found.id() != node.id());
    if !inside
        || matches!(
            node.kind(),
            "return_statement" | "break_statement" | "continue_statement"
        )
    {
        return;
    }
    let tail = node
        .next_named_sibling()
        .is_none_or(|next| !is_statement(next));
    let end = if generator.py() { "" } else { ";" };
    if tail && node.kind() != "if_statement" {
        after(generator, node, &format!("break{end}"), "insert-jump", 2.4);
        after(
            generator,
            node,
            &format!("continue{end}"),
            "insert-jump",
            2.6,
        );
    }
}

/// What is missing at the end of a function or block.
fn ending(generator: &mut Gen<'_>, node: Node<'_>) {
    let last = node
        .next_named_sibling()
        .is_none_or(|next| !is_statement(next));
    if !last
        || matches!(
            node.kind(),
            "return_statement"
                | "raise_statement"
                | "throw_statement"
                | "break_statement"
                | "continue_statement"
        )
    {
        return;
    }
    let owner = node.parent().and_then(|block| block.parent());
    let closes_function = owner.is_some_and(|owner| FUNCTIONS.contains(&owner.kind()));
    let end = if generator.py() { "" } else { ";" };
    let scope = generator.scope(node);
    let base = if closes_function { 1.7 } else { 3.0 };
    for (index, value) in scope.values.iter().take(6).enumerate() {
        after(
            generator,
            node,
            &format!("return {value}{end}"),
            "missing-return",
            base + 0.1 * index as f64,
        );
    }
    for (index, value) in answers(generator, node).iter().take(6).enumerate() {
        after(
            generator,
            node,
            &format!("return {value}{end}"),
            "missing-return",
            base + 0.6 + 0.1 * index as f64,
        );
    }
    if up(node, CLASSES).is_some() && closes_function {
        let owner = if generator.py() { "self" } else { "this" };
        after(
            generator,
            node,
            &format!("return {owner}{end}"),
            "missing-return",
            2.2,
        );
    }
    if let (true, Some(assigned)) = (
        closes_function,
        node.named_child(0)
            .filter(|inner| inner.kind().starts_with("assignment")),
    ) && let Some(target) = field(assigned, "left")
    {
        let text = generator.at(target).to_owned();
        after(
            generator,
            node,
            &format!("return {text}{end}"),
            "missing-return",
            1.5,
        );
    }
}

/// Definitions: mutable defaults, a forgotten call of the base class, decorators.
fn function(generator: &mut Gen<'_>, node: Node<'_>) {
    let definition = if node.kind() == "decorated_definition" {
        field(node, "definition").unwrap_or(node)
    } else {
        node
    };
    if generator.py() && definition.kind() == "function_definition" {
        let Some(body) = field(definition, "body") else {
            return;
        };
        let statements: Vec<Node<'_>> = named(body)
            .into_iter()
            .filter(|inner| inner.kind() != "comment")
            .collect();
        let first = statements
            .iter()
            .find(|statement| !is_docstring(**statement))
            .copied();
        if let (Some(list), Some(first)) = (field(definition, "parameters"), first) {
            for parameter in named(list) {
                let (Some(name), Some(value)) =
                    (field(parameter, "name"), field(parameter, "value"))
                else {
                    continue;
                };
                let text = generator.at(value).to_owned();
                if !matches!(text.as_str(), "[]" | "{}" | "set()" | "dict()" | "list()") {
                    continue;
                }
                let name = generator.at(name).to_owned();
                let indent = generator.src.indent_at(first.start_byte()).to_owned();
                let unit = generator.src.indent_unit();
                let start = generator.src.line_start(first.start_byte());
                generator.edit(
                    vec![
                        Edit {
                            range: value.byte_range(),
                            text: "None".into(),
                        },
                        Edit {
                            range: start..start,
                            text: format!(
                                "{indent}if {name} is None:\n{indent}{unit}{name} = {text}\n"
                            ),
                        },
                    ],
                    "mutable-default",
                    1.0,
                );
            }
        }
        let method = up(definition, CLASSES);
        let name = field(definition, "name")
            .map(|name| generator.at(name))
            .unwrap_or_default();
        if let (Some(class), "__init__", Some(first)) = (method, name, first)
            && field(class, "superclasses").is_some()
            && !generator.at(definition).contains("super()")
        {
            let scope = generator.scope(first);
            let all = scope.parameters.join(", ");
            before(generator, first, "super().__init__()", "super", 1.6);
            before(
                generator,
                first,
                &format!("super().__init__({all})"),
                "super",
                1.8,
            );
            for parameter in &scope.parameters {
                before(
                    generator,
                    first,
                    &format!("super().__init__({parameter})"),
                    "super",
                    2.0,
                );
            }
        }
        if method.is_some() && node.kind() == "function_definition" {
            for (decorator, cost) in [
                ("@staticmethod", 2.4),
                ("@property", 2.2),
                ("@classmethod", 2.8),
            ] {
                before(generator, node, decorator, "decorator", cost);
            }
        }
    }
    if node.kind() == "decorated_definition" && generator.py() {
        let decorators: Vec<Node<'_>> = named(node)
            .into_iter()
            .filter(|inner| inner.kind() == "decorator")
            .collect();
        for decorator in decorators {
            let text = generator.at(decorator).to_owned();
            for (from, to) in [
                ("@staticmethod", "@classmethod"),
                ("@classmethod", "@staticmethod"),
                ("@property", "@staticmethod"),
            ] {
                if text == from {
                    generator.swap(decorator, to, "decorator", 2.2);
                }
            }
            if let Some(lines) = statements::whole_lines(generator, decorator) {
                generator.edit(
                    vec![Edit {
                        range: lines,
                        text: String::new(),
                    }],
                    "decorator",
                    2.4,
                );
            }
        }
    }
    if !generator.py() && generator.at(definition).starts_with("function") {
        generator.edit(
            vec![Edit {
                range: definition.start_byte()..definition.start_byte(),
                text: "async ".into(),
            }],
            "async",
            3.0,
        );
    }
}
