//! A contained shell that takes files in and runs the compiler on them.

use super::diagnostics::Report;
use super::invocation::Build;
use selfheal_domain::agent::CheckCommand;
use selfheal_domain::tools::{
    SessionError, ToolError, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Starts the answer's last line.
const END: &str = "selfheal-exit:";
/// Bytes of one answer that are read at most.
const ANSWER: usize = 16 * 1024 * 1024;

/// Name of the script that the probe runs.
pub(crate) const COMPILER_ASSET: &str = "compiler.sh";

/// A running shell on a throw-away layer.
pub(crate) struct Probe {
    session: Box<dyn ToolSession>,
    /// From the check's directory to the workspace's root.
    up: String,
    /// Files that differ from the live tree.
    placed: Vec<String>,
}

impl Probe {
    /// Starts the shell. It knows two commands only: the question to the
    /// compiler and the check itself; both stand in what the policies judge.
    pub(crate) fn start(
        tools: &dyn Tools,
        build: &Build,
        check: &CheckCommand,
        life: Duration,
    ) -> Result<Self, ToolError> {
        let script = format!("{}/{COMPILER_ASSET}", tools.assets());
        let command = format!(
            "sh {} {} {}",
            quoted(&script)?,
            quoted(&build.command)?,
            quoted(&check.command)?
        );
        let session = tools.session(ToolRequest::Bash {
            command,
            directory: check.directory.clone(),
            timeout: life,
            access: WorkspaceAccess::Discard,
        })?;
        Ok(Self {
            session,
            up: check
                .directory
                .split('/')
                .filter(|part| !matches!(*part, "" | "."))
                .map(|_| "../")
                .collect(),
            placed: Vec::new(),
        })
    }

    fn place(&mut self, path: &str, text: &str) -> Result<(), SessionError> {
        let feed = text.is_empty() || text.ends_with('\n');
        let body = text.strip_suffix('\n').unwrap_or(text);
        let lines: Vec<&str> = if text.is_empty() {
            Vec::new()
        } else {
            body.split('\n').collect()
        };
        self.session.send("file")?;
        self.session.send(&format!("{}{path}", self.up))?;
        self.session.send(&lines.len().to_string())?;
        self.session.send(if feed { "yes" } else { "no" })?;
        for line in lines {
            self.session.send(line)?;
        }
        Ok(())
    }

    fn run(
        &mut self,
        op: &str,
        files: &BTreeMap<String, String>,
        originals: &BTreeMap<String, String>,
        wall: Duration,
    ) -> Result<(Vec<String>, i32), SessionError> {
        for path in std::mem::take(&mut self.placed) {
            if !files.contains_key(&path)
                && let Some(text) = originals.get(&path)
            {
                self.place(&path, text)?;
            }
        }
        for (path, text) in files {
            self.place(path, text)?;
            self.placed.push(path.clone());
        }
        self.session.send(op)?;
        let until = Instant::now() + wall;
        let (mut lines, mut size) = (Vec::new(), 0);
        loop {
            let line = self
                .session
                .receive(until.saturating_duration_since(Instant::now()))?;
            if let Some(code) = line
                .strip_prefix(END)
                .and_then(|code| code.trim().parse().ok())
            {
                return Ok((lines, code));
            }
            size += line.len();
            if size < ANSWER {
                lines.push(line);
            }
        }
    }

    /// Asks the compiler about the tree with these files.
    pub(crate) fn examine(
        &mut self,
        files: &BTreeMap<String, String>,
        originals: &BTreeMap<String, String>,
        wall: Duration,
    ) -> Result<Report, SessionError> {
        let (lines, code) = self.run("ask", files, originals, wall)?;
        Ok(Report::read(&lines, code))
    }

    /// Runs the check on the tree with these files: whether it succeeds.
    pub(crate) fn check(
        &mut self,
        files: &BTreeMap<String, String>,
        originals: &BTreeMap<String, String>,
        wall: Duration,
    ) -> Result<bool, SessionError> {
        self.run("check", files, originals, wall)
            .map(|(_, code)| code == 0)
    }
}

/// One word of shell text, in the plainest quotes that hold it, so that whoever
/// judges the command can read it.
fn quoted(text: &str) -> Result<String, ToolError> {
    if !text.contains(['"', '$', '`', '\\']) {
        return Ok(format!("\"{text}\""));
    }
    shlex::try_quote(text)
        .map(|word| word.into_owned())
        .map_err(|error| ToolError::Invalid(format!("the check is no shell text: {error}")))
}
