//! The whole walk over HTTP: report, approve, review, heal, audit.

use crate::programs::{TEST_COMMAND, cart, healed_cart};
use selfheal_tests::TestHost;
use serde_json::json;

#[test]
fn an_issue_is_healed_after_two_human_decisions() {
    let project = cart();
    // The live tree is dirty: none of it may get lost.
    project.write("notes.txt", "one\nmine, uncommitted\n");
    project.write("untracked.txt", "mine\n");
    let status = project.git(&["status", "--porcelain"]);
    let host = TestHost::start(&project, |config, _| {
        assert!(config.contains(TEST_COMMAND), "{config}")
    });
    let ann = host.user(&project, "ann", "user");
    host.level(1);
    let number = host.report(&ann, "The discount starts too late");

    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["PATCH_PENDING", "ESCALATED"]);
    assert_eq!(issue["status"], "PATCH_PENDING", "{issue}");
    assert_eq!(
        project.git(&["status", "--porcelain"]),
        status,
        "nothing is applied yet"
    );
    let branch = format!("selfheal/issue-{number}/run-1");
    assert!(
        project
            .git(&["branch", "--list", &branch])
            .contains(&branch)
    );

    let patch = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let wrong = json!({ "patchDigest": "0".repeat(64) });
    let path = format!("/issues/{number}/patch/approve");
    assert_eq!(
        host.send(&host.admin, "PATCH", &path, Some(wrong)).status,
        409
    );
    host.admin(
        "PATCH",
        &path,
        Some(json!({ "patchDigest": patch["patchDigest"] })),
    );
    let issue = host.wait_for(number, &["RESOLVED", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(issue["verificationResult"], "PASS");
    assert!(issue["timeToResolve"].as_u64().is_some());

    assert_eq!(project.read("cart.py"), healed_cart());
    assert_eq!(project.read("notes.txt"), "one\nmine, uncommitted\n");
    assert_eq!(
        project.git(&["status", "--porcelain"]),
        status,
        "uncommitted work is as before"
    );
    let message = project.git(&["log", "-1", "--format=%B", "main"]);
    for trailer in [
        &format!("Selfheal-Issue: {number}"),
        "Selfheal-Kind: heal",
        "Selfheal-Risk: ",
        "Selfheal-Policy: ",
        "Selfheal-Approved-By: admin-",
        "Selfheal-Audit: ",
        "Assisted-by: engine:builtin",
    ] {
        assert!(
            message.contains(trailer),
            "{trailer} is missing in:\n{message}"
        );
    }
    assert!(!message.contains("Signed-off-by"));
    assert_eq!(project.git(&["worktree", "list"]).lines().count(), 1);
    project.git(&["fsck", "--strict"]);

    let verified = project.selfheal_in(&project.outside(), &["audit", "verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let log = project.selfheal_in(
        &project.outside(),
        &["audit", "log", "--issue", &number.to_string()],
    );
    for event in [
        "issue.opened",
        "issue.approved",
        "tool.call",
        "patch.proved",
        "patch.reviewed",
        "apply.started",
    ] {
        assert!(
            log.stdout.contains(event),
            "{event} is missing in:\n{}",
            log.stdout
        );
    }
}

#[test]
fn at_observe_nothing_is_changed() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let admin = host.admin.clone();
    let before = project.read("cart.py");
    let number = host.report(&admin, "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["DIAGNOSED", "ESCALATED"]);
    assert_eq!(issue["status"], "DIAGNOSED", "{issue}");
    assert!(
        issue["rootCause"]
            .as_str()
            .is_some_and(|cause| !cause.is_empty())
    );
    assert_eq!(project.read("cart.py"), before);
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "1");
}

#[test]
fn at_auto_low_a_low_risk_patch_is_applied_without_review() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    host.level(2);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["RESOLVED", "PATCH_PENDING", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(issue["riskLevel"], "LOW", "{issue}");
    assert_eq!(project.read("cart.py"), healed_cart());

    // What each level would have done with it, asked of the modules in force.
    let outside = project.outside();
    let preview = project.selfheal_in(&outside, &["autonomy", "preview", "--json"]);
    assert_eq!(preview.code, 0, "{preview:?}");
    let preview = preview.json();
    let at = |level: usize| &preview["patches"][0]["levels"][level];
    assert_eq!(preview["patches"][0]["decided"], "apply", "{preview}");
    assert_eq!(at(0)["action"], "stop", "{preview}");
    assert_eq!(
        (&at(1)["action"], &at(1)["reviews"]),
        (&json!("review"), &json!(1)),
        "{preview}"
    );
    assert_eq!(at(2)["action"], "apply", "{preview}");
    assert_eq!(preview["levels"][2]["applied"], 1, "{preview}");
}

#[test]
fn lists_are_asked_for_snoozed_and_kept_on_the_command_line() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    let (one, two) = (
        host.report(&ann, "The discount starts too late"),
        host.report(&host.admin.clone(), "The \"logo\" is small & ünclear"),
    );
    let outside = project.outside();
    let by = |token: &str| [host.url().to_owned(), token.to_owned()];
    let run = |token: &str, arguments: &[&str]| {
        let [url, token] = by(token);
        let by = ["--url", &url, "--token", &token];
        project.selfheal_in(&outside, &[&["issue"], &by[..], arguments].concat())
    };
    let admin = host.admin.clone();
    let list = |token: &str, arguments: &[&str]| -> Vec<u64> {
        let told = run(token, &[&["list", "--json"], arguments].concat());
        assert_eq!(told.code, 0, "{told:?}");
        let items = told.json()["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|it| it["number"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(list(&admin, &["sort:updated", "is:open"]), [two, one]);
    assert_eq!(list(&admin, &["\"logo\" \"ünclear\""]), [two]);
    assert_eq!(list(&admin, &["reported-by:ann", "created:<1h"]), [one]);
    assert_eq!(
        list(&ann, &["--", "-reported-by:me"]),
        [0; 0],
        "ann's own only"
    );
    let wrong = run(&admin, &["list", "is:gone"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(
        wrong.stderr.contains("\"gone\" is no value of is") && wrong.stderr.contains("waiting"),
        "{wrong:?}"
    );

    let number = one.to_string();
    let snoozed = run(&admin, &["snooze", &number, "--for", "3d"]);
    assert!(snoozed.stdout.contains("snoozed until 20"), "{snoozed:?}");
    assert_eq!(list(&admin, &["--", "-is:snoozed"]), [two]);
    assert_eq!(run(&admin, &["wake", &number]).code, 0);
    assert_eq!(run(&ann, &["snooze", &number]).code, 3, "not for users");
    assert_eq!(run(&admin, &["snooze", &number, "--for", "3"]).code, 2);

    let view = json!({ "query": "is:waiting reported-by:ann", "shared": true });
    host.admin("PUT", "/views/Of%20Ann", Some(view));
    let views = run(&ann, &["views"]);
    assert!(views.stdout.contains("Of Ann: is:waiting"), "{views:?}");
    assert_eq!(list(&admin, &["--view", "Of Ann", "--", "-logo"]), [one]);
    let unknown = run(&admin, &["list", "--view", "Nothing"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("known: Of Ann"), "{unknown:?}");
}

#[test]
fn a_patch_that_is_sent_back_is_not_proposed_again() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    host.wait_for(number, &["PATCH_PENDING"]);
    let first = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let body = json!({ "reason": "not like this", "redraft": true });
    host.admin(
        "PATCH",
        &format!("/issues/{number}/patch/reject"),
        Some(body),
    );
    let issue = host.wait_for(number, &["PATCH_PENDING", "ESCALATED"]);
    if issue["status"] == "PATCH_PENDING" {
        let second = host.admin("GET", &format!("/issues/{number}/patch"), None);
        assert_ne!(second["patchDigest"], first["patchDigest"]);
    }
}

#[test]
fn a_waiting_patch_can_be_aborted() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    host.wait_for(number, &["PATCH_PENDING"]);
    let issue = host.admin(
        "POST",
        &format!("/issues/{number}/abort"),
        Some(json!({ "reason": "changed my mind" })),
    );
    assert_eq!(issue["status"], "ABORTED", "{issue}");
    let again = host.send(
        &host.admin,
        "POST",
        &format!("/issues/{number}/abort"),
        Some(json!({ "reason": "x" })),
    );
    assert_eq!(again.status, 409);
}

/// The default of `init` in an application's own directory.
#[test]
fn the_data_directory_may_lie_in_the_repository() {
    let project = cart();
    let app = project.app();
    let ran = project.selfheal_in(&app, &["init", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let admin = ran.json()["token"].as_str().unwrap_or_default().to_owned();
    let host = TestHost::start_in(&project, &app, admin);
    host.level(3);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["RESOLVED", "PATCH_PENDING", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(project.read("cart.py"), healed_cart());
    let status = project.git(&["status", "--porcelain"]);
    assert_eq!(
        status, "?? policy.toml\n?? selfheal.toml\n",
        "the data directory hides itself"
    );
}
