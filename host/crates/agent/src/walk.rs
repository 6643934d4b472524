//! Lists the workspace: what git ignores, `.git` and secrets are left out.

use crate::config::is_git;
use crate::view::{Kind, View, is_whiteout, open_beneath};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::OFlags;
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Directories deeper than this are not entered.
pub(crate) const MAX_DEPTH: usize = 64;

/// Entries looked at before a listing stops.
pub(crate) const MAX_ENTRIES: usize = 300_000;

/// Longest `.gitignore` that is read, in bytes.
const MAX_IGNORE_FILE: u64 = 1024 * 1024;

/// Directories of installed code and caches: no secrets of the application, and
/// hundreds of thousands of files.
const DEPENDENCIES: &[&str] = &[
    "node_modules",
    "site-packages",
    "dist-packages",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    "target",
];

/// What tools leave behind, whether or not a `.gitignore` says so.
const LEFTOVERS: &[&str] = &[
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".nyc_output",
    ".cache",
];

/// The `.gitignore` rules of the live tree. Those of layers do not count: what a
/// drafting agent writes there must not hide its other changes.
pub(crate) struct Ignores {
    live: View,
    matchers: Mutex<HashMap<String, Arc<Gitignore>>>,
}

impl Ignores {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            live: View::new(root.to_owned(), Vec::new()),
            matchers: Mutex::new(HashMap::new()),
        }
    }

    /// Git would leave the path out if it did not know it already.
    pub(crate) fn is_ignored(&self, relative: &str, directory: bool) -> bool {
        let ends = relative
            .match_indices('/')
            .map(|(at, _)| (at, true))
            .chain([(relative.len(), directory)]);
        for (end, directory) in ends {
            if let Some(prefix) = relative.get(..end)
                && self.matches(prefix, directory)
            {
                return true;
            }
        }
        false
    }

    /// The same for the last part alone, its parents known not to be ignored.
    fn matches(&self, relative: &str, directory: bool) -> bool {
        let mut parent = relative;
        while let Some(up) = parent_of(parent) {
            parent = up;
            match self
                .matcher(parent)
                .matched(self.live.root().join(relative), directory)
            {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }

    fn matcher(&self, directory: &str) -> Arc<Gitignore> {
        let mut matchers = self.matchers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = matchers.get(directory) {
            return Arc::clone(known);
        }
        let base = self.live.root().join(directory);
        let mut builder = GitignoreBuilder::new(&base);
        let mut add = |relative: &Path| {
            let Ok(file) = open_beneath(&base, relative, OFlags::RDONLY | OFlags::NONBLOCK) else {
                return;
            };
            let mut text = String::new();
            if file.take(MAX_IGNORE_FILE).read_to_string(&mut text).is_ok() {
                for line in text.lines() {
                    // A line that is no pattern ignores nothing, as in git.
                    let _ = builder.add_line(None, line);
                }
            }
        };
        if directory.is_empty() {
            add(Path::new(".git/info/exclude"));
        }
        add(Path::new(".gitignore"));
        let matcher = Arc::new(builder.build().unwrap_or_else(|_| Gitignore::empty()));
        matchers.insert(directory.to_owned(), Arc::clone(&matcher));
        matcher
    }
}

/// The directory of a relative path; empty for the root, none above it.
fn parent_of(relative: &str) -> Option<&str> {
    if relative.is_empty() {
        return None;
    }
    Some(
        relative
            .rfind('/')
            .map_or("", |at| relative.get(..at).unwrap_or("")),
    )
}

/// Caches and compiled files that no patch is about.
pub(crate) fn is_leftover(relative: &str) -> bool {
    relative.split('/').any(|part| LEFTOVERS.contains(&part))
        || relative.ends_with(".pyc")
        || matches!(relative.rsplit('/').next(), Some(".coverage"))
}

/// Visits the regular files of the workspace in order, ignored ones and `.git`
/// left out. Answers false when it stopped at a bound.
pub(crate) fn files(
    view: &View,
    ignores: &Ignores,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> bool {
    walk(
        view,
        &|path, directory| !ignores.matches(path, directory),
        false,
        visit,
    )
}

/// Visits all files that could be the application's, ignored ones included, and links
/// by their own names.
pub(crate) fn all_files(view: &View, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> bool {
    let enter = |path: &str, directory: bool| !directory || !is_dependency(path);
    walk(view, &enter, true, visit)
}

/// A directory of installed code or caches.
pub(crate) fn is_dependency(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| DEPENDENCIES.contains(&name))
}

fn walk(
    view: &View,
    keep: &dyn Fn(&str, bool) -> bool,
    links: bool,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> bool {
    let mut open = vec![(String::new(), 0_usize)];
    let mut seen = 0;
    while let Some((directory, depth)) = open.pop() {
        let mut deeper = Vec::new();
        for (name, kind) in entries(view, &directory) {
            seen += 1;
            if seen > MAX_ENTRIES {
                return false;
            }
            let path = if directory.is_empty() {
                name
            } else {
                format!("{directory}/{name}")
            };
            if is_git(&path) || !keep(&path, kind == Kind::Directory) {
                continue;
            }
            match kind {
                Kind::Directory if depth < MAX_DEPTH => deeper.push((path, depth + 1)),
                Kind::File | Kind::Link(_) if kind == Kind::File || links => {
                    if visit(&path).is_break() {
                        return true;
                    }
                }
                Kind::Directory | Kind::File | Kind::Link(_) | Kind::Special => {}
            }
        }
        // Popped from the end, so the first goes last.
        open.extend(deeper.into_iter().rev());
    }
    true
}

/// Names of a directory through all layers, sorted. Names that are no UTF-8 are
/// left out: no request can spell them.
pub(crate) fn entries(view: &View, relative: &str) -> Vec<(String, Kind)> {
    let mut names = BTreeSet::new();
    for base in view.bases() {
        let Ok(list) = base.join(relative).read_dir() else {
            continue;
        };
        for entry in list.flatten() {
            let gone = entry
                .metadata()
                .is_ok_and(|metadata| is_whiteout(&metadata));
            if let (false, Ok(name)) = (gone, entry.file_name().into_string()) {
                names.insert(name);
            }
        }
    }
    names
        .into_iter()
        .filter_map(|name| {
            let found = view.lookup(&Path::new(relative).join(&name))?;
            Some((name, found.kind))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn ignored_files_and_git_are_left_out() {
        let top = tempfile::tempdir().expect("temporary directory");
        let root = top.path().canonicalize().expect("canonical");
        for directory in [".git", "src/deep", "build", "logs"] {
            fs::create_dir_all(root.join(directory)).expect("directory");
        }
        for (path, text) in [
            (".gitignore", "build/\n*.log\n!keep.log\n"),
            ("src/.gitignore", "/generated.py\n"),
            (".git/config", ""),
            ("a.py", ""),
            ("build/out.py", ""),
            ("logs/x.log", ""),
            ("logs/keep.log", ""),
            ("src/generated.py", ""),
            ("src/deep/generated.py", ""),
        ] {
            fs::write(root.join(path), text).expect("file");
        }
        let view = View::new(root.clone(), Vec::new());
        let ignores = Ignores::new(&root);
        let mut seen = Vec::new();
        assert!(files(&view, &ignores, &mut |path| {
            seen.push(path.to_owned());
            ControlFlow::Continue(())
        }));
        let want = [
            ".gitignore",
            "a.py",
            "logs/keep.log",
            "src/.gitignore",
            "src/deep/generated.py",
        ];
        assert_eq!(seen, want);
        assert!(ignores.is_ignored("build/deeper/x.py", false));
        assert!(!ignores.is_ignored("src/x.py", false));
    }
}
