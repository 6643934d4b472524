//! A real registry for tests: Debian's `docker-registry` on a free port of loopback.
//! Also part of the tests of `policy-source`, by its path.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test harness starts processes and fails loudly"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A registry with an empty store; it ends when this is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    /// As in `127.0.0.1:40123`.
    pub address: String,
    _home: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts a registry, for everybody or for whom `htpasswd` lists; `None`, and a
    /// message, where there is none to start.
    pub fn start(htpasswd: Option<&str>) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let auth = htpasswd.map_or_else(String::new, |users| {
            let passwords = home.path().join("htpasswd");
            fs::write(&passwords, users).unwrap();
            format!(
                "auth: {{htpasswd: {{realm: here, path: {}}}}}\n",
                passwords.display()
            )
        });
        let config = home.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{auth}",
            home.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!(
                    "skipped: docker-registry is not installed (apt-get install docker-registry)"
                );
                return None;
            }
            Err(error) => panic!("docker-registry: {error}"),
        };
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find([',', '"']).unwrap_or(rest.trim_end().len());
                break rest[..end].to_owned();
            }
        };
        // It would stop at a full pipe.
        std::thread::spawn(move || log.lines().for_each(drop));
        Some(Self {
            process,
            address,
            _home: home,
        })
    }
}
