//! One warm test worker: a contained session that speaks JSON lines.

use crate::candidate::Candidate;
use crate::command::{Invocation, Kind};
use crate::observe::{Attempt, Profile, Ready};
use selfheal_domain::tools::{
    SessionError, ToolError, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// The Python worker's file name among the assets.
pub(crate) const PYTHON_ASSET: &str = "worker.py";
/// Starts a script with the interpreter that `pytest` belongs to.
pub(crate) const LAUNCHER_ASSET: &str = "pytest-python.sh";
/// The JavaScript worker's file name among the assets.
pub(crate) const NODE_ASSET: &str = "worker.cjs";

/// What ECMAScript test files import instead of `node:test`.
pub(crate) const SHIM_ASSET: &str = "shim.mjs";

/// Why a worker gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("the worker could not be started")]
    Tool(#[from] ToolError),
    #[error("the worker gave no answer: {0}")]
    Session(SessionError),
    #[error("the worker refused: {0}")]
    Refused(String),
}

/// How candidates are run.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// CPU seconds a test may take, unless it took longer before.
    pub(crate) cpu: f64,
    /// Wall-clock seconds without any answer.
    pub(crate) wall: f64,
    /// Wall-clock seconds of one candidate.
    pub(crate) total: f64,
}

impl Limits {
    /// Far more time, for a candidate that deserves it.
    pub(crate) fn patient(&self) -> Self {
        Self {
            cpu: self.cpu.max(0.3) * 40.0,
            wall: self.wall.max(30.0),
            total: self.total.max(45.0),
        }
    }
}

/// A running worker.
pub(crate) struct Worker {
    session: Box<dyn ToolSession>,
    pub(crate) ready: Ready,
    pub(crate) command: String,
    dead: bool,
}

fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| "''".to_owned(), |quoted| quoted.into_owned())
}

impl Worker {
    /// Starts a worker for the command and waits until it has collected the tests.
    pub(crate) fn start(
        tools: &dyn Tools,
        plan: &Invocation,
        command: &str,
        life: Duration,
    ) -> Result<Self, WorkerError> {
        let assets = tools.assets();
        let mut line = String::from("exec env PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 ");
        for (name, value) in &plan.env {
            line.push_str(&format!("{name}={} ", quote(value)));
        }
        let python = quote(&format!("{assets}/{PYTHON_ASSET}"));
        let node = quote(&format!("{assets}/{NODE_ASSET}"));
        let words = plan
            .interpreter
            .iter()
            .map(|word| quote(word))
            .collect::<Vec<_>>()
            .join(" ");
        let mode = match plan.kind {
            Kind::Pytest => "pytest",
            Kind::Unittest => "unittest",
            Kind::Script => "script",
            Kind::Module => "module",
            Kind::Inline => "inline",
            Kind::Node => "node",
            Kind::Other => "shell",
        };
        let text = match plan.kind {
            Kind::Node => format!("{line}{words} {node}"),
            // `pytest` alone: its own interpreter has to run the worker.
            Kind::Pytest if plan.interpreter.is_empty() => {
                format!(
                    "{line}sh {} {python}",
                    quote(&format!("{assets}/{LAUNCHER_ASSET}"))
                )
            }
            Kind::Other => format!(
                "if command -v python3 >/dev/null; then {line}python3 {python}; else {line}node {node}; fi"
            ),
            _ => format!("{line}{words} {python}"),
        };
        let session = tools.session(ToolRequest::Bash {
            command: text,
            directory: plan.directory.clone(),
            timeout: life,
            access: WorkspaceAccess::Discard,
        })?;
        let mut worker = Self {
            session,
            ready: Ready::default(),
            command: command.to_owned(),
            dead: false,
        };
        let ready: Ready = worker.ask(
            &json!({"op": "start", "mode": mode, "argv": plan.argv, "directory": plan.directory, "env": plan.env.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(), "module": plan.module, "command": command}),
            life.min(Duration::from_secs(150)),
        )?;
        if !ready.ready {
            return Err(WorkerError::Refused(ready.error.unwrap_or_default()));
        }
        worker.ready = ready;
        Ok(worker)
    }

