//! `selfheal issue`: a thin client of the HTTP API.

use super::client::{Access, Proxies};
use super::output::{self, Colour};
use crate::failure::{Exit, Failure};
use crate::machine::Machine;
use clap::{Args, Subcommand};
use selfheal_domain::ports::Clock;
use selfheal_domain::query::parse_age;
use selfheal_domain::run::RetryFrom;
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

/// How to say which issues are wanted, as the domain knows it.
const QUERY_HELP: &str = "\
Terms of a query:
  status:open,patch-pending   severity:>=high   priority:>p2   source:ci
  category:bug   service:web   reported-by:me   created:<7d   updated:>=2026-01-31
  is:open (not ended), is:closed, is:waiting (for an admin's word), is:snoozed
  sort:created (newest first) or sort:updated
  a word or a \"text\" of title or description
A - before a term asks for the opposite. What begins with one goes after --:

Example:
  selfheal issue list -- '-is:snoozed cart'";

/// As many views as one page holds: the caller's own come first.
const ALL_VIEWS: &str = "/views?limit=200";

/// A text as a part of a URL's query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The query of a saved view.
fn view_named(server: &Server, name: &str) -> Result<String, Failure> {
    let views = server.send("GET", ALL_VIEWS, None)?;
    let items = views.get("items").and_then(Value::as_array);
    let text = |view: &Value, key: &str| view.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut known = Vec::new();
    for view in items.into_iter().flatten() {
        let found = text(view, "name").unwrap_or_default();
        if found == name {
            return Ok(text(view, "query").unwrap_or_default());
        }
        known.push(found);
    }
    let known = match known.as_slice() {
        [] => "you have none".to_owned(),
        known => format!("known: {}", known.join(", ")),
    };
    Err(Failure::new(
        Exit::NotSo,
        format!("there is no view {name:?}; {known}"),
    ))
}

/// Where the server is, who asks, and how it is printed.
#[derive(Args, Debug, Clone)]
pub(crate) struct Server {
    #[command(flatten)]
    access: Access,
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
  selfheal issue list 'is:waiting severity:>=high -is:snoozed created:<7d'
  selfheal issue list --view Burning 'service:web'
  selfheal issue snooze 7 --for 3d
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
    #[command(
        after_help = "Example:\n  selfheal issue report --title 'Totals are wrong' --description 'Order 3 shows 0 EUR' --service shop"
    )]
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
    /// Lists issues, newest first unless the query says otherwise
    #[command(after_help = QUERY_HELP)]
    List {
        /// Terms that all hold; in quotes, for the shell
        #[arg(value_name = "QUERY")]
        query: Vec<String>,
        /// A saved view, narrowed by QUERY
        #[arg(long, value_name = "NAME")]
        view: Option<String>,
        /// As in OPEN or PATCH_PENDING
        #[arg(long)]
        status: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Shows one issue
    #[command(
        after_help = "Examples:\n  selfheal issue show 7\n  selfheal issue show 7 --json | jq .status"
    )]
    Show {
        /// Number or id
        issue: String,
    },
    /// Lets an agent start
    #[command(after_help = "Example:\n  selfheal issue approve 7")]
    Approve {
        /// Number or id
        issue: String,
    },
    /// Closes an open issue
    #[command(after_help = "Example:\n  selfheal issue reject 7 --reason 'works as documented'")]
    Reject {
        /// Number or id
        issue: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Stops it, undoing what was applied
    #[command(after_help = "Example:\n  selfheal issue abort 7 --reason 'we fix it by hand'")]
    Abort {
        /// Number or id
        issue: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Lists saved views: yours, and those that admins share
    #[command(after_help = "Example:\n  selfheal issue views --json")]
    Views,
    /// Puts it out of the way until a time, or until something happens to it
    #[command(after_help = "Example:\n  selfheal issue snooze 7 --for 3d")]
    Snooze {
        /// Number or id
        issue: String,
        /// How long, as in 4h, 3d or 1w; until something happens if left out
        #[arg(long = "for", value_name = "TIME")]
        length: Option<String>,
    },
    /// Relates two issues to each other
    #[command(after_help = "Example:\n  selfheal issue relate 7 3")]
    Relate {
        /// Number or id
        issue: String,
        /// Number or id of the other one
        other: String,
    },
    /// Ends a snooze
    #[command(after_help = "Example:\n  selfheal issue wake 7")]
    Wake {
        /// Number or id
        issue: String,
    },
    /// Starts another attempt
    #[command(
        after_help = "Examples:\n  selfheal issue retry 7\n  selfheal issue retry 7 --from prove     the same patch, proved anew"
    )]
    Retry {
        /// Number or id
        issue: String,
        /// The step to begin with; what comes before it is kept from the last attempt.
        /// All gates are passed again
        #[arg(long, value_name = "STEP", default_value = "diagnose", value_parser = RetryFrom::ALL.map(RetryFrom::as_str))]
        from: String,
    },
    /// Adds a comment
    #[command(after_help = "Example:\n  selfheal issue comment 7 'Since the update of *Monday*'")]
    Comment {
        /// Number or id
        issue: String,
        /// Markdown
        content: String,
    },
    /// Saves everything on record about one as an archive that people can read and
    /// check (admins and auditors)
    #[command(after_help = "Example:\n  selfheal issue pack 7 --output evidence.zip")]
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
#[command(
    after_help = "Examples:\n  selfheal issue patch show 7\n  selfheal issue patch approve 7"
)]
enum Patch {
    /// Shows the diff and what was found about it
    #[command(after_help = "Example:\n  selfheal issue patch show 7")]
    Show {
        /// Number or id
        issue: String,
    },
    /// Approves exactly this patch
    #[command(after_help = "Example:\n  selfheal issue patch approve 7")]
    Approve {
        /// Number or id
        issue: String,
        /// Digest of the diff that was read; the pending one if left out
        #[arg(long)]
        digest: Option<String>,
    },
    /// Rejects it
    #[command(
        after_help = "Example:\n  selfheal issue patch reject 7 --reason 'keep the old rounding' --redraft"
    )]
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
            Action::List {
                query,
                view,
                status,
                limit,
            } => {
                let mut query = query.join(" ");
                if let Some(name) = view {
                    query = format!("{} {query}", view_named(server, name)?);
                }
                let mut path = format!("/issues?limit={limit}");
                if !query.trim().is_empty() {
                    path.push_str(&format!("&query={}", encoded(query.trim())));
                }
                if let Some(status) = status {
                    path.push_str(&format!("&status={}", encoded(status)));
                }
                server.send("GET", &path, None)?
            }
            Action::Views => server.send("GET", ALL_VIEWS, None)?,
            Action::Snooze { issue, length } => {
                let body = match length {
                    None => json!({}),
                    Some(text) => {
                        let until = parse_age(text)
                            .and_then(|length| Machine.now().checked_add_signed(length));
                        let until = until.ok_or_else(|| {
                            let message = format!(
                                "{text:?} is no length of time; give a number and m, h, d or w, as in 3d"
                            );
                            Failure::new(Exit::Usage, message)
                        })?;
                        json!({ "until": until })
                    }
                };
                server.send("PUT", &at(issue, "/snooze"), Some(body))?
            }
            Action::Relate { issue, other } => {
                server.send("PUT", &at(issue, &format!("/related/{other}")), None)?
            }
            Action::Wake { issue } => server.send("DELETE", &at(issue, "/snooze"), None)?,
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
            Action::Retry { issue, from } => {
                server.send("POST", &at(issue, "/retry"), Some(json!({ "from": from })))?
            }
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
        self.access
            .fetch(method, path, body, None, Proxies::Followed)
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
        Action::Views => {
            for view in answer
                .get("items")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let text = |key: &str| view.get(key).and_then(Value::as_str).unwrap_or_default();
                let shared = view.get("shared").and_then(Value::as_bool) == Some(true);
                let of = if shared {
                    format!("  (shared by {})", text("owner"))
                } else {
                    String::new()
                };
                output::line(format!("{}: {}{of}", text("name"), text("query")));
            }
        }
        _ => show_issue(answer),
    }
}

fn show_line(issue: &Value) {
    let text = |key: &str| issue.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = issue
        .get("number")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let snooze = issue.get("snooze").map_or_else(String::new, |snooze| {
        let until = snooze.get("until").and_then(Value::as_str);
        let until = until.unwrap_or("something happens");
        format!("  (snoozed until {until})")
    });
    output::line(format!(
        "#{number:<5} {:<14} {:<9} {:<3} {}{snooze}",
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
