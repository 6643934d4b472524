//! What every request passes, in this order: method, rate of its source, who it is,
//! rate of its user, role, scope of its token, origin, whether the issue is theirs, size of the body,
//! idempotency. Only then its handler runs, on a thread that may block.

use crate::call::{Call, Credential, Visitor};
use crate::handlers::assets::Embeds;
use crate::handlers::hook;
use crate::hook::{MAX_QUESTION, MAX_REPORT};
use crate::idempotency::{Answer, Claim};
use crate::limits::source_key;
use crate::outside;
use crate::preconditions;
use crate::problem::Problem;
use crate::routes::{Route, Verb, Who};
use crate::secrets::{digest_of, is_digest};
use crate::sessions::{SecureCookies, cookie_of};
use crate::state::Shared;
use crate::tls::Peer;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use axum::response::IntoResponse;
use futures::StreamExt;
use selfheal_domain::digest::Digest;
use selfheal_domain::token::AccessToken;
use selfheal_domain::user::{Account, Role, UserName};
use selfheal_pipeline::desk::Caller;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest path with its query, in bytes: the longest query, with each character escaped,
/// fits twice.
const MAX_PLACE: usize = 32 * 1024;
/// Most bytes of all headers, names and values.
const MAX_HEADERS: usize = 32 * 1024;
/// A body must have arrived after this.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Where requests come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// The network: everybody must say who they are.
    Network,
    /// The operator's socket: the file's permissions decided already.
    Socket,
}

/// Answers one request to a path that `rows` share.
pub(crate) async fn pass(
    shared: Arc<Shared>,
    rows: Arc<[&'static Route]>,
    door: Door,
    request: Request,
) -> Response<Body> {
    match walk(shared, &rows, door, request).await {
        Ok(response) => response,
        Err(problem) => match rows.first().and_then(|route| route.hook) {
            Some(agent) => hook::refusal(agent, &problem),
            None => problem.into_response(),
        },
    }
}

async fn walk(
    shared: Arc<Shared>,
    rows: &[&'static Route],
    door: Door,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (mut parts, body) = request.into_parts();
    bounded(&parts.uri, &parts.headers)?;
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path = path.map_err(|error| Problem::malformed(error.body_text()))?;
    let path = path
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let route = route_of(rows, parts.method.as_str())?;
    let peer = parts.extensions.get::<ConnectInfo<Peer>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.0.ip());
    let seen = shared.options.proxy.see(peer, &parts.headers);
    let source = source_key(seen.source);
    if door == Door::Network {
        let taken = shared.by_source.take(source, Instant::now());
        taken.map_err(|wait| Problem::too_many("too many requests from your address", wait))?;
    }
    let call = Call {
        shared,
        route,
        visitor: None,
        source,
        seen,
        path,
        query: query_of(&parts.uri),
        headers: parts.headers,
        body: Bytes::new(),
    };
    let admitted = blocking(move || admit(call, door)).await;
    let mut call = match admitted.and_then(|admitted| admitted) {
        Ok(call) => call,
        Err(problem) => {
            // An agent's next question comes down the same connection.
            if route.hook.is_some() {
                let _ = read_body(body, MAX_QUESTION).await;
            }
            return Err(problem);
        }
    };
    if route.verb != Verb::Get {
        let most = match (route.bytes, route.hook) {
            (Some((_, most)), _) => most,
            (None, Some(_)) => MAX_REPORT,
            (None, None) => call.shared.options.max_body_bytes,
        };
        call.body = read_body(body, most).await?;
    }
    blocking(move || answer(&call)).await?
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a handler panicked");
        Problem::internal()
    })
}

