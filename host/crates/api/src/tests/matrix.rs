//! Every route against everybody, and the document against every route.

use super::world::World;
use crate::{ROUTES, Verb, Who, openapi_document};
use axum::http::StatusCode;
use selfheal_domain::token::Scope;
use selfheal_domain::user::Role;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The contract (DESIGN §6.2), written down a second time: who gets past the gate,
/// of nobody, guest, the other user, the issue's reporter, auditor, admin, a hook.
/// `401`, `403`, `404`: refused with it; `deny`: answered with a hook's denial, which
/// is what an agent understands; `ok`: past the gate.
#[rustfmt::skip]
const EXPECTED: &[(&str, &str, [&str; 7])] = &[
    //                                                   nobody guest  bob    ada    audit  admin  hook
    ("GET",    "/",                                     ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/issues",                               ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/issues/{view}",                        ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/policies",                             ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/decisions",                            ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/audit",                                ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/host",                                 ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/people",                               ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/account",                              ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/insights",                             ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/embed/issues/{view}",                  ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/embed.js",                             ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/assets/{file}",                        ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/icon.svg",                             ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/healthz",                              ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/readyz",                               ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/metrics",                              ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/api/v1/openapi.json",                  ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/api/v1/session",                       ["401", "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("DELETE", "/api/v1/session",                       ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/api/v1/session/options",               ["ok",  "ok",  "ok",  "ok",  "ok",  "ok",  "ok"]),
    // Nothing is configured: nobody finds it.
    ("GET",    "/api/v1/session/oidc",                  ["ok",  "ok",  "404", "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/api/v1/session/oidc/callback",         ["ok",  "ok",  "404", "ok",  "ok",  "ok",  "ok"]),
    ("GET",    "/api/v1/issues",                        ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/issues",                        ["401", "403", "ok",  "ok",  "403", "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}",                ["401", "403", "404", "ok",  "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/issues/{issue}/comments",       ["401", "403", "404", "ok",  "403", "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}/events",         ["401", "403", "404", "ok",  "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}/stream",         ["401", "403", "404", "ok",  "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/stream",                        ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("PATCH",  "/api/v1/issues/{issue}/approve",        ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PATCH",  "/api/v1/issues/{issue}/reject",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PATCH",  "/api/v1/issues/{issue}/priority",       ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/issues/{issue}/snooze",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/issues/{issue}/related/{id}",   ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("DELETE", "/api/v1/issues/{issue}/snooze",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/views",                         ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("PUT",    "/api/v1/views/{name}",                  ["401", "403", "ok",  "ok",  "403", "ok",  "403"]),
    ("DELETE", "/api/v1/views/{name}",                  ["401", "403", "404", "ok",  "403", "ok",  "403"]),
    ("POST",   "/api/v1/issues/{issue}/abort",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/issues/{issue}/retry",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}/patch",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PATCH",  "/api/v1/issues/{issue}/patch/approve",  ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PATCH",  "/api/v1/issues/{issue}/patch/reject",   ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/autonomy",                      ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/autonomy/preview",              ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/autonomy",                      ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/freeze",                        ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("DELETE", "/api/v1/freeze",                        ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/services",                      ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/services/{name}",               ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/services/{name}/logs",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/services/{name}/start",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/services/{name}/stop",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/services/{name}/restart",       ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/services/{name}/reload",        ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/users",                         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/users",                         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/users/{name}/close",            ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/users/{name}/role",             ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/users/{name}/password",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/users/{name}/disable",          ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/users/{name}/enable",           ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("PUT",    "/api/v1/account/password",              ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/users/{name}/tokens",           ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("DELETE", "/api/v1/users/{name}/tokens/{token}",   ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/tokens",                        ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/tokens",                        ["401", "403", "ok",  "ok",  "ok",  "ok",  "403"]),
    ("DELETE", "/api/v1/tokens/{token}",                ["401", "403", "404", "ok",  "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/policies",                      ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/policies/text",                       ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/policies/enforcement",                ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/policies/modules",                    ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/plan",                       ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/activate",                   ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/proposals/{number}/confirm", ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("DELETE", "/api/v1/policies/proposals/{number}",         ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/trial/promote",              ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/trial/end",                  ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/rollback",                   ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/quarantine/{module}/release", ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("POST",   "/api/v1/policies/grants",                     ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("DELETE", "/api/v1/policies/grants/{number}",            ["401", "403", "403", "403", "403", "ok",  "403"]),
    ("GET",    "/api/v1/decisions/{id}/explanation",          ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/decisions/{id}/explanation",          ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/audit",                         ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/audit/checkpoint",              ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}/commits",        ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/issues/{issue}/pack",           ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/audit/proof/{index}",           ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/audit/tlog/checkpoint",         ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/audit/tlog/tile/{*tile}",       ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("GET",    "/api/v1/decisions",                     ["401", "403", "403", "403", "ok",  "ok",  "403"]),
    ("POST",   "/api/v1/hook/claude-code",              ["deny", "deny", "deny", "deny", "deny", "deny", "ok"]),
    ("POST",   "/api/v1/hook/codex",                    ["deny", "deny", "deny", "deny", "deny", "deny", "ok"]),
    ("POST",   "/api/v1/hook/gemini",                   ["deny", "deny", "deny", "deny", "deny", "deny", "ok"]),
    ("GET",    "/api/v1/decisions/{id}",                ["401", "403", "403", "403", "ok",  "ok",  "403"]),
];

/// The scope that a token needs for each call, written down a second time. Where nobody
/// needs a token there is none.
#[rustfmt::skip]
const SCOPES: &[(Scope, &[&str])] = &[
    (Scope::Read, &[
        "GET /api/v1/issues", "GET /api/v1/issues/{issue}", "GET /api/v1/issues/{issue}/events",
        "GET /api/v1/issues/{issue}/stream", "GET /api/v1/stream", "GET /api/v1/issues/{issue}/pack",
        "GET /api/v1/issues/{issue}/commits",
        "GET /api/v1/issues/{issue}/patch", "GET /api/v1/autonomy",
        "GET /api/v1/autonomy/preview", "GET /api/v1/views",
        "GET /api/v1/services", "GET /api/v1/services/{name}", "GET /api/v1/services/{name}/logs",
        "GET /api/v1/users", "GET /api/v1/users/{name}/tokens", "GET /api/v1/tokens",
        "GET /api/v1/policies", "GET /api/v1/policies/text", "GET /api/v1/policies/enforcement",
        "GET /api/v1/decisions", "GET /api/v1/decisions/{id}",
        "GET /api/v1/decisions/{id}/explanation", "POST /api/v1/decisions/{id}/explanation",
        "GET /api/v1/audit", "GET /api/v1/audit/checkpoint", "GET /api/v1/audit/proof/{index}",
        "GET /api/v1/audit/tlog/checkpoint", "GET /api/v1/audit/tlog/tile/{*tile}",
    ]),
    (Scope::Report, &[
        "POST /api/v1/issues", "POST /api/v1/issues/{issue}/comments",
        "PUT /api/v1/views/{name}", "DELETE /api/v1/views/{name}",
    ]),
    (Scope::Triage, &[
        "PATCH /api/v1/issues/{issue}/approve", "PATCH /api/v1/issues/{issue}/reject",
        "PATCH /api/v1/issues/{issue}/priority", "POST /api/v1/issues/{issue}/abort",
        "POST /api/v1/issues/{issue}/retry", "PATCH /api/v1/issues/{issue}/patch/approve",
        "PATCH /api/v1/issues/{issue}/patch/reject",
        "PUT /api/v1/issues/{issue}/related/{id}",
        "PUT /api/v1/issues/{issue}/snooze", "DELETE /api/v1/issues/{issue}/snooze",
    ]),
    (Scope::Operate, &[
        "PUT /api/v1/autonomy", "POST /api/v1/freeze", "DELETE /api/v1/freeze",
        "POST /api/v1/services/{name}/start", "POST /api/v1/services/{name}/stop",
        "POST /api/v1/services/{name}/restart", "POST /api/v1/services/{name}/reload",
    ]),
    (Scope::Policies, &[
        "POST /api/v1/policies/modules", "POST /api/v1/policies/plan",
        "POST /api/v1/policies/activate", "POST /api/v1/policies/proposals/{number}/confirm",
        "DELETE /api/v1/policies/proposals/{number}", "POST /api/v1/policies/trial/promote",
        "POST /api/v1/policies/trial/end", "POST /api/v1/policies/rollback",
        "POST /api/v1/policies/quarantine/{module}/release", "POST /api/v1/policies/grants",
        "DELETE /api/v1/policies/grants/{number}",
    ]),
    (Scope::Accounts, &[
        "POST /api/v1/users", "POST /api/v1/users/{name}/close",
        "PUT /api/v1/users/{name}/role", "PUT /api/v1/users/{name}/password",
        "POST /api/v1/users/{name}/disable", "POST /api/v1/users/{name}/enable",
        "PUT /api/v1/account/password",
        "DELETE /api/v1/users/{name}/tokens/{token}", "POST /api/v1/tokens",
        "DELETE /api/v1/tokens/{token}",
    ]),
    (Scope::Hook, &[
        "POST /api/v1/hook/claude-code", "POST /api/v1/hook/codex", "POST /api/v1/hook/gemini",
    ]),
];

/// A place that a route's path stands for.
fn place_of(path: &str, issue: u64, file: &str) -> String {
    [
        ("{issue}", issue.to_string().as_str()),
        ("{name}", "web"),
        ("{id}", "00000000-0000-0000-0000-00000000ffff"),
        ("{number}", "7"),
        ("{module}", "guard"),
        ("{index}", "0"),
        ("{*tile}", "0/000.p/1"),
        ("{token}", "0000000000000000"),
        ("{view}", "open"),
        ("{file}", file),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (name, value)| {
        path.replace(name, value)
    })
}

/// Every call by every token of one scope: an admin's (which the role lets do all but ask
/// as a hook).
#[tokio::test]
async fn every_call_needs_the_scope_that_the_table_names_and_no_other() {
    let world = World::new();
    let number = world.report("admin").await;
    let mut named = BTreeSet::new();
    for held in Scope::of_role(Role::Admin) {
        let order = json!({"name": held.as_str(), "scopes": [held]});
        let made = world.call("admin", "POST", "/api/v1/tokens", order).await;
        let token = made.json()["token"].as_str().unwrap().to_owned();
        for (needed, calls) in SCOPES {
            for call in *calls {
                named.insert((*call).to_owned());
                if *needed == Scope::Hook {
                    continue;
                }
                let (method, path) = call.split_once(' ').unwrap();
                let place = place_of(path, number, "");
                let status = if path.ends_with("/stream") {
                    world.status_of(&token, &place).await
                } else {
                    let body = match method {
                        "GET" => Value::Null,
                        _ => json!({"nonsense": true}),
                    };
                    let reply = world.call(&token, method, &place, body).await;
                    if held != needed {
                        let (detail, _) = reply.problem(403);
                        assert!(detail.contains(needed.as_str()), "{detail}");
                        let challenge = reply.headers["www-authenticate"].to_str().unwrap();
                        let expected = format!("error=\"insufficient_scope\", scope=\"{needed}\"");
                        assert!(challenge.contains(&expected), "{challenge}");
                    }
                    reply.status
                };
                let past = !matches!(status.as_u16(), 401 | 403);
                assert_eq!(past, held == needed, "{held}: {call} answered {status}");
            }
        }
    }
    let rows = ROUTES.iter().filter(|route| route.who != Who::Anyone);
    for route in ROUTES {
        let call = format!("{} {}", route.verb.as_str(), route.path);
        let needed = SCOPES
            .iter()
            .find(|(_, calls)| calls.contains(&call.as_str()));
        assert_eq!(route.scope, needed.map(|(scope, _)| *scope), "{call}");
    }
    assert_eq!(
        named.len(),
        rows.count(),
        "a call that is no route, or stands twice"
    );
}

/// Every issue route answers 404 for somebody else's issue before it looks at a
/// body: all calls send one that no route accepts.
#[tokio::test]
async fn every_route_admits_whom_the_contract_names_and_nobody_else() {
    let world = World::new();
    let number = world.report("ada").await;
    let page = world.get("", "/").await.text;
    let file = page.split("/assets/").nth(1).unwrap();
    let file = file.split('"').next().unwrap();
    let mut walked = BTreeSet::new();
    for (method, path, expected) in EXPECTED {
        walked.insert(format!("{method} {path}"));
        let place = place_of(path, number, file);
        for (who, expected) in ["", "guest", "bob", "ada", "auditor", "admin", "hook"]
            .iter()
            .zip(expected)
        {
            let stream = path.ends_with("/stream");
            let body = if *method == "GET" {
                Value::Null
            } else {
                json!({"nonsense": true})
            };
            let mut denied = false;
            let status = if stream {
                world.status_of(who, &place).await
            } else {
                let reply = world.call(who, method, &place, body).await;
                denied = reply.text.contains("host.hook-refused");
                reply.status
            };
            let hidden = status == StatusCode::NOT_FOUND && *who == "bob";
            let past = !matches!(status.as_u16(), 401 | 403) && !hidden;
            let got = if denied {
                assert_eq!(status, StatusCode::OK, "a hook's denial is a 200");
                "deny".to_owned()
            } else if past {
                "ok".to_owned()
            } else {
                status.as_u16().to_string()
            };
            assert_eq!(
                &got, expected,
                "{who:?}: {method} {place} answered {status}"
            );
        }
    }
    let rows = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.verb.as_str(), route.path));
    // Logging in has tests of its own.
    let rows: BTreeSet<_> = rows.filter(|row| row != "POST /api/v1/session").collect();
    assert_eq!(
        walked, rows,
        "a route without an expectation, or the other way round"
    );
    let issue = world
        .get("admin", &format!("/api/v1/issues/{number}"))
        .await;
    assert_eq!(
        issue.json()["status"],
        "OPEN",
        "no refused call had an effect"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_refused_like_what_is_not_yours() {
    let world = World::new();
    let number = world.report("ada").await;
    let theirs = world
        .get("bob", &format!("/api/v1/issues/{number}"))
        .await
        .problem(404)
        .0;
    let none = world.get("bob", "/api/v1/issues/999").await.problem(404).0;
    assert_eq!(
        theirs.replace(&number.to_string(), "N"),
        none.replace("999", "N")
    );
    for key in ["x", "-1", "00000000-0000-0000-0000-00000000ffff"] {
        world
            .get("admin", &format!("/api/v1/issues/{key}"))
            .await
            .problem(404);
    }
    let (detail, _) = world.get("admin", "/api/v1/nothing").await.problem(404);
    assert!(detail.contains("/api/v1/nothing"), "{detail}");
    let reply = world
        .call("admin", "DELETE", "/api/v1/issues", Value::Null)
        .await;
    reply.problem(405);
    assert_eq!(reply.headers["allow"], "GET, POST");
    world.get("sfh_wrong", "/api/v1/issues").await.problem(401);
    let nobody = world.get("", "/api/v1/issues").await;
    nobody.problem(401);
    assert!(
        nobody.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
}

#[test]
fn the_document_covers_every_route_and_every_reference_resolves() {
    let document = openapi_document("1.2.3");
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for route in ROUTES {
        let operation = &document["paths"][&*route.path.replace("{*", "{")]
            [route.verb.as_str().to_ascii_lowercase()];
        assert_eq!(operation["operationId"], route.name);
        assert!(names.insert(route.name), "{} twice", route.name);
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.contains_key(&route.status.to_string()),
            "{}",
            route.name
        );
        if route.who == Who::Hook {
            assert_eq!(responses.len(), 1, "a hook is always answered with 200");
        } else if route.who != Who::Anyone {
            assert!(responses.contains_key("401") && responses.contains_key("403"));
            assert_eq!(operation["security"].as_array().unwrap().len(), 2);
        }
        let body = matches!(route.verb, Verb::Post | Verb::Put | Verb::Patch);
        assert!(!body || route.takes_body(), "{}", route.name);
        assert_eq!(
            operation.get("requestBody").is_some(),
            route.takes_body(),
            "{}",
            route.name
        );
        if let Some(content) = operation.pointer("/requestBody/content/application~1json") {
            let pointer = content["schema"]["$ref"]
                .as_str()
                .unwrap()
                .trim_start_matches('#')
                .to_owned();
            let schema = document.pointer(&pointer).unwrap();
            let example = content["example"].as_object().unwrap();
            assert!(
                example
                    .keys()
                    .all(|key| schema["properties"].get(key).is_some()),
                "{example:?}"
            );
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            assert!(
                required
                    .iter()
                    .all(|key| example.contains_key(key.as_str().unwrap())),
                "{example:?}"
            );
        }
        let declared = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let in_path = declared.iter().filter(|it| it["in"] == "path").count();
        assert_eq!(in_path, route.path.matches('{').count());
    }
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    for reference in &referred {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let own = format!("#/components/schemas/{name}");
        assert!(referred.contains(&own), "{name} is used nowhere");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.insert(reference.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
