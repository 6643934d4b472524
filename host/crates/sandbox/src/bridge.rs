//! The host's side of network grants: holds the listeners that stand in a
//! command's network, and carries what comes in to its destination.
//!
//! A socket belongs to the network namespace it was made in, whoever holds it. So
//! the sandbox's first process makes the listeners and hands them out; nothing of
//! ours has to run beside the command.

use crate::SandboxError;
use crate::grant::{Destination, Grant};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::{self, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections of one command at the same time; more are closed at once.
const MOST_CONNECTIONS: usize = 128;

/// How long a destination may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Listeners and connections of one command. Dropping it closes them all.
#[derive(Debug)]
pub(crate) struct Bridge {
    connections: Arc<Connections>,
    // Its closing ends the thread that accepts.
    _alive: PipeWriter,
}

impl Bridge {
    /// Starts to wait for the listeners. Gives the end of the channel over which the
    /// sandbox's first process sends them.
    pub(crate) fn new(grants: Vec<Grant>) -> Result<(Self, OwnedFd), SandboxError> {
        let failed = || SandboxError::host("making the network bridge");
        let (ours, theirs) = UnixStream::pair().map_err(failed())?;
        let (ended, alive) = io::pipe().map_err(failed())?;
        let connections = Arc::new(Connections::default());
        let shared = Arc::clone(&connections);
        std::thread::Builder::new()
            .name("sandbox-bridge".to_owned())
            .spawn(move || accept(&grants, &ours, &ended, &shared))
            .map_err(failed())?;
        Ok((
            Self {
                connections,
                _alive: alive,
            },
            theirs.into(),
        ))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.connections.close();
    }
}

/// Takes connections until the bridge is dropped.
fn accept(
    grants: &[Grant],
    channel: &UnixStream,
    ended: &PipeReader,
    connections: &Arc<Connections>,
) {
    let Some(listeners) = receive(channel, ended, grants.len()) else {
        return;
    };
    loop {
        let mut fds: Vec<PollFd<'_>> = listeners
            .iter()
            .map(|listener| PollFd::new(listener, PollFlags::IN))
            .collect();
        fds.push(PollFd::new(ended, PollFlags::IN));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.last() == Some(&true) {
            return;
        }
        for ((listener, grant), _) in listeners
            .iter()
            .zip(grants)
            .zip(&ready)
            .filter(|(_, ready)| **ready)
        {
            if let Ok((stream, _)) = listener.accept() {
                carry(stream, grant.connect.clone(), Arc::clone(connections));
            }
        }
    }
}

/// The listeners, in the order of the grants; none when the sandbox ended first.
fn receive(channel: &UnixStream, ended: &PipeReader, expected: usize) -> Option<Vec<TcpListener>> {
    let mut fds = [
        PollFd::new(channel, PollFlags::IN),
        PollFd::new(ended, PollFlags::IN),
    ];
    while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut fds, None) {}
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let received = rustix::net::recvmsg(
        channel,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )
    .ok()?;
    if received.bytes != 1 {
        return None;
    }
    let listeners: Vec<TcpListener> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .map(TcpListener::from)
        .collect();
    // A connection that is gone again when it is accepted must not hold us up.
    let ready = listeners
        .iter()
        .all(|listener| listener.set_nonblocking(true).is_ok());
    (ready && listeners.len() == expected).then_some(listeners)
}

/// Connects to the destination and copies both ways, on threads of its own.
fn carry(inside: TcpStream, to: Destination, connections: Arc<Connections>) {
    let started = std::thread::Builder::new()
        .name("sandbox-bridge".to_owned())
        .spawn(move || {
            // What fails shows to the command as a connection that closes.
            let _ = connect_and_copy(inside, &to, &connections);
        });
    // Where no thread can be made the connection closes.
    drop(started);
}

fn connect_and_copy(
    inside: TcpStream,
    to: &Destination,
    connections: &Arc<Connections>,
) -> io::Result<()> {
    inside.set_nonblocking(false)?;
    let inside = Stream::Tcp(inside);
    let Some(place) = connections.add(inside.again()?) else {
        return Ok(());
    };
    let outside = connect(to)?;
    // Closed meanwhile: the first copy ends at once.
    place.join(outside.again()?);
    let (from, into) = (inside.again()?, outside.again()?);
    let back = std::thread::Builder::new()
        .name("sandbox-bridge".to_owned())
        .spawn(move || copy(outside, inside))?;
    copy(from, into);
    let _ = back.join();
    Ok(())
}

fn connect(to: &Destination) -> io::Result<Stream> {
    match to {
        Destination::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        Destination::Tcp(address) => {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT) {
                    Ok(stream) => {
                        let _ = stream.set_nodelay(true);
                        return Ok(Stream::Tcp(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// Until the end of `from`, which is passed on.
fn copy(mut from: Stream, mut to: Stream) {
    let _ = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write);
    from.shutdown(Shutdown::Read);
}

/// One end of a carried connection.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn again(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    fn shutdown(&self, how: Shutdown) {
        // Fails only when the connection is closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What must be closed when the command ends.
#[derive(Debug, Default)]
struct Connections {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    last: u64,
    open: Vec<(u64, Stream)>,
}

impl Connections {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a connection; none when it is one too many, or too late.
    fn add(self: &Arc<Self>, stream: Stream) -> Option<Place> {
        let mut state = self.state();
        if state.closed || state.open.len() >= 2 * MOST_CONNECTIONS {
            stream.shutdown(Shutdown::Both);
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.open.push((number, stream));
        drop(state);
        Some(Place {
            connections: Arc::clone(self),
            number,
        })
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for (_, stream) in state.open.drain(..) {
            stream.shutdown(Shutdown::Both);
        }
    }
}

/// A connection's entry; dropping it forgets both ends.
struct Place {
    connections: Arc<Connections>,
    number: u64,
}

impl Place {
    fn join(&self, stream: Stream) {
        let mut state = self.connections.state();
        if state.closed {
            stream.shutdown(Shutdown::Both);
        } else {
            state.open.push((self.number, stream));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        state.open.retain(|(number, _)| *number != self.number);
    }
}
