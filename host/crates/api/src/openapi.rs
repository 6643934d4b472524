//! `openapi.json`: schemas from the types, paths from [`ROUTES`].

use crate::call::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::idempotency::KEY;
use crate::preconditions::{TAG, TAGS};
use crate::problem::{FieldErrorBody, PROBLEM_JSON, Problem, ProblemBody};
use crate::routes::{Content, Parameter, ROUTES, Route, Shape, Verb, Who};
use crate::sessions::COOKIE;
use crate::views::{
    admin, decision, issue, patch, policy, preview, record, saved, token, vocabulary,
};
use selfheal_domain::token::Scope;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

mod bounds;
mod samples;

/// An `ETag`, for examples.
const SOME_TAG: &str = "\"7.0123456789abcdef\"";

#[derive(OpenApi)]
#[openapi(components(schemas(
    ProblemBody,
    FieldErrorBody,
    admin::Autonomy,
    admin::AutonomyRequest,
    admin::CloseRequest,
    admin::Health,
    admin::HookRequest,
    admin::LogInOptions,
    admin::LogInRequest,
    admin::NewUser,
    admin::OwnPasswordRequest,
    admin::PasswordRequest,
    admin::EnforcementAge,
    admin::PolicyModule,
    admin::Provider,
    admin::RoleRequest,
    admin::Service,
    admin::ServiceDetails,
    admin::ServiceHealth,
    admin::ServicePage,
    admin::ServiceUsage,
    admin::Session,
    admin::User,
    admin::UserPage,
    admin::UserRequest,
    decision::DecisionKind,
    decision::DecisionOrder,
    decision::DecisionPage,
    decision::DecisionView,
    decision::External,
    issue::CommentRequest,
    issue::CommentView,
    issue::CommitKindView,
    issue::CommitView,
    issue::EmptyRequest,
    issue::FileSnapshot,
    issue::IssueCommits,
    issue::IssueItem,
    issue::IssuePage,
    issue::IssueView,
    issue::ReasonRequest,
    issue::ReportRequest,
    issue::RetryRequest,
    issue::RunView,
    issue::Snooze,
    issue::SnoozeRequest,
    issue::Trailer,
    issue::TriageRequest,
    patch::AutonomyDecisionView,
    patch::Check,
    patch::FactorView,
    patch::FaultView,
    patch::JudgementView,
    patch::ModuleAnswerView,
    patch::PatchApprovalRequest,
    patch::PatchRejectionRequest,
    patch::PatchReview,
    patch::ReasonView,
    patch::VerificationView,
    policy::Change,
    policy::Changed,
    policy::Enforcement,
    policy::ExplainedAnswer,
    policy::ExplainedFactor,
    policy::ExplanationView,
    policy::KeptModule,
    policy::ModuleEditSchema,
    policy::ModuleStanding,
    policy::Plan,
    policy::Point,
    policy::PolicyActivationRequest,
    policy::PolicyExplanationRequest,
    policy::PolicyGeneration,
    policy::PolicyGrant,
    policy::PolicyGrantRequest,
    policy::PolicyPlanRequest,
    policy::PolicyProposal,
    policy::PolicyRollbackRequest,
    policy::PolicySet,
    policy::PolicyStanding,
    policy::Trial,
    preview::AutonomyPreviewView,
    preview::LevelPreview,
    preview::PatchAtLevel,
    preview::PatchPreview,
    record::AuditPage,
    record::AuditRecord,
    record::Checkpoint,
    record::InclusionProofView,
    record::EventPage,
    record::EventView,
    saved::SavedViewItem,
    saved::SavedViewPage,
    saved::SavedViewRequest,
    token::NewToken,
    token::Token,
    token::TokenPage,
    token::TokenRequest,
    vocabulary::Category,
    vocabulary::ChangeSource,
    vocabulary::CommentRole,
    vocabulary::IssueStatus,
    vocabulary::ModuleState,
    vocabulary::Priority,
    vocabulary::RiskLevel,
    vocabulary::Role,
    vocabulary::Standing,
    vocabulary::Rollout,
    vocabulary::RunStatus,
    vocabulary::Scope,
    vocabulary::Severity,
    vocabulary::Source,
    vocabulary::VerdictName,
    vocabulary::VerificationResult,
)))]
struct Schemas;

