//! TLS as it is used for real: who the machine or `ca_file` trusts may have the key,
//! nobody else.
//!
//! Whom the machine trusts is read from the environment when a provider is made, so each
//! case runs in a process of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic"
)]

mod scripted;
#[path = "tls/server.rs"]
mod server;

use scripted::anthropic::says;
use scripted::{Asked, told};
use selfheal_model::conversation::{Message, Role};
use server::file;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Receiver;

/// Where the other process asks.
const ASK: &str = "SELFHEAL_TEST_ASK";
/// What its configuration says besides.
const MORE: &str = "SELFHEAL_TEST_MORE";

/// Answers questions over TLS at this address; what arrived decrypted is handed out.
fn serve(ip: &str) -> (SocketAddr, Receiver<Vec<u8>>) {
    let body = says("hello");
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    server::serve(ip, reply)
}

/// Asks in a process that trusts `authorities`, with a further line of configuration;
/// what it said.
fn ask(url: &str, authorities: Option<&Path>, more: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is trusted is read once per process"
    )]
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(ASK, url)
        .env(MORE, more)
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
    let more = std::env::var(MORE).unwrap_or_default();
    let asked = Asked::new("anthropic", &url, &more);
    match asked.ask(&[Message::text(Role::User, "hello")]) {
        Ok(answer) => println!("answered: {:?}", answer.blocks),
        Err(error) => {
            let (kind, message) = told(Err(error));
            println!("{kind}: {}: {message}", asked.pace.waits().len());
        }
    }
}

#[test]
fn a_trusted_server_gets_key_and_question() {
    let (address, requests) = serve("127.0.0.1");
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        // Trusted by the machine; or by the configuration alone.
        for said in [
            ask(&url, Some(&file("authority.pem")), ""),
            ask(&url, Some(&file("stranger.pem")), &ca_file("authority.pem")),
        ] {
            assert!(
                said.contains("answered: [Text { text: \"hello\" }]"),
                "{said}"
            );
            let request = requests.recv().expect("a request");
            let request = String::from_utf8_lossy(&request).into_owned();
            assert!(request.contains(scripted::KEY), "{request}");
        }
    }
}

fn ca_file(name: &str) -> String {
    format!("ca_file = {:?}", file(name))
}

#[test]
fn nobody_else_gets_anything() {
    let stranger = file("stranger.pem").display().to_string();
    for (ip, authorities, more, why) in [
        // Signed by nobody that is trusted.
        ("127.0.0.1", None, String::new(), "as ca_file"),
        // The file counts, not the machine.
        (
            "127.0.0.1",
            Some(file("authority.pem")),
            ca_file("stranger.pem"),
            stranger.as_str(),
        ),
        // By somebody trusted, for another address.
        (
            "127.0.0.2",
            Some(file("authority.pem")),
            String::new(),
            "not valid for",
        ),
    ] {
        let (address, requests) = serve(ip);
        let url = format!("https://{address}");
        let said = ask(&url, authorities.as_deref(), &more);
        // Once: the next try would meet the same certificate.
        assert!(said.contains("unavailable: 0: anthropic:m"), "{said}");
        assert!(said.contains(why), "{said}");
        let got: Vec<u8> = requests.try_iter().flatten().collect();
        assert!(got.is_empty(), "{ip}: {}", String::from_utf8_lossy(&got));
    }
}
