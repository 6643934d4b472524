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
