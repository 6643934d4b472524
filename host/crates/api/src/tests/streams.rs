//! Server-sent events: complete, in order, once, after any interruption.

use super::world::World;
use crate::ApiOptions;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode, header};
use futures::StreamExt;
use selfheal_domain::ids::IssueNumber;
use selfheal_pipeline::feed::FeedItem;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

/// One event of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
struct Seen {
    id: Option<u64>,
    event: Option<String>,
    data: Value,
}

struct Stream {
    body: BodyDataStream,
    buffer: String,
}

impl World {
    async fn open(&self, who: &str, path: &str, last: Option<u64>) -> (StatusCode, Stream) {
        let mut request = Request::builder().uri(path);
        if !who.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token(who)));
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = response.into_body().into_data_stream();
        (
            status,
            Stream {
                body,
                buffer: String::new(),
            },
        )
    }

    pub(super) async fn status_of(&self, who: &str, path: &str) -> StatusCode {
        self.open(who, path, None).await.0
    }
}

impl Stream {
    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<Seen> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let mut seen = Seen::default();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => seen.id = Some(id.parse().unwrap()),
                        Some(("event", event)) => seen.event = Some(event.to_owned()),
                        Some(("data", data)) => seen.data = serde_json::from_str(data).unwrap(),
                        _ => {}
                    }
                }
                if !seen.data.is_null() {
                    return Some(seen);
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.body.next());
            let chunk = chunk.await.expect("the stream says something")?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.expect("the stream goes on"));
        }
        all
    }
}

async fn say(world: &World, number: u64, text: &str) {
    let place = format!("/api/v1/issues/{number}/comments");
    let reply = world
        .call("admin", "POST", &place, json!({"content": text}))
        .await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
}

fn words(events: &[Seen]) -> Vec<&str> {
    events
        .iter()
        .map(|seen| seen.data["data"]["content"].as_str().unwrap_or("-"))
        .collect()
}

#[tokio::test]
async fn a_stream_replays_goes_on_live_and_resumes_without_gap_or_duplicate() {
    let world = World::new();
    let (mine, other) = (world.report("ada").await, world.report("bob").await);
    let place = format!("/api/v1/issues/{mine}/stream");
    say(&world, mine, "one").await;
    let (_, mut stream) = world.open("ada", &place, None).await;
    let past = stream.take(2).await;
    assert_eq!(words(&past), ["-", "one"]);
    say(&world, other, "not yours").await;
    say(&world, mine, "two").await;
    let live = stream.take(1).await;
    assert_eq!(words(&live), ["two"]);
    drop(stream);
    say(&world, mine, "three").await;
    let (_, mut stream) = world.open("ada", &place, live[0].id).await;
    assert_eq!(words(&stream.take(1).await), ["three"]);
    say(&world, mine, "four").await;
    assert_eq!(words(&stream.take(1).await), ["four"]);
    world
        .get("ada", &format!("{place}?lastEventId=x"))
        .await
        .problem(422);
}

#[tokio::test]
async fn the_stream_of_all_issues_shows_users_their_own_only() {
    let world = World::new();
    let (mine, other) = (world.report("ada").await, world.report("bob").await);
    let (_, mut ada) = world.open("ada", "/api/v1/stream", Some(0)).await;
    let (_, mut admin) = world.open("admin", "/api/v1/stream", None).await;
    assert_eq!(ada.take(1).await[0].data["issue"], mine);
    for n in 0..300 {
        // Far more than the feed keeps for a slow reader.
        say(
            &world,
            if n % 2 == 0 { other } else { mine },
            &n.to_string(),
        )
        .await;
    }
    let seen = ada.take(150).await;
    assert!(seen.iter().all(|seen| seen.data["issue"] == mine));
    let expected: Vec<_> = (0..300)
        .filter(|n| n % 2 == 1)
        .map(|n| n.to_string())
        .collect();
    assert_eq!(words(&seen), expected);
    let all = admin.take(300).await;
    let ids: Vec<_> = all.iter().map(|seen| seen.id.unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[tokio::test]
async fn progress_notes_have_no_id_and_reach_those_who_may_see_the_issue() {
    let world = World::new();
    let (mine, other) = (world.report("ada").await, world.report("bob").await);
    let (_, mut ada) = world.open("ada", "/api/v1/stream", None).await;
    for (issue, note) in [(other, "hidden"), (mine, "12 candidates")] {
        let note = note.to_owned();
        world.feed.publish(&FeedItem::Progress {
            issue: IssueNumber(issue),
            note,
        });
    }
    let seen = ada.next().await.unwrap();
    assert_eq!((seen.id, seen.event.as_deref()), (None, Some("progress")));
    assert_eq!(seen.data, json!({"issue": mine, "note": "12 candidates"}));
}

#[tokio::test]
async fn streams_end_when_the_host_stops() {
    let world = World::new();
    let (_, mut stream) = world.open("admin", "/api/v1/stream", None).await;
    world.state.close_streams();
    assert_eq!(stream.next().await, None);
    let (_, mut late) = world.open("admin", "/api/v1/stream", None).await;
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn a_reader_who_takes_nothing_loses_the_stream_and_nothing_else() {
    let world = World::with(ApiOptions {
        stream_patience: Duration::from_millis(200),
        ..ApiOptions::default()
    });
    let mine = world.report("ada").await;
    for n in 0..100 {
        say(&world, mine, &n.to_string()).await;
    }
    let place = format!("/api/v1/issues/{mine}/stream");
    let (_, mut stalled) = world.open("ada", &place, None).await;
    // Nobody reads: the log is not waited with in memory, and the stream is closed.
    while world.state.0.wakes.receiver_count() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut seen = Vec::new();
    while let Some(event) = stalled.next().await {
        seen.push(event);
    }
    assert!(seen.len() < 20, "{} events waited", seen.len());
    let (_, mut stream) = world.open("ada", &place, seen.last().unwrap().id).await;
    seen.extend(stream.take(101 - seen.len()).await);
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(words(&seen)[1..], expected);
}

/// Long events go out in small parts, all of them.
#[tokio::test]
async fn long_events_are_complete() {
    let world = World::new();
    let mine = world.report("ada").await;
    for n in 0..12 {
        say(&world, mine, &format!("{n}{}", "x".repeat(60_000))).await;
    }
    let place = format!("/api/v1/issues/{mine}/stream");
    let (_, mut stream) = world.open("ada", &place, None).await;
    let seen = stream.take(13).await;
    for (n, seen) in seen[1..].iter().enumerate() {
        let text = seen.data["data"]["content"].as_str().unwrap();
        assert!(text.starts_with(&format!("{n}x")) && text.len() > 60_000);
    }
}
