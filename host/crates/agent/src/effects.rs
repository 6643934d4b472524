//! What the tools do, once a call is admitted.

use crate::broker::{Admitted, Broker, Effect, Place, host_denies, shorten};
use crate::changes::chain;
use crate::config::{glob, is_git};
use crate::history::READING;
use crate::layer::Layer;
use crate::observed::{Holding, declared, held};
use crate::taint::unvouched;
use crate::walk::files;
use regex::RegexBuilder;
use selfheal_domain::event::ToolOutcome;
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::tools::{CommandOutput, Ended, ToolError, ToolOutput, WorkspaceAccess};
use selfheal_sandbox::{Access, Replacement, SandboxError, SandboxSpec, Session, Workspace};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

/// Longest file that `Read` gives, `Grep` searches and `Write` takes, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Longest answer of `Grep` and `Glob`, in bytes.
const MAX_LISTING: usize = 512 * 1024;

/// Longest line that `Grep` shows, in bytes.
const MAX_LINE: usize = 500;

/// Most edits of one call.
const MAX_EDITS: usize = 200;

/// Longest prompt of a sub-agent, in bytes; longer ones would be cut in the record.
const MAX_PROMPT: usize = 64 * 1024;

/// Longest command, in bytes; facts of longer ones could not be made.
const MAX_COMMAND: usize = 64 * 1024;

impl Broker {
    pub(crate) fn bash(
        &self,
        command: &str,
        directory: &str,
        timeout: Duration,
        access: WorkspaceAccess,
        admitted: &Admitted,
    ) -> Effect<ToolOutput> {
        let keep = access == WorkspaceAccess::Keep;
        // A command that keeps its writes is alone with the worktree; the others
        // may share it among themselves.
        let (_writer, _readers) = if keep {
            let lock = self.worktree_lock.write();
            (Some(lock.unwrap_or_else(PoisonError::into_inner)), None)
        } else {
            let lock = self.worktree_lock.read();
            (None, Some(lock.unwrap_or_else(PoisonError::into_inner)))
        };
        let spec = self
            .sandbox_spec(command, directory, timeout, access)
            .and_then(|mut spec| {
                spec.grants = self.bench.grants(&admitted.facts)?;
                Ok(spec)
            });
        let spec = match spec {
            Ok(spec) => spec,
            Err(error) => return Effect::refused(error),
        };
        if let Err(error) = self.tenancy.free() {
            return Effect::refused(error);
        }
        let before = keep.then(|| self.kept());
        let ran = self.bench.sandbox.run(spec, self.lifeline.token());
        let surplus = before.map(|before| self.surplus(before, admitted));
        match ran {
            Ok(output) => self.command_effect(output, surplus),
            Err(error) => failed_to_run(&error),
        }
    }

    /// Starts a process that stays.
    pub(crate) fn start(
        &self,
        command: &str,
        directory: &str,
        timeout: Duration,
        access: WorkspaceAccess,
    ) -> Result<Session, ToolError> {
        if access == WorkspaceAccess::Keep {
            return Err(ToolError::Invalid(
                "a session cannot keep what it writes; use a plain call".to_owned(),
            ));
        }
        self.tenancy.free()?;
        let spec = self.sandbox_spec(command, directory, timeout, access)?;
        self.bench
            .sandbox
            .spawn(spec, self.lifeline.token())
            .map_err(|error| tool_error(&error))
    }

