//! While a change waits for a second admin, nothing is looser than under either set.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at a surprise"
)]

use super::modules;
use super::support::{autonomy, bash, config, context, host_with, issue, patch, risk};
use proptest::prelude::*;
use selfheal_domain::policy::PolicySet;

/// Text of a policy with these modules; numbers 0 to 2 are enforce, shadow, off.
fn drawn(environment: u8, ceiling: u8, modules: &[(usize, u8)]) -> String {
    let names = ["allows", "asks", "denies", "calm", "wild", "reckless"];
    let kinds = [
        "guardrail",
        "guardrail",
        "guardrail",
        "risk",
        "risk",
        "autonomy",
    ];
    let environment = ["local", "dev", "staging", "production"][usize::from(environment)];
    let mut text = format!(
        "environment = \"{environment}\"\nfour_eyes = true\n[autonomy]\nceiling = {ceiling}\n"
    );
    for (number, mode) in modules {
        let mode = ["enforce", "shadow", "off"][usize::from(*mode)];
        text += &format!(
            "[[module]]\nname = \"{0}\"\nkind = \"{1}\"\nsource = \"bundled:{0}\"\nmode = \"{mode}\"\n",
            names[*number], kinds[*number]
        );
    }
    text
}

fn drawing() -> impl Strategy<Value = String> {
    let modules = proptest::sample::subsequence(vec![0usize, 1, 2, 3, 4, 5], 0..=6);
    let modes = proptest::collection::vec(0u8..3, 6);
    (0u8..4, 0u8..4, modules, modes).prop_map(|(environment, ceiling, modules, modes)| {
        let modules: Vec<_> = modules.into_iter().zip(modes).collect();
        drawn(environment, ceiling, &modules)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    /// While a change waits, no question gets a looser answer than from either set.
    #[test]
    fn the_stricter_of_both_is_never_looser_than_either(before in drawing(), after in drawing()) {
        use crate::host::PreparedSet;
        use crate::ratchet::{Written, stricter_of};
        use crate::compare::{Side, compare};
        use crate::config::PolicyConfig;
        use crate::replay::Outcome;
        use selfheal_domain::risk::AutonomyLevel;
        // An assessment without factors at 2048 (score 0 or 100), a decision to apply at 2048, admit at 3072.
        let score = |score: u8| risk("(i32.const 2048)", &format!("(data (i32.const 2048) \"\\{score:02x}\\00\\00\\00\")"));
        let mut guests = modules();
        guests.push(("calm", score(0)));
        guests.push(("wild", score(100)));
        guests.push(("reckless", autonomy("(i32.const 2048)", "(i32.const 3072)", "")));
        let host = host_with(&guests);
        let prepare = |text: &str| -> (PolicyConfig, PreparedSet) {
            let config = config(text);
            let set = host.prepare(&config).unwrap();
            (config, set)
        };
        let (old, new) = (prepare(&before), prepare(&after));
        fn side((config, set): &(PolicyConfig, PreparedSet)) -> Side<'_> {
            Side { config, set }
        }
        let both = stricter_of(
            Written { text: &before, side: side(&old) },
            Written { text: &after, side: side(&new) },
        ).unwrap();
        let both = prepare(&both);
        prop_assert!(compare(side(&old), side(&both)).only_tightens());
        let answers = |set: &PreparedSet| -> Vec<u32> {
            let set = host.apart(set, 1);
            let mut context = context();
            context.level = AutonomyLevel::AutoAll;
            let patch = patch("a.py", "a", "b");
            let assessment = set.assess(&context, &patch);
            let fixed = selfheal_domain::risk::Assessment { score: selfheal_domain::risk::RiskScore::new(10).unwrap(), ..assessment.clone() };
            vec![
                Outcome::Verdict(set.judge_tool_call(&context, &bash("ls")).verdict).strictness(),
                Outcome::Verdict(set.judge_patch(&context, &patch).verdict).strictness(),
                Outcome::Score(assessment.score, vec![]).strictness(),
                Outcome::Action(set.decide(&context, &patch, &fixed).action, String::new()).strictness(),
                Outcome::Admission(set.admit(&context, &issue())).strictness(),
            ]
        };
        let (old, new, both) = (answers(&old.1), answers(&new.1), answers(&both.1));
        for ((old, new), both) in old.iter().zip(&new).zip(&both) {
            prop_assert!(both >= old && both >= new, "{before}\n{after}\n{old} {new} {both}");
        }
    }
}
