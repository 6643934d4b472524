//! The end of a search: ranks what passed, validates it in a fresh process, and writes it all down.

use crate::candidate::Candidate;
use crate::case::Case;
use crate::explain;
use crate::hunt::Kept;
use crate::observe::{Attempt, Profile};
use crate::rank;
use crate::scene::Scene;
use crate::search::Found;
use crate::source::{Lang, Source};
use crate::worker::Worker;
use selfheal_domain::agent::{AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Proposal};
use selfheal_domain::patch::{FileChange, Patch};
use std::collections::BTreeMap;
use std::time::Duration;

/// Proposals handed over, at most.
const PROPOSALS: usize = 5;

/// Ranks, validates in a fresh process, and writes it all down.
#[expect(
    clippy::too_many_arguments,
    reason = "the last step needs everything that was found out"
)]
pub(crate) fn conclude(
    case: &mut Case<'_>,
    brief: &DiagnosisBrief,
    check: &CheckCommand,
    profile: &Profile,
    scene: &Scene,
    workers: &mut [Worker],
    kept: Kept,
    found: &Found,
) -> Result<Diagnosis, AgentError> {
    let mut ranked: Vec<(f64, Candidate)> = kept
        .into_iter()
        .filter_map(|candidate| {
            scene
                .sources
                .get(&candidate.path)
                .map(|source| (rank::score(&candidate, source), candidate))
        })
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut proved: Vec<(f64, Candidate, Patch)> = Vec::new();
    let mut refuted = 0;
    for (score, candidate) in &ranked {
        if proved.len() >= PROPOSALS || (case.left() < Duration::from_secs(1) && !proved.is_empty())
        {
            break;
        }
        let Some(patch) = patch_of(candidate, &scene.sources) else {
            continue;
        };
        if brief.excluded.contains(&patch.digest) {
            continue;
        }
        // The best few in a fresh process, with the command itself.
        if proved.len() < 2 {
            let Some(worker) = workers.iter_mut().find(|worker| !worker.dead()) else {
                break;
            };
            let wall = check.timeout.min(case.left().max(Duration::from_secs(2)));
            match worker.run_fresh(&[candidate], wall) {
                Ok(Attempt { outcome, .. }) if outcome == "pass" => {}
                Ok(attempt) => {
                    refuted += 1;
                    case.note(format!(
                        "Passes warm but not in a fresh process ({}): line {} of {}",
                        attempt.outcome, candidate.line, candidate.path
                    ));
                    if refuted > 12 {
                        break;
                    }
                    continue;
                }
                Err(error) => {
                    case.note(format!("Validation failed: {error}"));
                    continue;
                }
            }
        }
        proved.push((*score, candidate.clone(), patch));
    }
    let scores: Vec<f64> = ranked.iter().map(|(score, _)| *score).collect();
    let tests = profile
        .tests
        .iter()
        .filter(|test| test.outcome != "skip")
        .count();
    let confidence = rank::confidence(&scores, tests);
    let Some((_, best, patch)) = proved.first() else {
        return Err(case.not_found(format!(
            "No fix found: {} candidates pass in the warm worker, none in a fresh process",
            ranked.len()
        )));
    };
    let Some(source) = scene.sources.get(&best.path) else {
        return Err(case.not_found("No fix found"));
    };
    for (score, candidate, _) in &proved {
        case.note(format!(
            "{score:.2} {} at {}:{}",
            candidate.template, candidate.path, candidate.line
        ));
    }
    if !found.invalid.is_empty() {
        let invalid: Vec<String> = found
            .invalid
            .iter()
            .map(|(template, count)| format!("{template} {count}"))
            .collect();
        case.note(format!("Did not compile: {}", invalid.join(", ")));
    }
    let root_cause = explain::root_cause(profile, best, source);
    let suggested = patch.diff.clone();
    let affected = patch.files.iter().map(|file| file.path.clone()).collect();
    let rivals = ranked.len().saturating_sub(1);
    let proposals = proved
        .iter()
        .enumerate()
        .filter_map(|(index, (_, candidate, patch))| {
            let source = scene.sources.get(&candidate.path)?;
            Some(Proposal {
                patch: patch.clone(),
                rationale: explain::rationale(candidate, source, rivals, tests),
                confidence: confidence / (1.0 + index as f64),
            })
        })
        .collect();
    Ok(Diagnosis {
        root_cause,
        confidence,
        affected_files: affected,
        affected_services: Vec::new(),
        suggested_fix: suggested,
        reproduction: Some(check.clone()),
        proposals,
        log: std::mem::take(&mut case.log),
        effort: case.effort(),
    })
}

fn patch_of(candidate: &Candidate, sources: &BTreeMap<String, Source>) -> Option<Patch> {
    let source = sources.get(&candidate.path)?;
    debug_assert!(Lang::of(&source.path).is_some());
    let after = candidate.apply(&source.text)?;
    let change = FileChange {
        path: candidate.path.clone(),
        before: Some(source.text.clone()),
        after: Some(after),
    };
    Some(Patch::of(vec![change]))
}
