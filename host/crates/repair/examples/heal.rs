//! Heals a directory with the engine alone, without policies or sandbox:
//! `heal [--seconds N] DIRECTORY -- COMMAND`. For measuring during development;
//! every command runs on a throw-away copy of the directory.

use selfheal_domain::agent::{Agent, AgentError, CheckCommand, DiagnosisBrief};
use selfheal_repair::RepairEngine;
use std::time::{Duration, Instant};

#[path = "../tests/bare/mod.rs"]
mod bare;

#[expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a development tool that talks to a terminal"
)]
fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut seconds = 60;
    let mut verbose = false;
    let mut json = false;
    while words.first().is_some_and(|word| word.starts_with("--")) {
        match words.remove(0).as_str() {
            "--seconds" => seconds = words.remove(0).parse().unwrap(),
            "-v" | "--verbose" => verbose = true,
            "--json" => json = true,
            other => eprintln!("unknown option {other}"),
        }
    }
    let directory = words.remove(0);
    let command = words
        .into_iter()
        .skip_while(|word| word == "--")
        .collect::<Vec<_>>()
        .join(" ");
    let tools = bare::BareTools::new(std::path::Path::new(&directory), verbose);
    let check = CheckCommand {
        command,
        directory: String::new(),
        timeout: Duration::from_secs(30),
    };
    let brief = DiagnosisBrief {
        run: None,
        texts: vec![],
        checks: vec![check],
        services: vec![],
        budget: Duration::from_secs(seconds),
        excluded: vec![],
    };
    let started = Instant::now();
    let result = RepairEngine::new().diagnose(&brief, &tools);
    let elapsed = started.elapsed().as_secs_f64();
    if json {
        let value = match &result {
            Ok(found) => serde_json::json!({
                "healed": true, "seconds": elapsed, "candidates": found.effort.candidates, "confidence": found.confidence,
                "root_cause": found.root_cause,
                "proposals": found.proposals.iter().map(|proposal| serde_json::json!({
                    "diff": proposal.patch.diff, "rationale": proposal.rationale,
                    "files": proposal.patch.files.iter().map(|file| serde_json::json!({"path": file.path, "after": file.after})).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
                "log": found.log,
            }),
            Err(AgentError::NotFound {
                summary,
                log,
                effort,
            }) => {
                serde_json::json!({"healed": false, "seconds": elapsed, "candidates": effort.candidates, "summary": summary, "log": log})
            }
            Err(error) => {
                serde_json::json!({"healed": false, "seconds": elapsed, "candidates": 0, "summary": error.to_string(), "log": format!("{error:?}")})
            }
        };
        println!("{value}");
        return;
    }
    match result {
        Ok(found) => {
            println!(
                "{}\nconfidence {:.2}\n{}",
                found.root_cause, found.confidence, found.log
            );
            for proposal in &found.proposals {
                println!("--- {}\n{}", proposal.rationale, proposal.patch.diff);
            }
            let draft = RepairEngine::new().draft(&brief, &found, &tools);
            println!(
                "draft: {}",
                draft.map_or_else(|error| error.to_string(), |draft| draft.rationale)
            );
        }
        Err(AgentError::NotFound { summary, log, .. }) => println!("NOT FOUND {summary}\n{log}"),
        Err(error) => println!("{error}"),
    }
    println!("{elapsed:.2} s");
}
