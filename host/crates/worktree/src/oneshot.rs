//! What `selfheal heal` needs: no data directory, no run, no audit log.

use crate::apply::{Order, prepare, scratch_mark, write_file};
use crate::fail::failed;
use crate::hardened::{open, refuse_unsettled, root_of, tip};
use crate::index::{COMMAND, IndexLock, entry_in};
use crate::live::LiveTree;
use crate::lock::RepositoryLock;
use crate::message::{Committer, Kind, MachineIdentity, compose};
use crate::objects::file_in;
use crate::plan::PlannedFile;
use crate::repository::advance;
use selfheal_domain::ids::CommitId;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{Clock, CommitMessage, RepositoryError};
use std::path::Path;
use std::sync::Arc;

/// Trailer of commits that no host made: there is no log to vouch for them.
pub(crate) const ORIGIN: (&str, &str) = ("Selfheal-Origin", "command");

/// Which of `paths` (relative to the root, with `/`) differ between `HEAD`, index and
/// live tree, and so hold work that is not committed.
///
/// # Errors
/// See [`discover`](crate::discover); [`RepositoryError::Conflict`] for a path that is
/// no plain file of the repository.
pub fn is_dirty(root: &Path, paths: &[String]) -> Result<Vec<String>, RepositoryError> {
    let repo = open(root)?;
    let live = LiveTree::open(&root_of(&repo)?, Vec::new())?;
    let head = repo
        .head()
        .and_then(|head| head.peel_to_tree())
        .map_err(failed("reading HEAD"))?;
    let index = repo.index().map_err(failed("reading the index"))?;
    let mut dirty = Vec::new();
    for path in paths {
        let committed = file_in(&repo, &head, path)?;
        let staged = entry_in(&index, path)?;
        let now = live.read(path)?;
        let same_content = now.as_ref().map(|file| file.content.as_slice())
            == committed.as_ref().map(|(content, _)| content.as_slice());
        let same_entry = match (&staged, head.get_path(path.as_ref())) {
            (Some(staged), Ok(entry)) => staged.oid()? == entry.id(),
            (None, Err(_)) => true,
            _ => false,
        };
        if !same_content || !same_entry {
            dirty.push(path.clone());
        }
    }
    Ok(dirty)
}

/// Makes the heal commit of `patch` on the branch that is checked out and updates
/// live tree and index. Refused when a file of the patch holds uncommitted work.
///
/// # Errors
/// [`RepositoryError::Conflict`] and [`RepositoryError::Unsupported`]: nothing was
/// changed. [`RepositoryError::Failed`]: what was written was undone, as far as that
/// could be done.
pub fn heal_commit_now(
    root: &Path,
    patch: &Patch,
    message: &CommitMessage,
    identity: MachineIdentity,
    clock: Arc<dyn Clock>,
) -> Result<CommitId, RepositoryError> {
    let repo = open(root)?;
    let _turn = RepositoryLock::acquire(repo.commondir())?;
    let branch = refuse_unsettled(&repo)?;
    let root = root_of(&repo)?;
    let live = LiveTree::open(&root, Vec::new())?;
    let owner = format!("{COMMAND}{}", std::process::id());
    let lock = IndexLock::acquire(repo.path(), &owner)?;
    for file in &patch.files {
        live.check_path(&file.path)?;
    }
    let paths: Vec<String> = patch.files.iter().map(|file| file.path.clone()).collect();
    let dirty = is_dirty(&root, &paths)?;
    if !dirty.is_empty() {
        return Err(RepositoryError::Conflict(format!(
            "uncommitted work in {}; commit or stash it first",
            dirty.join(", ")
        )));
    }
    let tip = tip(&repo, &branch)?;
    let tree = repo
        .find_commit(tip)
        .and_then(|commit| commit.tree())
        .map_err(failed("reading the live branch"))?;
    crate::repository::draft_edits(&live, &repo, &tree, patch)?;
    let text = compose(message, None, Kind::Heal, &[ORIGIN]);
    let scratch = repo.path().join(format!("selfheal-{owner}"));
    let ready = prepare(
        &repo,
        &live,
        &lock,
        &Order {
            branch: &branch,
            patch,
            text: &text,
            committer: &Committer {
                identity,
                clock,
                signer: None,
            },
            scratch: &scratch,
        },
    );
    let _ = std::fs::remove_dir_all(&scratch);
    let ready = ready?;
    let mark = scratch_mark(&owner);
    let mut written: Vec<&PlannedFile> = Vec::new();
    let mut result = Ok(());
    for file in &ready.files {
        result = write_file(&live, file, &mark);
        if result.is_err() {
            break;
        }
        written.push(file);
    }
    result = result.and_then(|()| {
        advance(
            &repo,
            &format!("refs/heads/{branch}"),
            ready.tip,
            ready.commit,
            "selfheal: heal",
        )
    });
    if let Err(error) = result {
        for file in written {
            let back = PlannedFile {
                before: file.after.clone(),
                after: file.before.clone(),
                ..file.clone()
            };
            if let Err(error) = write_file(&live, &back, &mark) {
                tracing::error!(path = %file.path, %error, "could not be restored");
            }
        }
        for directory in ready.made_directories.iter().rev() {
            let _ = live.remove_empty_directory(directory);
        }
        return Err(error);
    }
    if let Some(bytes) = ready.index {
        lock.install(&bytes)?;
    }
    Ok(CommitId(ready.commit.to_string()))
}
