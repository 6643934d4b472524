//! What a patch does to the tests that it is judged by: tests are witnesses
//! (invariant 7). Compares the structure of each file before and after, for Python,
//! JavaScript with TypeScript, and Rust; for the rest paths tell.
//!
//! A host's fact: it is recorded with the proof, shown to reviewers, makes a file count
//! as one of tests for policies, and keeps the patch from being applied without review.

mod lexer;
mod settings;
mod units;

use lexer::Language;
use selfheal_domain::patch::{FileChange, Patch, is_test_path};
use std::collections::HashMap;
use units::{Check, Unit, units};

/// A way in which a patch asks less of the code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Weakening {
    /// Tests, or a file of them, are gone.
    Deleted,
    /// Tests do not run, or may fail: `skip`, `xfail`, `.only`, `#[ignore]`.
    Skipped,
    /// A test ends before its checks, or what they say is swallowed.
    Bypassed,
    /// Checks are gone.
    Removed,
    /// A check cannot fail.
    Emptied,
    /// A check lets more through.
    Loosened,
    /// A check allows for another difference.
    Tolerance,
    /// A check expects another value.
    Expectation,
    /// A check asks for something else.
    Changed,
    /// Which tests run, and how, is set in another way.
    Configuration,
}

impl Weakening {
    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deletes tests",
            Self::Skipped => "keeps tests from running or from failing",
            Self::Bypassed => "ends tests early or swallows their failures",
            Self::Removed => "removes checks",
            Self::Emptied => "empties checks",
            Self::Loosened => "loosens checks",
            Self::Tolerance => "changes tolerances",
            Self::Expectation => "changes expected values",
            Self::Changed => "changes what checks ask for",
            Self::Configuration => "changes how tests are run",
        }
    }
}

/// One thing that a patch does to tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weakened {
    /// What.
    pub how: Weakening,
    /// In which file.
    pub path: String,
    /// In which test, as far as known; empty for the file.
    pub test: String,
    /// What shows it, as the patch has it.
    pub evidence: String,
}

impl std::fmt::Display for Weakened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.how.as_str(), self.path)?;
        if !self.test.is_empty() {
            write!(f, " {}", self.test)?;
        }
        if !self.evidence.is_empty() {
            write!(f, ": {}", self.evidence)?;
        }
        Ok(())
    }
}

/// Everything a patch does to tests that makes them ask less, or something else.
pub fn weakened(patch: &Patch) -> Vec<Weakened> {
    let files: Vec<Sides> = patch.files.iter().map(Sides::of).collect();
    let mut found = Vec::new();
    for (file, sides) in patch.files.iter().zip(&files) {
        if settings::changed(file) {
            found.push(Weakened {
                how: Weakening::Configuration,
                path: file.path.clone(),
                test: String::new(),
                evidence: String::new(),
            });
        }
        if file.after.is_none() && is_test_path(&file.path) && sides.before.is_empty() {
            found.push(gone(&file.path, ""));
        }
        for (key, before) in &sides.before {
            let elsewhere = || {
                let others = files.iter().filter(|other| other.path != sides.path);
                let mut moved = others.flat_map(|other| other.news());
                moved.find(|(other, _)| *other == key).map(|(_, unit)| unit)
            };
            let after = sides
                .after
                .get(key)
                .or_else(|| sides.renamed(before))
                .or_else(elsewhere);
            match after {
                Some(after) => compare(&file.path, before, after, &mut found),
                None if before.runs => found.push(gone(&file.path, &before.name)),
                None => {}
            }
        }
        for (_, unit) in sides.news() {
            // A new test that is skipped asks nothing; one that keeps others from
            // running takes something away.
            if unit.skips.iter().any(|mark| mark == "only") {
                found.push(entry(Weakening::Skipped, &file.path, unit, "only"));
            }
        }
    }
    found.sort_by(|a, b| (&a.path, a.how, &a.test).cmp(&(&b.path, b.how, &b.test)));
    found
}

/// Whether a path is that of tests, or of a file that says nothing but how they are run.
pub(crate) fn holds_tests_at(path: &str) -> bool {
    is_test_path(path) || settings::is_settings(path)
}

/// Whether the file is one of tests: by its path, because it says how tests are run, or
/// because the patch changes tests that it holds beside code.
pub fn holds_tests(file: &FileChange) -> bool {
    if is_test_path(&file.path) || settings::changed(file) {
        return true;
    }
    let sides = Sides::of(file);
    let tests = |side: &Side| -> Vec<Unit> {
        let mut tests: Vec<Unit> = side.values().filter(|unit| unit.runs).cloned().collect();
        tests.sort_by(|a, b| a.name.cmp(&b.name));
        tests
    };
    tests(&sides.before) != tests(&sides.after)
}

/// The patch without its changes to tests and to how they are run, so that it is judged
/// by the tests as they stood before it.
pub fn without_tests(patch: &Patch) -> Patch {
    let files = patch.files.iter().filter_map(|file| {
        if is_test_path(&file.path) || settings::changed(file) {
            return None;
        }
        Some(FileChange {
            after: file
                .after
                .as_deref()
                .map(|after| with_old_modules(file, after)),
            ..file.clone()
        })
    });
    Patch::of(files.collect())
}