fn route_of(rows: &[&'static Route], method: &str) -> Result<&'static Route, Problem> {
    let wanted = if method == "HEAD" { "GET" } else { method };
    let found = rows.iter().find(|route| route.verb.as_str() == wanted);
    found.copied().ok_or_else(|| {
        let allow: Vec<_> = rows.iter().map(|route| route.verb.as_str()).collect();
        Problem::method_not_allowed(method, allow.join(", "))
    })
}

fn query_of(uri: &Uri) -> Vec<(String, String)> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Everything that can be decided before the body is read.
fn admit(mut call: Call, door: Door) -> Result<Call, Problem> {
    if door == Door::Socket {
        let name = UserName::new("operator").map_err(|_| Problem::internal())?;
        call.visitor = Some(Visitor {
            caller: Caller {
                name,
                role: Role::Admin,
            },
            credential: Credential::Socket,
            token: None,
        });
        return Ok(call);
    }
    let known = identify(&call);
    if call.route.who == Who::Anyone {
        // Whoever is not known (or whose token is wrong) is nobody here.
        call.visitor = known.unwrap_or_default();
    } else {
        let visitor = known?.ok_or_else(|| {
            Problem::unauthenticated("log in, or send a token: Authorization: Bearer …")
        })?;
        let (name, role) = (visitor.caller.name.clone(), visitor.caller.role);
        let taken = call.shared.by_user.take(name, Instant::now());
        taken.map_err(|wait| Problem::too_many("you send too many requests", wait))?;
        if !call.route.who.admits(role) {
            return Err(Problem::forbidden(format!(
                "{} may do this; you are {role}",
                call.route.who.describe()
            )));
        }
        if let Some(scope) = call.route.scope
            && !visitor.scopes().contains(&scope)
        {
            return Err(Problem::out_of_scope(scope));
        }
        call.visitor = Some(visitor);
    }
    if let Some(visitor) = &call.visitor {
        call.shared.note_use(visitor);
    }
    if call.route.verb != Verb::Get {
        check_origin(&call)?;
    }
    if call.route.has_issue() {
        call.shared
            .desk
            .issue(call.caller()?, call.param("issue")?)?;
    }
    Ok(call)
}

/// Who sends this.
///
/// # Errors
/// A token or session that is not (or no longer) valid.
fn identify(call: &Call) -> Result<Option<Visitor>, Problem> {
    let (shared, headers) = (&call.shared, &call.headers);
    let credential = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            let (scheme, token) = text.split_once(' ').unwrap_or_default();
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Problem::unauthenticated(
                    "the only scheme is: Authorization: Bearer …",
                ));
            }
            Credential::Token(digest_of(token.trim()))
        }
        None if call.seen.user.is_some() => return proxied(call),
        None => match cookie_of(headers) {
            Some(key) => Credential::Session(key),
            None => return Ok(None),
        },
    };
    match bearer(shared, credential)? {
        Some(visitor) => Ok(Some(visitor)),
        None => Err(Problem::unauthenticated(match credential {
            Credential::Session(_) => "the session has ended; log in again",
            Credential::Token(_) | Credential::Proxy | Credential::Socket => {
                "the token is not valid, or has expired or been revoked"
            }
        })),
    }
}

/// Whom the trusted proxy names.
fn proxied(call: &Call) -> Result<Option<Visitor>, Problem> {
    let Some(Ok(name)) = &call.seen.user else {
        let why = "the proxy names nobody who can be a user here";
        return Err(Problem::unauthenticated(why));
    };
    let newcomers = call.shared.options.proxy.newcomers;
    let account = outside::named_by_proxy(&call.shared, name, newcomers)?;
    call.shared.introduce(name)?;
    Ok(Some(Visitor {
        caller: Caller {
            name: account.name,
            role: account.role,
        },
        credential: Credential::Proxy,
        token: None,
    }))
}

/// Whether somebody who was let in is still who they were.
pub(crate) fn is_still(shared: &Shared, caller: &Caller, credential: Credential) -> bool {
    let now = match credential {
        Credential::Proxy => shared.accounts().ok().and_then(|accounts| {
            let found = accounts
                .iter()
                .find(|account| account.name == caller.name)?;
            found.standing.is_open().then_some(found.role)
        }),
        Credential::Token(_) | Credential::Session(_) | Credential::Socket => {
            let visitor = bearer(shared, credential).ok().flatten();
            let visitor = visitor.filter(|visitor| visitor.caller.name == caller.name);
            visitor.map(|visitor| visitor.caller.role)
        }
    };
    now == Some(caller.role)
}

