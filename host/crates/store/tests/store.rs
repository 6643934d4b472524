//! What is appended can be read, survives, is masked, and costs what it should.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use chrono::DateTime;
use selfheal_domain::account::{AccountChange, Standing};
use selfheal_domain::event::{Event, NewRecord, ToolDecision};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::{Priority, Severity, SnoozeEnd};
use selfheal_domain::policy::{AgentPhase, ToolCallFacts};
use selfheal_domain::policy_control::ChangeSource;
use selfheal_domain::ports::{EventStore, StoreError};
use selfheal_domain::query::{Condition, IssueFilter, Sort};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::state::IssueStatus;
use selfheal_domain::token::{AccessToken, Scope};
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_domain::verdict::Judgement;
use selfheal_domain::view::SavedView;
use selfheal_store::JournalStore;
use std::sync::Arc;
use support::*;
use uuid::Uuid;

fn account(name: &str) -> Account {
    Account {
        name: UserName::new(name).unwrap(),
        role: Role::Admin,
        token_digest: Some("5e".repeat(32)),
        password_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA".to_owned()),
        tokens: Vec::new(),
        subject: None,
        standing: Standing::Open,
    }
}

fn fill(store: &dyn EventStore) {
    for number in 1..=20 {
        store.append(opened(number), None).unwrap();
    }
    for number in [2, 4, 6] {
        store.append(about(number, approved()), None).unwrap();
    }
    store.append(about(4, diagnosis_started()), None).unwrap();
    store.append(comment(6, "please"), None).unwrap();
    store
        .append(hosts(Event::UserSaved(account("ada"))), None)
        .unwrap();
    let level = Event::AutonomyChanged {
        level: AutonomyLevel::Suggest,
        reason: "try it".to_owned(),
    };
    store.append(hosts(level), None).unwrap();
    let reason = "holidays".to_owned();
    store
        .append(
            hosts(Event::FreezeChanged {
                frozen: true,
                reason,
            }),
            None,
        )
        .unwrap();
}

#[test]
fn what_is_appended_is_seen_at_once_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let before = view(&store);
    assert_eq!(before.records.len(), 28);
    assert_eq!(before.active, [2, 4, 6].map(IssueNumber));
    assert_eq!(before.accounts, [account("ada")]);
    assert_eq!(before.switches.autonomy, Some(AutonomyLevel::Suggest));
    assert!(before.switches.frozen);
    assert_eq!(store.last_issue_number().unwrap(), 20);
    let id = IssueId(Uuid::from_u128(4));
    assert_eq!(store.issue_number(id).unwrap(), Some(IssueNumber(4)));
    drop(store);

    let store = open(dir.path());
    assert!(!store.was_rebuilt());
    assert_eq!(view(&store), before);
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.records, report.head), before.head);
}

#[test]
fn the_projection_is_rebuilt_from_the_journal_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let before = view(&store);
    drop(store);
    let projection = dir.path().join("projection");

    std::fs::remove_dir_all(&projection).unwrap();
    let store = open(dir.path());
    assert_eq!(view(&store), before, "deleted");
    drop(store);

    // Garbage where sled expects its log.
    let garbage = vec![0xa5; 300_000];
    std::fs::write(projection.join("db/db"), garbage).unwrap();
    let store = open(dir.path());
    assert_eq!(view(&store), before, "garbage");
    drop(store);

    // Two records changed places, and then one has none.
    let places = projection.join("places");
    let mut rows = std::fs::read(&places).unwrap();
    rows[..40].rotate_left(20);
    std::fs::write(&places, &rows).unwrap();
    let store = open(dir.path());
    assert!(store.was_rebuilt());
    assert_eq!(view(&store), before, "other places");
    drop(store);
    std::fs::write(&places, &rows[..rows.len() - 20]).unwrap();
    let store = open(dir.path());
    assert!(store.was_rebuilt());
    assert_eq!(view(&store), before, "too few places");
    drop(store);

    // A projection of another journal.
    let other = tempfile::tempdir().unwrap();
    let stranger = open(other.path());
    stranger.append(comment_host("one"), None).unwrap();
    drop(stranger);
    std::fs::remove_dir_all(&projection).unwrap();
    std::fs::rename(other.path().join("projection"), &projection).unwrap();
    let store = open(dir.path());
    assert!(store.was_rebuilt());
    assert_eq!(view(&store), before, "another journal's");
    drop(store);

    // The machine lost power while it was open.
    std::fs::write(projection.join("open"), "another boot").unwrap();
    let store = open(dir.path());
    assert!(store.was_rebuilt());
    assert_eq!(view(&store), before, "power cut");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_projection_that_is_behind_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    drop(store);
    let (projection, older) = (dir.path().join("projection"), dir.path().join("older"));
    copy(&projection, &older);
    let store = open(dir.path());
    store.append(opened(21), None).unwrap();
    store.append(comment(21, "and another"), None).unwrap();
    let before = view(&store);
    drop(store);
    std::fs::remove_dir_all(&projection).unwrap();
    std::fs::rename(&older, &projection).unwrap();
    let store = open(dir.path());
    assert!(!store.was_rebuilt());
    assert_eq!(view(&store), before);
}

