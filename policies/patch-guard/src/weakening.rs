//! Tests made weaker: deleted, skipped, emptied, loosened, with their snapshots,
//! thresholds or pipelines changed. Tests are witnesses; a patch that bends them
//! proves nothing.

use selfheal_policy_sdk::text::{Needles, glob, phrase, squeeze};
use selfheal_policy_sdk::{ChangeKind, PatchFile};

/// A way in which a patch weakens tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Weakened {
    /// Stable id of the rule.
    pub(crate) rule: &'static str,
    /// What it does, as a sentence about the patch.
    pub(crate) message: &'static str,
    /// The line or path that shows it.
    pub(crate) evidence: String,
}

/// Marks that keep a test from running or from failing.
static SKIPS: Needles<40> = Needles::new([
    "pytest.mark.skip",
    "pytest.mark.xfail",
    "pytest.skip(",
    "pytest.xfail(",
    "pytest.importorskip(",
    "unittest.skip",
    "unittest.expectedfailure",
    "@skip(",
    "@skipif(",
    "self.skiptest(",
    "raise skiptest",
    "__test__ = false",
    "it.skip(",
    "test.skip(",
    "describe.skip(",
    "it.only(",
    "test.only(",
    "describe.only(",
    "it.todo(",
    "test.todo(",
    "test.failing(",
    "xit(",
    "xtest(",
    "xdescribe(",
    "fit(",
    "fdescribe(",
    "this.skip(",
    "#[ignore",
    "#[should_panic",
    "t.skip(",
    "t.skipnow(",
    "t.skipf(",
    "testing.short()",
    "@disabled",
    "@ignore",
    "assumptions.assume",
    "marktestskipped(",
    "marktestincomplete(",
    "pending \"",
    "skip: true",
]);

/// Ways to call a failure a success, in pipelines and configuration.
static IGNORES: Needles<12> = Needles::new([
    "|| true",
    "|| exit 0",
    "|| :",
    "set +e",
    "continue-on-error: true",
    "allow_failure: true",
    "--passwithnotests",
    "--deselect",
    "--ignore=",
    "-k 'not",
    "-k \"not",
    "--exit-zero",
]);

/// Names of thresholds on what tests must cover.
static THRESHOLDS: Needles<9> = Needles::new([
    "fail_under",
    "cov-fail-under",
    "coveragethreshold",
    "check-coverage",
    "minimum_coverage",
    "check_coverage",
    "fail-under-lines",
    "mutationthreshold",
    "\"threshold\"",
]);

/// What makes a test fail. Plain words, matched as whole ones.
const CHECKS: [&str; 15] = [
    "assert",
    "assert!(",
    "assert_eq!(",
    "assert_ne!(",
    "expect(",
    "assertthat(",
    "pytest.raises(",
    "should",
    "t.error(",
    "t.errorf(",
    "t.fatal(",
    "t.fatalf(",
    "require.",
    "assert.",
    "fail(",
];

/// Checks that pin a value down.
const STRICT: [&str; 16] = [
    "==",
    "assertequal",
    "assertequals(",
    "assertis(",
    "assert_eq!(",
    "assertlistequal",
    "assertdictequal",
    "tobe(",
    "toequal(",
    "tostrictequal(",
    "strictequal(",
    "deepstrictequal(",
    "assert.equal(",
    "assert_equal",
    "isequalto(",
    "require.equal(",
];

/// Checks that let more through.
const LOOSE: [&str; 28] = [
    ">=",
    "<=",
    " in ",
    "!=",
    "is not none",
    "isinstance(",
    "assertin(",
    "assertisnotnone(",
    "asserttrue(",
    "assertalmostequal",
    "assertgreater",
    "assertless",
    "approx(",
    "assertisinstance(",
    "tobedefined(",
    "tobetruthy(",
    "tocontain(",
    "tomatch(",
    "tobecloseto(",
    "tohaveproperty(",
    "objectcontaining(",
    "not.tothrow(",
    "assert.ok(",
    "assert!(",
    "assert_in",
    "isnotnull(",
    "contains(",
    "notnil(",
];

