//! The query language: what each key means, where errors are, and that nothing breaks it.

use super::*;
use crate::ids::{IssueId, IssueNumber};
use crate::issue::SnoozeEnd;
use crate::user::UserName;
use chrono::{Duration, TimeZone};
use proptest::prelude::*;
use uuid::Uuid;

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap()
}

fn day(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, day, 0, 0, 0).unwrap()
}

fn read(text: &str) -> Result<IssueFilter, QueryError> {
    let ann = UserName::new("ann").unwrap();
    let me = Some(&ann);
    parse(text, Asker { me, now: now() })
}

fn user(name: &str) -> Actor {
    Actor::User(UserName::new(name).unwrap())
}

fn summary() -> IssueSummary {
    IssueSummary {
        id: IssueId(Uuid::nil()),
        number: IssueNumber(7),
        title: "Cart shows 500".to_owned(),
        status: IssueStatus::Open,
        severity: Severity::High,
        priority: Priority::P2,
        source: Source::Web,
        category: Category::Bug,
        service: Some("web".to_owned()),
        reported_by: user("ann"),
        created_at: now() - Duration::days(3),
        updated_at: now() - Duration::hours(1),
        snooze: None,
    }
}

#[test]
fn every_key_says_what_it_should() {
    use Condition as C;
    let cases: &[(&str, Condition)] = &[
        ("status:open", C::Status(vec![IssueStatus::Open])),
        (
            "status:PATCH_PENDING,patch-pending",
            C::Status(vec![IssueStatus::PatchPending; 2]),
        ),
        (
            "severity:>=high",
            C::Severity(vec![Severity::Critical, Severity::High]),
        ),
        ("severity:<medium", C::Severity(vec![Severity::Low])),
        ("priority:>p1", C::Priority(vec![Priority::P0])),
        (
            "priority:<=P2",
            C::Priority(vec![Priority::P2, Priority::P3]),
        ),
        (
            "source:ci,error",
            C::Source(vec![Source::Ci, Source::Error]),
        ),
        ("category:bug", C::Category(vec![Category::Bug])),
        (
            "service:\"my shop\",web",
            C::Service(vec!["my shop".to_owned(), "web".to_owned()]),
        ),
        ("reported-by:me", C::Reporter(vec![user("ann")])),
        (
            "reported-by:bob,me",
            C::Reporter(vec![user("bob"), user("ann")]),
        ),
        ("is:snoozed", C::Snoozed(now())),
        (
            "is:closed",
            C::Status(vec![
                IssueStatus::Rejected,
                IssueStatus::Resolved,
                IssueStatus::Aborted,
            ]),
        ),
        (
            "created:<7d",
            C::Created(Span {
                from: Some(now() - Duration::days(7)),
                before: None,
            }),
        ),
        (
            "updated:>2h",
            C::Updated(Span {
                from: None,
                before: Some(now() - Duration::hours(2)),
            }),
        ),
        (
            "created:2026-11-20",
            C::Created(Span {
                from: Some(day(20)),
                before: Some(day(21)),
            }),
        ),
        (
            "created:>2026-11-20",
            C::Created(Span {
                from: Some(day(21)),
                before: None,
            }),
        ),
        ("Cart", C::Text("cart".to_owned())),
        (
            r#""a \"b\" \\ c: d""#,
            C::Text(r#"a "b" \ c: d"#.to_owned()),
        ),
    ];
    for (text, condition) in cases {
        let wanted = IssueFilter::default().and(condition.clone());
        assert_eq!(read(text).unwrap(), wanted, "{text}");
        let opposite = IssueFilter::default().and_not(condition.clone());
        assert_eq!(read(&format!("-{text}")).unwrap(), opposite, "-{text}");
    }
    let whole = read("  status:open   -web sort:updated ").unwrap();
    assert_eq!(whole.sort, Sort::Updated);
    assert_eq!(whole.terms.len(), 2);
}

#[test]
fn an_error_says_where_it_is_and_what_is_valid() {
    let cases = [
        ("status:opne", 7, 4, "patch-pending"),
        ("cart severty:high", 5, 7, "known: status, severity"),
        ("severity:", 9, 0, "has no value; valid: one of critical"),
        ("status:open,", 12, 0, "valid: one of open"),
        ("say \"hello", 4, 6, "not closed"),
        ("created:7d", 8, 2, "<7d for the last seven days"),
        ("created:<2026-13-01", 9, 10, "2026-01-31"),
        ("updated:<99999999999d", 9, 12, "<7d"),
        ("reported-by:\"Not A Name\"", 12, 12, "the name of a user"),
        ("reported-by:\"me\",Zoë", 17, 3, "the name of a user"),
        ("a - b", 3, 0, "add a text"),
        ("a \"\"", 2, 2, "no text"),
        ("sort:created sort:updated", 13, 12, "once"),
        ("-sort:created", 0, 13, "without"),
        ("sort:severity", 5, 8, "created or updated"),
        ("http://shop/cart", 0, 4, "in quotes"),
        ("is:gone", 3, 4, "waiting"),
    ];
    for (text, at, length, hint) in cases {
        let error = read(text).unwrap_err();
        assert_eq!((error.at, error.length), (at, length), "{text}: {error}");
        assert!(error.message.contains(hint), "{text}: {error}");
    }
    let long = "x".repeat(MAX_CHARS + 1);
    assert_eq!(read(&long).unwrap_err().at, MAX_CHARS);
    let many = "a ".repeat(MAX_TERMS + 1);
    assert!(
        read(&many)
            .unwrap_err()
            .message
            .contains("at most 50 terms")
    );
}

#[test]
fn what_a_list_shows_decides_where_it_can() {
    let fit = |text: &str| read(text).unwrap().on_summary(&summary());
    for yes in [
        "",
        "status:open severity:>=high service:web reported-by:me -is:snoozed",
        "cart 500",
        "created:<7d updated:<2h",
        "is:waiting",
        "-source:api,cli",
    ] {
        assert_eq!(fit(yes), Fit::Yes, "{yes}");
    }
    for no in [
        "status:approved",
        "severity:critical",
        "-cart",
        "created:>7d",
        "is:closed",
        "reported-by:bob",
        "service:Web",
        "blank status:failed",
    ] {
        assert_eq!(fit(no), Fit::No, "{no}");
    }
    let on_text = |text: &str, description: &str| {
        let filter = read(text).unwrap();
        assert_eq!(filter.on_summary(&summary()), Fit::Ask, "{text}");
        filter.on_text(&summary(), description)
    };
    assert!(on_text("cart BLANK", "A Blank page"));
    assert!(!on_text("cart blank", "An empty page"));
    assert!(on_text("-blank", "An empty page"));
    assert!(!on_text("-blank cart", "A Blank page"));
}

#[test]
fn a_snooze_ends_by_itself() {
    let mut it = summary();
    let snoozed = |it: &IssueSummary, at| {
        let asker = Asker { me: None, now: at };
        parse("is:snoozed", asker).unwrap().on_summary(it) == Fit::Yes
    };
    assert!(!snoozed(&it, now()));
    it.snooze = Some(SnoozeEnd::At { until: day(22) });
    assert!(snoozed(&it, now()));
    assert!(!snoozed(&it, day(22)));
    it.snooze = Some(SnoozeEnd::News);
    assert!(snoozed(&it, day(30)));
}

#[test]
fn the_states_and_the_reporter_choose_the_index() {
    let states = |text: &str| read(text).unwrap().statuses();
    assert_eq!(states("is:open").len(), 9);
    assert_eq!(states("is:open status:open"), [IssueStatus::Open]);
    assert_eq!(states("status:open is:closed"), []);
    assert_eq!(states("-is:open -status:aborted").len(), 2);
    let mut filter = read("reported-by:bob").unwrap();
    assert_eq!(filter.reporter(), Some(&user("bob")));
    filter.restrict_to(user("ann"));
    assert_eq!(filter.reporter(), Some(&user("ann")));
    assert_eq!(filter.on_summary(&summary()), Fit::No, "both hold");
    assert_eq!(read("-reported-by:bob").unwrap().reporter(), None);
    assert_eq!(read("reported-by:bob,me").unwrap().reporter(), None);
}

/// A term as somebody might type it, with what it means.
fn term() -> impl Strategy<Value = (String, Condition)> {
    let status = prop::sample::subsequence(IssueStatus::ALL.to_vec(), 1..4).prop_map(|wanted| {
        let names: Vec<String> = wanted
            .iter()
            .map(|one| one.as_str().to_lowercase().replace('_', "-"))
            .collect();
        (
            format!("status:{}", names.join(",")),
            Condition::Status(wanted),
        )
    });
    let service = "[ -~äß]{1,12}".prop_map(|name| {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        (
            format!("service:\"{quoted}\""),
            Condition::Service(vec![name]),
        )
    });
    let text = "\\PC{1,12}".prop_map(|text| {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        (format!("\"{quoted}\""), Condition::text(&text))
    });
    let word = "[a-zA-Z0-9äß.,/()]{1,12}".prop_map(|word| (word.clone(), Condition::text(&word)));
    let age = (1..5_000_u32).prop_map(|days| {
        let from = Some(now() - Duration::days(days.into()));
        let span = Span { from, before: None };
        (format!("created:<{days}d"), Condition::Created(span))
    });
    prop_oneof![status, service, text, word, age]
}

proptest! {
    #[test]
    fn what_was_typed_is_what_is_meant(
        terms in prop::collection::vec((term(), any::<bool>()), 0..12),
        gap in "[ \\t\u{a0}]{1,3}",
    ) {
        let texts: Vec<String> = terms
            .iter()
            .map(|((text, _), negated)| format!("{}{text}", if *negated { "-" } else { "" }))
            .collect();
        let wanted: Vec<Term> = terms
            .into_iter()
            .map(|((_, condition), negated)| Term { condition, negated })
            .collect();
        prop_assert_eq!(read(&texts.join(&gap)).unwrap().terms, wanted);
    }

    #[test]
    fn no_text_breaks_it(text in "\\PC{0,60}|[-:\"\\\\<>=,a-z0-9 ]{0,60}") {
        if let Err(error) = read(&text) {
            prop_assert!(error.at + error.length <= text.chars().count(), "{}", error);
            prop_assert!(!error.message.is_empty());
        }
    }
}
