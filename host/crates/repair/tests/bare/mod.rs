//! Plain tools for tests and measurements: no policy, no sandbox; every command
//! runs on its own copy of the directory.

#![allow(clippy::unwrap_used, reason = "a broken test bench may panic")]

use selfheal_domain::tools::{
    CommandOutput, Ended, SessionError, ToolError, ToolOutput, ToolRequest, ToolSession, Tools,
    WorkspaceAccess,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Tools over a directory that is never written, except by `Edit` and `Write`
/// into a copy.
pub(crate) struct BareTools {
    kept: tempfile::TempDir,
    assets: tempfile::TempDir,
    verbose: bool,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if entry.file_name() != ".git" {
                copy(&entry.path(), &target);
            }
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target).unwrap();
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), &target).unwrap();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests measure the engine without the sandbox"
)]
fn shell(command: &str, directory: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(command)
        .current_dir(directory)
        .process_group(0);
    shell
}

impl BareTools {
    /// Works on a copy of the directory.
    pub(crate) fn new(directory: &Path, verbose: bool) -> Self {
        let kept = tempfile::tempdir().unwrap();
        copy(directory, kept.path());
        let assets = tempfile::tempdir().unwrap();
        for asset in selfheal_repair::assets() {
            std::fs::write(assets.path().join(asset.name), asset.content).unwrap();
        }
        Self {
            kept,
            assets,
            verbose,
        }
    }

    /// Where `Edit` and `Write` write.
    #[allow(dead_code, reason = "the example has no use for it")]
    pub(crate) fn kept(&self) -> &Path {
        self.kept.path()
    }

    fn view(&self, access: WorkspaceAccess) -> (Option<tempfile::TempDir>, PathBuf) {
        match access {
            WorkspaceAccess::Keep => (None, self.kept.path().to_owned()),
            _ => {
                let view = tempfile::tempdir().unwrap();
                copy(self.kept.path(), view.path());
                let path = view.path().to_owned();
                (Some(view), path)
            }
        }
    }
}

fn kill(child: &mut Child) {
    let group = format!("kill -9 -{}", child.id());
    let _ = shell(&group, Path::new("/")).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.wait();
}

impl Tools for BareTools {
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        match request {
            ToolRequest::Bash {
                command,
                directory,
                timeout,
                access,
            } => {
                let (_view, path) = self.view(access);
                let started = Instant::now();
                let mut child = shell(&command, &path.join(directory))
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let mut output = child.stdout.take().unwrap();
                let reader = std::thread::spawn(move || {
                    let mut text = String::new();
                    let _ = output.read_to_string(&mut text);
                    text
                });
                let ended = loop {
                    if let Some(status) = child.try_wait().unwrap() {
                        break status.code().map_or(Ended::Signal(9), Ended::Exit);
                    }
                    if started.elapsed() > timeout {
                        break Ended::TimedOut;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                };
                kill(&mut child);
                let stdout = reader.join().unwrap_or_default();
                let seconds = started.elapsed().as_secs_f64();
                Ok(ToolOutput::Command(CommandOutput {
                    ended,
                    stdout,
                    stderr: String::new(),
                    truncated: false,
                    seconds,
                }))
            }
            ToolRequest::Read { path, .. } => std::fs::read_to_string(self.kept.path().join(&path))
                .map(ToolOutput::Text)
                .map_err(|error| ToolError::Invalid(format!("{path}: {error}"))),
            ToolRequest::Write { path, content } => {
                std::fs::write(self.kept.path().join(path), content).unwrap();
                Ok(ToolOutput::Written)
            }
            ToolRequest::Edit { path, old, new, .. } => {
                let path = self.kept.path().join(path);
                let text = std::fs::read_to_string(&path).unwrap();
                if text.matches(&old).count() != 1 {
                    return Err(ToolError::Invalid(
                        "the passage does not occur exactly once".into(),
                    ));
                }
                std::fs::write(path, text.replacen(&old, &new, 1)).unwrap();
                Ok(ToolOutput::Written)
            }
            ToolRequest::Glob { .. } | ToolRequest::Grep { .. } => {
                Ok(ToolOutput::Text(String::new()))
            }
            ToolRequest::MultiEdit { .. } | ToolRequest::Task { .. } | ToolRequest::Mcp { .. } => {
                Err(ToolError::Invalid("not here".into()))
            }
        }
    }

    fn session(&self, request: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        let ToolRequest::Bash {
            command,
            directory,
            access,
            ..
        } = request
        else {
            return Err(ToolError::Invalid("only Bash".into()));
        };
        let (view, path) = self.view(access);
        let stderr = if self.verbose {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        let mut child = shell(&command, &path.join(directory))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| ToolError::Unavailable(error.to_string()))?;
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Box::new(BareSession {
            child,
            lines,
            _view: view,
        }))
    }

    fn workspace(&self) -> String {
        self.kept.path().display().to_string()
    }

    fn assets(&self) -> String {
        self.assets.path().display().to_string()
    }

    #[allow(clippy::print_stderr, reason = "a test tool")]
    fn progress(&self, note: &str) {
        if self.verbose {
            eprintln!("{note}");
        }
    }

    fn cancelled(&self) -> bool {
        false
    }
}

struct BareSession {
    child: Child,
    lines: Receiver<String>,
    _view: Option<tempfile::TempDir>,
}

impl ToolSession for BareSession {
    fn send(&mut self, line: &str) -> Result<(), SessionError> {
        let stdin = self.child.stdin.as_mut().ok_or(SessionError::Gone)?;
        stdin
            .write_all(line.as_bytes())
            .and_then(|()| stdin.write_all(b"\n"))
            .and_then(|()| stdin.flush())
            .map_err(|_| SessionError::Gone)
    }

    fn receive(&mut self, timeout: Duration) -> Result<String, SessionError> {
        self.lines
            .recv_timeout(timeout)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => SessionError::TimedOut,
                RecvTimeoutError::Disconnected => SessionError::Gone,
            })
    }

    fn stderr_tail(&self) -> String {
        String::new()
    }
}

impl Drop for BareSession {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}
