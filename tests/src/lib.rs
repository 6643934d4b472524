//! Harness for end-to-end tests: a real repository, the real binary, a real host
//! on a free port. Hermetic: own directories, own git configuration, no network.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test harness starts processes and fails loudly"
)]

mod compiled;
mod host;
mod model;
mod project;
mod registry;
mod scripted;

pub use host::{Answer, TestHost};
pub use model::{ModelServer, Turn, answers, calls, offered, says};
pub use project::{Project, Ran};
pub use registry::Registry;
pub use scripted::{Dialect, Line, ScriptedModel};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The binary under test: `SELFHEAL_BIN`, or the one that cargo built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SELFHEAL_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("tests know where they are");
    let built = test
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"))
        .join("selfheal");
    assert!(
        built.exists(),
        "{} is missing; run `cargo build --workspace` first",
        built.display()
    );
    built
}

/// A program of somebody else, with an empty environment.
pub fn foreign_command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.env_clear();
    command
}

/// Sends a signal, as in `STOP`.
pub fn signal(name: &str, process: u32) {
    let status = std::process::Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status()
        .expect("kill is installed");
    assert!(status.success(), "kill -{name} {process}");
}

/// A program below `tests/agents/node_modules`, where `npm ci` put it. Where it is not
/// installed the test that needs it says so and is skipped, except in CI.
pub fn agent_program(path: &str, title: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/node_modules");
    let program = installed.join(path);
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{title} is missing; run `npm ci --ignore-scripts` in tests/agents"
    );
    println!("skipped: {title} is not installed; run `npm ci --ignore-scripts` in tests/agents");
    None
}

/// Looks until `ready` gives something; panics with `what` after `patience`.
pub fn eventually<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            begun.elapsed() < patience,
            "gave up after {} s: {what}",
            patience.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
