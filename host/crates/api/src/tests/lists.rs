//! The query language, snoozes and saved views over HTTP.

use super::world::World;
use serde_json::{Value, json};

fn numbers(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|issue| issue["number"].as_u64().unwrap())
        .collect()
}

async fn list(world: &World, who: &str, query: &str) -> Vec<u64> {
    let path = format!("/api/v1/issues?query={}", encoded(query));
    numbers(&world.get(who, &path).await.json())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_query_and_the_single_parameters_are_one_mechanism() {
    let world = World::new();
    let one = world.report("ada").await;
    let two = world.report("bob").await;
    let triage = json!({"severity": "CRITICAL", "priority": "P0"});
    let path = format!("/api/v1/issues/{two}/priority");
    world.call("admin", "PATCH", &path, triage).await;

    assert_eq!(list(&world, "admin", "").await, [two, one]);
    assert_eq!(list(&world, "admin", "severity:>=high").await, [two]);
    assert_eq!(list(&world, "admin", "-severity:>=high").await, [one]);
    assert_eq!(
        list(&world, "admin", "reported-by:ada is:open").await,
        [one]
    );
    assert_eq!(list(&world, "admin", "is:closed").await, [0; 0]);
    assert_eq!(
        list(&world, "admin", "created:<1h sort:updated")
            .await
            .len(),
        2
    );
    for single in ["severity=CRITICAL", "priority=P0", "reportedBy=bob"] {
        let path = format!("/api/v1/issues?query=is:open&{single}");
        let page = world.get("admin", &path).await.json();
        assert_eq!(numbers(&page), [two], "{single}");
    }
    // Nobody sees more by asking for it.
    assert_eq!(list(&world, "ada", "sort:updated").await, [one]);
    assert_eq!(list(&world, "ada", "reported-by:bob").await, [0; 0]);
    assert_eq!(list(&world, "ada", "-reported-by:me").await, [0; 0]);

    let path = format!("/api/v1/issues?query={}", encoded("cart severty:high"));
    let (_, errors) = world.get("admin", &path).await.problem(422);
    assert_eq!(errors[0].0, "query");
    assert!(
        errors[0].1.contains("\"severty\" is no key") && errors[0].1.contains("at character 6"),
        "{errors:?}"
    );
    let cursor = world.get("admin", "/api/v1/issues?limit=1").await.json()["nextCursor"].clone();
    let path = format!(
        "/api/v1/issues?query=sort:updated&cursor={}",
        cursor.as_str().unwrap()
    );
    world.get("admin", &path).await.problem(422);
}

#[tokio::test]
async fn a_snooze_hides_an_issue_until_its_time_its_news_or_a_word() {
    let world = World::new();
    let number = world.report("ada").await;
    let path = format!("/api/v1/issues/{number}/snooze");
    let now = world
        .get("admin", &format!("/api/v1/issues/{number}"))
        .await;
    let now = now.json()["createdAt"].as_str().unwrap().to_owned();
    for (until, wrong) in [
        (json!(now), "to come"),
        (json!("2200-01-01T00:00:00Z"), "366 days"),
    ] {
        let reply = world
            .call("admin", "PUT", &path, json!({"until": until}))
            .await;
        let (_, errors) = reply.problem(422);
        assert!(errors[0].1.contains(wrong), "{errors:?}");
    }
    let snoozed = world.call("admin", "PUT", &path, json!({})).await.json();
    assert_eq!(snoozed["snooze"], json!({}));
    assert_eq!(list(&world, "admin", "-is:snoozed").await, [0; 0]);
    assert_eq!(list(&world, "admin", "is:snoozed").await, [number]);
    let comment = json!({"content": "It happened again."});
    let comments = format!("/api/v1/issues/{number}/comments");
    world.call("ada", "POST", &comments, comment).await;
    assert_eq!(list(&world, "admin", "-is:snoozed").await, [number], "news");

    world.call("admin", "PUT", &path, json!({})).await;
    let woken = world
        .call("admin", "DELETE", &path, Value::Null)
        .await
        .json();
    assert!(woken.get("snooze").is_none(), "{woken}");
    world.call("admin", "PUT", &path, json!({})).await;
    let reject = format!("/api/v1/issues/{number}/reject");
    let over = world
        .call("admin", "PATCH", &reject, json!({"reason": "no"}))
        .await;
    assert!(over.json().get("snooze").is_none(), "its state changed");
    world
        .call("admin", "PUT", &path, json!({}))
        .await
        .problem(409);
}

#[tokio::test]
async fn issues_are_related_both_ways_and_once() {
    let world = World::new();
    let one = world.report("ada").await;
    let two = world.report("bob").await;
    let put = |path: String| {
        let world = &world;
        async move { world.call("admin", "PUT", &path, Value::Null).await }
    };
    let first = put(format!("/api/v1/issues/{one}/related/{two}"))
        .await
        .json();
    let again = put(format!("/api/v1/issues/{two}/related/{one}"))
        .await
        .json();
    assert_eq!(first["relatedIssueIds"], json!([again["id"]]));
    assert_eq!(again["relatedIssueIds"], json!([first["id"]]));
    let (_, errors) = put(format!("/api/v1/issues/{one}/related/{one}"))
        .await
        .problem(422);
    assert!(errors[0].1.contains("itself"), "{errors:?}");
    put(format!("/api/v1/issues/{one}/related/99"))
        .await
        .problem(404);
    let events = world
        .get("admin", &format!("/api/v1/issues/{one}/events"))
        .await
        .json();
    let related = |event: &&Value| event["type"] == "issue.related";
    assert_eq!(
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(related)
            .count(),
        1
    );
}

#[tokio::test]
async fn views_are_kept_per_person_and_shared_by_admins() {
    let world = World::new();
    let names = |page: Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().clone();
        let name = |view: &Value| view["name"].as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    };
    let put = |who: &'static str, name: &'static str, body: Value| {
        let path = format!("/api/v1/views/{}", encoded(name));
        let world = &world;
        async move { world.call(who, "PUT", &path, body).await }
    };
    let mine = json!({"query": "reported-by:me"});
    let kept = put("ada", "My \"own\" / ümlaut", mine.clone()).await.json();
    assert_eq!(kept["name"], "My \"own\" / ümlaut");
    assert_eq!(kept["owner"], "ada");
    let shared = json!({"query": "is:waiting", "shared": true});
    put("admin", "Burning", shared.clone()).await.json();
    put("ada", "Burning", shared.clone()).await.problem(403);
    let (_, errors) = put("ada", "x", json!({"query": "nokey:1"}))
        .await
        .problem(422);
    assert_eq!(errors[0].0, "query");
    let long: &'static str = "a name that is longer than forty characters are";
    put("ada", long, mine.clone()).await.problem(422);

    let seen = |who: &'static str| {
        let world = &world;
        async move { names(world.get(who, "/api/v1/views").await.json()) }
    };
    assert_eq!(seen("ada").await, ["My \"own\" / ümlaut", "Burning"]);
    assert_eq!(seen("bob").await, ["Burning"]);
    assert_eq!(seen("auditor").await, ["Burning"]);
    let delete = |who: &'static str, path: &'static str| {
        let world = &world;
        async move { world.call(who, "DELETE", path, Value::Null).await }
    };
    delete("bob", "/api/v1/views/Burning").await.problem(404);
    delete("bob", "/api/v1/views/Burning?owner=admin")
        .await
        .problem(403);
    let gone = delete("admin", "/api/v1/views/Burning").await;
    assert_eq!(gone.status.as_u16(), 204);
    assert_eq!(seen("bob").await, [""; 0]);
    for number in 0..50 {
        let path = format!("/api/v1/views/view-{number}");
        world.call("bob", "PUT", &path, mine.clone()).await.json();
    }
    put("bob", "one too many", mine.clone()).await.problem(422);
    put("bob", "view-7", mine).await.json();
}

