//! One request on its way to its handler, and what a handler can ask of it.

use crate::preconditions;
use crate::problem::Problem;
use crate::proxy::Seen;
use crate::routes::Route;
use crate::sessions::SessionKey;
use crate::state::Shared;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use selfheal_domain::report::FieldError;
use selfheal_domain::token::{AccessToken, Scope};
use selfheal_domain::user::Actor;
use selfheal_pipeline::desk::{Caller, IssueDesk};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Default and largest page.
pub(crate) const DEFAULT_LIMIT: usize = 50;
pub(crate) const MAX_LIMIT: usize = 200;

/// How somebody proved who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Credential {
    /// A bearer token, by digest.
    Token([u8; 32]),
    /// A cookie session.
    Session(SessionKey),
    /// The word of a trusted proxy.
    Proxy,
    /// The local control socket.
    Socket,
}

/// Who somebody proved to be, and how.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) credential: Credential,
    /// The token, where it is one with scopes of its own.
    pub(crate) token: Option<AccessToken>,
}

impl Visitor {
    /// What the credential may be used for.
    pub(crate) fn scopes(&self) -> &[Scope] {
        match &self.token {
            Some(token) => &token.scopes,
            None => Scope::of_role(self.caller.role),
        }
    }
}

/// A request that passed the gate.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: &'static Route,
    pub(crate) visitor: Option<Visitor>,
    pub(crate) source: IpAddr,
    pub(crate) seen: Seen,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// Who calls. The gate let nobody without an identity through to handlers that ask.
    pub(crate) fn caller(&self) -> Result<&Caller, Problem> {
        self.visitor().map(|visitor| &visitor.caller)
    }

    /// Who calls, and how they proved it.
    pub(crate) fn visitor(&self) -> Result<&Visitor, Problem> {
        let visitor = self.visitor.as_ref();
        visitor.ok_or_else(|| Problem::unauthenticated("log in first"))
    }

    /// The desk where the caller acts on what it says to have seen.
    pub(crate) fn desk(&self) -> Result<IssueDesk, Problem> {
        let desk = &self.shared.desk;
        let seen = preconditions::seen(self)?;
        Ok(seen.map_or_else(|| desk.clone(), |seen| desk.expecting(seen)))
    }

    /// Who acts, for the record.
    pub(crate) fn actor(&self) -> Result<Actor, Problem> {
        let visitor = self.visitor()?;
        Ok(match visitor.credential {
            Credential::Socket => Actor::Operator,
            Credential::Session(_) | Credential::Token(_) | Credential::Proxy => {
                Actor::User(visitor.caller.name.clone())
            }
        })
    }

    /// A path parameter; the route declares it, so it is there.
    pub(crate) fn param(&self, name: &str) -> Result<&str, Problem> {
        let found = self.path.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(Problem::internal)
    }

    /// A query parameter, if given.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A query parameter with a closed set of values.
    pub(crate) fn query_enum<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.query(name).map(|text| enum_of(name, text)).transpose()
    }

    /// A query parameter that lists values of a closed set, with commas between.
    pub(crate) fn query_enums<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Problem> {
        let texts = self
            .query(name)
            .into_iter()
            .flat_map(|text| text.split(','));
        texts.map(|text| enum_of(name, text)).collect()
    }

    /// The page size.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.query("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = text.parse::<usize>().ok();
        limit
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                Problem::invalid_field(
                    "limit",
                    format!("must be a number from 1 to {MAX_LIMIT}; got {text:?}"),
                )
            })
    }

    /// A cursor that is a position in the log.
    pub(crate) fn log_cursor(&self) -> Result<u64, Problem> {
        match self.query("cursor") {
            None => Ok(0),
            // Read as it is written, so that each place has one cursor.
            Some(text) => text
                .parse()
                .ok()
                .filter(|place: &u64| place.to_string() == text)
                .ok_or_else(|| {
                    Problem::invalid_field(
                        "cursor",
                        "is not one that this list handed out; start again without one",
                    )
                }),
        }
    }

    /// The page of `items` that the caller asks for, where the cursor is the key of the last
    /// item before it; and the next cursor.
    pub(crate) fn page<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = self.limit()?;
        let begin = match self.query("cursor") {
            None => 0,
            Some(cursor) => {
                let before = items.iter().position(|item| key(item) == cursor);
                before.map(|before| before + 1).ok_or_else(|| {
                    Problem::invalid_field(
                        "cursor",
                        "names nothing that is in this list now; start again without one",
                    )
                })?
            }
        };
        let more = items.len() > begin + limit;
        let page: Vec<T> = items.into_iter().skip(begin).take(limit).collect();
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| key(last).to_owned());
        Ok((page, next))
    }

    /// Query parameters that the route does not know, or twice the same.
    pub(crate) fn check_query(&self) -> Result<(), Problem> {
        if self.route.is_page() || self.route.is_callback() {
            return Ok(());
        }
        let known: Vec<&str> = self
            .route
            .query
            .iter()
            .map(|parameter| parameter.name)
            .collect();
        let mut errors = Vec::new();
        for (index, (name, _)) in self.query.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let message = match known.as_slice() {
                    [] => "is unknown; this call takes no query parameters".to_owned(),
                    known => format!("is unknown; known: {}", known.join(", ")),
                };
                errors.push(FieldError::new(name.clone(), message));
            } else if self
                .query
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == name)
            {
                errors.push(FieldError::new(name.clone(), "is given twice"));
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(errors))
        }
    }

    /// The body as JSON. An empty body counts as `{}`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.body.is_empty() {
            return typed(Value::Object(serde_json::Map::new()));
        }
        let media = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if !media.is_some_and(is_json) {
            return Err(Problem::unsupported_media_type(format!(
                "send application/json, not {}",
                media.unwrap_or("a body without Content-Type")
            )));
        }
        let value: Value = serde_json::from_slice(&self.body)
            .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
        typed(value)
    }
}

