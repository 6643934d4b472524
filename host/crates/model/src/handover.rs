//! What a model leaves to the one that stands in for it, when its provider gives no more
//! answers in the middle of a diagnosis: the conversation goes on where it was, on what is
//! left of the budgets.
//!
//! A diagnosis only: it has changed nothing, so what was said is all there is. Drafting
//! begins anew in a fresh worktree, because a patch is the work of one agent.
//!
//! Kept in memory, for the moment that a room needs to ask the next agent. Where nobody
//! takes it up in time (the host was killed, the built-in engine is next) it is gone, and
//! the next model begins at the beginning.

use crate::compaction::block_size;
use crate::conversation::Message;
use crate::limits::Before;
use crate::prompt::Red;
use crate::stall::Stall;
use selfheal_domain::ids::RunRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long it is kept. The next agent is asked at once; a run that is diagnosed later
/// meets another tree.
const KEPT: Duration = Duration::from_secs(60);
/// Largest conversation that is kept, in bytes: more than the windows of usual models.
const LARGEST: usize = 16 * 1024 * 1024;

/// Where models of one list leave what they were at. Clones are the same place.
#[derive(Clone, Default)]
pub struct Handover(Arc<Mutex<HashMap<RunRef, Left>>>);

impl std::fmt::Debug for Handover {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Handover")
    }
}

/// A diagnosis, half done.
pub(crate) struct Left {
    /// Who did that half.
    pub(crate) by: String,
    /// Its marks around texts that are data.
    pub(crate) fence: Uuid,
    /// The check that failed when it began.
    pub(crate) red: Option<Red>,
    pub(crate) talk: Kept,
    pub(crate) before: Before,
    /// Wall-clock time that was left when it asked for the answer that it did not get:
    /// what waiting cost is not the next one's.
    pub(crate) time: Duration,
    pub(crate) at: Instant,
}

/// A conversation without those who have it.
pub(crate) struct Kept {
    pub(crate) messages: Vec<Message>,
    pub(crate) turns: u32,
    pub(crate) stall: Stall,
    pub(crate) wrong: u32,
    pub(crate) reminders: u32,
    pub(crate) compactions: u32,
}

impl Handover {
    fn kept(&self) -> MutexGuard<'_, HashMap<RunRef, Left>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, left| left.at.elapsed() < KEPT);
        kept
    }

    pub(crate) fn leave(&self, run: RunRef, left: Left) {
        let blocks = left.talk.messages.iter().flat_map(|said| &said.blocks);
        if blocks.map(block_size).sum::<usize>() <= LARGEST {
            self.kept().insert(run, left);
        }
    }

    pub(crate) fn take(&self, run: RunRef) -> Option<Left> {
        self.kept().remove(&run)
    }
}
