//! What becomes of accounts: roles, passwords, off and on; who may, and what it ends.

use super::reply::Reply;
use super::world::{World, send};
use crate::state::{ApiOptions, SignInOptions};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use selfheal_domain::account::Standing;
use selfheal_domain::event::Event;
use selfheal_domain::sign_in::{Begun, Identified, SignIn, SignInError};
use selfheal_domain::user::{Account, Actor, Role, UserName};
use serde_json::{Value, json};
use std::sync::Arc;

const FIRST: &str = "correct horse battery";
const SECOND: &str = "another horse, another battery";

/// A browser in which somebody is logged in.
struct Browser<'a> {
    world: &'a World,
    cookie: String,
}

impl<'a> Browser<'a> {
    async fn log_in(world: &'a World, name: &str, password: &str) -> Self {
        let reply = try_log_in(world, name, password).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        let set = reply.headers["set-cookie"].to_str().unwrap();
        let cookie = set.split(';').next().unwrap().to_owned();
        Self { world, cookie }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, &self.cookie)
            .header(header::HOST, "heal.test")
            .header(header::ORIGIN, "http://heal.test")
            .header(header::CONTENT_TYPE, "application/json");
        let body = match method {
            "GET" => Body::empty(),
            _ => Body::from(body.to_string()),
        };
        self.world.send(request.body(body).unwrap()).await
    }

    async fn is_in(&self) -> bool {
        let reply = self.call("GET", "/api/v1/session", &Value::Null).await;
        reply.status == StatusCode::OK
    }
}

async fn try_log_in(world: &World, name: &str, password: &str) -> Reply {
    let body = json!({"username": name, "password": password});
    world.call("", "POST", "/api/v1/session", body).await
}

/// Does something to an account, as somebody.
async fn act(world: &World, who: &str, account: &str, what: &str, body: Value) -> Reply {
    let method = match what {
        "role" | "password" => "PUT",
        _ => "POST",
    };
    let place = format!("/api/v1/users/{account}/{what}");
    world.call(who, method, &place, body).await
}

