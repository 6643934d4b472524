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
    let outside = project.outside();
    let verified = project.selfheal_in(&outside, &["audit", "verify", "--git", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let git = &verified.json()["git"];
    assert_eq!(git["mismatches"], serde_json::json!([]), "{git}");
    // Snapshot, draft, heal and rollback.
    assert_eq!(git["commits"], 4, "{git}");
    assert_eq!(git["signed"], 4, "{git}");

    // Plain git believes every one of them, by the list that we print.
    let signers = project.selfheal_in(&outside, &["audit", "signers"]);
    std::fs::write(outside.join("signers"), &signers.stdout).unwrap();
    let believed = format!(
        "gpg.ssh.allowedSignersFile={}",
        outside.join("signers").display()
    );
    let snapshot = format!("refs/selfheal/snapshot/{number}/1");
    let draft = format!("selfheal/issue-{number}/run-1");
    for commit in ["main", "main~1", &snapshot, &draft] {
        project.git(&["-c", &believed, "verify-commit", commit]);
    }
    drop(host);

    // A commit that goes, and one that comes, are found and named.
    let rollback = project.git(&["rev-parse", "main"]).trim().to_owned();
    project.git(&["update-ref", "refs/heads/main", "main~1"]);
    let found = project.selfheal_in(&outside, &["audit", "verify", "--git"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.stdout.contains(&rollback), "{found:?}");
    project.git(&["update-ref", "refs/heads/main", &rollback]);
    let forged = project.git(&[
        "commit-tree",
        "-p",
        "main",
        "-m",
        "heal\n\nSelfheal-Kind: heal",
        "main^{tree}",
    ]);
    project.git(&["update-ref", "refs/heads/side", forged.trim()]);
    let found = project.selfheal_in(&outside, &["audit", "verify", "--git", "--json"]);
    assert_eq!(found.code, 1, "{found:?}");
    let mismatches = &found.json()["git"]["mismatches"];
    assert_eq!(mismatches[0]["commit"], forged.trim(), "{mismatches}");
    assert_eq!(mismatches[0]["kind"], "commit-not-recorded");
}

/// Logs an error of its own always, and another one with the healed cart.
const SERVICE: &str = r#"
[[service]]
name = "shop"
command = "echo ERROR OldTrouble: order $$ waits; if grep -q '>=' cart.py; then echo ERROR NewTrouble: order $$ was refused; fi; echo up; exec sleep 98761"
ready = { log = "up" }
"#;

#[test]
fn a_heal_after_which_a_service_logs_a_new_error_is_rolled_back() {
    let project = cart();
    let before = project.read("cart.py");
    let host = TestHost::start(&project, |config, _| {
        config.push_str(SERVICE);
        *config = config.replace("max_attempts = 3", "max_attempts = 2");
    });
    host.level(3);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["ESCALATED", "RESOLVED"]);
    assert_eq!(issue["status"], "ESCALATED", "{issue}");
    assert_eq!(issue["rolledBack"], true, "{issue}");
    assert_eq!(issue["verificationResult"], "FAIL", "{issue}");
    // The new error did it, and nothing else.
    let details = issue["verificationDetails"].to_string();
    assert!(details.contains("NewTrouble"), "{details}");
    assert!(!details.contains("OldTrouble"), "{details}");
    assert_eq!(project.read("cart.py"), before);
    assert_eq!(project.git(&["diff", "main~2", "main"]), "");
    // The service runs what it ran before.
    let service = host.admin("GET", "/services/shop", None);
    assert_eq!(service["state"], "running", "{service}");
}
