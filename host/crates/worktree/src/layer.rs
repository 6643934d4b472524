//! Directories of a run's worktree: the upper layer of an overlay over the live
//! tree. Only what the run changes lands there, so it costs nothing to make and
//! registers nothing with git: the branch and this layer are the worktree.

use crate::fail::failed;
use selfheal_domain::ids::RunRef;
use selfheal_domain::ports::{RepositoryError, RunWorktree};
use std::fs::Permissions;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn place(state_dir: &Path, run: RunRef) -> PathBuf {
    state_dir
        .join("worktrees")
        .join(format!("issue-{}-run-{}", run.issue, run.run))
}

/// Makes the directories, empty: what an interrupted or rejected draft left is removed.
pub(crate) fn make(state_dir: &Path, run: RunRef) -> Result<RunWorktree, RepositoryError> {
    remove(state_dir, run)?;
    let place = place(state_dir, run);
    let worktree = RunWorktree {
        upper: place.join("upper"),
        work: place.join("work"),
    };
    for directory in [&worktree.upper, &worktree.work] {
        std::fs::create_dir_all(directory).map_err(failed("making the run's worktree"))?;
    }
    std::fs::set_permissions(&place, Permissions::from_mode(0o700))
        .map_err(failed("making the run's worktree"))?;
    Ok(worktree)
}

/// Removes them. Nothing there is fine.
pub(crate) fn remove(state_dir: &Path, run: RunRef) -> Result<(), RepositoryError> {
    remove_tree(&place(state_dir, run)).map_err(failed("removing the run's worktree"))
}

/// Removes a directory although overlayfs and agents leave directories without
/// permissions. Follows no links.
fn remove_tree(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
    }
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        std::fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    std::fs::remove_dir_all(path)
}
