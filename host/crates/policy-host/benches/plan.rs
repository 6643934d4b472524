//! What a change costs: replaying 10,000 recorded decisions from a real journal,
//! preparing, and the swap of a prepared generation.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench, like a test, may stop at a surprise"
)]

#[path = "../tests/log/mod.rs"]
mod log;
#[path = "../tests/log/questions.rs"]
mod questions;
#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use log::{MemoryLog, StillClock};
use selfheal_audit::Masker;
use selfheal_domain::event::{Approval, Event, NewRecord};
use selfheal_domain::ids::{CommitId, IssueId, IssueNumber, RunId, RunNumber};
use selfheal_domain::issue::{Category, Priority, Severity, Source};
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::{Candidate, ModuleEdit, PolicyControl};
use selfheal_domain::ports::EventStore;
use selfheal_domain::report::Report;
use selfheal_domain::user::{Actor, TrustClass, UserName};
use selfheal_policy_host::{
    CodeCache, DEFAULT_POLICY_TOML, KeeperPlaces, PolicyEngine, PolicyKeeper, WasmPolicyHost,
};
use selfheal_store::{JournalStore, Options};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use support::{STANDARD, bundled, config};

const DECISIONS: u64 = 10_000;

fn policies(code: &Path) -> WasmPolicyHost {
    let cache = CodeCache::in_directory(code.to_owned());
    WasmPolicyHost::new(PolicyEngine::new().unwrap(), cache, bundled(&STANDARD))
}

/// A journal with the decisions of the default set.
fn journal(home: &Path, host: &WasmPolicyHost) -> Arc<JournalStore> {
    let masker = Masker::new(std::iter::empty::<String>()).unwrap();
    let store = Arc::new(JournalStore::open(&home.join("journal"), Options::new(masker)).unwrap());
    let opened = |number: u64| NewRecord {
        at: chrono::DateTime::UNIX_EPOCH,
        actor: Actor::Operator,
        issue: Some(IssueNumber(number)),
        event: Event::IssueOpened {
            id: IssueId(uuid::Uuid::from_u128(number.into())),
            number: IssueNumber(number),
            report: Report {
                title: "it is broken".to_owned(),
                description: "since today".to_owned(),
                steps_to_reproduce: None,
                expected_behavior: None,
                actual_behavior: None,
                severity: Severity::Medium,
                priority: Priority::P2,
                source: Source::Cli,
                category: Category::Bug,
                service: None,
                fingerprint: None,
                trust: TrustClass::Member,
            },
            reported_by: Actor::Operator,
        },
    };
    // Every call belongs to one issue under diagnosis.
    store.append(opened(1), None).unwrap();
    for event in [approved(), diagnosing()] {
        let record = NewRecord { event, ..opened(1) };
        store.append(record, None).unwrap();
    }
    let log = MemoryLog::default();
    let set = host.current();
    std::thread::scope(|scope| {
        for part in 0..16 {
            let (store, set, log, opened) = (&store, &set, &log, &opened);
            scope.spawn(move || {
                for number in (part..DECISIONS).step_by(16) {
                    let context = questions::situation(number);
                    let record = log.decide(&**set, &context, questions::call(number));
                    let record = NewRecord {
                        event: record.event,
                        ..opened(1)
                    };
                    store.append(record, None).unwrap();
                }
            });
        }
    });
    store
}

fn approved() -> Event {
    Event::IssueApproved(Approval::Admin {
        name: UserName::new("ada").unwrap(),
    })
}

fn diagnosing() -> Event {
    Event::DiagnosisStarted {
        run: RunId(uuid::Uuid::from_u128(1)),
        number: RunNumber(1),
        agent: "engine:builtin".to_owned(),
        snapshot: CommitId("a".repeat(40)),
        base_commit: CommitId("b".repeat(40)),
        live_branch: "main".to_owned(),
        policy_generation: 1,
    }
}

fn plan(criterion: &mut Criterion) {
    let home = tempfile::tempdir().unwrap();
    let code = home.path().join("code");
    let text = DEFAULT_POLICY_TOML.replace("\"production\"", "\"dev\"");
    let host = policies(&code);
    host.activate(host.prepare(&config(&text)).unwrap());
    let store = journal(home.path(), &host);

    let places = KeeperPlaces {
        policy_file: home.path().join("policy.toml"),
        data: home.path().join("data"),
    };
    std::fs::create_dir_all(&places.data).unwrap();
    std::fs::write(&places.policy_file, &text).unwrap();
    let keeper =
        PolicyKeeper::open(policies(&code), places, Arc::new(StillClock::default())).unwrap();
    keeper
        .attach(store as Arc<dyn EventStore>, Box::new(|_, _| Ok(())))
        .unwrap();
    let edit = |edit: ModuleEdit| Candidate::Edits(vec![edit]);
    let candidates = [
        (
            "one guardrail off",
            edit(ModuleEdit {
                name: "path-guard".to_owned(),
                mode: Some("off".to_owned()),
                ..ModuleEdit::default()
            }),
        ),
        (
            "other settings of patch-guard",
            edit(ModuleEdit {
                name: "patch-guard".to_owned(),
                settings: Some(serde_json::json!({"max_files": 5})),
                ..ModuleEdit::default()
            }),
        ),
    ];
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for (name, candidate) in candidates {
        let once = keeper.plan(&candidate, DECISIONS).unwrap();
        assert_eq!((once.replayed, once.reproduced), (DECISIONS, DECISIONS));
        println!("{name}: {} ms by its own clock", once.millis);
        group.bench_function(format!("10,000 decisions, {name}"), |bencher| {
            bencher.iter(|| black_box(keeper.plan(&candidate, DECISIONS).unwrap()));
        });
    }
    group.finish();

    criterion.bench_function("prepare, from the compile cache", |bencher| {
        bencher.iter_batched(
            || policies(&code),
            |host| black_box(host.prepare(&config(&text)).unwrap().digest()),
            BatchSize::PerIteration,
        );
    });
    criterion.bench_function("swap of a prepared generation", |bencher| {
        bencher.iter_batched(
            || host.prepare(&config(&text)).unwrap(),
            |prepared| black_box(host.activate(prepared)),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, plan);
criterion_main!(benches);
