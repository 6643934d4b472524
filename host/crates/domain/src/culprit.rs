//! Which commit broke it: what a search by bisection is asked, and what it answers.
//!
//! The search tries trees of earlier commits and asks its caller, each time, whether
//! the reproduction still fails there. A tree is handed over as a patch against the
//! live tree, so that it can be run like any other patch: on a throw-away layer, in the
//! sandbox, without a checkout.

use crate::ids::CommitId;
use crate::patch::Patch;
use crate::ports::{CancelToken, Snapshot};

/// What the reproduction says of one tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeState {
    /// It fails there as it does on the live tree.
    Broken,
    /// It passes there.
    Works,
    /// It says nothing there: it could not run, timed out, or failed in another way.
    Unclear,
}

/// What to search, and how far.
pub struct CulpritSearch<'a> {
    /// The live tree as the run began; the reproduction fails there.
    pub snapshot: &'a Snapshot,
    /// A commit on which it worked, if one is known; else one is looked for backwards,
    /// in growing steps.
    pub known_good: Option<CommitId>,
    /// Paths that stay as they are in the live tree whichever commit is tried, and in
    /// the revert: the reproduction, and tests, which did not exist back then.
    pub held: &'a dyn Fn(&str) -> bool,
    /// How many trees are tried at most.
    pub most_trials: usize,
    /// Ends the search before the next trial.
    pub cancel: &'a CancelToken,
}

impl std::fmt::Debug for CulpritSearch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CulpritSearch")
            .field("snapshot", &self.snapshot)
            .field("known_good", &self.known_good)
            .field("most_trials", &self.most_trials)
            .finish_non_exhaustive()
    }
}

/// Asked for each tree: the commit, and what makes the live tree that commit's: files
/// only, the patch has no diff to read.
pub type TreeJudge<'a> = dyn FnMut(&CommitId, &Patch) -> TreeState + 'a;

/// What a search found.
#[derive(Clone, PartialEq, Debug)]
pub enum CulpritFinding {
    /// A commit that broke it.
    Found(Culprit),
    /// The branch as it is committed works: what is not committed broke it.
    Uncommitted,
    /// Nothing, and why: no commit that works, too many trials, trees that say nothing.
    NotFound(String),
    /// Somebody ended the search.
    Cancelled,
}

/// The commit that broke it: the reproduction fails on it and passes on the commit
/// before it. Of a merge, "before" is the branch that was merged into.
#[derive(Clone, PartialEq, Debug)]
pub struct Culprit {
    /// The commit.
    pub commit: CommitId,
    /// The first line of its message: text of its author, of no more trust than that.
    pub subject: String,
    /// The commit before it, on which the reproduction passes.
    pub before: CommitId,
    /// Older commits that could not be judged, any of which may be the culprit
    /// instead; empty when there is no doubt.
    pub suspects: Vec<CommitId>,
    /// Paths whose change could not be taken back in the trees that were tried, because
    /// a patch holds no such thing: binary files, links, submodules, modes.
    pub left_out: Vec<String>,
    /// Commits made after it, the live branch's last one included.
    pub commits_since: usize,
    /// How many trees were tried.
    pub trials: usize,
    /// What takes it back.
    pub revert: Revert,
}

/// Taking a commit back on the live tree of today.
#[derive(Clone, PartialEq, Debug)]
pub enum Revert {
    /// This patch does it; later work on the same files is kept.
    Clean(Patch),
    /// It cannot be taken back by itself: later work stands in the way, or the commit
    /// changed what a patch cannot hold. One sentence per path.
    Conflict(Vec<String>),
}
