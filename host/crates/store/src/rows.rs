//! Keys and values of the projection.
//!
//! One sled tree, so that one batch is one atomic step; the first byte of a key
//! says what it is:
//!
//! | key | value |
//! |---|---|
//! | `i` number | issue: format, then JSON or the digest of a file in `blobs/` |
//! | `t` number | records about the issue, time of the last one |
//! | `n` !number | summary, newest first |
//! | `s` status !number | summary, by status |
//! | `r` reporter 0 !number | summary, by reporter |
//! | `v` !time !number | summary, what changed last first |
//! | `a` number | nothing; the issue is active |
//! | `d` id | number |
//! | `e` number seq | nothing; the record is about this issue |
//! | `u` name | account, JSON |
//! | `k` owner name | view that somebody keeps, JSON |
//! | `x` owner name | the same, where everybody may use it |
//! | `p` !seq | nothing; the record is an answer of a policy set, newest first |
//! | `q` id | position of the decision with this id |
//! | `o` !seq | nothing; the record is about the policies themselves, newest first |
//! | `m` | how far the projection is, and the switches |
//!
//! Numbers are big endian, `!` is their complement; times are microseconds, owners the
//! digests of their names. Issues are JSON because their
//! types are tagged enums, which postcard cannot read back; summaries are
//! postcard.

use crate::harden::ProjectionError;
use chrono::{DateTime, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Approval, Event};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::{Category, Issue, Priority, Severity, SnoozeEnd, Source};
use selfheal_domain::ports::{IssueSummary, Switches};
use selfheal_domain::state::IssueStatus;
use selfheal_domain::user::{Actor, UserName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of everything in this file; another one leads to a rebuild.
pub(crate) const FORMAT: u8 = 4;

pub(crate) const META: &[u8] = b"m";

fn row_error(error: impl std::fmt::Display) -> ProjectionError {
    ProjectionError::Row(error.to_string())
}

fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![prefix];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(crate) fn issue_key(number: IssueNumber) -> Vec<u8> {
    key(b'i', &[&number.0.to_be_bytes()])
}

pub(crate) fn touch_key(number: IssueNumber) -> Vec<u8> {
    key(b't', &[&number.0.to_be_bytes()])
}

pub(crate) fn active_key(number: IssueNumber) -> Vec<u8> {
    key(b'a', &[&number.0.to_be_bytes()])
}

pub(crate) fn id_key(id: IssueId) -> Vec<u8> {
    key(b'd', &[id.0.as_bytes()])
}

pub(crate) fn event_key(number: IssueNumber, seq: u64) -> Vec<u8> {
    key(b'e', &[&number.0.to_be_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn account_key(name: &UserName) -> Vec<u8> {
    key(b'u', &[name.as_str().as_bytes()])
}

/// Views of one person; of all that are shared, where no owner is given.
pub(crate) fn views_prefix(owner: Option<&UserName>) -> Vec<u8> {
    match owner {
        Some(owner) => key(b'k', &[&Digest::of(owner.as_str().as_bytes()).0]),
        None => vec![b'x'],
    }
}

/// Where a view lies among its owner's, and among those that are shared.
pub(crate) fn view_keys(owner: &UserName, name: &str) -> [Vec<u8>; 2] {
    let owner = Digest::of(owner.as_str().as_bytes());
    [b'k', b'x'].map(|prefix| key(prefix, &[&owner.0, name.as_bytes()]))
}

/// Records about policies, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PolicyList {
    /// Answers of policy sets.
    Decisions,
    /// Changes of the sets themselves.
    Changes,
}

impl PolicyList {
    /// The list that a record stands in, if any.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::ToolCalled(_)
            | Event::PatchDrafted { .. }
            | Event::RiskAssessed(_)
            | Event::AutonomyDecided(_)
            | Event::IssueApproved(Approval::Module { .. }) => Some(Self::Decisions),
            Event::PolicyChanged(_)
            | Event::PolicyRefused { .. }
            | Event::PolicyProposed(_)
            | Event::PolicyWithdrawn { .. }
            | Event::QuarantineChanged { .. }
            | Event::GrantGiven(_)
            | Event::GrantEnded { .. } => Some(Self::Changes),
            _ => None,
        }
    }

    pub(crate) fn prefix(self) -> u8 {
        match self {
            Self::Decisions => b'p',
            Self::Changes => b'o',
        }
    }

    pub(crate) fn key(self, seq: u64) -> Vec<u8> {
        key(self.prefix(), &[&(!seq).to_be_bytes()])
    }
}

pub(crate) fn decision_key(id: DecisionId) -> Vec<u8> {
    key(b'q', &[id.0.as_bytes()])
}

/// A list of issues, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum List {
    All,
    Status(IssueStatus),
    Reporter(Actor),
    /// What changed last comes first; the time of the change where it is known.
    Changed(Option<DateTime<Utc>>),
}

fn newest_first(number: IssueNumber) -> [u8; 8] {
    (!number.0).to_be_bytes()
}

/// What of a key orders its list, for the list by number.
pub(crate) fn place(number: IssueNumber) -> Vec<u8> {
    newest_first(number).to_vec()
}

/// The same for the list by change.
pub(crate) fn changed_place(at: DateTime<Utc>, number: IssueNumber) -> Vec<u8> {
    let time = !u64::try_from(at.timestamp_micros()).unwrap_or(0);
    [time.to_be_bytes(), newest_first(number)].concat()
}