fn comment_host(name: &str) -> selfheal_domain::event::NewRecord {
    hosts(Event::SessionRefused {
        name: name.to_owned(),
    })
}

#[test]
fn large_issues_go_to_files_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    for part in 0..4 {
        let text = format!("{part}").repeat(40_000);
        store.append(comment(1, &text), None).unwrap();
        // Asks the table, which is brought up to date for it.
        store.active_issues().unwrap();
    }
    let blobs = dir.path().join("projection/blobs");
    let files = || std::fs::read_dir(&blobs).unwrap().count();
    assert_eq!(files(), 1, "superseded ones are removed");
    let before = view(&store);
    assert_eq!(before.issues[0].0.comments.len(), 4);
    drop(store);
    assert_eq!(view(&open(dir.path())), before);

    for file in std::fs::read_dir(&blobs).unwrap() {
        std::fs::write(file.unwrap().path(), "changed").unwrap();
    }
    let store = open(dir.path());
    assert!(matches!(
        store.issue(IssueNumber(1)),
        Err(StoreError::Read(_))
    ));
}

#[test]
fn a_projection_that_fails_closes_the_store_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    let blobs = dir.path().join("projection/blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::write(&blobs, "in the way").unwrap();
    let acknowledged = store
        .append(comment(1, &"x".repeat(120_000)), None)
        .unwrap();

    assert!(matches!(store.active_issues(), Err(StoreError::Read(_))));
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    assert_eq!(issue.comments.len(), 1, "what is known is told");
    assert!(matches!(store.record(0), Err(StoreError::Read(_))));
    let refused = store.append(comment(1, "more"), None).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritten(_)));
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("restart the host"), "{why}");
    drop(store);

    std::fs::remove_file(&blobs).unwrap();
    let store = open(dir.path());
    assert!(store.was_rebuilt());
    assert_eq!(store.record(1).unwrap().unwrap(), acknowledged);
}

#[test]
fn a_second_host_is_refused_and_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = try_open(dir.path()).err().unwrap().to_string();
    assert!(
        error.contains(&std::process::id().to_string()) && error.contains("already runs"),
        "{error}"
    );
    drop(store);
    open(dir.path());
}

#[test]
fn illegal_and_misnumbered_records_are_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    let before = view(&store);

    let cases = [
        (opened(1), "the next issue is number 2, not 1"),
        (opened(3), "the next issue is number 2, not 3"),
        (about(9, approved()), "there is no issue 9"),
        (
            about(1, diagnosis_started()),
            "starting a diagnosis is not possible",
        ),
        (about(1, Event::HostStopped), "no other event does"),
        (hosts(approved()), "names it"),
    ];
    for (record, why) in cases {
        let error = refused(store.append(record, None));
        assert!(error.contains(why), "{error}");
    }
    let mut twin = opened(2);
    if let Event::IssueOpened { id, .. } = &mut twin.event {
        *id = IssueId(Uuid::from_u128(1));
    }
    assert!(refused(store.append(twin, None)).contains("exists already"));
    // Infinity has no JSON: it would be written as null and never be read again.
    store.append(about(1, approved()), None).unwrap();
    store.append(about(1, diagnosis_started()), None).unwrap();
    let mut nonsense = serde_json::from_str::<Event>(
        r#"{"type":"diagnosis.finished","data":{"root_cause":"","confidence":0.5,"affected_files":[],"suggested_fix":"","reproduction":null,"log":"","effort":{"candidates":0,"seconds":0.1}}}"#,
    )
    .unwrap();
    if let Event::DiagnosisFinished(diagnosis) = &mut nonsense {
        diagnosis.confidence = f64::INFINITY;
    }
    assert!(refused(store.append(about(1, nonsense), None)).contains("cannot be stored"));
    assert_eq!(store.head().0, before.head.0 + 2);
}

