//! Arguments of a call: swapped, dropped, added.

use super::Gen;
use super::calls::sort_options;
use super::wrapping::{Place, may, wrap};
use crate::candidate::Edit;
use crate::source::{field, named};
use std::collections::BTreeSet;
use tree_sitter::Node;

pub(super) fn arguments(
    generator: &mut Gen<'_>,
    node: Node<'_>,
    list: Option<Node<'_>>,
    name: &str,
) {
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
