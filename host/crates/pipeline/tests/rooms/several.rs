//! Several heals at once: side by side where they touch different things, one after the
//! other where they touch the same.

use crate::support::{Bug, Host, World, admin, settings};
use selfheal_domain::event::Event;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::EventStore;
use selfheal_domain::risk::AutonomyLevel::AutoAll;
use selfheal_domain::state::Phase;
use selfheal_pipeline::settings::Settings;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn two() -> Settings {
    let mut settings = settings(AutoAll);
    settings.concurrency = NonZeroUsize::new(2).unwrap();
    // Each file is a service of its own; the world's one service belongs to none of them.
    settings.service_directories = vec![("none".to_owned(), "elsewhere".to_owned())];
    settings
}

/// Two issues about these files.
fn world(first: &'static str, second: &'static str) -> Arc<World> {
    let world = Arc::new(World::default());
    world.set(|it| {
        it.services = Vec::new();
        for path in [first, second] {
            it.files.insert(path.to_owned(), "bug1\nbug2\n".to_owned());
        }
        it.bugs.insert(
            1,
            Bug {
                path: first,
                mark: "bug1",
                fix: "one",
            },
        );
        it.bugs.insert(
            2,
            Bug {
                path: second,
                mark: "bug2",
                fix: "two",
            },
        );
    });
    world
}

fn start(world: &Arc<World>) -> Host {
    let host = Host::new(world, two()).start();
    host.report();
    host.report();
    host.desk.approve(&admin("ada"), "1").unwrap();
    host.desk.approve(&admin("ada"), "2").unwrap();
    host
}

fn phase(world: &World, number: u64) -> Phase {
    world.issue(IssueNumber(number)).unwrap().unwrap().phase
}

/// From the intent to apply to the end of it: positions in the log, by issue.
fn spans(world: &World) -> Vec<(u64, u64, u64)> {
    let (mut open, mut spans) = (Vec::new(), Vec::new());
    for record in world.records.lock().unwrap().iter() {
        let issue = record.issue.map_or(0, |number| number.0);
        match &record.event {
            Event::ApplyStarted { .. } => open.push((issue, record.seq)),
            Event::IssueResolved | Event::RunFailed { .. } | Event::IssueAborted { .. } => {
                if let Some(at) = open.iter().position(|(of, _)| *of == issue) {
                    let (_, from) = open.remove(at);
                    spans.push((issue, from, record.seq));
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    spans
}

#[test]
fn two_agents_are_at_work_at_the_same_time() {
    let world = world("a.py", "b.py");
    world.meet("diagnose");
    let host = start(&world);
    host.rest();
    assert_eq!([phase(&world, 1), phase(&world, 2)], [Phase::Resolved; 2]);
}

#[test]
fn patches_of_different_files_are_verified_side_by_side() {
    let world = world("a.py", "b.py");
    world.meet("verify");
    let host = start(&world);
    host.rest();
    assert_eq!([phase(&world, 1), phase(&world, 2)], [Phase::Resolved; 2]);
    assert_eq!(world.get(|it| it.files["a.py"].clone()), "one\nbug2\n");
    assert_eq!(world.get(|it| it.files["b.py"].clone()), "bug1\ntwo\n");
}

#[test]
fn patches_of_one_file_are_applied_one_after_the_other() {
    let world = world("a.py", "a.py");
    // Both are drafted on the same tree, so one of them must start over.
    world.meet("diagnose");
    let host = start(&world);
    host.rest();
    assert_eq!([phase(&world, 1), phase(&world, 2)], [Phase::Resolved; 2]);
    assert_eq!(world.get(|it| it.files["a.py"].clone()), "one\ntwo\n");
    let spans = spans(&world);
    assert_eq!(spans.len(), 2);
    assert!(
        spans[0].2 < spans[1].1 || spans[1].2 < spans[0].1,
        "{spans:?}"
    );
}

#[test]
fn patches_of_one_service_are_applied_one_after_the_other() {
    let world = world("a.py", "b.py");
    world.set(|it| it.services = vec!["web".to_owned()]);
    world.meet("diagnose");
    let host = start(&world);
    host.rest();
    assert_eq!([phase(&world, 1), phase(&world, 2)], [Phase::Resolved; 2]);
    let spans = spans(&world);
    assert!(
        spans[0].2 < spans[1].1 || spans[1].2 < spans[0].1,
        "{spans:?}"
    );
}

#[test]
fn a_restart_holds_what_the_records_say_is_held() {
    let world = world("a.py", "a.py");
    let entered = world.hold("verify");
    let host = start(&world);
    entered.recv().unwrap();
    // One is in the live tree; the other comes to its cleared patch and waits.
    drop(host);
    let applied = [1, 2]
        .into_iter()
        .find(|it| phase(&world, *it) == Phase::Verifying)
        .unwrap();
    let host = Host::new(&world, two()).start();
    host.rest();
    assert_eq!([phase(&world, 1), phase(&world, 2)], [Phase::Resolved; 2]);
    let spans = spans(&world);
    assert_eq!(spans[0].0, applied, "{spans:?}");
    assert!(spans[0].2 < spans[1].1, "{spans:?}");
}

#[test]
fn an_abort_is_heard_within_a_second_everywhere() {
    let abort = |host: &Host, number: &str| {
        let start = Instant::now();
        let issue = host.desk.abort(&admin("ada"), number, "stop").unwrap();
        assert_eq!(issue.phase, Phase::Aborted);
        // A second by itself; this machine may be busy.
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
    };
    // While it waits for another heal's files.
    let world = world("a.py", "a.py");
    let entered = world.hold("verify");
    let host = start(&world);
    entered.recv().unwrap();
    let (applied, other) = if phase(&world, 1) == Phase::Verifying {
        ("1", "2")
    } else {
        ("2", "1")
    };
    let number = other.parse().unwrap();
    while phase(&world, number) != Phase::Cleared {
        std::thread::yield_now();
    }
    abort(&host, other);
    abort(&host, applied);
    assert!(host.healer.wait_until_idle(Duration::from_secs(60)));

    // In a watch window that lasts an hour.
    let world = self::world("a.py", "b.py");
    world.set(|it| it.services = vec!["web".to_owned()]);
    let mut long = two();
    long.watch = Duration::from_secs(3600);
    let host = Host::new(&world, long).start();
    host.report();
    host.desk.approve(&admin("ada"), "1").unwrap();
    while phase(&world, 1) != Phase::Verifying {
        std::thread::yield_now();
    }
    abort(&host, "1");
    assert_eq!(world.get(|it| it.files["a.py"].clone()), "bug1\nbug2\n");

    // While a service takes for ever to come up, and while a probe gets no answer.
    for stuck in ["restart", "probe"] {
        let world = self::world("a.py", "b.py");
        world.set(|it| it.services = vec!["web".to_owned()]);
        let entered = world.hold(stuck);
        let host = Host::new(&world, two()).start();
        host.report();
        host.desk.approve(&admin("ada"), "1").unwrap();
        entered.recv().unwrap();
        abort(&host, "1");
        assert_eq!(
            world.get(|it| it.files["a.py"].clone()),
            "bug1\nbug2\n",
            "{stuck}"
        );
        world.set(|it| it.released = true);
    }
}