#[test]
fn issues_that_are_opened_at_once_are_numbered_without_gaps() {
    const THREADS: u64 = 8;
    const EACH: u64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let next = |id: u64| {
        let mut record = opened(0);
        if let Event::IssueOpened { id: own, .. } = &mut record.event {
            *own = IssueId(Uuid::from_u128(id.into()));
        }
        record
    };
    store.append(next(1), None).unwrap();
    let open_some = |thread: u64| {
        let mut opened = Vec::new();
        for turn in 0..EACH {
            // One that is refused takes no number.
            assert!(refused(store.append(next(1), None)).contains("exists already"));
            let id = 2 + thread * EACH + turn;
            let record = store.append(next(id), None).unwrap();
            let Event::IssueOpened { number, .. } = record.event else {
                panic!("another event came back: {record:?}");
            };
            assert_eq!(record.issue, Some(number));
            opened.push((number, IssueId(Uuid::from_u128(id.into()))));
        }
        opened
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| scope.spawn(move || open_some(thread)));
        let threads: Vec<_> = threads.collect();
        let ends = threads.into_iter().flat_map(|it| it.join().unwrap());
        ends.collect()
    });
    all.sort_unstable_by_key(|(number, _)| *number);
    let numbers: Vec<u64> = all.iter().map(|(number, _)| number.0).collect();
    assert_eq!(numbers, (2..=THREADS * EACH + 1).collect::<Vec<u64>>());
    drop(store);
    verify(dir.path()).unwrap();
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.last_issue_number().unwrap(), THREADS * EACH + 1);
    for (number, id) in all {
        let issue = store.issue(number).unwrap().unwrap();
        assert_eq!((issue.number, issue.id), (number, id));
        assert_eq!(store.issue_number(id).unwrap(), Some(number));
    }
}

#[test]
fn accounts_are_at_hand_and_never_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(store.accounts().unwrap().is_empty());
    let save = |account| {
        store
            .append(hosts(Event::UserSaved(account)), None)
            .unwrap()
    };
    save(account("ada"));
    assert_eq!(*store.accounts().unwrap(), [account("ada")]);
    for number in 1..=5 {
        store.append(opened(number), None).unwrap();
        let before = store.rows_read();
        assert_eq!(store.accounts().unwrap().len(), 1);
        let read = store.rows_read() - before;
        assert_eq!(read, 0, "what others record costs nothing");
    }
    // Whoever was told that it is saved never meets an older one, whoever else asks.
    std::thread::scope(|scope| {
        for name in ["bea", "cleo"] {
            let (store, save) = (&store, &save);
            scope.spawn(move || {
                for turn in 0..100 {
                    let saved = Account {
                        password_hash: Some(turn.to_string()),
                        ..account(name)
                    };
                    save(saved.clone());
                    assert!(store.accounts().unwrap().contains(&saved));
                }
            });
        }
    });
    let accounts = store.accounts().unwrap();
    drop(store);
    assert_eq!(open(dir.path()).accounts().unwrap(), accounts);
}

#[test]
fn of_two_writers_on_one_version_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    let first = comment(1, "first");
    let after = issue.after(&first).unwrap();
    store.append(first, Some(&after)).unwrap();
    assert_eq!(store.issue(IssueNumber(1)).unwrap().unwrap(), after);
    let error = refused(store.append(comment(1, "second"), Some(&after)));
    assert!(error.contains("changed in between"), "{error}");
}

#[test]
fn secrets_are_masked_before_the_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let text = "log: hunter2-hunter2 and AKIAIOSFODNN7EXAMPLE";
    store
        .append(opened_with(1, report("It leaks", text), user("rita")), None)
        .unwrap();
    let record = store.append(comment(1, text), None).unwrap();
    assert!(!format!("{record:?}").contains("hunter2"));
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    assert_eq!(issue.report.description, "log: [masked] and [masked]");
    assert_eq!(issue.comments[0].content, "log: [masked] and [masked]");
    store
        .append(hosts(Event::UserSaved(account("ada"))), None)
        .unwrap();
    assert_eq!(*store.accounts().unwrap(), [account("ada")]);
    drop(store);
    let journal = dir.path().join("journal/00000000000000000000.seg");
    let bytes = std::fs::read(journal).unwrap();
    for secret in [&b"hunter2"[..], b"AKIA"] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret));
    }
}

