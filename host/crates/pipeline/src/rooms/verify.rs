//! Verify: services healthy, tests green on the live tree, probes answered, no new
//! errors in the logs, and all of it still so at the end of the watch window.

use super::{Rooms, Step, unless_cancelled};
use crate::bounds;
use crate::healer::chain;
use crate::proof::{known_red, place, proof_name, run_check, tail};
use selfheal_domain::agent::CheckCommand;
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::ports::CancelToken;
use selfheal_domain::run::Run;
use selfheal_domain::tools::{CommandOutput, Tools};
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most time that all probes together may take.
const PROBE_BUDGET: Duration = Duration::from_secs(30);
/// How often health is looked at during the watch window.
const WATCH_STEP: Duration = Duration::from_millis(250);
/// How much new log is read per service, in bytes.
const LOG_WINDOW: usize = 256 * 1024;
/// How many new errors of a service are told.
const ERRORS_TOLD: usize = 5;

impl Rooms {
    pub(super) fn restart_and_begin_verification(
        &self,
        issue: &Issue,
        cancel: &CancelToken,
    ) -> Result<Step, RecordError> {
        let services = issue
            .run()
            .map(|run| self.affected_services(run))
            .unwrap_or_default();
        // A service that does not come up shows in its health check, which decides.
        self.restart_services(issue, &services, Some(cancel))?;
        if cancel.is_cancelled() {
            return Ok(Step::On);
        }
        self.record(issue, Event::VerificationStarted)
    }

    pub(super) fn verify(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        self.note(issue, "verifying the live application");
        match self.evidence(issue, cancel)? {
            // Aborted, or the host stops: the walk decides what comes next.
            None => Ok(Step::On),
            Some(found) => {
                let checks = found.into_iter().map(bounds::evidence).collect();
                self.record(issue, Event::VerificationFinished(Verification { checks }))
            }
        }
    }

    /// Everything that is looked at; none when it was cancelled.
    fn evidence(
        &self,
        issue: &Issue,
        cancel: &CancelToken,
    ) -> Result<Option<Vec<CheckEvidence>>, RecordError> {
        let services = issue
            .run()
            .map(|run| self.affected_services(run))
            .unwrap_or_default();
        let positions: Vec<(String, u64)> = services
            .iter()
            .map(|name| (name.clone(), self.log_mark(name)))
            .collect();
        let mut evidence = Vec::new();
        for name in &services {
            let Some(health) = self.health(name, cancel) else {
                return Ok(None);
            };
            evidence.push(health);
        }
        let tools = self
            .doors
            .workbench
            .for_verification(self.session(issue, Self::host(), cancel)?, None);
        for check in &self.settings.checks {
            evidence.push(live_check(issue, check, tools.as_ref()));
            if cancel.is_cancelled() {
                return Ok(None);
            }
        }
        let Some(probes) = self.probe(cancel) else {
            return Ok(None);
        };
        let answered = probes
            .iter()
            .all(|probe| probe.result == VerificationResult::Pass);
        evidence.extend(probes.into_iter().map(|probe| compared(issue.run(), probe)));
        let watched = self.watch(&services, cancel);
        let quiet = watched
            .iter()
            .all(|found| found.result == VerificationResult::Pass);
        if answered && quiet && !watched.is_empty() {
            // What answered at once may have stopped since.
            let Some(again) = self.probe(cancel) else {
                return Ok(None);
            };
            evidence.extend(
                again
                    .into_iter()
                    .filter(|probe| probe.result != VerificationResult::Pass)
                    .map(|probe| CheckEvidence {
                        name: format!("{} (after the watch window)", probe.name),
                        ..probe
                    }),
            );
        }
        evidence.extend(watched);
        for (name, position) in &positions {
            evidence.push(self.log_evidence(name, *position));
            evidence.push(self.new_errors(name));
        }
        Ok((!cancel.is_cancelled()).then_some(evidence))
    }

    fn health(&self, name: &str, cancel: &CancelToken) -> Option<CheckEvidence> {
        let (services, name) = (Arc::clone(&self.doors.services), name.to_owned());
        unless_cancelled(cancel, move || services.health(&name))
    }

    /// All probes once; none when it was cancelled.
    pub(super) fn probe(&self, cancel: &CancelToken) -> Option<Vec<CheckEvidence>> {
        let probes = Arc::clone(&self.doors.probes);
        unless_cancelled(cancel, move || probes.check(PROBE_BUDGET))
    }

