//! `selfheal freeze` and `selfheal unfreeze`: the switch that stops all healing.

use super::output::{self, Colour};
use super::policy::{Body, Host};
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::{Value, json};

/// Stops all healing at once, agents included
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal freeze --reason 'a release is going out'
  selfheal unfreeze --reason 'the release is out'

Nothing starts any more and agents at work are stopped; a patch that is being applied or
verified is finished or rolled back. It holds over restarts until somebody lifts it. With a
token (SELFHEAL_TOKEN) an admin does it; without one whoever operates the host, on its
machine. Either is on record with the reason.")]
pub(crate) struct Freeze {
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

/// Lifts a freeze: healing goes on where it was stopped
#[derive(Args, Debug)]
#[command(after_help = "\
Example: selfheal unfreeze --reason 'the policies are obeyed again'

A host that froze itself, because a policy was not enforced, proves its enforcement again
first: while that fails the freeze stays (exit code 1) and says which way is open.")]
pub(crate) struct Unfreeze {
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    host: Host,
}

impl Freeze {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        switch(&self.host, "POST", &self.reason)
    }
}

impl Unfreeze {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        switch(&self.host, "DELETE", &self.reason)
    }
}

fn switch(host: &Host, method: &'static str, reason: &str) -> Result<Exit, Failure> {
    let answer = host.send(method, "/freeze", Body::Json(json!({ "reason": reason })))?;
    if host.json {
        output::json(&answer);
        return Ok(Exit::Done);
    }
    let level = answer.get("levelName").and_then(Value::as_str);
    output::line(match answer.get("frozen").and_then(Value::as_bool) {
        Some(false) => format!("healing goes on, at level {}", level.unwrap_or("unknown")),
        _ => output::coloured(
            Colour::Red,
            "frozen: nothing heals until `selfheal unfreeze`",
        ),
    });
    Ok(Exit::Done)
}
