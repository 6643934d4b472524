//! Tokens: made, used, listed, revoked, and what they must not do.

use super::world::World;
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn make(world: &World, who: &str, order: Value) -> Value {
    let reply = world.call(who, "POST", "/api/v1/tokens", order).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    reply.json()
}

/// Lets time pass: the clock of these tests goes on by a second with each look.
fn pass(world: &World, seconds: u32) {
    for _ in 0..seconds {
        world.state.0.desk.now();
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_shown_once_listed_without_its_secret_and_revoked() {
    let world = World::new();
    let order = json!({"name": "ci", "scopes": ["report", "read"], "expiresInDays": 30});
    let made = make(&world, "ada", order).await;
    let (token, id) = (text(&made, "token"), text(&made, "id"));
    assert_eq!(made["scopes"], json!(["read", "report"]));
    assert!(made["expiresAt"].is_string());

    let number = world.report(&token).await;
    let place = format!("/api/v1/issues/{number}");
    let issue = world.get(&token, &place).await.json();
    assert_eq!(issue["reportedBy"], "ada");
    let listed = world.get("ada", "/api/v1/tokens").await;
    assert!(!listed.text.contains(&token) && !listed.text.contains("igest"));
    let items = listed.json()["items"].as_array().unwrap().clone();
    let names: Vec<_> = items.iter().map(|item| text(item, "name")).collect();
    assert_eq!(names, ["initial", "ci"]);
    assert_eq!(items[1]["id"], id.as_str());
    assert!(
        items.iter().all(|item| item["lastUsedAt"].is_string()),
        "{items:?}"
    );
    assert_eq!(items[0]["scopes"], json!(["read", "report", "accounts"]));

    // Nobody but the owner and admins sees it or takes it away.
    let own = format!("/api/v1/tokens/{id}");
    world
        .call("bob", "DELETE", &own, Value::Null)
        .await
        .problem(404);
    let theirs = world.get("admin", "/api/v1/users/ada/tokens").await.json();
    assert_eq!(theirs["items"][1]["id"], id.as_str());
    world
        .get("admin", "/api/v1/users/nobody/tokens")
        .await
        .problem(404);
    world
        .get("admin", "/api/v1/users/NO%20NAME/tokens")
        .await
        .problem(404);
    let gone = world.call("ada", "DELETE", &own, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    world.get(&token, &place).await.problem(401);
    world
        .call("ada", "DELETE", &own, Value::Null)
        .await
        .problem(404);

    // All of it is on record, with one use.
    let audit = world.get("auditor", "/api/v1/audit?limit=200").await;
    assert!(!audit.text.contains(&token));
    let kinds: Vec<_> = (audit.json()["items"].as_array().unwrap().iter())
        .map(|item| text(item, "type"))
        .filter(|kind| kind.starts_with("token."))
        .collect();
    assert_eq!(kinds, ["token.created", "token.used", "token.revoked"]);
}

#[tokio::test]
async fn an_admin_takes_the_initial_token_away_and_with_it_the_sessions() {
    let world = World::new();
    let body = json!({"username": "ada", "password": world.token("ada")});
    let session = world.call("", "POST", "/api/v1/session", body).await;
    let cookie = session.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let by_cookie = || {
        let request = axum::http::Request::builder().uri("/api/v1/session");
        let request = request.header("cookie", &cookie);
        world.send(request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(by_cookie().await.status, StatusCode::OK);
    let listed = world.get("admin", "/api/v1/users/ada/tokens").await.json();
    let id = text(&listed["items"][0], "id");
    let place = format!("/api/v1/users/ada/tokens/{id}");
    let gone = world.call("admin", "DELETE", &place, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    world.get("ada", "/api/v1/session").await.problem(401);
    by_cookie().await.problem(401);
}

#[tokio::test]
async fn a_token_makes_none_that_may_more_or_lives_longer_and_opens_no_session() {
    let world = World::new();
    let order = json!({"name": "keeper", "scopes": ["accounts", "read"], "expiresInDays": 10});
    let keeper = text(&make(&world, "admin", order).await, "token");
    let ask = |order: Value| world.call(&keeper, "POST", "/api/v1/tokens", order);
    let refused = ask(json!({"name": "a", "scopes": ["triage"], "expiresInDays": 1})).await;
    assert!(refused.problem(403).0.contains("triage"));
    for longer in [
        json!({"name": "a"}),
        json!({"name": "a", "expiresInDays": 11}),
    ] {
        assert!(ask(longer).await.problem(403).0.contains("outlives"));
    }
    let made = ask(json!({"name": "a", "expiresInDays": 9})).await.json();
    assert_eq!(
        made["scopes"],
        json!(["read", "accounts"]),
        "its own, unless said"
    );

    // Within the role, whatever was asked for.
    for scopes in [json!(["read", "triage"]), json!(["hook"]), json!([])] {
        let order = json!({"name": "b", "scopes": scopes});
        let reply = world.call("ada", "POST", "/api/v1/tokens", order).await;
        assert_eq!(reply.problem(422).1[0].0, "scopes");
    }
    for days in [0, 3651] {
        let order = json!({"name": "b", "expiresInDays": days});
        let reply = world.call("ada", "POST", "/api/v1/tokens", order).await;
        assert_eq!(reply.problem(422).1[0].0, "expiresInDays");
    }
    let twice = json!({"name": "a", "expiresInDays": 9});
    ask(twice).await.problem(409);

    // A session would have all scopes of the role.
    let body = json!({"username": "admin", "password": keeper});
    world
        .call("", "POST", "/api/v1/session", body)
        .await
        .problem(401);
}

#[tokio::test]
async fn a_token_ends_when_it_said_and_with_its_account() {
    let world = World::new();
    let short = json!({"name": "short", "expiresInDays": 1});
    let token = text(&make(&world, "ada", short).await, "token");
    assert_eq!(
        world.get(&token, "/api/v1/session").await.status,
        StatusCode::OK
    );
    pass(&world, 23 * 3600);
    assert_eq!(
        world.get(&token, "/api/v1/session").await.status,
        StatusCode::OK
    );
    pass(&world, 3600);
    world.get(&token, "/api/v1/session").await.problem(401);

    let long = text(&make(&world, "ada", json!({"name": "long"})).await, "token");
    let closed = world
        .call("admin", "POST", "/api/v1/users/ada/close", json!({}))
        .await;
    assert_eq!(closed.json()["role"], "guest");
    for token in [long.as_str(), "ada"] {
        world.get(token, "/api/v1/session").await.problem(401);
    }
    let last = world.call("admin", "POST", "/api/v1/users/admin/close", json!({}));
    last.await.problem(409);
}
