//! An MCP server behind an authority of its own: reached with `ca_file`, and with nothing
//! said to it without.
#![allow(clippy::expect_used, reason = "a test may panic")]

#[path = "../../model/tests/tls/server.rs"]
mod server;

use selfheal_domain::mcp::McpServers;
use selfheal_mcp::{Clients, McpConfig};
use server::file;
use std::sync::mpsc::Receiver;

/// Its port, and what arrives decrypted.
fn serve() -> (u16, Receiver<Vec<u8>>) {
    let reply = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (address, requests) = server::serve("127.0.0.1", reply.to_owned());
    (address.port(), requests)
}

#[test]
fn an_own_authority_is_named_by_its_file() {
    for (authorities, why) in [
        (Some("authority.pem"), "404"),
        (Some("stranger.pem"), "stranger.pem"),
        (None, "as ca_file"),
    ] {
        let (port, requests) = serve();
        let config = McpConfig {
            name: "tickets".to_owned(),
            command: None,
            url: Some(format!("https://127.0.0.1:{port}/mcp")),
            token_env: None,
            token_file: None,
            ca_file: authorities.map(file),
            timeout_seconds: 60,
        };
        let clients = Clients::new(&[config]).expect("a server");
        let error = clients
            .connect("tickets", None, &|| false)
            .err()
            .expect("it has no tools")
            .to_string();
        assert!(error.contains("tickets") && error.contains(why), "{error}");
        let got: Vec<u8> = requests.try_iter().flatten().collect();
        assert_eq!(
            got.starts_with(b"POST /mcp"),
            why == "404",
            "{authorities:?}"
        );
    }
}
