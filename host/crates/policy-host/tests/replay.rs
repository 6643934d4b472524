//! Recorded decisions of the bundled modules, asked again from the records alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at a surprise"
)]

#[path = "log/mod.rs"]
mod log;
#[path = "log/questions.rs"]
mod questions;
mod support;

use log::{MemoryLog, StillClock};
use selfheal_domain::policy::PolicyHost;
use selfheal_domain::policy_control::{Candidate, ModuleEdit, PolicyControl};
use selfheal_domain::ports::EventStore;
use selfheal_policy_host::{
    CodeCache, DEFAULT_POLICY_TOML, KeeperPlaces, PolicyEngine, PolicyKeeper, WasmPolicyHost,
};
use std::path::Path;
use std::sync::Arc;
use support::{STANDARD, bundled};

fn keeper(home: &Path, log: &Arc<MemoryLog>) -> Arc<PolicyKeeper> {
    let places = KeeperPlaces {
        policy_file: home.join("policy.toml"),
        data: home.join("data"),
    };
    std::fs::create_dir_all(&places.data).unwrap();
    std::fs::write(
        &places.policy_file,
        DEFAULT_POLICY_TOML.replace("\"production\"", "\"dev\""),
    )
    .unwrap();
    let host = WasmPolicyHost::new(
        PolicyEngine::new().unwrap(),
        CodeCache::none(),
        bundled(&STANDARD),
    );
    let keeper = PolicyKeeper::open(host, places, Arc::new(StillClock::default())).unwrap();
    let into = Arc::clone(log);
    let record = Box::new(move |actor, event| {
        into.add(actor, None, chrono::DateTime::UNIX_EPOCH, event)
            .map(drop)
    });
    keeper
        .attach(Arc::clone(log) as Arc<dyn EventStore>, record)
        .unwrap();
    keeper
}

#[test]
fn every_recorded_decision_gets_the_same_answer_again() {
    let home = tempfile::tempdir().unwrap();
    let log = Arc::new(MemoryLog::default());
    let keeper = keeper(home.path(), &log);
    questions::ask_everything(&log, &*keeper.host().current(), 240);
    let asked = log.decisions(None, 10_000).unwrap();
    assert!(asked.len() > 300, "{}", asked.len());
    // Another comment is another text with the same answers.
    let same = Candidate::Text(format!("# same\n{}", keeper.text()));
    let plan = keeper.plan(&same, 10_000).unwrap();
    assert_eq!(plan.skipped, 0);
    assert_eq!(
        (plan.replayed, plan.reproduced),
        (asked.len() as u64, asked.len() as u64),
        "{plan:?}"
    );
    assert_eq!(
        (plan.loosened, plan.tightened, plan.reworded, plan.faults),
        (0, 0, 0, 0)
    );
    // One by one, with all parts of the answer.
    for seq in &asked {
        let told = keeper.explain(*seq, None).unwrap();
        assert!(told.same, "{told:?}");
        assert_eq!(told.recorded, told.answer);
        let decided = told.again.iter().filter(|module| module.decided).count();
        assert!(decided <= 1, "{told:?}");
        let verdicts: Vec<_> = told
            .modules
            .iter()
            .filter(|module| !module.module.starts_with("all "))
            .collect();
        assert!(verdicts.len() <= told.again.len(), "{told:?}");
        for (recorded, again) in verdicts.iter().zip(&told.again) {
            assert_eq!(
                (&recorded.module, &recorded.answer, &recorded.reason),
                (&again.module, &again.answer, &again.reason)
            );
        }
    }
    // Without its shell guard the host would have let pushes through.
    let without = Candidate::Edits(vec![ModuleEdit {
        name: "shell-guard".to_owned(),
        mode: Some("off".to_owned()),
        ..ModuleEdit::default()
    }]);
    let plan = keeper.plan(&without, 10_000).unwrap();
    assert!(plan.loosened > 20 && plan.tightened == 0, "{plan:?}");
    assert!(
        plan.loosening
            .iter()
            .any(|changed| changed.question.starts_with("Bash: git push"))
    );
    assert!(
        plan.loosening
            .iter()
            .all(|changed| changed.reason.is_some())
    );
}
