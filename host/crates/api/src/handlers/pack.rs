//! The evidence pack of an issue.

use super::audit::CHUNK;
use crate::call::{Call, bytes_of};
use crate::problem::Problem;
use crate::views::decision::DecisionView;
use crate::views::issue::{FileContents, IssueView};
use crate::views::record::AuditRecord;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use selfheal_domain::event::{Event, Record, ToolOutcome};
use selfheal_domain::ids::{DecisionId, IssueNumber};
use selfheal_domain::ports::InclusionProof;
use selfheal_evidence::{Evidence, PackError, pack};
use selfheal_pipeline::desk::DeskError;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// Most records that go into one pack.
const MOST_RECORDS: usize = 100_000;

pub(crate) fn get(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    let issue = call.shared.desk.issue(caller, call.param("issue")?)?;
    let records = records_of(call, issue.number)?;
    let mut outcomes: HashMap<DecisionId, ToolOutcome> = HashMap::new();
    for record in &records {
        if let Event::ToolFinished { decision, outcome } = &record.event {
            outcomes.insert(*decision, outcome.clone());
        }
    }
    let decided = records.iter().filter_map(|record| {
        let outcome = match &record.event {
            Event::ToolCalled(call) => outcomes.get(&call.id),
            _ => None,
        };
        DecisionView::in_full(record, outcome)
    });
    let decisions = values(decided)?;
    let timeline = values(records.iter().map(AuditRecord::from))?;
    let shown = IssueView::of(
        &issue,
        caller.role,
        FileContents::Include,
        call.shared.desk.now(),
    );
    let proofs = proofs_of(call, &records)?;
    let evidence = Evidence {
        issue: &issue,
        shown: &value(&shown)?,
        timeline: &timeline,
        decisions: &decisions,
        records: &records,
        proofs: &proofs,
        version: &call.shared.options.version,
    };
    let bytes = pack(&evidence).map_err(|error| match error {
        PackError::TooLarge => Problem::conflict(error.to_string()),
        PackError::Json(_) | PackError::Archive(_) => {
            tracing::error!(%error, issue = issue.number.0, "no evidence pack could be made");
            Problem::internal()
        }
    })?;
    let mut response = bytes_of(StatusCode::OK, "application/zip", bytes);
    let name = format!(
        "attachment; filename=\"issue-{}-evidence.zip\"",
        issue.number
    );
    if let Ok(name) = HeaderValue::try_from(name) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn records_of(call: &Call, issue: IssueNumber) -> Result<Vec<Record>, Problem> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let next = records.last().map_or(0, |record| record.seq + 1);
        let chunk = call.shared.store().records(Some(issue), next, CHUNK);
        let chunk = chunk.map_err(DeskError::from)?;
        let last = chunk.len() < CHUNK;
        records.extend(chunk);
        if last {
            return Ok(records);
        }
        if records.len() >= MOST_RECORDS {
            return Err(Problem::conflict(PackError::TooLarge.to_string()));
        }
    }
}

/// That each record is in the log, where the log is signed.
fn proofs_of(call: &Call, records: &[Record]) -> Result<Vec<InclusionProof>, Problem> {
    let Some(log) = call.shared.store().audit_log() else {
        return Ok(Vec::new());
    };
    let mut proofs = Vec::with_capacity(records.len());
    for record in records {
        proofs.extend(log.prove(record.seq).map_err(DeskError::from)?);
    }
    Ok(proofs)
}

fn values<T: Serialize>(items: impl Iterator<Item = T>) -> Result<Vec<Value>, Problem> {
    items.map(|item| value(&item)).collect()
}

fn value<T: Serialize>(item: &T) -> Result<Value, Problem> {
    serde_json::to_value(item).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::internal()
    })
}