/// Checks that cannot fail.
const EMPTY: [&str; 20] = [
    "assert true",
    "assert 1",
    "assert not false",
    "assert(true)",
    "assert!(true",
    "assert_eq!(true, true",
    "assert_eq!(1, 1",
    "asserttrue(true",
    "assertfalse(false",
    "assertequal(1, 1",
    "assertequals(true, true",
    "expect(true).tobe(true)",
    "expect(true).tobetruthy(",
    "expect(1).tobe(1)",
    "expect.anything()",
    "assert.ok(true",
    "assert.equal(1, 1",
    "assert.true(t, true",
    "or true",
    "|| true)",
];

/// Beginnings of tests.
const TESTS: [&str; 14] = [
    "def test",
    "async def test",
    "it(",
    "test(",
    "#[test]",
    "#[tokio::test]",
    "@test",
    "func test",
    "func benchmark",
    "public function test",
    "it \"",
    "it '",
    "scenario ",
    "class test",
];

/// What tests compare with.
const SNAPSHOTS: [&str; 12] = [
    "__snapshots__",
    "__image_snapshots__",
    "snapshots",
    "*.snap",
    "*.snap.new",
    "*.approved.*",
    "*.golden",
    "golden",
    "testdata",
    "fixtures",
    "cassettes",
    "__fixtures__",
];

/// What decides which tests run, and how strictly.
const CONFIGURATION: [&str; 31] = [
    ".github/workflows/**",
    ".gitlab-ci.yml",
    ".circleci",
    ".travis.yml",
    "azure-pipelines.yml",
    "Jenkinsfile",
    ".buildkite",
    ".drone.yml",
    "bitbucket-pipelines.yml",
    "pytest.ini",
    "tox.ini",
    "noxfile.py",
    "conftest.py",
    ".coveragerc",
    "codecov.yml",
    ".codecov.yml",
    "jest.config.*",
    "jest.setup.*",
    "vitest.config.*",
    "vitest.workspace.*",
    ".mocharc*",
    "karma.conf.*",
    "playwright.config.*",
    "cypress.config.*",
    "cypress.json",
    "phpunit.xml*",
    ".rspec",
    "nextest.toml",
    ".nycrc*",
    "stryker.conf.*",
    "wdio.conf.*",
];

/// What the file of a patch does to tests, plainest first.
pub(crate) fn find(file: &PatchFile) -> Vec<Weakened> {
    let mut found = Vec::new();
    let mut add = |rule, message, evidence: &str| {
        found.push(Weakened {
            rule,
            message,
            evidence: evidence.to_owned(),
        });
    };
    let path = file.path.as_str();
    let configures = CONFIGURATION.iter().any(|pattern| glob(pattern, path));
    if file.test && file.change == ChangeKind::Deleted {
        add(
            "patch.test-deleted",
            "the patch deletes a file of tests",
            path,
        );
        return found;
    }
    if let Some(line) = file.new_lines().find(|line| SKIPS.any(line) && skips(line)) {
        add(
            "patch.test-skipped",
            "the patch keeps tests from running or from failing",
            line,
        );
    }
    if (configures || is_script(path))
        && let Some(line) = file.new_lines().find(|line| IGNORES.any(line))
    {
        add(
            "patch.failure-ignored",
            "the patch has a failure pass as a success",
            line,
        );
    }
    let thresholds = |lines: &[String]| lines.iter().filter(|line| THRESHOLDS.any(line)).count();
    if let Some(line) = file.removed.iter().find(|line| THRESHOLDS.any(line))
        && (lowered(file) || thresholds(&file.removed) > thresholds(&file.added))
    {
        add(
            "patch.coverage-lowered",
            "the patch asks for less coverage",
            line,
        );
    }
    if file.test {
        in_test(file, &mut add);
    }
    if SNAPSHOTS.iter().any(|pattern| glob(pattern, path)) && file.change != ChangeKind::Added {
        add(
            "patch.snapshot-changed",
            "the patch changes what tests compare with",
            path,
        );
    }
    if configures {
        add(
            "patch.test-configuration",
            "the patch changes which tests run, or how",
            path,
        );
    }
    found
}