/// The file's new content with the test modules of the old one, where Rust keeps both in
/// one file.
fn with_old_modules(file: &FileChange, after: &str) -> String {
    let before = file.before.as_deref().unwrap_or_default();
    if Language::of(&file.path) != Some(Language::Rust) {
        return after.to_owned();
    }
    let texts = |source: &str| -> Vec<String> {
        let ranges = units::inline_modules(source);
        let texts = ranges.into_iter().filter_map(|range| source.get(range));
        texts.map(str::to_owned).collect()
    };
    let (old, new) = (texts(before), units::inline_modules(after));
    if old.is_empty() && new.is_empty() {
        return after.to_owned();
    }
    let mut text = after.to_owned();
    for range in new.iter().rev() {
        text.replace_range(range.clone(), "");
    }
    for module in &old {
        text.push('\n');
        text.push_str(module);
        text.push('\n');
    }
    if old == texts(after) {
        return after.to_owned();
    }
    text
}

/// Name of a test, and which of those with that name.
type Key = (String, usize);
type Side = HashMap<Key, Unit>;

struct Sides {
    path: String,
    before: Side,
    after: Side,
}

impl Sides {
    fn of(file: &FileChange) -> Self {
        let side = |source: &Option<String>| -> Side {
            let (Some(language), Some(source)) = (Language::of(&file.path), source) else {
                return Side::new();
            };
            let mut seen: HashMap<String, usize> = HashMap::new();
            let mut keyed = Side::new();
            for unit in units(language, source) {
                let count = seen.entry(unit.name.clone()).or_default();
                keyed.insert((unit.name.clone(), *count), unit);
                *count += 1;
            }
            // What stands outside of tests counts where a file is one of tests only:
            // checks of helpers. Elsewhere asserts are code.
            if !is_test_path(&file.path) {
                keyed.retain(|(name, _), _| !name.is_empty());
            }
            keyed
        };
        Self {
            path: file.path.clone(),
            before: side(&file.before),
            after: side(&file.after),
        }
    }

    /// Tests that only the new side has.
    fn news(&self) -> impl Iterator<Item = (&Key, &Unit)> {
        let after = self.after.iter();
        after.filter(|(key, unit)| unit.runs && !self.before.contains_key(*key))
    }

    /// The new test that has all checks of one that is gone.
    fn renamed(&self, gone: &Unit) -> Option<&Unit> {
        let all = |unit: &&Unit| !gone.checks.is_empty() && missing(gone, unit).is_empty();
        self.news().map(|(_, unit)| unit).find(all)
    }
}

fn gone(path: &str, test: &str) -> Weakened {
    Weakened {
        how: Weakening::Deleted,
        path: path.to_owned(),
        test: test.to_owned(),
        evidence: String::new(),
    }
}

/// Longest evidence, in characters.
const EVIDENCE: usize = 160;

fn entry(how: Weakening, path: &str, unit: &Unit, evidence: &str) -> Weakened {
    Weakened {
        how,
        path: path.to_owned(),
        test: unit.name.clone(),
        evidence: evidence.chars().take(EVIDENCE).collect(),
    }
}

/// Checks of `before` that `after` has no longer.
fn missing<'a>(before: &'a Unit, after: &Unit) -> Vec<&'a Check> {
    let mut left: Vec<&str> = after.checks.iter().map(|it| it.text.as_str()).collect();
    let checks = before.checks.iter();
    let gone = checks.filter(
        |check| match left.iter().position(|text| *text == check.text) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        },
    );
    gone.collect()
}

fn compare(path: &str, before: &Unit, after: &Unit, found: &mut Vec<Weakened>) {
    let mut add = |how, evidence: &str| found.push(entry(how, path, after, evidence));
    if before.runs && !after.runs {
        add(Weakening::Deleted, "");
    }
    let mut old = before.skips.clone();
    let fresh = after.skips.iter().find(|mark| {
        let known = old.iter().position(|known| known == *mark);
        known.map(|at| old.swap_remove(at)).is_none()
    });
    if let Some(mark) = fresh {
        add(Weakening::Skipped, mark);
    }
    if after.swallows > before.swallows || after.leaves > before.leaves {
        add(Weakening::Bypassed, "");
    }
    let (lost, mut won) = (missing(before, after), missing(after, before));
    for check in lost {
        // What comes nearest took its place: the same shape first, then any.
        let place = won
            .iter()
            .position(|other| other.shape == check.shape)
            .or_else(|| (!won.is_empty()).then_some(0));
        let Some(other) = place.map(|at| won.remove(at)) else {
            add(Weakening::Removed, &check.text);
            continue;
        };
        let how = if other.empty && !check.empty {
            Weakening::Emptied
        } else if check.strict && !other.strict {
            Weakening::Loosened
        } else if check.shape == other.shape {
            if check.tolerant {
                Weakening::Tolerance
            } else {
                Weakening::Expectation
            }
        } else if !check.strict && other.strict {
            // It asks for more than before.
            continue;
        } else {
            Weakening::Changed
        };
        add(how, &format!("{} → {}", check.text, other.text));
    }
    if let Some(check) = won.iter().find(|check| check.empty) {
        add(Weakening::Emptied, &check.text);
    }
}

#[cfg(test)]
mod tests;
