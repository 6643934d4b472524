//! Agents of other makers ask before they act. Always 200, always an explicit answer:
//! most of them run the tool when a hook fails in any other way.

use crate::call::{Call, json};
use crate::hook::{self, Said};
use crate::problem::Problem;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use selfheal_domain::external::ExternalAgent;
use selfheal_domain::verdict::{Reason, Verdict};

pub(crate) fn claude_code(call: &Call) -> Result<Response<Body>, Problem> {
    answer(ExternalAgent::ClaudeCode, call)
}

pub(crate) fn codex(call: &Call) -> Result<Response<Body>, Problem> {
    answer(ExternalAgent::Codex, call)
}

pub(crate) fn gemini(call: &Call) -> Result<Response<Body>, Problem> {
    answer(ExternalAgent::Gemini, call)
}

fn answer(agent: ExternalAgent, call: &Call) -> Result<Response<Body>, Problem> {
    let desk = &call.shared.desk;
    let event = match hook::read(agent, &call.body) {
        Ok(event) => event,
        Err(error) => {
            let verdict = Verdict::Deny(Reason::new("host.hook-input", error.why));
            return json(
                StatusCode::OK,
                &hook::answer(agent, &error.event, None, &verdict),
            );
        }
    };
    let answer = match event.said {
        Said::Asks(asked) => {
            let verdict = desk.check_external(&asked);
            hook::answer(agent, &event.name, Some(&asked.input), &verdict)
        }
        Said::Reports(asked, outcome) => {
            desk.external_finished(&asked, outcome);
            hook::acknowledge()
        }
        Said::Configures(source) => hook::answer(agent, &event.name, None, &unchanged(&source)),
        Said::Tells => hook::acknowledge(),
    };
    json(StatusCode::OK, &answer)
}

/// Settings may switch hooks off, so a guarded session keeps those it began with.
pub(crate) fn unchanged(source: &str) -> Verdict {
    Verdict::Deny(Reason::new(
        "host.settings-kept",
        format!("{source} changed while this session is guarded; they count from the next one on"),
    ))
}

/// What a refused request is answered with at the path of a hook: a denial.
pub(crate) fn refusal(agent: ExternalAgent, problem: &Problem) -> Response<Body> {
    let verdict = Verdict::Deny(Reason::new("host.hook-refused", problem.detail()));
    let answer = hook::answer(agent, hook::asking_event(agent), None, &verdict);
    json(StatusCode::OK, &answer).unwrap_or_else(IntoResponse::into_response)
}
