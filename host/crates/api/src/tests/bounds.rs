//! What goes in: shapes, bounds, rates, idempotency; and the headers that come out.

use super::reply::Reply;
use super::world::World;
use crate::ApiOptions;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

fn raw(
    world: &World,
    method: &str,
    path: &str,
    media: Option<&str>,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(
        header::AUTHORIZATION,
        format!("Bearer {}", world.token("admin")),
    );
    if let Some(media) = media {
        request = request.header(header::CONTENT_TYPE, media);
    }
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn a_report_becomes_an_issue_with_the_fields_of_the_contract() {
    let world = World::new();
    let body = json!({
        "title": "It breaks", "description": "Every time.", "stepsToReproduce": "1. press",
        "expectedBehavior": "works", "actualBehavior": "500", "category": "reliability", "service": "web"
    });
    let reply = world.call("ada", "POST", "/api/v1/issues", body).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["location"]),
        (201, &"/api/v1/issues/1".parse().unwrap())
    );
    let issue = reply.json();
    for (field, value) in [
        ("number", json!(1)),
        ("title", json!("It breaks")),
        ("stepsToReproduce", json!("1. press")),
        ("expectedBehavior", json!("works")),
        ("actualBehavior", json!("500")),
        ("reportedBy", json!("ada")),
        ("severity", json!("MEDIUM")),
        ("priority", json!("P2")),
        ("status", json!("OPEN")),
        ("source", json!("api")),
        ("category", json!("reliability")),
        ("service", json!("web")),
        ("occurrences", json!(1)),
        ("comments", json!([])),
        ("relatedIssueIds", json!([])),
        ("runs", json!([])),
    ] {
        assert_eq!(issue[field], value, "{field}");
    }
    for absent in [
        "approvedBy",
        "rootCause",
        "patchDiff",
        "resolvedAt",
        "timeToResolve",
        "rolledBack",
    ] {
        assert!(issue.get(absent).is_none(), "{absent}");
    }
    let by_id = format!("/api/v1/issues/{}", issue["id"].as_str().unwrap());
    assert_eq!(world.get("ada", &by_id).await.json(), issue);
    let comment = world
        .call(
            "ada",
            "POST",
            "/api/v1/issues/1/comments",
            json!({"content": "still"}),
        )
        .await;
    assert_eq!(comment.status, StatusCode::CREATED);
    assert_eq!(
        (&comment.json()["role"], &comment.json()["author"]),
        (&json!("USER"), &json!("ada"))
    );
}

#[tokio::test]
async fn wrong_input_is_refused_with_the_field_and_what_is_valid() {
    let world = World::new();
    let post = |body: Value| world.call("admin", "POST", "/api/v1/issues", body);
    let fields = |errors: Vec<(String, String)>| {
        errors
            .into_iter()
            .map(|(field, _)| field)
            .collect::<Vec<_>>()
    };

    let (_, errors) = post(json!({"title": "a", "description": "b", "sevrity": "LOW"}))
        .await
        .problem(422);
    assert_eq!(errors[0].0, "sevrity");
    assert!(errors[0].1.contains("severity"), "{errors:?}");
    let (_, errors) = post(json!({"description": "b"})).await.problem(422);
    assert_eq!(errors, [("title".to_owned(), "is required".to_owned())]);
    let (_, errors) = post(json!({"title": 5, "description": "b"}))
        .await
        .problem(422);
    assert_eq!(errors[0].0, "title");
    let (_, errors) = post(json!({"title": "a", "description": "b", "severity": "BAD"}))
        .await
        .problem(422);
    assert!(
        errors[0].0 == "severity" && errors[0].1.contains("CRITICAL"),
        "{errors:?}"
    );
    let (_, errors) = post(json!({"title": " ", "description": ""}))
        .await
        .problem(422);
    assert_eq!(fields(errors), ["title", "description"]);
    let (_, errors) = post(json!({"title": "x".repeat(201), "description": "b"}))
        .await
        .problem(422);
    assert!(errors[0].1.contains("200"), "{errors:?}");
    let (_, errors) = post(json!({"title": "x", "description": "y".repeat(65 * 1024)}))
        .await
        .problem(422);
    assert!(errors[0].1.contains("65536"), "{errors:?}");
    post(json!(["a"])).await.problem(422);

    let json = Some("application/json");
    let issues = "/api/v1/issues";
    world
        .send(raw(&world, "POST", issues, json, "{\"title\": "))
        .await
        .problem(400);
    world
        .send(raw(&world, "POST", issues, json, vec![b'"', 0xff, b'"']))
        .await
        .problem(400);
    world
        .send(raw(&world, "POST", issues, json, "[".repeat(100_000)))
        .await
        .problem(400);
    world
        .send(raw(&world, "POST", issues, Some("text/plain"), "{}"))
        .await
        .problem(415);
    world
        .send(raw(&world, "POST", issues, None, "{}"))
        .await
        .problem(415);
    let (detail, _) = world
        .send(raw(
            &world,
            "POST",
            issues,
            json,
            "x".repeat(1024 * 1024 + 1),
        ))
        .await
        .problem(413);
    assert!(detail.contains("1048576"), "{detail}");
    let chunks =
        futures::stream::iter((0..17).map(|_| Ok::<_, std::io::Error>("x".repeat(64 * 1024))));
    world
        .send(raw(&world, "POST", issues, json, Body::from_stream(chunks)))
        .await
        .problem(413);
    let unknown = raw(
        &world,
        "POST",
        issues,
        Some("application/json; charset=utf-8"),
        "{}",
    );
    world.send(unknown).await.problem(422);
}

