//! Logging in at a provider of identities: there and back.
//!
//! What the way back is recognised by is in a cookie of its own, which comes along when
//! the provider sends the browser back (`Lax`: the session's own cookie does not), to
//! nowhere but here, and for ten minutes.

use super::session::{Slot, open_session, refused_by_record, with_cookie};
use crate::call::{Call, json};
use crate::outside;
use crate::problem::Problem;
use crate::secrets::digest_of;
use crate::sessions::SecureCookies;
use crate::state::SignInOptions;
use crate::views::admin::{LogInOptions, Provider};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selfheal_domain::sign_in::{Begun, SignInError};
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Where the cookie goes, and nowhere else.
const PLACE: &str = "/api/v1/session/oidc";
const COOKIE: &str = "selfheal_log_in";
/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest address to go back to, in bytes.
const LONGEST_RETURN: usize = 1_024;
/// Log-ins that ask the provider at the same time: each keeps a thread waiting.
const MAX_ASKING: usize = 16;
static ASKING: AtomicUsize = AtomicUsize::new(0);
/// Log-ins that are remembered as finished, at most.
const MAX_FINISHED: usize = 10_000;

/// Log-ins that were finished lately, by the digest of their state: each is good once.
#[derive(Default)]
pub(crate) struct Finished(Mutex<HashMap<[u8; 32], Instant>>);

impl Finished {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, key: &[u8; 32]) -> bool {
        self.lock().contains_key(key)
    }

    /// Whether it is the first time.
    fn add(&self, key: [u8; 32], now: Instant) -> bool {
        let mut all = self.lock();
        all.retain(|_, at| now.saturating_duration_since(*at) < PATIENCE);
        all.len() < MAX_FINISHED && all.insert(key, now).is_none()
    }
}

/// What the log-in page offers.
pub(crate) fn options(call: &Call) -> Result<Response<Body>, Problem> {
    let sign_in = call.shared.options.sign_in.as_ref();
    let provider = sign_in.map(|sign_in| Provider {
        label: sign_in.label.clone(),
        url: PLACE,
    });
    json(StatusCode::OK, &LogInOptions { provider })
}

/// A place of ours to go on at: a path, and nothing that a browser takes for more.
fn own_place(text: Option<&str>) -> &str {
    let text = text.unwrap_or("/");
    let path = text.starts_with('/') && !text.starts_with("//");
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if path && text.len() <= LONGEST_RETURN && text.bytes().all(plain) {
        text
    } else {
        "/"
    }
}

fn cookie(value: &str, secure: SecureCookies) -> String {
    let secure = match secure {
        SecureCookies::Yes => "; Secure",
        SecureCookies::No => "",
    };
    let age = if value.is_empty() {
        0
    } else {
        PATIENCE.as_secs()
    };
    format!("{COOKIE}={value}; HttpOnly; SameSite=Lax; Path={PLACE}; Max-Age={age}{secure}")
}

fn redirect(place: &str) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let value = HeaderValue::try_from(place).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

fn configured(call: &Call) -> Result<&SignInOptions, Problem> {
    let sign_in = call.shared.options.sign_in.as_ref();
    sign_in.ok_or_else(|| {
        Problem::not_found("no provider of identities is configured; log in by password")
    })
}

pub(crate) fn begin(call: &Call) -> Result<Response<Body>, Problem> {
    let options = &call.shared.options;
    let sign_in = configured(call)?;
    let slot = Slot::take(&ASKING, MAX_ASKING)?;
    let begun = sign_in.provider.begin();
    drop(slot);
    let (url, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!(%error, "nobody can log in at the provider");
            return redirect("/?login=unavailable");
        }
    };
    let place = URL_SAFE_NO_PAD.encode(own_place(call.query("returnTo")));
    let value = [&begun.state, &begun.nonce, &begun.verifier, &place].map(String::as_str);
    with_cookie(
        redirect(&url)?,
        &cookie(&value.join("."), options.secure_cookies),
    )
}

/// What this browser began, and where it wants to go on.
fn begun_by(call: &Call) -> Option<(Begun, String)> {
    let lines = call.headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    let mut parts = value.split('.').map(str::to_owned);
    let (state, nonce, verifier) = (parts.next()?, parts.next()?, parts.next()?);
    let place = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
    let whole = [&state, &nonce, &verifier]
        .iter()
        .all(|part| part.len() >= 16);
    let begun = Begun {
        state,
        nonce,
        verifier,
    };
    let place = own_place(Some(&place)).to_owned();
    (whole && parts.next().is_none()).then_some((begun, place))
}

pub(crate) fn finish(call: &Call) -> Result<Response<Body>, Problem> {
    let secure = call.shared.options.secure_cookies;
    let sign_in = configured(call)?;
    let gone = cookie("", secure);
    match walk(call, sign_in) {
        Ok(response) => with_cookie(response, &gone),
        Err(why) => with_cookie(redirect(&format!("/?login={why}"))?, &gone),
    }
}

/// Why nobody is logged in, in a word that the log-in page knows.
fn walk(call: &Call, sign_in: &SignInOptions) -> Result<Response<Body>, &'static str> {
    let shared = &call.shared;
    let refuse = |why: &str| {
        tracing::warn!(why, "a log-in at the provider is refused");
        // Nothing hangs on it: nobody gets in.
        let _ = refused_by_record(shared, "oidc");
        "refused"
    };
    let (begun, place) = begun_by(call).ok_or_else(|| refuse("this browser began none"))?;
    let state = call.query("state").unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(begun.state.as_bytes())) {
        return Err(refuse("the state is another one's"));
    }
    let Some(code) = call.query("code") else {
        return Err(refuse("the provider gives no code"));
    };
    let key = digest_of(&begun.state);
    if shared.finished.has(&key) {
        return Err(refuse("it was finished already"));
    }
    let slot = Slot::take(&ASKING, MAX_ASKING).map_err(|_| "unavailable")?;
    let found = sign_in.provider.finish(code, call.query("iss"), &begun);
    drop(slot);
    let person = found.map_err(|error| match error {
        SignInError::Unavailable(_) => {
            tracing::error!(%error, "nobody can log in at the provider");
            "unavailable"
        }
        SignInError::Refused(why) => refuse(&why),
    })?;
    let account = outside::identified(shared, &person, sign_in.newcomers).map_err(|problem| {
        tracing::warn!(
            why = problem.detail(),
            "a log-in at the provider is refused"
        );
        let _ = refused_by_record(shared, person.name.as_str());
        if outside::is_disabled(shared, &person) {
            "disabled"
        } else {
            "unknown"
        }
    })?;
    if !shared.finished.add(key, Instant::now()) {
        return Err(refuse("it was finished already"));
    }
    let session = open_session(call, &account).map_err(|_| "unavailable")?;
    let response = redirect(&place).map_err(|_| "refused")?;
    with_cookie(response, &session).map_err(|_| "unavailable")
}

#[cfg(test)]
mod tests {
    use super::own_place;

    #[test]
    fn nobody_is_sent_elsewhere_after_logging_in() {
        for own in ["/", "/issues/open?severity=HIGH#x", "/a//b"] {
            assert_eq!(own_place(Some(own)), own);
        }
        for other in [
            "//evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/a\nb",
            "/\t/evil.test",
            "",
            "evil.test",
            &format!("/{}", "x".repeat(2_000)),
        ] {
            assert_eq!(own_place(Some(other)), "/", "{other}");
        }
        assert_eq!(own_place(None), "/");
    }
}
