//! The web page, embedded in the binary.

use crate::call::{Call, bytes_of};
use crate::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

const PAGE: &str = include_str!("../../../../../web/index.html");
const STYLE: &str = include_str!("../../../../../web/app.css");
const SCRIPT: &str = include_str!("../../../../../web/app.js");

fn asset(media: &'static str, text: &'static str) -> Response<Body> {
    let mut response = bytes_of(StatusCode::OK, media, text);
    // A new binary brings a new page.
    let value = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

pub(crate) fn page(_: &Call) -> Result<Response<Body>, Problem> {
    Ok(asset("text/html; charset=utf-8", PAGE))
}

pub(crate) fn style(_: &Call) -> Result<Response<Body>, Problem> {
    Ok(asset("text/css; charset=utf-8", STYLE))
}

pub(crate) fn script(_: &Call) -> Result<Response<Body>, Problem> {
    Ok(asset("text/javascript; charset=utf-8", SCRIPT))
}
