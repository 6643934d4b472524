//! A generation under observation: on trial beside the one in force, or in force
//! since a moment ago. Fed with the recorded decisions; says when it misbehaves.
//!
//! What one run is denied says little about a policy and can be brought about by
//! whoever steers that run. So no single run counts for more than half of the
//! decisions that it takes to say anything.

use crate::config::RolloutRules;
use crate::replay::{Difference, Outcome, Recorded, difference};
use crate::set::{ActiveSet, SetCore};
use chrono::{DateTime, Utc};
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::RunId;
use selfheal_domain::policy_control::{ChangedDecision, Rollout, TrialStatus};
use selfheal_domain::user::Actor;
use selfheal_domain::verdict::Answer;
use std::collections::HashMap;
use std::sync::Arc;

/// Faults before their share says anything.
const FEW_FAULTS: u64 = 3;
/// Latest differences shown.
const DIFFERENCES: usize = 20;
/// Runs told apart; the rest count as one.
const RUNS: usize = 1_000;

/// What one generation decided, as far as it says how well it does.
#[derive(Clone, Default, Debug)]
pub(crate) struct Conduct {
    asked: u64,
    faults: u64,
    runs: HashMap<Option<RunId>, (u64, u64)>,
}

impl Conduct {
    /// Counts a decision of the generation.
    pub(crate) fn count(&mut self, record: &Record) {
        match &record.event {
            Event::ToolCalled(call) if !call.facts.bears_marker() => {
                let judgement = &call.judgement;
                let faulty = judgement
                    .answers
                    .iter()
                    .any(|answer| !answer.is_shadow() && matches!(answer.answer, Answer::Fault(_)));
                let run = judgement.asked.as_ref().and_then(|asked| asked.context.run);
                let run = run.map(|run| run.id);
                let refused = judgement.verdict.strictness() > 0;
                self.add(run, refused, faulty);
            }
            Event::PatchDrafted { judgement, .. } => {
                let faulty = judgement
                    .answers
                    .iter()
                    .any(|answer| !answer.is_shadow() && matches!(answer.answer, Answer::Fault(_)));
                self.add_other(faulty);
            }
            Event::RiskAssessed(assessment) => self.add_other(!assessment.faults.is_empty()),
            Event::AutonomyDecided(decision) => self.add_other(!decision.faults.is_empty()),
            _ => {}
        }
    }

    fn add(&mut self, run: Option<RunId>, refused: bool, faulty: bool) {
        self.add_other(faulty);
        let run = if self.runs.len() < RUNS || self.runs.contains_key(&run) {
            run
        } else {
            None
        };
        let (asked, denied) = self.runs.entry(run).or_default();
        *asked += 1;
        *denied += u64::from(refused);
    }

    fn add_other(&mut self, faulty: bool) {
        self.asked += 1;
        self.faults += u64::from(faulty);
    }

    /// Share of refused tool calls in percent, once there are enough of them.
    pub(crate) fn refused_percent(&self, enough: u32) -> Option<f64> {
        let most = u64::from(enough).div_ceil(2);
        let (mut calls, mut refused) = (0.0, 0.0);
        for (asked, denied) in self.runs.values() {
            // A run beyond its part counts as that part, with its own share of denials.
            let part = (*asked).min(most) as f64;
            calls += part;
            refused += part * (*denied as f64) / (*asked).max(1) as f64;
        }
        (calls >= f64::from(enough)).then(|| refused / calls * 100.0)
    }

    /// Why the generation must be taken back, if it must.
    pub(crate) fn verdict(&self, rules: &RolloutRules, usual: Option<f64>) -> Option<String> {
        let share = self.faults as f64 / self.asked.max(1) as f64 * 100.0;
        if rules.max_fault_percent < 100
            && self.faults >= FEW_FAULTS
            && share >= f64::from(rules.max_fault_percent)
        {
            return Some(format!(
                "modules failed in {} of {} decisions ({share:.0} %, at most {} % is allowed)",
                self.faults, self.asked, rules.max_fault_percent
            ));
        }
        let (refused, usual) = (self.refused_percent(rules.min_decisions)?, usual?);
        let jump = refused - usual;
        (rules.max_deny_jump_percent < 100 && jump > f64::from(rules.max_deny_jump_percent)).then(
            || {
                format!(
                    "{refused:.0} % of tool calls were refused, where {usual:.0} % is usual \
                     (a jump of at most {} points is allowed)",
                    rules.max_deny_jump_percent
                )
            },
        )
    }
}