    pub(crate) fn sandbox_spec(
        &self,
        command: &str,
        directory: &str,
        timeout: Duration,
        access: WorkspaceAccess,
    ) -> Result<SandboxSpec, ToolError> {
        let invalid = |text: &str| ToolError::Invalid(text.to_owned());
        if command.len() > MAX_COMMAND {
            return Err(invalid("a command has at most 64 KiB"));
        }
        let below = Path::new(directory)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !below {
            return Err(invalid(
                "the directory must be relative to the workspace, without `..`",
            ));
        }
        let config = &self.bench.config;
        let (layers, access) = match (access, &self.place) {
            (WorkspaceAccess::ReadOnly, _) => (self.layers.clone(), Access::ReadOnly),
            (WorkspaceAccess::Discard, _) => (self.layers.clone(), Access::Discard),
            (WorkspaceAccess::Keep, Place::Worktree(worktree)) => (
                Vec::new(),
                Access::Keep {
                    upper: worktree.upper.clone(),
                    work: worktree.work.clone(),
                },
            ),
            (WorkspaceAccess::Keep, Place::Live | Place::Patched(_) | Place::Broken(_)) => {
                return Err(invalid("only drafting keeps what commands write"));
            }
        };
        let git = config.repository_root.join(".git");
        let history = self.bench.history_for(command);
        let mut masked = vec![config.git_dir.clone(), git.clone()];
        if history.is_some() {
            // What is shown in its place hides it as well.
            masked.retain(|place| *place != git);
        }
        masked.extend(config.private_dirs.iter().cloned());
        masked.extend(self.bench.secret_files()?);
        let mut limits = config.limits;
        limits.wall = limits.wall.min(timeout);
        let mut spec = SandboxSpec::new(
            command,
            Workspace {
                root: config.repository_root.clone(),
                layers,
                access,
            },
        );
        spec.directory = PathBuf::from(directory);
        spec.environment = self.bench.environment_variables();
        if let Some(view) = history {
            for (name, value) in READING {
                spec.environment
                    .insert((*name).to_owned(), (*value).to_owned());
            }
            spec.replaced = vec![Replacement {
                path: git,
                with: view,
            }];
        }
        spec.assets = Some(config.assets_dir.clone());
        spec.masked = masked;
        spec.limits = limits;
        Ok(spec)
    }

    fn command_effect(&self, output: CommandOutput, surplus: Option<String>) -> Effect<ToolOutput> {
        let mut text = format!("{} after {:.2} s", ending(output.ended), output.seconds);
        if let Some(surplus) = surplus {
            text.push_str(&surplus);
        }
        for (name, stream) in [("stderr", &output.stderr), ("stdout", &output.stdout)] {
            let stream = stream.trim();
            if !stream.is_empty() {
                text.push_str(&format!("\n{name}: {}", shorten(stream, 800)));
            }
        }
        if output.ended == Ended::Cancelled {
            return Effect {
                result: Err(ToolError::Cancelled),
                outcome: ToolOutcome::Failed(text),
                brought: None,
            };
        }
        let outcome = if output.ended.success() {
            ToolOutcome::Succeeded(text)
        } else {
            ToolOutcome::Failed(text)
        };
        let masker = &self.bench.masker;
        Effect {
            result: Ok(ToolOutput::Command(CommandOutput {
                stdout: masker.for_agent(&output.stdout),
                stderr: masker.for_agent(&output.stderr),
                ..output
            })),
            outcome,
            brought: None,
        }
    }

    /// What the worktree holds now; none when it cannot be read.
    fn kept(&self) -> Option<Holding> {
        match &self.place {
            Place::Worktree(worktree) => held(&worktree.upper, self.view.root()),
            Place::Live | Place::Patched(_) | Place::Broken(_) => None,
        }
    }

    /// What a command changed beyond what its facts had said, for the record.
    fn surplus(&self, before: Option<Holding>, admitted: &Admitted) -> String {
        let declared: Vec<&str> = declared(&admitted.facts).collect();
        let held = (before, self.kept());
        self.bench
            .observe(self.session.run, held, &declared, &mut self.counters())
    }

    /// Where a path leads, relative to the workspace; `Err` when no tool goes there.
    fn inside(&self, path: &str) -> Result<String, ToolError> {
        self.inside_beside(path, &self.bench.secret_files()?)
    }

    /// The same where it is known which files hold secrets.
    fn inside_beside(&self, path: &str, secrets: &BTreeSet<PathBuf>) -> Result<String, ToolError> {
        let resolved = self.view.resolve(self.view.root(), Path::new(path));
        let Some(relative) = resolved.relative.filter(|_| resolved.certain) else {
            return Err(ToolError::Invalid(format!(
                "{path}: leads outside the workspace"
            )));
        };
        if is_git(&relative) || self.bench.is_private(&resolved.path) {
            return Err(host_denies(
                "host.private-path",
                format!("{path}: agents have no access to it"),
            ));
        }
        let led_to = secrets.contains(&self.view.root().join(&relative));
        if self.bench.is_secret(&relative) || led_to {
            return Err(host_denies(
                "host.secret-path",
                format!("{path}: may hold secrets"),
            ));
        }
        Ok(relative)
    }

