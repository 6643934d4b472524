//! What a call really changed, beside what its facts had said.
//!
//! After each command that keeps what it writes, the layer is compared with what it
//! was. A change that no fact of the call had declared is *surplus*: it stands in the
//! outcome, counts against the run ([`RunCounters::surplus`]), and policies find it in
//! the run's history as the rule [`SURPLUS_RULE`]. A run with more such calls than
//! [`WorkbenchConfig::max_surplus_calls`](crate::WorkbenchConfig::max_surplus_calls)
//! gets no further call. What a discarded layer held is gone with it and is not
//! compared; what git ignores and tools leave behind (`__pycache__`) is no surplus.

use crate::broker::Broker;
use crate::walk::is_leftover;
use crate::workbench::Bench;
use chrono::{DateTime, TimeDelta, Utc};
use selfheal_domain::ids::RunRef;
use selfheal_domain::policy::{AccessMode, AgentPhase, PastCall, RunCounters, ToolCallFacts};
use selfheal_domain::tools::ToolError;
use selfheal_sandbox::{Change, collect_changes};
use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Under which a call with surplus effects stands in a run's history.
pub(crate) const SURPLUS_RULE: &str = "host.surplus-effects";

/// Surplus paths that an outcome names.
const NAMED: usize = 10;

/// What a worktree holds.
pub(crate) type Holding = BTreeSet<(Change, Stamp)>;

/// Tells two states of one file apart without reading it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Stamp {
    length: u64,
    inode: u64,
    changed: (i64, i64),
}

/// What the worktree at `upper` holds; none when it cannot be read.
pub(crate) fn held(upper: &Path, root: &Path) -> Option<Holding> {
    let changes = collect_changes(upper, root).ok()?;
    let stamped = changes.into_iter().map(|change| {
        let stamp = stamp(&upper.join(&change.path));
        (change, stamp)
    });
    Some(stamped.collect())
}

impl Stamp {
    /// It was taken at `looked` of something that had not changed for `age`.
    pub(crate) fn is_older_than(self, looked: DateTime<Utc>, age: TimeDelta) -> bool {
        let (seconds, nanoseconds) = self.changed;
        u32::try_from(nanoseconds)
            .ok()
            .and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds))
            .is_some_and(|changed| looked - changed > age)
    }
}

