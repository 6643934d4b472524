//! Tests found in tokens, and what each of them asks: its checks, the marks that keep
//! it from running, what swallows its failures.

use super::lexer::{Kind, Language, Token, tokens};
use std::ops::Range;

/// A test, or (without a name) everything of a file that is in none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Unit {
    /// With what it stands in, as in `TestCart::test_total`; empty for the rest of a file.
    pub(super) name: String,
    /// It runs by itself; what only groups tests does not.
    pub(super) runs: bool,
    /// Marks that keep it from running or from failing, in any order.
    pub(super) skips: Vec<String>,
    pub(super) checks: Vec<Check>,
    /// Places at which a failure ends: `except`, `catch`, `suppress`.
    pub(super) swallows: usize,
    /// Places at which it is left before its end.
    pub(super) leaves: usize,
}

/// One assertion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Check {
    /// Its tokens with a blank between them.
    pub(super) text: String,
    /// The same with `_` in place of every literal.
    pub(super) shape: String,
    /// It pins a value down.
    pub(super) strict: bool,
    /// It cannot fail.
    pub(super) empty: bool,
    /// It allows for a difference.
    pub(super) tolerant: bool,
}

/// The tests of a source. The last one stands for the rest of the file.
pub(super) fn units(language: Language, source: &str) -> Vec<Unit> {
    let tokens = tokens(language, source);
    let mut scopes = match language {
        Language::Python => python_scopes(&tokens),
        Language::JavaScript => javascript_scopes(&tokens),
        Language::Rust => rust_scopes(&tokens),
    };
    // Outer ones first, so that the last one that holds a token is the innermost.
    scopes.sort_by_key(|scope| (scope.body.start, std::cmp::Reverse(scope.body.end)));
    let mut units: Vec<Unit> = scopes.iter().map(|scope| scope.unit.clone()).collect();
    units.push(Unit::default());
    let rest = units.len() - 1;
    let owner = |at: usize| {
        scopes
            .iter()
            .rposition(|scope| scope.body.contains(&at))
            .unwrap_or(rest)
    };
    for at in 0..tokens.len() {
        let extent = match language {
            Language::Python => python_check(&tokens, at),
            Language::JavaScript => javascript_check(&tokens, at),
            Language::Rust => rust_check(&tokens, at),
        };
        let Some(unit) = units.get_mut(owner(at)) else {
            continue;
        };
        if let Some(extent) = extent {
            unit.checks.push(Check::of(&tokens, extent));
        }
        let Some(token) = tokens.get(at) else {
            continue;
        };
        if let Some(mark) = skip_in_body(language, &tokens, at) {
            unit.skips.push(mark.to_owned());
        }
        if token.kind == Kind::Word {
            match token.text {
                "except" | "catch" | "suppress" | "catch_unwind" => unit.swallows += 1,
                "return" => unit.leaves += 1,
                _ => {}
            }
        }
    }
    units
}

/// Byte ranges of the test modules that a Rust source holds beside its code.
pub(super) fn inline_modules(source: &str) -> Vec<Range<usize>> {
    let tokens = tokens(Language::Rust, source);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let (attributes, next) = rust_attributes(&tokens, at);
        if attributes.is_empty() {
            at += 1;
            continue;
        }
        at = next;
        let tests = attributes.iter().any(|text| text == "cfg ( test )");
        let module = word(&tokens, next) == Some("mod");
        if let Some(open) = (next..next + 3).find(|at| mark(&tokens, *at) == Some("{"))
            && tests
            && module
        {
            let close = group_end(&tokens, open);
            if let (Some(first), Some(last)) = (tokens.get(start), tokens.get(close - 1)) {
                found.push(first.start..last.end());
            }
            at = close;
        }
    }
    found
}

struct Scope {
    unit: Unit,
    /// Token range.
    body: Range<usize>,
}

fn word<'a>(tokens: &[Token<'a>], at: usize) -> Option<&'a str> {
    let token = tokens.get(at)?;
    (token.kind == Kind::Word).then_some(token.text)
}