/// A candidate on trial.
pub(crate) struct Trial {
    pub(crate) set: Arc<ActiveSet>,
    pub(crate) text: String,
    pub(crate) rollout: Rollout,
    pub(crate) by: Actor,
    pub(crate) confirmed_by: Option<Actor>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) conduct: Conduct,
    asked: u64,
    looser: u64,
    stricter: u64,
    faults: u64,
    differences: Vec<ChangedDecision>,
}

/// What a recorded decision says about a trial.
pub(crate) struct Seen {
    difference: Difference,
    faults: u64,
}

impl Trial {
    pub(crate) fn new(
        set: Arc<ActiveSet>,
        text: String,
        rollout: Rollout,
        by: Actor,
        since: DateTime<Utc>,
    ) -> Self {
        Self {
            set,
            text,
            rollout,
            by,
            confirmed_by: None,
            since,
            conduct: Conduct::default(),
            asked: 0,
            looser: 0,
            stricter: 0,
            faults: 0,
            differences: Vec::new(),
        }
    }

    /// Takes in what a decision showed.
    pub(crate) fn learn(&mut self, seen: Seen) {
        self.asked += 1;
        self.faults += seen.faults;
        let changed = match seen.difference {
            Difference::None | Difference::Reworded => return,
            Difference::Looser(changed) => {
                self.looser += 1;
                changed
            }
            Difference::Stricter(changed) => {
                self.stricter += 1;
                changed
            }
        };
        self.differences.insert(0, changed);
        self.differences.truncate(DIFFERENCES);
    }

    /// For status.
    pub(crate) fn status(&self) -> TrialStatus {
        TrialStatus {
            generation: self.set.generation,
            rollout: self.rollout,
            by: self.by.clone(),
            since: self.since,
            asked: self.asked,
            looser: self.looser,
            stricter: self.stricter,
            faults: self.faults,
            differences: self.differences.clone(),
        }
    }
}

/// Asks whichever set did not decide: the candidate beside the set in force, the set
/// in force beside a canary's decisions.
pub(crate) fn look(
    recorded: &Recorded,
    candidate: (&SetCore, u64),
    in_force: &SetCore,
) -> Option<Seen> {
    let (candidate, generation) = candidate;
    let [active, tried] = recorded.ask([in_force, candidate])?;
    let decided_by_it = recorded.generation == generation;
    let after: &Outcome = if decided_by_it {
        &recorded.answer
    } else {
        &tried.outcome
    };
    Some(Seen {
        difference: difference(recorded, &active.outcome, after),
        faults: tried.faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    const RULES: RolloutRules = RolloutRules {
        max_fault_percent: 5,
        max_deny_jump_percent: 25,
        min_decisions: 50,
        watch: Duration::from_secs(60),
    };

    fn run(number: u128) -> Option<RunId> {
        Some(RunId(Uuid::from_u128(number)))
    }

    #[test]
    fn faults_take_back_soon_and_a_single_one_never() {
        let mut conduct = Conduct::default();
        conduct.add(run(1), true, true);
        conduct.add(run(1), true, true);
        assert_eq!(conduct.verdict(&RULES, None), None);
        conduct.add(run(1), true, true);
        assert!(conduct.verdict(&RULES, None).unwrap().contains("3 of 3"));
        for _ in 0..100 {
            conduct.add(run(1), false, false);
        }
        assert_eq!(conduct.verdict(&RULES, Some(0.0)), None);
    }

    #[test]
    fn one_run_alone_cannot_take_a_generation_back_by_being_denied() {
        let mut conduct = Conduct::default();
        for _ in 0..10_000 {
            conduct.add(run(1), true, false);
        }
        assert_eq!(conduct.verdict(&RULES, Some(0.0)), None);
        for _ in 0..25 {
            conduct.add(run(2), true, false);
        }
        assert!(conduct.verdict(&RULES, Some(0.0)).is_some());
        assert_eq!(conduct.verdict(&RULES, Some(90.0)), None, "as usual");
        assert_eq!(
            conduct.verdict(&RULES, None),
            None,
            "nothing to compare with"
        );
        for number in 3..10 {
            for _ in 0..25 {
                conduct.add(run(number), false, false);
            }
        }
        assert_eq!(conduct.verdict(&RULES, Some(0.0)), None, "22 %");
    }
}
