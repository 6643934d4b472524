//! `selfheal policy grant`, `revoke` and `release`: exceptions, loud in the log.

use super::host::{Body, Host};
use super::report::{number, text};
use crate::cli::output::{self, Colour};
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::json;

/// Breaks the glass over one rule for a while
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy grant shell.network --minutes 30 --issue 12 --reason 'the mirror is down'
  selfheal policy revoke 1 --reason 'it is up again'

What the rule asks or denies does not count meanwhile; every decision that used the grant says
so. Rules of the host itself (host.*) cannot be granted. At most 240 minutes.")]
pub(crate) struct Grant {
    /// Id of the rule, as denials name it
    rule: String,
    /// For how long: 1 to 240
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=240))]
    minutes: u32,
    /// Only in this issue
    #[arg(long, value_name = "NUMBER")]
    issue: Option<u64>,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Grant {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut body = json!({
            "rule": self.rule, "minutes": self.minutes, "reason": self.reason
        });
        if let (Some(issue), Some(body)) = (self.issue, body.as_object_mut()) {
            body.insert("issue".to_owned(), json!(issue));
        }
        let answer = self
            .host
            .send("POST", "/policies/grants", Body::Json(body))?;
        if self.host.json {
            output::json(&answer);
        } else {
            output::line(output::coloured(
                Colour::Red,
                format!(
                    "grant {}: the glass over {} is broken until {}",
                    number(&answer, "number"),
                    text(&answer, "rule"),
                    text(&answer, "until")
                ),
            ));
        }
        Ok(Exit::Done)
    }
}

/// Ends a grant early
#[derive(Args, Debug)]
#[command(after_help = "Example: selfheal policy revoke 1 --reason 'no longer needed'")]
pub(crate) struct Revoke {
    /// Number of the grant
    grant: u64,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Revoke {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let path = format!("/policies/grants/{}", self.grant);
        let body = Body::Json(json!({ "reason": self.reason }));
        let answer = self.host.send("DELETE", &path, body)?;
        if self.host.json {
            output::json(&answer);
        } else {
            output::line(format!("grant {} is over", self.grant));
        }
        Ok(Exit::Done)
    }
}

/// Asks a quarantined module again
#[derive(Args, Debug)]
#[command(after_help = "\
Example: selfheal policy release no-docker --reason 'the fault was the full disk'

Until then it counts as its strictest answer, without being asked.")]
pub(crate) struct Release {
    /// Name of the module
    module: String,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Release {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let path = format!("/policies/quarantine/{}/release", self.module);
        let body = Body::Json(json!({ "reason": self.reason }));
        let answer = self.host.send("POST", &path, body)?;
        if self.host.json {
            output::json(&answer);
        } else {
            output::line(format!("module {} is asked again", self.module));
        }
        Ok(Exit::Done)
    }
}
