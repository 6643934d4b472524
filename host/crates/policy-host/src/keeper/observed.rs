//! What is under observation, kept in the data directory, so that a restart goes on
//! with a trial and with watching a generation that came into force a moment ago. What
//! was counted so far begins anew: counts belong to one process.
//!
//! The file says what was tried; the log has to say so too, or it is not tried any more.

use super::PolicyKeeper;
use super::start::ready;
use super::state::Watched;
use crate::files;
use crate::generations::{Kept, modules_of};
use crate::host::Canary;
use crate::set::ActiveSet;
use crate::trial::{Conduct, Trial};
use chrono::{DateTime, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy_control::{ChangeSource, Rollout};
use selfheal_domain::user::Actor;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Observed {
    /// Highest number given out: one of a trial is in no kept generation.
    #[serde(default)]
    pub(super) last_generation: u64,
    #[serde(default)]
    trial: Option<KeptTrial>,
    #[serde(default)]
    watched: Option<KeptWatch>,
}

/// A candidate on trial; its modules' bytes are where those of generations are.
#[derive(Clone, Serialize, Deserialize)]
struct KeptTrial {
    kept: Kept,
    rollout: Rollout,
    by: Actor,
    confirmed_by: Option<Actor>,
}

/// A generation that may still be taken back.
#[derive(Clone, Serialize, Deserialize)]
struct KeptWatch {
    generation: u64,
    /// The one to go back to.
    previous: u64,
    until: DateTime<Utc>,
    usual: Option<f64>,
}

fn path(data: &Path) -> PathBuf {
    data.join("policies/observed.json")
}

impl Observed {
    /// What an earlier process left; nothing where it cannot be read.
    pub(super) fn read(data: &Path) -> Self {
        let read = files::read(&path(data)).ok();
        read.and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }
}

impl PolicyKeeper {
    /// Writes what is under observation now. Where that fails a restart forgets it,
    /// which the log says then.
    pub(super) fn keep_observed(&self) {
        let observed = {
            let state = self.state();
            let trial = state.trial.as_ref().map(|trial| {
                let (set, since) = (&trial.set, trial.since);
                KeptTrial {
                    kept: Kept {
                        generation: set.generation,
                        digest: set.core.digest,
                        at: since,
                        source: ChangeSource::Api,
                        text: trial.text.clone(),
                        modules: modules_of(&set.core, None, set.generation, since),
                    },
                    rollout: trial.rollout,
                    by: trial.by.clone(),
                    confirmed_by: trial.confirmed_by.clone(),
                }
            });
            let watched = state.watched.as_ref().map(|watched| KeptWatch {
                generation: watched.generation,
                previous: watched.previous.generation,
                until: watched.until,
                usual: watched.usual,
            });
            Observed {
                last_generation: state.last_generation,
                trial,
                watched,
            }
        };
        let kept = serde_json::to_vec_pretty(&observed)
            .map_err(|error| error.to_string())
            .and_then(|json| {
                files::replace(&path(&self.places.data), &json, None)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = kept {
            tracing::error!(%error, "a restart will not know what is under observation");
        }
    }

    /// Goes on with what an earlier process observed, as far as the log vouches for it:
    /// `tried` is the generation that the last recorded change put on trial, with its
    /// digest and rollout.
    pub(super) fn observe_again(&self, tried: Option<&(u64, Digest, Rollout)>) {
        let observed = Observed::read(&self.places.data);
        let now = self.clock.now();
        if let Some(watch) = observed.watched {
            let mut state = self.state();
            let mut history = state.history.iter();
            let previous = history.find(|kept| kept.generation == watch.previous);
            if let Some(previous) = previous.cloned()
                && state.in_force.kept.generation == watch.generation
                && watch.until > now
            {
                state.watched = Some(Watched {
                    generation: watch.generation,
                    previous,
                    until: watch.until,
                    conduct: Conduct::default(),
                    usual: watch.usual,
                });
            }
        }
        let Some(trial) = observed.trial else { return };
        let kept = &trial.kept;
        if tried != Some(&(kept.generation, kept.digest, trial.rollout)) {
            return;
        }
        let from = Some((kept, self.generations.modules()));
        let set = match ready(&self.host, &self.places, kept.text.clone(), from) {
            Ok(ready) if ready.set.digest() == kept.digest => ready.set,
            Ok(_) => return,
            Err(error) => {
                tracing::error!(generation = kept.generation, %error, "what was on trial cannot be tried any more");
                return;
            }
        };
        let set = self.host.apart(&set, kept.generation);
        let text = kept.text.clone();
        let mut again = Trial::new(Arc::clone(&set), text, trial.rollout, trial.by, kept.at);
        again.confirmed_by = trial.confirmed_by;
        self.state().trial = Some(again);
        self.begin_canary(set, trial.rollout);
    }

    /// Lets a trial decide for its share of the runs, where it has one.
    pub(super) fn begin_canary(&self, set: Arc<ActiveSet>, rollout: Rollout) {
        if let Rollout::Canary { percent } = rollout {
            let canary = Canary {
                set,
                percent,
                older: Arc::new(self.host.history().runs()),
            };
            drop(self.host.put_in_force(self.host.active(), Some(canary)));
        }
    }
}
