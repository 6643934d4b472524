//! A server on loopback that speaks TLS, for the tests of all who ask over it.
//!
//! Beside it are its certificate (for `localhost` and `127.0.0.1`), its key, the authority
//! that signed it, and one that signed nothing; the authorities' own keys are lost.
#![allow(clippy::expect_used, reason = "a test may panic")]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// One of the files here.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/tls")
        .join(name)
}

/// Answers each connection with `reply`; what arrived decrypted is handed out.
pub(crate) fn serve(ip: &str, reply: String) -> (SocketAddr, Receiver<Vec<u8>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = CertificateDer::pem_slice_iter(include_bytes!("server.pem"))
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key.pem")).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let mut got = vec![0; 64 * 1024];
            let read = stream.read(&mut got).unwrap_or(0);
            got.truncate(read);
            // A client that refuses us is a part of the tests.
            let _ = stream.write_all(reply.as_bytes());
            let _ = stream.flush();
            if send.send(got).is_err() {
                return;
            }
        }
    });
    (address, receive)
}
