//! Snapshots, run worktrees, heal and rollback commits: the only crate that names
//! git2.
//!
//! - A **snapshot** records the live tree, dirty and untracked files included, under
//!   `refs/selfheal/snapshot/<issue>/<run>`, through an index of our own: the user's
//!   index, `HEAD`, branches and stash stay byte for byte what they were.
//! - A **run's worktree** is its branch `selfheal/issue-<n>/run-<k>` plus a directory
//!   that becomes the upper layer of an overlay over the live tree. No linked worktree
//!   is registered with git: there is nothing that could be left behind.
//! - **Applying** computes everything, writes down how to undo it, and then replaces
//!   files one by one, moves the branch by compare-and-swap, and swaps the index. The
//!   patch is carried over to the live file, to the branch's version and to the staged
//!   version separately, so uncommitted work stays exactly as uncommitted as it was.
//!   A file that git did not know is committed as the patch leaves it.
//! - **Rolling back** is a new commit; it works from any point an apply can have
//!   reached, and twice does what once does. Work that somebody did since is kept.
//! - **Bisecting** hands one earlier tree after the other to its caller, as a patch
//!   against the live tree: nothing is checked out.
//! - **Every commit is signed** by the installation's key ([`CommitKey`]), and names the
//!   log as it was: [`MachineHistory`] and [`LogWitness`] let each vouch for the other.
//! - A hostile repository gets nothing run: libgit2 knows no hooks, fsmonitor, external
//!   filters, diff or merge drivers. Paths are walked without following links.
//!
//! What cannot be handled exactly is refused with its reason: see
//! [`discover`] and [`RepositoryError::Unsupported`](selfheal_domain::ports::RepositoryError).

mod apply;
mod attributes;
mod bisect;
mod fail;
mod hardened;
mod history;
mod index;
mod layer;
mod live;
mod lock;
mod merge;
mod message;
mod objects;
mod oneshot;
mod plan;
mod repository;
mod rollback;
mod signing;
mod snapshot;
mod sweep;
mod texts;
mod tracked;
mod vouch;

#[cfg(test)]
mod tests;

pub use hardened::{Discovered, discover};
pub use message::{CommitSigner, MachineIdentity};
pub use oneshot::{heal_commit_now, is_dirty};
pub use repository::GitRepository;
pub use signing::{
    BadPublicKey, CommitKey, CommitKeyError, CommitPublicKey, SignatureFlaw, verify_signature,
};
pub use snapshot::{LARGEST_UNTRACKED, MOST_UNTRACKED};
pub use vouch::{HistoryReport, LogWitness, MachineHistory, Mismatch, MismatchKind};
