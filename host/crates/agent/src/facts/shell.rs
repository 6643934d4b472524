//! Reads a shell command once, into the program starts it leads to.
//!
//! The reading is of bash. Where it could be wrong it must show: an unknown
//! construct, a syntax error, a substitution that the grammar took for text, or
//! a text that is only known at run time makes the whole call "not understood".

mod expand;
mod lines;
mod redirect;
mod start;

#[cfg(test)]
pub(super) use start::base_name;

use super::word::Value;
use super::{Collector, Directory};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tree_sitter::{Node, ParseOptions, Parser, Tree};

/// Nested shells (`sh -c "sh -c …"`) that are followed.
const MAX_NESTED: u32 = 6;

/// Depth of one syntax tree that is followed.
const MAX_DEPTH: u32 = 120;

/// Variables whose values are remembered.
const MAX_VARIABLES: usize = 256;

/// Longest value that is remembered, in bytes.
const MAX_VALUE: usize = 4 * 1024;

/// The parser is made for edits of large files and always ends; this is against
/// inputs made to be slow.
const PARSE_TIME: Duration = Duration::from_millis(500);

/// Variables that make programs run something else than they say.
const STEERING: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "EDITOR",
    "ENV",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "LESSCLOSE",
    "LESSOPEN",
    "MAKEFLAGS",
    "MANPAGER",
    "PAGER",
    "PATH",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "VISUAL",
];

/// Families of such variables.
const STEERING_PREFIXES: &[&str] = &["LD_", "DYLD_", "GIT_", "BASH_FUNC_", "SELFHEAL_"];

/// Adds everything that `command`, started in `directory`, leads to.
pub(super) fn understand(command: &str, directory: Directory, out: &mut Collector<'_>) {
    let mut frame = Frame {
        directory,
        variables: Rc::default(),
        functions: Rc::default(),
        steered: false,
        input: Input::Nothing,
    };
    let known = out.scope.environment.iter();
    let variables = Rc::make_mut(&mut frame.variables);
    for (name, value) in known.take(MAX_VARIABLES) {
        variables.insert(name.clone(), Value::guess(value.clone()));
    }
    let directory = frame.directory.path.to_string_lossy().into_owned();
    variables.insert("PWD".to_owned(), Value::guess(directory));
    Shell { out, nested: 0 }.script(command, &mut frame, true);
}

/// What a command's standard input is.
#[derive(Clone, Debug)]
enum Input {
    /// Empty, or the host's.
    Nothing,
    /// Only known at run time.
    Unknown,
    /// This text.
    Text(Value),
}

/// The state of a shell at one point.
#[derive(Clone, Debug)]
struct Frame {
    directory: Directory,
    variables: Rc<BTreeMap<String, Value>>,
    functions: Rc<BTreeSet<String>>,
    /// Something changed what names of programs mean.
    steered: bool,
    input: Input,
}

impl Frame {
    fn assign(&mut self, name: &str, value: Value) {
        let value = if value.text.len() > MAX_VALUE {
            Value::unknown(&format!("${name}"))
        } else {
            value
        };
        let variables = Rc::make_mut(&mut self.variables);
        if variables.len() < MAX_VARIABLES || variables.contains_key(name) {
            variables.insert(name.to_owned(), value);
        }
    }

    fn forget(&mut self, name: &str) {
        Rc::make_mut(&mut self.variables).remove(name);
    }

    /// After code that may or may not have run, or not last.
    fn join(&mut self, other: &Self) {
        if other.directory.path != self.directory.path {
            self.directory.certain = false;
        }
        self.directory.certain &= other.directory.certain;
        self.steered |= other.steered;
        let defined = &mut self.functions;
        if defined != &other.functions {
            Rc::make_mut(defined).extend(other.functions.iter().cloned());
        }
        if self.variables != other.variables {
            let variables = Rc::make_mut(&mut self.variables);
            for (name, value) in other.variables.iter() {
                match variables.get_mut(name) {
                    Some(known) if known.text == value.text => known.known &= value.known,
                    Some(known) => known.known = false,
                    None => {
                        variables.insert(name.clone(), Value::unknown(&value.text));
                    }
                }
            }
        }
    }
}

struct Shell<'c, 'a> {
    out: &'c mut Collector<'a>,
    nested: u32,
}

impl Shell<'_, '_> {
    /// Reads a text as a script. `certain` says whether the text is exactly known.
    fn script(&mut self, text: &str, frame: &mut Frame, certain: bool) {
        if !certain {
            self.out.not_understood();
        }
        if self.nested > MAX_NESTED || text.contains('\0') || !self.out.charge(text.len()) {
            self.out.not_understood();
            return;
        }
        let Some(tree) = parse(text) else {
            self.out.not_understood();
            return;
        };
        if tree.root_node().has_error() || lines::joined(&tree, text) {
            self.out.not_understood();
        }
        let mut reader = Reader {
            shell: Shell {
                out: &mut *self.out,
                nested: self.nested + 1,
            },
            source: text,
            certain,
            depth: 0,
        };
        reader.children(tree.root_node(), frame);
    }
}

