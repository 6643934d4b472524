//! Rolling back: finds out from the plan, the branch and the files themselves how
//! far the apply had come, and undoes exactly that. Every part may have been done
//! before; a second call finds nothing left and returns the same commit.

use crate::apply::scratch_mark;
use crate::fail::{broken, failed};
use crate::hardened::{refuse_unsettled, tip};
use crate::history::{Walk, first_parent, walk};
use crate::index::{EntryState, IndexLock, entry_in};
use crate::live::LiveTree;
use crate::merge::{Version, carry};
use crate::message::{Kind, compose, is_of, trailer};
use crate::objects::{TreeEdit, edited_tree, file_in, store, workshop};
use crate::plan::{Plan, PlannedFile, version};
use crate::repository::{GitRepository, advance};
use git2::{FileMode, Index, Oid, Repository as Git, Tree};
use selfheal_domain::ids::{CommitId, RunRef};
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CommitMessage, RepositoryError, Snapshot};
use std::path::Path;

/// How many commits after the snapshot's base are searched for the heal commit.
const FARTHEST: usize = 20_000;

/// What the live branch says of a run.
struct OnBranch {
    heal: Oid,
    rollback: Option<Oid>,
}

impl GitRepository {
    pub(crate) fn roll_back_run(
        &self,
        run: RunRef,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Option<CommitId>, RepositoryError> {
        let _serial = self.serial()?;
        let repo = self.open_git()?;
        self.snapshot_of(&repo, run, &snapshot.commit)?;
        let plan = Plan::load(&self.state_dir, run)?;
        let branch = refuse_unsettled(&repo)?;
        if branch != snapshot.branch {
            return Err(broken(
                "rolling back",
                format!(
                    "the live tree is on branch {branch} now; check out {} and try again",
                    snapshot.branch
                ),
            ));
        }
        let lock = IndexLock::acquire(repo.path(), &run.id.to_string())?;
        clear_stale_lock(&repo, run, &branch, plan.as_ref());
        let planned = plan
            .as_ref()
            .and_then(|plan| Oid::from_str(&plan.heal_commit).ok());
        let found = find_on_branch(&repo, run, snapshot, &branch, planned)?;
        let files = match (&plan, &found) {
            (Some(plan), _) => plan.files.clone(),
            // The plan is gone, the heal commit is not undone: go by the patch.
            (None, Some(found)) if found.rollback.is_none() => from_patch(&repo, patch, found)?,
            (None, _) => return Ok(found.and_then(|found| found.rollback).map(as_id)),
        };
        let live = self.live()?;
        let mark = scratch_mark(&run.id.to_string());
        let mut stuck = Vec::new();
        for file in &files {
            live.sweep(&file.path, &mark)?;
            if let Err(why) = restore(&live, file, &mark)? {
                stuck.push(why);
            }
            self.step();
        }
        if !stuck.is_empty() {
            return Err(broken("restoring files", stuck.join("; ")));
        }
        if let Some(plan) = &plan {
            for directory in plan.made_directories.iter().rev() {
                live.remove_empty_directory(directory)?;
            }
        }
        let commit = match &found {
            None => None,
            Some(OnBranch {
                rollback: Some(done),
                ..
            }) => Some(*done),
            Some(found) => Some(self.undo(&repo, run, &branch, found, &files, message)?),
        };
        self.step();
        let index = lock.read(&self.state_dir.join("scratch"))?;
        let edits = index_edits(&repo, &index, &files)?;
        if let Some(bytes) = lock.edited(index, &edits)? {
            lock.install(&bytes)?;
        }
        self.step();
        drop(lock);
        Plan::discard(&self.state_dir, run)?;
        Ok(commit.map(as_id))
    }

    /// Makes the rollback commit.
    fn undo(
        &self,
        repo: &Git,
        run: RunRef,
        branch: &str,
        found: &OnBranch,
        files: &[PlannedFile],
        message: &CommitMessage,
    ) -> Result<Oid, RepositoryError> {
        let doing = "building the rollback commit";
        let heal = repo.find_commit(found.heal).map_err(failed(doing))?;
        let healed = heal.tree().map_err(failed(doing))?;
        let before = tree_before(repo, found.heal)?;
        let tip = tip(repo, branch)?;
        let now = repo
            .find_commit(tip)
            .and_then(|commit| commit.tree())
            .map_err(failed(doing))?;
        let mut edits = Vec::new();
        for file in files {
            let content = |tree| -> Result<(Version, Option<FileMode>), RepositoryError> {
                Ok(match file_in(repo, tree, &file.path)? {
                    Some((content, mode)) => (Some(content), Some(mode)),
                    None => (None, None),
                })
            };
            let (healed, _) = content(&healed)?;
            let (before, old_mode) = content(&before)?;
            let (now, mode) = content(&now)?;
            let next = carry(&healed, &before, &now).map_err(|_| {
                broken(
                    doing,
                    format!("{} was committed again since, in the same place", file.path),
                )
            })?;
            let mode = mode.or(old_mode).unwrap_or(FileMode::Blob);
            edits.push(TreeEdit {
                path: file.path.clone(),
                file: next.map(|content| (content, mode)),
            });
        }
        let memory = workshop(repo)?;
        let tree = edited_tree(&memory, &now, &edits)?;
        let tree = memory.find_tree(tree).map_err(failed(doing))?;
        let parent = memory.find_commit(tip).map_err(failed(doing))?;
        let heal = found.heal.to_string();
        let text = compose(
            message,
            Some(run),
            Kind::Rollback,
            &[("Selfheal-Reverts", &heal)],
        );
        let commit = self.committer.commit(&memory, &text, &tree, &[&parent])?;
        store(&memory, repo, commit, Some(&now), &[])?;
        self.step();
        advance(
            repo,
            &format!("refs/heads/{branch}"),
            tip,
            commit,
            "selfheal: rollback",
        )?;
        Ok(commit)
    }
}

fn as_id(id: Oid) -> CommitId {
    CommitId(id.to_string())
}

/// What the heal commit was made on.
fn tree_before(repo: &Git, heal: Oid) -> Result<Tree<'_>, RepositoryError> {
    let doing = "reading what the heal commit was made on";
    let parent = first_parent(repo, heal)?
        .ok_or_else(|| broken(doing, "its parent is not in this repository"))?;
    repo.find_commit(parent)
        .and_then(|commit| commit.tree())
        .map_err(failed(doing))
}

