//! The port: what admins can ask for.

use super::change::{FileDuty, Order, REPLAYED};
use super::start::Ready;
use super::{PolicyKeeper, lock};
use crate::config::{ModuleMode, PolicyConfig};
use crate::edit;
use crate::files;
use crate::generations::Kept;
use crate::host::PreparedSet;
use crate::replay::{Recorded, decide_again};
use selfheal_domain::digest::Digest;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ledger::Seen;
use selfheal_domain::policy::ModuleIdentity;
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, ChangeSource, Explanation, Grant, ModuleState, ModuleStatus,
    PolicyControl, PolicyPlan, PolicyRefusal, PolicyStatus, Promote, Rollout,
};
use selfheal_domain::risk::{AutonomyDecision, AutonomyLevel};
use selfheal_domain::user::Actor;
use selfheal_policy_source::{SourceRef, Trust};
use std::path::Path;
use std::sync::Arc;

fn order(source: ChangeSource, by: &Actor, reason: &str) -> Order {
    Order {
        source,
        by: by.clone(),
        confirmed_by: None,
        reason: reason.to_owned(),
    }
}

impl PolicyKeeper {
    fn module_statuses(&self) -> Vec<ModuleStatus> {
        let active = self.host.active();
        let state = self.state();
        let kept = &state.in_force.kept;
        let loaded = active.core.modules.iter().zip(&active.live.standings);
        let running = loaded.map(|(loaded, standing)| {
            let tally = standing.tally();
            let confined = standing.confined();
            let begun = kept
                .modules
                .iter()
                .find(|module| module.name == loaded.identity.name);
            let settings = state.in_force.config.modules.iter();
            let capabilities = settings
                .filter(|module| module.name == loaded.identity.name)
                .flat_map(|module| module.capabilities.iter().map(|one| one.to_string()))
                .collect();
            ModuleStatus {
                identity: loaded.identity.clone(),
                state: match (&confined, loaded.mode) {
                    (Some(_), _) => ModuleState::Quarantined,
                    (None, ModuleMode::Enforce) => ModuleState::Enforcing,
                    (None, ModuleMode::Shadow) => ModuleState::Shadow,
                    (None, ModuleMode::Off) => ModuleState::Off,
                },
                reason: confined.map(|cause| format!("it is not asked any more since it {cause}")),
                source: loaded.source.clone(),
                publisher: match &loaded.trust {
                    Trust::Signed(by) => Some(by.publisher.clone()),
                    Trust::Bundled | Trust::Unsigned => None,
                },
                capabilities,
                generation: begun.map_or(kept.generation, |module| module.generation),
                since: begun.map_or(kept.at, |module| module.since),
                asked: tally.asked,
                hits: tally.hits,
                faults: tally.faults,
                last_fault: tally.last_fault,
                p50_micros: tally.p50_micros,
                p99_micros: tally.p99_micros,
            }
        });
        let mut modules: Vec<ModuleStatus> = running.collect();
        let off = state.in_force.config.modules.iter();
        for module in off.filter(|module| module.mode == ModuleMode::Off) {
            modules.push(ModuleStatus {
                identity: ModuleIdentity {
                    name: module.name.clone(),
                    version: String::new(),
                    kind: module.kind,
                    digest: module.pin.unwrap_or(Digest([0; 32])),
                },
                state: ModuleState::Off,
                reason: None,
                source: module.source.to_string(),
                publisher: None,
                capabilities: module
                    .capabilities
                    .iter()
                    .map(|one| one.to_string())
                    .collect(),
                generation: kept.generation,
                since: kept.at,
                asked: 0,
                hits: Default::default(),
                faults: 0,
                last_fault: None,
                p50_micros: 0.0,
                p99_micros: 0.0,
            });
        }
        modules
    }

    /// The text of a kept generation, with modules that are no longer where they were
    /// named by their digest.
    fn text_to_return_to(&self, kept: &Kept) -> Result<String, PolicyRefusal> {
        let unusable = |error: String| PolicyRefusal::Unusable(error);
        let directory = self.places.policy_file.parent().unwrap_or(Path::new("."));
        let config = PolicyConfig::parse(&kept.text, "the kept text", directory)
            .map_err(|error| unusable(error.to_string()))?;
        let digests = kept.digests();
        let mut document = edit::parsed(&kept.text).map_err(|error| unusable(error.to_string()))?;
        let tables = edit::modules(&mut document).map_err(|error| unusable(error.to_string()))?;
        for module in &config.modules {
            let (SourceRef::File(path), Some(digest)) = (&module.source, digests.get(&module.name))
            else {
                continue;
            };
            let found = std::fs::read(path).ok().map(|bytes| Digest::of(&bytes));
            if found == Some(*digest) {
                continue;
            }
            let at = edit::position(tables, &module.name);
            if let Some(table) = at.and_then(|at| tables.get_mut(at)) {
                edit::set(table, "source", &format!("sha256:{digest}"));
            }
        }
        Ok(document.to_string())
    }

