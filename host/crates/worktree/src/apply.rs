//! Applying: everything is computed first, then written down, then done: files one
//! by one, the branch, the index.

use crate::attributes::Attributes;
use crate::fail::{broken, failed};
use crate::hardened::{refuse_unsettled, tip};
use crate::index::{EntryState, IndexLock, check_room, entry_in};
use crate::live::LiveTree;
use crate::merge::{Clash, Version, carry};
use crate::message::{Committer, Kind, compose};
use crate::objects::{TreeEdit, edited_tree, file_in, store, workshop};
use crate::plan::{FORMAT, Plan, PlannedFile, Stored, version};
use crate::repository::{GitRepository, advance, same_branch};
use git2::{FileMode, Oid, Repository as Git, Tree};
use selfheal_domain::ids::{CommitId, RunRef};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::{Applied, CommitMessage, Fit, RepositoryError, Snapshot};
use std::path::Path;

impl GitRepository {
    pub(crate) fn apply_run(
        &self,
        run: RunRef,
        snapshot: &Snapshot,
        patch: &Patch,
        message: &CommitMessage,
    ) -> Result<Applied, RepositoryError> {
        let _serial = self.serial()?;
        let repo = self.open_git()?;
        let branch = refuse_unsettled(&repo)?;
        same_branch(&branch, snapshot)?;
        let commit = self.snapshot_of(&repo, run, &snapshot.commit)?;
        let tree = commit.tree().map_err(failed("reading the snapshot"))?;
        if Plan::load(&self.state_dir, run)?.is_some() {
            return Err(broken(
                "applying the patch",
                "an earlier apply of this run was neither finished nor rolled back",
            ));
        }
        let live = self.live()?;
        // The patch must be of this snapshot.
        crate::repository::draft_edits(&live, &repo, &tree, patch)?;
        let lock = IndexLock::acquire(repo.path(), &run.id.to_string())?;
        let text = compose(message, Some(run), Kind::Heal, &[]);
        let ready = prepare(
            &repo,
            &live,
            &lock,
            &Order {
                branch: &branch,
                patch,
                text: &text,
                committer: &self.committer,
                scratch: &self.state_dir.join("scratch"),
            },
        )?;
        let plan = Plan {
            format: FORMAT,
            run,
            branch,
            tip: ready.tip.to_string(),
            heal_commit: ready.commit.to_string(),
            files: ready.files,
            made_directories: ready.made_directories,
        };
        self.step();
        plan.save(&self.state_dir)?;
        self.step();
        let mark = scratch_mark(&run.id.to_string());
        for file in &plan.files {
            write_file(&live, file, &mark)?;
            self.step();
        }
        advance(
            &repo,
            &format!("refs/heads/{}", plan.branch),
            ready.tip,
            ready.commit,
            "selfheal: heal",
        )
        .map_err(as_failure)?;
        self.step();
        if let Some(bytes) = ready.index {
            lock.install(&bytes)?;
        }
        self.step();
        drop(lock);
        Ok(Applied {
            commit: CommitId(plan.heal_commit),
        })
    }
}

/// After the first write there is no "nothing was changed" any more.
pub(crate) fn as_failure(error: RepositoryError) -> RepositoryError {
    match error {
        RepositoryError::Conflict(why) | RepositoryError::Unsupported(why) => {
            broken("finishing the apply", why)
        }
        other @ (RepositoryError::WrongPermit | RepositoryError::Failed { .. }) => other,
    }
}

/// Name of the file that is written first, beside the one it replaces.
pub(crate) fn scratch_mark(owner: &str) -> String {
    format!(".selfheal-{owner}.tmp")
}

/// What to apply, and with what.
pub(crate) struct Order<'a> {
    pub(crate) branch: &'a str,
    pub(crate) patch: &'a Patch,
    pub(crate) text: &'a str,
    pub(crate) committer: &'a Committer,
    pub(crate) scratch: &'a Path,
}

/// All that an apply will do; only objects that nothing refers to were written.
pub(crate) struct Ready {
    pub(crate) tip: Oid,
    pub(crate) commit: Oid,
    pub(crate) files: Vec<PlannedFile>,
    pub(crate) made_directories: Vec<String>,
    pub(crate) index: Option<Vec<u8>>,
}