async fn done(world: &World, account: &str, what: &str, body: Value) -> Value {
    let reply = act(world, "admin", account, what, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{what}: {}", reply.text);
    reply.json()
}

async fn own(world: &World, who: &str, old: &str, new: &str) -> Reply {
    let body = json!({"oldPassword": old, "newPassword": new});
    world
        .call(who, "PUT", "/api/v1/account/password", body)
        .await
}

async fn token(world: &World, scopes: &[&str], days: Option<u32>) -> String {
    let name = format!("{}-{days:?}", scopes.join("-"));
    let order = json!({"name": name, "scopes": scopes, "expiresInDays": days});
    let made = world.call("admin", "POST", "/api/v1/tokens", order).await;
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_change_is_on_record_and_ends_the_sessions() {
    let world = World::new();
    done(&world, "ada", "password", json!({"password": FIRST})).await;
    for (what, body, standing, role) in [
        ("role", json!({"role": "auditor"}), "open", "auditor"),
        ("role", json!({"role": "user"}), "open", "user"),
        ("password", json!({"password": FIRST}), "open", "user"),
        ("disable", json!({}), "disabled", "user"),
    ] {
        let browser = Browser::log_in(&world, "ada", FIRST).await;
        let bystander = Browser::log_in(&world, "bob", world.token("bob")).await;
        assert!(browser.is_in().await);
        let user = done(&world, "ada", what, body).await;
        assert_eq!(
            (&user["standing"], &user["role"]),
            (&json!(standing), &json!(role))
        );
        assert!(!browser.is_in().await, "after {what}");
        assert!(bystander.is_in().await);
    }
    // Nobody comes in by what is disabled, in no way, and all of it is there again.
    world.get("ada", "/api/v1/session").await.problem(401);
    let (detail, _) = try_log_in(&world, "ada", FIRST).await.problem(401);
    assert!(detail.contains("disabled"), "{detail}");
    let (detail, _) = try_log_in(&world, "ada", "a guess").await.problem(401);
    assert!(!detail.contains("disabled"), "who guesses learns nothing");
    done(&world, "ada", "enable", json!({})).await;
    assert!(Browser::log_in(&world, "ada", FIRST).await.is_in().await);
    assert_eq!(
        world.get("ada", "/api/v1/session").await.status,
        StatusCode::OK
    );

    // What is so already leaves no record and no session ends.
    let browser = Browser::log_in(&world, "ada", FIRST).await;
    let head = world.ledger.store().head().0;
    done(&world, "ada", "enable", json!({})).await;
    done(&world, "ada", "role", json!({"role": "user"})).await;
    assert_eq!(world.ledger.store().head().0, head);
    assert!(browser.is_in().await);

    let audit = world.get("auditor", "/api/v1/audit?limit=200").await;
    assert!(!audit.text.contains("argon2id") && !audit.text.contains(FIRST));
    let kinds: Vec<_> = (audit.json()["items"].as_array().unwrap().iter())
        .filter(|item| item["type"] == "user.changed")
        .map(|item| {
            assert_eq!(
                (&item["actor"], &item["data"]["name"]),
                (&json!("admin"), &json!("ada"))
            );
            item["data"]["change"]["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "password", "role", "role", "password", "disabled", "enabled"
        ]
    );
}

#[tokio::test]
async fn the_last_admin_stays_and_what_cannot_be_is_refused() {
    let world = World::new();
    for (what, body) in [
        ("disable", json!({})),
        ("role", json!({"role": "user"})),
        ("close", json!({})),
    ] {
        let reply = act(&world, "admin", "admin", what, body).await;
        assert!(reply.problem(409).0.contains("only admin"), "{what}");
    }
    for (account, what, body, status) in [
        ("nobody", "disable", json!({}), 404),
        ("No%20Name", "enable", json!({}), 404),
        ("ada", "role", json!({"role": "hook"}), 409),
        ("hook", "role", json!({"role": "user"}), 409),
        ("hook", "password", json!({"password": FIRST}), 409),
        ("ada", "password", json!({"password": "short"}), 422),
        ("ada", "role", json!({"role": "boss"}), 422),
        ("ada", "role", json!({}), 422),
        ("admin", "password", json!({"password": FIRST}), 403),
    ] {
        let reply = act(&world, "admin", account, what, body).await;
        reply.problem(status);
    }
    done(&world, "bob", "close", json!({})).await;
    for (what, body) in [
        ("enable", json!({})),
        ("role", json!({"role": "user"})),
        ("password", json!({"password": FIRST})),
    ] {
        let reply = act(&world, "admin", "bob", what, body).await;
        assert!(reply.problem(409).0.contains("closed"), "{what}");
    }
    // A second admin who cannot come in is none to count on.
    done(&world, "ada", "role", json!({"role": "admin"})).await;
    done(&world, "ada", "disable", json!({})).await;
    let reply = act(&world, "admin", "admin", "disable", json!({})).await;
    reply.problem(409);
}

#[tokio::test]
async fn a_token_lets_nobody_in_who_may_more_than_itself() {
    let world = World::new();
    done(&world, "ada", "role", json!({"role": "admin"})).await;
    done(&world, "ada", "disable", json!({})).await;
    let accounts = token(&world, &["accounts"], None).await;
    let reading = token(&world, &["accounts", "read"], None).await;
    let reporting = token(&world, &["accounts", "read", "report"], None).await;
    let all = [
        "read", "report", "triage", "operate", "policies", "accounts",
    ];
    let ending = token(&world, &all, Some(9)).await;
    let whole = token(&world, &all, None).await;
    let role = |role: &str| json!({"role": role});
    let password = json!({"password": FIRST});
    for (by, account, what, body, status) in [
        (&accounts, "bob", "role", role("admin"), 403),
        (&accounts, "bob", "role", role("auditor"), 403),
        (&accounts, "bob", "password", password.clone(), 403),
        (&reading, "bob", "role", role("auditor"), 200),
        (&reading, "bob", "role", role("user"), 403),
        (&reporting, "bob", "role", role("user"), 200),
        (&reporting, "bob", "password", password.clone(), 200),
        (&reporting, "bob", "role", role("admin"), 403),
        // Another admin's account is a way to be an admin.
        (&reporting, "ada", "enable", json!({}), 403),
        (&reporting, "ada", "password", password.clone(), 403),
        (&ending, "ada", "enable", json!({}), 403),
        (&ending, "ada", "password", password.clone(), 403),
        (&ending, "bob", "role", role("admin"), 403),
        (&whole, "bob", "role", role("admin"), 200),
        // To take away needs no more than the scope.
        (&accounts, "bob", "disable", json!({}), 200),
        (&accounts, "bob", "role", role("guest"), 200),
    ] {
        let reply = act(&world, by, account, what, body).await;
        assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text);
    }
    for (by, role, status) in [
        (&accounts, "admin", 403),
        (&accounts, "user", 403),
        (&reporting, "admin", 403),
        (&ending, "admin", 403),
        (&reporting, "user", 201),
        (&accounts, "hook", 201),
        (&whole, "admin", 201),
    ] {
        let name = format!("new-{role}-{status}");
        let body = json!({"name": name, "role": role});
        let reply = world.call(by, "POST", "/api/v1/users", body).await;
        assert_eq!(reply.status.as_u16(), status, "{role}: {}", reply.text);
    }
}

#[tokio::test]
async fn with_four_eyes_no_admin_makes_another_one_alone() {
    let world = World::new();
    done(&world, "ada", "role", json!({"role": "admin"})).await;
    done(&world, "ada", "disable", json!({})).await;
    let rules = &world.state.0.desk.healer().settings().rules;
    let mut strict = (*rules.get()).clone();
    strict.four_eyes = true;
    rules.put(strict);
    let more = json!({"name": "eve", "role": "admin"});
    let reply = world.call("admin", "POST", "/api/v1/users", more).await;
    assert!(reply.problem(403).0.contains("four_eyes"));
    for (account, what, body) in [
        ("bob", "role", json!({"role": "admin"})),
        ("ada", "enable", json!({})),
        ("ada", "password", json!({"password": FIRST})),
    ] {
        let reply = act(&world, "admin", account, what, body.clone()).await;
        let (detail, _) = reply.problem(403);
        assert!(detail.contains("selfheal user"), "{detail}");
        // The operator does so, whose machine it is.
        let method = if what == "enable" { "POST" } else { "PUT" };
        let request = Request::builder()
            .method(method)
            .uri(format!("/users/{account}/{what}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        let reply = send(world.control(), request.unwrap()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    }
    done(&world, "auditor", "role", json!({"role": "user"})).await;
}

#[tokio::test]
async fn everybody_changes_their_own_password_and_gives_the_one_so_far() {
    let world = World::new();
    // Before the first one, the initial token stands in for it.
    own(&world, "ada", "a guess, and not a token", FIRST)
        .await
        .problem(403);
    let set = own(&world, "ada", world.token("ada"), FIRST).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);

    let (one, two) = (
        Browser::log_in(&world, "ada", FIRST).await,
        Browser::log_in(&world, "ada", FIRST).await,
    );
    let body = json!({"oldPassword": FIRST, "newPassword": SECOND});
    let reply = one.call("PUT", "/api/v1/account/password", &body).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text);
    assert!(!one.is_in().await && !two.is_in().await);
    let set = reply.headers["set-cookie"].to_str().unwrap();
    let cookie = set.split(';').next().unwrap().to_owned();
    let renewed = Browser {
        world: &world,
        cookie,
    };
    assert!(renewed.is_in().await, "who changed it stays");
    try_log_in(&world, "ada", FIRST).await.problem(401);

    let (_, errors) = own(&world, "ada", SECOND, "short").await.problem(422);
    assert_eq!(errors[0].0, "newPassword");
    let me = renewed.call("GET", "/api/v1/session", &Value::Null).await;
    assert_eq!(me.json()["hasPassword"], true);

    // A token with scopes needs the one so far as well; it is no password itself.
    let order = json!({"name": "keeper", "scopes": ["accounts"]});
    let made = world.call("bob", "POST", "/api/v1/tokens", order).await;
    let keeper = made.json()["token"].as_str().unwrap().to_owned();
    own(&world, &keeper, &keeper, FIRST).await.problem(403);

    // Whoever guesses is locked out, and on record.
    for _ in 0..4 {
        own(&world, "bob", "a guess", FIRST).await.problem(403);
    }
    let locked = own(&world, "bob", world.token("bob"), FIRST).await;
    locked.problem(429);
    let audit = world.get("auditor", "/api/v1/audit?limit=200").await;
    let refused = audit.text.matches("session.refused").count();
    assert_eq!(refused, 7);
}

/// A provider that nobody asks.
#[derive(Debug)]
struct Elsewhere;

impl SignIn for Elsewhere {
    fn begin(&self) -> Result<(String, Begun), SignInError> {
        Err(SignInError::Unavailable("not asked here".to_owned()))
    }

    fn finish(&self, _: &str, _: Option<&str>, _: &Begun) -> Result<Identified, SignInError> {
        Err(SignInError::Unavailable("not asked here".to_owned()))
    }
}

fn tie(world: &World) {
    let tied = Account {
        name: UserName::new("tina").unwrap(),
        role: Role::User,
        token_digest: None,
        password_hash: None,
        tokens: Vec::new(),
        subject: Some("ab".repeat(32)),
        standing: Standing::Open,
    };
    let desk = &world.state.0.desk;
    desk.record_account(Actor::Host, Event::UserSaved(tied))
        .unwrap();
}

#[tokio::test]
async fn who_logs_in_at_a_provider_has_no_password_while_there_is_one() {
    let world = World::with(ApiOptions {
        sign_in: Some(SignInOptions {
            provider: Arc::new(Elsewhere),
            label: "Our own ID".to_owned(),
            newcomers: None,
        }),
        ..ApiOptions::default()
    });
    tie(&world);
    let password = json!({"password": FIRST});
    let reply = act(&world, "admin", "tina", "password", password.clone()).await;
    assert!(reply.problem(409).0.contains("provider"));

    let world = World::new();
    tie(&world);
    let user = done(&world, "tina", "password", password).await;
    assert_eq!(
        (&user["hasPassword"], &user["hasProvider"]),
        (&json!(true), &json!(false))
    );
    assert!(Browser::log_in(&world, "tina", FIRST).await.is_in().await);
}

/// Who proved a password that was taken away meanwhile gets no session for it.
#[tokio::test]
async fn a_log_in_that_was_under_way_ends_with_what_it_went_by() {
    let world = World::new();
    done(&world, "ada", "password", json!({"password": FIRST})).await;
    let accounts = world.state.0.desk.accounts().unwrap();
    let named = |account: &&Account| account.name.as_str() == "ada";
    let before = accounts.iter().find(named).unwrap();
    crate::handlers::session::unaltered(&world.state.0, before).unwrap();
    done(&world, "ada", "password", json!({"password": SECOND})).await;
    let late = crate::handlers::session::unaltered(&world.state.0, before);
    assert!(late.is_err());
}
