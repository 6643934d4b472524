//! `selfheal service`: a thin client of the HTTP API.

use super::issue::Server;
use super::output::{self, Colour};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Looks at the application's services and tells them what to do, over HTTP.
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  selfheal service list
  selfheal service show web --json
  selfheal service restart web
  selfheal service logs web | tail -20

The server comes from SELFHEAL_URL, the token (of an admin) from SELFHEAL_TOKEN."
)]
pub(crate) struct Service {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Lists services in start order
    #[command(after_help = "Example:\n  selfheal service list --json")]
    List,
    /// Shows one: state, what it uses, how it was lately
    #[command(after_help = "Example:\n  selfheal service show web")]
    Show {
        /// As in the configuration
        name: String,
    },
    /// Starts one and waits until it is ready
    #[command(after_help = "Example:\n  selfheal service start web")]
    Start {
        /// As in the configuration
        name: String,
    },
    /// Stops one; it stays down until somebody starts it
    #[command(after_help = "Example:\n  selfheal service stop web")]
    Stop {
        /// As in the configuration
        name: String,
    },
    /// Restarts one and waits until it is ready
    #[command(after_help = "Example:\n  selfheal service restart web")]
    Restart {
        /// As in the configuration
        name: String,
    },
    /// Has one read its code and settings again, where it can
    #[command(after_help = "Example:\n  selfheal service reload web")]
    Reload {
        /// As in the configuration
        name: String,
    },
    /// Prints the end of its output
    #[command(after_help = "Example:\n  selfheal service logs web | tail -20")]
    Logs {
        /// As in the configuration
        name: String,
    },
}

impl Service {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let server = &self.server;
        let operate = |name: &str, what: &str| {
            let answer = server.send("POST", &path(name, what)?, Some(json!({})))?;
            show_one(server.json, &answer);
            Ok(Exit::Done)
        };
        match &self.action {
            Action::List => {
                let answer = server.send("GET", "/services?limit=200", None)?;
                if server.json {
                    output::json(&answer);
                } else {
                    list(answer.get("items")).for_each(show_line);
                }
            }
            Action::Show { name } => {
                let answer = server.send("GET", &path(name, "")?, None)?;
                show_one(server.json, &answer);
            }
            Action::Start { name } => return operate(name, "/start"),
            Action::Stop { name } => return operate(name, "/stop"),
            Action::Restart { name } => return operate(name, "/restart"),
            Action::Reload { name } => return operate(name, "/reload"),
            Action::Logs { name } => {
                let bytes = server.fetch("GET", &path(name, "/logs")?, None)?;
                let text = String::from_utf8_lossy(&bytes);
                if server.json {
                    output::json(&json!({ "name": name, "log": text }));
                } else {
                    // What a service says must not steer the terminal.
                    output::line(output::harmless(text.trim_end()));
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// Path of a service; what cannot be a name would be another path.
fn path(name: &str, rest: &str) -> Result<String, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{name:?} is no name of a service; `selfheal service list` shows them"),
        ));
    }
    Ok(format!("/services/{name}{rest}"))
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> f64 {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_default()
}

fn show_line(service: &Value) {
    let state = text(service, "state");
    let healthy = service.get("healthy").and_then(Value::as_bool);
    let colour = match (state, healthy) {
        ("running", Some(false)) | ("failed", _) => Colour::Red,
        ("running", _) => Colour::Green,
        _ => Colour::Yellow,
    };
    let pid = service.get("pid").and_then(Value::as_u64);
    let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    output::line(format!(
        "{:<20} {:<12} pid {pid:<8} restarts {:<4} {}",
        text(service, "name"),
        output::coloured(colour, state),
        number(service, "/restarts"),
        output::harmless(text(service, "detail").lines().next().unwrap_or_default()),
    ));
}

fn show_one(json: bool, service: &Value) {
    if json {
        output::json(service);
        return;
    }
    show_line(service);
    if service.get("usage").is_some() {
        output::line(format!(
            "  up {} s; {} processes, {:.1} s CPU, {:.1} MiB resident, {} open files",
            number(service, "/uptimeSeconds"),
            number(service, "/usage/processes"),
            number(service, "/usage/cpuSeconds"),
            number(service, "/usage/residentBytes") / (1024.0 * 1024.0),
            number(service, "/usage/openFiles"),
        ));
    }
    if service.get("circuitOpen").and_then(Value::as_bool) == Some(true) {
        output::line(output::coloured(
            Colour::Red,
            "  the circuit breaker is open; `selfheal service start` closes it",
        ));
    }
    for sample in list(service.get("health")) {
        let healthy = sample.get("healthy").and_then(Value::as_bool) == Some(true);
        let (colour, word) = if healthy {
            (Colour::Green, "well")
        } else {
            (Colour::Red, "unwell")
        };
        output::line(format!(
            "  {} {} ({}x) {}",
            text(sample, "until"),
            output::coloured(colour, word),
            number(sample, "/count"),
            output::harmless(text(sample, "detail").lines().next().unwrap_or_default()),
        ));
    }
}
