//! [`GitRepository`]: the application's repository over libgit2.

use crate::attributes::Attributes;
use crate::fail::failed;
use crate::hardened::{self, canonical, refuse_unsettled, root_of, unsupported};
use crate::layer;
use crate::live::LiveTree;
use crate::lock::RepositoryLock;
use crate::message::{CommitSigner, Committer, Kind, MachineIdentity, compose, is_of, trailers};
use crate::objects::{TreeEdit, edited_tree, file_in, store, workshop};
use crate::snapshot::ShadowIndex;
use crate::texts;
use crate::tracked::TrackedFiles;
use git2::{Commit, ErrorCode, FileMode, Oid, Repository as Git, Tree};
use selfheal_domain::culprit::{CulpritFinding, CulpritSearch, TreeJudge};
use selfheal_domain::ids::{CommitId, RunRef};
use selfheal_domain::patch::Patch;
use selfheal_domain::permit::{Apply, DraftPatch, Permit, Rollback};
use selfheal_domain::ports::{
    Applied, Clock, CommitMessage, Coverage, Fit, ReadLimits, Repository, RepositoryError,
    RunWorktree, Snapshot,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The application's repository. One per repository and process: its mutex keeps
/// git's metadata from being changed twice at once.
pub struct GitRepository {
    pub(crate) root: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// The git directory that all worktrees share.
    common_dir: PathBuf,
    pub(crate) committer: Committer,
    off_limits: Vec<PathBuf>,
    shadow: ShadowIndex,
    tracked: TrackedFiles,
    serial: Mutex<()>,
    #[cfg(test)]
    pub(crate) crash_at: Mutex<Option<usize>>,
}

/// Nobody else of ours works in the repository meanwhile.
pub(crate) struct Turn<'r> {
    // Given up first, so that the next thread of this process finds it free.
    _lock: RepositoryLock,
    _turn: MutexGuard<'r, ()>,
}

impl std::fmt::Debug for GitRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitRepository")
            .field("root", &self.root)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

impl GitRepository {
    /// Opens the repository that contains `root`. `state_dir` (made if missing) is the
    /// host's own: it holds the runs' layers, the index of snapshots and the plans of
    /// applies, and is never part of a snapshot or a patch, wherever it lies.
    ///
    /// # Errors
    /// [`RepositoryError::Unsupported`] names what is in the way, see
    /// [`discover`](crate::discover).
    pub fn open(
        root: &Path,
        state_dir: &Path,
        identity: MachineIdentity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RepositoryError> {
        let repo = hardened::open(root)?;
        std::fs::create_dir_all(state_dir).map_err(failed("making the state directory"))?;
        let state_dir = canonical(state_dir)?;
        let root = root_of(&repo)?;
        let common_dir = canonical(repo.commondir())?;
        crate::sweep::sweep(&common_dir, &state_dir);
        let off_limits = vec![
            state_dir.clone(),
            canonical(repo.path())?,
            common_dir.clone(),
        ];
        Ok(Self {
            common_dir,
            shadow: ShadowIndex::new(&state_dir),
            tracked: TrackedFiles::new(repo.path().join("index")),
            committer: Committer {
                identity,
                clock,
                signer: None,
            },
            serial: Mutex::new(()),
            #[cfg(test)]
            crash_at: Mutex::new(None),
            root,
            state_dir,
            off_limits,
        })
    }

    /// Signs every commit from now on.
    #[must_use]
    pub fn with_signer(mut self, signer: Arc<dyn CommitSigner>) -> Self {
        self.committer.signer = Some(signer);
        self
    }

    /// Keeps another directory of the host's (journal, keys) out of snapshots and
    /// patches, if it lies in the live tree.
    ///
    /// # Errors
    /// It does not exist.
    pub fn with_private_directory(mut self, path: &Path) -> Result<Self, RepositoryError> {
        self.off_limits.push(canonical(path)?);
        Ok(self)
    }

    /// Whether `path` (relative to the root, with `/`) is in the index. Cheap: the list
    /// is kept until the index changes.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn is_tracked(&self, path: &str) -> Result<bool, RepositoryError> {
        Ok(self.tracked.list()?.contains(path))
    }

