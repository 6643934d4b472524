//! Policies that answer as the world says.

use super::{Port, World};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::*;
use selfheal_domain::risk::*;
use selfheal_domain::verdict::{Answer, Judgement, ModuleAnswer, Reason, Verdict};
use std::sync::Arc;

struct Policies {
    world: Arc<World>,
    generation: u64,
}

impl PolicySet for Policies {
    fn generation(&self) -> u64 {
        self.generation
    }
    fn digest(&self) -> Digest {
        Digest::of(&self.generation.to_le_bytes())
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, _: &PolicyContext, _: &ToolCallFacts) -> Judgement {
        Judgement::merge(self.generation, Vec::new())
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        let (deny, ask) = self.world.get(|it| (it.deny_patch, it.ask_patch));
        let reason = Reason::new("patch.no", "not this one");
        let verdict = match (deny, ask) {
            (true, _) => Verdict::Deny(reason),
            (false, true) => Verdict::Ask(reason),
            (false, false) => Verdict::Allow,
        };
        let answer = ModuleAnswer {
            module: "guard".to_owned(),
            digest: Digest([0; 32]),
            answer: Answer::Verdict(verdict),
            micros: 1,
        };
        Judgement::merge(self.generation, vec![answer])
    }
    fn assess(&self, context: &PolicyContext, facts: &PatchFacts) -> Assessment {
        // Only what is offered beside a draft is not proved yet.
        assert!(facts.reproduction_proved || context.phase == AgentPhase::Diagnosis);
        self.world
            .set(|it| it.assessed.push((context.clone(), facts.clone())));
        Assessment {
            score: RiskScore::new(self.world.get(|it| it.risk)).unwrap(),
            factors: Vec::new(),
            faults: Vec::new(),
            generation: self.generation,
            asked: None,
        }
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        AutonomyDecision {
            action: self.world.get(|it| it.action),
            reason: "module".to_owned(),
            faults: Vec::new(),
            generation: self.generation,
            asked: None,
        }
    }
    fn admit(&self, context: &PolicyContext, _: &IssueFacts) -> Admission {
        self.world.set(|it| it.admitted.push(context.clone()));
        Admission::NeedsAdmin(Reason::new("admit.no", "an admin decides"))
    }
}

impl PolicyHost for Port {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(Policies {
            generation: self.0.get(|it| it.generation),
            world: Arc::clone(&self.0),
        })
    }
}
