//! Proof: the reproduction fails on base and passes on the patch; the tests as
//! they stood before the patch pass as well as before; the rollback is rehearsed.

use super::{Rooms, Step, snapshot_of};
use crate::bounds;
use crate::healer::chain;
use crate::proof::{Witness, compare, missing_reproduction, proof_name, without_tests};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CancelToken, Snapshot};
use selfheal_domain::verdict::{Judgement, Verdict};
use selfheal_domain::verification::{CheckEvidence, Verification, VerificationResult};

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
        let code_only = without_tests(&draft.patch);
        let after = self
            .doors
            .workbench
            .for_verification(self.session(issue, Self::host(), cancel)?, Some(&code_only));
        let mut evidence = Vec::new();
        for (check, witness) in checks {
            match compare(check, witness, before.as_ref(), after.as_ref()) {
                Ok(found) => evidence.push(bounds::evidence(found)),
                Err(error) => evidence.push(CheckEvidence {
                    name: proof_name(check),
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
        evidence.extend(missing_reproduction(&evidence));
        evidence.push(self.rehearsal(&snapshot_of(run), &draft.patch));
        self.record(issue, Event::PatchProved(Verification { checks: evidence }))
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
