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
}

impl From<SavedView> for SavedViewItem {
    fn from(view: SavedView) -> Self {
        Self {
            name: view.name,
            owner: view.owner.to_string(),
            query: view.query,
            shared: view.shared,
        }
    }
}

/// The caller's views, then those that others share; all on one page.
#[derive(Serialize, ToSchema)]
pub(crate) struct SavedViewPage {
    pub(crate) items: Vec<SavedViewItem>,
}

/// A query to keep.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedViewRequest {
    /// As for `GET /api/v1/issues?query=`.
    #[schema(max_length = 1000, example = "is:waiting severity:>=high")]
    pub(crate) query: String,
    /// Let everybody use it; for admins.
    #[serde(default)]
    pub(crate) shared: bool,
}
