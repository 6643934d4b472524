//! The trust class of a session: where it begins, what lowers it, that it never rises,
//! that every fall is on record before policies are asked again.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

mod support;

use selfheal_domain::event::Event;
use selfheal_domain::ports::Workbench;
use selfheal_domain::tools::{ToolError, ToolRequest, Tools, WorkspaceAccess};
use selfheal_domain::user::TrustClass;
use std::sync::atomic::Ordering;
use support::{Bench, bash, mcp, read, text, write};

/// What was recorded as a fall.
fn falls(bench: &Bench) -> Vec<(TrustClass, String)> {
    let events = bench.recorder.events.lock().expect("lock");
    let fall = |event: &Event| match event {
        Event::TrustLowered { trust, source } => Some((*trust, source.clone())),
        _ => None,
    };
    events.iter().filter_map(fall).collect()
}

/// The class that policies see after a call.
fn after(bench: &Bench, tools: &dyn Tools, request: ToolRequest) -> TrustClass {
    let _came = tools.call(request);
    let _next = tools.call(read("src/a.py"));
    bench.policies.trust()
}

fn grep(pattern: &str) -> ToolRequest {
    ToolRequest::Grep {
        pattern: pattern.to_owned(),
        glob: None,
    }
}

#[test]
fn a_session_begins_with_the_class_of_its_texts() {
    let bench = Bench::new();
    for class in [TrustClass::Admin, TrustClass::Member, TrustClass::Machine] {
        let mut spec = bench.spec();
        spec.trust = class;
        let tools = bench.workbench.for_diagnosis(spec);
        let _read = tools.call(read("src/a.py"));
        assert_eq!(bench.policies.trust(), class);
    }
    assert_eq!(falls(&bench), []);
}

#[test]
fn files_that_git_knows_and_the_machine_of_the_operators_lower_nothing() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    for request in [
        read("src/a.py"),
        grep("other"),
        bash("cat src/a.py /etc/hostname; ls", WorkspaceAccess::Discard),
        ToolRequest::Glob {
            pattern: "**".to_owned(),
        },
        ToolRequest::Task {
            description: "look".to_owned(),
            prompt: "look".to_owned(),
        },
        read("nowhere.txt"),
        mcp("unknown", "x"),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(
            after(&bench, tools.as_ref(), request),
            TrustClass::Member,
            "{shown}"
        );
    }
    assert_eq!(falls(&bench), []);
}

#[test]
fn text_of_nobody_lowers_it_to_the_lowest() {
    for request in [
        read("notes.txt"),
        grep("nobody"),
        bash("cat notes.txt", WorkspaceAccess::Discard),
        bash("cat < notes.txt", WorkspaceAccess::Discard),
    ] {
        let bench = Bench::new();
        let tools = bench.diagnosis();
        let shown = format!("{request:?}");
        assert_eq!(
            after(&bench, tools.as_ref(), request),
            TrustClass::Machine,
            "{shown}"
        );
        assert_eq!(
            falls(&bench),
            [(TrustClass::Machine, "file:notes.txt".to_owned())],
            "{shown}"
        );
    }
}

#[test]
fn a_session_that_reads_text_of_nobody_and_a_contained_agent_fall_as_well() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    drop(
        tools
            .session(bash("cat notes.txt", WorkspaceAccess::Discard))
            .expect("started"),
    );
    let _next = tools.call(read("src/a.py"));
    assert_eq!(bench.policies.trust(), TrustClass::Machine);
    for request in [read("notes.txt"), grep("anything")] {
        let bench = Bench::new();
        let tools = bench.diagnosis();
        let _judged = tools.judge(&request).expect("allowed");
        let _next = tools.call(read("src/a.py"));
        assert_eq!(bench.policies.trust(), TrustClass::Machine);
    }
}

#[test]
fn an_mcp_server_is_external_whatever_it_answers_and_nothing_rises_again() {
    for tool in ["close", "die", "unknown", "tools/list"] {
        let bench = Bench::new();
        let tools = bench.diagnosis();
        let class = after(&bench, tools.as_ref(), mcp("tickets", tool));
        assert_eq!(class, TrustClass::External, "{tool}");
        assert_eq!(
            falls(&bench),
            [(TrustClass::External, format!("mcp__tickets__{tool}"))]
        );
    }
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let offered = tools.mcp_tools();
    assert!(!offered.is_empty());
    let _next = tools.call(read("src/a.py"));
    assert_eq!(
        bench.policies.trust(),
        TrustClass::External,
        "descriptions are text"
    );
    assert_eq!(
        after(&bench, tools.as_ref(), read("notes.txt")),
        TrustClass::Machine
    );
    assert_eq!(
        after(&bench, tools.as_ref(), mcp("tickets", "close")),
        TrustClass::Machine
    );
    let falls: Vec<TrustClass> = falls(&bench).into_iter().map(|(class, _)| class).collect();
    assert_eq!(falls, [TrustClass::External, TrustClass::Machine]);
}

#[test]
fn what_the_run_itself_wrote_lowers_nothing() {
    let bench = Bench::new();
    let tools = bench.drafting();
    tools.call(write("new.txt", "mine\n")).expect("written");
    assert_eq!(text(tools.call(read("new.txt"))), "mine\n");
    assert_eq!(
        after(&bench, tools.as_tools(), read("new.txt")),
        TrustClass::Member
    );
}

#[test]
fn text_whose_class_cannot_be_recorded_is_not_handed_out() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    bench.recorder.distrusts.store(true, Ordering::SeqCst);
    let answer = tools.call(mcp("tickets", "close"));
    assert!(matches!(answer, Err(ToolError::Unavailable(_))));
    bench.recorder.distrusts.store(false, Ordering::SeqCst);
    let _next = tools.call(read("src/a.py"));
    assert_eq!(
        bench.policies.trust(),
        TrustClass::External,
        "it fell all the same"
    );
    // The next text of that class has to be on record, too, before it is handed out.
    assert_eq!(falls(&bench), []);
    bench.recorder.distrusts.store(true, Ordering::SeqCst);
    let answer = tools.call(mcp("tickets", "close"));
    assert!(matches!(answer, Err(ToolError::Unavailable(_))));
    bench.recorder.distrusts.store(false, Ordering::SeqCst);
    tools.call(mcp("tickets", "close")).expect("an answer");
    tools.call(mcp("tickets", "close")).expect("an answer");
    assert_eq!(falls(&bench).len(), 1);
}