/// The OpenAPI 3.1 document of a host of this version.
pub fn document(version: &str) -> Value {
    let generated = serde_json::to_value(Schemas::openapi()).unwrap_or_default();
    let mut schemas = generated
        .pointer("/components/schemas")
        .cloned()
        .unwrap_or_default();
    if let Some(schemas) = schemas.as_object_mut() {
        for (name, schema) in &mut *schemas {
            // Answers leave absent fields out; requests may say null.
            if !name.ends_with("Request") {
                without_null(schema);
            }
        }
        bounds::tighten(schemas);
    }
    let named = schemas.as_object().cloned().unwrap_or_default();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let item = paths
            .entry(route.path.replace("{*", "{"))
            .or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(
                route.verb.as_str().to_ascii_lowercase(),
                operation(route, &named),
            );
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Selfheal",
            "version": version,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Errors are application/problem+json (RFC 9457). Unknown fields and \
                query parameters are refused. Lists take `limit` and `cursor` and answer \
                `{items, nextCursor}`. A POST with an `Idempotency-Key` that was answered within \
                the last day (and since the host started) gets the same answer again."
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "session" }, { "name": "issues" }, { "name": "administration" },
            { "name": "audit" }, { "name": "host" }
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": COOKIE }
            }
        }
    })
}

/// Takes `null` out of the alternatives of every property.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("oneOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn schema_ref(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn tag(route: &Route) -> &'static str {
    match route.path {
        path if path.contains("/session") => "session",
        path if path.starts_with("/api/v1/issues") || path.ends_with("/stream") => "issues",
        path if path.starts_with("/api/v1/audit") || path.starts_with("/api/v1/decisions") => {
            "audit"
        }
        path if path.starts_with("/api/v1/") && route.who != Who::Anyone => "administration",
        _ => "host",
    }
}

fn operation(route: &Route, schemas: &Map<String, Value>) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path);
    let query = route.query.iter();
    parameters.extend(query.map(|parameter| query_parameter(parameter, schemas)));
    let tags = |name: &str, about: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": about,
            "schema": { "type": "string", "minLength": 1, "pattern": TAGS }, "example": SOME_TAG
        })
    };
    if route.takes_if_match() {
        let about = "Only if it is still as the answer with this `ETag` showed it.";
        parameters.push(tags("If-Match", about));
    }
    if route.has_tag() {
        let about = "Not if the answer would be the one with this `ETag`.";
        parameters.push(tags("If-None-Match", about));
    }
    if route.takes_key() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key with the same body gets the same answer.",
            "schema": { "type": "string", "pattern": KEY },
            "example": "8f14e45f-ea5c-4d7a-9c3b-2f6d1c0e7a55"
        }));
    }
    if route.path.ends_with("/stream") {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The last `id` that the client saw; the stream goes on after it.",
            "schema": { "type": "integer", "format": "int64", "minimum": 0 }, "example": 118
        }));
    }
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.about,
        "description": match route.scope {
            Some(scope) => format!("For {}; by token with the scope `{scope}`.", who(route)),
            None => format!("For {}.", who(route)),
        },
        "tags": [tag(route)],
        "responses": responses(route, schemas),
        "security": match route.who {
            Who::Anyone => json!([]),
            _ => json!([{ "token": [route.scope.map_or("", Scope::as_str)] }, { "session": [] }]),
        }
    });
    if let Some(object) = operation.as_object_mut() {
        if !parameters.is_empty() {
            object.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(request) = route.request {
            let body = json!({
                "required": !matches!(request, "EmptyRequest" | "RetryRequest"),
                "content": { "application/json": {
                    "schema": schema_ref(request), "example": example(request)
                } }
            });
            object.insert("requestBody".to_owned(), body);
        }
        if let Some((media, most)) = route.bytes {
            let body = json!({
                "required": true,
                "description": format!("At most {most} bytes."),
                "content": { media: {
                    "schema": { "type": "string", "format": "binary", "minLength": 1, "maxLength": most }
                } }
            });
            object.insert("requestBody".to_owned(), body);
        }
    }
    operation
}

