//! Permits: receipts of durably recorded intents. An effect takes one by value,
//! so it can neither happen before its record nor twice on one record.
//!
//! Only [`crate::ledger::Ledger`] makes them. This stops mistakes, not hostile
//! code inside the host.

use crate::ids::RunRef;
use std::marker::PhantomData;

/// May let an agent read.
#[derive(Debug)]
pub enum Diagnose {}
/// May let an agent write in its worktree.
#[derive(Debug)]
pub enum DraftPatch {}
/// May change the live tree.
#[derive(Debug)]
pub enum Apply {}
/// May undo a heal commit.
#[derive(Debug)]
pub enum Rollback {}

/// Proof that the intent to do `Act` for one run is on disk. Neither `Clone` nor
/// constructible elsewhere.
#[derive(Debug)]
#[must_use = "a permit that is not used means that a recorded intent has no effect"]
pub struct Permit<Act> {
    run: RunRef,
    record: u64,
    act: PhantomData<Act>,
}

impl<Act> Permit<Act> {
    pub(crate) fn issue(run: RunRef, record: u64) -> Self {
        Self {
            run,
            record,
            act: PhantomData,
        }
    }

    /// The run it is for.
    pub fn run(&self) -> RunRef {
        self.run
    }

    /// Position of the recorded intent in the audit log.
    pub fn record(&self) -> u64 {
        self.record
    }
}