    /// The common way of every change that an admin asks for.
    fn change(
        &self,
        text: String,
        from: Option<u64>,
        rollout: Rollout,
        order: &Order,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        if let Rollout::Canary { percent } = rollout
            && !(1..=99).contains(&percent)
        {
            return Err(PolicyRefusal::Unusable(format!(
                "a canary gets 1 to 99 percent of the runs, not {percent}"
            )));
        }
        let planned = self.planned(self.read(text, from)?, from, REPLAYED)?;
        if self.is_unchanged(&planned) {
            let duty = match rollout {
                Rollout::Full => FileDuty::Write,
                Rollout::Shadow | Rollout::Canary { .. } => FileDuty::Leave,
            };
            let generation = match duty {
                FileDuty::Write => self.reword(&planned.ready.text, duty)?,
                FileDuty::Leave => planned.plan.against,
            };
            return Ok(ChangeOutcome::Unchanged { generation });
        }
        let running = self
            .state()
            .trial
            .as_ref()
            .map(|trial| trial.set.generation);
        if let Some(generation) = running
            && rollout != Rollout::Full
        {
            return Err(PolicyRefusal::Conflict(format!(
                "generation {generation} is on trial already; end that first"
            )));
        }
        match rollout {
            // Its answers are never obeyed.
            Rollout::Shadow => self.try_out(planned, rollout, order),
            Rollout::Canary { .. } if self.one_word_is_enough(&planned) => {
                self.try_out(planned, rollout, order)
            }
            Rollout::Full if self.one_word_is_enough(&planned) => {
                let plan = Box::new(planned.plan.clone());
                let generation = self.commit(planned, order, FileDuty::Write, None)?;
                Ok(ChangeOutcome::Activated { generation, plan })
            }
            Rollout::Canary { .. } | Rollout::Full => self.propose(planned, rollout, order),
        }
    }

    fn promoted(&self, by: &Actor, reason: &str) -> Result<ChangeOutcome, PolicyRefusal> {
        let (generation, core, text, first) = {
            let state = self.state();
            let none = || PolicyRefusal::Unknown("trial under way".to_owned());
            let trial = state.trial.as_ref().ok_or_else(none)?;
            let set = &trial.set;
            (
                set.generation,
                Arc::clone(&set.core),
                trial.text.clone(),
                trial.by.clone(),
            )
        };
        let file = self.places.policy_file.display().to_string();
        let directory = self.places.policy_file.parent().unwrap_or(Path::new("."));
        let config = PolicyConfig::parse(&text, &file, directory)
            .map_err(|error| PolicyRefusal::Unusable(error.to_string()))?;
        let ready = Ready {
            text,
            config,
            set: PreparedSet { core },
        };
        let planned = self.planned(ready, None, REPLAYED)?;
        // Whoever did not start the trial is its second admin.
        let second = matches!(by, Actor::User(_)) && *by != first;
        let mut order = order(ChangeSource::Api, by, reason);
        if !self.one_word_is_enough(&planned) {
            if !second {
                return self.propose(planned, Rollout::Full, &order);
            }
            order.by = first;
            order.confirmed_by = Some(by.clone());
        }
        let plan = Box::new(planned.plan.clone());
        let generation = self.commit(planned, &order, FileDuty::Write, Some(generation))?;
        Ok(ChangeOutcome::Activated { generation, plan })
    }
}

impl PolicyControl for PolicyKeeper {
    fn status(&self) -> PolicyStatus {
        let modules = self.module_statuses();
        let enforcement = lock(&self.enforcement).clone();
        let state = self.state();
        let (config, kept) = (&state.in_force.config, &state.in_force.kept);
        let now = self.clock.now();
        PolicyStatus {
            generation: kept.generation,
            digest: kept.digest,
            since: kept.at,
            source: kept.source,
            environment: config.environment,
            ceiling: config.ceiling,
            four_eyes: config.four_eyes,
            modules,
            not_in_force: state.not_in_force.clone(),
            trial: state.trial.as_ref().map(|trial| trial.status()),
            proposals: state
                .proposals
                .values()
                .map(|open| open.proposal.clone())
                .collect(),
            grants: state
                .grants
                .iter()
                .filter(|grant| grant.until > now)
                .cloned()
                .collect(),
            kept: state.history.iter().map(Kept::summary).collect(),
            enforcement,
        }
    }

    fn text(&self) -> String {
        self.state().in_force.kept.text.clone()
    }

    fn while_seen(&self, seen: &Seen, act: &mut dyn FnMut()) -> Result<(), PolicyRefusal> {
        let _changing = self.changing.take();
        self.status().check(seen)?;
        act();
        Ok(())
    }

