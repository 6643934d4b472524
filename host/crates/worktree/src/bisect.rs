//! Which commit broke it: bisection over the first-parent history, one tree after the
//! other handed to the caller as a patch against the live tree, and the revert of what
//! was found as a patch too. Nothing is checked out and nothing is written.

use crate::fail::failed;
use crate::history::first_parent;
use crate::live::LiveTree;
use crate::merge::carry;
use crate::message::trailer;
use crate::repository::{GitRepository, find_commit};
use git2::{Delta, DiffOptions, FileMode, Oid, Repository as Git, Tree};
use selfheal_domain::culprit::{
    Culprit, CulpritFinding, CulpritSearch, Revert, TreeJudge, TreeState,
};
use selfheal_domain::digest::Digest;
use selfheal_domain::ids::CommitId;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::RepositoryError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How far back a search goes, in commits.
const FARTHEST: usize = 20_000;
/// Largest file that a tree to try differs in, in bytes; larger ones stay as they are.
const LARGEST_FILE: usize = 4 << 20;
/// How much a tree to try differs in all, in bytes; one that differs more says nothing.
const LARGEST_TREE: usize = 64 << 20;

impl GitRepository {
    pub(crate) fn search_culprit(
        &self,
        search: &CulpritSearch<'_>,
        judge: &mut TreeJudge<'_>,
    ) -> Result<CulpritFinding, RepositoryError> {
        // No lock: everything here is read, and a search may take minutes.
        let repo = self.open_git()?;
        let tree = self.live()?;
        Bisection::new(&repo, &tree, search)?.run(judge)
    }
}

/// What ends a search before it found anything.
enum End {
    NotFound(String),
    Uncommitted,
    Cancelled,
    Failed(RepositoryError),
}

impl From<RepositoryError> for End {
    fn from(error: RepositoryError) -> Self {
        Self::Failed(error)
    }
}

struct Bisection<'r> {
    repo: &'r Git,
    /// Says which paths are plain ones: history can hold any.
    paths: &'r LiveTree,
    search: &'r CulpritSearch<'r>,
    live: Tree<'r>,
    base: Tree<'r>,
    /// First-parent history, the base first, as far as it was looked at.
    line: Vec<Oid>,
    states: BTreeMap<usize, TreeState>,
    left_out: BTreeSet<String>,
    trials: usize,
}

impl<'r> Bisection<'r> {
    fn new(
        repo: &'r Git,
        paths: &'r LiveTree,
        search: &'r CulpritSearch<'r>,
    ) -> Result<Self, RepositoryError> {
        let doing = "reading the snapshot";
        let snapshot = find_commit(repo, &search.snapshot.commit)?;
        let base = find_commit(repo, &search.snapshot.base)?;
        Ok(Self {
            live: snapshot.tree().map_err(failed(doing))?,
            base: base.tree().map_err(failed(doing))?,
            line: vec![base.id()],
            states: BTreeMap::new(),
            left_out: BTreeSet::new(),
            trials: 0,
            repo,
            paths,
            search,
        })
    }

    fn run(mut self, judge: &mut TreeJudge<'_>) -> Result<CulpritFinding, RepositoryError> {
        match self.narrow(judge) {
            Ok((bad, good)) => self.culprit(bad, good).map(CulpritFinding::Found),
            Err(End::NotFound(why)) => Ok(CulpritFinding::NotFound(why)),
            Err(End::Uncommitted) => Ok(CulpritFinding::Uncommitted),
            Err(End::Cancelled) => Ok(CulpritFinding::Cancelled),
            Err(End::Failed(error)) => Err(error),
        }
    }

    /// Indices of the youngest known broken commit that nothing broken is older than,
    /// and of the commit that works before it.
    fn narrow(&mut self, judge: &mut TreeJudge<'_>) -> Result<(usize, usize), End> {
        // What is not committed may be what broke it.
        if !self.change_to(0)?.0.is_empty() && self.state(0, judge)? == TreeState::Works {
            return Err(End::Uncommitted);
        }
        let (mut bad, mut good) = match &self.search.known_good {
            Some(known) => (0, self.known(known, judge)?),
            None => self.gallop(judge)?,
        };
        loop {
            let middle = bad + (good - bad) / 2;
            // The judged nearest to the middle; unclear ones are walked around.
            let next = (bad + 1..good)
                .filter(|index| !self.states.contains_key(index))
                .min_by_key(|index| index.abs_diff(middle));
            let Some(next) = next else {
                return Ok((bad, good));
            };
            match self.state(next, judge)? {
                TreeState::Broken => bad = next,
                TreeState::Works => good = next,
                TreeState::Unclear => {}
            }
        }
    }

