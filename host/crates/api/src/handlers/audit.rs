//! Reading the log: events of an issue, the audit log, decisions.

use crate::call::{Call, bytes_of, json};
use crate::problem::Problem;
use crate::state::Shared;
use crate::views::decision::{DecisionKind, DecisionOrder, DecisionPage, DecisionView};
use crate::views::record::{
    AuditPage, AuditRecord, Checkpoint, EventPage, EventView, InclusionProofView,
};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use selfheal_domain::event::{Event, Record, ToolOutcome};
use selfheal_domain::ids::{DecisionId, IssueNumber};
use selfheal_domain::ports::{AuditLog, StoreError};
use selfheal_pipeline::desk::{DeskError, visible};
use uuid::Uuid;

/// Records read from the store at once.
pub(super) const CHUNK: usize = 256;
/// Records looked at for one page of decisions.
const DECISION_SCAN: usize = 4_096;

/// Records from `from` on that `keep` keeps, until there are `limit` or `most` were
/// looked at; and where to go on, if there may be more.
fn collect(
    shared: &Shared,
    issue: Option<IssueNumber>,
    from: u64,
    (limit, most): (usize, usize),
    mut keep: impl FnMut(&Record) -> bool,
) -> Result<(Vec<Record>, Option<u64>), StoreError> {
    let (mut kept, mut next, mut seen) = (Vec::new(), from, 0);
    loop {
        let chunk = shared.store().records(issue, next, CHUNK)?;
        let last = chunk.len() < CHUNK;
        for record in chunk {
            if kept.len() == limit || seen == most {
                return Ok((kept, Some(next)));
            }
            next = record.seq + 1;
            seen += 1;
            if keep(&record) {
                kept.push(record);
            }
        }
        if last {
            return Ok((kept, None));
        }
    }
}

/// Decisions before `before` that `keep` keeps, newest first, until there are `limit` or
/// `most` were looked at; and where to go on, if there may be more.
fn latest(
    shared: &Shared,
    before: Option<u64>,
    (limit, most): (usize, usize),
    keep: impl Fn(&Record) -> bool,
) -> Result<(Vec<Record>, Option<u64>), StoreError> {
    let (mut kept, mut next) = (Vec::new(), before);
    for _ in 0..most.div_ceil(CHUNK) {
        let chunk = shared.store().decisions(next, CHUNK)?;
        let last = chunk.len() < CHUNK;
        for seq in chunk {
            if kept.len() == limit {
                return Ok((kept, next));
            }
            next = Some(seq);
            kept.extend(shared.store().record(seq)?.filter(&keep));
        }
        if last {
            return Ok((kept, None));
        }
    }
    Ok((kept, next))
}

pub(crate) fn issue_events(call: &Call) -> Result<Response<Body>, Problem> {
    let caller = call.caller()?;
    let issue = call.shared.desk.issue(caller, call.param("issue")?)?.number;
    let bounds = (call.limit()?, usize::MAX);
    let keep = |record: &Record| visible(caller, record);
    let (records, next) = collect(&call.shared, Some(issue), call.log_cursor()?, bounds, keep)
        .map_err(DeskError::from)?;
    let page = EventPage {
        items: records
            .iter()
            .map(|record| EventView::of(record, caller.role))
            .collect(),
        next_cursor: next.map(|next| next.to_string()),
    };
    json(StatusCode::OK, &page)
}

pub(crate) fn list(call: &Call) -> Result<Response<Body>, Problem> {
    let bounds = (call.limit()?, usize::MAX);
    let (records, next) = collect(&call.shared, None, call.log_cursor()?, bounds, |_| true)
        .map_err(DeskError::from)?;
    let page = AuditPage {
        items: records.iter().map(AuditRecord::from).collect(),
        next_cursor: next.map(|next| next.to_string()),
    };
    json(StatusCode::OK, &page)
}

/// What the store publishes of its log.
fn published(call: &Call) -> Result<&dyn AuditLog, Problem> {
    let log = call.shared.store().audit_log();
    log.ok_or_else(|| Problem::not_found("this host publishes no log"))
}

