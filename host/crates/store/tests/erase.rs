//! Personal data is on disk encrypted only, and gone for good once it is erased.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_domain::account::Standing;
use selfheal_domain::event::Event;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::EventStore;
use selfheal_domain::token::{AccessToken, Scope};
use selfheal_domain::user::{Account, ERASED, Role, UserName};
use selfheal_domain::view::SavedView;
use selfheal_store::{EraseError, JournalReader, JournalStore};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::*;

const SAID: &str = "call me tonight";

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn account(text: &str, role: Role) -> Event {
    Event::UserSaved(Account {
        name: name(text),
        role,
        token_digest: Some("5e".repeat(32)),
        password_hash: None,
        tokens: Vec::new(),
        subject: None,
        standing: Standing::Open,
    })
}

fn token(label: &str) -> AccessToken {
    AccessToken {
        name: label.to_owned(),
        digest: "7a".repeat(32),
        scopes: vec![Scope::Read],
        created_at: at(3),
        expires_at: None,
        last_used: None,
    }
}

/// rita and ada have accounts, rita reported and commented.
fn filled(dir: &Path) {
    let store = open(dir);
    store
        .append(hosts(account("ada", Role::Admin)), None)
        .unwrap();
    store
        .append(hosts(account("rita", Role::User)), None)
        .unwrap();
    store.append(opened(1), None).unwrap();
    store.append(comment(1, SAID), None).unwrap();
    store.append(about(1, approved()), None).unwrap();
    let created = Event::TokenCreated {
        name: name("rita"),
        token: token("laptop of rita"),
    };
    store.append(hosts(created), None).unwrap();
    let kept = Event::ViewSaved(SavedView {
        owner: name("rita"),
        name: "rita's calls".to_owned(),
        query: format!("reported-by:rita \"{SAID}\""),
        shared: true,
    });
    store.append(hosts(kept), None).unwrap();
    assert_eq!(store.views(&name("ada")).unwrap().len(), 1);
}

/// Files below `dir` that hold these bytes.
fn holding(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needle));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            if bytes
                .windows(needle.len())
                .any(|part| part == needle.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn check_erased(dir: &Path) {
    assert_eq!(holding(dir, "rita"), [""; 0]);
    assert_eq!(holding(dir, SAID), [""; 0]);
    assert!(verify(dir).is_ok());
    let store = open(dir);
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    assert_eq!(issue.reported_by.to_string(), ERASED);
    assert_eq!(issue.comments[0].author, ERASED);
    assert_eq!(issue.comments[0].content, ERASED);
    let names = store.accounts().unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(store.views(&name("ada")).unwrap(), []);
    assert_eq!(names[0].name, name("ada"));
    let records = store.records(None, 0, usize::MAX).unwrap();
    let erasures = records
        .iter()
        .filter(|record| matches!(record.event, Event::UserErased { .. }));
    assert_eq!(erasures.count(), 1);
    // Others are as they were.
    assert!(format!("{records:?}").contains("ada"));
    let before = view(&store);
    drop(store);
    std::fs::remove_dir_all(dir.join("projection")).unwrap();
    assert_eq!(view(&open(dir)), before);
}

#[test]
fn personal_data_is_encrypted_on_disk_and_erased_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let journal = dir.path().join("journal");
    for text in ["rita", "ada", SAID] {
        assert_eq!(holding(&journal, text), [""; 0], "{text}");
    }
    let keys = dir.path().join("subjects");
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 2);
    for key in std::fs::read_dir(&keys).unwrap() {
        let mode = key.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let store = open(dir.path());
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    assert_eq!(issue.reported_by, user("rita"));
    assert_eq!(issue.comments[0].content, SAID);
    drop(store);
    let before = verify(dir.path()).unwrap();

    let subject = JournalStore::erase(dir.path(), options(), &name("rita"), at(99)).unwrap();
    check_erased(dir.path());
    let after = verify(dir.path()).unwrap();
    assert_eq!(after.records, before.records + 2, "closed, erased");
    let log: Vec<_> = JournalReader::open(dir.path())
        .unwrap()
        .map(|stored| stored.unwrap().record().unwrap())
        .collect();
    assert_eq!(log[3].actor, user("ada"));
    assert!(matches!(&log[8].event, Event::UserErased { subject: it } if *it == subject));

    // Somebody else may come under the name; it is another person.
    let store = open(dir.path());
    store
        .append(hosts(account("rita", Role::User)), None)
        .unwrap();
    assert_eq!(store.accounts().unwrap().len(), 2);
    let issue = store.issue(IssueNumber(1)).unwrap().unwrap();
    assert_eq!(issue.reported_by.to_string(), ERASED);
}

#[test]
fn an_erasure_that_was_interrupted_is_finished_by_the_next_start() {
    // Killed right after the intent, and after the key was gone.
    for key_is_gone in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let keys = dir.path().join("subjects");
        let key = std::fs::read_dir(keys)
            .unwrap()
            .map(|key| key.unwrap().path())
            .find(|key| std::fs::read_to_string(key).unwrap().starts_with("rita\n"))
            .unwrap();
        let id = key.file_stem().unwrap().to_str().unwrap();
        std::fs::write(dir.path().join("erasing"), id).unwrap();
        if key_is_gone {
            std::fs::remove_file(&key).unwrap();
        }
        drop(open(dir.path()));
        assert!(!dir.path().join("erasing").exists());
        check_erased(dir.path());
        // Killed before the intent was taken away: recorded once.
        std::fs::write(dir.path().join("erasing"), id).unwrap();
        drop(open(dir.path()));
        check_erased(dir.path());
    }
}

#[test]
fn nobody_is_erased_who_is_not_there_or_needed() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let erase = |who| JournalStore::erase(dir.path(), options(), &name(who), at(99));
    assert!(matches!(erase("mallory"), Err(EraseError::Unknown(_))));
    assert!(matches!(erase("ada"), Err(EraseError::LastAdmin(_))));
    let store = open(dir.path());
    assert!(
        matches!(erase("rita"), Err(EraseError::Open(_))),
        "a host runs"
    );
    assert_eq!(store.accounts().unwrap().len(), 2);
}
