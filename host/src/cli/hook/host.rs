//! The host that a hook asks: over HTTP with the hook's own token, or beside it
//! through the operator's local socket.

use crate::cli::client::{Client, Proxies, no_request};
use crate::compose::accounts::control_socket;
use crate::config::Config;
use clap::Args;
use selfheal_domain::external::ExternalAgent;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest answer that is read, in bytes. It repeats the call's input at most.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// The asking thread gives up at some time even where nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the host is and who asks.
#[derive(Args, Debug, Clone)]
pub(super) struct Host {
    /// File with address and token of this hook, as `selfheal hook install` writes it;
    /// nothing else is looked at then
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Address of the host
    #[arg(long, env = "SELFHEAL_URL", default_value = "http://127.0.0.1:7700")]
    url: String,
    /// Authorities (PEM) of its certificate, in place of those that this machine trusts
    #[arg(long, env = "SELFHEAL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Token of the hook; without one, what `selfheal hook install` wrote for this user
    #[arg(
        long,
        env = "SELFHEAL_TOKEN",
        hide_env_values = true,
        default_value = ""
    )]
    token: String,
    /// Configuration of a host on this machine, whose local socket is asked; never
    /// looked for in the directory of the agent, which may be anybody's
    #[arg(long, value_name = "FILE", env = "SELFHEAL_CONFIG")]
    config: Option<PathBuf>,
}

/// What a hook needs to ask; mode 0600, because whoever has it can ask as this hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// Address of the host.
    pub(super) url: String,
    /// Token of the hook.
    pub(super) token: String,
    /// The account that was made for it, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    /// Authorities of the host's certificate, where they are not the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<PathBuf>,
}

/// Carries a hook's event to the host and its answer back.
pub(super) trait Asking {
    /// The body of the host's answer.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn exchange(&self, agent: ExternalAgent, event: &[u8]) -> Result<Vec<u8>, String>;
}

impl Asking for Host {
    fn exchange(&self, agent: ExternalAgent, event: &[u8]) -> Result<Vec<u8>, String> {
        let path = format!("/api/v1/hook/{agent}");
        if let Some(file) = &self.credentials {
            return read_credentials(file)?.send(&path, event);
        }
        if !self.token.is_empty() {
            let credentials = Credentials {
                url: self.url.clone(),
                token: self.token.clone(),
                account: None,
                ca_file: self.ca_file.clone(),
            };
            return credentials.send(&path, event);
        }
        if let Some(file) = &self.config {
            let config = Config::read(file).map_err(|error| error.to_string())?;
            return over_socket(file, &control_socket(&config.data), &path, event);
        }
        let nowhere = || {
            "nothing says which host to ask: run `selfheal hook install`, or give --credentials, \
             --token or --config (a selfheal.toml in this directory is not looked at)"
                .to_owned()
        };
        let installed = installed_credentials(&agent.to_string()).ok_or_else(nowhere)?;
        if !installed.is_file() {
            return Err(nowhere());
        }
        read_credentials(&installed)?.send(&path, event)
    }
}

/// Where an installation for this user keeps the credentials called `name`.
pub(super) fn installed_credentials(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = named
        .filter(|path| path.is_absolute())
        .or_else(|| Some(super::settings::home()?.join(".config")))?;
    Some(home.join("selfheal/hooks").join(format!("{name}.json")))
}

/// Reads what an installation wrote.
pub(super) fn read_credentials(file: &Path) -> Result<Credentials, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "{}: {error}; run `selfheal hook install` again",
            file.display()
        )
    })
}

impl Credentials {
    /// One request over the network. No proxy: whoever sets the environment must not
    /// answer in the host's place.
    pub(super) fn send(&self, path: &str, event: &[u8]) -> Result<Vec<u8>, String> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let client = Client::new(self.ca_file.as_deref(), PATIENCE, Proxies::Ignored);
        let client = client.map_err(|error| error.to_string())?;
        let request = ureq::http::Request::post(&url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(event.to_vec())
            .map_err(|error| no_request(&url, &error))?;
        let mut response = client.run(&url, request)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(format!("{url} answered {status}"));
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        body.read_to_vec()
            .map_err(|error| format!("the answer of {url} broke off: {error}"))
    }
}

/// One request over the operator's socket, whose file mode is the authentication. What
/// answers there must belong to us, to root, or to whom the configuration `file` does.
fn over_socket(file: &Path, socket: &Path, path: &str, event: &[u8]) -> Result<Vec<u8>, String> {
    let unanswered = |error: std::io::Error| {
        format!(
            "no host answers on {} ({error}); is `selfheal serve` running?",
            socket.display()
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(unanswered)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)
        .map_err(|error| unanswered(error.into()))?
        .uid
        .as_raw();
    let owner = std::fs::metadata(file).map(|file| file.uid());
    if !speaks_for_the_host(peer, rustix::process::geteuid().as_raw(), owner.ok()) {
        return Err(format!(
            "a stranger (user {peer}) answers on {}; nothing was asked",
            socket.display()
        ));
    }
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(unanswered)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        event.len()
    );
    stream.write_all(head.as_bytes()).map_err(unanswered)?;
    stream.write_all(event).map_err(unanswered)?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .map_err(unanswered)?;
    body_of(&answer).ok_or_else(|| format!("the answer on {} is not whole", socket.display()))
}

/// Whether the user `peer` may answer in a host's place.
fn speaks_for_the_host(peer: u32, ours: u32, owner: Option<u32>) -> bool {
    peer == 0 || peer == ours || owner == Some(peer)
}

/// The body of a whole answer with status 200.
fn body_of(answer: &[u8]) -> Option<Vec<u8>> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    if lines.next()?.split(' ').nth(1)? != "200" {
        return None;
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() == length).then(|| body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body_of(whole).as_deref(), Some(&b"{}"[..]));
        for broken in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"[..],
            b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"",
        ] {
            assert_eq!(body_of(broken), None);
        }
    }

    #[test]
    fn strangers_answer_for_no_host() {
        for (peer, owner, may) in [
            (1000, None, true),
            (0, None, true),
            (999, Some(999), true),
            (1001, Some(999), false),
            (1001, None, false),
        ] {
            assert_eq!(speaks_for_the_host(peer, 1000, owner), may, "{peer}");
        }
    }

    #[test]
    fn credentials_are_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hook.json");
        std::fs::write(&file, r#"{"url":"http://127.0.0.1:1","token":"t"}"#).unwrap();
        assert_eq!(read_credentials(&file).unwrap().token, "t");
        std::fs::write(&file, r#"{"url":"http://127.0.0.1:1"}"#).unwrap();
        assert!(read_credentials(&file).unwrap_err().contains("token"));
        assert!(read_credentials(Path::new("/nowhere")).is_err());
    }
}