pub(crate) fn stamp(path: &Path) -> Stamp {
    path.symlink_metadata()
        .map(|metadata| Stamp {
            length: metadata.len(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
        .unwrap_or_default()
}

/// What the facts of a call say that it changes.
pub(crate) fn declared(facts: &ToolCallFacts) -> impl Iterator<Item = &str> {
    facts
        .paths
        .iter()
        .filter(|access| access.mode != AccessMode::Read && access.certain)
        .filter_map(|access| access.relative.as_deref())
}

/// Counts what was changed, and names what no facts had said. `incidental` tells
/// changes that mean nothing.
fn compare(
    before: Option<Holding>,
    after: Option<Holding>,
    declared: &[&str],
    incidental: &dyn Fn(&str) -> bool,
    counters: &mut RunCounters,
) -> String {
    let (Some(before), Some(after)) = (before, after) else {
        // What cannot be compared cannot be vouched for.
        counters.surplus += 1;
        return "; what it changed cannot be told".to_owned();
    };
    let changed: BTreeSet<&Path> = before
        .symmetric_difference(&after)
        .map(|(change, _)| change.path.as_path())
        .collect();
    counters.files_written += changed.len() as u64;
    counters.bytes_written += after
        .difference(&before)
        .map(|(_, stamp)| stamp.length)
        .sum::<u64>();
    let surplus: Vec<String> = changed
        .iter()
        .filter(|path| !declared.iter().any(|known| path.starts_with(known)))
        .filter(|path| path.to_str().is_none_or(|path| !incidental(path)))
        .map(|path| path.display().to_string())
        .collect();
    if surplus.is_empty() {
        return String::new();
    }
    counters.surplus += 1;
    match surplus.split_at_checked(NAMED) {
        None => format!("; also changed: {}", surplus.join(", ")),
        Some((first, rest)) => {
            format!(
                "; also changed: {} and {} more",
                first.join(", "),
                rest.len()
            )
        }
    }
}

/// Runs whose counters are kept; the oldest give way.
const RUNS: usize = 256;

/// What runs have done so far, in all their sessions: diagnosis, drafting, checks.
#[derive(Debug, Default)]
pub(crate) struct RunsCounters(Mutex<VecDeque<(RunRef, Arc<Mutex<RunCounters>>)>>);

impl RunsCounters {
    /// Those of a run; a session without one has its own.
    pub(crate) fn of(&self, run: Option<RunRef>) -> Arc<Mutex<RunCounters>> {
        let Some(run) = run else {
            return Arc::default();
        };
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counters)) = runs.iter().find(|(known, _)| *known == run) {
            return Arc::clone(counters);
        }
        if runs.len() >= RUNS {
            runs.pop_front();
        }
        let counters = Arc::default();
        runs.push_back((run, Arc::clone(&counters)));
        counters
    }
}

impl Bench {
    /// Compares, counts and tells the policies. What to add to the outcome.
    pub(crate) fn observe(
        &self,
        run: Option<RunRef>,
        (before, after): (Option<Holding>, Option<Holding>),
        declared: &[&str],
        counters: &mut RunCounters,
    ) -> String {
        let incidental = |path: &str| {
            !(self.config.tracked)(path)
                && (is_leftover(path) || self.ignores.is_ignored(path, false))
        };
        let so_far = counters.surplus;
        let text = compare(before, after, declared, &incidental, counters);
        if counters.surplus > so_far {
            self.policies.observed(
                run,
                PastCall {
                    tool: "Bash".to_owned(),
                    verdict: "allow".to_owned(),
                    rule: Some(SURPLUS_RULE.to_owned()),
                },
            );
        }
        text
    }
}

impl Broker {
    /// Why the run gets no further call, once its commands have strayed too often.
    pub(crate) fn strayed(&self) -> Option<ToolError> {
        if self.phase == AgentPhase::Verification {
            // The host's own checks, which say what became of the run.
            return None;
        }
        let surplus = self.counters().surplus;
        let most = self.bench.reach().max_surplus_calls;
        (surplus > u64::from(most)).then(|| {
            ToolError::Unavailable(format!(
                "the run was stopped: {surplus} commands changed files that they had not named \
                 (policy.toml, [limits] max_surplus_calls = {most})"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_sandbox::ChangeKind;
    use std::path::PathBuf;

    fn holding(files: &[(&str, u64)]) -> Holding {
        files
            .iter()
            .map(|(path, length)| {
                let change = Change {
                    path: PathBuf::from(path),
                    kind: ChangeKind::Modified,
                };
                let stamp = Stamp {
                    length: *length,
                    ..Stamp::default()
                };
                (change, stamp)
            })
            .collect()
    }

    fn check(after: &[(&str, u64)], declared: &[&str], text: &str, surplus: u64) {
        let mut counters = RunCounters::default();
        let before = holding(&[("src/a.py", 1)]);
        let incidental = |path: &str| path.ends_with(".pyc");
        let said = compare(
            Some(before),
            Some(holding(after)),
            declared,
            &incidental,
            &mut counters,
        );
        assert_eq!(said, text);
        assert_eq!(counters.surplus, surplus);
    }

    #[test]
    fn what_was_declared_is_no_surplus() {
        check(&[("src/a.py", 1)], &[], "", 0);
        check(&[("src/a.py", 2)], &["src/a.py"], "", 0);
        check(&[("src/a.py", 1), ("src/b.py", 2)], &["src"], "", 0);
        check(&[("src/a.py", 1), ("x.pyc", 2)], &[], "", 0);
        check(
            &[("src/a.py", 2)],
            &["src/b.py"],
            "; also changed: src/a.py",
            1,
        );
        check(&[], &[], "; also changed: src/a.py", 1);
    }

    #[test]
    fn what_cannot_be_compared_counts() {
        let mut counters = RunCounters::default();
        let text = compare(None, Some(Holding::new()), &[], &|_| false, &mut counters);
        assert_eq!(text, "; what it changed cannot be told");
        assert_eq!(counters.surplus, 1);
    }
}
