//! Requests that are sent twice, lists in pages, and other origins: the same on every route.

use super::reply::Reply;
use super::world::World;
use crate::{ROUTES, Route, Verb, openapi_document};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

async fn send(world: &World, route: &Route, path: &str, key: &str, body: &Value) -> Reply {
    let mut request = Request::builder()
        .method(route.verb.as_str())
        .uri(path)
        .header("idempotency-key", key)
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", world.token("admin")),
        );
    let media = if route.path.ends_with("/modules") {
        "application/wasm"
    } else {
        "application/json"
    };
    request = request.header(header::CONTENT_TYPE, media);
    world
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

/// The body that the document shows as an example.
fn example(route: &Route) -> Value {
    let document = openapi_document("1");
    let operation = &document["paths"][route.path]["post"];
    operation["requestBody"]["content"]["application/json"]["example"].clone()
}

#[tokio::test]
async fn every_post_counts_once_under_one_key() {
    let world = World::new();
    let (mut walked, mut refused) = (0, Vec::new());
    for route in ROUTES.iter().filter(|route| route.verb == Verb::Post) {
        if !route.takes_key() {
            continue;
        }
        let issue = world.report("ada").await;
        if route.name == "retryIssue" {
            let abort = format!("/api/v1/issues/{issue}/abort");
            let reason = json!({ "reason": "again" });
            world.call("admin", "POST", &abort, reason).await;
        }
        let path = route
            .path
            .replace("{issue}", &issue.to_string())
            .replace("/users/{name}", "/users/bob")
            .replace("{name}", "web")
            .replace("{number}", "7")
            .replace("{module}", "guard")
            .replace("{id}", "0");
        let mut body = example(route);
        if route.name == "addUser" {
            body["name"] = json!("carla");
        }
        let first = send(&world, route, &path, "k", &body).await;
        if matches!(first.status.as_u16(), 404 | 409) {
            refused.push(route.name);
            continue;
        }
        assert_eq!(
            first.status.as_u16(),
            route.status,
            "{path}: {}",
            first.text
        );
        assert!(first.headers.get("idempotency-replayed").is_none());
        world.control.asked();
        let records = world.ledger.store().head();
        let again = send(&world, route, &path, "k", &body).await;
        assert_eq!(
            (again.status, &again.text),
            (first.status, &first.text),
            "{path}"
        );
        assert_eq!(again.headers["idempotency-replayed"], "true", "{path}");
        assert_eq!(again.headers.get("etag"), first.headers.get("etag"));
        assert_eq!(
            world.ledger.store().head(),
            records,
            "{path}: on record twice"
        );
        assert_eq!(world.control.asked(), Vec::<String>::new(), "{path}");
        let other = json!({ "another": "body" });
        let (detail, _) = send(&world, route, &path, "k", &other).await.problem(422);
        assert!(detail.contains("another body"), "{path}: {detail}");
        walked += 1;
    }
    assert!(walked >= 15, "{walked} routes");
    // This world has no such service and module. A refusal is not kept: it had no
    // effect and may be tried again.
    refused.sort_unstable();
    assert_eq!(
        refused,
        [
            "releasePolicyModule",
            "reloadService",
            "startService",
            "stopService"
        ]
    );
}

/// All items of a list, page by page, and how many pages.
async fn paged(world: &World, path: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut items, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let place = format!("{path}?limit={limit}{cursor}");
        let page = world.get("admin", &place).await.json();
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit, "{place}");
        for item in found {
            let mut item = item.clone();
            // Of a token: it is used by asking.
            item.as_object_mut().unwrap().remove("lastUsedAt");
            items.push(item);
        }
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (items, pages),
        }
    }
}

