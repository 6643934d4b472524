//! A language model as an agent: it diagnoses and drafts through [`Tools`], like every
//! other agent, within [`ModelLimits`].
//!
//! What it submits are claims. The diagnosis's reproduction is run before it counts, the
//! patch is what the worktree holds.

use crate::calls::command_text;
use crate::catalog::Catalog;
use crate::handover::{Handover, Left};
use crate::limits::{Meter, ModelLimits};
use crate::prompt::{self, Fence, Mask, Red};
use crate::provider::{Provider, ProviderError};
use crate::submission::{self, SubmittedPatch};
use crate::talk::{Desk, End, Ending, Talk};
use crate::text::cut_middle;
use crate::transcript::{Journal, TranscriptStore};
use selfheal_domain::agent::{
    Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Draft, Effort,
};
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::ports::IdSource;
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much of a check's output a model gets to read, in bytes.
const CHECK_OUTPUT: usize = 16 * 1024;
/// How long a provider that was not available is left alone.
const PAUSE: Duration = Duration::from_secs(120);
/// How long a reproduction that the model wrote may take.
const REPRODUCTION: Duration = Duration::from_secs(120);

/// What a model works with besides its provider.
#[derive(Clone)]
pub struct ModelOutfit {
    /// Bounds on each diagnosis and draft.
    pub limits: ModelLimits,
    /// Takes secrets out of every text before it is sent away.
    pub mask: Arc<Mask>,
    /// Makes the marks around texts that cannot be guessed.
    pub ids: Arc<dyn IdSource>,
    /// Where full transcripts are kept, if they are.
    pub transcripts: Option<Arc<dyn TranscriptStore>>,
    /// Where models that stand in for each other leave a diagnosis that is half done.
    pub handover: Handover,
}

/// A model that diagnoses and drafts.
pub struct ModelAgent {
    provider: Arc<dyn Provider>,
    outfit: ModelOutfit,
    /// When the provider was last found to be down or out of credit.
    down: Mutex<Option<Instant>>,
}

impl ModelAgent {
    /// An agent over this model. All it remembers between calls is that its provider was
    /// not available, to ask it again only after a while.
    pub fn new(provider: Arc<dyn Provider>, outfit: ModelOutfit) -> Self {
        Self {
            provider,
            outfit,
            down: Mutex::default(),
        }
    }

    fn down(&self) -> MutexGuard<'_, Option<Instant>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is asked shortly after the provider was not available: whoever stands in
    /// should not wait for all retries once more.
    fn may_be_asked(&self) -> Result<(), AgentError> {
        match *self.down() {
            Some(since) if since.elapsed() < PAUSE => Err(AgentError::Unavailable {
                summary: format!("{} was not available a moment ago", self.provider.name()),
                log: String::new(),
                effort: Effort::default(),
            }),
            _ => Ok(()),
        }
    }

    fn journal<'t>(
        &self,
        brief: &DiagnosisBrief,
        phase: &str,
        tools: &'t dyn Tools,
    ) -> Result<Journal<'t>, AgentError> {
        self.may_be_asked()?;
        let name = match brief.run {
            Some(run) => format!("{}-{}-{phase}", run.issue.0, run.id.0),
            None => format!("{}-{phase}", self.outfit.ids.uuid()),
        };
        let transcript = self
            .outfit
            .transcripts
            .as_ref()
            .map(|store| store.open(&name));
        let transcript = transcript.transpose().map_err(|error| {
            let text = format!("the transcript {name} cannot be written: {error}");
            AgentError::Tool(ToolError::Unavailable(text))
        })?;
        let journal = Journal::new(tools, transcript);
        journal.note(&format!("{}: {phase}", self.provider.name()));
        Ok(journal)
    }

    fn desk<'a>(
        &'a self,
        brief: &DiagnosisBrief,
        tools: &'a dyn Tools,
        journal: &'a Journal<'a>,
        left: Option<&Left>,
    ) -> Desk<'a> {
        let limits = &self.outfit.limits;
        let price = self.provider.price();
        let meter = match left {
            Some(left) => Meter::new(limits, price, left.time).after(left.before),
            None => Meter::new(limits, price, brief.budget),
        };
        let fence = left.map_or_else(|| self.outfit.ids.uuid(), |left| left.fence);
        Desk {
            provider: self.provider.as_ref(),
            tools,
            limits,
            meter,
            fence: Fence::new(fence, self.outfit.mask.as_ref()),
            journal,
            writes: AtomicU64::new(0),
        }
    }

    /// What an ending without an answer is for the rooms.
    fn failed(&self, end: End, desk: &Desk<'_>) -> AgentError {
        let name = self.provider.name();
        let summary = match end {
            End::Cancelled => return ToolError::Cancelled.into(),
            End::Host(text) => return ToolError::Unavailable(text).into(),
            End::Stopped(why) => format!("{name} came to no answer: {why}"),
            End::Provider(error) => {
                desk.journal.line(&error.to_string());
                if matches!(
                    error,
                    ProviderError::Unavailable { .. } | ProviderError::OutOfBudget { .. }
                ) {
                    *self.down() = Some(Instant::now());
                }
                let why = match error {
                    ProviderError::Cancelled => "was cancelled",
                    ProviderError::Unavailable { .. } => "is not available",
                    ProviderError::OutOfBudget { .. } => "has no budget left",
                    ProviderError::Refused { .. } => "refused the request",
                    ProviderError::TooLong { .. } => "has no room for the conversation",
                    ProviderError::Broken { .. } => "broke off or talked nonsense",
                };
                format!("{name} {why}")
            }
        };
        desk.journal.note(&summary);
        AgentError::Unavailable {
            summary,
            log: self.finished(desk),
            effort: effort(desk),
        }
    }

    /// The log, with what the work cost.
    fn finished(&self, desk: &Desk<'_>) -> String {
        desk.journal.line(&desk.meter.account());
        (self.outfit.mask)(&desk.journal.finish())
    }
}