    /// The index of a commit that is said to work, and does.
    fn known(&mut self, known: &CommitId, judge: &mut TreeJudge<'_>) -> Result<usize, End> {
        let id = find_commit(self.repo, known)?.id();
        let mut index = 0;
        loop {
            match self.at(index)? {
                Some(at) if at == id => break,
                Some(_) => index += 1,
                None => {
                    return Err(End::NotFound(format!(
                        "{known} is not in the first-parent history of the live branch"
                    )));
                }
            }
        }
        if index > 0 && self.state(index, judge)? == TreeState::Works {
            return Ok(index);
        }
        Err(End::NotFound(format!(
            "the reproduction does not pass on {known}, where it should"
        )))
    }

    /// Goes back in growing steps until a commit works.
    fn gallop(&mut self, judge: &mut TreeJudge<'_>) -> Result<(usize, usize), End> {
        let (mut bad, mut step) = (0, 1_usize);
        let mut at = 1;
        loop {
            let reached = self.reach(at)?;
            if reached == bad || self.states.contains_key(&reached) {
                return Err(End::NotFound(format!(
                    "the reproduction passes on none of the {} commits of the history that were tried",
                    self.trials
                )));
            }
            match self.state(reached, judge)? {
                TreeState::Works => return Ok((bad, reached)),
                TreeState::Broken => bad = reached,
                TreeState::Unclear => {}
            }
            step = step.saturating_mul(2);
            at = reached.saturating_add(step);
        }
    }

    /// The commit at `index` of the line; none beyond its end.
    fn at(&mut self, index: usize) -> Result<Option<Oid>, RepositoryError> {
        let reached = self.reach(index)?;
        Ok(self.line.get(index).copied().filter(|_| reached == index))
    }

    /// Follows the line to `index`, or to its end; says how far it came.
    fn reach(&mut self, index: usize) -> Result<usize, RepositoryError> {
        while self.line.len() <= index.min(FARTHEST) {
            let Some(last) = self.line.last() else { break };
            match self.older(*last)? {
                Some(parent) => self.line.push(parent),
                None => break,
            }
        }
        Ok(index.min(self.line.len().saturating_sub(1)))
    }

    /// The first parent; behind a rollback that left the tree as it was before the heal,
    /// the commit before the heal. Else the rollback, after which it is as broken as
    /// before, would be what broke it.
    fn older(&self, id: Oid) -> Result<Option<Oid>, RepositoryError> {
        let doing = "reading history";
        let rollback = self.repo.find_commit(id).map_err(failed(doing))?;
        let message = String::from_utf8_lossy(rollback.message_raw_bytes());
        let heal = trailer(&message, "Selfheal-Reverts").and_then(|heal| Oid::from_str(heal).ok());
        if let Some(heal) = heal
            && self.repo.graph_descendant_of(id, heal).unwrap_or(false)
            && let Some(before) = first_parent(self.repo, heal)?
            && let Ok(commit) = self.repo.find_commit(before)
            && commit.tree_id() == rollback.tree_id()
        {
            return Ok(Some(before));
        }
        first_parent(self.repo, id)
    }

