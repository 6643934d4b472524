//! Lines of JSON to and from a contained agent, bounded in number, size and time.

use crate::failure::Failure;
use selfheal_domain::tools::{SessionError, ToolError, ToolSession, Tools};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Everything an agent may say in one session, in bytes.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Longest line that is read as a message, in bytes; longer ones break the session.
const LONGEST_LINE: usize = 32 * 1024 * 1024;

/// Most lines in one session.
const MOST_LINES: u64 = 500_000;

/// Most lines that are no JSON object; such programs warn on standard output.
const MOST_GARBAGE: u32 = 200;

/// How often an abort is looked for while an agent is silent.
const GLANCE: Duration = Duration::from_millis(200);

/// One session.
pub(crate) struct Wire<'a> {
    session: Box<dyn ToolSession>,
    tools: &'a dyn Tools,
    until: Instant,
    bytes: u64,
    lines: u64,
    garbage: u32,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(session: Box<dyn ToolSession>, tools: &'a dyn Tools, until: Instant) -> Self {
        Self {
            session,
            tools,
            until,
            bytes: 0,
            lines: 0,
            garbage: 0,
        }
    }

    /// Says something.
    pub(crate) fn send(&mut self, message: &Value) -> Result<(), Failure> {
        self.session
            .send(&message.to_string())
            .map_err(|error| Failure::of_session(&error, &self.session.stderr_tail()))
    }

    /// The next message, waited for until the session's time is over.
    pub(crate) fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            if self.tools.cancelled() {
                return Err(ToolError::Cancelled.into());
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::of_session(&SessionError::TimedOut, ""));
            }
            let line = match self.session.receive(left.min(GLANCE)) {
                Ok(line) => line,
                Err(SessionError::TimedOut) => continue,
                Err(error) => {
                    return Err(Failure::of_session(&error, &self.session.stderr_tail()));
                }
            };
            self.lines += 1;
            self.bytes += line.len() as u64 + 1;
            if self.bytes > MOST_BYTES || self.lines > MOST_LINES || line.len() > LONGEST_LINE {
                return Err(Failure::Broken("it says more than anyone reads".to_owned()));
            }
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str::<Value>(&line) {
                Ok(message @ Value::Object(_)) => return Ok(message),
                Ok(_) | Err(_) => {
                    self.garbage += 1;
                    if self.garbage > MOST_GARBAGE {
                        return Err(Failure::Broken(
                            "what it says is not its protocol".to_owned(),
                        ));
                    }
                }
            }
        }
    }
}