impl Agent for ModelAgent {
    fn name(&self) -> String {
        self.provider.name()
    }

    fn diagnose(&self, brief: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError> {
        let journal = self.journal(brief, "diagnosis", tools)?;
        let left = brief.run.and_then(|run| self.outfit.handover.take(run));
        let desk = self.desk(brief, tools, &journal, left.as_ref());
        let (passed, red) = match &left {
            Some(left) => {
                journal.note(&format!("goes on with what {} was at", left.by));
                (0, left.red.clone())
            }
            None => first_red(&brief.checks, &desk).map_err(AgentError::Tool)?,
        };
        let all = brief.checks.len();
        if passed == all && all > 0 && brief.texts.is_empty() {
            return Err(AgentError::NothingWrong(format!(
                "{all} of {all} commands succeed"
            )));
        }
        let workspace = tools.workspace();
        let mut talk = Talk::new(
            &desk,
            "agent",
            Catalog::new(
                AgentPhase::Diagnosis,
                self.outfit.limits.depth > 0,
                tools.mcp_tools(),
            ),
            prompt::diagnosis_system(),
            prompt::diagnosis(brief, red.as_ref(), &workspace, &desk.fence),
            self.outfit.limits.diagnosis_turns,
        );
        if let Some(left) = left {
            talk = talk.go_on(left.talk);
        }
        let mut complained = false;
        let mut ending = Ending {
            tool: Some(submission::diagnosis_spec(&brief.services)),
            accept: &mut |input| {
                let answer = submission::diagnosis(input, &brief.services, &workspace)?;
                // What the operators configured counts more than what the model made up.
                let reproduction = match (&red, &answer.reproduction) {
                    (Some(red), _) => Some(red.check.clone()),
                    (None, Some(command)) if answer.found => {
                        reproduction(command, &mut complained, &desk)?
                    }
                    (None, _) => None,
                };
                Ok((answer, reproduction))
            },
            prose: None,
        };
        let (answer, reproduction) = match talk.run(&mut ending) {
            Ok(done) => done,
            Err(end) => {
                if let (End::Provider(_), Some(run)) = (&end, brief.run) {
                    let (talk, asked_at) = talk.leave();
                    let left = Left {
                        by: self.name(),
                        fence: desk.fence.id(),
                        red,
                        talk,
                        before: desk.meter.whole(),
                        time: desk.meter.left_at(asked_at),
                        at: Instant::now(),
                    };
                    self.outfit.handover.leave(run, left);
                }
                return Err(self.failed(end, &desk));
            }
        };
        journal.note(&format!("root cause: {}", answer.root_cause));
        if !answer.found {
            return Err(AgentError::NotFound {
                summary: format!("{} found no cause", self.name()),
                log: format!("{}\n\n{}", answer.root_cause, self.finished(&desk)),
                effort: effort(&desk),
            });
        }
        Ok(Diagnosis {
            root_cause: answer.root_cause,
            confidence: answer.confidence,
            affected_files: answer.affected_files,
            affected_services: answer.affected_services,
            suggested_fix: answer.suggested_fix,
            reproduction,
            proposals: Vec::new(),
            log: self.finished(&desk),
            effort: effort(&desk),
        })
    }

    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        let journal = self.journal(brief, "drafting", tools)?;
        let desk = self.desk(brief, tools, &journal, None);
        let mut talk = Talk::new(
            &desk,
            "agent",
            Catalog::new(
                AgentPhase::Drafting,
                self.outfit.limits.depth > 0,
                tools.mcp_tools(),
            ),
            prompt::drafting_system(),
            prompt::drafting(brief, diagnosis, &tools.workspace(), &desk.fence),
            self.outfit.limits.drafting_turns,
        );
        let check = diagnosis
            .reproduction
            .as_ref()
            .or_else(|| brief.checks.first());
        let mut ending = Ending {
            tool: Some(submission::patch_spec()),
            accept: &mut |input| take_patch(submission::patch(input)?, check, &desk),
            prose: None,
        };
        let answer = talk
            .run(&mut ending)
            .map_err(|end| self.failed(end, &desk))?;
        journal.note(&format!("the patch is written: {}", answer.rationale));
        Ok(Draft {
            rationale: answer.rationale,
            confidence: answer.confidence,
            // What changed is in the worktree; what a model says of it is not asked.
            files: Vec::new(),
            rivals: Vec::new(),
            log: self.finished(&desk),
        })
    }
}

