//! Runs the routers on sockets until told to stop.

use crate::routes::{control_router, router};
use crate::state::ApiState;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

/// How long requests under way may take after the word to stop. An abort or a
/// service restart may be among them.
const GRACE: Duration = Duration::from_secs(10);

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
    let service = router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
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
