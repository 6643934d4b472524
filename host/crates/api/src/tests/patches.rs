//! Approval, review, switches, services, decisions.

use super::world::{GONE, World, judgement};
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::ids::{CommitId, DecisionId, IssueNumber};
use selfheal_domain::policy::{AgentPhase, ToolCallFacts};
use selfheal_domain::user::Actor;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_patch_is_reviewed_by_its_digest() {
    let world = World::new();
    let number = world.report("ada").await;
    let at = |rest: &str| format!("/api/v1/issues/{number}{rest}");
    let patch =
        |path: String, body: Value| async { world.call("admin", "PATCH", &{ path }, body).await };
    patch(at("/patch/approve"), json!({"patchDigest": "0".repeat(64)}))
        .await
        .problem(409);
    world.get("admin", &at("/patch")).await.problem(404);

    let approved = patch(at("/approve"), Value::Null).await.json();
    assert_eq!(
        (&approved["status"], &approved["approvedBy"]),
        (&json!("APPROVED"), &json!("admin"))
    );
    patch(at("/approve"), Value::Null).await.problem(409);
    patch(at("/approve"), json!({"force": true}))
        .await
        .problem(422);
    let digest = world.draft_patch(number);

    let review = world.get("admin", &at("/patch")).await.json();
    assert_eq!(review["patchDigest"], digest);
    assert_eq!(
        (&review["riskScore"], &review["riskLevel"]),
        (&json!(12), &json!("LOW"))
    );
    assert_eq!(review["decision"]["action"], "review");
    assert_eq!(review["decision"]["reviews"], 1);
    assert_eq!(review["factors"][0]["name"], "few-lines");
    assert_eq!(review["proof"]["result"], "PASS");
    assert_eq!(review["files"][0]["patchedContent"], "new line\n");
    assert_eq!(review["rivals"].as_array().unwrap().len(), 1);
    assert!(review["patchDiff"].as_str().unwrap().contains("+new line"));

    let seen = world.get("ada", &at("")).await.json();
    assert_eq!(
        (&seen["status"], &seen["rootCause"]),
        (&json!("PATCH_PENDING"), &json!("off by one"))
    );
    assert!(
        seen.get("diagnosticLog").is_none()
            && seen["filesModified"][0].get("patchedContent").is_none()
    );
    world.get("ada", &at("?include=files")).await.problem(403);
    let full = world.get("auditor", &at("?include=files")).await.json();
    assert_eq!(full["filesModified"][0]["originalContent"], "old line\n");
    assert_eq!(full["diagnosticLog"], "tried 12 candidates");
    assert_eq!(
        full["runs"][0]["branch"],
        format!("selfheal/issue-{number}/run-1")
    );
    world.get("admin", &at("?include=all")).await.problem(422);

    patch(at("/patch/approve"), json!({"patchDigest": "0".repeat(64)}))
        .await
        .problem(409);
    patch(at("/patch/approve"), json!({"patchDigest": "zz"}))
        .await
        .problem(422);
    patch(at("/patch/approve"), json!({})).await.problem(422);
    let done = patch(at("/patch/approve"), json!({"patchDigest": digest})).await;
    assert_eq!(done.status.as_u16(), 200, "{}", done.text);
    patch(at("/patch/approve"), json!({"patchDigest": digest}))
        .await
        .problem(409);
}

#[tokio::test]
async fn commits_are_shown_with_their_trailers_as_long_as_they_are_there() {
    let world = World::new();
    for (commit, trailers) in [
        (
            "c".repeat(40),
            json!([{"name": "Selfheal-Kind", "value": "heal"}]),
        ),
        (GONE.to_owned(), Value::Null),
    ] {
        let number = world.report("ada").await;
        let at = |rest: &str| format!("/api/v1/issues/{number}{rest}");
        world
            .call("admin", "PATCH", &at("/approve"), Value::Null)
            .await
            .json();
        let digest = world.draft_patch(number);
        let none = world.get("auditor", &at("/commits")).await.json();
        assert_eq!(none, json!({"commits": []}), "a draft is on no live branch");
        let approval = json!({"patchDigest": digest});
        world
            .call("admin", "PATCH", &at("/patch/approve"), approval)
            .await
            .json();
        let begun = world.ledger.begin_apply(IssueNumber(number), Actor::Host);
        drop(begun.unwrap());
        let applied = Event::PatchApplied {
            commit: CommitId(commit.clone()),
            probes: Vec::new(),
        };
        let applied = world
            .ledger
            .record(IssueNumber(number), Actor::Host, applied);
        drop(applied.unwrap());
        let made = world.get("auditor", &at("/commits")).await.json();
        let made = &made["commits"][0];
        assert_eq!(
            (&made["run"], &made["kind"], &made["commit"]),
            (&json!(1), &json!("heal"), &json!(commit))
        );
        assert_eq!(made["trailers"], trailers);
    }
}

