//! Building commits in memory and storing exactly their new objects as one pack:
//! a commit costs what its edits cost, not what the repository costs, and six
//! syncs however many files it has.

use crate::fail::{broken, failed};
use crate::hardened::reopen;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, ObjectType, OdbLookupFlags, Oid, Repository, Tree};
use selfheal_domain::ports::RepositoryError;
use std::collections::HashSet;
use std::io::Write;

/// One file of a tree to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TreeEdit {
    pub(crate) path: String,
    /// Content and mode; none removes the file.
    pub(crate) file: Option<(Vec<u8>, FileMode)>,
}

/// Attaches a memory to `repo`'s object store: everything that is written through
/// this handle from now on stays there until [`store`] packs it.
pub(crate) fn remember_writes(repo: &Repository) -> Result<(), RepositoryError> {
    let odb = repo.odb().map_err(failed("opening the object store"))?;
    odb.add_new_mempack_backend(1_000)
        .map_err(failed("setting objects aside"))?;
    Ok(())
}

/// `base` with `edits`.
pub(crate) fn edited_tree(
    repo: &Repository,
    base: &Tree<'_>,
    edits: &[TreeEdit],
) -> Result<Oid, RepositoryError> {
    let mut builder = TreeUpdateBuilder::new();
    let mut any = false;
    for edit in edits {
        match &edit.file {
            Some((content, mode)) => {
                let blob = repo.blob(content).map_err(failed("writing a blob"))?;
                builder.upsert(edit.path.as_str(), blob, *mode);
                any = true;
            }
            None if base.get_path(edit.path.as_ref()).is_ok() => {
                builder.remove(edit.path.as_str());
                any = true;
            }
            None => {}
        }
    }
    if !any {
        return Ok(base.id());
    }
    builder
        .create_updated(repo, base)
        .map_err(failed("building the tree"))
}

/// Stores `commit` and all it has that `than` (a tree that is stored) has not, and the
/// blobs `besides`, as one synced pack. `memory` is a handle that [`remember_writes`]
/// was called on, `disk` one it was not.
pub(crate) fn store(
    memory: &Repository,
    disk: &Repository,
    commit: Oid,
    than: Option<&Tree<'_>>,
    besides: &[Oid],
) -> Result<(), RepositoryError> {
    let doing = "storing the commit";
    let on_disk = disk.odb().map_err(failed(doing))?;
    on_disk.refresh().map_err(failed(doing))?;
    let mut fresh = Vec::new();
    let mut seen = HashSet::new();
    let mut consider = |id: Oid, fresh: &mut Vec<Oid>| {
        if seen.insert(id) && !on_disk.exists_ext(id, OdbLookupFlags::NO_REFRESH) {
            fresh.push(id);
        }
    };
    consider(commit, &mut fresh);
    for blob in besides {
        consider(*blob, &mut fresh);
    }
    let tree = memory
        .find_commit(commit)
        .and_then(|commit| commit.tree())
        .map_err(failed(doing))?;
    let mut pairs = vec![(tree, than.cloned())];
    while let Some((new, old)) = pairs.pop() {
        if old.as_ref().is_some_and(|old| old.id() == new.id()) {
            continue;
        }
        consider(new.id(), &mut fresh);
        for entry in &new {
            let before = old
                .as_ref()
                .and_then(|old| old.get_name_bytes(entry.name_bytes()));
            if before
                .as_ref()
                .is_some_and(|before| before.id() == entry.id())
            {
                continue;
            }
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    let new = memory.find_tree(entry.id()).map_err(failed(doing))?;
                    let old = before
                        .filter(|before| before.kind() == Some(ObjectType::Tree))
                        .and_then(|before| memory.find_tree(before.id()).ok());
                    pairs.push((new, old));
                }
                Some(ObjectType::Blob) => consider(entry.id(), &mut fresh),
                _ => {}
            }
        }
    }
    if fresh.is_empty() {
        return Ok(());
    }
    let mut pack = memory.packbuilder().map_err(failed(doing))?;
    pack.set_threads(1);
    for id in fresh {
        pack.insert_object(id, None).map_err(failed(doing))?;
    }
    let mut writer = on_disk.packwriter().map_err(failed(doing))?;
    let mut wrong = None;
    pack.foreach(|bytes| match writer.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            wrong = Some(error);
            false
        }
    })
    .map_err(failed(doing))?;
    if let Some(error) = wrong {
        return Err(failed(doing)(error));
    }
    writer.commit().map_err(failed(doing))?;
    drop(writer);
    on_disk.refresh().map_err(failed(doing))?;
    if !on_disk.exists(commit) {
        return Err(broken(doing, "the object store does not show the new pack"));
    }
    Ok(())
}

/// A handle for building, and one for what is stored.
pub(crate) fn workshop(repo: &Repository) -> Result<Repository, RepositoryError> {
    let memory = reopen(repo)?;
    remember_writes(&memory)?;
    Ok(memory)
}

/// Content and mode of a file in a tree; none where there is no such file.
///
/// # Errors
/// [`RepositoryError::Conflict`] where the path is a link, a submodule or a directory.
pub(crate) fn file_in(
    repo: &Repository,
    tree: &Tree<'_>,
    path: &str,
) -> Result<Option<(Vec<u8>, FileMode)>, RepositoryError> {
    let entry = match tree.get_path(path.as_ref()) {
        Ok(entry) => entry,
        Err(error) if error.code() == git2::ErrorCode::NotFound => {
            directories_only(tree, path)?;
            return Ok(None);
        }
        Err(error) => return Err(failed(format!("looking for {path}"))(error)),
    };
    let mode = match entry.filemode() {
        0o100_755 => FileMode::BlobExecutable,
        0o100_644 | 0o100_664 => FileMode::Blob,
        0o120_000 => {
            return Err(RepositoryError::Conflict(format!(
                "{path} is a symbolic link"
            )));
        }
        0o160_000 => {
            return Err(RepositoryError::Unsupported(format!(
                "{path} is a submodule"
            )));
        }
        _ => {
            return Err(RepositoryError::Conflict(format!("{path} is a directory")));
        }
    };
    let blob = repo
        .find_blob(entry.id())
        .map_err(failed(format!("reading {path}")))?;
    Ok(Some((blob.content().to_vec(), mode)))
}

/// Everything above `path` is a directory, as far as it is in the tree.
fn directories_only(tree: &Tree<'_>, path: &str) -> Result<(), RepositoryError> {
    for (at, _) in path.match_indices('/') {
        let above = path.get(..at).unwrap_or_default();
        match tree.get_path(above.as_ref()).map(|entry| entry.filemode()) {
            Ok(0o040_000) => {}
            Ok(0o160_000) => {
                return Err(RepositoryError::Unsupported(format!(
                    "{path} lies in the submodule {above}"
                )));
            }
            Ok(_) => {
                return Err(RepositoryError::Conflict(format!(
                    "{above} is a file or a link, so there can be no {path}"
                )));
            }
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
