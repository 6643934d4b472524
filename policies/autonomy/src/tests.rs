//! The examples, natively, and what cannot be said as an example.

use super::*;
use proptest::prelude::*;
use selfheal_policy_sdk::{check_examples_autonomy, facts};

fn levels(settings: &str) -> Result<Levels, String> {
    Levels::configure(&Settings::parse(settings).unwrap())
}

#[test]
fn every_example_holds() {
    assert!(check_examples_autonomy::<Levels>().unwrap() > 30);
}

#[test]
fn wrong_settings_are_refused() {
    for settings in [
        r#"{"admit_environments": ["production"]}"#,
        r#"{"environments": {"prod": {}}}"#,
        r#"{"environments": {"production": {"lowbelow": 3}}}"#,
        r#"{"environments": {"production": {"low_below": 30}}}"#,
        r#"{"services": {"web": 3}}"#,
        r#"{"services": []}"#,
        r#"{"max_level": "all"}"#,
        r#"{"review_trust": ["stranger"]}"#,
        r#"{"low_below": 26}"#,
    ] {
        assert!(levels(settings).is_err(), "{settings}");
    }
}

#[test]
fn critical_patches_need_two_people() {
    let decide = |settings: &str, score| {
        let context = facts::context_at(Environment::Dev, AutonomyLevel::Suggest);
        let assessment = Assessment {
            score,
            factors: Vec::new(),
        };
        levels(settings)
            .unwrap()
            .decide(&context, &facts::patch_of(Vec::new()), &assessment)
            .action
    };
    assert!(matches!(decide("{}", 74), Action::Review(1)));
    assert!(matches!(decide("{}", 75), Action::Review(2)));
    let more = r#"{"reviewers": 2, "reviewers_critical": 1}"#;
    assert!(matches!(decide(more, 10), Action::Review(2)));
    assert!(matches!(decide(more, 90), Action::Review(2)));
}

fn rank(action: &Action) -> (u8, u32) {
    match action {
        Action::Apply => (0, 0),
        Action::Review(count) => (1, *count),
        Action::Stop => (2, 0),
    }
}

fn any_rules() -> impl Strategy<Value = String> {
    (
        prop::sample::select(&["observe", "suggest", "auto-low", "auto-all"][..]),
        0..=25_u32,
        0..=101_u32,
        1..=101_u32,
        0..10_u32,
        0..=100_u32,
    )
        .prop_map(|(level, low, review, stop, streak, share)| {
            format!(
                r#"{{"max_level": "{level}", "low_below": {low}, "review_from": {review}, "stop_from": {stop}, "earned_streak": {streak}, "earned_share": {share}}}"#
            )
        })
}

fn any_context() -> impl Strategy<Value = Context> {
    use AutonomyLevel::{AutoAll, AutoLow, Observe, Suggest};
    use Environment::{Dev, Local, Production, Staging};
    (
        prop::sample::select(vec![Observe, Suggest, AutoLow, AutoAll]),
        prop::sample::select(vec![Local, Dev, Staging, Production]),
        prop::sample::select(vec![
            Trust::Machine,
            Trust::External,
            Trust::Member,
            Trust::Admin,
        ]),
        prop::option::of(prop::sample::select(&["web", "billing"][..])),
        (0..12_u32, 0..12_u32, 0..4_u32),
    )
        .prop_map(
            |(level, environment, trust, service, (healed, failed, undone))| {
                let mut context = facts::context_at(environment, level);
                context.trust = trust;
                context.service = service.map(str::to_owned);
                context.earned = TrackRecord {
                    healed,
                    failed,
                    rolled_back: undone,
                    streak: if undone > 0 { healed / 2 } else { healed },
                };
                context
            },
        )
}

fn any_settings() -> impl Strategy<Value = String> {
    (any_rules(), any_rules(), any_rules()).prop_map(|(all, production, web)| {
        let all = all.trim_end_matches('}').to_owned();
        format!(
            r#"{all}, "environments": {{"production": {production}}}, "services": {{"web": {web}}}}}"#
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_setting_is_looser_than_the_level(
        settings in any_settings(),
        context in any_context(),
        score in 0..=100_u32,
        test in any::<bool>(),
    ) {
        let mut file = facts::file("a.py", &["a"], &["b"]);
        file.test = test;
        let assessment = Assessment { score, factors: Vec::new() };
        let decision = levels(&settings)
            .unwrap()
            .decide(&context, &facts::patch_of(vec![file]), &assessment);
        if matches!(decision.action, Action::Apply) {
            prop_assert!(!test);
            let allowed = match context.level {
                AutonomyLevel::Observe | AutonomyLevel::Suggest => false,
                AutonomyLevel::AutoLow => score < 25,
                AutonomyLevel::AutoAll => true,
            };
            prop_assert!(allowed);
        }
        prop_assert!(!decision.reason.is_empty());
    }

    #[test]
    fn more_risk_or_a_worse_record_is_never_treated_more_loosely(
        settings in any_settings(),
        context in any_context(),
        score in 0..=100_u32,
        more in 0..=50_u32,
    ) {
        let levels = levels(&settings).unwrap();
        let patch = facts::patch_of(vec![facts::file("a.py", &["a"], &["b"])]);
        let decide = |context: &Context, score: u32| {
            let assessment = Assessment { score, factors: Vec::new() };
            rank(&levels.decide(context, &patch, &assessment).action)
        };
        let before = decide(&context, score);
        prop_assert!(decide(&context, (score + more).min(100)) >= before);
        let mut undone = context.clone();
        undone.earned.rolled_back += 1;
        undone.earned.streak = 0;
        prop_assert!(decide(&undone, score) >= before);
        let mut lower = context.clone();
        lower.level = AutonomyLevel::Suggest;
        prop_assert!(decide(&lower, score) >= before || context.level == AutonomyLevel::Observe);
    }
}
