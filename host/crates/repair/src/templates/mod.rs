//! Templates: general ways in which a program differs from the right one.
//!
//! Each family is one module with a function that looks at one syntax node (or
//! statement) and pushes candidates. Costs are on one scale: 1 is a slip
//! everybody makes, 6 is far-fetched.

mod arguments;
mod calls;
mod confusions;
mod expressions;
mod hinted;
mod inserts;
mod names;
mod operators;
mod scope;
mod statements;
mod strings;
mod subscripts;
mod wrapping;

#[cfg(test)]
mod tests;

use crate::candidate::{Candidate, Edit};
use crate::observe::Hint;
use crate::source::{self, Source, all_nodes, is_statement, last_line_of, line_of};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tree_sitter::Node;

/// What is known about one file beyond its text.
#[derive(Default)]
pub(crate) struct Knowledge {
    /// Suspicion by line, 0 to 1.
    pub(crate) heat: BTreeMap<u32, f64>,
    /// What error messages said.
    pub(crate) hints: Vec<Hint>,
    /// Run-time kinds by `function:line of its definition`, then by variable.
    pub(crate) kinds: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// Exception names that some failing test was missing.
    pub(crate) expected_errors: BTreeSet<String>,
    /// The line that does not parse.
    pub(crate) syntax: Option<u32>,
    /// Attribute and key names of the program's other files.
    pub(crate) neighbours: BTreeSet<String>,
    /// Exception names that were raised, with their bases.
    pub(crate) raised: BTreeSet<String>,
}

/// Names of attributes and keys in a file.
pub(crate) fn property_names(src: &Source) -> BTreeSet<String> {
    let file = scope::FileNames::of(src);
    file.attributes.into_iter().chain(file.keys).collect()
}

/// Everything the templates of one file share.
pub(crate) struct Gen<'a> {
    pub(crate) src: &'a Source,
    pub(crate) know: &'a Knowledge,
    /// Every identifier-like thing of the file.
    pub(crate) file: scope::FileNames,
    scopes: HashMap<usize, scope::Scope>,
    out: Vec<Candidate>,
    seen: HashSet<(usize, usize, String)>,
    heat: f64,
    line: u32,
}

/// All candidates of a file, unsorted.
pub(crate) fn generate(src: &Source, know: &Knowledge) -> Vec<Candidate> {
    let file = scope::FileNames::of(src);
    let mut generator = Gen {
        src,
        know,
        file,
        scopes: HashMap::new(),
        out: Vec::new(),
        seen: HashSet::new(),
        heat: 0.0,
        line: 0,
    };
    hinted::whole_file(&mut generator);
    for node in all_nodes(src.root()) {
        let heat = generator.heat_of(node);
        if heat <= 0.0 || !node.is_named() || node.is_extra() {
            continue;
        }
        generator.heat = heat;
        generator.line = line_of(node);
        if in_annotation(node) || starts_program(src, node) {
            continue;
        }
        hinted::node(&mut generator, node);
        expressions::node(&mut generator, node);
        calls::node(&mut generator, node);
        names::node(&mut generator, node);
        names::exchange(&mut generator, node);
        names::donors(&mut generator, node);
        statements::declaration(&mut generator, node);
        if is_statement(node) {
            statements::node(&mut generator, node);
            inserts::node(&mut generator, node);
        }
    }
    generator.out
}

/// `n - 1 + 1` is `n`: nobody would write the detour, and nobody wants to review it.
fn without_undone_offset(text: String) -> String {
    for detour in [" - 1 + 1", " + 1 - 1"] {
        let Some(at) = text.find(detour) else {
            continue;
        };
        let rest = text.get(at + detour.len()..).unwrap_or_default();
        let operand_ends = !rest
            .starts_with(|next: char| next.is_alphanumeric() || "._*/%(".contains(next))
            && !rest.trim_start().starts_with(['*', '/', '%']);
        if operand_ends {
            return format!("{}{rest}", text.get(..at).unwrap_or_default());
        }
    }
    text
}

/// `if __name__ == "__main__":` and what stands in it: not running the program
/// at all would satisfy every check.
fn starts_program(src: &Source, node: Node<'_>) -> bool {
    let mut current = Some(node);
    while let Some(here) = current {
        if here
            .parent()
            .is_some_and(|parent| matches!(parent.kind(), "module" | "program"))
        {
            let text = src.at(here);
            let main = here.kind() == "if_statement"
                && (text.contains("__name__") || text.contains("require.main"));
            let call = here.kind() == "expression_statement"
                && here
                    .named_child(0)
                    .is_some_and(|inner| matches!(inner.kind(), "call" | "call_expression"))
                && text.trim_end_matches(';').ends_with("()");
            return main || call;
        }
        current = here.parent();
    }
    false
}

