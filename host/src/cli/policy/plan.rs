//! `selfheal policy plan`: what a change would have done to the recorded decisions.

use super::candidate::CandidateArguments;
use super::host::{Body, Host};
use super::report;
use crate::cli::output;
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::{Value, json};

/// Says what a change would have done to the recorded decisions; changes nothing
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy plan policy.toml
  selfheal policy plan --module no-docker=no-docker.wasm --kind guardrail
  selfheal policy plan --module shell-guard --settings '{\"denied_programs\": [\"docker\"]}'
  selfheal policy plan policy.toml --fail-on-loosening    for CI of the security team

What loosens is listed apart from what tightens. Exit code 0, also where much changes;
with --fail-on-loosening 1 unless the change is known to loosen nothing.")]
pub(crate) struct Plan {
    #[command(flatten)]
    candidate: CandidateArguments,
    /// How many of the latest recorded decisions are asked again
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    decisions: u64,
    /// Exit code 1 unless the change is known to loosen nothing
    #[arg(long)]
    fail_on_loosening: bool,
    #[command(flatten)]
    host: Host,
}

impl Plan {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut body = self.candidate.body(&self.host)?;
        body.insert("decisions".to_owned(), json!(self.decisions));
        let body = Body::Json(Value::Object(body));
        let answer = self.host.send("POST", "/policies/plan", body)?;
        if self.host.json {
            output::json(&answer);
        } else {
            report::plan(&answer).into_iter().for_each(output::line);
        }
        let tightens = answer.get("onlyTightens").and_then(Value::as_bool) == Some(true);
        Ok(if self.fail_on_loosening && !tightens {
            Exit::NotSo
        } else {
            Exit::Done
        })
    }
}
