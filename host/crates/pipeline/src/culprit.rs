//! A strategy beyond a patch: take back the commit that broke it.
//!
//! The reproduction decides, tree after tree, on throw-away layers in the sandbox, where
//! the application broke; what takes that commit back is a patch like any other. It is
//! proved, judged, scored and reviewed as one. The message of the commit is text of its
//! author and is quoted, never followed.

use crate::bounds;
use crate::proof::{failed_tests, place, run_check};
use crate::witnesses::holds_tests_at;
use selfheal_domain::agent::{
    Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Draft, Effort, Proposal,
};
use selfheal_domain::culprit::{Culprit, CulpritFinding, CulpritSearch, Revert, TreeState};
use selfheal_domain::ids::CommitId;
use selfheal_domain::patch::Patch;
use selfheal_domain::ports::{CancelToken, Repository, RepositoryError, Snapshot};
use selfheal_domain::tools::{CommandOutput, ToolError, ToolRequest, Tools, WorkspaceAccess};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Who takes commits back, in records and trailers.
pub(crate) const NAME: &str = "strategy:revert-culprit";

/// Most trees that are tried for one issue.
const MOST_TRIALS: usize = 40;
/// How sure it is that the commit is the one, where nothing else can be meant. No more,
/// because the commit also did what its author wanted.
const CONFIDENCE: f64 = 0.6;
/// The same where commits could not be told apart.
const DOUBTFUL: f64 = 0.3;

/// Tools on the live tree, or on what a patch makes of it.
pub(crate) type ToolsOn<'a> = dyn Fn(Option<&Patch>) -> Result<Box<dyn Tools>, ToolError> + 'a;

/// What the search for a culprit needs of the world.
pub(crate) struct Search<'a> {
    pub(crate) repository: &'a dyn Repository,
    pub(crate) snapshot: &'a Snapshot,
    /// Checks that may show the bug, most specific first.
    pub(crate) checks: &'a [CheckCommand],
    pub(crate) tools: &'a ToolsOn<'a>,
    /// Wall-clock time for all of it.
    pub(crate) budget: Duration,
    pub(crate) cancel: &'a CancelToken,
}

/// Why there is no culprit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCulprit {
    /// One sentence for people.
    #[error("{0}")]
    Because(String),
    /// The history cannot be read.
    #[error("the history cannot be searched")]
    Repository(#[source] RepositoryError),
    /// No check could be run.
    #[error("no check could be run")]
    Tools(#[source] ToolError),
    /// Somebody stopped the run.
    #[error("the search was stopped")]
    Cancelled,
}

impl Search<'_> {
    /// The diagnosis "this commit broke it", with its revert as the one proposal.
    ///
    /// # Errors
    /// See [`NoCulprit`].
    pub(crate) fn run(&self) -> Result<Diagnosis, NoCulprit> {
        let started = Instant::now();
        let (check, broken) = self.reproduction()?;
        let names = failed_tests(&broken);
        let until = started + self.budget;
        let held = |path: &str| holds_tests_at(path);
        let search = CulpritSearch {
            snapshot: self.snapshot,
            known_good: None,
            held: &held,
            most_trials: MOST_TRIALS,
            cancel: self.cancel,
        };
        let mut log = format!("`{}` fails on the live tree.\n", place(check));
        let mut in_time = true;
        let mut judge = |commit: &CommitId, patch: &Patch| {
            if Instant::now() > until {
                in_time = false;
                return TreeState::Unclear;
            }
            let state = self.judge(check, patch, &broken, names.as_ref());
            log.push_str(&format!("{commit}: {state:?}\n"));
            state
        };
        let found = self
            .repository
            .find_culprit(&search, &mut judge)
            .map_err(NoCulprit::Repository)?;
        match found {
            CulpritFinding::Found(culprit) if in_time => {
                diagnosis(check, &culprit, log, started.elapsed())
            }
            CulpritFinding::Cancelled => Err(NoCulprit::Cancelled),
            _ if self.cancel.is_cancelled() => Err(NoCulprit::Cancelled),
            _ if !in_time => Err(NoCulprit::Because(format!(
                "no commit was found to have broken it within {} s",
                self.budget.as_secs()
            ))),
            CulpritFinding::Found(_) | CulpritFinding::Uncommitted => Err(NoCulprit::Because(
                "what is committed works: what is not committed broke it".to_owned(),
            )),
            CulpritFinding::NotFound(why) => Err(NoCulprit::Because(why)),
        }
    }

    /// The first check that fails, twice in the same way.
    fn reproduction(&self) -> Result<(&CheckCommand, CommandOutput), NoCulprit> {
        let tools = (self.tools)(None).map_err(NoCulprit::Tools)?;
        for check in self.checks {
            let run = || run_check(check, tools.as_ref()).map_err(NoCulprit::Tools);
            let first = run()?;
            if !first.ended.success() && run()?.ended == first.ended {
                return Ok((check, first));
            }
            if self.cancel.is_cancelled() {
                return Err(NoCulprit::Cancelled);
            }
        }
        Err(NoCulprit::Because(
            "no configured check fails on the live tree the same way twice".to_owned(),
        ))
    }

    /// Where tests are named, only those that fail today are asked: others may fail on
    /// an old tree because what they test was not there yet.
    fn judge(
        &self,
        check: &CheckCommand,
        patch: &Patch,
        broken: &CommandOutput,
        names: Option<&BTreeSet<String>>,
    ) -> TreeState {
        let run = |tools: Box<dyn Tools>| run_check(check, tools.as_ref());
        let Ok(output) = (self.tools)(Some(patch)).and_then(run) else {
            return TreeState::Unclear;
        };
        if output.ended.success() {
            return TreeState::Works;
        }
        let same = match (names, failed_tests(&output)) {
            (Some(names), Some(now)) => !names.is_disjoint(&now),
            _ => output.ended == broken.ended,
        };
        if same {
            TreeState::Broken
        } else {
            TreeState::Unclear
        }
    }
}

