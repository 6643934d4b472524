//! The keeper with real modules, a log in memory and a clock that stands still.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at a surprise"
)]

#[path = "crash_tests.rs"]
mod crash;
#[path = "../../tests/log/mod.rs"]
mod log;
#[path = "observed_tests.rs"]
mod observed;
#[path = "ratchet_tests.rs"]
mod ratchet;
#[path = "seen_tests.rs"]
mod seen;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "watch_tests.rs"]
mod watch;

use super::{KeeperPlaces, PolicyKeeper, StartError};
use crate::files::crash::point;
use log::{MemoryLog, StillClock};
use selfheal_domain::event::Event;
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::policy::{PolicyContext, PolicyHost};
use selfheal_domain::policy_control::{
    Candidate, ChangeOutcome, ChangeSource, ModuleEdit, ModuleState, PolicyControl, PolicyRefusal,
    Promote, Rollout,
};
use selfheal_domain::ports::{Clock, EventStore};
use selfheal_domain::user::{Actor, UserName};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use support::{bash, context, guardrail, host_with};
use uuid::Uuid;

const ALLOW: &str = "(i32.const 1024)";
const DENY: &str = "(i32.const 1088)";
/// The same reason, as a question.
const ASK: &str = "(i32.store8 (i32.const 1088) (i32.const 1)) (i32.const 1088)";
const TRAP: &str = "(unreachable)";

fn modules() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("allows", guardrail(ALLOW, "")),
        ("asks", guardrail(ASK, "")),
        ("denies", guardrail(DENY, "")),
        ("traps", guardrail(TRAP, "")),
    ]
}

struct World {
    home: tempfile::TempDir,
    log: Arc<MemoryLog>,
    clock: Arc<StillClock>,
}

impl World {
    fn new(text: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("policy.toml"), text).unwrap();
        Self {
            home,
            log: Arc::default(),
            clock: Arc::default(),
        }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("policy.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn try_open(&self) -> Result<Arc<PolicyKeeper>, StartError> {
        let places = KeeperPlaces {
            policy_file: self.file(),
            data: self.home.path().join("data"),
        };
        std::fs::create_dir_all(&places.data).unwrap();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        PolicyKeeper::open(host_with(&modules()), places, clock)
    }

    /// As a start of the host does.
    fn open(&self) -> Arc<PolicyKeeper> {
        self.open_watched().0
    }

    /// Also gives every event as soon as it is recorded.
    fn open_watched(&self) -> (Arc<PolicyKeeper>, Receiver<Event>) {
        let keeper = self.try_open().unwrap();
        let (log, clock) = (Arc::clone(&self.log), Arc::clone(&self.clock));
        let (told, events) = channel();
        let record = move |actor, event: Event| {
            point("before the record is durable");
            log.add(actor, None, clock.now(), event.clone())?;
            point("after the record is durable");
            // Most tests do not listen.
            let _ = told.send(event);
            Ok(())
        };
        let store = Arc::clone(&self.log) as Arc<dyn EventStore>;
        keeper.attach(store, Box::new(record)).unwrap();
        (keeper, events)
    }

    /// Asks about `count` calls in a run and lets the keeper look at the records.
    fn decide(&self, keeper: &PolicyKeeper, run: u128, count: usize) -> Vec<u8> {
        let context = in_run(run);
        let host = keeper.host();
        (0..count)
            .map(|_| {
                let set = host.for_run(context.run);
                let record = self.log.decide(&*set, &context, bash("ls"));
                let Event::ToolCalled(call) = &record.event else {
                    panic!("a call");
                };
                let strictness = call.judgement.strictest().strictness();
                keeper.look_at(&Arc::new(record));
                strictness
            })
            .collect()
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.log
            .events()
            .iter()
            .filter(|event| wanted(event))
            .count()
    }
}

fn in_run(run: u128) -> PolicyContext {
    PolicyContext {
        run: Some(RunRef {
            issue: IssueNumber(7),
            run: RunNumber(1),
            id: RunId(Uuid::from_u128(run)),
        }),
        ..context()
    }
}

