//! `selfheal heal -- COMMAND`: one command, one repository, no server.
//!
//! The same broker, policies, sandbox and engine as behind the server; the journal
//! lives in a temporary directory. The repository is read and never written,
//! unless `--apply` makes the heal commit at the end.

use super::cancel_on_signal;
use super::output::{self, Colour};
use crate::compose::one_shot::{HealError, Healed, OneShot, OneShotOptions};
use crate::config::{AgentChoice, AgentConfig, Config};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::agent::{AgentError, CheckCommand};
use selfheal_domain::ports::CancelToken;
use selfheal_domain::verification::{Verification, VerificationResult};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Finds and proves a fix for a failing command; leaves the tree untouched.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal heal -- python3 -m pytest -q
  selfheal heal --apply -- npm test
  selfheal heal --json --timeout 60 -- python3 app.py --once
  selfheal heal --config ~/selfheal.toml --agent model --timeout 600 -- pytest -q

The command runs in a sandbox: without network, on a throw-away copy of the tree.
Exit code 0 when nothing is wrong or a fix was found, 1 when none was found.")]
pub(crate) struct Heal {
    /// Make the heal commit on the current branch; refused when a touched file is dirty
    #[arg(long)]
    apply: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Environment variable to hand to the command besides the usual ones
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// Policy file instead of the bundled defaults
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Who finds and writes the fix; `builtin` without --config
    #[arg(long, value_enum, value_name = "AGENT")]
    agent: Option<AgentChoice>,
    /// Take the models of `[agent]` from this selfheal.toml. None is read unasked: it says
    /// where code is sent, and a repository must not decide that
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the audit journal of this heal, and transcripts, in this directory
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// The failing command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    healed: bool,
    nothing_to_heal: bool,
    root_cause: Option<String>,
    confidence: f64,
    affected_files: Vec<String>,
    patch: Option<String>,
    other_patches: Vec<String>,
    candidates_tried: u64,
    candidates_per_second: f64,
    seconds: f64,
    verification: Option<VerificationView>,
    agents: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heal_commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationView {
    result: VerificationResult,
    checks: Vec<selfheal_domain::verification::CheckEvidence>,
}

impl From<Verification> for VerificationView {
    fn from(verification: Verification) -> Self {
        Self {
            result: verification.result(),
            checks: verification.checks,
        }
    }
}

impl Heal {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let started = Instant::now();
        let budget = Duration::from_secs(self.timeout);
        let interrupted = cancel_on_signal()?;
        let cancel = CancelToken::default();
        let directory = std::env::current_dir().because(Exit::Unavailable)?;
        let agent = self.agent()?;
        let show_progress = !self.json;
        let one_shot = OneShot::open(OneShotOptions {
            directory: &directory,
            environment: &self.env,
            policy: self.policy.as_deref(),
            agent: &agent,
            audit: self.audit.as_deref(),
            cancel: cancel.clone(),
            progress: Box::new(move |note| {
                if show_progress {
                    output::progress(note);
                }
            }),
        })?;
        refuse_unknown_program(&self.command)?;
        let check = CheckCommand {
            command: shell_text(&self.command)?,
            directory: one_shot.relative_directory(&directory),
            timeout: budget,
        };
        if self.apply {
            one_shot.must_be_on_a_branch()?;
        }
        let end = started + budget;
        let healed = std::thread::scope(|scope| {
            let (done, over) = mpsc::channel::<()>();
            let (cancel, interrupted) = (&cancel, &interrupted);
            scope.spawn(move || watch(cancel, interrupted, end, &over));
            let healed = one_shot.heal(check, budget);
            drop(done);
            healed
        });
        let seconds = started.elapsed().as_secs_f64();
        if interrupted.is_cancelled() {
            return Err(Failure::new(
                Exit::NotSo,
                "interrupted; nothing was changed",
            ));
        }
        if cancel.is_cancelled() && healed.is_err() {
            let summary = format!("the time limit of {} s is over", self.timeout);
            self.show_not_found(&summary, "", 0, 0.0, seconds);
            return Ok(Exit::NotSo);
        }
        match healed {
            Ok(healed) => self.show_healed(&one_shot, healed, seconds),
            Err(HealError::Agent(AgentError::NothingWrong(_))) => {
                Ok(self.show_nothing_wrong(seconds))
            }
            Err(HealError::Agent(AgentError::NotFound {
                summary,
                log,
                effort,
            })) => {
                self.show_not_found(&summary, &log, effort.candidates, effort.seconds, seconds);
                Ok(Exit::NotSo)
            }
            Err(HealError::Refused(reason)) => {
                self.show_not_found(&reason, "", 0, 0.0, seconds);
                Ok(Exit::Denied)
            }
            Err(HealError::NotProved(verification)) => {
                let failed = verification
                    .checks
                    .iter()
                    .find(|check| check.result != VerificationResult::Pass);
                let reason = failed.map_or_else(String::new, |check| {
                    format!("{}: {}", check.name, check.detail)
                });
                self.show_not_found(
                    &format!("a patch was found, but the proof failed: {reason}"),
                    "",
                    0,
                    0.0,
                    seconds,
                );
                Ok(Exit::NotSo)
            }
            Err(HealError::Agent(AgentError::Unavailable {
                summary,
                log,
                effort,
            })) => {
                self.show_not_found(&summary, &log, effort.candidates, effort.seconds, seconds);
                Ok(Exit::NotSo)
            }
            Err(HealError::Agent(
                error @ AgentError::Tool(selfheal_domain::tools::ToolError::Denied(_)),
            )) => Err(error).because(Exit::Denied),
            Err(error) => Err(error).because(Exit::Unavailable),
        }
    }