/// Whose credential this is, as of now.
fn bearer(shared: &Shared, credential: Credential) -> Result<Option<Visitor>, Problem> {
    let accounts = shared.accounts()?;
    let found = match credential {
        Credential::Token(digest) => {
            let found = owner_of(&accounts, &digest);
            let now = shared.desk.now();
            found.filter(|(_, token)| token.is_none_or(|token| !token.is_expired(now)))
        }
        Credential::Session(key) => match shared.sessions.owner(&key, Instant::now()) {
            Some(name) => {
                let account = accounts.iter().find(|account| account.name == name);
                account.map(|account| (account, None))
            }
            None => None,
        },
        Credential::Proxy | Credential::Socket => None,
    };
    let open = found.filter(|(account, _)| account.standing.is_open());
    Ok(open.map(|(account, token)| Visitor {
        caller: Caller {
            name: account.name.clone(),
            role: account.role,
        },
        credential,
        token: token.cloned(),
    }))
}

/// Whose token this is, and which of theirs, unless it is the initial one. All are
/// compared, whichever fits, so that time tells nothing.
fn owner_of<'a>(
    accounts: &'a [Account],
    digest: &[u8; 32],
) -> Option<(&'a Account, Option<&'a AccessToken>)> {
    let mut found = None;
    for account in accounts {
        let initial = account.token_digest.as_deref();
        if initial.is_some_and(|kept| is_digest(digest, kept)) {
            found = Some((account, None));
        }
        for token in &account.tokens {
            if is_digest(digest, &token.digest) {
                found = Some((account, Some(token)));
            }
        }
    }
    found
}

/// A browser may act on a cookie from our own pages only. Requests by token need no
/// check: no browser adds a token by itself.
fn check_origin(call: &Call) -> Result<(), Problem> {
    let origin = call.headers.get(header::ORIGIN);
    let credential = call.visitor.as_ref().map(|visitor| visitor.credential);
    // What a proxy adds comes along by itself, as cookies do.
    let by_cookie = matches!(credential, Some(Credential::Session(_) | Credential::Proxy));
    if !by_cookie && (origin.is_none() || call.visitor.is_some()) {
        return Ok(());
    }
    let refused = |detail: &str| Err(Problem::forbidden(detail));
    let Some(origin) = origin else {
        return refused("a request by cookie must carry an Origin header; use a token instead");
    };
    let Ok(origin) = origin.to_str() else {
        return refused("the Origin header is not readable");
    };
    let host = call.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = call.seen.host.as_deref().or(host);
    // Where the host is reached over TLS, a page that came without it may be anybody's.
    let plain = call.shared.options.secure_cookies == SecureCookies::No;
    let own = origin.split_once("://").is_some_and(|(scheme, authority)| {
        let reached = match call.seen.scheme.as_deref() {
            Some(seen) => scheme == seen,
            None => scheme == "https" || scheme == "http",
        };
        reached && (scheme == "https" || plain) && host == Some(authority)
    });
    if own
        || call
            .shared
            .options
            .allowed_origins
            .iter()
            .any(|allowed| allowed == origin)
    {
        Ok(())
    } else {
        refused("requests from this origin are not accepted")
    }
}

async fn read_body(body: Body, max: usize) -> Result<Bytes, Problem> {
    let over = || Problem::too_large(format!("a request body has at most {max} bytes"));
    let announced = body.size_hint().lower();
    if announced > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(over());
    }
    let read = async {
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::malformed("the body broke off"))?;
            if bytes.len() + chunk.len() > max {
                return Err(over());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(bytes))
    };
    let late = |_| {
        Problem::too_slow(format!(
            "the body took longer than {} s",
            BODY_PATIENCE.as_secs()
        ))
    };
    tokio::time::timeout(BODY_PATIENCE, read)
        .await
        .map_err(late)?
}

