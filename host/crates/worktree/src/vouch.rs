//! Log and history vouch for each other: every commit of ours that the log names is
//! there, every commit that says it is ours is in the log, each is signed, and what
//! each says of the log is so.
//!
//! [`MachineHistory::read`] finds the commits, [`LogWitness`] takes the records one by
//! one, [`MachineHistory::compare`] holds one against the other. Nothing is changed.

use crate::fail::failed;
use crate::hardened::open_again;
use crate::history::parents;
use crate::message::trailer;
use crate::oneshot::ORIGIN;
use crate::signing::{CommitPublicKey, verify_signature};
use git2::{Oid, Repository as Git};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::{CommitId, IssueNumber, RunId};
use selfheal_domain::ports::RepositoryError;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

/// What is wrong between log and history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MismatchKind {
    /// The log names a commit that no ref reaches.
    CommitRemoved,
    /// The log names a commit of a branch, and the branch does not have it.
    CommitNotOnBranch,
    /// A commit says it is ours, and the log does not know it.
    CommitNotRecorded,
    /// A commit says something else of itself than the log does.
    CommitDiffers,
    /// A commit is not signed, or not by this installation, or was changed.
    BadSignature,
    /// A commit names a longer log: records were removed from its end.
    LogShortened,
    /// A commit names another log of that length: it was rewritten.
    LogRewritten,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mismatch {
    /// What kind of thing.
    pub kind: MismatchKind,
    /// The commit.
    pub commit: CommitId,
    /// The record that names it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// In words.
    pub why: String,
}

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryReport {
    /// Commits that say they are ours.
    pub commits: usize,
    /// Commits that the log names.
    pub recorded: usize,
    /// Commits of ours with a signature that counts.
    pub signed: usize,
    /// Commits of `selfheal heal --apply`, which works without a log.
    pub command_line: usize,
    /// What is odd, but explained: traces of a crash.
    pub notes: Vec<String>,
    /// What is wrong; empty when log and history vouch for each other.
    pub mismatches: Vec<Mismatch>,
}

/// What a commit is, by its trailers or by the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Snapshot,
    Draft,
    Heal,
    Rollback,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "snapshot",
            Self::Draft => "draft",
            Self::Heal => "heal",
            Self::Rollback => "rollback",
        })
    }
}

/// A commit whose trailers say it is ours.
#[derive(Debug)]
struct MachineCommit {
    role: Option<Role>,
    issue: Option<String>,
    run: Option<String>,
    reverts: Option<String>,
    log: Option<(u64, String)>,
    command_line: bool,
    committer: String,
    /// What is signed, and the signature; none where there is none.
    signature: Option<(Vec<u8>, String)>,
}

/// The commits of a repository that say they are ours, wherever a ref reaches them.
#[derive(Debug)]
pub struct MachineHistory {
    commits: BTreeMap<String, MachineCommit>,
    parents: HashMap<Oid, Vec<Oid>>,
    branches: HashMap<String, Oid>,
}

impl MachineHistory {
    /// Reads the history of all refs of the repository that contains `root`; what
    /// grafts and replaced commits say counts for nothing.
    ///
    /// # Errors
    /// [`RepositoryError::Unsupported`], or the history cannot be read.
    pub fn read(root: &Path) -> Result<Self, RepositoryError> {
        let repo = open_again(root)?;
        let doing = "reading the refs";
        let mut tips = Vec::new();
        let mut branches = HashMap::new();
        for reference in repo.references().map_err(failed(doing))? {
            let reference = reference.map_err(failed(doing))?;
            // A tag of a file has no commit.
            let Ok(commit) = reference.peel_to_commit() else {
                continue;
            };
            let name = reference.name().unwrap_or_default();
            // Replaced commits are not history: git shows them in place of others.
            if name.starts_with("refs/replace/") {
                continue;
            }
            if let Some(branch) = name.strip_prefix("refs/heads/") {
                branches.insert(branch.to_owned(), commit.id());
            }
            tips.push(commit.id());
        }
        if let Ok(head) = repo.head().and_then(|head| head.peel_to_commit()) {
            tips.push(head.id());
        }
        let mut history = Self {
            commits: BTreeMap::new(),
            parents: HashMap::new(),
            branches,
        };
        while let Some(id) = tips.pop() {
            if history.parents.contains_key(&id) {
                continue;
            }
            let Ok(commit) = repo.find_commit(id) else {
                // Beyond the end of a shallow clone.
                continue;
            };
            if let Some(machine) = machine_commit(&repo, &commit)? {
                history.commits.insert(id.to_string(), machine);
            }
            let above = parents(&repo, id)?;
            tips.extend(&above);
            history.parents.insert(id, above);
        }
        Ok(history)
    }