    /// Who is asked, from the command line and the named configuration.
    fn agent(&self) -> Result<AgentConfig, Failure> {
        let mut agent = match &self.config {
            Some(file) => Config::read(file).because(Exit::Usage)?.agent,
            None => AgentConfig::default(),
        };
        agent.choice = self.agent.unwrap_or(agent.choice);
        if agent.choice == AgentChoice::Model && self.config.is_none() {
            return Err(Failure::new(
                Exit::Usage,
                "--agent model needs --config FILE: a selfheal.toml with [[agent.model]]",
            ));
        }
        Ok(agent)
    }

    fn show_healed(
        &self,
        one_shot: &OneShot,
        healed: Healed,
        seconds: f64,
    ) -> Result<Exit, Failure> {
        let (commit, refusal) = match self.apply.then(|| one_shot.commit(&healed)) {
            None => (None, None),
            Some(Ok(commit)) => (Some(commit), None),
            Some(Err(failure)) => (None, Some(failure)),
        };
        let effort = healed.diagnosis.effort;
        let rate = per_second(effort.candidates, effort.seconds);
        if self.json {
            output::json(&Answer {
                healed: true,
                nothing_to_heal: false,
                root_cause: Some(healed.diagnosis.root_cause),
                confidence: healed.confidence,
                affected_files: healed
                    .patch
                    .files
                    .iter()
                    .map(|file| file.path.clone())
                    .collect(),
                patch: Some(healed.patch.diff),
                other_patches: healed.rivals,
                candidates_tried: effort.candidates,
                candidates_per_second: rate,
                seconds,
                verification: Some(healed.verification.into()),
                agents: healed.agents,
                heal_commit: commit,
                reason: refusal.as_ref().map(|failure| failure.error.to_string()),
            });
            return refusal.map_or(Ok(Exit::Done), Err);
        }
        output::line(format!(
            "{} {}",
            output::coloured(Colour::Bold, "Cause:"),
            healed.diagnosis.root_cause
        ));
        output::line(format!(
            "{} {}\n",
            output::coloured(Colour::Bold, "Fix:"),
            healed.rationale
        ));
        output::line(output::diff(&healed.patch.diff));
        output::line(format!("\n{}", output::coloured(Colour::Bold, "Proof:")));
        for check in &healed.verification.checks {
            let first = check.detail.lines().next().unwrap_or_default();
            output::line(format!(
                "  {} {} — {first}",
                output::coloured(Colour::Green, "✓"),
                check.name
            ));
        }
        let confidence = healed.confidence * 100.0;
        let rivals = match healed.rivals.len() {
            0 => "no other patch passed".to_owned(),
            1 => "1 other patch passed as well".to_owned(),
            count => format!("{count} other patches passed as well"),
        };
        output::line(format!(
            "\nConfidence {confidence:.0} %, {rivals}. {} candidates tried ({rate:.1}/s), {seconds:.1} s in all.",
            effort.candidates
        ));
        if let Some(failure) = refusal {
            return Err(failure);
        }
        match commit {
            Some(commit) => output::line(format!("Heal commit {commit} is on the current branch.")),
            None => output::line("Nothing was changed. Run again with --apply to commit the fix."),
        }
        Ok(Exit::Done)
    }

