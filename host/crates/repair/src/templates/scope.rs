//! What names a file has, which are in scope, and how alike they are.

use super::names::binds;
use super::{Knowledge, is_value};
use crate::source::{CLASSES, FUNCTIONS, Source, all_nodes, field, line_of, named, up};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tree_sitter::Node;

/// Everything that is named anywhere in a file.
#[derive(Default)]
pub(crate) struct FileNames {
    /// Number literals, commonest first.
    pub(crate) numbers: Vec<String>,
    /// String literals without quotes.
    pub(crate) strings: Vec<String>,
    /// Functions and classes defined here.
    pub(crate) callables: Vec<String>,
    /// Names assigned at module level.
    pub(crate) constants: Vec<String>,
    /// Attribute names in use.
    pub(crate) attributes: Vec<String>,
    /// Keys of object literals and patterns.
    pub(crate) keys: BTreeSet<String>,
    /// Attributes of `self` or `this`.
    pub(crate) own: Vec<String>,
    /// Least and most positional arguments of functions defined here.
    pub(crate) arity: HashMap<String, (usize, usize)>,
    /// Keyword arguments that calls of a name pass elsewhere in the file.
    pub(crate) keywords: HashMap<String, Vec<(String, String)>>,
}

impl FileNames {
    pub(crate) fn of(src: &Source) -> Self {
        let mut out = Self::default();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut strings: BTreeSet<String> = BTreeSet::new();
        let mut attributes: BTreeSet<String> = BTreeSet::new();
        let mut own: BTreeSet<String> = BTreeSet::new();
        for node in all_nodes(src.root()) {
            match node.kind() {
                "integer" | "float" | "number" => {
                    *numbers.entry(src.at(node).to_owned()).or_default() += 1
                }
                "string" => {
                    let text = src.at(node);
                    if text.len() < 42 && !text.contains('\n') {
                        let inner = text
                            .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                            .trim_matches(['"', '\'']);
                        strings.insert(inner.to_owned());
                    }
                }
                "attribute" | "member_expression" => {
                    let name = field(node, "attribute").or_else(|| field(node, "property"));
                    if let (Some(name), Some(object)) = (name, field(node, "object")) {
                        attributes.insert(src.at(name).to_owned());
                        if matches!(src.at(object), "self" | "this" | "cls") {
                            own.insert(src.at(name).to_owned());
                        }
                    }
                }
                "function_definition"
                | "function_declaration"
                | "generator_function_declaration"
                | "method_definition" => {
                    if let Some(name) = field(node, "name") {
                        let name = src.at(name).to_owned();
                        out.arity.insert(name.clone(), arity(src, node));
                        let method = up(node, CLASSES).is_some();
                        if method {
                            attributes.insert(name.clone());
                            own.insert(name);
                        } else {
                            out.callables.push(name);
                        }
                    }
                }
                "shorthand_property_identifier_pattern" | "shorthand_property_identifier" => {
                    out.keys.insert(src.at(node).to_owned());
                }
                "class_definition" | "class_declaration" => {
                    if let Some(name) = field(node, "name") {
                        out.callables.push(src.at(name).to_owned());
                    }
                }
                "assignment" | "variable_declarator" => {
                    let top = up(node, FUNCTIONS).is_none() && up(node, CLASSES).is_none();
                    let name = field(node, "left").or_else(|| field(node, "name"));
                    if let (true, Some(name)) = (top, name)
                        && name.kind() == "identifier"
                    {
                        out.constants.push(src.at(name).to_owned());
                    }
                }
                "call" => {
                    if let (Some(callee), Some(list)) =
                        (field(node, "function"), field(node, "arguments"))
                    {
                        let name = src
                            .at(callee)
                            .rsplit('.')
                            .next()
                            .unwrap_or_default()
                            .to_owned();
                        for arg in named(list) {
                            if let (Some(key), Some(value)) =
                                (field(arg, "name"), field(arg, "value"))
                                && arg.kind() == "keyword_argument"
                            {
                                let pair = (src.at(key).to_owned(), src.at(value).to_owned());
                                let known = out.keywords.entry(name.clone()).or_default();
                                if !known.contains(&pair) {
                                    known.push(pair);
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        let mut numbers: Vec<(String, usize)> = numbers.into_iter().collect();
        numbers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        out.numbers = numbers.into_iter().map(|(text, _)| text).collect();
        out.strings = strings.into_iter().collect();
        out.attributes = attributes.into_iter().collect();
        out.own = own.into_iter().collect();
        out
    }
}

fn arity(src: &Source, function: Node<'_>) -> (usize, usize) {
    let Some(list) = field(function, "parameters") else {
        return (0, 0);
    };
    let mut least = 0;
    let mut most = 0;
    for (index, parameter) in named(list).into_iter().enumerate() {
        if index == 0 && matches!(src.at(parameter), "self" | "cls") {
            continue;
        }
        match parameter.kind() {
            "identifier" | "typed_parameter" | "object_pattern" | "array_pattern" => {
                least += 1;
                most += 1;
            }
            "default_parameter" | "typed_default_parameter" | "assignment_pattern" => most += 1,
            _ => {}
        }
    }
    (least, most)
}

/// What a function can see.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    /// Readable variables, the function's own first.
    pub(crate) values: Vec<String>,
    /// Its parameters.
    pub(crate) parameters: Vec<String>,
    /// Run-time kinds, where known; `return` is the function's answer.
    pub(crate) kinds: HashMap<String, BTreeSet<String>>,
}

impl Scope {
    pub(crate) fn of(src: &Source, function: Option<Node<'_>>, know: &Knowledge) -> Self {
        let mut out = Self::default();
        let Some(function) = function else {
            return out;
        };
        let mut values: Vec<(bool, String)> = Vec::new();
        let mut add = |name: &str, bound: bool| {
            if matches!(
                name,
                "self"
                    | "cls"
                    | "_"
                    | "this"
                    | "undefined"
                    | "NaN"
                    | "Infinity"
                    | "console"
                    | "Math"
                    | "Object"
                    | "Array"
                    | "JSON"
                    | "Number"
                    | "String"
            ) {
                return;
            }
            match values.iter_mut().find(|(_, known)| known == name) {
                Some(entry) => entry.0 |= bound,
                None => values.push((bound, name.to_owned())),
            }
        };
        let mut called: BTreeSet<String> = BTreeSet::new();
        for node in all_nodes(function) {
            if let Some(list) = field(node, "parameters") {
                for parameter in all_nodes(list) {
                    if parameter.kind() == "identifier" && !is_default(parameter) {
                        add(src.at(parameter), true);
                        if node.id() == function.id() {
                            out.parameters.push(src.at(parameter).to_owned());
                        }
                    }
                }
            }
            if node.kind() == "identifier" || node.kind() == "shorthand_property_identifier_pattern"
            {
                let text = src.at(node);
                if is_value(node) {
                    add(text, false);
                } else if node
                    .parent()
                    .is_some_and(|parent| matches!(parent.kind(), "call" | "call_expression"))
                {
                    called.insert(text.to_owned());
                } else if binds(node) {
                    add(text, true);
                }
            }
        }
        out.parameters
            .retain(|name| !matches!(name.as_str(), "self" | "cls"));
        let own: Option<String> = field(function, "name").map(|name| src.at(name).to_owned());
        values.retain(|(bound, name)| {
            *bound || (!called.contains(name) && Some(name) != own.as_ref())
        });
        values.retain(|(bound, name)| *bound || !builtin(name));
        values.sort_by_key(|(bound, _)| !*bound);
        out.values = values.into_iter().map(|(_, name)| name).collect();
        let key = format!(
            "{}:{}",
            own.unwrap_or_else(|| "<lambda>".into()),
            line_of(function)
        );
        if let Some(kinds) = know.kinds.get(&key) {
            out.kinds = kinds.clone();
        }
        out
    }

    /// Could one stand in the other's place, as far as the kinds tell?
    pub(crate) fn alike(&self, a: &str, b: &str) -> bool {
        match (self.kinds.get(a), self.kinds.get(b)) {
            (Some(x), Some(y)) => {
                x.intersection(y).next().is_some()
                    || x.contains("none")
                    || y.contains("none")
                    || x.contains("object")
            }
            _ => true,
        }
    }
}

/// Names every program has.
fn builtin(name: &str) -> bool {
    matches!(
        name,
        "int"
            | "str"
            | "float"
            | "list"
            | "dict"
            | "set"
            | "tuple"
            | "bool"
            | "len"
            | "range"
            | "print"
            | "ValueError"
            | "TypeError"
            | "KeyError"
            | "IndexError"
            | "Exception"
            | "object"
            | "type"
            | "None"
            | "Map"
            | "Set"
            | "Error"
            | "Promise"
            | "Date"
            | "math"
            | "re"
            | "os"
            | "sys"
            | "json"
            | "random"
            | "collections"
            | "itertools"
            | "datetime"
            | "time"
            | "functools"
    )
}

fn is_default(node: Node<'_>) -> bool {
    node.parent().is_some_and(|parent| {
        matches!(
            parent.kind(),
            "default_parameter" | "typed_default_parameter" | "assignment_pattern" | "type"
        ) && field(parent, "name")
            .or_else(|| field(parent, "left"))
            .is_none_or(|name| name.id() != node.id())
    })
}

/// How different two names are: 0 the same, 1 nothing in common.
pub(crate) fn distance(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().collect(),
        b.to_lowercase().chars().collect(),
    );
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 0.0;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut previous = i;
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX / 2);
            let left = next.last().copied().unwrap_or(usize::MAX / 2);
            next.push(
                (above + 1)
                    .min(left + 1)
                    .min(previous + usize::from(x != y)),
            );
            previous = above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(longest) as f64 / longest as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_tells_typos_from_strangers() {
        assert!(distance("total", "totals") < 0.2);
        assert!(distance("left", "right") > 0.5);
        assert_eq!(distance("", ""), 0.0);
    }
}