/// A body that the call accepts.
fn example(request: &str) -> Value {
    match request {
        "AutonomyRequest" => json!({ "level": 1, "reason": "patches are reviewed from now on" }),
        "SavedViewRequest" => json!({ "query": "is:waiting severity:>=high", "shared": false }),
        // A time would be one of the past some day.
        "SnoozeRequest" => json!({}),
        "CommentRequest" => json!({ "content": "It also happens with two items." }),
        "HookRequest" => json!({
            "hook_event_name": "PreToolUse", "session_id": "a5477f36", "cwd": "/srv/shop",
            "tool_name": "Bash", "tool_input": { "command": "git status --short" },
            "tool_use_id": "toolu_01"
        }),
        "LogInRequest" => json!({ "username": "ada", "password": "correct horse battery" }),
        "OwnPasswordRequest" => json!({
            "oldPassword": "correct horse battery", "newPassword": "staple of the battery"
        }),
        "PasswordRequest" => json!({ "password": "correct horse battery" }),
        "RoleRequest" => json!({ "role": "auditor" }),
        "PatchApprovalRequest" => json!({ "patchDigest": "0".repeat(64) }),
        "PolicyActivationRequest" => json!({
            "edits": [{ "name": "no-docker", "kind": "guardrail", "source": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bd9a5e8d3e2c1f0a9b8c7" }],
            "rollout": "canary", "percent": 10, "reason": "containers are built elsewhere"
        }),
        "PolicyExplanationRequest" | "PolicyPlanRequest" => json!({
            "edits": [{ "name": "shell-guard", "mode": "shadow" }]
        }),
        "PolicyGrantRequest" => json!({
            "rule": "shell.network", "issue": 12, "minutes": 30,
            "reason": "the mirror is down; fetching from upstream by hand"
        }),
        "PolicyRollbackRequest" => json!({ "reason": "denies too much" }),
        "PatchRejectionRequest" => json!({ "reason": "too broad", "redraft": true }),
        "ReasonRequest" => json!({ "reason": "works as intended" }),
        "ReportRequest" => json!({
            "title": "Checkout shows 500",
            "description": "Paying with an empty cart answers 500.",
            "stepsToReproduce": "1. Empty the cart. 2. Pay.",
            "expectedBehavior": "A message that the cart is empty.",
            "service": "shop"
        }),
        "TokenRequest" => json!({
            "name": "nightly report", "scopes": ["read"], "expiresInDays": 90
        }),
        "TriageRequest" => json!({ "priority": "P1", "severity": "HIGH" }),
        "UserRequest" => json!({ "name": "ada", "role": "user" }),
        _ => json!({}),
    }
}

fn who(route: &Route) -> &'static str {
    match route.who {
        Who::Anyone => "everybody",
        Who::Reader if route.has_issue() => "the user who reported it, admins and auditors",
        Who::Reporter if route.has_issue() => "the user who reported it, and admins",
        Who::Reader => "users, admins and auditors",
        Who::Reporter => "users and admins",
        Who::Admin => "admins",
        Who::AdminOrAuditor => "admins and auditors",
        Who::Hook => "agents' hooks",
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| name.trim_start_matches('*'));
    let parameter = |name: &str| {
        let about = match name {
            "issue" => "Number or id of the issue.",
            "id" if path.contains("/related/") => "Number or id of the other issue.",
            "name" if path.contains("/views/") => "Name of the view.",
            "id" => "Id of the decision, or its position in the log.",
            "name" if !path.contains("/services/") => "Name of the user.",
            "token" => "Id of the token.",
            "module" => "Name of the policy module.",
            "number" => "Its number.",
            "index" => "Position of the record in the log, from 0.",
            "tile" => "Path of the tile below `tile/`.",
            "view" => "A tab, or an issue's number.",
            "file" => "Name of the file.",
            _ => "Name of the service.",
        };
        let example = match name {
            "issue" => "42",
            "id" => "118",
            "module" => "shell-guard",
            "number" => "3",
            "index" => "0",
            "tile" => "0/000.p/1",
            "view" => "open",
            "file" => "index.js",
            _ => "web",
        };
        let schema = match name {
            "name" if path.contains("/users/") => {
                json!({ "type": "string", "pattern": bounds::NAME })
            }
            "name" if path.contains("/views/") => bounds::view_name(),
            _ => json!({ "type": "string" }),
        };
        json!({
            "name": name, "in": "path", "required": true, "description": about,
            "schema": schema, "example": example
        })
    };
    names.map(parameter).collect()
}

fn query_parameter(parameter: &Parameter, schemas: &Map<String, Value>) -> Value {
    let schema = match parameter.shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Words(most) => json!({ "type": "string", "maxLength": most }),
        Shape::Name => json!({ "type": "string", "pattern": bounds::NAME }),
        Shape::Position => json!({ "type": "string", "pattern": bounds::POSITION }),
        Shape::IssueCursor => json!({ "type": "string", "pattern": bounds::ISSUE_CURSOR }),
        Shape::One(value) => json!({ "type": "string", "enum": [value] }),
        Shape::Limit => {
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT })
        }
        Shape::Schema(name) => schema_ref(name),
        Shape::Schemas(name) => {
            json!({ "type": "array", "items": schema_ref(name), "minItems": 1 })
        }
    };
    let example = match parameter.shape {
        Shape::Text => json!("web"),
        Shape::Words(_) => json!("discount cart"),
        Shape::Name => json!("ada"),
        Shape::Position => json!("118"),
        Shape::IssueCursor => json!("0100000000000000000c9a0b1c"),
        Shape::One(value) => json!(value),
        Shape::Limit => json!(DEFAULT_LIMIT),
        Shape::Schema(name) => samples::sample(&schema_ref(name), schemas),
        Shape::Schemas(name) => json!([samples::sample(&schema_ref(name), schemas)]),
    };
    json!({
        "name": parameter.name, "in": "query", "required": false, "explode": false,
        "description": parameter.about, "schema": schema, "example": example
    })
}

