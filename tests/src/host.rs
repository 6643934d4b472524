//! A running host, and people who talk to it.

use crate::{Project, compiled, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Body; null when it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Text of a field of the body; empty when it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.body
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// `selfheal serve` on a free port; killed when dropped.
pub struct TestHost {
    child: Child,
    url: String,
    config: PathBuf,
    data: PathBuf,
    agent: ureq::Agent,
    /// Token of the first admin.
    pub admin: String,
}

impl TestHost {
    /// Runs `selfheal init` for `project`, lets `edit` change the configuration, and
    /// starts the host.
    pub fn start(project: &Project, edit: impl FnOnce(&mut String, &mut String)) -> Self {
        let outside = project.outside();
        let ran = project.selfheal_in(
            &outside,
            &["init", "--app", "app", "--data", "data", "--json"],
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        let admin = ran
            .json()
            .get("token")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let (config, policy) = (outside.join("selfheal.toml"), outside.join("policy.toml"));
        let mut config_text = std::fs::read_to_string(&config).expect("init wrote it");
        let mut policy_text = std::fs::read_to_string(&policy).expect("init wrote it");
        edit(&mut config_text, &mut policy_text);
        compiled::hand_over(&outside.join("data"));
        std::fs::write(&config, config_text).expect("it can be written");
        std::fs::write(&policy, policy_text).expect("it can be written");
        Self::restart(project, admin)
    }

    /// Starts a host on what an earlier one left.
    pub fn restart(project: &Project, admin: String) -> Self {
        Self::start_in(project, &project.outside(), admin)
    }

    /// Starts a host with the configuration in `directory`.
    pub fn start_in(project: &Project, directory: &Path, admin: String) -> Self {
        let outside = project.outside();
        let mut command = project.command(directory, &["serve", "--listen", "127.0.0.1:0"]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(outside.join("host.log"))
            .expect("a log file");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let Some(url) = url else {
            let log = std::fs::read_to_string(outside.join("host.log")).unwrap_or_default();
            panic!("the host did not start: {log}");
        };
        let agent = client(TlsConfig::default());
        Self {
            child,
            url,
            config: directory.join("selfheal.toml"),
            data: outside.join("data"),
            agent,
            admin,
        }
    }

    /// The same host, asked by somebody who trusts this authority (PEM) alone.
    #[must_use]
    pub fn trusting(mut self, authority: &str) -> Self {
        let authority = Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let roots = RootCerts::new_with_certs(&[authority]);
        self.agent = client(TlsConfig::builder().root_certs(roots).build());
        self
    }

    /// Sends a request as it is, with JSON or nothing in it; follows nothing.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> ureq::http::Response<ureq::Body> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        self.agent.run(request).expect("the host answers")
    }

    /// Process id of the host.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Address of the host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the host as a power cut would, and waits until it is gone.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
        self.admin.clone()
    }

    /// Waits until a host that was told to stop has ended; gives the admin's token.
    pub fn ended(mut self) -> String {
        self.child.wait().expect("it ends");
        self.admin.clone()
    }

    /// Adds an account while the host runs; gives its token.
    pub fn user(&self, project: &Project, name: &str, role: &str) -> String {
        let config = self.config.display().to_string();
        let ran = project.selfheal_in(
            &project.outside(),
            &["user", "add", name, "--role", role, "--config", &config],
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(
            ran.stdout.lines().count(),
            1,
            "one line, the token: {ran:?}"
        );
        ran.stdout.trim().to_owned()
    }

    /// Sends a request under `/api/v1`; an empty token sends none.
    pub fn send(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.url));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request
            .header("content-type", "application/json")
            .body(text)
            .expect("a request");
        let mut response = self.agent.run(request).expect("the host answers");
        let header = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        let content_type = header.unwrap_or_default().to_owned();
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().expect("a body");
        Answer {
            status,
            content_type,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        }
    }

    /// Fetches bytes under `/api/v1`; status and body.
    pub fn fetch(&self, token: &str, path: &str) -> (u16, Vec<u8>) {
        let request = self
            .agent
            .get(format!("{}/api/v1{path}", self.url))
            .header("authorization", format!("Bearer {token}"));
        let mut response = request.call().expect("the host answers");
        let bytes = response.body_mut().read_to_vec().expect("a body");
        (response.status().as_u16(), bytes)
    }

    /// Fetches a page outside of the API, without a token; status and text.
    pub fn page(&self, path: &str) -> (u16, String) {
        let request = self.agent.get(format!("{}{path}", self.url));
        let mut response = request.call().expect("the host answers");
        let text = response.body_mut().read_to_string().expect("a body");
        (response.status().as_u16(), text)
    }

    /// Sends a request as the first admin; it must succeed.
    pub fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.send(&self.admin, method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
        answer.body
    }

    /// Sets the autonomy level.
    pub fn level(&self, level: u8) {
        self.admin(
            "PUT",
            "/autonomy",
            Some(json!({ "level": level, "reason": "test" })),
        );
    }

    /// Files a report with `token`; gives its number.
    pub fn report(&self, token: &str, title: &str) -> u64 {
        let report = json!({ "title": title, "description": "It does not work." });
        let answer = self.send(token, "POST", "/issues", Some(report));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
            .body
            .get("number")
            .and_then(Value::as_u64)
            .expect("a number")
    }

    /// Waits until the issue has one of these states; gives the issue.
    pub fn wait_for(&self, number: u64, states: &[&str]) -> Value {
        eventually(
            &format!("issue {number} is {states:?}"),
            Duration::from_secs(120),
            || {
                let issue = self.admin("GET", &format!("/issues/{number}"), None);
                let status = issue
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                states.contains(&status).then_some(issue)
            },
        )
    }
}

fn client(tls: TlsConfig) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .build()
        .into()
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        compiled::leave_behind(&self.data);
    }
}
