//! The web page, embedded in the binary: what `xtask build-web` wrote to `web/dist`.

use crate::call::{Call, bytes_of};
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::OnceLock;

/// Path, media type and bytes of each file.
static FILES: &[(&str, &str, &[u8])] = include!("../../../../../web/dist/embedded.rs");
/// The same files for browsers that take them packed, each packed when it is first asked
/// for.
static PACKED: [OnceLock<Bytes>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];

/// Marks an answer that pages of other origins may use: a script of theirs, or a page in a
/// frame of those that the settings name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Embeds {
    Script,
    Page,
}

/// A new binary brings a new page.
const ASK_AGAIN: &str = "no-cache";
/// These names change with what is in the files.
const KEEP: &str = "public, max-age=31536000, immutable";

pub(crate) fn page(call: &Call) -> Result<Response<Body>, Problem> {
    asset(call, "/index.html", ASK_AGAIN)
}

pub(crate) fn icon(call: &Call) -> Result<Response<Body>, Problem> {
    asset(call, "/icon.svg", ASK_AGAIN)
}

/// Defines `<selfheal-issues>`, for pages of other origins.
pub(crate) fn embed_script(call: &Call) -> Result<Response<Body>, Problem> {
    let mut response = asset(call, "/embed.js", ASK_AGAIN)?;
    response.extensions_mut().insert(Embeds::Script);
    Ok(response)
}

pub(crate) fn embedded_page(call: &Call) -> Result<Response<Body>, Problem> {
    let mut response = page(call)?;
    response.extensions_mut().insert(Embeds::Page);
    Ok(response)
}

pub(crate) fn file(call: &Call) -> Result<Response<Body>, Problem> {
    asset(call, &format!("/assets/{}", call.param("file")?), KEEP)
}

fn asset(call: &Call, path: &str, keep: &'static str) -> Result<Response<Body>, Problem> {
    let found = FILES.iter().zip(&PACKED).find(|(file, _)| file.0 == path);
    let Some(((_, media, plain), packed)) = found else {
        return Err(Problem::not_found(format!("there is nothing at {path}")));
    };
    let mut response = if takes_gzip(call) {
        let bytes = packed.get_or_init(|| pack(plain)).clone();
        let mut response = bytes_of(StatusCode::OK, media, bytes);
        let gzip = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, gzip);
        response
    } else {
        bytes_of(StatusCode::OK, media, *plain)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    let vary = HeaderValue::from_static("accept-encoding");
    headers.insert(header::VARY, vary);
    Ok(response)
}

fn takes_gzip(call: &Call) -> bool {
    let accepted = call.headers.get(header::ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|list| {
        list.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip") && parts.next() != Some("q=0")
        })
    })
}

fn pack(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail; were it to, the browser would say so.
    let packed = encoder.write_all(plain).and_then(|()| encoder.finish());
    packed.map(Bytes::from).unwrap_or_default()
}
