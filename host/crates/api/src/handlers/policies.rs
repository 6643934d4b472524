//! The policy set: how it stands, and every way of changing it while the host runs.

use crate::call::{Call, bytes_of, json};
use crate::handlers::audit::position_of;
use crate::preconditions::of_version;
use crate::problem::Problem;
use crate::views::issue::{EmptyRequest, ReasonRequest};
use crate::views::policy::{
    Change, Enforcement, ExplanationView, KeptModule, Plan, PolicyActivationRequest,
    PolicyExplanationRequest, PolicyGrant, PolicyGrantRequest, PolicyPlanRequest,
    PolicyRollbackRequest, PolicySet,
};
use axum::body::Body;
use axum::http::{HeaderName, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, PolicyControl, PolicyRefusal, Promote,
};
use selfheal_domain::user::Actor;
use selfheal_pipeline::desk::DeskError;

/// Recorded decisions that a plan asks again, unless the caller says how many.
const DEFAULT_DECISIONS: u64 = 10_000;
/// Most of them.
pub(crate) const MOST_DECISIONS: u64 = 100_000;
/// Carries a module's detached signature, in Base64.
const SIGNATURE: HeaderName = HeaderName::from_static("selfheal-signature");

impl From<PolicyRefusal> for Problem {
    fn from(refusal: PolicyRefusal) -> Self {
        match refusal {
            PolicyRefusal::Unusable(detail) => Self::unusable(detail),
            PolicyRefusal::Unknown(what) => Self::not_found(format!("there is no {what}")),
            PolicyRefusal::Forbidden(detail) => Self::forbidden(detail),
            PolicyRefusal::Conflict(detail) => Self::conflict(detail),
            PolicyRefusal::Stale(detail) => Self::stale(detail),
            PolicyRefusal::Unavailable(detail) => {
                tracing::error!(detail, "the policies could not be changed");
                Self::unavailable(detail)
            }
        }
    }
}

