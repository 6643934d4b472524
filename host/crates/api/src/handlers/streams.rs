//! Server-sent events.
//!
//! A stream reads the log from where the client left off and is merely woken by the
//! feed, so that it has neither gaps nor duplicates however fast or out of order the
//! feed is. Whoever loses their account, role or session loses the stream.

use crate::call::{Call, Credential};
use crate::gate::is_still;
use crate::problem::Problem;
use crate::state::{Shared, Wake};
use crate::views::record::EventView;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use axum::response::IntoResponse;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::StreamExt;
use selfheal_domain::event::Record;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::user::{Actor, Role};
use selfheal_pipeline::desk::{Caller, visible};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// Streams one user may have open.
const MAX_STREAMS_PER_USER: usize = 32;
/// Streams of all users together.
const MAX_STREAMS: usize = 1_024;
/// Records read at once.
const CHUNK: usize = 32;
/// Bytes of events that one reading makes at most, but for the last event.
const MOST_BYTES: usize = 256 * 1024;
/// Events that wait for a reader, beside those of one reading. A reader who takes nothing
/// for [`crate::ApiOptions::stream_patience`] loses the stream, and those with it.
const QUEUED: usize = 8;
/// How often a comment keeps the connection (and the check of the account) alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) fn issue(call: &Call) -> Result<Response<Body>, Problem> {
    let number = call
        .shared
        .desk
        .issue(call.caller()?, call.param("issue")?)?
        .number;
    open(call, Some(number))
}

pub(crate) fn all(call: &Call) -> Result<Response<Body>, Problem> {
    open(call, None)
}

/// The position after the last one that the client saw.
fn resume_at(call: &Call) -> Result<Option<u64>, Problem> {
    let header = call
        .headers
        .get(LAST_EVENT_ID)
        .map(|value| value.to_str().unwrap_or("?"));
    let Some(text) = header.or_else(|| call.query("lastEventId")) else {
        return Ok(None);
    };
    let last: u64 = text.parse().map_err(|_| {
        Problem::invalid_field(
            "Last-Event-ID",
            format!("must be an id of this stream; got {text:?}"),
        )
    })?;
    Ok(Some(last.saturating_add(1)))
}

