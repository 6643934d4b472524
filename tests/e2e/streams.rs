//! Streams through connections that break, with readers that stall, many at once.

use crate::programs::cart;
use selfheal_tests::{Project, TestHost, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One event, as far as it is a record: its id and its data.
type Event = (u64, Value);

/// Opens a stream; the reader gives what comes, decoded.
fn open(url: &str, token: &str, path: &str, last: Option<u64>) -> Option<Box<dyn BufRead>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut request = agent
        .get(format!("{url}/api/v1{path}"))
        .header("authorization", format!("Bearer {token}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    // A connection that breaks before the first line is one that breaks.
    let response = request.call().ok()?;
    Some(Box::new(BufReader::new(response.into_body().into_reader())))
}

/// Reads events until the connection ends or `each` has enough. An event that did not
/// come to its end is none: whether there was one.
fn read(reader: &mut dyn BufRead, mut each: impl FnMut(Event) -> bool) -> bool {
    let (mut id, mut data, mut line) = (None, String::new(), String::new());
    loop {
        line.clear();
        if !matches!(reader.read_line(&mut line), Ok(1..)) || !line.ends_with('\n') {
            return id.is_some() || !line.is_empty();
        }
        match line.trim_end().split_once(": ") {
            Some(("id", text)) => id = text.parse().ok(),
            Some(("data", text)) => text.clone_into(&mut data),
            _ if line == "\n" => {
                if let Some(id) = id.take()
                    && each((id, serde_json::from_str(&data).unwrap()))
                {
                    return false;
                }
            }
            _ => {}
        }
    }
}

/// Passes connections on to the host, and breaks one after another when so many bytes of
/// its answer have passed; later ones not.
fn breaking(host: SocketAddr, after: Vec<usize>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let broken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&broken);
    std::thread::spawn(move || {
        let mut after = after.into_iter();
        for client in listener.incoming().map_while(Result::ok) {
            let (most, count) = (after.next().unwrap_or(usize::MAX), Arc::clone(&count));
            std::thread::spawn(move || pass_on(client, host, most, &count));
        }
    });
    (url, broken)
}

fn pass_on(mut client: TcpStream, host: SocketAddr, most: usize, broken: &AtomicUsize) {
    let mut upstream = TcpStream::connect(host).unwrap();
    let (mut asks, mut to_host) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    std::thread::spawn(move || {
        // Ends when either side is gone.
        let _ = std::io::copy(&mut asks, &mut to_host);
        let _ = to_host.shutdown(Shutdown::Both);
    });
    let (mut passed, mut buffer) = (0, [0; 4096]);
    while let Ok(count @ 1..) = upstream.read(&mut buffer) {
        let allowed = count.min(most - passed);
        passed += allowed;
        if client.write_all(&buffer[..allowed]).is_err() {
            break;
        }
        if passed == most {
            broken.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    // Whoever is gone already cannot be told.
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
}

fn comment(host: &TestHost, issue: u64, text: &str) {
    let path = format!("/issues/{issue}/comments");
    let answer = host.send(&host.admin, "POST", &path, Some(json!({ "content": text })));
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Ids of all events of an issue, by its list.
fn listed(host: &TestHost, issue: u64) -> Vec<u64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/issues/{issue}/events?limit=7{cursor}");
        let page = host.admin("GET", &path, None);
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|item| item["seq"].as_u64().unwrap()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[test]
fn a_stream_survives_every_broken_connection() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    let issue = host.report(&ann, "The discount starts too late");
    let address = host.url().trim_start_matches("http://").parse().unwrap();
    let after: Vec<_> = (0..40).map(|n| 500 + n * 977 % 2_300).collect();
    let (url, broken) = breaking(address, after.clone());
    let (events, cut) = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let path = format!("/issues/{issue}/stream");
            let (mut events, mut cut): (Vec<Event>, usize) = (Vec::new(), 0);
            let ended = |events: &Vec<Event>| {
                let last = events.last();
                last.is_some_and(|(_, data)| data["data"]["content"] == "the last one")
            };
            while !ended(&events) {
                let last = events.last().map(|(id, _)| *id);
                let Some(mut reader) = open(&url, &ann, &path, last) else {
                    continue;
                };
                let inside = read(&mut *reader, |event| {
                    events.push(event);
                    ended(&events)
                });
                cut += usize::from(inside);
            }
            (events, cut)
        });
        for n in 0..60 {
            comment(
                &host,
                issue,
                &format!("{n} {}", "so it goes ".repeat(n * 7 % 60)),
            );
        }
        eventually("all connections broke", Duration::from_secs(120), || {
            comment(&host, issue, "and so on");
            (broken.load(Ordering::SeqCst) == after.len()).then_some(())
        });
        comment(&host, issue, "the last one");
        follower.join().unwrap()
    });
    let seen: Vec<_> = events.iter().map(|(id, _)| *id).collect();
    assert_eq!(seen, listed(&host, issue), "each once, in order");
    assert!(cut > 10, "{cut} of {} broke inside an event", after.len());
}

