//! Load figures: creating, getting and listing issues over loopback, beside a bare axum
//! handler that takes and answers as many bytes; and what creating costs below the edge:
//! the ledger alone, and a bare file that as many bytes are appended to and flushed, with
//! as many writers, who share flushes there too. One process, so that all share the same
//! cores:
//!
//! ```sh
//! CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 \
//!   cargo test --profile bench --package selfheal-api --lib -- --ignored --nocapture load::
//! ```

use super::world::World;
use crate::{ApiOptions, router};
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::any;
use selfheal_domain::ids::{IssueId, IssueNumber};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::report::Report;
use selfheal_domain::user::Actor;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

const SECONDS: Duration = Duration::from_secs(3);
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

/// So many threads, each with one `act` after another.
fn repeat(threads: usize, act: impl Fn() + Sync) -> Figures {
    let begun = Instant::now();
    let each = std::thread::scope(|scope| {
        let work = || {
            let mut each = Vec::new();
            while begun.elapsed() < SECONDS {
                let sent = Instant::now();
                act();
                each.push(sent.elapsed());
            }
            each
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|it| it.join().unwrap());
        ends.flatten().collect()
    });
    figures(each, begun.elapsed())
}

/// Opens issues with the same report, without the edge.
fn open(ledger: &Ledger, threads: usize, report: &Report) -> Figures {
    repeat(threads, || {
        // Far from the ids that the edge gives.
        static LAST: AtomicU64 = AtomicU64::new(u64::MAX / 2);
        let id = IssueId(Uuid::from_u64_pair(LAST.fetch_add(1, Ordering::Relaxed), 0));
        ledger.open(id, report.clone(), Actor::Operator).unwrap();
    })
}

/// Appends so many bytes to a file: one thread writes what all wait for, and flushes once.
fn append(directory: &Path, threads: usize, bytes: usize) -> Figures {
    let mut file = File::create(directory.join("bare")).unwrap();
    let (send, waiting) = sync_channel::<SyncSender<()>>(4_096);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(first) = waiting.recv() {
                let all: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                file.write_all(&vec![b'x'; bytes * all.len()]).unwrap();
                file.sync_data().unwrap();
                for one in all {
                    one.send(()).unwrap();
                }
            }
        });
        let figures = repeat(threads, || {
            let (done, wait) = sync_channel(1);
            send.send(done).unwrap();
            wait.recv().unwrap();
        });
        drop(send);
        figures
    })
}

/// Bytes in the journal.
fn journal_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("journal")).unwrap();
    files.map(|it| it.unwrap().metadata().unwrap().len()).sum()
}

fn print(what: &str, at_once: usize, figures: &Figures) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (millis(figures.p50), millis(figures.p99));
    println!(
        "{what:<26} {at_once:>7} {:>10.0} {p50:>10.2} {p99:>10.2}",
        figures.per_second
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: two minutes, for a release build on a quiet machine"]
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
    println!("call                       at once      per s     p50 ms     p99 ms");
    for (what, request) in [
        ("create", request("POST", "/api/v1/issues", token, report)),
        ("get", request("GET", "/api/v1/issues/7", token, "")),
        ("list of 50", request("GET", "/api/v1/issues", token, "")),
    ] {
        let request: Arc<[u8]> = request.into();
        let before = journal_bytes(world.directory.path());
        let mut stream = TcpStream::connect(api).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let (_, body) = answer(&mut stream, &mut Vec::new()).await;
        let written = journal_bytes(world.directory.path()) - before;
        println!(
            "{what}: {} bytes asked, {} answered, {written} written",
            request.len(),
            body.len()
        );
        let bare = serve(bare(body)).await;
        for connections in CONNECTIONS {
            print(what, connections, &drive(api, connections, &request).await);
            let beside = drive(bare, connections, &request).await;
            print("  bare axum handler", connections, &beside);
            if written > 0 {
                let ledger = Arc::clone(&world.ledger);
                let issue = ledger.store().issue(IssueNumber(1)).unwrap().unwrap();
                let report = Report {
                    description: "x".repeat(report.len() - 100),
                    ..issue.report
                };
                let directory = world.directory.path().to_owned();
                let bytes = usize::try_from(written).unwrap();
                let below = tokio::task::spawn_blocking(move || {
                    let opened = open(&ledger, connections, &report);
                    (opened, append(&directory, connections, bytes))
                });
                let (opened, appended) = below.await.unwrap();
                print("  ledger without the edge", connections, &opened);
                print("  bare append, fdatasync", connections, &appended);
            }
        }
    }
}