/// Runs the handler, or repeats what it answered to the same key before.
fn answer(call: &Call) -> Result<Response<Body>, Problem> {
    call.check_query()?;
    preconditions::seen(call)?;
    let handled = || preconditions::tag(call, (call.route.handler)(call)?);
    let key = call
        .headers
        .get(IDEMPOTENCY_KEY)
        .filter(|_| call.route.takes_key());
    let (Some(key), Some(visitor)) = (key, &call.visitor) else {
        return handled();
    };
    let text = key.to_str().unwrap_or_default().to_owned();
    let mut place = call.route.path.to_owned();
    for (name, value) in &call.path {
        place = format!("{place}\n{name}={value}");
    }
    let key = (visitor.caller.name.clone(), place, text);
    match call
        .shared
        .answers
        .claim(key, Digest::of(&call.body), Instant::now())?
    {
        Claim::Again(answer) => {
            let mut response = Response::new(Body::from(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Claim::First(reservation) => {
            let response = match handled() {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            };
            let (parts, body) = response.into_parts();
            let body = futures::executor::block_on(axum::body::to_bytes(body, usize::MAX))
                .map_err(|_| Problem::internal())?;
            reservation.settle(&Answer {
                status: parts.status,
                headers: parts.headers.clone(),
                body: body.clone(),
            });
            Ok(Response::from_parts(parts, Body::from(body)))
        }
    }
}

/// The content security policy of all that no other page may frame.
const UNFRAMED: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The policy of a page that these origins may frame; none where there are none, or where
/// one is no header's text.
fn framed_by(origins: &[String]) -> Option<HeaderValue> {
    let named = !origins.is_empty() && origins.iter().all(|origin| is_origin(origin));
    let policy = UNFRAMED.replace(
        "frame-ancestors 'none'",
        &format!("frame-ancestors {}", origins.join(" ")),
    );
    named.then(|| HeaderValue::from_str(&policy).ok()).flatten()
}

/// Whether this is an origin as browsers write it, as in `https://shop.example:8443`.
pub fn is_origin(text: &str) -> bool {
    let Some(("http" | "https", authority)) = text.split_once("://") else {
        return false;
    };
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !authority.is_empty() && authority.bytes().all(host_byte)
}

/// Headers of every answer, and its place in the statistics.
pub(crate) fn finish(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    shared.count(response.status());
    let embeds = response.extensions().get::<Embeds>().copied();
    let users = match embeds {
        Some(Embeds::Script) => "cross-origin",
        Some(Embeds::Page) | None => "same-origin",
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            users,
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let hsts = shared.options.hsts.as_secs();
    if hsts > 0
        && let Ok(value) = HeaderValue::try_from(format!("max-age={hsts}"))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    let framed = match embeds {
        Some(Embeds::Page) => framed_by(&shared.options.embed_in),
        Some(Embeds::Script) | None => None,
    };
    if framed.is_none() {
        let deny = HeaderValue::from_static("DENY");
        headers.insert(header::X_FRAME_OPTIONS, deny);
    }
    let policy = framed.unwrap_or(HeaderValue::from_static(UNFRAMED));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Refuses what goes before the body where it is longer than anybody needs. The server has
/// bounds of its own, further out, and answers at those without a word.
fn bounded(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let place = uri.path_and_query().map_or(0, |place| place.as_str().len());
    if place > MAX_PLACE {
        return Err(Problem::uri_too_long(format!(
            "a path with its query has at most {MAX_PLACE} bytes; this one has {place}"
        )));
    }
    let lines = headers.iter();
    let bytes: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > MAX_HEADERS {
        return Err(Problem::headers_too_large(format!(
            "all headers together have at most {MAX_HEADERS} bytes; these have {bytes}"
        )));
    }
    Ok(())
}

/// The answer where there is no route.
pub(crate) async fn nowhere(uri: Uri, headers: HeaderMap) -> Response<Body> {
    if let Err(problem) = bounded(&uri, &headers) {
        return problem.into_response();
    }
    Problem::not_found(format!("there is nothing at {}", uri.path())).into_response()
}
