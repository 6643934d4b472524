//! The application's services: how they are, and what admins have them do.

use crate::call::{Call, bytes_of, json};
use crate::preconditions::of_version;
use crate::problem::Problem;
use crate::views::admin::{Service, ServiceDetails, ServicePage};
use crate::views::issue::EmptyRequest;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::ports::ServiceStatus;
use selfheal_domain::service::ServiceOperation;

/// Most bytes of a service's output in one answer.
const LOG_BYTES: usize = 256 * 1024;

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let all = call.shared.desk.services();
    let items = all.into_iter().map(Service::from).collect();
    let (items, next_cursor) = call.page(items, Service::name)?;
    json(StatusCode::OK, &ServicePage { items, next_cursor })
}

pub(crate) fn get(call: &Call) -> Result<Response<Body>, Problem> {
    let (status, details) = call.shared.desk.service_details(call.param("name")?)?;
    let version = status.version();
    let response = json(StatusCode::OK, &ServiceDetails::of(status, details))?;
    Ok(of_version(version, response))
}

pub(crate) fn log(call: &Call) -> Result<Response<Body>, Problem> {
    let text = call
        .shared
        .desk
        .service_log(call.param("name")?, LOG_BYTES)?;
    let media = "text/plain; charset=utf-8";
    Ok(bytes_of(StatusCode::OK, media, text))
}

pub(crate) fn start(call: &Call) -> Result<Response<Body>, Problem> {
    operate(call, ServiceOperation::Start)
}

pub(crate) fn stop(call: &Call) -> Result<Response<Body>, Problem> {
    operate(call, ServiceOperation::Stop)
}

pub(crate) fn restart(call: &Call) -> Result<Response<Body>, Problem> {
    operate(call, ServiceOperation::Restart)
}

pub(crate) fn reload(call: &Call) -> Result<Response<Body>, Problem> {
    operate(call, ServiceOperation::Reload)
}

fn operate(call: &Call, operation: ServiceOperation) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    let name = call.param("name")?;
    let desk = call.desk()?;
    let all = desk.operate_service(call.caller()?, name, operation)?;
    let one = |status: &ServiceStatus| status.name == name;
    let one = all.into_iter().find(one);
    let one = one.ok_or_else(|| Problem::not_found(format!("there is no service {name:?}")))?;
    let version = one.version();
    Ok(of_version(
        version,
        json(StatusCode::OK, &Service::from(one))?,
    ))
}
