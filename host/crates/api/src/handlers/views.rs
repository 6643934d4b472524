//! Queries that people keep under a name.

use crate::call::{Call, json};
use crate::problem::Problem;
use crate::views::saved::{SavedViewItem, SavedViewPage, SavedViewRequest};
use axum::body::Body;
use axum::http::{Response, StatusCode};

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let views = call.shared.desk.views(call.caller()?)?;
    let items = views.into_iter().map(SavedViewItem::from).collect();
    let (items, next_cursor) = call.page(items, |view: &SavedViewItem| &view.key)?;
    json(StatusCode::OK, &SavedViewPage { items, next_cursor })
}

pub(crate) fn save(call: &Call) -> Result<Response<Body>, Problem> {
    let request: SavedViewRequest = call.json()?;
    let (desk, name) = (&call.shared.desk, call.param("name")?);
    let view = desk.save_view(call.caller()?, name, &request.query, request.shared)?;
    json(StatusCode::OK, &SavedViewItem::from(view))
}

pub(crate) fn forget(call: &Call) -> Result<Response<Body>, Problem> {
    let (desk, name) = (&call.shared.desk, call.param("name")?);
    desk.forget_view(call.caller()?, call.query("owner"), name)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
