//! Changes that wait for a second admin.

use super::PolicyKeeper;
use super::change::{FileDuty, Order, Planned, REPLAYED};
use super::state::OpenProposal;
use crate::compare::{Side, compare};
use crate::files;
use crate::host::PreparedSet;
use crate::ratchet::{Written, stricter_of};
use selfheal_domain::event::Event;
use selfheal_domain::policy_control::{
    ChangeOutcome, ChangeSource, PolicyRefusal, Proposal, Rollout,
};
use selfheal_domain::user::Actor;
use std::path::PathBuf;
use std::sync::Arc;

impl PolicyKeeper {
    pub(super) fn proposal_path(&self, number: u64) -> PathBuf {
        let directory = self.places.data.join("policies/proposals");
        directory.join(format!("{number}.json"))
    }

    /// Keeps a change for a second admin; what of it tightens acts at once.
    pub(super) fn propose(
        &self,
        planned: Planned,
        rollout: Rollout,
        order: &Order,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let by = (order.source != ChangeSource::File).then(|| order.by.clone());
        let known = {
            let state = self.state();
            let mut open = state.proposals.values();
            open.find(|open| {
                open.text == planned.ready.text && open.rollout == rollout && open.proposal.by == by
            })
            .cloned()
        };
        if let Some(open) = known {
            return Ok(ChangeOutcome::Proposed {
                proposal: open.proposal.number,
                generation: open.base,
                plan: Box::new(open.proposal.plan),
            });
        }
        if rollout == Rollout::Full {
            self.tighten(&planned, order)?;
        }
        let unavailable = |error: String| PolicyRefusal::Unavailable(error);
        let (number, base) = {
            let mut state = self.state();
            state.last_proposal += 1;
            (state.last_proposal, state.in_force.kept.generation)
        };
        let open = OpenProposal {
            proposal: Proposal {
                number,
                by,
                reason: order.reason.clone(),
                at: self.clock.now(),
                plan: planned.plan,
            },
            text: planned.ready.text,
            rollout,
            base,
            from: planned.from,
        };
        let json =
            serde_json::to_vec_pretty(&open).map_err(|error| unavailable(error.to_string()))?;
        let path = self.proposal_path(number);
        files::replace(&path, &json, None).map_err(|error| unavailable(error.to_string()))?;
        let event = Event::PolicyProposed(open.proposal.clone());
        if let Err(error) = self.record(&order.by, event) {
            files::remove(&path);
            return Err(unavailable(error));
        }
        let outcome = ChangeOutcome::Proposed {
            proposal: number,
            generation: base,
            plan: Box::new(open.proposal.plan.clone()),
        };
        self.state().proposals.insert(number, open);
        Ok(outcome)
    }

    /// Brings the stricter of both into force, where that is stricter than what is.
    fn tighten(&self, planned: &Planned, order: &Order) -> Result<(), PolicyRefusal> {
        let active = self.host.active();
        let (config, text) = {
            let state = self.state();
            (
                state.in_force.config.clone(),
                state.in_force.kept.text.clone(),
            )
        };
        let set = PreparedSet {
            core: Arc::clone(&active.core),
        };
        let in_force = Side {
            config: &config,
            set: &set,
        };
        let both = stricter_of(
            Written {
                text: &text,
                side: in_force,
            },
            Written {
                text: &planned.ready.text,
                side: planned.ready.side(),
            },
        );
        let both = both.map_err(|error| PolicyRefusal::Unusable(error.to_string()))?;
        if both == text {
            return Ok(());
        }
        let ready = match self.read(both, planned.from) {
            Ok(ready) => ready,
            Err(error) => {
                // Nothing is lost but time: the proposal still waits.
                tracing::warn!(%error, "the stricter of both policies cannot be prepared");
                return Ok(());
            }
        };
        let structure = compare(in_force, ready.side());
        if structure.is_empty() || !structure.only_tightens() {
            return Ok(());
        }
        let stricter = self.planned(ready, planned.from, REPLAYED)?;
        if stricter.plan.loosened > 0 {
            tracing::warn!("the stricter of both policies loosens a recorded decision");
            return Ok(());
        }
        let order = Order {
            reason: format!(
                "{} (what of it tightens; the rest waits for a second admin)",
                order.reason
            ),
            ..order.clone()
        };
        let duty = match order.source {
            ChangeSource::File => FileDuty::Leave,
            ChangeSource::Api | ChangeSource::Start | ChangeSource::Return => FileDuty::Write,
        };
        self.commit(stricter, &order, duty, None).map(drop)
    }