    /// Sizes of the log that commits name: the roots at these are worth knowing.
    pub fn log_sizes(&self) -> BTreeSet<u64> {
        self.commits
            .values()
            .filter_map(|commit| commit.log.as_ref().map(|(size, _)| *size))
            .collect()
    }

    /// Holds history and log against each other.
    pub fn compare(&self, log: &LogWitness) -> HistoryReport {
        let mut report = HistoryReport {
            commits: self.commits.len(),
            recorded: log.claims.len(),
            ..HistoryReport::default()
        };
        let mut reach = HashMap::new();
        for claim in &log.claims {
            self.check_claim(claim, log, &mut reach, &mut report);
        }
        let recorded: HashMap<&str, u64> = log
            .claims
            .iter()
            .map(|claim| (claim.commit.0.as_str(), claim.record))
            .collect();
        let undone: HashSet<&str> = self
            .commits
            .iter()
            .filter(|(id, commit)| {
                commit.role == Some(Role::Rollback) && recorded.contains_key(id.as_str())
            })
            .filter_map(|(_, commit)| commit.reverts.as_deref())
            .collect();
        for (id, commit) in &self.commits {
            let seq = recorded.get(id.as_str()).copied();
            if commit.command_line && seq.is_none() {
                report.command_line += 1;
                continue;
            }
            let signed = check_signature(id, commit, seq, log, &mut report);
            check_log(id, commit, seq, log, &mut report);
            if seq.is_none() {
                let undone = undone.contains(id.as_str());
                not_recorded(id, commit, Evidence { signed, undone }, log, &mut report);
            }
        }
        report
    }

    fn check_claim(
        &self,
        claim: &Claim,
        log: &LogWitness,
        reach: &mut HashMap<String, HashSet<Oid>>,
        report: &mut HistoryReport,
    ) {
        let mut wrong = |kind, why: String| {
            report.mismatches.push(Mismatch {
                kind,
                commit: claim.commit.clone(),
                record: Some(claim.record),
                why,
            });
        };
        let name = format!(
            "the {} commit {} of issue {}",
            claim.role, claim.commit, claim.issue
        );
        let id = Oid::from_str(&claim.commit.0).ok();
        let Some(id) = id.filter(|id| self.parents.contains_key(id)) else {
            wrong(
                MismatchKind::CommitRemoved,
                format!(
                    "record {} names {name}, and no branch or ref reaches it: it was removed from history",
                    claim.record
                ),
            );
            return;
        };
        let Some(commit) = self.commits.get(&claim.commit.0) else {
            wrong(
                MismatchKind::CommitDiffers,
                format!(
                    "record {} names {name}, and that commit does not say it is ours",
                    claim.record
                ),
            );
            return;
        };
        let issue = claim.issue.to_string();
        if commit.role != Some(claim.role) || commit.issue.as_deref() != Some(issue.as_str()) {
            wrong(
                MismatchKind::CommitDiffers,
                format!(
                    "record {} names {name}, and the commit says it is something else (kind {}, issue {})",
                    claim.record,
                    commit
                        .role
                        .map_or("unknown".to_owned(), |role| role.to_string()),
                    commit.issue.as_deref().unwrap_or("unknown"),
                ),
            );
        }
        if !matches!(claim.role, Role::Heal | Role::Rollback) {
            return;
        }
        let branch = log.runs.get(&claim.run).map(|run| run.live_branch.as_str());
        // A branch that is gone, or was renamed, says nothing.
        if let Some((branch, tip)) = branch.and_then(|name| Some((name, *self.branches.get(name)?)))
        {
            let reached = reach
                .entry(branch.to_owned())
                .or_insert_with(|| self.reached_from(tip));
            if !reached.contains(&id) {
                wrong(
                    MismatchKind::CommitNotOnBranch,
                    format!(
                        "record {} names {name} on branch {branch}, and that branch does not have it any more: its history was rewritten",
                        claim.record
                    ),
                );
            }
        }
    }

    fn reached_from(&self, tip: Oid) -> HashSet<Oid> {
        let mut reached = HashSet::new();
        let mut waiting = vec![tip];
        while let Some(id) = waiting.pop() {
            if reached.insert(id) {
                waiting.extend(self.parents.get(&id).into_iter().flatten());
            }
        }
        reached
    }
}

