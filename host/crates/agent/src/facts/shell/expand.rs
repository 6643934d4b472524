//! Words: what is known of them before the run, and the commands inside them.

use super::{Frame, Reader};
use crate::facts::word::{Value, ansi_c, bare, quoted};
use tree_sitter::Node;

impl<'s> Reader<'_, '_, 's> {
    /// Text with expansions between `range`'s ends, as inside double quotes.
    pub(super) fn quoted_parts(
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

    pub(super) fn literal(&mut self, range: std::ops::Range<usize>, value: &mut Value) {
        let piece = quoted(self.source.get(range).unwrap_or_default());
        if piece.missed {
            self.not_understood();
        }
        value.append(&piece.value);
    }

    /// Evaluates a word as far as it is known; substitutions in it are read as
    /// the commands they are.
    pub(super) fn word(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
        let mut value = Value::unknown(self.text(node));
        self.deeper(|reader| value = reader.word_at(node, frame));
        value
    }

    pub(super) fn word_at(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
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

    pub(super) fn bare(&mut self, source: &str, frame: &Frame) -> Value {
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

    pub(super) fn concatenation(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
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

    pub(super) fn expansion(&mut self, node: Node<'_>, frame: &mut Frame) -> Value {
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
}

pub(super) fn lookup(frame: &Frame, name: &str, source: &str) -> Value {
    match frame.variables.get(name) {
        Some(value) => Value {
            text: value.text.clone(),
            certain: false,
            known: value.known,
            laced: value.laced,
        },
        None => Value::unknown(source),
    }
}