    /// What the reproduction says of the commit at `index`.
    fn state(&mut self, index: usize, judge: &mut TreeJudge<'_>) -> Result<TreeState, End> {
        if let Some(known) = self.states.get(&index) {
            return Ok(*known);
        }
        if self.search.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        let Some(id) = self.at(index)? else {
            return Err(End::NotFound(
                "the history ended sooner than before".to_owned(),
            ));
        };
        let (files, left_out) = self.change_to(index)?;
        let size: usize = files
            .iter()
            .flat_map(|file| [&file.before, &file.after])
            .flatten()
            .map(String::len)
            .sum();
        let state = if size > LARGEST_TREE {
            TreeState::Unclear
        } else {
            if self.trials >= self.search.most_trials {
                return Err(End::NotFound(format!(
                    "{} trials were not enough to find the commit that broke it",
                    self.trials
                )));
            }
            self.trials += 1;
            let state = judge(&CommitId(id.to_string()), &tree_patch(files, id));
            if self.search.cancel.is_cancelled() {
                return Err(End::Cancelled);
            }
            state
        };
        self.left_out.extend(left_out);
        self.states.insert(index, state);
        Ok(state)
    }

    /// What makes the live tree that of the commit at `index`: every path in which the
    /// commit, or uncommitted work, differs from the base. Untracked files stay. Second:
    /// paths whose change no patch can hold.
    fn change_to(
        &mut self,
        index: usize,
    ) -> Result<(Vec<FileChange>, Vec<String>), RepositoryError> {
        let doing = "comparing commits";
        let Some(id) = self.at(index)? else {
            return Ok((Vec::new(), Vec::new()));
        };
        let then = self
            .repo
            .find_commit(id)
            .and_then(|commit| commit.tree())
            .map_err(failed(doing))?;
        let mut paths = changed_paths(self.repo, &self.base, &then)?;
        for path in changed_paths(self.repo, &self.base, &self.live)? {
            let untracked = std::str::from_utf8(&path)
                .is_ok_and(|path| self.base.get_path(Path::new(path)).is_err());
            if !untracked {
                paths.insert(path);
            }
        }
        let (mut files, mut left_out) = (Vec::new(), Vec::new());
        for path in paths {
            let Ok(path) = String::from_utf8(path) else {
                continue;
            };
            if (self.search.held)(&path) {
                continue;
            }
            if self.paths.check_path(&path).is_err() {
                left_out.push(path);
                continue;
            }
            let sides = (
                text(self.repo, &self.live, &path)?,
                text(self.repo, &then, &path)?,
            );
            match sides {
                (Side::Text(before, mode), Side::Text(after, then)) => {
                    if mode.is_some() && then.is_some() && mode != then {
                        left_out.push(path.clone());
                    }
                    files.push(FileChange {
                        path,
                        before,
                        after,
                    });
                }
                _ => left_out.push(path),
            }
        }
        Ok((files, left_out))
    }

    fn culprit(mut self, bad: usize, good: usize) -> Result<Culprit, RepositoryError> {
        let gone = || crate::fail::broken("bisecting", "the history ended sooner than before");
        let id = self.at(bad)?.ok_or_else(gone)?;
        let before = self.at(bad + 1)?.ok_or_else(gone)?;
        let suspects = self
            .line
            .get(bad + 1..good)
            .unwrap_or_default()
            .iter()
            .map(|id| CommitId(id.to_string()))
            .collect();
        let commit = self
            .repo
            .find_commit(id)
            .map_err(failed("reading the culprit"))?;
        let subject = commit.summary().ok().flatten().unwrap_or_default();
        Ok(Culprit {
            commit: CommitId(id.to_string()),
            subject: subject.chars().take(200).collect(),
            before: CommitId(before.to_string()),
            suspects,
            revert: self.revert(id, before)?,
            left_out: self.left_out.into_iter().collect(),
            commits_since: bad,
            trials: self.trials,
        })
    }