/// Computes an apply. On every error nothing was changed.
pub(crate) fn prepare(
    repo: &Git,
    live: &LiveTree,
    lock: &IndexLock,
    order: &Order<'_>,
) -> Result<Ready, RepositoryError> {
    let tip = tip(repo, order.branch)?;
    let parent = repo
        .find_commit(tip)
        .map_err(failed("reading the live branch"))?;
    let tip_tree = parent.tree().map_err(failed("reading the live branch"))?;
    let index = lock.read(order.scratch)?;
    let memory = workshop(repo)?;
    let mut ready = Ready {
        tip,
        commit: tip,
        files: Vec::new(),
        made_directories: Vec::new(),
        index: None,
    };
    let mut tree_edits = Vec::new();
    let places = Places {
        repo,
        attributes: &Attributes::of(repo)?,
        memory: &memory,
        live,
    };
    for change in &order.patch.files {
        let (planned, edit) = plan_file(&places, &tip_tree, &index, change)?;
        for directory in live.missing_directories(&change.path)? {
            if change.after.is_some() && !ready.made_directories.contains(&directory) {
                ready.made_directories.push(directory);
            }
        }
        live.check_writable(&change.path)?;
        ready.files.push(planned);
        tree_edits.push(edit);
    }
    let tree = edited_tree(&memory, &tip_tree, &tree_edits)?;
    let tree = memory
        .find_tree(tree)
        .map_err(failed("building the heal commit"))?;
    let parent = memory
        .find_commit(tip)
        .map_err(failed("reading the live branch"))?;
    ready.commit = order
        .committer
        .commit(&memory, order.text, &tree, &[&parent])?;
    // What is staged need not be in the commit.
    let staged = ready
        .files
        .iter()
        .filter_map(|file| file.index_after.as_ref())
        .map(EntryState::oid)
        .collect::<Result<Vec<_>, _>>()?;
    store(&memory, repo, ready.commit, Some(&tip_tree), &staged)?;
    let edits: Vec<_> = ready
        .files
        .iter()
        .filter(|file| file.index_before != file.index_after)
        .map(|file| (file.path.clone(), file.index_after.clone()))
        .collect();
    ready.index = lock.edited(index, &edits)?;
    Ok(ready)
}

/// How `patch` fits what its files are in the live tree now; everything an apply would
/// refuse is refused. Nothing is written.
pub(crate) fn fit(
    repo: &Git,
    live: &LiveTree,
    branch: &str,
    patch: &Patch,
) -> Result<Fit, RepositoryError> {
    let tip_tree = repo
        .find_commit(tip(repo, branch)?)
        .and_then(|commit| commit.tree())
        .map_err(failed("reading the live branch"))?;
    let index =
        git2::Index::open(&repo.path().join("index")).map_err(failed("reading the index"))?;
    let memory = workshop(repo)?;
    let places = Places {
        repo,
        attributes: &Attributes::of(repo)?,
        memory: &memory,
        live,
    };
    let (mut moved, mut files) = (Vec::new(), Vec::new());
    for change in &patch.files {
        let (planned, _) = plan_file(&places, &tip_tree, &index, change)?;
        live.check_writable(&change.path)?;
        let text = |stored: Option<&Stored>| {
            let bytes = version(stored)?;
            let text = bytes.map(String::from_utf8).transpose();
            text.map_err(|_| {
                RepositoryError::Conflict(format!("{} is no text any more", change.path))
            })
        };
        let (before, after) = (
            text(planned.before.as_ref())?,
            text(planned.after.as_ref())?,
        );
        if before != change.before {
            moved.push(change.path.clone());
        }
        files.push(FileChange {
            path: change.path.clone(),
            before,
            after,
        });
    }
    Ok(if moved.is_empty() {
        Fit::Exact
    } else {
        Fit::Merges {
            moved,
            merged: Patch::of(files),
        }
    })
}

/// Where an apply reads, and where it puts new objects until they are stored.
struct Places<'a> {
    repo: &'a Git,
    attributes: &'a Attributes,
    memory: &'a Git,
    live: &'a LiveTree,
}

