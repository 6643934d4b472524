//! What people see: text on standard output, errors and progress on standard
//! error, colours only on a terminal and never with `NO_COLOR`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line's own voice"
)]

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Colours that the command line uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
    Bold,
}

/// A line on standard output.
pub(crate) fn line(text: impl std::fmt::Display) {
    // A closed pipe (`| head`) is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A text that ends its own lines on standard output.
pub(crate) fn text(text: impl std::fmt::Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// A value as one JSON document on standard output.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(error) => eprintln!("error: the answer could not be written as JSON: {error}"),
    }
}

/// A line of progress on standard error.
pub(crate) fn progress(text: impl std::fmt::Display) {
    let _ = writeln!(
        std::io::stderr(),
        "{}",
        paint(Colour::Dim, text, &std::io::stderr())
    );
}

/// An error with its causes on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let head = paint(Colour::Red, "error:", &std::io::stderr());
    let _ = writeln!(std::io::stderr(), "{head} {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(std::io::stderr(), "  because: {cause}");
    }
}

/// `text` in `colour`, if standard output shows colours.
pub(crate) fn coloured(colour: Colour, text: impl std::fmt::Display) -> String {
    paint(colour, text, &std::io::stdout())
}

fn paint(colour: Colour, text: impl std::fmt::Display, stream: &impl IsTerminal) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !stream.is_terminal();
    if plain {
        return text.to_string();
    }
    let code = match colour {
        Colour::Red => "31",
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Cyan => "36",
        Colour::Dim => "2",
        Colour::Bold => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// `text` without characters that steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A unified diff with coloured lines.
pub(crate) fn diff(text: &str) -> String {
    let colour_of = |line: &str| match line.as_bytes().first() {
        Some(b'+') if !line.starts_with("+++") => Some(Colour::Green),
        Some(b'-') if !line.starts_with("---") => Some(Colour::Red),
        Some(b'@') => Some(Colour::Cyan),
        Some(b'd') => Some(Colour::Bold),
        _ => None,
    };
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            colour_of(line).map_or_else(|| line.to_owned(), |colour| coloured(colour, line))
        })
        .collect();
    lines.join("\n")
}
