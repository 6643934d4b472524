//! Plain words: what fails, where, and why the change helps.

use crate::candidate::Candidate;
use crate::observe::{Profile, TestOutcome};
use crate::source::{FUNCTIONS, Source, all_nodes, field, last_line_of, line_of};

/// What a template's change means.
fn meaning(candidate: &Candidate) -> &'static str {
    match candidate.template {
        "operator" => "a wrong operator",
        "constant" | "constant-donor" | "constant-scale" => "a wrong constant",
        "range" | "bound" | "index" | "slice" | "offset" | "argument-offset" => {
            "an off-by-one or wrong bound"
        }
        "variable" | "variable-global" | "stored-variable" => "a wrong variable",
        "attribute" | "method" | "callee" => "a wrong name for what is called or read",
        "swap-arguments" | "swap-operands" | "swap-elements" | "swap-indices" | "swap-names" => {
            "two values in the wrong order"
        }
        "swap-branches" | "negate" | "drop-not" | "replace-condition" | "extend-condition"
        | "disable-condition" => "a wrong condition",
        "flip-boolean" => "a wrong truth value",
        "missing-return" => "a missing return",
        "missing-import" => "a missing import",
        "missing-await" => "a missing await",
        "did-you-mean" => "a misspelled name",
        "add-self" => "a missing reference to the object itself",
        "mutable-default" => "a default value shared between calls",
        "guard-return" | "guard-raise" | "guard-jump" | "guard-default" => {
            "a case that is not handled"
        }
        "insert-copy" | "insert-update" | "insert-jump" | "super" => "a missing statement",
        "delete" => "a statement too many",
        "dedent" | "indent" | "swap-statements" => "a statement in the wrong place",
        "copy" => "a value that is shared instead of copied",
        "get" | "optional-chain" => "a missing entry that is not expected",
        "accumulate" => "a value that is replaced instead of accumulated, or the reverse",
        "wrap" | "unwrap" => "a value in the wrong form",
        "sort-order" | "comparator" => "a wrong sort order",
        "except" => "an exception that is not caught",
        "add-argument" | "drop-argument" | "initial" => "a wrong number of arguments",
        "yield" => "a wrong kind of yield",
        "if-while" | "jump" | "elif-if" => "a wrong flow of control",
        "pattern" | "regex-flag" => "a wrong pattern",
        "bind" => "a method that is handed over without its object",
        "syntax" => "a line that does not parse",
        "two-changes" => "two wrong expressions",
        "string" | "string-donor" | "format" => "a wrong text",
        _ => "a wrong expression",
    }
}

/// Name of the function around a line.
pub(crate) fn function_at(source: &Source, line: u32) -> Option<String> {
    all_nodes(source.root())
        .into_iter()
        .filter(|node| {
            FUNCTIONS.contains(&node.kind())
                && line_of(*node) <= line
                && last_line_of(*node) >= line
        })
        .filter_map(|node| field(node, "name").map(|name| source.at(name).to_owned()))
        .next_back()
}

fn symptom(test: &TestOutcome) -> String {
    let what = match (
        test.outcome.as_str(),
        test.kind.as_deref().unwrap_or_default(),
    ) {
        ("hang", _) => "does not end".to_owned(),
        (_, "") => "fails".to_owned(),
        (_, kind) => {
            let message: String = test
                .message
                .as_deref()
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(160)
                .collect();
            if message.is_empty() {
                format!("fails with {kind}")
            } else {
                format!("fails with {kind}: {message}")
            }
        }
    };
    match test.test.as_str() {
        "script" | "command" => format!("The command {what}"),
        name => format!("`{name}` {what}"),
    }
}

/// The root cause, for people.
pub(crate) fn root_cause(profile: &Profile, candidate: &Candidate, source: &Source) -> String {
    let failing = profile.failures().count();
    let first = profile
        .failures()
        .next()
        .map(symptom)
        .unwrap_or_else(|| "The command fails".to_owned());
    let others = if failing > 1 {
        format!(" (and {} more)", failing - 1)
    } else {
        String::new()
    };
    let place = match function_at(source, candidate.line) {
        Some(function) => format!("{}:{}, in `{function}`", candidate.path, candidate.line),
        None => format!("{}:{}", candidate.path, candidate.line),
    };
    format!(
        "{first}{others}. The cause is {} at {place}.",
        meaning(candidate)
    )
}

/// Why the change fixes it.
pub(crate) fn rationale(
    candidate: &Candidate,
    source: &Source,
    rivals: usize,
    tests: usize,
) -> String {
    let mut parts: Vec<String> = Vec::new();
    for edit in &candidate.edits {
        let before = source
            .text
            .get(edit.range.clone())
            .unwrap_or_default()
            .trim();
        let after = edit.text.trim();
        let short = |text: &str| text.chars().take(120).collect::<String>();
        parts.push(match (before.is_empty(), after.is_empty()) {
            (true, _) => format!("adds `{}`", short(after)),
            (_, true) => format!("removes `{}`", short(before)),
            _ => format!("replaces `{}` by `{}`", short(before), short(after)),
        });
    }
    let proof = if tests > 1 {
        format!("all {tests} tests pass")
    } else {
        "the command succeeds".to_owned()
    };
    let doubt = match rivals {
        0 => "No other patch that was tried passes.".to_owned(),
        1 => "One other patch that was tried passes too.".to_owned(),
        many => format!("{many} other patches that were tried pass too."),
    };
    format!(
        "{}: {} at {}:{}. With it {proof}. {doubt}",
        capital(meaning(candidate)),
        parts.join(", "),
        candidate.path,
        candidate.line
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
