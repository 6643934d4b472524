//! Risk and autonomy: what the modules say of the proved patch. Nothing the agent
//! claims can lower either.

use super::{Rooms, Step};
use crate::bounds;
use crate::facts::{Proved, draft_facts};
use crate::proof::{proof_name, turned_green};
use crate::settings::Settings;
use crate::witnesses::{holds_tests, weakened};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::risk::{AutonomyAction, AutonomyDecision, AutonomyLevel, RiskLevel};
use selfheal_domain::run::{DraftedPatch, Run};
use selfheal_domain::verdict::Verdict;

impl Rooms {
    fn proved(&self, run: &Run) -> Proved {
        proved(&self.settings, run)
    }

    pub(super) fn assess(&self, issue: &Issue) -> Result<Step, RecordError> {
        let Some((run, draft)) = issue.run().and_then(|run| Some((run, run.draft.as_ref()?)))
        else {
            return self.escalate(issue, "the run has no patch to assess");
        };
        let rules = self.settings.rules.get();
        let proved = self.proved(run);
        let mut facts = draft_facts(draft, issue, proved, &rules.limits.protected);
        self.inform(issue, &mut facts)?;
        let context = self.context(issue, AgentPhase::Verification)?;
        let assessment = self.policies_of(issue).assess(&context, &facts);
        self.record(issue, Event::RiskAssessed(assessment))
    }

    pub(super) fn decide(&self, issue: &Issue) -> Result<Step, RecordError> {
        let Some((run, draft, assessment)) = issue
            .run()
            .and_then(|run| Some((run, run.draft.as_ref()?, run.assessment.as_ref()?)))
        else {
            return self.escalate(issue, "the run has no assessed patch to decide on");
        };
        let set = self.policies_of(issue);
        if [draft.judgement.generation, assessment.generation] != [set.generation(); 2] {
            // Guardrails and risk modules that are in force now have not seen it.
            return self.record(issue, Event::RunInterrupted);
        }
        let rules = self.settings.rules.get();
        let proved = self.proved(run);
        let mut facts = draft_facts(draft, issue, proved, &rules.limits.protected);
        self.inform(issue, &mut facts)?;
        let context = self.context(issue, AgentPhase::Verification)?;
        let decision = set.decide(&context, &facts, assessment);
        let risk = assessment.score.level();
        let decision = capped(decision, context.level, draft, risk, proved);
        self.record(issue, Event::AutonomyDecided(decision))
    }

    /// Why a patch that was cleared must not be applied after all: policies or level
    /// changed since.
    pub(super) fn no_longer_cleared(
        &self,
        issue: &Issue,
        run: &Run,
    ) -> Result<Option<String>, RecordError> {
        let (Some(draft), Some(assessment), Some(decision)) =
            (&run.draft, &run.assessment, &run.autonomy)
        else {
            return Ok(Some("the patch was never judged".to_owned()));
        };
        let generation = self.policies_of(issue).generation();
        let judged = [
            draft.judgement.generation,
            assessment.generation,
            decision.generation,
        ];
        if judged != [generation; 3] {
            return Ok(Some(
                "the policies changed since the patch was judged".to_owned(),
            ));
        }
        let level = self.level()?;
        let risk = assessment.score.level();
        let now = capped(decision.clone(), level, draft, risk, self.proved(run));
        Ok((now.action != decision.action)
            .then(|| format!("the autonomy level is {level} now, which does not allow it")))
    }
}

/// Whether a check of the operators turned green. One that the agent made up for
/// itself is a claim like any other: it cannot vouch for its own patch.
pub(crate) fn proved(settings: &Settings, run: &Run) -> Proved {
    let reproduction = run
        .diagnosis
        .as_ref()
        .and_then(|diagnosis| diagnosis.reproduction.as_ref());
    let made_up = reproduction.is_some_and(|check| !settings.checks.contains(check));
    let seen = run
        .proof
        .iter()
        .flat_map(|proof| &proof.checks)
        .any(|check| {
            let configured = |it: &_| proof_name(it) == check.name;
            turned_green(check) && settings.checks.iter().any(configured)
        });
    if made_up && !seen {
        Proved::NotYet
    } else {
        Proved::Yes
    }
}

/// The decision under the host's own ceiling.
pub(crate) fn capped(
    decision: AutonomyDecision,
    level: AutonomyLevel,
    draft: &DraftedPatch,
    risk: RiskLevel,
    proved: Proved,
) -> AutonomyDecision {
    let asked = matches!(draft.judgement.strictest(), Verdict::Ask(_));
    let tests = touched_tests(draft);
    let decision = tightened(decision, level, risk, asked, tests.as_deref());
    let action = decision.action.stricter(AutonomyAction::Review(1));
    if proved == Proved::Yes || action == decision.action {
        return decision;
    }
    AutonomyDecision {
        action,
        reason: "only a check that the agent made up shows that the patch heals".to_owned(),
        ..decision
    }
}

