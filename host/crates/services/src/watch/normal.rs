//! What stays of a line of a log when numbers, times, ids, addresses and paths are
//! taken out of it: the same error has the same words.
//!
//! Everything that varies becomes one mark, `#` (paths: `<path>`), so that an id that
//! happens to be all digits is still the same word. Where in doubt this generalises:
//! two codes such as `E0308` and `E0599` are one word, and what tells them apart is
//! the text beside them.

/// Most bytes of a line that count.
const LINE: usize = 2048;
/// Longest quoted text that is looked at as a whole, in bytes.
const QUOTED: usize = 512;
/// Names of months and days: parts of times.
const CALENDAR: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon",
    "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
];
/// What stands behind a number and belongs to it.
const UNITS: [&str; 25] = [
    "AM", "B", "CEST", "CET", "EDT", "EST", "GB", "GMT", "GiB", "KB", "KiB", "MB", "MiB", "PDT",
    "PM", "PST", "TB", "UTC", "Z", "bytes", "kB", "ms", "ns", "s", "us",
];

/// The words of a line.
pub(crate) fn words(line: &str) -> String {
    let plain = without_colours(clip(line.trim(), LINE));
    let mut out = Words::default();
    let mut rest = plain.as_str();
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            out.space();
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else if let Some((inside, after)) = quoted_path(rest) {
            out.push(first);
            out.path();
            out.push(first);
            rest = after;
            debug_assert!(!inside.is_empty());
        } else if is_bracket(first) {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || is_bracket(c))
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            put_word(&mut out, word);
            rest = after;
        }
    }
    out.finish()
}

/// The text up to a character boundary at or before `most` bytes.
pub(crate) fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Without the sequences that colour a terminal, and without other control characters.
pub(crate) fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            if rest.next_if_eq(&'[').is_some() {
                for c in rest.by_ref() {
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out
}

fn is_bracket(c: char) -> bool {
    matches!(
        c,
        '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '=' | '"' | '\'' | '`' | '|'
    )
}

/// A quoted path with what follows the closing quote: it may hold spaces.
fn quoted_path(text: &str) -> Option<(&str, &str)> {
    let quote = text
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let inner = text.get(1..)?;
    let end = inner.find(quote).filter(|end| *end > 0 && *end <= QUOTED)?;
    let (inside, after) = inner.split_at_checked(end)?;
    begins_path(inside).then_some((inside, after.get(1..)?))
}

fn begins_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = matches!(bytes, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    drive
        || ["/", "./", "../", "~/", "file:", "\\\\"]
            .iter()
            .any(|start| text.starts_with(start) && text.len() > start.len())
}

fn put_word(out: &mut Words, word: &str) {
    // A sentence's own marks are no part of its words.
    let core = word.trim_end_matches([':', '.', '!', '?']);
    let tail = word.get(core.len()..).unwrap_or_default();
    if core.is_empty() {
        word.chars().for_each(|c| out.push(c));
        return;
    }
    let has_digit = core.bytes().any(|byte| byte.is_ascii_digit());
    if CALENDAR.contains(&core) || (has_digit && varies_as_a_whole(core)) || is_uuid(core) {
        out.varying();
    } else if is_path(core) {
        out.path();
    } else if out.after_varying() && UNITS.contains(&core) {
        out.absorb();
    } else {
        put_parts(out, core);
    }
    tail.chars().for_each(|c| out.push(c));
}

/// A path or an address with a scheme. One slash between two words is neither.
fn is_path(word: &str) -> bool {
    let slashes = word
        .bytes()
        .filter(|byte| matches!(byte, b'/' | b'\\'))
        .count();
    begins_path(word) || slashes >= 2 || (slashes == 1 && word.contains(['.', ':', '~']))
}

/// Times, addresses and ids that hold marks of their own.
fn varies_as_a_whole(word: &str) -> bool {
    let date = |text: &str| {
        let mut parts = text.splitn(3, ['-', '/', '.']);
        let number = |part: Option<&str>, least: usize| {
            part.is_some_and(|part| {
                part.len() >= least && part.bytes().take(least).all(|byte| byte.is_ascii_digit())
            })
        };
        number(parts.next(), 4) && number(parts.next(), 1) && number(parts.next(), 1)
    };
    // As in `21/Nov/2026:13:07:06`.
    let common = || {
        let mut parts = word.splitn(3, '/');
        parts.next().is_some_and(|day| day.len() <= 2)
            && parts.next().is_some_and(|month| CALENDAR.contains(&month))
            && parts.next().is_some()
    };
    let address = || {
        let bare = word.split('%').next().unwrap_or(word);
        let colons = bare.bytes().filter(|byte| *byte == b':').count();
        colons >= 2
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
    };
    let mail = || {
        word.split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    };
    date(word) || common() || address() || mail()
}

fn is_uuid(word: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = word.split('-');
    lengths.iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == *length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }) && parts.next().is_none()
}

