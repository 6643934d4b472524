//! Proof: the reproduction fails on base and passes on the patch; the tests as
//! they stood before the patch pass as well as before; the rollback is rehearsed.

use super::{Rooms, Step, snapshot_of};
use crate::bounds;
use crate::healer::chain;
use crate::proof::{Trial, Witness, missing_reproduction, proof_name};
use crate::witnesses::{weakened, without_tests};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CancelToken, Snapshot};
use selfheal_domain::run::Run;
use selfheal_domain::verdict::{Judgement, Verdict};
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};

/// How often a proof begins anew because the live tree moved under it.
const MOST_MOVED: u32 = 5;

/// Why the guardrails refuse a patch, if they do.
pub(crate) fn refusal(judgement: &Judgement) -> Option<String> {
    match judgement.strictest() {
        Verdict::Deny(reason) => {
            let reason = format!("denied by rule {}: {}", reason.rule, reason.message);
            Some(bounds::clip(reason, bounds::DETAIL))
        }
        Verdict::Allow | Verdict::Ask(_) => None,
    }
}

impl Rooms {
    pub(super) fn prove(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        let Some((run, draft)) = issue.run().and_then(|run| Some((run, run.draft.as_ref()?)))
        else {
            return self.escalate(issue, "the run has no patch to prove");
        };
        if let Some(reason) = refusal(&draft.judgement) {
            return self.record(
                issue,
                Event::PatchRefuted {
                    reason,
                    verification: None,
                },
            );
        }
        self.note(issue, "proving the patch");
        for _ in 0..MOST_MOVED {
            let Some(moves) = self.moves.at_rest(cancel) else {
                return Ok(Step::On);
            };
            let Some(mut evidence) = self.trial(issue, run, &draft.patch, cancel)? else {
                // Aborted, or the host stops: the walk decides what comes next.
                return Ok(Step::On);
            };
            if !self.moves.still(moves) {
                self.note(issue, "another heal changed the live tree; proving again");
                continue;
            }
            evidence.extend(missing_reproduction(&evidence));
            evidence.extend(tests_changed(&draft.patch));
            evidence.push(self.rehearsal(&snapshot_of(run), &draft.patch));
            return self.record(issue, Event::PatchProved(Verification { checks: evidence }));
        }
        let moved = CheckEvidence {
            name: "live tree".to_owned(),
            result: VerificationResult::Inconclusive,
            detail: format!("other heals changed it during each of {MOST_MOVED} proofs"),
            seconds: 0.0,
        };
        self.record(
            issue,
            Event::PatchProved(Verification {
                checks: vec![moved],
            }),
        )
    }

    /// Every check without and with the patch; none when it was cancelled.
    pub(super) fn trial(
        &self,
        issue: &Issue,
        run: &Run,
        patch: &Patch,
        cancel: &CancelToken,
    ) -> Result<Option<Vec<CheckEvidence>>, RecordError> {
        let reproduction = run
            .diagnosis
            .as_ref()
            .and_then(|diagnosis| diagnosis.reproduction.as_ref());
        let others = self
            .settings
            .checks
            .iter()
            .filter(|check| Some(*check) != reproduction);
        let checks = reproduction
            .map(|check| (check, Witness::Reproduction))
            .into_iter()
            .chain(others.map(|check| (check, Witness::Regression)));

        let before = self
            .doors
            .workbench
            .for_verification(self.session(issue, Self::host(), cancel)?, None);
        let code_only = without_tests(patch);
        let after = self
            .doors
            .workbench
            .for_verification(self.session(issue, Self::host(), cancel)?, Some(&code_only));
        let trial = Trial {
            before: before.as_ref(),
            after: after.as_ref(),
            until: None,
        };
        let mut evidence = Vec::new();
        for (check, witness) in checks {
            match trial.compare(check, witness) {
                Ok(found) => evidence.push(bounds::evidence(found)),
                Err(error) => evidence.push(CheckEvidence {
                    name: proof_name(check),
                    result: VerificationResult::Inconclusive,
                    detail: chain(&error),
                    seconds: 0.0,
                }),
            }
            if cancel.is_cancelled() {
                return Ok(None);
            }
        }
        Ok(Some(evidence))
    }

    fn rehearsal(&self, snapshot: &Snapshot, patch: &Patch) -> CheckEvidence {
        let (result, detail) = match self.doors.repository.rehearse_rollback(snapshot, patch) {
            Ok(()) => (
                VerificationResult::Pass,
                "a rollback would apply cleanly".to_owned(),
            ),
            Err(error) => (
                VerificationResult::Fail,
                bounds::clip(chain(&error), bounds::DETAIL),
            ),
        };
        CheckEvidence {
            name: "rollback rehearsal".to_owned(),
            result,
            detail,
            seconds: 0.0,
        }
    }
}

/// What the patch does to tests, for reviewers: it was judged by those before it.
fn tests_changed(patch: &Patch) -> Option<CheckEvidence> {
    let found: Vec<String> = weakened(patch).iter().map(|it| format!("- {it}")).collect();
    if found.is_empty() {
        return None;
    }
    let text = format!(
        "the patch weakens tests; it was judged by the tests as they stood before it\n{}",
        found.join("\n")
    );
    Some(CheckEvidence {
        name: "tests changed by the patch".to_owned(),
        result: VerificationResult::Pass,
        detail: bounds::clip(text, bounds::DETAIL),
        seconds: 0.0,
    })
}
