//! Source text as tokens, comments gone: enough of Python, JavaScript and Rust to find
//! tests and what they ask. Never fails; what it does not understand is a mark.

/// What a file is written in, where tests are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Language {
    Python,
    /// With TypeScript.
    JavaScript,
    Rust,
}

impl Language {
    pub(super) fn of(path: &str) -> Option<Self> {
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending {
            "py" | "pyi" => Some(Self::Python),
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => Some(Self::JavaScript),
            "rs" => Some(Self::Rust),
            _ => None,
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Word,
    Number,
    /// With its quotes.
    Text,
    /// One character of anything else.
    Mark,
}

/// A piece of source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// First byte in the source.
    pub(super) start: usize,
    /// Line, from 0.
    pub(super) line: usize,
    /// Column of the first token on its line, in bytes.
    pub(super) indent: usize,
}

impl Token<'_> {
    /// One past the last byte in the source.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// All tokens of a source.
pub(super) fn tokens(language: Language, source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        language,
        source,
        at: 0,
        line: 0,
        line_start: 0,
        indent: None,
        found: Vec::new(),
    };
    while lexer.step() {}
    lexer.found
}

struct Lexer<'a> {
    language: Language,
    source: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
    indent: Option<usize>,
    found: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if first == '\n' {
            self.at += 1;
            self.line += 1;
            self.line_start = self.at;
            self.indent = None;
        } else if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if let Some(length) = self.comment(rest) {
            self.skip(length);
        } else {
            let (kind, length) = self.token(rest, first);
            self.push(kind, length);
        }
        true
    }

    fn skip(&mut self, length: usize) {
        let passed = self.rest().get(..length).unwrap_or_default();
        let lines = passed.matches('\n').count();
        if let Some(last) = passed.rfind('\n') {
            self.line += lines;
            self.line_start = self.at + last + 1;
            self.indent = None;
        }
        self.at += length;
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let text = self.rest().get(..length).unwrap_or_default();
        let indent = *self.indent.get_or_insert(self.at - self.line_start);
        self.found.push(Token {
            kind,
            text,
            start: self.at,
            line: self.line,
            indent,
        });
        self.skip(length);
        self.indent.get_or_insert(indent);
    }

    fn comment(&self, rest: &str) -> Option<usize> {
        let to_line_end = || rest.find('\n').unwrap_or(rest.len());
        match self.language {
            Language::Python => rest.starts_with('#').then(to_line_end),
            Language::JavaScript | Language::Rust if rest.starts_with("//") => Some(to_line_end()),
            Language::JavaScript if rest.starts_with("/*") => {
                Some(rest.find("*/").map_or(rest.len(), |end| end + 2))
            }
            Language::Rust if rest.starts_with("/*") => Some(nested_comment(rest)),
            Language::JavaScript | Language::Rust => None,
        }
    }

    fn token(&self, rest: &str, first: char) -> (Kind, usize) {
        if let Some(length) = self.text(rest, first) {
            return (Kind::Text, length);
        }
        let run = |more: fn(char) -> bool| {
            rest.char_indices()
                .find(|(_, c)| !more(*c))
                .map_or(rest.len(), |(at, _)| at)
        };
        if first.is_ascii_digit() {
            return (Kind::Number, number(rest));
        }
        if first.is_alphabetic() || first == '_' || first == '$' {
            return (
                Kind::Word,
                run(|c| c.is_alphanumeric() || c == '_' || c == '$'),
            );
        }
        (Kind::Mark, first.len_utf8())
    }

    fn text(&self, rest: &str, first: char) -> Option<usize> {
        match self.language {
            Language::Python => {
                let prefix = rest
                    .char_indices()
                    .take(3)
                    .find(|(_, c)| !c.is_ascii_alphabetic())
                    .map_or(0, |(at, _)| at);
                let (before, body) = rest.split_at_checked(prefix)?;
                if !before.chars().all(|c| "rRbBuUfFtT".contains(c)) {
                    return None;
                }
                let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                let triple: String = [quote; 3].iter().collect();
                let length = if body.starts_with(&triple) {
                    closed(body, 3, &triple)
                } else {
                    closed(body, 1, &quote.to_string()).min(body.find('\n').unwrap_or(body.len()))
                };
                Some(prefix + length.max(1))
            }
            Language::JavaScript => match first {
                '"' | '\'' => {
                    let end = closed(rest, 1, &first.to_string());
                    Some(end.min(rest.find('\n').unwrap_or(rest.len())).max(1))
                }
                '`' => Some(closed(rest, 1, "`")),
                '/' if self.expects_value() => regex(rest),
                _ => None,
            },
            Language::Rust => rust_text(rest, first),
        }
    }

    /// A value may begin here, so `/` begins a regular expression.
    fn expects_value(&self) -> bool {
        self.found.last().is_none_or(|token| match token.kind {
            Kind::Word => matches!(token.text, "return" | "typeof" | "case" | "in" | "of"),
            Kind::Number | Kind::Text => false,
            Kind::Mark => !matches!(token.text, ")" | "]" | "}"),
        })
    }
}

