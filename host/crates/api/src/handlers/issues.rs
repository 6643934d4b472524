//! Reporting, following, triage, approval, abort, retry.

use crate::call::{Call, Credential, json};
use crate::preconditions::of_version;
use crate::problem::Problem;
use crate::views::issue::{
    CommentRequest, CommentView, EmptyRequest, FileContents, IssueCommits, IssueItem, IssuePage,
    IssueView, ReasonRequest, ReportRequest, RetryRequest, SnoozeRequest, TriageRequest,
};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use selfheal_domain::issue::{Issue, Source};
use selfheal_domain::query::Condition;
use selfheal_domain::user::{Actor, Role, UserName};
use std::time::Instant;

/// Longest text of `q`, in characters.
pub(crate) const MAX_WORDS_CHARS: usize = 200;

/// An issue as its caller may see it, without file contents.
pub(crate) fn shown(call: &Call, issue: &Issue) -> Result<Response<Body>, Problem> {
    let now = call.shared.desk.now();
    let view = IssueView::of(issue, call.caller()?.role, FileContents::LeaveOut, now);
    let mut response = json(StatusCode::OK, &view)?;
    let place = HeaderValue::try_from(format!("/api/v1/issues/{}", issue.number));
    if let Ok(place) = place {
        response
            .headers_mut()
            .insert(header::CONTENT_LOCATION, place);
    }
    Ok(of_version(issue.version, response))
}

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    let desk = &call.shared.desk;
    let mut filter = desk.read_query(caller, call.query("query").unwrap_or_default())?;
    let statuses = call.query_enums("status")?;
    if !statuses.is_empty() {
        filter = filter.and(Condition::Status(statuses));
    }
    if let Some(severity) = call.query_enum("severity")? {
        filter = filter.and(Condition::Severity(vec![severity]));
    }
    if let Some(priority) = call.query_enum("priority")? {
        filter = filter.and(Condition::Priority(vec![priority]));
    }
    if let Some(source) = call.query_enum("source")? {
        filter = filter.and(Condition::Source(vec![source]));
    }
    if let Some(service) = call.query("service") {
        filter = filter.and(Condition::Service(vec![service.to_owned()]));
    }
    if let Some(name) = call.query("reportedBy") {
        let name = UserName::new(name)
            .map_err(|error| Problem::invalid_field("reportedBy", error.to_string()))?;
        filter = filter.and(Condition::Reporter(vec![Actor::User(name)]));
    }
    if let Some(words) = call.query("q") {
        if words.chars().count() > MAX_WORDS_CHARS {
            let message = format!("has more than {MAX_WORDS_CHARS} characters");
            return Err(Problem::invalid_field("q", message));
        }
        for word in words.split_whitespace() {
            filter = filter.and(Condition::text(word));
        }
    }
    let page = desk.issues(caller, filter, call.query("cursor"), call.limit()?)?;
    let now = desk.now();
    let items = page.items.into_iter();
    let page = IssuePage {
        items: items.map(|summary| IssueItem::of(summary, now)).collect(),
        next_cursor: page.next_cursor,
    };
    json(StatusCode::OK, &page)
}

pub(crate) fn report(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    if caller.role == Role::User {
        let taken = call
            .shared
            .reports
            .take(caller.name.clone(), Instant::now());
        taken.map_err(|wait| Problem::too_many("you report too many issues", wait))?;
    }
    let request: ReportRequest = call.json()?;
    let source = match call.visitor()?.credential {
        Credential::Session(_) | Credential::Proxy => Source::Web,
        Credential::Token(_) | Credential::Socket => Source::Api,
    };
    let issue = call.shared.desk.report(caller, request.into(), source)?;
    let now = call.shared.desk.now();
    let view = IssueView::of(&issue, caller.role, FileContents::LeaveOut, now);
    let mut response = json(StatusCode::CREATED, &view)?;
    let location = HeaderValue::try_from(format!("/api/v1/issues/{}", issue.number));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(of_version(issue.version, response))
}

pub(crate) fn get(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    let contents = match call.query("include") {
        None => FileContents::LeaveOut,
        Some("files") if caller.role == Role::User => {
            return Err(Problem::forbidden(
                "file contents are for admins and auditors",
            ));
        }
        Some("files") => FileContents::Include,
        Some(other) => {
            let message = format!("may be \"files\"; got {other:?}");
            return Err(Problem::invalid_field("include", message));
        }
    };
    let issue = call.shared.desk.issue(caller, call.param("issue")?)?;
    let view = IssueView::of(&issue, caller.role, contents, call.shared.desk.now());
    Ok(of_version(issue.version, json(StatusCode::OK, &view)?))
}

pub(crate) fn comment(call: &Call) -> Result<Response<Body>, Problem> {
    let request: CommentRequest = call.json()?;
    let desk = call.desk()?;
    let (_, comment) = desk.comment(call.caller()?, call.param("issue")?, &request.content)?;
    json(StatusCode::CREATED, &CommentView::from(&comment))
}

pub(crate) fn approve(call: &Call) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    let issue = call.desk()?.approve(call.caller()?, call.param("issue")?)?;
    shown(call, &issue)
}

pub(crate) fn reject(call: &Call) -> Result<Response<Body>, Problem> {
    let request: ReasonRequest = call.json()?;
    let desk = call.desk()?;
    let issue = desk.reject(call.caller()?, call.param("issue")?, &request.reason)?;
    shown(call, &issue)
}

pub(crate) fn triage(call: &Call) -> Result<Response<Body>, Problem> {
    let request: TriageRequest = call.json()?;
    let (desk, key) = (call.desk()?, call.param("issue")?);
    let issue = desk.triage(call.caller()?, key, request.severity, request.priority)?;
    shown(call, &issue)
}

pub(crate) fn commits(call: &Call) -> Result<Response<Body>, Problem> {
    let made = call
        .shared
        .desk
        .commits(call.caller()?, call.param("issue")?)?;
    json(StatusCode::OK, &IssueCommits::from(made))
}

pub(crate) fn snooze(call: &Call) -> Result<Response<Body>, Problem> {
    let request: SnoozeRequest = call.json()?;
    let (desk, key) = (call.desk()?, call.param("issue")?);
    shown(call, &desk.snooze(call.caller()?, key, request.until)?)
}

pub(crate) fn wake(call: &Call) -> Result<Response<Body>, Problem> {
    let desk = call.desk()?;
    shown(call, &desk.wake(call.caller()?, call.param("issue")?)?)
}

pub(crate) fn relate(call: &Call) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    let (desk, key) = (call.desk()?, call.param("issue")?);
    shown(call, &desk.relate(call.caller()?, key, call.param("id")?)?)
}

pub(crate) fn abort(call: &Call) -> Result<Response<Body>, Problem> {
    let request: ReasonRequest = call.json()?;
    let desk = call.desk()?;
    let issue = desk.abort(call.caller()?, call.param("issue")?, &request.reason)?;
    shown(call, &issue)
}

pub(crate) fn retry(call: &Call) -> Result<Response<Body>, Problem> {
    let request: RetryRequest = call.json()?;
    let (desk, key) = (call.desk()?, call.param("issue")?);
    let from = request.from.unwrap_or_default();
    shown(call, &desk.retry(call.caller()?, key, from)?)
}
