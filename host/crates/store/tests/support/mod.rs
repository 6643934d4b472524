//! Records for the store's tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chrono::{DateTime, Utc};
use selfheal_audit::Masker;
use selfheal_domain::event::{Approval, Event, NewRecord, Record};
use selfheal_domain::ids::{CommentId, CommitId, IssueId, IssueNumber, RunId, RunNumber};
use selfheal_domain::issue::{Category, Comment, CommentRole, Issue, Priority, Severity, Source};
use selfheal_domain::ports::{EventStore, IssueSummary, StoreError};
use selfheal_domain::query::{Condition, IssueFilter, Sort};
use selfheal_domain::report::Report;
use selfheal_domain::user::{Actor, TrustClass, UserName};
use selfheal_domain::view::SavedView;
use selfheal_store::{JournalStore, LogError, OpenError, Options, VerifyError, VerifyReport};
use std::path::Path;
use uuid::Uuid;

pub fn options() -> Options {
    Options::new(Masker::new(["hunter2-hunter2"]).unwrap())
}

pub fn try_open(dir: &Path) -> Result<JournalStore, OpenError> {
    JournalStore::open(dir, options())
}

pub fn open(dir: &Path) -> JournalStore {
    try_open(dir).unwrap()
}

/// Verifies with the key of the installation.
pub fn verify(dir: &Path) -> Result<VerifyReport, LogError> {
    selfheal_store::verify(dir, None)
}

/// The first wrong record.
pub fn wrong(dir: &Path) -> VerifyError {
    match verify(dir) {
        Err(LogError::Record(error)) => error,
        other => panic!("expected a wrong record, got {other:?}"),
    }
}

pub fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_790_000_000_000_000 + micros).unwrap()
}

pub fn user(name: &str) -> Actor {
    Actor::User(UserName::new(name).unwrap())
}

pub fn report(title: &str, description: &str) -> Report {
    Report {
        title: title.to_owned(),
        description: description.to_owned(),
        steps_to_reproduce: None,
        expected_behavior: None,
        actual_behavior: None,
        severity: Severity::Medium,
        priority: Priority::P2,
        source: Source::Api,
        category: Category::Bug,
        service: None,
        fingerprint: None,
        trust: TrustClass::Member,
    }
}

pub fn opened_with(number: u64, report: Report, by: Actor) -> NewRecord {
    NewRecord {
        at: at(number as i64),
        actor: by.clone(),
        issue: Some(IssueNumber(number)),
        event: Event::IssueOpened {
            id: IssueId(Uuid::from_u128(number.into())),
            number: IssueNumber(number),
            report,
            reported_by: by,
        },
    }
}

pub fn opened(number: u64) -> NewRecord {
    opened_with(
        number,
        report(&format!("Issue {number}"), "it is broken"),
        user("rita"),
    )
}

pub fn about(number: u64, event: Event) -> NewRecord {
    NewRecord {
        at: at(1_000_000),
        actor: user("ada"),
        issue: Some(IssueNumber(number)),
        event,
    }
}

pub fn hosts(event: Event) -> NewRecord {
    NewRecord {
        at: at(5),
        actor: Actor::Host,
        issue: None,
        event,
    }
}

pub fn comment(number: u64, text: &str) -> NewRecord {
    about(
        number,
        Event::IssueCommented(Comment {
            id: CommentId(Uuid::from_u128(7)),
            author: "rita".to_owned(),
            role: CommentRole::User,
            content: text.to_owned(),
            created_at: at(9),
        }),
    )
}

pub fn approved() -> Event {
    Event::IssueApproved(Approval::Admin {
        name: UserName::new("ada").unwrap(),
    })
}

pub fn diagnosis_started() -> Event {
    Event::DiagnosisStarted {
        run: RunId(Uuid::from_u128(99)),
        number: RunNumber(1),
        agent: "engine:builtin".to_owned(),
        snapshot: CommitId("a".repeat(40)),
        base_commit: CommitId("b".repeat(40)),
        live_branch: "main".to_owned(),
        policy_generation: 1,
    }
}

/// Everything a reader can see.
#[derive(PartialEq, Debug)]
pub struct View {
    pub head: (u64, selfheal_domain::digest::Digest),
    pub records: Vec<Record>,
    pub issues: Vec<(Issue, Vec<Record>)>,
    pub list: Vec<IssueSummary>,
    pub by_status: Vec<Vec<IssueSummary>>,
    pub by_change: Vec<IssueSummary>,
    pub views: Vec<SavedView>,
    pub active: Vec<IssueNumber>,
    pub accounts: Vec<selfheal_domain::user::Account>,
    pub switches: selfheal_domain::ports::Switches,
}

pub fn list(store: &JournalStore, filter: &IssueFilter) -> Vec<IssueSummary> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.issues(filter, cursor.as_deref(), 7).unwrap();
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

pub fn view(store: &JournalStore) -> View {
    let all = list(store, &IssueFilter::default());
    View {
        head: store.head(),
        records: store.records(None, 0, usize::MAX).unwrap(),
        issues: all
            .iter()
            .map(|summary| {
                let records = store.records(Some(summary.number), 0, usize::MAX).unwrap();
                (store.issue(summary.number).unwrap().unwrap(), records)
            })
            .collect(),
        by_status: selfheal_domain::state::IssueStatus::ALL
            .into_iter()
            .map(|status| {
                let only = Condition::Status(vec![status]);
                list(store, &IssueFilter::default().and(only))
            })
            .collect(),
        by_change: list(
            store,
            &IssueFilter {
                sort: Sort::Updated,
                ..IssueFilter::default()
            },
        ),
        views: store.views(&UserName::new("ada").unwrap()).unwrap(),
        list: all,
        active: store.active_issues().unwrap(),
        accounts: store.accounts().unwrap().to_vec(),
        switches: store.switches().unwrap(),
    }
}

/// The error with all that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub fn refused(result: Result<Record, StoreError>) -> String {
    match result {
        Err(error @ StoreError::NotWritten(_)) => chain(&error),
        other => panic!("expected a refusal, got {other:?}"),
    }
}
