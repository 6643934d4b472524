//! A host that is killed loses nothing it acknowledged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use selfheal_domain::event::Event;
use selfheal_domain::ports::EventStore;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use support::*;

const DIRECTORY: &str = "SELFHEAL_STORE_CRASH_TEST_DIRECTORY";

/// What the child does: appends from several threads, and says on its output what
/// was acknowledged, until it is killed. Not a test of its own.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = Arc::new(open(&PathBuf::from(directory)));
    let output = Arc::new(Mutex::new(std::io::stdout()));
    let say = move |record: &selfheal_domain::event::Record| {
        let line = format!("acknowledged {} {}\n", record.seq, record.hash);
        output.lock().unwrap().write_all(line.as_bytes()).unwrap();
    };
    let number = Mutex::new(store.last_issue_number().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let (store, say, number) = (Arc::clone(&store), say.clone(), &number);
            scope.spawn(move || {
                for turn in 0_u64.. {
                    if (thread + turn).is_multiple_of(3) {
                        let mut last = number.lock().unwrap();
                        say(&store.append(opened(*last + 1), None).unwrap());
                        *last += 1;
                    } else {
                        let name = "x".repeat((turn % 900) as usize);
                        say(&store
                            .append(hosts(Event::SessionRefused { name }), None)
                            .unwrap());
                    }
                }
            });
        }
    });
}

#[test]
fn a_host_killed_while_appending_loses_nothing_it_acknowledged() {
    killed(5, |round| round * 70);
}

/// From the first append to some hundreds, on logs that grow and on new ones.
#[test]
#[ignore = "minutes; for a thorough look"]
fn a_thousand_kills_lose_nothing_that_was_acknowledged() {
    for log in 0..50 {
        killed(20, |round| (log * 20 + round) * 7919 % 97);
    }
}

/// Kills the child `rounds` times, each time after as many acknowledgements as `after`
/// says, on one log.
fn killed(rounds: usize, after: impl Fn(usize) -> usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=rounds {
        #[expect(
            clippy::disallowed_methods,
            reason = "the host to be killed is this test"
        )]
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_appends_until_it_is_killed",
                "--nocapture",
            ])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut killed = false;
        // What was acknowledged before the kill may still come out of the pipe after it.
        while let Some(Ok(line)) = lines.next() {
            let mut words = line
                .split(' ')
                .skip_while(|word| !word.ends_with("acknowledged"));
            let (Some(_), Some(seq), Some(hash)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            acknowledged.insert(seq.parse::<u64>().unwrap(), hash.to_owned());
            seen += 1;
            if seen >= after(round).max(1) && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");

        let store = open(dir.path());
        let records = store.records(None, 0, usize::MAX).unwrap();
        for (seq, hash) in &acknowledged {
            let kept = records.get(*seq as usize).map(|it| it.hash.to_string());
            assert_eq!(kept.as_ref(), Some(hash), "record {seq}");
        }
        for (position, record) in records.iter().enumerate() {
            assert_eq!(record.seq, position as u64);
        }
        let last = store.last_issue_number().unwrap();
        let numbers: Vec<_> = list(&store, &Default::default())
            .into_iter()
            .map(|it| it.number.0)
            .collect();
        let wanted: Vec<_> = (1..=last).rev().collect();
        assert_eq!(numbers, wanted, "no gap, none twice");
        let before = view(&store);
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().records, records.len() as u64);
        std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
        assert_eq!(view(&open(dir.path())), before, "the same from scratch");
    }
}
