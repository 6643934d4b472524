//! How well the patch is proved, what the agent says of it, and how it came about.

use selfheal_policy_sdk::{Context, Factor, Patch, Trust};

pub(crate) fn proof(patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    if !patch.reproduction_proved {
        factors.push(Factor::new(
            "not-proved",
            30,
            "no reproduction failed before and passes now",
        ));
    }
    let points = match patch.rivals {
        0 => 0,
        1..=2 => 3,
        3..=5 => 6,
        _ => 10,
    };
    if points > 0 {
        factors.push(Factor::new(
            "ambiguous",
            points,
            format!("{} other patches pass the same tests", patch.rivals),
        ));
    }
    factors
}

/// The agent's confidence, which counts only against it. Nonsense counts most.
pub(crate) fn claims(patch: &Patch) -> Option<Factor> {
    let claim = patch.claimed_confidence;
    let points = match claim {
        _ if !claim.is_finite() || !(0.0..=1.0).contains(&claim) => 15,
        _ if claim < 0.5 => 10,
        _ if claim < 0.7 => 5,
        _ => 0,
    };
    (points > 0).then(|| {
        Factor::new(
            "agent-unsure",
            points,
            format!("claimed confidence {claim:.2}"),
        )
    })
}

pub(crate) fn circumstances(context: &Context, patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    let severity = match patch.severity.as_str() {
        "CRITICAL" => 8,
        "HIGH" => 4,
        _ => 0,
    };
    if severity > 0 {
        factors.push(Factor::new("severity", severity, patch.severity.clone()));
    }
    if matches!(context.trust, Trust::Machine | Trust::External) {
        factors.push(Factor::new(
            "untrusted-origin",
            2,
            "texts that nobody vouches for led here",
        ));
    }
    factors
}