fn diagnosis(
    check: &CheckCommand,
    culprit: &Culprit,
    log: String,
    time: Duration,
) -> Result<Diagnosis, NoCulprit> {
    let Culprit {
        commit, subject, ..
    } = culprit;
    let short = commit.to_string();
    let short = short.get(..10).unwrap_or(&short);
    let patch = match &culprit.revert {
        Revert::Clean(patch) if !patch.is_empty() => patch.clone(),
        Revert::Clean(_) => {
            return Err(NoCulprit::Because(format!(
                "commit {short} broke it, but changed tests only"
            )));
        }
        Revert::Conflict(why) => {
            return Err(NoCulprit::Because(format!(
                "commit {short} broke it, but cannot be taken back by itself: {}",
                why.join("; ")
            )));
        }
    };
    let doubt = match culprit.suspects.len() + culprit.left_out.len() {
        0 => String::new(),
        _ => format!(
            " {} older commits and {} files could not be judged, so it may be another one.",
            culprit.suspects.len(),
            culprit.left_out.len()
        ),
    };
    let root_cause = format!(
        "Commit {short} ({:?}) broke it: `{}` passes on the commit before it and fails since. {} commits were made after it.{doubt}",
        bounds::line(subject),
        place(check),
        culprit.commits_since,
    );
    let confidence = if doubt.is_empty() {
        CONFIDENCE
    } else {
        DOUBTFUL
    };
    Ok(Diagnosis {
        affected_files: patch.files.iter().map(|file| file.path.clone()).collect(),
        affected_services: Vec::new(),
        suggested_fix: format!(
            "Take commit {short} back; what it was made for is gone then:\n{}",
            patch.diff
        ),
        reproduction: Some(check.clone()),
        proposals: vec![Proposal {
            rationale: format!(
                "Reverts commit {short}. {root_cause} Later work on the same files is kept; what the commit was made for is gone."
            ),
            patch,
            confidence,
        }],
        root_cause,
        confidence,
        log,
        effort: Effort {
            candidates: u64::try_from(culprit.trials).unwrap_or(u64::MAX),
            seconds: time.as_secs_f64(),
        },
    })
}

/// Writes the revert as any agent writes its patch: through the broker.
pub(crate) struct Reverter;

impl Agent for Reverter {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn diagnose(&self, _: &DiagnosisBrief, _: &dyn Tools) -> Result<Diagnosis, AgentError> {
        Err(AgentError::NothingWrong(
            "the search for the culprit is the host's".to_owned(),
        ))
    }

    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        let wanted = diagnosis
            .proposals
            .iter()
            .find(|proposal| !brief.excluded.contains(&proposal.patch.digest));
        let Some(proposal) = wanted else {
            return Err(AgentError::NotFound {
                summary: "Taking the commit back was refused or did not hold".to_owned(),
                log: diagnosis.log.clone(),
                effort: diagnosis.effort,
            });
        };
        for file in &proposal.patch.files {
            let call = match &file.after {
                Some(after) => ToolRequest::Write {
                    path: file.path.clone(),
                    content: after.clone(),
                },
                None => ToolRequest::Bash {
                    command: format!("rm -- '{}'", file.path.replace('\'', "'\\''")),
                    directory: String::new(),
                    timeout: REMOVAL,
                    access: WorkspaceAccess::Keep,
                },
            };
            tools.call(call)?;
        }
        Ok(Draft {
            rationale: proposal.rationale.clone(),
            confidence: proposal.confidence,
            files: proposal.patch.files.clone(),
            rivals: Vec::new(),
            log: String::new(),
        })
    }
}

/// Longest time in which a file is removed.
const REMOVAL: Duration = Duration::from_secs(30);
