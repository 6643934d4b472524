//! Secrets in added lines: the rules of gitleaks, and three shapes of our own that
//! hold whatever a rule set says.
//!
//! gitleaks' rules are data (`rules/gitleaks.json`), made tables by `build.rs`. A
//! line is looked at by a rule only when it has one of the rule's keywords and a
//! run of token characters as long as every match of the rule must have; so a
//! regular expression is hardly ever built for ordinary code.

mod rules;
mod shapes;

use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::{captures::Captures, syntax};
use rules::{Allow, EVERYWHERE, KEYWORDS, RULES, RULES_OF, Rule, Target};
use selfheal_policy_sdk::text::entropy;

/// A secret that was found. Never holds the secret itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// gitleaks' id of the rule, or the name of a shape.
    pub(crate) rule: &'static str,
    /// Number of the line among those that were looked at.
    pub(crate) line: usize,
}

/// Which of the rules count.
pub(crate) struct Search<'a> {
    /// Path of the file.
    pub(crate) path: &'a str,
    /// Rules that the installation switched off, by id.
    pub(crate) off: &'a [String],
}

/// Characters that tokens are made of; the same as in `build.rs`.
fn dense(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+/=.~\\-".contains(&byte)
}

/// Length of the longest run of token characters; of such with something other
/// than a letter in them, too.
#[derive(Clone, Copy, Default)]
struct Runs {
    any: u32,
    mixed: u32,
}

impl Runs {
    fn of(line: &str) -> Self {
        let mut longest = Self::default();
        let (mut length, mut mixed) = (0, false);
        for byte in line.bytes().chain([b' ']) {
            if dense(byte) {
                length += 1;
                mixed |= byte.is_ascii_digit() || b"+/=\\~".contains(&byte);
                continue;
            }
            longest.any = longest.any.max(length);
            if mixed {
                longest.mixed = longest.mixed.max(length);
            }
            (length, mixed) = (0, false);
        }
        longest
    }

    fn allow(self, rule: &Rule) -> bool {
        if rule.around > 0 {
            return true;
        }
        // So many different characters are needed for that much entropy.
        let needed = rule.run.max(if rule.mixed { 12 } else { 0 });
        let have = if rule.mixed { self.mixed } else { self.any };
        have >= needed
    }
}

impl Search<'_> {
    /// The first secret in these lines, which follow each other in the patch.
    pub(crate) fn find(&self, lines: &[&str]) -> Option<Found> {
        if let Some(found) = lines.iter().enumerate().find_map(|(line, text)| {
            let rule = shapes::find(text)?;
            (!self.is_off(rule)).then_some(Found { rule, line })
        }) {
            return Some(found);
        }
        let mut tried: Vec<u16> = Vec::new();
        lines.iter().enumerate().find_map(|(line, text)| {
            let mut found = None;
            let mut runs = None;
            tried.clear();
            KEYWORDS.scan(text, |word, _| {
                for number in RULES_OF.get(word).copied().unwrap_or_default() {
                    let Some(rule) = RULES.get(usize::from(*number)) else {
                        continue;
                    };
                    if tried.contains(number) {
                        continue;
                    }
                    tried.push(*number);
                    let next = lines.get(line + 1).copied().unwrap_or_default();
                    let runs: Runs = *runs.get_or_insert_with(|| {
                        let (here, there) = (Runs::of(text), Runs::of(next));
                        Runs {
                            any: here.any.max(there.any),
                            mixed: here.mixed.max(there.mixed),
                        }
                    });
                    if runs.allow(rule) && !self.is_off(rule.id) && self.holds(rule, lines, line) {
                        found = Some(Found {
                            rule: rule.id,
                            line,
                        });
                        return true;
                    }
                }
                false
            });
            found
        })
    }

    fn is_off(&self, rule: &str) -> bool {
        self.off.iter().any(|off| off == rule)
    }

    /// Does the rule match in the lines around this one, with what its allow-lists
    /// say taken off?
    fn holds(&self, rule: &Rule, lines: &[&str], line: usize) -> bool {
        if !rule.path.is_empty() && !matches(rule.path, self.path) {
            return false;
        }
        let from = line.saturating_sub(rule.around);
        let window = lines
            .get(from..lines.len().min(line + rule.around + 2))
            .unwrap_or_default()
            .join("\n");
        let Some(regex) = compiled(rule.pattern) else {
            // Cannot happen: a test compiles every rule. What cannot be checked counts.
            return true;
        };
        let mut cache = regex.create_cache();
        regex.captures_iter(&mut cache, &window).any(|captures| {
            let Some(secret) = secret(rule, &captures, &window) else {
                return false;
            };
            if rule.entropy > 0.0 && entropy(secret) <= rule.entropy {
                return false;
            }
            let whole = captures
                .get_match()
                .and_then(|found| window.get(found.range()))
                .unwrap_or_default();
            let text = Matched {
                secret,
                whole,
                line: line_of(&window, &captures),
                path: self.path,
            };
            !rule
                .allow
                .iter()
                .chain([&EVERYWHERE])
                .any(|allow| allow.covers(&text))
        })
    }
}

/// What a rule matched.
struct Matched<'a> {
    secret: &'a str,
    whole: &'a str,
    line: &'a str,
    path: &'a str,
}

impl Allow {
    fn covers(&self, text: &Matched<'_>) -> bool {
        let target = match self.target {
            Target::Secret => text.secret,
            Target::Match => text.whole,
            Target::Line => text.line,
        };
        let regex = || self.regexes.iter().any(|regex| matches(regex, target));
        let path = || self.paths.iter().any(|regex| matches(regex, text.path));
        let word = || {
            let lower = text.secret.to_ascii_lowercase();
            self.stopwords.iter().any(|word| lower.contains(word))
        };
        if self.all {
            (self.regexes.is_empty() || regex())
                && (self.paths.is_empty() || path())
                && (self.stopwords.is_empty() || word())
        } else {
            regex() || path() || word()
        }
    }
}

/// The group that the rule names, else the first that matched, else all of it.
fn secret<'a>(rule: &Rule, captures: &Captures, window: &'a str) -> Option<&'a str> {
    let group = |index: usize| {
        captures
            .get_group(index)
            .and_then(|span| window.get(span.range()))
            .filter(|text| !text.is_empty())
    };
    if rule.group > 0 {
        return group(rule.group);
    }
    (1..captures.group_len())
        .find_map(group)
        .or_else(|| group(0))
}

fn line_of<'a>(window: &'a str, captures: &Captures) -> &'a str {
    let start = captures.get_match().map_or(0, |found| found.start());
    let from = window
        .get(..start)
        .and_then(|head| head.rfind('\n'))
        .map_or(0, |at| at + 1);
    window
        .get(from..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default()
}

/// Does the pattern match anywhere? A pattern that cannot be compiled does not;
/// none of the allow-lists' may, or they would allow too much.
fn matches(pattern: &str, text: &str) -> bool {
    compiled(pattern).is_some_and(|regex| {
        let mut cache = regex.create_cache();
        regex.is_match(&mut cache, text)
    })
}

/// gitleaks' patterns are Go's: bytes, ASCII classes.
fn compiled(pattern: &str) -> Option<PikeVM> {
    PikeVM::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build(pattern)
        .ok()
}

#[cfg(test)]
mod tests;