/// Letters and digits in a row are judged together, the marks between them are kept,
/// except between two things that vary.
fn put_parts(out: &mut Words, word: &str) {
    let mut rest = word;
    let mut sign = true;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| c.is_alphanumeric() != first.is_alphanumeric())
            .unwrap_or(rest.len());
        let (part, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !first.is_alphanumeric() {
            let number = after.starts_with(|c: char| c.is_ascii_digit());
            if !(sign && number && matches!(part, "-" | "+")) {
                part.chars().for_each(|c| out.push(c));
            }
        } else if varies(part) {
            out.varying();
        } else {
            put_digits(out, part);
        }
        sign = false;
        rest = after;
    }
}

/// A part that is an id or a number as a whole.
fn varies(part: &str) -> bool {
    let bytes = part.as_bytes();
    let hex = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    if let Some(digits) = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        return hex(digits.as_bytes());
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return hex(bytes) && bytes.len() >= 8;
    }
    let runs = bytes
        .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .filter(|run| run.first().is_some_and(u8::is_ascii_digit))
        .count();
    let upper = bytes.iter().any(u8::is_ascii_uppercase);
    let lower = bytes.iter().any(u8::is_ascii_lowercase);
    let unit = || {
        let number = part.trim_start_matches(|c: char| c.is_ascii_digit());
        number.len() < part.len() && (UNITS.contains(&number) || matches!(number, "m" | "h" | "d"))
    };
    hex(bytes) || (bytes.len() >= 8 && runs >= 2) || (bytes.len() >= 16 && upper && lower) || unit()
}

fn put_digits(out: &mut Words, part: &str) {
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let numeric = first.is_numeric();
        let end = rest
            .find(|c: char| c.is_numeric() != numeric)
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if numeric {
            out.varying();
        } else {
            run.chars().for_each(|c| out.push(c));
        }
        rest = after;
    }
}

/// The words so far. Neighbours that vary become one.
#[derive(Default)]
struct Words {
    text: String,
    /// Marks after something that varies, in case something that varies follows.
    held: String,
    varying: bool,
}

impl Words {
    fn release(&mut self) {
        self.text.push_str(&self.held);
        self.held.clear();
        self.varying = false;
    }

    fn varying(&mut self) {
        if self.varying {
            self.held.clear();
        } else {
            self.release();
            self.text.push('#');
            self.varying = true;
        }
    }

    fn path(&mut self) {
        self.release();
        self.text.push_str("<path>");
    }

    fn after_varying(&self) -> bool {
        self.varying && self.held.chars().all(char::is_whitespace)
    }

    fn absorb(&mut self) {
        self.held.clear();
    }

    fn space(&mut self) {
        if self.varying {
            if !self.held.ends_with(' ') {
                self.held.push(' ');
            }
        } else if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    fn push(&mut self, c: char) {
        if self.varying && matches!(c, '.' | ',' | ':' | '-' | '+' | '_' | '/') {
            self.held.push(c);
            return;
        }
        self.release();
        self.text.push(c);
    }

    fn finish(mut self) -> String {
        self.release();
        self.text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_gone_and_what_says_something_stays() {
        for (line, expected) in [
            (
                "ERROR order 17 failed after 900ms",
                "ERROR order # failed after #",
            ),
            (
                "ERROR order 4711 failed after 1.2 s",
                "ERROR order # failed after #",
            ),
            ("2026-11-21T13:07:06.123Z ERROR x", "# ERROR x"),
            ("2026-11-21 13:07:06,123 +0100 ERROR x", "# ERROR x"),
            ("Nov 21 13:07:06 ERROR x", "# ERROR x"),
            ("[21/Nov/2026:13:07:06 +0000] ERROR x", "[#] ERROR x"),
            ("peer 10.0.0.1:8080 refused", "peer # refused"),
            ("peer [fe80::1%eth0]:443 refused", "peer [#]:# refused"),
            ("<Foo object at 0x7f12ab>", "<Foo object at #>"),
            ("user ann@example2.org: none", "user #: none"),
            (
                "request 3f2504e0-4f89-11d3-9a0c-0305e82c3301!",
                "request #!",
            ),
            ("commit deadbeefcafe", "commit #"),
            ("ulid 01ARZ3NDEKTSV4RRFFQ69G5FAV", "ulid #"),
            ("in /srv/app/orders.py:12: boom", "in <path>: boom"),
            ("open \"/var/My Files/x\" denied", "open \"<path>\" denied"),
            (r"C:\app\x.exe crashed", "<path> crashed"),
            ("GET http://127.0.0.1:80/x?y=1", "GET <path>=#"),
            ("read/write and N/A", "read/write and N/A"),
            ("-5 is not in 1..10", "# is not in #"),
            ("std::sync::Mutex poisoned", "std::sync::Mutex poisoned"),
            ("\u{1b}[31mERROR\u{1b}[0m x", "ERROR x"),
            ("utf8 and sha256", "utf# and sha#"),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
