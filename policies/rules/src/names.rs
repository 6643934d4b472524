//! Finds names of facts that do not exist. In Rego a misspelt name is no error, it
//! is undefined: the rule would simply never fire. That must not happen to a
//! denial, so `input.…` and variables bound to parts of it are followed through
//! the rules' text.
//!
//! What cannot be followed (a computed key, a function's parameter, a variable
//! with two meanings) is left alone: this only ever refuses what is surely wrong.

use crate::facts::{INPUT, Shape};
use std::collections::BTreeMap;

/// A name that stands for nothing, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownName {
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in characters.
    pub(crate) column: usize,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// What [`check`] learnt about the rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// The run's history may be looked at.
    pub(crate) history: bool,
    /// Texts that stand as patterns in calls of `regex.…`, with their lines.
    pub(crate) patterns: Vec<(String, usize)>,
}

/// Follows all names.
///
/// # Errors
/// The first name that stands for nothing.
pub(crate) fn check(rules: &str) -> Result<Uses, UnknownName> {
    let tokens = tokens(rules);
    let mut uses = Uses::default();
    patterns(&tokens, &mut uses);
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        let (rule, after) = rest.split_at(end_of_rule(rest));
        let bound = bindings(rule);
        for at in 0..rule.len() {
            let Some(shape) = root(rule, at, &bound) else {
                continue;
            };
            let path = follow(rule, at, shape)?;
            if rule.get(at).is_some_and(|token| token.is_word("input")) {
                uses.history |= path.first.is_none_or(|name| name == "history");
            }
        }
        rest = after;
    }
    Ok(uses)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind<'a> {
    Word(&'a str),
    /// Without its quotes; escapes stand as written.
    Text(&'a str),
    /// Between backquotes.
    Raw(&'a str),
    Mark(&'a str),
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind<'a>,
    line: usize,
    column: usize,
}

impl<'a> Token<'a> {
    fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word(word)
    }

    fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark(mark)
    }

    fn word(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Word(word) => Some(word),
            Kind::Text(_) | Kind::Raw(_) | Kind::Mark(_) => None,
        }
    }
}

/// Words, texts and marks; comments and blanks are dropped.
fn tokens(rules: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line, mut column) = (rules, 1, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' => 1 + quoted(rest.get(1..).unwrap_or_default()),
            '`' => {
                2 + rest
                    .get(1..)
                    .and_then(|raw| raw.find('`'))
                    .unwrap_or(rest.len())
            }
            _ if starts_word(first) => rest.find(|c| !starts_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with(":=") => 2,
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length.min(rest.len()));
        let kind = match first {
            '"' => Some(Kind::Text(inside(text))),
            '`' => Some(Kind::Raw(inside(text))),
            '#' => None,
            _ if first.is_whitespace() => None,
            _ if starts_word(first) => Some(Kind::Word(text)),
            _ => Some(Kind::Mark(text)),
        };
        found.extend(kind.map(|kind| Token { kind, line, column }));
        match text.rsplit_once('\n') {
            Some((before, last)) => {
                line += 1 + before.matches('\n').count();
                column = 1 + last.chars().count();
            }
            None => column += text.chars().count(),
        }
        rest = after;
    }
    found
}

fn inside(quoted: &str) -> &str {
    quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default()
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Bytes up to and with the closing quote.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Tokens of the first rule: up to the next one that starts a line outside of all
/// brackets.
fn end_of_rule(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_i32;
    let mut line = 0;
    for (at, token) in tokens.iter().enumerate() {
        let starts_line = token.line != line;
        line = token.line;
        if at > 0 && depth == 0 && starts_line && token.word().is_some_and(|word| word != "else") {
            return at;
        }
        match token.kind {
            Kind::Mark("{" | "[" | "(") => depth += 1,
            Kind::Mark("}" | "]" | ")") => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Variables of a rule and what they are bound to; none where that is not known.
type Bound<'a> = BTreeMap<&'a str, Option<&'static Shape>>;

fn bindings<'a>(rule: &[Token<'a>]) -> Bound<'a> {
    let mut bound = Bound::new();
    // Twice, since a binding may use one that stands behind it.
    for _ in 0..2 {
        let mut round = Bound::new();
        for at in 0..rule.len() {
            for (name, shape) in binding(rule, at, &bound).into_iter().flatten() {
                round
                    .entry(name)
                    .and_modify(|known: &mut Option<&'static Shape>| {
                        let same = matches!((*known, shape), (Some(one), Some(other)) if std::ptr::eq(one, other));
                        if !same {
                            *known = None;
                        }
                    })
                    .or_insert(shape);
            }
        }
        bound = round;
    }
    bound
}

