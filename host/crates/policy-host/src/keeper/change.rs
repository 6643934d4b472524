//! Bringing a candidate into force.

use super::PolicyKeeper;
use super::start::{Ready, ready};
use super::state::{InForce, Watched};
use crate::compare::{Side, Structure, compare};
use crate::edit;
use crate::files::{self, FileProblem};
use crate::generations::{Kept, modules_of};
use crate::host::PreparedSet;
use crate::replay::{Replayed, replay};
use crate::set::SetCore;
use crate::trial::{Conduct, Trial};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, PolicyChange};
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, ChangeSource, PolicyPlan, PolicyRefusal, Rollout,
};
use selfheal_domain::user::Actor;
use std::sync::Arc;
use std::time::Instant;

/// Recorded decisions that a change is compared over.
pub(super) const REPLAYED: u64 = 10_000;

/// A candidate and what it would change.
pub(super) struct Planned {
    pub(super) ready: Ready,
    pub(super) plan: PolicyPlan,
    pub(super) structure: Structure,
    /// Share of recorded tool calls that the set in force refuses, in percent.
    pub(super) usual: Option<f64>,
    /// A kept generation whose bytes are used.
    pub(super) from: Option<u64>,
}

/// Who wants a change, and how.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) source: ChangeSource,
    pub(super) by: Actor,
    pub(super) confirmed_by: Option<Actor>,
    pub(super) reason: String,
}

/// What becomes of `policy.toml`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileDuty {
    /// It gets the text that comes into force.
    Write,
    /// It says it already, or says something else on purpose.
    Leave,
}

impl PolicyKeeper {
    /// The text that a candidate stands for.
    pub(super) fn text_of(&self, candidate: &Candidate) -> Result<String, PolicyRefusal> {
        match candidate {
            Candidate::Text(text) => Ok(text.clone()),
            Candidate::Edits(edits) => {
                let in_force = self.state().in_force.kept.text.clone();
                edit::edited(&in_force, edits)
                    .map_err(|error| PolicyRefusal::Unusable(error.to_string()))
            }
        }
    }

    /// Parses, prepares and checks a text; changes nothing.
    pub(super) fn read(&self, text: String, from: Option<u64>) -> Result<Ready, PolicyRefusal> {
        let kept =
            match from {
                None => None,
                Some(number) => {
                    let state = self.state();
                    let mut history = state.history.iter();
                    let found = history.find(|kept| kept.generation == number);
                    Some(found.cloned().ok_or_else(|| {
                        PolicyRefusal::Unknown(format!("kept generation {number}"))
                    })?)
                }
            };
        let from = kept.as_ref().map(|kept| (kept, self.generations.modules()));
        let ready = ready(&self.host, &self.places, text, from).map_err(PolicyRefusal::Unusable)?;
        // Only whether the others can follow it; they do once it is in force.
        drop(self.following(&ready.config)?);
        Ok(ready)
    }

    /// Compares with what is in force and asks recorded questions again.
    pub(super) fn planned(
        &self,
        ready: Ready,
        from: Option<u64>,
        decisions: u64,
    ) -> Result<Planned, PolicyRefusal> {
        let started = Instant::now();
        let active = self.host.active();
        let config = self.config();
        let before = PreparedSet {
            core: Arc::clone(&active.core),
        };
        let before = Side {
            config: &config,
            set: &before,
        };
        let structure = compare(before, ready.side());
        let Replayed {
            mut plan,
            refused,
            tool_calls,
        } = match self.attached.get() {
            Some(attached) => {
                self.replayed(&*attached.store, &active.core, &ready.set.core, decisions)?
            }
            None => Replayed::default(),
        };
        structure.clone().into_plan(&mut plan);
        plan.digest = ready.set.digest().to_string();
        plan.against = active.generation;
        plan.millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let usual = (tool_calls > 0).then(|| refused as f64 / tool_calls as f64 * 100.0);
        Ok(Planned {
            ready,
            plan,
            structure,
            usual,
            from,
        })
    }

