//! The one route from an agent to the world.

use crate::changes::{chain, changes};
use crate::contained::{Stay, Tenancy};
use crate::facts::{Scope, facts_of};
use crate::layer::Throwaway;
use crate::mcp::Conversations;
use crate::session::{Lifeline, RecordedSession};
use crate::taint::{Brought, Taint};
use crate::view::View;
use crate::workbench::Bench;
use chrono::{DateTime, Utc};
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::ids::DecisionId;
use selfheal_domain::mcp::McpTool;
use selfheal_domain::patch::FileChange;
use selfheal_domain::policy::{AgentPhase, PolicyContext, RunCounters, ToolCallFacts};
use selfheal_domain::ports::{DraftingTools, RunWorktree, ToolSessionSpec};
use selfheal_domain::tools::{
    ContainedAgent, JudgedCall, ToolError, ToolOutput, ToolRequest, ToolSession, Tools,
    WorkspaceAccess,
};
use selfheal_domain::user::TrustClass;
use selfheal_domain::verdict::{Reason, Verdict};
use selfheal_sandbox::{ASSETS_PATH, Session};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Longest outcome text in the record, in bytes.
const MAX_OUTCOME: usize = 2 * 1024;

/// What a session works on.
#[derive(Debug)]
pub(crate) enum Place {
    /// The live tree alone.
    Live,
    /// The live tree under what the run has written so far.
    Worktree(RunWorktree),
    /// The live tree under a patch.
    Patched(Throwaway),
    /// It could not be prepared, so nothing happens in it.
    Broken(String),
}

/// The tools of one session.
pub(crate) struct Broker {
    pub(crate) bench: Arc<Bench>,
    pub(crate) session: ToolSessionSpec,
    pub(crate) phase: AgentPhase,
    pub(crate) place: Place,
    pub(crate) view: View,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) lifeline: Arc<Lifeline>,
    /// Writers of the worktree one at a time, and never under a mounted reader.
    pub(crate) worktree_lock: RwLock<()>,
    /// Trust class of all that the agent has read.
    pub(crate) taint: Taint,
    pub(crate) conversations: Conversations,
    /// The contained agent that has the worktree for as long as it lives, if any.
    pub(crate) tenancy: Arc<Tenancy>,
    counters: Arc<Mutex<RunCounters>>,
    started: DateTime<Utc>,
}

/// A call that may happen: its intent is on record.
pub(crate) struct Admitted {
    pub(crate) id: DecisionId,
    pub(crate) facts: ToolCallFacts,
}

/// What an effect came to, for the agent and for the record.
pub(crate) struct Effect<T> {
    pub(crate) result: Result<T, ToolError>,
    pub(crate) outcome: ToolOutcome,
    /// Text that it shows the agent and that is of a class of its own.
    pub(crate) brought: Option<Brought>,
}

impl<T> Effect<T> {
    pub(crate) fn done(value: T, text: impl Into<String>) -> Self {
        Self {
            result: Ok(value),
            outcome: ToolOutcome::Succeeded(text.into()),
            brought: None,
        }
    }

    pub(crate) fn bringing(self, brought: impl Into<Option<Brought>>) -> Self {
        Self {
            brought: brought.into(),
            ..self
        }
    }

    pub(crate) fn refused(error: ToolError) -> Self {
        let outcome = ToolOutcome::Failed(chain(&error));
        Self {
            result: Err(error),
            outcome,
            brought: None,
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::refused(ToolError::Invalid(text.into()))
    }
}

impl Broker {
    pub(crate) fn new(
        bench: Arc<Bench>,
        session: ToolSessionSpec,
        phase: AgentPhase,
        place: Place,
    ) -> Self {
        let layers = match &place {
            Place::Worktree(worktree) => vec![worktree.upper.clone()],
            Place::Patched(layer) => vec![layer.path().to_owned()],
            Place::Live | Place::Broken(_) => Vec::new(),
        };
        Self {
            view: View::new(bench.config.repository_root.clone(), layers.clone()),
            lifeline: Arc::new(Lifeline::new(session.cancel.clone())),
            started: bench.clock.now(),
            counters: bench.counters.of(session.run),
            taint: Taint::new(session.trust),
            layers,
            bench,
            session,
            phase,
            place,
            worktree_lock: RwLock::new(()),
            tenancy: Arc::default(),
            conversations: Conversations::default(),
        }
    }

