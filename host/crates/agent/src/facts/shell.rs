//! Reads a shell command once, into the program starts it leads to.
//!
//! The reading is of bash. Where it could be wrong it must show: an unknown
//! construct, a syntax error, a substitution that the grammar took for text, or
//! a text that is only known at run time makes the whole call "not understood".

use super::word::{Value, ansi_c, bare, quoted};
use super::wrappers::{self, Kind};
use super::{Collector, Directory, arguments};
use selfheal_domain::policy::AccessMode;
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
const STEERING_PREFIXES: &[&str] = &["LD_", "DYLD_", "GIT_", "BASH_FUNC_"];

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

/// One command line on its way through its wrappers.
struct Start {
    words: Vec<Value>,
    certain: bool,
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
        if tree.root_node().has_error() {
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
    let bytes = text.as_bytes();
    parser.parse_with_options(
        &mut |at, _| bytes.get(at..).unwrap_or_default(),
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
            "list" => self.list(node, frame),
            "pipeline" => self.pipeline(node, frame),
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

    fn list(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut cursor = node.walk();
        let mut either = false;
        for child in node.children(&mut cursor) {
            if !child.is_named() {
                either |= self.text(child) == "||";
            } else if either {
                let mut copy = frame.clone();
                self.deeper(|reader| reader.statement(child, &mut copy));
                frame.join(&copy);
            } else {
                self.deeper(|reader| reader.statement(child, frame));
            }
        }
    }

    fn pipeline(&mut self, node: Node<'_>, frame: &Frame) {
        let mut cursor = node.walk();
        let mut input = frame.input.clone();
        for child in node.children(&mut cursor) {
            if child.is_named() {
                let mut copy = frame.clone();
                copy.input = input;
                self.deeper(|reader| reader.statement(child, &mut copy));
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
        let source = self.text(node);
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
                let _ = source;
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
        if value.text.contains("$(") || value.text.contains('`') {
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

    /// A statement with redirections; what they say applies to all of it.
    fn redirected(&mut self, node: Node<'_>, frame: &mut Frame) {
        let body = node.child_by_field_name("body");
        let mut inner = frame.clone();
        let mut more = Vec::new();
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            if Some(child.id()) != body.map(|body| body.id()) {
                more.extend(self.redirect(child, &mut inner));
            }
        }
        let Some(body) = body else {
            return;
        };
        let input = std::mem::replace(&mut frame.input, inner.input);
        if body.kind() == "command" {
            self.deeper(|reader| reader.command(body, frame, more));
        } else {
            if !more.is_empty() {
                self.not_understood();
            }
            self.deeper(|reader| reader.statement(body, frame));
        }
        frame.input = input;
    }

    /// Notes a redirection in `frame`; answers words that belong to the command
    /// although they stand behind a here-document.
    fn redirect(&mut self, node: Node<'_>, frame: &mut Frame) -> Vec<Value> {
        match node.kind() {
            "file_redirect" => {
                self.file_redirect(node, frame);
                Vec::new()
            }
            "herestring_redirect" => {
                let mut cursor = node.walk();
                for child in node.named_children(&mut cursor) {
                    if child.kind() != "file_descriptor" {
                        let value = self.word(child, frame);
                        frame.input = Input::Text(value);
                    }
                }
                Vec::new()
            }
            "heredoc_redirect" => self.heredoc(node, frame),
            _ => {
                self.deeper(|reader| reader.statement(node, frame));
                Vec::new()
            }
        }
    }

    fn file_redirect(&mut self, node: Node<'_>, frame: &mut Frame) {
        let mut operator = "";
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if !child.is_named() {
                operator = self.text(child);
            } else if child.kind() != "file_descriptor" {
                let value = self.word(child, frame);
                let modes: &[AccessMode] = match operator {
                    "<" => {
                        frame.input = Input::Unknown;
                        &[AccessMode::Read]
                    }
                    "<>" => &[AccessMode::Read, AccessMode::Write],
                    ">&" | "<&" if is_descriptor(&value.text) => {
                        frame.input = Input::Unknown;
                        &[]
                    }
                    ">" | ">>" | ">|" | "&>" | "&>>" | ">&" => &[AccessMode::Write],
                    "<&" | "<&-" | ">&-" => &[],
                    _ => {
                        self.not_understood();
                        &[AccessMode::Write]
                    }
                };
                for mode in modes {
                    let certain = self.certain;
                    self.shell
                        .out
                        .path(&frame.directory, &value, *mode, certain);
                }
            }
        }
    }

    fn heredoc(&mut self, node: Node<'_>, frame: &mut Frame) -> Vec<Value> {
        let mut more = Vec::new();
        let mut literal = false;
        let mut cursor = node.walk();
        let mut field = node.walk();
        let mut fields = Vec::new();
        if field.goto_first_child() {
            loop {
                fields.push(field.field_name());
                if !field.goto_next_sibling() {
                    break;
                }
            }
        }
        let mut rest = Vec::new();
        for (child, field) in node.children(&mut cursor).zip(fields) {
            match (child.kind(), field) {
                (_, Some("argument")) => more.push(self.word(child, frame)),
                (_, Some("redirect")) => more.extend(self.redirect(child, frame)),
                (_, Some("right")) | ("pipeline", _) => rest.push(child),
                ("heredoc_start", _) => literal = self.text(child).contains(['\'', '"', '\\']),
                ("heredoc_body", _) => {
                    let value = self.heredoc_body(child, frame, literal);
                    frame.input = Input::Text(value);
                }
                ("heredoc_end" | "file_descriptor", _) => {}
                _ if child.is_named() => {
                    self.deeper(|reader| reader.statement(child, frame));
                }
                _ => {}
            }
        }
        for child in rest {
            let mut copy = frame.clone();
            // What the first command makes of the text is not known.
            copy.input = Input::Unknown;
            self.deeper(|reader| reader.statement(child, &mut copy));
            frame.join(&copy);
        }
        more
    }

    fn heredoc_body(&mut self, node: Node<'_>, frame: &mut Frame, literal: bool) -> Value {
        if literal {
            return Value::plain(self.text(node));
        }
        self.quoted_parts(node, node.byte_range(), frame)
    }

    /// Text with expansions between `range`'s ends, as inside double quotes.
    fn quoted_parts(
        &mut self,
        node: Node<'_>,
        range: std::ops::Range<usize>,
        frame: &mut Frame,
    ) -> Value {
        let mut value = Value::plain("");
        let mut at = range.start;
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            if matches!(child.kind(), "string_content" | "heredoc_content") {
                continue;
            }
            self.literal(at..child.start_byte(), &mut value);
            at = child.end_byte().max(at);
            let part = self.word(child, frame);
            value.append(&part);
        }
        self.literal(at..range.end, &mut value);
        value
    }

    fn literal(&mut self, range: std::ops::Range<usize>, value: &mut Value) {
        let piece = quoted(self.source.get(range).unwrap_or_default());
        if piece.missed {
            self.not_understood();
        }
        value.append(&piece.value);
    }

    /// Evaluates a word as far as it is known; substitutions in it are read as
    /// the commands they are.
    fn word(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
        let mut value = Value::unknown(self.text(node));
        self.deeper(|reader| value = reader.word_at(node, frame));
        value
    }

    fn word_at(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
        let source = self.text(node);
        match node.kind() {
            "word"
            | "variable_name"
            | "number"
            | "regex"
            | "extglob_pattern"
            | "special_variable_name"
            | "test_operator" => {
                if node.named_child_count() > 0 {
                    self.children(node, frame);
                    return Value::unknown(source);
                }
                self.bare(source, frame)
            }
            "raw_string" => Value::plain(
                source
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''))
                    .unwrap_or(source),
            ),
            "ansi_c_string" => match source
                .strip_prefix("$'")
                .and_then(|rest| rest.strip_suffix('\''))
            {
                Some(inside) => ansi_c(inside),
                None => Value::unknown(source),
            },
            "string" => {
                let range = node.byte_range();
                let inner = range.start + 1..range.end.saturating_sub(1).max(range.start + 1);
                self.quoted_parts(node, inner, frame)
            }
            "translated_string" => {
                let mut value = match node.named_child(0) {
                    Some(string) => self.word(string, frame),
                    None => Value::unknown(source),
                };
                value.certain = false;
                value
            }
            "simple_expansion" => lookup(frame, source.trim_start_matches('$'), source),
            "expansion" => self.expansion(node, frame),
            "command_substitution" | "process_substitution" => {
                self.subshell(node, frame);
                Value::unknown(source)
            }
            "arithmetic_expansion" => {
                self.children(node, frame);
                Value::unknown(source)
            }
            "brace_expression" => Value::unknown(source),
            "command_name" => match node.named_child(0) {
                Some(child) if node.named_child_count() == 1 => self.word(child, frame),
                _ => {
                    self.children(node, frame);
                    Value::unknown(source)
                }
            },
            "concatenation" => self.concatenation(node, frame),
            "array" => {
                self.children(node, frame);
                Value::unknown(source)
            }
            // Arithmetic as a value of an assignment.
            "binary_expression"
            | "unary_expression"
            | "ternary_expression"
            | "postfix_expression"
            | "parenthesized_expression"
            | "subscript" => {
                self.children(node, frame);
                Value::unknown(source)
            }
            _ => {
                self.not_understood();
                self.children(node, frame);
                Value::unknown(source)
            }
        }
    }

    fn bare(&mut self, source: &str, frame: &Frame) -> Value {
        let piece = bare(source);
        if piece.missed {
            self.not_understood();
        }
        let mut value = piece.value;
        if source.starts_with('~') {
            value.certain = false;
            match value.text.strip_prefix('~') {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    if let Some(home) = frame.variables.get("HOME") {
                        value.text = format!("{}{rest}", home.text);
                        value.known &= home.known;
                    }
                }
                _ => value.known = false,
            }
        }
        value
    }

