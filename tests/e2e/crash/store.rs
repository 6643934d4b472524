//! The journal and its projection alone, many times: `selfheal user add` opens the store,
//! appends one record and closes it, and dies anywhere in between.

use crate::programs::cart;
use selfheal_faults::{Fault, Moment, Traced, Where};
use selfheal_tests::Project;
use std::io::Read;
use std::path::Path;

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Kill,
    PowerCut,
}

/// Adds one account; gives its token, if it came to that, and what was seen.
fn add(project: &Project, name: &str, fault: Option<Fault>) -> (String, selfheal_faults::Trace) {
    let root = project.outside();
    let mut command = project.command(&root, &["user", "add", name, "--role", "user"]);
    command.stderr(std::process::Stdio::null());
    let (traced, mut stdout) = Traced::start(command, &root, fault).unwrap();
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    (said, traced.wait())
}

/// Names of all accounts that are on record, from the files.
fn recorded(project: &Project, root: &Path) -> Vec<String> {
    let log = project.selfheal_in(root, &["audit", "log", "--json"]);
    assert_eq!(log.code, 0, "{log:?}");
    log.stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|record| record["event"]["type"] == "user.saved")
        .map(|record| {
            record["event"]["data"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// Dies `times` times, at calls spread over all, before and after.
fn dies(times: usize, end: End) {
    let project = cart();
    let root = project.outside();
    let arguments = ["init", "--app", "app", "--data", "data"];
    assert_eq!(project.selfheal_in(&root, &arguments).code, 0);
    let (token, seen) = add(&project, "first", None);
    assert!(!token.is_empty());
    assert!(seen.unknown.is_empty(), "{:?}", seen.unknown);
    let mut acknowledged = vec!["first".to_owned()];
    let mut hits = 0;
    for round in 0..times {
        let name = format!("user{round}");
        let fault = Fault::Kill {
            at: Where::Nth(round * 7919 % seen.points.len()),
            moment: [Moment::Before, Moment::After][round % 2],
        };
        let (token, trace) = add(&project, &name, Some(fault));
        hits += usize::from(trace.hit.is_some());
        if !token.is_empty() {
            acknowledged.push(name);
        }
        if end == End::PowerCut {
            trace.disk.cut(round as u64).unwrap();
        }
        let what = format!("{end:?} number {round} at {:?}", trace.hit);
        // The next start moves aside what was never finished; then the log holds.
        let next = format!("next{round}");
        assert!(
            !add(&project, &next, None).0.is_empty(),
            "{what}: it goes on"
        );
        acknowledged.push(next);
        let verified = project.selfheal_in(&root, &["audit", "verify"]);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
        let recorded = recorded(&project, &root);
        for name in &acknowledged {
            let kept = recorded.iter().filter(|it| *it == name).count();
            assert_eq!(kept, 1, "{what}: {name} in {recorded:?}");
        }
    }
    eprintln!(
        "{end:?}: {hits} of {times} came to that, {} acknowledged",
        acknowledged.len()
    );
    assert!(hits * 2 > times, "{hits} of {times}");
}

#[test]
fn a_killed_store_keeps_what_it_acknowledged() {
    dies(8, End::Kill);
}

#[test]
fn a_store_without_power_keeps_what_it_acknowledged() {
    dies(12, End::PowerCut);
}

#[test]
#[ignore = "minutes; for a thorough look"]
fn many_kills() {
    dies(1000, End::Kill);
}

#[test]
#[ignore = "minutes; for a thorough look"]
fn many_power_cuts() {
    dies(400, End::PowerCut);
}