/// What the patch does to tests, where it does anything.
fn touched_tests(draft: &DraftedPatch) -> Option<String> {
    let patch = &draft.patch;
    if let Some(first) = weakened(patch).first() {
        return Some(bounds::line(&format!("the patch weakens tests: {first}")));
    }
    let edits = patch.files.iter().any(holds_tests);
    edits.then(|| "the patch edits tests".to_owned())
}

/// The host's own ceiling over what modules decide: never looser than the level,
/// and never without review where a guardrail asked or tests are edited.
fn tightened(
    decision: AutonomyDecision,
    level: AutonomyLevel,
    risk: RiskLevel,
    asked: bool,
    tests: Option<&str>,
) -> AutonomyDecision {
    let (floor, why) = match level {
        AutonomyLevel::Observe => (AutonomyAction::Stop, "the level is OBSERVE"),
        AutonomyLevel::Suggest => (
            AutonomyAction::Review(1),
            "at SUGGEST every patch is reviewed",
        ),
        AutonomyLevel::AutoLow if risk > RiskLevel::Low => (
            AutonomyAction::Review(1),
            "at AUTO_LOW only low risk is applied without review",
        ),
        AutonomyLevel::AutoLow | AutonomyLevel::AutoAll if asked => {
            (AutonomyAction::Review(1), "a guardrail asks for a review")
        }
        AutonomyLevel::AutoLow | AutonomyLevel::AutoAll => match tests {
            Some(what) => (AutonomyAction::Review(1), what),
            None => (AutonomyAction::Apply, ""),
        },
    };
    let action = decision.action.stricter(floor);
    if action == decision.action {
        return decision;
    }
    AutonomyDecision {
        action,
        reason: why.to_owned(),
        ..decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AutonomyAction::{Apply, Review, Stop};
    use AutonomyLevel::{AutoAll, AutoLow, Observe, Suggest};
    use selfheal_domain::ids::CommitId;
    use selfheal_domain::patch::Patch;
    use selfheal_domain::verdict::Judgement;

    #[test]
    fn a_check_that_the_agent_made_up_leads_to_a_review() {
        let decide = |proved| {
            let decision = AutonomyDecision {
                action: Apply,
                reason: String::new(),
                faults: vec![],
                generation: 1,
                asked: None,
            };
            let draft = DraftedPatch {
                patch: Patch::of(Vec::new()),
                rationale: String::new(),
                confidence: 1.0,
                rivals: Vec::new(),
                commit: CommitId(String::new()),
                judgement: Judgement {
                    verdict: Verdict::Allow,
                    answers: Vec::new(),
                    generation: 1,
                    granted: Vec::new(),
                    asked: None,
                },
            };
            capped(decision, AutoAll, &draft, RiskLevel::Low, proved).action
        };
        assert_eq!(decide(Proved::Yes), Apply);
        assert_eq!(decide(Proved::NotYet), Review(1));
    }

    #[test]
    fn the_host_never_lets_a_module_loosen_the_level() {
        let decide = |says, level, risk, asked, tests: bool| {
            let decision = AutonomyDecision {
                action: says,
                reason: "module".into(),
                faults: vec![],
                generation: 1,
                asked: None,
            };
            tightened(decision, level, risk, asked, tests.then_some("tests")).action
        };
        assert_eq!(decide(Apply, Observe, RiskLevel::Low, false, false), Stop);
        assert_eq!(
            decide(Apply, Suggest, RiskLevel::Low, false, false),
            Review(1)
        );
        assert_eq!(decide(Apply, AutoLow, RiskLevel::Low, false, false), Apply);
        assert_eq!(
            decide(Apply, AutoLow, RiskLevel::Medium, false, false),
            Review(1)
        );
        assert_eq!(
            decide(Apply, AutoAll, RiskLevel::Critical, false, false),
            Apply
        );
        assert_eq!(
            decide(Apply, AutoAll, RiskLevel::Low, true, false),
            Review(1)
        );
        assert_eq!(
            decide(Apply, AutoAll, RiskLevel::Low, false, true),
            Review(1)
        );
        assert_eq!(
            decide(Review(2), AutoAll, RiskLevel::Low, false, false),
            Review(2)
        );
        assert_eq!(decide(Stop, AutoAll, RiskLevel::Low, false, false), Stop);
    }
}