/// Type annotations, imports and docstrings decide nothing at run time.
fn in_annotation(node: Node<'_>) -> bool {
    let mut current = Some(node);
    while let Some(here) = current {
        match here.kind() {
            "type" | "import_statement" | "import_from_statement" | "future_import_statement" => {
                return true;
            }
            "expression_statement" => {
                return here.named_child_count() == 1
                    && here
                        .named_child(0)
                        .is_some_and(|child| child.kind() == "string");
            }
            kind if source::FUNCTIONS.contains(&kind) => return false,
            _ => {}
        }
        current = here.parent();
    }
    false
}

impl<'a> Gen<'a> {
    /// Suspicion of a node: that of its lines, or of its statement's header.
    fn heat_of(&self, node: Node<'_>) -> f64 {
        let (from, to) = header_lines(node);
        let own = self.hottest(from, to);
        if own > 0.0 || is_statement(node) {
            return own;
        }
        let mut current = node.parent();
        while let Some(here) = current {
            if is_statement(here) {
                let (from, to) = header_lines(here);
                // A compound statement's heat is its header's, not its body's.
                return if line_of(node) <= to {
                    self.hottest(from, to)
                } else {
                    0.0
                };
            }
            current = here.parent();
        }
        0.0
    }

    fn hottest(&self, from: u32, to: u32) -> f64 {
        self.know
            .heat
            .range(from..=to.max(from))
            .map(|(_, heat)| *heat)
            .fold(0.0, f64::max)
    }

    pub(crate) fn py(&self) -> bool {
        self.src.lang.is_python()
    }

    pub(crate) fn at(&self, node: Node<'_>) -> &'a str {
        self.src.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Replaces one node.
    pub(crate) fn swap(
        &mut self,
        node: Node<'_>,
        text: impl Into<String>,
        template: &'static str,
        cost: f64,
    ) {
        self.edit(
            vec![Edit {
                range: node.byte_range(),
                text: without_undone_offset(text.into()),
            }],
            template,
            cost,
        );
    }

    /// Several edits as one candidate.
    pub(crate) fn edit(&mut self, edits: Vec<Edit>, template: &'static str, cost: f64) {
        let (heat, line) = (self.heat, self.line);
        self.edit_at(edits, template, cost, heat, line);
    }

    /// The same with its own place.
    pub(crate) fn edit_at(
        &mut self,
        edits: Vec<Edit>,
        template: &'static str,
        cost: f64,
        heat: f64,
        line: u32,
    ) {
        if edits
            .iter()
            .all(|edit| self.src.text.get(edit.range.clone()) == Some(edit.text.as_str()))
        {
            return;
        }
        if let [only] = edits.as_slice()
            && !self
                .seen
                .insert((only.range.start, only.range.end, only.text.clone()))
        {
            // The cheaper way to the same text stays.
            if let Some(old) = self.out.iter_mut().find(|old| old.edits == edits)
                && cost < old.cost
            {
                old.cost = cost;
                old.template = template;
            }
            return;
        }
        self.out.push(Candidate {
            path: self.src.path.clone(),
            edits,
            template,
            cost,
            heat,
            line,
        });
    }

    /// Names visible where the node stands.
    pub(crate) fn scope(&mut self, node: Node<'_>) -> scope::Scope {
        let function = source::up(node, source::FUNCTIONS);
        // An arrow function sees what its surroundings see.
        let mut outer = function;
        while let Some(here) = outer {
            if !matches!(here.kind(), "arrow_function" | "function_expression") {
                break;
            }
            match here
                .parent()
                .and_then(|parent| source::up(parent, source::FUNCTIONS))
            {
                Some(next) => outer = Some(next),
                None => break,
            }
        }
        let key = outer.map_or(usize::MAX, |found| found.start_byte());
        if let Some(scope) = self.scopes.get(&key) {
            return scope.clone();
        }
        let scope = scope::Scope::of(self.src, outer, self.know);
        self.scopes.insert(key, scope.clone());
        scope
    }

    /// Spells a negation.
    pub(crate) fn not(&self, node: Node<'_>) -> String {
        let text = self.at(node);
        let simple = matches!(
            node.kind(),
            "identifier"
                | "call"
                | "call_expression"
                | "attribute"
                | "member_expression"
                | "subscript"
                | "subscript_expression"
                | "parenthesized_expression"
                | "true"
                | "false"
        );
        match (self.py(), simple) {
            (true, true) => format!("not {text}"),
            (true, false) => format!("not ({text})"),
            (false, true) => format!("!{text}"),
            (false, false) => format!("!({text})"),
        }
    }

    pub(crate) fn and(&self) -> &'static str {
        if self.py() { "and" } else { "&&" }
    }

    pub(crate) fn or(&self) -> &'static str {
        if self.py() { "or" } else { "||" }
    }

