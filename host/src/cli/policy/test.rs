//! `selfheal policy test`: a module's own examples, its author's cases, and the shell
//! corpus.

use super::cases::{self, Case};
use super::corpus::{self, Off, Report};
use super::module::{self, ModuleArguments, kind_name};
use crate::cli::output::{self, Colour};
use crate::compose::BUNDLED;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::policy::ModuleKind;
use selfheal_policy_host::{Capabilities, Limits, RunAs, SingleModule};
use std::path::PathBuf;

/// Commands of the corpus that are printed; `--all` prints every one.
const SHOWN: usize = 10;

/// Tests a module: its own examples, its author's cases, the shell corpus
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy test .                          a project, with its cases/
  selfheal policy test no-docker.wasm --cases my-cases
  selfheal policy test --bundled                  the chain of bundled guardrails on the corpus
  selfheal policy test . --bundled                the same chain with this module in it
  selfheal policy test --bundled --corpus mine.jsonl --max-false-stops 3

A case is a directory with `input.json` and `expect`; the README of a new project says
what they hold. A line of a corpus is {\"id\", \"cls\", \"effect\", \"cmd\"}: a harmful
command (effect del, trunc, read, write, exec, git) that is allowed is a miss, a `safe`
one that is asked about or denied a false stop. What no guardrail stops the sandbox
contains.

Exit code 1 when an example or a case fails, a module faults, or a --max is passed.")]
pub(crate) struct Test {
    #[command(flatten)]
    arguments: ModuleArguments,
    /// The author's cases; the project's cases/ if not given
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Another corpus than the built-in ones
    #[arg(long, value_name = "FILE")]
    corpus: Vec<PathBuf>,
    /// Leave the corpus out
    #[arg(long, conflicts_with_all = ["corpus", "bundled"])]
    no_corpus: bool,
    /// Run the corpus through all bundled guardrails, with this module among them if
    /// one is named
    #[arg(long)]
    bundled: bool,
    /// Fail when more harmful commands are allowed
    #[arg(long, value_name = "COUNT")]
    max_misses: Option<usize>,
    /// Fail when more harmless commands are stopped
    #[arg(long, value_name = "COUNT")]
    max_false_stops: Option<usize>,
    /// Print every miss and false stop
    #[arg(long)]
    all: bool,
}

/// One example or case that does not hold.
#[derive(serde::Serialize)]
struct Failed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    got: String,
}

/// All that a test came to.
#[derive(Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    module: Option<String>,
    examples: usize,
    failed_examples: Vec<Failed>,
    cases: usize,
    failed_cases: Vec<Failed>,
    guardrails: Vec<String>,
    corpus: Option<Report>,
    ok: bool,
}

impl Test {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut outcome = Outcome::default();
        let mut chain: Vec<(String, SingleModule)> = Vec::new();
        // `test --bundled` alone is about the chain, not about this directory.
        let here = std::path::Path::new(super::project::PROJECT_FILE);
        let named = !self.bundled || self.arguments.module != "." || here.is_file();
        if named {
            let target = self.arguments.target()?;
            let run_as = self.arguments.run_as(&target)?;
            let module = module::load(&self.arguments, &target)?;
            outcome.module = Some(target.name.clone());
            run_examples(&module, &mut outcome);
            let directory = self
                .cases
                .clone()
                .or_else(|| Some(target.project.as_ref()?.cases()).filter(|cases| cases.is_dir()));
            if let Some(directory) = directory {
                run_cases(&module, &run_as, &cases::read(&directory)?, &mut outcome);
            }
            if module.kind() == ModuleKind::Guardrail {
                chain.push((target.name, module));
            } else if self.bundled || !self.corpus.is_empty() {
                let message = format!(
                    "{} is a {}; the corpus is for guardrails",
                    target.name,
                    kind_name(module.kind())
                );
                return Err(Failure::new(Exit::Usage, message));
            }
        }
        if self.bundled {
            add_bundled(&mut chain)?;
        }
        if !chain.is_empty() && !self.no_corpus {
            outcome.guardrails = chain.iter().map(|(name, _)| name.clone()).collect();
            outcome.corpus = Some(corpus::run(&chain, &self.corpus)?);
        }
        outcome.ok = outcome.failed_examples.is_empty()
            && outcome.failed_cases.is_empty()
            && outcome
                .corpus
                .as_ref()
                .is_none_or(|report| self.within(report));
        if self.arguments.json {
            output::json(&outcome);
        } else {
            self.print(&outcome);
        }
        Ok(if outcome.ok { Exit::Done } else { Exit::NotSo })
    }

    fn within(&self, report: &Report) -> bool {
        report.faults.is_empty()
            && self
                .max_misses
                .is_none_or(|most| report.misses.len() <= most)
            && self
                .max_false_stops
                .is_none_or(|most| report.false_stops.len() <= most)
    }

    fn print(&self, outcome: &Outcome) {
        if let Some(module) = &outcome.module {
            output::line(output::coloured(Colour::Bold, module));
            tally("examples", outcome.examples, &outcome.failed_examples);
            tally("cases", outcome.cases, &outcome.failed_cases);
        }
        let Some(report) = &outcome.corpus else {
            return;
        };
        output::line(format!(
            "corpus, judged by {}:",
            outcome.guardrails.join(", ")
        ));
        let of = |count: usize, all: usize| format!("{count} of {all}");
        output::line(format!(
            "  misses       {} harmful commands are allowed (the sandbox contains them)",
            of(report.misses.len(), report.harmful)
        ));
        self.list(&report.misses);
        output::line(format!(
            "  false stops  {} harmless commands are asked about or denied",
            of(report.false_stops.len(), report.safe)
        ));
        self.list(&report.false_stops);
        if !report.faults.is_empty() {
            output::line(format!("  faults       {}", report.faults.len()));
            self.list(&report.faults);
        }
        if !self.within(report) {
            output::line(output::coloured(Colour::Red, "  over the bound"));
        }
    }

    fn list(&self, found: &[Off]) {
        let shown = if self.all { found.len() } else { SHOWN };
        for off in found.iter().take(shown) {
            let command: String = off.command.chars().take(70).collect();
            let rule = off.rule.as_deref().or(off.message.as_deref()).unwrap_or("");
            output::line(format!(
                "    {} {:<5} {:<20} {:<28} {}",
                off.id,
                off.verdict,
                off.class,
                rule,
                command.replace('\n', "\\n")
            ));
        }
        if found.len() > shown {
            output::line(format!(
                "    … {} more; --all or --json shows them",
                found.len() - shown
            ));
        }
    }
}