/// What `some …`, `every …` or `… :=` at `at` binds: a key and a value at most.
fn binding<'a>(
    rule: &[Token<'a>],
    at: usize,
    bound: &Bound<'a>,
) -> [Option<(&'a str, Option<&'static Shape>)>; 2] {
    let token = |offset: usize| rule.get(at + offset);
    let word = |offset: usize| token(offset).and_then(Token::word);
    let is_mark = |offset: usize, mark| token(offset).is_some_and(|token| token.is_mark(mark));
    if token(0).is_some_and(|token| token.is_word("some") || token.is_word("every")) {
        let (key, value, source) = if is_mark(2, ",") && word(4) == Some("in") {
            (word(1), word(3), at + 5)
        } else if word(2) == Some("in") {
            (None, word(1), at + 3)
        } else {
            // `some x`: where it gets its value from is not followed.
            return [word(1).map(|name| (name, None)), None];
        };
        let element = whole(rule, source, bound).and_then(|shape| match shape {
            Shape::List(item) => Some(*item),
            Shape::Plain | Shape::Record(_) => None,
        });
        return [
            key.map(|name| (name, None)),
            value.map(|name| (name, element)),
        ];
    }
    match word(0) {
        Some(name) if is_mark(1, ":=") => [Some((name, whole(rule, at + 2, bound))), None],
        _ => [None, None],
    }
}

/// The shape of the path at `at`, when the expression is that path and no more.
fn whole<'a>(rule: &[Token<'a>], at: usize, bound: &Bound<'a>) -> Option<&'static Shape> {
    let shape = root(rule, at, bound)?;
    let path = follow(rule, at, shape).ok()?;
    let line = rule.get(path.end.checked_sub(1)?)?.line;
    let ends = rule.get(path.end).is_none_or(|token| {
        token.line != line
            || [";", "}", "]", ")", "{"]
                .iter()
                .any(|mark| token.is_mark(mark))
    });
    ends.then_some(path.shape).flatten()
}

/// The shape of `input` or of a bound variable at `at`, unless it is a field's name.
fn root(rule: &[Token<'_>], at: usize, bound: &Bound<'_>) -> Option<&'static Shape> {
    let name = rule.get(at)?.word()?;
    if at
        .checked_sub(1)
        .and_then(|before| rule.get(before))
        .is_some_and(|token| token.is_mark("."))
    {
        return None;
    }
    if name == "input" {
        return Some(&INPUT);
    }
    bound.get(name).copied().flatten()
}

/// A path that was followed.
struct Path<'a> {
    /// Its first name.
    first: Option<&'a str>,
    /// Behind its last token.
    end: usize,
    /// None where it cannot be told.
    shape: Option<&'static Shape>,
}

/// Follows `.name`, `["name"]` and `[…]` behind the root at `at`.
fn follow<'a>(
    rule: &[Token<'a>],
    at: usize,
    shape: &'static Shape,
) -> Result<Path<'a>, UnknownName> {
    let mut path = Path {
        first: None,
        end: at + 1,
        shape: Some(shape),
    };
    loop {
        let (name, step) = match (
            rule.get(path.end).map(|token| token.kind),
            rule.get(path.end + 1),
            rule.get(path.end + 2),
        ) {
            (Some(Kind::Mark(".")), Some(token), _) => match token.kind {
                Kind::Word(name) => (Some((name, token)), 2),
                Kind::Text(_) | Kind::Raw(_) | Kind::Mark(_) => return Ok(path),
            },
            (Some(Kind::Mark("[")), Some(token), Some(close)) if attached(rule, path.end) => {
                match token.kind {
                    Kind::Text(name) | Kind::Raw(name) if close.is_mark("]") => {
                        (Some((name, token)), 3)
                    }
                    _ => (None, closing(rule, path.end) - path.end),
                }
            }
            _ => return Ok(path),
        };
        path.first = path.first.or(name.map(|(name, _)| name));
        path.shape = match (path.shape, name) {
            (Some(shape), Some((name, token))) => Some(field(shape, name, token)?),
            (Some(Shape::List(item)), None) => Some(item),
            _ => None,
        };
        path.end += step;
    }
}

/// `x[` is an index, `x [` starts a list.
fn attached(rule: &[Token<'_>], at: usize) -> bool {
    let (Some(before), Some(bracket)) = (
        at.checked_sub(1).and_then(|before| rule.get(before)),
        rule.get(at),
    ) else {
        return false;
    };
    let width = match before.kind {
        Kind::Word(text) | Kind::Mark(text) => text.chars().count(),
        Kind::Text(text) | Kind::Raw(text) => text.chars().count() + 2,
    };
    before.line == bracket.line && before.column + width == bracket.column
}

/// Behind the bracket that closes the one at `at`.
fn closing(rule: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0_i32;
    for (here, token) in rule.iter().enumerate().skip(at) {
        match token.kind {
            Kind::Mark("[" | "{" | "(") => depth += 1,
            Kind::Mark("]" | "}" | ")") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return here + 1;
        }
    }
    rule.len()
}

fn field(
    shape: &'static Shape,
    name: &str,
    token: &Token<'_>,
) -> Result<&'static Shape, UnknownName> {
    let wrong = |message: String| UnknownName {
        line: token.line,
        column: token.column,
        message,
    };
    match shape {
        Shape::Record(fields) => fields
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, shape)| *shape)
            .ok_or_else(|| {
                let known: Vec<&str> = fields.iter().map(|(known, _)| *known).collect();
                wrong(format!(
                    "there is no fact `{name}` here; there are {}",
                    known.join(", ")
                ))
            }),
        Shape::List(_) => Err(wrong(format!(
            "`{name}` is asked of a list; bind its elements first, as in `some item in …`"
        ))),
        Shape::Plain => Err(wrong(format!(
            "`{name}` is asked of a single value, which has no parts"
        ))),
    }
}

