//! TLS of our own: the certificate, who trusts it, its renewal, and what browsers are told.

use crate::programs::cart;
use selfheal_tests::{Project, TestHost, eventually, signal};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const OLD_AUTHORITY: &str = include_str!("../../host/crates/model/tests/tls/authority.pem");
const OLD: [&str; 2] = [
    include_str!("../../host/crates/model/tests/tls/server.pem"),
    include_str!("../../host/crates/model/tests/tls/server.key.pem"),
];
const STRANGER: &str = include_str!("../../host/crates/model/tests/tls/stranger.pem");
const NEW_AUTHORITY: &str = include_str!("tls/authority.pem");
const NEW: [&str; 2] = [
    include_str!("tls/server.pem"),
    include_str!("tls/server.key.pem"),
];
const PATIENCE: Duration = Duration::from_secs(60);

fn put(outside: &Path, [certificate, key]: [&str; 2]) {
    std::fs::write(outside.join("chain.pem"), certificate).unwrap();
    std::fs::write(outside.join("key.pem"), key).unwrap();
    mode(outside, 0o600);
}

fn mode(outside: &Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(outside.join("key.pem"), permissions).unwrap();
}

fn with_tls(config: &mut String) {
    config.push_str("\n[server.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n");
}

/// Lists the issues with the command line, trusting `authority`.
fn list(project: &Project, host: &TestHost, authority: Option<&str>) -> (i32, String) {
    let outside = project.outside();
    let file = outside.join("ca.pem");
    let file = file.to_str().unwrap();
    let mut environment = vec![
        ("SELFHEAL_URL", host.url()),
        ("SELFHEAL_TOKEN", &host.admin),
    ];
    if let Some(authority) = authority {
        std::fs::write(file, authority).unwrap();
        environment.push(("SELFHEAL_CA_FILE", file));
    }
    let ran = project.selfheal_with(&outside, &["issue", "list"], &environment);
    (ran.code, ran.stderr)
}

#[test]
fn a_host_with_a_certificate_is_reached_over_tls_alone() {
    let project = cart();
    let outside = project.outside();
    put(&outside, OLD);
    let host = TestHost::start(&project, |config, _| with_tls(config)).trusting(OLD_AUTHORITY);
    let address = host.url().strip_prefix("https://").unwrap();

    // Whoever says nothing, or no TLS, holds nobody up and is told nothing.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).unwrap());
    }
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good an answer as none.
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));

    let (code, said) = list(&project, &host, None);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("SELFHEAL_CA_FILE"), "{said}");
    let (code, said) = list(&project, &host, Some(STRANGER));
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("none of the authorities in"), "{said}");
    assert_eq!(list(&project, &host, Some(OLD_AUTHORITY)).0, 0);

    // Cookies stay on TLS, browsers are told to, and pages that came without it act on
    // nobody's behalf.
    let body = json!({ "username": "admin", "password": host.admin });
    let answer = host.raw("POST", "/api/v1/session", &[], &body.to_string());
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert!(header("set-cookie").contains("; Secure"));
    assert_eq!(header("strict-transport-security"), "max-age=31536000");
    let cookie = header("set-cookie");
    let cookie = cookie.split(';').next().unwrap();
    for (origin, status) in [
        (format!("http://{address}"), 403),
        (format!("https://{address}"), 201),
    ] {
        let report = json!({ "title": "x", "description": "y" }).to_string();
        let headers = [("cookie", cookie), ("origin", &origin)];
        let answer = host.raw("POST", "/api/v1/issues", &headers, &report);
        assert_eq!(answer.status(), status, "{origin}");
    }

    // A renewed certificate counts without a restart; one that makes no sense does not.
    put(&outside, NEW);
    signal("HUP", host.pid());
    eventually("the new certificate", PATIENCE, || {
        (list(&project, &host, Some(NEW_AUTHORITY)).0 == 0).then_some(())
    });
    assert_eq!(list(&project, &host, Some(OLD_AUTHORITY)).0, 4);
    std::fs::write(outside.join("chain.pem"), "nonsense").unwrap();
    signal("HUP", host.pid());
    eventually("the refusal of a broken one", PATIENCE, || {
        let log = std::fs::read_to_string(outside.join("host.log")).unwrap();
        log.contains("stays as it was").then_some(())
    });
    assert_eq!(list(&project, &host, Some(NEW_AUTHORITY)).0, 0);
    drop(silent);
}

#[test]
fn a_host_does_not_start_with_a_certificate_that_cannot_be_used() {
    let project = cart();
    let outside = project.outside();
    let ran = project.selfheal_in(&outside, &["init", "--app", "app", "--data", "data"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut config = std::fs::read_to_string(outside.join("selfheal.toml")).unwrap();
    with_tls(&mut config);
    std::fs::write(outside.join("selfheal.toml"), &config).unwrap();
    let refused = |why: &str| {
        let ran = project.selfheal_in(&outside, &["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
    };
    refused("key.pem cannot be read");
    put(&outside, OLD);
    mode(&outside, 0o644);
    refused("chmod 600");
    put(&outside, [NEW[0], OLD[1]]);
    refused("cannot be used together");
    put(&outside, [OLD[1], OLD[1]]);
    refused("does not hold certificates");
    put(&outside, [OLD[0], OLD[0]]);
    refused("does not hold one private key");
    std::fs::write(project.app().join("key.pem"), OLD[1]).unwrap();
    let config = config.replace("\"key.pem\"", "\"app/key.pem\"");
    std::fs::write(outside.join("selfheal.toml"), config).unwrap();
    refused("server.tls.key");
}
