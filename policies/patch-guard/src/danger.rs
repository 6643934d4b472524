//! Dangerous operations in added code, by language. A repair hardly ever needs
//! one; what was there before is not new, and changing it is a question.
//!
//! Rules look at a line without its comments, most of them without its strings
//! (see [`Line`]). Only lines with a rule's most telling word are taken apart.

mod marks;

use crate::language::{Language, Line};
use marks::MARKS;
use selfheal_policy_sdk::text::{Needles, phrase};

/// What a rule says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Stable id.
    pub(crate) id: &'static str,
    /// Completes "an added line …".
    pub(crate) what: &'static str,
    /// What to do instead, for whoever writes the patch.
    pub(crate) advice: &'static str,
    /// Lines that do it, by language.
    pub(crate) lines: &'static [(Language, &'static str)],
    /// Asked, whatever the setting: it is often right.
    pub(crate) soft: bool,
}

impl Rule {
    /// A line of this language that does it properly.
    pub(crate) fn line(&self, language: Language) -> Option<&'static str> {
        self.lines
            .iter()
            .find(|(known, _)| known.meets(language))
            .map(|(_, line)| *line)
    }
}

/// Which form of the line a mark looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Without strings.
    Code,
    /// With strings.
    Text,
    /// With comments, too.
    Raw,
}

/// One way to break a rule.
struct Mark {
    rule: &'static Rule,
    languages: Language,
    form: Form,
    /// In lower case; stands in the line with no word character around it.
    phrase: &'static str,
    /// A condition; see [`Mark::stands_in`].
    and: &'static str,
}

static WORDS: Needles<{ MARKS.len() }> = Needles::new(words());

/// The most telling word of every mark.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: an index out of range does not compile"
)]
const fn words() -> [&'static str; MARKS.len()] {
    let mut words = [""; MARKS.len()];
    let mut mark = 0;
    while mark < words.len() {
        words[mark] = longest_word(MARKS[mark].phrase);
        mark += 1;
    }
    words
}

/// The longest run of letters, digits and underscores.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: an index out of range does not compile"
)]
const fn longest_word(phrase: &'static str) -> &'static str {
    let bytes = phrase.as_bytes();
    let (mut from, mut length) = (0, 0);
    let (mut start, mut at) = (0, 0);
    while at <= bytes.len() {
        if at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
            at += 1;
            continue;
        }
        if at - start > length {
            (from, length) = (start, at - start);
        }
        at += 1;
        start = at;
    }
    if length < 2 {
        return phrase;
    }
    phrase.split_at(from).1.split_at(length).0
}

/// The rules that this line breaks, each once.
pub(crate) fn find(language: Language, line: &str) -> Vec<&'static Rule> {
    let mut found: Vec<&'static Rule> = Vec::new();
    if has_hidden_text(line) {
        found.push(&marks::HIDDEN_TEXT);
    }
    if language == Language::PROSE {
        return found;
    }
    let mut taken_apart: Option<Line> = None;
    WORDS.scan(line, |word, _| {
        let Some(mark) = MARKS.get(word) else {
            return false;
        };
        if mark.languages.meets(language) && !found.contains(&mark.rule) {
            let line = taken_apart.get_or_insert_with(|| Line::of(language, line));
            if mark.stands_in(line) {
                found.push(mark.rule);
            }
        }
        false
    });
    found
}

impl Mark {
    fn stands_in(&self, line: &Line) -> bool {
        let form = match self.form {
            Form::Code => &line.code,
            Form::Text => &line.text,
            Form::Raw => &line.raw,
        };
        match self.and {
            "" => phrase(form, self.phrase),
            // Only without what makes it harmless.
            and if and.starts_with('!') => {
                phrase(form, self.phrase) && !phrase(form, and.get(1..).unwrap_or_default())
            }
            // Called by that name, not a method or a definition of that name.
            "bare" => is_bare_call(form, self.phrase),
            "built" => phrase(form, self.phrase) && is_built(form),
            and => phrase(form, self.phrase) && form.contains(and),
        }
    }
}

/// A bare `eval(`; `regex.exec(`, `session.exec(` or `def compile(` are something
/// else.
fn is_bare_call(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(start, _)| {
        let head = code.get(..start).unwrap_or_default();
        let method = head.ends_with(|c: char| c.is_alphanumeric() || "_.$>".contains(c));
        let defined = ["::", "def ", "function ", "fn ", "func ", "async ", "void "]
            .iter()
            .any(|before| head.ends_with(before));
        !method && !defined
    })
}

/// SQL that is put together from pieces.
fn is_built(text: &str) -> bool {
    let verbs = ["select ", "insert into", "update ", "delete from", "where "];
    let pieces = [
        "\" +", "' +", "\"+", "'+", "+ \"", "+ '", "f\"", "f'", "${", ".format(", "\" %", "' %",
        "#{", "sprintf", "format!(", "\" .", "' .", "concat(",
    ];
    verbs.iter().any(|verb| text.contains(verb)) && pieces.iter().any(|piece| text.contains(piece))
}

/// Characters that show a reader something else than what runs.
fn has_hidden_text(line: &str) -> bool {
    !line.is_ascii()
        && line.chars().any(|c| {
            matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}')
        })
}

#[cfg(test)]
mod tests;
