//! Calls: arguments, well-known confusions of callees, wrapping and unwrapping.

use super::{Gen, is_value};
use crate::candidate::Edit;
use crate::source::{field, named, up};
use std::collections::BTreeSet;
use tree_sitter::Node;

pub(super) fn node(generator: &mut Gen<'_>, node: Node<'_>) {
    match node.kind() {
        "call" | "call_expression" => call(generator, node),
        "new_expression" => arguments(generator, node, field(node, "arguments"), ""),
        "list_comprehension"
        | "generator_expression"
        | "set_comprehension"
        | "dictionary_comprehension" => comprehension(generator, node),
        "return_statement" | "yield" => {
            if let Some(value) = node.named_child(0) {
                wrap(generator, value, Place::Returned);
            }
        }
        "assignment"
        | "assignment_expression"
        | "augmented_assignment"
        | "augmented_assignment_expression" => {
            if let Some(value) = field(node, "right") {
                wrap(generator, value, Place::Stored);
            }
        }
        "variable_declarator" => {
            if let Some(value) = field(node, "value") {
                wrap(generator, value, Place::Stored);
            }
        }
        "for_statement" | "for_in_statement" | "for_in_clause" => {
            if let Some(right) = field(node, "right") {
                iterated(generator, right);
            }
        }
        "keyword_argument" => {
            if let Some(value) = field(node, "value") {
                wrap(generator, value, Place::Passed);
            }
        }
        "lambda" | "arrow_function" => {
            if let Some(body) = field(node, "body")
                && body.kind() != "statement_block"
            {
                wrap(generator, body, Place::Returned);
                if generator.at(body).len() < 40 && !body.kind().starts_with("unary") {
                    let text = generator.at(body).to_owned();
                    generator.swap(body, format!("-{text}"), "negate-key", 2.6);
                }
            }
        }
        _ => {}
    }
}

/// Where a wrapped value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Returned,
    Stored,
    Passed,
}

/// Free functions that are often taken for one another.
fn callee_confusions(name: &str, python: bool) -> &'static [(&'static str, f64)] {
    match name {
        "min" => &[("max", 1.1)],
        "max" => &[("min", 1.1)],
        "any" => &[("all", 1.1)],
        "all" => &[("any", 1.1)],
        "int" if python => &[("round", 1.7), ("float", 1.6), ("str", 2.8)],
        "float" if python => &[("int", 1.8)],
        "str" if python => &[("repr", 2.6), ("int", 2.8)],
        "repr" => &[("str", 2.4)],
        "round" if python => &[("int", 1.8), ("float", 3.0)],
        "sum" => &[("len", 2.6), ("max", 2.8)],
        "len" => &[("sum", 2.8)],
        "sorted" => &[("list", 2.4), ("reversed", 3.0)],
        "reversed" => &[("sorted", 2.8)],
        "list" => &[("tuple", 2.4), ("sorted", 2.4), ("set", 2.8)],
        "set" => &[("list", 2.4), ("sorted", 2.8), ("frozenset", 3.0)],
        "tuple" => &[("list", 2.4), ("sorted", 2.8)],
        "isinstance" => &[("issubclass", 3.0)],
        "map" => &[("filter", 2.6)],
        "filter" => &[("map", 2.6)],
        "parseInt" => &[("parseFloat", 1.6), ("Number", 1.8)],
        "parseFloat" => &[("parseInt", 1.8), ("Number", 2.0)],
        "Number" => &[("parseInt", 2.4), ("parseFloat", 2.4)],
        "isNaN" => &[("Number.isNaN", 1.8)],
        "setTimeout" => &[("setInterval", 2.6)],
        _ => &[],
    }
}

