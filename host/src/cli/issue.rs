//! `selfheal issue`: a thin client of the HTTP API.

use super::client::{Client, Proxies};
use super::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn save_pack(server: &Server, issue: &str, output: Option<&Path>) -> Result<Exit, Failure> {
    if issue.is_empty()
        || !issue
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(Failure::new(
            Exit::Usage,
            format!("{issue:?} is neither number nor id of an issue"),
        ));
    }
    let bytes = server.fetch("GET", &format!("/issues/{issue}/pack"), None)?;
    let named = PathBuf::from(format!("issue-{issue}-evidence.zip"));
    let file = output.unwrap_or(&named);
    std::fs::write(file, &bytes).map_err(|error| Failure {
        exit: Exit::Unavailable,
        error: anyhow::Error::new(error).context(format!("{} cannot be written", file.display())),
    })?;
    if server.json {
        output::json(&json!({ "file": file, "bytes": bytes.len() }));
    } else {
        output::line(format!(
            "{} ({} bytes); unpack it and open index.html, README.md says how to check it",
            file.display(),
            bytes.len()
        ));
    }
    Ok(Exit::Done)
}

/// Largest answer that is taken, in bytes.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Where the server is and who asks.
#[derive(Args, Debug, Clone)]
pub(crate) struct Server {
    /// Address of the host
    #[arg(
        long,
        env = "SELFHEAL_URL",
        default_value = "http://127.0.0.1:7700",
        global = true
    )]
    url: String,
    /// Token of the account
    #[arg(
        long,
        env = "SELFHEAL_TOKEN",
        hide_env_values = true,
        default_value = "",
        global = true
    )]
    token: String,
    /// Authorities (PEM) of its certificate, in place of those that this machine trusts
    #[arg(long, env = "SELFHEAL_CA_FILE", value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Reports and decides on issues, over HTTP.
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  selfheal issue report --title 'Totals are wrong' --description 'Order 3 shows 0 EUR'
  selfheal issue approve 1
  selfheal issue patch show 1
  selfheal issue patch approve 1
  selfheal issue pack 1 --output evidence.zip