fn responses(route: &Route, schemas: &Map<String, Value>) -> Value {
    let mut responses = Map::new();
    let mut success = json!({ "description": "Done." });
    let content = match route.content {
        Content::Schema(name) => {
            let schema = schema_ref(name);
            let example = samples::sample(&schema, schemas);
            Some(json!({ "application/json": {
                "schema": schema, "examples": { "answer": { "value": example } }
            } }))
        }
        Content::Json => Some(json!({ "application/json": { "schema": { "type": "object" } } })),
        Content::Text(media) => Some(json!({ media: { "schema": { "type": "string" } } })),
        Content::Bytes(media) => {
            Some(json!({ media: { "schema": { "type": "string", "format": "binary" } } }))
        }
        Content::Nothing => None,
    };
    if let (Some(content), Some(object)) = (content, success.as_object_mut()) {
        object.insert("content".to_owned(), content);
    }
    if let Some(headers) = headers(route)
        && let Some(object) = success.as_object_mut()
    {
        object.insert("headers".to_owned(), headers);
    }
    responses.insert(route.status.to_string(), success);
    if route.has_tag() {
        let unchanged = json!({ "description": "The caller has it already.", "headers": { "ETag": tag_header() } });
        responses.insert("304".to_owned(), unchanged);
    }
    for (status, _) in refusals(route) {
        let problem = json!({ "$ref": format!("#/components/responses/Problem{status}") });
        responses.insert(status.to_owned(), problem);
    }
    Value::Object(responses)
}

/// Every refusal, once.
fn problems() -> Value {
    let mut problems = Map::new();
    for (status, about) in ROUTES.iter().flat_map(refusals) {
        let mut problem = json!({
            "description": about,
            "content": { PROBLEM_JSON: {
                "schema": schema_ref("Problem"),
                "examples": { "refused": { "value": Problem::example(status, about) } }
            } }
        });
        if let Some(headers) = problem_headers(status)
            && let Some(problem) = problem.as_object_mut()
        {
            problem.insert("headers".to_owned(), headers);
        }
        problems.insert(format!("Problem{status}"), problem);
    }
    Value::Object(problems)
}