/// The set as it stands; where it is fixed, its modules alone.
pub(crate) fn standing(call: &Call) -> Result<PolicySet, Problem> {
    let desk = &call.shared.desk;
    match desk.policy_status() {
        Ok(status) => Ok(PolicySet::of(status, desk.now())),
        Err(DeskError::Conflict(_)) => {
            let (generation, digest, modules) = desk.policies();
            Ok(PolicySet {
                generation,
                digest: digest.to_string(),
                items: modules.into_iter().map(Into::into).collect(),
                standing: None,
                enforcement: proof(call),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// The latest proof of enforcement.
pub(crate) fn proof(call: &Call) -> Enforcement {
    let desk = &call.shared.desk;
    Enforcement::of(desk.enforcement(), desk.now())
}

pub(crate) fn get(call: &Call) -> Result<Response<Body>, Problem> {
    versioned(call, json(StatusCode::OK, &standing(call)?)?)
}

/// The answer, with the version of the policies as they are now.
fn versioned(call: &Call, response: Response<Body>) -> Result<Response<Body>, Problem> {
    match call.shared.desk.policy_status() {
        Ok(status) => Ok(of_version(status.version(), response)),
        Err(DeskError::Conflict(_)) => Ok(response),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn text(call: &Call) -> Result<Response<Body>, Problem> {
    let text = call.shared.desk.policy_control()?.text();
    Ok(bytes_of(
        StatusCode::OK,
        "application/toml; charset=utf-8",
        text,
    ))
}

pub(crate) fn enforcement(call: &Call) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &proof(call))
}

/// Changes the policies: for an admin, with a reason where one is wanted, and as they were
/// seen where the caller says how they were.
fn change<T>(
    call: &Call,
    reason: Option<&str>,
    act: impl FnOnce(&dyn PolicyControl, &Actor) -> Result<T, PolicyRefusal>,
) -> Result<T, Problem> {
    let (desk, actor) = (call.desk()?, call.actor()?);
    let changed = desk.change_policies(call.caller()?, reason, |control| act(control, &actor))?;
    Ok(changed?)
}

fn changed(call: &Call, outcome: ChangeOutcome) -> Result<Response<Body>, Problem> {
    versioned(call, json(StatusCode::OK, &Change::from(outcome))?)
}

pub(crate) fn keep_module(call: &Call) -> Result<Response<Body>, Problem> {
    let media = call.headers.get(header::CONTENT_TYPE);
    let media = media.and_then(|value| value.to_str().ok());
    if media != Some("application/wasm") {
        return Err(Problem::unsupported_media_type(format!(
            "send the module's bytes as application/wasm, not {}",
            media.unwrap_or("a body without Content-Type")
        )));
    }
    if call.body.is_empty() {
        return Err(Problem::invalid_field("body", "holds no module"));
    }
    let signature = call
        .headers
        .get(SIGNATURE)
        .map(|value| STANDARD.decode(value.as_bytes()))
        .transpose()
        .map_err(|_| Problem::invalid_field("Selfheal-Signature", "must be Base64"))?;
    let control = call.shared.desk.policy_decision(call.caller()?)?;
    let digest = control.keep_module(&call.body, signature.as_deref())?;
    let view = KeptModule {
        digest: digest.to_string(),
        source: format!("sha256:{digest}"),
        bytes: call.body.len(),
    };
    json(StatusCode::CREATED, &view)
}

pub(crate) fn plan(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PolicyPlanRequest = call.json()?;
    let decisions = request.decisions.unwrap_or(DEFAULT_DECISIONS);
    if decisions > MOST_DECISIONS {
        return Err(Problem::invalid_field(
            "decisions",
            format!("must be at most {MOST_DECISIONS}; got {decisions}"),
        ));
    }
    let candidate = request.candidate()?;
    let plan = call
        .shared
        .desk
        .policy_control()?
        .plan(&candidate, decisions)?;
    json(StatusCode::OK, &Plan::from(plan))
}

pub(crate) fn activate(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PolicyActivationRequest = call.json()?;
    let (rollout, reason) = (request.rollout()?, request.reason.clone());
    let candidate = request.candidate()?;
    let outcome = change(call, Some(&reason), |control, by| {
        control.activate(&candidate, rollout, by, &reason)
    })?;
    changed(call, outcome)
}

/// A number in the path.
fn number(call: &Call, name: &str, what: &str) -> Result<u64, Problem> {
    let text = call.param(name)?;
    text.parse()
        .map_err(|_| Problem::not_found(format!("there is no {what} {text}")))
}

pub(crate) fn confirm(call: &Call) -> Result<Response<Body>, Problem> {
    let EmptyRequest {} = call.json()?;
    let proposal = number(call, "number", "proposal")?;
    let outcome = change(call, None, |control, by| control.confirm(proposal, by))?;
    changed(call, outcome)
}

pub(crate) fn withdraw(call: &Call) -> Result<Response<Body>, Problem> {
    let ReasonRequest { reason } = call.json()?;
    let proposal = number(call, "number", "proposal")?;
    change(call, Some(&reason), |control, by| {
        control.withdraw(proposal, by, &reason)
    })?;
    get(call)
}

fn end_trial(call: &Call, promote: Promote) -> Result<Response<Body>, Problem> {
    let ReasonRequest { reason } = call.json()?;
    let outcome = change(call, Some(&reason), |control, by| {
        control.end_trial(promote, by, &reason)
    })?;
    changed(call, outcome)
}

pub(crate) fn promote(call: &Call) -> Result<Response<Body>, Problem> {
    end_trial(call, Promote::Yes)
}

pub(crate) fn stop_trial(call: &Call) -> Result<Response<Body>, Problem> {
    end_trial(call, Promote::No)
}

pub(crate) fn roll_back(call: &Call) -> Result<Response<Body>, Problem> {
    let PolicyRollbackRequest { generation, reason } = call.json()?;
    let outcome = change(call, Some(&reason), |control, by| {
        control.roll_back(generation, by, &reason)
    })?;
    changed(call, outcome)
}

pub(crate) fn release(call: &Call) -> Result<Response<Body>, Problem> {
    let ReasonRequest { reason } = call.json()?;
    let module = call.param("module")?;
    change(call, Some(&reason), |control, by| {
        control.release(module, by, &reason)
    })?;
    get(call)
}

pub(crate) fn grant(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PolicyGrantRequest = call.json()?;
    let reason = &request.reason;
    let issue = request.issue.map(IssueNumber);
    let grant = change(call, Some(reason), |control, by| {
        control.grant(&request.rule, issue, request.minutes, by, reason)
    })?;
    versioned(call, json(StatusCode::CREATED, &PolicyGrant::from(grant))?)
}

pub(crate) fn revoke(call: &Call) -> Result<Response<Body>, Problem> {
    let ReasonRequest { reason } = call.json()?;
    let grant = number(call, "number", "grant")?;
    change(call, Some(&reason), |control, by| {
        control.revoke(grant, by, &reason)
    })?;
    get(call)
}

fn explained(call: &Call, under: Option<&Candidate>) -> Result<Response<Body>, Problem> {
    let seq = position_of(call, call.param("id")?)?;
    let explanation = call.shared.desk.policy_control()?.explain(seq, under)?;
    json(StatusCode::OK, &ExplanationView::from(explanation))
}

pub(crate) fn explain(call: &Call) -> Result<Response<Body>, Problem> {
    explained(call, None)
}

pub(crate) fn explain_under(call: &Call) -> Result<Response<Body>, Problem> {
    let request: PolicyExplanationRequest = call.json()?;
    explained(call, Some(&request.candidate()?))
}