/// Removes the lock on the branch that a crash of this run left in the middle of
/// moving it: it holds the commit that was to come, or (the crash came sooner) only
/// a part of its name. A lock of somebody else is left alone.
fn clear_stale_lock(repo: &Git, run: RunRef, branch: &str, plan: Option<&Plan>) {
    let path = repo.commondir().join(format!("refs/heads/{branch}.lock"));
    let Some(text) = std::fs::symlink_metadata(&path)
        .ok()
        .filter(|meta| meta.is_file() && meta.len() <= 41)
        .and_then(|_| std::fs::read_to_string(&path).ok())
    else {
        return;
    };
    let whole = Oid::from_str(text.trim()).ok();
    let whole = whole
        .filter(|_| text.len() == 41)
        .and_then(|id| repo.find_commit(id).ok());
    let ours = match whole {
        Some(commit) => {
            let text = commit.message().unwrap_or_default();
            is_of(text, run, Kind::Heal) || is_of(text, run, Kind::Rollback)
        }
        // Whoever is writing a lock holds it open, and only an unfinished apply of
        // ours can have left one behind.
        None => plan.is_some() && nobody_has_open(&path),
    };
    if ours {
        let _ = std::fs::remove_file(path);
    }
}

/// No process has the file open, as far as this user may look; false when in doubt.
pub(crate) fn nobody_has_open(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(lock), Ok(own)) = (
        std::fs::symlink_metadata(path),
        std::fs::metadata("/proc/self"),
    ) else {
        return false;
    };
    // Files of another user's process are hidden from this one, unless it is root.
    if own.uid() != 0 && lock.uid() != own.uid() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    let mut open_files = processes
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .filter_map(|entry| std::fs::read_dir(entry.path().join("fd")).ok())
        .flatten()
        .filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok());
    let same = |open: std::fs::Metadata| (open.dev(), open.ino()) == (lock.dev(), lock.ino());
    !open_files.any(same)
}

/// The run's heal commit on the branch, and the commit that undid it. The planned
/// commit itself counts before any that only says it is the run's (one that somebody
/// amended).
fn find_on_branch(
    repo: &Git,
    run: RunRef,
    snapshot: &Snapshot,
    branch: &str,
    planned: Option<Oid>,
) -> Result<Option<OnBranch>, RepositoryError> {
    // The heal commit can only be younger than what the snapshot was taken on.
    let base = Oid::from_str(&snapshot.base.0).ok();
    let mut reverts: Vec<(Oid, String)> = Vec::new();
    let mut claims = None;
    walk(repo, tip(repo, branch)?, base, FARTHEST, &mut |commit| {
        let id = commit.id();
        let text = commit.message().unwrap_or_default();
        if is_of(text, run, Kind::Rollback) {
            if let Some(reverted) = trailer(text, "Selfheal-Reverts") {
                reverts.push((id, reverted.to_owned()));
            }
        } else if Some(id) == planned {
            claims = Some(id);
            return Walk::Stop;
        } else if claims.is_none() && is_of(text, run, Kind::Heal) {
            claims = Some(id);
            if planned.is_none() {
                return Walk::Stop;
            }
        }
        Walk::On
    })?;
    Ok(claims.map(|heal| {
        let name = heal.to_string();
        let rollback = reverts
            .iter()
            .find(|(_, reverted)| *reverted == name)
            .map(|(id, _)| *id);
        OnBranch { heal, rollback }
    }))
}

