//! Redirections and here-documents: files, and what comes in.

use super::{Frame, Input, Reader};
use crate::facts::word::Value;
use selfheal_domain::policy::AccessMode;
use tree_sitter::Node;

impl<'s> Reader<'_, '_, 's> {
    pub(super) fn redirected(&mut self, node: Node<'_>, frame: &mut Frame) {
        let body = node.child_by_field_name("body");
        let mut cursor = node.walk();
        let redirects: Vec<Node<'_>> = node
            .named_children(&mut cursor)
            .filter(|child| Some(child.id()) != body.map(|body| body.id()))
            .collect();
        match body {
            Some(body) => self.deeper(|reader| reader.with_redirects(body, &redirects, frame)),
            None => {
                for redirect in redirects {
                    let more = self.redirect(redirect, &mut frame.clone());
                    self.start(more, frame, true);
                }
            }
        }
    }

    /// A statement with redirections. The grammar hangs them on a whole list or
    /// pipeline, the shell on its last command.
    pub(super) fn with_redirects(
        &mut self,
        body: Node<'_>,
        redirects: &[Node<'_>],
        frame: &mut Frame,
    ) {
        match body.kind() {
            "list" => self.list(body, redirects, frame),
            "pipeline" => self.pipeline(body, redirects, frame),
            "redirected_statement" | "negated_command" => {
                let mut all = redirects.to_vec();
                let mut cursor = body.walk();
                let inner = body
                    .child_by_field_name("body")
                    .or_else(|| body.named_child(0));
                all.extend(
                    body.named_children(&mut cursor)
                        .filter(|child| Some(child.id()) != inner.map(|inner| inner.id())),
                );
                if let Some(inner) = inner {
                    self.deeper(|reader| reader.with_redirects(inner, &all, frame));
                }
            }
            kind => {
                let mut inner = frame.clone();
                let mut more = Vec::new();
                for redirect in redirects {
                    more.extend(self.redirect(*redirect, &mut inner));
                }
                let input = std::mem::replace(&mut frame.input, inner.input);
                if kind == "command" {
                    self.deeper(|reader| reader.command(body, frame, more));
                } else {
                    if !more.is_empty() {
                        self.not_understood();
                    }
                    self.deeper(|reader| reader.statement(body, frame));
                }
                frame.input = input;
            }
        }
    }

    /// Notes a redirection in `frame`; answers words that belong to the command
    /// although they stand behind a here-document.
    pub(super) fn redirect(&mut self, node: Node<'_>, frame: &mut Frame) -> Vec<Value> {
        match node.kind() {
            "file_redirect" => self.file_redirect(node, frame),
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

    pub(super) fn file_redirect(&mut self, node: Node<'_>, frame: &mut Frame) -> Vec<Value> {
        let mut operator = "";
        let mut target = false;
        let mut more = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if !child.is_named() {
                operator = self.text(child);
            } else if child.kind() != "file_descriptor" {
                let value = self.word(child, frame);
                if std::mem::replace(&mut target, true) {
                    // The grammar takes the words behind for targets, too.
                    more.push(value);
                    continue;
                }
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
        more
    }

    pub(super) fn heredoc(&mut self, node: Node<'_>, frame: &mut Frame) -> Vec<Value> {
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

    pub(super) fn heredoc_body(
        &mut self,
        node: Node<'_>,
        frame: &mut Frame,
        literal: bool,
    ) -> Value {
        if literal {
            return Value::plain(self.text(node));
        }
        self.quoted_parts(node, node.byte_range(), frame)
    }
}

pub(super) fn is_descriptor(text: &str) -> bool {
    text == "-"
        || (!text.is_empty()
            && text
                .trim_end_matches('-')
                .bytes()
                .all(|b| b.is_ascii_digit()))
}