/// Whether the signature counts.
fn check_signature(
    id: &str,
    commit: &MachineCommit,
    record: Option<u64>,
    log: &LogWitness,
    report: &mut HistoryReport,
) -> bool {
    let keys: Vec<CommitPublicKey> = log.keys.iter().map(|(_, key)| *key).collect();
    let flaw = match &commit.signature {
        Some((content, signature)) => match verify_signature(&keys, content, signature) {
            Ok(_) => {
                report.signed += 1;
                return true;
            }
            Err(flaw) => flaw.to_string(),
        },
        None => {
            // Before the installation had a key, nothing was signed.
            let before = |seq| log.keys.first().is_none_or(|(since, _)| seq < *since);
            if record.is_some_and(before) {
                return false;
            }
            "it is not signed".to_owned()
        }
    };
    // What is not on record is named for that.
    if let Some(record) = record {
        report.mismatches.push(Mismatch {
            kind: MismatchKind::BadSignature,
            commit: CommitId(id.to_owned()),
            record: Some(record),
            why: format!("commit {id} (record {record}): {flaw}"),
        });
    }
    false
}

/// What the commit says of the log is so.
fn check_log(
    id: &str,
    commit: &MachineCommit,
    record: Option<u64>,
    log: &LogWitness,
    report: &mut HistoryReport,
) {
    let Some((size, root)) = &commit.log else {
        return;
    };
    let mut wrong = |kind, why| {
        report.mismatches.push(Mismatch {
            kind,
            commit: CommitId(id.to_owned()),
            record,
            why,
        });
    };
    if *size > log.records {
        wrong(
            MismatchKind::LogShortened,
            format!(
                "commit {id} was made when the log had {size} records; it has {} now: records {} and later were removed",
                log.records, log.records
            ),
        );
    } else if let Some(known) = log.heads.get(size)
        && !known.iter().any(|known| known.to_string() == *root)
    {
        wrong(
            MismatchKind::LogRewritten,
            format!(
                "commit {id} was made on a log whose first {size} records have the root {root}; now they have {}: the log was rewritten",
                known.first().map(Digest::to_string).unwrap_or_default()
            ),
        );
    } else if let Some(record) = record
        && *size > record
    {
        wrong(
            MismatchKind::CommitDiffers,
            format!(
                "commit {id} says it was made when the log had {size} records, after record {record}, which names it"
            ),
        );
    }
}

/// What speaks for a commit that is not on record.
struct Evidence {
    signed: bool,
    /// A rollback commit that is on record undid it.
    undone: bool,
}

/// A commit that says it is ours, and is not on record: a trace of a crash, if it is
/// signed and nothing came of it; else its record is missing, or it is not ours.
fn not_recorded(
    id: &str,
    commit: &MachineCommit,
    Evidence { signed, undone }: Evidence,
    log: &LogWitness,
    report: &mut HistoryReport,
) {
    let run = commit.run.as_deref().and_then(|run| run.parse().ok());
    let run = run.and_then(|run| log.runs.get(&RunId(run)));
    let explained = match commit.role {
        // The record of a run follows its snapshot, that of a draft its commit: a host
        // that stops in between begins another run.
        Some(Role::Snapshot) => true,
        Some(Role::Draft) => run.is_some(),
        // The next start undoes what was not recorded as applied.
        Some(Role::Heal) => undone && run.is_some_and(|run| run.applying),
        // The next start finds it and records it.
        Some(Role::Rollback) | None => false,
    };
    let what = commit
        .role
        .map_or("machine".to_owned(), |role| role.to_string());
    if signed && explained {
        report.notes.push(format!(
            "{what} commit {id} is signed by this installation, but not on record: the host stopped between making it and recording it"
        ));
        return;
    }
    report.mismatches.push(Mismatch {
        kind: MismatchKind::CommitNotRecorded,
        commit: CommitId(id.to_owned()),
        record: None,
        why: format!(
            "{what} commit {id} by {} says it is Selfheal's, and the log does not know it{}",
            commit.committer,
            if signed {
                ": its record was removed, or the host stopped before writing it and was not started since"
            } else {
                ": it was made by hand, or copied from another commit"
            }
        ),
    });
}

