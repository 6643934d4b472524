//! One request and its stream of events.

use super::assemble::Finished;
use super::fault::{Fault, Kind, Retry};
use super::{Address, Assembler, Flow, limits, status};
use crate::authorities;
use crate::provider::Delta;
use futures::StreamExt;
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use sse_stream::SseByteStream;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Longest time for what follows an end event: the end of the body.
const AFTER_THE_END: Duration = Duration::from_millis(100);

/// Why the bytes stopped.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("{0}")]
    Network(String),
    #[error("nothing was said for {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    TooMuch(String),
}

/// Sends the request and feeds the events to `assembler` until its end event.
pub(super) async fn exchange(
    request: RequestBuilder,
    mut assembler: Box<dyn Assembler>,
    address: &Address,
    seen: &mut dyn FnMut(Delta),
) -> Result<Finished, Fault> {
    let idle = address.idle_timeout;
    let response = request
        .send()
        .await
        .map_err(|error| unsent(error, address))?;
    let status = response.status().as_u16();
    if !response.status().is_success() {
        let headers = response.headers().clone();
        let body = explanation(response).await;
        return Err(status::of_response(status, &headers, &body));
    }
    if let Some(kind) = response.headers().get(CONTENT_TYPE)
        && !kind.as_bytes().starts_with(b"text/event-stream")
    {
        let kind = String::from_utf8_lossy(kind.as_bytes()).into_owned();
        let body = explanation(response).await;
        let error = status::ErrorBody::read(&body);
        if !error.kind.is_empty() && !error.message.is_empty() {
            return Err(status::classify(None, &error));
        }
        return Err(Fault::broken(format!(
            "answered with {kind} instead of an event stream"
        )));
    }
    // Bytes since the last complete event: what the parser may hold.
    let held = Rc::new(Cell::new(0_usize));
    let counter = Rc::clone(&held);
    let mut total = 0_usize;
    let bytes = response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(|error| {
            if error.is_timeout() {
                Stopped::Silent(idle)
            } else {
                Stopped::Network(causes(&error.without_url()))
            }
        })?;
        total = total.saturating_add(chunk.len());
        counter.set(counter.get().saturating_add(chunk.len()));
        if total > limits::STREAM {
            return Err(too_much("an answer", limits::STREAM));
        }
        if counter.get() > limits::EVENT {
            return Err(too_much("an event", limits::EVENT));
        }
        Ok(chunk)
    });
    let mut events = SseByteStream::new(bytes);
    while let Some(event) = events.next().await {
        let event = event.map_err(of_stream)?;
        held.set(0);
        let Some(data) = event.data.filter(|data| !data.is_empty()) else {
            continue;
        };
        match assembler.event(&data, seen)? {
            Flow::More => {}
            Flow::Done => {
                // Read to its end, the connection serves the next question too.
                let rest = async { while let Some(Ok(_)) = events.next().await {} };
                let _ = tokio::time::timeout(AFTER_THE_END, rest).await;
                return assembler.finish();
            }
        }
    }
    Err(Fault::broken("its stream ended without its end event"))
}

fn too_much(what: &str, limit: usize) -> Stopped {
    Stopped::TooMuch(format!("{what} of more than {} MiB", limit >> 20))
}

fn of_stream(error: sse_stream::Error) -> Fault {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<Stopped>() {
            Ok(stopped) => match *stopped {
                Stopped::TooMuch(_) => Fault::hopeless(stopped.to_string()),
                Stopped::Network(_) => {
                    Fault::broken(format!("its stream ended without its end event: {stopped}"))
                }
                Stopped::Silent(_) => Fault::broken(format!("its stream stalled: {stopped}")),
            },
            Err(error) => Fault::broken(error.to_string()),
        },
        error => Fault::broken(format!("its stream is garbage: {error}")),
    }
}

fn unsent(error: reqwest::Error, address: &Address) -> Fault {
    let (connecting, late) = (error.is_connect(), error.is_timeout());
    let error = error.without_url();
    let file = address
        .authorities
        .as_ref()
        .map(|known| known.file.as_path());
    if let Some(refusal) = authorities::refusal(&error, file) {
        // Another try would meet the same certificate.
        return Fault::new(Kind::Unavailable, Retry::No, refusal);
    }
    let idle = address.idle_timeout;
    Fault::unavailable(match (connecting, late) {
        (true, _) => format!("cannot connect: {}", causes(&error)),
        (false, true) => format!("no answer for {idle:?}"),
        (false, false) => causes(&error),
    })
}

/// The whole chain: the outer message of an HTTP error says next to nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The start of a body that explains an error.
async fn explanation(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = limits::ERROR_BODY.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() >= room {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}
