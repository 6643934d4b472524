//! Calls of agents of other makers: judged here, carried out by them.

use super::IssueDesk;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::external::{ExternalCall, Situation};
use selfheal_domain::ledger::Ledger;
use selfheal_domain::policy::TrackRecord;
use selfheal_domain::ports::{CallRecorder, RecordRefused};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::Actor;
use selfheal_domain::verdict::{Reason, Verdict};
use std::sync::Arc;

/// Records what belongs to no issue.
struct HostRecorder(Arc<Ledger>);

impl CallRecorder for HostRecorder {
    fn record(&self, actor: &Actor, event: Event) -> Result<(), RecordRefused> {
        self.0
            .record_host(actor.clone(), event)
            .map(drop)
            .map_err(|error| RecordRefused(crate::healer::chain(&error)))
    }

    fn progress(&self, _note: &str) {}
}

impl IssueDesk {
    /// May this call happen? Always answers: what cannot be judged or recorded, and
    /// everything while the host is frozen, is denied.
    pub fn check_external(&self, call: &ExternalCall) -> Verdict {
        match &self.checker {
            Some(checker) => checker.check(call, &self.situation()),
            None => Verdict::Deny(Reason::new(
                "host.no-checker",
                "this host judges no calls of other agents",
            )),
        }
    }

    /// What came of a call.
    pub fn external_finished(&self, call: &ExternalCall, outcome: ToolOutcome) {
        if let Some(checker) = &self.checker {
            checker.finished(call, outcome, &self.situation());
        }
    }

    fn situation(&self) -> Situation {
        let (level, stopped) = match self.autonomy() {
            Ok(view) if view.frozen => (
                view.level,
                Some("this host is frozen; an admin lifts it".to_owned()),
            ),
            Ok(view) => (view.level, None),
            Err(error) => (
                AutonomyLevel::Observe,
                Some(format!("this host cannot say how it stands: {error}")),
            ),
        };
        Situation {
            level,
            stopped,
            earned: TrackRecord::default(),
            recorder: Arc::new(HostRecorder(Arc::clone(&self.ledger))),
        }
    }
}
