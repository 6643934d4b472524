//! What takes secrets out of everything that the host writes down or hands on. One for
//! all, so that none of them goes by an earlier policy.

use selfheal_audit::Masker;
use std::sync::{Arc, PoisonError, RwLock};

/// The masker in force; clones share it.
#[derive(Clone)]
pub(crate) struct Mask(Arc<RwLock<Arc<Masker>>>);

impl Mask {
    pub(crate) fn new(masker: Masker) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(masker))))
    }

    /// Another one from now on.
    pub(crate) fn put(&self, masker: Masker) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(masker);
    }

    /// The one in force.
    pub(crate) fn masker(&self) -> Arc<Masker> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        self.masker().text(text).into_owned()
    }
}
