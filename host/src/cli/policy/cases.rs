//! The author's cases: a question and the answer that is right, each in a file.

use super::question::{About, Question, Written};
use crate::failure::{Because, Exit, Failure};
use selfheal_domain::policy::ModuleKind;
use selfheal_domain::risk::{Admission, AutonomyAction};
use selfheal_domain::verdict::{Fault, Verdict};
use selfheal_policy_host::{ModuleProblem, RunAs, SingleModule};
use std::path::{Path, PathBuf};

/// The right answer, as `expect` spells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// `allow`, `ask`, `deny`, `apply`, `review`, `stop`, `admit`, `needs-admin`, and
    /// the rule, where one is named.
    Word(String, Option<String>),
    /// `score LOW..HIGH`, both included.
    Score(u32, u32),
}

/// What a module said, in the same words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) word: String,
    pub(crate) rule: Option<String>,
    pub(crate) score: Option<u32>,
    /// For people.
    pub(crate) why: String,
}

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) settings: Option<serde_json::Value>,
    pub(crate) question: Question,
    pub(crate) expect: Expect,
}

const WORDS: [&str; 8] = [
    "allow",
    "ask",
    "deny",
    "apply",
    "review",
    "stop",
    "admit",
    "needs-admin",
];

impl std::str::FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or("it is empty")?;
        if lines.next().is_some() {
            return Err("it has more than one line".to_owned());
        }
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        if word == "score" {
            let bounds = rest.first().and_then(|range| range.split_once(".."));
            let bounds = bounds.and_then(|(low, high)| {
                Some((
                    low.parse().ok()?,
                    high.trim_start_matches('=').parse().ok()?,
                ))
            });
            return match (bounds, rest.len()) {
                (Some((low, high)), 1) if low <= high && high <= 100 => Ok(Self::Score(low, high)),
                _ => Err(format!("{line:?} is no range; `score 0..20` is one")),
            };
        }
        let takes_rule = matches!(word, "ask" | "deny" | "needs-admin");
        match rest.as_slice() {
            [] if WORDS.contains(&word) => Ok(Self::Word(word.to_owned(), None)),
            [rule] if takes_rule => Ok(Self::Word(word.to_owned(), Some((*rule).to_owned()))),
            _ => Err(format!(
                "{line:?} is no answer; there are {}, `score LOW..HIGH`, and a rule may follow ask, deny, needs-admin",
                WORDS.join(", ")
            )),
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word, None) => formatter.write_str(word),
            Self::Word(word, Some(rule)) => write!(formatter, "{word} {rule}"),
            Self::Score(low, high) => write!(formatter, "score {low}..{high}"),
        }
    }
}

impl Expect {
    pub(crate) fn holds(&self, said: &Said) -> bool {
        match self {
            Self::Word(word, rule) => *word == said.word && (rule.is_none() || *rule == said.rule),
            Self::Score(low, high) => said
                .score
                .is_some_and(|score| (*low..=*high).contains(&score)),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.rule, self.score) {
            (_, Some(score)) => write!(formatter, "score {score}")?,
            (Some(rule), _) => write!(formatter, "{} {rule}", self.word)?,
            (None, None) => formatter.write_str(&self.word)?,
        }
        if self.why.is_empty() {
            return Ok(());
        }
        write!(formatter, " ({})", self.why)
    }
}

impl Said {
    /// A guardrail's verdict.
    pub(crate) fn verdict(verdict: &Verdict) -> Self {
        let word = match verdict {
            Verdict::Allow => "allow",
            Verdict::Ask(_) => "ask",
            Verdict::Deny(_) => "deny",
        };
        let reason = verdict.reason();
        Self {
            word: word.to_owned(),
            rule: reason.map(|reason| reason.rule.clone()),
            score: None,
            why: reason
                .map(|reason| reason.message.clone())
                .unwrap_or_default(),
        }
    }
}

/// Asks a module; a question of another kind is answered by nothing.
///
/// # Errors
/// The module faulted.
pub(crate) fn ask(module: &SingleModule, question: &Question) -> Result<Said, Fault> {
    let context = &question.context;
    let plain = |word: &str, why: String| Said {
        word: word.to_owned(),
        rule: None,
        score: None,
        why,
    };
    Ok(match (&question.about, module.kind()) {
        (About::Call(call), ModuleKind::Guardrail) => {
            Said::verdict(&module.judge_tool_call(context, call)?)
        }
        (About::Patch(patch) | About::Assessed(patch, _), ModuleKind::Guardrail) => {
            Said::verdict(&module.judge_patch(context, patch)?)
        }
        (About::Patch(patch) | About::Assessed(patch, _), ModuleKind::Risk) => {
            let (score, factors) = module.assess(context, patch)?;
            let factors: Vec<String> = factors
                .iter()
                .map(|factor| format!("{} {}", factor.name, factor.points))
                .collect();
            Said {
                word: "score".to_owned(),
                rule: None,
                score: Some(u32::from(score.get())),
                why: factors.join(", "),
            }
        }
        (About::Assessed(patch, assessment), ModuleKind::Autonomy) => {
            let (action, why) = module.decide(context, patch, assessment)?;
            let word = match action {
                AutonomyAction::Apply => "apply",
                AutonomyAction::Review(_) => "review",
                AutonomyAction::Stop => "stop",
            };
            plain(word, why)
        }
        (About::Issue(issue), ModuleKind::Autonomy) => match module.admit(context, issue)? {
            Admission::Admit(why) => plain("admit", why),
            Admission::NeedsAdmin(reason) => Said {
                rule: Some(reason.rule),
                ..plain("needs-admin", reason.message)
            },
        },
        (_, kind) => plain(
            "nothing",
            format!("a {} is not asked this", super::module::kind_name(kind)),
        ),
    })
}