/// Resident memory, in MiB.
fn resident(host: &TestHost) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kib.parse::<usize>().unwrap() / 1024
}

/// Opens a stream and takes nothing of it.
fn stall(host: &TestHost, token: &str) -> TcpStream {
    let address = host.url().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /api/v1/stream HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).unwrap();
    connection
}

/// So many watchers, half of whom read nothing, while so many long comments are made. Each
/// of the others gets all of them, and the host does not hold what the rest does not take.
fn watched(project: &Project, host: &TestHost, watchers: usize, comments: usize) {
    let most_per_person = 24;
    let people: Vec<_> = (0..watchers.div_ceil(most_per_person))
        .map(|n| host.user(project, &format!("sue{n}"), "auditor"))
        .collect();
    let issues: Vec<_> = (0..comments.div_ceil(6))
        .map(|n| host.report(&host.admin, &format!("Number {n}")))
        .collect();
    let of = |n: usize| people[n / most_per_person].as_str();
    let before = resident(host);
    let stalled: Vec<_> = (0..watchers / 2).map(|n| stall(host, of(n))).collect();
    let (ready, reading) = std::sync::mpsc::channel();
    let begun = std::time::Instant::now();
    let (opened, after) = std::thread::scope(|scope| {
        let readers: Vec<_> = (watchers / 2..watchers)
            .map(|n| {
                let (token, ready) = (of(n), ready.clone());
                scope.spawn(move || {
                    let mut reader = open(host.url(), token, "/stream", None).unwrap();
                    ready.send(()).unwrap();
                    let mut left = comments;
                    read(&mut *reader, |(_, data)| {
                        left -= usize::from(data["type"] == "issue.commented");
                        left == 0
                    });
                    left
                })
            })
            .collect();
        for _ in &readers {
            reading.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        eventually("all streams are open", Duration::from_secs(60), || {
            let (_, metrics) = host.page("/metrics");
            let line = format!("selfheal_open_streams {watchers}\n");
            metrics.contains(&line).then_some(())
        });
        let opened = resident(host);
        for n in 0..comments {
            comment(host, issues[n % issues.len()], &"x".repeat(60_000));
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0, "comments that did not come");
        }
        (opened, resident(host))
    });
    drop(stalled);
    println!(
        "{watchers} watchers, half of them stalled, {comments} comments of 60 kB in {:.1} s: \
         {before} MiB before, {opened} MiB with all streams open, {after} MiB after",
        begun.elapsed().as_secs_f64()
    );
    // Held for each of those who stall, that would be this much more.
    let held = watchers / 2 * comments * 60_000 / (1024 * 1024);
    let grown = after.saturating_sub(opened);
    assert!(
        grown < 64 + held / 4,
        "{grown} MiB more; all that stalled: {held} MiB"
    );
}

#[test]
fn watchers_who_stall_hold_no_memory() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    watched(&project, &host, 20, 120);
}

#[test]
#[ignore = "minutes; for a thorough look"]
fn two_hundred_watchers_hold_a_bounded_memory() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    watched(&project, &host, 200, 300);
}
