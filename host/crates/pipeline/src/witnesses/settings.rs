//! Files that say which tests run, how strictly, and what they compare with.

use selfheal_domain::patch::FileChange;

/// Files that say nothing else.
const FILES: [&str; 20] = [
    "pytest.ini",
    "noxfile.py",
    ".coveragerc",
    ".rspec",
    "nextest.toml",
    "codecov.yml",
    ".codecov.yml",
    "cypress.json",
    "phpunit.xml",
    "phpunit.xml.dist",
    "jest.config.",
    "jest.setup.",
    "vitest.config.",
    "vitest.workspace.",
    "karma.conf.",
    "playwright.config.",
    "cypress.config.",
    "wdio.conf.",
    ".mocharc",
    ".nycrc",
];

/// Files that say other things as well, with the beginnings of the sections and keys
/// that are about tests.
const SECTIONS: [(&str, &[&str]); 4] = [
    (
        "pyproject.toml",
        &[
            "[tool.pytest",
            "[tool.coverage",
            "[tool.tox",
            "[tool.nox",
            "[tool.hatch.envs",
        ],
    ),
    ("setup.cfg", &["[tool:pytest", "[coverage:", "[aliases"]),
    ("tox.ini", &["[pytest", "[testenv", "[tox", "[coverage:"]),
    (
        "Cargo.toml",
        &["[[test]]", "[[bench]]", "[profile.test", "[lib]", "[[bin]]"],
    ),
];

/// Keys of `package.json` that are about tests.
const SCRIPTS: [&str; 9] = [
    "\"test",
    "\"pretest",
    "\"posttest",
    "\"jest\"",
    "\"mocha\"",
    "\"vitest\"",
    "\"nyc\"",
    "\"c8\"",
    "\"ava\"",
];

/// Whether the file says nothing but how tests are run, and what they compare with.
pub(super) fn is_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    FILES.iter().any(|known| {
        name == *known
            || (known.ends_with('.') || known.starts_with('.')) && name.starts_with(known)
    }) || name.ends_with(".snap")
        || path.split('/').any(|part| part == "__snapshots__")
}

/// Whether a change of the file changes how tests are run.
pub(super) fn changed(file: &FileChange) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if is_settings(&file.path) {
        return file.kind().is_some();
    }
    let (before, after) = (
        file.before.as_deref().unwrap_or_default(),
        file.after.as_deref().unwrap_or_default(),
    );
    if let Some((_, starts)) = SECTIONS.iter().find(|(known, _)| *known == name) {
        return sections(before, starts) != sections(after, starts);
    }
    if name == "package.json" {
        return scripts(before) != scripts(after);
    }
    false
}

/// The lines of the sections that begin like this, without comments and blanks.
fn sections<'a>(text: &'a str, starts: &[&str]) -> Vec<&'a str> {
    let mut inside = false;
    let lines = text.lines().map(str::trim);
    let kept = lines.filter(|line| {
        if line.starts_with('[') {
            inside = starts.iter().any(|start| line.starts_with(start));
        }
        inside && !line.is_empty() && !line.starts_with(['#', ';'])
    });
    kept.collect()
}

/// What a `package.json` says of tests: the lines with such keys, and all that is nested
/// in them.
fn scripts(text: &str) -> Vec<&str> {
    let mut depth: i64 = 0;
    let mut until: Option<i64> = None;
    let mut kept = Vec::new();
    for line in text.lines().map(str::trim) {
        let begins = SCRIPTS.iter().any(|key| line.contains(key));
        let inside = until.is_some();
        let outer = depth;
        depth += count(line, ['{', '[']) - count(line, ['}', ']']);
        if begins && until.is_none() && depth > outer {
            until = Some(outer);
        }
        if begins || inside {
            kept.push(line.trim_end_matches(','));
        }
        if until.is_some_and(|end| depth <= end) {
            until = None;
        }
    }
    kept
}

fn count(line: &str, marks: [char; 2]) -> i64 {
    i64::try_from(line.matches(marks).count()).unwrap_or(i64::MAX)
}
