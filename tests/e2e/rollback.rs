//! A patch that does not hold in the running application is undone by a commit.

use crate::programs::cart;
use selfheal_tests::TestHost;

#[test]
fn a_failed_verification_ends_in_a_rollback_commit_and_the_tree_as_before() {
    let project = cart();
    project.write(
        "cart.py",
        &format!("# mine, uncommitted\n{}", project.read("cart.py")),
    );
    project.write("notes.txt", "one\nmine, uncommitted\n");
    let (cart_before, status) = (
        project.read("cart.py"),
        project.git(&["status", "--porcelain"]),
    );
    // Nobody listens there, so what the tests prove does not hold outside.
    let probe = "\n[[verification.probe]]\nname = \"shop\"\nurl = \"http://127.0.0.1:9/\"\ntimeout_seconds = 1\n";
    let host = TestHost::start(&project, |config, _| {
        config.push_str(probe);
        *config = config.replace("max_attempts = 3", "max_attempts = 1");
    });
    host.level(3);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["ESCALATED", "RESOLVED"]);
    assert_eq!(issue["status"], "ESCALATED", "{issue}");
    assert_eq!(issue["rolledBack"], true, "{issue}");
    assert_eq!(issue["verificationResult"], "FAIL", "{issue}");

    assert_eq!(project.read("cart.py"), cart_before);
    assert_eq!(project.git(&["status", "--porcelain"]), status);
    let log = project.git(&[
        "log",
        "--format=%(trailers:key=Selfheal-Kind,valueonly)",
        "main",
    ]);
    let kinds: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(kinds, ["rollback", "heal"], "undo is a new commit");
    assert!(
        project
            .git(&["log", "-1", "--format=%B", "main"])
            .contains("Selfheal-Reverts: ")
    );
    assert_eq!(
        project.git(&["diff", "main~2", "main"]),
        "",
        "the branch holds what it held"
    );
    let verified = project.selfheal_in(&project.outside(), &["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
