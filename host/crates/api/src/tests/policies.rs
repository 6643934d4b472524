//! Changing the policies: what reaches the host's control, and what comes back.

use super::world::World;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

async fn post(world: &World, path: &str, body: Value) -> super::reply::Reply {
    world
        .call("admin", "POST", &format!("/api/v1/policies{path}"), body)
        .await
}

#[tokio::test]
async fn the_status_keeps_its_old_fields_and_says_the_rest() {
    let world = World::new();
    let set = world.get("auditor", "/api/v1/policies").await.json();
    assert_eq!(set["generation"], 1);
    assert_eq!(set["digest"].as_str().unwrap().len(), 64);
    let guard = &set["items"][0];
    for (field, value) in [
        ("name", json!("guard")),
        ("version", json!("1.0.0")),
        ("kind", json!("guardrail")),
        ("state", json!("enforcing")),
        ("generation", json!(1)),
        ("hits", json!({"a.b": 2, "never_hit": 0})),
        ("faults", json!(1)),
        ("p50Micros", json!(9.5)),
    ] {
        assert_eq!(guard[field], value, "{field}");
    }
    assert_eq!(set["items"][1]["state"], "quarantined");
    assert_eq!(set["trial"]["rollout"], "canary");
    assert_eq!(set["trial"]["percent"], 10);
    assert_eq!(set["proposals"][0]["plan"]["loosened"], 1);
    assert!(set["proposals"][0].get("by").is_none());
    assert_eq!(set["grants"][0]["by"], "operator");
    assert_eq!(set["kept"][0]["source"], "start");
    assert!(set["notInForce"].as_str().unwrap().contains("line 3"));
    assert_eq!(set["environment"], "production");
    assert_eq!(set["enforcement"]["proved"], false);
    let text = world.get("auditor", "/api/v1/policies/text").await;
    assert_eq!(text.text, "four_eyes = true\n");
    let autonomy = world.get("admin", "/api/v1/autonomy").await.json();
    assert_eq!(autonomy["enforcement"]["proved"], false);
    let metrics = world.get("", "/metrics").await.text;
    for line in [
        "selfheal_policy_generation 1",
        "selfheal_enforcement_proved 0",
        "selfheal_policy_module_faults_total{module=\"guard\"} 1",
        "selfheal_policy_module_quarantined{module=\"odd\"} 1",
        "selfheal_policy_grants 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_module_is_kept_by_its_bytes_up_to_its_own_bound() {
    let world = World::new();
    let upload = |bytes: Vec<u8>, media: &'static str, signature: &'static str| {
        let token = format!("Bearer {}", world.token("admin"));
        let request = Request::post("/api/v1/policies/modules")
            .header(header::AUTHORIZATION, token)
            .header(header::CONTENT_TYPE, media)
            .header("selfheal-signature", signature);
        world.send(request.body(Body::from(bytes)).unwrap())
    };
    let wasm = "application/wasm";
    let kept = upload(vec![7; 2 * 1024 * 1024], wasm, "AQI=").await;
    assert_eq!(kept.status, StatusCode::CREATED, "{}", kept.text);
    let kept = kept.json();
    let digest = kept["digest"].as_str().unwrap();
    assert_eq!(kept["source"], format!("sha256:{digest}"));
    assert_eq!(world.control.asked(), ["keep 2097152 Some([1, 2])"]);
    let over = upload(vec![7; 16 * 1024 * 1024 + 1], wasm, "AQI=").await;
    assert!(over.problem(413).0.contains("16777216"));
    upload(vec![7], "application/json", "AQI=")
        .await
        .problem(415);
    upload(vec![7], wasm, "!").await.problem(422);
    upload(Vec::new(), wasm, "AQI=").await.problem(422);
    assert!(world.control.asked().is_empty());
}

#[tokio::test]
async fn a_candidate_is_a_text_or_edits_and_planned_before_it_is_activated() {
    let world = World::new();
    let edits = json!([{"name": "guard", "settings": {"deny": ["x"]}, "mode": "enforce"}]);
    let plan = post(&world, "/plan", json!({"edits": edits})).await.json();
    assert_eq!(plan["loosened"], 1);
    assert_eq!(plan["onlyTightens"], false);
    assert_eq!(plan["loosening"][0]["before"], "deny shell.git-push");
    assert_eq!(plan["loosening"][0]["reason"]["rule"], "shell.git-push");
    let asked = world.control.asked();
    assert!(
        asked[0].contains("Edits") && asked[0].ends_with("10000"),
        "{asked:?}"
    );
    for (body, field) in [
        (json!({}), "text"),
        (json!({"text": "a", "edits": edits}), "edits"),
        (json!({"edits": []}), "edits"),
        (json!({"text": "a", "decisions": 100_001}), "decisions"),
        (json!({"edits": [{"name": "a", "colour": 1}]}), "colour"),
    ] {
        let (_, errors) = post(&world, "/plan", body).await.problem(422);
        assert_eq!(errors[0].0, field, "{errors:?}");
    }
    let (detail, _) = post(&world, "/plan", json!({"text": "nonsense"}))
        .await
        .problem(422);
    assert!(detail.contains("line 1"), "{detail}");
    world.control.asked();

    let activate = |body: Value| post(&world, "/activate", body);
    let proposed = activate(json!({"text": "a", "reason": "r"})).await.json();
    assert_eq!(proposed["outcome"], "proposed");
    assert_eq!(proposed["proposal"], 7);
    let canary = json!({"text": "a", "rollout": "canary", "percent": 10, "reason": "r"});
    let trial = activate(canary).await.json();
    assert_eq!(trial["outcome"], "onTrial");
    assert_eq!(trial["percent"], 10);
    assert_eq!(
        world.control.asked(),
        [
            "activate Text(\"a\") Full admin r",
            "activate Text(\"a\") Canary { percent: 10 } admin r",
        ]
    );
    for body in [
        json!({"text": "a", "reason": " "}),
        json!({"text": "a"}),
        json!({"text": "a", "reason": "r", "rollout": "canary"}),
        json!({"text": "a", "reason": "r", "rollout": "canary", "percent": 100}),
        json!({"text": "a", "reason": "r", "percent": 5}),
        json!({"text": "a", "reason": "r", "rollout": "later"}),
    ] {
        activate(body).await.problem(422);
    }
    assert!(
        world.control.asked().is_empty(),
        "refused before it got there"
    );
}

#[tokio::test]
async fn every_other_change_reaches_the_control_with_who_and_why() {
    let world = World::new();
    let why = || json!({"reason": "r"});
    let call = |method: &'static str, path: &'static str, body: Value| {
        let world = &world;
        async move {
            let path = format!("/api/v1/policies{path}");
            world.call("admin", method, &path, body).await
        }
    };
    let confirmed = call("POST", "/proposals/7/confirm", Value::Null).await;
    assert_eq!(confirmed.json()["outcome"], "activated");
    call("POST", "/proposals/8/confirm", Value::Null)
        .await
        .problem(404);
    call("POST", "/proposals/x/confirm", Value::Null)
        .await
        .problem(404);
    let withdrawn = call("DELETE", "/proposals/7", why()).await;
    assert_eq!(withdrawn.json()["generation"], 1);
    let promoted = call("POST", "/trial/promote", why()).await.json();
    assert_eq!(promoted["generation"], 2);
    let ended = call("POST", "/trial/end", why()).await.json();
    assert_eq!(ended["outcome"], "unchanged");
    call("POST", "/rollback", why()).await.json();
    let body = json!({"generation": 3, "reason": "r"});
    let (detail, _) = call("POST", "/rollback", body).await.problem(503);
    assert!(detail.contains("disk full"), "{detail}");
    call("POST", "/quarantine/odd/release", why()).await.json();
    call("POST", "/quarantine/guard/release", why())
        .await
        .problem(409);
    let body = json!({"rule": "a.b", "issue": 3, "minutes": 30, "reason": "r"});
    let granted = call("POST", "/grants", body).await;
    assert_eq!(granted.status, StatusCode::CREATED);
    assert_eq!(granted.json()["until"], "2030-01-01T00:30:00Z");
    call("DELETE", "/grants/7", why()).await.json();
    call("DELETE", "/grants/8", why()).await.problem(404);
    call("DELETE", "/grants/7", json!({})).await.problem(422);
    assert_eq!(
        world.control.asked(),
        [
            "confirm 7 admin",
            "confirm 8 admin",
            "withdraw 7 admin r",
            "trial Yes admin r",
            "trial No admin r",
            "back to None admin r",
            "back to Some(3) admin r",
            "release odd admin r",
            "release guard admin r",
            "grant a.b Some(IssueNumber(3)) 30 admin r",
            "revoke 7 admin r",
            "revoke 8 admin r",
        ]
    );
}

#[tokio::test]
async fn a_decision_is_explained_by_its_position_also_under_another_set() {
    let world = World::new();
    let place = "/api/v1/decisions/5/explanation";
    let told = world.get("auditor", place).await.json();
    assert_eq!(told["modules"][0]["reason"]["rule"], "shell.git-push");
    assert_eq!(told["again"][0]["factors"][0]["points"], 40);
    assert_eq!(told["same"], false);
    let under = world
        .call("auditor", "POST", place, json!({"text": "a"}))
        .await;
    assert_eq!(under.status, StatusCode::OK, "{}", under.text);
    assert_eq!(
        world.control.asked(),
        ["explain 5 None", "explain 5 Some(Text(\"a\"))"]
    );
    world
        .get("auditor", "/api/v1/decisions/9999/explanation")
        .await
        .problem(404);
    world
        .get("auditor", "/api/v1/decisions/0")
        .await
        .problem(404);
}

#[tokio::test]
async fn the_operator_acts_over_the_local_socket_without_a_token() {
    let world = World::new();
    let request = |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        super::world::send(
            world.control(),
            request.body(Body::from(body.to_string())).unwrap(),
        )
    };
    let body = json!({"text": "a", "reason": "r"});
    let reply = request("POST", "/api/v1/policies/activate", body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let path = "/api/v1/policies/proposals/7/confirm";
    request("POST", path, json!({})).await.problem(403);
    assert_eq!(
        world.control.asked(),
        ["activate Text(\"a\") Full operator r", "confirm 7 operator"]
    );
    let status = request("GET", "/status", json!({})).await.json();
    assert_eq!(status["policies"]["grants"][0]["rule"], "a.b");
}
