//! A patch: whole files before and after, and the diff people read.

use crate::digest::Digest;
use crate::policy::ChangeKind;
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

/// One file's change. Contents are UTF-8: the agents edit text only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileChange {
    /// Path relative to the repository root, with `/`.
    pub path: String,
    /// Content before; none when the file comes to be.
    pub before: Option<String>,
    /// Content after; none when the file goes.
    pub after: Option<String>,
}

impl FileChange {
    /// The change as `git diff` shows it and `git apply` takes it.
    pub fn unified_diff(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        let path = &self.path;
        let (from, to, mode) = match (&self.before, &self.after) {
            (None, _) => (
                "/dev/null".to_owned(),
                format!("b/{path}"),
                "new file mode 100644\n",
            ),
            (_, None) => (
                format!("a/{path}"),
                "/dev/null".to_owned(),
                "deleted file mode 100644\n",
            ),
            _ => (format!("a/{path}"), format!("b/{path}"), ""),
        };
        let diff = TextDiff::from_lines(before, after);
        let hunks = diff
            .unified_diff()
            .context_radius(3)
            .header(&from, &to)
            .to_string();
        format!("diff --git a/{path} b/{path}\n{mode}{hunks}")
    }

    /// Lines added and removed, without their line ends.
    pub fn changed_lines(&self) -> (Vec<String>, Vec<String>) {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for change in TextDiff::from_lines(before, after).iter_all_changes() {
            let line = change.value().trim_end_matches(['\n', '\r']).to_owned();
            match change.tag() {
                ChangeTag::Insert => added.push(line),
                ChangeTag::Delete => removed.push(line),
                ChangeTag::Equal => {}
            }
        }
        (added, removed)
    }

    /// Kind of change; none when nothing changes.
    pub fn kind(&self) -> Option<ChangeKind> {
        match (&self.before, &self.after) {
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(_), None) => Some(ChangeKind::Deleted),
            (Some(before), Some(after)) if before != after => Some(ChangeKind::Modified),
            _ => None,
        }
    }
}

/// A patch against the snapshot of one run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Patch {
    /// Its files, sorted by path.
    pub files: Vec<FileChange>,
    /// Unified diff of all files, `git apply`-able.
    pub diff: String,
    /// Digest of `diff`: what a review names.
    pub digest: Digest,
}

impl Patch {
    /// Takes the changes that are changes, sorts them by path, and makes the diff.
    pub fn of(mut files: Vec<FileChange>) -> Self {
        files.retain(|file| file.kind().is_some());
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let diff: String = files.iter().map(FileChange::unified_diff).collect();
        let digest = Digest::of(diff.as_bytes());
        Self {
            files,
            diff,
            digest,
        }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Whether a path is that of a test, by the conventions of the languages we heal:
/// such files are witnesses (invariant 7).
pub fn is_test_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut segments: Vec<&str> = lower.split('/').collect();
    let file = segments.pop().unwrap_or_default();
    let in_test_directory = segments.iter().any(|segment| {
        matches!(
            *segment,
            "test" | "tests" | "__tests__" | "spec" | "specs" | "testing"
        )
    });
    let stem = file.split('.').next().unwrap_or_default();
    in_test_directory
        || file == "conftest.py"
        || stem == "test"
        || stem == "tests"
        || stem.starts_with("test_")
        || stem.starts_with("test-")
        || stem.ends_with("_test")
        || stem.ends_with("-test")
        || file.contains(".test.")
        || file.contains(".spec.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> FileChange {
        FileChange {
            path: "a/b.py".into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        }
    }

    #[test]
    fn the_diff_is_what_git_apply_takes() {
        let modified = change(Some("one\ntwo\n"), Some("one\n2\n")).unified_diff();
        assert_eq!(
            modified,
            "diff --git a/a/b.py b/a/b.py\n--- a/a/b.py\n+++ b/a/b.py\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
        );
        let added = change(None, Some("x")).unified_diff();
        assert!(added.contains("new file mode 100644\n--- /dev/null\n+++ b/a/b.py\n@@ -0,0 +1 @@\n+x\n\\ No newline"), "{added}");
        let deleted = change(Some("x\n"), None).unified_diff();
        assert!(
            deleted.contains("deleted file mode 100644\n--- a/a/b.py\n+++ /dev/null\n"),
            "{deleted}"
        );
    }

    #[test]
    fn a_patch_is_sorted_and_holds_changes_only() {
        let file = |path: &str, after: &str| FileChange {
            path: path.into(),
            before: Some("same\n".into()),
            after: Some(after.into()),
        };
        let patch = Patch::of(vec![
            file("z", "new\n"),
            file("m", "same\n"),
            file("a", "new\n"),
        ]);
        let paths: Vec<_> = patch.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a", "z"]);
        assert_eq!(patch.digest, Digest::of(patch.diff.as_bytes()));
    }

    #[test]
    fn tests_are_recognised_by_path() {
        for path in [
            "test_a.py",
            "src/a_test.py",
            "tests/x/y.py",
            "a.test.js",
            "b.spec.ts",
            "__tests__/c.js",
            "test.js",
            "conftest.py",
        ] {
            assert!(is_test_path(path), "{path}");
        }
        for path in [
            "latest.py",
            "src/contest.js",
            "attestation/a.py",
            "src/testimony.py",
            "app.py",
        ] {
            assert!(!is_test_path(path), "{path}");
        }
    }
}