/// What to undo, where only the patch and the heal commit are left to tell.
fn from_patch(
    repo: &Git,
    patch: &Patch,
    found: &OnBranch,
) -> Result<Vec<PlannedFile>, RepositoryError> {
    let doing = "reading the heal commit";
    let heal = repo.find_commit(found.heal).map_err(failed(doing))?;
    let healed = heal.tree().map_err(failed(doing))?;
    let before = tree_before(repo, found.heal)?;
    let entry = |tree: &git2::Tree<'_>, path: &str| {
        tree.get_path(path.as_ref()).ok().map(|entry| {
            EntryState::plain(entry.id(), u32::try_from(entry.filemode()).unwrap_or(0))
        })
    };
    Ok(patch
        .files
        .iter()
        .map(|file| {
            let stored = |content: &Option<String>| {
                content
                    .as_ref()
                    .map(|content| crate::plan::Stored::new(content.as_bytes(), None))
            };
            PlannedFile {
                path: file.path.clone(),
                before: stored(&file.before),
                after: stored(&file.after),
                index_before: entry(&before, &file.path),
                index_after: entry(&healed, &file.path),
            }
        })
        .collect())
}

/// Brings one file back. The inner error says why it was left as it is.
fn restore(
    live: &LiveTree,
    file: &PlannedFile,
    mark: &str,
) -> Result<Result<(), String>, RepositoryError> {
    let before = version(file.before.as_ref())?;
    let after = version(file.after.as_ref())?;
    let now = match live.read(&file.path) {
        Ok(now) => now,
        Err(RepositoryError::Conflict(why) | RepositoryError::Unsupported(why)) => {
            return Ok(Err(why));
        }
        Err(error) => return Err(error),
    };
    let content: Version = now.as_ref().map(|file| file.content.clone());
    let Ok(next) = carry(&after, &before, &content) else {
        return Ok(Err(format!(
            "{} was changed by somebody since the patch was applied, in the same place; it is left as it is",
            file.path
        )));
    };
    if next == content {
        return Ok(Ok(()));
    }
    match (next, &now) {
        (Some(next), _) => {
            let mode = now
                .as_ref()
                .map(|now| now.mode)
                .or_else(|| file.before.as_ref().and_then(|before| before.mode));
            live.replace(&file.path, now.as_ref(), &next, mode, mark)?;
        }
        (None, Some(now)) => live.remove(&file.path, now)?,
        (None, None) => {}
    }
    Ok(Ok(()))
}

/// What the index must become: entries we made go back to what they were, entries
/// the user made since keep the user's part.
fn index_edits(
    repo: &Git,
    index: &Index,
    files: &[PlannedFile],
) -> Result<Vec<(String, Option<EntryState>)>, RepositoryError> {
    let mut edits = Vec::new();
    for file in files {
        let now = entry_in(index, &file.path)?;
        if file.index_before == file.index_after || now == file.index_before {
            continue;
        }
        if now == file.index_after {
            edits.push((file.path.clone(), file.index_before.clone()));
            continue;
        }
        let content = |entry: &Option<EntryState>| -> Result<Version, RepositoryError> {
            entry
                .as_ref()
                .map(|entry| {
                    let id = entry.oid()?;
                    repo.find_blob(id)
                        .map(|blob| blob.content().to_vec())
                        .map_err(failed(format!("reading what is staged of {}", file.path)))
                })
                .transpose()
        };
        let merged = carry(
            &content(&file.index_after)?,
            &content(&file.index_before)?,
            &content(&now)?,
        );
        match (merged, &now) {
            (Ok(Some(content)), Some(now)) => {
                let id = repo.blob(&content).map_err(failed("writing a blob"))?;
                edits.push((
                    file.path.clone(),
                    Some(EntryState {
                        id: id.to_string(),
                        ..now.clone()
                    }),
                ));
            }
            // What the user staged since stands in the way: it is theirs, it stays.
            _ => tracing::warn!(path = %file.path, "left what is staged as it is"),
        }
    }
    Ok(edits)
}
