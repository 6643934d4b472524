//! Switches, services, policies, health and metrics.

use crate::call::{Call, bytes_of, json};
use crate::handlers::policies::{proof, standing};
use crate::openapi;
use crate::preconditions::of_version;
use crate::problem::Problem;
use crate::views::admin::{Autonomy, AutonomyRequest, Health, Service, Status};
use crate::views::issue::ReasonRequest;
use crate::views::preview::AutonomyPreviewView;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::policy_control::{ModuleState, ModuleStatus};
use selfheal_pipeline::desk::{AutonomyView, Freeze};
use std::fmt::Write as _;
use std::sync::PoisonError;

pub(crate) fn health(call: &Call) -> Result<Response<Body>, Problem> {
    let version = call.shared.options.version.clone();
    json(
        StatusCode::OK,
        &Health {
            status: "ok",
            version,
        },
    )
}

pub(crate) fn readiness(call: &Call) -> Result<Response<Body>, Problem> {
    call.shared.desk.autonomy()?;
    let version = call.shared.options.version.clone();
    json(
        StatusCode::OK,
        &Health {
            status: "ready",
            version,
        },
    )
}

pub(crate) fn openapi(call: &Call) -> Result<Response<Body>, Problem> {
    json(
        StatusCode::OK,
        &openapi::document(&call.shared.options.version),
    )
}

fn open_streams(call: &Call) -> usize {
    let streams = call
        .shared
        .streams
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    streams.values().sum()
}

pub(crate) fn metrics(call: &Call) -> Result<Response<Body>, Problem> {
    let mut text = String::new();
    let mut gauge = |name: &str, kind: &str, about: &str, lines: Vec<(String, u64)>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let (size, _) = call.shared.desk.audit_head();
    gauge(
        "selfheal_log_records_total",
        "counter",
        "Records in the audit log.",
        vec![(String::new(), size)],
    );
    let streams = u64::try_from(open_streams(call)).unwrap_or(u64::MAX);
    gauge(
        "selfheal_open_streams",
        "gauge",
        "Open event streams.",
        vec![(String::new(), streams)],
    );
    let by_status = call.shared.answered().into_iter();
    let by_status = by_status.map(|(status, count)| (format!("{{status=\"{status}\"}}"), count));
    gauge(
        "selfheal_http_requests_total",
        "counter",
        "Answered requests by status.",
        by_status.collect(),
    );
    let (generation, _, _) = call.shared.desk.policies();
    gauge(
        "selfheal_policy_generation",
        "gauge",
        "Generation of the policy set in force.",
        vec![(String::new(), generation)],
    );
    let proof = proof(call);
    gauge(
        "selfheal_enforcement_proved",
        "gauge",
        "Every enforcement point refused its marker when last asked.",
        vec![(String::new(), u64::from(proof.proved))],
    );
    gauge(
        "selfheal_enforcement_proof_age_seconds",
        "gauge",
        "How long ago that was.",
        proof
            .age_seconds
            .map(|age| (String::new(), age))
            .into_iter()
            .collect(),
    );
    if let Ok(status) = call.shared.desk.policy_status() {
        let of_each = |value: fn(&ModuleStatus) -> u64| {
            let each = status.modules.iter();
            each.map(|module| {
                (
                    format!("{{module=\"{}\"}}", module.identity.name),
                    value(module),
                )
            })
            .collect()
        };
        gauge(
            "selfheal_policy_module_faults_total",
            "counter",
            "Faults of a policy module since it came into force.",
            of_each(|module| module.faults),
        );
        gauge(
            "selfheal_policy_module_asked_total",
            "counter",
            "Questions that a policy module answered since it came into force.",
            of_each(|module| module.asked),
        );
        gauge(
            "selfheal_policy_module_quarantined",
            "gauge",
            "A policy module misbehaved too often and counts as its strictest answer.",
            of_each(|module| u64::from(module.state == ModuleState::Quarantined)),
        );
        let grants = u64::try_from(status.grants.len()).unwrap_or(u64::MAX);
        gauge(
            "selfheal_policy_grants",
            "gauge",
            "Rules over which the glass is broken now.",
            vec![(String::new(), grants)],
        );
    }
    Ok(bytes_of(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    ))
}

pub(crate) fn autonomy(call: &Call) -> Result<Response<Body>, Problem> {
    switch(call, call.shared.desk.autonomy()?)
}

fn switch(call: &Call, view: AutonomyView) -> Result<Response<Body>, Problem> {
    let shown = json(StatusCode::OK, &Autonomy::of(view, &proof(call)))?;
    Ok(of_version(view.version(), shown))
}

pub(crate) fn set_autonomy(call: &Call) -> Result<Response<Body>, Problem> {
    let request: AutonomyRequest = call.json()?;
    let desk = call.desk()?;
    let view = desk.set_autonomy(call.caller()?, request.level, &request.reason)?;
    switch(call, view)
}

pub(crate) fn preview_autonomy(call: &Call) -> Result<Response<Body>, Problem> {
    let desk = &call.shared.desk;
    let view = desk.autonomy()?;
    let preview = desk.autonomy_preview()?;
    let preview = AutonomyPreviewView::of(&preview, view.level, view.ceiling);
    json(StatusCode::OK, &preview)
}

fn set_frozen(call: &Call, frozen: Freeze) -> Result<Response<Body>, Problem> {
    let request: ReasonRequest = call.json()?;
    let desk = call.desk()?;
    let view = desk.set_frozen(call.caller()?, frozen, &request.reason)?;
    switch(call, view)
}

pub(crate) fn freeze(call: &Call) -> Result<Response<Body>, Problem> {
    set_frozen(call, Freeze::On)
}

pub(crate) fn unfreeze(call: &Call) -> Result<Response<Body>, Problem> {
    set_frozen(call, Freeze::Off)
}

pub(crate) fn status(call: &Call) -> Result<Response<Body>, Problem> {
    let desk = &call.shared.desk;
    let (log_size, head) = desk.audit_head();
    let view = Status {
        version: call.shared.options.version.clone(),
        log_size,
        log_head: head.to_string(),
        accounts: call.shared.accounts()?.len(),
        open_streams: open_streams(call),
        autonomy: Autonomy::of(desk.autonomy()?, &proof(call)),
        policy_generation: desk.policies().0,
        policies: standing(call)?,
        services: desk.services().into_iter().map(Service::from).collect(),
    };
    json(StatusCode::OK, &view)
}
