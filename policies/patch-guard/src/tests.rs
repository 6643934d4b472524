//! The examples, natively, and what cannot be said as an example.

use super::*;
use selfheal_policy_sdk::{check_examples_guardrail, facts};

#[test]
fn every_example_holds() {
    assert!(check_examples_guardrail::<PatchGuard>().unwrap() > 20);
}

#[test]
fn a_secret_is_not_repeated_in_the_reason() {
    let guard = PatchGuard::configure(&Settings::default()).unwrap();
    let secret = ["Tr0ub4dor", "&3xyzq"].concat();
    let line = format!("password = \"{secret}\"");
    let verdict = guard.judge_patch(
        &facts::context(),
        &facts::patch_of(vec![facts::file("a.py", &[], &[&line])]),
    );
    let reason = verdict.reason().unwrap();
    assert_eq!(reason.rule, "patch.secret");
    assert!(!format!("{reason:?}").contains(&secret));
}

#[test]
fn what_the_host_protects_is_protected() {
    let guard = PatchGuard::configure(&Settings::default()).unwrap();
    let mut file = facts::file("a.py", &["a"], &["b"]);
    file.protected = true;
    let verdict = guard.judge_patch(&facts::context(), &facts::patch_of(vec![file]));
    assert_eq!(verdict.reason().unwrap().rule, "patch.protected");
}
