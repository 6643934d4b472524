//! Refusals as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use selfheal_domain::report::FieldError;
use selfheal_domain::token::Scope;
use selfheal_pipeline::desk::DeskError;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

/// Media type of every refusal.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal: what a client reads instead of what it asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    scope: Option<Scope>,
}

/// Body of every refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// What went wrong, for programs.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:selfheal:problem:validation")]
    kind: String,
    /// The same in a few words.
    title: &'static str,
    /// HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What went wrong this time, and what to do.
    detail: String,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldErrorBody>,
}

/// What is wrong with one field.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldError)]
pub(crate) struct FieldErrorBody {
    /// The field, as on the wire.
    #[schema(example = "title")]
    field: String,
    /// What is wrong, and what is valid.
    message: String,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            kind,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            scope: None,
        }))
    }

    /// What went wrong, in words.
    pub(crate) fn detail(&self) -> String {
        self.0.detail.clone()
    }

    /// 400: the request is not even readable.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "Malformed request",
            detail,
        )
    }

    /// 401: nobody is logged in.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Not logged in",
            detail,
        )
    }

    /// 403: the caller may not.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 403: the caller may, but not with this token (RFC 6750).
    pub(crate) fn out_of_scope(scope: Scope) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "insufficient-scope",
            "Not with this token",
            format!("this call needs a token with the scope {scope}, which yours does not have"),
        );
        problem.0.scope = Some(scope);
        problem
    }

    /// 404: no such thing, or none the caller may know of.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405: the path exists, the method does not.
    pub(crate) fn method_not_allowed(method: &str, allow: String) -> Self {
        let detail = format!("{method} is not possible here; possible: {allow}");
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            detail,
        );
        problem.0.allow = Some(allow);
        problem
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "Request timed out",
            detail,
        )
    }

    /// 409: not possible in the present state.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Not possible now", detail)
    }

    /// 412: what the caller saw has changed since.
    pub(crate) fn stale(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "stale",
            "Changed since it was read",
            detail,
        )
    }

    /// 413: over a bound, which the detail names.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Body too large",
            detail,
        )
    }

    /// 414: over a bound, which the detail names.
    pub(crate) fn uri_too_long(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            "Path or query too long",
            detail,
        )
    }

    /// 431: over a bound, which the detail names.
    pub(crate) fn headers_too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers-too-large",
            "Headers too large",
            detail,
        )
    }

    /// 415: not JSON.
    pub(crate) fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            detail,
        )
    }

    /// 422: readable, but not valid, field by field.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{} {}", one.field, one.message),
            many => format!("{} fields are not valid", many.len()),
        };
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation",
            "The input is not valid",
            detail,
        );
        problem.0.errors = errors;
        problem
    }

    /// 422 about the whole: each field is valid, what they say cannot be used.
    pub(crate) fn unusable(detail: impl Into<String>) -> Self {
        let mut problem = Self::invalid(Vec::new());
        problem.0.detail = detail.into();
        problem
    }

    /// 422 about one field.
    pub(crate) fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 429: too often.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
            detail,
        );
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 500: our fault; the cause is in the host's log, never in the answer.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "the host made a mistake; its log says more",
        )
    }

    /// 503: the host, its store or one of its parts cannot do it now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Not available now",
            detail,
        );
        problem.0.retry_after = Some(Duration::from_secs(5));
        problem
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NotFound(what) => Self::not_found(format!("there is no {what}")),
            DeskError::Forbidden(detail) => Self::forbidden(detail),
            DeskError::Invalid(errors) => Self::invalid(errors),
            DeskError::Conflict(detail) => Self::conflict(detail),
            DeskError::Stale(detail) => Self::stale(detail),
            DeskError::Unavailable(source) => {
                tracing::error!(error = chain(source.as_ref()), "a request failed");
                Self::unavailable("the host cannot do this now; its log says why")
            }
        }
    }
}

/// An error with all its causes, for the host's log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Problem {
    fn body(&self) -> ProblemBody {
        let problem = &self.0;
        let field = |error: &FieldError| FieldErrorBody {
            field: error.field.clone(),
            message: error.message.clone(),
        };
        ProblemBody {
            kind: format!("urn:selfheal:problem:{}", problem.kind),
            title: problem.title,
            status: problem.status.as_u16(),
            detail: problem.detail.clone(),
            errors: problem.errors.iter().map(field).collect(),
        }
    }

    /// What a refusal with this status looks like, for `openapi.json`.
    pub(crate) fn example(status: &str, detail: &str) -> Value {
        let problem = match status {
            "400" => Self::malformed(detail),
            "401" => Self::unauthenticated(detail),
            "403" => Self::forbidden(detail),
            "404" => Self::not_found(detail),
            "408" => Self::too_slow(detail),
            "409" => Self::conflict(detail),
            "412" => Self::stale(detail),
            "413" => Self::too_large(detail),
            "414" => Self::uri_too_long(detail),
            "415" => Self::unsupported_media_type(detail),
            "422" => Self::invalid_field("title", "must not be empty"),
            "429" => Self::too_many(detail, Duration::from_secs(5)),
            "431" => Self::headers_too_large(detail),
            "503" => Self::unavailable(detail),
            _ => Self::internal(),
        };
        serde_json::to_value(problem.body()).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = self.body();
        let problem = *self.0;
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = problem.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if problem.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"selfheal\""),
            );
        }
        let challenge = problem.scope.and_then(|scope| {
            let text = format!(
                "Bearer realm=\"selfheal\", error=\"insufficient_scope\", scope=\"{scope}\""
            );
            HeaderValue::try_from(text).ok()
        });
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = problem.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = problem
            .allow
            .and_then(|allow| HeaderValue::try_from(allow).ok())
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}
