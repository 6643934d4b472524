//! The settings of the policy.

use crate::factors::areas::{AREAS, More};
use selfheal_policy_sdk::Settings;
use std::collections::BTreeMap;

/// Schema of the settings.
pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "core_paths": {"type": "array", "items": {"type": "string"}, "default": ["core/**", "src/core/**", "lib/core/**", "kernel/**"], "description": "Globs of code that everything else depends on"},
    "core_points": {"type": "integer", "minimum": 0, "maximum": 100, "default": 20, "description": "Points for touching it"},
    "test_points": {"type": "integer", "minimum": 60, "maximum": 100, "default": 60, "description": "Points for editing tests; weakening them has 20 more"},
    "guardians": {"type": "array", "items": {"type": "string"}, "default": ["security", "infosec", "compliance"], "description": "Words in the names of owners whose code is dear, as in @org/security"},
    "authentication_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further globs of code about authentication"},
    "authentication_words": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further words of such code"},
    "payment_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further globs of code about money"},
    "payment_words": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further words of such code"},
    "database_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further globs of migrations and code about data"},
    "database_words": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further words of such code"},
    "delivery_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further globs of what builds and delivers"},
    "delivery_words": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further words of such files"},
    "concurrency_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further globs of code that runs at the same time"},
    "concurrency_words": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Further words of such code"},
    "weights": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 500}, "default": {}, "description": "Percent by name of the factor, as in {\"dependents\": 200}; edits-tests, weakens-tests, not-proved and dangerous-operation weigh 100 at least"}
  }
}"#;

/// Factors that no setting makes lighter.
const FIRM: [&str; 4] = [
    "edits-tests",
    "weakens-tests",
    "not-proved",
    "dangerous-operation",
];

/// The policy with its settings.
pub struct RiskScore {
    pub(crate) core_paths: Vec<String>,
    pub(crate) core_points: u32,
    pub(crate) test_points: u32,
    pub(crate) guardians: Vec<String>,
    /// In the order of [`AREAS`].
    pub(crate) areas: Vec<More>,
    weights: BTreeMap<String, u32>,
}

impl RiskScore {
    /// Reads the settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, String> {
        let mut known = vec![
            "core_paths".to_owned(),
            "core_points".to_owned(),
            "test_points".to_owned(),
            "guardians".to_owned(),
            "weights".to_owned(),
        ];
        let mut areas = Vec::new();
        for area in &AREAS {
            let name = area.name.trim_start_matches("touches-");
            let (paths, words) = (format!("{name}_paths"), format!("{name}_words"));
            let lower = |texts: Vec<String>| texts.iter().map(|text| text.to_lowercase()).collect();
            areas.push(More {
                paths: settings.texts(&paths, &[])?,
                words: lower(settings.texts(&words, &[])?),
            });
            known.extend([paths, words]);
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        settings.only(&known)?;
        let points = |key: &str, default: u64, low: u64| {
            settings
                .number(key, default, low, 100)
                .map(|points| u32::try_from(points).unwrap_or(100))
        };
        let guardians = settings.texts("guardians", &["security", "infosec", "compliance"])?;
        Ok(Self {
            core_paths: settings.texts(
                "core_paths",
                &["core/**", "src/core/**", "lib/core/**", "kernel/**"],
            )?,
            core_points: points("core_points", 20, 0)?,
            test_points: points("test_points", 60, 60)?,
            guardians: guardians.iter().map(|word| word.to_lowercase()).collect(),
            areas,
            weights: weights(settings)?,
        })
    }

    /// Points of a factor with its weight.
    pub(crate) fn weigh(&self, name: &str, points: u32) -> u32 {
        match self.weights.get(name) {
            None => points,
            Some(percent) => points.saturating_mul(*percent).div_ceil(100),
        }
    }
}

fn weights(settings: &Settings) -> Result<BTreeMap<String, u32>, String> {
    let Some(value) = settings.value("weights") else {
        return Ok(BTreeMap::new());
    };
    let table = value
        .as_object()
        .ok_or_else(|| format!("setting `weights` is a table of factor = percent, got {value}"))?;
    table
        .iter()
        .map(|(name, percent)| {
            let least = if FIRM.contains(&name.as_str()) { 100 } else { 0 };
            percent
                .as_u64()
                .and_then(|percent| u32::try_from(percent).ok())
                .filter(|percent| (least..=500).contains(percent))
                .map(|percent| (name.clone(), percent))
                .ok_or_else(|| {
                    format!("setting `weights.{name}` is a whole number from {least} to 500, got {percent}")
                })
        })
        .collect()
}
