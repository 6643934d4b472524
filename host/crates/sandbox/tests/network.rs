//! Network grants: what is granted is reached, byte for byte, and nothing else is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

#[path = "../../model/tests/tls/server.rs"]
mod server;
mod tree;

use selfheal_sandbox::{Access, CancelToken, Destination, Grant, Sandbox, SandboxError};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use tree::{Tree, run};

/// Answers each connection with what came in, upside down, until nobody listens.
fn reverser(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            if stream.read_to_string(&mut text).is_ok() {
                let answer: String = text.chars().rev().collect();
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
}

/// Connects to `addresses` one after the other, says "abc", prints what comes back.
fn client(addresses: &str) -> String {
    format!(
        "import socket\n\
         for address in {addresses}:\n\
         \x20   s = socket.socket(); s.settimeout(5)\n\
         \x20   try:\n\
         \x20       s.connect(address); s.sendall(b'abc'); s.shutdown(socket.SHUT_WR)\n\
         \x20       print(b''.join(iter(lambda: s.recv(65536), b'')).decode())\n\
         \x20   except OSError as e: print('refused')\n"
    )
}

#[test]
fn a_granted_destination_is_reached_and_no_other() {
    let tree = Tree::new();
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, other_port) = (
        granted.local_addr().unwrap().port(),
        other.local_addr().unwrap().port(),
    );
    reverser(granted);
    reverser(other);
    let mut spec = tree.python_spec(
        Access::ReadOnly,
        &client(&format!(
            "[('127.0.0.1', {port}), ('localhost', 80), ('127.0.0.1', {other_port}), ('192.0.2.1', {port})]"
        )),
    );
    let destination = format!("127.0.0.1:{port}");
    spec.grants = Grant::for_destinations([destination.as_str()]).unwrap();
    spec.grants
        .push(Grant::at_port(80, Destination::Tcp(destination)));
    let output = run(spec);
    assert_eq!(output.stdout, "cba\ncba\nrefused\nrefused\n", "{output:?}");
    tree.assert_untouched();
}

#[test]
fn a_granted_name_leads_to_its_destination() {
    let tree = Tree::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    reverser(listener);
    let mut spec = tree.python_spec(
        Access::Discard,
        &client("[('api.example.org', 443), ('other.example.org', 443), ('localhost', 443)]"),
    );
    let mut grants = Grant::for_destinations(["api.example.org:443"]).unwrap();
    // The name stays, the way behind it ends on this machine.
    grants[0].connect = Destination::Tcp(destination);
    spec.grants = grants;
    let output = run(spec);
    assert_eq!(output.stdout, "cba\nrefused\nrefused\n", "{output:?}");
    tree.assert_untouched();
}

#[test]
fn tls_ends_in_the_command_and_at_the_destination() {
    let tree = Tree::new();
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let (address, requests) = server::serve("127.0.0.1", reply.to_owned());
    let text = |name| std::fs::read_to_string(server::file(name)).unwrap();
    let mut spec = tree.python_spec(
        Access::ReadOnly,
        &format!(
            "import ssl, urllib.request\n\
             for authority in ('''{}''', '''{}'''):\n\
             \x20   trust = ssl.create_default_context(cadata=authority)\n\
             \x20   try:\n\
             \x20       print(urllib.request.urlopen('https://localhost:{}/', context=trust).read().decode())\n\
             \x20   except OSError as e: print('CERTIFICATE_VERIFY_FAILED' in str(e))\n",
            text("authority.pem"),
            text("stranger.pem"),
            address.port(),
        ),
    );
    let destination = format!("localhost:{}", address.port());
    spec.grants = Grant::for_destinations([destination.as_str()]).unwrap();
    let output = run(spec);
    assert_eq!(output.stdout, "ok\nTrue\n", "{output:?}");
    assert!(requests.recv().unwrap().starts_with(b"GET / "));
    tree.assert_untouched();
}

#[test]
fn a_unix_socket_can_be_the_destination() {
    let tree = Tree::new();
    let place = tree.base.join("model.sock");
    let listener = UnixListener::bind(&place).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 3];
        stream.read_exact(&mut request).unwrap();
        // More than every buffer on the way holds.
        stream.write_all(&vec![b'x'; 3_000_000]).unwrap();
    });
    let mut spec = tree.spec(
        Access::ReadOnly,
        "exec 3<>/dev/tcp/127.0.0.1/8080; printf abc >&3; wc -c <&3",
    );
    spec.grants = vec![Grant::at_port(8080, Destination::Unix(place))];
    let output = run(spec);
    assert_eq!(output.stdout.trim(), "3000000", "{output:?}");
}

#[test]
fn connections_end_with_the_command() {
    let tree = Tree::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut spec = tree.spec(
        Access::ReadOnly,
        &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; echo connected; sleep 987658"),
    );
    spec.grants = Grant::for_destinations([format!("127.0.0.1:{port}").as_str()]).unwrap();
    let mut session = Sandbox::new().spawn(spec, &CancelToken::new()).unwrap();
    let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
    let mut text = [0; 6];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello\n");
    use selfheal_domain::tools::ToolSession;
    let wait = std::time::Duration::from_secs(10);
    assert_eq!(session.receive(wait).as_deref(), Ok("connected"));
    drop(session);
    stream.set_read_timeout(Some(wait)).unwrap();
    let end = stream.read(&mut text);
    assert!(
        matches!(end, Ok(0))
            || end.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock),
        "the connection outlived the command"
    );
    assert_eq!(tree.processes_inside(), 0);
}

#[test]
fn a_dead_destination_is_a_closed_connection() {
    let tree = Tree::new();
    let mut spec = tree.python_spec(Access::ReadOnly, &client("[('127.0.0.1', 9)]"));
    spec.grants = vec![Grant::at_port(
        9,
        Destination::Unix(tree.base.join("nobody.sock")),
    )];
    let output = run(spec);
    assert!(
        ["", "refused"].contains(&output.stdout.trim()),
        "{output:?}"
    );
}

#[test]
fn impossible_grants_are_refused() {
    let tree = Tree::new();
    let mut spec = tree.spec(Access::ReadOnly, "true");
    spec.grants = vec![Grant::at_port(0, Destination::Tcp("example.org:80".into()))];
    let refused = Sandbox::new().run(spec, &CancelToken::new());
    assert!(
        matches!(refused, Err(SandboxError::Invalid(_))),
        "{refused:?}"
    );
}
