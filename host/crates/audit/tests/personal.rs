//! Personal data is not in the record's bytes, comes back with its key, and is gone
//! with it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chrono::{DateTime, TimeZone, Utc};
use selfheal_audit::personal::{SealError, SubjectKey, Subjects, seal};
use selfheal_audit::{ChainVerifier, Entry, StoredEvent};
use selfheal_domain::account::{AccountChange, Standing};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Approval, Event, NewRecord, ReviewAnswer};
use selfheal_domain::ids::{CommentId, IssueId, IssueNumber};
use selfheal_domain::issue::{Category, Comment, CommentRole, Priority, Severity, Source};
use selfheal_domain::report::Report;
use selfheal_domain::run::RetryFrom;
use selfheal_domain::token::{AccessToken, Scope};
use selfheal_domain::user::{Account, Actor, ERASED, Role, TrustClass, UserName};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Default)]
struct Keys {
    names: RefCell<HashMap<String, Arc<SubjectKey>>>,
    nonces: Cell<u8>,
}

impl Subjects for Keys {
    fn of_name(&self, name: &str, make: bool) -> Result<Option<Arc<SubjectKey>>, SealError> {
        let mut names = self.names.borrow_mut();
        if make && !names.contains_key(name) {
            let number = u8::try_from(names.len()).unwrap();
            let key = SubjectKey::new(&format!("s{number}"), &[number; 32]).unwrap();
            names.insert(name.to_owned(), Arc::new(key));
        }
        Ok(names.get(name).cloned())
    }
    fn of_id(&self, id: &str) -> Option<Arc<SubjectKey>> {
        let names = self.names.borrow();
        names.values().find(|key| key.id() == id).cloned()
    }
    fn nonce(&self) -> Result<[u8; 12], SealError> {
        self.nonces.set(self.nonces.get() + 1);
        Ok([self.nonces.get(); 12])
    }
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn comment(role: CommentRole, author: &str) -> Event {
    Event::IssueCommented(Comment {
        id: CommentId(Uuid::nil()),
        author: author.to_owned(),
        role,
        content: "call me: rita@example.org".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
    })
}

fn opened(by: Actor) -> Event {
    Event::IssueOpened {
        id: IssueId(Uuid::nil()),
        number: IssueNumber(1),
        report: Report {
            title: "rita cannot log in".to_owned(),
            description: "rita@example.org".to_owned(),
            steps_to_reproduce: Some("ask rita".to_owned()),
            expected_behavior: None,
            actual_behavior: Some("rita is told to go".to_owned()),
            severity: Severity::Medium,
            priority: Priority::P2,
            source: Source::Web,
            category: Category::Bug,
            service: None,
            fingerprint: None,
            trust: TrustClass::Member,
        },
        reported_by: by,
    }
}

fn stored(keys: &Keys, event: Event, actor: Actor) -> Entry {
    let plain = StoredEvent::of(&event, |_, _| {}).unwrap();
    let (event, actor) = seal(plain, &actor, keys).unwrap();
    Entry {
        seq: 0,
        at: DateTime::UNIX_EPOCH,
        actor,
        issue: None,
        event,
        previous: Digest([0; 32]),
    }
}

fn rita_token() -> AccessToken {
    AccessToken {
        name: "rita's laptop".into(),
        digest: "ab".repeat(32),
        scopes: vec![Scope::Read],
        created_at: Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap(),
        expires_at: None,
        last_used: None,
    }
}

#[test]
fn every_place_of_a_user_is_encrypted_and_erased_with_the_key() {
    let rita = || Actor::User(name("rita"));
    let account = Account {
        name: name("rita"),
        role: Role::User,
        token_digest: None,
        password_hash: None,
        tokens: vec![rita_token()],
        subject: None,
        standing: Standing::Open,
    };
    let approval = || Approval::Admin { name: name("rita") };
    let reviewed = Event::PatchReviewed {
        reviewer: rita(),
        digest: Digest([1; 32]),
        answer: ReviewAnswer::Approved,
    };
    let events = [
        opened(rita()),
        comment(CommentRole::User, "rita"),
        comment(CommentRole::Admin, "rita"),
        Event::IssueApproved(approval()),
        Event::IssueRetried {
            approval: approval(),
            from: RetryFrom::Prove,
        },
        Event::SessionOpened { name: name("rita") },
        Event::SessionClosed { name: name("rita") },
        Event::TokenCreated {
            name: name("rita"),
            token: rita_token(),
        },
        Event::TokenRevoked {
            name: name("rita"),
            id: "ab".repeat(8),
        },
        Event::TokenUsed {
            name: name("rita"),
            id: "ab".repeat(8),
        },
        Event::SessionRefused {
            name: "rita".to_owned(),
        },
        Event::UserSaved(account),
        Event::UserChanged {
            name: name("rita"),
            change: AccountChange::Disabled,
        },
        reviewed,
        Event::HostStopped,
    ];
    for event in events {
        let keys = Keys::default();
        let before = NewRecord {
            at: DateTime::UNIX_EPOCH,
            actor: rita(),
            issue: None,
            event: event.clone(),
        };
        let entry = stored(&keys, event.clone(), rita());
        let sealed = entry.seal();
        let bytes = String::from_utf8_lossy(&sealed.stored).into_owned();
        assert!(!bytes.contains("rita"), "{bytes}");
        let (canonical, _) = Entry::split(&sealed.stored).unwrap();
        let again = Entry::parse(canonical).unwrap();
        assert_eq!(again, entry);
        let read = again.record(sealed.hash, &keys).unwrap();
        assert_eq!((read.actor, &read.event), (before.actor, &event));

        keys.names.borrow_mut().clear();
        let read = again.record(sealed.hash, &keys).unwrap();
        let text = format!("{read:?}");
        assert!(!text.contains("rita"), "{text}");
        assert_eq!(read.actor.to_string(), ERASED);
        if let Event::IssueCommented(comment) = &read.event {
            assert_eq!([&comment.author, &comment.content], [ERASED, ERASED]);
        }
        if let Event::IssueOpened { report, .. } = &read.event {
            assert_eq!([&report.title, &report.description], [ERASED, ERASED]);
            assert_eq!(report.steps_to_reproduce.as_deref(), Some(ERASED));
            assert_eq!(report.expected_behavior, None);
        }
        // The chain is over what is stored.
        ChainVerifier::new().check(&sealed.stored).unwrap();
    }
}

#[test]
fn what_is_nobodys_stays_as_it_is() {
    let keys = Keys::default();
    let host = |event| stored(&keys, event, Actor::Host);
    for event in [
        comment(CommentRole::Agent, "engine:builtin"),
        opened(Actor::Host),
        Event::SessionRefused {
            name: "hunter2".to_owned(),
        },
        Event::HostStopped,
    ] {
        let entry = host(event.clone());
        assert!(!entry.event.sealed);
        assert_eq!(entry.canonical()[..2], [0, 1], "the first version");
        assert_eq!(entry.event.event().unwrap(), event);
    }
    assert!(
        keys.names.borrow().is_empty(),
        "no key for whatever was typed"
    );
    // What looks encrypted but was typed comes back as it was typed.
    let typed = "sealed:1:s0:AAAA";
    let mut event = comment(CommentRole::User, "rita");
    if let Event::IssueCommented(comment) = &mut event {
        comment.content = typed.to_owned();
    }
    let entry = host(event.clone());
    let hash = entry.seal().hash;
    assert_eq!(entry.record(hash, &keys).unwrap().event, event);
}

#[test]
fn a_text_moved_to_another_place_does_not_open() {
    let keys = Keys::default();
    let comment = stored(&keys, comment(CommentRole::User, "rita"), Actor::Host);
    let mut data: serde_json::Value = serde_json::from_slice(&comment.event.payload).unwrap();
    data["author"] = data["content"].clone();
    let moved = Entry {
        event: StoredEvent {
            payload: serde_json::to_vec(&data).unwrap(),
            ..comment.event.clone()
        },
        ..comment
    };
    let read = moved.record(moved.seal().hash, &keys).unwrap();
    let Event::IssueCommented(comment) = read.event else {
        panic!("another event")
    };
    assert_eq!(comment.author, ERASED);
    assert_eq!(comment.content, "call me: rita@example.org");
}