pub(crate) fn checkpoint(call: &Call) -> Result<Response<Body>, Problem> {
    let head = published(call)?.signed_head().map_err(DeskError::from)?;
    json(StatusCode::OK, &Checkpoint::from(head))
}

pub(crate) fn proof(call: &Call) -> Result<Response<Body>, Problem> {
    let text = call.param("index")?;
    let missing = || Problem::not_found(format!("there is no record {text}"));
    let index: u64 = text.parse().map_err(|_| missing())?;
    let proof = published(call)?.prove(index).map_err(DeskError::from)?;
    let proof = InclusionProofView::from(proof.ok_or_else(missing)?);
    json(StatusCode::OK, &proof)
}

pub(crate) fn tlog_checkpoint(call: &Call) -> Result<Response<Body>, Problem> {
    let head = published(call)?.signed_head().map_err(DeskError::from)?;
    let media = "text/plain; charset=utf-8";
    Ok(bytes_of(StatusCode::OK, media, head.note))
}

pub(crate) fn tlog_tile(call: &Call) -> Result<Response<Body>, Problem> {
    let path = format!("tile/{}", call.param("tile")?);
    let tile = published(call)?.tile(&path).map_err(DeskError::from)?;
    let tile = tile.ok_or_else(|| Problem::not_found(format!("there is no {path}")))?;
    Ok(bytes_of(StatusCode::OK, "application/octet-stream", tile))
}

pub(crate) fn decisions(call: &Call) -> Result<Response<Body>, Problem> {
    let bounds = (call.limit()?, DECISION_SCAN);
    let kind = call.query_enum::<DecisionKind>("kind")?;
    let kind = kind.unwrap_or(DecisionKind::ToolCall);
    let keep = |record: &Record| DecisionKind::of(&record.event) == Some(kind);
    let cursor = call.log_cursor()?;
    let found = match call
        .query_enum::<DecisionOrder>("order")?
        .unwrap_or_default()
    {
        DecisionOrder::Oldest => collect(&call.shared, None, cursor, bounds, keep),
        DecisionOrder::Newest => {
            let before = call.query("cursor").map(|_| cursor);
            latest(&call.shared, before, bounds, keep)
        }
    };
    let (records, next) = found.map_err(DeskError::from)?;
    let page = DecisionPage {
        items: records.iter().filter_map(DecisionView::of).collect(),
        next_cursor: next.map(|next| next.to_string()),
    };
    json(StatusCode::OK, &page)
}

/// Position in the log of the decision with this id; or the position that the text
/// is.
pub(crate) fn position_of(call: &Call, text: &str) -> Result<u64, Problem> {
    if let Ok(seq) = text.parse::<u64>() {
        return Ok(seq);
    }
    let missing = || Problem::not_found(format!("there is no decision {text}"));
    let id: Uuid = text.parse().map_err(|_| missing())?;
    let found = call.shared.store().decision(DecisionId(id));
    found.map_err(DeskError::from)?.ok_or_else(missing)
}

/// One decision: on a tool call by its id, any by its position.
pub(crate) fn decision(call: &Call) -> Result<Response<Body>, Problem> {
    let text = call.param("id")?;
    let missing = || Problem::not_found(format!("there is no decision {text}"));
    let seq = position_of(call, text)?;
    let found = call.shared.store().record(seq).map_err(DeskError::from)?;
    let record = found.ok_or_else(missing)?;
    let outcome = match &record.event {
        Event::ToolCalled(decision) => outcome_of(call, &record, decision.id)?,
        _ => None,
    };
    let view = DecisionView::in_full(&record, outcome.as_ref()).ok_or_else(missing)?;
    json(StatusCode::OK, &view)
}

/// What came of a tool call, if it ended.
fn outcome_of(call: &Call, begun: &Record, id: DecisionId) -> Result<Option<ToolOutcome>, Problem> {
    let ended = |record: &Record| matches!(&record.event, Event::ToolFinished { decision, .. } if *decision == id);
    let near = (1, DECISION_SCAN);
    let (ends, _) =
        collect(&call.shared, begun.issue, begun.seq, near, ended).map_err(DeskError::from)?;
    Ok(ends.into_iter().find_map(|end| match end.event {
        Event::ToolFinished { outcome, .. } => Some(outcome),
        _ => None,
    }))
}