/// One guardrail per name, with its mode.
fn text(lines: &[(&str, &str)]) -> String {
    let module = |(name, mode): &(&str, &str)| {
        format!(
            "[[module]]\nname = \"{name}\"\nkind = \"guardrail\"\nsource = \"bundled:{name}\"\nmode = \"{mode}\"\n"
        )
    };
    let modules: String = lines.iter().map(module).collect();
    format!("# ours\nenvironment = \"dev\"\nfour_eyes = false\n{modules}")
}

fn four_eyes(lines: &[(&str, &str)]) -> String {
    text(lines).replace("four_eyes = false", "four_eyes = true")
}

fn user(name: &str) -> Actor {
    Actor::User(UserName::new(name).unwrap())
}

fn mode(name: &str, mode: &str) -> Candidate {
    Candidate::Edits(vec![ModuleEdit {
        name: name.to_owned(),
        mode: Some(mode.to_owned()),
        ..ModuleEdit::default()
    }])
}

fn activate(keeper: &PolicyKeeper, candidate: &Candidate) -> ChangeOutcome {
    keeper
        .activate(candidate, Rollout::Full, &user("ada"), "because")
        .unwrap()
}

fn verdict(keeper: &PolicyKeeper) -> u8 {
    let set = keeper.host().current();
    set.judge_tool_call(&context(), &bash("ls"))
        .verdict
        .strictness()
}

#[test]
fn a_change_by_api_is_written_recorded_kept_and_survives_a_restart() {
    let world = World::new(&text(&[("allows", "enforce"), ("denies", "off")]));
    let keeper = world.open();
    assert_eq!((keeper.status().generation, verdict(&keeper)), (1, 0));
    let outcome = activate(&keeper, &mode("denies", "enforce"));
    let ChangeOutcome::Activated {
        generation: 2,
        plan,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert!(plan.only_tightens());
    assert_eq!(verdict(&keeper), 2);
    let written = text(&[("allows", "enforce"), ("denies", "enforce")]);
    assert_eq!(world.text(), written, "comments and order stay");
    assert!(keeper.file_is_in_force());
    assert!(matches!(
        activate(&keeper, &mode("denies", "enforce")),
        ChangeOutcome::Unchanged { generation: 2 }
    ));
    drop(keeper);
    // A restart, also with another comment, is the same generation.
    world.write(&format!("# more words\n{written}"));
    let keeper = world.open();
    assert_eq!((keeper.status().generation, verdict(&keeper)), (2, 2));
    assert!(keeper.text().starts_with("# more words"));
    let changes = world.count(|event| matches!(event, Event::PolicyChanged(_)));
    assert_eq!(changes, 2, "the start and the change");
    // Back by hand.
    let outcome = keeper.roll_back(None, &user("ada"), "too strict").unwrap();
    assert!(matches!(
        outcome,
        ChangeOutcome::Activated { generation: 3, .. }
    ));
    assert_eq!(verdict(&keeper), 0);
    assert_eq!(keeper.status().kept.len(), 3);
}

#[test]
fn a_broken_file_or_a_deleted_module_leaves_the_last_good_generation() {
    let world = World::new("");
    assert!(
        matches!(world.try_open().map(drop), Ok(())),
        "no module: denies all"
    );
    let module = world.home.path().join("mine.wasm");
    std::fs::write(&module, guardrail(DENY, "")).unwrap();
    let mine = "environment = \"dev\"\n[[module]]\nname = \"mine\"\nkind = \"guardrail\"\nsource = \"mine.wasm\"\n";
    let world = World {
        home: world.home,
        ..World::new("")
    };
    world.write(mine);
    std::fs::remove_dir_all(world.home.path().join("data")).unwrap();
    let Err(error) = world.try_open() else {
        panic!("nobody signed it");
    };
    assert!(error.to_string().contains("mine"), "{error}");
    world.write(&format!("{mine}unsigned = true\n"));
    let keeper = world.open();
    let generation = keeper.status().generation;
    assert_eq!(keeper.status().not_in_force, None);
    drop(keeper);

    std::fs::remove_file(&module).unwrap();
    let keeper = world.open();
    assert_eq!(verdict(&keeper), 2);
    assert_eq!(
        keeper.status().generation,
        generation,
        "the same set, from what was kept"
    );
    assert!(keeper.status().not_in_force.unwrap().contains("mine.wasm"));
    drop(keeper);
    world.write("nonsense = 1");
    let keeper = world.open();
    assert!(keeper.status().not_in_force.unwrap().contains("nonsense"));
    assert!(world.count(|event| matches!(event, Event::PolicyRefused { .. })) >= 2);
    // A broken file is not overwritten behind its editor's back.
    let refused = keeper.activate(&mode("mine", "off"), Rollout::Full, &user("ada"), "x");
    assert!(
        matches!(
            refused,
            Err(PolicyRefusal::Conflict(_) | PolicyRefusal::Unusable(_))
        ),
        "{refused:?}"
    );
    assert_eq!(world.text(), "nonsense = 1");
}

#[test]
fn an_edit_of_the_file_is_taken_or_refused_once() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    keeper.look_at_file();
    assert_eq!(keeper.status().generation, 1);
    world.write(&text(&[("allows", "enforce"), ("denies", "enforce")]));
    keeper.look_at_file();
    assert_eq!((keeper.status().generation, verdict(&keeper)), (2, 2));
    assert_eq!(keeper.status().source, ChangeSource::File);
    world.write("[[module]]\nname = \"x\"");
    for _ in 0..3 {
        keeper.look_at_file();
    }
    let refused = world.count(|event| matches!(event, Event::PolicyRefused { .. }));
    assert_eq!((refused, verdict(&keeper)), (1, 2));
    assert!(keeper.status().not_in_force.is_some());
    world.write(&text(&[("allows", "enforce"), ("denies", "enforce")]));
    keeper.look_at_file();
    assert_eq!(keeper.status().not_in_force, None);
    assert_eq!(keeper.status().generation, 2);
}