/// Length of the text that opens `rest` and ends with `quote`, searched from `from` on.
fn closed(rest: &str, from: usize, quote: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' {
            at += 2;
        } else if bytes
            .get(at..)
            .is_some_and(|tail| tail.starts_with(quote.as_bytes()))
        {
            return at + quote.len();
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn regex(rest: &str) -> Option<usize> {
    let line = rest.get(..rest.find('\n').unwrap_or(rest.len()))?;
    let (mut class, mut escaped) = (false, false);
    for (at, c) in line.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '/' if !class => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn nested_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_u32);
    while at < bytes.len() {
        let tail = bytes.get(at..).unwrap_or_default();
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn rust_text(rest: &str, first: char) -> Option<usize> {
    let raw = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - raw.len();
    if prefix <= 1
        && let Some(hashed) = raw.strip_prefix('r')
    {
        let body = hashed.trim_start_matches('#');
        let hashes = hashed.len() - body.len();
        if body.starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = body.get(1..)?;
            let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + length);
        }
    }
    if prefix <= 1 && raw.starts_with('"') {
        return Some(prefix + closed(raw, 1, "\""));
    }
    if first == '\'' {
        let mut inside = rest.get(1..)?.chars();
        let lifetime = inside.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && inside.next() != Some('\'');
        return (!lifetime).then(|| closed(rest, 1, "'"));
    }
    None
}

fn number(rest: &str) -> usize {
    let mut last = ' ';
    for (at, c) in rest.char_indices() {
        let sign = matches!(c, '+' | '-') && matches!(last, 'e' | 'E') && !rest.starts_with("0x");
        // `1..2` is a range, `1.max(2)` a call.
        let point = c == '.'
            && rest
                .get(at + 1..)
                .is_some_and(|tail| tail.starts_with(|next: char| next.is_ascii_digit()));
        if !(c.is_ascii_alphanumeric() || c == '_' || sign || point) {
            return at;
        }
        last = c;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{JavaScript, Python, Rust};

    fn texts(language: Language, source: &str) -> Vec<&str> {
        tokens(language, source).iter().map(|it| it.text).collect()
    }

    #[test]
    fn comments_are_gone_and_texts_are_whole() {
        assert_eq!(
            texts(Python, "x = f'a#b' # no\ny=\"\"\"t\n'\"\"\""),
            ["x", "=", "f'a#b'", "y", "=", "\"\"\"t\n'\"\"\""]
        );
        assert_eq!(
            texts(JavaScript, "a(`b // ${c}`) /* d */ / 2; x = /\"[/]/g"),
            [
                "a",
                "(",
                "`b // ${c}`",
                ")",
                "/",
                "2",
                ";",
                "x",
                "=",
                "/\"[/]/",
                "g"
            ]
        );
        assert_eq!(
            texts(Rust, "f::<'a>('x', r#\"\"y\"#, b\"z\") /* /* */ */ // w"),
            [
                "f",
                ":",
                ":",
                "<",
                "'",
                "a",
                ">",
                "(",
                "'x'",
                ",",
                "r#\"\"y\"#",
                ",",
                "b\"z\"",
                ")"
            ]
        );
        assert_eq!(
            texts(Rust, "0..10 1.5e-3 x.0"),
            ["0", ".", ".", "10", "1.5e-3", "x", ".", "0"]
        );
    }

    #[test]
    fn no_text_is_too_strange() {
        for language in [Python, JavaScript, Rust] {
            for source in [
                "",
                "'",
                "\"\\",
                "`",
                "r#\"",
                "/*",
                "/* /*",
                "'''",
                "b'",
                "\\",
                "é'é",
                "f",
                "\u{0}",
                "'\u{1f600}",
                "br",
                "0x",
                "1.",
                "/[",
            ] {
                let found = tokens(language, source);
                let mut end = 0;
                for token in found {
                    assert!(!token.text.is_empty() && token.start >= end, "{source:?}");
                    end = token.end();
                }
            }
        }
    }

    #[test]
    fn lines_and_indents_are_kept() {
        let found = tokens(Python, "a\n  b c\n'''x\ny''' d\n e");
        let places: Vec<_> = found.iter().map(|it| (it.line, it.indent)).collect();
        assert_eq!(places, [(0, 0), (1, 2), (1, 2), (2, 0), (3, 0), (4, 1)]);
    }
}
