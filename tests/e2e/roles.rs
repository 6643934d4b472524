//! Roles and states through HTTP.

use crate::programs::cart;
use selfheal_tests::TestHost;
use serde_json::json;

#[test]
fn roles_and_states_are_enforced() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    let bob = host.user(&project, "bob", "user");
    let eve = host.user(&project, "eve", "guest");
    let sue = host.user(&project, "sue", "auditor");
    let number = host.report(&ann, "The discount starts too late");
    let issue = format!("/issues/{number}");
    let status =
        |token: &str, method: &str, path: &str| host.send(token, method, path, None).status;

    assert_eq!(status("", "GET", "/issues"), 401);
    assert_eq!(status("sfh_wrong", "GET", "/issues"), 401);
    assert_eq!(status(&ann, "GET", &issue), 200);
    assert_eq!(
        status(&bob, "GET", &issue),
        404,
        "somebody else's issue does not exist"
    );
    assert_eq!(status(&sue, "GET", &issue), 200);
    assert_eq!(status(&eve, "GET", "/issues"), 403);
    assert_eq!(status(&ann, "PATCH", &format!("{issue}/approve")), 403);
    assert_eq!(status(&sue, "PATCH", &format!("{issue}/approve")), 403);
    assert_eq!(status(&ann, "GET", "/audit"), 403);
    assert_eq!(status(&sue, "GET", "/audit"), 200);
    assert_eq!(status(&host.admin, "GET", "/issues/999"), 404);

    let listed = host.send(&bob, "GET", "/issues", None);
    assert_eq!(listed.body["items"], json!([]));
    let problem = host.send(
        &ann,
        "POST",
        "/issues",
        Some(json!({ "title": "", "description": "x" })),
    );
    assert_eq!(
        (problem.status, problem.content_type.as_str()),
        (422, "application/problem+json")
    );
    assert_eq!(problem.body["errors"][0]["field"], "title");
    let unknown = host.send(
        &ann,
        "POST",
        "/issues",
        Some(json!({ "title": "x", "description": "y", "colour": 1 })),
    );
    assert_eq!(unknown.status, 422, "{unknown:?}");

    host.admin(
        "PATCH",
        &format!("{issue}/reject"),
        Some(json!({ "reason": "works as designed" })),
    );
    assert_eq!(
        status(&host.admin, "PATCH", &format!("{issue}/approve")),
        409,
        "a rejected issue stays rejected"
    );
    let seen = host.send(&ann, "GET", &issue, None);
    assert_eq!(seen.body["status"], "REJECTED");
    assert_eq!(seen.body["rejectionReason"], "works as designed");
    let above = host.send(
        &host.admin,
        "PUT",
        "/autonomy",
        Some(json!({ "level": 4, "reason": "x" })),
    );
    assert_eq!(above.status, 422);
}

#[test]
fn tokens_with_scopes_are_made_and_revoked_beside_a_host_and_without_one() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let outside = project.outside();
    let run = |arguments: &[&str]| {
        let arguments = [&["user", "token"][..], arguments].concat();
        project.selfheal_in(&outside, &arguments)
    };
    host.user(&project, "ann", "user");
    host.user(&project, "max", "admin");
    let add = |arguments: &[&str]| {
        let made = run(arguments);
        assert_eq!((made.code, made.stdout.lines().count()), (0, 1), "{made:?}");
        made.stdout.trim().to_owned()
    };
    let reader = add(&["add", "max", "reads", "--scope", "read", "--days", "30"]);
    let reporter = add(&["add", "ann", "ci", "--scope", "report"]);
    let number = host.report(&reporter, "The discount starts too late");
    let issue = format!("/issues/{number}");
    assert_eq!(host.send(&reader, "GET", &issue, None).status, 200);
    let refused = host.send(&reader, "PATCH", &format!("{issue}/approve"), None);
    assert_eq!(refused.status, 403);
    assert!(refused.text("detail").contains("triage"), "{refused:?}");
    assert_eq!(host.send(&reporter, "GET", &issue, None).status, 403);
    let beyond = run(&["add", "ann", "more", "--scope", "triage"]);
    assert_eq!(beyond.code, 1, "{beyond:?}");
    assert!(
        beyond.stderr.contains("role user cannot hold triage"),
        "{beyond:?}"
    );
    let unknown = run(&["add", "ann", "more", "--scope", "everything"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("policies"), "{unknown:?}");

    let listed = |name: &str| run(&["list", name, "--json"]).json()["items"].clone();
    let tokens = listed("max");
    assert_eq!(tokens[1]["name"], "reads");
    assert!(tokens[1]["lastUsedAt"].is_string(), "{tokens}");
    let id = tokens[1]["id"].as_str().unwrap_or_default().to_owned();
    assert!(run(&["list", "max"]).stdout.contains(&id));

    // Over a restart its use is still known, by the day; and without a host it is revoked.
    let admin = host.kill();
    assert!(listed("max")[1]["lastUsedAt"].is_string());
    assert_eq!(run(&["revoke", "max", &id]).code, 0);
    assert_eq!(run(&["revoke", "max", &id]).code, 1, "it is gone");
    let offline = add(&["add", "max", "offline", "--scope", "triage"]);
    let host = TestHost::restart(&project, admin);
    assert_eq!(host.send(&reader, "GET", &issue, None).status, 401);
    let approved = host.send(&offline, "PATCH", &format!("{issue}/approve"), None);
    assert_eq!(approved.status, 200, "{approved:?}");
    let log = project
        .selfheal_in(&outside, &["audit", "log", "--json"])
        .stdout;
    for part in ["token.created", "token.used", "token.revoked"] {
        assert!(log.contains(part), "{part} is on record");
    }
    for secret in [&reader, &reporter, &offline] {
        assert!(!log.contains(secret.as_str()));
    }
}

