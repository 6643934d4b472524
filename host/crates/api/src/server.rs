//! Runs the routers on sockets until told to stop.

use crate::routes::{control_router, router};
use crate::state::ApiState;
use crate::tls::{Identity, Peer, TlsListener};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{oneshot, watch};

/// How long requests under way may take after the word to stop. An abort or a
/// service restart may be among them.
const GRACE: Duration = Duration::from_secs(10);

/// Serves the network over TLS, as [`serve`] does without: each connection with what is
/// in `identities` when it begins.
///
/// # Errors
/// The socket fails.
pub async fn serve_tls(
    listener: TcpListener,
    identities: watch::Receiver<Identity>,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_on(TlsListener::new(listener, identities)?, state, shutdown).await
}

/// Serves the network until `shutdown` resolves; then ends all streams and waits up
/// to ten seconds for requests under way.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_on(listener, state, shutdown).await
}

async fn serve_on<L>(
    listener: L,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener,
    L::Addr: Debug,
    for<'a> Peer: Connected<IncomingStream<'a, L>>,
{
    let service = router(state.clone()).into_make_service_with_connect_info::<Peer>();
    let (stopping, stopped) = oneshot::channel();
    let word = async move {
        shutdown.await;
        state.close_streams();
        // Fails only when nobody waits any more.
        let _ = stopping.send(());
    };
    let server = axum::serve(listener, service).with_graceful_shutdown(word);
    until_grace(server.into_future(), stopped).await
}

/// Serves the operator's local socket until `shutdown` resolves. The caller makes the
/// socket with mode 0600.
///
/// # Errors
/// The socket fails.
pub async fn serve_control(
    listener: UnixListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let word = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let server = axum::serve(listener, control_router(state)).with_graceful_shutdown(word);
    until_grace(server.into_future(), stopped).await
}

async fn until_grace(
    server: impl Future<Output = io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let over = async {
        // A dropped sender means that the server ended by itself.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = over => {
            tracing::warn!("some requests did not end in time; stopping without them");
            Ok(())
        }
    }
}