#[tokio::test]
async fn lists_are_paged_filtered_and_bounded() {
    let world = World::new();
    for _ in 0..3 {
        world.report("ada").await;
    }
    world.report("bob").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("status=OPEM", "status"),
        ("severity=x", "severity"),
        ("priority=P9", "priority"),
        ("source=mail", "source"),
        ("reportedBy=A%20B", "reportedBy"),
        ("cursor=x", "cursor"),
        ("statsu=OPEN", "statsu"),
        ("limit=1&limit=2", "limit"),
    ] {
        let (_, errors) = world
            .get("admin", &format!("/api/v1/issues?{query}"))
            .await
            .problem(422);
        assert_eq!(errors[0].0, field, "{query}");
    }
    let (_, errors) = world
        .get("admin", "/api/v1/issues?status=OPEM")
        .await
        .problem(422);
    assert!(errors[0].1.contains("PATCH_PENDING"), "{errors:?}");

    let mut seen = Vec::new();
    let mut place = "/api/v1/issues?limit=2&status=OPEN".to_owned();
    loop {
        let page = world.get("ada", &place).await.json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["number"].as_u64().unwrap()),
        );
        let Some(cursor) = page.get("nextCursor") else {
            break;
        };
        place = format!(
            "/api/v1/issues?limit=2&status=OPEN&cursor={}",
            cursor.as_str().unwrap()
        );
    }
    assert_eq!(seen, [3, 2, 1], "users see their own, newest first");
    let count = |reply: Reply| reply.json()["items"].as_array().unwrap().len();
    assert_eq!(count(world.get("admin", "/api/v1/issues").await), 4);
    assert_eq!(
        count(world.get("auditor", "/api/v1/issues?reportedBy=bob").await),
        1
    );
    assert_eq!(
        count(world.get("ada", "/api/v1/issues?reportedBy=bob").await),
        0
    );
    assert_eq!(
        count(world.get("admin", "/api/v1/issues?q=every+BREAKS").await),
        4
    );
    assert_eq!(
        count(world.get("admin", "/api/v1/issues?status=RESOLVED").await),
        0
    );
}

#[tokio::test]
async fn an_idempotency_key_makes_a_post_happen_once() {
    let world = World::new();
    let send = |who: &'static str, key: &'static str, title: &'static str| {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/issues")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", world.token(who)),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", key)
            .body(Body::from(
                json!({"title": title, "description": "b"}).to_string(),
            ));
        world.send(request.unwrap())
    };
    let first = send("ada", "k1", "one").await;
    let again = send("ada", "k1", "one").await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    send("ada", "k1", "two").await.problem(422);
    assert_eq!(send("ada", "k2", "one").await.json()["number"], 2);
    assert_eq!(
        send("bob", "k1", "one").await.json()["number"],
        3,
        "keys are per caller"
    );
    send("ada", "", "one").await.problem(422);
}