    /// Health during the watch window: the first failure ends it.
    fn watch(&self, services: &[String], cancel: &CancelToken) -> Vec<CheckEvidence> {
        let start = Instant::now();
        let mut looks = 0_u32;
        while !services.is_empty()
            && start.elapsed() < self.settings.watch
            && !cancel.is_cancelled()
        {
            std::thread::sleep(WATCH_STEP.min(self.settings.watch.saturating_sub(start.elapsed())));
            looks += 1;
            for name in services {
                let Some(mut evidence) = self.health(name, cancel) else {
                    return Vec::new();
                };
                if evidence.result != VerificationResult::Pass {
                    evidence.name = format!("watch: {name}");
                    return vec![evidence];
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let quiet = CheckEvidence {
            name: "watch".to_owned(),
            result: VerificationResult::Pass,
            detail: format!("healthy each of {looks} times"),
            seconds,
        };
        (looks > 0).then_some(quiet).into_iter().collect()
    }

    /// Errors that the service had not logged before its restart. Where nobody can tell,
    /// nobody vouches for it either.
    fn new_errors(&self, name: &str) -> CheckEvidence {
        let evidence = |result, detail| CheckEvidence {
            name: format!("new errors: {name}"),
            result,
            detail,
            seconds: 0.0,
        };
        let errors = match self.doors.services.new_errors(name) {
            Ok(errors) => errors,
            Err(error) => return evidence(VerificationResult::Inconclusive, chain(&error)),
        };
        let told: Vec<String> = errors
            .iter()
            .take(ERRORS_TOLD)
            .map(|error| {
                let (line, count, print) = (&error.line, error.count, &error.fingerprint);
                format!("{line} ({count} times, {print} in {})", error.file)
            })
            .collect();
        if errors.is_empty() {
            let none = "no error that it had not logged before".to_owned();
            return evidence(VerificationResult::Pass, none);
        }
        let count = errors.len();
        let text = format!(
            "{count} errors that it had not logged before:\n{}",
            told.join("\n")
        );
        evidence(VerificationResult::Fail, text)
    }

    /// Nothing that an agent said excuses an error: it does not grade itself.
    fn log_evidence(&self, name: &str, position: u64) -> CheckEvidence {
        let fresh = self.doors.services.log_since(name, position, LOG_WINDOW);
        let error = fresh.lines().find(|line| is_error_line(line));
        let (result, detail) = match error {
            Some(line) => (
                VerificationResult::Fail,
                format!("error in the log since the restart: {line}"),
            ),
            None => (
                VerificationResult::Pass,
                "no errors since the restart".to_owned(),
            ),
        };
        CheckEvidence {
            name: format!("log: {name}"),
            result,
            detail,
            seconds: 0.0,
        }
    }
}

/// A check on the live tree, weighed by what the proof saw of it.
fn live_check(issue: &Issue, check: &CheckCommand, tools: &dyn Tools) -> CheckEvidence {
    let name = format!("tests: {}", place(check));
    match run_check(check, tools) {
        Ok(output) => {
            let known = !output.ended.success() && was_red_in_proof(issue, check, &output);
            let note = if known {
                "failed in the proof as well, without the patch too\n"
            } else {
                ""
            };
            CheckEvidence {
                name,
                result: if output.ended.success() || known {
                    VerificationResult::Pass
                } else {
                    VerificationResult::Fail
                },
                detail: format!("{note}{}", tail(&output)),
                seconds: output.seconds,
            }
        }
        Err(error) => CheckEvidence {
            name,
            result: VerificationResult::Inconclusive,
            detail: chain(&error),
            seconds: 0.0,
        },
    }
}

/// A check that failed before and still fails was weighed in the proof.
fn was_red_in_proof(issue: &Issue, check: &CheckCommand, now: &CommandOutput) -> bool {
    let name = bounds::evidence_name(proof_name(check));
    issue
        .run()
        .and_then(|run| run.proof.as_ref())
        .is_some_and(|proof| {
            let mut checks = proof.checks.iter();
            checks.any(|seen| seen.name == name && known_red(seen, now))
        })
}

/// A probe with what it said before the patch was applied.
fn compared(run: Option<&Run>, probe: CheckEvidence) -> CheckEvidence {
    let before = run.and_then(|run| run.probes_before.iter().find(|it| it.name == probe.name));
    let Some(before) = before else {
        return probe;
    };
    use VerificationResult::Pass;
    let change = match (before.result == Pass, probe.result == Pass) {
        (true, true) => "answered before the patch too",
        (false, true) => "did not answer as it should before the patch",
        (true, false) => "answered before the patch: it is worse now",
        (false, false) => "did not answer before the patch either: it is not healed",
    };
    CheckEvidence {
        detail: format!("{change}\n{}", probe.detail),
        ..probe
    }
}

/// Lines by which programs say that they crashed.
fn is_error_line(line: &str) -> bool {
    let line = line.trim_start();
    let marks = [
        "Traceback (most recent call last)",
        "Unhandled",
        "Uncaught",
        "panicked at",
        "FATAL",
        "CRITICAL",
    ];
    marks.iter().any(|mark| line.contains(mark))
}