fn open(call: &Call, only: Option<IssueNumber>) -> Result<Response<Body>, Problem> {
    let visitor = call.visitor()?;
    let (caller, credential) = (visitor.caller.clone(), visitor.credential);
    // Subscribed before the position is taken: what comes in between wakes us.
    let wakes = call.shared.wakes.subscribe();
    let (head, _) = call.shared.desk.audit_head();
    let begin = if only.is_some() { 0 } else { head };
    let slot = Slot::take(&call.shared, &caller)?;
    let watcher = Watcher {
        shared: Arc::clone(&call.shared),
        next: resume_at(call)?.map_or(begin, |next| next.min(head)),
        caller,
        credential,
        only,
        owned: HashMap::new(),
    };
    let (events, receiver) = mpsc::channel(QUEUED);
    tokio::spawn(watcher.run(wakes, Sender(events, call.shared.options.stream_patience)));
    // The stream counts as open until its connection is gone, whatever the reader does.
    let events = ReceiverStream::new(receiver).inspect(move |_| {
        let _open = &slot;
    });
    let stream =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"));
    let mut response = stream.into_response();
    // Proxies that buffer would hold the events back.
    response
        .headers_mut()
        .insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Counts an open stream; given back when dropped.
struct Slot {
    shared: Arc<Shared>,
    caller: Caller,
}

impl Slot {
    fn take(shared: &Arc<Shared>, caller: &Caller) -> Result<Self, Problem> {
        let mut streams = shared
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if streams.values().sum::<usize>() >= MAX_STREAMS {
            return Err(Problem::unavailable("too many streams are open"));
        }
        let own = streams.entry(caller.name.clone()).or_default();
        if *own >= MAX_STREAMS_PER_USER {
            let detail = format!("you have {MAX_STREAMS_PER_USER} streams open; close one");
            return Err(Problem::too_many(detail, Duration::from_secs(5)));
        }
        *own += 1;
        Ok(Self {
            shared: Arc::clone(shared),
            caller: caller.clone(),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut streams = self
            .shared
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = streams.get_mut(&self.caller.name) {
            *own -= 1;
            if *own == 0 {
                streams.remove(&self.caller.name);
            }
        }
    }
}

/// Where events go, and how long they wait for their reader.
struct Sender(mpsc::Sender<Result<SseEvent, Infallible>>, Duration);

impl Sender {
    /// None when the reader is gone, or takes nothing.
    async fn send(&self, event: SseEvent) -> Option<()> {
        let sent = tokio::time::timeout(self.1, self.0.send(Ok(event)));
        sent.await.ok()?.ok()
    }
}

struct Watcher {
    shared: Arc<Shared>,
    caller: Caller,
    credential: Credential,
    only: Option<IssueNumber>,
    next: u64,
    /// Whether an issue is the caller's, once looked up.
    owned: HashMap<IssueNumber, bool>,
}

/// What a stream does next.
enum Next {
    Read,
    Note(IssueNumber, Arc<str>),
    Wait,
}

async fn told_to_close(closing: &mut watch::Receiver<bool>) {
    // An error means that the state is gone, and the host with it.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// What one reading of the log brought.
struct Batch {
    events: Vec<SseEvent>,
    /// There may be more right away.
    more: bool,
}

impl Watcher {
    async fn run(mut self, mut wakes: broadcast::Receiver<Wake>, events: Sender) {
        let mut closing = self.shared.closing();
        let mut tick = tokio::time::interval(KEEP_ALIVE);
        let mut next = Next::Read;
        loop {
            match next {
                // Ending the stream makes the client come back with its last id.
                Next::Read => match self.drain(&events).await {
                    Some(watcher) => self = watcher,
                    None => return,
                },
                Next::Note(issue, note) => {
                    let looked_up = tokio::task::spawn_blocking(move || {
                        let sees = self.sees(issue);
                        (self, sees)
                    });
                    let Ok((watcher, sees)) = looked_up.await else {
                        return;
                    };
                    self = watcher;
                    if sees && events.send(progress(issue, &note)).await.is_none() {
                        return;
                    }
                }
                Next::Wait => {}
            }
            next = tokio::select! {
                () = events.0.closed() => return,
                () = told_to_close(&mut closing) => return,
                _ = tick.tick() => Next::Read,
                wake = wakes.recv() => match wake {
                    Ok(Wake::Record(issue)) if self.only.is_some() && self.only != issue => Next::Wait,
                    Ok(Wake::Record(_)) | Err(broadcast::error::RecvError::Lagged(_)) => Next::Read,
                    Ok(Wake::Progress(issue, note)) => Next::Note(issue, note),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            };
        }
    }

    /// Sends everything that is in the log; none when the stream must end.
    async fn drain(mut self, events: &Sender) -> Option<Self> {
        loop {
            let reading = tokio::task::spawn_blocking(move || {
                let batch = self.read();
                (self, batch)
            });
            let (watcher, batch) = reading.await.ok()?;
            self = watcher;
            let batch = batch?;
            for event in batch.events {
                events.send(event).await?;
            }
            if !batch.more {
                return Some(self);
            }
        }
    }

    /// The next records for the caller; none when the stream must end.
    fn read(&mut self) -> Option<Batch> {
        if !is_still(&self.shared, &self.caller, self.credential) {
            return None;
        }
        let records = self.shared.store().records(self.only, self.next, CHUNK);
        let records = records
            .inspect_err(|error| tracing::error!(%error, "a stream could not read the log"))
            .ok()?;
        let (mut events, mut bytes, mut left) = (Vec::new(), 0, records.len());
        let whole = left == CHUNK;
        for record in records {
            self.next = record.seq + 1;
            left -= 1;
            if self.may_see(&record) {
                let data = serde_json::to_string(&EventView::of(&record, self.caller.role)).ok()?;
                bytes += data.len();
                events.push(SseEvent::default().id(record.seq.to_string()).data(data));
            }
            if bytes > MOST_BYTES {
                break;
            }
        }
        let more = whole || left > 0;
        Some(Batch { events, more })
    }

    fn may_see(&mut self, record: &Record) -> bool {
        match record.issue {
            Some(issue) => self.sees(issue) && visible(&self.caller, record),
            None => matches!(self.caller.role, Role::Admin | Role::Auditor),
        }
    }

    /// Whether the caller may know of this issue.
    fn sees(&mut self, issue: IssueNumber) -> bool {
        if let Some(only) = self.only {
            return only == issue;
        }
        if matches!(self.caller.role, Role::Admin | Role::Auditor) {
            return true;
        }
        if let Some(owned) = self.owned.get(&issue) {
            return *owned;
        }
        let own = Actor::User(self.caller.name.clone());
        let Ok(Some(found)) = self.shared.store().issue(issue) else {
            return false;
        };
        let owned = found.reported_by == own;
        self.owned.insert(issue, owned);
        owned
    }
}

fn progress(issue: IssueNumber, note: &str) -> SseEvent {
    let data = serde_json::json!({ "issue": issue.0, "note": note });
    SseEvent::default().event("progress").data(data.to_string())
}
