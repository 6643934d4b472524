//! The host is killed in the middle of a heal.

use crate::programs::{cart, healed_cart};
use selfheal_tests::TestHost;
use std::time::Duration;

#[test]
fn a_killed_host_loses_nothing_acknowledged_and_finishes_after_its_next_start() {
    for states in [["DIAGNOSING", "DIAGNOSED"], ["PATCHING", "VERIFYING"]] {
        let project = cart();
        let before = project.read("cart.py");
        let host = TestHost::start(&project, |config, _| {
            *config = config.replace("watch_seconds = 2.0", "watch_seconds = 0.5");
        });
        host.level(3);
        let number = host.report(&host.admin.clone(), "The discount starts too late");
        host.admin("PATCH", &format!("/issues/{number}/approve"), None);
        // It may be over before we look: then the kill comes after the end, which must
        // be harmless as well.
        let seen = selfheal_tests::eventually("work has begun", Duration::from_secs(60), || {
            let issue = host.admin("GET", &format!("/issues/{number}"), None);
            let status = issue["status"].as_str().unwrap_or_default().to_owned();
            (states.contains(&status.as_str()) || status == "RESOLVED").then_some(status)
        });
        let admin = host.kill();
        let now = project.read("cart.py");
        assert!(
            now == before || now == healed_cart(),
            "killed while {seen}: a file is half written:\n{now}"
        );

        let host = TestHost::restart(&project, admin);
        let issue = host.wait_for(number, &["RESOLVED", "ESCALATED"]);
        assert_eq!(issue["status"], "RESOLVED", "killed while {seen}: {issue}");
        assert_eq!(project.read("cart.py"), healed_cart());
        assert_eq!(project.git(&["status", "--porcelain"]), "");
        let verified = project.selfheal_in(&project.outside(), &["audit", "verify"]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }
}

#[test]
fn a_second_host_on_the_same_data_is_refused() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let second = project.selfheal_in(&project.outside(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(
        second.stderr.contains(&host.pid().to_string()),
        "it names the holder: {second:?}"
    );
}