#[test]
fn what_cannot_be_recorded_or_prepared_does_not_happen() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    let before = world.text();
    let candidate = Candidate::Text(text(&[("denies", "enforce")]));
    world.log.full.store(true, Ordering::SeqCst);
    let refused = keeper.activate(&candidate, Rollout::Full, &user("ada"), "x");
    assert!(
        matches!(refused, Err(PolicyRefusal::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(
        (world.text(), verdict(&keeper), keeper.status().generation),
        (before.clone(), 0, 1)
    );
    assert_eq!(keeper.status().kept.len(), 1);
    world.log.full.store(false, Ordering::SeqCst);
    let missing = Candidate::Text(text(&[("nobody", "enforce")]));
    assert!(matches!(
        keeper.plan(&missing, 10),
        Err(PolicyRefusal::Unusable(_))
    ));
    assert!(
        keeper
            .activate(&missing, Rollout::Full, &user("ada"), "x")
            .is_err()
    );
    assert_eq!(world.text(), before);
    // Edited on disk in between: nobody's work is overwritten.
    world.write(&text(&[("asks", "enforce")]));
    let refused = keeper.activate(&candidate, Rollout::Full, &user("ada"), "x");
    assert!(
        matches!(refused, Err(PolicyRefusal::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(verdict(&keeper), 0);
    drop(keeper);
    let keeper = world.open();
    assert_eq!(verdict(&keeper), 1, "the next start takes it");
}

#[test]
fn one_admin_tightens_and_two_loosen() {
    let world = World::new(&four_eyes(&[("allows", "enforce"), ("denies", "enforce")]));
    let keeper = world.open();
    // Takes one away and adds another: the tightening part acts at once.
    let candidate = Candidate::Text(four_eyes(&[("allows", "enforce"), ("asks", "enforce")]));
    let outcome = activate(&keeper, &candidate);
    let ChangeOutcome::Proposed {
        proposal,
        generation: 2,
        ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(verdict(&keeper), 2);
    let names: Vec<_> = keeper
        .host()
        .current()
        .modules()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["allows", "denies", "asks"]);
    for (by, why) in [
        (user("ada"), "proposer"),
        (Actor::Operator, "nobody"),
        (Actor::Host, "host"),
    ] {
        let refused = keeper.confirm(proposal, &by);
        assert!(
            matches!(refused, Err(PolicyRefusal::Forbidden(_))),
            "{why}: {refused:?}"
        );
    }
    assert_eq!(verdict(&keeper), 2);
    drop(keeper);
    // Neither a restart nor an edit of the file gets around it.
    let keeper = world.open();
    assert_eq!(keeper.status().proposals.len(), 1);
    world.write(&four_eyes(&[("allows", "enforce")]));
    drop(keeper);
    let keeper = world.open();
    assert_eq!((verdict(&keeper), keeper.status().proposals.len()), (2, 2));
    assert!(
        keeper
            .status()
            .not_in_force
            .unwrap()
            .contains("second admin")
    );
    let by_file = keeper
        .status()
        .proposals
        .into_iter()
        .find(|one| one.by.is_none())
        .unwrap();
    let outcome = keeper.confirm(by_file.number, &user("ada")).unwrap();
    assert!(matches!(outcome, ChangeOutcome::Activated { .. }));
    assert_eq!((verdict(&keeper), keeper.status().not_in_force), (0, None));
    assert!(
        keeper.status().proposals.is_empty(),
        "the other one was made for other policies"
    );
    assert!(keeper.confirm(proposal, &user("bob")).is_err());
    // Switching four_eyes off is itself a loosening.
    let off = Candidate::Text(text(&[("allows", "enforce")]));
    let ChangeOutcome::Proposed { proposal, .. } = activate(&keeper, &off) else {
        panic!("needs two");
    };
    assert!(matches!(
        keeper.confirm(proposal, &user("bob")).unwrap(),
        ChangeOutcome::Activated { .. }
    ));
    assert!(!keeper.status().four_eyes);
}

#[test]
fn a_plan_replays_what_was_recorded_and_an_explanation_one_of_them() {
    let world = World::new(&text(&[("allows", "enforce"), ("asks", "enforce")]));
    let keeper = world.open();
    world.decide(&keeper, 1, 40);
    let looser = Candidate::Text(text(&[("allows", "enforce")]));
    let plan = keeper.plan(&looser, 30).unwrap();
    assert_eq!(
        (plan.replayed, plan.reproduced, plan.loosened),
        (30, 30, 30)
    );
    assert_eq!(plan.loosening.len(), 20);
    let first = &plan.loosening[0];
    assert_eq!(
        (
            first.question.as_str(),
            first.before.as_str(),
            first.after.as_str()
        ),
        ("Bash: ls", "ask test.rule", "allow")
    );
    assert_eq!(plan.structural_loosening, ["module `asks` is removed"]);
    let stricter = keeper
        .plan(
            &Candidate::Text(text(&[("denies", "enforce"), ("asks", "enforce")])),
            1000,
        )
        .unwrap();
    assert_eq!((stricter.tightened, stricter.loosened), (40, 0));
    let settings = Candidate::Edits(vec![ModuleEdit {
        name: "asks".to_owned(),
        settings: Some(serde_json::json!({"a": 1})),
        ..ModuleEdit::default()
    }]);
    let plan = keeper.plan(&settings, 1000).unwrap();
    assert_eq!(plan.unproved, ["settings of `asks` change"]);
    assert!(!plan.only_tightens());

    let seq = first.seq;
    let told = keeper.explain(seq, None).unwrap();
    assert!(told.same);
    assert_eq!(told.answer, "ask test.rule");
    let decided: Vec<_> = told
        .again
        .iter()
        .filter(|one| one.decided)
        .map(|one| one.module.as_str())
        .collect();
    assert_eq!(decided, ["asks"]);
    let told = keeper.explain(seq, Some(&looser)).unwrap();
    assert_eq!((told.answer.as_str(), told.same), ("allow", false));
    assert!(keeper.explain(99_999, None).is_err());
}

#[test]
fn a_shadow_trial_reports_and_decides_nothing() {
    let world = World::new(&four_eyes(&[("allows", "enforce")]));
    let keeper = world.open();
    let candidate = Candidate::Text(four_eyes(&[("asks", "enforce")]));
    let outcome = keeper
        .activate(&candidate, Rollout::Shadow, &user("ada"), "try")
        .unwrap();
    assert!(matches!(outcome, ChangeOutcome::OnTrial { .. }));
    assert_eq!(world.decide(&keeper, 1, 10), [0; 10]);
    let trial = keeper.status().trial.unwrap();
    assert_eq!((trial.asked, trial.stricter, trial.looser), (10, 10, 0));
    assert_eq!(trial.differences[0].after, "ask test.rule");
    assert!(
        keeper
            .activate(
                &mode("allows", "shadow"),
                Rollout::Shadow,
                &user("ada"),
                "x"
            )
            .is_err()
    );
    // Promotion by the same admin would be one word: `allows` goes away.
    let outcome = keeper
        .end_trial(Promote::Yes, &user("ada"), "good")
        .unwrap();
    assert!(
        matches!(outcome, ChangeOutcome::Proposed { .. }),
        "{outcome:?}"
    );
    let world = World::new(&four_eyes(&[("allows", "enforce")]));
    let keeper = world.open();
    keeper
        .activate(&candidate, Rollout::Shadow, &user("ada"), "try")
        .unwrap();
    let outcome = keeper
        .end_trial(Promote::Yes, &user("bob"), "good")
        .unwrap();
    assert!(
        matches!(outcome, ChangeOutcome::Activated { generation: 2, .. }),
        "{outcome:?}"
    );
    assert_eq!((verdict(&keeper), keeper.status().trial), (1, None));
}

#[test]
fn a_canary_takes_its_share_of_runs_and_a_bad_one_is_taken_back() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    // A run that began before stays where it began.
    world.decide(&keeper, 1_000, 1);
    let candidate = Candidate::Text(text(&[("allows", "enforce"), ("denies", "enforce")]));
    let canary = Rollout::Canary { percent: 30 };
    keeper
        .activate(&candidate, canary, &user("ada"), "try")
        .unwrap();
    let host = keeper.host();
    let taken: Vec<u128> = (0..1_000u128)
        .filter(|run| host.for_run(in_run(*run).run).generation() == 2)
        .collect();
    assert!((230..370).contains(&taken.len()), "{}", taken.len());
    assert_eq!(host.for_run(in_run(1_000).run).generation(), 1);
    assert_eq!(host.for_run(None).generation(), 1);
    for run in &taken {
        assert_eq!(
            host.for_run(in_run(*run).run).generation(),
            2,
            "for its whole life"
        );
    }
    // What is usual: nothing is denied.
    let others = (0..1_000u128).filter(|run| !taken.contains(run));
    for run in others.take(4) {
        world.decide(&keeper, run, 25);
    }
    world.decide(&keeper, taken[0], 200);
    assert!(keeper.status().trial.is_some(), "one run proves nothing");
    assert_eq!(keeper.status().trial.unwrap().stricter, 200);
    world.decide(&keeper, taken[1], 30);
    assert_eq!(keeper.status().trial, None);
    assert_eq!(host.for_run(in_run(taken[0]).run).generation(), 1);
    let Some(Event::PolicyChanged(change)) = world
        .log
        .events()
        .into_iter()
        .rfind(|event| matches!(event, Event::PolicyChanged(_)))
    else {
        panic!("it says so");
    };
    assert_eq!(
        (change.source, change.generation),
        (ChangeSource::Return, 1)
    );
    assert!(change.reason.contains("refused"), "{}", change.reason);
}

#[test]
fn a_new_generation_that_faults_is_taken_back_and_the_file_with_it() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let good = world.text();
    let keeper = world.open();
    activate(
        &keeper,
        &Candidate::Text(text(&[("allows", "enforce"), ("traps", "enforce")])),
    );
    assert_eq!(world.decide(&keeper, 1, 4), [2, 2, 2, 0]);
    assert_eq!(
        (keeper.status().generation, keeper.status().source),
        (3, ChangeSource::Return)
    );
    assert_eq!(world.text(), good);
    assert_eq!(verdict(&keeper), 0);
    // Beyond the watch window an old generation is not taken back.
    let world = World::new(&text(&[("allows", "enforce")]));
    let keeper = world.open();
    activate(
        &keeper,
        &Candidate::Text(text(&[("allows", "enforce"), ("traps", "enforce")])),
    );
    world.clock.advance(31);
    keeper.tick();
    world.decide(&keeper, 1, 10);
    assert_eq!(keeper.status().generation, 2);
}

#[test]
fn a_module_in_quarantine_is_not_asked_denies_and_stays_there_over_a_restart() {
    let watched = "[rollout]\nmax_fault_percent = 100\n";
    let lines = text(&[("allows", "enforce"), ("traps", "enforce")]);
    let world = World::new(&lines.replace(
        "[[module]]\nname = \"allows\"",
        &format!("{watched}[[module]]\nname = \"allows\""),
    ));
    let keeper = world.open();
    assert_eq!(world.decide(&keeper, 1, 5), [2; 5]);
    keeper.tick();
    let of = |keeper: &PolicyKeeper| {
        keeper
            .status()
            .modules
            .into_iter()
            .find(|one| one.identity.name == "traps")
            .unwrap()
    };
    let status = of(&keeper);
    assert_eq!(
        (status.state, status.faults, status.asked),
        (ModuleState::Quarantined, 5, 5)
    );
    assert!(status.reason.unwrap().contains("trapped"));
    world.decide(&keeper, 1, 3);
    assert_eq!(of(&keeper).asked, 5, "not asked any more");
    let judgement = keeper
        .host()
        .current()
        .judge_tool_call(&context(), &bash("ls"));
    assert!(
        judgement
            .verdict
            .reason()
            .unwrap()
            .message
            .contains("quarantine"),
        "{judgement:?}"
    );
    keeper.tick();
    assert_eq!(
        world.count(|event| matches!(event, Event::QuarantineChanged { .. })),
        1
    );
    drop(keeper);
    let keeper = world.open();
    assert_eq!(of(&keeper).state, ModuleState::Quarantined);
    assert!(keeper.release("allows", &user("ada"), "x").is_err());
    keeper.release("traps", &user("ada"), "mended").unwrap();
    assert_eq!(of(&keeper).state, ModuleState::Enforcing);
    world.decide(&keeper, 1, 5);
    keeper.tick();
    assert_eq!(of(&keeper).state, ModuleState::Quarantined);
    // Other settings are a new chance.
    let edit = Candidate::Edits(vec![ModuleEdit {
        name: "traps".to_owned(),
        settings: Some(serde_json::json!({"careful": true})),
        ..ModuleEdit::default()
    }]);
    activate(&keeper, &edit);
    keeper.tick();
    assert_eq!(of(&keeper).state, ModuleState::Enforcing);
    drop(keeper);
    assert_eq!(of(&world.open()).state, ModuleState::Enforcing);
}

#[test]
fn broken_glass_lasts_its_time_and_covers_its_rule_only() {
    let world = World::new(&text(&[("denies", "enforce")]));
    let keeper = world.open();
    for (rule, minutes, reason) in [
        ("host.fault", 5, "x"),
        ("Bad Rule", 5, "x"),
        ("test.rule", 0, "x"),
        ("test.rule", 241, "x"),
        ("test.rule", 5, " "),
    ] {
        assert!(
            keeper
                .grant(rule, None, minutes, &user("ada"), reason)
                .is_err(),
            "{rule} {minutes}"
        );
    }
    keeper
        .grant("other.rule", None, 10, &user("ada"), "night shift")
        .unwrap();
    assert_eq!(world.decide(&keeper, 1, 1), [2]);
    let grant = keeper
        .grant(
            "test.rule",
            Some(IssueNumber(7)),
            10,
            &user("ada"),
            "night shift",
        )
        .unwrap();
    assert_eq!(world.decide(&keeper, 1, 2), [0, 0]);
    assert_eq!(verdict(&keeper), 2, "another issue, or none");
    let used = |keeper: &PolicyKeeper| {
        keeper
            .status()
            .grants
            .iter()
            .find(|one| one.number == grant.number)
            .unwrap()
            .used
    };
    assert_eq!(used(&keeper), 2);
    drop(keeper);
    let keeper = world.open();
    assert_eq!(keeper.status().grants.len(), 2, "it survives a restart");
    assert_eq!(world.decide(&keeper, 1, 1), [0]);
    // The clock ends it, whether or not anybody tidies up.
    world.clock.advance(10);
    assert_eq!(world.decide(&keeper, 1, 1), [2]);
    keeper.tick();
    assert_eq!(
        world.count(|event| matches!(event, Event::GrantEnded { .. })),
        2
    );
    let grant = keeper
        .grant("test.rule", None, 60, &user("ada"), "again")
        .unwrap();
    assert_eq!(verdict(&keeper), 0);
    keeper.revoke(grant.number, &user("bob"), "enough").unwrap();
    assert_eq!(verdict(&keeper), 2);
    assert!(keeper.revoke(grant.number, &user("bob"), "enough").is_err());
}

#[test]
fn generations_go_on_where_an_earlier_version_left_them() {
    let world = World::new(&text(&[("allows", "enforce")]));
    let digest = world.open().status().digest;
    std::fs::remove_dir_all(world.home.path().join("data/policies")).unwrap();
    let file = world.home.path().join("data/policy-generation");
    std::fs::write(&file, format!("41 {digest}\n")).unwrap();
    assert_eq!(world.try_open().unwrap().status().generation, 41);
    std::fs::remove_dir_all(world.home.path().join("data/policies")).unwrap();
    std::fs::write(&file, format!("41 {}\n", "0".repeat(64))).unwrap();
    assert_eq!(world.try_open().unwrap().status().generation, 42);
}

#[test]
fn a_policy_that_the_host_cannot_go_by_is_refused_and_the_old_one_stays() {
    let allows = text(&[("allows", "enforce"), ("denies", "off")]);
    let world = World::new(&allows);
    let keeper = world.open();
    let followed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&followed);
    keeper
        .follow(Box::new(move |policy| {
            let names = policy.secret_names.clone();
            if names.contains(&"TOO_MANY".to_owned()) {
                return Err("the list of secrets is too large".to_owned());
            }
            let seen = Arc::clone(&seen);
            Ok(Box::new(move || seen.lock().unwrap().push(names)))
        }))
        .unwrap();
    let with = |name: &str| format!("{allows}[secrets]\nnames = [\"{name}\"]\n");
    // By the file: said loudly, on record, and nothing of it is in force.
    world.write(&with("TOO_MANY"));
    keeper.look_at_file();
    assert!(!keeper.file_is_in_force());
    assert_eq!(keeper.status().generation, 1);
    let refused = |event: &Event| matches!(event, Event::PolicyRefused { reason, .. } if reason.contains("too large"));
    assert_eq!(world.count(refused), 1);
    assert_eq!(*followed.lock().unwrap(), [Vec::<String>::new()]);
    // By the API.
    world.write(&allows);
    keeper.look_at_file();
    let candidate = Candidate::Text(with("TOO_MANY"));
    let answer = keeper.activate(&candidate, Rollout::Full, &user("ada"), "because");
    assert!(
        matches!(answer, Err(PolicyRefusal::Unusable(_))),
        "{answer:?}"
    );
    assert_eq!(world.text(), allows);
    // One that can be gone by is.
    activate(&keeper, &Candidate::Text(with("SHOP_PIN")));
    assert_eq!(followed.lock().unwrap().last().unwrap(), &["SHOP_PIN"]);
    assert_eq!(keeper.config().secret_names, ["SHOP_PIN"]);
}