    pub(crate) fn counters(&self) -> MutexGuard<'_, RunCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Facts, policy, record: nothing has happened yet when this returns, and
    /// nothing may happen unless it returns `Ok`.
    fn admit(&self, request: &ToolRequest) -> Result<Admitted, ToolError> {
        if self.session.cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        let facts = facts_of(request, &Scope::new(&self.bench, &self.view));
        let counters = {
            let mut counters = self.counters();
            counters.tool_calls += 1;
            let passed = self.bench.clock.now() - self.started;
            counters.seconds = u64::try_from(passed.num_seconds()).unwrap_or(0);
            *counters
        };
        let context = PolicyContext {
            run: self.session.run,
            phase: self.phase,
            environment: self.bench.environment(),
            level: self.session.level,
            actor: self.session.actor.to_string(),
            trust: self.taint.class(),
            service: self.session.service.clone(),
            earned: self.session.earned,
            counters,
        };
        // One generation per decision, whatever is activated meanwhile.
        let policies = self.bench.policies.for_run(self.session.run);
        let judgement = policies.judge_tool_call(&context, &facts);
        let verdict = judgement.strictest();
        let id = DecisionId(self.bench.ids.uuid());
        self.record(Event::ToolCalled(ToolDecision {
            id,
            phase: self.phase,
            facts: facts.clone(),
            judgement,
            external: None,
        }))?;
        let reason = match verdict {
            Verdict::Allow => {
                let Some(error) = self.strayed() else {
                    return Ok(Admitted { id, facts });
                };
                self.finish(id, ToolOutcome::Failed(chain(&error)))?;
                return Err(error);
            }
            Verdict::Ask(mut reason) => {
                reason.message = format!("{} (nobody can be asked during a run)", reason.message);
                reason
            }
            Verdict::Deny(reason) => reason,
        };
        self.counters().denied += 1;
        let text = format!("denied by {}: {}", reason.rule, reason.message);
        self.finish(id, ToolOutcome::Failed(text))?;
        Err(ToolError::Denied(reason))
    }

    pub(crate) fn record(&self, event: Event) -> Result<(), ToolError> {
        self.session
            .recorder
            .record(&self.session.actor, event)
            .map_err(|error| ToolError::Unavailable(error.to_string()))
    }

    fn finish(&self, decision: DecisionId, outcome: ToolOutcome) -> Result<(), ToolError> {
        let short = |text: String| shorten(&self.bench.masker.for_record(&text), MAX_OUTCOME);
        let outcome = match outcome {
            ToolOutcome::Succeeded(text) => ToolOutcome::Succeeded(short(text)),
            ToolOutcome::Failed(text) => ToolOutcome::Failed(short(text)),
            ToolOutcome::Unknown(text) => ToolOutcome::Unknown(short(text)),
        };
        self.record(Event::ToolFinished { decision, outcome })
    }

    /// Judges, records, carries out, records. The one caller of all effects.
    fn carry_out<T>(
        &self,
        request: &ToolRequest,
        effect: impl FnOnce(&Admitted) -> Effect<T>,
    ) -> Result<T, ToolError> {
        let admitted = self.admit(request)?;
        let effect = match &self.place {
            Place::Broken(why) => Effect::refused(ToolError::Unavailable(why.clone())),
            // Cancelled while a policy thought about it.
            _ if self.session.cancel.is_cancelled() => Effect::refused(ToolError::Cancelled),
            _ => effect(&admitted),
        };
        self.finish(admitted.id, effect.outcome)?;
        let shown = self.shown(request, &admitted.facts);
        for brought in shown.into_iter().chain(effect.brought) {
            self.takes_in(brought)?;
        }
        effect.result
    }

    /// Judges, records, starts what stays. Its end is recorded when it is dropped.
    fn stay(
        &self,
        request: &ToolRequest,
        start: impl FnOnce(
            &str,
            &str,
            Duration,
            WorkspaceAccess,
        ) -> Result<(Session, Option<Stay>), ToolError>,
    ) -> Result<Box<dyn ToolSession>, ToolError> {
        let ToolRequest::Bash {
            command,
            directory,
            timeout,
            access,
        } = request
        else {
            return Err(ToolError::Invalid(format!(
                "a session runs Bash, not {}",
                request.tool()
            )));
        };
        let admitted = self.admit(request)?;
        let started = match &self.place {
            Place::Broken(why) => Err(ToolError::Unavailable(why.clone())),
            // Cancelled while a policy thought about it.
            _ if self.session.cancel.is_cancelled() => Err(ToolError::Cancelled),
            _ => start(command, directory, *timeout, *access),
        };
        let shown = self.shown(request, &admitted.facts);
        let started = shown
            .map_or(Ok(()), |brought| self.takes_in(brought))
            .and(started);
        match started {
            Ok((process, stay)) => Ok(Box::new(RecordedSession::new(
                process,
                stay,
                Arc::clone(&self.lifeline),
                Arc::clone(&self.bench),
                self.session.clone(),
                admitted.id,
            ))),
            Err(error) => {
                self.finish(admitted.id, ToolOutcome::Failed(chain(&error)))?;
                Err(error)
            }
        }
    }

