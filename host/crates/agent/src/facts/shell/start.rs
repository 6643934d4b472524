//! Command lines: through wrappers and nested shells to programs.

use super::{Frame, Input, MAX_DEPTH, Reader, Shell, steers};
use crate::facts::word::Value;
use crate::facts::wrappers::{self, Kind};
use crate::facts::{Directory, arguments};
use selfheal_domain::policy::AccessMode;
use std::path::Path;
use tree_sitter::Node;

/// One command line on its way through its wrappers.
struct Start {
    words: Vec<Value>,
    certain: bool,
}

impl<'s> Reader<'_, '_, 's> {
    pub(super) fn command(&mut self, node: Node<'_>, frame: &mut Frame, more: Vec<Value>) {
        let mut words = Vec::new();
        let mut steered = false;
        let mut local = frame.clone();
        let mut behind = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "variable_assignment" => {
                    let (name, value) = self.assignment(child, frame);
                    if value.laced {
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
    pub(super) fn start(&mut self, words: Vec<Value>, frame: &mut Frame, certain: bool) {
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
            // A program that is named by its path and is not there yet, or was just
            // written, is nobody knows what.
            let certain = certain && !self.shell.out.is_made(&program.text, resolved.as_deref());
            self.shell.out.command(program, resolved, rest, certain);
            arguments::effects(name, rest, &frame.directory, certain, self.shell.out);
        }
        match kind {
            Kind::Program => {
                if wrappers::runs_file(name)
                    && !wrappers::only_checks(name, rest)
                    && let Some(file) = rest.iter().find(|word| !word.text.starts_with('-'))
                {
                    let out = &mut *self.shell.out;
                    let path = out.program(&frame.directory, &as_path(&file.text));
                    if out.is_made(&as_path(&file.text), path.as_deref()) {
                        out.not_understood();
                    }
                }
                self.builtin(name, rest, frame);
            }
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
            "alias" | "hash" | "enable" if !rest.is_empty() => {
                frame.steered = true;
                self.not_understood();
            }
            "set" | "shopt"
                if rest
                    .iter()
                    .any(|word| !word.certain || word.text.contains("alias")) =>
            {
                self.not_understood();
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
        if rest.iter().any(|word| word.laced) {
            self.not_understood();
        }
    }

    /// `cd`: certain only where the directory is there to be entered.
    fn enter(&mut self, place: &Value, frame: &mut Frame) {
        let out = &mut *self.shell.out;
        let resolved = out
            .scope
            .view
            .resolve(&frame.directory.path, Path::new(&place.text));
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

/// The last part of a program's path.
pub(in crate::facts) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Words that are syntax where a command starts.
pub(super) fn is_reserved(word: &str) -> bool {
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

pub(super) fn is_builtin(name: &str) -> bool {
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

/// A name that is a file's even without a `/`.
fn as_path(text: &str) -> String {
    if text.contains('/') {
        text.to_owned()
    } else {
        format!("./{text}")
    }
}
