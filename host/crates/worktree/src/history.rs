//! History as the objects tell it. git and libgit2 let `.git/info/grafts` and the
//! list of a shallow clone stand in for a commit's own parents, so a line in a file
//! could hide a heal commit from its rollback: here parents are what the commit says.

use crate::fail::failed;
use git2::{Commit, ObjectType, Oid, Repository as Git};
use selfheal_domain::ports::RepositoryError;
use std::collections::{BinaryHeap, HashMap};

/// Parents that a commit object names, in order, whether or not they are here.
pub(crate) fn parents(repo: &Git, id: Oid) -> Result<Vec<Oid>, RepositoryError> {
    let doing = "reading history";
    let odb = repo.odb().map_err(failed(doing))?;
    let object = odb.read(id).map_err(failed(doing))?;
    if object.kind() != ObjectType::Commit {
        return Err(crate::fail::broken(doing, format!("{id} is no commit")));
    }
    let mut parents = Vec::new();
    for line in object.data().split(|byte| *byte == b'\n') {
        if let Some(parent) = line.strip_prefix(b"parent ") {
            let parent = std::str::from_utf8(parent).map_err(failed(doing))?;
            parents.push(Oid::from_str(parent).map_err(failed(doing))?);
        } else if !line.starts_with(b"tree ") {
            // Parents stand before everything else; a message cannot add one.
            break;
        }
    }
    Ok(parents)
}

/// The first parent, unless this is where history begins, or where a shallow clone
/// was cut off.
pub(crate) fn first_parent(repo: &Git, id: Oid) -> Result<Option<Oid>, RepositoryError> {
    let first = parents(repo, id)?.into_iter().next();
    Ok(first.filter(|parent| repo.find_commit(*parent).is_ok()))
}

/// Calls `visit` with every commit that `tip` reaches and `hidden` does not, younger
/// ones first as far as their dates tell, until it says stop or `most` were seen.
pub(crate) fn walk(
    repo: &Git,
    tip: Oid,
    hidden: Option<Oid>,
    most: usize,
    visit: &mut dyn FnMut(&Commit<'_>) -> Walk,
) -> Result<(), RepositoryError> {
    let doing = "walking history";
    let mut queue = BinaryHeap::new();
    let mut seen: HashMap<Oid, bool> = HashMap::new();
    let mut shown = 0;
    // How many in the queue are not hidden: once there are none, the rest is old.
    let mut wanted = 0_usize;
    for (id, is_hidden) in [(Some(tip), false), (hidden, true)] {
        if let Some(commit) = id.and_then(|id| repo.find_commit(id).ok()) {
            if seen.insert(commit.id(), is_hidden).is_none() {
                queue.push((commit.time().seconds(), commit.id()));
                wanted += usize::from(!is_hidden);
            } else if is_hidden {
                seen.insert(commit.id(), true);
                wanted = 0;
            }
        }
    }
    while wanted > 0
        && let Some((_, id)) = queue.pop()
    {
        let is_hidden = seen.get(&id).copied().unwrap_or(true);
        if !is_hidden {
            wanted -= 1;
            if shown >= most {
                return Ok(());
            }
            shown += 1;
            let commit = repo.find_commit(id).map_err(failed(doing))?;
            if visit(&commit) == Walk::Stop {
                return Ok(());
            }
        }
        for parent in parents(repo, id)? {
            // Cut off by a shallow clone: nothing older is here.
            let Ok(commit) = repo.find_commit(parent) else {
                continue;
            };
            match seen.get(&parent).copied() {
                None => {
                    seen.insert(parent, is_hidden);
                    queue.push((commit.time().seconds(), parent));
                    wanted += usize::from(!is_hidden);
                }
                Some(false) if is_hidden => {
                    seen.insert(parent, true);
                    // Only one that still waits was counted.
                    if queue.iter().any(|(_, waiting)| *waiting == parent) {
                        wanted -= 1;
                    }
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether a walk goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walk {
    On,
    Stop,
}
