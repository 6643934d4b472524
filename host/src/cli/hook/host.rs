//! The host that a hook asks: over HTTP with the hook's own token, or beside it
//! through the operator's local socket.

use crate::compose::accounts::control_socket;
use crate::config::Config;
use clap::Args;
use selfheal_domain::external::ExternalAgent;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
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
    /// Token of the hook; without one, the local socket of the host on this machine
    #[arg(
        long,
        env = "SELFHEAL_TOKEN",
        hide_env_values = true,
        default_value = ""
    )]
    token: String,
    /// Configuration of the host on this machine
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
}

/// What a hook needs to ask; mode 0600, because whoever has it can ask as this hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// Address of the host.
    pub(super) url: String,
    /// Token of the hook.
    pub(super) token: String,
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
            };
            return credentials.send(&path, event);
        }
        let config = Config::read(&self.config)
            .map_err(|error| format!("no token is given, and {error}"))?;
        over_socket(&control_socket(&config.data), &path, event)
    }
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
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let sent = agent
            .post(&url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .send(event);
        let mut response = sent.map_err(|error| {
            format!("{url} does not answer ({error}); is `selfheal serve` running?")
        })?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(format!("{url} answered {status}"));
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        body.read_to_vec()
            .map_err(|error| format!("the answer of {url} broke off: {error}"))
    }
}

/// One request over the operator's socket, whose file mode is the authentication.
fn over_socket(socket: &Path, path: &str, event: &[u8]) -> Result<Vec<u8>, String> {
    let unanswered = |error: std::io::Error| {
        format!(
            "no host answers on {} ({error}); is `selfheal serve` running?",
            socket.display()
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(unanswered)?;
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
