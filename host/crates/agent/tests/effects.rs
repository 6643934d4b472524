//! Every way from an agent to the world, and that each passes the broker: policies are
//! asked, the intent is on record before anything happens and the outcome after, and
//! where policies deny, ask, break or are silent, or where the record cannot be
//! written, nothing happens (invariants 2, 3 and 8).
//!
//! A new kind of request does not compile until `support::one_of_each` lists it; a new
//! method of `Tools` fails here until it is listed with what proves it harmless.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

mod support;

use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::tools::{ContainedAgent, ToolError, ToolRequest, Tools, WorkspaceAccess};
use selfheal_domain::verdict::{Reason, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Answers, Bench, bash, mcp, one_of_each, picture};

/// How a request goes to the broker.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// The broker carries it out. Sub-agents and MCP tools are calls as well.
    Call,
    /// It starts a process that stays.
    Session,
    /// It starts an agent of another maker.
    Contain,
    /// A contained agent carries it out.
    Judge,
}

/// Every request on every way that takes it.
fn ways() -> Vec<(Way, ToolRequest)> {
    let mut ways = Vec::new();
    for request in one_of_each() {
        ways.push((Way::Call, request.clone()));
        ways.push((Way::Judge, request));
    }
    for access in [WorkspaceAccess::Discard, WorkspaceAccess::ReadOnly] {
        ways.push((Way::Session, bash("echo x > src/a.py; cat", access)));
    }
    let keeps = bash("echo x > src/a.py; cat", WorkspaceAccess::Keep);
    ways.push((Way::Contain, keeps));
    ways
}

/// Goes one way. What stays is ended before this returns.
fn go(tools: &dyn Tools, way: Way, request: ToolRequest) -> Result<(), ToolError> {
    match way {
        Way::Call => tools.call(request).map(drop),
        Way::Session => tools.session(request).map(drop),
        Way::Contain => {
            let agent = ContainedAgent {
                request,
                environment: BTreeMap::new(),
                visible: Vec::new(),
                gateway: None,
            };
            let mut session = tools.contain(agent)?;
            // It has written once it answers.
            session.send("done").expect("sent");
            session.receive(Duration::from_secs(20)).expect("answered");
            Ok(())
        }
        Way::Judge => {
            let judged = tools.judge(&request)?;
            tools.finished(judged, ToolOutcome::Succeeded("done".to_owned()))
        }
    }
}

#[test]
fn what_is_not_allowed_does_not_happen_and_is_recorded() {
    let reason = Reason::new("test.no", "not today");
    for answer in [
        Answers::Verdict(Verdict::Deny(reason.clone())),
        Answers::Verdict(Verdict::Ask(reason)),
        Answers::Fault,
        Answers::Silence,
    ] {
        let bench = Bench::with(answer.clone());
        let before = bench.picture();
        for (way, request) in ways() {
            bench.recorder.clear();
            bench.policies.seen.lock().expect("lock").clear();
            let tools = bench.drafting();
            let error = go(tools.as_tools(), way, request.clone()).expect_err("denied");
            let shown = format!("{answer:?} {way:?} {request:?}: {error}");
            assert!(matches!(error, ToolError::Denied(_)), "{shown}");
            assert_eq!(
                bench.policies.seen.lock().expect("lock").len(),
                1,
                "{shown}"
            );
            assert_eq!(bench.recorder.names(), ["called", "finished"], "{shown}");
            assert!(
                matches!(bench.recorder.outcome(), ToolOutcome::Failed(_)),
                "{shown}"
            );
            assert!(
                bench.servers.reached.lock().expect("lock").is_empty(),
                "{shown}"
            );
            assert_eq!(tools.changes().expect("readable"), [], "{shown}");
            assert_eq!(bench.picture(), before, "{shown}");
        }
    }
}

#[test]
fn what_cannot_be_recorded_does_not_happen() {
    let bench = Bench::new();
    bench.recorder.refuses.store(true, Ordering::SeqCst);
    let before = bench.picture();
    for (way, request) in ways() {
        let tools = bench.drafting();
        let error = go(tools.as_tools(), way, request.clone()).expect_err("no record");
        let shown = format!("{way:?} {request:?}: {error}");
        assert!(matches!(error, ToolError::Unavailable(_)), "{shown}");
        assert!(
            bench.servers.reached.lock().expect("lock").is_empty(),
            "{shown}"
        );
        assert_eq!(bench.picture(), before, "{shown}");
    }
}

