//! `selfheal autonomy`: the level, what each would have done, and the switch.

use super::output;
use super::policy::{Body, Host};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Shows or sets how much the host may do without asking
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  selfheal autonomy show
  selfheal autonomy preview                      what each level would have done last week
  selfheal autonomy set 2 --reason 'a quiet week, all patches were approved'

0 OBSERVE diagnoses and suggests, 1 SUGGEST drafts patches for review, 2 AUTO_LOW applies
low risk, 3 AUTO_ALL applies all. policy.toml sets the highest level that may be set.
Setting it needs an admin's token (SELFHEAL_TOKEN)."
)]
pub(crate) struct Autonomy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Shows level, ceiling and freeze
    #[command(after_help = "Example:\n  selfheal autonomy show --json")]
    Show {
        #[command(flatten)]
        host: Host,
    },
    /// Asks the decisions of the last seven days again, once for each level
    #[command(after_help = "Example:\n  selfheal autonomy preview")]
    Preview {
        #[command(flatten)]
        host: Host,
    },
    /// Sets the level
    #[command(
        after_help = "Example:\n  selfheal autonomy set 2 --reason 'a quiet week, all patches were approved'"
    )]
    Set {
        /// 0 to 3
        level: u8,
        /// Why, for the log
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        host: Host,
    },
}

impl Autonomy {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (host, answer) = match &self.action {
            Action::Show { host } => (host, host.send("GET", "/autonomy", Body::None)?),
            Action::Preview { host } => (host, host.send("GET", "/autonomy/preview", Body::None)?),
            Action::Set {
                level,
                reason,
                host,
            } => {
                let body = Body::Json(json!({ "level": level, "reason": reason }));
                (host, host.send("PUT", "/autonomy", body)?)
            }
        };
        if host.json {
            output::json(&answer);
        } else if matches!(self.action, Action::Preview { .. }) {
            show_preview(&answer);
        } else {
            show(&answer);
        }
        Ok(Exit::Done)
    }
}

fn show(answer: &Value) {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let frozen = answer.get("frozen").and_then(Value::as_bool) == Some(true);
    output::line(format!(
        "level {}, at most {}{}",
        text("levelName"),
        text("ceilingName"),
        if frozen {
            "; all healing is frozen"
        } else {
            ""
        }
    ));
}

fn show_preview(answer: &Value) {
    let items = |key: &str| {
        let items = answer.get(key).and_then(Value::as_array);
        items.into_iter().flatten()
    };
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let set = number(answer, "level");
    output::line("level       applied  (undone)  reviewed  stopped");
    for level in items("levels") {
        let name = level.get("name").and_then(Value::as_str);
        let mark = if number(level, "level") == set {
            "  in force"
        } else if number(level, "level") > number(answer, "ceiling") {
            "  above the ceiling"
        } else {
            ""
        };
        output::line(format!(
            "{} {:<9} {:>7}  {:>8}  {:>8}  {:>7}{mark}",
            number(level, "level"),
            name.unwrap_or_default(),
            number(level, "applied"),
            number(level, "appliedAndUndone"),
            number(level, "reviewed"),
            number(level, "stopped"),
        ));
    }
    let since = answer.get("since").and_then(Value::as_str);
    output::line(format!(
        "{} patches since {}",
        items("patches").count(),
        since.unwrap_or_default()
    ));
    let (unknown, observed) = (number(answer, "unknown"), number(answer, "observed"));
    if unknown > 0 {
        output::line(format!("{unknown} decisions cannot be asked again"));
    }
    if observed > 0 {
        output::line(format!(
            "{observed} attempts ended at OBSERVE before there was a patch to decide on"
        ));
    }
    if answer.get("cut").and_then(Value::as_bool) == Some(true) {
        output::line("more happened than was looked at; these are the latest");
    }
}