#[tokio::test]
async fn each_level_says_what_it_would_have_done_last_week() {
    let world = World::new();
    let path = "/api/v1/autonomy/preview";
    let empty = world.get("admin", path).await.json();
    assert_eq!(empty["patches"], json!([]));
    let number = world.report("ada").await;
    let approve = format!("/api/v1/issues/{number}/approve");
    world.call("admin", "PATCH", &approve, Value::Null).await;
    world.draft_patch(number);
    let preview = world.get("admin", path).await.json();
    let levels = preview["levels"].as_array().unwrap();
    let numbers: Vec<_> = levels
        .iter()
        .map(|level| ["applied", "reviewed", "stopped"].map(|field| level[field].as_u64().unwrap()))
        .collect();
    // The modules of this world apply everything; the host's own ceiling holds at each.
    assert_eq!(numbers, [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 0]]);
    let patch = &preview["patches"][0];
    assert_eq!(
        (&patch["issue"], &patch["decided"]),
        (&json!(number), &json!("review"))
    );
    assert_eq!(patch["levels"][1]["reviews"], 1);
    assert!(
        patch["levels"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("OBSERVE")
    );
    let log = world
        .get("admin", "/api/v1/decisions?kind=autonomy")
        .await
        .json();
    assert_eq!(
        log["items"].as_array().unwrap().len(),
        1,
        "nothing was decided by looking"
    );
}
