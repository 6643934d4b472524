//! Words of a shell command: what is known of their text.

use std::iter::Peekable;
use std::str::Chars;

/// Longest text of a word, in bytes; no literal one can be longer.
const MAX_TEXT: usize = 64 * 1024;

/// A word, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    /// The text, as far as it is known; the source where it is not.
    pub(super) text: String,
    /// It is exactly this text, and exactly one word.
    pub(super) certain: bool,
    /// The text is at least a complete guess (from variables that were seen).
    pub(super) known: bool,
    /// Text that stands for itself holds what would be a substitution if it were
    /// evaluated once more (as in `'a[$(x)]'`).
    pub(super) laced: bool,
}

impl Value {
    /// A text that stands for itself.
    pub(super) fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            certain: true,
            known: true,
            laced: is_laced(text),
        }
    }

    /// A text that only the run decides.
    pub(super) fn unknown(source: &str) -> Self {
        Self {
            text: source.to_owned(),
            certain: false,
            known: false,
            laced: false,
        }
    }

    /// A good guess.
    pub(super) fn guess(text: String) -> Self {
        Self {
            laced: is_laced(&text),
            text,
            certain: false,
            known: true,
        }
    }

    /// Adds a part. What variables would blow up (`a=$a$a` again and again) ends
    /// as unknown.
    pub(super) fn append(&mut self, other: &Self) {
        if self.text.len() + other.text.len() > MAX_TEXT {
            self.certain = false;
            self.known = false;
            self.laced = true;
            return;
        }
        self.text.push_str(&other.text);
        self.certain &= other.certain;
        self.known &= other.known;
        self.laced |= other.laced;
    }
}

fn is_laced(text: &str) -> bool {
    text.contains("$(") || text.contains("${") || text.contains('`')
}

/// What an unquoted piece of source means.
pub(super) struct Bare {
    pub(super) value: Value,
    /// It holds what should have been a substitution: the parser missed it.
    pub(super) missed: bool,
}

/// Reads an unquoted piece: backslashes, globs, braces.
pub(super) fn bare(source: &str) -> Bare {
    let mut text = String::with_capacity(source.len());
    let (mut open_ended, mut missed) = (false, false);
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(next) => text.push(next),
            },
            '*' | '?' | '[' => {
                open_ended = true;
                text.push(character);
            }
            '{' => {
                open_ended |= source.contains(',') || source.contains("..");
                text.push(character);
            }
            '`' => {
                missed = true;
                text.push(character);
            }
            '$' => {
                missed |= characters
                    .peek()
                    .is_some_and(|next| matches!(next, '(' | '{' | '[') || is_name(*next));
                text.push(character);
            }
            '<' | '>' => {
                missed |= characters.peek() == Some(&'(');
                text.push(character);
            }
            '\'' | '"' => {
                // Quotes are nodes of their own; here they mean a misreading.
                missed = true;
                text.push(character);
            }
            _ => text.push(character),
        }
    }
    let value = Value {
        certain: !open_ended && !missed,
        known: !missed,
        laced: is_laced(&text),
        text,
    };
    Bare { value, missed }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '_' | '@' | '*' | '#' | '?' | '!' | '-')
}

/// Reads a piece inside double quotes or an unquoted here-document.
pub(super) fn quoted(source: &str) -> Bare {
    let mut text = String::with_capacity(source.len());
    let mut missed = false;
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.peek() {
                Some('\n') => {
                    characters.next();
                }
                Some(next @ ('$' | '`' | '"' | '\\')) => {
                    text.push(*next);
                    characters.next();
                }
                _ => text.push('\\'),
            },
            '`' => {
                missed = true;
                text.push(character);
            }
            '$' => {
                missed |= characters
                    .peek()
                    .is_some_and(|next| matches!(next, '(' | '{') || is_name(*next));
                text.push(character);
            }
            _ => text.push(character),
        }
    }
    let value = Value {
        certain: !missed,
        known: !missed,
        laced: is_laced(&text),
        text,
    };
    Bare { value, missed }
}

/// Decodes the inside of `$'…'`.
pub(super) fn ansi_c(source: &str) -> Value {
    let mut bytes: Vec<u8> = Vec::with_capacity(source.len());
    let mut certain = true;
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            push(&mut bytes, character);
            continue;
        }
        let Some(escape) = characters.next() else {
            bytes.push(b'\\');
            break;
        };
        match escape {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'e' | 'E' => bytes.push(27),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '\'' | '"' | '?' => push(&mut bytes, escape),
            '0'..='7' => match digits(&mut characters, 8, 3, Some(escape)) {
                Some(value) => bytes.push(u8::try_from(value & 0xff).unwrap_or(0)),
                None => certain = false,
            },
            'x' => match digits(&mut characters, 16, 2, None) {
                Some(value) => bytes.push(u8::try_from(value).unwrap_or(0)),
                None => certain = false,
            },
            'u' | 'U' => {
                let most = if escape == 'u' { 4 } else { 8 };
                match digits(&mut characters, 16, most, None).and_then(char::from_u32) {
                    Some(value) => push(&mut bytes, value),
                    None => certain = false,
                }
            }
            'c' => match characters.next() {
                Some(control) => {
                    bytes.push(u8::try_from(u32::from(control) & 0x1f).unwrap_or(0));
                }
                None => certain = false,
            },
            other => {
                bytes.push(b'\\');
                push(&mut bytes, other);
            }
        }
    }
    // A NUL ends the text.
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Value {
            laced: is_laced(&text),
            text,
            certain,
            known: certain,
        },
        Err(_) => Value::unknown(source),
    }
}

fn digits(
    characters: &mut Peekable<Chars<'_>>,
    radix: u32,
    most: usize,
    first: Option<char>,
) -> Option<u32> {
    let mut text: String = first.into_iter().collect();
    while text.len() < most {
        match characters.next_if(|next| next.is_digit(radix)) {
            Some(next) => text.push(next),
            None => break,
        }
    }
    u32::from_str_radix(&text, radix).ok()
}

fn push(bytes: &mut Vec<u8>, character: char) {
    let mut buffer = [0; 4];
    bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(ansi_c(r"\162m"), Value::plain("rm"));
        assert_eq!(ansi_c(r"\x72\155\n"), Value::plain("rm\n"));
        assert_eq!(ansi_c(r"\u0072m\'"), Value::plain("rm'"));
        assert_eq!(ansi_c(r"a\0b"), Value::plain("a"));
        assert_eq!(bare(r"-de\lete").value, Value::plain("-delete"));
        assert_eq!(quoted(r#"a\"b\n"#).value, Value::plain(r#"a"b\n"#));
    }

    #[test]
    fn what_the_run_decides_is_uncertain() {
        assert!(!bare("C?NARY").value.certain);
        assert!(!bare("{rm,-rf,x}").value.certain);
        assert!(bare("{}").value.certain);
        assert!(bare("r$@m").missed && bare("a`b").missed && bare("x$(y)").missed);
        assert!(!bare("cost$").missed);
    }
}
