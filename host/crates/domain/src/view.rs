//! Queries that people keep under a name.

use crate::user::UserName;
use serde::{Deserialize, Serialize};

/// Longest name of a view, in characters.
pub const MAX_NAME_CHARS: usize = 40;
/// Most views of one person.
pub const MAX_VIEWS: usize = 50;

/// A query that somebody keeps under a name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedView {
    /// Whose it is.
    pub owner: UserName,
    /// Its name among the owner's.
    pub name: String,
    /// As typed: read anew, with the reader's `me`, each time it is used.
    pub query: String,
    /// Everybody may use it.
    pub shared: bool,
}