    fn show_nothing_wrong(&self, seconds: f64) -> Exit {
        if self.json {
            output::json(&self.empty("nothing to heal: the command succeeds", true, seconds));
        } else {
            output::line("nothing to heal: the command succeeds");
        }
        Exit::Done
    }

    fn show_not_found(
        &self,
        summary: &str,
        log: &str,
        candidates: u64,
        searched: f64,
        seconds: f64,
    ) {
        let rate = per_second(candidates, searched);
        if self.json {
            let mut answer = self.empty(summary, false, seconds);
            answer.candidates_tried = candidates;
            answer.candidates_per_second = rate;
            output::json(&answer);
            return;
        }
        if !log.is_empty() {
            output::progress(log);
        }
        output::line(format!(
            "{} {summary}",
            output::coloured(Colour::Yellow, "no fix found:")
        ));
        output::line(format!(
            "{candidates} candidates tried ({rate:.1}/s), {seconds:.1} s in all. Nothing was changed."
        ));
    }

    fn empty(&self, reason: &str, nothing_to_heal: bool, seconds: f64) -> Answer {
        Answer {
            healed: false,
            nothing_to_heal,
            root_cause: None,
            confidence: 0.0,
            affected_files: Vec::new(),
            patch: None,
            other_patches: Vec::new(),
            candidates_tried: 0,
            candidates_per_second: 0.0,
            seconds,
            verification: None,
            agents: Vec::new(),
            heal_commit: None,
            reason: Some(reason.to_owned()),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of candidates are far below 2^52"
)]
fn per_second(candidates: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        candidates as f64 / seconds
    } else {
        0.0
    }
}

/// Cancels the heal on Ctrl-C and at the end of its time; returns when it is over.
fn watch(cancel: &CancelToken, interrupted: &CancelToken, end: Instant, over: &mpsc::Receiver<()>) {
    loop {
        if interrupted.is_cancelled() || Instant::now() >= end {
            cancel.cancel();
        }
        match over.recv_timeout(Duration::from_millis(50)) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What bash knows without a file.
const BUILTINS: &[&str] = &[
    "!", "[[", "{", ".", ":", "cd", "eval", "exec", "export", "for", "if", "set", "source", "time",
    "ulimit", "umask", "until", "while",
];

/// A mistyped command fails as well as a broken program does; nobody wants it healed.
fn refuse_unknown_program(words: &[String]) -> Result<(), Failure> {
    // A single word is shell text; only where it is plain is its start a program.
    let first = words.first().map_or("", String::as_str);
    let program = first.split(' ').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-/".contains(c);
    if program.is_empty() || !program.chars().all(plain) || BUILTINS.contains(&program) {
        return Ok(());
    }
    let found = if program.contains('/') {
        std::path::Path::new(program).exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    if found {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        format!("command not found: {program}; what stands after `--` is the command that fails"),
    ))
}

/// The words as the shell reads them; a single word is taken as shell text.
fn shell_text(words: &[String]) -> Result<String, Failure> {
    match words {
        [text] => Ok(text.clone()),
        words => shlex::try_join(words.iter().map(String::as_str)).map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("the command cannot be written for a shell: {error}"),
            )
        }),
    }
}
