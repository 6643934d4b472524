//! What a crash left half written: locks on our own refs, packs and objects that libgit2
//! had not finished (git's own clean-up does not know their names), and scratch files in
//! the state directory.

use crate::rollback::nobody_has_open;
use std::fs::DirEntry;
use std::path::Path;

/// Below the git directory; nobody else makes refs there.
const OUR_REFS: &[&str] = &["refs/heads/selfheal", "refs/selfheal"];
/// Where libgit2 writes before it renames, and how those files' names begin.
const UNFINISHED: &[(&str, &str)] = &[
    ("objects", "tmp_object_git2_"),
    ("objects/pack", "pack_git2_"),
];
/// Below the state directory, which is one host's.
const OUR_FILES: &[&str] = &["apply", "scratch", "shadow"];

/// Removes it all. What is still open belongs to somebody who lives.
pub(crate) fn sweep(git_dir: &Path, state_dir: &Path) {
    for part in OUR_REFS {
        each(&git_dir.join(part), &|entry| {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "lock") && nobody_has_open(&path) {
                remove(&path);
            }
        });
    }
    for (part, mark) in UNFINISHED {
        let directory = std::fs::read_dir(git_dir.join(part));
        for entry in directory.into_iter().flatten().flatten() {
            let is_unfinished = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(mark.as_bytes());
            // Another program that uses libgit2 has its own open until it is renamed.
            if is_unfinished && nobody_has_open(&entry.path()) {
                remove(&entry.path());
            }
        }
    }
    for part in OUR_FILES {
        each(&state_dir.join(part), &|entry| {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|kind| kind == "lock" || kind == "new")
            {
                remove(&path);
            }
        });
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "what a crash left could not be removed");
    }
}

fn each(directory: &Path, file: &dyn Fn(&DirEntry)) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each(&entry.path(), file),
            Ok(kind) if kind.is_file() => file(&entry),
            _ => {}
        }
    }
}
