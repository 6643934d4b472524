//! Carries lines between a contained process and the client.

use crate::answer::shorten;
use selfheal_domain::tools::{SessionError, ToolSession};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Longest line of a server, in bytes; one that writes more is ended.
pub(crate) const MAX_LINE: usize = 4 * 1024 * 1024;

/// How long is listened for the process while an answer is due, before what there is to
/// send is looked at.
const LISTEN: Duration = Duration::from_millis(5);

/// How long is waited for something to send while no answer is due, before the process is
/// listened to.
const IDLE: Duration = Duration::from_millis(50);

/// Lines that wait to be sent.
const QUEUE: usize = 64;

/// A process whose lines are carried. It is killed when this is dropped, and its end is
/// on record then.
pub(crate) struct Pump {
    closing: Arc<AtomicBool>,
    why: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Carries lines between `session` and `side` until one of them ends.
    pub(crate) fn start(
        session: Box<dyn ToolSession>,
        side: DuplexStream,
        runtime: &Handle,
    ) -> std::io::Result<Self> {
        let closing = Arc::new(AtomicBool::new(false));
        let why = Arc::new(Mutex::new(None));
        let (read, write) = tokio::io::split(side);
        let (sender, outgoing) = mpsc::channel(QUEUE);
        runtime.spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        let carrier = Carrier {
            session,
            outgoing,
            write,
            runtime: runtime.clone(),
            closing: Arc::clone(&closing),
            due: 0,
        };
        let told = Arc::clone(&why);
        let handle = runtime.clone();
        let thread = std::thread::Builder::new()
            .name("mcp-lines".to_owned())
            .spawn(move || {
                let (end, mut write) = carrier.run();
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
                // Whoever waits for an answer hears now that none comes.
                if handle.block_on(write.shutdown()).is_err() {
                    tracing::debug!("nobody waited for the lines of an MCP server");
                }
            })?;
        Ok(Self {
            closing,
            why,
            thread: Some(thread),
        })
    }

    /// Why no more lines come, once that is so.
    pub(crate) fn end(&self) -> Option<String> {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lines of an MCP server were dropped by a panic");
        }
    }
}

struct Carrier {
    session: Box<dyn ToolSession>,
    outgoing: mpsc::Receiver<String>,
    write: WriteHalf<DuplexStream>,
    runtime: Handle,
    closing: Arc<AtomicBool>,
    /// Lines sent less lines received: whether an answer may be due.
    due: u64,
}

impl Carrier {
    /// Runs until something ends it, and says what. The process is gone then.
    fn run(mut self) -> (String, WriteHalf<DuplexStream>) {
        let end = self.carry();
        drop(self.session);
        (end, self.write)
    }

    fn carry(&mut self) -> String {
        loop {
            if self.closing.load(Ordering::SeqCst) {
                return "the conversation is over".to_owned();
            }
            let waiting = if self.due > 0 {
                self.outgoing
                    .try_recv()
                    .map_err(|error| error == mpsc::error::TryRecvError::Disconnected)
            } else {
                let next = self.outgoing.recv();
                match self
                    .runtime
                    .block_on(async { tokio::time::timeout(IDLE, next).await })
                {
                    Ok(Some(line)) => Ok(line),
                    Ok(None) => Err(true),
                    Err(_) => Err(false),
                }
            };
            match waiting {
                Ok(line) => {
                    if let Err(error) = self.session.send(&line) {
                        return self.ended(&error);
                    }
                    self.due += 1;
                    continue;
                }
                Err(true) => return "the conversation is over".to_owned(),
                Err(false) => {}
            }
            let listen = if self.due > 0 { LISTEN } else { Duration::ZERO };
            match self.session.receive(listen) {
                Ok(line) if line.len() > MAX_LINE => {
                    return format!("it wrote a line of {} bytes", line.len());
                }
                Ok(mut line) => {
                    self.due = self.due.saturating_sub(1);
                    line.push('\n');
                    let closing = Arc::clone(&self.closing);
                    let writing = self.write.write_all(line.as_bytes());
                    // Whoever reads may be gone, or slower than the server writes.
                    let written = self.runtime.block_on(async {
                        tokio::select! {
                            written = writing => written.is_ok(),
                            () = closed(&closing) => false,
                        }
                    });
                    if !written {
                        return "the conversation is over".to_owned();
                    }
                }
                Err(SessionError::TimedOut) => {}
                Err(error) => return self.ended(&error),
            }
        }
    }

    fn ended(&self, error: &SessionError) -> String {
        let stderr = self.session.stderr_tail();
        let stderr = stderr.trim();
        if stderr.is_empty() {
            error.to_string()
        } else {
            format!("{error}; it said: {}", shorten(stderr, 500))
        }
    }
}

async fn closed(closing: &AtomicBool) {
    while !closing.load(Ordering::SeqCst) {
        tokio::time::sleep(IDLE).await;
    }
}
