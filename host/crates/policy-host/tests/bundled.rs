//! The bundled modules, as built, under the default `policy.toml`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::policy::{AccessMode, PathAccess, PolicySet};
use selfheal_domain::risk::{AutonomyAction, AutonomyLevel, RiskLevel};
use selfheal_policy_host::{
    ActiveSet, CodeCache, DEFAULT_POLICY_TOML, PolicyEngine, WasmPolicyHost,
};
use std::sync::{Arc, LazyLock};
use support::{STANDARD, bash, bundled, config, context, patch};

/// Compiled once for all tests of this file.
fn host() -> WasmPolicyHost {
    static CODE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let cache = CodeCache::in_directory(CODE.path().join("code"));
    WasmPolicyHost::new(PolicyEngine::new().unwrap(), cache, bundled(&STANDARD))
}

fn active(text: &str) -> Arc<ActiveSet> {
    let host = host();
    host.activate(
        host.prepare(&config(text))
            .unwrap_or_else(|error| panic!("{error}")),
    )
}

#[test]
fn the_default_set_loads_keeps_its_promises_and_works() {
    let set = active(DEFAULT_POLICY_TOML);
    assert_eq!(set.modules().len(), 5);
    assert!(
        set.settings_schema("patch-guard")
            .unwrap()
            .contains("max_files")
    );

    for command in [
        "python3 -m pytest -q",
        "node --test",
        "make test",
        "git status --short",
    ] {
        let judgement = set.judge_tool_call(&context(), &bash(command));
        assert_eq!(
            judgement.verdict.strictness(),
            0,
            "{command}: {judgement:?}"
        );
    }
    for command in [
        "rm -rf build",
        "sudo ls",
        "git push origin main",
        "pip install x",
        "curl https://example.org",
    ] {
        let judgement = set.judge_tool_call(&context(), &bash(command));
        assert_eq!(
            judgement.verdict.strictness(),
            2,
            "{command}: {judgement:?}"
        );
    }

    let fix = patch("shop/cart.py", "return a - b", "return a + b");
    assert_eq!(set.judge_patch(&context(), &fix).verdict.strictness(), 0);
    let assessment = set.assess(&context(), &fix);
    assert_eq!(assessment.score.level(), RiskLevel::Low, "{assessment:?}");
    let mut level = context();
    level.level = AutonomyLevel::AutoLow;
    assert_eq!(
        set.decide(&level, &fix, &assessment).action,
        AutonomyAction::Apply
    );
    let danger = patch("shop/cart.py", "return a - b", "return eval(a)");
    assert_eq!(set.judge_patch(&context(), &danger).verdict.strictness(), 2);
}

#[test]
fn a_write_outside_the_workspace_is_denied() {
    let set = active(DEFAULT_POLICY_TOML);
    let mut call = bash("tee /etc/motd");
    call.paths.push(PathAccess {
        path: "/etc/motd".to_owned(),
        relative: None,
        mode: AccessMode::Write,
        certain: true,
        tracked: false,
        protected: false,
        link: None,
    });
    let judgement = set.judge_tool_call(&context(), &call);
    assert_eq!(judgement.verdict.reason().unwrap().rule, "path.outside");
}

#[test]
fn settings_of_the_file_are_in_force_in_every_decision() {
    let text = DEFAULT_POLICY_TOML.replace(
        "source = \"bundled:shell-guard\"",
        "source = \"bundled:shell-guard\"\nsettings = { denied_programs = [\"make\"] }",
    );
    let set = active(&text);
    for _ in 0..3 {
        assert_eq!(
            set.judge_tool_call(&context(), &bash("make test"))
                .verdict
                .strictness(),
            2
        );
        assert_eq!(
            set.judge_tool_call(&context(), &bash("pytest -q"))
                .verdict
                .strictness(),
            0
        );
    }
}

#[test]
fn wrong_settings_refuse_the_set_in_the_modules_words() {
    let text = DEFAULT_POLICY_TOML.replace(
        "source = \"bundled:patch-guard\"",
        "source = \"bundled:patch-guard\"\nsettings = { max_file = 3 }",
    );
    let host = host();
    let error = host.prepare(&config(&text)).err().unwrap().to_string();
    assert!(
        error.contains("`patch-guard`")
            && error.contains("unknown setting `max_file`")
            && error.contains("max_files"),
        "{error}"
    );
}

#[test]
fn runs_of_a_history_do_not_disturb_decisions() {
    let set = active(DEFAULT_POLICY_TOML);
    let mut context = context();
    let id = RunId(uuid::Uuid::from_u128(7));
    context.run = Some(RunRef {
        issue: IssueNumber(1),
        run: RunNumber(1),
        id,
    });
    for _ in 0..70 {
        assert_eq!(
            set.judge_tool_call(&context, &bash("ls"))
                .verdict
                .strictness(),
            0
        );
    }
}
