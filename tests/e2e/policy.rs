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

/// The bundled modules allow everything that this heal does; one more that misbehaves
/// must be enough to deny it.
#[test]
fn a_module_that_loops_traps_or_allocates_denies_and_nothing_else() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/policies");
    for (name, fault) in [
        ("endless", "deadline"),
        ("trap", "trapped"),
        ("greedy", "memory"),
    ] {
        let project = cart();
        let before = project.state();
        let source = fixtures.join(format!("{name}.wat"));
        let module = |name: &str, source: &str| {
            format!("[[module]]\nname = \"{name}\"\nkind = \"guardrail\"\nsource = \"{source}\"\n")
        };
        let policy = format!(
            "environment = \"local\"\n{}{}unsigned = true\n",
            module("shell-guard", "bundled:shell-guard"),
            module(name, &source.display().to_string()),
        );
        let ran = heal_under(&project, &policy_with(&project, &policy));
        assert_eq!(ran.code, 3, "{name}: {ran:?}");
        assert!(
            ran.stderr.contains(fault),
            "{name}: the cause is named: {ran:?}"
        );
        assert_eq!(project.state(), before, "{name}");
        let healthy = policy_with(
            &project,
            &format!(
                "environment = \"local\"\n{}",
                module("shell-guard", "bundled:shell-guard")
            ),
        );
        assert_eq!(
            heal_under(&project, &healthy).code,
            0,
            "without {name} the same heal goes through"
        );
    }
}
