//! TLS as it is used for real: who the machine trusts may have the key, nobody else.
//!
//! `tls/` holds a certificate for loopback, its key, and the authority that signed it,
//! whose own key is lost. Which authorities are trusted is read from the environment
//! when a provider is made, so each case runs in a process of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic"
)]

mod scripted;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use scripted::anthropic::says;
use scripted::{Asked, told};
use selfheal_model::conversation::{Message, Role};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Where the other process asks.
const ASK: &str = "SELFHEAL_TEST_ASK";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// Answers questions over TLS at this address; what arrived decrypted is handed out.
fn serve(ip: &str) -> (SocketAddr, Receiver<Vec<u8>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = CertificateDer::pem_file_iter(file("server.pem"))
        .expect("a file")
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(file("server.key.pem")).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let mut got = vec![0; 64 * 1024];
            let read = stream.read(&mut got).unwrap_or(0);
            got.truncate(read);
            let body = says("hello");
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            // A client that refuses us is a part of the test.
            let _ = stream.write_all(reply.as_bytes());
            let _ = stream.flush();
            if send.send(got).is_err() {
                return;
            }
        }
    });
    (address, receive)
}

/// Asks in a process that trusts `authorities`; what it said.
fn ask(url: &str, authorities: Option<&Path>) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is trusted is read once per process"
    )]
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(ASK, url)
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env("NO_PROXY", "127.0.0.1,localhost");
    if let Some(path) = authorities {
        command.env("SSL_CERT_FILE", path);
    }
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Not a test by itself: what [`ask`] starts.
#[test]
fn the_other_process() {
    let Ok(url) = std::env::var(ASK) else { return };
    let asked = Asked::new("anthropic", &url, "");
    match asked.ask(&[Message::text(Role::User, "hello")]) {
        Ok(answer) => println!("answered: {:?}", answer.blocks),
        Err(error) => println!("{}: {}", told(Err(error)).0, asked.pace.waits().len()),
    }
}

#[test]
fn a_trusted_server_gets_key_and_question() {
    let (address, requests) = serve("127.0.0.1");
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        let said = ask(&url, Some(&file("authority.pem")));
        assert!(
            said.contains("answered: [Text { text: \"hello\" }]"),
            "{said}"
        );
        let request = String::from_utf8_lossy(&requests.recv().expect("a request")).into_owned();
        assert!(request.contains(scripted::KEY), "{request}");
    }
}

#[test]
fn nobody_else_gets_anything() {
    // Signed by nobody that is trusted; and by somebody trusted, for another address.
    for (ip, authorities) in [
        ("127.0.0.1", None),
        ("127.0.0.2", Some(file("authority.pem"))),
    ] {
        let (address, requests) = serve(ip);
        let said = ask(&format!("https://{address}"), authorities.as_deref());
        assert!(said.contains("unavailable: 7"), "{said}");
        let got: Vec<u8> = requests.try_iter().flatten().collect();
        assert!(got.is_empty(), "{ip}: {}", String::from_utf8_lossy(&got));
    }
}
