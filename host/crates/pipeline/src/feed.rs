//! What is going on, for everybody who watches: durable records as they are
//! acknowledged, and progress notes, which are never stored.

use selfheal_domain::event::Record;
use selfheal_domain::ids::IssueNumber;
use std::sync::{Arc, PoisonError, RwLock};

/// One thing to tell.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A durable record.
    Record(Arc<Record>),
    /// What an agent is doing right now.
    Progress {
        /// The issue it works on.
        issue: IssueNumber,
        /// For people.
        note: String,
    },
}

type Subscriber = Box<dyn Fn(&FeedItem) + Send + Sync>;

/// Hands every item to every subscriber. Subscribers must not block.
#[derive(Default)]
pub struct Feed {
    subscribers: RwLock<Vec<Subscriber>>,
}

impl Feed {
    /// Calls `subscriber` with every item from now on.
    pub fn subscribe(&self, subscriber: impl Fn(&FeedItem) + Send + Sync + 'static) {
        self.subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(subscriber));
    }

    /// Tells everybody.
    pub fn publish(&self, item: &FeedItem) {
        for subscriber in self
            .subscribers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            subscriber(item);
        }
    }
}
