//! A throw-away repository, and what can be compared of it.

use crate::{GitRepository, MachineIdentity};
use chrono::{DateTime, Utc};
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::ports::{Clock, CommitMessage};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
}

pub(crate) struct Fixture {
    _place: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
}

/// Everything that a heal and its rollback must leave as it was.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    files: BTreeMap<String, (u32, Vec<u8>)>,
    status: String,
    staged: String,
    unstaged: String,
    stash: String,
    worktrees: String,
    git_dir: Vec<String>,
}

impl Fixture {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        let fixture = Self {
            root: base.join("app"),
            state: base.join("state"),
            _place: place,
        };
        std::fs::create_dir(&fixture.root).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["config", "user.name", "Dev"]);
        fixture.git(&["config", "user.email", "dev@example.org"]);
        for (path, content) in files {
            fixture.write(path, content);
        }
        fixture.git(&["add", "-A"]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        fixture
    }

    pub(crate) fn open(&self) -> GitRepository {
        GitRepository::open(
            &self.root,
            &self.state,
            MachineIdentity::of_host("test"),
            Arc::new(FixedClock),
        )
        .unwrap()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let (ok, out) = self.try_git(args);
        assert!(ok, "git {args:?}: {out}");
        out
    }

    pub(crate) fn try_git(&self, args: &[&str]) -> (bool, String) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the git command line is the judge of these tests"
        )]
        let out = std::process::Command::new("git")
            .args(args)
            .current_dir(&self.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            text.push_str(&String::from_utf8_lossy(&out.stderr));
        }
        (out.status.success(), text)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.root.join(path), std::fs::Permissions::from_mode(mode))
            .unwrap();
    }

    /// What is there now. Looks at the index before git may refresh it.
    pub(crate) fn seen(&self) -> Seen {
        let mut files = BTreeMap::new();
        collect(&self.root, &self.root, &mut files);
        let mut git_dir: Vec<String> = std::fs::read_dir(self.root.join(".git"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "logs")
            .collect();
        git_dir.sort();
        Seen {
            files,
            status: self.git(&[
                "--no-optional-locks",
                "status",
                "--porcelain",
                "--untracked-files=all",
            ]),
            staged: self.git(&["diff", "--cached"]),
            unstaged: self.git(&["--no-optional-locks", "diff"]),
            stash: self.git(&["stash", "list"]),
            worktrees: self
                .git(&["worktree", "list"])
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
            git_dir,
        }
    }

    pub(crate) fn raw_git_state(&self) -> Vec<(String, Option<Vec<u8>>)> {
        [
            "index",
            "HEAD",
            "refs/heads/main",
            "refs/stash",
            "packed-refs",
            "logs/HEAD",
            "config",
        ]
        .into_iter()
        .map(|name| {
            (
                name.to_owned(),
                std::fs::read(self.root.join(".git").join(name)).ok(),
            )
        })
        .collect()
    }
}

fn collect(root: &Path, at: &Path, files: &mut BTreeMap<String, (u32, Vec<u8>)>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if name == ".git" {
            continue;
        }
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let mode = meta.permissions().mode();
        if meta.is_dir() {
            files.insert(name, (mode, Vec::new()));
            collect(root, &path, files);
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            files.insert(name, (mode, target.into_os_string().into_encoded_bytes()));
        } else if meta.is_file() {
            files.insert(name, (mode, std::fs::read(&path).unwrap()));
        }
    }
}

pub(crate) fn run(number: u32) -> RunRef {
    RunRef {
        issue: IssueNumber(7),
        run: RunNumber(number),
        id: RunId(uuid::Uuid::from_u128(u128::from(number) + 1)),
    }
}

pub(crate) fn patch(files: &[(&str, Option<&str>, Option<&str>)]) -> Patch {
    Patch::of(
        files
            .iter()
            .map(|(path, before, after)| FileChange {
                path: (*path).to_owned(),
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
            })
            .collect(),
    )
}

pub(crate) fn message(subject: &str) -> CommitMessage {
    CommitMessage {
        subject: subject.to_owned(),
        body: "Why.".to_owned(),
        trailers: vec![("Selfheal-Risk".to_owned(), "12 low".to_owned())],
    }
}
