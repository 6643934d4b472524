//! Rules in force: parsed once in `configure`, warmed up, then asked.

use crate::names::{self, Uses};
use crate::outcome;
use regorus::{Engine, Value};
use selfheal_policy_sdk::Verdict;
use selfheal_policy_sdk::text::glob;
use std::cell::RefCell;

/// Largest text of rules, in bytes.
pub(crate) const LARGEST: usize = 64 << 10;
/// Name of the rules' text in messages.
const SOURCE: &str = "rules";
const DENY: &str = "deny";
const ASK: &str = "ask";

/// Parsed rules with their data.
pub(crate) struct RuleSet {
    engine: RefCell<Engine>,
    /// `ask` rules are there.
    asks: bool,
    /// `deny` rules are there.
    denies: bool,
    uses: Uses,
    /// To say which rule an error belongs to.
    text: String,
}

impl RuleSet {
    /// Parses `rules`, checks what can be checked without a question, and gets
    /// ready to answer one.
    ///
    /// # Errors
    /// What is wrong, with its line and column, and what would be right.
    pub(crate) fn new(rules: &str, data: Option<&serde_json::Value>) -> Result<Self, String> {
        if rules.len() > LARGEST {
            return Err(format!(
                "setting `rules` is at most {LARGEST} bytes, got {}",
                rules.len()
            ));
        }
        let mut engine = Engine::new();
        let package = engine
            .add_policy(SOURCE.to_owned(), rules.to_owned())
            .map_err(|error| located(&format!("{error:#}")))?;
        if package != "data.rules" {
            return Err(format!(
                "rules begin with `package rules`, got `package {}`",
                package.trim_start_matches("data.")
            ));
        }
        let uses = names::check(rules).map_err(|unknown| {
            let excerpt = rules.lines().nth(unknown.line - 1).unwrap_or_default();
            format!(
                "rules, line {}, column {}: {} | {}",
                unknown.line,
                unknown.column,
                unknown.message,
                excerpt.trim()
            )
        })?;
        let declared = |engine: &Engine, name: &str| {
            engine
                .has_declared_rule_rooted_at(SOURCE, name)
                .map_err(|error| located(&format!("{error:#}")))
        };
        if declared(&engine, "allow")? {
            return Err("rules have `deny` and `ask`; what neither names is allowed, so an `allow` would mean nothing".into());
        }
        let (denies, asks) = (declared(&engine, DENY)?, declared(&engine, ASK)?);
        if !denies && !asks {
            return Err("there is no rule: write `deny contains {\"id\": …, \"message\": …} if { … }`, or `ask contains …`".into());
        }
        if let Some(data) = data {
            if !data.is_object() {
                return Err(format!("setting `data` is a table, got {data}"));
            }
            engine
                .add_data(Value::from(data.clone()))
                .map_err(|error| format!("setting `data`: {error:#}"))?;
        }
        engine
            .add_extension("path_matches".to_owned(), 2, Box::new(path_matches))
            .map_err(|error| format!("{error:#}"))?;
        engine.set_strict_builtin_errors(true);
        let set = Self {
            engine: RefCell::new(engine),
            asks,
            denies,
            uses,
            text: rules.to_owned(),
        };
        set.compile_patterns()?;
        Ok(set)
    }

    /// Rules may look at the run's history.
    pub(crate) fn uses_history(&self) -> bool {
        self.uses.history
    }

    /// The strictest answer of all rules to `input`; a rule that cannot be
    /// evaluated, or whose answer is none, denies.
    pub(crate) fn judge(&self, input: Value) -> Verdict {
        match self.try_judge(input) {
            Ok(verdict) => verdict,
            Err(message) => Verdict::deny("rules.error", message),
        }
    }

