//! Saved views as JSON.

use selfheal_domain::view::SavedView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A query that somebody keeps under a name.
#[derive(Serialize, ToSchema)]
#[schema(as = SavedView)]
pub(crate) struct SavedViewItem {
    #[schema(example = "Burning")]
    name: String,
    #[schema(example = "ada")]
    owner: String,
    #[schema(example = "is:waiting severity:>=high")]
    query: String,
    /// Everybody may use it.
    shared: bool,
    /// Its place in the list.
    #[serde(skip)]
    pub(crate) key: String,
}

impl From<SavedView> for SavedViewItem {
    fn from(view: SavedView) -> Self {
        Self {
            key: format!("{}/{}", view.owner, view.name),
            name: view.name,
            owner: view.owner.to_string(),
            query: view.query,
            shared: view.shared,
        }
    }
}

/// The caller's views, then those that others share.
#[derive(Serialize, ToSchema)]
pub(crate) struct SavedViewPage {
    pub(crate) items: Vec<SavedViewItem>,
    /// Where the next page starts; absent at the end.
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A query to keep.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedViewRequest {
    /// As for `GET /api/v1/issues?query=`.
    #[schema(example = "is:waiting severity:>=high")]
    pub(crate) query: String,
    /// Let everybody use it; for admins.
    #[serde(default)]
    pub(crate) shared: bool,
}
