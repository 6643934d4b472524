//! The one way out of a contained agent's sandbox: HTTP to the model's endpoint.
//!
//! The agent gets a listener on its own loopback that ends in a unix socket of the
//! host (see `ContainedAgent::gateway`). What comes in is read as HTTP, not carried
//! blindly: only the requests of the model's interface go on, to one base URL, with the
//! key that the agent never sees, masked and within bounds, and without what the
//! provider would look up, fetch or call by itself.

mod authorities;
mod forward;
mod http;
mod served;
mod usage;

pub use authorities::{Authorities, AuthoritiesError, explained, tls};
use forward::Forwarder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub use usage::Usage;

/// Connections at the same time; more are closed at once.
const MOST_CONNECTIONS: usize = 32;

/// Longest name of a unix socket on Linux, in bytes.
const LONGEST_NAME: usize = 107;

/// What hides secrets in a text that leaves the machine.
pub type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What the model's endpoint speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Anthropic Messages; the base URL is without `/v1`.
    Anthropic,
    /// OpenAI Responses and Chat Completions; the base URL includes `/v1` or what
    /// stands in its place.
    OpenAi,
}

/// Where an agent's requests to a model go.
#[derive(Clone)]
pub struct Upstream {
    /// What it speaks.
    pub dialect: Dialect,
    /// As in `https://api.anthropic.com`, without a slash at its end.
    pub base_url: String,
    /// Sent with each request; none for an endpoint that wants none.
    pub key: Option<String>,
    /// Who signs its certificate; the machine's authorities when `None`.
    pub authorities: Option<Authorities>,
    /// Applied to every text of a request.
    pub mask: Mask,
    /// Requests of one session; one more is refused.
    pub most_requests: u64,
    /// Tokens of one session, in and out; once they are used up requests are refused.
    pub most_tokens: u64,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("dialect", &self.dialect)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// The gateway could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The name of its socket would be too long.
    #[error("{} is too long a name for a socket (107 bytes); set TMPDIR to a shorter path", .0.display())]
    Name(PathBuf),
    /// The socket could not be made.
    #[error("the socket {} cannot be made", path.display())]
    Socket {
        /// Its name.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An open gateway; dropping it closes it.
#[derive(Debug)]
pub struct Gateway {
    socket: PathBuf,
    closed: Arc<AtomicBool>,
    forwarder: Arc<Forwarder>,
}

impl Gateway {
    /// Listens on a socket in a new directory of its own below `parent`.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub fn open(upstream: Upstream, parent: &Path) -> Result<Self, GatewayError> {
        let directory = private_directory(parent)?;
        let socket = directory.join("socket");
        if socket.as_os_str().len() > LONGEST_NAME {
            let _ = std::fs::remove_dir(&directory);
            return Err(GatewayError::Name(socket));
        }
        let failed = |source| GatewayError::Socket {
            path: socket.clone(),
            source,
        };
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
            .map_err(failed)?;
        let forwarder = Arc::new(Forwarder::new(upstream));
        let closed = Arc::new(AtomicBool::new(false));
        let (shared, over) = (Arc::clone(&forwarder), Arc::clone(&closed));
        std::thread::Builder::new()
            .name("model-gateway".to_owned())
            .spawn(move || accept(&listener, &shared, &over))
            .map_err(failed)?;
        Ok(Self {
            socket,
            closed,
            forwarder,
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What went through it so far.
    pub fn usage(&self) -> Usage {
        self.forwarder.usage()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        self.forwarder.close();
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        if let Some(directory) = self.socket.parent() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// For nobody but us; one that is there already is somebody else's.
fn private_directory(parent: &Path) -> Result<PathBuf, GatewayError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut last = None;
    for _ in 0..100 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("selfheal-{}-{number}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(source) => last = Some(GatewayError::Socket { path, source }),
        }
    }
    Err(last.unwrap_or_else(|| GatewayError::Name(parent.to_owned())))
}

fn accept(listener: &UnixListener, forwarder: &Arc<Forwarder>, closed: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (forwarder, place) = (Arc::clone(forwarder), Place(Arc::clone(&open)));
        let started = std::thread::Builder::new()
            .name("model-gateway".to_owned())
            .spawn(move || {
                let _place = place;
                if let Err(error) = http::serve(stream, &forwarder) {
                    tracing::debug!(%error, "a connection of a contained agent ended");
                }
            });
        // Where no thread can be made the connection closes.
        drop(started);
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