/// Methods that are often taken for one another.
fn method_confusions(name: &str, python: bool) -> &'static [(&'static str, f64)] {
    match name {
        "append" => &[("extend", 1.5), ("add", 2.2), ("insert", 3.4)],
        "extend" => &[("append", 1.5), ("update", 2.6)],
        "add" if python => &[
            ("append", 2.4),
            ("discard", 2.8),
            ("remove", 2.8),
            ("update", 2.2),
        ],
        "discard" => &[("add", 2.4)],
        "remove" => &[("discard", 2.2), ("pop", 2.6)],
        "appendleft" => &[("append", 1.5)],
        "popleft" => &[("pop", 1.6)],
        "pop" if python => &[("popleft", 2.0), ("get", 2.6)],
        "pop" => &[("shift", 1.4)],
        "shift" => &[("pop", 1.4)],
        "push" => &[("unshift", 1.6)],
        "unshift" => &[("push", 1.6)],
        "lower" => &[("upper", 1.6), ("casefold", 3.0), ("title", 3.2)],
        "upper" => &[("lower", 1.6), ("title", 2.4), ("capitalize", 2.4)],
        "title" => &[("capitalize", 1.8), ("upper", 2.6)],
        "capitalize" => &[("title", 1.8), ("upper", 2.4)],
        "islower" => &[("isupper", 1.6)],
        "isupper" => &[("islower", 1.6)],
        "isalpha" => &[("isalnum", 1.6), ("isdigit", 1.8)],
        "isdigit" => &[("isalpha", 1.8), ("isalnum", 1.8), ("isnumeric", 3.0)],
        "isalnum" => &[("isalpha", 1.6), ("isdigit", 1.8)],
        "strip" => &[("lstrip", 2.0), ("rstrip", 2.0)],
        "lstrip" => &[("strip", 1.6), ("rstrip", 1.8), ("removeprefix", 2.0)],
        "rstrip" => &[("strip", 1.6), ("lstrip", 1.8), ("removesuffix", 2.0)],
        "ljust" => &[("rjust", 1.5)],
        "rjust" => &[("ljust", 1.5)],
        "find" if python => &[("rfind", 1.8), ("index", 2.6)],
        "find" => &[("findIndex", 2.4), ("filter", 2.0), ("findLast", 2.4)],
        "rfind" => &[("find", 1.6)],
        "index" => &[("find", 2.4), ("rindex", 2.2)],
        "split" if python => &[("rsplit", 2.0), ("splitlines", 2.4), ("partition", 3.2)],
        "rsplit" => &[("split", 1.8)],
        "partition" => &[("rpartition", 1.6)],
        "rpartition" => &[("partition", 1.6)],
        "startswith" => &[("endswith", 1.6)],
        "endswith" => &[("startswith", 1.6)],
        "startsWith" => &[("endsWith", 1.6), ("includes", 2.4)],
        "endsWith" => &[("startsWith", 1.6), ("includes", 2.4)],
        "keys" => &[("values", 1.6), ("items", 2.0), ("entries", 2.2)],
        "values" => &[("keys", 1.6), ("items", 2.0), ("entries", 2.2)],
        "items" => &[("values", 2.0), ("keys", 2.0)],
        "entries" => &[("values", 2.0), ("keys", 2.0)],
        "floor" => &[("ceil", 1.3), ("round", 1.7), ("trunc", 2.4)],
        "ceil" => &[("floor", 1.3), ("round", 1.7)],
        "round" => &[("floor", 1.6), ("ceil", 1.6), ("trunc", 2.4)],
        "trunc" => &[("floor", 1.6), ("round", 2.0)],
        "min" => &[("max", 1.1)],
        "max" => &[("min", 1.1)],
        "union" => &[("intersection", 1.6), ("difference", 2.0)],
        "intersection" => &[("union", 1.6), ("difference", 2.0)],
        "difference" => &[
            ("symmetric_difference", 2.0),
            ("intersection", 1.8),
            ("union", 2.0),
        ],
        "issubset" => &[("issuperset", 1.4)],
        "issuperset" => &[("issubset", 1.4)],
        "match" if python => &[("fullmatch", 1.7), ("search", 1.7)],
        "search" if python => &[("match", 1.9), ("fullmatch", 2.0)],
        "fullmatch" => &[("match", 2.0), ("search", 2.0)],
        "sub" => &[("subn", 4.0)],
        "group" => &[("groups", 3.0)],
        "slice" => &[("splice", 1.9), ("substring", 2.6)],
        "splice" => &[("slice", 1.9)],
        "substring" => &[("slice", 2.2), ("substr", 2.4)],
        "substr" => &[("substring", 1.8), ("slice", 1.8)],
        "some" => &[("every", 1.1)],
        "every" => &[("some", 1.1)],
        "map" => &[("flatMap", 1.8), ("filter", 2.0), ("forEach", 2.8)],
        "filter" => &[("map", 2.0), ("find", 2.0)],
        "forEach" => &[("map", 1.8)],
        "flatMap" => &[("map", 1.8)],
        "concat" => &[("push", 2.4)],
        "indexOf" => &[("lastIndexOf", 1.8), ("includes", 2.6)],
        "lastIndexOf" => &[("indexOf", 1.8)],
        "includes" => &[("startsWith", 2.4), ("has", 2.4)],
        "replace" if !python => &[("replaceAll", 1.3)],
        "toLowerCase" => &[("toUpperCase", 1.6)],
        "toUpperCase" => &[("toLowerCase", 1.6)],
        "trim" => &[("trimStart", 2.2), ("trimEnd", 2.2)],
        "trimStart" => &[("trim", 1.6), ("trimEnd", 1.8)],
        "trimEnd" => &[("trim", 1.6), ("trimStart", 1.8)],
        "padStart" => &[("padEnd", 1.4)],
        "padEnd" => &[("padStart", 1.4)],
        "reduce" => &[("reduceRight", 1.8)],
        "reduceRight" => &[("reduce", 1.8)],
        "getDay" => &[("getDate", 1.4)],
        "getDate" => &[("getDay", 1.6)],
        "all" => &[("allSettled", 2.2), ("race", 2.4)],
        "test" => &[("exec", 3.0)],
        "setdefault" => &[("get", 2.2)],
        "copy" if python => &[("deepcopy", 1.4)],
        "get" if python => &[("setdefault", 2.4), ("pop", 2.8)],
        "has" => &[("get", 2.4)],
        "set" => &[("add", 3.0)],
        "date" => &[("time", 2.6)],
        "days" => &[("seconds", 2.0)],
        "update" => &[("add", 2.4)],
        "heappush" => &[("heappop", 3.0)],
        "heappop" => &[("heappush", 3.0)],
        "bisect_left" => &[("bisect_right", 1.3)],
        "bisect_right" => &[("bisect_left", 1.3)],
        "insort" => &[("append", 3.0)],
        "dumps" => &[("loads", 2.4)],
        "loads" => &[("dumps", 2.4)],
        "now" => &[("utcnow", 2.4)],
        "insert" => &[("append", 2.0)],
        _ => &[],
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
            for (other, cost) in callee_confusions(&name, python) {
                generator.swap(callee, *other, "callee", *cost);
            }
            if name == "range" {
                range(generator, node, list);
            }
        }
        "attribute" | "member_expression" => method(generator, node, callee, list),
        _ => {}
    }
    arguments(generator, node, list, &name);
    unwrap(generator, node, callee, list);
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
    for (other, cost) in method_confusions(&method, python) {
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

fn sort_options(generator: &mut Gen<'_>, node: Node<'_>, list: Option<Node<'_>>) {
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

fn arguments(generator: &mut Gen<'_>, node: Node<'_>, list: Option<Node<'_>>, name: &str) {
    let Some(list) = list.filter(|list| matches!(list.kind(), "argument_list" | "arguments"))
    else {
        return;
    };
    let args = named(list);
    for pair in args.windows(2) {
        if let [a, b] = pair
            && a.kind() != "keyword_argument"
            && b.kind() != "keyword_argument"
        {
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
                "swap-arguments",
                1.5,
            );
        }
    }
    if let [a, _, c] = args.as_slice()
        && c.kind() != "keyword_argument"
    {
        let (left, right) = (generator.at(*a).to_owned(), generator.at(*c).to_owned());
        generator.edit(
            vec![
                Edit {
                    range: a.byte_range(),
                    text: right,
                },
                Edit {
                    range: c.byte_range(),
                    text: left,
                },
            ],
            "swap-arguments",
            2.0,
        );
    }
    for (index, arg) in args.iter().enumerate() {
        if args.len() > 1 {
            let range = match (
                args.get(index + 1),
                index.checked_sub(1).and_then(|at| args.get(at)),
            ) {
                (Some(next), _) => arg.start_byte()..next.start_byte(),
                (None, Some(previous)) => previous.end_byte()..arg.end_byte(),
                (None, None) => arg.byte_range(),
            };
            let cost = if arg.kind() == "keyword_argument" {
                2.2
            } else {
                2.9
            };
            generator.edit(
                vec![Edit {
                    range,
                    text: String::new(),
                }],
                "drop-argument",
                cost,
            );
        }
        let simple = matches!(
            arg.kind(),
            "identifier" | "attribute" | "member_expression" | "subscript" | "subscript_expression"
        );
        if simple {
            let text = generator.at(*arg).to_owned();
            let kinds = generator.kinds_of(*arg);
            if may(&kinds, &["number"]) {
                generator.swap(*arg, format!("{text} + 1"), "argument-offset", 1.9);
                generator.swap(*arg, format!("{text} - 1"), "argument-offset", 1.9);
                if arg.kind() == "identifier" && !kinds.is_empty() {
                    let scope = generator.scope(*arg);
                    for (index, other) in scope
                        .values
                        .iter()
                        .filter(|other| **other != text)
                        .take(7)
                        .enumerate()
                    {
                        if scope
                            .kinds
                            .get(other)
                            .is_some_and(|kinds| kinds.contains("number"))
                        {
                            for sign in ["-", "+"] {
                                generator.swap(
                                    *arg,
                                    format!("{text} {sign} {other}"),
                                    "further-term",
                                    2.6 + 0.06 * index as f64,
                                );
                            }
                        }
                    }
                }
            }
        }
        wrap(generator, *arg, Place::Passed);
        // A method handed over without its object.
        if arg.kind() == "member_expression" && !generator.py() {
            let text = generator.at(*arg).to_owned();
            generator.swap(*arg, format!("(...args) => {text}(...args)"), "bind", 1.6);
        }
    }
    // An argument that was left out: a known name at the end.
    let own = generator.file.arity.get(name).copied();
    let wanted = own.is_some_and(|(_, most)| args.len() < most);
    let text = generator.at(list).to_owned();
    if let Some(inner) = text.strip_suffix(')') {
        let scope = generator.scope(node);
        let glue = if args.is_empty() { "" } else { ", " };
        let base_cost = if wanted { 1.7 } else { 3.4 };
        if wanted || (args.len() <= 2 && own.is_none()) {
            for (index, value) in scope
                .values
                .iter()
                .take(if wanted { 12 } else { 5 })
                .enumerate()
            {
                generator.swap(
                    list,
                    format!("{inner}{glue}{value})"),
                    "add-argument",
                    base_cost + 0.08 * index as f64,
                );
            }
        }
        if generator.py() {
            let passed: BTreeSet<String> = args
                .iter()
                .filter_map(|arg| field(*arg, "name").map(|name| generator.at(name).to_owned()))
                .collect();
            let short = name.rsplit('.').next().unwrap_or(name).to_owned();
            let keywords: Vec<(String, String)> = generator
                .file
                .keywords
                .get(&short)
                .into_iter()
                .flatten()
                .filter(|(key, _)| !passed.contains(key))
                .take(6)
                .cloned()
                .collect();
            for (key, value) in keywords {
                generator.swap(
                    list,
                    format!("{inner}{glue}{key}={value})"),
                    "add-argument",
                    2.2,
                );
            }
            if short == "sorted" || short == "max" || short == "min" {
                if short == "sorted" {
                    sort_options(generator, node, Some(list));
                }
                if !text.contains("default") && short != "sorted" && args.len() == 1 {
                    generator.swap(
                        list,
                        format!("{inner}{glue}default=0)"),
                        "add-argument",
                        2.4,
                    );
                    generator.swap(
                        list,
                        format!("{inner}{glue}default=None)"),
                        "add-argument",
                        2.6,
                    );
                }
                if !text.contains("key") && short != "sorted" {
                    generator.swap(list, format!("{inner}{glue}key=len)"), "add-argument", 2.4);
                }
            }
            if short == "round" && args.len() == 1 {
                generator.swap(list, format!("{inner}, 2)"), "add-argument", 2.0);
            }
            if short == "enumerate" && args.len() == 1 {
                generator.swap(list, format!("{inner}, 1)"), "add-argument", 1.8);
            }
            if short == "zip" {
                generator.swap(list, format!("{inner}, strict=True)"), "add-argument", 4.0);
            }
        }
        if !generator.py() && matches!(name, "parseInt" | "Number.parseInt") && args.len() == 1 {
            for (radix, cost) in [("10", 1.2), ("16", 1.8), ("2", 2.0), ("8", 2.6)] {
                generator.swap(list, format!("{inner}, {radix})"), "add-argument", cost);
            }
        }
    }
}

fn unwrap(generator: &mut Gen<'_>, node: Node<'_>, callee: Node<'_>, list: Option<Node<'_>>) {
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
fn may(kinds: &BTreeSet<String>, wanted: &[&str]) -> bool {
    kinds.is_empty() || wanted.iter().any(|kind| kinds.contains(*kind))
}

fn wrap(generator: &mut Gen<'_>, node: Node<'_>, place: Place) {
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

fn iterated(generator: &mut Gen<'_>, node: Node<'_>) {
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

fn comprehension(generator: &mut Gen<'_>, node: Node<'_>) {
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