fn parse(text: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .ok()?;
    let started = Instant::now();
    let mut progress = |_: &tree_sitter::ParseState| {
        if started.elapsed() > PARSE_TIME {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    // The grammar's scanner hands code points to C's `isdigit`, which reads out of
    // bounds for large ones. A `%` is to a shell what any other letter is: part of
    // a word, and of no name. Offsets stay the same, and words are read from `text`.
    let ascii: Vec<u8> = text
        .bytes()
        .map(|byte| if byte.is_ascii() { byte } else { b'%' })
        .collect();
    parser.parse_with_options(
        &mut |at, _| ascii.get(at..).unwrap_or_default(),
        None,
        Some(ParseOptions::new().progress_callback(&mut progress)),
    )
}

/// Walks one syntax tree.
struct Reader<'c, 'a, 's> {
    shell: Shell<'c, 'a>,
    source: &'s str,
    /// The text that is read is exactly known.
    certain: bool,
    depth: u32,
}

impl<'s> Reader<'_, '_, 's> {
    fn text(&self, node: Node<'_>) -> &'s str {
        self.source.get(node.byte_range()).unwrap_or_default()
    }

    fn not_understood(&mut self) {
        self.shell.out.not_understood();
    }

    /// Goes one level deeper, unless that is too deep.
    fn deeper(&mut self, work: impl FnOnce(&mut Self)) {
        if self.depth >= MAX_DEPTH {
            self.not_understood();
            return;
        }
        self.depth += 1;
        work(self);
        self.depth -= 1;
    }

    /// All statements and words below a node, in order.
    fn children(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if child.is_named() {
                self.deeper(|reader| reader.statement(child, frame));
            } else if child.is_missing() {
                self.not_understood();
            }
        }
    }

    /// In a copy of the shell: nothing it does stays.
    fn subshell(&mut self, node: Node<'_>, frame: &Frame) {
        let mut copy = frame.clone();
        self.children(node, &mut copy);
    }

    /// May run, once or more, or not at all.
    fn perhaps(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut copy = frame.clone();
        self.children(node, &mut copy);
        frame.join(&copy);
    }

    fn statement(&mut self, node: Node<'_>, frame: &mut Frame) {
        match node.kind() {
            "program" | "compound_statement" | "do_group" | "negated_command" => {
                self.children(node, frame);
            }
            "list" => self.list(node, &[], frame),
            "pipeline" => self.pipeline(node, &[], frame),
            "subshell" | "command_substitution" | "process_substitution" => {
                self.subshell(node, frame);
            }
            "command" => self.command(node, frame, Vec::new()),
            "redirected_statement" => self.redirected(node, frame),
            "declaration_command" | "unset_command" => self.declaration(node, frame),
            "variable_assignment" => {
                let (name, value) = self.assignment(node, frame);
                self.assigned(&name, value, frame);
            }
            "variable_assignments" => self.children(node, frame),
            "if_statement"
            | "elif_clause"
            | "else_clause"
            | "while_statement"
            | "case_statement"
            | "case_item"
            | "c_style_for_statement" => {
                self.perhaps(node, frame);
            }
            "for_statement" => self.for_loop(node, frame),
            "function_definition" => self.function(node, frame),
            "test_command" => self.children(node, frame),
            "binary_expression"
            | "unary_expression"
            | "ternary_expression"
            | "postfix_expression"
            | "parenthesized_expression"
            | "subscript" => {
                self.children(node, frame);
            }
            "comment"
            | "test_operator"
            | "variable_name"
            | "special_variable_name"
            | "file_descriptor"
            | "heredoc_start"
            | "heredoc_end"
            | "heredoc_content"
            | "string_content"
            | "number" => {
                // Some of these have substitutions below them.
                self.children(node, frame);
            }
            "word"
            | "string"
            | "raw_string"
            | "ansi_c_string"
            | "translated_string"
            | "concatenation"
            | "simple_expansion"
            | "expansion"
            | "arithmetic_expansion"
            | "brace_expression"
            | "regex"
            | "extglob_pattern"
            | "array"
            | "command_name" => {
                self.word(node, frame);
            }
            "file_redirect" | "herestring_redirect" | "heredoc_redirect" => {
                self.redirect(node, frame);
            }
            "heredoc_body" => self.children(node, frame),
            // `ERROR` and what a newer grammar may bring.
            _ => {
                self.not_understood();
                self.children(node, frame);
            }
        }
    }

    fn list(&mut self, node: Node<'_>, redirects: &[Node<'_>], frame: &mut Frame) {
        let last = last_named(node);
        let mut cursor = node.walk();
        let mut either = false;
        for child in node.children(&mut cursor) {
            if !child.is_named() {
                either |= self.text(child) == "||";
                continue;
            }
            let own = if child.id() == last { redirects } else { &[] };
            if either {
                let mut copy = frame.clone();
                self.deeper(|reader| reader.with_redirects(child, own, &mut copy));
                frame.join(&copy);
            } else {
                self.deeper(|reader| reader.with_redirects(child, own, frame));
            }
        }
    }

    fn pipeline(&mut self, node: Node<'_>, redirects: &[Node<'_>], frame: &Frame) {
        let last = last_named(node);
        let mut cursor = node.walk();
        let mut input = frame.input.clone();
        for child in node.children(&mut cursor) {
            if child.is_named() {
                let own = if child.id() == last { redirects } else { &[] };
                let mut copy = frame.clone();
                copy.input = input;
                self.deeper(|reader| reader.with_redirects(child, own, &mut copy));
                input = self.output_of(child, frame);
            }
        }
    }

    /// What a command writes, where that is plain to see: `echo` and `printf` of
    /// known words. A guess, for what is piped into a shell.
    fn output_of(&mut self, node: Node<'_>, frame: &Frame) -> Input {
        if node.kind() != "command" {
            return Input::Unknown;
        }
        let mut cursor = node.walk();
        let mut words = Vec::new();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "command_name" | "word" | "raw_string" => {
                    let inner = if child.kind() == "command_name" {
                        child.named_child(0).unwrap_or(child)
                    } else {
                        child
                    };
                    let mut copy = frame.clone();
                    words.push(match inner.kind() {
                        "word" | "raw_string" => self.word(inner, &mut copy).text,
                        _ => return Input::Unknown,
                    });
                }
                _ => return Input::Unknown,
            }
        }
        match words.split_first() {
            Some((name, rest)) if name == "echo" || name == "printf" => {
                Input::Text(Value::guess(rest.join(" ")))
            }
            _ => Input::Unknown,
        }
    }

    fn for_loop(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut copy = frame.clone();
        if let Some(variable) = node.child_by_field_name("variable") {
            let name = self.text(variable);
            copy.assign(name, Value::unknown(&format!("${name}")));
        }
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            if child.kind() != "variable_name" {
                self.deeper(|reader| reader.statement(child, &mut copy));
            }
        }
        frame.join(&copy);
    }

    /// A function may be called anywhere later, with another directory; its
    /// commands are facts all the same.
    fn function(&mut self, node: Node<'_>, frame: &mut Frame) {
        if let Some(name) = node.child_by_field_name("name") {
            let name = self.text(name).to_owned();
            Rc::make_mut(&mut frame.functions).insert(name);
        }
        let mut copy = frame.clone();
        copy.directory.certain = false;
        let mut cursor = node.walk();
        let name = node.child_by_field_name("name").map(|name| name.id());
        for child in node.named_children(&mut cursor) {
            if Some(child.id()) != name {
                self.deeper(|reader| reader.statement(child, &mut copy));
            }
        }
        copy.input = frame.input.clone();
        frame.join(&copy);
    }

    fn assignment(&mut self, node: Node<'_>, frame: &mut Frame) -> (String, Value) {
        let name = node.child_by_field_name("name");
        if let Some(subscript) = name.filter(|name| name.kind() == "subscript") {
            self.deeper(|reader| reader.children(subscript, frame));
        }
        let name = name.map_or("", |name| self.text(name)).to_owned();
        let value = match node.child_by_field_name("value") {
            Some(value) => self.word(value, frame),
            None => Value::plain(""),
        };
        (name, value)
    }

    /// Notes an assignment that stays.
    fn assigned(&mut self, name: &str, mut value: Value, frame: &mut Frame) {
        // Evaluated again when the variable is used in arithmetic, as a subscript
        // or a prompt.
        if value.laced {
            self.not_understood();
        }
        frame.steered |= steers(name, &value);
        value.certain = false;
        frame.assign(name, value);
    }

    fn declaration(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut cursor = node.walk();
        let mut words = Vec::new();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "variable_assignment" => {
                    let (name, value) = self.assignment(child, frame);
                    let mut word = Value::plain(&format!("{name}="));
                    word.append(&value);
                    words.push(word);
                    self.assigned(&name, value, frame);
                }
                "variable_name" => {
                    let name = self.text(child);
                    words.push(Value::plain(name));
                    if node.kind() == "unset_command" {
                        frame.forget(name);
                    }
                }
                _ if child.is_named() => words.push(self.word(child, frame)),
                _ => words.push(Value::plain(self.text(child))),
            }
        }
        self.start(words, frame, true);
    }
}
fn last_named(node: Node<'_>) -> usize {
    let mut cursor = node.walk();
    node.named_children(&mut cursor)
        .last()
        .map_or(0, |child| child.id())
}

pub(super) fn steers(name: &str, value: &Value) -> bool {
    if name == "NODE_OPTIONS" {
        let harmless = [
            "--experimental-vm-modules",
            "--max-old-space-size=",
            "--no-warnings",
        ];
        return !value.certain
            || !value
                .text
                .split_whitespace()
                .all(|option| harmless.iter().any(|known| option.starts_with(known)));
    }
    if name.ends_with("PAGER") && value.certain && matches!(value.text.as_str(), "" | "cat") {
        return false;
    }
    STEERING.contains(&name)
        || STEERING_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