#[test]
fn accounts_are_changed_beside_a_host_and_without_one() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let outside = project.outside();
    let run = |arguments: &[&str]| {
        let arguments = [&["user"][..], arguments].concat();
        project.selfheal_in(&outside, &arguments)
    };
    let set = |name: &str, password: &str| {
        let fed = format!("{password}\n");
        project.selfheal_fed(&outside, &["user", "password", name], &[], fed.as_bytes())
    };
    let ann = host.user(&project, "ann", "user");
    let status = |host: &TestHost| host.send(&ann, "GET", "/session", None).status;
    let enters = |host: &TestHost, password: &str| {
        let body = json!({ "username": "ann", "password": password });
        host.send("", "POST", "/session", Some(body)).status
    };

    let done = run(&["role", "ann", "auditor", "--json"]);
    assert_eq!(done.json()["role"], "auditor", "{done:?}");
    assert_eq!(set("ann", "too short").code, 1);
    assert_eq!(set("ann", "correct horse battery").code, 0);
    assert_eq!(enters(&host, "correct horse battery"), 200);
    assert_eq!(run(&["disable", "ann"]).code, 0);
    assert_eq!(
        (status(&host), enters(&host, "correct horse battery")),
        (401, 401)
    );
    for refused in [&["disable", "admin"][..], &["role", "admin", "user"]] {
        let ran = run(refused);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("only admin who can log in"), "{ran:?}");
    }
    let listed = run(&["list"]);
    let line = listed.stdout.lines().find(|line| line.starts_with("ann "));
    assert!(
        line.is_some_and(|line| line.contains("disabled")),
        "{listed:?}"
    );

    // The same without a host, and over its start.
    let admin = host.kill();
    let before = run(&["list", "--json"]).json();
    assert_eq!(before["items"][1]["standing"], "disabled", "{before}");
    assert_eq!(run(&["disable", "admin"]).code, 1);
    assert_eq!(set("ann", "too short").code, 2);
    assert_eq!(run(&["enable", "ann"]).code, 0);
    assert_eq!(set("ann", "a battery of horses").code, 0);
    assert_eq!(run(&["role", "ann", "user"]).code, 0);
    let host = TestHost::restart(&project, admin);
    assert_eq!(status(&host), 200);
    assert_eq!(enters(&host, "correct horse battery"), 401);
    assert_eq!(enters(&host, "a battery of horses"), 200);
    let audit = host.admin("GET", "/audit?limit=200", None);
    let changes = (audit["items"].as_array().unwrap().iter())
        .filter(|item| item["type"] == "user.changed" && item["actor"] == "operator");
    assert_eq!(changes.count(), 6);
    let log = project
        .selfheal_in(&outside, &["audit", "log", "--json"])
        .stdout;
    assert!(!log.contains("battery"), "no password is on record");
}

#[test]
fn a_freeze_holds_until_an_admin_or_the_operator_lifts_it() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    let outside = project.outside();
    let run = |arguments: &[&str]| project.selfheal_in(&outside, arguments);
    let frozen = |host: &TestHost| host.admin("GET", "/autonomy", None)["frozen"].clone();

    // Beside the host, without a token: whoever operates it.
    let told = run(&["freeze", "--reason", "a release goes out", "--json"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(told.json()["frozen"], true, "{told:?}");
    let doctor = run(&["doctor"]);
    assert!(doctor.stdout.contains("selfheal unfreeze"), "{doctor:?}");
    let number = host.report(&ann, "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let url = host.url().to_owned();
    let by = ["--url", &url, "--token", &ann];
    let refused = run(&[&["unfreeze", "--reason", "please"][..], &by].concat());
    assert_eq!(refused.code, 3, "a user may not: {refused:?}");
    let silent = run(&["unfreeze", "--reason", ""]);
    assert_eq!(silent.code, 2, "not without a reason: {silent:?}");

    let admin = host.kill();
    let host = TestHost::restart(&project, admin);
    assert_eq!(frozen(&host), true, "over a restart");
    let issue = host.admin("GET", &format!("/issues/{number}"), None);
    assert_eq!(issue["status"], "APPROVED", "nothing started: {issue}");

    let url = host.url().to_owned();
    let by = ["--url", &url, "--token", &host.admin];
    let lifted = run(&[&["unfreeze", "--reason", "the release is out"][..], &by].concat());
    assert_eq!(lifted.code, 0, "{lifted:?}");
    assert!(lifted.stdout.contains("healing goes on"), "{lifted:?}");
    assert_eq!(frozen(&host), false);
    host.wait_for(number, &["DIAGNOSED", "ESCALATED"]);
    let log = run(&["audit", "log", "--json"]).stdout;
    for part in ["freeze.changed", "a release goes out", "the release is out"] {
        assert!(log.contains(part), "{part} is on record");
    }
}
