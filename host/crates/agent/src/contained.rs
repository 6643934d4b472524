//! Agents of other makers: started in the sandbox like any command that stays, and
//! alone with the worktree when they may write in it.

use crate::broker::{Broker, Place};
use crate::effects::tool_error;
use crate::observed::{Holding, declared, held};
use crate::workbench::Bench;
use selfheal_domain::ids::RunRef;
use selfheal_domain::policy::{RunCounters, ToolCallFacts};
use selfheal_domain::tools::{ContainedAgent, ToolError, WorkspaceAccess};
use selfheal_sandbox::{Destination, Grant, Session};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who has the worktree.
#[derive(Debug, Default)]
pub(crate) struct Tenancy(Mutex<Option<Vec<String>>>);

impl Tenancy {
    /// What the tenant's judged calls said that they change, while there is one.
    fn declared(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a judged call will change.
    pub(crate) fn declare(&self, facts: &ToolCallFacts) {
        if let Some(known) = &mut *self.declared() {
            known.extend(declared(facts).map(str::to_owned));
        }
    }

    /// The kernel lays no tree over one that is mounted for writing, and writing
    /// below such a mount is undefined.
    pub(crate) fn free(&self) -> Result<(), ToolError> {
        match &*self.declared() {
            None => Ok(()),
            Some(_) => Err(ToolError::Invalid(
                "an agent works in the worktree; nothing else can until it has ended".to_owned(),
            )),
        }
    }
}

/// A contained agent's time in the worktree.
pub(crate) struct Stay {
    tenancy: Arc<Tenancy>,
    counters: Arc<Mutex<RunCounters>>,
    bench: Arc<Bench>,
    run: Option<RunRef>,
    upper: PathBuf,
    root: PathBuf,
    before: Option<Holding>,
}

impl Stay {
    /// Once its processes are gone: gives the worktree back, and says what was
    /// changed although no judged call had said so.
    pub(crate) fn end(mut self) -> String {
        let known = self.tenancy.declared().take().unwrap_or_default();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let after = held(&self.upper, &self.root);
        let held = (self.before.take(), after);
        self.bench.observe(self.run, held, &known, &mut counters)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        *self.tenancy.declared() = None;
    }
}

impl Broker {
    /// Starts a contained agent.
    pub(crate) fn start_agent(
        &self,
        command: &str,
        directory: &str,
        timeout: Duration,
        access: WorkspaceAccess,
        agent: &ContainedAgent,
    ) -> Result<(Session, Option<Stay>), ToolError> {
        // Whoever works in the worktree now is waited for.
        let _alone = self.worktree_lock.write();
        self.tenancy.free()?;
        let mut spec = self.sandbox_spec(command, directory, timeout, access)?;
        spec.environment.extend(agent.environment.clone());
        spec.visible.extend(agent.visible.iter().cloned());
        if let Some((port, socket)) = &agent.gateway {
            let to = Destination::Unix(socket.clone());
            spec.grants.push(Grant::at_port(*port, to));
        }
        let stay = match (&self.place, access) {
            (Place::Worktree(worktree), WorkspaceAccess::Keep) => {
                *self.tenancy.declared() = Some(Vec::new());
                Some(Stay {
                    tenancy: Arc::clone(&self.tenancy),
                    counters: self.shared_counters(),
                    bench: Arc::clone(&self.bench),
                    run: self.session.run,
                    before: held(&worktree.upper, self.view.root()),
                    upper: worktree.upper.clone(),
                    root: self.view.root().to_owned(),
                })
            }
            _ => None,
        };
        let process = self
            .bench
            .sandbox
            .spawn(spec, self.lifeline.token())
            .map_err(|error| tool_error(&error))?;
        Ok((process, stay))
    }
}
