//! The latest tool calls of each run, for modules that judge sequences. Lives
//! beside the generations, so that a swap does not forget.

use crate::abi::v1::Surroundings;
use selfheal_domain::ids::RunId;
use selfheal_domain::policy::{PastCall, PolicyContext, ToolCallFacts};
use selfheal_domain::verdict::Verdict;
use std::collections::VecDeque;
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

    /// What a module may look up while it judges in `context`.
    pub(crate) fn around(&self, context: &PolicyContext) -> Surroundings {
        let history = context.run.and_then(|run| {
            let runs = self.lock();
            let calls = runs
                .iter()
                .find(|(id, _)| *id == run.id)
                .map(|(_, calls)| calls);
            calls.map(|calls| calls.iter().rev().cloned().collect::<Arc<[Arc<PastCall>]>>())
        });
        Surroundings {
            counters: context.counters,
            history: history.unwrap_or_default(),
        }
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
        let mut runs = self.lock();
        let found = runs.iter().position(|(id, _)| *id == run.id);
        let mut calls = found
            .and_then(|at| runs.remove(at))
            .map(|(_, calls)| calls)
            .unwrap_or_default();
        if calls.len() == CALLS {
            calls.pop_front();
        }
        calls.push_back(Arc::new(PastCall {
            tool: call.tool.clone(),
            verdict: word.to_owned(),
            rule,
        }));
        if runs.len() == RUNS {
            runs.pop_front();
        }
        runs.push_back((run.id, calls));
    }
}