The server comes from SELFHEAL_URL, the token from SELFHEAL_TOKEN."
)]
pub(crate) struct Issue {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Files a report
    Report {
        /// One line, at most 200 characters
        #[arg(long)]
        title: String,
        /// What is wrong
        #[arg(long)]
        description: String,
        /// How to see it
        #[arg(long)]
        steps: Option<String>,
        /// What should happen
        #[arg(long)]
        expected: Option<String>,
        /// What happens instead
        #[arg(long)]
        actual: Option<String>,
        /// Affected service
        #[arg(long)]
        service: Option<String>,
    },
    /// Lists issues, newest first
    List {
        /// As in OPEN or PATCH_PENDING
        #[arg(long)]
        status: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Shows one issue
    Show {
        /// Number or id
        issue: String,
    },
    /// Lets an agent start
    Approve {
        /// Number or id
        issue: String,
    },
    /// Closes an open issue
    Reject {
        /// Number or id
        issue: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Stops it, undoing what was applied
    Abort {
        /// Number or id
        issue: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Starts another attempt
    Retry {
        /// Number or id
        issue: String,
    },
    /// Adds a comment
    Comment {
        /// Number or id
        issue: String,
        /// Markdown
        content: String,
    },
    /// Saves everything on record about one as an archive that people can read and
    /// check (admins and auditors)
    Pack {
        /// Number or id
        issue: String,
        /// Where to; `issue-N-evidence.zip` here unless said otherwise
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Reads and reviews the pending patch
    #[command(subcommand)]
    Patch(Patch),
}

#[derive(Subcommand, Debug)]
enum Patch {
    /// Shows the diff and what was found about it
    Show {
        /// Number or id
        issue: String,
    },
    /// Approves exactly this patch
    Approve {
        /// Number or id
        issue: String,
        /// Digest of the diff that was read; the pending one if left out
        #[arg(long)]
        digest: Option<String>,
    },
    /// Rejects it
    Reject {
        /// Number or id
        issue: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Have another one drafted
        #[arg(long)]
        redraft: bool,
    },
}

impl Issue {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let server = &self.server;
        let at = |issue: &str, rest: &str| format!("/issues/{issue}{rest}");
        let answer = match &self.action {
            Action::Report {
                title,
                description,
                steps,
                expected,
                actual,
                service,
            } => {
                let mut report =
                    json!({ "title": title, "description": description, "source": "cli" });
                let optional = [
                    ("stepsToReproduce", steps),
                    ("expectedBehavior", expected),
                    ("actualBehavior", actual),
                    ("service", service),
                ];
                if let Some(report) = report.as_object_mut() {
                    for (key, value) in optional
                        .into_iter()
                        .filter_map(|(key, value)| Some((key, value.as_ref()?)))
                    {
                        report.insert(key.to_owned(), json!(value));
                    }
                }
                server.send("POST", "/issues", Some(report))?
            }
            Action::List { status, limit } => {
                let status = status
                    .as_ref()
                    .map_or_else(String::new, |status| format!("&status={status}"));
                server.send("GET", &format!("/issues?limit={limit}{status}"), None)?
            }
            Action::Show { issue } => server.send("GET", &at(issue, ""), None)?,
            Action::Approve { issue } => server.send("PATCH", &at(issue, "/approve"), None)?,
            Action::Reject { issue, reason } => server.send(
                "PATCH",
                &at(issue, "/reject"),
                Some(json!({ "reason": reason })),
            )?,
            Action::Abort { issue, reason } => server.send(
                "POST",
                &at(issue, "/abort"),
                Some(json!({ "reason": reason })),
            )?,
            Action::Retry { issue } => server.send("POST", &at(issue, "/retry"), None)?,
            Action::Comment { issue, content } => server.send(
                "POST",
                &at(issue, "/comments"),
                Some(json!({ "content": content })),
            )?,
            Action::Pack { issue, output } => {
                return save_pack(server, issue, output.as_deref());
            }
            Action::Patch(Patch::Show { issue }) => {
                server.send("GET", &at(issue, "/patch"), None)?
            }
            Action::Patch(Patch::Approve { issue, digest }) => {
                let digest = match digest {
                    Some(digest) => json!(digest),
                    None => server
                        .send("GET", &at(issue, "/patch"), None)?
                        .get("patchDigest")
                        .cloned()
                        .unwrap_or_default(),
                };
                server.send(
                    "PATCH",
                    &at(issue, "/patch/approve"),
                    Some(json!({ "patchDigest": digest })),
                )?
            }
            Action::Patch(Patch::Reject {
                issue,
                reason,
                redraft,
            }) => {
                let body = json!({ "reason": reason, "redraft": redraft });
                server.send("PATCH", &at(issue, "/patch/reject"), Some(body))?
            }
        };
        if server.json {
            output::json(&answer);
        } else {
            show(&self.action, &answer);
        }
        Ok(Exit::Done)
    }
}

impl Server {
    /// Sends a request under `/api/v1`; the answer's JSON.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let bytes = self.fetch(method, path, body)?;
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Sends a request under `/api/v1`; the answer's bytes.
    pub(super) fn fetch(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/api/v1{path}", self.url.trim_end_matches('/'));
        let patience = std::time::Duration::from_secs(60);
        let client = Client::new(self.ca_file.as_deref(), patience, Proxies::Followed);
        let client = client.because(Exit::Usage)?;
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request
            .header("content-type", "application/json")
            .body(text.into_bytes())
            .because(Exit::Usage)?;
        let response = client.run(&url, request);
        let mut response = response.map_err(|why| Failure::new(Exit::Unavailable, why))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_BYTES);
        let bytes = body.read_to_vec().because(Exit::Unavailable)?;
        if status < 400 {
            return Ok(bytes);
        }
        let answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(Failure::new(exit_of(status), problem(status, &answer)))
    }
}

pub(super) fn exit_of(status: u16) -> Exit {
    match status {
        401 | 403 => Exit::Denied,
        404 | 409 => Exit::NotSo,
        400..=499 => Exit::Usage,
        _ => Exit::Unavailable,
    }
}

pub(super) fn problem(status: u16, answer: &Value) -> String {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut message = match (text("title"), text("detail")) {
        ("", "") => format!("the server answered {status}"),
        (title, "") => title.to_owned(),
        (_, detail) => detail.to_owned(),
    };
    for error in answer
        .get("errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let part = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        message.push_str(&format!("\n  {}: {}", part("field"), part("message")));
    }
    if status == 401 {
        message.push_str("\n  set SELFHEAL_TOKEN to your token");
    }
    message
}

fn show(action: &Action, answer: &Value) {
    match action {
        Action::List { .. } => {
            for issue in answer
                .get("items")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                show_line(issue);
            }
        }
        Action::Patch(Patch::Show { .. }) => {
            let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
            output::line(output::diff(text("patchDiff")));
            output::line(format!("\n{}", text("patchRationale")));
            output::line(format!("digest {}", text("patchDigest")));
        }
        Action::Comment { .. } => output::line("comment added"),
        _ => show_issue(answer),
    }
}

fn show_line(issue: &Value) {
    let text = |key: &str| issue.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = issue
        .get("number")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    output::line(format!(
        "#{number:<5} {:<14} {:<9} {:<3} {}",
        output::coloured(Colour::Bold, text("status")),
        text("severity"),
        text("priority"),
        text("title")
    ));
}

fn show_issue(issue: &Value) {
    show_line(issue);
    let text = |key: &str| issue.get(key).and_then(Value::as_str);
    let fields = [
        ("cause", "rootCause"),
        ("rationale", "patchRationale"),
        ("verification", "verificationResult"),
        ("rejected", "rejectionReason"),
        ("description", "description"),
    ];
    for (label, key) in fields {
        if let Some(value) = text(key) {
            output::line(format!("  {label}: {value}"));
        }
    }
    if let Some(diff) = text("patchDiff") {
        output::line(output::diff(diff));
    }
    for comment in issue
        .get("comments")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let part = |key: &str| comment.get(key).and_then(Value::as_str).unwrap_or_default();
        output::line(format!(
            "  {} ({}): {}",
            part("author"),
            part("role"),
            part("content")
        ));
    }
}
