//! Turns `rules/gitleaks.json` into Rust tables: a fresh instance has no JSON to
//! read. A rule whose pattern does not parse stops the build.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

/// Begins many patterns and adds nothing to what matches: it may be empty.
const IDLE_PREFIXES: [&str; 2] = [r"(?i)[\w.-]{0,50}?", r"[\w.-]{0,50}?(?i:[\w.-]{0,50}?"];

/// What stops the build.
type Wrong = Box<dyn std::error::Error>;

fn main() -> Result<(), Wrong> {
    let rules = "rules/gitleaks.json";
    println!("cargo::rerun-if-changed={rules}");
    println!("cargo::rerun-if-changed=build.rs");
    let text = fs::read_to_string(rules)?;
    let rules: Value = serde_json::from_str(&text)?;
    let target = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no directory")?);
    fs::write(target.join("rules.rs"), tables(&rules)?)?;
    Ok(())
}

fn tables(file: &Value) -> Result<String, Wrong> {
    let mut keywords: Vec<(String, Vec<usize>)> = Vec::new();
    let mut out = String::from("pub(super) static RULES: &[Rule] = &[\n");
    let rules = list(file, "rules");
    for (number, rule) in rules.iter().enumerate() {
        let pattern = text(rule, "regex").ok_or("a rule without a pattern")?;
        let (pattern, shape) = prepared(pattern)?;
        for keyword in list(rule, "keywords") {
            let keyword = keyword.as_str().ok_or("not a text")?.to_ascii_lowercase();
            match keywords.iter_mut().find(|(known, _)| *known == keyword) {
                Some((_, rules)) => rules.push(number),
                None => keywords.push((keyword, vec![number])),
            }
        }
        let allow = list(rule, "allow");
        // What has letters only is allowed: a digit or the like must be there.
        let letters_only = allow.iter().any(|allow| {
            list(allow, "regexes")
                .iter()
                .any(|regex| regex == "^[a-zA-Z_.-]+$")
        });
        let entropy = rule
            .get("entropy")
            .and_then(Value::as_f64)
            .unwrap_or_default();
        writeln!(
            out,
            "Rule {{ id: {:?}, pattern: {pattern:?}, entropy: {entropy:?}, group: {}, path: {:?}, run: {}, around: {}, mixed: {letters_only}, allow: &[{}] }},",
            text(rule, "id").ok_or("a rule without an id")?,
            rule.get("group")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            text(rule, "path").unwrap_or_default(),
            shape.run,
            if shape.crosses_lines { 40 } else { 0 },
            allow
                .iter()
                .map(allowed)
                .collect::<Result<String, Wrong>>()?,
        )?;
    }
    out.push_str("];\n");
    let everywhere = file.get("allow").ok_or("no allow-lists for all rules")?;
    writeln!(
        out,
        "pub(super) static EVERYWHERE: Allow = {};",
        allowed(everywhere)?.trim_end_matches(", ")
    )?;
    let count = keywords.len();
    let words: Vec<&str> = keywords.iter().map(|(word, _)| word.as_str()).collect();
    let owners: Vec<&Vec<usize>> = keywords.iter().map(|(_, rules)| rules).collect();
    writeln!(
        out,
        "pub(super) static KEYWORDS: Needles<{count}> = Needles::new({words:?});\n\
         pub(super) static RULES_OF: [&[u16]; {count}] = {};",
        format!("{owners:?}")
            .replace('[', "&[")
            .replacen('&', "", 1),
    )?;
    writeln!(
        out,
        "#[cfg(test)]\npub(super) const RULE_COUNT: usize = {};",
        rules.len()
    )?;
    Ok(out)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn allowed(allow: &Value) -> Result<String, Wrong> {
    let texts = |key: &str| {
        let texts: Vec<&str> = list(allow, key).iter().filter_map(Value::as_str).collect();
        format!("&{texts:?}")
    };
    for regex in list(allow, "regexes").iter().chain(list(allow, "paths")) {
        parse(regex.as_str().ok_or("not a text")?)?;
    }
    let target = match text(allow, "target") {
        Some("match") => "Target::Match",
        Some("line") => "Target::Line",
        _ => "Target::Secret",
    };
    Ok(format!(
        "Allow {{ all: {}, target: {target}, regexes: {}, paths: {}, stopwords: {} }}, ",
        text(allow, "condition") == Some("and"),
        texts("regexes"),
        texts("paths"),
        texts("stopwords"),
    ))
}

fn parse(pattern: &str) -> Result<Hir, Wrong> {
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern)
        .map_err(|error| format!("{pattern}: {error}").into())
}