    fn replayed(
        &self,
        store: &dyn selfheal_domain::ports::EventStore,
        in_force: &SetCore,
        candidate: &SetCore,
        decisions: u64,
    ) -> Result<Replayed, PolicyRefusal> {
        replay(store, in_force, candidate, decisions)
            .map_err(|error| PolicyRefusal::Unavailable(format!("recorded decisions: {error}")))
    }

    /// Nothing that is said would change: comments at most.
    pub(super) fn is_unchanged(&self, planned: &Planned) -> bool {
        planned.structure.is_empty() && planned.ready.set.digest() == self.host.active().core.digest
    }

    /// One word may bring it into force.
    pub(super) fn one_word_is_enough(&self, planned: &Planned) -> bool {
        !self.state().in_force.config.four_eyes || planned.plan.only_tightens()
    }

    /// Takes over a text that says the same in other words.
    pub(super) fn reword(&self, text: &str, duty: FileDuty) -> Result<u64, PolicyRefusal> {
        if duty == FileDuty::Write {
            self.write_file(text)?;
        }
        let mut state = self.state();
        if state.in_force.kept.text != text {
            let kept = Kept {
                text: text.to_owned(),
                ..state.in_force.kept.clone()
            };
            self.generations
                .rewrite(&kept)
                .map_err(|error| PolicyRefusal::Unavailable(error.to_string()))?;
            if let Some(newest) = state.history.first_mut() {
                *newest = kept.clone();
            }
            state.in_force.kept = kept;
        }
        state.not_in_force = None;
        state.file_seen = Some(Digest::of(text.as_bytes()));
        Ok(state.in_force.kept.generation)
    }