    fn concatenation(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
        let mut value = Value::plain("");
        let mut at = node.start_byte();
        let mut cursor = node.walk();
        // An unquoted brace in one piece and its partner in another.
        let mut braces = false;
        for child in node.children(&mut cursor) {
            if child.start_byte() > at {
                let gap = self.source.get(at..child.start_byte()).unwrap_or_default();
                let gap = self.bare(gap, frame);
                value.append(&gap);
            }
            let part = if child.is_named() {
                self.word(child, frame)
            } else {
                self.bare(self.text(child), frame)
            };
            braces |= matches!(child.kind(), "word" | "brace_expression")
                && self.text(child).contains(['{', '}']);
            value.append(&part);
            at = child.end_byte();
        }
        if braces && value.text != "{}" {
            value.certain = false;
        }
        value
    }

    fn expansion(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
        let source = self.text(node);
        self.children(node, frame);
        let inside = source
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or("");
        // Indirection and prompt expansion evaluate what a variable holds.
        if inside.starts_with('!') || inside.contains("@P") {
            self.not_understood();
        }
        if inside
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            lookup(frame, inside, source)
        } else {
            Value::unknown(source)
        }
    }

    fn command(&mut self, node: Node<'_>, frame: &mut Frame, more: Vec<Value>) {
        let mut words = Vec::new();
        let mut steered = false;
        let mut local = frame.clone();
        let mut behind = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "variable_assignment" => {
                    let (name, value) = self.assignment(child, frame);
                    if value.text.contains("$(") || value.text.contains('`') {
                        self.not_understood();
                    }
                    steered |= steers(&name, &value);
                }
                "file_redirect" | "herestring_redirect" | "heredoc_redirect" => {
                    behind.extend(self.redirect(child, &mut local));
                }
                "subshell" => {
                    self.not_understood();
                    self.subshell(child, frame);
                }
                _ if child.is_named() => words.push(self.word(child, frame)),
                // `$` and operators of patterns.
                _ => words.push(Value::plain(self.text(child))),
            }
        }
        words.extend(behind);
        words.extend(more);
        let input = std::mem::replace(&mut frame.input, local.input);
        let before = frame.steered;
        frame.steered |= steered;
        self.start(words, frame, true);
        // `export PATH` in the words stays; a prefix does not.
        frame.steered = before || (frame.steered && !steered);
        frame.input = input;
    }

    /// A command line: through its wrappers to the program that runs.
    fn start(&mut self, words: Vec<Value>, frame: &mut Frame, certain: bool) {
        self.deeper(|reader| reader.start_at(Start { words, certain }, frame));
    }

    fn start_at(&mut self, start: Start, frame: &mut Frame) {
        let Start { words, certain } = start;
        let Some((program, rest)) = words.split_first() else {
            return;
        };
        let name = base_name(&program.text);
        if is_reserved(&program.text) {
            self.not_understood();
        }
        if !program.known {
            self.not_understood();
        }
        let called = frame.functions.contains(&program.text);
        let certain = certain && self.certain && !frame.steered && !called;
        let kind = wrappers::kind(name, rest);
        if !matches!(kind, Kind::Wrapper { shown: false, .. }) || called {
            let resolved = if program.certain && !frame.steered && !called && !is_builtin(name) {
                self.shell.out.program(&frame.directory, &program.text)
            } else {
                None
            };
            self.shell.out.command(program, resolved, rest, certain);
            arguments::effects(name, rest, &frame.directory, certain, self.shell.out);
        }
        match kind {
            Kind::Program => self.builtin(name, rest, frame),
            Kind::Wrapper {
                inner,
                sure,
                directory,
                steers,
                reads,
                ..
            } => {
                let mut local = frame.clone();
                local.steered |= steers;
                for place in &reads {
                    let out = &mut *self.shell.out;
                    out.path(&frame.directory, place, AccessMode::Read, certain);
                }
                if let Some(place) = directory {
                    self.enter(&place, &mut local);
                }
                if inner.iter().any(|word| is_reserved(&word.text)) {
                    // `time { …; }` and the like: the grammar read words.
                    self.not_understood();
                }
                self.start(inner, &mut local, certain && sure);
            }
            Kind::Script { text, sure } => {
                let mut local = frame.clone();
                let exact = text.certain && sure && certain;
                if !text.known {
                    self.not_understood();
                }
                self.nested(&text.text, &mut local, exact);
                if matches!(name, "eval" | "trap") {
                    frame.join(&local);
                }
            }
            Kind::StandardInput => match frame.input.clone() {
                Input::Nothing => {}
                Input::Unknown => self.not_understood(),
                Input::Text(text) => {
                    let mut local = frame.clone();
                    local.input = Input::Unknown;
                    self.nested(&text.text, &mut local, text.certain && certain);
                }
            },
            Kind::Unclear { guesses } => {
                self.not_understood();
                for guess in guesses {
                    let mut local = frame.clone();
                    self.nested(&guess.text, &mut local, false);
                }
            }
        }
    }

    fn nested(&mut self, text: &str, frame: &mut Frame, certain: bool) {
        let nested = self.shell.nested;
        // The depth of this tree counts for the texts in it, too.
        if self.depth + 8 * nested >= MAX_DEPTH {
            self.not_understood();
            return;
        }
        Shell {
            out: &mut *self.shell.out,
            nested,
        }
        .script(text, frame, certain);
    }

    /// What a builtin changes for the commands after it.
    fn builtin(&mut self, name: &str, rest: &[Value], frame: &mut Frame) {
        match name {
            "cd" | "pushd" => {
                let place = rest.iter().find(|word| {
                    !matches!(word.text.as_str(), "-L" | "-P" | "-e" | "-@" | "--" | "-n")
                });
                match place {
                    Some(place) if place.text != "-" && !place.text.starts_with('+') => {
                        self.enter(&place.clone(), frame);
                    }
                    None if name == "cd" => {
                        let home = frame.variables.get("HOME").cloned();
                        match home {
                            Some(home) => self.enter(&home, frame),
                            None => frame.directory.certain = false,
                        }
                    }
                    _ => frame.directory.certain = false,
                }
            }
            "popd" => frame.directory.certain = false,
            "alias" | "hash" | "enable" => {
                if !rest.is_empty() {
                    frame.steered = true;
                    self.not_understood();
                }
            }
            "set" | "shopt" => {
                if rest
                    .iter()
                    .any(|word| !word.certain || word.text.contains("alias"))
                {
                    self.not_understood();
                }
            }
            "printf" => {
                if let Some((flag, rest)) = rest.split_first()
                    && flag.text.starts_with("-v")
                {
                    if let Some(name) = rest.first() {
                        let name = name.text.clone();
                        frame.steered |= steers(&name, &Value::unknown(""));
                        frame.assign(&name, Value::unknown(&format!("${name}")));
                    }
                    self.evaluating(rest);
                }
            }
            "read" | "mapfile" | "readarray" | "getopts" | "let" | "test" | "[" | "wait"
            | "unset" => {
                for word in rest.iter().filter(|word| !word.text.starts_with('-')) {
                    if matches!(name, "read" | "mapfile" | "readarray" | "getopts") {
                        frame.steered |= steers(&word.text, &Value::unknown(""));
                        frame.assign(&word.text, Value::unknown(&format!("${}", word.text)));
                    }
                }
                if rest.iter().any(|word| word.text == "-C") && name != "read" {
                    self.not_understood();
                }
                self.evaluating(rest);
            }
            _ => {}
        }
    }

    /// Builtins that evaluate subscripts in their arguments.
    fn evaluating(&mut self, rest: &[Value]) {
        if rest
            .iter()
            .any(|word| word.text.contains("$(") || word.text.contains('`'))
        {
            self.not_understood();
        }
    }

    /// `cd`: certain only where the directory is there to be entered.
    fn enter(&mut self, place: &Value, frame: &mut Frame) {
        let out = &mut *self.shell.out;
        let resolved = out
            .scope
            .view
            .resolve(&frame.directory.path, std::path::Path::new(&place.text));
        out.path(&frame.directory, place, AccessMode::Read, self.certain);
        let absolute = place.text.starts_with('/');
        frame.directory = Directory {
            certain: place.certain
                && resolved.certain
                && resolved.directory
                && (frame.directory.certain || absolute),
            path: resolved.path,
        };
        let directory = frame.directory.path.to_string_lossy().into_owned();
        frame.assign("PWD", Value::guess(directory));
    }
}

