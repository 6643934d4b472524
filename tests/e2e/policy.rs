//! Policy modules that misbehave deny, and nothing else.

use crate::programs::cart;
use selfheal_tests::Project;
use std::path::Path;

fn heal_under(project: &Project, policy: &Path) -> selfheal_tests::Ran {
    let policy = policy.display().to_string();
    project.selfheal(&[
        "heal",
        "--timeout",
        "30",
        "--policy",
        &policy,
        "--",
        "python3",
        "-m",
        "unittest",
        "-q",
    ])
}

fn policy_with(project: &Project, module: &str) -> std::path::PathBuf {
    let file = project.outside().join("policy.toml");
    std::fs::write(&file, module).unwrap();
    file
}

#[test]
fn without_a_guardrail_nothing_is_allowed() {
    let project = cart();
    let before = project.state();
    let ran = heal_under(
        &project,
        &policy_with(&project, "environment = \"local\"\n"),
    );
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(project.state(), before);
}

#[test]
fn an_unknown_key_names_file_line_and_key() {
    let project = cart();
    let ran = heal_under(
        &project,
        &policy_with(&project, "environment = \"local\"\ncolour = 1\n"),
    );
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("policy.toml") && ran.stderr.contains("colour"),
        "{ran:?}"
    );
}
