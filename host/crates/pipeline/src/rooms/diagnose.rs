//! Diagnosis: APPROVED → DIAGNOSED, or ESCALATED when no cause is found.

use super::{Rooms, Step, since_approval};
use crate::bounds;
use crate::facts::{brief, excluded, snapshot_message};
use crate::healer::chain;
use selfheal_domain::agent::{Agent, AgentError, Diagnosis, LabelledText};
use selfheal_domain::event::Event;
use selfheal_domain::ids::{CommentId, RunId, RunNumber, RunRef};
use selfheal_domain::issue::{Comment, CommentRole, Issue};
use selfheal_domain::ledger::RecordError;
use selfheal_domain::ports::CancelToken;
use selfheal_domain::run::{RetryFrom, Run, RunStatus};
use selfheal_domain::user::{Actor, TrustClass};

/// How much of each service's log an agent gets to read, in bytes.
const LOG_TAIL: usize = 32 * 1024;
/// How often per approval a run starts over.
const MOST_INTERRUPTED: usize = 8;

impl Rooms {
    pub(super) fn diagnose(
        &self,
        issue: &Issue,
        cancel: &CancelToken,
    ) -> Result<Step, RecordError> {
        let interrupted = issue
            .runs
            .iter()
            .filter(|run| since_approval(issue, run) && run.status == RunStatus::Interrupted)
            .count();
        if interrupted >= MOST_INTERRUPTED {
            // Perhaps the run itself is what stops the host.
            return self.escalate(
                issue,
                format!("{interrupted} runs were interrupted; retry the issue to try again"),
            );
        }
        let number = RunNumber(
            u32::try_from(issue.runs.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        );
        let run = RunRef {
            issue: issue.number,
            run: number,
            id: RunId(self.doors.ids.uuid()),
        };
        self.note(issue, "recording the live tree");
        let set = self.doors.policies.for_run(Some(run));
        let message = snapshot_message(run, &self.trail(set.as_ref()));
        let snapshot = match self.doors.repository.snapshot(run, &message) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                return self.escalate(
                    issue,
                    format!("the live tree could not be recorded: {}", chain(&error)),
                );
            }
        };
        let kept = issue.kept_run();
        let (agent, actor) = match kept {
            None => (self.doors.agent.name(), self.agent_actor()),
            // Those whose work it is; this time they do nothing.
            Some((run, RetryFrom::Prove)) => (run.agent.clone(), Self::host()),
            Some((run, _)) => (
                run.agents().next().unwrap_or_default().to_owned(),
                Self::host(),
            ),
        };
        let started = Event::DiagnosisStarted {
            run: run.id,
            number,
            agent,
            snapshot: snapshot.commit,
            base_commit: snapshot.base,
            live_branch: snapshot.branch,
            policy_generation: set.generation(),
        };
        let (begun, _permit) = self.ledger.begin_diagnosis(issue.number, actor, started)?;
        if let Some((earlier, _)) = kept {
            return self.keep_diagnosis(&begun, earlier);
        }
        let issue = begun;
        self.note(&issue, "looking for the cause");
        let brief = brief(&issue, &self.settings, self.logs(&issue));
        let issue = self.heed(&issue, &brief)?;
        let mut agent = self.doors.agent.as_ref();
        let mut earlier = String::new();
        loop {
            let actor = Actor::Agent(agent.name());
            let session = self.session(&issue, actor.clone(), cancel)?;
            let tools = self.doors.workbench.for_diagnosis(session);
            let diagnosed = agent.diagnose(&brief, tools.as_ref());
            // What its tools still hold (servers, sessions) ends while it is diagnosing.
            drop(tools);
            match diagnosed {
                Ok(mut diagnosis) => {
                    diagnosis.log.push_str(&earlier);
                    if nothing_new(&issue, &diagnosis) {
                        let budget = self.settings.diagnosis_budget;
                        if let Ok(found) = self.culprit(&issue, budget, cancel)? {
                            return self.blame(&issue, found).map(|()| Step::On);
                        }
                    } else {
                        self.offer_revert(&issue, &mut diagnosis, cancel)?;
                    }
                    if cancel.is_cancelled() {
                        return Ok(Step::On);
                    }
                    let found = Event::DiagnosisFinished(bounds::diagnosis(diagnosis));
                    return self
                        .ledger
                        .record(issue.number, actor, found)
                        .map(|_| Step::On);
                }
                Err(error) => match self.successor(&issue, agent, &error, cancel)? {
                    Some((next, log)) => {
                        earlier.push_str(&log);
                        agent = next;
                    }
                    None => return self.without_agent(&issue, error, cancel),
                },
            }
        }
    }

    /// The cause is the one that an earlier attempt found, under the trust class of all
    /// that was read then.
    fn keep_diagnosis(&self, issue: &Issue, earlier: &Run) -> Result<Step, RecordError> {
        let Some(mut diagnosis) = earlier.diagnosis.clone() else {
            return self.escalate(issue, "the earlier attempt has no diagnosis to keep");
        };
        if let Some(trust) = earlier.trust.filter(|trust| *trust < issue.trust()) {
            let lowered = Event::TrustLowered {
                trust,
                source: format!("attempt {}", earlier.number),
            };
            self.record(issue, lowered)?;
        }
        let note = format!("Kept from attempt {}.\n\n", earlier.number);
        diagnosis.log.insert_str(0, &note);
        self.record(
            issue,
            Event::DiagnosisFinished(bounds::diagnosis(diagnosis)),
        )
    }

    /// Who takes over from an agent that is not available, and what that one has to say.
    /// On record, so that everybody sees who did the work.
    pub(super) fn successor<'a>(
        &self,
        issue: &Issue,
        agent: &'a dyn Agent,
        error: &AgentError,
        cancel: &CancelToken,
    ) -> Result<Option<(&'a dyn Agent, String)>, RecordError> {
        let AgentError::Unavailable { summary, log, .. } = error else {
            return Ok(None);
        };
        let Some(next) = agent.stand_in() else {
            return Ok(None);
        };
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let content = bounds::clip(
            format!("{summary}; {} takes over.", next.name()),
            bounds::DETAIL,
        );
        tracing::warn!(issue = issue.number.0, content, "an agent is not available");
        self.note(issue, &content);
        let comment = Comment {
            id: CommentId(self.doors.ids.uuid()),
            author: Actor::Host.to_string(),
            role: CommentRole::System,
            content,
            created_at: self.doors.clock.now(),
        };
        self.ledger
            .record(issue.number, Actor::Host, Event::IssueCommented(comment))?;
        let log = bounds::clip(log.clone(), bounds::DETAIL);
        Ok(Some((next, format!("\n\nBefore: {summary}\n{log}"))))
    }

    /// What becomes of a diagnosis that no agent could make: perhaps a commit can be
    /// taken back.
    fn without_agent(
        &self,
        issue: &Issue,
        mut error: AgentError,
        cancel: &CancelToken,
    ) -> Result<Step, RecordError> {
        if let AgentError::NotFound { log, .. } | AgentError::Unavailable { log, .. } = &mut error
            && !cancel.is_cancelled()
        {
            match self.culprit(issue, self.settings.diagnosis_budget, cancel)? {
                Ok(mut found) => {
                    found.log = format!("{}\n\nThe agent found nothing:\n{log}", found.log);
                    return self.blame(issue, found).map(|()| Step::On);
                }
                Err(none) => {
                    let why = bounds::clip(chain(&none), bounds::DETAIL);
                    *log = format!("No commit can be taken back either: {why}\n\n{log}");
                }
            }
        }
        self.agent_failed(issue, &error, cancel)
    }

    /// What becomes of a run whose agent gave up.
    pub(super) fn agent_failed(
        &self,
        issue: &Issue,
        error: &AgentError,
        cancel: &CancelToken,
    ) -> Result<Step, RecordError> {
        if cancel.is_cancelled() {
            // Aborted, or the host stops: the walk decides which.
            return Ok(Step::On);
        }
        match error {
            AgentError::NotFound { summary, log, .. }
            | AgentError::Unavailable { summary, log, .. } => {
                self.escalate(issue, format!("{summary}\n\n{log}"))
            }
            AgentError::NothingWrong(_) | AgentError::Tool(_) => self.escalate(issue, chain(error)),
        }
    }

    fn logs(&self, issue: &Issue) -> Vec<LabelledText> {
        let names = self.doors.services.names();
        let wanted = names.into_iter().filter(|name| {
            issue
                .report
                .service
                .as_ref()
                .is_none_or(|only| only == name)
        });
        wanted
            .map(|name| LabelledText {
                text: self.doors.services.log_tail(&name, LOG_TAIL),
                label: format!("log:{name}"),
                trust: TrustClass::Machine,
            })
            .filter(|log| !log.text.is_empty())
            .collect()
    }
}

/// Every patch that the agent proposes was refused or did not hold before.
fn nothing_new(issue: &Issue, diagnosis: &Diagnosis) -> bool {
    let known = |digest| excluded(issue).any(|refused| refused == digest);
    let mut patches = diagnosis.proposals.iter().map(|it| it.patch.digest);
    !diagnosis.proposals.is_empty() && patches.all(known)
}
