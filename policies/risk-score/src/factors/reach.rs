//! How far a mistake would reach, and what became of earlier heals in the same
//! place.

use selfheal_policy_sdk::{Context, Factor, Patch};

/// How the host says that it could not count all dependents: the most there can
/// be, so that not knowing never looks safer than knowing.
const UNKNOWN: u32 = u32::MAX;

/// Points by files that import what the patch changes.
pub(crate) fn dependents(patch: &Patch) -> Option<Factor> {
    let widest = patch.files.iter().max_by_key(|file| file.dependents)?;
    if widest.dependents == UNKNOWN {
        return Some(Factor::new(
            "dependents-unknown",
            24,
            format!(
                "not all files could be searched for imports of {}",
                widest.path
            ),
        ));
    }
    let all: u32 = patch
        .files
        .iter()
        .fold(0, |sum, file| sum.saturating_add(file.dependents));
    let points = match all {
        0 => 0,
        1..=4 => 2,
        5..=19 => 6,
        20..=99 => 14,
        _ => 24,
    };
    (points > 0).then(|| {
        Factor::new(
            "dependents",
            points,
            format!(
                "{all} files import what changes, {} of them {}",
                widest.dependents, widest.path
            ),
        )
    })
}

/// Code of several owners, or of those who guard others.
pub(crate) fn owners(patch: &Patch, guardians: &[String]) -> Vec<Factor> {
    let mut factors = Vec::new();
    let mut sets: Vec<&[String]> = patch
        .files
        .iter()
        .map(|file| file.owners.as_slice())
        .filter(|owners| !owners.is_empty())
        .collect();
    sets.sort_unstable();
    sets.dedup();
    if sets.len() > 1 {
        factors.push(Factor::new(
            "several-owners",
            6,
            sets.iter()
                .map(|owners| owners.join(" "))
                .collect::<Vec<_>>()
                .join(", "),
        ));
    }
    let guarded = patch.files.iter().find_map(|file| {
        let owner = file.owners.iter().find(|owner| {
            let owner = owner.to_ascii_lowercase();
            guardians.iter().any(|word| owner.contains(word.as_str()))
        })?;
        Some((file, owner))
    });
    if let Some((file, owner)) = guarded {
        factors.push(Factor::new(
            "guarded-owner",
            12,
            format!("{} belongs to {owner}", file.path),
        ));
    }
    factors
}

/// What the log says of these files and of this service.
pub(crate) fn history(context: &Context, patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    if let Some(file) = patch
        .files
        .iter()
        .filter(|file| file.earlier_rollbacks > 0)
        .max_by_key(|file| file.earlier_rollbacks)
    {
        factors.push(Factor::new(
            "rolled-back-before",
            file.earlier_rollbacks.saturating_mul(12).min(24),
            format!(
                "{} heals of {} were undone",
                file.earlier_rollbacks, file.path
            ),
        ));
    }
    if let Some(file) = patch
        .files
        .iter()
        .filter(|file| file.earlier_heals > 1)
        .max_by_key(|file| file.earlier_heals)
    {
        factors.push(Factor::new(
            "healed-before",
            file.earlier_heals.saturating_mul(2).min(8),
            format!(
                "{} was healed {} times: the cause may lie elsewhere",
                file.path, file.earlier_heals
            ),
        ));
    }
    let earned = &context.earned;
    if earned.rolled_back > 0 && earned.streak == 0 {
        factors.push(Factor::new(
            "last-heal-undone",
            10,
            "the last heal here was undone, and none has held since",
        ));
    } else if earned.failed > earned.healed {
        factors.push(Factor::new(
            "poor-record",
            4,
            format!(
                "{} runs failed here, {} healed",
                earned.failed, earned.healed
            ),
        ));
    }
    factors
}