fn machine_commit(
    repo: &Git,
    commit: &git2::Commit<'_>,
) -> Result<Option<MachineCommit>, RepositoryError> {
    let message = String::from_utf8_lossy(commit.message_raw_bytes()).into_owned();
    if !says_it_is_ours(&message) {
        return Ok(None);
    }
    let value = |key: &str| trailer(&message, key);
    let role = match (value("Selfheal-Kind"), value("Selfheal-Draft")) {
        (Some("snapshot"), _) => Some(Role::Snapshot),
        (Some("heal"), Some(_)) => Some(Role::Draft),
        (Some("heal"), None) => Some(Role::Heal),
        (Some("rollback"), _) => Some(Role::Rollback),
        _ => None,
    };
    let log = value("Selfheal-Audit").and_then(|value| {
        let (size, root) = value.split_once(' ')?;
        Some((size.parse().ok()?, root.to_owned()))
    });
    let signature = repo
        .extract_signature(&commit.id(), None)
        .ok()
        .map(|(signature, content)| {
            (
                content.to_vec(),
                String::from_utf8_lossy(&signature).into_owned(),
            )
        });
    let committer = commit.committer();
    Ok(Some(MachineCommit {
        role,
        issue: value("Selfheal-Issue").map(str::to_owned),
        run: value("Selfheal-Run-Id").map(str::to_owned),
        reverts: value("Selfheal-Reverts").map(str::to_owned),
        log,
        command_line: value(ORIGIN.0) == Some(ORIGIN.1) && value("Selfheal-Run-Id").is_none(),
        committer: committer
            .email()
            .unwrap_or("an unreadable address")
            .to_owned(),
        signature,
    }))
}

/// The last paragraph has a trailer of ours.
fn says_it_is_ours(message: &str) -> bool {
    let block = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    block.lines().any(|line| {
        line.split_once(':').is_some_and(|(key, _)| {
            key.get(..9)
                .is_some_and(|start| start.eq_ignore_ascii_case("selfheal-"))
        })
    })
}

/// A commit that a record names.
#[derive(Debug)]
struct Claim {
    record: u64,
    commit: CommitId,
    role: Role,
    issue: IssueNumber,
    run: RunId,
}

#[derive(Debug, Default)]
struct RunSeen {
    live_branch: String,
    applying: bool,
}

/// What a log says of commits. Takes its records in order.
#[derive(Debug, Default)]
pub struct LogWitness {
    sizes: BTreeSet<u64>,
    records: u64,
    claims: Vec<Claim>,
    keys: Vec<(u64, CommitPublicKey)>,
    /// Root, and hash of the last record, of the log at the sizes asked for.
    heads: HashMap<u64, [Digest; 2]>,
    runs: HashMap<RunId, RunSeen>,
    current: HashMap<IssueNumber, RunId>,
}

impl LogWitness {
    /// For a comparison with `history`.
    pub fn new(history: &MachineHistory) -> Self {
        Self {
            sizes: history.log_sizes(),
            ..Self::default()
        }
    }

    /// Takes the next record. `root` is asked for the root of the log with this record
    /// in it, where a commit names that.
    pub fn observe(&mut self, record: &Record, root: &mut dyn FnMut() -> Digest) {
        self.records = record.seq.saturating_add(1);
        if self.sizes.contains(&self.records) {
            self.heads.insert(self.records, [root(), record.hash]);
        }
        if let Event::HostStarted {
            commit_key: Some(key),
            ..
        } = &record.event
            && let Ok(key) = key.parse()
            && !self.keys.iter().any(|(_, known)| *known == key)
        {
            self.keys.push((record.seq, key));
        }
        let Some(issue) = record.issue else { return };
        if let Event::DiagnosisStarted {
            run,
            live_branch,
            snapshot,
            ..
        } = &record.event
        {
            self.current.insert(issue, *run);
            self.runs.insert(
                *run,
                RunSeen {
                    live_branch: live_branch.clone(),
                    ..RunSeen::default()
                },
            );
            self.claim(record, issue, snapshot, Role::Snapshot);
        }
        let seen = self
            .current
            .get(&issue)
            .and_then(|run| self.runs.get_mut(run));
        match (&record.event, seen) {
            (Event::ApplyStarted { .. }, Some(run)) => run.applying = true,
            (Event::PatchDrafted { commit, .. }, _) => {
                self.claim(record, issue, commit, Role::Draft);
            }
            (Event::PatchApplied { commit, .. }, _) => {
                self.claim(record, issue, commit, Role::Heal);
            }
            (
                Event::RollbackCommitted {
                    commit: Some(commit),
                },
                _,
            ) => {
                self.claim(record, issue, commit, Role::Rollback);
            }
            _ => {}
        }
    }

    fn claim(&mut self, record: &Record, issue: IssueNumber, commit: &CommitId, role: Role) {
        if let Some(run) = self.current.get(&issue) {
            self.claims.push(Claim {
                record: record.seq,
                commit: commit.clone(),
                role,
                issue,
                run: *run,
            });
        }
    }

    /// The keys that the installation signed with, in the order in which it had them.
    pub fn keys(&self) -> impl Iterator<Item = CommitPublicKey> {
        self.keys.iter().map(|(_, key)| *key)
    }
}
