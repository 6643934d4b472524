//! Review of a patch.

use crate::call::{Call, json};
use crate::handlers::issues::shown;
use crate::preconditions::of_version;
use crate::problem::Problem;
use crate::views::patch::{PatchApprovalRequest, PatchRejectionRequest, PatchReview};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_pipeline::desk::Redraft;

pub(crate) fn get(call: &Call) -> Result<Response<Body>, Problem> {
    let issue = call
        .shared
        .desk
        .issue(call.caller()?, call.param("issue")?)?;
    let review = PatchReview::of(&issue)
        .ok_or_else(|| Problem::not_found(format!("issue {} has no patch", issue.number)))?;
    Ok(of_version(issue.version, json(StatusCode::OK, &review)?))
}

pub(crate) fn approve(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PatchApprovalRequest = call.json()?;
    let (desk, key) = (call.desk()?, call.param("issue")?);
    let issue = desk.approve_patch(call.caller()?, key, &request.patch_digest)?;
    shown(call, &issue)
}

pub(crate) fn reject(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PatchRejectionRequest = call.json()?;
    let next = if request.redraft {
        Redraft::Yes
    } else {
        Redraft::No
    };
    let (desk, key) = (call.desk()?, call.param("issue")?);
    let issue = desk.reject_patch(call.caller()?, key, &request.reason, next)?;
    shown(call, &issue)
}
