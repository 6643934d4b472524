//! Records tool calls of one issue's run in the ledger.

use crate::feed::{Feed, FeedItem};
use selfheal_domain::event::Event;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ledger::Ledger;
use selfheal_domain::ports::{CallRecorder, RecordRefused};
use selfheal_domain::user::Actor;
use std::sync::Arc;

/// A [`CallRecorder`] over the ledger.
pub(crate) struct LedgerRecorder {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) issue: IssueNumber,
}

impl CallRecorder for LedgerRecorder {
    fn record(&self, actor: &Actor, event: Event) -> Result<(), RecordRefused> {
        self.ledger
            .record(self.issue, actor.clone(), event)
            .map(drop)
            .map_err(|error| RecordRefused(crate::healer::chain(&error)))
    }

    fn progress(&self, note: &str) {
        self.feed.publish(&FeedItem::Progress {
            issue: self.issue,
            note: note.to_owned(),
        });
    }
}
