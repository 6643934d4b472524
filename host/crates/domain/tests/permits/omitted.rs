//! The repository takes no order without a permit.

use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CommitMessage, Repository, Snapshot};

fn effect(repository: &dyn Repository, snapshot: &Snapshot, patch: &Patch, message: &CommitMessage) {
    let _ = repository.apply(snapshot, patch, message);
}

fn main() {}
