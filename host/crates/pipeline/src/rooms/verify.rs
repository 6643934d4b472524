//! Verify: services healthy, tests green on the live tree, probes answered, no new
//! errors in the logs, and all of it still so at the end of the watch window.

use super::{Rooms, Step};
use crate::bounds;
use crate::healer::chain;
use crate::proof::{place, proof_name, red_in_the_same_way, run_check, tail};
use selfheal_domain::agent::CheckCommand;
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::ports::CancelToken;
use selfheal_domain::tools::Ended;
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};
use std::time::{Duration, Instant};

/// Most time that all probes together may take.
const PROBE_BUDGET: Duration = Duration::from_secs(30);
/// How often health is looked at during the watch window.
const WATCH_STEP: Duration = Duration::from_millis(250);
/// How much new log is read per service, in bytes.
const LOG_WINDOW: usize = 256 * 1024;

impl Rooms {
    pub(super) fn restart_and_begin_verification(
        &self,
        issue: &Issue,
    ) -> Result<Step, RecordError> {
        let services = issue
            .run()
            .map(|run| self.affected_services(run))
            .unwrap_or_default();
        // A service that does not come up shows in its health check, which decides.
        self.restart_services(issue, &services)?;
        self.record(issue, Event::VerificationStarted)
    }

    pub(super) fn verify(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        self.note(issue, "verifying the live application");
        let services = issue
            .run()
            .map(|run| self.affected_services(run))
            .unwrap_or_default();
        let positions: Vec<(String, u64)> = services
            .iter()
            .map(|name| (name.clone(), self.log_mark(name)))
            .collect();
        let mut evidence: Vec<CheckEvidence> = services
            .iter()
            .map(|name| self.doors.services.health(name))
            .collect();

        let tools = self
            .doors
            .workbench
            .for_verification(self.session(issue, Self::host(), cancel)?, None);
        for check in &self.settings.checks {
            // A check that failed before and still fails was weighed in the proof.
            let known_red = |ended| was_red_in_proof(issue, check, ended);
            match run_check(check, tools.as_ref()) {
                Ok(output) => evidence.push(CheckEvidence {
                    name: format!("tests: {}", place(check)),
                    result: if output.ended.success() || known_red(output.ended) {
                        VerificationResult::Pass
                    } else {
                        VerificationResult::Fail
                    },
                    detail: tail(&output),
                    seconds: output.seconds,
                }),
                Err(error) => evidence.push(CheckEvidence {
                    name: format!("tests: {}", place(check)),
                    result: VerificationResult::Inconclusive,
                    detail: chain(&error),
                    seconds: 0.0,
                }),
            }
            // Aborted, or the host stops: the walk decides what comes next.
            if cancel.is_cancelled() {
                return Ok(Step::On);
            }
        }
        evidence.extend(self.doors.probes.check(PROBE_BUDGET));
        evidence.extend(self.watch(&services, cancel));
        evidence.extend(
            positions
                .iter()
                .map(|(name, position)| self.log_evidence(name, *position)),
        );
        if cancel.is_cancelled() {
            return Ok(Step::On);
        }
        let checks = evidence.into_iter().map(bounds::evidence).collect();
        self.record(issue, Event::VerificationFinished(Verification { checks }))
    }

    /// Health during the watch window: the first failure ends it.
    fn watch(&self, services: &[String], cancel: &CancelToken) -> Vec<CheckEvidence> {
        let start = Instant::now();
        while !services.is_empty()
            && start.elapsed() < self.settings.watch
            && !cancel.is_cancelled()
        {
            std::thread::sleep(WATCH_STEP.min(self.settings.watch.saturating_sub(start.elapsed())));
            for name in services {
                let mut evidence = self.doors.services.health(name);
                if evidence.result != VerificationResult::Pass {
                    evidence.name = format!("watch: {name}");
                    return vec![evidence];
                }
            }
        }
        Vec::new()
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

fn was_red_in_proof(issue: &Issue, check: &CheckCommand, now: Ended) -> bool {
    let name = bounds::evidence_name(proof_name(check));
    issue
        .run()
        .and_then(|run| run.proof.as_ref())
        .is_some_and(|proof| {
            proof
                .checks
                .iter()
                .any(|seen| seen.name == name && red_in_the_same_way(seen, now))
        })
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
