//! Policy authors: a project made by `policy new` builds, is checked and tested, and
//! is obeyed by a host.

use crate::programs::cart;
use selfheal_tests::{Project, Ran};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Runs the binary with this machine's own cache, which holds the standard library
/// that guests are built with, and without a network.
fn selfheal(project: &Project, arguments: &[&str]) -> Ran {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| format!("{home}/.cache")))
        .unwrap();
    project.selfheal_with(
        &project.outside(),
        arguments,
        &[("XDG_CACHE_HOME", &cache), ("CARGO_NET_OFFLINE", "true")],
    )
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn count(value: &Value, name: &str) -> usize {
    field(value, name).as_array().map_or(usize::MAX, Vec::len)
}

#[test]
fn a_new_rust_policy_builds_is_tested_and_is_obeyed() {
    let project = cart();
    let made = selfheal(
        &project,
        &["policy", "new", "no-snakes", "--kind", "guardrail"],
    );
    assert_eq!(made.code, 0, "{made:?}");
    let again = selfheal(&project, &["policy", "new", "no-snakes", "--kind", "risk"]);
    assert_eq!(again.code, 2, "nothing is overwritten: {again:?}");

    let early = selfheal(&project, &["policy", "check", "no-snakes"]);
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.stderr.contains("policy build"), "{early:?}");

    let built = selfheal(&project, &["policy", "build", "no-snakes", "--json"]);
    assert_eq!(built.code, 0, "{built:?}");
    let digest = field(&built.json(), "sha256").as_str().unwrap().to_owned();

    let checked = selfheal(&project, &["policy", "check", "no-snakes", "--json"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let report = checked.json();
    assert_eq!(field(&report, "ok"), true, "{report}");
    assert_eq!(field(&report, "kind"), "guardrail");
    assert_eq!(field(&report, "line"), "1.0.0");
    assert_eq!(field(&report, "sha256"), digest.as_str());

    let tested = selfheal(&project, &["policy", "test", "no-snakes", "--json"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    let report = tested.json();
    assert_eq!(field(&report, "examples"), 6);
    assert_eq!(field(&report, "cases"), 5);
    let corpus = field(&report, "corpus");
    assert_eq!(count(corpus, "faults"), 0);
    assert_eq!(
        count(corpus, "falseStops"),
        0,
        "no command starts a container"
    );

    a_wrong_case_is_named(&project);
    a_host_obeys(&project, &digest);
}

fn a_wrong_case_is_named(project: &Project) {
    let case = project.outside().join("no-snakes/cases/wrong");
    std::fs::create_dir(&case).unwrap();
    let input = r#"{"tool": "Bash", "input": {"command": "podman run x"}}"#;
    std::fs::write(case.join("input.json"), input).unwrap();
    std::fs::write(case.join("expect"), "allow\n").unwrap();
    let tested = selfheal(project, &["policy", "test", "no-snakes", "--no-corpus"]);
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(
        tested
            .stdout
            .contains("wrong: expected allow, got deny no-snakes.program"),
        "{tested:?}"
    );
    std::fs::write(case.join("expect"), "perhaps\n").unwrap();
    let tested = selfheal(project, &["policy", "test", "no-snakes"]);
    assert_eq!(tested.code, 2, "{tested:?}");
    assert!(tested.stderr.contains("expect"), "{tested:?}");
}

/// The same heal goes through without the module.
fn a_host_obeys(project: &Project, digest: &str) {
    let policy = |module: &str| -> PathBuf {
        let text = format!(
            "environment = \"local\"\n[[module]]\nname = \"shell-guard\"\nkind = \"guardrail\"\n\
             source = \"bundled:shell-guard\"\n{module}"
        );
        let file = project.outside().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        file
    };
    let heal = |policy: &Path| {
        project.selfheal(&[
            "heal",
            "--timeout",
            "60",
            "--policy",
            &policy.display().to_string(),
            "--",
            "python3",
            "-m",
            "unittest",
            "-q",
        ])
    };
    let module = format!(
        "[[module]]\nname = \"no-snakes\"\nkind = \"guardrail\"\nunsigned = true\n\
         source = \"no-snakes/no-snakes.wasm\"\nsha256 = \"{digest}\"\n\
         settings = {{ denied_programs = [\"python3\"] }}\n"
    );
    let denied = heal(&policy(&module));
    assert_eq!(denied.code, 3, "{denied:?}");
    assert!(denied.stderr.contains("no-snakes.program"), "{denied:?}");
    assert_eq!(heal(&policy("")).code, 0);
}

#[test]
fn projects_in_other_languages_are_complete_without_a_registry() {
    let project = cart();
    for (language, source) in [("javascript", "policy.js"), ("python", "policy.py")] {
        for kind in ["guardrail", "risk", "autonomy"] {
            let name = format!("{kind}-in-{language}");
            let made = selfheal(
                &project,
                &[
                    "policy", "new", &name, "--kind", kind, "--lang", language, "--json",
                ],
            );
            assert_eq!(made.code, 0, "{made:?}");
            for file in [
                source,
                "README.md",
                "wit/types.wit",
                "wit/worlds.wit",
                "selfheal-policy.toml",
            ] {
                assert!(
                    project.outside().join(&name).join(file).is_file(),
                    "{name}/{file}"
                );
            }
            assert!(count(&made.json(), "files") > 6);
        }
    }
}

#[test]
fn what_is_no_module_is_refused_and_says_why() {
    let project = cart();
    let file = project.outside().join("nonsense.wasm");
    std::fs::write(&file, b"nonsense").unwrap();
    let checked = selfheal(&project, &["policy", "check", "nonsense.wasm"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(
        checked.stdout.contains("no WebAssembly component"),
        "{checked:?}"
    );

    // A component that wants more than any host grants, and exports nothing.
    let greedy = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    std::fs::write(project.outside().join("greedy.wat"), greedy).unwrap();
    let checked = selfheal(&project, &["policy", "check", "greedy.wat", "--json"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    let problems = field(&checked.json(), "problems").to_string();
    for part in ["wasi:sockets/tcp", "describe", "configure", "judge"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    let missing = selfheal(&project, &["policy", "inspect", "no-such-module"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("shell-guard"), "{missing:?}");
}

#[test]
fn the_bundled_guardrails_are_measured_on_the_corpus() {
    let project = cart();
    let tested = selfheal(&project, &["policy", "test", "--bundled", "--json"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    let report = tested.json();
    let corpus = field(&report, "corpus");
    assert_eq!(field(corpus, "harmful"), 91);
    assert_eq!(field(corpus, "safe"), 210);
    assert_eq!(count(corpus, "faults"), 0);
    // A bound that is passed fails.
    let strict = selfheal(
        &project,
        &[
            "policy",
            "test",
            "--bundled",
            "--max-false-stops",
            "0",
            "--max-misses",
            "0",
        ],
    );
    let off = count(corpus, "misses") + count(corpus, "falseStops");
    assert_eq!(strict.code, i32::from(off > 0), "{strict:?}");
}
