//! `selfheal policy explain`: why a decision came out as it did.

use super::candidate::OtherSet;
use super::host::{Body, Host};
use super::report;
use crate::cli::output;
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::Value;

/// Says which rule of which module decided and why, and asks again
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy explain 1234                       by its position in the log
  selfheal policy explain 0198c1de-…                 by its id
  selfheal policy explain 1234 --under policy.toml   what that set would say
  selfheal policy explain 1234 --module shell-guard --settings '{\"deny\": []}'

The recorded question is asked again exactly as the modules got it then.")]
pub(crate) struct Explain {
    /// Id of the decision, or its position in the log
    decision: String,
    #[command(flatten)]
    other: OtherSet,
    #[command(flatten)]
    host: Host,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if !self
            .decision
            .chars()
            .all(|c| c.is_ascii_hexdigit() || c == '-')
        {
            let message = "a decision is named by its id or by its position in the log";
            return Err(Failure::new(Exit::Usage, message));
        }
        let path = format!("/decisions/{}/explanation", self.decision);
        let answer = match self.other.body(&self.host)? {
            Some(body) => self
                .host
                .send("POST", &path, Body::Json(Value::Object(body)))?,
            None => self.host.send("GET", &path, Body::None)?,
        };
        if self.host.json {
            output::json(&answer);
        } else {
            let lines = report::explanation(&answer);
            lines.into_iter().for_each(output::line);
        }
        Ok(Exit::Done)
    }
}
