//! The shell corpus: commands that verifiably do damage, and harmless ones that look
//! like them. Each is put to guardrails as a call that an agent makes while drafting;
//! what happens to the merged verdict is counted.

use super::question::{About, Question, Workspace};
use crate::failure::{Because, Exit, Failure};
use selfheal_domain::policy::ModuleKind;
use selfheal_domain::verdict::{Fault, Reason, Verdict};
use selfheal_policy_host::SingleModule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Commands with a known effect, and their benign twins, as built into this binary.
const BUILT_IN: [(&str, &str); 2] = [
    (
        "shell-bypass",
        include_str!("../../../../tests/fixtures/corpora/shell-bypass.jsonl"),
    ),
    (
        "shell-twins",
        include_str!("../../../../tests/fixtures/corpora/shell-twins.jsonl"),
    ),
];

/// One command of a corpus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    cls: String,
    effect: Effect,
    cmd: String,
}

/// What a command verifiably does in the corpus's workspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    /// `CANARY/f` is lost.
    Del,
    /// `CANARY/f` is emptied.
    Trunc,
    /// A secret reaches the output.
    Read,
    /// `PROT` is changed.
    Write,
    /// Code that the command hides is run.
    Exec,
    /// Uncommitted work in `repo/f` is lost.
    Git,
    /// Nothing bad.
    Safe,
    /// It is made to keep a parser busy.
    None,
}

/// A command whose verdict is not what its effect deserves.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Off {
    pub(crate) corpus: String,
    pub(crate) id: String,
    #[serde(rename = "class")]
    pub(crate) class: String,
    pub(crate) command: String,
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// What came of the corpora.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Commands that do damage.
    pub(crate) harmful: usize,
    /// Of these, allowed.
    pub(crate) misses: Vec<Off>,
    /// Harmless commands.
    pub(crate) safe: usize,
    /// Of these, asked about or denied.
    pub(crate) false_stops: Vec<Off>,
    /// Commands on which a module faulted.
    pub(crate) faults: Vec<Off>,
}

/// The files that the corpus's commands are about.
fn workspace() -> Result<Workspace, Failure> {
    let files = [
        ("CANARY/f", "work that must not be lost\n"),
        ("PROT", "ok\n"),
        ("SECRET", "not for agents\n"),
        ("repo/f", "uncommitted work\n"),
        ("repo/.git/HEAD", "ref: refs/heads/main\n"),
        ("repo/.git/config", "[core]\n\tbare = false\n"),
    ];
    let files: BTreeMap<String, String> = files
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into();
    // What an installation says of its own secrets and of what no agent writes.
    Workspace::new(&files, &["SECRET"], &["PROT"])
}

/// Puts the built-in corpora, or those in `files`, to all `modules` that judge calls.
///
/// # Errors
/// A corpus cannot be read; the message names file and line.
pub(crate) fn run(
    modules: &[(String, SingleModule)],
    files: &[std::path::PathBuf],
) -> Result<Report, Failure> {
    let mut texts: Vec<(String, String)> = Vec::new();
    if files.is_empty() {
        texts.extend(BUILT_IN.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", file.display()))
            .because(Exit::Usage)?;
        texts.push((name_of(file), text));
    }
    let workspace = workspace()?;
    let mut report = Report::default();
    for (corpus, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let entry: Entry = serde_json::from_str(line)
                .map_err(|error| anyhow::anyhow!("{corpus}, line {}: {error}", number + 1))
                .because(Exit::Usage)?;
            judge(
                corpus,
                &entry,
                &workspace.command(&entry.cmd),
                modules,
                &mut report,
            );
        }
    }
    Ok(report)
}

fn name_of(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn judge(
    corpus: &str,
    entry: &Entry,
    question: &Question,
    modules: &[(String, SingleModule)],
    report: &mut Report,
) {
    let About::Call(call) = &question.about else {
        return;
    };
    let mut merged: Option<(Verdict, String)> = None;
    let mut fault: Option<(Fault, String)> = None;
    for (name, module) in modules {
        if module.kind() != ModuleKind::Guardrail {
            continue;
        }
        match module.judge_tool_call(&question.context, call) {
            Ok(verdict) => {
                let stricter = merged
                    .as_ref()
                    .is_none_or(|(so_far, _)| verdict.strictness() > so_far.strictness());
                if stricter {
                    merged = Some((verdict, name.clone()));
                }
            }
            Err(found) => fault = Some((found, name.clone())),
        }
    }
    let off = |verdict: &'static str, module: Option<&String>, reason: Option<&Reason>| Off {
        corpus: corpus.to_owned(),
        id: entry.id.clone(),
        class: entry.cls.clone(),
        command: entry.cmd.clone(),
        verdict,
        module: module.cloned(),
        rule: reason.map(|reason| reason.rule.clone()),
        message: reason.map(|reason| reason.message.clone()),
    };
    if let Some((fault, module)) = fault {
        let mut off = off("fault", Some(&module), None);
        off.message = Some(fault.to_string());
        report.faults.push(off);
    }
    let Some((verdict, module)) = merged else {
        return;
    };
    let allowed = verdict == Verdict::Allow;
    match entry.effect {
        Effect::Safe => {
            report.safe += 1;
            if !allowed {
                let word = if matches!(verdict, Verdict::Ask(_)) {
                    "ask"
                } else {
                    "deny"
                };
                report
                    .false_stops
                    .push(off(word, Some(&module), verdict.reason()));
            }
        }
        Effect::None => {}
        Effect::Del | Effect::Trunc | Effect::Read | Effect::Write | Effect::Exec | Effect::Git => {
            report.harmful += 1;
            if allowed {
                report.misses.push(off("allow", None, None));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(name: &str) -> Vec<Entry> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn every_harmful_class_has_harmless_twins() {
        let twins = entries("shell-twins");
        assert!(twins.len() >= 60);
        assert!(twins.iter().all(|entry| entry.effect == Effect::Safe));
        for entry in entries("shell-bypass") {
            assert!(
                twins.iter().any(|twin| twin.cls == entry.cls),
                "no twin for {}",
                entry.cls
            );
        }
    }

    #[test]
    fn every_entry_has_a_name_of_its_own() {
        let mut ids: Vec<String> = BUILT_IN
            .iter()
            .flat_map(|(name, _)| entries(name))
            .map(|entry| entry.id)
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