fn lookup(frame: &Frame, name: &str, source: &str) -> Value {
    match frame.variables.get(name) {
        Some(value) => Value {
            text: value.text.clone(),
            certain: false,
            known: value.known,
        },
        None => Value::unknown(source),
    }
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
    STEERING.contains(&name)
        || STEERING_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn is_descriptor(text: &str) -> bool {
    text == "-"
        || (!text.is_empty()
            && text
                .trim_end_matches('-')
                .bytes()
                .all(|b| b.is_ascii_digit()))
}

/// The last part of a program's path.
pub(super) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Words that are syntax where a command starts.
fn is_reserved(word: &str) -> bool {
    matches!(
        word,
        "{" | "}"
            | "!"
            | "if"
            | "then"
            | "else"
            | "elif"
            | "fi"
            | "for"
            | "while"
            | "until"
            | "do"
            | "done"
            | "case"
            | "esac"
            | "in"
            | "function"
            | "select"
            | "[["
            | "]]"
            | "(("
    )
}

fn is_builtin(name: &str) -> bool {
    matches!(
        name,
        "." | ":"
            | "["
            | "alias"
            | "bg"
            | "bind"
            | "break"
            | "builtin"
            | "caller"
            | "cd"
            | "command"
            | "compgen"
            | "complete"
            | "continue"
            | "declare"
            | "dirs"
            | "disown"
            | "echo"
            | "enable"
            | "eval"
            | "exec"
            | "exit"
            | "export"
            | "false"
            | "fc"
            | "fg"
            | "getopts"
            | "hash"
            | "help"
            | "history"
            | "jobs"
            | "kill"
            | "let"
            | "local"
            | "logout"
            | "mapfile"
            | "popd"
            | "printf"
            | "pushd"
            | "pwd"
            | "read"
            | "readarray"
            | "readonly"
            | "return"
            | "set"
            | "shift"
            | "shopt"
            | "source"
            | "suspend"
            | "test"
            | "times"
            | "trap"
            | "true"
            | "type"
            | "typeset"
            | "ulimit"
            | "umask"
            | "unalias"
            | "unset"
            | "wait"
    )
}
