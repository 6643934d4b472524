//! Risk of a finished patch: points for what it touches, how much, and how well it
//! is proved. Everything counted is a fact that the host made; the agent's own
//! confidence can add points, never take any away.

mod examples;
mod factors;
mod settings;

use factors::{areas, circumstances, code, nature, reach};
use selfheal_policy_sdk::{
    Assessment, Context, Description, Factor, Kind, Patch, Policy, Risk, Settings,
};
pub use settings::RiskScore;

impl Policy for RiskScore {
    fn describe() -> Description {
        Description {
            name: "risk-score".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Risk,
            settings_schema: settings::SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        Self::of(settings)
    }
}

impl Risk for RiskScore {
    fn assess(&self, context: &Context, patch: &Patch) -> Assessment {
        let mut factors: Vec<Factor> = Vec::new();
        factors.extend(nature::nature(patch));
        factors.extend(nature::size(patch));
        factors.extend(nature::files(patch));
        factors.extend(nature::deletions(patch));
        factors.extend(code::tests(patch, self.test_points));
        factors.extend(code::checks(patch));
        factors.extend(code::interface(patch));
        factors.extend(code::novelty(patch));
        factors.extend(code::danger(patch));
        factors.extend(code::swallowed(patch));
        factors.extend(code::warned(patch));
        factors.extend(areas::touched_areas(patch, &self.areas));
        factors.extend(areas::core(patch, &self.core_paths, self.core_points));
        factors.extend(reach::dependents(patch));
        factors.extend(reach::owners(patch, &self.guardians));
        factors.extend(reach::history(context, patch));
        factors.extend(circumstances::proof(patch));
        factors.extend(circumstances::claims(patch));
        factors.extend(circumstances::circumstances(context, patch));
        for factor in &mut factors {
            factor.points = self.weigh(&factor.name, factor.points);
        }
        let sum = factors
            .iter()
            .fold(0_u32, |sum, factor| sum.saturating_add(factor.points));
        Assessment {
            score: sum.min(100),
            factors,
        }
    }
}

selfheal_policy_sdk::export_risk!(RiskScore);

#[cfg(test)]
mod tests;