fn mark<'a>(tokens: &[Token<'a>], at: usize) -> Option<&'a str> {
    let token = tokens.get(at)?;
    (token.kind == Kind::Mark).then_some(token.text)
}

fn joined(tokens: &[Token<'_>]) -> String {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    texts.join(" ")
}

/// One past the bracket that closes the one at `open`.
fn group_end(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Mark {
            continue;
        }
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Token ranges of Python's logical lines.
fn logical_lines(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let (mut lines, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let ends = before.is_some_and(|before| {
            let last_line = before.line + before.text.matches('\n').count();
            token.line > last_line && depth == 0 && before.text != "\\"
        });
        if ends {
            lines.push(start..at);
            start = at;
        }
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if start < tokens.len() {
        lines.push(start..tokens.len());
    }
    lines
}

const PYTHON_SKIPS: [&str; 9] = [
    "skip",
    "skipif",
    "skipIf",
    "skipUnless",
    "xfail",
    "skipTest",
    "importorskip",
    "expectedFailure",
    "SkipTest",
];

fn python_scopes(tokens: &[Token<'_>]) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    // Indent and name of what is open, and its scope where it is one.
    let mut open: Vec<(usize, String, Option<usize>)> = Vec::new();
    let mut decorators: Vec<String> = Vec::new();
    for line in logical_lines(tokens) {
        let Some(first) = tokens.get(line.start) else {
            continue;
        };
        while open
            .last()
            .is_some_and(|(indent, ..)| *indent >= first.indent)
        {
            if let Some((.., Some(scope))) = open.pop()
                && let Some(scope) = scopes.get_mut(scope)
            {
                scope.body.end = line.start;
            }
        }
        if first.text == "@" {
            decorators.push(joined(tokens.get(line).unwrap_or_default()));
            continue;
        }
        let keyword = if first.text == "async" {
            line.start + 1
        } else {
            line.start
        };
        let name = word(tokens, keyword + 1).unwrap_or_default();
        let (class, function) = match word(tokens, keyword) {
            Some("class") => (true, false),
            Some("def") => (false, true),
            _ => (false, false),
        };
        let mut scope = None;
        let in_test = open.iter().any(|(.., scope)| {
            scope.is_some_and(|scope| scopes.get(scope).is_some_and(|scope| scope.unit.runs))
        });
        if function && name.to_ascii_lowercase().starts_with("test") && !in_test || class {
            let mut path: Vec<&str> = open.iter().map(|(_, name, _)| name.as_str()).collect();
            path.push(name);
            let skips = decorators
                .iter()
                .filter(|text| text.split(' ').any(|word| PYTHON_SKIPS.contains(&word)));
            scope = Some(scopes.len());
            scopes.push(Scope {
                unit: Unit {
                    name: path.join("::"),
                    runs: function,
                    skips: skips.cloned().collect(),
                    ..Unit::default()
                },
                body: line.start..tokens.len(),
            });
        }
        if class || function {
            open.push((first.indent, name.to_owned(), scope));
        }
        decorators.clear();
    }
    scopes
}

/// The line, where the token is what makes it a check.
fn python_check(tokens: &[Token<'_>], at: usize) -> Option<Range<usize>> {
    let text = word(tokens, at)?;
    let called = mark(tokens, at + 1) == Some("(");
    let checks = text == "assert"
        || called && (text.starts_with("assert") || matches!(text, "raises" | "warns" | "fail"));
    if !checks {
        return None;
    }
    // From its first name to its end; an assert statement goes on to the end of its line.
    let mut start = at;
    while start >= 2 && mark(tokens, start - 1) == Some(".") && word(tokens, start - 2).is_some() {
        start -= 2;
    }
    if text != "assert" {
        return Some(start..group_end(tokens, at + 1));
    }
    let mut depth = 0_u32;
    let mut end = at + 1;
    while let Some(token) = tokens.get(end) {
        let before = tokens.get(end - 1)?;
        let last_line = before.line + before.text.matches('\n').count();
        if depth == 0 && (token.line > last_line && before.text != "\\" || token.text == ";") {
            break;
        }
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            _ => {}
        }
        end += 1;
    }
    Some(start..end)
}

/// Attributes from `at` on, and where they end.
fn rust_attributes(tokens: &[Token<'_>], mut at: usize) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    while mark(tokens, at) == Some("#") && mark(tokens, at + 1) == Some("[") {
        let end = group_end(tokens, at + 1);
        let inside = tokens.get(at + 2..end.saturating_sub(1));
        found.push(joined(inside.unwrap_or_default()));
        at = end;
    }
    (found, at)
}

fn rust_scopes(tokens: &[Token<'_>]) -> Vec<Scope> {
    let mut scopes = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (attributes, next) = rust_attributes(tokens, at);
        if attributes.is_empty() {
            at += 1;
            continue;
        }
        at = next;
        let mut keyword = next;
        while keyword < next + 8
            && !matches!(word(tokens, keyword), Some("fn" | "mod"))
            && !matches!(mark(tokens, keyword), Some("{" | ";" | "#"))
        {
            keyword += 1;
        }
        let Some(item @ ("fn" | "mod")) = word(tokens, keyword) else {
            continue;
        };
        let is_test = |text: &String| {
            let words = || text.split(' ');
            words().next() != Some("cfg")
                && words().any(|word| {
                    matches!(
                        word,
                        "test" | "rstest" | "test_case" | "quickcheck" | "case"
                    ) || word.ends_with("_test")
                })
        };
        let skips = |text: &&String| {
            let first = text.split(' ').next();
            matches!(first, Some("ignore" | "should_panic" | "cfg_attr"))
                || first == Some("cfg") && text.as_str() != "cfg ( test )"
        };
        let runs = item == "fn" && attributes.iter().any(is_test);
        if !runs && (item == "fn" || !attributes.iter().any(|text| text.starts_with("cfg"))) {
            continue;
        }
        let Some(open) = (keyword..tokens.len())
            .find(|at| matches!(mark(tokens, *at), Some("{" | ";")))
            .filter(|at| mark(tokens, *at) == Some("{"))
        else {
            continue;
        };
        scopes.push(Scope {
            unit: Unit {
                name: word(tokens, keyword + 1).unwrap_or_default().to_owned(),
                runs,
                skips: attributes.iter().filter(skips).cloned().collect(),
                ..Unit::default()
            },
            body: next..group_end(tokens, open),
        });
    }
    scopes
}

fn rust_check(tokens: &[Token<'_>], at: usize) -> Option<Range<usize>> {
    let text = word(tokens, at)?;
    let checks = [
        "assert",
        "debug_assert",
        "prop_assert",
        "panic",
        "unreachable",
    ];
    let group = at + 2;
    (mark(tokens, at + 1) == Some("!")
        && matches!(mark(tokens, group), Some("(" | "[" | "{"))
        && checks.iter().any(|check| text.starts_with(check)))
    .then(|| at..group_end(tokens, group))
}

fn javascript_scopes(tokens: &[Token<'_>]) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for at in 0..tokens.len() {
        let Some(text) = word(tokens, at) else {
            continue;
        };
        let method = at > 0 && mark(tokens, at - 1) == Some(".");
        let (base, mut skips) = match text {
            "xit" | "xtest" | "xdescribe" | "xcontext" => ("x", vec!["skip".to_owned()]),
            "fit" | "fdescribe" => ("f", vec!["only".to_owned()]),
            "test" | "it" | "specify" => ("test", Vec::new()),
            "describe" | "context" | "suite" => ("describe", Vec::new()),
            _ => continue,
        };
        // `t.test(…)` is a test within a test; `pattern.test(…)` has no text first.
        if method && base != "test" {
            continue;
        }
        let mut next = at + 1;
        while mark(tokens, next) == Some(".")
            && let Some(modifier) = word(tokens, next + 1)
        {
            if matches!(
                modifier,
                "skip" | "only" | "todo" | "failing" | "fails" | "skipIf" | "runIf"
            ) {
                skips.push(modifier.to_owned());
            }
            next += 2;
            // `it.each([…])('name', …)`, `it.skipIf(…)('name', …)`.
            if mark(tokens, next) == Some("(") {
                let after = group_end(tokens, next);
                if mark(tokens, after) == Some("(") {
                    next = after;
                }
            } else if tokens
                .get(next)
                .is_some_and(|token| token.text.starts_with('`'))
            {
                next += 1;
            }
        }
        let named = tokens
            .get(next + 1)
            .filter(|token| token.kind == Kind::Text);
        let (Some("("), Some(name)) = (mark(tokens, next), named) else {
            continue;
        };
        let options = next + 2..next + 14;
        skips.extend(options.filter_map(|at| {
            let name = word(tokens, at).filter(|_| mark(tokens, at + 1) == Some(":"))?;
            let off = word(tokens, at + 2) == Some("false");
            (!off && matches!(name, "skip" | "todo" | "only")).then(|| name.to_owned())
        }));
        scopes.push(Scope {
            unit: Unit {
                name: name.text.trim_matches(['"', '\'', '`']).to_owned(),
                runs: base == "test" || matches!(text, "xit" | "xtest" | "fit"),
                skips,
                ..Unit::default()
            },
            body: at..group_end(tokens, next),
        });
    }
    let path = |scope: &Scope| {
        let around = scopes.iter().filter(|outer| {
            outer.body.start < scope.body.start && outer.body.end >= scope.body.end
        });
        let names = around.map(|outer| outer.unit.name.as_str());
        let names: Vec<&str> = names.chain([scope.unit.name.as_str()]).collect();
        names.join(" › ")
    };
    let paths: Vec<String> = scopes.iter().map(path).collect();
    for (scope, path) in scopes.iter_mut().zip(paths) {
        scope.unit.name = path;
    }
    scopes
}

fn javascript_check(tokens: &[Token<'_>], at: usize) -> Option<Range<usize>> {
    let text = word(tokens, at)?;
    let member = at > 0 && mark(tokens, at - 1) == Some(".");
    let tap = matches!(text, "t" | "assert")
        && !member
        && mark(tokens, at + 1) == Some(".")
        && mark(tokens, at + 3) == Some("(")
        && !matches!(
            word(tokens, at + 2),
            Some(
                "test"
                    | "plan"
                    | "end"
                    | "skip"
                    | "todo"
                    | "after"
                    | "before"
                    | "mock"
                    | "diagnostic"
            )
        );
    let called = mark(tokens, at + 1) == Some("(")
        && (matches!(text, "expect" | "fail") || text.starts_with("assert"));
    let should = text == "should" && member;
    if !(tap || called && !member || should) {
        return None;
    }
    let mut end = at + 1;
    loop {
        end = match mark(tokens, end) {
            Some("(") => group_end(tokens, end),
            Some(".") if word(tokens, end + 1).is_some() => end + 2,
            _ => return Some(at..end),
        };
    }
}

/// The mark that makes a test end without a failure where it is called.
fn skip_in_body<'a>(language: Language, tokens: &[Token<'a>], at: usize) -> Option<&'a str> {
    let text = word(tokens, at)?;
    let before = at.checked_sub(1)?;
    match language {
        Language::Python => {
            let line = tokens.get(at)?.line;
            let first = tokens.iter().find(|token| token.line == line);
            // Decorators are counted where they stand.
            if !PYTHON_SKIPS.contains(&text) || first.is_some_and(|first| first.text == "@") {
                return None;
            }
            let member = mark(tokens, before) == Some(".");
            let on = before
                .checked_sub(1)
                .and_then(|at| word(tokens, at))
                .filter(|_| member);
            let known = matches!(on, Some("pytest" | "unittest" | "self" | "mark"));
            let called = mark(tokens, at + 1) == Some("(") && (known || !member);
            (called || on == Some("mark") || text == "SkipTest").then_some(text)
        }
        Language::JavaScript => {
            let on = before.checked_sub(1).and_then(|at| word(tokens, at));
            (mark(tokens, before) == Some(".")
                && mark(tokens, at + 1) == Some("(")
                && matches!(text, "skip" | "todo" | "pending")
                && matches!(on, Some("t" | "this" | "ctx" | "context")))
            .then_some(text)
        }
        Language::Rust => None,
    }
}

const STRICT: [&str; 21] = [
    "assertequal",
    "assertequals",
    "assertis",
    "assertisnone",
    "assertlistequal",
    "assertdictequal",
    "asserttupleequal",
    "assertsetequal",
    "assertcountequal",
    "assertmultilineequal",
    "assert_eq",
    "assert_equal",
    "prop_assert_eq",
    "tobe",
    "toequal",
    "tostrictequal",
    "strictequal",
    "deepstrictequal",
    "deepequal",
    "equal",
    "is",
];

const TOLERANT: [&str; 17] = [
    "approx",
    "isclose",
    "allclose",
    "assert_allclose",
    "assertalmostequal",
    "assertnotalmostequal",
    "tobecloseto",
    "closeto",
    "tolerance",
    "epsilon",
    "abs",
    "rtol",
    "atol",
    "delta",
    "places",
    "assert_relative_eq",
    "assert_abs_diff_eq",
];

impl Check {
    fn of(tokens: &[Token<'_>], extent: Range<usize>) -> Self {
        let tokens = tokens.get(extent).unwrap_or_default();
        let words: Vec<String> = tokens
            .iter()
            .filter(|token| token.kind == Kind::Word)
            .map(|token| token.text.to_ascii_lowercase())
            .collect();
        let any = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        let tight: String = tokens.iter().map(|token| token.text).collect();
        let literal = |token: &Token<'_>| {
            matches!(token.kind, Kind::Number | Kind::Text)
                || matches!(
                    token.text,
                    "True" | "False" | "None" | "true" | "false" | "null"
                )
        };
        let shape: Vec<&str> = tokens
            .iter()
            .map(|token| if literal(token) { "_" } else { token.text })
            .collect();
        let tolerant = any(&TOLERANT);
        Self {
            text: joined(tokens),
            shape: shape.join(" "),
            strict: !tolerant && (tight.contains("==") || any(&STRICT)) && !tight.contains("!=="),
            empty: cannot_fail(tokens, &tight.to_ascii_lowercase()),
            tolerant,
        }
    }
}

/// A check of a constant, or of something against itself.
fn cannot_fail(tokens: &[Token<'_>], tight: &str) -> bool {
    let plain = [
        "asserttrue",
        "assert1",
        "assertnotfalse",
        "assert(true)",
        "assert!(true)",
        "assert.ok(true)",
        "assert(1)",
        "self.asserttrue(true)",
        "self.assertfalse(false)",
        "expect(true).tobetruthy()",
        "expect(true).to.be.true",
        "t.pass()",
    ];
    if plain.contains(&tight) || tight.ends_with("ortrue") || tight.contains("||true") {
        return true;
    }
    if let Some((left, right)) = tight
        .strip_prefix("assert")
        .and_then(|asked| asked.split_once("=="))
        && left.trim_start_matches('(') == right.trim_end_matches(')')
    {
        return true;
    }
    // `assertEqual(x, x)`, `assert_eq!(x, x)`, `expect(x).toBe(x)`.
    let Some(open) = tokens.iter().position(|token| token.text == "(") else {
        return false;
    };
    let close = group_end(tokens, open);
    let inside = tokens
        .get(open + 1..close.saturating_sub(1))
        .unwrap_or_default();
    let mut depth = 0_i32;
    let comma = inside.iter().position(|token| {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && token.text == ","
    });
    let same = |one: &[Token<'_>], other: &[Token<'_>]| {
        !one.is_empty()
            && one
                .iter()
                .map(|it| it.text)
                .eq(other.iter().map(|it| it.text))
    };
    match comma.and_then(|at| Some((inside.get(..at)?, inside.get(at + 1..)?))) {
        Some((one, other)) => same(one, other) && tight.contains("eq"),
        None => {
            let asked = tokens.get(close..).unwrap_or_default();
            let other = asked
                .iter()
                .position(|token| token.text == "(")
                .and_then(|at| asked.get(at + 1..asked.len() - 1))
                .unwrap_or_default();
            tight.starts_with("expect(") && !tight.contains(".not.") && same(inside, other)
        }
    }
}