#[test]
fn what_is_allowed_is_on_record_before_it_happens_and_afterwards() {
    for (way, request) in ways() {
        let bench = Bench::new();
        let tools = bench.drafting();
        let before = bench.picture();
        let seen_at_intent = Arc::new(Mutex::new(Vec::new()));
        let look = {
            let seen = Arc::clone(&seen_at_intent);
            let base = bench.base.clone();
            let reached = Arc::clone(&bench.servers.reached);
            move || {
                let reached = reached.lock().expect("lock").len();
                seen.lock().expect("lock").push((files(&base), reached));
            }
        };
        *bench.recorder.at_intent.lock().expect("lock") = Some(Box::new(look));
        let shown = format!("{way:?} {request:?}");
        go(tools.as_tools(), way, request.clone()).expect(&shown);
        drop(tools);
        for (files, reached) in seen_at_intent.lock().expect("lock").iter() {
            assert_eq!(*files, before, "{shown}: before its record");
            assert_eq!(*reached, 0, "{shown}: before its record");
        }
        let names = bench.recorder.names();
        let count = |name: &str| names.iter().filter(|known| **known == name).count();
        // The process of an MCP server is a call of its own.
        let calls = if request == mcp("local", "echo") && way == Way::Call {
            2
        } else {
            1
        };
        assert_eq!(names.first(), Some(&"called"), "{shown}: {names:?}");
        assert_eq!(
            (count("called"), count("finished")),
            (calls, calls),
            "{shown}: {names:?}"
        );
        assert_eq!(
            bench.policies.seen.lock().expect("lock").len(),
            calls,
            "{shown}"
        );
    }
}

/// An effect whose outcome cannot be recorded tells the agent nothing.
#[test]
fn what_has_no_recorded_outcome_is_not_told() {
    for (way, request) in ways() {
        if !matches!(way, Way::Call | Way::Judge) {
            // Its outcome is recorded when it ends.
            continue;
        }
        let bench = Bench::new();
        bench.recorder.forgets.store(true, Ordering::SeqCst);
        let tools = bench.drafting();
        let error = go(tools.as_tools(), way, request.clone()).expect_err("no outcome");
        assert!(
            matches!(error, ToolError::Unavailable(_)),
            "{request:?}: {error}"
        );
    }
}

#[test]
fn asking_servers_what_they_offer_passes_the_broker() {
    let bench = Bench::with(Answers::Silence);
    let tools = bench.diagnosis();
    assert_eq!(tools.mcp_tools(), []);
    assert!(bench.servers.reached.lock().expect("lock").is_empty());
    assert_eq!(
        bench.recorder.names(),
        ["called", "finished", "called", "finished"]
    );

    let bench = Bench::new();
    let tools = bench.diagnosis();
    let offered = tools.mcp_tools();
    let names: BTreeSet<String> = offered.iter().map(|tool| tool.name()).collect();
    assert!(names.contains("mcp__tickets__close") && names.contains("mcp__local__echo"));
    assert!(
        offered
            .iter()
            .all(|tool| !tool.description.contains("AKIA"))
    );
    let asked: Vec<String> = bench
        .policies
        .seen
        .lock()
        .expect("lock")
        .iter()
        .map(|facts| facts.tool.clone())
        .collect();
    assert_eq!(
        asked,
        ["mcp__tickets__tools/list", "mcp__local__tools/list", "Bash"]
    );
    // Known now: nobody is asked again.
    let records = bench.recorder.names().len();
    assert_eq!(tools.mcp_tools(), offered);
    assert_eq!(bench.recorder.names().len(), records);
}

/// What an agent is handed besides tools that judge.
#[test]
fn the_door_has_no_method_that_is_not_listed() {
    let effects = BTreeSet::from(["call", "session", "contain", "judge", "mcp_tools"]);
    // The record of an outcome; two constant paths; a note for people who watch, masked,
    // never stored; a flag.
    let harmless = BTreeSet::from(["finished", "workspace", "assets", "progress", "cancelled"]);
    let source = include_str!("../../domain/src/tools.rs");
    let door = source
        .split("pub trait Tools: Send + Sync {")
        .nth(1)
        .expect("the trait");
    let door = door.split("\n}").next().expect("its end");
    let methods: BTreeSet<&str> = door
        .lines()
        .filter_map(|line| line.strip_prefix("    fn ")?.split('(').next())
        .collect();
    let listed: BTreeSet<&str> = effects.union(&harmless).copied().collect();
    assert_eq!(methods, listed);
}

/// A policy that was asked about one thing was not asked about another: what the record
/// names is what the request says.
#[test]
fn what_is_recorded_is_what_was_asked() {
    let bench = Bench::with(Answers::Silence);
    for (way, request) in ways() {
        bench.recorder.clear();
        bench.policies.seen.lock().expect("lock").clear();
        let tools = bench.drafting();
        let _denied = go(tools.as_tools(), way, request.clone());
        let events = bench.recorder.events.lock().expect("lock");
        let Some(Event::ToolCalled(decision)) = events.first() else {
            panic!("{way:?} {request:?}: {events:?}");
        };
        assert_eq!(decision.facts.tool, request.tool());
        assert_eq!(
            Some(&decision.facts),
            bench.policies.seen.lock().expect("lock").first()
        );
        if let ToolRequest::Mcp { server, .. } = &request {
            let network: &[&str] = if server == "tickets" {
                &["tickets.example:443"]
            } else {
                &[]
            };
            assert_eq!(decision.facts.network, network);
        }
    }
}

fn files(base: &std::path::Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for top in ["app", "data/upper", "outside"] {
        picture(&base.join(top), &mut found);
    }
    found.sort();
    found
}
