//! `policy bench` and `policy inspect`: what a module costs and what it is.

use crate::programs::cart;
use crate::registry::module;
use selfheal_tests::{Project, Ran};
use serde_json::Value;
use std::path::Path;

fn run(project: &Project, arguments: &[&str]) -> Ran {
    project.selfheal_in(&project.outside(), arguments)
}

fn bench(project: &Project, more: &[&str]) -> Ran {
    let all = ["policy", "bench", "no-python.wasm", "--seconds", "0.05"];
    run(project, &[&all[..], more].concat())
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}

#[test]
fn a_bench_measures_every_question_and_fails_over_a_budget() {
    let project = cart();
    module(&project);
    let measured = bench(&project, &["--json", "--budget-us", "1000000"]);
    assert_eq!(measured.code, 0, "{measured:?}");
    let report = measured.json();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["kind"], "guardrail");
    assert!(positive(&report["compileMs"]) && positive(&report["fromCacheMs"]));
    let questions = report["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 4, "{report}");
    for question in questions {
        for field in ["p50Us", "p99Us", "timesFloor", "perSecond", "memoryBytes"] {
            assert!(positive(&question[field]), "{field} of {question}");
        }
        assert!(positive(&question["floor"]["p50Us"]), "{question}");
        assert!(
            question["p50Us"].as_f64() <= question["p99Us"].as_f64(),
            "{question}"
        );
    }

    for budget in ["--budget-us", "--budget-p99-us"] {
        let over = bench(&project, &["--json", budget, "0.01"]);
        assert_eq!(over.code, 1, "{over:?}");
        let report = over.json();
        assert_eq!(report["ok"], false, "{report}");
        assert_eq!(report["overBudget"].as_array().map(Vec::len), Some(4));
    }
    let told = bench(&project, &["--budget-us", "0.01"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.stdout.matches("over budget: ").count(), 4, "{told:?}");

    let wrong = run(
        &project,
        &["policy", "bench", "no-python.wasm", "--seconds", "100"],
    );
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/policies");
    let trap = fixtures.join("trap.wat").display().to_string();
    let faulty = run(&project, &["policy", "bench", &trap, "--seconds", "0.05"]);
    assert_eq!(faulty.code, 1, "a fault is no answer: {faulty:?}");
    assert!(faulty.stderr.contains("the module trapped"), "{faulty:?}");
}

#[test]
fn an_inspection_says_what_a_module_is_without_believing_it() {
    let project = cart();
    module(&project);
    let inspect = |more: &[&str]| {
        let ran = run(&project, &[&["policy", "inspect"][..], more].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    };
    let report = inspect(&["no-python.wasm", "--json"]).json();
    for (field, expected) in [
        ("name", "line-1-guardrail"),
        ("version", "1.0.0"),
        ("kind", "guardrail"),
        ("line", "1.0.0"),
    ] {
        assert_eq!(report[field], expected, "{report}");
    }
    assert!(report["signature"].is_null(), "{report}");
    assert!(
        report["imports"]
            .to_string()
            .contains("selfheal:policy/host")
    );
    assert!(report["settingsSchema"]["properties"]["word"].is_object());
    assert_eq!(report["examples"].as_array().map(Vec::len), Some(4));
    let size = std::fs::metadata(project.outside().join("no-python.wasm"));
    assert_eq!(report["bytes"].as_u64(), Some(size.unwrap().len()));

    let keygen = ["policy", "keygen", "alice.pem", "--json"];
    let key = run(&project, &keygen).json();
    let sign = [
        "policy",
        "sign",
        "no-python.wasm",
        "--key",
        "alice.pem",
        "--json",
    ];
    let signed = run(&project, &sign).json();
    assert_eq!(report["sha256"], signed["sha256"], "{signed}");
    let told = inspect(&["no-python.wasm"]).stdout;
    let claimed = "detached and claims key ";
    assert!(told.contains(claimed), "{told}");
    assert!(told.contains(signed["sha256"].as_str().unwrap()), "{told}");
    assert!(
        key["key"]
            .as_str()
            .is_some_and(|key| key.starts_with("ed25519:"))
    );

    let bundled = inspect(&["shell-guard"]).stdout;
    assert!(bundled.contains("built into this binary"), "{bundled}");
    let nonsense = project.outside().join("nonsense.wasm");
    std::fs::write(&nonsense, b"\0asm nonsense").unwrap();
    let refused = run(&project, &["policy", "inspect", "nonsense.wasm"]);
    assert_eq!(refused.code, 1, "{refused:?}");
}
