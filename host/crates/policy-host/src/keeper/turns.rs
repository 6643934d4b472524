//! One change at a time.

use super::lock;
use std::sync::{Mutex, MutexGuard};
use std::thread::ThreadId;

/// The turn to change the policies. Whoever has it may take it again, so that what was
/// looked at under it can be acted on under it.
#[derive(Default)]
pub(super) struct Turns {
    turn: Mutex<()>,
    /// The thread that has it.
    holder: Mutex<Option<ThreadId>>,
}

/// The turn, until it is dropped; nothing where this thread had it already.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    held: Option<MutexGuard<'a, ()>>,
}

impl Turns {
    /// Waits for the turn.
    pub(super) fn take(&self) -> Turn<'_> {
        let me = std::thread::current().id();
        // Nobody but this thread can put its own id there, or take it away.
        let mine = *lock(&self.holder) == Some(me);
        if mine {
            return Turn {
                turns: self,
                held: None,
            };
        }
        let held = lock(&self.turn);
        *lock(&self.holder) = Some(me);
        Turn {
            turns: self,
            held: Some(held),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Before the lock itself goes, which is after this.
        if self.held.is_some() {
            *lock(&self.turns.holder) = None;
        }
    }
}
