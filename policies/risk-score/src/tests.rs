//! The examples, natively, and what cannot be said as an example.

use super::*;
use proptest::prelude::*;
use selfheal_policy_sdk::{ChangeKind, PatchFile, check_examples_risk, facts};

fn score(patch: &Patch) -> u32 {
    RiskScore::configure(&Settings::default())
        .unwrap()
        .assess(&facts::context(), patch)
        .score
}

#[test]
fn every_example_holds() {
    assert!(check_examples_risk::<RiskScore>().unwrap() > 12);
}

#[test]
fn a_claim_never_lowers_the_score() {
    let mut patch = facts::patch_of(vec![facts::file("a.py", &["a - b"], &["a + b"])]);
    patch.claimed_confidence = 0.8;
    let plain = score(&patch);
    for claim in [0.9, 1.0, 17.0, f64::INFINITY] {
        patch.claimed_confidence = claim;
        assert!(score(&patch) >= plain, "{claim}");
    }
    for claim in [0.3, 0.0, -1.0, f64::NAN] {
        patch.claimed_confidence = claim;
        assert!(score(&patch) > plain, "{claim}");
    }
}

#[test]
fn the_score_is_the_sum_of_its_factors() {
    let mut file = facts::file("payments/charge.py", &["x"], &["eval(y)"]);
    file.test = true;
    let assessment = RiskScore::configure(&Settings::default())
        .unwrap()
        .assess(&facts::context(), &facts::patch_of(vec![file]));
    assert_eq!(assessment.score, 100);
    assert!(
        assessment
            .factors
            .iter()
            .all(|factor| !factor.name.is_empty() && !factor.evidence.is_empty())
    );
}

#[test]
fn test_points_cannot_be_set_below_the_line() {
    assert!(RiskScore::configure(&Settings::parse(r#"{"test_points": 10}"#).unwrap()).is_err());
}

#[test]
fn firm_factors_cannot_be_made_lighter() {
    for (settings, right) in [
        (r#"{"weights": {"not-proved": 50}}"#, false),
        (r#"{"weights": {"not-proved": 150}}"#, true),
        (r#"{"weights": {"dependents": 0}}"#, true),
        (r#"{"weights": {"dependents": 501}}"#, false),
        (r#"{"weights": 3}"#, false),
        (r#"{"payment_path": []}"#, false),
    ] {
        let settings = Settings::parse(settings).unwrap();
        assert_eq!(RiskScore::configure(&settings).is_ok(), right);
    }
}

/// Lines that some factor looks at, and some that none does.
const LINES: [&str; 24] = [
    "x = 1",
    "    return total",
    "if a < b:",
    "raise ValueError(a)",
    "def total(a):",
    "import os",
    "eval(text)",
    "logger.info('x')",
    "print(x)",
    "password = read()",
    "db.execute(statement)",
    "async def run():",
    "except:",
    "    pass",
    "assert f() == 3",
    "@pytest.mark.skip",
    "export const x = 1;",
    "pub fn f() {}",
    "requests.get(url)",
    "",
    "  ",
    "a: 1",
    "# do not edit",
    "refund(order)",
];

const PATHS: [&str; 10] = [
    "shop/cart.py",
    "src/lib.rs",
    "web/index.js",
    "auth/login.py",
    "payments/charge.py",
    "db/migrations/1.sql",
    "tests/test_a.py",
    "config/app.json",
    "README.md",
    ".github/workflows/ci.yml",
];

fn any_file() -> impl Strategy<Value = PatchFile> {
    let lines = || proptest::collection::vec(proptest::sample::select(&LINES[..]), 0..8);
    (
        proptest::sample::select(&PATHS[..]),
        lines(),
        lines(),
        0..3_u8,
        0..200_u32,
        proptest::collection::vec(proptest::sample::select(&["@a", "@security"][..]), 0..2),
        (0..4_u32, 0..3_u32),
    )
        .prop_map(
            |(path, removed, added, change, dependents, owners, history)| {
                let mut file = facts::file(path, &removed, &added);
                file.test = path.starts_with("tests/");
                file.change = [ChangeKind::Modified, ChangeKind::Added, ChangeKind::Deleted]
                    [usize::from(change)];
                file.dependents = dependents;
                file.owners = owners.into_iter().map(str::to_owned).collect();
                (file.earlier_heals, file.earlier_rollbacks) = history;
                file
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_further_file_never_lowers_the_score(
        // Nothing is no patch, and is looked at askance.
        files in proptest::collection::vec(any_file(), 1..5),
        further in any_file(),
        at in any::<prop::sample::Index>(),
    ) {
        let before = score(&facts::patch_of(files.clone()));
        let mut more = files;
        more.insert(at.index(more.len() + 1), further);
        prop_assert!(score(&facts::patch_of(more)) >= before);
    }

    #[test]
    fn a_further_line_never_lowers_the_score(
        files in proptest::collection::vec(any_file(), 1..4),
        line in proptest::sample::select(&LINES[..]),
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        added in any::<bool>(),
    ) {
        let before = score(&facts::patch_of(files.clone()));
        let mut more = files;
        let file = file.index(more.len());
        let file = &mut more[file];
        let (lines, others) = if added {
            (&mut file.added, &file.removed)
        } else {
            (&mut file.removed, &file.added)
        };
        // Putting a line back is less of a change, and may be less of a risk.
        let restores = others.iter().any(|other| other.trim() == line.trim());
        lines.insert(at.index(lines.len() + 1), line.to_owned());
        prop_assert!(restores || score(&facts::patch_of(more)) >= before);
    }

    #[test]
    fn facts_against_a_patch_never_lower_the_score(
        files in proptest::collection::vec(any_file(), 1..4),
        file in any::<prop::sample::Index>(),
        which in 0..5_u8,
    ) {
        let patch = facts::patch_of(files.clone());
        let before = score(&patch);
        let mut worse = patch;
        let file = file.index(files.len());
        match which {
            0 => worse.files[file].dependents = u32::MAX,
            1 => worse.files[file].earlier_rollbacks += 1,
            2 => worse.reproduction_proved = false,
            3 => worse.rivals += 1,
            _ => worse.claimed_confidence = 0.1,
        }
        prop_assert!(score(&worse) >= before);
    }

    #[test]
    fn the_score_is_bounded_and_explained(files in proptest::collection::vec(any_file(), 0..6)) {
        let assessment = RiskScore::configure(&Settings::default())
            .unwrap()
            .assess(&facts::context(), &facts::patch_of(files));
        prop_assert!(assessment.score <= 100);
        let sum: u32 = assessment.factors.iter().map(|factor| factor.points).sum();
        prop_assert_eq!(assessment.score, sum.min(100));
        for factor in &assessment.factors {
            prop_assert!(!factor.evidence.is_empty() && factor.points <= 80);
        }
    }
}
