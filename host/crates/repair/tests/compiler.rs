//! Code that does not compile is healed with what a real compiler suggests.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod bare;

use bare::BareTools;
use selfheal_domain::agent::{Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief};
use selfheal_repair::RepairEngine;
use std::time::Duration;

const BROKEN: &str = "fn show(x: &String) -> String {\n    x.clone()\n}\n\nfn main() {\n    let v = vec![1];\n    v.push(4);\n    let s = String::from(\"a\");\n    let m: HashMap<String, i32> = HashMap::new();\n    println!(\"{} {} {}\", show(s), v.len(), m.len())\n    println!(\"done\")\n}\n";

fn diagnose(text: &str, command: &str) -> Result<Diagnosis, AgentError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.rs"), text).unwrap();
    let brief = DiagnosisBrief {
        run: None,
        texts: vec![],
        checks: vec![CheckCommand {
            command: command.into(),
            directory: String::new(),
            timeout: Duration::from_secs(120),
        }],
        services: vec![],
        budget: Duration::from_secs(240),
        excluded: vec![],
    };
    RepairEngine::new().diagnose(&brief, &BareTools::new(folder.path(), false))
}

#[test]
fn several_errors_are_healed_step_by_step() {
    let found = diagnose(BROKEN, "rustc --edition 2021 main.rs -o main").unwrap();
    let diff = &found.proposals.first().unwrap().patch.diff;
    for wanted in [
        "+    let mut v",
        "show(&s)",
        "+use std::collections::HashMap;",
        "m.len());",
    ] {
        assert!(diff.contains(wanted), "{wanted} in {diff}");
    }
    assert!(
        found.root_cause.contains("main.rs:10"),
        "{}",
        found.root_cause
    );
}

#[test]
fn without_a_suggestion_nothing_is_found() {
    let text = "fn main() {\n    let x: u8 = unknown_function_of_nobody(1, 2);\n    println!(\"{x}\");\n}\n";
    let result = diagnose(text, "rustc main.rs -o main");
    assert!(matches!(result, Err(AgentError::NotFound { .. })));
}

#[test]
fn what_compiles_is_left_alone() {
    let result = diagnose("fn main() {}\n", "rustc main.rs -o main");
    assert!(matches!(result, Err(AgentError::NothingWrong(_))));
}
