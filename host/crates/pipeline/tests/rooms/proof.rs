//! What counts as proof, and what is seen of the running application.

use crate::support::{BROKEN, Host, World, settings};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::risk::AutonomyLevel::AutoAll;
use selfheal_domain::service::LogError;
use selfheal_domain::state::Phase;
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use std::sync::Arc;
use std::time::Duration;

fn world() -> Arc<World> {
    Arc::new(World::default())
}

fn failing(names: &[&str]) -> (i32, String) {
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("FAIL: {name} (t.T)"))
        .collect();
    (i32::from(!names.is_empty()), lines.join("\n"))
}

/// Evidence of the first proof whose name begins like this.
fn proved(issue: &Issue, name: &str) -> CheckEvidence {
    let proof = issue.runs[0].proof.as_ref().unwrap();
    let found = proof
        .checks
        .iter()
        .find(|check| check.name.starts_with(name));
    found
        .unwrap_or_else(|| panic!("no {name} in {proof:?}"))
        .clone()
}

#[test]
fn a_flaky_reproduction_is_inconclusive() {
    let world = world();
    // Red, then green without the patch: whatever the patch did, this does not show it.
    world.set(|it| it.base_runs = [failing(&["a"]), failing(&[])].into());
    let host = Host::with_issue(&world, AutoAll);
    let issue = host.rest();
    let check = proved(&issue, "check: ");
    assert_eq!(check.result, VerificationResult::Inconclusive, "{check:?}");
    assert!(check.detail.starts_with("is flaky"), "{check:?}");
    // Each time another test: none of them shows anything.
    let world = self::world();
    world.set(|it| it.base_runs = [failing(&["a"]), failing(&["b"])].into());
    let issue = Host::with_issue(&world, AutoAll).rest();
    let check = proved(&issue, "check: ");
    assert_eq!(check.result, VerificationResult::Inconclusive, "{check:?}");
    // And green once with the patch is luck.
    let world = self::world();
    world.set(|it| it.patch_runs = [failing(&[]), failing(&["a"])].into());
    let issue = Host::with_issue(&world, AutoAll).rest();
    let check = proved(&issue, "check: ");
    assert_eq!(check.result, VerificationResult::Inconclusive, "{check:?}");
}

#[test]
fn a_flaky_test_is_shown_and_is_no_witness() {
    let world = world();
    world.set(|it| {
        it.base_runs = [failing(&["a", "shaky"]), failing(&["a"])].into();
        it.patch_runs = [failing(&["shaky"]), failing(&[])].into();
    });
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Resolved);
    let check = proved(&issue, "check: ");
    assert_eq!(check.result, VerificationResult::Pass, "{check:?}");
    assert!(check.detail.contains("\nflaky: shaky (t.T)"), "{check:?}");
}

#[test]
fn a_patch_that_breaks_another_test_of_a_red_suite_is_refuted() {
    // The exit code is the same with and without it: only the names tell.
    let world = world();
    world.set(|it| {
        it.base_runs = [failing(&["a", "old"]), failing(&["a", "old"])].into();
        it.patch_runs = [failing(&["old", "new"])].into();
    });
    let issue = Host::with_issue(&world, AutoAll).rest();
    let check = proved(&issue, "check: ");
    assert_eq!(check.result, VerificationResult::Fail, "{check:?}");
    assert!(check.detail.contains("new (t.T)"), "{check:?}");
}

#[test]
fn a_weakened_test_is_shown_and_reviewed_however_high_the_level() {
    let world = world();
    let lib = "fn f() -> u8 { 1 }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn f() { assert_eq!(super::f(), 2); }\n}\n";
    // The file is no test by its path; what the patch does to it is.
    world.set(|it| {
        it.files.insert("src/lib.rs".to_owned(), lib.to_owned());
        it.bugs.insert(
            1,
            crate::support::Bug {
                path: "src/lib.rs",
                mark: "assert_eq!(super::f(), 2)",
                fix: "assert!(true)",
            },
        );
        // The base's tests judge: it would not be green, so green is forced here.
        it.patch_runs = [failing(&[]), failing(&[])].into();
    });
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::PatchPending);
    let shown = proved(&issue, "tests changed by the patch");
    assert!(
        shown.detail.contains("empties checks: src/lib.rs f"),
        "{shown:?}"
    );
    let decision = issue.run().unwrap().autonomy.clone().unwrap();
    assert!(decision.reason.contains("weakens tests"), "{decision:?}");
    let (_, facts) = world.get(|it| it.assessed[0].clone());
    assert!(facts.files[0].test, "risk modules see a test");
}

