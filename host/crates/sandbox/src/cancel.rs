//! One switch that stops every contained process of a run at once.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Cancels what was started under it. Clones share one state; once cancelled it
/// stays cancelled.
#[derive(Clone, Default, Debug)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Default, Debug)]
struct Shared {
    cancelled: AtomicBool,
    // Control sockets of live sandboxes. Shutting one down makes its supervisor
    // kill everything, with nobody polling for it.
    lifelines: Mutex<Vec<Weak<UnixStream>>>,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Kills everything that runs under this token and refuses what would start
    /// later. Does not wait for the end.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        let lifelines = std::mem::take(
            &mut *self
                .shared
                .lifelines
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for lifeline in lifelines.iter().filter_map(Weak::upgrade) {
            // Fails only when the other side is gone already.
            let _ = lifeline.shutdown(Shutdown::Both);
        }
    }

    /// Somebody called [`cancel`](Self::cancel).
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Shuts the lifeline down on cancellation, or now if that has happened.
    pub(crate) fn register(&self, lifeline: &Arc<UnixStream>) {
        {
            let mut lifelines = self
                .shared
                .lifelines
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            lifelines.retain(|known| known.strong_count() > 0);
            lifelines.push(Arc::downgrade(lifeline));
        }
        // Looked at after the push: whichever comes second does the shutdown.
        if self.is_cancelled() {
            let _ = lifeline.shutdown(Shutdown::Both);
        }
    }
}