fn plan_file(
    places: &Places<'_>,
    tip_tree: &Tree<'_>,
    index: &git2::Index,
    change: &FileChange,
) -> Result<(PlannedFile, TreeEdit), RepositoryError> {
    let Places {
        repo,
        attributes,
        memory,
        live,
    } = *places;
    let path = change.path.as_str();
    let clash = |place: &'static str| {
        move |_: Clash| {
            RepositoryError::Conflict(format!(
                "{path} was changed {place} in the same place as the patch changes it"
            ))
        }
    };
    let from: Version = change.before.clone().map(String::into_bytes);
    let to: Version = change.after.clone().map(String::into_bytes);

    let now = live.read(path)?;
    let now_content = now.as_ref().map(|file| file.content.clone());
    if from.is_some() && now.is_none() && to.is_some() {
        return Err(RepositoryError::Conflict(format!(
            "{path} was removed from the live tree"
        )));
    }
    attributes.refuse_conversion(path, &[now_content.as_deref()])?;
    let after = carry(&from, &to, &now_content).map_err(clash("in the live tree"))?;
    let mode = now.as_ref().map(|file| file.mode);

    let committed = file_in(repo, tip_tree, path)?;
    let committed_content = committed.as_ref().map(|(content, _)| content.clone());
    // A file that git did not know yet is committed as the patch leaves it.
    let heal = if committed.is_none() && from.is_some() {
        to.clone()
    } else {
        carry(&from, &to, &committed_content).map_err(clash("on the live branch"))?
    };
    let file_mode = committed.as_ref().map_or_else(
        || match mode {
            Some(bits) if bits & 0o100 != 0 => FileMode::BlobExecutable,
            _ => FileMode::Blob,
        },
        |(_, mode)| *mode,
    );

    let entry = entry_in(index, path)?;
    let heal_entry = |content: &Version| -> Result<Option<EntryState>, RepositoryError> {
        content
            .as_ref()
            .map(|content| {
                memory
                    .blob(content)
                    .map(|id| EntryState::plain(id, u32::from(file_mode)))
                    .map_err(failed("writing a blob"))
            })
            .transpose()
    };
    let index_after = match &entry {
        // Staged as removed (or left out) by the user: stays so.
        None if committed.is_some() => None,
        None => heal_entry(&heal)?,
        Some(entry) if entry.is_intent_to_add() => heal_entry(&heal)?,
        Some(entry) => {
            let staged = repo
                .find_blob(entry.oid()?)
                .map_err(failed(format!("reading what is staged of {path}")))?
                .content()
                .to_vec();
            let staged = Some(staged);
            let next = if staged == committed_content {
                heal.clone()
            } else {
                carry(&from, &to, &staged).map_err(clash("in the index"))?
            };
            match next {
                None => None,
                Some(content) => Some(EntryState {
                    id: memory
                        .blob(&content)
                        .map_err(failed("writing a blob"))?
                        .to_string(),
                    ..entry.clone()
                }),
            }
        }
    };
    if entry.is_none() && index_after.is_some() {
        check_room(index, path)?;
    }
    Ok((
        PlannedFile {
            path: path.to_owned(),
            before: now
                .as_ref()
                .map(|file| Stored::new(&file.content, Some(file.mode))),
            after: after.map(|content| Stored::new(&content, mode)),
            index_before: entry,
            index_after,
        },
        TreeEdit {
            path: path.to_owned(),
            file: heal.map(|content| (content, file_mode)),
        },
    ))
}

/// Brings one file from its planned `before` to its planned `after`.
pub(crate) fn write_file(
    live: &LiveTree,
    file: &PlannedFile,
    mark: &str,
) -> Result<(), RepositoryError> {
    let before = version(file.before.as_ref())?;
    let after = version(file.after.as_ref())?;
    if before == after {
        return Ok(());
    }
    let now = live.read(&file.path).map_err(as_failure)?;
    if now.as_ref().map(|file| &file.content) != before.as_ref() {
        return Err(broken(
            format!("writing {}", file.path),
            "somebody else changed it just now",
        ));
    }
    match (after, &now) {
        (Some(content), _) => {
            let mode = file.after.as_ref().and_then(|after| after.mode);
            live.replace(&file.path, now.as_ref(), &content, mode, mark)
        }
        (None, Some(now)) => live.remove(&file.path, now),
        (None, None) => Ok(()),
    }
    .map_err(as_failure)
}
