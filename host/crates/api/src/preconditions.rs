//! Entity tags (RFC 9110 §8.8, §13): what somebody saw, and acting on nothing else.
//!
//! A tag is `"VERSION.DIGEST"`, or `"DIGEST"` where what is shown has no version. The digest
//! is that of the bytes sent, so equal tags mean equal bytes, whoever asks. `If-Match` goes
//! by the version alone, which the ledger compares and swaps: a caller who sees less of an
//! issue, or sees it later, acts on the same version of it.

use crate::call::Call;
use crate::problem::Problem;
use crate::routes::{Content, Verb};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use selfheal_domain::digest::Digest;
use selfheal_domain::ledger::Seen;

/// What `If-Match` and `If-None-Match` may say: tags, or `*`.
pub(crate) const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#;
/// What an `ETag` looks like.
pub(crate) const TAG: &str = r#"^"([0-9-]+\.)?[0-9a-f]{16}"$"#;

/// Characters of a digest in a tag: no attacker gains by two answers with one tag.
const DIGEST_CHARS: usize = 16;

/// Version of what an answer shows, for its tag and for `If-Match`.
#[derive(Clone, Debug)]
pub(crate) struct Version(pub(crate) String);

/// The tags of a header.
#[derive(PartialEq, Eq, Debug)]
enum Tags {
    /// `*`.
    Any,
    /// What is between the quotes, and whether the tag is weak.
    These(Vec<(bool, String)>),
}

fn malformed(name: &HeaderName) -> Problem {
    Problem::malformed(format!(
        "{name} must be the ETag that an answer carried, in its quotes; or several, with commas between; or *"
    ))
}

/// The tags of all lines of a header; none where there is no such header.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found = Vec::new();
    let mut any = false;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| malformed(name))?.trim();
        if line == "*" {
            any = true;
            continue;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let weak = rest.starts_with("W/");
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let (tag, after) = quoted
                .and_then(|quoted| quoted.split_once('"'))
                .filter(|(tag, _)| tag.bytes().all(|byte| byte.is_ascii_graphic()))
                .ok_or_else(|| malformed(name))?;
            found.push((weak, tag.to_owned()));
            let after = after.trim_start();
            let next = after.strip_prefix(',').map(str::trim_start);
            rest = match next {
                None if after.is_empty() => after,
                Some(next) if !next.is_empty() => next,
                _ => return Err(malformed(name)),
            };
        }
    }
    Ok(match (any, found.is_empty()) {
        (true, true) => Some(Tags::Any),
        (true, false) => return Err(malformed(name)),
        (false, false) => Some(Tags::These(found)),
        (false, true) if headers.contains_key(name) => return Err(malformed(name)),
        (false, true) => None,
    })
}

/// What the caller says to have seen; none where it says nothing.
///
/// # Errors
/// A header that cannot be read; 412 where what is acted on has no version.
pub(crate) fn seen(call: &Call) -> Result<Option<Seen>, Problem> {
    if call.route.verb == Verb::Get || call.route.hook.is_some() {
        return Ok(None);
    }
    if call.headers.contains_key(header::IF_NONE_MATCH) {
        return Err(Problem::stale("If-None-Match is for reading; leave it out"));
    }
    match tags(&call.headers, &header::IF_MATCH)? {
        None => Ok(None),
        Some(_) if !call.route.takes_if_match() => Err(Problem::stale(
            "this call acts on nothing that has a version; leave If-Match out",
        )),
        Some(Tags::Any) => Ok(None),
        // A weak tag is never the one of a version.
        Some(Tags::These(tags)) => Ok(Some(Seen::new(
            tags.into_iter()
                .filter(|(weak, _)| !weak)
                .map(|(_, tag)| tag.split('.').next().unwrap_or_default().to_owned()),
        ))),
    }
}

/// The answer with its tag, or without its content where the caller has that already.
///
/// # Errors
/// `If-None-Match` cannot be read.
pub(crate) fn tag(call: &Call, response: Response<Body>) -> Result<Response<Body>, Problem> {
    let reads = call.route.verb == Verb::Get;
    let json = matches!(call.route.content, Content::Schema(_) | Content::Json);
    let version = response.extensions().get::<Version>().cloned();
    if !response.status().is_success() || !json || (!reads && version.is_none()) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    // It was made of bytes, so nothing is waited for.
    let body =
        futures::executor::block_on(to_bytes(body, usize::MAX)).map_err(|_| Problem::internal())?;
    let digest = Digest::of(&body).to_string();
    let digest = digest.get(..DIGEST_CHARS).unwrap_or(&digest);
    let tag = match version {
        Some(Version(version)) => format!("{version}.{digest}"),
        None => digest.to_owned(),
    };
    let known = if reads {
        tags(&call.headers, &header::IF_NONE_MATCH)?
    } else {
        None
    };
    let known = known.is_some_and(|known| match known {
        Tags::Any => true,
        Tags::These(tags) => tags.iter().any(|(_, known)| *known == tag),
    });
    let value = HeaderValue::try_from(format!("\"{tag}\"")).map_err(|_| Problem::internal())?;
    parts.headers.insert(header::ETAG, value);
    if known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The answer, which shows this version.
pub(crate) fn of_version(version: impl ToString, mut response: Response<Body>) -> Response<Body> {
    response
        .extensions_mut()
        .insert(Version(version.to_string()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Tags>, Problem> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_str(line).unwrap());
        }
        tags(&headers, &header::IF_MATCH)
    }

    #[test]
    fn tags_are_read_as_the_standard_writes_them() {
        let tag = |weak, tag: &str| (weak, tag.to_owned());
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["*"]).unwrap(), Some(Tags::Any));
        assert_eq!(
            read(&["\"1.a\" , W/\"2\"", "\"a,b\""]).unwrap(),
            Some(Tags::These(vec![
                tag(false, "1.a"),
                tag(true, "2"),
                tag(false, "a,b")
            ]))
        );
        for wrong in [
            "",
            "1",
            "\"1\",",
            "\"a b\"",
            "W/W/\"1\"",
            "\"1",
            "\"1\" \"2\"",
            "W/1",
            "\"1\", *",
            "'1'",
        ] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
        assert!(read(&["*", "\"1\""]).is_err());
    }
}
