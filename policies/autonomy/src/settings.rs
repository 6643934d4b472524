//! The settings of the policy.

use selfheal_policy_sdk::{Context, Environment, Settings, Trust};
use serde_json::{Map, Value};

/// Schema of the settings.
pub(crate) const SCHEMA: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$defs": {
    "rules": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "max_level": {"enum": ["observe", "suggest", "auto-low", "auto-all"], "default": "auto-all", "description": "Patches are treated as if the configured level were no higher"},
        "low_below": {"type": "integer", "minimum": 0, "maximum": 25, "default": 25, "description": "Level 2 applies scores below this"},
        "review_from": {"type": "integer", "minimum": 0, "maximum": 101, "default": 101, "description": "Level 3 has scores from here reviewed; 101 means none"},
        "stop_from": {"type": "integer", "minimum": 1, "maximum": 101, "default": 101, "description": "Scores from here are not applied at all; 101 means none"},
        "earned_streak": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0, "description": "Heals in a row, none of them undone, before anything is applied without review; a rollback starts the count again"},
        "earned_share": {"type": "integer", "minimum": 0, "maximum": 100, "default": 0, "description": "Percent of all ended runs that must have healed, for the same"}
      }
    }
  },
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "max_level": {"$ref": "#/$defs/rules/properties/max_level"},
    "low_below": {"$ref": "#/$defs/rules/properties/low_below"},
    "review_from": {"$ref": "#/$defs/rules/properties/review_from"},
    "stop_from": {"$ref": "#/$defs/rules/properties/stop_from"},
    "earned_streak": {"$ref": "#/$defs/rules/properties/earned_streak"},
    "earned_share": {"$ref": "#/$defs/rules/properties/earned_share"},
    "environments": {"type": "object", "additionalProperties": false, "default": {}, "properties": {"local": {"$ref": "#/$defs/rules"}, "dev": {"$ref": "#/$defs/rules"}, "staging": {"$ref": "#/$defs/rules"}, "production": {"$ref": "#/$defs/rules"}}, "description": "Stricter rules of an environment; each is the stricter of this and the general one"},
    "services": {"type": "object", "additionalProperties": {"$ref": "#/$defs/rules"}, "default": {}, "description": "Stricter rules of a service, by its name, likewise; `*` is for issues about no known service"},
    "reviewers": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1, "description": "Admins who must approve a patch"},
    "reviewers_high": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1, "description": "Of high risk, a score from 50"},
    "reviewers_critical": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2, "description": "Of critical risk, a score from 75"},
    "review_trust": {"type": "array", "items": {"enum": ["machine", "external", "member", "admin"]}, "default": ["external"], "description": "Trust classes of the texts that led here, whose patches are reviewed at every level"},
    "admit": {"type": "boolean", "default": true, "description": "Critical reliability issues outside production start without an admin"},
    "admit_environments": {"type": "array", "items": {"enum": ["local", "dev", "staging"]}, "default": ["local", "dev", "staging"], "description": "Where they do"}
  }
}"##;

const ADMIT_ENVIRONMENTS: [&str; 3] = ["local", "dev", "staging"];
const ENVIRONMENTS: [&str; 4] = ["local", "dev", "staging", "production"];
const TRUST: [&str; 4] = ["machine", "external", "member", "admin"];
const LEVELS: [&str; 4] = ["auto-all", "auto-low", "suggest", "observe"];
const RULES: [&str; 6] = [
    "max_level",
    "low_below",
    "review_from",
    "stop_from",
    "earned_streak",
    "earned_share",
];

/// What a patch is measured by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// 0 to 3.
    pub(crate) max_level: u8,
    pub(crate) low_below: u64,
    pub(crate) review_from: u64,
    pub(crate) stop_from: u64,
    pub(crate) earned_streak: u64,
    pub(crate) earned_share: u64,
}

impl Rules {
    fn of(settings: &Settings) -> Result<Self, String> {
        let level = settings.choice("max_level", &LEVELS)?;
        Ok(Self {
            max_level: match level {
                "observe" => 0,
                "suggest" => 1,
                "auto-low" => 2,
                _ => 3,
            },
            low_below: settings.number("low_below", 25, 0, 25)?,
            review_from: settings.number("review_from", 101, 0, 101)?,
            stop_from: settings.number("stop_from", 101, 1, 101)?,
            earned_streak: settings.number("earned_streak", 0, 0, 1_000)?,
            earned_share: settings.number("earned_share", 0, 0, 100)?,
        })
    }

