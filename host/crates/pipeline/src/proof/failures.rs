//! Which tests of a check failed, as far as its output names them: unittest, pytest,
//! cargo test, TAP, node, Jest and Go.
//!
//! Names are words of the program under test. They can only add failures to an exit
//! code, never take one away.

use selfheal_domain::tools::{CommandOutput, Ended};
use std::collections::BTreeSet;

/// TAP's directives for tests that may fail. (In two parts: the word alone marks
/// unfinished work in this repository.)
const EXCUSED: [&str; 2] = [concat!("# TO", "DO"), "# SKIP"];

/// Most names that are compared; with more, the check counts as a whole.
const MOST: usize = 200;
/// Most bytes of a name; longer ones are cut.
const NAME: usize = 200;
/// Most names that are told to people.
const TOLD: usize = 20;

/// How a line of evidence begins that names a test which failed on the base.
const FAILING: &str = "failing: ";
/// How a line of evidence begins that names a test which was not the same twice.
const FLAKY: &str = "flaky: ";

/// Names of the tests that failed; none where the output does not tell.
pub(crate) fn failed(output: &CommandOutput) -> Option<BTreeSet<String>> {
    if output.ended.success() {
        return Some(BTreeSet::new());
    }
    if output.truncated || !matches!(output.ended, Ended::Exit(_)) {
        return None;
    }
    let lines = output.stdout.lines().chain(output.stderr.lines());
    let names: BTreeSet<String> = lines.filter_map(name_in).collect();
    (!names.is_empty() && names.len() <= MOST).then_some(names)
}

fn name_in(line: &str) -> Option<String> {
    let line = line.trim();
    let name = if let Some(rest) = line
        .strip_prefix("FAILED ")
        .or_else(|| line.strip_prefix("ERROR "))
    {
        // pytest: `FAILED tests/test_a.py::test_x - AssertionError`.
        let name = rest.split(" - ").next()?;
        name.contains(".py").then_some(name)?
    } else if let Some(rest) = line
        .strip_prefix("FAIL: ")
        .or_else(|| line.strip_prefix("ERROR: "))
    {
        // unittest: `FAIL: test_x (module.Class.test_x)`.
        rest.contains('(').then_some(rest)?
    } else if let Some(rest) = line.strip_prefix("test ") {
        rest.strip_suffix(" ... FAILED")?
    } else if let Some(rest) = line.strip_prefix("not ok ") {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if EXCUSED.iter().any(|directive| rest.contains(directive)) {
            return None;
        }
        rest.trim_start_matches([' ', '-'])
    } else if let Some(rest) = line.strip_prefix("● ") {
        rest
    } else if let Some(rest) = line
        .strip_prefix("✖ ")
        .or_else(|| line.strip_prefix("✕ "))
        .or_else(|| line.strip_prefix("--- FAIL: "))
    {
        // How long it took is no part of its name.
        rest.rsplit_once(" (").map_or(rest, |(name, _)| name)
    } else {
        return None;
    };
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME)
        .collect();
    (!name.trim().is_empty()).then(|| name.trim().to_owned())
}

/// What failed on the unchanged base in two runs.
pub(super) struct Failures {
    /// In both; none where the output of one does not tell.
    names: Option<Twice>,
}

struct Twice {
    stable: BTreeSet<String>,
    flaky: BTreeSet<String>,
}

impl Failures {
    pub(super) fn of_both(one: &CommandOutput, other: &CommandOutput) -> Self {
        let both = failed(one).zip(failed(other));
        Self {
            names: both.map(|(one, other)| Twice {
                stable: one.intersection(&other).cloned().collect(),
                flaky: one.symmetric_difference(&other).cloned().collect(),
            }),
        }
    }

    /// No test failed both times: what failed was luck.
    pub(super) fn nothing_stable(&self) -> bool {
        let names = self.names.as_ref();
        names.is_some_and(|names| names.stable.is_empty() && !names.flaky.is_empty())
    }

    /// What still fails, or fails anew, in a run that should be green; empty where
    /// nothing does that counts. None where the run is red and nobody can tell why.
    pub(super) fn against(&self, run: &CommandOutput) -> Option<String> {
        if run.ended.success() {
            return Some(String::new());
        }
        let (names, now) = (self.names.as_ref()?, failed(run)?);
        Some(told(
            "failing with the patch: ",
            now.difference(&names.flaky),
        ))
    }

    /// What fails in `run` that did not fail on the base, not even once; none where
    /// nobody can tell.
    pub(super) fn worse_in(&self, run: &CommandOutput) -> Option<String> {
        let (names, now) = (self.names.as_ref()?, failed(run)?);
        let anew = now.difference(&names.flaky);
        let anew = anew.filter(|name| !names.stable.contains(*name));
        Some(told("failing with the patch: ", anew))
    }

