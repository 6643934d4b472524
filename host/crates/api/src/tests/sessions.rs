//! Logging in and out, cookies, origins, accounts.

use super::reply::Reply;
use super::world::World;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

async fn log_in(world: &World, name: &str, password: &str) -> Reply {
    let body = json!({"username": name, "password": password});
    world.call("", "POST", "/api/v1/session", body).await
}

fn cookie_of(reply: &Reply) -> String {
    let set = reply.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn with_cookie(
    world: &World,
    cookie: &str,
    method: &str,
    path: &str,
    origin: Option<&str>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    request = request
        .header(header::COOKIE, cookie)
        .header(header::HOST, "heal.test:8080");
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    request = request.header(header::CONTENT_TYPE, "application/json");
    let body = if method == "GET" {
        Body::empty()
    } else {
        Body::from(r#"{"title":"a","description":"b"}"#)
    };
    world.send(request.body(body).unwrap()).await
}

async fn world_with_password() -> World {
    let world = World::new();
    let body = json!({"name": "eve", "role": "user", "password": PASSWORD});
    let made = world.call("admin", "POST", "/api/v1/users", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    world
}

#[tokio::test]
async fn a_session_begins_with_the_password_and_ends_with_log_out() {
    let world = world_with_password().await;
    let reply = log_in(&world, "eve", PASSWORD).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["role"]),
        (200, &json!("user"))
    );
    let set = reply.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = cookie_of(&reply);
    let me = with_cookie(&world, &cookie, "GET", "/api/v1/session", None).await;
    assert_eq!(me.json()["username"], "eve");
    let own = Some("http://heal.test:8080");
    let issue = with_cookie(&world, &cookie, "POST", "/api/v1/issues", own).await;
    assert_eq!(
        (issue.status.as_u16(), &issue.json()["source"]),
        (201, &json!("web"))
    );
    let out = with_cookie(&world, &cookie, "DELETE", "/api/v1/session", own).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    with_cookie(&world, &cookie, "GET", "/api/v1/session", None)
        .await
        .problem(401);
    with_cookie(&world, &cookie, "GET", "/api/v1/issues", None)
        .await
        .problem(401);

    let audit = world.get("admin", "/api/v1/audit?limit=200").await.text;
    for kind in ["session.opened", "session.closed"] {
        assert!(audit.contains(kind), "{kind}");
    }
    assert!(!audit.contains("argon2id") && !audit.contains(PASSWORD));
}

#[tokio::test]
async fn a_cookie_acts_from_our_own_pages_only() {
    let world = world_with_password().await;
    let cookie = cookie_of(&log_in(&world, "eve", PASSWORD).await);
    for origin in [
        None,
        Some("http://evil.test"),
        Some("null"),
        Some("http://heal.test:8081"),
        Some("ftp://heal.test:8080"),
    ] {
        with_cookie(&world, &cookie, "POST", "/api/v1/issues", origin)
            .await
            .problem(403);
    }
    let read = with_cookie(
        &world,
        &cookie,
        "GET",
        "/api/v1/issues",
        Some("http://evil.test"),
    )
    .await;
    assert_eq!(read.json()["items"], json!([]), "nothing was reported");
}

#[tokio::test]
async fn a_token_serves_as_password_and_bad_ones_are_locked_out_and_recorded() {
    let world = world_with_password().await;
    let by_token = log_in(&world, "admin", world.token("admin")).await;
    assert_eq!(by_token.json()["role"], "admin");
    let mut details = Vec::new();
    for _ in 0..5 {
        details.push(log_in(&world, "eve", "wrong").await.problem(401).0);
    }
    details.push(log_in(&world, "nobody-here", "wrong").await.problem(401).0);
    assert!(
        details.windows(2).all(|pair| pair[0] == pair[1]),
        "the answer names no account: {details:?}"
    );
    let locked = log_in(&world, "eve", PASSWORD).await;
    locked.problem(429);
    assert!(locked.headers.contains_key("retry-after"));
    let audit = world.get("auditor", "/api/v1/audit?limit=200").await.json();
    let refused = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["type"] == "session.refused");
    assert_eq!(refused.count(), 6);
}

#[tokio::test]
async fn accounts_are_made_once_and_work_at_once() {
    let world = World::new();
    let add = |body| world.call("admin", "POST", "/api/v1/users", body);
    let made = add(json!({"name": "kim", "role": "user"})).await.json();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(
        world.get(&token, "/api/v1/session").await.json()["username"],
        "kim"
    );
    add(json!({"name": "kim", "role": "admin"}))
        .await
        .problem(409);
    assert_eq!(
        add(json!({"name": "No Name", "role": "user"}))
            .await
            .problem(422)
            .1[0]
            .0,
        "name"
    );
    let (_, errors) = add(json!({"name": "lee", "role": "boss"}))
        .await
        .problem(422);
    assert!(errors[0].1.contains("auditor"), "{errors:?}");
    assert_eq!(
        add(json!({"name": "lee", "role": "user", "password": "short"}))
            .await
            .problem(422)
            .1[0]
            .0,
        "password"
    );
    let users = world.get("admin", "/api/v1/users").await;
    assert_eq!(users.json()["items"].as_array().unwrap().len(), 7);
    assert!(
        !users.text.contains("igest") && !users.text.contains("sfh_"),
        "{}",
        users.text
    );
}
