//! `selfheal policy check`: everything that would keep a host from loading a module,
//! at once.

use super::module::{self, ModuleArguments, Target, kind_name};
use super::schema;
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_policy_host::{Anatomy, SelfDescription, SingleModule};

/// Checks that a host loads a module: imports, exports, examples, settings
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy check no-docker.wasm
  selfheal policy check . --settings '{\"denied_programs\": [\"make\"]}'
  selfheal policy check shell-guard --json

Exit code 0 when a host would load it, 1 when not; all that is wrong is printed.")]
pub(crate) struct Check {
    #[command(flatten)]
    arguments: ModuleArguments,
}

/// What a check found.
#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    notes: Vec<String>,
    examples: usize,
    description: Option<SelfDescription>,
}

impl Check {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let target = self.arguments.target()?;
        let (anatomy, findings) = examine(&self.arguments, &target)?;
        let fits = findings.problems.is_empty();
        if self.arguments.json {
            let description = findings.description.as_ref();
            output::json(&serde_json::json!({
                "module": target.name,
                "ok": fits,
                "problems": findings.problems,
                "notes": findings.notes,
                "kind": anatomy.as_ref().and_then(|anatomy| anatomy.kind).map(kind_name),
                "line": anatomy.as_ref().and_then(|anatomy| anatomy.line.clone()),
                "sha256": anatomy.as_ref().map(|anatomy| anatomy.digest.to_string()),
                "bytes": target.bytes.len(),
                "version": description.map(|described| described.version.clone()),
                "examples": findings.examples,
            }));
        } else {
            print(&target, anatomy.as_ref(), &findings);
        }
        Ok(if fits { Exit::Done } else { Exit::NotSo })
    }
}

fn examine(
    arguments: &ModuleArguments,
    target: &Target,
) -> Result<(Option<Anatomy>, Findings), Failure> {
    let mut findings = Findings::default();
    let run_as = arguments.run_as(target)?;
    let (engine, cache) = module::engine()?;
    let anatomy = match SingleModule::anatomy_of(&engine, &cache, &target.bytes) {
        Ok(anatomy) => anatomy,
        Err(problem) => {
            findings.problems.push(problem.to_string());
            return Ok((None, findings));
        }
    };
    findings.problems = anatomy.problems(run_as.capabilities);
    if let Some((expected, found)) = target
        .project
        .as_ref()
        .and_then(|project| project.kind)
        .zip(anatomy.kind)
        && expected.name() != kind_name(found)
    {
        findings.problems.push(format!(
            "the project calls it a `{}`, it exports what a `{}` exports",
            expected.name(),
            kind_name(found)
        ));
    }
    match SingleModule::load(&engine, &cache, &target.bytes, run_as.clone()) {
        Ok(module) => question(&module, arguments, target, &mut findings)?,
        // What is wrong with the outside says it better.
        Err(problem) if findings.problems.is_empty() => findings.problems.push(problem.to_string()),
        Err(_) => {}
    }
    Ok((Some(anatomy), findings))
}

/// Everything that takes running it.
fn question(
    module: &SingleModule,
    arguments: &ModuleArguments,
    target: &Target,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let described = match module.describe() {
        Ok(described) => described,
        Err(problem) => {
            findings.problems.push(problem.to_string());
            return Ok(());
        }
    };
    if described.name != target.name {
        findings.notes.push(format!(
            "it calls itself `{}`, the file is called `{}`",
            described.name, target.name
        ));
    }
    if described.examples.is_empty() {
        findings.notes.push(
            "it carries no examples: a host cannot tell whether it still does what it should"
                .to_owned(),
        );
    }
    let (problems, notes) = schema::review(&described.settings_schema);
    findings.problems.extend(problems);
    findings.notes.extend(notes);
    let settings = arguments.settings()?;
    let violations = schema::violations(&described.settings_schema, &settings);
    let refused = module.try_settings(&settings.to_string()).err();
    match refused {
        Some(problem) => {
            findings.problems.push(problem.to_string());
            findings.problems.extend(violations);
        }
        None => {
            findings
                .problems
                .extend(violations.into_iter().map(|violation| {
                    format!("{violation}; the module takes it, so its schema is wrong")
                }))
        }
    }
    // A schema that admits what the module refuses, or a module that takes anything,
    // leaves an admin's typing error in force.
    let nonsense = r#"{"no such setting": true}"#;
    if module.try_settings(nonsense).is_ok() {
        findings.notes.push(
            "it accepts settings that it does not know: a misspelt one will have no effect"
                .to_owned(),
        );
    }
    match module.run_examples().because(Exit::NotSo) {
        Ok(results) => {
            findings.examples = results.len();
            findings
                .problems
                .extend(results.into_iter().filter_map(|result| {
                    Some(format!("example {:?}: {}", result.name, result.problem?))
                }));
        }
        Err(failure) => findings.problems.push(failure.error.to_string()),
    }
    findings.description = Some(described);
    Ok(())
}

fn print(target: &Target, anatomy: Option<&Anatomy>, findings: &Findings) {
    if let Some(anatomy) = anatomy {
        let version = findings
            .description
            .as_ref()
            .map_or_else(String::new, |described| format!(" {}", described.version));
        output::line(format!(
            "{}{version}: {} for contract {}, {} KiB, {} examples",
            output::coloured(Colour::Bold, &target.name),
            anatomy.kind.map_or("module of no kind", kind_name),
            anatomy.line.as_deref().unwrap_or("unknown"),
            target.bytes.len().div_ceil(1024),
            findings.examples
        ));
    }
    for problem in &findings.problems {
        output::line(format!(
            "{} {problem}",
            output::coloured(Colour::Red, "wrong:")
        ));
    }
    for note in &findings.notes {
        output::line(format!(
            "{} {note}",
            output::coloured(Colour::Yellow, "note:")
        ));
    }
    if findings.problems.is_empty() {
        output::line(output::coloured(Colour::Green, "a host loads it"));
    }
}
