//! A small application in a git repository of its own.

use crate::binary;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A repository under `app/` in a directory of its own.
#[derive(Debug)]
pub struct Project {
    directory: TempDir,
}

impl Project {
    /// A repository that holds `files` in one commit.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("selfheal-e2e-")
            .tempdir()
            .expect("a temporary directory");
        let project = Self { directory };
        std::fs::create_dir_all(project.app()).expect("app/ can be made");
        for (name, text) in files {
            project.write(name, text);
        }
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "--message", "first"]);
        project
    }

    /// Beside the repository: configuration and data go here.
    pub fn outside(&self) -> PathBuf {
        self.directory
            .path()
            .canonicalize()
            .expect("the directory exists")
    }

    /// The repository.
    pub fn app(&self) -> PathBuf {
        self.directory.path().join("app")
    }

    /// Writes a file of the repository.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.app().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
            .expect("directories can be made");
        std::fs::write(path, text).expect("files can be written");
    }

    /// Reads a file of the repository.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.app().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs git in the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .current_dir(self.app())
            .args(arguments)
            .stdin(Stdio::null());
        for (name, value) in hermetic(&self.outside()) {
            command.env(name, value);
        }
        let output = command.output().expect("git is installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Everything a heal must leave alone: every file with its bytes, and what git
    /// says of index, branches, stash and worktrees.
    pub fn state(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        collect(&self.app(), &self.app(), &mut state);
        for question in [
            &["status", "--porcelain"][..],
            &["rev-parse", "HEAD"],
            &["branch", "--list"],
            &["stash", "list"],
            &["worktree", "list"],
            &["for-each-ref"],
        ] {
            state.insert(format!("git {}", question.join(" ")), self.git(question));
        }
        state
    }

    /// Runs the binary under test in the repository.
    pub fn selfheal(&self, arguments: &[&str]) -> Ran {
        self.selfheal_in(&self.app(), arguments)
    }

    /// Runs the binary under test in `directory`.
    pub fn selfheal_in(&self, directory: &Path, arguments: &[&str]) -> Ran {
        self.selfheal_with(directory, arguments, &[])
    }

    /// Runs the binary under test in `directory` with further environment variables.
    pub fn selfheal_with(
        &self,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Ran {
        let output = self
            .command(directory, arguments)
            .envs(environment.iter().copied())
            .output()
            .expect("the binary starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the binary under test in `directory` with `input` on its standard input.
    pub fn selfheal_fed(
        &self,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &[u8],
    ) -> Ran {
        let mut command = self.command(directory, arguments);
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that decides early does not read to the end.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The binary under test in `directory`, ready to start: its environment is
    /// hermetic, its standard input empty.
    pub fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(directory)
            .args(arguments)
            .stdin(Stdio::null());
        for (name, value) in hermetic(&self.outside()) {
            command.env(name, value);
        }
        command.env("NO_COLOR", "1");
        command
    }
}

fn hermetic(home: &Path) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        (
            "XDG_CACHE_HOME",
            std::env::temp_dir()
                .join("selfheal-e2e-cache")
                .display()
                .to_string(),
        ),
        ("XDG_STATE_HOME", home.join("state").display().to_string()),
        ("SELFHEAL_TOKEN", String::new()),
        ("TMPDIR", home.display().to_string()),
    ];
    for role in ["AUTHOR", "COMMITTER"] {
        let (name, email) = if role == "AUTHOR" {
            ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
        } else {
            ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        };
        variables.push((name, "Dev".to_owned()));
        variables.push((email, "dev@localhost".to_owned()));
    }
    variables
}

fn collect(root: &Path, directory: &Path, state: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).expect("directories can be listed") {
        let path = entry.expect("entries can be read").path();
        if path.file_name().is_some_and(|name| name == ".git") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, state);
            continue;
        }
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = std::fs::read(&path).unwrap_or_default();
        state.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
}