    /// [`RuleSet::judge`], with what went wrong apart from what rules say.
    ///
    /// # Errors
    /// Which rule could not be evaluated, or answered what is no answer.
    pub(crate) fn try_judge(&self, input: Value) -> Result<Verdict, String> {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return Err("rules asked from within rules".into());
        };
        engine.set_input(input);
        let mut wrong = None;
        for (name, exists) in [(DENY, self.denies), (ASK, self.asks)] {
            if !exists {
                continue;
            }
            let answer = engine
                .eval_rule(format!("data.rules.{name}"))
                .map_err(|error| self.blame(&format!("{error:#}")))
                .and_then(|answers| outcome::first(name, &answers));
            match answer {
                Ok(Some(reason)) if name == DENY => return Ok(Verdict::Deny(reason)),
                Ok(Some(reason)) if wrong.is_none() => return Ok(Verdict::Ask(reason)),
                Ok(_) => {}
                Err(message) => wrong = wrong.or(Some(message)),
            }
        }
        wrong.map_or(Ok(Verdict::Allow), Err)
    }

    /// Compiles every pattern that stands in the rules: a wrong one is found now,
    /// and none is compiled while an agent waits.
    fn compile_patterns(&self) -> Result<(), String> {
        if self.uses.patterns.is_empty() {
            return Ok(());
        }
        let mut engine = Engine::new();
        let mut query = String::from("package patterns\n");
        for (at, (pattern, _)) in self.uses.patterns.iter().enumerate() {
            let literal = serde_json::Value::from(pattern.as_str());
            query.push_str(&format!(
                "wrong contains {at} if not regex.is_valid({literal})\n"
            ));
        }
        let failed = |error| format!("a pattern of the rules: {}", located(&format!("{error:#}")));
        engine
            .add_policy("patterns".to_owned(), query)
            .map_err(failed)?;
        let wrong = engine
            .eval_rule("data.patterns.wrong".to_owned())
            .map_err(failed)?;
        let first = wrong
            .as_set()
            .ok()
            .and_then(|set| set.first().and_then(|at| at.as_u64().ok()))
            .and_then(|at| self.uses.patterns.get(usize::try_from(at).ok()?));
        match first {
            None => Ok(()),
            Some((pattern, line)) => Err(format!(
                "rules, line {line}: `{pattern}` is no regular expression"
            )),
        }
    }

    /// Adds which rule an evaluation error belongs to.
    fn blame(&self, error: &str) -> String {
        let message = located(error);
        let rule = position(error).and_then(|(line, _)| {
            let lines: Vec<&str> = self.text.lines().take(line).collect();
            lines
                .iter()
                .enumerate()
                .rev()
                .find(|(_, text)| text.starts_with(|c: char| c.is_ascii_alphabetic()))
                .map(|(at, text)| (at + 1, (*text).to_owned()))
        });
        match rule {
            Some((line, head)) => {
                let head: String = head.chars().take(80).collect();
                format!("the rule of line {line} cannot be evaluated: {message} (`{head}`)")
            }
            None => format!("a rule cannot be evaluated: {message}"),
        }
    }
}

/// `path_matches(glob, path)`, as the host's own `protected_paths` match.
fn path_matches(arguments: Vec<Value>) -> anyhow::Result<Value> {
    match arguments.as_slice() {
        [Value::String(pattern), Value::String(path)] => Ok(Value::from(glob(pattern, path))),
        _ => Err(anyhow::anyhow!(
            "path_matches takes a glob and a path, both texts"
        )),
    }
}

/// Line and column that the engine's error names.
fn position(error: &str) -> Option<(usize, usize)> {
    let (_, behind) = error.split_once("--> ")?;
    let mut numbers = behind.lines().next()?.rsplit(':');
    let column = numbers.next()?.trim().parse().ok()?;
    let line = numbers.next()?.trim().parse().ok()?;
    Some((line, column))
}

/// The engine's error in one line: where, what, and the line that it is about.
fn located(error: &str) -> String {
    let Some((line, column)) = position(error) else {
        return error.trim().to_owned();
    };
    let what = error
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or("it is no Rego")
        .trim();
    let marker = format!("{line} | ");
    let excerpt = error
        .lines()
        .find_map(|text| text.trim_start().strip_prefix(marker.as_str()))
        .unwrap_or_default()
        .trim();
    format!("rules, line {line}, column {column}: {what} | {excerpt}")
}