#[tokio::test]
async fn rates_are_limited_with_a_hint_when_to_come_back() {
    let world = World::with(ApiOptions {
        user_per_minute: 3,
        reports_per_minute: 1,
        ..ApiOptions::default()
    });
    world.report("ada").await;
    let body = json!({"title": "a", "description": "b"});
    let refused = world
        .call("ada", "POST", "/api/v1/issues", body.clone())
        .await;
    refused.problem(429);
    assert!(
        refused.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    world.get("ada", "/api/v1/issues").await;
    world.get("ada", "/api/v1/issues").await.problem(429);
    assert_eq!(
        world
            .call("bob", "POST", "/api/v1/issues", body)
            .await
            .status,
        StatusCode::CREATED
    );

    let world = World::with(ApiOptions {
        source_per_minute: 2,
        ..ApiOptions::default()
    });
    world.get("", "/healthz").await;
    world.get("", "/healthz").await;
    world.get("", "/healthz").await.problem(429);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_its_reader() {
    let world = World::new();
    for path in ["/", "/healthz", "/api/v1/issues", "/nothing"] {
        let headers = world.get("", path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(headers.get("access-control-allow-origin").is_none());
    }
    assert_eq!(
        world.get("admin", "/api/v1/issues").await.headers["cache-control"],
        "no-store"
    );
    let page = world.get("", "/").await;
    assert!(
        page.text.contains("/assets/")
            && !page.text.contains("<script>")
            && !page.text.contains("style=")
    );
    // Filters in the address are the page's own business.
    let filtered = world.get("", "/issues/open?severity=HIGH&q=a&q=b").await;
    assert_eq!(filtered.status, StatusCode::OK);
    let metrics = world.get("", "/metrics").await.text;
    assert!(
        metrics.contains("selfheal_http_requests_total{status=\"200\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("selfheal_log_records_total "), "{metrics}");
    let document = world.get("", "/api/v1/openapi.json").await;
    assert_eq!(document.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn only_the_issues_are_framed_and_only_by_whom_the_settings_name() {
    let policy_of = |reply: &Reply| {
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        let framed = !reply.headers.contains_key("x-frame-options");
        (policy.to_owned(), framed)
    };
    let embedding = |origins: &[&str]| {
        World::with(ApiOptions {
            embed_in: origins.iter().map(ToString::to_string).collect(),
            ..ApiOptions::default()
        })
    };
    let frame = "/embed/issues/open";
    let world = embedding(&["https://shop.example", "http://127.0.0.1:8080"]);
    let (policy, framed) = policy_of(&world.get("", frame).await);
    let named = "frame-ancestors https://shop.example http://127.0.0.1:8080;";
    assert!(policy.contains(named) && framed, "{policy}");
    for path in ["/", "/issues/open", "/policies", "/embed.js", "/nothing"] {
        let (policy, framed) = policy_of(&world.get("", path).await);
        assert!(
            policy.contains("frame-ancestors 'none'") && !framed,
            "{path}"
        );
    }
    // What is no origin opens nothing, and adds nothing to the header.
    for origins in [
        &[][..],
        &["https://shop.example; script-src *"],
        &["*"],
        &["https://"],
    ] {
        let (policy, framed) = policy_of(&embedding(origins).get("", frame).await);
        assert!(
            policy.contains("frame-ancestors 'none'") && !framed,
            "{origins:?}"
        );
        assert!(!policy.contains("script-src"), "{policy}");
    }
    let resource = "cross-origin-resource-policy";
    let script = world.get("", "/embed.js").await;
    assert_eq!(script.headers[resource], "cross-origin");
    assert_eq!(world.get("", "/").await.headers[resource], "same-origin");
}

/// An agent hears an explicit denial instead: an error would let its call through.
#[tokio::test]
async fn what_goes_before_the_body_is_bounded_everywhere() {
    let world = World::new();
    let long = "x".repeat(33 * 1024);
    for path in [
        "/api/v1/issues",
        "/healthz",
        "/nowhere",
        "/api/v1/hook/claude-code",
    ] {
        let hook = path.contains("/hook/");
        let (who, method) = if hook {
            ("hook", "POST")
        } else {
            ("admin", "GET")
        };
        let place = format!("{path}?q={long}");
        let ask = |place: &str, extra: &str| {
            let authorization = format!("Bearer {}", world.token(who));
            Request::builder()
                .method(method)
                .uri(place)
                .header(header::AUTHORIZATION, authorization)
                .header("x-extra", extra)
                .body(Body::empty())
                .unwrap()
        };
        for (place, extra, status) in [(&*place, "", 414), (path, &*long, 431)] {
            let reply = world.send(ask(place, extra)).await;
            if hook {
                assert_eq!(reply.status, 200);
                assert!(reply.text.contains("\"deny\""), "{}", reply.text);
            } else {
                reply.problem(status);
            }
        }
    }
}
