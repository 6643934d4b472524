//! Risk of a finished patch: points for what it touches, how much, and how well it
//! is proved. Everything counted is a fact that the host made; the agent's own
//! confidence can add points, never take any away.

mod examples;
mod factors;

use selfheal_policy_sdk::{
    Assessment, Context, Description, Factor, Kind, Patch, Policy, Risk, Settings,
};

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "core_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs of code that everything else depends on"},
    "core_points": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Points for touching it"},
    "test_points": {"type": "integer", "minimum": 60, "maximum": 100, "description": "Points for editing tests"}
  }
}"#;

/// The policy with its settings.
pub struct RiskScore {
    core_paths: Vec<String>,
    core_points: u32,
    test_points: u32,
}

impl Policy for RiskScore {
    fn describe() -> Description {
        Description {
            name: "risk-score".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Risk,
            settings_schema: SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&["core_paths", "core_points", "test_points"])?;
        let points = |key: &str, default: u64, low: u64| {
            settings
                .number(key, default, low, 100)
                .map(|points| u32::try_from(points).unwrap_or(100))
        };
        Ok(Self {
            core_paths: settings.texts(
                "core_paths",
                &["core/**", "src/core/**", "lib/core/**", "kernel/**"],
            )?,
            core_points: points("core_points", 20, 0)?,
            test_points: points("test_points", 60, 60)?,
        })
    }
}

impl Risk for RiskScore {
    fn assess(&self, context: &Context, patch: &Patch) -> Assessment {
        let mut factors: Vec<Factor> = Vec::new();
        factors.extend(factors::nature(patch));
        factors.extend(factors::size(patch));
        factors.extend(factors::files(patch));
        factors.extend(factors::tests(patch, self.test_points));
        factors.extend(factors::areas(patch));
        factors.extend(factors::core(patch, &self.core_paths, self.core_points));
        factors.extend(factors::deletions(patch));
        factors.extend(factors::danger(patch));
        factors.extend(factors::proof(patch));
        factors.extend(factors::claims(patch));
        factors.extend(factors::circumstances(context, patch));
        let sum: u32 = factors.iter().map(|factor| factor.points).sum();
        Assessment {
            score: sum.min(100),
            factors,
        }
    }
}

selfheal_policy_sdk::export_risk!(RiskScore);

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::{check_examples_risk, facts};

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
}