#[test]
fn a_page_costs_the_page_not_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=600 {
        let reporter = if number % 100 == 0 { "rare" } else { "rita" };
        let record = opened_with(number, report("It breaks", "x"), user(reporter));
        store.append(record, None).unwrap();
        if number % 50 == 0 {
            store.append(about(number, approved()), None).unwrap();
        }
    }
    let cost = |filter: &IssueFilter, cursor: Option<&str>| {
        let before = store.rows_read();
        let page = store.issues(filter, cursor, 10).unwrap();
        (page, store.rows_read() - before)
    };
    let all = IssueFilter::default();
    let (page, rows) = cost(&all, None);
    assert_eq!(
        (page.items.len(), page.items[0].number.0, rows),
        (10, 600, 11)
    );
    // Deep in the table the next page costs the same.
    let mut cursor = page.next_cursor;
    for _ in 0..50 {
        let (page, rows) = cost(&all, cursor.as_deref());
        assert_eq!(rows, 11);
        cursor = page.next_cursor;
    }
    let status = |wanted| all.clone().and(Condition::Status(wanted));
    let approved = status(vec![IssueStatus::Approved]);
    let (page, rows) = cost(&approved, None);
    assert_eq!((page.items.len(), rows), (10, 11));
    let (page, rows) = cost(&approved, page.next_cursor.as_deref());
    assert_eq!((page.items.len(), rows, page.next_cursor), (2, 2, None));
    let either = status(vec![IssueStatus::Approved, IssueStatus::Open]);
    let (page, rows) = cost(&either, None);
    assert_eq!(
        (page.items.len(), rows),
        (10, 12),
        "two lists are read as one, each a row ahead"
    );
    assert_eq!(page.items, cost(&all, None).0.items);
    let (next, rows) = cost(&either, page.next_cursor.as_deref());
    assert_eq!((next.items[0].number.0, rows), (590, 12));
    let (page, rows) = cost(&status(vec![]), None);
    assert_eq!((page.items.len(), rows, page.next_cursor), (0, 0, None));
    let rare = all.clone().and(Condition::Reporter(vec![user("rare")]));
    let (page, rows) = cost(&rare, None);
    assert_eq!((page.items.len(), rows), (6, 6));
    let by_change = IssueFilter {
        sort: Sort::Updated,
        ..all.clone()
    };
    let (page, rows) = cost(&by_change, None);
    assert_eq!((page.items.len(), rows), (10, 11));
    let (_, rows) = cost(&by_change, page.next_cursor.as_deref());
    assert_eq!(rows, 11);
    let (records, before) = (5, store.rows_read());
    assert_eq!(store.records(None, 300, records).unwrap()[0].seq, 300);
    assert_eq!(store.rows_read() - before, 5, "a record each");
    for behind in [store.head().0, u64::MAX] {
        assert_eq!(store.records(None, behind, records).unwrap(), []);
        assert_eq!(store.record(behind).unwrap(), None);
    }
}

#[test]
fn filters_combine_and_rare_matches_come_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=2_500 {
        let mut it = report(&format!("Issue {number}"), "Nothing special");
        if number == 3 {
            it.severity = Severity::Critical;
            it.service = Some("web".to_owned());
            it.description = "The Checkout  page is blank".to_owned();
        }
        store
            .append(opened_with(number, it, Actor::Operator), None)
            .unwrap();
    }
    let found = |filter: IssueFilter| {
        let numbers = list(&store, &filter);
        numbers.iter().map(|it| it.number.0).collect::<Vec<_>>()
    };
    let all = IssueFilter::default;
    let critical = all().and(Condition::Severity(vec![Severity::Critical]));
    let first = store.issues(&critical, None, 10).unwrap();
    assert!(
        first.items.is_empty() && first.next_cursor.is_some(),
        "one call looks at a bounded number of rows"
    );
    assert_eq!(found(critical), [3]);
    assert_eq!(
        found(
            all()
                .and(Condition::text("blank"))
                .and(Condition::text("CHECKOUT"))
                .and(Condition::Service(vec!["web".to_owned()]))
        ),
        [3]
    );
    assert_eq!(
        found(
            all()
                .and(Condition::text("issue"))
                .and(Condition::text("77"))
                .and(Condition::Priority(vec![Priority::P2]))
                .and(Condition::Reporter(vec![Actor::Operator]))
        )
        .len(),
        (1..=2_500_u32)
            .filter(|number| number.to_string().contains("77"))
            .count()
    );
    assert_eq!(
        found(all().and(Condition::Priority(vec![Priority::P0]))),
        [0; 0]
    );
    let of_one = IssueFilter {
        sort: Sort::Updated,
        ..all().and(Condition::Reporter(vec![Actor::Operator]))
    };
    let refused = store.issues(&of_one, None, 10);
    assert!(matches!(refused, Err(StoreError::TooManyToSort(_))));
    let bad = store.issues(&all(), Some("00"), 10);
    assert!(matches!(bad, Err(StoreError::BadCursor)));
}

