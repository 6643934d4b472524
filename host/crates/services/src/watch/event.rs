//! Lines of a log as what they tell: a trace of several lines is one error.

use super::normal::{clip, without_colours, words};
use selfheal_domain::digest::Digest;

/// Most lines and bytes of one error.
const MOST_LINES: usize = 400;
const MOST_BYTES: usize = 16 * 1024;

/// An error as it stands in a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Error {
    /// Which error it is.
    pub(crate) fingerprint: String,
    /// The line that says what is wrong.
    pub(crate) line: String,
    /// All its lines, cut to a bound.
    pub(crate) text: String,
}

/// How the lines of a trace go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// One line, and what is indented below it.
    Plain,
    /// `Traceback (most recent call last):`, frames, then the exception.
    Python,
    /// The exception, then frames that begin with `at`.
    Frames,
    /// `panicked at …`, the message, a backtrace.
    Rust,
    /// `panic: …`, then goroutines.
    Go,
}

#[derive(Clone, Debug)]
struct Open {
    form: Form,
    lines: Vec<String>,
    bytes: usize,
    /// The trace says no more but for what chains to it.
    ended: bool,
}

/// Takes lines in order and gives errors as they are complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grouper {
    open: Option<Open>,
}

impl Grouper {
    /// The next line, without its end. Gives the error that it ends, if one.
    pub(crate) fn line(&mut self, line: &str) -> Option<Error> {
        let line = without_colours(line.trim_end_matches(['\r', '\n']));
        if let Some(open) = &mut self.open
            && open.goes_on(&line)
        {
            open.push(line);
            return None;
        }
        let done = self.flush();
        if let Some(form) = begins(&line) {
            let mut open = Open {
                form,
                lines: Vec::new(),
                bytes: 0,
                ended: false,
            };
            open.push(line);
            self.open = Some(open);
        }
        done
    }

    /// What is left of it when nothing follows.
    pub(crate) fn flush(&mut self) -> Option<Error> {
        self.open.take().map(|open| open.error())
    }
}

impl Open {
    fn push(&mut self, line: String) {
        if self.lines.len() < MOST_LINES && self.bytes < MOST_BYTES {
            let line = clip(&line, MOST_BYTES).to_owned();
            self.bytes += line.len() + 1;
            self.lines.push(line);
        }
    }

    /// Whether `line` belongs to it; finds out on the way what kind of trace it is.
    fn goes_on(&mut self, line: &str) -> bool {
        let text = line.trim_start();
        let indented = text.len() < line.len() && !text.is_empty();
        let first = self.lines.len() == 1;
        match self.form {
            Form::Plain | Form::Frames => {
                // What was logged with a message, or thrown and printed.
                if first
                    && let Some(form @ (Form::Python | Form::Rust | Form::Go)) = begins(line)
                    && self.form == Form::Plain
                {
                    self.form = form;
                    return true;
                }
                if first && self.form == Form::Plain && is_exception(text) && !has_level(line) {
                    self.form = Form::Frames;
                    return true;
                }
                if is_frame(text) || text.starts_with("Caused by:") {
                    self.form = Form::Frames;
                    return true;
                }
                indented || (self.form == Form::Frames && matches!(text, "}" | "]" | "});"))
            }
            Form::Python => self.python_goes_on(line, indented),
            Form::Rust => {
                indented
                    || text.starts_with("note: ")
                    || text.starts_with("stack backtrace:")
                    || (!self.ended && {
                        // The message stands below `panicked at src/x.rs:1:2:`.
                        self.ended = true;
                        self.lines
                            .last()
                            .is_some_and(|line| line.contains("panicked at") && line.ends_with(':'))
                    })
            }
            Form::Go => {
                text.is_empty()
                    || indented
                    || ["goroutine ", "created by ", "[signal ", "exit status "]
                        .iter()
                        .any(|start| line.starts_with(start))
                    || (line.ends_with(')') && !has_level(line))
            }
        }
    }

    fn python_goes_on(&mut self, line: &str, indented: bool) -> bool {
        let chains = [
            "Traceback (most recent call last)",
            "During handling of the above exception",
            "The above exception was the direct cause",
        ];
        if chains.iter().any(|chain| line.contains(chain)) {
            self.ended = false;
            return true;
        }
        if line.trim().is_empty() {
            return self.ended || self.lines.len() > 1;
        }
        if indented {
            return !self.ended || line.trim_start().starts_with('|');
        }
        // The exception itself; what follows it is something else.
        !std::mem::replace(&mut self.ended, true)
    }