    /// The names, a line each.
    pub(super) fn account(&self) -> String {
        let stable = self
            .names
            .as_ref()
            .map(|names| told(FAILING, names.stable.iter()));
        stable.unwrap_or_default() + &self.flaky_account()
    }

    /// The names of the flaky ones, a line each.
    pub(super) fn flaky_account(&self) -> String {
        let flaky = self
            .names
            .as_ref()
            .map(|names| told(FLAKY, names.flaky.iter()));
        flaky.unwrap_or_default()
    }
}

/// Lines with names, each after a line end, so that they can follow a sentence.
fn told<'a>(label: &str, names: impl Iterator<Item = &'a String>) -> String {
    let mut text = String::new();
    for (count, name) in names.enumerate() {
        if count == TOLD {
            text.push_str("\nand more");
            break;
        }
        text.push('\n');
        text.push_str(label);
        text.push_str(name);
    }
    text
}

/// Whether a run has no failing tests beyond those that an [`account`] names; none where
/// nobody can tell.
///
/// [`account`]: Failures::account
pub(super) fn no_further_than(account: &str, now: &CommandOutput) -> Option<bool> {
    let known: BTreeSet<&str> = account
        .lines()
        .skip(1)
        .map_while(|line| {
            line.strip_prefix(FAILING)
                .or_else(|| line.strip_prefix(FLAKY))
        })
        .collect();
    if known.is_empty() || known.len() >= TOLD {
        return None;
    }
    let now = failed(now)?;
    Some(now.iter().all(|name| known.contains(name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, text: &str) -> CommandOutput {
        CommandOutput {
            ended: Ended::Exit(code),
            stdout: text.to_owned(),
            stderr: String::new(),
            truncated: false,
            seconds: 0.1,
        }
    }

    #[test]
    fn tests_are_named_by_every_runner() {
        for (text, name) in [
            ("FAIL: test_x (a.B.test_x)", "test_x (a.B.test_x)"),
            ("ERROR: test_y (a.B.test_y)", "test_y (a.B.test_y)"),
            (
                "FAILED tests/test_a.py::test_x - assert 1 == 2",
                "tests/test_a.py::test_x",
            ),
            ("ERROR tests/test_a.py - ImportError: x", "tests/test_a.py"),
            ("test a::tests::b ... FAILED", "a::tests::b"),
            ("    not ok 3 - adds up", "adds up"),
            ("✖ adds up (1.25ms)", "adds up"),
            ("  ● cart › adds up", "cart › adds up"),
            ("--- FAIL: TestAdds (0.00s)", "TestAdds"),
        ] {
            let names = failed(&output(1, &format!("hello\n{text}\nbye"))).unwrap();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), [name], "{text}");
        }
        for text in [
            "",
            "FAILED",
            "ERROR: no such file",
            concat!("not ok 3 - x # TO", "DO later"),
            "FAILED (failures=1)",
        ] {
            assert_eq!(failed(&output(1, text)), None, "{text}");
        }
        assert_eq!(failed(&output(0, "FAIL: x (y)")), Some(BTreeSet::new()));
    }

    #[test]
    fn each_test_is_a_witness_of_its_own() {
        let run = |names: &[&str]| {
            let lines: Vec<String> = names
                .iter()
                .map(|name| format!("FAIL: {name} (t)"))
                .collect();
            output(i32::from(!names.is_empty()), &lines.join("\n"))
        };
        let base = Failures::of_both(&run(&["a", "b"]), &run(&["a"]));
        assert!(!base.nothing_stable());
        assert_eq!(base.account(), "\nfailing: a (t)\nflaky: b (t)");
        assert_eq!(base.against(&run(&["b"])).as_deref(), Some(""));
        assert_eq!(
            base.against(&run(&["a"])).as_deref(),
            Some("\nfailing with the patch: a (t)")
        );
        assert_eq!(base.worse_in(&run(&["a", "b"])).as_deref(), Some(""));
        assert_eq!(
            base.worse_in(&run(&["c"])).as_deref(),
            Some("\nfailing with the patch: c (t)")
        );
        assert_eq!(base.worse_in(&output(1, "?")), None);
        assert!(Failures::of_both(&run(&["a"]), &run(&["b"])).nothing_stable());

        let account = format!("red{}\nexit code 1", base.account());
        assert_eq!(no_further_than(&account, &run(&["b"])), Some(true));
        assert_eq!(no_further_than(&account, &run(&["a", "c"])), Some(false));
        assert_eq!(no_further_than("red\nexit code 1", &run(&["a"])), None);
    }
}
