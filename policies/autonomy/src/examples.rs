//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{
    AutonomyLevel, Environment, Example, Expectation, Trust, example, example_with, facts,
};

pub(crate) fn all() -> Vec<Example> {
    use AutonomyLevel::{AutoAll, AutoLow, Observe, Suggest};
    use Environment::{Dev, Local, Production, Staging};
    let files = || vec![facts::file("a.py", &["a"], &["b"])];
    let tests = || {
        let mut file = facts::file("tests/test_a.py", &["a"], &["b"]);
        file.test = true;
        vec![file]
    };
    let mut all = Vec::new();
    for (level, score, expect) in [
        (Observe, 0, Expectation::Review),
        (Suggest, 0, Expectation::Review),
        (AutoLow, 24, Expectation::Apply),
        (AutoLow, 25, Expectation::Review),
        (AutoLow, 100, Expectation::Review),
        (AutoAll, 24, Expectation::Apply),
        (AutoAll, 100, Expectation::Apply),
    ] {
        let name = format!("{level:?} at {score}");
        all.push(example(
            &name,
            facts::context_at(Production, level),
            facts::assessed(files(), score),
            expect,
        ));
    }
    for level in [AutoLow, AutoAll] {
        let context = facts::context_at(Dev, level);
        all.push(example(
            "edited tests wait for review",
            context,
            facts::assessed(tests(), 5),
            Expectation::Review,
        ));
    }
    for (environment, severity, category, trust, expect) in [
        (
            Dev,
            "CRITICAL",
            "reliability",
            Trust::Member,
            Expectation::Admit,
        ),
        (
            Staging,
            "CRITICAL",
            "reliability",
            Trust::Admin,
            Expectation::Admit,
        ),
        (
            Local,
            "CRITICAL",
            "reliability",
            Trust::Member,
            Expectation::Admit,
        ),
        (
            Production,
            "CRITICAL",
            "reliability",
            Trust::Admin,
            Expectation::NeedsAdmin,
        ),
        (
            Dev,
            "HIGH",
            "reliability",
            Trust::Admin,
            Expectation::NeedsAdmin,
        ),
        (
            Dev,
            "CRITICAL",
            "governance",
            Trust::Admin,
            Expectation::NeedsAdmin,
        ),
        (
            Dev,
            "CRITICAL",
            "reliability",
            Trust::Machine,
            Expectation::NeedsAdmin,
        ),
        (
            Dev,
            "CRITICAL",
            "reliability",
            Trust::External,
            Expectation::NeedsAdmin,
        ),
    ] {
        let name = format!("{severity} {category} by {trust:?} in {environment:?}");
        all.push(example(
            &name,
            facts::context_at(environment, Suggest),
            facts::issue(severity, category, trust),
            expect,
        ));
    }
    let strict = r#"{"low_below": 10, "review_from": 75, "admit": false}"#;
    for (level, score, expect) in [
        (AutoLow, 12, Expectation::Review),
        (AutoAll, 74, Expectation::Apply),
        (AutoAll, 75, Expectation::Review),
    ] {
        let context = facts::context_at(Dev, level);
        all.push(example_with(
            strict,
            "stricter settings",
            context,
            facts::assessed(files(), score),
            expect,
        ));
    }
    let context = facts::context_at(Dev, Suggest);
    let issue = facts::issue("CRITICAL", "reliability", Trust::Admin);
    all.push(example_with(
        strict,
        "no admission where it is off",
        context,
        issue,
        Expectation::NeedsAdmin,
    ));
    all.extend(of_rules());
    all
}

/// Rules by environment, service, record and trust.
fn of_rules() -> Vec<Example> {
    use AutonomyLevel::{AutoAll, AutoLow};
    let files = || vec![facts::file("a.py", &["a"], &["b"])];
    let at = |environment, level, service: Option<&str>, streak: u32| {
        let mut context = facts::context_at(environment, level);
        context.service = service.map(str::to_owned);
        context.earned.streak = streak;
        context.earned.healed = streak;
        context
    };
    let earned =
        r#"{"environments": {"production": {"max_level": "auto-low", "earned_streak": 5}}}"#;
    let shop = r#"{"services": {"billing": {"max_level": "suggest"}, "*": {"low_below": 5}}}"#;
    let production = Environment::Production;
    let rows = [
        (
            earned,
            "five heals in a row earn it",
            at(production, AutoLow, None, 5),
            10,
            Expectation::Apply,
        ),
        (
            earned,
            "four do not",
            at(production, AutoLow, None, 4),
            10,
            Expectation::Review,
        ),
        (
            earned,
            "elsewhere nothing must be earned",
            at(Environment::Dev, AutoLow, None, 0),
            10,
            Expectation::Apply,
        ),
        (
            earned,
            "in production level 3 counts as 2",
            at(production, AutoAll, None, 9),
            60,
            Expectation::Review,
        ),
        (
            shop,
            "billing is never patched alone",
            at(production, AutoAll, Some("billing"), 9),
            1,
            Expectation::Review,
        ),
        (
            shop,
            "other services are",
            at(production, AutoAll, Some("web"), 0),
            60,
            Expectation::Apply,
        ),
        (
            shop,
            "what is about no service has a rule",
            at(production, AutoLow, None, 0),
            5,
            Expectation::Review,
        ),
        (
            r#"{"stop_from": 90}"#,
            "too much risk is not for review either",
            at(production, AutoAll, None, 0),
            90,
            Expectation::Stop,
        ),
        (
            r#"{"earned_share": 80}"#,
            "no record is none that was earned",
            at(production, AutoAll, None, 0),
            5,
            Expectation::Review,
        ),
        (
            r#"{"earned_share": 80}"#,
            "a good record is",
            at(production, AutoAll, None, 3),
            5,
            Expectation::Apply,
        ),
    ];
    let mut all: Vec<Example> = rows
        .into_iter()
        .map(|(settings, name, context, score, expect)| {
            example_with(
                settings,
                name,
                context,
                facts::assessed(files(), score),
                expect,
            )
        })
        .collect();
    let mut undone = at(production, AutoLow, None, 0);
    undone.earned.healed = 50;
    undone.earned.rolled_back = 1;
    all.push(example_with(
        earned,
        "a rollback loses what was earned at once",
        undone,
        facts::assessed(files(), 10),
        Expectation::Review,
    ));
    let mut external = facts::context_at(production, AutoAll);
    external.trust = Trust::External;
    all.push(example(
        "what strangers led to is reviewed at every level",
        external.clone(),
        facts::assessed(files(), 1),
        Expectation::Review,
    ));
    all.push(example_with(
        r#"{"review_trust": []}"#,
        "unless an installation says otherwise",
        external,
        facts::assessed(files(), 1),
        Expectation::Apply,
    ));
    all
}