    /// The change `id → before`, carried over to the live tree.
    fn revert(&self, id: Oid, before: Oid) -> Result<Revert, RepositoryError> {
        let doing = "taking the culprit back";
        let tree = |id| {
            self.repo
                .find_commit(id)
                .and_then(|commit| commit.tree())
                .map_err(failed(doing))
        };
        let (culprit, before) = (tree(id)?, tree(before)?);
        let (mut files, mut conflicts) = (Vec::new(), Vec::new());
        for path in changed_paths(self.repo, &before, &culprit)? {
            let Ok(path) = String::from_utf8(path) else {
                conflicts.push("it changed a path that is not UTF-8".to_owned());
                continue;
            };
            if (self.search.held)(&path) {
                continue;
            }
            if let Err(error) = self.paths.check_path(&path) {
                conflicts.push(error.to_string());
                continue;
            }
            let sides = (
                text(self.repo, &culprit, &path)?,
                text(self.repo, &before, &path)?,
                text(self.repo, &self.live, &path)?,
            );
            let (Side::Text(from, from_mode), Side::Text(to, to_mode), Side::Text(live, _)) = sides
            else {
                conflicts.push(format!(
                    "{path} is binary, a link or a submodule, which a patch cannot hold"
                ));
                continue;
            };
            if from_mode.is_some() && to_mode.is_some() && from_mode != to_mode {
                conflicts.push(format!(
                    "{path} changed its mode, which a patch cannot hold"
                ));
                continue;
            }
            let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
            let carried = carry(&bytes(&from), &bytes(&to), &bytes(&live));
            let after = carried.ok().map(|after| after.map(String::from_utf8));
            match after {
                Some(None) => files.push((path, live, None)),
                Some(Some(Ok(after))) => files.push((path, live, Some(after))),
                None | Some(Some(Err(_))) => {
                    conflicts.push(format!("{path} was changed again since, in the same place"))
                }
            }
        }
        if !conflicts.is_empty() {
            return Ok(Revert::Conflict(conflicts));
        }
        let patch = Patch::of(
            files
                .into_iter()
                .map(|(path, before, after)| FileChange {
                    path,
                    before,
                    after,
                })
                .collect(),
        );
        if patch.is_empty() {
            return Ok(Revert::Conflict(vec![
                "nothing of it is left to take back, tests aside".to_owned(),
            ]));
        }
        Ok(Revert::Clean(patch))
    }
}

/// A tree to try as a patch. Nobody reads its diff, and making that one would take
/// longer than all the rest where trees differ a lot.
fn tree_patch(mut files: Vec<FileChange>, commit: Oid) -> Patch {
    files.retain(|file| file.kind().is_some());
    Patch {
        files,
        diff: String::new(),
        digest: Digest::of(commit.as_bytes()),
    }
}

/// One side of a change.
enum Side {
    /// A regular file that is text, or (none) no file at all; with its mode.
    Text(Option<String>, Option<FileMode>),
    /// Something that a patch cannot hold.
    Other,
}

fn text(repo: &Git, tree: &Tree<'_>, path: &str) -> Result<Side, RepositoryError> {
    let Ok(entry) = tree.get_path(Path::new(path)) else {
        return Ok(Side::Text(None, None));
    };
    let mode = match entry.filemode() {
        0o100_755 => FileMode::BlobExecutable,
        0o100_644 | 0o100_664 => FileMode::Blob,
        _ => return Ok(Side::Other),
    };
    let odb = repo.odb().map_err(failed(format!("reading {path}")))?;
    let size = odb.read_header(entry.id()).map(|(size, _)| size);
    if !size.is_ok_and(|size| size <= LARGEST_FILE) {
        return Ok(Side::Other);
    }
    let blob = repo
        .find_blob(entry.id())
        .map_err(failed(format!("reading {path}")))?;
    match std::str::from_utf8(blob.content()) {
        Ok(text) if !text.contains('\0') => Ok(Side::Text(Some(text.to_owned()), Some(mode))),
        Ok(_) | Err(_) => Ok(Side::Other),
    }
}

/// Every path in which the trees differ; costs what differs.
fn changed_paths(
    repo: &Git,
    old: &Tree<'_>,
    new: &Tree<'_>,
) -> Result<BTreeSet<Vec<u8>>, RepositoryError> {
    let mut options = DiffOptions::new();
    options.skip_binary_check(true).include_typechange(true);
    let diff = repo
        .diff_tree_to_tree(Some(old), Some(new), Some(&mut options))
        .map_err(failed("comparing commits"))?;
    let mut paths = BTreeSet::new();
    for delta in diff.deltas() {
        if delta.status() == Delta::Unmodified {
            continue;
        }
        for side in [delta.old_file(), delta.new_file()] {
            if let Some(path) = side.path_bytes() {
                paths.insert(path.to_vec());
            }
        }
    }
    Ok(paths)
}