/// Both orders, for everybody and for one person, across pages and a rebuild.
#[test]
fn what_changed_last_comes_first_and_views_and_snoozes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut at = 1_000;
    let mut happen = |number: u64, event: Event| {
        at += 10;
        let record = NewRecord {
            at: DateTime::from_timestamp(at, 0).unwrap(),
            ..about(number, event)
        };
        store.append(record, None).unwrap();
    };
    for number in 1..=20 {
        let reporter = if number % 2 == 0 { "even" } else { "odd" };
        let NewRecord { event, .. } = opened_with(number, report("It", "x"), user(reporter));
        happen(number, event);
    }
    let triaged = || Event::IssueTriaged {
        severity: Some(Severity::Low),
        priority: None,
    };
    for number in [3, 17, 4, 3] {
        happen(number, triaged());
    }
    let until = DateTime::from_timestamp(5_000, 0).unwrap();
    happen(8, Event::IssueSnoozed(SnoozeEnd::At { until }));
    happen(9, Event::IssueSnoozed(SnoozeEnd::News));
    happen(10, Event::IssueSnoozed(SnoozeEnd::News));
    happen(10, Event::IssueWoken);
    let view = |name: &str, owner: &str, shared| SavedView {
        owner: UserName::new(owner).unwrap(),
        name: name.to_owned(),
        query: "is:open".to_owned(),
        shared,
    };
    for kept in [
        view("mine", "ada", false),
        view("burning", "bob", true),
        view("bob's own", "bob", false),
        view("old", "ada", true),
        view("once shared", "bob", true),
        view("once shared", "bob", false),
    ] {
        store.append(hosts(Event::ViewSaved(kept)), None).unwrap();
    }
    let forgotten = Event::ViewForgotten {
        owner: UserName::new("ada").unwrap(),
        name: "old".to_owned(),
    };
    store.append(hosts(forgotten), None).unwrap();

    let check = |store: &JournalStore| {
        let found = |filter: IssueFilter| -> Vec<u64> {
            let sort = Sort::Updated;
            let issues = list(store, &IssueFilter { sort, ..filter });
            issues.iter().map(|it| it.number.0).collect()
        };
        let all = IssueFilter::default;
        let changed = found(all());
        assert_eq!(changed[..8], [10, 9, 8, 3, 4, 17, 20, 19]);
        assert_eq!(changed.len(), 20);
        let odd = all().and(Condition::Reporter(vec![user("odd")]));
        assert_eq!(found(odd), [9, 3, 17, 19, 15, 13, 11, 7, 5, 1]);
        let now = |seconds| Condition::Snoozed(DateTime::from_timestamp(seconds, 0).unwrap());
        assert_eq!(found(all().and(now(4_999))), [9, 8]);
        assert_eq!(found(all().and(now(5_000))), [9], "it ended by itself");
        let views = store.views(&UserName::new("ada").unwrap()).unwrap();
        let names: Vec<_> = views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["mine", "burning"]);
    };
    check(&store);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    check(&open(dir.path()));
}

#[test]
fn sixteen_threads_append_and_the_chain_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    for number in 1..=16 {
        store.append(opened(number), None).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 1..=16 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for turn in 0..40 {
                    let text = format!("{thread}/{turn}");
                    let record = store.append(comment(thread, &text), None).unwrap();
                    let issue = store.issue(IssueNumber(thread)).unwrap().unwrap();
                    assert_eq!(issue.comments.last().unwrap().content, text);
                    assert!(store.head().0 > record.seq, "readers see their own writes");
                }
            });
        }
    });
    assert_eq!(store.head().0, 16 + 16 * 40);
    let before = view(&store);
    for (issue, records) in &before.issues {
        let said: Vec<_> = issue.comments.iter().map(|it| it.content.clone()).collect();
        let wanted: Vec<_> = (0..40)
            .map(|turn| format!("{}/{turn}", issue.number))
            .collect();
        assert_eq!(said, wanted);
        assert_eq!(records.len(), 41);
    }
    assert_eq!(verify(dir.path()).unwrap().records, 656);
    drop(store);
    assert_eq!(view(&open(dir.path())), before);
}