    /// Every path in the index, relative to the root, with `/`; names that are not
    /// UTF-8 are left out.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list_tracked(&self) -> Result<Arc<std::collections::BTreeSet<String>>, RepositoryError> {
        self.tracked.list()
    }

    /// This process's turn, and then this process's lock.
    pub(crate) fn serial(&self) -> Result<Turn<'_>, RepositoryError> {
        // What a panic left half done is on disk and judged there.
        let turn = self.serial.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Turn {
            _lock: RepositoryLock::acquire(&self.common_dir)?,
            _turn: turn,
        })
    }

    pub(crate) fn open_git(&self) -> Result<Git, RepositoryError> {
        let repo = hardened::open_again(&self.root)?;
        if root_of(&repo)? != self.root {
            return Err(unsupported("its root moved since the host started"));
        }
        Ok(repo)
    }

    pub(crate) fn live(&self) -> Result<LiveTree, RepositoryError> {
        LiveTree::open(&self.root, self.off_limits())
    }

    fn off_limits(&self) -> Vec<String> {
        self.off_limits
            .iter()
            .filter_map(|path| path.strip_prefix(&self.root).ok())
            .filter_map(|path| path.to_str())
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A place where a test may end the world.
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "only tests crash on purpose")
    )]
    pub(crate) fn step(&self) {
        #[cfg(test)]
        {
            let mut left = self.crash_at.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(steps) = left.as_mut() {
                if *steps == 0 {
                    *left = None;
                    drop(left);
                    std::panic::resume_unwind(Box::new("crash"));
                }
                *steps -= 1;
            }
        }
    }

    /// The snapshot commit, if it is this run's.
    pub(crate) fn snapshot_of<'r>(
        &self,
        repo: &'r Git,
        run: RunRef,
        id: &CommitId,
    ) -> Result<Commit<'r>, RepositoryError> {
        let commit = find_commit(repo, id)?;
        if is_of(commit.message().unwrap_or_default(), run, Kind::Snapshot) {
            Ok(commit)
        } else {
            Err(RepositoryError::WrongPermit)
        }
    }

    pub(crate) fn snapshot_run(
        &self,
        run: RunRef,
        message: &CommitMessage,
    ) -> Result<Snapshot, RepositoryError> {
        let _serial = self.serial()?;
        let repo = self.open_git()?;
        let branch = refuse_unsettled(&repo)?;
        let base = hardened::tip(&repo, &branch)?;
        let parent = repo
            .find_commit(base)
            .map_err(failed("reading the live branch"))?;
        let base_tree = parent.tree().map_err(failed("reading the live branch"))?;
        let memory = workshop(&repo)?;
        let tree = self
            .shadow
            .record(&memory, &self.root, &self.off_limits())?;
        let dirty = tree != base_tree.id();
        let name = run.snapshot_ref();
        let commit = match self.standing_snapshot(&repo, run, tree, base) {
            Some(commit) => commit,
            None => {
                let tree = memory
                    .find_tree(tree)
                    .map_err(failed("reading the snapshot"))?;
                let text = compose(message, Some(run), Kind::Snapshot, &[]);
                let parents = memory
                    .find_commit(base)
                    .map_err(failed("reading the live branch"))?;
                let commit = self.committer.commit(&memory, &text, &tree, &[&parents])?;
                store(&memory, &repo, commit, Some(&base_tree), &[])?;
                self.step();
                point(&repo, &name, commit, "selfheal: snapshot")?;
                commit
            }
        };
        Ok(Snapshot {
            commit: CommitId(commit.to_string()),
            base: CommitId(base.to_string()),
            branch,
            dirty,
        })
    }

    /// The snapshot that an interrupted try of the same run made of the same tree.
    fn standing_snapshot(&self, repo: &Git, run: RunRef, tree: Oid, base: Oid) -> Option<Oid> {
        let commit = repo
            .find_reference(&run.snapshot_ref())
            .and_then(|reference| reference.peel_to_commit())
            .ok()?;
        let same = commit.tree_id() == tree
            && commit.parent_ids().eq([base])
            && is_of(commit.message().unwrap_or_default(), run, Kind::Snapshot);
        same.then(|| commit.id())
    }

    pub(crate) fn open_layer(
        &self,
        run: RunRef,
        snapshot: &CommitId,
    ) -> Result<RunWorktree, RepositoryError> {
        let _serial = self.serial()?;
        let repo = self.open_git()?;
        let snapshot = self.snapshot_of(&repo, run, snapshot)?;
        let name = format!("refs/heads/{}", run.branch());
        let standing = repo
            .find_reference(&name)
            .and_then(|reference| reference.peel_to_commit());
        let reusable = match &standing {
            Ok(tip) => {
                tip.id() == snapshot.id()
                    || (is_of(tip.message().unwrap_or_default(), run, Kind::Draft)
                        && repo
                            .graph_descendant_of(tip.id(), snapshot.id())
                            .unwrap_or(false))
            }
            Err(_) => false,
        };
        if !reusable {
            point(&repo, &name, snapshot.id(), "selfheal: run begins")?;
        }
        layer::make(&self.state_dir, run)
    }

    pub(crate) fn commit_draft_run(
        &self,
        run: RunRef,
        snapshot: &CommitId,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<CommitId, RepositoryError> {
        let _serial = self.serial()?;
        let repo = self.open_git()?;
        let snapshot = self.snapshot_of(&repo, run, snapshot)?;
        let base = snapshot.tree().map_err(failed("reading the snapshot"))?;
        let live = self.live()?;
        let memory = workshop(&repo)?;
        let edits = draft_edits(&live, &repo, &base, patch)?;
        let tree = edited_tree(&memory, &base, &edits)?;
        let name = format!("refs/heads/{}", run.branch());
        let tip = repo
            .find_reference(&name)
            .and_then(|reference| reference.peel_to_commit())
            .map_err(failed(format!("reading branch {}", run.branch())))?;
        let parent = memory
            .find_commit(tip.id())
            .map_err(failed("reading the run's branch"))?;
        let tree = memory
            .find_tree(tree)
            .map_err(failed("building the draft"))?;
        let text = compose(message, Some(run), Kind::Draft, &[]);
        let commit = self.committer.commit(&memory, &text, &tree, &[&parent])?;
        store(&memory, &repo, commit, Some(&base), &[])?;
        self.step();
        advance(&repo, &name, tip.id(), commit, "selfheal: draft")?;
        Ok(CommitId(commit.to_string()))
    }

    fn check_fits_now(&self, snapshot: &Snapshot, patch: &Patch) -> Result<Fit, RepositoryError> {
        let repo = self.open_git()?;
        let branch = refuse_unsettled(&repo)?;
        same_branch(&branch, snapshot)?;
        let commit = find_commit(&repo, &snapshot.commit)?;
        let tree = commit.tree().map_err(failed("reading the snapshot"))?;
        let live = self.live()?;
        draft_edits(&live, &repo, &tree, patch)?;
        crate::apply::fit(&repo, &live, &branch, patch)
    }

    fn rehearse(&self, snapshot: &Snapshot, patch: &Patch) -> Result<(), RepositoryError> {
        let repo = self.open_git()?;
        let branch = refuse_unsettled(&repo)?;
        same_branch(&branch, snapshot)?;
        let commit = find_commit(&repo, &snapshot.commit)?;
        let base = commit.tree().map_err(failed("reading the snapshot"))?;
        let live = self.live()?;
        // Objects made here stay in this memory: nothing is stored.
        let memory = workshop(&repo)?;
        let forth = draft_edits(&live, &repo, &base, patch)?;
        let patched = edited_tree(&memory, &base, &forth)?;
        let patched = memory
            .find_tree(patched)
            .map_err(failed("rehearsing the rollback"))?;
        let mut back = Vec::new();
        for edit in &forth {
            back.push(TreeEdit {
                path: edit.path.clone(),
                file: file_in(&repo, &base, &edit.path)?,
            });
            live.check_writable(&edit.path)?;
        }
        if edited_tree(&memory, &patched, &back)? != base.id() {
            return Err(RepositoryError::Conflict(
                "undoing the patch would not give the tree it was made on".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The patch as edits of the tree it was made on.
pub(crate) fn draft_edits(
    live: &LiveTree,
    repo: &Git,
    base: &Tree<'_>,
    patch: &Patch,
) -> Result<Vec<TreeEdit>, RepositoryError> {
    let attributes = Attributes::of(repo)?;
    let mut edits: Vec<TreeEdit> = Vec::new();
    for file in &patch.files {
        live.check_path(&file.path)?;
        let before = file.before.as_deref().map(str::as_bytes);
        let after = file.after.as_deref().map(str::as_bytes);
        attributes.refuse_conversion(&file.path, &[before, after])?;
        let stands = file_in(repo, base, &file.path)?;
        if stands.as_ref().map(|(content, _)| content.as_slice()) != before {
            return Err(RepositoryError::Conflict(format!(
                "{} is not in the snapshot as the patch says it was",
                file.path
            )));
        }
        if edits.iter().any(|edit| edit.path == file.path) {
            return Err(RepositoryError::Conflict(format!(
                "the patch names {} twice",
                file.path
            )));
        }
        let mode = stands.map_or(FileMode::Blob, |(_, mode)| mode);
        edits.push(TreeEdit {
            path: file.path.clone(),
            file: after.map(|content| (content.to_vec(), mode)),
        });
    }
    Ok(edits)
}

pub(crate) fn same_branch(branch: &str, snapshot: &Snapshot) -> Result<(), RepositoryError> {
    if branch == snapshot.branch {
        Ok(())
    } else {
        Err(RepositoryError::Conflict(format!(
            "the live tree is on branch {branch} now, not on {}",
            snapshot.branch
        )))
    }
}

pub(crate) fn find_commit<'r>(repo: &'r Git, id: &CommitId) -> Result<Commit<'r>, RepositoryError> {
    Oid::from_str(&id.0)
        .and_then(|id| repo.find_commit(id))
        .map_err(failed(format!("reading commit {id}")))
}

/// Moves `name` from `from` to `to`, if it still points there.
pub(crate) fn advance(
    repo: &Git,
    name: &str,
    from: Oid,
    to: Oid,
    log: &str,
) -> Result<(), RepositoryError> {
    match repo.reference_matching(name, to, true, from, log) {
        Ok(_) => Ok(()),
        Err(error) if error.code() == ErrorCode::Modified => {
            Err(RepositoryError::Conflict(format!("{name} moved meanwhile")))
        }
        Err(error) => Err(failed(format!("moving {name}"))(error)),
    }
}

/// Makes one of our refs point to `to`. What it pointed to before (of an earlier
/// installation with the same numbers) stays reachable under `refs/selfheal/superseded/`.
fn point(repo: &Git, name: &str, to: Oid, log: &str) -> Result<(), RepositoryError> {
    match repo.reference(name, to, false, log) {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == ErrorCode::Exists => {}
        Err(error) => {
            return Err(unsupported(format!(
                "{name} cannot be made: {}",
                error.message()
            )));
        }
    }
    let Some(old) = repo
        .find_reference(name)
        .map_err(failed(format!("reading {name}")))?
        .target()
    else {
        return Err(unsupported(format!("{name} is an alias of another ref")));
    };
    if old == to {
        return Ok(());
    }
    repo.reference(&format!("refs/selfheal/superseded/{old}"), old, true, log)
        .map_err(failed(format!("keeping what {name} pointed to")))?;
    advance(repo, name, old, to, log)
}

impl Repository for GitRepository {
    fn root(&self) -> PathBuf {
        self.root.clone()
    }

    fn read_files(
        &self,
        commit: &CommitId,
        limits: ReadLimits,
        wants: &dyn Fn(&str) -> bool,
        read: &mut dyn FnMut(&str, &str),
    ) -> Result<Coverage, RepositoryError> {
        texts::read(&self.open_git()?, commit, limits, wants, read)
    }

    fn trailers(&self, commit: &CommitId) -> Result<Vec<(String, String)>, RepositoryError> {
        let repo = self.open_git()?;
        let commit = find_commit(&repo, commit)?;
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(trailers(&message).map(owned).collect())
    }

    fn snapshot(&self, run: RunRef, message: &CommitMessage) -> Result<Snapshot, RepositoryError> {
        self.snapshot_run(run, message)
    }

    fn open_worktree(
        &self,
        permit: &Permit<DraftPatch>,
        snapshot: &CommitId,
    ) -> Result<RunWorktree, RepositoryError> {
        self.open_layer(permit.run(), snapshot)
    }

    fn commit_draft(
        &self,
        permit: Permit<DraftPatch>,
        snapshot: &CommitId,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<CommitId, RepositoryError> {
        self.commit_draft_run(permit.run(), snapshot, patch, message)
    }

    fn close_worktree(&self, run: RunRef) -> Result<(), RepositoryError> {
        layer::remove(&self.state_dir, run)
    }

    fn check_fits(&self, snapshot: &Snapshot, patch: &Patch) -> Result<Fit, RepositoryError> {
        self.check_fits_now(snapshot, patch)
    }

    fn apply(
        &self,
        permit: Permit<Apply>,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Applied, RepositoryError> {
        self.apply_run(permit.run(), snapshot, patch, message)
    }

    fn roll_back(
        &self,
        permit: Permit<Rollback>,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Option<CommitId>, RepositoryError> {
        self.roll_back_run(permit.run(), snapshot, patch, message)
    }

    fn rehearse_rollback(&self, snapshot: &Snapshot, patch: &Patch) -> Result<(), RepositoryError> {
        self.rehearse(snapshot, patch)
    }

    fn find_culprit(
        &self,
        search: &CulpritSearch<'_>,
        judge: &mut TreeJudge<'_>,
    ) -> Result<CulpritFinding, RepositoryError> {
        self.search_culprit(search, judge)
    }
}
