//! Diagnosis: APPROVED → DIAGNOSED, or ESCALATED when no cause is found.

use super::{Rooms, Step, since_approval};
use crate::bounds;
use crate::facts::brief;
use crate::healer::chain;
use selfheal_domain::agent::{AgentError, LabelledText};
use selfheal_domain::event::Event;
use selfheal_domain::ids::{RunId, RunNumber, RunRef};
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::ports::CancelToken;
use selfheal_domain::run::RunStatus;
use selfheal_domain::user::TrustClass;

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
        let snapshot = match self.doors.repository.snapshot(run) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                return self.escalate(
                    issue,
                    format!("the live tree could not be recorded: {}", chain(&error)),
                );
            }
        };
        let started = Event::DiagnosisStarted {
            run: run.id,
            number,
            agent: self.doors.agent.name(),
            snapshot: snapshot.commit,
            base_commit: snapshot.base,
            live_branch: snapshot.branch,
            policy_generation: self.doors.policies.for_run(Some(run)).generation(),
        };
        let (issue, _permit) =
            self.ledger
                .begin_diagnosis(issue.number, self.agent_actor(), started)?;
        self.note(&issue, "looking for the cause");
        let tools =
            self.doors
                .workbench
                .for_diagnosis(self.session(&issue, self.agent_actor(), cancel)?);
        let brief = brief(&issue, &self.settings, self.logs(&issue));
        match self.doors.agent.diagnose(&brief, tools.as_ref()) {
            Ok(diagnosis) => {
                let found = Event::DiagnosisFinished(bounds::diagnosis(diagnosis));
                self.ledger
                    .record(issue.number, self.agent_actor(), found)
                    .map(|_| Step::On)
            }
            Err(error) => self.agent_failed(&issue, &error, cancel),
        }
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
            AgentError::NotFound { summary, log, .. } => {
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
