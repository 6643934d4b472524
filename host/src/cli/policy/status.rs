//! `selfheal policy list` and `status`: how the policies of the running host stand.

use super::host::{Body, Host};
use super::report::{grouped, items, number, plan_in_short, table, text};
use crate::cli::output::{self, Colour};
use crate::failure::{Exit, Failure};
use clap::Args;
use serde_json::Value;

/// Lists the modules of the running host
#[derive(Args, Debug)]
#[command(after_help = "Example: selfheal policy list --json")]
pub(crate) struct List {
    #[command(flatten)]
    host: Host,
}

impl List {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let set = self.host.send("GET", "/policies", Body::None)?;
        if self.host.json {
            output::json(&set);
        } else {
            modules(&set).into_iter().for_each(output::line);
        }
        Ok(Exit::Done)
    }
}

/// Shows how the policies of the running host stand
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy status
  SELFHEAL_URL=https://heal.example.org SELFHEAL_TOKEN=… selfheal policy status --json

Beside the host no token is needed; the operator's local socket is asked.")]
pub(crate) struct Status {
    #[command(flatten)]
    host: Host,
}

impl Status {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let set = self.host.send("GET", "/policies", Body::None)?;
        if self.host.json {
            output::json(&set);
        } else {
            standing(&set).into_iter().for_each(output::line);
        }
        Ok(Exit::Done)
    }
}

fn modules(set: &Value) -> Vec<String> {
    let row = |module: &Value| {
        let p50 = module.get("p50Micros").and_then(Value::as_f64);
        let hits = module.get("hits").and_then(Value::as_object);
        let hits = hits.map_or(0, |hits| hits.values().filter_map(Value::as_u64).sum());
        vec![
            text(module, "name").to_owned(),
            text(module, "kind").to_owned(),
            text(module, "version").to_owned(),
            text(module, "state").to_owned(),
            number(module, "generation").to_string(),
            grouped(number(module, "asked")),
            grouped(hits),
            grouped(number(module, "faults")),
            p50.map_or_else(String::new, |micros| format!("{micros:.0} µs")),
            text(module, "source").to_owned(),
        ]
    };
    let rows: Vec<_> = items(set, "items").map(row).collect();
    let head = [
        "MODULE", "KIND", "VERSION", "STATE", "SINCE", "ASKED", "HITS", "FAULTS", "P50", "SOURCE",
    ];
    table(&head, &rows)
}

fn never_fired(set: &Value) -> Vec<String> {
    let of = |module: &Value| {
        let hits = module.get("hits").and_then(Value::as_object);
        let rules = hits.into_iter().flatten();
        let rules: Vec<_> = rules
            .filter(|(_, count)| count.as_u64() == Some(0))
            .map(|(rule, _)| rule.clone())
            .collect();
        (!rules.is_empty()).then(|| format!("  {}: {}", text(module, "name"), rules.join(", ")))
    };
    items(set, "items").filter_map(of).collect()
}

fn standing(set: &Value) -> Vec<String> {
    let digest = text(set, "digest").get(..12).unwrap_or_default();
    let mut lines = vec![
        format!(
            "generation {} ({digest}…), in force since {} by {}",
            number(set, "generation"),
            text(set, "since"),
            text(set, "source")
        ),
        format!(
            "environment {}, ceiling {}, four_eyes {}",
            text(set, "environment"),
            number(set, "ceiling"),
            set.get("fourEyes").cloned().unwrap_or_default()
        ),
        proof(set),
    ];
    let why = text(set, "notInForce");
    if !why.is_empty() {
        lines.push(output::coloured(
            Colour::Red,
            format!("policy.toml as it is on disk is NOT in force: {why}"),
        ));
    }
    lines.push(String::new());
    lines.extend(modules(set));
    for module in items(set, "items").filter(|module| text(module, "state") == "quarantined") {
        lines.push(output::coloured(
            Colour::Red,
            format!(
                "{} is in quarantine: {}",
                text(module, "name"),
                text(module, "reason")
            ),
        ));
    }
    let mut block = |title: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            lines.push(String::new());
            lines.push(output::coloured(Colour::Bold, title));
            lines.extend(rows);
        }
    };
    block("On trial", trial(set).into_iter().collect());
    let proposals = items(set, "proposals").map(|proposal| {
        let by = proposal.get("by").and_then(Value::as_str);
        format!(
            "  {} by {}: {} ({})",
            number(proposal, "number"),
            by.unwrap_or("an edit of policy.toml"),
            text(proposal, "reason"),
            proposal.get("plan").map(plan_in_short).unwrap_or_default()
        )
    });
    block("Wait for a second admin", proposals.collect());
    let grants = items(set, "grants").map(|grant| {
        let issue = grant.get("issue").and_then(Value::as_u64);
        let issue = issue.map_or_else(String::new, |issue| format!(" in issue {issue}"));
        let line = format!(
            "  {} {}{issue} until {} by {}: {} (used {} times)",
            number(grant, "number"),
            text(grant, "rule"),
            text(grant, "until"),
            text(grant, "by"),
            text(grant, "reason"),
            number(grant, "used")
        );
        output::coloured(Colour::Red, line)
    });
    block("Broken glass", grants.collect());
    block("Rules that never fired", never_fired(set));
    let kept = items(set, "kept").map(|kept| {
        format!(
            "  {} since {} by {}",
            number(kept, "generation"),
            text(kept, "at"),
            text(kept, "source")
        )
    });
    block("Kept generations", kept.collect());
    lines
}

fn trial(set: &Value) -> Option<String> {
    let trial = set.get("trial")?;
    let percent = trial.get("percent").and_then(Value::as_u64);
    Some(format!(
        "  generation {}, {}, since {} by {}: asked {}, {} stricter, {} looser, {} faults",
        number(trial, "generation"),
        percent.map_or_else(
            || "nothing obeys it".to_owned(),
            |percent| format!("in force for {percent} of 100 runs")
        ),
        text(trial, "since"),
        text(trial, "by"),
        grouped(number(trial, "asked")),
        grouped(number(trial, "stricter")),
        grouped(number(trial, "looser")),
        grouped(number(trial, "faults"))
    ))
}

/// One line about the proof of enforcement.
pub(in crate::cli) fn proof(set: &Value) -> String {
    let Some(proof) = set.get("enforcement") else {
        return "enforcement: not known".to_owned();
    };
    let proved = proof.get("proved").and_then(Value::as_bool) == Some(true);
    let age = proof.get("ageSeconds").and_then(Value::as_u64);
    match (proved, age) {
        (true, Some(age)) => format!(
            "enforcement: proved {age} s ago, generation {}, {} points",
            number(proof, "generation"),
            items(proof, "points").count()
        ),
        (_, None) => output::coloured(Colour::Yellow, "enforcement: not proved yet"),
        (false, Some(age)) => {
            let failed = items(proof, "points")
                .filter(|point| point.get("refused").and_then(Value::as_bool) == Some(false))
                .map(|point| format!("{} ({})", text(point, "name"), text(point, "detail")));
            let failed: Vec<_> = failed.collect();
            output::coloured(
                Colour::Red,
                format!(
                    "enforcement: NOT PROVED {age} s ago; the host is frozen: {}",
                    failed.join("; ")
                ),
            )
        }
    }
}