    /// The stricter of both in everything.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            max_level: self.max_level.min(other.max_level),
            low_below: self.low_below.min(other.low_below),
            review_from: self.review_from.min(other.review_from),
            stop_from: self.stop_from.min(other.stop_from),
            earned_streak: self.earned_streak.max(other.earned_streak),
            earned_share: self.earned_share.max(other.earned_share),
        }
    }
}

/// The policy with its settings.
pub struct Levels {
    rules: Rules,
    environments: Vec<(String, Rules)>,
    services: Vec<(String, Rules)>,
    /// For low and medium, high, and critical risk.
    pub(crate) reviewers: [u32; 3],
    review_trust: Vec<String>,
    pub(crate) admit: bool,
    pub(crate) admit_environments: Vec<String>,
}

impl Levels {
    /// Reads the settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, String> {
        let others = [
            "environments",
            "services",
            "reviewers",
            "reviewers_high",
            "reviewers_critical",
            "review_trust",
            "admit",
            "admit_environments",
        ];
        settings.only(&[&RULES[..], &others[..]].concat())?;
        let environments = tables(settings, "environments")?;
        if let Some((wrong, _)) = environments
            .iter()
            .find(|(name, _)| !ENVIRONMENTS.contains(&name.as_str()))
        {
            return Err(format!(
                "setting `environments` takes {}, not {wrong:?}",
                ENVIRONMENTS.join(", ")
            ));
        }
        let count = |key: &str, default: u64| {
            settings
                .number(key, default, 1, 5)
                .map(|count| u32::try_from(count).unwrap_or(5))
        };
        let plain = count("reviewers", 1)?;
        let high = count("reviewers_high", 1)?.max(plain);
        let critical = count("reviewers_critical", 2)?.max(high);
        Ok(Self {
            rules: Rules::of(settings)?,
            environments,
            services: tables(settings, "services")?,
            reviewers: [plain, high, critical],
            review_trust: settings.texts_of("review_trust", &["external"], &TRUST)?,
            admit: settings.flag("admit", true)?,
            admit_environments: settings.texts_of(
                "admit_environments",
                &ADMIT_ENVIRONMENTS,
                &ADMIT_ENVIRONMENTS,
            )?,
        })
    }

    /// What counts here: the strictest of the general rules, the environment's and
    /// the service's.
    pub(crate) fn rules(&self, context: &Context) -> Rules {
        let environment = name_of(context.environment);
        let service = context.service.as_deref().unwrap_or("*");
        let of = |rules: &[(String, Rules)], name: &str| {
            rules
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, rules)| *rules)
        };
        [
            of(&self.environments, environment),
            of(&self.services, service),
        ]
        .into_iter()
        .flatten()
        .fold(self.rules, Rules::and)
    }

    /// Are patches that these texts led to always reviewed?
    pub(crate) fn distrusts(&self, trust: Trust) -> bool {
        let name = match trust {
            Trust::Machine => "machine",
            Trust::External => "external",
            Trust::Member => "member",
            Trust::Admin => "admin",
        };
        self.review_trust.iter().any(|known| known == name)
    }
}

/// As `policy.toml` writes it.
pub(crate) fn name_of(environment: Environment) -> &'static str {
    match environment {
        Environment::Local => "local",
        Environment::Dev => "dev",
        Environment::Staging => "staging",
        Environment::Production => "production",
    }
}

fn tables(settings: &Settings, key: &str) -> Result<Vec<(String, Rules)>, String> {
    let Some(value) = settings.value(key) else {
        return Ok(Vec::new());
    };
    let table: &Map<String, Value> = value
        .as_object()
        .ok_or_else(|| format!("setting `{key}` is a table of name = rules, got {value}"))?;
    table
        .iter()
        .map(|(name, rules)| {
            let inner = Settings::parse(&rules.to_string())
                .and_then(|inner| inner.only(&RULES).and_then(|()| Rules::of(&inner)))
                .map_err(|error| format!("setting `{key}.{name}`: {error}"))?;
            Ok((name.clone(), inner))
        })
        .collect()
}
