//! The running host that the commands about its policies talk to: over HTTP with an
//! admin's token, or beside it through the operator's local socket.

use crate::cli::client::{Client, Proxies, no_request};
use crate::cli::issue::{exit_of, problem};
use crate::compose::accounts::control_socket;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A plan over many decisions, or the compilation of a large module, takes a while.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most of an answer that is read, in bytes.
const MOST_ANSWER: u64 = 64 * 1024 * 1024;

/// Where the host is and who asks.
#[derive(Args, Debug, Clone)]
pub(in crate::cli) struct Host {
    /// Address of the host
    #[arg(long, env = "SELFHEAL_URL", default_value = "http://127.0.0.1:7700")]
    url: String,
    /// Token of the account; without one, the local socket of the host on this machine
    #[arg(
        long,
        env = "SELFHEAL_TOKEN",
        hide_env_values = true,
        default_value = ""
    )]
    token: String,
    /// Authorities (PEM) of its certificate, in place of those that this machine trusts
    #[arg(long, env = "SELFHEAL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Configuration of the host on this machine
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
    /// Print the host's answer as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What goes with a request.
pub(in crate::cli) enum Body<'a> {
    /// Nothing.
    None,
    /// A document.
    Json(Value),
    /// A module and its detached signature.
    Module(&'a [u8], Option<&'a [u8]>),
}

struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Host {
    /// Sends one request below `/api/v1` and returns its answer.
    pub(in crate::cli) fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Body<'_>,
    ) -> Result<Value, Failure> {
        let mut headers = Vec::new();
        let body = match body {
            Body::None => Vec::new(),
            Body::Json(value) => {
                headers.push(("content-type", "application/json".to_owned()));
                value.to_string().into_bytes()
            }
            Body::Module(bytes, signature) => {
                headers.push(("content-type", "application/wasm".to_owned()));
                if let Some(signature) = signature {
                    headers.push(("selfheal-signature", STANDARD.encode(signature)));
                }
                bytes.to_vec()
            }
        };
        let request = Request {
            method,
            path: format!("/api/v1{path}"),
            headers,
            body,
        };
        let (status, text) = match self.socket() {
            Some(socket) => over_socket(&socket, &request)?,
            None => self.over_network(request)?,
        };
        if status < 400 {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)));
        }
        let answer = serde_json::from_str(&text).unwrap_or_default();
        Err(Failure::new(exit_of(status), problem(status, &answer)))
    }

    /// `policy.toml` of the host on this machine, if there is one.
    pub(super) fn policy_file(&self) -> Option<PathBuf> {
        let config = Config::read(&self.config).ok()?;
        config.policy_file.canonicalize().ok()
    }

    fn socket(&self) -> Option<PathBuf> {
        if !self.token.is_empty() {
            return None;
        }
        let config = Config::read(&self.config).ok()?;
        let socket = control_socket(&config.data);
        socket.exists().then_some(socket)
    }

    fn over_network(&self, sent: Request) -> Result<(u16, String), Failure> {
        let url = format!("{}{}", self.url.trim_end_matches('/'), sent.path);
        let client = Client::new(self.ca_file.as_deref(), PATIENCE, Proxies::Followed);
        let client = client.because(Exit::Usage)?;
        let mut request = ureq::http::Request::builder().method(sent.method).uri(&url);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in sent.headers {
            request = request.header(name, value);
        }
        let request = request.body(sent.body);
        let request =
            request.map_err(|error| Failure::new(Exit::Usage, no_request(&url, &error)))?;
        let response = client.run(&url, request);
        let mut response = response.map_err(|why| Failure::new(Exit::Unavailable, why))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_ANSWER);
        Ok((status, body.read_to_string().because(Exit::Unavailable)?))
    }
}

/// One request over the operator's socket, whose file mode is the authentication.
pub(in crate::cli) fn ask_operator(
    socket: &Path,
    method: &'static str,
    path: &str,
) -> Result<(u16, String), Failure> {
    let request = Request {
        method,
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    over_socket(socket, &request)
}

fn over_socket(socket: &Path, request: &Request) -> Result<(u16, String), Failure> {
    let unanswered = |error| Failure {
        exit: Exit::Unavailable,
        error: anyhow::Error::new(error).context(format!(
            "no host answers on {}; is `selfheal serve` running?",
            socket.display()
        )),
    };
    let mut stream = UnixStream::connect(socket).map_err(unanswered)?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .because(Exit::Unavailable)?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).map_err(unanswered)?;
    // A host that refuses early stops reading; its answer says why.
    let written = stream.write_all(&request.body);
    let mut answer = Vec::new();
    let read = stream.take(MOST_ANSWER).read_to_end(&mut answer);
    if answer.is_empty() {
        written.map_err(unanswered)?;
        read.map_err(unanswered)?;
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            format!("{} does not speak HTTP", socket.display()),
        )
    })?;
    Ok((status, body.to_owned()))
}