/// A patch counts once something was written and the check passes on it.
fn take_patch(
    answer: SubmittedPatch,
    check: Option<&CheckCommand>,
    desk: &Desk<'_>,
) -> Result<SubmittedPatch, String> {
    if desk.writes.load(Ordering::SeqCst) == 0 {
        return Err("nothing was written in the worktree yet: write the patch first".to_owned());
    }
    let Some(check) = check else {
        return Ok(answer);
    };
    desk.journal
        .note(&format!("running {} on the patch", prompt::place(check)));
    match run_check(check, desk) {
        Ok(ran) if ran.passed => Ok(answer),
        Ok(ran) => Err(format!(
            "`{}` still fails on the patch:\n{}",
            prompt::place(check),
            ran.output
        )),
        Err(error) => Err(format!(
            "`{}` could not be run on the patch: {error}",
            prompt::place(check)
        )),
    }
}

/// What a check said.
struct Ran {
    passed: bool,
    output: String,
}

fn run_check(check: &CheckCommand, desk: &Desk<'_>) -> Result<Ran, ToolError> {
    let output = desk.tools.call(ToolRequest::Bash {
        command: check.command.clone(),
        directory: check.directory.clone(),
        timeout: check.timeout.min(desk.meter.left()),
        access: WorkspaceAccess::Discard,
    })?;
    match output {
        ToolOutput::Command(output) => Ok(Ran {
            passed: output.ended.success(),
            output: cut_middle(&command_text(&output), CHECK_OUTPUT),
        }),
        ToolOutput::Text(_) | ToolOutput::Written => Err(ToolError::Unavailable(
            "a command gave no command's output".to_owned(),
        )),
    }
}

/// A model's own reproduction, if it fails now. One that does not is sent back once and
/// then left out: a diagnosis without is better than none.
fn reproduction(
    command: &str,
    complained: &mut bool,
    desk: &Desk<'_>,
) -> Result<Option<CheckCommand>, String> {
    let check = CheckCommand {
        command: command.to_owned(),
        directory: String::new(),
        timeout: REPRODUCTION,
    };
    let complaint = match run_check(&check, desk) {
        Ok(ran) if !ran.passed => return Ok(Some(check)),
        Ok(_) => "the reproduction succeeds now, so it does not show the bug".to_owned(),
        Err(error) => format!("the reproduction could not be run: {error}"),
    };
    if std::mem::replace(complained, true) {
        desk.journal.line(&format!("{complaint}; it is left out"));
        return Ok(None);
    }
    Err(format!(
        "{complaint}. Submit again with one that fails because of the bug, or without one."
    ))
}

/// How many checks pass before one fails, and that one with what it said. One that
/// cannot be run shows nothing.
fn first_red(checks: &[CheckCommand], desk: &Desk<'_>) -> Result<(usize, Option<Red>), ToolError> {
    let mut passed = 0;
    for check in checks {
        desk.journal
            .note(&format!("running {}", prompt::place(check)));
        let check_now = CheckCommand {
            // The model needs time as well.
            timeout: check.timeout.min(desk.meter.left() / 3),
            ..check.clone()
        };
        match run_check(&check_now, desk) {
            Ok(ran) if ran.passed => passed += 1,
            Ok(ran) => {
                let red = Red {
                    check: check.clone(),
                    output: ran.output,
                };
                return Ok((passed, Some(red)));
            }
            Err(ToolError::Cancelled) => return Err(ToolError::Cancelled),
            Err(error) => desk
                .journal
                .line(&format!("{} did not run: {error}", prompt::place(check))),
        }
    }
    Ok((passed, None))
}

fn effort(desk: &Desk<'_>) -> Effort {
    Effort {
        candidates: 0,
        seconds: desk.meter.elapsed().as_secs_f64(),
    }
}
