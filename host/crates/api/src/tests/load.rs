//! Load figures: creating, getting and listing issues over loopback, beside a bare axum
//! handler that takes and answers as many bytes, and beside the journal alone. One process,
//! so that all share the same cores:
//!
//! ```sh
//! CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 \
//!   cargo test --profile bench --package selfheal-api --lib -- --ignored --nocapture load::
//! ```

use super::world::{World, a_time};
use crate::{ApiOptions, router};
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::any;
use selfheal_domain::event::{Event, NewRecord};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::user::Actor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECONDS: Duration = Duration::from_secs(4);
const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// Issues that are there to be listed and read.
const ISSUES: usize = 2_000;

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

/// Takes everything and answers this.
fn bare(answer: Vec<u8>) -> Router {
    let answer = Bytes::from(answer);
    Router::new().fallback(any(move |body: Bytes| {
        let (answer, _) = (answer.clone(), body);
        std::future::ready(([(header::CONTENT_TYPE, "application/json")], answer))
    }))
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// One answer: its status and body.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (u16, Vec<u8>) {
    buffer.clear();
    loop {
        let read = stream.read_buf(buffer).await.unwrap();
        assert!(read > 0, "the connection is kept");
        let Some(head) = buffer.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head]).unwrap().to_lowercase();
        let length = text.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while buffer.len() < head + 4 + length {
            stream.read_buf(buffer).await.unwrap();
        }
        return (text[9..12].parse().unwrap(), buffer[head + 4..].to_vec());
    }
}

struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn figures(mut each: Vec<Duration>, took: Duration) -> Figures {
    each.sort_unstable();
    let at = |share: usize| each[(each.len() - 1) * share / 100];
    Figures {
        per_second: each.len() as f64 / took.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

/// So many connections, each with one request after another.
async fn drive(address: SocketAddr, connections: usize, request: &Arc<[u8]>) -> Figures {
    let begun = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let request = Arc::clone(request);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut each, mut buffer) = (Vec::new(), Vec::new());
                while begun.elapsed() < SECONDS {
                    let sent = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    let (status, body) = answer(&mut stream, &mut buffer).await;
                    assert!(status < 300, "{status}: {}", String::from_utf8_lossy(&body));
                    each.push(sent.elapsed());
                }
                each
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    figures(all, begun.elapsed())
}

/// So many threads that append a record of a comment's size, and nothing else.
fn append(ledger: &Arc<Ledger>, threads: usize) -> Figures {
    let begun = Instant::now();
    let record = |n: usize| NewRecord {
        at: a_time(),
        actor: Actor::Host,
        issue: None,
        event: Event::SessionRefused {
            name: format!("{n} {}", "x".repeat(300)),
        },
    };
    let each = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|n| {
                scope.spawn(move || {
                    let mut each = Vec::new();
                    while begun.elapsed() < SECONDS {
                        let sent = Instant::now();
                        ledger.store().append(record(n), None).unwrap();
                        each.push(sent.elapsed());
                    }
                    each
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    figures(each, begun.elapsed())
}

fn print(what: &str, connections: usize, figures: &Figures) {
    println!(
        "{what:<28} {connections:>3} connections {:>9.0}/s   p50 {:>9.1?}   p99 {:>9.1?}",
        figures.per_second, figures.p50, figures.p99
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: half a minute, for a release build on a quiet machine"]
async fn create_get_and_list_beside_a_bare_handler() {
    let world = World::with(ApiOptions {
        user_per_minute: u32::MAX,
        source_per_minute: u32::MAX,
        reports_per_minute: u32::MAX,
        ..ApiOptions::default()
    });
    for _ in 0..ISSUES {
        world.report("ada").await;
    }
    let token = world.token("admin");
    let report = r#"{"title":"Checkout shows 500","description":"Paying with an empty cart answers 500. It began with the release of this morning, and it happens every time, in every browser that we tried.","stepsToReproduce":"1. Empty the cart. 2. Pay.","expectedBehavior":"A message that the cart is empty.","service":"shop"}"#;
    let api = serve(router(world.state.clone())).await;
    for (what, request) in [
        ("create", request("POST", "/api/v1/issues", token, report)),
        ("get", request("GET", "/api/v1/issues/7", token, "")),
        ("list of 50", request("GET", "/api/v1/issues", token, "")),
    ] {
        let request: Arc<[u8]> = request.into();
        let mut stream = TcpStream::connect(api).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let (_, body) = answer(&mut stream, &mut Vec::new()).await;
        println!(
            "{what}: {} bytes asked, {} answered",
            request.len(),
            body.len()
        );
        let bare = serve(bare(body)).await;
        for connections in CONNECTIONS {
            print(what, connections, &drive(api, connections, &request).await);
            let beside = drive(bare, connections, &request).await;
            print("  bare axum, same bytes", connections, &beside);
        }
    }
    for threads in CONNECTIONS {
        let ledger = Arc::clone(&world.ledger);
        let appended = tokio::task::spawn_blocking(move || append(&ledger, threads));
        print("journal append alone", threads, &appended.await.unwrap());
    }
}