/// Patterns that stand as texts in `regex.name(…`, where they come first, or second
/// in `regex.replace`.
fn patterns(tokens: &[Token<'_>], uses: &mut Uses) {
    for call in tokens.windows(7) {
        let [regex, dot, name, open, first, comma, second] = call else {
            continue;
        };
        if !regex.is_word("regex") || !dot.is_mark(".") || !open.is_mark("(") {
            continue;
        }
        let pattern = match name.word() {
            Some("replace") if comma.is_mark(",") => second,
            Some("replace") => continue,
            _ => first,
        };
        let text = match pattern.kind {
            // A raw text stands for itself, a quoted one has JSON's escapes.
            Kind::Raw(text) => Some(text.to_owned()),
            Kind::Text(text) => serde_json::from_str(&format!("\"{text}\"")).ok(),
            Kind::Word(_) | Kind::Mark(_) => None,
        };
        if let Some(text) = text
            && !uses.patterns.iter().any(|(known, _)| *known == text)
        {
            uses.patterns.push((text, pattern.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(rules: &str) -> (usize, usize, String) {
        let unknown = check(rules).unwrap_err();
        (unknown.line, unknown.column, unknown.message)
    }

    #[test]
    fn misspelt_facts_are_found_where_they_stand() {
        let rules = "package rules\n\ndeny contains {} if {\n\tinput.call.comands\n}\n";
        let (line, column, message) = wrong(rules);
        assert_eq!((line, column), (4, 13));
        assert!(
            message.contains("`comands`") && message.contains("tool, input, command, commands")
        );
    }

    #[test]
    fn variables_are_followed() {
        for rules in [
            "deny contains {\"id\": command.nam} if {\n\tsome command in input.call.commands\n}",
            "deny contains {} if {\n\tsome i, command in input.call.commands\n\tcommand.word\n}",
            "deny contains {} if {\n\tcall := input.call\n\tsome c in call.commands\n\tc.program.txt\n}",
            "deny contains {} if {\n\tevery c in input.patch.files { c.pathh == 1 }\n}",
            "deny contains {} if {\n\tinput.call.paths[_].mod == 1\n}",
            "deny contains {} if {\n\tinput[\"cal\"]\n}",
            "deny contains {} if {\n\tinput.call.tool.name\n}",
            "deny contains {} if {\n\tinput.call.paths.mode\n}",
        ] {
            assert!(check(rules).is_err(), "{rules}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_left_alone() {
        for rules in [
            "f(file) if file.anything\n\ndeny contains {} if {\n\tsome file in input.patch.files\n\tf(file)\n}",
            "x := {\"input\": 1}\ny := x.input.z",
            "# input.nonsense\nx := \"input.nonsense\"",
            "x := `input.nonsense`",
            "deny contains {} if {\n\tkey := \"tool\"\n\tinput.call[key]\n}",
            "deny contains {} if {\n\tfile := input.patch.files[0]\n\tn := [x | some file in data.x; x := file.odd]\n}",
            "deny contains {} if {\n\tname := count(input.call.commands)\n\tname.x\n}",
            "deny contains {} if input.call.commands[count(input.call.paths)].name == \"x\"",
            "deny contains {} if {\n\tsome host in input.call.network\n\tnot host in [input.context.actor]\n}",
        ] {
            assert!(check(rules).is_ok(), "{rules}: {:?}", check(rules));
        }
    }

    #[test]
    fn what_rules_use_is_known() {
        assert!(!check("x if input.call.tool == \"Bash\"").unwrap().history);
        assert!(
            check("x if input.history[0].verdict == \"deny\"")
                .unwrap()
                .history
        );
        assert!(check("x := input").unwrap().history);
        let rules = "a if regex.match(`^a$`, input.call.tool)\nb := regex.replace(\"x\", \"b+\", \"\")\nc if regex.match(p, \"\")";
        assert_eq!(
            check(rules).unwrap().patterns,
            [("^a$".to_owned(), 1), ("b+".to_owned(), 2)]
        );
    }

    #[test]
    fn odd_texts_end() {
        for rules in [
            "\"",
            "`",
            "\"\\\"",
            "input.",
            "input[",
            "some",
            "ä \u{1F600} := input.call",
            "x := [",
            "}}}",
        ] {
            let _ = check(rules);
        }
    }
}
