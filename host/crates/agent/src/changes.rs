//! What a drafting agent changed, by whatever means, as a patch can hold it.

use crate::config::is_git;
use crate::view::open_beneath;
use crate::walk::is_leftover;
use crate::workbench::Bench;
use rustix::fs::OFlags;
use selfheal_domain::patch::FileChange;
use selfheal_sandbox::{ChangeKind, collect_changes};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Longest file of a patch, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Most files of a patch.
const MAX_FILES: usize = 1_000;

/// A regular file of a tree.
struct Plain {
    text: String,
    executable: bool,
}

/// Decodes the upper directory.
///
/// # Errors
/// It cannot be read, or holds what no patch can: binary files, links, changed
/// modes, protected or secret files, `.git`; or too much.
pub(crate) fn changes(bench: &Bench, upper: &Path) -> Result<Vec<FileChange>, String> {
    let live = &bench.config.repository_root;
    let found = collect_changes(upper, live)
        .map_err(|error| format!("the worktree cannot be read: {}", chain(&error)))?;
    let mut files = Vec::new();
    for change in found {
        let path = change
            .path
            .to_str()
            .ok_or_else(|| format!("{}: the name is not UTF-8", change.path.display()))?;
        if is_git(path) {
            return Err(format!(
                "{path}: the repository's own files must not change"
            ));
        }
        if !(bench.config.tracked)(path)
            && (is_leftover(path) || bench.ignores.is_ignored(path, false))
        {
            continue;
        }
        if bench.rules.is_protected(path) {
            return Err(format!("{path}: the file is protected"));
        }
        if bench.is_secret(path) {
            return Err(format!("{path}: files that hold secrets must not change"));
        }
        let before = (change.kind != ChangeKind::Added)
            .then(|| plain(live, path))
            .transpose()?;
        let after = (change.kind != ChangeKind::Deleted)
            .then(|| plain(upper, path))
            .transpose()?;
        if let (Some(before), Some(after)) = (&before, &after)
            && before.executable != after.executable
        {
            return Err(format!("{path}: its mode changed, which no patch can hold"));
        }
        files.push(FileChange {
            path: path.to_owned(),
            before: before.map(|file| file.text),
            after: after.map(|file| file.text),
        });
        if files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files changed"));
        }
    }
    Ok(files)
}

fn plain(base: &Path, path: &str) -> Result<Plain, String> {
    let wrong = |what: &str| format!("{path}: {what}");
    let file = open_beneath(base, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK)
        .map_err(|error| wrong(&format!("not a plain file, or it cannot be read ({error})")))?;
    let metadata = file.metadata().map_err(|error| wrong(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("not a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong("larger than 4 MiB"));
    }
    if bytes.contains(&0) {
        return Err(wrong("a binary file"));
    }
    Ok(Plain {
        text: String::from_utf8(bytes).map_err(|_| wrong("a binary file"))?,
        executable: metadata.permissions().mode() & 0o100 != 0,
    })
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
