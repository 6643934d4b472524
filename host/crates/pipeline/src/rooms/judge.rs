//! Risk and autonomy: what the modules say of the proved patch. Nothing the agent
//! claims can lower either.

use super::{Rooms, Step};
use crate::facts::{Proved, draft_facts};
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::risk::{AutonomyAction, AutonomyDecision, AutonomyLevel, RiskLevel};
use selfheal_domain::verdict::Verdict;

impl Rooms {
    pub(super) fn assess(&self, issue: &Issue) -> Result<Step, RecordError> {
        let Some(draft) = issue.run().and_then(|run| run.draft.as_ref()) else {
            return self.escalate(issue, "the run has no patch to assess");
        };
        let facts = draft_facts(draft, issue, Proved::Yes, &self.settings.limits.protected);
        let context = self.context(issue, AgentPhase::Verification)?;
        let assessment = self.doors.policies.current().assess(&context, &facts);
        self.record(issue, Event::RiskAssessed(assessment))
    }

    pub(super) fn decide(&self, issue: &Issue) -> Result<Step, RecordError> {
        let run = issue.run();
        let Some((draft, assessment)) =
            run.and_then(|run| Some((run.draft.as_ref()?, run.assessment.as_ref()?)))
        else {
            return self.escalate(issue, "the run has no assessed patch to decide on");
        };
        let facts = draft_facts(draft, issue, Proved::Yes, &self.settings.limits.protected);
        let context = self.context(issue, AgentPhase::Verification)?;
        let decision = self
            .doors
            .policies
            .current()
            .decide(&context, &facts, assessment);
        let asked = matches!(draft.judgement.verdict, Verdict::Ask(_));
        let tests = facts.files.iter().any(|file| file.test);
        let decision = tightened(
            decision,
            context.level,
            assessment.score.level(),
            asked,
            tests,
        );
        let step = self.record(issue, Event::AutonomyDecided(decision))?;
        Ok(step)
    }
}

/// The host's own ceiling over what modules decide: never looser than the level,
/// and never without review where a guardrail asked or tests are edited.
fn tightened(
    decision: AutonomyDecision,
    level: AutonomyLevel,
    risk: RiskLevel,
    asked: bool,
    edits_tests: bool,
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
        AutonomyLevel::AutoLow | AutonomyLevel::AutoAll if edits_tests => {
            (AutonomyAction::Review(1), "the patch edits tests")
        }
        AutonomyLevel::AutoLow | AutonomyLevel::AutoAll => (AutonomyAction::Apply, ""),
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

    #[test]
    fn the_host_never_lets_a_module_loosen_the_level() {
        let decide = |says, level, risk, asked, tests| {
            let decision = AutonomyDecision {
                action: says,
                reason: "module".into(),
                faults: vec![],
                generation: 1,
            };
            tightened(decision, level, risk, asked, tests).action
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
