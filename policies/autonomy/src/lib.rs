//! What becomes of an assessed patch at the configured level, and which issues may
//! start without an admin. The host never goes beyond the level either; this
//! policy is where an installation can be stricter: by environment, by service, by
//! the record that heals have earned there, and by who wrote what led here.

mod examples;
mod settings;

use selfheal_policy_sdk::{
    Action, Admission, Assessment, Autonomy, AutonomyLevel, Context, Decision, Description,
    Environment, Issue, Kind, Patch, Policy, Reason, Settings, TrackRecord, Trust,
};
pub use settings::Levels;
use settings::{Rules, name_of};

/// Scores from here are high risk, and from here critical; the host's own bands.
const BANDS: (u32, u32) = (50, 75);

impl Policy for Levels {
    fn describe() -> Description {
        Description {
            name: "autonomy".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Autonomy,
            settings_schema: settings::SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        Self::of(settings)
    }
}

impl Autonomy for Levels {
    fn decide(&self, context: &Context, patch: &Patch, assessment: &Assessment) -> Decision {
        let score = u64::from(assessment.score);
        let rules = self.rules(context);
        if score >= rules.stop_from {
            return Decision {
                action: Action::Stop,
                reason: format!(
                    "scores from {} are not applied here; the score is {score}",
                    rules.stop_from
                ),
            };
        }
        match self.objection(context, patch, rules, score) {
            Some(reason) => Decision {
                action: Action::Review(self.reviewers(assessment.score)),
                reason,
            },
            None => Decision {
                action: Action::Apply,
                reason: match context.level.min_of(rules.max_level) {
                    3 => format!("level 3 (AUTO_ALL) applies all patches; the score is {score}"),
                    _ => format!("level 2 (AUTO_LOW) applies low risk; the score is {score}"),
                },
            },
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
        if context.environment == Environment::Production {
            return needs(
                "admit.production",
                "in production an admin approves every issue",
            );
        }
        let environment = name_of(context.environment);
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

impl Levels {
    /// Why a person must look at the patch first, if one must.
    fn objection(
        &self,
        context: &Context,
        patch: &Patch,
        rules: Rules,
        score: u64,
    ) -> Option<String> {
        if let Some(test) = patch.files.iter().find(|file| file.test) {
            return Some(format!(
                "the patch edits a test ({}); tests are witnesses",
                test.path
            ));
        }
        let configured = context.level.number();
        let level = context.level.min_of(rules.max_level);
        let here = if level < configured {
            format!(" (the level counts as {level} here)")
        } else {
            String::new()
        };
        match level {
            0 => return Some(format!("level 0 (OBSERVE) changes nothing by itself{here}")),
            1 => return Some(format!("level 1 (SUGGEST) has every patch reviewed{here}")),
            _ => {}
        }
        if self.distrusts(context.trust) {
            return Some("texts that nobody vouches for led to this patch".to_owned());
        }
        if let Some(missing) = not_earned(rules, &context.earned) {
            return Some(missing);
        }
        if level == 2 && score >= rules.low_below {
            return Some(format!(
                "level 2 (AUTO_LOW) applies scores below {} only; the score is {score}{here}",
                rules.low_below
            ));
        }
        (score >= rules.review_from).then(|| {
            format!(
                "scores from {} are reviewed here; the score is {score}",
                rules.review_from
            )
        })
    }

    fn reviewers(&self, score: u32) -> u32 {
        let [plain, high, critical] = self.reviewers;
        match score {
            _ if score >= BANDS.1 => critical,
            _ if score >= BANDS.0 => high,
            _ => plain,
        }
    }
}

/// What the record lacks for patches to go without review.
fn not_earned(rules: Rules, earned: &TrackRecord) -> Option<String> {
    if u64::from(earned.streak) < rules.earned_streak {
        return Some(format!(
            "{} heals in a row are needed before patches go without review here; there are {}",
            rules.earned_streak, earned.streak
        ));
    }
    let healed = u64::from(earned.healed);
    let all = healed + u64::from(earned.failed) + u64::from(earned.rolled_back);
    // No record is none that was earned.
    let enough = rules.earned_share == 0 || all > 0 && healed * 100 >= rules.earned_share * all;
    (!enough).then(|| {
        format!(
            "{} % of the runs here must have healed before patches go without review; {healed} of {all} have",
            rules.earned_share
        )
    })
}

/// Levels as numbers.
trait Number {
    fn number(&self) -> u8;

    /// The lower of both.
    fn min_of(&self, most: u8) -> u8 {
        self.number().min(most)
    }
}

impl Number for AutonomyLevel {
    fn number(&self) -> u8 {
        match self {
            Self::Observe => 0,
            Self::Suggest => 1,
            Self::AutoLow => 2,
            Self::AutoAll => 3,
        }
    }
}

selfheal_policy_sdk::export_autonomy!(Levels);

#[cfg(test)]
mod tests;
