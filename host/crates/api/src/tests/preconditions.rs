//! Entity tags: reading again, and acting on what was read and on nothing else.

use super::reply::Reply;
use super::world::World;
use crate::routes::{ROUTES, Verb};
use crate::{Route, openapi_document};
use axum::body::Body;
use axum::http::{Request, header};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::issue::{Priority, Severity};
use selfheal_domain::ledger::Seen;
use selfheal_domain::user::{Role, UserName};
use selfheal_pipeline::desk::{Caller, DeskError};
use serde_json::{Value, json};

fn tag_of(reply: &Reply) -> String {
    assert!(reply.status.is_success(), "{}", reply.text);
    let tag = reply.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    tag
}

async fn send(
    world: &World,
    who: &str,
    method: &str,
    path: &str,
    body: Value,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(
        header::AUTHORIZATION,
        format!("Bearer {}", world.token(who)),
    );
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        Body::empty()
    } else {
        request = request.header(header::CONTENT_TYPE, "application/json");
        Body::from(body.to_string())
    };
    world.send(request.body(body).unwrap()).await
}

/// A path of the route with things that exist.
fn place(route: &Route, issue: u64) -> String {
    let place = route.path.replace("{issue}", &issue.to_string());
    let place = place.replace("{name}", "web").replace("{index}", "0");
    place.replace("{number}", "7").replace("{module}", "odd")
}

