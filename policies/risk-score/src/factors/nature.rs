//! What kind of change it is, and how much of it.

use super::lines;
use selfheal_policy_sdk::{ChangeKind, Factor, Patch, PatchFile};

/// What kind of change this is at all: text, formatting, logging, configuration, code.
pub(crate) fn nature(patch: &Patch) -> Option<Factor> {
    let all =
        |test: fn(&PatchFile) -> bool| !patch.files.is_empty() && patch.files.iter().all(test);
    if all(only_formatting) {
        return Some(Factor::new(
            "only-formatting",
            0,
            "nothing but blanks changes",
        ));
    }
    if all(|file| ends(&file.path, &[".md", ".rst", ".txt", ".adoc"])) {
        return Some(Factor::new("only-documents", 0, "only documents change"));
    }
    if all(|file| is_code(&file.path) && only_logging(file)) {
        return Some(Factor::new("only-logging", 2, "only lines that log change"));
    }
    if all(|file| is_configuration(&file.path)) {
        return Some(Factor::new(
            "only-configuration",
            5,
            "only configuration changes",
        ));
    }
    Some(Factor::new("changes-code", 6, "code changes"))
}

fn ends(path: &str, endings: &[&str]) -> bool {
    let lower = path.to_ascii_lowercase();
    endings.iter().any(|ending| lower.ends_with(ending))
}

fn is_configuration(path: &str) -> bool {
    ends(
        path,
        &[
            ".json",
            ".yml",
            ".yaml",
            ".toml",
            ".ini",
            ".cfg",
            ".conf",
            ".properties",
            ".env",
        ],
    )
}

fn is_code(path: &str) -> bool {
    !is_configuration(path) && !ends(path, &[".md", ".rst", ".txt", ".adoc", ".sql"])
}

/// Lines are the same but for blanks. Where indentation means something, it must
/// be the same too.
fn only_formatting(file: &PatchFile) -> bool {
    let indentation_counts = ends(
        &file.path,
        &[
            ".py", ".yml", ".yaml", ".nim", ".haml", ".pug", ".coffee", ".md",
        ],
    );
    let shape = |lines: &[String]| -> Vec<String> {
        let bare = |line: &String| {
            let trimmed = line.trim_end();
            let inner: String = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
            let indent = trimmed.len() - trimmed.trim_start().len();
            if indentation_counts {
                format!("{indent}:{inner}")
            } else {
                inner
            }
        };
        lines
            .iter()
            .filter(|line| !line.trim().is_empty())
            .map(bare)
            .collect()
    };
    file.change == ChangeKind::Modified && shape(&file.added) == shape(&file.removed)
}

/// Every line that is new or gone is a call of a logger.
fn only_logging(file: &PatchFile) -> bool {
    let marks = [
        "log.",
        "logger.",
        "logging.",
        "console.log(",
        "console.warn(",
        "console.error(",
        "tracing::",
        "print(",
        "println!(",
    ];
    let logs = |line: &String| {
        let line = line.trim();
        // One call per line, and nothing after it that would do more.
        line.is_empty()
            || marks.iter().any(|mark| line.starts_with(mark)) && line.matches(';').count() <= 1
    };
    file.change == ChangeKind::Modified
        && !file.added.is_empty()
        && file.added.iter().chain(&file.removed).all(logs)
}

/// Points by changed lines.
pub(crate) fn size(patch: &Patch) -> Option<Factor> {
    let changed = lines(patch).count();
    let points = match changed {
        0..=2 => 0,
        3..=10 => 4,
        11..=30 => 8,
        31..=80 => 16,
        81..=200 => 26,
        _ => 40,
    };
    (points > 0).then(|| Factor::new("size", points, format!("{changed} changed lines")))
}

/// Points by files beyond the first.
pub(crate) fn files(patch: &Patch) -> Option<Factor> {
    let count = u32::try_from(patch.files.len()).unwrap_or(u32::MAX);
    (count > 1).then(|| {
        Factor::new(
            "files",
            count.saturating_mul(4).min(30),
            format!("{count} files"),
        )
    })
}

/// Files that go.
pub(crate) fn deletions(patch: &Patch) -> Option<Factor> {
    let file = patch
        .files
        .iter()
        .find(|file| file.change == ChangeKind::Deleted)?;
    Some(Factor::new("deletes-file", 25, file.path.clone()))
}