#[tokio::test]
async fn a_patch_is_sent_back_or_rejected_with_a_reason() {
    let world = World::new();
    for (redraft, status) in [(true, "DIAGNOSED"), (false, "REJECTED")] {
        let number = world.report("ada").await;
        world
            .call(
                "admin",
                "PATCH",
                &format!("/api/v1/issues/{number}/approve"),
                json!({}),
            )
            .await;
        world.draft_patch(number);
        let place = format!("/api/v1/issues/{number}/patch/reject");
        world
            .call("admin", "PATCH", &place, json!({"redraft": redraft}))
            .await
            .problem(422);
        let body = json!({"reason": "too broad", "redraft": redraft});
        let issue = world.call("admin", "PATCH", &place, body).await.json();
        assert_eq!(issue["status"], status, "{issue}");
    }
}

#[tokio::test]
async fn another_attempt_begins_where_it_is_asked_to() {
    let world = World::new();
    let number = world.report("ada").await;
    let at = |rest: &str| format!("/api/v1/issues/{number}{rest}");
    let retry = |body| world.call("admin", "POST", "/api/v1/issues/1/retry", body);
    assert_eq!(number, 1);
    world
        .call("admin", "PATCH", &at("/approve"), json!({}))
        .await
        .json();
    world.draft_patch(number);
    let (detail, _) = retry(json!({"from": "prove"})).await.problem(409);
    assert!(detail.contains("PATCH_PENDING"), "{detail}");
    world
        .call("admin", "POST", &at("/abort"), json!({"reason": "later"}))
        .await
        .json();
    let (_, fields) = retry(json!({"from": "verify"})).await.problem(422);
    assert_eq!(fields[0].0, "from");
    let (detail, _) = retry(json!({"from": "prove"})).await.problem(409);
    assert!(detail.contains("at level OBSERVE"), "{detail}");
    let level = json!({"level": 1, "reason": "review"});
    world
        .call("admin", "PUT", "/api/v1/autonomy", level)
        .await
        .json();
    let issue = retry(json!({"from": "prove"})).await.json();
    assert_eq!(issue["status"], "APPROVED");
    let events = world.get("admin", &at("/events")).await.json();
    let last = events["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["data"]["from"], "prove", "{last}");
    let said = last["summary"].as_str().unwrap();
    assert!(said.contains("cause and patch are kept"), "{said}");
}

#[tokio::test]
async fn triage_rejection_abort_and_switches() {
    let world = World::new();
    let number = world.report("ada").await;
    let at = |rest: &str| format!("/api/v1/issues/{number}{rest}");
    let triage = json!({"priority": "P0", "severity": "CRITICAL"});
    let issue = world
        .call("admin", "PATCH", &at("/priority"), triage)
        .await
        .json();
    assert_eq!(
        (&issue["priority"], &issue["severity"]),
        (&json!("P0"), &json!("CRITICAL"))
    );
    world
        .call("admin", "PATCH", &at("/priority"), json!({}))
        .await
        .problem(422);
    world
        .call("admin", "POST", &at("/retry"), Value::Null)
        .await
        .problem(409);
    let issue = world
        .call("admin", "POST", &at("/abort"), json!({"reason": "not now"}))
        .await
        .json();
    assert_eq!(issue["status"], "ABORTED");
    world
        .call("admin", "PATCH", &at("/reject"), json!({"reason": "late"}))
        .await
        .problem(409);
    let issue = world
        .call("admin", "POST", &at("/retry"), json!({}))
        .await
        .json();
    assert_eq!(issue["status"], "APPROVED");

    let autonomy = world.get("admin", "/api/v1/autonomy").await.json();
    assert_eq!(
        (&autonomy["level"], &autonomy["frozen"]),
        (&json!(0), &json!(false))
    );
    let put = |body| world.call("admin", "PUT", "/api/v1/autonomy", body);
    assert_eq!(
        put(json!({"level": 2, "reason": "trust"})).await.json()["levelName"],
        "AUTO_LOW"
    );
    assert_eq!(
        put(json!({"level": 3, "reason": "more"}))
            .await
            .problem(422)
            .1[0]
            .0,
        "level"
    );
    put(json!({"level": 9, "reason": "more"}))
        .await
        .problem(422);
    put(json!({"level": -1, "reason": "less"}))
        .await
        .problem(422);
    put(json!({"level": 1})).await.problem(422);
    let frozen = world
        .call(
            "admin",
            "POST",
            "/api/v1/freeze",
            json!({"reason": "incident"}),
        )
        .await;
    assert_eq!(frozen.json()["frozen"], true);
    let lifted = world
        .call(
            "admin",
            "DELETE",
            "/api/v1/freeze",
            json!({"reason": "over"}),
        )
        .await;
    assert_eq!(lifted.json()["frozen"], false);

    assert_eq!(
        world.get("admin", "/api/v1/services").await.json()["items"][0]["name"],
        "web"
    );
    let restarted = world
        .call("admin", "POST", "/api/v1/services/web/restart", Value::Null)
        .await;
    assert_eq!(restarted.json()["state"], "running");
    world
        .call("admin", "POST", "/api/v1/services/db/restart", Value::Null)
        .await
        .problem(404);
    let policies = world.get("auditor", "/api/v1/policies").await.json();
    assert_eq!(
        (&policies["generation"], &policies["items"][0]["kind"]),
        (&json!(1), &json!("guardrail"))
    );
}

#[tokio::test]
async fn events_are_paged_and_reporters_read_plain_words_only() {
    let world = World::new();
    let number = world.report("ada").await;
    world
        .call(
            "admin",
            "PATCH",
            &format!("/api/v1/issues/{number}/approve"),
            json!({}),
        )
        .await;
    world.draft_patch(number);
    let decision = DecisionId(Uuid::from_u128(99));
    let mut pages = Vec::new();
    let mut place = format!("/api/v1/issues/{number}/events?limit=3");
    loop {
        let page = world.get("ada", &place).await.json();
        pages.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page.get("nextCursor") else {
            break;
        };
        place = format!(
            "/api/v1/issues/{number}/events?limit=3&cursor={}",
            cursor.as_str().unwrap()
        );
    }
    let kinds: Vec<_> = pages
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "issue.opened",
            "issue.approved",
            "diagnosis.started",
            "diagnosis.finished",
            "drafting.started",
            "patch.drafted",
            "patch.proved"
        ]
    );
    assert!(
        pages
            .iter()
            .skip(1)
            .all(|event| event.get("data").is_none())
    );
    assert_eq!(pages[3]["summary"], "cause found: off by one");
    let full = world
        .get("admin", &format!("/api/v1/issues/{number}/events"))
        .await;
    assert_eq!(full.json()["items"].as_array().unwrap().len(), 9);
    assert!(
        !full.text.contains("old line") && !full.text.contains("tried 12"),
        "contents and agent logs stay out"
    );
    world
        .get("ada", &format!("/api/v1/issues/{number}/events?cursor=x"))
        .await
        .problem(422);

    let other = world.report("bob").await;
    world
        .call(
            "admin",
            "PATCH",
            &format!("/api/v1/issues/{other}/approve"),
            json!({}),
        )
        .await;
    world.start_diagnosis(other);
    let facts = ToolCallFacts {
        tool: "Bash".into(),
        input: "{\"command\":\"ls\"}".into(),
        commands: Vec::new(),
        parsed: true,
        paths: Vec::new(),
        network: Vec::new(),
        bytes: 0,
    };
    let called = ToolDecision {
        id: decision,
        phase: AgentPhase::Diagnosis,
        facts,
        judgement: judgement(),
        external: None,
    };
    world.record(
        other,
        Actor::Agent("engine:none".into()),
        Event::ToolCalled(called),
    );
    let outcome = ToolOutcome::Succeeded("exit 0".into());
    world.record(
        other,
        Actor::Host,
        Event::ToolFinished { decision, outcome },
    );
    let list = world.get("auditor", "/api/v1/decisions").await.json();
    assert_eq!(
        (&list["items"][0]["tool"], &list["items"][0]["verdict"]),
        (&json!("Bash"), &json!("allow"))
    );
    let one = world
        .get("auditor", &format!("/api/v1/decisions/{}", decision.0))
        .await
        .json();
    assert_eq!(
        (&one["outcome"]["outcome"], &one["facts"]["parsed"]),
        (&json!("succeeded"), &json!(true))
    );
    assert_eq!(one["modules"][0]["module"], "shell-guard");
    let bob = world
        .get("bob", &format!("/api/v1/issues/{other}/events"))
        .await
        .text;
    assert!(!bob.contains("tool."), "{bob}");

    let checkpoint = world
        .get("auditor", "/api/v1/audit/checkpoint")
        .await
        .json();
    let size = checkpoint["size"].as_u64().unwrap();
    let last = world
        .get("auditor", &format!("/api/v1/audit?cursor={}", size - 1))
        .await
        .json();
    assert_eq!(last["items"][0]["hash"], checkpoint["head"]);
    let proof = world
        .get("auditor", &format!("/api/v1/audit/proof/{}", size - 1))
        .await
        .json();
    assert_eq!(proof["record"], checkpoint["head"]);
    assert_eq!(proof["checkpoint"], checkpoint["checkpoint"]);
    for missing in [size.to_string(), "-1".to_owned(), "x".to_owned()] {
        let place = format!("/api/v1/audit/proof/{missing}");
        world.get("auditor", &place).await.problem(404);
    }
    let tile = "/api/v1/audit/tlog/tile/0/000";
    let part = world.get("auditor", &format!("{tile}.p/1")).await;
    assert_eq!(part.headers["content-type"], "application/octet-stream");
    world.get("auditor", tile).await.problem(404);
    let escape = "/api/v1/audit/tlog/tile/0/..%2f..%2f..%2flog.key";
    world.get("auditor", escape).await.problem(404);
    assert!(last.get("nextCursor").is_none());
}