fn is_json(media: &str) -> bool {
    let essence = media
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The part of serde's message between the first pair of backticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// With the numbers of its fields as integers where they are: `2.0` is 2 in JSON.
fn whole(mut value: Value) -> Value {
    for field in value
        .as_object_mut()
        .into_iter()
        .flatten()
        .map(|(_, field)| field)
    {
        let number = field
            .as_f64()
            .filter(|number| field.is_f64() && number.fract() == 0.0);
        // Larger ones are not exact.
        if let Some(number) = number.filter(|number| number.abs() < 9e15)
            && let Ok(number) = format!("{number:.0}").parse::<i64>()
        {
            *field = number.into();
        }
    }
    value
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    if !value.is_object() {
        return Err(Problem::invalid_field("body", "must be a JSON object"));
    }
    serde_path_to_error::deserialize(whole(value)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let own = quoted(&message).unwrap_or(&path).to_owned();
        if message.starts_with("unknown field") {
            let known = message
                .split_once(", ")
                .map_or("none are known", |(_, known)| known);
            Problem::invalid_field(
                own,
                format!("is an unknown field; {}", known.replace('`', "")),
            )
        } else if message.starts_with("missing field") {
            Problem::invalid_field(own, "is required")
        } else {
            Problem::invalid_field(path, message)
        }
    })
}

/// One value of a closed set, as JSON spells it.
pub(crate) fn enum_of<T: DeserializeOwned>(field: &str, text: &str) -> Result<T, Problem> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|error| Problem::invalid_field(field, error.to_string()))
}

/// An answer in JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response<Body>, Problem> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::internal()
    })?;
    Ok(bytes_of(status, "application/json", bytes))
}

/// An answer of any media type.
pub(crate) fn bytes_of(
    status: StatusCode,
    media: &'static str,
    bytes: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
