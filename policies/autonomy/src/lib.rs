//! What becomes of an assessed patch at the configured level, and which issues may
//! start without an admin. The host never goes beyond the level either; this
//! policy is where an installation can be stricter.

use selfheal_policy_sdk::{
    Action, Admission, Assessment, Autonomy, AutonomyLevel, Context, Decision, Description,
    Environment, Example, Expectation, Issue, Kind, Patch, Policy, Reason, Settings, Trust,
    example, example_with, facts,
};

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "low_below": {"type": "integer", "minimum": 0, "maximum": 25, "description": "Level 2 applies scores below this"},
    "review_from": {"type": "integer", "minimum": 0, "maximum": 101, "description": "Level 3 has scores from here reviewed; 101 means none"},
    "reviewers": {"type": "integer", "minimum": 1, "maximum": 5, "description": "Admins who must approve a patch"},
    "admit": {"type": "boolean", "description": "Critical reliability issues outside production start without an admin"},
    "admit_environments": {"type": "array", "items": {"enum": ["local", "dev", "staging"]}, "description": "Where they do"}
  }
}"#;

const ADMIT_ENVIRONMENTS: [&str; 3] = ["local", "dev", "staging"];

/// The policy with its settings.
pub struct Levels {
    low_below: u64,
    review_from: u64,
    reviewers: u32,
    admit: bool,
    admit_environments: Vec<String>,
}

impl Policy for Levels {
    fn describe() -> Description {
        Description {
            name: "autonomy".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Autonomy,
            settings_schema: SCHEMA.into(),
            examples: examples(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&[
            "low_below",
            "review_from",
            "reviewers",
            "admit",
            "admit_environments",
        ])?;
        let admit_environments = settings.texts("admit_environments", &ADMIT_ENVIRONMENTS)?;
        if let Some(wrong) = admit_environments
            .iter()
            .find(|name| !ADMIT_ENVIRONMENTS.contains(&name.as_str()))
        {
            return Err(format!(
                "setting `admit_environments` takes {}, not {wrong:?}",
                ADMIT_ENVIRONMENTS.join(", ")
            ));
        }
        Ok(Self {
            low_below: settings.number("low_below", 25, 0, 25)?,
            review_from: settings.number("review_from", 101, 0, 101)?,
            reviewers: u32::try_from(settings.number("reviewers", 1, 1, 5)?).unwrap_or(5),
            admit: settings.flag("admit", true)?,
            admit_environments,
        })
    }
}

impl Autonomy for Levels {
    fn decide(&self, context: &Context, patch: &Patch, assessment: &Assessment) -> Decision {
        let score = u64::from(assessment.score);
        let review = |reason: String| Decision {
            action: Action::Review(self.reviewers),
            reason,
        };
        let apply = |reason: String| Decision {
            action: Action::Apply,
            reason,
        };
        if let Some(test) = patch.files.iter().find(|file| file.test) {
            return review(format!(
                "the patch edits a test ({}); tests are witnesses",
                test.path
            ));
        }
        match context.level {
            AutonomyLevel::Observe => review("level 0 (OBSERVE) changes nothing by itself".into()),
            AutonomyLevel::Suggest => review("level 1 (SUGGEST) has every patch reviewed".into()),
            AutonomyLevel::AutoLow if score < self.low_below => apply(format!(
                "level 2 (AUTO_LOW) applies low risk; the score is {score}"
            )),
            AutonomyLevel::AutoLow => review(format!(
                "level 2 (AUTO_LOW) applies scores below {} only; the score is {score}",
                self.low_below
            )),
            AutonomyLevel::AutoAll if score < self.review_from => apply(format!(
                "level 3 (AUTO_ALL) applies all patches; the score is {score}"
            )),
            AutonomyLevel::AutoAll => review(format!(
                "scores from {} are reviewed here; the score is {score}",
                self.review_from
            )),
        }
    }

    fn admit(&self, context: &Context, issue: &Issue) -> Admission {
        let needs = |rule: &str, message: &str| {
            Admission::NeedsAdmin(Reason {
                rule: rule.into(),
                message: message.into(),
                evidence: None,
                alternative: None,
            })
        };
        let environment = match context.environment {
            Environment::Local => "local",
            Environment::Dev => "dev",
            Environment::Staging => "staging",
            Environment::Production => {
                return needs(
                    "admit.production",
                    "in production an admin approves every issue",
                );
            }
        };
        if !self.admit
            || !self
                .admit_environments
                .iter()
                .any(|name| name == environment)
        {
            return needs("admit.off", "here an admin approves every issue");
        }
        if !matches!(issue.trust, Trust::Member | Trust::Admin) {
            return needs(
                "admit.trust",
                "nobody with an account vouches for the report",
            );
        }
        if issue.severity != "CRITICAL" || issue.category != "reliability" {
            return needs(
                "admit.kind",
                "only critical reliability issues start by themselves",
            );
        }
        Admission::Admit(format!(
            "a critical reliability issue in {environment}, reported by somebody with an account"
        ))
    }
}

fn examples() -> Vec<Example> {
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
    all
}

selfheal_policy_sdk::export_autonomy!(Levels);

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::check_examples_autonomy;

    #[test]
    fn every_example_holds() {
        assert!(check_examples_autonomy::<Levels>().unwrap() > 15);
    }

    #[test]
    fn production_is_no_place_to_admit() {
        let settings = Settings::parse(r#"{"admit_environments": ["production"]}"#).unwrap();
        assert!(Levels::configure(&settings).is_err());
    }
}