fn in_test(file: &PatchFile, add: &mut impl FnMut(&'static str, &'static str, &str)) {
    let squeezed = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .map(|line| squeeze(line.trim()))
            .filter(|line| !line.is_empty())
            .collect()
    };
    let (added, removed) = (squeezed(&file.added), squeezed(&file.removed));
    let count =
        |lines: &[String], marks: &[&str]| lines.iter().filter(|line| has(line, marks)).count();
    let begins = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| TESTS.iter().any(|mark| line.starts_with(mark)))
            .count()
    };
    if begins(&removed) > begins(&added) {
        let gone = removed
            .iter()
            .find(|line| TESTS.iter().any(|mark| line.starts_with(mark)));
        add(
            "patch.test-deleted",
            "the patch deletes tests",
            gone.map_or("", String::as_str),
        );
    }
    if let Some(line) = added
        .iter()
        .find(|line| EMPTY.iter().any(|mark| phrase(line, mark)) && !removed.contains(line))
    {
        add(
            "patch.check-emptied",
            "the patch puts a check into a test that cannot fail",
            line,
        );
    }
    if count(&removed, &CHECKS) > count(&added, &CHECKS) {
        let gone = removed.iter().find(|line| has(line, &CHECKS));
        add(
            "patch.check-removed",
            "the patch removes checks from tests",
            gone.map_or("", String::as_str),
        );
    }
    let checking = |lines: &[String], marks: &[&str]| {
        lines
            .iter()
            .filter(|line| has(line, &CHECKS) && marks.iter().any(|mark| line.contains(mark)))
            .count()
    };
    if checking(&removed, &STRICT) > checking(&added, &STRICT)
        && checking(&added, &LOOSE) > checking(&removed, &LOOSE)
    {
        let loose = added
            .iter()
            .find(|line| LOOSE.iter().any(|mark| line.contains(mark)));
        add(
            "patch.check-loosened",
            "the patch loosens what tests ask for",
            loose.map_or("", String::as_str),
        );
    }
}

/// A check by its words; `self.assertEqual` and the like count as `assert`.
fn has(line: &str, marks: &[&str]) -> bool {
    line.contains(".assert")
        || marks
            .iter()
            .any(|mark| line.starts_with(mark) || phrase(line, mark))
}

/// `submit(` ends like `it(`; the marks that are words must stand alone.
fn skips(line: &str) -> bool {
    let squeezed = squeeze(line);
    [
        "xit(",
        "xtest(",
        "xdescribe(",
        "fit(",
        "fdescribe(",
        "t.skip(",
        "@ignore",
        "@disabled",
        "it.skip(",
        "it.only(",
    ]
    .iter()
    .any(|mark| phrase(&squeezed, mark))
        || SKIPS.scan(&squeezed, |word, _| {
            // All others tell by themselves.
            !matches!(word, 12 | 15 | 21..=25 | 29 | 33 | 34)
        })
}

fn is_script(path: &str) -> bool {
    [
        ".sh",
        ".bash",
        ".yml",
        ".yaml",
        "Makefile",
        "package.json",
        ".toml",
        ".ini",
        ".cfg",
    ]
    .iter()
    .any(|ending| path.ends_with(ending))
}