/// The body that the document shows as an example.
fn example(route: &Route) -> Value {
    let document = openapi_document("1");
    let operation = &document["paths"][route.path][route.verb.as_str().to_ascii_lowercase()];
    operation["requestBody"]["content"]["application/json"]["example"].clone()
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again_until_it_changes() {
    let world = World::new();
    let number = world.report("ada").await;
    let mut walked = 0;
    for route in ROUTES.iter().filter(|route| route.has_tag()) {
        let path = place(route, number);
        let reply = world.get("admin", &path).await;
        if !reply.status.is_success() {
            continue;
        }
        walked += 1;
        let known = [("if-none-match", &*tag_of(&reply))];
        let again = send(&world, "admin", "GET", &path, Value::Null, &known).await;
        let volatile = again.status == 200 && again.text != reply.text;
        assert!(volatile || again.status == 304, "{path}: {}", again.status);
        if !volatile {
            assert_eq!(
                (&*again.text, tag_of_unchanged(&again)),
                ("", tag_of(&reply))
            );
        }
    }
    assert!(walked > 12, "{walked} routes with tags");

    let path = format!("/api/v1/issues/{number}");
    let (mine, theirs) = (
        world.get("ada", &path).await,
        world.get("admin", &path).await,
    );
    let seen = tag_of(&mine);
    let weak = format!("W/{seen}, \"x\"");
    let headers = [("if-none-match", weak.as_str())];
    let again = send(&world, "ada", "GET", &path, Value::Null, &headers).await;
    assert_eq!(again.status, 304, "reading compares weakly");
    let more = json!({ "content": "It also happens with two items." });
    world
        .call("ada", "POST", &format!("{path}/comments"), more)
        .await;
    let changed = send(&world, "ada", "GET", &path, Value::Null, &headers).await;
    assert_eq!(changed.status, 200);
    assert_ne!(tag_of(&changed), seen);
    assert_ne!(tag_of(&world.get("admin", &path).await), tag_of(&theirs));
    for wrong in ["x", "\"x", ""] {
        let headers = [("if-none-match", wrong)];
        let reply = send(&world, "ada", "GET", &path, Value::Null, &headers).await;
        reply.problem(400);
    }
}

fn tag_of_unchanged(reply: &Reply) -> String {
    assert!(reply.headers.get("content-type").is_none());
    reply.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_call_acts_on_what_changed_since_it_was_read() {
    let world = World::new();
    let number = world.report("ada").await;
    let path = format!("/api/v1/issues/{number}");
    let stale = tag_of(&world.get("admin", &path).await);
    let comment = json!({ "content": "Please wait." });
    world
        .call("ada", "POST", &format!("{path}/comments"), comment)
        .await;
    let head = world.ledger.store().head().0;
    let switch = tag_of(&world.get("admin", "/api/v1/autonomy").await);
    let mut walked = Vec::new();
    for route in ROUTES.iter().filter(|route| route.takes_if_match()) {
        let of_issue = route.has_issue();
        let stale = if of_issue { &*stale } else { "\"3-3-1.0\"" };
        for never in [stale, "\"nonsense\"", &format!("W/{switch}")] {
            let headers = [("if-match", never)];
            let (verb, path) = (route.verb.as_str(), place(route, number));
            let reply = send(&world, "admin", verb, &path, example(route), &headers).await;
            let (detail, _) = reply.problem(412);
            assert!(detail.contains("changed since"), "{path}: {detail}");
        }
        walked.push(route.name);
    }
    walked.sort_unstable();
    assert_eq!(
        walked,
        [
            "abortIssue",
            "activatePolicies",
            "approveIssue",
            "approvePatch",
            "comment",
            "confirmPolicyProposal",
            "endPolicyTrial",
            "freeze",
            "grantPolicyRule",
            "promotePolicyTrial",
            "rejectIssue",
            "rejectPatch",
            "relateIssue",
            "releasePolicyModule",
            "reloadService",
            "restartService",
            "retryIssue",
            "revokePolicyGrant",
            "rollBackPolicies",
            "setAutonomy",
            "snoozeIssue",
            "startService",
            "stopService",
            "triageIssue",
            "unfreeze",
            "wakeIssue",
            "withdrawPolicyProposal"
        ]
    );
    assert_eq!(world.ledger.store().head().0, head, "nothing is on record");
    assert!(world.control.asked().is_empty(), "no policy is touched");

    // With the tag of what is there now, of either view of it, or of anything.
    let body = json!({ "priority": "P0" });
    for way in ["own", "another view", "any"] {
        let tag = match way {
            "own" => tag_of(&world.get("admin", &path).await),
            "any" => "*".to_owned(),
            _ => format!("\"0\", {}", tag_of(&world.get("ada", &path).await)),
        };
        let headers = [("if-match", tag.as_str())];
        let place = format!("{path}/priority");
        let done = send(&world, "admin", "PATCH", &place, body.clone(), &headers).await;
        let now = world.get("admin", &path).await;
        assert_eq!(
            tag_of(&done),
            tag_of(&now),
            "what it answers is what is there"
        );
        assert_eq!(done.headers["content-location"], path.as_str());
        let old = send(&world, "admin", "PATCH", &place, body.clone(), &headers).await;
        let ends = if tag == "*" { 200 } else { 412 };
        assert_eq!(old.status, ends);
    }
    let wrong = [("if-match", "7")];
    let place = format!("{path}/approve");
    let reply = send(&world, "admin", "PATCH", &place, json!({}), &wrong).await;
    reply.problem(400);
}

#[tokio::test]
async fn the_autonomy_switch_is_set_as_it_was_seen() {
    let world = World::new();
    let body = |level: u8| json!({ "level": level, "reason": "because" });
    let seen = tag_of(&world.get("admin", "/api/v1/autonomy").await);
    let headers = [("if-match", seen.as_str())];
    let set = |level: u8| {
        send(
            &world,
            "admin",
            "PUT",
            "/api/v1/autonomy",
            body(level),
            &headers,
        )
    };
    assert_eq!(set(1).await.status, 200);
    set(2).await.problem(412);
    let freeze = json!({ "reason": "wait" });
    let frozen = world.call("admin", "POST", "/api/v1/freeze", freeze.clone());
    let frozen = tag_of(&frozen.await);
    let headers = [("if-match", frozen.as_str())];
    let unfrozen = send(
        &world,
        "admin",
        "DELETE",
        "/api/v1/freeze",
        freeze.clone(),
        &headers,
    );
    assert_eq!(unfrozen.await.status, 200);
    let again = send(
        &world,
        "admin",
        "DELETE",
        "/api/v1/freeze",
        freeze,
        &headers,
    );
    again.await.problem(412);
}

#[tokio::test]
async fn services_and_policies_are_acted_on_as_they_were_seen() {
    let world = World::new();
    let reason = json!({ "reason": "because" });
    for (read, act, body) in [
        (
            "/api/v1/services/web",
            "/api/v1/services/web/restart",
            json!({}),
        ),
        ("/api/v1/policies", "/api/v1/policies/trial/end", reason),
    ] {
        let seen = tag_of(&world.get("admin", read).await);
        let headers = [("if-match", seen.as_str())];
        let done = send(&world, "admin", "POST", act, body.clone(), &headers).await;
        assert_eq!(done.status, 200, "{}", done.text);
        // Where nothing changed by it, the version in the answer is the one that was seen.
        let version = |tag: &str| tag.split('.').next().unwrap().to_owned();
        assert_eq!(version(&tag_of(&done)), version(&seen), "{act}");
    }
    let operated = world.get("admin", "/api/v1/audit").await.text;
    assert!(operated.contains("service.operated"), "{operated}");
}

/// A call that goes by no version says so instead of acting regardless.
#[tokio::test]
async fn a_call_without_versions_refuses_if_match() {
    let world = World::new();
    let headers = [("if-match", "\"1.0\"")];
    let report = json!({ "title": "t", "description": "d" });
    let reply = send(
        &world,
        "ada",
        "POST",
        "/api/v1/issues",
        report.clone(),
        &headers,
    )
    .await;
    reply.problem(412);
    let headers = [("if-none-match", "*")];
    let reply = send(&world, "ada", "POST", "/api/v1/issues", report, &headers).await;
    reply.problem(412);
    let listed = world.get("ada", "/api/v1/issues").await.json();
    assert_eq!(listed["items"], json!([]));
}

/// The check and the record are one step: of many who saw the same, one acts.
#[tokio::test]
async fn of_many_who_saw_the_same_one_acts() {
    let world = World::new();
    let number = world.report("ada").await;
    let desk = &world.state.0.desk;
    let caller = Caller {
        name: UserName::new("admin").unwrap(),
        role: Role::Admin,
    };
    for _ in 0..20 {
        let issue = desk.issue(&caller, &number.to_string()).unwrap();
        let expecting = desk.expecting(Seen::new([issue.version.to_string()]));
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let act = |priority| {
                let (desk, caller) = (&expecting, &caller);
                scope.spawn(move || {
                    let severity = Some(Severity::High);
                    desk.triage(caller, &number.to_string(), severity, Some(priority))
                })
            };
            let all = [Priority::P0, Priority::P1, Priority::P2, Priority::P3].map(act);
            all.map(|thread| thread.join().unwrap()).into()
        });
        let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        for refused in refused {
            assert!(matches!(refused, Err(DeskError::Stale(_))), "{refused:?}");
        }
        let now = world.ledger.store().issue(IssueNumber(number)).unwrap();
        assert_eq!(now.unwrap().version, issue.version + 1);
    }
}

#[test]
fn reading_takes_no_if_match() {
    for route in ROUTES {
        assert!(!(route.takes_if_match() && route.verb == Verb::Get));
    }
}
