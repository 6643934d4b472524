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

#[test]
fn every_rule_has_an_example() {
    let mut seen = std::collections::BTreeSet::new();
    for example in PatchGuard::describe().examples {
        let settings = Settings::parse(example.settings.as_deref().unwrap_or("")).unwrap();
        let guard = PatchGuard::configure(&settings).unwrap();
        let selfheal_policy_sdk::Question::Patch(patch) = &example.question else {
            continue;
        };
        // Every file by itself: one reason must not hide another.
        if let Some(reason) = guard.judge_size(patch).reason() {
            seen.insert(reason.rule.clone());
        }
        for file in &patch.files {
            if let Some(reason) = guard.judge_file(file).reason() {
                seen.insert(reason.rule.clone());
            }
        }
    }
    let sources = [
        include_str!("lib.rs"),
        include_str!("weakening.rs"),
        include_str!("danger/marks.rs"),
    ];
    let mut rules: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(|text| {
            text.strip_prefix("patch.")
                .is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        })
        .collect();
    rules.sort_unstable();
    rules.dedup();
    assert!(rules.len() > 35, "{rules:?}");
    let missing: Vec<&&str> = rules.iter().filter(|rule| !seen.contains(**rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn firm_rules_cannot_be_switched_off() {
    for rule in FIRM {
        let settings = format!(r#"{{"allowed_rules": ["{rule}"]}}"#);
        assert!(PatchGuard::configure(&Settings::parse(&settings).unwrap()).is_err());
    }
}
