//! Real sockets: the network with graceful stop, and the operator's local one.

use super::world::{World, send};
use crate::serve;
use axum::body::Body;
use axum::http::{Request, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[tokio::test]
async fn the_operator_makes_accounts_through_the_local_socket() {
    let world = World::new();
    let request = |method: &str, path: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(path);
        request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    let made = send(
        world.control(),
        request("POST", "/users", r#"{"name":"root","role":"admin"}"#),
    )
    .await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(
        world.get(&token, "/api/v1/session").await.json()["role"],
        "admin"
    );
    let last = world.get(&token, "/api/v1/audit?limit=200").await.json();
    let saved = last["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&saved["type"], &saved["actor"]),
        (&"user.saved".into(), &"operator".into())
    );
    let status = send(world.control(), request("GET", "/status", ""))
        .await
        .json();
    assert_eq!(status["accounts"], 7);
    let close = |name: &str, body| {
        send(
            world.control(),
            request("POST", &format!("/users/{name}/close"), body),
        )
    };
    close("root", r#"{"role":"hook"}"#).await.problem(409);
    close("nobody", "{}").await.problem(404);
    let closed = close("root", "{}").await;
    assert_eq!(closed.status.as_u16(), 200, "{}", closed.text);
    assert_eq!(closed.json()["hasToken"], false);
    world.get(&token, "/api/v1/session").await.problem(401);
    // Its name stays taken.
    send(
        world.control(),
        request("POST", "/users", r#"{"name":"root","role":"admin"}"#),
    )
    .await
    .problem(409);
    send(world.control(), request("GET", "/api/v1/issues", ""))
        .await
        .problem(404);
    send(
        world.control(),
        request("POST", "/users", r#"{"name":"root"}"#),
    )
    .await
    .problem(422);
}

#[tokio::test]
async fn a_server_stops_in_order_although_a_stream_is_open() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve(listener, world.state.clone(), shutdown));
    let mut connection = TcpStream::connect(address).await.unwrap();
    let token = world.token("admin");
    let request =
        format!("GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 15];
    connection.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    let mut rest = String::new();
    connection.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the stream ended in order: {rest:?}"
    );
}