    fn error(&self) -> Error {
        let (line, key) = match self.form {
            Form::Plain => {
                let line = self.lines.first().map(String::as_str).unwrap_or_default();
                (line, words(line))
            }
            Form::Python => self.python(),
            Form::Frames => self.frames(),
            Form::Rust => self.rust(),
            Form::Go => {
                let line =
                    self.find(|line| line.contains("panic:") || line.contains("fatal error:"));
                let frame = self.find(|line| line.ends_with(')') && !line.starts_with('['));
                let frame = frame.split('(').next().unwrap_or_default();
                (line, format!("{}\n{}", words(line), words(frame)))
            }
        };
        let digest = Digest::of(key.as_bytes()).to_string();
        Error {
            fingerprint: clip(&digest, 16).to_owned(),
            line: clip(line.trim(), 1024).to_owned(),
            text: self.lines.join("\n").trim_end().to_owned(),
        }
    }

    fn find(&self, wanted: impl Fn(&str) -> bool) -> &str {
        let found = self.lines.iter().find(|line| wanted(line));
        found
            .or_else(|| self.lines.first())
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// The last exception of the chain and the innermost frame above it.
    fn python(&self) -> (&str, String) {
        let plain = |line: &&String| {
            !line.trim().is_empty()
                && !line.starts_with([' ', '\t'])
                && !line.contains("Traceback (most recent call last)")
                && !line.starts_with("During handling")
                && !line.starts_with("The above exception")
        };
        let exception = self.lines.iter().rev().find(plain);
        let line = exception
            .or_else(|| self.lines.first())
            .map(String::as_str)
            .unwrap_or_default();
        let frame = self.lines.iter().rev().find_map(|line| {
            let rest = line.trim_start().strip_prefix("File \"")?;
            let (path, rest) = rest.split_once('"')?;
            let function = rest.split_once(" in ").map_or("", |(_, name)| name);
            Some(format!("{} {}", base_name(path), words(function)))
        });
        (
            line,
            format!("{}\n{}", words(line), frame.unwrap_or_default()),
        )
    }

    /// The exception and what caused it in the end, and the innermost frame.
    fn frames(&self) -> (&str, String) {
        let first = self.find(|line| {
            let text = line.trim_start();
            is_exception(text) || text.contains("Exception") || text.contains("Error")
        });
        let cause = self.lines.iter().rev().map(|line| line.trim_start());
        let cause = cause
            .filter_map(|line| {
                line.strip_prefix("Caused by:")
                    .or_else(|| line.strip_prefix("[cause]:"))
            })
            .next();
        let frame = self.lines.iter().map(|line| line.trim_start());
        let frame = frame.filter(|line| is_frame(line)).map(frame_name).next();
        let key = format!(
            "{}\n{}\n{}",
            words(first),
            words(cause.unwrap_or_default()),
            frame.unwrap_or_default()
        );
        (first, key)
    }

    /// The place without line and column, and the message.
    fn rust(&self) -> (&str, String) {
        let line = self.find(|line| line.contains("panicked at"));
        let place = line
            .split_once("panicked at ")
            .map_or("", |(_, place)| place);
        let place = if place.starts_with('\'') {
            // Before 1.73: the message in quotes, then the place.
            words(place)
        } else {
            base_name(place.split(':').next().unwrap_or_default()).to_owned()
        };
        let position = self.lines.iter().position(|other| other == line);
        let message = position
            .filter(|_| line.ends_with(':'))
            .and_then(|position| self.lines.get(position + 1))
            .map(String::as_str);
        let key = format!("{place}\n{}", words(message.unwrap_or_default()));
        (
            message
                .filter(|text| !text.trim().is_empty())
                .unwrap_or(line),
            key,
        )
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Function and file of a frame, without places that move.
fn frame_name(frame: &str) -> String {
    let frame = frame.strip_prefix("at ").unwrap_or(frame);
    let (function, place) = frame.split_once('(').unwrap_or((frame, ""));
    let file = base_name(place.trim_end_matches(')'));
    let file = file.split(':').next().unwrap_or_default();
    if place.is_empty() {
        // A frame of no function: its file is all there is.
        let file = base_name(function).split(':').next().unwrap_or_default();
        return words(file);
    }
    format!("{} {}", words(function), words(file))
}

/// As in `    at total (/srv/app/cart.js:3:7)` and `\tat shop.Cart.total(Cart.java:3)`.
fn is_frame(text: &str) -> bool {
    let more = |text: &str| {
        text.strip_prefix("... ")
            .is_some_and(|rest| rest.ends_with("more") || rest.contains("common frames"))
    };
    (text.starts_with("at ") && (text.contains(':') || text.ends_with(')'))) || more(text)
}

/// `TypeError: x`, `java.lang.IllegalStateException`, `Exception in thread "main" …`.
fn is_exception(text: &str) -> bool {
    let text = ["Uncaught ", "Unhandled ", "Caused by: "]
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .unwrap_or(text);
    if text.starts_with("Exception in thread") {
        return true;
    }
    let name = text.split([':', ' ']).next().unwrap_or_default();
    let whole =
        name.len() == text.len() || text.get(name.len()..).is_some_and(|it| it.starts_with(':'));
    whole
        && ["Error", "Exception", "Throwable", "Panic"]
            .iter()
            .any(|end| name.ends_with(end))
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'))
}

/// Words by which programs say how bad a line is.
const BAD: [&str; 11] = [
    "ALERT",
    "CRIT",
    "CRITICAL",
    "EMERG",
    "EMERGENCY",
    "ERR",
    "ERROR",
    "FATAL",
    "PANIC",
    "SEVERE",
    "FTL",
];
const HARMLESS: [&str; 13] = [
    "CONFIG", "DBG", "DEBUG", "FINE", "INF", "INFO", "NOTICE", "TRACE", "TRC", "VERBOSE", "WARN",
    "WARNING", "WRN",
];

/// How bad the line says it is; none when it does not say.
fn level(line: &str) -> Option<bool> {
    let line = clip(line, 256);
    // As in `E1121 13:07:06.000000 7 server.cc:3] …`.
    if let [letter @ (b'E' | b'F' | b'I' | b'W'), a, b, c, d, b' ', ..] = line.as_bytes()
        && [a, b, c, d].iter().all(|byte| byte.is_ascii_digit())
    {
        return Some(matches!(letter, b'E' | b'F'));
    }
    let fields = ["level", "lvl", "severity", "levelname", "log.level"];
    let mut words = line
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|word| !word.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        if fields.contains(&word) {
            if let Some(value) = words.peek() {
                let value = value.to_ascii_uppercase();
                // Bunyan and pino write numbers.
                if BAD.contains(&value.as_str()) || matches!(value.as_str(), "50" | "60") {
                    return Some(true);
                }
                if HARMLESS.contains(&value.as_str()) || value.parse::<u32>().is_ok() {
                    return Some(false);
                }
            }
        } else if BAD.contains(&word) {
            return Some(true);
        } else if HARMLESS.contains(&word) {
            return Some(false);
        }
    }
    let bracketed = |names: &[&str]| {
        names
            .iter()
            .any(|name| line.to_ascii_uppercase().contains(&format!("[{name}]")))
    };
    if bracketed(&BAD) {
        return Some(true);
    }
    None
}

fn has_level(line: &str) -> bool {
    level(line).is_some()
}

/// Whether an error begins with this line, and how it goes on.
fn begins(line: &str) -> Option<Form> {
    let text = line.trim_start();
    if text.contains("Traceback (most recent call last)") {
        return Some(Form::Python);
    }
    if text.contains("panicked at ") {
        return Some(Form::Rust);
    }
    if text.starts_with("panic: ") || text.starts_with("fatal error: ") {
        return Some(Form::Go);
    }
    match level(line) {
        Some(true) => return Some(Form::Plain),
        Some(false) => return None,
        None => {}
    }
    if is_exception(text) {
        return Some(Form::Frames);
    }
    let marks = [
        "Unhandled",
        "Uncaught",
        "Segmentation fault",
        "core dumped",
        "Out of memory",
        "terminate called",
        "Assertion failed",
    ];
    let plain = marks.iter().any(|mark| text.contains(mark))
        || ["error:", "fatal:", "error["]
            .iter()
            .any(|start| text.starts_with(start));
    plain.then_some(Form::Plain)
}