impl List {
    pub(crate) fn prefix(&self) -> Vec<u8> {
        match self {
            Self::All => vec![b'n'],
            Self::Changed(_) => vec![b'v'],
            Self::Status(status) => vec![b's', *status as u8],
            Self::Reporter(actor) => {
                let (kind, name) = match actor {
                    Actor::User(name) => (b'u', name.as_str()),
                    Actor::Agent(name) => (b'a', name.as_str()),
                    Actor::Host => (b'h', ""),
                    Actor::Operator => (b'o', ""),
                };
                // The digest keeps one name from being the beginning of another's keys.
                key(b'r', &[&[kind], &Digest::of(name.as_bytes()).0])
            }
        }
    }

    pub(crate) fn key(&self, number: IssueNumber) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend(match self {
            Self::Changed(Some(at)) => changed_place(*at, number),
            _ => place(number),
        });
        key
    }
}

/// The lists an issue stands in.
pub(crate) fn lists(issue: &Issue) -> [List; 4] {
    [
        List::Changed(Some(issue.updated_at)),
        List::All,
        List::Status(issue.status()),
        List::Reporter(issue.reported_by.clone()),
    ]
}

#[derive(Serialize, Deserialize)]
struct SummaryRow {
    id: [u8; 16],
    number: u64,
    title: String,
    status: IssueStatus,
    severity: Severity,
    priority: Priority,
    source: Source,
    category: Category,
    service: Option<String>,
    reporter: (u8, String),
    created: i64,
    updated: i64,
    /// Until when it is snoozed; none within where no time ends that.
    snooze: Option<Option<i64>>,
}

pub(crate) fn put_summary(issue: &Issue) -> Result<Vec<u8>, ProjectionError> {
    let row = SummaryRow {
        id: *issue.id.0.as_bytes(),
        number: issue.number.0,
        title: issue.report.title.clone(),
        status: issue.status(),
        severity: issue.report.severity,
        priority: issue.report.priority,
        source: issue.report.source,
        category: issue.report.category,
        service: issue.report.service.clone(),
        reporter: match &issue.reported_by {
            Actor::User(name) => (1, name.to_string()),
            Actor::Agent(name) => (2, name.clone()),
            Actor::Host => (3, String::new()),
            Actor::Operator => (4, String::new()),
        },
        created: issue.created_at.timestamp_micros(),
        updated: issue.updated_at.timestamp_micros(),
        snooze: issue.snooze.map(|end| match end {
            SnoozeEnd::At { until } => Some(until.timestamp_micros()),
            SnoozeEnd::News => None,
        }),
    };
    postcard::to_stdvec(&row).map_err(row_error)
}

pub(crate) fn get_summary(bytes: &[u8]) -> Result<IssueSummary, ProjectionError> {
    let row: SummaryRow = postcard::from_bytes(bytes).map_err(row_error)?;
    let time = |micros| {
        DateTime::from_timestamp_micros(micros).ok_or_else(|| row_error("a time is out of range"))
    };
    Ok(IssueSummary {
        id: IssueId(Uuid::from_bytes(row.id)),
        number: IssueNumber(row.number),
        title: row.title,
        status: row.status,
        severity: row.severity,
        priority: row.priority,
        source: row.source,
        category: row.category,
        service: row.service,
        reported_by: match row.reporter {
            (1, name) => Actor::User(UserName::try_from(name).map_err(row_error)?),
            (2, name) => Actor::Agent(name),
            (3, _) => Actor::Host,
            (4, _) => Actor::Operator,
            (other, _) => return Err(row_error(format!("no reporter is of kind {other}"))),
        },
        created_at: time(row.created)?,
        updated_at: time(row.updated)?,
        snooze: match row.snooze {
            None => None,
            Some(None) => Some(SnoozeEnd::News),
            Some(Some(until)) => Some(SnoozeEnd::At {
                until: time(until)?,
            }),
        },
    })
}

/// What changes with every record, beside the issue's large row.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Touch {
    pub(crate) version: u64,
    pub(crate) updated: i64,
}

pub(crate) fn put_touch(issue: &Issue) -> Result<Vec<u8>, ProjectionError> {
    let touch = Touch {
        version: issue.version,
        updated: issue.updated_at.timestamp_micros(),
    };
    postcard::to_stdvec(&touch).map_err(row_error)
}

pub(crate) fn apply_touch(issue: &mut Issue, bytes: &[u8]) -> Result<(), ProjectionError> {
    let touch: Touch = postcard::from_bytes(bytes).map_err(row_error)?;
    issue.version = touch.version;
    issue.updated_at = DateTime::from_timestamp_micros(touch.updated)
        .ok_or_else(|| row_error("a time is out of range"))?;
    Ok(())
}

/// How far the projection is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Version of the rows.
    pub(crate) format: u8,
    /// Records applied.
    pub(crate) applied: u64,
    /// Hash of the last one applied.
    pub(crate) head: Digest,
    /// Highest issue number.
    pub(crate) last_issue: u64,
    /// Switches as last recorded.
    pub(crate) switches: Switches,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            format: FORMAT,
            applied: 0,
            head: Digest([0; 32]),
            last_issue: 0,
            switches: Switches::default(),
        }
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>, ProjectionError> {
    serde_json::to_vec(value).map_err(row_error)
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProjectionError> {
    serde_json::from_slice(bytes).map_err(row_error)
}

/// The number at the end of a key.
pub(crate) fn trailing_number(key: &[u8]) -> Result<u64, ProjectionError> {
    key.split_last_chunk()
        .map(|(_, number)| u64::from_be_bytes(*number))
        .ok_or_else(|| row_error("a key is too short"))
}