/// A tool call, its judgement by generation `generation`.
fn call(id: u128, generation: u64) -> Event {
    Event::ToolCalled(ToolDecision {
        id: DecisionId(Uuid::from_u128(id)),
        phase: AgentPhase::Diagnosis,
        facts: ToolCallFacts {
            tool: "Bash".to_owned(),
            input: "{}".to_owned(),
            commands: Vec::new(),
            parsed: true,
            paths: Vec::new(),
            network: Vec::new(),
            bytes: 0,
        },
        judgement: Judgement::merge(generation, Vec::new()),
        external: None,
    })
}

#[test]
fn the_latest_decisions_are_found_without_reading_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(opened(1), None).unwrap();
    store.append(about(1, approved()), None).unwrap();
    store.append(about(1, diagnosis_started()), None).unwrap();
    let mut calls = Vec::new();
    for number in 0..40 {
        store.append(comment(1, "well"), None).unwrap();
        let record = store.append(about(1, call(number, 3)), None).unwrap();
        calls.push(record.seq);
        let refused = Event::PolicyRefused {
            source: ChangeSource::File,
            reason: "no".to_owned(),
        };
        store.append(hosts(refused), None).unwrap();
    }
    calls.reverse();
    let check = |store: &dyn EventStore| {
        assert_eq!(store.decisions(None, 1000).unwrap(), calls);
        assert_eq!(store.decisions(None, 3).unwrap(), calls[..3]);
        assert_eq!(store.decisions(Some(calls[2]), 2).unwrap(), calls[3..5]);
        assert_eq!(store.decisions(Some(0), 9).unwrap(), [0; 0]);
        assert_eq!(store.policy_changes(None, 1000).unwrap().len(), 40);
        let id = DecisionId(Uuid::from_u128(39));
        assert_eq!(store.decision(id).unwrap(), Some(calls[0]));
        let nobody = DecisionId(Uuid::from_u128(40));
        assert_eq!(store.decision(nobody).unwrap(), None);
        let record = store.record(calls[0]).unwrap().unwrap();
        assert!(matches!(record.event, Event::ToolCalled(found) if found.id == id));
        assert_eq!(store.record(9_999).unwrap(), None);
    };
    check(&store);
    let before = store.rows_read();
    store.decisions(None, 5).unwrap();
    assert_eq!(store.rows_read() - before, 5, "costs the page");
    drop(store);
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    let store = open(dir.path());
    check(&store);
}

#[test]
fn tokens_come_and_go_and_survive_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ada = || UserName::new("ada").unwrap();
    let token = |label: &str, digit: &str| AccessToken {
        name: label.to_owned(),
        digest: digit.repeat(64),
        scopes: vec![Scope::Read],
        created_at: at(1),
        expires_at: None,
        last_used: None,
    };
    let created = |token| Event::TokenCreated { name: ada(), token };
    let id = |digit: &str| digit.repeat(16);
    let nobody = Event::TokenCreated {
        name: UserName::new("nobody").unwrap(),
        token: token("ci", "c"),
    };
    let changed = |who: &str, change| Event::UserChanged {
        name: UserName::new(who).unwrap(),
        change,
    };
    for event in [
        Event::UserSaved(account("ada")),
        created(token("ci", "a")),
        created(token("laptop", "b")),
        Event::TokenUsed {
            name: ada(),
            id: id("b"),
        },
        Event::TokenRevoked {
            name: ada(),
            id: id("a"),
        },
        changed(
            "ada",
            AccountChange::Role {
                role: Role::Auditor,
            },
        ),
        changed("ada", AccountChange::Disabled),
        changed("nobody", AccountChange::Disabled),
        nobody,
    ] {
        store.append(hosts(event), None).unwrap();
    }
    let accounts = store.accounts().unwrap();
    let [account] = accounts.as_slice() else {
        panic!("a token makes no account: {accounts:?}");
    };
    assert!(account.token_digest.is_some());
    assert_eq!(
        (account.role, account.standing),
        (Role::Auditor, Standing::Disabled)
    );
    assert_eq!(account.tokens.len(), 1);
    assert_eq!(account.tokens[0].name, "laptop");
    let used = store.records(None, 3, 1).unwrap()[0].at;
    assert_eq!(account.tokens[0].last_used, Some(used));
    drop(store);
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    assert_eq!(open(dir.path()).accounts().unwrap(), accounts);
}
