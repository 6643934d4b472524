//! What the compiler itself suggests: for checks that run `cargo` or `rustc`.
//!
//! The compiler's suggestions are applied, all sure ones at once, then one at a
//! time, and checked again after every step, as long as that brings the code
//! nearer to compiling. What compiles has to make the check succeed in a fresh
//! sandbox before it is proposed.

mod diagnostics;
mod invocation;
mod probe;

pub(crate) use probe::COMPILER_ASSET;

pub(crate) use invocation::applies;

use crate::case::Case;
use diagnostics::{Report, Suggestion, apply};
use invocation::Build;
use probe::Probe;
use selfheal_domain::agent::{
    AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Effort, Proposal,
};
use selfheal_domain::patch::{FileChange, Patch, is_test_path};
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// Steps of the climb at most; each removes at least one error.
const STEPS: usize = 60;
/// Suggestions tried per step at most.
const WIDTH: usize = 24;

/// Changed files: path and new text.
type Files = BTreeMap<String, String>;

/// One diagnosis of code that does not compile.
struct Climb<'c, 'a> {
    case: &'c mut Case<'a>,
    originals: Files,
    seen: HashSet<Vec<(String, String)>>,
}

impl Climb<'_, '_> {
    fn note(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.case.log.len() < 60 * 1024 {
            let seconds = self.case.started.elapsed().as_secs_f64();
            self.case
                .log
                .push_str(&format!("[{seconds:6.2}s] {text}\n"));
        }
        self.case.tools.progress(text);
    }

    fn effort(&self) -> Effort {
        Effort {
            candidates: self.case.tried,
            seconds: self.case.started.elapsed().as_secs_f64(),
        }
    }

    fn not_found(&mut self, summary: String) -> AgentError {
        self.note(&summary);
        AgentError::NotFound {
            summary,
            log: std::mem::take(&mut self.case.log),
            effort: self.effort(),
        }
    }

    fn left(&self) -> Duration {
        self.case.until.saturating_duration_since(Instant::now())
    }

    /// The text of a file of the repository; none when it may not be changed.
    fn original(&mut self, path: &str) -> Option<String> {
        if is_test_path(path) || !path.ends_with(".rs") {
            return None;
        }
        if let Some(text) = self.originals.get(path) {
            return Some(text.clone());
        }
        match self.case.tools.call(ToolRequest::read(path)) {
            Ok(ToolOutput::Text(text)) => {
                self.originals.insert(path.to_owned(), text.clone());
                Some(text)
            }
            _ => None,
        }
    }

    /// The files with suggestions applied; none when nothing could be.
    fn with(&mut self, files: &Files, build: &Build, wanted: &[&Suggestion]) -> Option<Files> {
        let mut by_file: BTreeMap<String, Vec<(usize, usize, String)>> = BTreeMap::new();
        for suggestion in wanted {
            let mut edits = Vec::new();
            for edit in &suggestion.edits {
                let path = build
                    .places(&edit.file, suggestion.root.as_deref())
                    .into_iter()
                    .find(|path| self.original(path).is_some())?;
                edits.push((path, (edit.start, edit.end, edit.text.clone())));
            }
            for (path, edit) in edits {
                by_file.entry(path).or_default().push(edit);
            }
        }
        let mut out = files.clone();
        for (path, edits) in by_file {
            let text = match files.get(&path) {
                Some(text) => text.clone(),
                None => self.original(&path)?,
            };
            out.insert(path, apply(&text, edits)?);
        }
        let key = out.clone().into_iter().collect();
        self.seen.insert(key).then_some(out)
    }

    fn examine(&mut self, probe: &mut Probe, files: &Files) -> Result<Report, AgentError> {
        if self.case.tools.cancelled() {
            return Err(AgentError::Tool(ToolError::Cancelled));
        }
        self.case.tried += 1;
        let wall = self.left();
        match probe.examine(files, &self.originals, wall) {
            Ok(report) => Ok(report),
            Err(error) if self.case.tools.cancelled() => {
                let _ = error;
                Err(AgentError::Tool(ToolError::Cancelled))
            }
            Err(error) => Err(self.not_found(format!("The compiler gave no answer: {error}"))),
        }
    }