#[tokio::test]
async fn every_list_comes_in_pages() {
    let world = World::new();
    for _ in 0..5 {
        world.report("ada").await;
    }
    for name in ["one", "two", "three"] {
        let view = json!({ "query": "is:open" });
        let place = format!("/api/v1/views/{name}");
        world.call("admin", "PUT", &place, view).await;
    }
    for (path, least) in [
        ("/api/v1/issues", 5),
        ("/api/v1/issues/1/events", 1),
        ("/api/v1/audit", 11),
        ("/api/v1/users", 6),
        ("/api/v1/services", 1),
        ("/api/v1/tokens", 1),
        ("/api/v1/users/ada/tokens", 1),
        ("/api/v1/views", 3),
        ("/api/v1/decisions", 0),
    ] {
        let (items, pages) = paged(&world, path, 2).await;
        assert!(items.len() >= least, "{path}: {}", items.len());
        assert!(pages >= items.len().div_ceil(2), "{path}");
        let (whole, _) = paged(&world, path, 200).await;
        assert_eq!(items, whole, "{path}");
        for wrong in ["limit=0", "limit=201", "limit=x", "cursor=%20"] {
            let reply = world.get("admin", &format!("{path}?{wrong}")).await;
            reply.problem(422);
        }
    }
    // Whatever answers with a page is in the table above.
    let lists = ROUTES.iter().filter(|route| {
        let query: Vec<_> = route.query.iter().map(|parameter| parameter.name).collect();
        query.contains(&"limit") && query.contains(&"cursor")
    });
    assert!(lists.count() >= 9);
}

#[tokio::test]
async fn no_other_origin_may_read_anything() {
    let world = World::new();
    for route in ROUTES {
        if route.path.ends_with("/stream") {
            continue;
        }
        for method in ["OPTIONS", route.verb.as_str()] {
            let request = Request::builder()
                .method(method)
                .uri(route.path.replace(['{', '}', '*'], ""))
                .header(header::ORIGIN, "https://evil.example")
                .header("access-control-request-method", route.verb.as_str());
            let reply = world.send(request.body(Body::empty()).unwrap()).await;
            let allowing = reply
                .headers
                .keys()
                .find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowing, None, "{method} {}", route.path);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem() {
    let world = World::new();
    for (path, status) in [
        ("/api/v1/issues/%ff", 400),
        ("/api/v1/issues/%zz", 404),
        ("/api/v1/services/%c3%28", 400),
        ("/nowhere/%ff", 404),
        ("/api/v1/issues/1/nothing", 404),
        ("/api/v1/issues?q=%ff&%ff=1", 422),
    ] {
        world.get("admin", path).await.problem(status);
    }
    for method in ["PUT", "DELETE", "TRACE", "OPTIONS", "QUERY"] {
        let reply = world
            .call("admin", method, "/api/v1/issues", Value::Null)
            .await;
        reply.problem(405);
        assert_eq!(reply.headers["allow"], "GET, POST");
    }
}

/// A connection that breaks takes no request back and leaves nothing half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_whose_callers_are_gone_are_whole_or_not_there() {
    let world = World::new();
    let body = json!({ "title": "It breaks", "description": "Every time." });
    let request = |key: usize| {
        Request::builder()
            .method("POST")
            .uri("/api/v1/issues")
            .header("idempotency-key", format!("k{key}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", world.token("admin")),
            )
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    let calls: Vec<_> = (0..48)
        .map(|key| {
            let (router, request) = (world.router.clone(), request(key));
            let call = tokio::spawn(async move { super::world::send(router, request).await });
            (key, call)
        })
        .collect();
    let mut told = Vec::new();
    for (key, call) in calls {
        if key % 3 == 0 {
            call.abort();
        }
        if let Ok(reply) = call.await {
            assert_eq!(reply.status, 201, "{}", reply.text);
            told.push((key, reply.json()["number"].clone()));
        }
    }
    // Whoever sends it again hears what came of it, whether or not the first was carried out.
    for key in 0..48 {
        let reply = loop {
            let reply = world.send(request(key)).await;
            if reply.status != 409 {
                break reply;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(reply.status, 201, "{}", reply.text);
        let number = reply.json()["number"].clone();
        assert!(told.iter().all(|(of, was)| *of != key || *was == number));
    }
    assert_eq!(world.ledger.store().last_issue_number().unwrap(), 48);
    for number in 1..=48 {
        let reply = world
            .get("admin", &format!("/api/v1/issues/{number}"))
            .await;
        assert_eq!(reply.json()["number"], number);
    }
}
