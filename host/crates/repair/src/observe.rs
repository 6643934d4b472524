//! What workers report: the messages of the line protocol.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// A name the interpreter's error suggests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(crate) struct Hint {
    /// `name`, `attribute`, `key`, `import`, `self`, `unbound`, `none`, `keyword`, `module`.
    pub(crate) kind: String,
    pub(crate) wrong: String,
    #[serde(default)]
    pub(crate) right: Vec<String>,
}

/// One line of a stack trace inside the workspace: file, line, function.
pub(crate) type Frame = (String, u32, String);

/// Answer to `start`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) mode: String,
    pub(crate) main: Option<String>,
    pub(crate) mixed: bool,
    pub(crate) witness: bool,
    pub(crate) witnesses: Vec<String>,
    pub(crate) error: Option<String>,
}

/// One test as it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TestOutcome {
    pub(crate) test: String,
    /// `pass`, `fail`, `skip`, `hang`.
    pub(crate) outcome: String,
    pub(crate) seconds: f64,
    pub(crate) wall: f64,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) bases: Vec<String>,
    pub(crate) message: Option<String>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) hints: Vec<Hint>,
}

impl TestOutcome {
    pub(crate) fn failed(&self) -> bool {
        matches!(self.outcome.as_str(), "fail" | "hang")
    }
}

/// Failing and passing pieces, failing and passing tests.
pub(crate) type Counts = (u32, u32, u32, u32);

/// Answer to `profile`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Profile {
    pub(crate) tests: Vec<TestOutcome>,
    /// File, line (as text), how many failing and passing pieces of tests ran
    /// it, and how many failing and passing tests as a whole.
    pub(crate) spectrum: BTreeMap<String, BTreeMap<String, Counts>>,
    pub(crate) failing: u32,
    pub(crate) passing: u32,
    pub(crate) imported: BTreeMap<String, Vec<u32>>,
    pub(crate) kinds: HashMap<String, HashMap<String, Vec<String>>>,
    pub(crate) modules: Vec<String>,
    /// Tests that there was no time for.
    pub(crate) left: Vec<String>,
    pub(crate) error: Option<String>,
}

impl Profile {
    pub(crate) fn failures(&self) -> impl Iterator<Item = &TestOutcome> {
        self.tests.iter().filter(|test| test.failed())
    }
}

/// Answer to `try` and `run`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attempt {
    /// `pass`, `fail`, `timeout`, `crash`, `invalid`.
    pub(crate) outcome: String,
    /// Tests that passed before the first failure.
    pub(crate) passed: usize,
    pub(crate) test: Option<String>,
    pub(crate) message: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) error: Option<String>,
}