    /// Removes errors until none is left or no suggestion helps any more.
    fn climb(
        &mut self,
        probe: &mut Probe,
        build: &Build,
        first: Report,
    ) -> Result<(Files, Report, bool), AgentError> {
        let (mut files, mut report, mut sure) = (Files::new(), first, true);
        for _ in 0..STEPS {
            if report.errors.is_empty() || self.left() < Duration::from_secs(2) {
                break;
            }
            let suggestions = report.suggestions();
            let certain: Vec<&Suggestion> = suggestions.iter().filter(|one| one.sure).collect();
            if certain.len() > 1
                && let Some(next) = self.with(&files, build, &certain)
            {
                let after = self.examine(probe, &next)?;
                if after.errors.len() < report.errors.len() && after.understood {
                    self.note(format!(
                        "{} sure suggestions at once: {} errors left",
                        certain.len(),
                        after.errors.len()
                    ));
                    (files, report) = (next, after);
                    continue;
                }
            }
            let mut best: Option<(usize, Files, Report, bool, String)> = None;
            for suggestion in suggestions.iter().take(WIDTH) {
                if self.left() < Duration::from_secs(2) {
                    break;
                }
                let Some(next) = self.with(&files, build, &[suggestion]) else {
                    continue;
                };
                let after = self.examine(probe, &next)?;
                // An error that stops the parser hides others: that it is gone counts.
                let gone = after.count(&suggestion.error) < report.count(&suggestion.error);
                let fewer = after.errors.len() < report.errors.len();
                if !after.understood || !(gone || fewer) {
                    continue;
                }
                let rank = after.errors.len();
                if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    best = Some((
                        rank,
                        next,
                        after,
                        suggestion.sure,
                        suggestion.message.clone(),
                    ));
                }
                if fewer {
                    break;
                }
            }
            let Some((left, next, after, certain, message)) = best else {
                break;
            };
            self.note(format!("{message}: {left} errors left"));
            sure &= certain;
            (files, report) = (next, after);
        }
        Ok((files, report, sure))
    }

    fn patch(&self, files: &Files) -> Patch {
        Patch::of(
            files
                .iter()
                .map(|(path, after)| FileChange {
                    path: path.clone(),
                    before: self.originals.get(path).cloned(),
                    after: Some(after.clone()),
                })
                .collect(),
        )
    }

    /// Runs the check itself on the files, in a fresh sandbox.
    fn prove(
        &mut self,
        check: &CheckCommand,
        build: &Build,
        files: &Files,
    ) -> Result<bool, AgentError> {
        let wall = check.timeout.min(self.left());
        let mut fresh = Probe::start(self.case.tools, build, check, wall)?;
        fresh
            .check(files, &self.originals, wall)
            .map_err(|error| self.not_found(format!("The check gave no answer: {error}")))
    }
}

/// Heals code that does not compile with what its compiler suggests.
///
/// # Errors
/// `NothingWrong` when the check succeeds, `NotFound` when the compiler
/// suggests nothing that makes it succeed.
pub(crate) fn diagnose(
    case: &mut Case<'_>,
    brief: &DiagnosisBrief,
    check: &CheckCommand,
) -> Result<Diagnosis, AgentError> {
    let mut climb = Climb {
        case,
        originals: Files::new(),
        seen: HashSet::new(),
    };
    let Some(build) = Build::of(check, &climb.case.tools.workspace()) else {
        return Err(climb.not_found(format!("`{}` is not understood", check.command)));
    };
    climb.note(format!("Asking the compiler: `{}`", build.command));
    let life = climb.left() + Duration::from_secs(30);
    let mut probe = Probe::start(climb.case.tools, &build, check, life)?;
    let first = climb.examine(&mut probe, &Files::new())?;
    if first.errors.is_empty() {
        if climb.prove(check, &build, &Files::new())? {
            return Err(AgentError::NothingWrong(format!(
                "`{}` succeeds",
                check.command
            )));
        }
        return Err(climb.not_found(format!(
            "`{}` fails, but not with an error of the compiler that could be healed: {}",
            check.command, first.rest
        )));
    }
    let count = first.errors.len();
    for error in first.errors.iter().take(8) {
        climb.note(error.to_string());
    }
    let cause = first.cause();
    let (files, last, sure) = climb.climb(&mut probe, &build, first)?;
    drop(probe);
    if !last.errors.is_empty() || files.is_empty() {
        let left = last
            .errors
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(climb.not_found(format!(
            "No fix found: {} trials of the compiler's suggestions leave {} of {count} errors, as in {left}",
            climb.case.tried.saturating_sub(1),
            last.errors.len(),
        )));
    }
    let patch = climb.patch(&files);
    if brief.excluded.contains(&patch.digest) {
        return Err(climb.not_found("What the compiler suggests was rejected before".to_owned()));
    }
    if !climb.prove(check, &build, &files)? {
        return Err(climb.not_found(format!(
            "No fix found: with the compiler's suggestions the code compiles, but `{}` still fails",
            check.command
        )));
    }
    let confidence = if sure { 0.9 } else { 0.6 };
    climb.note(format!("`{}` succeeds in a fresh process", check.command));
    let rationale = format!(
        "The compiler reports {count} error(s) and suggests this change ({}); with it the command succeeds",
        if sure {
            "marked as machine-applicable"
        } else {
            "not sure by itself"
        }
    );
    let effort = climb.effort();
    Ok(Diagnosis {
        root_cause: cause,
        confidence,
        affected_files: files.keys().cloned().collect(),
        affected_services: Vec::new(),
        suggested_fix: patch.diff.clone(),
        reproduction: Some(check.clone()),
        proposals: vec![Proposal {
            patch,
            rationale,
            confidence,
        }],
        log: std::mem::take(&mut climb.case.log),
        effort,
    })
}