#[test]
fn a_patch_of_tests_only_is_no_heal() {
    let world = world();
    world.set(|it| {
        it.files
            .insert("tests/test_a.py".to_owned(), BROKEN.to_owned());
        it.bugs.insert(
            1,
            crate::support::Bug {
                path: "tests/test_a.py",
                mark: "x = 1",
                fix: "x = 2",
            },
        );
    });
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Escalated);
    assert_eq!(proved(&issue, "check: ").result, VerificationResult::Fail);
}

#[test]
fn probes_are_asked_before_and_after() {
    let world = world();
    // Before the patch, then after it: worse.
    world.set(|it| it.next_probes = [true, false].into());
    let host = Host::with_issue(&world, AutoAll);
    let issue = host.rest();
    let seen = |run: usize| {
        let verification = issue.runs[run].verification.as_ref().unwrap();
        let mut checks = verification.checks.iter();
        checks
            .find(|check| check.name == "probe: /")
            .unwrap()
            .clone()
    };
    assert_eq!(issue.runs[0].probes_before.len(), 1);
    assert_eq!(seen(0).result, VerificationResult::Fail);
    assert!(seen(0).detail.contains("worse now"), "{:?}", seen(0).detail);
    assert!(issue.runs[0].rolled_back);

    let world = self::world();
    world.set(|it| it.next_probes = [false, true].into());
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Resolved);
    let verification = issue.runs[0].verification.as_ref().unwrap();
    let probe = verification
        .checks
        .iter()
        .find(|it| it.name == "probe: /")
        .unwrap();
    assert!(probe.detail.contains("did not answer as it should before"));
}

#[test]
fn what_stops_in_the_watch_window_is_undone() {
    let world = world();
    // Before, after, and at the end of the window.
    world.set(|it| it.next_probes = [true, true, false].into());
    let mut watched = settings(AutoAll);
    watched.watch = Duration::from_millis(50);
    let host = Host::new(&world, watched).start();
    host.report();
    host.desk
        .approve(&crate::support::admin("ada"), "1")
        .unwrap();
    let issue = host.rests_in(Phase::Resolved);
    assert!(issue.runs[0].rolled_back, "the second run held");
    let verification = issue.runs[0].verification.as_ref().unwrap();
    let names: Vec<&str> = verification
        .checks
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert!(
        names.contains(&"probe: / (after the watch window)"),
        "{names:?}"
    );
    assert!(names.contains(&"watch"), "{names:?}");
}

#[test]
fn errors_that_are_new_in_a_log_refute() {
    let world = world();
    let error = LogError {
        fingerprint: "00112233aabbccdd".to_owned(),
        file: "web.log".to_owned(),
        line: "ValueError: no such thing".to_owned(),
        text: "Traceback".to_owned(),
        count: 3,
    };
    world.set(|it| it.new_errors = Some(vec![error]));
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Escalated);
    assert!(issue.runs.iter().all(|run| run.rolled_back));
    let verification = issue.runs[0].verification.as_ref().unwrap();
    let found = verification
        .checks
        .iter()
        .find(|it| it.name == "new errors: web")
        .unwrap();
    assert!(
        found.detail.contains("ValueError: no such thing (3 times"),
        "{found:?}"
    );

    // A log that cannot be read vouches for nothing.
    let world = self::world();
    world.set(|it| it.new_errors = None);
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Escalated);
    let verification = issue.runs[0].verification.as_ref().unwrap();
    assert_eq!(verification.result(), VerificationResult::Inconclusive);

    Host::with_issue(&self::world(), AutoAll).rests_in(Phase::Resolved);
}

#[test]
fn no_patch_is_applied_whose_way_back_was_not_tried() {
    let world = world();
    Host::with_issue(&world, AutoAll).rests_in(Phase::Resolved);
    let records = world.records.lock().unwrap();
    let proof = records.iter().find_map(|it| match &it.event {
        Event::PatchProved(proof) => Some(proof.clone()),
        _ => None,
    });
    assert!(
        proof
            .unwrap()
            .checks
            .iter()
            .any(|it| it.name == "rollback rehearsal")
    );
}