    pub(crate) fn null(&self) -> &'static str {
        if self.py() { "None" } else { "null" }
    }

    pub(crate) fn truth(&self) -> (&'static str, &'static str) {
        if self.py() {
            ("True", "False")
        } else {
            ("true", "false")
        }
    }

    pub(crate) fn len(&self, text: &str) -> String {
        if self.py() {
            format!("len({text})")
        } else {
            format!("{text}.length")
        }
    }

    /// Run-time kinds of a plain variable, empty when unknown.
    pub(crate) fn kinds_of(&mut self, node: Node<'_>) -> BTreeSet<String> {
        if node.kind() != "identifier" {
            return BTreeSet::new();
        }
        let name = self.at(node).to_owned();
        self.scope(node)
            .kinds
            .get(&name)
            .cloned()
            .unwrap_or_default()
    }
}

/// Lines of a statement's header: everything before its body.
fn header_lines(node: Node<'_>) -> (u32, u32) {
    let from = line_of(node);
    let body = ["body", "consequence"]
        .iter()
        .find_map(|name| source::field(node, name));
    match body {
        Some(body) if body.kind() == "block" => (from, line_of(body).saturating_sub(1).max(from)),
        Some(body) => (from, line_of(body)),
        None if is_statement(node)
            && matches!(node.kind(), "try_statement" | "switch_statement") =>
        {
            (from, from)
        }
        None if source::all_nodes(node)
            .iter()
            .any(|inner| inner.id() != node.id() && is_statement(*inner)) =>
        {
            (from, from)
        }
        None => (from, last_line_of(node)),
    }
}

/// Does the text need parentheses as an operand?
pub(crate) fn is_atom(node: Node<'_>) -> bool {
    matches!(
        node.kind(),
        "identifier"
            | "integer"
            | "float"
            | "number"
            | "string"
            | "call"
            | "call_expression"
            | "attribute"
            | "member_expression"
            | "subscript"
            | "subscript_expression"
            | "parenthesized_expression"
            | "list"
            | "array"
            | "tuple"
            | "dictionary"
            | "object"
            | "list_comprehension"
            | "true"
            | "false"
            | "none"
            | "null"
            | "this"
            | "template_string"
    )
}

/// Is the node a value that is read, rather than a name that is bound or called?
pub(crate) fn is_value(node: Node<'_>) -> bool {
    let Some(parent) = node.parent() else {
        return false;
    };
    match parent.kind() {
        "call" | "call_expression" => {
            source::field(parent, "function").is_none_or(|callee| callee.id() != node.id())
        }
        "attribute" | "member_expression" => {
            source::field(parent, "object").is_some_and(|object| object.id() == node.id())
        }
        "keyword_argument"
        | "pair"
        | "pair_pattern"
        | "default_parameter"
        | "typed_default_parameter" => {
            source::field(parent, "value").is_some_and(|value| value.id() == node.id())
        }
        "assignment"
        | "assignment_expression"
        | "for_statement"
        | "for_in_clause"
        | "for_in_statement" => {
            source::field(parent, "left").is_none_or(|left| left.id() != node.id())
        }
        "variable_declarator" => {
            source::field(parent, "name").is_none_or(|name| name.id() != node.id())
        }
        "assignment_pattern" => {
            source::field(parent, "right").is_some_and(|right| right.id() == node.id())
        }
        "parameters"
        | "formal_parameters"
        | "lambda_parameters"
        | "function_definition"
        | "class_definition"
        | "function_declaration"
        | "class_declaration"
        | "method_definition"
        | "function_expression"
        | "dotted_name"
        | "aliased_import"
        | "global_statement"
        | "nonlocal_statement"
        | "typed_parameter"
        | "list_splat_pattern"
        | "dictionary_splat_pattern"
        | "as_pattern_target"
        | "pattern_list"
        | "tuple_pattern"
        | "import_specifier"
        | "export_specifier"
        | "catch_clause"
        | "rest_pattern"
        | "object_pattern"
        | "array_pattern"
        | "labeled_statement"
        | "import_clause"
        | "namespace_import"
        | "named_expression" => false,
        "arrow_function" => {
            source::field(parent, "parameter").is_none_or(|name| name.id() != node.id())
        }
        _ => true,
    }
}

/// Methods of the standard types: their names are rarely typos of the file's own.
fn calls_known(name: &str) -> bool {
    matches!(
        name,
        "append"
            | "get"
            | "items"
            | "keys"
            | "values"
            | "join"
            | "split"
            | "strip"
            | "push"
            | "map"
            | "filter"
            | "lower"
            | "upper"
            | "pop"
            | "extend"
            | "format"
            | "replace"
            | "slice"
            | "add"
            | "update"
            | "sort"
            | "length"
            | "has"
            | "set"
            | "log"
    )
}
