//! `selfheal policy activate`, `confirm`, `withdraw`, `promote`, `end-trial` and
//! `rollback`: what comes into force on the running host.

use super::candidate::CandidateArguments;
use super::host::{Body, Host};
use super::report;
use crate::cli::output;
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::{Value, json};

/// Brings a change into force on the running host, or on trial
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy activate policy.toml --reason 'no containers in this team'
  selfheal policy activate --module no-docker=no-docker.wasm --kind guardrail --reason 'as agreed'
  selfheal policy activate --module shell-guard --settings @new.json --canary 10 --reason 'try it'
  selfheal policy activate policy.toml --shadow --reason 'only look'

The host prepares the set first; if that fails nothing changes. Under four_eyes, what is not
known to loosen nothing waits as a proposal for another admin: `selfheal policy confirm`.")]
pub(crate) struct Activate {
    #[command(flatten)]
    candidate: CandidateArguments,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    /// Ask it beside the set in force and report the difference; nothing obeys it
    #[arg(long, conflicts_with = "canary")]
    shadow: bool,
    /// In force for this many of 100 runs
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
    #[command(flatten)]
    host: Host,
}

impl Activate {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut body = self.candidate.body(&self.host)?;
        body.insert("reason".to_owned(), json!(self.reason));
        if self.shadow {
            body.insert("rollout".to_owned(), json!("shadow"));
        }
        if let Some(percent) = self.canary {
            body.insert("rollout".to_owned(), json!("canary"));
            body.insert("percent".to_owned(), json!(percent));
        }
        send(&self.host, "/policies/activate", Value::Object(body))
    }
}

/// Agrees to another admin's change
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy status            shows what waits, and what it changes
  selfheal policy confirm 3

Needs the token of an admin who did not make the proposal.")]
pub(crate) struct Confirm {
    /// Number of the proposal
    proposal: u64,
    #[command(flatten)]
    host: Host,
}

impl Confirm {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let path = format!("/policies/proposals/{}/confirm", self.proposal);
        send(&self.host, &path, json!({}))
    }
}

/// Takes a proposal back
#[derive(Args, Debug)]
#[command(after_help = "Example: selfheal policy withdraw 3 --reason 'superseded'")]
pub(crate) struct Withdraw {
    /// Number of the proposal
    proposal: u64,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Withdraw {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let path = format!("/policies/proposals/{}", self.proposal);
        let body = Body::Json(json!({ "reason": self.reason }));
        let answer = self.host.send("DELETE", &path, body)?;
        if self.host.json {
            output::json(&answer);
        } else {
            output::line(format!("proposal {} is withdrawn", self.proposal));
        }
        Ok(Exit::Done)
    }
}

/// Brings the set on trial into force
#[derive(Args, Debug)]
#[command(after_help = "Example: selfheal policy promote --reason 'a week without a false stop'")]
pub(crate) struct PromoteTrial {
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl PromoteTrial {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let body = json!({ "reason": self.reason });
        send(&self.host, "/policies/trial/promote", body)
    }
}

/// Ends the trial; the set in force stays
#[derive(Args, Debug)]
#[command(after_help = "Example: selfheal policy end-trial --reason 'denies too much'")]
pub(crate) struct EndTrial {
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl EndTrial {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let body = json!({ "reason": self.reason });
        send(&self.host, "/policies/trial/end", body)
    }
}

/// Goes back to an earlier generation
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy rollback --reason 'denies too much'       the generation before
  selfheal policy rollback 4 --reason 'as it was in May'

Its text and modules were kept by the host; it comes back as a new generation.")]
pub(crate) struct Rollback {
    /// Which one; `selfheal policy status` lists those that are kept
    generation: Option<u64>,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Rollback {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut body = json!({ "reason": self.reason });
        if let (Some(generation), Some(body)) = (self.generation, body.as_object_mut()) {
            body.insert("generation".to_owned(), json!(generation));
        }
        send(&self.host, "/policies/rollback", body)
    }
}

fn send(host: &Host, path: &str, body: Value) -> Result<Exit, Failure> {
    let answer = host.send("POST", path, Body::Json(body))?;
    if host.json {
        output::json(&answer);
    } else {
        report::change(&answer).into_iter().for_each(output::line);
    }
    Ok(Exit::Done)
}