fn run_examples(module: &SingleModule, outcome: &mut Outcome) {
    match module.run_examples() {
        Ok(results) => {
            outcome.examples = results.len();
            for result in results {
                if let Some(problem) = result.problem {
                    outcome.failed_examples.push(Failed {
                        name: result.name,
                        expected: None,
                        got: problem.to_string(),
                    });
                }
            }
        }
        Err(problem) => outcome.failed_examples.push(Failed {
            name: "describe".to_owned(),
            expected: None,
            got: problem.to_string(),
        }),
    }
}

fn run_cases(module: &SingleModule, run_as: &RunAs, cases: &[Case], outcome: &mut Outcome) {
    outcome.cases = cases.len();
    for case in cases {
        let said = case.ask(module, run_as);
        let holds = said.as_ref().is_ok_and(|said| case.expect.holds(said));
        if !holds {
            outcome.failed_cases.push(Failed {
                name: case.name.clone(),
                expected: Some(case.expect.to_string()),
                got: match said {
                    Ok(said) => said.to_string(),
                    Err(problem) => problem.to_string(),
                },
            });
        }
    }
}

/// The guardrails of the policy that every installation starts with.
fn add_bundled(chain: &mut Vec<(String, SingleModule)>) -> Result<(), Failure> {
    let (engine, cache) = module::engine()?;
    let policy: DefaultPolicy =
        toml::from_str(selfheal_policy_host::DEFAULT_POLICY_TOML).because(Exit::Unavailable)?;
    for entry in policy.module {
        let bundled = entry
            .source
            .strip_prefix("bundled:")
            .and_then(|name| BUNDLED.iter().find(|(known, _)| *known == name));
        let Some((_, bytes)) = bundled.filter(|_| entry.kind == "guardrail") else {
            continue;
        };
        if chain.iter().any(|(known, _)| *known == entry.name) {
            continue;
        }
        let settings = entry.settings.unwrap_or_default();
        let run_as = RunAs {
            name: entry.name.clone(),
            settings: serde_json::to_string(&settings).because(Exit::Unavailable)?,
            limits: Limits::DEFAULT,
            capabilities: Capabilities::NONE,
        };
        let module = SingleModule::load(&engine, &cache, bytes, run_as).map_err(|problem| {
            let message = format!("the bundled module {}: {problem}", entry.name);
            Failure::new(Exit::Unavailable, message)
        })?;
        chain.push((entry.name, module));
    }
    if chain.is_empty() {
        let message = "this binary was built without its policy modules; run `cargo xtask build-policies` and build again";
        return Err(Failure::new(Exit::Unavailable, message));
    }
    Ok(())
}

/// The part of policy.toml that says which modules there are.
#[derive(serde::Deserialize)]
struct DefaultPolicy {
    module: Vec<DefaultModule>,
}

#[derive(serde::Deserialize)]
struct DefaultModule {
    name: String,
    kind: String,
    source: String,
    settings: Option<toml::Table>,
}

fn tally(what: &str, all: usize, failed: &[Failed]) {
    let head = if failed.is_empty() {
        output::coloured(Colour::Green, "pass")
    } else {
        output::coloured(Colour::Red, "FAIL")
    };
    output::line(format!(
        "  {head} {what}: {} of {all} hold",
        all.saturating_sub(failed.len())
    ));
    for failed in failed {
        let expected = failed
            .expected
            .as_ref()
            .map_or_else(String::new, |expected| format!("expected {expected}, got "));
        output::line(format!("    {}: {expected}{}", failed.name, failed.got));
    }
}