/// Headers of a successful answer that tell something.
fn headers(route: &Route) -> Option<Value> {
    let mut headers = Map::new();
    let place = json!({ "schema": { "type": "string", "format": "uri-reference" } });
    let issue = matches!(route.content, Content::Schema("Issue"));
    if route.has_tag() || issue || (route.takes_if_match() && !route.has_issue()) {
        headers.insert("ETag".to_owned(), tag_header());
    }
    if issue && route.status == 201 {
        headers.insert("Location".to_owned(), place);
    } else if issue && route.verb != Verb::Get {
        headers.insert("Content-Location".to_owned(), place);
    }
    if route.takes_key() {
        let replayed = json!({
            "description": "The answer to an earlier request with the same key.",
            "schema": { "type": "string", "const": "true" }
        });
        headers.insert("Idempotency-Replayed".to_owned(), replayed);
    }
    (!headers.is_empty()).then_some(Value::Object(headers))
}

fn tag_header() -> Value {
    json!({
        "description": "What the answer shows, for `If-Match` and `If-None-Match`.",
        "schema": { "type": "string", "pattern": TAG }, "example": SOME_TAG
    })
}

/// Headers of a refusal that tell what to do.
fn problem_headers(status: &str) -> Option<Value> {
    match status {
        "401" => Some(json!({ "WWW-Authenticate": {
            "schema": { "type": "string" }, "example": "Bearer realm=\"selfheal\""
        } })),
        "429" | "503" => Some(json!({ "Retry-After": {
            "description": "Seconds to wait.",
            "schema": { "type": "integer", "minimum": 1 }, "example": 5
        } })),
        _ => None,
    }
}

fn refusals(route: &Route) -> Vec<(&'static str, &'static str)> {
    if route.hook.is_some() {
        // What is refused is answered as a denial.
        return Vec::new();
    }
    let mut refusals = vec![
        ("429", "Too many requests; see Retry-After."),
        ("414", "The path with its query is over its bound."),
        ("431", "The headers are over their bound."),
    ];
    let takes_body = route.verb != Verb::Get;
    let decides = takes_body
        && (route.has_issue()
            || route.path.contains("/services/")
            || route.path.contains("/policies")
            || route.path.contains("/users")
            || route.path.contains("/account"));
    let conditions = [
        (
            route.who != Who::Anyone || route.is_session(),
            ("401", "Nobody is logged in."),
        ),
        (
            route.who != Who::Anyone || takes_body,
            (
                "403",
                "The role, or the token's scopes, may not; or the origin is not accepted.",
            ),
        ),
        (
            // Changes of policies may name a generation, or a trial, that is not there.
            route.path.contains('{')
                || route.path.contains("/oidc")
                || (takes_body && route.path.contains("/policies")),
            ("404", "There is none, or none the caller may know of."),
        ),
        (
            route.verb == Verb::Post || decides,
            ("409", "Not possible in the present state."),
        ),
        (
            route.takes_body() || route.has_tag() || route.path.contains('{'),
            ("400", "The path, a header or the body cannot be read."),
        ),
        (
            route.takes_if_match(),
            (
                "412",
                "It changed since the caller read it; see `If-Match`.",
            ),
        ),
        (
            route.takes_body(),
            ("408", "The body did not arrive in time."),
        ),
        (
            route.takes_body(),
            ("415", "The body is not of the media type that is taken."),
        ),
        (takes_body, ("413", "The body is over its bound.")),
        (
            route.path != "/healthz",
            ("422", "A field or parameter is wrong or unknown."),
        ),
        (
            route.path != "/healthz",
            ("503", "The host cannot do this now."),
        ),
        (true, ("500", "The host made a mistake.")),
    ];
    refusals.extend(
        conditions
            .into_iter()
            .filter(|(applies, _)| *applies)
            .map(|(_, refusal)| refusal),
    );
    refusals
}
