//! What is known about the place of the failure, and the candidates that follow from it.

use crate::candidate::Candidate;
use crate::case::Case;
use crate::localise::{self, Heat};
use crate::observe::Profile;
use crate::source::Source;
use crate::templates::{Knowledge, generate, property_names};
use crate::worker::Worker;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Candidates generated at most.
pub(crate) const QUEUE: usize = 40_000;

/// What is known about the place of the failure.
pub(crate) struct Scene {
    pub(crate) heat: Heat,
    pub(crate) sources: BTreeMap<String, Source>,
    /// Some test states what is right; otherwise a crash is all there is.
    judged: bool,
}

impl Scene {
    pub(crate) fn survey(case: &mut Case<'_>, profile: &Profile, workers: &[Worker]) -> Self {
        let ready = workers
            .first()
            .map(|worker| worker.ready.clone())
            .unwrap_or_default();
        let mut heat = localise::heat(profile, &ready);
        let mut sources = BTreeMap::new();
        let mut paths: BTreeSet<String> = heat.keys().cloned().collect();
        paths.extend(
            profile
                .imported
                .keys()
                .filter(|path| localise::editable(path, &ready))
                .take(30)
                .cloned(),
        );
        for path in paths {
            if let Some(text) = case.read(&path)
                && let Some(source) = Source::new(&path, &text)
            {
                sources.insert(path, source);
            }
        }
        heat.retain(|path, _| sources.contains_key(path));
        if profile.failures().any(|test| test.outcome == "hang") {
            localise::loops_first(&mut heat, &sources);
        }
        localise::widen(&mut heat, &sources);
        // A script that is program and test at once: its assertions are witnesses.
        if let (true, Some(main)) = (ready.mixed, ready.main.as_ref())
            && let (Some(lines), Some(source)) = (heat.get_mut(main), sources.get(main))
        {
            lines.retain(|line, _| !is_assertion(source, *line));
        }
        let judged = ready.mode != "script" || ready.witness || ready.mixed;
        Self {
            heat,
            sources,
            judged,
        }
    }

    /// All candidates, best first, each resulting text once.
    pub(crate) fn candidates(&mut self, profile: &Profile) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = Vec::new();
        let mut seen: HashSet<[u8; 32]> = HashSet::new();
        let (expected, raised) = errors_of(profile);
        let names: BTreeMap<&String, BTreeSet<String>> = self
            .sources
            .iter()
            .map(|(path, source)| (path, property_names(source)))
            .collect();
        for (path, source) in &self.sources {
            let Some(lines) = self.heat.get(path) else {
                continue;
            };
            let mut know = Knowledge {
                heat: lines.clone(),
                expected_errors: expected.clone(),
                syntax: profile
                    .failures()
                    .filter(|test| {
                        matches!(
                            test.kind.as_deref(),
                            Some("SyntaxError" | "IndentationError" | "TabError")
                        )
                    })
                    .filter_map(|test| test.frames.last())
                    .find(|(file, _, _)| file == path)
                    .map(|(_, line, _)| *line),
                neighbours: names
                    .iter()
                    .filter(|(other, _)| **other != path)
                    .flat_map(|(_, names)| names.iter().cloned())
                    .collect(),
                raised: raised.clone(),
                ..Knowledge::default()
            };
            for test in profile.failures() {
                for hint in &test.hints {
                    if !know.hints.contains(hint) {
                        know.hints.push(hint.clone());
                    }
                }
            }
            for (key, names) in &profile.kinds {
                if let Some(rest) = key
                    .strip_prefix(path.as_str())
                    .and_then(|rest| rest.strip_prefix(':'))
                {
                    let names = names
                        .iter()
                        .map(|(name, kinds)| (name.clone(), kinds.iter().cloned().collect()))
                        .collect();
                    know.kinds.insert(rest.to_owned(), names);
                }
            }
            all.extend(generate(source, &know));
        }
        if !self.judged {
            // Nothing says what is right but the crash itself: believe what it says.
            for candidate in &mut all {
                if !matches!(
                    candidate.template,
                    "did-you-mean"
                        | "bind"
                        | "attribute"
                        | "missing-import"
                        | "except"
                        | "add-self"
                        | "unbound"
                        | "missing-return"
                        | "guard-return"
                        | "get"
                        | "optional-chain"
                        | "missing-await"
                        | "super"
                ) {
                    candidate.cost += 0.8;
                }
            }
        }
        all.sort_by(|a, b| a.priority().total_cmp(&b.priority()));
        all.truncate(QUEUE);
        all.retain(|candidate| {
            self.sources
                .get(&candidate.path)
                .and_then(|source| candidate.key(source))
                .is_some_and(|key| seen.insert(key))
        });
        all
    }
}

fn is_assertion(source: &Source, line: u32) -> bool {
    let text = source.line(line).trim();
    text.starts_with("assert")
        || text.contains("assert.")
        || text.starts_with("self.assert")
        || text.starts_with("print(") && text.contains("PASS")
}

/// Exceptions that a test missed, and exceptions that were raised.
fn errors_of(profile: &Profile) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut expected = BTreeSet::new();
    let mut raised = BTreeSet::new();
    for test in profile.failures() {
        let message = test.message.as_deref().unwrap_or_default();
        if message.contains("DID NOT RAISE")
            || message.contains("not raised")
            || message.contains("Missing expected")
        {
            for word in message.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if word.ends_with("Error") || word.ends_with("Exception") {
                    expected.insert(word.to_owned());
                }
            }
            if expected.is_empty() && message.contains("Missing expected") {
                expected.insert("Error".to_owned());
            }
        }
        if let Some(kind) = &test.kind {
            raised.insert(kind.clone());
            raised.extend(
                test.bases
                    .iter()
                    .filter(|base| !matches!(base.as_str(), "Exception" | "AssertionError"))
                    .take(2)
                    .cloned(),
            );
        }
    }
    (expected, raised)
}