impl Case {
    /// Asks the case with its own settings, if it has any.
    ///
    /// # Errors
    /// The module faulted or refuses the settings.
    pub(crate) fn ask(&self, module: &SingleModule, run_as: &RunAs) -> Result<Said, ModuleProblem> {
        match &self.settings {
            None => Ok(ask(module, &self.question)?),
            Some(settings) => {
                let settings = settings.to_string();
                module.try_settings(&settings)?;
                let configured = module.again(RunAs {
                    settings,
                    ..run_as.clone()
                })?;
                Ok(ask(&configured, &self.question)?)
            }
        }
    }
}

/// Reads all cases of a directory: `NAME/input.json` with `NAME/expect`, or
/// `NAME.input.json` with `NAME.expect`. Sorted by name.
///
/// # Errors
/// A file cannot be read or says something impossible; the message names it.
pub(crate) fn read(directory: &Path) -> Result<Vec<Case>, Failure> {
    let mut found: Vec<(String, PathBuf, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(directory).because(Exit::Usage)? {
        let path = entry.because(Exit::Usage)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            found.push((name, path.join("input.json"), path.join("expect")));
        } else if let Some(name) = name.strip_suffix(".input.json") {
            found.push((
                name.to_owned(),
                path.clone(),
                path.with_file_name(format!("{name}.expect")),
            ));
        }
    }
    found.sort();
    let text = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))
            .because(Exit::Usage)
    };
    let mut cases = Vec::new();
    for (name, input, expect) in found {
        let written: Written = serde_json::from_str(&text(&input)?)
            .map_err(|error| anyhow::anyhow!("{}: {error}", input.display()))
            .because(Exit::Usage)?;
        let settings = written.settings.clone();
        let question = written.question().map_err(|failure| Failure {
            exit: failure.exit,
            error: failure.error.context(format!("{}", input.display())),
        })?;
        let expect: Expect = text(&expect)?
            .parse()
            .map_err(|error| anyhow::anyhow!("{}: {error}", expect.display()))
            .because(Exit::Usage)?;
        cases.push(Case {
            name,
            settings,
            question,
            expect,
        });
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_spelt_one_way() {
        for text in [
            "allow",
            "deny",
            "deny shell.network",
            "score 0..20",
            "# why\nneeds-admin x.y\n",
            "review",
        ] {
            assert!(text.parse::<Expect>().is_ok(), "{text}");
        }
        for text in [
            "",
            "# nothing",
            "alow",
            "allow shell.x",
            "score",
            "score 5",
            "score 20..10",
            "score 0..101",
            "deny a b",
            "allow\ndeny",
        ] {
            assert!(text.parse::<Expect>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_counts_where_it_is_named() {
        let said = Said {
            word: "deny".to_owned(),
            rule: Some("a.b".to_owned()),
            score: None,
            why: String::new(),
        };
        for (text, holds) in [
            ("deny", true),
            ("deny a.b", true),
            ("deny a.c", false),
            ("ask", false),
            ("score 0..9", false),
        ] {
            assert_eq!(
                text.parse::<Expect>().unwrap().holds(&said),
                holds,
                "{text}"
            );
        }
    }

    #[test]
    fn both_layouts_of_cases_are_read() {
        let home = tempfile::tempdir().unwrap();
        let input = r#"{"issue": {}}"#;
        std::fs::create_dir(home.path().join("b")).unwrap();
        std::fs::write(home.path().join("b/input.json"), input).unwrap();
        std::fs::write(home.path().join("b/expect"), "admit\n").unwrap();
        std::fs::write(home.path().join("a.input.json"), input).unwrap();
        std::fs::write(home.path().join("a.expect"), "needs-admin\n").unwrap();
        let names: Vec<String> = read(home.path())
            .unwrap()
            .into_iter()
            .map(|case| case.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        std::fs::remove_file(home.path().join("a.expect")).unwrap();
        assert!(read(home.path()).is_err());
    }
}
