//! The latest tool calls of each run, for modules that judge sequences. Lives
//! beside the generations, so that a swap does not forget.

use selfheal_domain::ids::RunId;
use selfheal_domain::policy::{PastCall, PolicyContext, ToolCallFacts};
use selfheal_domain::verdict::Verdict;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls kept of a run.
const CALLS: usize = 64;
/// Runs kept; the one that was idle longest goes first.
const RUNS: usize = 256;

/// Bounded memory of what runs did.
#[derive(Default)]
pub(crate) struct History {
    /// Latest run last.
    runs: Mutex<VecDeque<(RunId, VecDeque<Arc<PastCall>>)>>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(RunId, VecDeque<Arc<PastCall>>)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest calls of the run in `context`, newest first.
    pub(crate) fn of(&self, context: &PolicyContext) -> Arc<[Arc<PastCall>]> {
        let Some(run) = context.run else {
            return Arc::default();
        };
        let runs = self.lock();
        let calls = runs.iter().find(|(id, _)| *id == run.id);
        calls.map_or_else(Arc::default, |(_, calls)| {
            calls.iter().rev().cloned().collect()
        })
    }

    /// The runs that are remembered.
    pub(crate) fn runs(&self) -> HashSet<RunId> {
        self.lock().iter().map(|(run, _)| *run).collect()
    }

    /// Remembers a judged call.
    pub(crate) fn record(&self, context: &PolicyContext, call: &ToolCallFacts, verdict: &Verdict) {
        let Some(run) = context.run else { return };
        let word = match verdict {
            Verdict::Allow => "allow",
            Verdict::Ask(_) => "ask",
            Verdict::Deny(_) => "deny",
        };
        let rule = verdict.reason().map(|reason| reason.rule.clone());
        let past = PastCall {
            tool: call.tool.clone(),
            verdict: word.to_owned(),
            rule,
        };
        self.note(run.id, past);
    }

    /// Remembers what a run did.
    pub(crate) fn note(&self, run: RunId, past: PastCall) {
        let mut runs = self.lock();
        let found = runs.iter().position(|(id, _)| *id == run);
        let mut calls = found
            .and_then(|at| runs.remove(at))
            .map(|(_, calls)| calls)
            .unwrap_or_default();
        if calls.len() == CALLS {
            calls.pop_front();
        }
        calls.push_back(Arc::new(past));
        if runs.len() == RUNS {
            runs.pop_front();
        }
        runs.push_back((run, calls));
    }
}
