//! Asks a service how it is.

use crate::config::{Health, Ready};
use crate::log::Log;
use selfheal_sandbox::{ManagedSpec, TrustedCommand, run_trusted};
use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much of an answer is shown, in characters.
const SHOWN: usize = 300;
/// How much of its output a service may write before it says that it is ready, in
/// bytes.
const READY_OUTPUT: usize = 1024 * 1024;

/// Where a health command runs.
pub(crate) struct Surroundings<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) environment: &'a BTreeMap<String, String>,
}

/// What was seen: `Ok` when it is well.
pub(crate) fn check(
    health: &Health,
    surroundings: &Surroundings<'_>,
    at_most: Duration,
) -> Result<String, String> {
    match health {
        Health::Http {
            url,
            expect_status,
            timeout,
        } => http(url, *expect_status, at_most.min(*timeout)),
        Health::Tcp { address, timeout } => tcp(address, at_most.min(*timeout)),
        Health::Command { run, timeout } => command(run, surroundings, at_most.min(*timeout)),
    }
}

/// Whether it came up: what was written to `log` behind `begin`, or a port.
pub(crate) fn came_up(
    ready: &Ready,
    log: &Log,
    begin: u64,
    at_most: Duration,
) -> Result<String, String> {
    match ready {
        Ready::Log(text) => {
            let said = log.since(begin, READY_OUTPUT);
            let line = said.lines().find(|line| line.contains(text.as_str()));
            line.map_or_else(
                || Err(format!("it has not said {text:?} yet")),
                |line| {
                    Ok(format!(
                        "it said: {}",
                        line.chars().take(SHOWN).collect::<String>()
                    ))
                },
            )
        }
        Ready::Port(port) => tcp(&format!("localhost:{port}"), at_most),
    }
}

fn http(url: &str, expected: u16, timeout: Duration) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // The service is on this machine, whatever the environment says.
        .proxy(None)
        .max_redirects(0)
        .build()
        .into();
    let mut response = agent
        .get(url)
        .call()
        .map_err(|error| format!("GET {url}: {error}"))?;
    let status = response.status().as_u16();
    if status == expected {
        return Ok(format!("GET {url} answered {status}"));
    }
    let body = response
        .body_mut()
        .with_config()
        .limit(64 * 1024)
        .lossy_utf8(true)
        .read_to_string()
        .unwrap_or_default();
    Err(format!(
        "GET {url} answered {status} instead of {expected}: {}",
        body.chars().take(SHOWN).collect::<String>()
    ))
}

fn tcp(address: &str, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let candidates = address
        .to_socket_addrs()
        .map_err(|error| format!("{address}: {error}"))?;
    let mut last = format!("{address}: no such address");
    for candidate in candidates {
        let left = deadline.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&candidate, left.max(Duration::from_millis(1))) {
            Ok(_) => return Ok(format!("{address} accepts connections")),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn command(
    run: &str,
    surroundings: &Surroundings<'_>,
    timeout: Duration,
) -> Result<String, String> {
    let output = run_trusted(&TrustedCommand {
        argv: ManagedSpec::shell(run),
        directory: surroundings.directory.to_owned(),
        environment: surroundings.environment.clone(),
        timeout,
        output_bytes: 8 * 1024,
    })
    .map_err(|error| format!("{run}: {error}"))?;
    if output.ended.success() {
        return Ok(format!("{run}: exited with 0"));
    }
    let said = format!("{}{}", output.stdout, output.stderr);
    Err(format!(
        "{run}: ended with {:?}: {}",
        output.ended,
        said.chars().take(SHOWN).collect::<String>()
    ))
}
