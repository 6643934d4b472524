//! The real host, killed before or after any of its effects, or without power or disk.
//!
//! Where a host can die is not a list that somebody keeps: it is every system call by
//! which it changes a file, flushes one, starts or signals a process or says something to
//! somebody ([`selfheal_faults`]). A run lists them all; the tests ask for some of them
//! (the thorough ones for every one) again, in a world of its own each time, and start
//! the next host on what is left.

mod store;
mod world;

use crate::programs::cart;
use selfheal_faults::{Fault, Moment, Point, Where, end_processes_in};
use selfheal_tests::TestHost;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use world::World;

/// All that one heal consists of, from the start of the host to its end.
fn points() -> &'static [Point] {
    static SEEN: OnceLock<Vec<Point>> = OnceLock::new();
    SEEN.get_or_init(|| {
        let world = World::new();
        let (trace, acknowledged) = world.walk(None);
        assert!(
            trace.unknown.is_empty(),
            "system calls that selfheal_faults does not know: {:?}; say there what they do",
            trace.unknown
        );
        world.recovers(&acknowledged, "nothing happened");
        trace.points
    })
}

/// The first and the last of each name.
fn kinds() -> Vec<Point> {
    let mut kinds: BTreeMap<&str, (&Point, &Point)> = BTreeMap::new();
    for point in points() {
        let known = kinds.entry(&point.name).or_insert((point, point));
        known.1 = point;
    }
    let mut ends: Vec<Point> = kinds
        .into_values()
        .flat_map(|(first, last)| [first.clone(), last.clone()])
        .collect();
    ends.dedup();
    ends
}

/// What befalls a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// SIGKILL before the call, or after it.
    Killed(Moment),
    /// The power fails before the call; the number decides what is left.
    PowerCut(u64),
    /// No space from here on, for a while.
    FullDisk,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    /// The walk went another way.
    Never,
    /// And all was well.
    Through,
    /// It had to be started again when there was space.
    Restarted,
}

/// Lets it happen to a host at `at`, and holds the next host to what was acknowledged.
fn survives(at: &Where, blow: Blow) -> Came {
    let world = World::new();
    let at = at.clone();
    let fault = match blow {
        Blow::Killed(moment) => Fault::Kill { at, moment },
        Blow::PowerCut(_) => Fault::Kill {
            at,
            moment: Moment::Before,
        },
        Blow::FullDisk => Fault::Full { at },
    };
    let (trace, acknowledged) = world.walk(Some(fault));
    let what = format!("{blow:?} at {:?}", trace.hit);
    if let Blow::PowerCut(seed) = blow {
        end_processes_in(&world.root());
        trace.disk.cut(seed).unwrap();
    }
    let checked = std::panic::AssertUnwindSafe(|| world.recovers(&acknowledged, &what));
    if let Err(panic) = std::panic::catch_unwind(checked) {
        eprintln!("{what}, acknowledged {acknowledged:?}:\n{}", world.log());
        std::panic::resume_unwind(panic);
    }
    match trace.hit {
        None => Came::Never,
        Some(_) if acknowledged.in_doubt => Came::Restarted,
        Some(_) => Came::Through,
    }
}

fn first(name: &str) -> Where {
    Where::Point(Point {
        name: name.to_owned(),
        occurrence: 0,
    })
}

#[test]
fn every_effect_is_seen_and_known() {
    let names: Vec<&str> = points().iter().map(|point| point.name.as_str()).collect();
    for wanted in [
        "flush data/journal/",
        "rename to app/cart.py",
        "rename to app/.git/refs/heads/main",
        "rename to app/.git/index",
        "start a process",
        "write to a socket",
    ] {
        assert!(
            names.iter().any(|name| name.starts_with(wanted)),
            "no {wanted:?} in {names:#?}"
        );
    }
}

/// The points at which most is half done; every one is tried in a thorough run.
#[test]
fn a_killed_host_loses_nothing_acknowledged_and_finishes_after_its_next_start() {
    for (name, moment) in [
        ("rename to app/cart.py", Moment::After),
        ("rename to app/.git/index", Moment::Before),
    ] {
        let came = survives(&first(name), Blow::Killed(moment));
        assert_eq!(came, Came::Through, "{moment:?} {name}");
    }
}

#[test]
fn a_host_without_power_loses_nothing_acknowledged() {
    let name = "write app/.git/refs/heads/main.lock";
    assert_eq!(survives(&first(name), Blow::PowerCut(0)), Came::Through);
}

#[test]
fn a_full_disk_is_refused_and_nothing_acknowledged_is_lost() {
    let name = "make data/git/apply/issue-*-run-*.new";
    assert_ne!(survives(&first(name), Blow::FullDisk), Came::Never);
}

/// Everything in `todo`, by two workers; says what came of it.
fn all(todo: Vec<(Where, Blow)>) {
    let total = todo.len();
    let (todo, came, failed) = (
        Mutex::new(todo.into_iter()),
        Mutex::new(BTreeMap::<String, usize>::new()),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().unwrap().next();
                    let Some((at, blow)) = next else { break };
                    let tried = std::panic::catch_unwind(|| survives(&at, blow));
                    match tried {
                        Ok(ended) => {
                            *came
                                .lock()
                                .unwrap()
                                .entry(format!("{ended:?}"))
                                .or_default() += 1;
                        }
                        Err(_) => failed.lock().unwrap().push(format!("{blow:?} {at:?}")),
                    }
                    let done: usize = came.lock().unwrap().values().sum();
                    let losses = failed.lock().unwrap().len();
                    eprintln!("{} of {total}, {losses} losses", done + losses);
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{total} times: {:?}, {} losses",
        came.into_inner().unwrap(),
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every kind of point, before and after.
#[test]
#[ignore = "half an hour; for a thorough look"]
fn killed_at_every_point() {
    all(kinds()
        .into_iter()
        .flat_map(|point| {
            [Moment::Before, Moment::After]
                .map(|moment| (Where::Point(point.clone()), Blow::Killed(moment)))
        })
        .collect());
}

#[test]
#[ignore = "half an hour; for a thorough look"]
fn cut_anywhere() {
    let points = points().len();
    all((0..200_u64)
        .map(|seed| {
            let nth = (seed as usize).wrapping_mul(7919) % points;
            (Where::Nth(nth), Blow::PowerCut(seed))
        })
        .collect());
}

#[test]
#[ignore = "half an hour; for a thorough look"]
fn full_at_every_point() {
    all(kinds()
        .into_iter()
        .map(|point| (Where::Point(point), Blow::FullDisk))
        .collect());
}

#[test]
fn a_second_host_on_the_same_data_is_refused() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let second = project.selfheal_in(&project.outside(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(
        second.stderr.contains(&host.pid().to_string()),
        "it names the holder: {second:?}"
    );
    // The same directory by another name, in a configuration of its own.
    let elsewhere = project.outside().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(project.outside().join("data"), elsewhere.join("data")).unwrap();
    for name in ["selfheal.toml", "policy.toml"] {
        let text = std::fs::read_to_string(project.outside().join(name)).unwrap();
        let app = project.app().canonicalize().unwrap().display().to_string();
        let text = text.replace("\"app\"", &format!("{app:?}"));
        std::fs::write(elsewhere.join(name), text).unwrap();
    }
    let third = project.selfheal_in(&elsewhere, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(third.code, 4, "{third:?}");
    assert!(third.stderr.contains(&host.pid().to_string()), "{third:?}");
    assert_eq!(
        host.admin("GET", "/issues", None)["items"],
        serde_json::json!([])
    );
}