/// The pattern without an idle beginning, and what every match of it has.
fn prepared(pattern: &str) -> Result<(String, Shape), Wrong> {
    let stripped = IDLE_PREFIXES
        .iter()
        .find_map(|prefix| Some((prefix, pattern.strip_prefix(prefix)?)));
    let pattern = match stripped {
        Some((prefix, rest)) if prefix.starts_with("(?i)") => format!("(?i){rest}"),
        Some((_, rest)) => format!("(?i:{rest}"),
        None => pattern.to_owned(),
    };
    let shape = Shape::of(&parse(&pattern)?);
    Ok((pattern, shape))
}

/// What every match of a pattern has at least: runs of the characters that tokens
/// are made of.
#[derive(Clone, Copy)]
struct Shape {
    /// Every match is one run of at least this many.
    whole: Option<u32>,
    /// Run at the beginning, at the end, and anywhere.
    begin: u32,
    end: u32,
    run: u32,
    /// It may match over more than the end of its line.
    crosses_lines: bool,
}

impl Shape {
    fn run_of(length: u32) -> Self {
        Self {
            whole: Some(length),
            begin: length,
            end: length,
            run: length,
            crosses_lines: false,
        }
    }

    fn nothing(crosses_lines: bool) -> Self {
        Self {
            whole: None,
            begin: 0,
            end: 0,
            run: 0,
            crosses_lines,
        }
    }

    fn then(self, next: Self) -> Self {
        Self {
            whole: self.whole.zip(next.whole).map(|(a, b)| a + b),
            begin: self.whole.map_or(self.begin, |whole| whole + next.begin),
            end: next.whole.map_or(next.end, |whole| whole + self.end),
            run: self.run.max(next.run).max(self.end + next.begin),
            crosses_lines: self.crosses_lines || next.crosses_lines,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            whole: self.whole.zip(other.whole).map(|(a, b)| a.min(b)),
            begin: self.begin.min(other.begin),
            end: self.end.min(other.end),
            run: self.run.min(other.run),
            crosses_lines: self.crosses_lines || other.crosses_lines,
        }
    }

    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::run_of(0),
            HirKind::Literal(literal) => literal.0.iter().fold(Self::run_of(0), |shape, byte| {
                shape.then(if dense(*byte) {
                    Self::run_of(1)
                } else {
                    Self::nothing(false)
                })
            }),
            HirKind::Class(class) => {
                let ranges: Vec<(u8, u8)> = match class {
                    Class::Bytes(class) => class
                        .iter()
                        .map(|range| (range.start(), range.end()))
                        .collect(),
                    Class::Unicode(class) => class
                        .iter()
                        .map(|range| {
                            let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(u8::MAX);
                            (byte(range.start()), byte(range.end()))
                        })
                        .collect(),
                };
                if ranges.iter().all(|(low, high)| (*low..=*high).all(dense)) {
                    Self::run_of(1)
                } else {
                    // A line feed among other blanks only ends a token; among
                    // everything, or alone, the match goes on over lines.
                    let has = |byte: u8| {
                        ranges
                            .iter()
                            .any(|(low, high)| (*low..=*high).contains(&byte))
                    };
                    let wide = has(b'\n') && has(b'a') && has(b'#');
                    Self::nothing(has(b'\n') && !has(b' ') || wide)
                }
            }
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Repetition(repetition) => {
                let once = Self::of(&repetition.sub);
                match once.whole {
                    Some(length) => {
                        // A match may be longer than this, never shorter.
                        Self {
                            crosses_lines: once.crosses_lines,
                            ..Self::run_of(length * repetition.min)
                        }
                    }
                    None if repetition.min > 0 => once,
                    None => Self::nothing(once.crosses_lines),
                }
            }
            HirKind::Concat(parts) => parts.iter().map(Self::of).fold(Self::run_of(0), Self::then),
            HirKind::Alternation(parts) => parts
                .iter()
                .map(Self::of)
                .reduce(Self::or)
                .unwrap_or_else(|| Self::nothing(true)),
        }
    }
}

/// The same as `secrets::dense`.
fn dense(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+/=.~\\-".contains(&byte)
}