    /// No further answer can come.
    pub(crate) fn dead(&self) -> bool {
        self.dead
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        message: &Value,
        timeout: Duration,
    ) -> Result<T, WorkerError> {
        let answer = self
            .session
            .send(&message.to_string())
            .and_then(|()| self.session.receive(timeout));
        match answer {
            Ok(line) => serde_json::from_str(&line).map_err(|error| {
                WorkerError::Refused(format!(
                    "{error} in {}",
                    line.chars().take(120).collect::<String>()
                ))
            }),
            Err(error) => {
                self.dead = true;
                let tail = self.session.stderr_tail();
                tracing::debug!(%tail, "worker gone");
                Err(WorkerError::Session(error))
            }
        }
    }

    /// Runs everything once, watched.
    pub(crate) fn profile(&mut self, budget: Duration, cpu: f64) -> Result<Profile, WorkerError> {
        let wall = if self.ready.mode == "shell" {
            budget.as_secs_f64()
        } else {
            (cpu * 4.0).max(8.0)
        };
        let message = json!({"op": "profile", "budget": budget.as_secs_f64(), "cpu": cpu, "wall": wall, "command": self.command});
        let profile: Profile = self.ask(
            &message,
            budget * 2 + Duration::from_secs_f64(wall * 4.0 + 20.0),
        )?;
        match profile.error {
            Some(error) => Err(WorkerError::Refused(error)),
            None => Ok(profile),
        }
    }

    /// Tells this worker what another's profile found.
    pub(crate) fn learn(&mut self, profile: &Profile) -> Result<(), WorkerError> {
        let times: BTreeTimes = profile
            .tests
            .iter()
            .filter(|test| test.outcome != "hang")
            .map(|test| (test.test.clone(), test.seconds))
            .collect();
        let message = json!({"op": "times", "times": times, "imported": profile.imported, "modules": profile.modules});
        let _: Value = self.ask(&message, Duration::from_secs(60))?;
        Ok(())
    }

    /// Runs tests on a candidate: those named first, then all others if `all`.
    pub(crate) fn attempt(
        &mut self,
        candidate: &[&Candidate],
        tests: &[String],
        all: bool,
        limits: &Limits,
    ) -> Result<Attempt, WorkerError> {
        let edits = edits_of(candidate);
        let message = json!({"op": "try", "edits": edits, "tests": tests, "all": all, "cpu": limits.cpu, "wall": limits.wall, "total": limits.total, "command": self.command});
        let attempt: Attempt = self.ask(
            &message,
            Duration::from_secs_f64(limits.total + limits.wall * 2.0 + 20.0),
        )?;
        match attempt.error {
            Some(error) => Err(WorkerError::Refused(error)),
            None => Ok(attempt),
        }
    }

    /// Runs the whole command in a fresh process on a candidate.
    pub(crate) fn run_fresh(
        &mut self,
        candidate: &[&Candidate],
        wall: Duration,
    ) -> Result<Attempt, WorkerError> {
        let message = json!({"op": "run", "edits": edits_of(candidate), "command": self.command, "wall": wall.as_secs_f64()});
        self.ask(&message, wall + Duration::from_secs(10))
    }
}

type BTreeTimes = std::collections::BTreeMap<String, f64>;

fn edits_of(candidates: &[&Candidate]) -> Vec<(String, usize, usize, String)> {
    candidates
        .iter()
        .flat_map(|candidate| {
            candidate.edits.iter().map(|edit| {
                (
                    candidate.path.clone(),
                    edit.range.start,
                    edit.range.end,
                    edit.text.clone(),
                )
            })
        })
        .collect()
}