    /// A text file's content, unmasked. `Ok(None)` when there is nothing.
    fn text(&self, path: &str, relative: &str) -> Result<Option<String>, ToolError> {
        let invalid = |what: &str| ToolError::Invalid(format!("{path}: {what}"));
        let read = self
            .view
            .read(relative, MAX_FILE)
            .map_err(|error| invalid(&format!("cannot be read ({error})")))?;
        let Some((bytes, complete)) = read else {
            return match self.view.lookup(Path::new(relative)) {
                None => Ok(None),
                Some(_) => Err(invalid("not a file")),
            };
        };
        if !complete {
            return Err(invalid("larger than 4 MiB; look at parts of it with Bash"));
        }
        if bytes.contains(&0) {
            return Err(invalid("a binary file"));
        }
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| invalid("not UTF-8 text"))
    }

    pub(crate) fn read(
        &self,
        path: &str,
        offset: Option<u64>,
        limit: Option<u64>,
    ) -> Effect<ToolOutput> {
        let _shared = self.worktree_lock.read();
        let read = self
            .inside(path)
            .and_then(|relative| self.text(path, &relative));
        match read {
            Ok(Some(text)) => {
                // Masked as a whole: a secret of several lines must not come out in parts.
                let text = lines(&self.bench.masker.for_agent(&text), offset, limit);
                let note = format!("{} bytes", text.len());
                Effect::done(ToolOutput::Text(text), note)
            }
            Ok(None) => Effect::invalid(format!("{path}: no such file")),
            Err(error) => Effect::refused(error),
        }
    }

    pub(crate) fn grep(&self, pattern: &str, only: Option<&str>) -> Effect<ToolOutput> {
        let _shared = self.worktree_lock.read();
        let expression = match RegexBuilder::new(pattern).size_limit(4 << 20).build() {
            Ok(expression) => expression,
            Err(error) => return Effect::invalid(format!("not a pattern: {error}")),
        };
        let only = match only.map(glob).transpose() {
            Ok(only) => only.map(|glob| (!glob.glob().contains('/'), glob.compile_matcher())),
            Err(error) => return Effect::invalid(format!("not a glob: {error}")),
        };
        let secrets = match self.bench.secret_files() {
            Ok(secrets) => secrets,
            Err(error) => return Effect::refused(error),
        };
        let mut listing = Listing::default();
        let mut brought = None;
        let complete = files(&self.view, &self.bench.ignores, &mut |path| {
            if let Some((by_name, only)) = &only {
                let subject = if *by_name { file_name(path) } else { path };
                if !only.is_match(subject) {
                    return ControlFlow::Continue(());
                }
            }
            if self.session.cancel.is_cancelled() {
                return ControlFlow::Break(());
            }
            let Ok(relative) = self.inside_beside(path, &secrets) else {
                return ControlFlow::Continue(());
            };
            // Files that are no text are passed over, as grep tools do.
            let Ok(Some(text)) = self.text(path, &relative) else {
                return ControlFlow::Continue(());
            };
            if !text.lines().any(|line| expression.is_match(line)) {
                return ControlFlow::Continue(());
            }
            // Masked as a whole, as for reading: the lines of a key do not tell by
            // themselves what they are.
            let text = self.bench.masker.for_agent(&text);
            for (number, line) in text.lines().enumerate() {
                if expression.is_match(line) {
                    if brought.is_none() && self.is_foreign(path) {
                        brought = Some(unvouched(path));
                    }
                    let line = shorten(line, MAX_LINE);
                    listing.push(&format!("{path}:{}:{line}", number + 1))?;
                }
            }
            ControlFlow::Continue(())
        });
        self.listed(listing, complete).bringing(brought)
    }

    pub(crate) fn glob(&self, pattern: &str) -> Effect<ToolOutput> {
        let _shared = self.worktree_lock.read();
        let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
        let matcher = match glob(pattern) {
            Ok(glob) => glob.compile_matcher(),
            Err(error) => return Effect::invalid(format!("not a glob: {error}")),
        };
        let secrets = match self.bench.secret_files() {
            Ok(secrets) => secrets,
            Err(error) => return Effect::refused(error),
        };
        let mut listing = Listing::default();
        let complete = files(&self.view, &self.bench.ignores, &mut |path| {
            if self.session.cancel.is_cancelled() {
                return ControlFlow::Break(());
            }
            if matcher.is_match(path) && self.inside_beside(path, &secrets).is_ok() {
                listing.push(path)?;
            }
            ControlFlow::Continue(())
        });
        self.listed(listing, complete)
    }

    fn listed(&self, mut listing: Listing, complete: bool) -> Effect<ToolOutput> {
        if self.session.cancel.is_cancelled() {
            return Effect::refused(ToolError::Cancelled);
        }
        let note = format!("{} lines", listing.lines);
        if listing.full || !complete {
            listing.text.push_str("[more was found than is shown]\n");
        }
        let text = self.bench.masker.for_agent(&listing.text);
        Effect::done(ToolOutput::Text(text), note)
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Effect<ToolOutput> {
        self.put(path, |_, current| {
            // What was read masked goes back unmasked.
            let original = current.as_deref().unwrap_or_default();
            self.bench
                .masker
                .restore(content, original)
                .ok_or_else(|| lost_secret(path))
        })
    }

    /// Replaces old by new, everywhere where the third says so: all or nothing.
    pub(crate) fn edit(&self, path: &str, edits: &[(&str, &str, bool)]) -> Effect<ToolOutput> {
        if edits.is_empty() || edits.len() > MAX_EDITS {
            return Effect::invalid(format!(
                "{path}: a call has 1 to {MAX_EDITS} edits, this one has {}",
                edits.len()
            ));
        }
        self.put(path, |relative, current| {
            let Some(original) = current else {
                return Err(ToolError::Invalid(format!("{relative}: no such file")));
            };
            let mut text = original.clone();
            for (index, (old, new, everywhere)) in edits.iter().enumerate() {
                let which = if edits.len() == 1 {
                    String::new()
                } else {
                    format!("edit {} of {}: ", index + 1, edits.len())
                };
                let wrong = |what: &str| Err(ToolError::Invalid(format!("{path}: {which}{what}")));
                let masker = &self.bench.masker;
                let (Some(old), Some(new)) = (
                    masker.restore(old, &original),
                    masker.restore(new, &original),
                ) else {
                    return Err(lost_secret(path));
                };
                let count = if old.is_empty() {
                    0
                } else {
                    text.matches(old.as_str()).count()
                };
                match (count, everywhere) {
                    (0, _) => return wrong("the text to replace does not occur"),
                    (1, _) | (_, true) => {}
                    (_, false) => {
                        return wrong(&format!(
                            "the text to replace occurs {count} times; give more of it"
                        ));
                    }
                }
                // Before it is made: many short places, one long text.
                let length = (text.len() - count * old.len())
                    .saturating_add(count.saturating_mul(new.len()));
                if length as u64 > MAX_FILE {
                    return wrong("the file would have more than 4 MiB");
                }
                text = text.replace(old.as_str(), &new);
            }
            Ok(text)
        })
    }

    /// The start of a sub-agent: what it then does are calls of their own.
    pub(crate) fn task(prompt: &str) -> Effect<ToolOutput> {
        if prompt.trim().is_empty() {
            return Effect::invalid("a sub-agent is told something: the prompt is empty");
        }
        if prompt.len() > MAX_PROMPT {
            return Effect::invalid("a sub-agent's prompt has at most 64 KiB");
        }
        Effect::done(ToolOutput::Text(String::new()), "the sub-agent may start")
    }

    /// Writes what `make` makes of the current content.
    fn put(
        &self,
        path: &str,
        make: impl FnOnce(&str, Option<String>) -> Result<String, ToolError>,
    ) -> Effect<ToolOutput> {
        let Place::Worktree(worktree) = &self.place else {
            return Effect::invalid(format!(
                "{path}: nothing can be written in {}",
                phase_name(self.phase)
            ));
        };
        let _alone = self.worktree_lock.write();
        if let Err(error) = self.tenancy.free() {
            return Effect::refused(error);
        }
        let relative = match self.inside(path) {
            Ok(relative) if relative.is_empty() => {
                return Effect::invalid(format!("{path}: not a file"));
            }
            Ok(relative) => relative,
            Err(error) => return Effect::refused(error),
        };
        if self.bench.rules.is_protected(&relative) {
            return Effect::refused(host_denies(
                "host.protected-path",
                format!("{path}: the file is protected"),
            ));
        }
        let content = match self
            .text(path, &relative)
            .and_then(|current| make(&relative, current))
        {
            Ok(content) => content,
            Err(error) => return Effect::refused(error),
        };
        if content.len() as u64 > MAX_FILE {
            return Effect::invalid(format!("{path}: a file written has at most 4 MiB"));
        }
        let written = Layer::open(&worktree.upper, self.view.root())
            .and_then(|layer| layer.write(&self.view, &relative, content.as_bytes()));
        match written {
            Ok(()) => {
                let mut counters = self.counters();
                counters.files_written += 1;
                counters.bytes_written += content.len() as u64;
                Effect::done(ToolOutput::Written, format!("{} bytes", content.len()))
            }
            Err(error) => Effect {
                outcome: ToolOutcome::Unknown(format!("{path}: {error}")),
                result: Err(ToolError::Unavailable(format!("{path}: {error}"))),
                brought: None,
            },
        }
    }
}