#[tokio::test]
async fn every_kind_of_decision_is_shown_with_what_it_was_made_on() {
    let world = World::new();
    let number = world.report("ada").await;
    let approve = format!("/api/v1/issues/{number}/approve");
    world
        .call("admin", "PATCH", &approve, Value::Null)
        .await
        .json();
    world.draft_patch(number);
    for (kind, answer) in [
        ("patch", "allow"),
        ("risk", "risk 12"),
        ("autonomy", "review 1"),
    ] {
        let path = format!("/api/v1/decisions?kind={kind}");
        let list = world.get("auditor", &path).await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{list}");
        assert_eq!(items[0]["kind"], kind);
        assert_eq!(items[0]["answer"], answer, "{list}");
        assert!(items[0].get("id").is_none(), "named by its position");
        let path = format!("/api/v1/decisions/{}", items[0]["seq"]);
        let one = world.get("auditor", &path).await.json();
        assert_eq!(
            (&one["answer"], &one["issue"]),
            (&json!(answer), &json!(number))
        );
        if kind == "patch" {
            assert_eq!(one["verdict"], "allow");
            assert_eq!(one["modules"][0]["module"], "shell-guard");
        }
    }
    let calls = world.get("auditor", "/api/v1/decisions").await.json();
    assert_eq!(calls["items"], json!([]), "tool calls alone without a kind");
    let admitted = world
        .get("auditor", "/api/v1/decisions?kind=admission")
        .await;
    assert_eq!(admitted.json()["items"], json!([]));
    for wrong in ["kind=mood", "order=mood"] {
        let path = format!("/api/v1/decisions?{wrong}");
        world.get("auditor", &path).await.problem(422);
    }
}

#[tokio::test]
async fn decisions_are_read_from_either_end() {
    let world = World::new();
    for _ in 0..3 {
        let number = world.report("ada").await;
        let approve = format!("/api/v1/issues/{number}/approve");
        world
            .call("admin", "PATCH", &approve, Value::Null)
            .await
            .json();
        world.draft_patch(number);
    }
    let mut read = Vec::new();
    for order in ["oldest", "newest"] {
        let (mut issues, mut cursor) = (Vec::new(), String::new());
        loop {
            let place = format!("/api/v1/decisions?kind=risk&order={order}&limit=2{cursor}");
            let page = world.get("auditor", &place).await.json();
            let items = page["items"].as_array().unwrap();
            issues.extend(items.iter().map(|item| item["issue"].as_u64().unwrap()));
            let Some(next) = page["nextCursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        read.push(issues);
    }
    assert_eq!(read, [[1, 2, 3], [3, 2, 1]]);
    let none = world
        .get("auditor", "/api/v1/decisions?order=newest&cursor=0")
        .await
        .json();
    assert_eq!(none["items"], json!([]));
}