    /// For what outlives a call.
    pub(crate) fn shared_counters(&self) -> Arc<Mutex<RunCounters>> {
        Arc::clone(&self.counters)
    }
}

impl Tools for Broker {
    fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
        self.carry_out(&request, |admitted| match &request {
            ToolRequest::Bash {
                command,
                directory,
                timeout,
                access,
            } => self.bash(command, directory, *timeout, *access, admitted),
            ToolRequest::Read {
                path,
                offset,
                limit,
            } => self.read(path, *offset, *limit),
            ToolRequest::Grep { pattern, glob } => self.grep(pattern, glob.as_deref()),
            ToolRequest::Glob { pattern } => self.glob(pattern),
            ToolRequest::Write { path, content } => self.write(path, content),
            ToolRequest::Edit {
                path,
                old,
                new,
                replace_all,
            } => self.edit(path, &[(old, new, *replace_all)]),
            ToolRequest::MultiEdit { path, edits } => {
                let edits: Vec<_> = edits
                    .iter()
                    .map(|edit| (edit.old.as_str(), edit.new.as_str(), edit.replace_all))
                    .collect();
                self.edit(path, &edits)
            }
            ToolRequest::Task { prompt, .. } => Self::task(prompt),
            ToolRequest::Mcp {
                server,
                tool,
                arguments,
            } => self.mcp(server, tool, arguments),
        })
    }

    fn session(&self, request: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
        self.stay(&request, |command, directory, timeout, access| {
            let process = self.start(command, directory, timeout, access)?;
            Ok((process, None))
        })
    }

    fn contain(&self, agent: ContainedAgent) -> Result<Box<dyn ToolSession>, ToolError> {
        self.stay(&agent.request, |command, directory, timeout, access| {
            self.start_agent(command, directory, timeout, access, &agent)
        })
    }

    fn judge(&self, request: &ToolRequest) -> Result<JudgedCall, ToolError> {
        let admitted = self.admit(request)?;
        // The agent carries it out itself, so what it will read counts already.
        let brought = match request {
            ToolRequest::Grep { .. } => self.any_foreign(),
            ToolRequest::Mcp { .. } => Some(Brought {
                trust: TrustClass::External,
                source: request.tool().into_owned(),
            }),
            _ => self.shown(request, &admitted.facts),
        };
        if let Some(error) = brought.and_then(|brought| self.takes_in(brought).err()) {
            self.finish(admitted.id, ToolOutcome::Failed(chain(&error)))?;
            return Err(error);
        }
        self.tenancy.declare(&admitted.facts);
        Ok(JudgedCall(admitted.id))
    }

    fn finished(&self, call: JudgedCall, outcome: ToolOutcome) -> Result<(), ToolError> {
        self.finish(call.0, outcome)
    }

    fn mcp_tools(&self) -> Vec<McpTool> {
        self.offered_by_servers()
    }

    fn workspace(&self) -> String {
        self.view.root().to_string_lossy().into_owned()
    }

    fn assets(&self) -> String {
        ASSETS_PATH.to_owned()
    }

    fn progress(&self, note: &str) {
        self.session
            .recorder
            .progress(&self.bench.masker.for_record(note));
    }

    fn cancelled(&self) -> bool {
        self.session.cancel.is_cancelled()
    }
}

impl DraftingTools for Broker {
    fn changes(&self) -> Result<Vec<FileChange>, String> {
        match &self.place {
            Place::Worktree(worktree) => {
                let _read = self
                    .worktree_lock
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                changes(&self.bench, &worktree.upper)
            }
            Place::Live | Place::Patched(_) | Place::Broken(_) => Ok(Vec::new()),
        }
    }

    fn as_tools(&self) -> &dyn Tools {
        self
    }
}

/// At most `limit` bytes, cut at a character.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// A denial by the host itself, which no policy can loosen.
pub(crate) fn host_denies(rule: &str, message: String) -> ToolError {
    ToolError::Denied(Reason::new(rule, message))
}