    /// A second admin agrees.
    pub(super) fn confirmed(
        &self,
        number: u64,
        by: &Actor,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let _changing = self.changing.take();
        let unknown = || PolicyRefusal::Unknown(format!("open proposal {number}"));
        let open = self
            .state()
            .proposals
            .get(&number)
            .cloned()
            .ok_or_else(unknown)?;
        if !matches!(by, Actor::User(_)) {
            return Err(PolicyRefusal::Forbidden(
                "a second admin has a name: confirm with an account of your own".to_owned(),
            ));
        }
        if open.proposal.by.as_ref() == Some(by) {
            return Err(PolicyRefusal::Forbidden(
                "whoever proposes a change cannot be its second admin".to_owned(),
            ));
        }
        if open.base != self.state().in_force.kept.generation {
            return Err(PolicyRefusal::Conflict(
                "the policies changed since it was proposed; propose it again".to_owned(),
            ));
        }
        let planned = self.planned(
            self.read(open.text.clone(), open.from)?,
            open.from,
            REPLAYED,
        )?;
        if planned.plan.digest != open.proposal.plan.digest {
            return Err(PolicyRefusal::Conflict(
                "a module's bytes changed since it was proposed; propose it again".to_owned(),
            ));
        }
        let order = Order {
            source: if open.proposal.by.is_some() {
                ChangeSource::Api
            } else {
                ChangeSource::File
            },
            by: open.proposal.by.clone().unwrap_or(Actor::Operator),
            confirmed_by: Some(by.clone()),
            reason: open.proposal.reason.clone(),
        };
        if open.rollout != Rollout::Full {
            let outcome = self.try_out(planned, open.rollout, &order)?;
            self.close_proposal(number);
            return Ok(outcome);
        }
        let plan = Box::new(planned.plan.clone());
        // Not stale: it is what comes into force.
        self.state().proposals.remove(&number);
        match self.commit(planned, &order, FileDuty::Write, None) {
            Ok(generation) => {
                self.close_proposal(number);
                Ok(ChangeOutcome::Activated { generation, plan })
            }
            Err(refusal) => {
                self.state().proposals.insert(number, open);
                Err(refusal)
            }
        }
    }

    fn close_proposal(&self, number: u64) {
        self.state().proposals.remove(&number);
        files::remove(&self.proposal_path(number));
    }

    /// Takes a proposal back.
    pub(super) fn withdrawn(
        &self,
        number: u64,
        by: &Actor,
        reason: &str,
    ) -> Result<(), PolicyRefusal> {
        let _changing = self.changing.take();
        if !self.state().proposals.contains_key(&number) {
            return Err(PolicyRefusal::Unknown(format!("open proposal {number}")));
        }
        let event = Event::PolicyWithdrawn {
            proposal: number,
            reason: reason.to_owned(),
        };
        self.record(by, event).map_err(PolicyRefusal::Unavailable)?;
        let mut state = self.state();
        let from_file = state
            .proposals
            .get(&number)
            .is_some_and(|open| open.proposal.by.is_none());
        if from_file && state.not_in_force.is_some() {
            state.not_in_force = Some(format!("its proposal was withdrawn by {by}: {reason}"));
        }
        drop(state);
        self.close_proposal(number);
        Ok(())
    }

    /// Proposals were compared with what was in force; that changed.
    pub(super) fn withdraw_stale(&self) {
        let stale: Vec<u64> = {
            let state = self.state();
            let base = state.in_force.kept.generation;
            let open = state.proposals.iter().filter(|(_, open)| open.base != base);
            open.map(|(number, _)| *number).collect()
        };
        for number in stale {
            let event = Event::PolicyWithdrawn {
                proposal: number,
                reason: "the policies changed since it was proposed".to_owned(),
            };
            self.note(&Actor::Host, event);
            self.close_proposal(number);
        }
    }
}