    /// Writes `policy.toml`, if it still says what is in force.
    fn write_file(&self, text: &str) -> Result<(), PolicyRefusal> {
        let path = &self.places.policy_file;
        let conflict = |why: String| {
            PolicyRefusal::Conflict(format!("{} {why}; nothing was changed", path.display()))
        };
        match files::read_text(path) {
            Ok(found) if found == text => return Ok(()),
            Ok(found) => {
                let state = self.state();
                if found != state.in_force.kept.text {
                    let why = state.not_in_force.as_ref().map_or_else(
                        || "was edited and is not what is in force".to_owned(),
                        |why| format!("is not what is in force ({why})"),
                    );
                    return Err(conflict(why));
                }
            }
            Err(FileProblem::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(conflict(format!("cannot be read: {error}"))),
        }
        files::replace(path, text.as_bytes(), Some(path))
            .map_err(|error| conflict(format!("cannot be written: {error}")))
    }

    /// Brings a planned candidate into force. Kept and recorded before the pointer is
    /// stored; what fails before that changes nothing.
    pub(super) fn commit(
        &self,
        planned: Planned,
        order: &Order,
        duty: FileDuty,
        number: Option<u64>,
    ) -> Result<u64, PolicyRefusal> {
        let Planned {
            ready, plan, usual, ..
        } = planned;
        let following = self.following(&ready.config)?;
        let now = self.clock.now();
        let (generation, previous) = {
            let mut state = self.state();
            let generation = number.unwrap_or_else(|| state.next_generation());
            (generation, state.in_force.kept.clone())
        };
        let digest = ready.set.digest();
        let kept = Kept {
            generation,
            digest,
            at: now,
            source: order.source,
            text: ready.text,
            modules: modules_of(&ready.set.core, Some(&previous), generation, now),
        };
        let set = self.host.ready(&ready.set, generation);
        self.generations
            .write_pending(&kept, &ready.set.core)
            .map_err(|error| PolicyRefusal::Unavailable(error.to_string()))?;
        if duty == FileDuty::Write
            && let Err(refusal) = self.write_file(&kept.text)
        {
            self.generations.discard(generation);
            return Err(refusal);
        }
        let event = Event::PolicyChanged(PolicyChange {
            generation,
            digest,
            source: order.source,
            rollout: Rollout::Full,
            confirmed_by: order.confirmed_by.clone(),
            reason: order.reason.clone(),
            plan,
        });
        if let Err(error) = self.record(&order.by, event) {
            let path = &self.places.policy_file;
            if duty == FileDuty::Write
                && let Err(error) = files::replace(path, previous.text.as_bytes(), Some(path))
            {
                tracing::error!(%error, "policy.toml could not be put back");
            }
            self.generations.discard(generation);
            return Err(PolicyRefusal::Unavailable(format!(
                "the change cannot be recorded, so it does not happen: {error}"
            )));
        }
        if let Err(error) = self.generations.finish(generation) {
            // It is on disk and recorded: the next start finishes it.
            tracing::error!(%error, "a generation that is in force is still marked as pending");
        }
        following();
        let retired = self.host.put_in_force(set, None);
        let mut state = self.state();
        let watch = ready.config.rollout.watch;
        let until = chrono::Duration::from_std(watch)
            .ok()
            .map(|watch| now + watch);
        state.watched = match (order.source, until) {
            (ChangeSource::Return, _) | (_, None) => None,
            (_, Some(until)) if until > now => Some(Watched {
                generation,
                previous,
                until,
                conduct: Conduct::default(),
                usual,
            }),
            _ => None,
        };
        state.file_seen = match duty {
            FileDuty::Write => Some(Digest::of(kept.text.as_bytes())),
            FileDuty::Leave => state.file_seen,
        };
        state.not_in_force = None;
        state.history.insert(0, kept.clone());
        state.in_force = InForce {
            config: ready.config,
            kept,
        };
        state.trial = None;
        state.conduct = Conduct::default();
        state.retired.extend(retired);
        drop(state);
        self.keep_observed();
        self.withdraw_stale();
        self.generations.thin_out();
        tracing::info!(generation, source = ?order.source, by = %order.by, "policies changed");
        Ok(generation)
    }

    /// Puts a planned candidate on trial.
    pub(super) fn try_out(
        &self,
        planned: Planned,
        rollout: Rollout,
        order: &Order,
    ) -> Result<ChangeOutcome, PolicyRefusal> {
        let generation = self.state().next_generation();
        let Planned { ready, plan, .. } = planned;
        self.generations
            .keep_modules(&ready.set.core)
            .map_err(|error| PolicyRefusal::Unavailable(error.to_string()))?;
        let set = self.host.apart(&ready.set, generation);
        let event = Event::PolicyChanged(PolicyChange {
            generation,
            digest: ready.set.digest(),
            source: order.source,
            rollout,
            confirmed_by: order.confirmed_by.clone(),
            reason: order.reason.clone(),
            plan: plan.clone(),
        });
        self.record(&order.by, event).map_err(|error| {
            PolicyRefusal::Unavailable(format!(
                "the change cannot be recorded, so it does not happen: {error}"
            ))
        })?;
        let mut trial = Trial::new(
            Arc::clone(&set),
            ready.text,
            rollout,
            order.by.clone(),
            self.clock.now(),
        );
        trial.confirmed_by.clone_from(&order.confirmed_by);
        self.state().trial = Some(trial);
        self.begin_canary(set, rollout);
        self.keep_observed();
        Ok(ChangeOutcome::OnTrial {
            generation,
            rollout,
            plan: Box::new(plan),
        })
    }

    /// Ends the trial; what is in force stays. Call with the change lock held.
    pub(super) fn drop_trial(&self, order: &Order) -> Result<(), PolicyRefusal> {
        let (kept, plan) = {
            let state = self.state();
            (state.in_force.kept.clone(), PolicyPlan::default())
        };
        let event = Event::PolicyChanged(PolicyChange {
            generation: kept.generation,
            digest: kept.digest,
            source: order.source,
            rollout: Rollout::Full,
            confirmed_by: None,
            reason: order.reason.clone(),
            plan,
        });
        // A trial must end even when that cannot be recorded, if it misbehaves.
        let recorded = self.record(&order.by, event);
        if order.source != ChangeSource::Return {
            recorded.map_err(PolicyRefusal::Unavailable)?;
        } else if let Err(error) = recorded {
            tracing::error!(%error, "the end of a trial could not be recorded");
        }
        let retired = self.host.put_in_force(self.host.active(), None);
        let mut state = self.state();
        state.retired.extend(retired);
        state.trial = None;
        drop(state);
        self.keep_observed();
        Ok(())
    }

    /// Deals with what `policy.toml` says now, once for each content.
    pub(super) fn look_at_file(&self) {
        let _changing = self.changing.take();
        let text = match files::read_text(&self.places.policy_file) {
            Ok(text) => text,
            Err(error) => {
                let digest = Digest::of(error.to_string().as_bytes());
                self.refuse_file(digest, &error.to_string());
                return;
            }
        };
        let digest = Digest::of(text.as_bytes());
        {
            let mut state = self.state();
            if state.file_seen == Some(digest) {
                return;
            }
            if text == state.in_force.kept.text {
                state.file_seen = Some(digest);
                state.not_in_force = None;
                return;
            }
        }
        if let Err(refusal) = self.take_file(text, digest) {
            self.refuse_file(digest, &refusal.to_string());
        }
    }

    fn refuse_file(&self, digest: Digest, why: &str) {
        {
            let mut state = self.state();
            if state.file_seen == Some(digest) {
                return;
            }
            state.file_seen = Some(digest);
            state.not_in_force = Some(why.to_owned());
        }
        tracing::error!(%why, "policy.toml is not in force; what was in force stays");
        let refused = Event::PolicyRefused {
            source: ChangeSource::File,
            reason: why.to_owned(),
        };
        self.note(&Actor::Operator, refused);
    }

    fn take_file(&self, text: String, digest: Digest) -> Result<(), PolicyRefusal> {
        let planned = self.planned(self.read(text, None)?, None, REPLAYED)?;
        if self.is_unchanged(&planned) {
            self.reword(&planned.ready.text, FileDuty::Leave)?;
            return Ok(());
        }
        let order = Order {
            source: ChangeSource::File,
            by: Actor::Operator,
            confirmed_by: None,
            reason: "policy.toml was edited".to_owned(),
        };
        if self.one_word_is_enough(&planned) {
            self.commit(planned, &order, FileDuty::Leave, None)?;
            self.state().file_seen = Some(digest);
            return Ok(());
        }
        let text = planned.ready.text.clone();
        let outcome = self.propose(planned, Rollout::Full, &order)?;
        if let ChangeOutcome::Proposed {
            proposal,
            generation,
            ..
        } = outcome
        {
            let mut state = self.state();
            state.file_seen = Some(Digest::of(text.as_bytes()));
            state.not_in_force = Some(format!(
                "it waits for a second admin as proposal {proposal}; generation {generation} is in force"
            ));
        }
        Ok(())
    }

    /// After the start: what waits for a second admin becomes a proposal.
    pub(super) fn look_at_file_again(&self) {
        let usable = {
            let state = self.state();
            let on_disk = files::read_text(&self.places.policy_file).ok();
            on_disk.filter(|text| *text != state.in_force.kept.text)
        };
        let Some(text) = usable else { return };
        // What cannot be used was refused, and recorded, by the start.
        if self.read(text.clone(), None).is_err() {
            return;
        }
        let waits = {
            let mut state = self.state();
            state.file_seen = None;
            let mut open = state.proposals.values();
            open.find(|open| open.text == text)
                .map(|open| open.proposal.number)
        };
        match waits {
            Some(number) => {
                let mut state = self.state();
                let generation = state.in_force.kept.generation;
                state.file_seen = Some(Digest::of(text.as_bytes()));
                state.not_in_force = Some(format!(
                    "it waits for a second admin as proposal {number}; generation {generation} is in force"
                ));
            }
            None => self.look_at_file(),
        }
    }
}