/// The number beside a threshold became smaller.
fn lowered(file: &PatchFile) -> bool {
    let number = |lines: &[String]| {
        let line = lines.iter().find(|line| THRESHOLDS.any(line))?;
        let digits: String = line
            .chars()
            .rev()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        digits.chars().rev().collect::<String>().parse::<f64>().ok()
    };
    number(&file.removed)
        .zip(number(&file.added))
        .is_some_and(|(before, after)| after < before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::facts;

    fn rules(path: &str, removed: &[&str], added: &[&str]) -> Vec<&'static str> {
        let mut file = facts::file(path, removed, added);
        file.test = path.contains("test");
        find(&file).iter().map(|weakened| weakened.rule).collect()
    }

    #[test]
    fn weakened_tests_are_found() {
        for (path, removed, added, rule) in [
            (
                "tests/test_a.py",
                "",
                "@pytest.mark.skip(reason='flaky')",
                "patch.test-skipped",
            ),
            (
                "tests/test_a.py",
                "",
                "    @unittest.skipIf(True, 'x')",
                "patch.test-skipped",
            ),
            (
                "src/a.test.js",
                "it('adds', () => {",
                "it.skip('adds', () => {",
                "patch.test-skipped",
            ),
            (
                "src/a.test.js",
                "it('adds', () => {",
                "it.only('adds', () => {",
                "patch.test-skipped",
            ),
            (
                "src/a.test.js",
                "it('adds', () => {",
                "xit('adds', () => {",
                "patch.test-skipped",
            ),
            (
                "src/lib.rs",
                "",
                "#[ignore = \"slow\"]",
                "patch.test-skipped",
            ),
            ("a_test.go", "", "t.Skip(\"later\")", "patch.test-skipped"),
            ("src/AppTest.java", "", "@Disabled", "patch.test-skipped"),
            (
                "tests/test_a.py",
                "def test_sum():",
                "",
                "patch.test-deleted",
            ),
            (
                "tests/test_a.py",
                "    assert f() == 3",
                "",
                "patch.check-removed",
            ),
            (
                "tests/test_a.py",
                "    assert f() == 3",
                "    assert f() is not None",
                "patch.check-loosened",
            ),
            (
                "tests/test_a.py",
                "self.assertEqual(f(), 3)",
                "self.assertTrue(f())",
                "patch.check-loosened",
            ),
            (
                "a.test.ts",
                "expect(f()).toBe(3);",
                "expect(f()).toBeDefined();",
                "patch.check-loosened",
            ),
            (
                "tests/test_a.py",
                "    assert f() == 3",
                "    assert True",
                "patch.check-emptied",
            ),
            (
                "a.test.ts",
                "expect(f()).toBe(3);",
                "expect(true).toBe(true);",
                "patch.check-emptied",
            ),
            (
                "pyproject.toml",
                "fail_under = 90",
                "fail_under = 50",
                "patch.coverage-lowered",
            ),
            (
                ".coveragerc",
                "fail_under = 90",
                "",
                "patch.coverage-lowered",
            ),
            (
                "ci/test.sh",
                "pytest -q",
                "pytest -q || true",
                "patch.failure-ignored",
            ),
            (
                ".github/workflows/ci.yml",
                "- run: npm test",
                "- run: npm test || true",
                "patch.failure-ignored",
            ),
            ("jest.config.js", "a", "b", "patch.test-configuration"),
            (
                "tests/__snapshots__/a.snap",
                "a",
                "b",
                "patch.snapshot-changed",
            ),
        ] {
            let (removed, added): (Vec<&str>, Vec<&str>) = (
                Some(removed)
                    .filter(|line| !line.is_empty())
                    .into_iter()
                    .collect(),
                Some(added)
                    .filter(|line| !line.is_empty())
                    .into_iter()
                    .collect(),
            );
            let found = rules(path, &removed, &added);
            assert!(found.contains(&rule), "{path}: {added:?}: {found:?}");
        }
    }

    #[test]
    fn strengthened_and_ordinary_ones_are_not() {
        for (path, removed, added) in [
            ("tests/test_a.py", "", "def test_more():"),
            ("tests/test_a.py", "", "    assert f() == 3"),
            (
                "tests/test_a.py",
                "assert f() is not None",
                "assert f() == 3",
            ),
            ("tests/test_a.py", "assert f() == 3", "assert f() == 4"),
            ("src/a.js", "", "submit(form);"),
            ("src/a.js", "profit(x)", "profit(y)"),
            ("src/skip.py", "", "queue.skip(1)"),
            ("src/a.py", "assert x", "if not x: raise ValueError(x)"),
            ("run.sh", "a", "b"),
            ("pyproject.toml", "fail_under = 80", "fail_under = 90"),
        ] {
            let one = |line: &'static str| -> Vec<&'static str> {
                Some(line)
                    .filter(|line| !line.is_empty())
                    .into_iter()
                    .collect()
            };
            assert_eq!(
                rules(path, &one(removed), &one(added)),
                [""; 0],
                "{path}: {added}"
            );
        }
    }

    #[test]
    fn a_deleted_file_of_tests_is_deleted_tests() {
        let mut file = facts::file("tests/test_a.py", &["assert f()"], &[]);
        file.test = true;
        file.change = ChangeKind::Deleted;
        assert_eq!(find(&file)[0].rule, "patch.test-deleted");
    }
}
