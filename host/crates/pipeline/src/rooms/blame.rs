//! Beyond a patch: the commit that broke it is looked for, and offered to be taken back.

use super::{Rooms, snapshot_of};
use crate::culprit::{NAME, NoCulprit, Search};
use crate::facts::{Claims, Proved, excluded, patch_facts};
use crate::healer::chain;
use selfheal_domain::agent::Diagnosis;
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::patch::Patch;
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::ports::CancelToken;
use selfheal_domain::tools::ToolError;
use selfheal_domain::user::Actor;
use std::time::Duration;

/// Below this an agent's patch is doubtful enough to look for another way.
const DOUBTFUL: f64 = 0.5;

/// Part of a diagnosis's time that the search beside an agent's own patch may take.
const SHARE: u32 = 4;

impl Rooms {
    /// The diagnosis "this commit broke it", or why there is none. For agents that found
    /// nothing, or nothing that was not refused before.
    pub(super) fn culprit(
        &self,
        issue: &Issue,
        budget: Duration,
        cancel: &CancelToken,
    ) -> Result<Result<Diagnosis, NoCulprit>, RecordError> {
        let Some(run) = issue.run() else {
            return Ok(Err(NoCulprit::Because("there is no run".to_owned())));
        };
        self.note(issue, "looking for the commit that broke it");
        // One session for all trees: it is the host that runs them.
        let session = self.session(issue, Self::host(), cancel)?;
        let tools = |patch: Option<&Patch>| {
            if cancel.is_cancelled() {
                return Err(ToolError::Cancelled);
            }
            Ok(self
                .doors
                .workbench
                .for_verification(session.clone(), patch))
        };
        let search = Search {
            repository: self.doors.repository.as_ref(),
            snapshot: &snapshot_of(run),
            checks: &self.settings.checks,
            tools: &tools,
            budget,
            cancel,
        };
        let found = search.run().and_then(|found| {
            let refused = found
                .proposals
                .iter()
                .any(|proposal| excluded(issue).any(|digest| digest == proposal.patch.digest));
            if refused {
                let why = "taking it back was refused or did not hold before";
                return Err(NoCulprit::Because(format!("{}; {why}", found.root_cause)));
            }
            Ok(found)
        });
        Ok(found)
    }

    /// Puts the diagnosis of a culprit on record as that of the strategy.
    pub(super) fn blame(&self, issue: &Issue, found: Diagnosis) -> Result<(), RecordError> {
        let found = crate::bounds::diagnosis(found);
        let actor = Actor::Agent(NAME.to_owned());
        let event = Event::DiagnosisFinished(found);
        self.ledger.record(issue.number, actor, event).map(drop)
    }

    /// Adds the revert of the culprit to what a doubtful agent proposes, last and with
    /// its risk.
    pub(super) fn offer_revert(
        &self,
        issue: &Issue,
        diagnosis: &mut Diagnosis,
        cancel: &CancelToken,
    ) -> Result<(), RecordError> {
        if diagnosis.confidence >= DOUBTFUL && issue.attempts <= 1 {
            return Ok(());
        }
        let budget = self.settings.diagnosis_budget / SHARE;
        match self.culprit(issue, budget, cancel)? {
            Ok(found) => {
                for mut proposal in found.proposals {
                    let score = self.risk_of(issue, &proposal.patch, proposal.confidence)?;
                    proposal.rationale =
                        format!("{} Risk, not proved yet: {score}.", proposal.rationale);
                    diagnosis.log.push_str("\n\nAnother way: ");
                    diagnosis.log.push_str(&proposal.rationale);
                    diagnosis.proposals.push(proposal);
                }
            }
            Err(error) => {
                tracing::debug!(
                    issue = issue.number.0,
                    error = chain(&error),
                    "no commit to take back"
                );
            }
        }
        Ok(())
    }

    /// Risk of a patch that nobody drafted yet, as people read it.
    fn risk_of(
        &self,
        issue: &Issue,
        patch: &Patch,
        confidence: f64,
    ) -> Result<String, RecordError> {
        let claims = Claims {
            confidence,
            rivals: 1,
            proved: Proved::NotYet,
            severity: issue.report.severity.as_str().to_owned(),
        };
        let rules = self.settings.rules.get();
        let facts = patch_facts(patch, claims, &rules.limits.protected);
        let context = self.context(issue, AgentPhase::Diagnosis)?;
        let score = self.policies_of(issue).assess(&context, &facts).score;
        Ok(format!("{} {}", score.get(), score.level()))
    }
}