    fn keep_module(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Digest, PolicyRefusal> {
        use selfheal_policy_source::StoreProblem;
        self.generations
            .modules()
            .put(bytes, signature)
            .map_err(|error| match error {
                StoreProblem::TooLarge { .. } => PolicyRefusal::Unusable(error.to_string()),
                StoreProblem::File { .. } | StoreProblem::Changed { .. } => {
                    PolicyRefusal::Unavailable(error.to_string())
                }
            })
    }

    fn plan(&self, candidate: &Candidate, decisions: u64) -> Result<PolicyPlan, PolicyRefusal> {
        // Changes nothing, so it needs no turn.
        let text = self.text_of(candidate)?;
        let planned = self.planned(self.read(text, None)?, None, decisions)?;
        Ok(planned.plan)
    }

    fn decide_again(
        &self,
        decision: &AutonomyDecision,
        level: AutonomyLevel,
    ) -> Option<AutonomyDecision> {
        decide_again(&self.host.active().core, decision, level)
    }

    fn activate(
        &self,
        candidate: &Candidate,
        rollout: Rollout,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let _changing = self.changing.take();
        let text = self.text_of(candidate)?;
        self.change(text, None, rollout, &order(ChangeSource::Api, by, reason))
    }

    fn confirm(&self, proposal: u64, by: &Actor) -> Result<ChangeOutcome, PolicyRefusal> {
        self.confirmed(proposal, by)
    }

    fn withdraw(&self, proposal: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.withdrawn(proposal, by, reason)
    }

    fn end_trial(
        &self,
        promote: Promote,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let _changing = self.changing.take();
        match promote {
            Promote::Yes => self.promoted(by, reason),
            Promote::No => {
                if self.state().trial.is_none() {
                    return Err(PolicyRefusal::Unknown("trial under way".to_owned()));
                }
                self.drop_trial(&order(ChangeSource::Api, by, reason))?;
                let generation = self.state().in_force.kept.generation;
                Ok(ChangeOutcome::Unchanged { generation })
            }
        }
    }

    fn roll_back(
        &self,
        to: Option<u64>,
        by: &Actor,
        reason: &str,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let _changing = self.changing.take();
        let kept = {
            let state = self.state();
            let found = match to {
                None => state.history.get(1),
                Some(number) => state.history.iter().find(|kept| kept.generation == number),
            };
            let name = to.map_or("earlier generation".to_owned(), |number| {
                format!("kept generation {number}")
            });
            found.cloned().ok_or(PolicyRefusal::Unknown(name))?
        };
        let text = self.text_to_return_to(&kept)?;
        let order = order(ChangeSource::Api, by, reason);
        self.change(text, Some(kept.generation), Rollout::Full, &order)
    }

    fn release(&self, module: &str, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.released(module, by, reason)
    }

    fn grant(
        &self,
        rule: &str,
        issue: Option<IssueNumber>,
        minutes: u32,
        by: &Actor,
        reason: &str,
    ) -> Result<Grant, PolicyRefusal> {
        self.granted(rule, issue, minutes, by, reason)
    }

    fn revoke(&self, grant: u64, by: &Actor, reason: &str) -> Result<(), PolicyRefusal> {
        self.revoked(grant, by, reason)
    }

    fn explain(&self, seq: u64, under: Option<&Candidate>) -> Result<Explanation, PolicyRefusal> {
        let unknown = || PolicyRefusal::Unknown(format!("decision at position {seq}"));
        let attached = self.attached.get().ok_or_else(unknown)?;
        let record = attached
            .store
            .record(seq)
            .map_err(|error| PolicyRefusal::Unavailable(error.to_string()))?
            .ok_or_else(unknown)?;
        let recorded = Recorded::of(record).ok_or_else(|| {
            PolicyRefusal::Unknown(format!(
                "decision at position {seq} that says what was asked (an earlier version may have written it)"
            ))
        })?;
        let active = self.host.active();
        let (core, name) = match under {
            None => (
                Arc::clone(&active.core),
                format!("generation {}", active.generation),
            ),
            Some(candidate) => {
                let ready = self.read(self.text_of(candidate)?, None)?;
                let digest = ready.set.digest().to_string();
                (ready.set.core, digest)
            }
        };
        let [again] = recorded.ask([&*core]).ok_or_else(unknown)?;
        Ok(Explanation {
            seq,
            question: recorded.line(),
            recorded: recorded.answer.text(),
            modules: recorded.modules.clone(),
            under: name,
            answer: again.outcome.text(),
            again: again.modules(),
            same: again.outcome.is(&recorded.answer),
        })
    }
}

impl PolicyKeeper {
    /// Writes nothing and asks nobody: whether `policy.toml` still says what is in force.
    pub fn file_is_in_force(&self) -> bool {
        let found = files::read_text(&self.places.policy_file);
        found.is_ok_and(|text| text == self.state().in_force.kept.text)
    }
}