/// `limit` lines from line `offset` on, counted from 1.
fn lines(text: &str, offset: Option<u64>, limit: Option<u64>) -> String {
    if offset.is_none() && limit.is_none() {
        return text.to_owned();
    }
    let count = |number: Option<u64>, default: usize| {
        number.map_or(default, |number| {
            usize::try_from(number).unwrap_or(usize::MAX)
        })
    };
    text.split_inclusive('\n')
        .skip(count(offset, 1).saturating_sub(1))
        .take(count(limit, usize::MAX))
        .collect()
}

/// Lines up to a bound.
#[derive(Default)]
struct Listing {
    text: String,
    lines: u64,
    full: bool,
}

impl Listing {
    fn push(&mut self, line: &str) -> ControlFlow<()> {
        if self.text.len() + line.len() >= MAX_LISTING {
            self.full = true;
            return ControlFlow::Break(());
        }
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
        ControlFlow::Continue(())
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn lost_secret(path: &str) -> ToolError {
    ToolError::Invalid(format!(
        "{path}: the text holds a masked secret that the file does not have"
    ))
}

fn phase_name(phase: AgentPhase) -> &'static str {
    match phase {
        AgentPhase::Diagnosis => "diagnosis",
        AgentPhase::Drafting => "drafting",
        AgentPhase::Verification => "verification",
    }
}

fn ending(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exit {code}"),
        Ended::Signal(signal) => format!("killed by signal {signal}"),
        Ended::TimedOut => "killed at its time limit".to_owned(),
        Ended::Cancelled => "killed because the run was cancelled".to_owned(),
    }
}

pub(crate) fn tool_error(error: &SandboxError) -> ToolError {
    match error {
        SandboxError::Invalid(text) => ToolError::Invalid(text.clone()),
        SandboxError::Cancelled => ToolError::Cancelled,
        SandboxError::NoContainment(_) | SandboxError::Setup(_) | SandboxError::Host { .. } => {
            ToolError::Unavailable(chain(error))
        }
    }
}

fn failed_to_run(error: &SandboxError) -> Effect<ToolOutput> {
    let outcome = match error {
        // Only here it may have run a while.
        SandboxError::Host { .. } => ToolOutcome::Unknown(chain(error)),
        _ => ToolOutcome::Failed(chain(error)),
    };
    Effect {
        result: Err(tool_error(error)),
        outcome,
        brought: None,
    }
}
