//! The gateway to a model behind an authority of its own: nothing is said to an address
//! whose certificate nobody vouches for, the key least of all.
#![allow(clippy::expect_used, reason = "a test may panic")]

#[path = "../../model/tests/tls/server.rs"]
mod server;

use selfheal_external_agent::{Authorities, Dialect, Gateway, Upstream};
use server::file;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Its port, and what arrives decrypted.
fn serve() -> (u16, Receiver<Vec<u8>>) {
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let (address, requests) = server::serve("127.0.0.1", reply.to_owned());
    (address.port(), requests)
}

/// What an agent in the sandbox is answered.
fn ask(port: u16, authorities: Option<&str>) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let authorities = authorities.map(|name| Authorities::read(&file(name)).expect("a file"));
    let upstream = Upstream {
        dialect: Dialect::Anthropic,
        base_url: format!("https://127.0.0.1:{port}"),
        key: Some("sk-secret".to_owned()),
        authorities,
        mask: Arc::new(str::to_owned),
        most_requests: 10,
        most_tokens: 1_000,
    };
    let gateway = Gateway::open(upstream, directory.path()).expect("a gateway");
    let mut stream = UnixStream::connect(gateway.socket()).expect("a connection");
    stream
        .write_all(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
              content-length: 2\r\nconnection: close\r\n\r\n{}",
        )
        .expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn an_own_authority_is_named_by_its_file() {
    let (port, requests) = serve();
    let answer = ask(port, Some("authority.pem"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let got = String::from_utf8_lossy(&requests.recv().expect("a request")).into_owned();
    assert!(got.contains("sk-secret"), "{got}");
    for (authorities, why) in [
        (Some("stranger.pem"), "stranger.pem"),
        (None, "agent.external.ca_file"),
    ] {
        let (port, requests) = serve();
        let answer = ask(port, authorities);
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(
            answer.contains(why) && answer.contains("https://127.0.0.1"),
            "{answer}"
        );
        let got: Vec<u8> = requests.try_iter().flatten().collect();
        assert!(got.is_empty(), "{}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn what_holds_no_certificate_is_refused() {
    for name in ["server.key.pem", "none.pem"] {
        let error = Authorities::read(&file(name)).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}
